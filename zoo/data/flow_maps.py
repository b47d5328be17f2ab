"""A data set of onset→apex motion pictures, in memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoo.data.clip_set import ClipSet
from zoo.errors import DataError
from zoo.types import Clip, Crop, FlowMap, Normalisation


@dataclass(frozen=True, kw_only=True, eq=False)
class FlowMaps(ClipSet):
    """N clips, each one picture of u, v and strain, normalised.

    Raises:
        DataError: lengths differ, a clip occurs twice, or a label is out of range.
    """

    maps: NDArray[Any]  # [N, 3, H, W], channels u, v, strain; uint8 if stretched to 0..255, else float32
    normalisation: Normalisation = "minmax_255"
    fields: tuple[
        NDArray[np.floating], ...
    ] = ()  # each [3, H, W]: the motion before it was normalised, where it was kept
    crop: Crop = "face"  # what part of such a field the map shows

    def __post_init__(self) -> None:
        kind = np.uint8 if self.normalisation == "minmax_255" else np.float32
        if (
            self.maps.ndim != 4
            or self.maps.shape[1] != 3
            or self.maps.dtype != kind
            or len(self.maps) != len(self.labels)
        ):
            raise DataError(
                f"{self.source}: wanted {np.dtype(kind)} maps [N, 3, H, W] and N labels, data sets, subjects and clips; "
                f"got {self.maps.dtype} {list(self.maps.shape)} and {len(self.labels)} labels"
            )
        super().__post_init__()

    def __iter__(self) -> Iterator[Clip]:
        for i, key in enumerate(self.clips):
            yield Clip(
                id=key,
                dataset=self.datasets[i],
                subject=self.subjects[i],
                emotion=self.classes[self.labels[i]],
                aus=self.aus[i] if self.aus else None,
                flow_map=FlowMap(data=self.maps[i], normalisation=self.normalisation),
            )

    def content(self, row: int) -> bytes:
        """The pixels of a clip."""
        return bytes(self.maps[row].tobytes())
