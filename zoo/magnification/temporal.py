"""Which motion is magnified: a band of frequencies, filtered pixel by pixel over time.

A micro-expression is one pulse of 0.2 to 0.5 s. At any frame rate most of it lies between 0.4 and 5 Hz; below are the slow
sway of the head and the light, above is the noise of the camera. One alone does not pass whole: of a pulse of half a second
the first-order filter lets about six tenths through, so that its motion comes out 1 + 0.6 (alpha - 1) times as large.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from typing import Literal, assert_never, get_args

import numpy as np
from scipy import signal

from zoo.errors import MediaError, ZooError

Temporal = Literal["butterworth", "iir", "ideal"]
BAND = (0.4, 5.0)  # Hz
WARM_UP = 0.5  # seconds that a recursive filter needs before its first answer counts


def sections(
    kind: Literal["butterworth", "iir"],
    fps: float,
    *,
    band: tuple[float, float] = BAND,
    r: tuple[float, float] = (0.4, 0.05),
) -> np.ndarray:
    """The filter as second-order sections, for :func:`scipy.signal.sosfilt`.

    ``butterworth``: first order, between the two frequencies. ``iir``: the difference of two recursive low passes
    ``y[n] = r x[n] + (1 - r) y[n-1]`` of Wu et al. 2012, as one section. Their r hold at 30 frames/s and are carried over
    to others by ``1 - (1 - r)^(30 / fps)``.

    Args:
        kind: which filter.
        fps: frames per second.
        band: lower and upper frequency in Hz, of ``butterworth``.
        r: the faster and the slower rate at 30 frames/s, of ``iir``.

    Shapes: -> ``[1, 6]``.

    Raises:
        ZooError: the band is empty, or above what the frame rate can show.
    """
    match kind:
        case "butterworth":
            check_band(band, fps)
            return np.asarray(signal.butter(1, (band[0], min(band[1], 0.499 * fps)), "bandpass", fs=fps, output="sos"))
        case "iir":
            if not 0 < r[1] < r[0] < 1:
                raise ZooError(f"r is {r}; the faster rate comes first, both between 0 and 1, e.g. (0.4, 0.05)")
            fast, slow = (1 - (1 - value) ** (30 / fps) for value in r)
            poles = (1 - fast, 1 - slow)
            return np.array([[fast - slow, slow - fast, 0, 1, -sum(poles), math.prod(poles)]])
        case _:
            assert_never(kind)


def check_band(band: tuple[float, float], fps: float) -> None:
    """Raises ZooError if no frequency of the band can be seen at this frame rate."""
    low, high = band
    if not (0 < low < high and math.isfinite(high)):
        raise ZooError(f"the band is {low} to {high} Hz; the lower frequency comes first and is above 0")
    if low >= 0.499 * fps:
        raise ZooError(f"a band from {low} Hz cannot be seen at {fps:g} frames/s, which show up to {fps / 2:g} Hz")


class Filter:
    """A band pass that is fed block by block and remembers where it was; a still picture passes as nothing."""

    def __init__(self, sos: np.ndarray) -> None:
        self._sos = sos.astype(np.float32)
        self._rest: np.ndarray | None = None
        self._memory: np.ndarray | None = None

    def __call__(self, block: np.ndarray) -> np.ndarray:
        """Shapes: ``[T, ...]`` -> float32 ``[T, ...]``."""
        block = np.asarray(block, np.float32)
        if self._rest is None or self._memory is None:
            # a band pass forgets a constant, so resting at the first value is starting from zero without it
            self._rest = block[:1].copy()
            self._memory = np.zeros((len(self._sos), 2, *block.shape[1:]), np.float32)
        out, self._memory = signal.sosfilt(self._sos, block - self._rest, axis=0, zi=self._memory)
        return np.asarray(out, np.float32)


def ideal(values: np.ndarray, fps: float, *, band: tuple[float, float] = BAND) -> np.ndarray:
    """A band cut out of the spectrum of the whole clip, which is continued by its mirror image.

    Shapes: ``[T, ...]`` -> float32 ``[T, ...]``.
    """
    check_band(band, fps)
    count = len(values)
    pad = min(max(1, round(WARM_UP * fps)), max(count - 1, 0))
    widened = np.pad(values, [(pad, pad), *[(0, 0)] * (values.ndim - 1)], mode="reflect")
    spectrum = np.fft.rfft(widened, axis=0)
    frequency = np.fft.rfftfreq(len(widened), 1 / fps)
    spectrum[(frequency < band[0]) | (frequency > band[1])] = 0
    return np.fft.irfft(spectrum, len(widened), axis=0)[pad : pad + count].astype(np.float32)


def warmed_up(frames: Iterable[np.ndarray], fps: float) -> Iterator[tuple[np.ndarray, bool]]:
    """The opening half second backwards, so that a filter settles, then all frames; the flag says whether a frame counts."""
    frames = iter(frames)
    wanted = max(1, math.ceil(WARM_UP * fps))
    head = list(islice(frames, wanted + 1))
    if not head:
        raise MediaError("there is no frame to magnify; a video, or a stretch of one, is wanted")
    period = max(1, 2 * (len(head) - 1))  # a clip shorter than that is mirrored again and again
    for step in range(wanted, 0, -1):
        yield head[min(step % period, -step % period)], False
    for frame in chain(head, frames):
        yield frame, True


def blocks(pairs: Iterable[tuple[np.ndarray, bool]], length: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Frames and flags, so many at once. Shapes: -> ``[<= length, H, W, 3]``, bool ``[<= length]``."""
    pairs = iter(pairs)
    while chunk := list(islice(pairs, length)):
        yield np.stack([frame for frame, _ in chunk]), np.array([counts for _, counts in chunk])


def known_temporal(kind: str) -> None:
    """Raises ZooError for a filter that there is not."""
    if kind not in get_args(Temporal):
        raise ZooError(f"there is no temporal filter {kind!r}; known: {', '.join(get_args(Temporal))}")
