"""AU scripts: what a face does and when, drawn from what was measured on people who had a micro-expression.

An emotion is drawn by its frequency in a data set, the set of action units by its frequency within that emotion; side,
intensity and timing follow the distributions measured there. Units that exclude each other never meet.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any, Literal, get_args

import numpy as np

from zoo.errors import ZooError
from zoo.facs.coding import Unit
from zoo.facs.emotions import objective_class
from zoo.facs.geometry import Side
from zoo.synthesis.fields import Movement, action_units, sides
from zoo.synthesis.measured import MEASURED, Measured
from zoo.types import Interval

Kind = Literal["micro", "macro"]

# FACS letters as a share of the full displacement.
LETTERS: Mapping[str, float] = {"A": 0.10, "B": 0.25, "C": 0.45, "D": 0.70, "E": 1.0}
# How often a micro-expression shows them (SAMM); E is what eyes that close do, and is left to AU43.
_MICRO = (("A", 0.33), ("B", 0.34), ("C", 0.21), ("D", 0.06))
_MACRO = (("C", 0.35), ("D", 0.40), ("E", 0.25))  # Reading: marked to maximal, nobody has counted them
# Pairs that cannot be shown together (FACS manual). 16 excludes the lower lip's 28, 22 and 28 the same lip's.
EXCLUSIVE = frozenset(
    map(
        frozenset,
        ((5, 43), (5, 45), (5, 46), (8, 24), (16, 28), (18, 28), (22, 28), (24, 25), (26, 27), (26, 31), (27, 31), (27, 32),
         (28, 31), (28, 32)),
    )
)  # fmt: skip
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
    kind: Kind
    moves: tuple[Move, ...]

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
        return cls(dataset=data["dataset"], emotion=data["emotion"], kind=data["kind"], moves=moves)


def conflicts(aus: Sequence[int] | frozenset[int]) -> list[tuple[int, int]]:
    """Pairs in a set of action units that cannot be shown together."""
    given = sorted(set(aus))
    return [(a, b) for i, a in enumerate(given) for b in given[i + 1 :] if frozenset((a, b)) in EXCLUSIVE]


@cache
def playable(dataset: str) -> Mapping[str, Mapping[frozenset[int], int]]:
    """Emotion -> AU set -> how often it was coded, of the sets that can be played; the emotion's other sets are left out."""
    fields = set(action_units())
    table = {
        emotion: {s: n for s, n in sets.items() if s <= fields and not conflicts(s)}
        for emotion, sets in measured(dataset).sets.items()
    }
    return {emotion: sets for emotion, sets in table.items() if sets}


def measured(dataset: str) -> Measured:
    """What was measured on a data set.

    Raises:
        ZooError: none of that name; the message lists them.
    """
    if dataset not in MEASURED:
        raise ZooError(f"no statistics of {dataset!r}; scripts can be drawn from {', '.join(MEASURED)}")
    return MEASURED[dataset]


def draw(
    rng: np.random.Generator,
    *,
    dataset: str = "casme2",
    emotion: str | None = None,
    kind: Kind = "micro",
    aus: frozenset[int] | None = None,
) -> AUScript:
    """Draw one script.

    Args:
        rng: where chance comes from.
        dataset: whose statistics; see :data:`zoo.synthesis.measured.MEASURED`.
        emotion: None draws it by its frequency there.
        kind: micro (under half a second and faint) or macro.
        aus: this set in place of a drawn one; then ``emotion`` must be given.

    Raises:
        ZooError: an emotion that the data set does not code, or units that cannot be played together.
    """
    if kind not in get_args(Kind):
        raise ZooError(f"kind is {kind!r}; known: {', '.join(get_args(Kind))}")
    statistics, table = measured(dataset), playable(dataset)
    if emotion is None:
        counts = {e: statistics.emotions[e] for e in table}
        emotion = _choose(rng, counts)
    elif emotion not in table and aus is None:
        raise ZooError(f"{dataset} codes no {emotion!r}; its emotions are {', '.join(table)}")
    if aus is None:
        aus = _choose(rng, table[emotion])
    elif clash := conflicts(aus):
        raise ZooError(f"AU{clash[0][0]} and AU{clash[0][1]} exclude each other (FACS manual); take one of them")
    moves = _moves(rng, sorted(aus), statistics, kind)
    return AUScript(dataset=dataset, emotion=emotion, kind=kind, moves=moves)


def _choose(rng: np.random.Generator, counts: Mapping[Any, int]) -> Any:
    names, weights = list(counts), np.array(list(counts.values()), np.float64)
    return names[int(rng.choice(len(names), p=weights / weights.sum()))]


def _moves(rng: np.random.Generator, aus: Sequence[int], statistics: Measured, kind: Kind) -> tuple[Move, ...]:
    side, ratio = _side(rng, statistics)
    sided = [a for a in aus if len(sides(a)) > 1]
    chosen = {a for a in sided if a in _ONE_SIDED} or set(sided)
    rise, total = _timing(rng, statistics, kind)
    moves = []
    for au in aus:
        letter, intensity = _intensity(rng, au, kind)
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


def _side(rng: np.random.Generator, statistics: Measured) -> tuple[Side, float]:
    """The stronger side, and how much of it the other side shows (0: nothing). ``both``: the sides are equal."""
    chance, left = rng.random(), rng.random() < statistics.left
    ratio = float(rng.uniform(0.3, 0.8))
    side: Side = "left" if left else "right"
    if chance < statistics.unilateral:
        return side, 0.0
    return (side, ratio) if chance < statistics.unilateral + statistics.asymmetric else ("both", 1.0)


def _intensity(rng: np.random.Generator, au: int, kind: Kind) -> tuple[str, float]:
    letters = _MICRO if kind == "micro" else _MACRO
    if au == 43:
        letters = (("D", 0.25), ("E", 0.75))
    letter = str(_choose(rng, {name: round(100 * p) for name, p in letters}))
    # Reading: people fill the range between two letters; a tenth either way
    return letter, min(1.0, LETTERS[letter] * float(rng.uniform(0.9, 1.1)))


def _timing(rng: np.random.Generator, statistics: Measured, kind: Kind) -> tuple[float, float]:
    """Milliseconds from onset to apex, and from onset to offset."""
    median, sigma, shape, least, most = (
        (statistics.onset_ms, statistics.onset_sigma, statistics.apex, 115.0, 700.0)
        if kind == "micro"
        # CAS(ME)^2, macro: quartiles 300, 400, 533 ms; apex at 0.38 ± 0.14 of the whole
        else (400.0, 0.43, (4.2, 6.8), 600.0, 4000.0)
    )
    rise = float(np.clip(median * np.exp(sigma * rng.standard_normal()), 40.0, 0.75 * most))
    total = float(np.clip(rise / np.clip(rng.beta(*shape), 0.1, 0.9), least, most))
    return min(rise, 0.85 * total), total
