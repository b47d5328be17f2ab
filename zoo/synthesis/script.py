"""AU scripts: what a face does and when, drawn from what was measured on people who had a micro-expression.

An emotion is drawn by its frequency in a data set, the set of action units by its frequency within that emotion; side,
intensity and timing follow the distributions measured there (:mod:`zoo.facs.statistics`). Units that exclude each other
never meet.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any, Literal

import numpy as np

from zoo.errors import ZooError
from zoo.facs.action_units import conflicts
from zoo.facs.coding import Unit
from zoo.facs.emotions import canonical, objective_class
from zoo.facs.geometry import Side
from zoo.facs.statistics import Statistics, sources, statistics
from zoo.synthesis.fields import Movement, action_units, sides
from zoo.types import Interval

Kind = Literal["micro", "macro"]

# FACS letters as a share of the full displacement.
LETTERS: Mapping[str, float] = {"A": 0.10, "B": 0.25, "C": 0.45, "D": 0.70, "E": 1.0}
# SAMM and its long videos alone tell how strong; of micro-expressions E is left out, which there means eyes that close.
_STRENGTHS: Mapping[Kind, tuple[str, str]] = {"micro": ("samm", "ABCD"), "macro": ("samm_lv_macro", "ABCDE")}
_LENGTHS: Mapping[Kind, tuple[float, float]] = {
    "micro": (115.0, 700.0),
    "macro": (500.0, 4000.0),
}  # ms, whole expression
# The units that people show on one side; others join the side only where none of these is in the set.
_ONE_SIDED = frozenset({1, 2, 10, 12, 13, 14, 15, 20})
_JITTER = 20.0  # ms, by which the onsets of units in one expression differ


@dataclass(frozen=True, kw_only=True)
class Move:
    """One action unit on one side, with its course: raised cosine up from ``start`` to ``peak`` and down to ``end``."""

    au: int
    side: Side
    intensity: float  # at the peak, 0..1 of the full displacement
    letter: str  # FACS intensity that it was drawn from
    start: float  # ms from the start of the script
    peak: float
    end: float

    def amplitude(self, times: np.ndarray) -> np.ndarray:
        """Share of the full displacement at times in ms. Shapes: ``[T]`` -> ``[T]``."""
        t = np.asarray(times, np.float64)
        rise = (t - self.start) / (self.peak - self.start)
        fall = (self.end - t) / (self.end - self.peak)
        phase = np.clip(np.where(t <= self.peak, rise, fall), 0.0, 1.0)
        return self.intensity * (0.5 - 0.5 * np.cos(np.pi * phase))


@dataclass(frozen=True, kw_only=True)
class AUScript:
    """One expression: an emotion as that data set would code it, and the moves that show it."""

    dataset: str  # whose statistics it was drawn from
    emotion: str
    moves: tuple[Move, ...]

    @property
    def kind(self) -> Kind:
        """Micro or macro, as the data set's clips are."""
        return kind_of(self.dataset)

    @property
    def aus(self) -> frozenset[int]:
        """The action units, whatever their side."""
        return frozenset(m.au for m in self.moves)

    @property
    def objective_class(self) -> int:
        """Class 1..7 by the rule of Davison et al. 2018."""
        return objective_class(self.aus)

    @property
    def intensities(self) -> dict[Movement, float]:
        """At the peak of each move, for :class:`zoo.synthesis.fields.FaceFields`."""
        return {(m.au, m.side): m.intensity for m in self.moves}

    @property
    def milliseconds(self) -> float:
        """From the first start to the last end."""
        return max(m.end for m in self.moves) - min(m.start for m in self.moves)

    @property
    def code(self) -> str:
        """As a coder would write it: ``4B+L10A``; ``A`` before the number says that one side is stronger."""
        units = []
        for au in sorted(self.aus):
            mine = [m for m in self.moves if m.au == au]
            side = {"both": None, "left": "L", "right": "R"}[mine[0].side] if len(mine) == 1 else "A"
            units.append(str(Unit(au, side, max(mine, key=lambda m: m.intensity).letter)))
        return "+".join(units)

    def amplitudes(self, times: np.ndarray) -> dict[Movement, np.ndarray]:
        """Course of each movement at times in ms from the start of the script. Shapes: ``[T]`` -> each ``[T]``."""
        return {(m.au, m.side): m.amplitude(times) for m in self.moves}

    def interval(self, fps: float) -> Interval:
        """Onset, apex and offset in frames from the start of the script, as a perfect coder sees them.

        The onset is the last frame without motion, the apex the frame in which the moves, weighed by their intensity, are
        furthest, the offset the first frame that is still again.
        """
        step = 1000 / fps
        first = min(m.start for m in self.moves)
        last = max(m.end for m in self.moves)
        onset, offset = int(np.floor(first / step)), int(np.ceil(last / step))
        total = sum(self.amplitudes(np.arange(onset, offset + 1) * step).values())
        return Interval(onset=onset, apex=onset + int(np.argmax(total)), offset=offset, source="synthetic")

    def to_dict(self) -> dict[str, Any]:
        """JSON-plain form."""
        return {
            "dataset": self.dataset, "emotion": self.emotion, "kind": self.kind, "code": self.code,
            "objective_class": self.objective_class, "moves": [asdict(m) for m in self.moves],
        }  # fmt: skip

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> AUScript:
        """Inverse of :meth:`to_dict`."""
        moves = tuple(Move(**m) for m in data["moves"])
        return cls(dataset=data["dataset"], emotion=data["emotion"], moves=moves)


