"""The face cut out of one frame; what is not asked for is not made."""

from __future__ import annotations

from functools import cached_property

import cv2
import numpy as np

from zoo.vision.faces import FACE_SIZE, align
from zoo.vision.video import Planes

FOLLOW_SIZE = 84  # px at which the head is followed and motion is measured


class SteadyFace:
    """The face of one frame, cut out of it; what is not asked for is not made.

    Attributes:
        index: of the frame.
        time: of the frame in seconds, or None.
        segment: faces of different segments were aligned from scratch and must not be compared.
    """

    def __init__(
        self,
        index: int,
        time: float | None,
        segment: int,
        *,
        grey: np.ndarray | None = None,
        colour: Planes | np.ndarray | None = None,
    ) -> None:
        self.index, self.time, self.segment, self._grey, self._colour = index, time, segment, grey, colour

    @property
    def grey(self) -> np.ndarray:
        """Shapes: uint8 ``[size, size]``."""
        if self._grey is not None:
            return self._grey
        if isinstance(self._colour, Planes):
            return self._colour.grey
        assert self._colour is not None
        return cv2.cvtColor(self._colour, cv2.COLOR_RGB2GRAY)

    @cached_property
    def small(self) -> np.ndarray:
        """Shapes: uint8 ``[84, 84]``."""
        return cv2.resize(self.grey, (FOLLOW_SIZE, FOLLOW_SIZE), interpolation=cv2.INTER_AREA)

    @property
    def rgb(self) -> np.ndarray:
        """Shapes: uint8 ``[168, 168, 3]``."""
        if isinstance(self._colour, Planes):
            return _rgb(self._colour)
        if self._colour is not None:
            return self._colour
        return cv2.cvtColor(self.grey, cv2.COLOR_GRAY2RGB)


def resized(matrix: np.ndarray, factor: float) -> np.ndarray:
    """A transform into a crop that is larger by ``factor``; pixel centres lie at whole numbers."""
    out: np.ndarray = matrix * factor
    out[:, 2] += 0.5 * factor - 0.5
    return out


def cut_planes(planes: Planes, matrix: np.ndarray) -> Planes:
    """The crop in the file's own planes, colour at half the size."""
    half = matrix.copy()  # both the frame and the crop are half as large: the linear part stays
    half[:, 2] = (matrix[:, :2] @ np.full(2, 0.5) + matrix[:, 2] - 0.5) / 2
    y = align(planes.y, matrix)
    u, v = (align(p, half, FACE_SIZE // 2) for p in (planes.u, planes.v))
    return Planes(y, u, v, planes.full, planes.bt709)


def _rgb(planes: Planes) -> np.ndarray:
    size = planes.y.shape[::-1]
    u, v = (cv2.resize(p, size, interpolation=cv2.INTER_LINEAR).astype(np.float32) - 128 for p in (planes.u, planes.v))
    y = planes.y.astype(np.float32)
    if not planes.full:
        y, u, v = (y - 16) * (255 / 219), u * (255 / 224), v * (255 / 224)
    red, blue = (0.2126, 0.0722) if planes.bt709 else (0.299, 0.114)
    r, b = y + 2 * (1 - red) * v, y + 2 * (1 - blue) * u
    g = (y - red * r - blue * b) / (1 - red - blue)
    return np.clip(np.rint(np.stack([r, g, b], 2)), 0, 255).astype(np.uint8)
