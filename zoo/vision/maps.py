"""Flow seen as pictures: its components and strain, length and direction, and the colour code of directions."""

from __future__ import annotations

import cv2
import numpy as np

from zoo.errors import ZooError
from zoo.vision.strain import optical_strain


def motion_maps(flow: np.ndarray) -> np.ndarray:
    """Horizontal motion, vertical motion and optical strain, at the resolution of the flow.

    Shapes: ``[2, H, W]`` in pixels -> float32 ``[3, H, W]``: u and v in pixels, strain dimensionless.

    Raises:
        ZooError: not a flow, or one that is not finite.
    """
    _check(flow)
    return np.concatenate([flow.astype(np.float32), optical_strain(flow)[None]])


def polar(flow: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Length and direction of each vector.

    Shapes: ``[2, H, W]`` in pixels -> float32 ``[H, W]`` length in pixels, and ``[H, W]`` angle ``atan2(v, u)`` in radians from
    0 (right) over a quarter turn (down, since y points down) to below a full turn. Where nothing moves the angle is 0.

    Raises:
        ZooError: as :func:`motion_maps`.
    """
    _check(flow)
    u, v = flow.astype(np.float32)
    angle = np.arctan2(v, u)
    turned = np.where(angle < 0, angle + np.float32(2 * np.pi), angle)
    return np.hypot(u, v), np.where(turned >= np.float32(2 * np.pi), np.float32(0), turned)


def hsv_code(flow: np.ndarray, *, saturation: np.ndarray | None = None, largest: float | None = None) -> np.ndarray:
    """The flow as a picture: hue tells the direction, brightness the length.

    With the apex frame for ``saturation`` this is the input of EMR (Liu, Du, Zheng, Gedeon, FG 2019): hue = angle, saturation
    that of the apex, value = length stretched from its least to its largest.

    Args:
        flow: in pixels.
        saturation: RGB picture whose saturation is taken; None: full.
        largest: length in pixels that is shown brightest, from 0 on, so that pictures can be compared; None: stretched.

    Shapes: ``[2, H, W]``, uint8 ``[H, W, 3]`` -> uint8 ``[H, W, 3]`` RGB. A flow of a single length everywhere is black when
    stretched, as nothing stands out.

    Raises:
        ZooError: as :func:`motion_maps`; a picture of another size; ``largest`` not positive.
    """
    length, angle = polar(flow)
    if largest is not None and not largest > 0:
        raise ZooError(f"largest is {largest}; it is the length in pixels that is shown brightest")
    low, high = (float(length.min()), float(length.max())) if largest is None else (0.0, largest)
    value = np.zeros_like(length) if high - low < 1e-6 else np.clip((length - low) / (high - low), 0, 1)
    code = np.empty((*length.shape, 3), np.uint8)
    code[..., 0] = np.rint(np.degrees(angle) / 2).astype(int) % 180  # OpenCV's hue counts in steps of 2 degrees
    code[..., 1] = 255 if saturation is None else _saturation(saturation, length.shape)
    code[..., 2] = np.rint(255 * value)
    return np.asarray(cv2.cvtColor(code, cv2.COLOR_HSV2RGB))


def _saturation(picture: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    if picture.dtype != np.uint8 or picture.shape != (*shape, 3):
        raise ZooError(f"saturation wants a uint8 RGB picture {[*shape, 3]}, got {picture.dtype} {list(picture.shape)}")
    channel: np.ndarray = cv2.cvtColor(picture, cv2.COLOR_RGB2HSV)[..., 1]
    return channel


def _check(flow: np.ndarray) -> None:
    if flow.ndim != 3 or flow.shape[0] != 2 or min(flow.shape[1:]) < 2:
        raise ZooError(f"a flow [2, H, W] of at least 2x2 pixels is wanted, got {list(flow.shape)}")
    if not np.isfinite(flow).all():
        raise ZooError(f"the flow is not finite in {int((~np.isfinite(flow)).any(0).sum())} of {flow[0].size} pixels")
