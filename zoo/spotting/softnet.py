"""SOFTNet's way from a face to a score per frame, and from scores to intervals (Liong et al., ICIP 2021).

At frame i: flow i → i + k of the 128-pixel face, less the mean motion of an 11x11 patch at the tip of the nose; the sizes of
its two components and the strain; both eyes blacked out; the strip of the brows above the strip of the mouth.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from functools import cache
from tempfile import TemporaryFile
from typing import TYPE_CHECKING

import cv2
import numpy as np

from zoo.errors import ZooError
from zoo.facs import geometry
from zoo.metrics_spotting import Kind
from zoo.spotting.events import Found, peaks, smooth, threshold
from zoo.types import FlowMethod
from zoo.vision.flow import optical_flow
from zoo.vision.strain import optical_strain

if TYPE_CHECKING:
    from zoo.models.softnet import SoftNet

SIZE = 128  # px of the face
MARGIN = 12  # px around the landmarks of a strip
EYE = 15  # px around the landmarks of an eye
P = 0.55  # of the threshold
BATCH = 256


def features(first: np.ndarray, second: np.ndarray, flow: FlowMethod = "tvl1") -> np.ndarray:
    """What the network sees of two aligned faces that lie k frames apart; not yet stretched to 0..1.

    Reading: the strips are the boxes of the brow and of the mouth landmarks with 12 px around them, each resized to 42x21; the
    landmarks are the canonical ones, which the alignment puts in place.

    Shapes: two uint8 ``[128, 128]`` -> float32 ``[3, 42, 42]``, |u| and |v| in pixels, strain.

    Raises:
        ZooError: pictures of another size.
    """
    if first.shape != (SIZE, SIZE) or second.shape != (SIZE, SIZE):
        raise ZooError(f"SOFTNet wants grey faces of {SIZE}x{SIZE}, got {list(first.shape)} and {list(second.shape)}")
    eyes, nose, strips = _places()
    motion = optical_flow(first, second, flow)
    motion = motion - motion[:, nose[1] - 5 : nose[1] + 6, nose[0] - 5 : nose[0] + 6].mean((1, 2), keepdims=True)
    maps = np.concatenate([np.abs(motion), optical_strain(motion)[None]])
    maps[:, eyes] = 0
    return np.concatenate(
        [
            np.stack([cv2.resize(m[top:bottom, left:right], (42, 21), interpolation=cv2.INTER_LINEAR) for m in maps])
            for left, top, right, bottom in strips
        ],
        axis=1,
    )


@cache
def _places() -> tuple[np.ndarray, tuple[int, int], tuple[tuple[int, int, int, int], ...]]:
    """Mask of the eyes, place of the nose's tip, boxes of the two strips."""
    points = geometry.landmarks() * SIZE - 0.5
    eyes = np.zeros((SIZE, SIZE), np.uint8)
    for start in (36, 42):
        shift = EYE * np.array([[-1, 0], [0, -1], [0, -1], [1, 0], [0, 1], [0, 1]])
        cv2.fillPoly(eyes, [np.rint(points[start : start + 6] + shift).astype(np.int32)], 1)
    boxes = []
    for part in (points[17:27], points[48:68]):
        low = np.maximum(np.floor(part.min(0)) - MARGIN, 0).astype(int)
        high = np.minimum(np.ceil(part.max(0)) + MARGIN, SIZE).astype(int)
        boxes.append((int(low[0]), int(low[1]), int(high[0]), int(high[1])))
    nose = np.rint(points[30]).astype(int)
    mask = eyes.astype(bool)
    mask.setflags(write=False)
    return mask, (int(nose[0]), int(nose[1])), tuple(boxes)


def stretch(maps: np.ndarray, low: np.ndarray | None = None, high: np.ndarray | None = None) -> np.ndarray:
    """Each channel to 0..1: of each picture, or between the limits given (those of a video). A constant channel becomes 0.

    Shapes: ``[N, 3, 42, 42]``, limits ``[3]`` -> float32 ``[N, 3, 42, 42]``.
    """
    if low is None or high is None:
        least, most = maps.min((2, 3), keepdims=True), maps.max((2, 3), keepdims=True)
    else:
        least, most = (np.asarray(v, np.float32).reshape(1, 3, 1, 1) for v in (low, high))
    span = most - least
    return np.where(span > 1e-9, (maps - least) / np.where(span > 1e-9, span, 1), 0).astype(np.float32)


def pseudo_labels(n_frames: int, truth: Iterable[tuple[int, int]], k: int) -> np.ndarray:
    """1 for each frame i whose window ``[i, i + k)`` overlaps a true interval, else 0.

    Args:
        n_frames: of the video; the last k have no flow and no label.
        truth: onset and offset, both inclusive.
        k: frames.

    Shapes: -> float32 ``[n_frames - k]``.
    """
    labels = np.zeros(max(0, n_frames - k), np.float32)
    for onset, offset in truth:
        labels[max(0, onset - k + 1) : max(0, offset + 1)] = 1
    return labels


