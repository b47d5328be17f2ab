"""Coder notation of facial action units to data and back: ``4+L10``, ``R12B``, ``14or23``, ``ref(L10)+A12B``.

Notation: units joined by ``+``, comma (ASCII or full-width) or space; ``or`` and ``/`` between numbers are
alternatives; a unit is ``[side] number [intensity]`` or ``number [intensity] [side]``, optionally after ``AU``,
``AD`` or ``M``, with ``(k)`` for a unit that stays static during the clip and ``ref(...)`` for reference units
(visible, but context). A letter before the number is a side, after it an intensity, except ``L``, ``R`` and ``T``,
which are sides in both places.

Sides: ``L`` left, ``R`` right, ``A`` asymmetric, ``T`` top lip, ``B`` bottom lip, ``G``-``K`` and ``V``-``Z`` one side
stronger by 1-5 levels. Intensities: ``A`` trace to ``E`` maximum. Only the standard library is needed.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from itertools import product
from numbers import Integral, Real
from typing import Literal

Alternatives = Literal["first", "all", "unknown"]
MAX_OPTIONS = 64  # alternatives nested in alternatives multiply; no coder writes more than a handful


class CodingError(ValueError):
    """A cell is not coder notation (only raised with ``strict=True``)."""


@dataclass(frozen=True, order=True)
class Unit:
    """One action unit as coded."""

    number: int  # 1..80
    side: str | None = None  # "L", "R", "A", "T", "B", ...; "A/L" where the coder was not sure
    intensity: str | None = None  # "A".."E"; "A/B" where the coder was not sure
    static: bool = False  # there, but not moving during the clip: "(k)"
    ref: bool = False  # reference unit: "ref(...)"
    kind: str = "AU"  # "AU", "AD" (action descriptor) or "M" (head movement)

    def __str__(self) -> str:
        prefix = "" if self.kind == "AU" else self.kind
        text = f"{prefix}{self.side or ''}{self.number}{self.intensity or ''}{'(k)' if self.static else ''}"
        return f"ref({text})" if self.ref else text


@dataclass(frozen=True)
class Coding:
    """A parsed cell. ``str()`` gives the canonical notation, which parses back to an equal object.

    ``units`` are certain. ``alternatives`` holds one entry per doubt: the options, each a tuple of units.
    ``unparsed`` is what was not understood, word by word; nothing of the cell is lost, since ``raw`` keeps its text.
    """

    units: tuple[Unit, ...] = ()
    alternatives: tuple[tuple[tuple[Unit, ...], ...], ...] = ()
    unparsed: tuple[str, ...] = ()
    raw: str = field(default="", compare=False)

    def __str__(self) -> str:
        groups = ["(" + " or ".join("(" + "+".join(map(str, o)) + ")" for o in g) + ")" for g in self.alternatives]
        return "+".join([*map(str, self.units), *groups, *("{" + word + "}" for word in self.unparsed)])

    def chosen(self, alternatives: Alternatives = "first") -> tuple[Unit, ...]:
        """Certain units plus, of each doubt, the first option, all options, or (``"unknown"``) none."""
        if alternatives == "unknown":
            return self.units
        options = (o for g in self.alternatives for o in (g[:1] if alternatives == "first" else g))
        return (*self.units, *(unit for option in options for unit in option))

    def numbers(
        self, alternatives: Alternatives = "first", *, refs: bool = False, static: bool = False
    ) -> frozenset[int]:
        """AU numbers that are active in the clip.

        Args:
            alternatives: see :meth:`chosen`; with ``"unknown"`` mask :meth:`doubtful` when scoring.
            refs: count reference units as present.
            static: count units that do not move during the clip as present.
        """
        return frozenset(
            u.number for u in self.chosen(alternatives) if (refs or not u.ref) and (static or not u.static)
        )

    def doubtful(self) -> frozenset[int]:
        """Numbers that occur only as one of several options."""
        return frozenset(u.number for g in self.alternatives for o in g for u in o) - {u.number for u in self.units}


_UNIT = re.compile(
    r"(?P<kind>AU|AD|M)?\s?(?P<side>[LRATBGHIJKVWXYZ](?:/[LRATB])*)?(?P<number>\d+)(?:\.0+(?![\d.]))?"
    r"(?P<intensity>[A-E](?:/[A-E])*)?(?P<post>[LRT])?(?=[oO][rR]|[^A-Za-z0-9.]|\.(?!\d)|$)(?P<static>\((?:k|K)\))?"
)
_TOKENS = re.compile(
    r"(?P<space>\s+)|(?P<sep>[+,;&])|(?P<free>\{[^{}]*\})|(?P<ref>[rR][eE][fF]\s*(?=\())|(?P<open>\()|(?P<close>\))"
    r"|(?P<or>(?:or|OR|Or)(?![a-z])|/)|(?P<fraction>\d+\.\d+)|(?P<digits>\d+)|(?P<word>[^\W\d_]+)|(?P<other>.)",
    re.DOTALL,
)
_Token = tuple[str, str, Unit | None]
_Doubt = tuple[tuple[Unit, ...], ...]


def parse(value: object, *, strict: bool = False) -> Coding | None:
    """Read one cell.

    Args:
        value: text, an integer, or an integral float (a spreadsheet turns a lone ``14`` into a number).
        strict: raise on anything that is not notation; otherwise take the clear numbers and list the rest in
            ``unparsed``.

    Returns:
        The coding, or ``None`` where nothing was coded: blank, ``?``, NaN. Unknown is not the same as no unit.

    Raises:
        CodingError: with ``strict``, the cell holds something else; never otherwise.
    """
    if value is None or isinstance(value, bool):
        text = "" if value is None else str(value)
    elif isinstance(value, Integral):
        text = str(int(value))
    elif isinstance(value, Real):
        number = float(value)
        text = "" if math.isnan(number) else str(int(number)) if number.is_integer() else str(value)
    else:
        text = str(value)
    if text.strip() in ("", "?", "？"):
        return None
    # anything else is a date, most likely: the spreadsheet ate "4/7", and the digits of a date are no units
    cell = isinstance(value, str | Real)
    coding = _Parser(text).coding() if cell else Coding(unparsed=(_clean(text),), raw=text)
    if strict and coding.unparsed:
        raise CodingError(
            f"{text!r} is not AU notation: {', '.join(map(repr, coding.unparsed))} not understood; "
            "wanted something like '4+L10', 'R12B', '14or23' or 'ref(10)+12'"
        )
    return coding


def _clean(text: str) -> str:
    return " ".join(text.replace("{", "(").replace("}", ")").split())


def _tokens(text: str) -> Iterable[_Token]:
    text = unicodedata.normalize("NFKC", text)  # full-width commas, digits and brackets
    position = 0
    while position < len(text):
        unit = _UNIT.match(text, position)
        if unit and len(unit["number"]) <= 3 and unit["number"].isascii() and 1 <= int(unit["number"]) <= 80:
            side = unit["side"] or unit["post"]
            if not (unit["side"] and unit["post"]):
                yield "unit", unit[0], Unit(int(unit["number"]), side, unit["intensity"], bool(unit["static"]),
                                            kind=unit["kind"] or "AU")  # fmt: skip
                position = unit.end()
                continue
        match = _TOKENS.match(text, position)
        assert match is not None and match.lastgroup is not None  # the last group takes any character
        kind, token = match.lastgroup, match[0]
        if (
            kind == "digits" and token.isascii() and len(token) <= 3 and 1 <= int(token) <= 80
        ):  # letters that mean nothing follow
            yield "unit", token, Unit(int(token))
        elif kind != "space":
            yield kind, token, None
        position = match.end()


class _Parser:
    """Recursive descent: list = item item ...; item = primary ("or" primary)*; primary = unit | [ref] "(" list ")"."""

    def __init__(self, text: str) -> None:
        self.raw = text
        self.tokens = list(_tokens(text))
        self.at = 0
        self.unparsed: list[str] = []

    def coding(self) -> Coding:
        units, doubts = self._list(0)
        return Coding(tuple(units), tuple(doubts), tuple(w for w in self.unparsed if w), self.raw)

    def _peek(self) -> str:
        return self.tokens[self.at][0] if self.at < len(self.tokens) else "end"

    def _list(self, depth: int) -> tuple[list[Unit], list[_Doubt]]:
        units: list[Unit] = []
        doubts: list[_Doubt] = []
        while (kind := self._peek()) != "end":
            if kind == "close":
                if depth:
                    break
                self._skip()  # a bracket that nobody opened
            elif kind == "sep":
                self.at += 1
            elif kind in ("unit", "open", "ref"):
                more_units, more_doubts = self._item(depth)
                units += more_units
                doubts += more_doubts
            else:
                self._skip()
        return units, doubts

    def _skip(self) -> None:
        kind, token, _ = self.tokens[self.at]
        word = _clean(token[1:-1] if kind == "free" else token)
        previous = self.tokens[self.at - 1][0] if self.at else "end"
        # neighbouring words belong together ("soft focus"); canonical text keeps its pieces apart
        if kind == "word" and previous == "word" and self.unparsed:
            self.unparsed[-1] += " " + word
        else:
            self.unparsed.append(word)
        self.at += 1

    def _item(self, depth: int) -> tuple[list[Unit], list[_Doubt]]:
        options = [self._primary(depth)]
        while self._peek() == "or":
            following = self.tokens[self.at + 1][0] if self.at + 1 < len(self.tokens) else "end"
            if following not in ("unit", "open", "ref"):
                self._skip()  # "12 or": nothing follows
                break
            self.at += 1
            options.append(self._primary(depth))
        options = [o for o in options if o[0] or o[1]]
        if len(options) == 1:
            return options[0]
        expanded = [tuple(units) + extra for units, doubts in options for extra in _expand(doubts)]
        expanded = list(dict.fromkeys(expanded))[:MAX_OPTIONS]
        if not expanded:
            return [], []
        return (list(expanded[0]), []) if len(expanded) == 1 else ([], [tuple(expanded)])

    def _primary(self, depth: int) -> tuple[list[Unit], list[_Doubt]]:
        kind, _, unit = self.tokens[self.at]
        self.at += 1
        if unit is not None:
            return [unit], []
        is_ref = kind == "ref"
        if is_ref:
            self.at += 1  # its bracket
        if depth > 40:  # a cell of brackets only; do not follow it down
            return [], []
        units, doubts = self._list(depth + 1)
        if self._peek() == "close":
            self.at += 1
        else:
            self.unparsed.append("(")
        if is_ref:
            units = [replace(u, ref=True) for u in units]
            doubts = [tuple(tuple(replace(u, ref=True) for u in option) for option in doubt) for doubt in doubts]
        return units, doubts


def _expand(doubts: list[_Doubt]) -> Iterable[tuple[Unit, ...]]:
    for count, combination in enumerate(product(*doubts)):
        if count >= MAX_OPTIONS:
            return
        yield tuple(unit for option in combination for unit in option)


def multi_hot(coding: Coding | None, units: Iterable[int], alternatives: Alternatives = "first") -> list[float] | None:
    """0/1 per wanted AU, NaN for an AU in doubt with ``alternatives="unknown"``; ``None`` where nothing was coded."""
    if coding is None or not (coding.units or coding.alternatives):
        return None
    active = coding.numbers(alternatives)
    masked = coding.doubtful() if alternatives == "unknown" else frozenset()
    return [math.nan if unit in masked else float(unit in active) for unit in units]