def _clashes(aus: frozenset[int]) -> list[tuple[int, int]]:
    return [(a.number, b.number) for a, b in conflicts(Unit(au) for au in sorted(aus))]


def styles() -> tuple[str, ...]:
    """Data sets that scripts can be drawn from: those of which the AU sets of each emotion were counted."""
    return tuple(name for name in sources() if name != "pooled" and statistics(name).emotions)


def kind_of(dataset: str) -> Kind:
    """Whether a data set's expressions are micro or macro."""
    return "macro" if dataset.endswith("_macro") else "micro"


@cache
def _style(dataset: str) -> Statistics:
    if dataset not in styles():
        raise ZooError(f"scripts cannot be drawn from {dataset!r}; they can from {', '.join(styles())}")
    return statistics(dataset)


@cache
def playable(dataset: str) -> Mapping[str, Mapping[frozenset[int], int]]:
    """Emotion -> AU set -> how often it was coded, of the sets that can be played; the emotion's other sets are left out.

    Raises:
        ZooError: no such statistics.
    """
    fields = set(action_units())
    table = {
        emotion: {s: n for s, n in part.sets.items() if s <= fields and not _clashes(s)}
        for emotion, part in _style(dataset).emotions.items()
    }
    return {canonical(emotion): sets for emotion, sets in table.items() if sets}


def draw(
    rng: np.random.Generator,
    *,
    dataset: str = "casme2",
    emotion: str | None = None,
    aus: frozenset[int] | None = None,
    letters: str = "",
) -> AUScript:
    """Draw one script.

    Args:
        rng: where chance comes from.
        dataset: whose statistics, see :func:`styles`; those of macro-expressions give longer and stronger scripts.
        emotion: None draws it by its frequency there.
        aus: this set in place of a drawn one; then ``emotion`` must be given.
        letters: FACS intensities that occur, equally often, e.g. ``DE`` for posed expressions; empty: as measured.

    Raises:
        ZooError: a letter that is not FACS's, an emotion that the data set does not code, or units that exclude each other.
    """
    style, table = _style(dataset), playable(dataset)
    check_letters(letters)
    if emotion is None:
        emotion = _choose(
            rng, {canonical(e): part.clips for e, part in style.emotions.items() if canonical(e) in table}
        )
    elif emotion not in table and aus is None:
        raise ZooError(f"{dataset} codes no {emotion!r}; its emotions are {', '.join(table)}")
    if aus is None:
        aus = _choose(rng, table[emotion])
    elif clash := _clashes(aus):
        raise ZooError(f"AU{clash[0][0]} and AU{clash[0][1]} exclude each other (FACS manual); take one of them")
    return AUScript(dataset=dataset, emotion=emotion, moves=_moves(rng, sorted(aus), style, kind_of(dataset), letters))