def mean_k(truth: Sequence[tuple[int, int]]) -> int:
    """Half the mean length of the true intervals: ``int((mean(offset - onset) + 1) / 2)``. Raises ZooError without any."""
    if not truth:
        raise ZooError("k is half the mean length of the true intervals, and there is none; give k")
    return int((np.mean([offset - onset for onset, offset in truth]) + 1) / 2)


def intervals(scores: np.ndarray, k: int, kind: Kind, *, p: float = P) -> tuple[list[Found], np.ndarray, float]:
    """SOFTNet's peak rule: smoothed over 2k frames, peaks above ``mean + p (max - mean)`` at least k apart, each ±k frames.

    Nothing is merged. A constant curve, or a video shorter than 2k, has no peak.

    Args:
        scores: one per frame, NaN where not measured.
        k: frames.
        kind: what the scores stand for.
        p: 0 to 1, how near to the maximum a peak must come.

    Shapes: ``[n]`` -> intervals, the smoothed curve ``[n]``, and the threshold.
    """
    curve = smooth(scores, k)
    line = threshold(curve, p)
    found = [
        Found(
            onset=max(0, peak - k),
            apex=peak,
            offset=min(len(scores) - 1, peak + k),
            kind=kind,
            score=float(curve[peak] / max(line, 1e-9)),
        )
        for peak in peaks(curve, line, k)
    ]
    return found, curve, line


class Scorer:
    """Scores of a video's frames, from faces that come one at a time.

    Memory: the faces of k frames and one batch. A network that stretches over the whole video (``scope``) must wait for its
    end: the pictures wait in a temporary file.

    Args:
        model: the network.
        k: frames between the two pictures of a flow, at the rate at which faces come.
    """

    def __init__(self, model: SoftNet, k: int) -> None:
        self.model, self.k = model, k
        self._held: deque[tuple[int, int, np.ndarray]] = deque()
        self._batch: list[np.ndarray] = []
        self._index: list[int] = []
        self._scores: list[np.ndarray] = []
        self._file = TemporaryFile() if model.scope == "video" else None  # noqa: SIM115 (closed by finish)
        self._low, self._high = np.full(3, np.inf), np.full(3, -np.inf)

    def add(self, index: int, segment: int, face: np.ndarray) -> None:
        """Take the grey face (128 px) of a frame; numbers may be missing, and faces of two segments are not compared."""
        self._held.append((index, segment, face))
        while self._held[0][0] < index - self.k or self._held[0][1] != segment:
            self._held.popleft()
        start = self._held[0]
        if start[0] == index - self.k:
            maps = features(start[2], face, self.model.input_spec.flow if self.model.input_spec else "tvl1")
            if not np.isfinite(maps).all():
                raise ZooError(f"the flow from frame {start[0]} to {index} holds values that are no numbers")
            self._index.append(start[0])
            self._batch.append(maps)
            self._low = np.minimum(self._low, maps.min((1, 2)))
            self._high = np.maximum(self._high, maps.max((1, 2)))
            if len(self._batch) == BATCH:
                self._flush()

    def finish(self, n: int) -> np.ndarray:
        """One score for each of n frames, NaN where there is none. Shapes: ``[n]``."""
        self._flush()
        if self._file is not None:
            self._file.seek(0)
            size = 3 * 42 * 42
            while len(data := np.frombuffer(self._file.read(4 * size * BATCH), np.float32)):
                maps = stretch(data.reshape(-1, 3, 42, 42), self._low, self._high)
                self._scores.append(scores(maps, self.model))
            self._file.close()
        out = np.full(n, np.nan, np.float32)
        out[self._index] = np.concatenate(self._scores) if self._scores else []
        return out

    def _flush(self) -> None:
        if self._batch:
            maps = np.stack(self._batch)
            if self._file is not None:
                self._file.write(maps.tobytes())
            else:
                self._scores.append(scores(stretch(maps), self.model))
            self._batch = []


def scores(maps: np.ndarray, model: SoftNet) -> np.ndarray:
    """The network's score of pictures that are stretched already. Shapes: float32 ``[N, 3, 42, 42]`` -> float32 ``[N]``."""
    import torch

    device = next(model.parameters()).device
    with torch.inference_mode():
        parts = [
            model(torch.from_numpy(maps[i : i + BATCH]).to(device)).cpu().numpy() for i in range(0, len(maps), BATCH)
        ]
    return np.concatenate(parts) if parts else np.empty(0, np.float32)
