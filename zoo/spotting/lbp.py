"""Apex and movements by how the texture changes: local binary patterns in blocks, and divide and conquer.

Liong, See, Wong, Le Ngo, Oh, Phan: "Automatic Apex Frame Spotting in Micro-expression Database", ACPR 2015; Moilanen, Zhao,
Pietikäinen: "Spotting Rapid Facial Movements from Videos Using Appearance-Based Feature Difference Analysis", ICPR 2014.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Literal, assert_never, get_args

import cv2
import numpy as np

from zoo.errors import MediaError, ZooError
from zoo.spotting.events import contrast, runs, threshold
from zoo.types import FlowMethod
from zoo.vision.flow import optical_flow
from zoo.vision.strain import optical_strain

ApexMethod = Literal["lbp", "strain", "motion", "middle"]
SIZE = 168  # px of the faces compared by texture
STRAIN_SIZE = 112  # px of those compared by motion
BINS = 59  # uniform patterns of 8 neighbours, and one for all the rest
N = 10  # frames at 30 per second that a movement of Moilanen's may last
P = 0.15  # of the threshold
M = 12  # of the 36 blocks that count


def lbp_histograms(grey: np.ndarray, *, blocks: int = 6, radius: int = 3) -> np.ndarray:
    """Histograms of uniform local binary patterns (8 neighbours), one per block, each summing to 1.

    Shapes: uint8 ``[H, W]`` -> float32 ``[blocks², 59]``.
    """
    from skimage.feature import local_binary_pattern

    codes = local_binary_pattern(grey, 8, radius, method="nri_uniform").astype(np.int64)
    rows = np.arange(codes.shape[0]) * blocks // codes.shape[0]
    columns = np.arange(codes.shape[1]) * blocks // codes.shape[1]
    at = (rows[:, None] * blocks + columns[None]) * BINS + codes
    counts = np.bincount(at.ravel(), minlength=blocks * blocks * BINS).reshape(blocks * blocks, BINS)
    return (counts / counts.sum(1, keepdims=True)).astype(np.float32)


def lbp_curve(frames: Iterable[np.ndarray], *, blocks: int = 6, radius: int = 3) -> np.ndarray:
    r"""How unlike the first frame each frame is in texture: :math:`1 - \cos` of the block histograms, mean over blocks.

    Args:
        frames: aligned faces, grey or RGB, the onset first.
        blocks: along each side.
        radius: of the pattern, in pixels of the 168-pixel face.

    Shapes: n frames -> float64 ``[n]``, 0 at the first.
    """
    first: np.ndarray | None = None
    values = []
    for frame in frames:
        now = lbp_histograms(_grey(frame, SIZE), blocks=blocks, radius=radius)
        first = now if first is None else first
        norm = np.sqrt((first**2).sum(1) * (now**2).sum(1))
        values.append(float(1 - ((first * now).sum(1) / np.maximum(norm, 1e-12)).mean()))
    return np.array(values)


def strain_curve(frames: Iterable[np.ndarray], *, flow: FlowMethod = "dis") -> np.ndarray:
    """Sum of the optical strain between the first frame and each frame. Shapes: n frames -> float64 ``[n]``."""
    return _flow_curve(frames, flow, lambda field: float(optical_strain(field).sum()))


def motion_curve(frames: Iterable[np.ndarray], *, flow: FlowMethod = "dis") -> np.ndarray:
    """Mean length of the flow between the first frame and each frame, less the shift of all. Shapes: n frames -> ``[n]``."""

    def local(field: np.ndarray) -> float:
        return float(np.hypot(*(field - np.median(field, (1, 2), keepdims=True))).mean())

    return _flow_curve(frames, flow, local)


def divide_and_conquer(values: np.ndarray) -> int:
    """The apex on a curve of difference to the onset: halves with the smaller sum of peaks are dropped until one peak is left.

    Peaks are local maxima inside the range (of a plateau, its middle); a tie keeps the first half; without a peak the largest
    value is taken, and of one or two frames the last.

    Shapes: ``[n]`` -> index. Raises ZooError: no frame, or a value that is no number.
    """
    if not len(values) or not np.isfinite(values).all():
        raise ZooError(f"divide and conquer wants at least one finite number per frame, got {np.asarray(values)[:5]} …")
    if len(values) <= 2:
        return len(values) - 1
    peaks = _maxima(values)
    if not peaks:
        return int(np.argmax(values))
    low, high = 0, len(values)
    while len(peaks) > 1 and high - low > 1:
        middle = (low + high) // 2
        left, right = [p for p in peaks if p < middle], [p for p in peaks if p >= middle]
        if sum(values[p] for p in left) >= sum(values[p] for p in right):
            peaks, high = left, middle
        else:
            peaks, low = right, middle
    return peaks[0]


def find_apex(frames: Sequence[np.ndarray], method: ApexMethod = "lbp") -> int:
    """Index of the frame at which an expression is strongest, of a clip that begins at its onset.

    ``lbp`` and ``strain``: divide and conquer on the change of texture, or on the optical strain (Liong et al. 2015);
    ``motion``: where the motion, averaged over 3 frames, is largest; ``middle``: the middle frame, as is usual for SMIC.

    Args:
        frames: aligned faces, grey or RGB, from onset to offset.
        method: see above.

    Raises:
        MediaError: no frames. ZooError: no such method.
    """
    if not len(frames):
        raise MediaError("there are no frames to find an apex in")
    match method:
        case "lbp":
            return divide_and_conquer(lbp_curve(frames))
        case "strain":
            return divide_and_conquer(strain_curve(frames))
        case "motion":
            values = np.pad(motion_curve(frames), 1, mode="edge")
            return int(np.argmax(np.convolve(values, np.full(3, 1 / 3), mode="valid")))
        case "middle":
            return (len(frames) - 1) // 2
        case _:
            if method not in get_args(ApexMethod):
                raise ZooError(f"there is no way {method!r} to an apex; known: {', '.join(get_args(ApexMethod))}")
            assert_never(method)


class ChiSquare:
    """Moilanen's difference of each frame to the mean of those k before and after it: mean of the 12 most changed blocks.

    The first and last k frames take the value of the nearest that has one. Memory: the histograms of 2k frames.
    """

    def __init__(self, k: int) -> None:
        self.k = k
        self.values: dict[int, float] = {}
        self._held: deque[tuple[int, int, np.ndarray]] = deque()

    def add(self, index: int, segment: int, histograms: np.ndarray) -> None:
        """Take the block histograms ``[36, 59]`` of a frame; numbers may be missing, segments are not compared."""
        self._held.append((index, segment, histograms))
        while self._held[0][0] < index - 2 * self.k or self._held[0][1] != segment:
            self._held.popleft()
        if self._held[0][0] == index - 2 * self.k and len(self._held) == 2 * self.k + 1:
            here, around = self._held[self.k][2], (self._held[0][2] + histograms) / 2
            total = here + around
            distance = 0.5 * ((here - around) ** 2 / np.where(total > 0, total, 1)).sum(1)
            self.values[index - self.k] = float(np.sort(distance)[-M:].mean())

    def finish(self, n: int) -> np.ndarray:
        """One value for each of n frames; zeros where the video is too short. Shapes: ``[n]``."""
        if not self.values:
            return np.zeros(n)
        known = np.array(sorted(self.values))
        after = np.minimum(np.searchsorted(known, np.arange(n)), len(known) - 1)
        before = np.maximum(after - 1, 0)
        nearest = np.where(np.arange(n) - known[before] < known[after] - np.arange(n), known[before], known[after])
        return np.array([self.values[int(i)] for i in nearest])


def chi_square_spans(
    values: np.ndarray, k: int, rate: float, *, p: float = P
) -> tuple[list[tuple[int, int]], np.ndarray, float]:
    """Moilanen's movements: contrast above ``mean + p (max - mean)``; groups of fewer than 6 frames dropped, those within 15
    joined (at 30 frames/s; scaled to ``rate``). Gives spans, contrast and threshold.
    """
    curve = contrast(values, k)
    line = threshold(curve, p)
    least, gap = (max(1, round(n * rate / 30)) for n in (6, 15))
    return runs(curve > line, least=least, gap=gap), curve, line


def _maxima(values: np.ndarray) -> list[int]:
    from scipy.signal import find_peaks

    return [int(i) for i in find_peaks(values)[0]]


def _flow_curve(frames: Iterable[np.ndarray], flow: FlowMethod, measure: Callable[[np.ndarray], float]) -> np.ndarray:
    first: np.ndarray | None = None
    values = []
    for frame in frames:
        now = _grey(frame, STRAIN_SIZE)
        if first is None:
            first = now
            values.append(0.0)
        else:
            values.append(measure(optical_flow(first, now, flow)))
    return np.array(values)


def _grey(frame: np.ndarray, size: int) -> np.ndarray:
    if frame.dtype != np.uint8:
        raise ZooError(f"frames are uint8, grey or RGB; got {frame.dtype} {list(frame.shape)}")
    grey = frame if frame.ndim == 2 else cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
    return grey if grey.shape == (size, size) else cv2.resize(grey, (size, size), interpolation=cv2.INTER_AREA)
