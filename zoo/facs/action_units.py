"""The action units of the Facial Action Coding System (Ekman, Friesen and Hager 2002) as data.

For each: name, muscles, region, on which sides it can be coded, and which of the 68 landmarks show it and move whither. How
far they move is in :func:`zoo.facs.geometry.displacement`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from zoo.errors import UnknownName
from zoo.facs.coding import Unit
from zoo.facs.emotions import AU_SETS

Half = Literal["upper", "lower"]
Sides = Literal["both", "seldom", "lips", "midline"]
Direction = Literal["up", "down", "in", "out"]

# Landmarks are those of the subject's right half (image left) and of the midline; "in" is towards the midline. Sides: both =
# either side alone can be coded, seldom = hardly ever alone, lips = the top or the bottom lip alone, midline = no side.
_TABLE = """
1 | inner brow raiser     | inner brow| both   | 20 21 27 up                   | medial frontalis
2 | outer brow raiser     | outer brow| both   | 17-19 up                      | lateral frontalis
4 | brow lowerer          | brows     | seldom | 17-21 down in                 | corrugator and depressor supercilii, procerus
5 | upper lid raiser      | upper lid | both   | 37 38 up                      | levator palpebrae superioris
6 | cheek raiser          | cheek     | both   | 40 41 up, 36 in               | orbital orbicularis oculi
7 | lid tightener         | lower lid | both   | 40 41 up                      | palpebral orbicularis oculi
8 | lips toward each other| lips      | midline| 50 51 down, 57 58 up          | orbicularis oris
9 | nose wrinkler         | nose      | both   | 31 49-51 up, 20 21 down       | levator labii superioris alaeque nasi
10| upper lip raiser      | upper lip | both   | 49-51 61 62 up, 31 up out     | levator labii superioris
11| nasolabial deepener   | nasolabial| both   | 31 49 up out                  | zygomaticus minor
12| lip corner puller     | lip corner| both   | 48 49 59 60 up out            | zygomaticus major
13| sharp lip puller      | lip corner| both   | 48 60 up                      | levator anguli oris
14| dimpler               | lip corner| both   | 59 up, 48 60 out              | buccinator
15| lip corner depressor  | lip corner| both   | 48 60 down out                | depressor anguli oris
16| lower lip depressor   | lower lip | both   | 57 58 66 67 down              | depressor labii inferioris
17| chin raiser           | chin      | midline| 7 8 57-59 66 67 up            | mentalis
18| lip pucker            | lips      | lips   | 48 60 in                      | incisivii labii
20| lip stretcher         | lip corner| both   | 48 60 out down                | risorius, platysma
21| neck tightener        | neck      | midline|                               | platysma
22| lip funneler          | lips      | lips   | 50 51 up, 57 58 down, 48 60 in| orbicularis oris
23| lip tightener         | lips      | lips   | 48 60 in, 57 58 up            | orbicularis oris
24| lip presser           | lips      | lips   | 50 51 down, 57 58 up          | orbicularis oris
25| lips part             | lips      | midline| 61 62 up, 66 67 down          | mentalis relaxed, depressor labii inferioris
26| jaw drop              | jaw       | midline| 6-8 57-59 66 67 down          | masseter relaxed
27| mouth stretch         | jaw       | midline| 6-8 57-59 66 67 down          | pterygoids, digastric
28| lips suck             | lips      | lips   | 50 51 down, 57 58 up          | orbicularis oris
31| jaw clencher          | jaw       | midline| 3-5 out                       | masseter
38| nostril dilator       | nostrils  | midline| 31 out                        | alar nasalis
39| nostril compressor    | nostrils  | midline| 31 in                         | transverse nasalis, depressor septi
43| eye closure           | upper lid | midline| 37 38 down                    | levator palpebrae superioris relaxed
45| blink                 | upper lid | midline| 37 38 down                    | palpebral orbicularis oculi
46| wink                  | upper lid | both   | 37 38 down                    | palpebral orbicularis oculi
"""
_UPPER = frozenset({"inner brow", "outer brow", "brows", "upper lid", "lower lid", "cheek"})


@dataclass(frozen=True, kw_only=True)
class Move:
    """Landmarks of the subject's right half and the midline, and whither they go; the left half mirrors it."""

    landmarks: tuple[int, ...]
    direction: Direction