def _choose(rng: np.random.Generator, counts: Mapping[Any, int]) -> Any:
    names, weights = list(counts), np.array(list(counts.values()), np.float64)
    return names[int(rng.choice(len(names), p=weights / weights.sum()))]


def check_letters(letters: str) -> None:
    """Raises ZooError where one of them is no intensity of FACS."""
    if strange := sorted(set(letters) - set(LETTERS)):
        raise ZooError(f"FACS has no intensity {', '.join(strange)}; it has {', '.join(LETTERS)}")


def _moves(
    rng: np.random.Generator, aus: Sequence[int], style: Statistics, kind: Kind, letters: str
) -> tuple[Move, ...]:
    side, ratio = _side(rng, style)
    sided = [a for a in aus if len(sides(a)) > 1]
    chosen = {a for a in sided if a in _ONE_SIDED} or set(sided)
    rise, total = _timing(rng, style, kind)
    moves = []
    for au in aus:
        letter, intensity = _intensity(rng, au, dict.fromkeys(letters, 1) or _letters(kind))
        if au == 7 and 5 in aus:  # lids that are tightened to the utmost cannot be raised
            letter, intensity = ("D", LETTERS["D"]) if letter == "E" else (letter, intensity)
        delay = float(np.clip(rng.normal(0, _JITTER), -40, 40)) if len(aus) > 1 else 0.0
        times = {"start": delay + 40.0, "peak": delay + 40.0 + rise, "end": delay + 40.0 + total}
        parts: list[tuple[Side, float]] = [("both", 1.0)]
        if au in chosen and side != "both":
            parts = [(side, 1.0)]
        if au in chosen and side != "both" and ratio:
            parts = [(side, 1.0), ("left" if side == "right" else "right", ratio)]
        moves += [
            Move(au=au, side=s, intensity=round(intensity * share, 4), letter=letter, **times) for s, share in parts
        ]
    first = min(m.start for m in moves)  # a script starts at 0 ms
    return tuple(
        Move(**{**asdict(m), **{k: round(getattr(m, k) - first, 2) for k in ("start", "peak", "end")}}) for m in moves
    )


def _side(rng: np.random.Generator, style: Statistics) -> tuple[Side, float]:
    """The stronger side, and how much of it the other side shows (0: nothing). ``both``: the sides are equal."""
    alone = style.sides["left"] + style.sides["right"]
    chance, left = rng.random(), rng.random() * max(alone, 1) < style.sides["left"]
    ratio = float(rng.uniform(0.3, 0.8))
    side: Side = "left" if left else "right"
    if chance * style.clips < alone:
        return side, 0.0
    return (side, ratio) if chance * style.clips < alone + style.sides["asymmetric"] else ("both", 1.0)


@cache
def _letters(kind: Kind) -> Mapping[str, int]:
    source, letters = _STRENGTHS[kind]
    return {letter: statistics(source).intensities[letter] for letter in letters}


def _intensity(rng: np.random.Generator, au: int, letters: Mapping[str, int]) -> tuple[str, float]:
    # SAMM: three of its four E are AU43
    letter = str(_choose(rng, {"D": 1, "E": 3} if au == 43 else letters))
    # Reading: people fill the range between two letters; a tenth either way
    return letter, min(1.0, LETTERS[letter] * float(rng.uniform(0.9, 1.1)))


def _timing(rng: np.random.Generator, style: Statistics, kind: Kind) -> tuple[float, float]:
    """Milliseconds from onset to apex (log-normal, fitted by quartiles), and to offset (apex's place: beta, by moments)."""
    least, most = _LENGTHS[kind]
    quartiles = style.onset_to_apex_ms
    sigma = np.log(quartiles.upper / quartiles.lower) / 1.349
    rise = float(np.clip(quartiles.median * np.exp(sigma * rng.standard_normal()), 40.0, 0.75 * most))
    mean, deviation = style.apex_position
    weight = mean * (1 - mean) / deviation**2 - 1
    place = float(np.clip(rng.beta(mean * weight, (1 - mean) * weight), 0.1, 0.9))
    total = float(np.clip(rise / place, least, most))
    return min(rise, 0.85 * total), total
