"""Linear Eulerian magnification: what a pixel's brightness does over time, in a band of frequencies, is amplified.

Wu, Rubinstein, Shih, Guttag, Durand, Freeman: "Eulerian Video Magnification for Revealing Subtle Changes in the World",
ACM Transactions on Graphics 31(4), 2012. A picture f moved by d changes by about d f'; adding gain times the change looks like
motion of (1 + gain) d, as long as that is below an eighth of the wavelength of what moves.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from functools import partial

import cv2
import numpy as np

from zoo.errors import ZooError
from zoo.magnification.temporal import BAND, Filter, Temporal, blocks, ideal, known_temporal, sections, warmed_up

_YIQ = np.array([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]], np.float32)
_RGB = np.linalg.inv(_YIQ).astype(np.float32)
Pass = Callable[[np.ndarray], np.ndarray]  # a filter over time
BLOCK = 16  # frames held at once
WHOLE_CLIP = 150_000_000  # pixels of a clip that the ideal filter, which needs all of it, may hold


def eulerian(
    frames: Iterable[np.ndarray],
    fps: float,
    *,
    gain: float,
    temporal: Temporal = "butterworth",
    band: tuple[float, float] = BAND,
    r: tuple[float, float] = (0.4, 0.05),
    wavelength: float = 16.0,
    chroma: float = 0.1,
) -> Iterator[np.ndarray]:
    """Magnify frame by frame; memory does not grow with the clip, but for ``temporal="ideal"``.

    Each level of a Laplacian pyramid of Y, I and Q is band-passed over time and amplified. Levels finer than ``wavelength``
    are amplified less, by the authors' rule with their factor 2; the finest and the coarsest not at all.

    Args:
        frames: the clip.
        fps: frames per second.
        gain: by how much the change is multiplied before it is added; the motion comes out 1 + gain times as large. This is
            the alpha of the paper.
        temporal: the filter over time, see :mod:`zoo.magnification.temporal`.
        band: in Hz, of ``butterworth`` and ``ideal``.
        r: rates at 30 frames/s, of ``iir``.
        wavelength: in pixels, from which on the full gain holds (lambda_c).
        chroma: share of the gain that the colours get.

    Shapes: each uint8 ``[H, W, 3]`` -> each uint8 ``[H, W, 3]``.

    Raises:
        ZooError: an unknown filter, an empty band, a clip too long for ``ideal``.
    """
    known_temporal(temporal)
    if temporal == "ideal":
        clip = _whole(frames)
        passes: list[Pass] = [partial(ideal, fps=fps, band=band)] * (depth(clip.shape[1:3]) + 1)
        yield from _magnified(clip, passes, gain, wavelength, chroma)
        return
    sos = sections(temporal, fps, band=band, r=r)
    passes = []
    for block, counts in blocks(warmed_up(frames, fps), BLOCK):
        passes = passes or [Filter(sos) for _ in range(depth(block.shape[1:3]) + 1)]
        magnified = _magnified(block, passes, gain, wavelength, chroma)
        yield from (frame for frame, wanted in zip(magnified, counts, strict=True) if wanted)


def _whole(frames: Iterable[np.ndarray]) -> np.ndarray:
    kept: list[np.ndarray] = []
    for frame in frames:
        kept.append(frame)
        if len(kept) * frame.shape[0] * frame.shape[1] > WHOLE_CLIP:
            raise ZooError(
                f"the ideal filter holds the whole clip in memory, at most {WHOLE_CLIP:,} pixels, which {len(kept)} frames of "
                f"{frame.shape[1]}x{frame.shape[0]} exceed; give a shorter stretch, or the butterworth filter"
            )
    if not kept:
        raise ZooError("there is no frame to magnify")
    return np.stack(kept)


def _magnified(
    block: np.ndarray, passes: list[Pass], gain: float, wavelength: float, chroma: float
) -> Iterator[np.ndarray]:
    gains = level_gains(gain, block.shape[1:3], wavelength)
    pyramids = [laplacian_pyramid(frame.astype(np.float32) @ _YIQ.T, len(gains) - 1) for frame in block]
    levels = [np.stack(level) for level in zip(*pyramids, strict=True)]
    changes = [
        passed(level) * np.float32(own) if own else 0 * level
        for passed, level, own in zip(passes, levels, gains, strict=True)
    ]
    to_rgb = (_RGB * np.array([1, chroma, chroma], np.float32)).T
    for frame, *change in zip(block, *changes, strict=True):
        yield np.clip(np.rint(frame + collapse(change) @ to_rgb), 0, 255).astype(np.uint8)


def depth(shape: tuple[int, ...]) -> int:
    """Band-pass levels of the pyramid; the residual keeps at least 5 px."""
    return max(1, int(math.log2(max(min(shape) / 5, 1))))


def level_gains(gain: float, shape: tuple[int, ...], wavelength: float) -> list[float]:
    """Gain of each level, finest first, the residual last.

    With ``delta = wavelength / (8 (1 + gain))``, a level that shows the wavelength w gets ``2 (w / (8 delta) - 1)``, at most
    the gain, at least 0. The residual shows a third of the picture's diagonal, each finer level half of the coarser.
    """
    levels = depth(shape)
    delta = wavelength / (8 * (1 + gain)) if gain > -1 else math.inf
    shown = [math.hypot(*shape) / 3 / 2 ** (levels - level) for level in range(levels + 1)]
    gains = [min(max(2 * (w / (8 * delta) - 1), 0.0), gain) for w in shown] if gain > 0 else [gain] * (levels + 1)
    return [0.0, *gains[1:-1], 0.0]


def laplacian_pyramid(picture: np.ndarray, count: int) -> list[np.ndarray]:
    """Differences of ever coarser pictures, finest first, and what remains. Shapes: ``[H, W, C]`` -> each ``[h, w, C]``."""
    levels = []
    for _ in range(count):
        smaller = cv2.pyrDown(picture)
        levels.append(picture - _enlarge(smaller, picture.shape[:2]))
        picture = smaller
    return [*levels, picture]


def _enlarge(picture: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    return cv2.pyrUp(picture, dstsize=(shape[1], shape[0]))


def collapse(levels: list[np.ndarray]) -> np.ndarray:
    """The picture that a pyramid was made of."""
    picture = levels[-1]
    for level in reversed(levels[:-1]):
        picture = level + _enlarge(picture, level.shape[:2])
    return picture