@dataclass(frozen=True, kw_only=True)
class ActionUnit:
    """One row of the table."""

    number: int
    name: str
    muscles: tuple[str, ...]
    region: str
    sides: Sides
    moves: tuple[Move, ...]  # empty where no landmark shows it

    @property
    def half(self) -> Half:
        """Whether it belongs to the upper or the lower face."""
        return "upper" if self.region in _UPPER else "lower"

    @property
    def lateral(self) -> bool:
        """Whether there can be a left and a right one."""
        return self.sides in ("both", "seldom")


def _read(line: str) -> ActionUnit:
    number, name, region, sides, moves, muscles = (cell.strip() for cell in line.split("|"))
    return ActionUnit(
        number=int(number),
        name=name,
        muscles=tuple(muscles.split(", ")),
        region=region,
        sides=sides,  # type: ignore[arg-type]  # a test holds the table to the Literal
        moves=tuple(move for part in moves.split(",") for move in _moves(part.split())),
    )


def _moves(words: list[str]) -> list[Move]:
    points: list[int] = []
    for word in words:
        if not word.isalpha():
            first, _, last = word.partition("-")
            points += range(int(first), int(last or first) + 1)
    return [Move(landmarks=tuple(points), direction=word) for word in words if word.isalpha()]  # type: ignore[arg-type]


ACTION_UNITS: Mapping[int, ActionUnit] = MappingProxyType(
    {unit.number: unit for unit in map(_read, _TABLE.strip().splitlines())}
)


def action_unit(number: int) -> ActionUnit:
    """The unit of that number.

    Raises:
        UnknownName: it is none of the table; head and gaze codes (51 to 64) are not.
    """
    if number not in ACTION_UNITS:
        raise UnknownName(f"there is no AU{number} in the table; it has {', '.join(map(str, ACTION_UNITS))}")
    return ACTION_UNITS[number]


def au_set(name: str) -> tuple[int, ...]:
    """A list of units by the name of who uses it (:data:`zoo.facs.emotions.AU_SETS`), or by numbers: ``"1,2,4"``.

    Raises:
        UnknownName: neither.
    """
    if name in AU_SETS:
        return AU_SETS[name]
    try:
        numbers = tuple(int(part) for part in name.replace("+", ",").split(","))
    except ValueError:
        raise UnknownName(
            f"{name!r} is no set of action units; known: {', '.join(AU_SETS)}, or numbers as in 1,2,4"
        ) from None
    for number in numbers:
        action_unit(number)
    if len(set(numbers)) != len(numbers):
        raise UnknownName(f"{name!r} names a unit twice")
    return numbers


# --- what cannot be together ----------------------------------------------------------------------------------------

# whatever the intensity or side
EXCLUSIVE: frozenset[frozenset[int]] = frozenset(
    frozenset(pair)
    for pair in ((5, 43), (5, 45), (5, 46), (8, 24), (18, 28), (24, 25), (26, 27), (26, 31), (27, 31), (27, 32),
                 (28, 31), (28, 32))
)  # fmt: skip


def conflicts(units: Iterable[Unit]) -> list[tuple[Unit, Unit]]:
    """Pairs that no face can show at once.

    Besides :data:`EXCLUSIVE`: 5 with 7 at intensity E, 16 with 28 of the bottom lip, 22 and 28 of the same lip.
    """
    given = tuple(units)
    return [(a, b) for k, a in enumerate(given) for b in given[k + 1 :] if _conflict(a, b) or _conflict(b, a)]


def _conflict(a: Unit, b: Unit) -> bool:
    if frozenset((a.number, b.number)) in EXCLUSIVE:
        return True
    match a.number, b.number:
        case 5, 7:
            return b.intensity == "E"
        case 16, 28:
            return b.side in (None, "B")
        case 22, 28:
            return a.side is None or b.side is None or a.side == b.side
        case _:
            return False
