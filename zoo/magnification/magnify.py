"""One function for all ways to magnify motion, and one meaning of alpha."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal, assert_never, get_args

import numpy as np

from zoo.errors import MediaError, ZooError
from zoo.magnification.temporal import BAND

Method = Literal["lagrangian", "eulerian", "phase", "learned"]


def magnify(
    frames: np.ndarray,
    fps: float | None = None,
    *,
    method: Method = "lagrangian",
    alpha: float = 8.0,
    band: tuple[float, float] = BAND,
    **options: Any,
) -> np.ndarray:
    """A clip whose motion is ``alpha`` times as large.

    Args:
        frames: the clip.
        fps: frames per second; what filters over time (eulerian, phase) needs it.
        method: ``lagrangian`` (optical flow from the first frame), ``eulerian`` (linear), ``phase``, or ``learned``.
        alpha: how many times as large the motion comes out; 1 leaves it as it is. In the linear method's papers, and in
            the ports of the learned one, the number that is called alpha is ours less one.
        band: in Hz, of what filters over time.
        options: further arguments of :func:`~zoo.magnification.lagrangian.lagrangian`,
            :func:`~zoo.magnification.eulerian.eulerian`, :func:`~zoo.magnification.phase.phase_based` or
            :func:`~zoo.magnification.learned.learned`.

    Shapes: uint8 ``[T, H, W, 3]`` -> uint8 ``[T, H, W, 3]``.

    Raises:
        MediaError: the frames are no uint8 RGB clip. ZooError: an argument makes no sense; the message says which.
    """
    frames = np.asarray(frames)
    if frames.ndim != 4 or frames.shape[3] != 3 or frames.dtype != np.uint8 or not len(frames):
        raise MediaError(f"frames [T, H, W, 3] of uint8 are wanted, got {frames.dtype} {list(frames.shape)}")
    return np.stack(list(magnified(frames, fps, method=method, alpha=alpha, band=band, options=options)))


def magnified(
    frames: Iterable[np.ndarray],
    fps: float | None = None,
    *,
    method: Method = "lagrangian",
    alpha: float = 8.0,
    band: tuple[float, float] = BAND,
    options: Mapping[str, Any] | None = None,
) -> Iterator[np.ndarray]:
    """As :func:`magnify`, frame by frame, in memory that does not grow with the clip."""
    if method not in get_args(Method):
        raise ZooError(f"there is no method {method!r}; known: {', '.join(get_args(Method))}")
    if not (math.isfinite(alpha) and alpha >= 0):
        raise ZooError(f"alpha is {alpha}; it says how many times as large the motion comes out, 1 leaves it as it is")
    if fps is not None and not (math.isfinite(fps) and fps > 0):
        raise ZooError(f"fps is {fps}; frames per second must be a positive number")
    if fps is None and method in ("eulerian", "phase"):
        raise MediaError(f"{method} filters over time and needs the frame rate, which is not known; give fps")
    more, gain, rate = dict(options or {}), alpha - 1, fps or 0.0
    frames = _checked(frames)
    match method:
        case "lagrangian":
            from zoo.magnification.lagrangian import lagrangian

            return lagrangian(frames, gain=gain, **more)
        case "eulerian":
            from zoo.magnification.eulerian import eulerian

            return eulerian(frames, rate, gain=gain, band=band, **more)
        case "phase":
            from zoo.magnification.phase import phase_based

            return phase_based(frames, rate, gain=gain, band=band, **more)
        case "learned":
            from zoo.magnification.learned import learned

            return learned(frames, fps, gain=gain, band=band, **more)
        case _:
            assert_never(method)


def _checked(frames: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    shape: tuple[int, ...] | None = None
    for frame in frames:
        shape = shape or frame.shape
        if frame.shape != shape or frame.ndim != 3 or frame.shape[2] != 3 or frame.dtype != np.uint8:
            raise MediaError(
                f"uint8 RGB frames of one size are wanted; after {list(shape)} came {frame.dtype} {list(frame.shape)}"
            )
        if min(frame.shape[:2]) < 16:
            raise MediaError(f"frames are {frame.shape[1]}x{frame.shape[0]}; at least 16 px each way are needed")
        yield frame
