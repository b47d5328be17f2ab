"""One picture of a video, converted to what is asked of it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import cv2
import numpy as np

from zoo.errors import MediaError


@dataclass(frozen=True)
class Planes:
    """The brightness and the two half-sized colour planes that most videos are stored as."""

    y: np.ndarray  # uint8 [H, W]
    u: np.ndarray  # uint8 [ceil(H/2), ceil(W/2)]
    v: np.ndarray
    full: bool  # brightness runs from 0 to 255; otherwise from 16 to 235
    bt709: bool  # colour matrix of high definition; otherwise BT.601

    @property
    def grey(self) -> np.ndarray:
        """The brightness from 0 to 255."""
        return self.y if self.full else cv2.LUT(self.y, _full_range())


class Frame:
    """One decoded picture. Colour is converted when it is asked for: it costs several times what decoding does.

    Attributes:
        index: from 0.
        time: seconds from the first frame; None where no rate is known.
        planes: as stored in the file, where it is 4:2:0 of 8 bits; views that live as long as the frame.
    """

    def __init__(
        self, index: int, time: float | None, rgb: np.ndarray | None = None, *, picture: Any = None, turn: int = 0
    ) -> None:
        if (rgb is None) == (picture is None):
            raise MediaError("a frame is made of a picture in colour, or of a decoded one")
        self.index, self.time, self._picture, self._turn = index, time, picture, turn
        if rgb is not None:
            self.__dict__["rgb"] = rgb

    @cached_property
    def rgb(self) -> np.ndarray:
        """Shapes: uint8 ``[H, W, 3]``."""
        return np.ascontiguousarray(np.rot90(self._picture.to_ndarray(format="rgb24"), self._turn))

    @cached_property
    def grey(self) -> np.ndarray:
        """Brightness from 0 to 255, as the grey of :attr:`rgb` but for a few units of rounding. Shapes: uint8 ``[H, W]``."""
        if self.planes is not None:
            return self.planes.grey
        return self.rgb if self.rgb.ndim == 2 else cv2.cvtColor(self.rgb, cv2.COLOR_RGB2GRAY)

    @cached_property
    def planes(self) -> Planes | None:
        """As stored in the file; None where it is not 4:2:0 of 8 bits."""
        picture = self._picture
        if picture is None or picture.format.name not in ("yuv420p", "yuvj420p"):
            return None
        y, u, v = (np.frombuffer(p, np.uint8).reshape(-1, p.line_size)[: p.height, : p.width] for p in picture.planes)
        if self._turn:
            y, u, v = (np.ascontiguousarray(np.rot90(p, self._turn)) for p in (y, u, v))
        full = picture.format.name == "yuvj420p" or int(picture.color_range) == 2
        return Planes(y, u, v, full, int(picture.colorspace) == 1)


@cache
def _full_range() -> np.ndarray:
    return np.clip(np.rint((np.arange(256) - 16.0) * 255 / 219), 0, 255).astype(np.uint8)
