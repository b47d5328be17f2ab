"""What was measured on the coding sheets of five data sets: which AU sets each emotion shows, sides, timing.

Counts only; no clip can be told from them. ``4+7x17`` says that the exact set {4, 7} was coded 17 times. Of each emotion
the most frequent sets are kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Statistics of one data set."""

    title: str
    table: Mapping[str, tuple[int, str]]  # emotion -> clips, AU sets
    unilateral: float  # share of clips in which units show on one side only
    left: float  # share of these on the subject's left
    asymmetric: float = 0.0  # share of clips coded as stronger on one side
    onset_ms: float  # median of onset to apex, milliseconds
    onset_sigma: float  # of its logarithm
    apex: tuple[float, float]  # beta distribution of the apex's place between onset and offset
    fps: float

    @property
    def emotions(self) -> dict[str, int]:
        """Clips per emotion."""
        return {emotion: clips for emotion, (clips, _) in self.table.items()}

    @property
    def sets(self) -> dict[str, dict[frozenset[int], int]]:
        """Emotion -> AU set -> count."""
        return {emotion: dict(_read(word) for word in text.split()) for emotion, (_, text) in self.table.items()}


def _read(word: str) -> tuple[frozenset[int], int]:
    units, _, count = word.rpartition("x")
    return frozenset(map(int, units.split("+"))), int(count)


MEASURED: Mapping[str, Measured] = {
    "casme2": Measured(
        title="CASME II", fps=200, unilateral=0.20, left=0.60, onset_ms=150, onset_sigma=0.43, apex=(4.2, 4.0),
        table={
            "others": (99, "4x56 14x13 4+7x4 17x3 12x3 16+24x2"),
            "disgust": (63, "4+7x17 4x11 4+10x10 4+7+10x3 4+6+7x2 10x2"),
            "happiness": (32, "12x21 14x4 12+15x2 6+12x2 1+12x1 4+12x1"),
            "surprise": (28, "1+2x16 1x4 2+12x1 25x1 2+26+38x1 1+2+5+7x1"),
            "repression": (27, "17x12 15x6 15+17x4 12+15x2 4+17x1 12+15+17x1"),
            "sadness": (4, "1x3 1+4x1"),
            "fear": (2, "20x2"),
        },
    ),
    "samm": Measured(
        title="SAMM", fps=200, unilateral=0.26, left=0.62, asymmetric=0.08, onset_ms=160, onset_sigma=0.36,
        apex=(3.7, 4.4),
        table={
            "anger": (57, "7x29 4x13 4+7x4 7+43x4 4+7+43x2 17x1"),
            "others": (26, "2x13 24x5 18+25x1 8+25x1 18+39x1 13+39x1"),
            "happiness": (26, "12x13 7+12x3 6+12+15x2 12+24x2 6+12x1 12+61x1"),
            "surprise": (15, "5x8 1+2x3 25+26x1 26x1 5+24x1 1+2+14x1"),
            "contempt": (12, "14x6 12+14x2 14+17x2 14+25+26x1 14+17+24x1"),
            "disgust": (9, "10x3 9+12x1 9x1 4+9x1 9+10x1 31x1"),
            "fear": (8, "20x4 20+21x1 31x1 7+20+26x1 5+20+25+26x1"),
            "sadness": (6, "1x2 17x2 15+17x1 12+15x1"),
        },
    ),
    "casme3": Measured(
        title="CAS(ME)^3, part A", fps=30, unilateral=0.10, left=0.40, onset_ms=200, onset_sigma=0.41, apex=(1.8, 4.3),
        table={
            "disgust": (250, "4x152 4+9x14 24x12 14x10 9x9 7x7"),
            "surprise": (187, "1+2x84 5x35 4x15 1x13 2x8 7x5"),
            "others": (161, "14x56 38x17 24x10 4x9 1+2x9 17x7"),
            "fear": (86, "4x33 14x12 1+2x5 1x4 20x3 24x3"),
            "anger": (64, "14x36 1x7 4+9+14x5 4x4 7x4 38x2"),
            "sadness": (57, "14x23 4x13 1x7 17x3 14+24x2 24x2"),
            "happiness": (55, "14x21 24x10 38x5 4x5 12x4 15x2"),
        },
    ),
    "mmew": Measured(
        title="MMEW", fps=90, unilateral=0.12, left=0.38, onset_ms=144, onset_sigma=0.39, apex=(4.9, 7.9),
        table={
            "surprise": (89, "1+2+5x28 5x23 26x7 1+2x5 18x4 1+5x4"),
            "disgust": (72, "4+7x23 10x15 4+7+10x8 4+10x6 4+9x5 4+7+14x2"),
            "others": (66, "4x43 14x4 38x4 4+38x3 18x2 4+7x2"),
            "happiness": (36, "12x28 6+12x7 5+12x1"),
            "fear": (16, "20x4 4+5x3 14x2 4+11x1 4+14x1 4+5+14x1"),
            "sadness": (13, "17x5 1x2 14+17+38x1 14x1 1+2x1 1+2+15x1"),
            "anger": (8, "7x7 17+23x1"),
        },
    ),
    "dfme": Measured(
        title="DFME, public subset", fps=200, unilateral=0.17, left=0.44, onset_ms=198, onset_sigma=0.37, apex=(5.6, 5.0),
        table={
            "disgust": (735, "4x223 4+7x173 7x48 4+7+10x27 24x27 10x17"),
            "surprise": (447, "1+2+5x236 1+2x58 5x32 2x17 1x9 4x9"),
            "fear": (365, "4x74 4+7x50 7x33 24x27 5x18 4+5x12"),
            "sadness": (359, "4x73 14x40 4+7x34 17x23 14+24x23 24x21"),
            "happiness": (311, "6+12x118 12x78 12+24x11 24x8 6x7 17x7"),
            "anger": (241, "4x85 4+7x34 24x19 7x12 4+5x10 23x5"),
            "contempt": (171, "12x71 6+12x24 24x10 10x8 14x6 7x5"),
        },
    ),
}  # fmt: skip
