"""Pictures read between their pixels, without a bias in motion: cubic splines, and warps turned from start to arrival.

A micro-expression moves skin by a tenth of a pixel. OpenCV's remap answers to 1/32 of a pixel and its cubic kernel, made for
looks, turns a shift of .10 px into .14; the interpolating spline (Unser, IEEE Signal Processing Magazine 1999) keeps it.
"""

from __future__ import annotations

import cv2
import numpy as np
from scipy import ndimage

from zoo.errors import ZooError


class Spline:
    """A picture as a cubic spline: made once, read anywhere. Beyond the border the border's pixels go on.

    Args:
        picture: any numbers; a grey picture may leave its channel out.

    Shapes: ``[H, W, C]`` or ``[H, W]``.
    """

    def __init__(self, picture: np.ndarray) -> None:
        channels = np.moveaxis(np.atleast_3d(picture), 2, 0).astype(np.float32)
        self._flat = picture.ndim == 2
        self._limits = np.array(picture.shape[1::-1], np.float32) - 1
        self._channels = [ndimage.spline_filter(c, 3, np.float32, mode="mirror") for c in channels]

    def at(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Values at these places, in pixels. Shapes: two of any shape ``[...]`` -> float32 ``[..., C]``, or ``[...]``."""
        places = np.stack([np.clip(y, 0, self._limits[1]), np.clip(x, 0, self._limits[0])])
        values = [
            ndimage.map_coordinates(c, places, np.float32, order=3, mode="mirror", prefilter=False)
            for c in self._channels
        ]
        return values[0] if self._flat else np.stack(values, -1)

    def moved(self, arrival: np.ndarray) -> np.ndarray:
        """The picture after its content has moved; the field is read at the place of arrival (see :func:`arrivals`).

        Shapes: ``[2, H, W]`` dx, dy in pixels -> float32, as the picture.
        """
        y, x = np.mgrid[: arrival.shape[1], : arrival.shape[2]].astype(np.float32)
        return self.at(x - arrival[0], y - arrival[1])


def arrivals(field: np.ndarray, *, steps: int = 60, tolerance: float = 0.002) -> np.ndarray:
    """The motion that arrives at each pixel, from the motion that starts at each: ``v(q) = u(q - v(q))``, by iteration.

    An optical flow tells where the pixel of the first picture goes; to draw the moved picture one must know from where a
    pixel comes. The iteration settles where neighbours move apart or together by less than their distance; where a field
    folds the picture there is no answer, and the last of ``steps`` is returned.

    Args:
        field: dx, dy in pixels.
        steps: at most so many rounds.
        tolerance: largest change of a round, in pixels, at which it is settled.

    Shapes: ``[2, H, W]`` -> float32 ``[2, H, W]``.
    """
    if field.ndim != 3 or len(field) != 2 or not np.isfinite(field).all():
        raise ZooError(f"a field of motion [2, H, W] of finite pixels is wanted, got {list(field.shape)}")
    start = np.ascontiguousarray(np.moveaxis(field, 0, 2), np.float32)
    y, x = np.mgrid[: field.shape[1], : field.shape[2]].astype(np.float32)
    out: np.ndarray = start
    for _ in range(steps):
        # bilinear to 1/32 px is enough here: a field is smooth where a picture is not
        found = cv2.remap(start, x - out[..., 0], y - out[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        change = float(np.abs(found - out).max())
        out = found
        if change < tolerance:
            break
    return np.ascontiguousarray(np.moveaxis(out, 2, 0))
