"""A data set of published onset→apex motion pictures, in memory."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from zoo.data.splits import Fold, check_folds, loso
from zoo.errors import DataError
from zoo.types import Clip, Crop, FlowMap


@dataclass(frozen=True, kw_only=True, eq=False)
class FlowMaps:
    """N clips, each one picture of u, v and strain, stretched per picture and channel to 0..255.

    Raises:
        DataError: lengths differ, a clip occurs twice, or a label is out of range.
    """

    maps: NDArray[np.uint8]  # [N, 3, H, W], channels u, v, strain
    labels: NDArray[np.int64]  # [N]
    datasets: tuple[str, ...]  # [N]
    subjects: tuple[str, ...]  # [N], unique within a data set only
    clips: tuple[str, ...]  # [N]
    classes: tuple[str, ...]
    source: str  # where it was read from, for messages
    folds: tuple[Fold, ...] = ()  # of a protocol; leave-one-subject-out where there are none
    protocol: str = "leave-one-subject-out"  # what the folds are, in words
    persons: tuple[str, ...] = ()  # who is behind each clip, where data sets share people
    fields: tuple[
        NDArray[np.floating], ...
    ] = ()  # each [3, H, W]: the motion before it was normalised, where it was kept
    crop: Crop = "face"  # what part of such a field the map shows
    complete_test: bool = True  # whether the folds test every clip once

    def __post_init__(self) -> None:
        lengths = {len(self.maps), len(self.labels), len(self.datasets), len(self.subjects), len(self.clips)}
        if len(lengths) != 1 or self.maps.ndim != 4 or self.maps.shape[1] != 3 or self.maps.dtype != np.uint8:
            raise DataError(
                f"{self.source}: wanted uint8 maps [N, 3, H, W] and N labels, data sets, subjects and clips; "
                f"got {self.maps.dtype} {list(self.maps.shape)} and lengths {sorted(lengths)}"
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
        return len(self.maps)

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

    def __iter__(self) -> Iterator[Clip]:
        for i, key in enumerate(self.clips):
            yield Clip(
                id=key,
                dataset=self.datasets[i],
                subject=self.subjects[i],
                emotion=self.classes[self.labels[i]],
                flow_map=FlowMap(data=self.maps[i], normalisation="minmax_255"),
            )

    @cached_property
    def digest(self) -> str:
        """SHA-256 over names, labels and pixels, independent of their order."""
        parts = sorted(
            f"{k}:{y}:".encode() + m.tobytes() for k, y, m in zip(self.keys, self.labels, self.maps, strict=True)
        )
        return hashlib.sha256(b"\n".join(parts)).hexdigest()
