"""How often action units occur, alone and together, in the published annotations of the data sets: aggregates, no clip.

``au_statistics.json`` was counted for this project from the public coding sheets that it names. Of alternatives ("14 or 23")
both count, and so do reference units. Emotions list the most frequent exact sets and not all of them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Any

import numpy as np

from zoo.errors import UnknownName

AUSet = frozenset[int]
# three sheets of the 200 and 30 frames-a-second era, added up; what a graph starts from when nothing else is asked
POOLED = ("casme2", "samm", "casme3_a")


@dataclass(frozen=True, kw_only=True)
class Quartiles:
    """Of a duration, in milliseconds."""

    count: int
    lower: float
    median: float
    upper: float


@dataclass(frozen=True, kw_only=True)
class EmotionStatistics:
    """The clips of one emotion."""

    clips: int
    aus: Mapping[int, int]  # unit -> clips that show it
    sets: Mapping[AUSet, int]  # exact set -> clips, the most frequent ones


@dataclass(frozen=True, kw_only=True, eq=False)
class Statistics:
    """What was counted in one data set."""

    sheet: str  # which annotation was read
    clips: int
    subjects: int
    fps: int | None  # None where it varies
    aus: tuple[int, ...]  # every unit that occurs
    joint: np.ndarray  # int [A, A] in the order of `aus`: clips with both; the diagonal each unit's own
    sides: Mapping[str, int]  # clips coded on no side, left, right, both, asymmetric
    sides_by_au: Mapping[int, tuple[int, int]]  # unit -> left, right; what "left" means is sure for SAMM alone
    intensities: Mapping[str, int]  # letter A..E -> units coded so; empty where the sheet has none
    onset_to_apex_ms: Quartiles
    onset_to_offset_ms: Quartiles
    apex_position: tuple[float, float]  # mean and deviation of (apex - onset) / (offset - onset)
    sets: Mapping[AUSet, int]  # exact set -> clips, the most frequent ones
    objective: tuple[int, ...]  # clips of objective class I..VII as the sheet says; empty where it does not
    emotions: Mapping[str, EmotionStatistics]

    def count(self, au: int) -> int:
        """Clips that show the unit."""
        return int(self.joint[self.aus.index(au), self.aus.index(au)]) if au in self.aus else 0


@cache
def _table() -> dict[str, Any]:
    table: dict[str, Any] = json.loads(files("zoo.facs").joinpath("au_statistics.json").read_text(encoding="utf-8"))
    return table


def sources() -> tuple[str, ...]:
    """Names that :func:`statistics` and :func:`joint_counts` know; ``pooled`` for the latter alone."""
    return (*_table(), "pooled")


@cache
def statistics(source: str) -> Statistics:
    """The counts of one data set.

    Raises:
        UnknownName: there is none of that name.
    """
    if source not in _table():
        near = get_close_matches(source, _table(), n=3)
        raise UnknownName(f"there are no AU statistics of {source!r}; known: {', '.join(near or _table())}")
    row = _table()[source]
    upper = np.zeros((len(row["aus"]),) * 2, np.int64)
    for i, counts in enumerate(row["joint"]):
        upper[i, i:] = counts
    joint = upper + np.triu(upper, 1).T
    joint.flags.writeable = False  # the result is shared
    return Statistics(
        sheet=row["sheet"],
        clips=row["clips"],
        subjects=row["subjects"],
        fps=row["fps"],
        aus=tuple(row["aus"]),
        joint=joint,
        sides=MappingProxyType(row["sides"]),
        sides_by_au={int(au): (left, right) for au, (left, right) in row["sides_by_au"].items()},
        intensities=MappingProxyType(row.get("intensities", {})),
        onset_to_apex_ms=_quartiles(row["onset_to_apex_ms"]),
        onset_to_offset_ms=_quartiles(row["onset_to_offset_ms"]),
        apex_position=(row["apex_position"][1], row["apex_position"][2]),
        sets=_sets(row["sets"]),
        objective=tuple(row.get("objective", ())),
        emotions={
            name: EmotionStatistics(
                clips=part["clips"], aus={int(au): n for au, n in part["aus"].items()}, sets=_sets(part["sets"])
            )
            for name, part in row.get("emotions", {}).items()
        },
    )


def joint_counts(aus: Sequence[int], source: str = "pooled") -> np.ndarray:
    """Clips that show both of two units; the diagonal counts each. A unit that never occurs has zeros.

    Args:
        aus: which units, in which order.
        source: a data set, or ``pooled`` for the sum of CASME II (2019), SAMM and CAS(ME)³ part A.

    Shapes: int ``[A, A]``.

    Raises:
        UnknownName: there are no statistics of that name.
    """
    out = np.zeros((len(aus), len(aus)), np.int64)
    for name in POOLED if source == "pooled" else (source,):
        part = statistics(name)
        known = [k for k, au in enumerate(aus) if au in part.aus]
        index = [part.aus.index(aus[k]) for k in known]
        out[np.ix_(known, known)] += part.joint[np.ix_(index, index)]
    return out


def clip_count(source: str = "pooled") -> int:
    """Clips that the counts of ``source`` rest on."""
    return sum(statistics(name).clips for name in (POOLED if source == "pooled" else (source,)))


def positive_weights(aus: Sequence[int], source: str = "pooled") -> np.ndarray:
    """``(N - n) / n`` for a binary loss; of a unit that never occurs, as if it did once. Shapes: float ``[A]``."""
    shown = np.maximum(np.diag(joint_counts(aus, source)), 1)
    return (clip_count(source) - shown) / shown


def _quartiles(values: Sequence[float]) -> Quartiles:
    return Quartiles(count=int(values[0]), lower=values[1], median=values[2], upper=values[3])


def _sets(table: Mapping[str, int]) -> dict[AUSet, int]:
    return {frozenset(map(int, units.split("+"))): count for units, count in table.items()}
