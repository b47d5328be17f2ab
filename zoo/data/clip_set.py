"""Labelled clips with their folds: what every source of inputs has in common."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from zoo.data.splits import Fold, check_folds, loso
from zoo.errors import DataError
from zoo.types import InputSpec


@dataclass(frozen=True, kw_only=True, eq=False)
class ClipSet(ABC):
    """N clips: who, what, and which are tested together.

    Raises:
        DataError: lengths differ, a clip occurs twice, or a label is out of range.
    """

    labels: NDArray[np.int64]  # [N]
    datasets: tuple[str, ...]  # [N]
    subjects: tuple[str, ...]  # [N], unique within a data set only
    clips: tuple[str, ...]  # [N]
    classes: tuple[str, ...]
    source: str  # where it was read from, for messages
    aus: tuple[frozenset[int] | None, ...] = ()  # [N], action units coded; None (or none at all) where nobody coded
    folds: tuple[Fold, ...] = ()  # of a protocol; leave-one-subject-out where there are none
    protocol: str = "leave-one-subject-out"  # what the folds are, in words
    persons: tuple[str, ...] = ()  # who is behind each clip, where data sets share people
    complete_test: bool = True  # whether the folds test every clip once
    notes: tuple[str, ...] = ()  # what a user should know of the selection: counts of what was left out, for example

    def __post_init__(self) -> None:
        lengths = {
            len(self.labels),
            len(self.datasets),
            len(self.subjects),
            len(self.clips),
            len(self.aus or self.clips),
        }
        if len(lengths) != 1:
            raise DataError(
                f"{self.source}: wanted N labels, data sets, subjects and clips; got lengths {sorted(lengths)}"
            )
        if len(self.labels) and not (self.labels.min() >= 0 and self.labels.max() < len(self.classes)):
            raise DataError(
                f"{self.source}: labels must be 0..{len(self.classes) - 1} ({', '.join(self.classes)}); "
                f"got {self.labels.min()}..{self.labels.max()}"
            )
        seen: set[str] = set()
        for key in self.keys:
            if key in seen:
                raise DataError(f"{self.source}: clip {key} occurs twice; a clip may be scored once only")
            seen.add(key)

    def __len__(self) -> int:
        return len(self.labels)

    @cached_property
    def keys(self) -> tuple[str, ...]:
        """``dataset/subject/clip`` of each clip."""
        return tuple(f"{d}/{s}/{c}" for d, s, c in zip(self.datasets, self.subjects, self.clips, strict=True))

    @cached_property
    def people(self) -> tuple[str, ...]:
        """``dataset/subject`` of each clip: the unit that a split must not cut."""
        return self.persons or tuple(f"{d}/{s}" for d, s in zip(self.datasets, self.subjects, strict=True))

    def split(self) -> list[Fold]:
        """The folds, refused if they leak; each clip is tested once unless the protocol says otherwise."""
        folds = list(self.folds) or loso(self.people)
        check_folds(folds, self.people, everybody=self.complete_test)
        return folds

    def lines(self) -> list[str]:
        """What is here, for people: clips per data set and class, and what a user should know of the selection."""
        out = [f"{self.protocol}: {len(self)} clips"]
        sets = np.array(self.datasets)
        for name in dict.fromkeys(self.datasets):
            counts = np.bincount(self.labels[sets == name], minlength=len(self.classes))
            out.append(f"  {name}: {', '.join(f'{c} {n}' for c, n in zip(self.classes, counts.tolist(), strict=True))}")
        return [*out, *(f"  {note}" for note in self.notes)]

    @abstractmethod
    def content(self, row: int) -> bytes:
        """What a model is given of a clip, as bytes."""

    @cached_property
    def digest(self) -> str:
        """SHA-256 over names, labels and inputs, independent of their order."""
        names = [f"{key}:{label}:".encode() for key, label in zip(self.keys, self.labels, strict=True)]
        hasher = hashlib.sha256()
        for place, row in enumerate(sorted(range(len(self)), key=names.__getitem__)):
            hasher.update((b"\n" if place else b"") + names[row])
            hasher.update(self.content(row))
        return hasher.hexdigest()

    def au_targets(self, units: Sequence[int]) -> NDArray[np.float32]:
        """1 where a clip shows a unit, 0 where it does not, NaN where nobody coded it. Shapes: -> ``[N, len(units)]``."""
        out = np.full((len(self), len(units)), np.nan, np.float32)
        for row, shown in enumerate(self.aus):
            if shown is not None:
                out[row] = [unit in shown for unit in units]
        return out


@dataclass(frozen=True, kw_only=True, eq=False)
class InputSet(ClipSet):
    """N clips as a model eats them, prepared one by one from frames.

    ``inputs`` holds one or more views of each clip: those as they are (one per magnification), then the same ones mirrored,
    unless mirroring is a flip of the input (``flips``), which costs nothing to do later.
    """

    inputs: NDArray[np.floating]  # [V, N, *spec.shape]
    spec: InputSpec
    pictures: tuple[
        NDArray[np.uint8], ...
    ] = ()  # each [T, S, S, 3]: what the inputs are computed from, for augmentation

    @property
    def flips(self) -> bool:
        """Whether the mirrored view is the input flipped."""
        return self.spec.modality != "patches"

    def content(self, row: int) -> bytes:
        """All views of a clip."""
        return self.inputs[:, row].tobytes()
