"""Main directional maximal difference: how much farther the face moves along its main direction now than it will have.

Wang, Wu, Qian, Li, Fu: "A Main Directional Maximal Difference Analysis for Spotting Facial Movements from Long-term Videos",
Neurocomputing 230 (2017); He, Wang, Yap, Li, Wang, …: the MEGC 2020 baseline, whose numbers are used here.
"""

from __future__ import annotations

from collections import deque
from functools import cache
from typing import Literal

import cv2
import numpy as np

from zoo.facs import geometry
from zoo.metrics_spotting import Kind
from zoo.spotting.events import Found, contrast, runs, threshold
from zoo.types import FlowMethod
from zoo.vision.flow import optical_flow

Angle = Literal["atan2", "organisers"]
SIZE = 227  # px of the face
SOURCE_SIZE = 256  # px of the aligned face it is cut from
BLOCKS, BINS = 6, 4
P = 0.01  # of the threshold
# seconds: CAS(ME)² takes k of 12 and 39 frames at 30 per second, SAMM 80 and 260 at 200; lengths 7-16 and 47-105 frames
K_SECONDS: dict[Kind, float] = {"micro": 0.4, "macro": 1.3}
SHORTEST, LONGEST = 7 / 30, 16 / 30  # of a micro-expression; what is longer is macro


def face_of(grey: np.ndarray) -> np.ndarray:
    """The face that the features are made of: the box of the landmarks, with the height of a brow above, resized.

    Shapes: uint8 ``[256, 256]`` (aligned) -> uint8 ``[227, 227]``.
    """
    left, top, right, bottom = _box()
    return cv2.resize(grey[top:bottom, left:right], (SIZE, SIZE), interpolation=cv2.INTER_AREA)


class Differences:
    """F of every frame that has neighbours k before and k after it, from faces that come one at a time.

    Memory: the faces of 2k frames.

    Args:
        k: frames.
        flow: the baseline's own (a robust local flow in MATLAB) is not in OpenCV.
        angle: ``organisers`` copies their two-quadrant arctangent of u / v, by which two of the four bins stay empty.

    Attributes:
        values: F by frame number.
    """

    def __init__(self, k: int, *, flow: FlowMethod = "dis", angle: Angle = "atan2") -> None:
        self.k, self.flow, self.angle = k, flow, angle
        self.values: dict[int, float] = {}
        self._held: deque[tuple[int, int, np.ndarray]] = deque()

    def add(self, index: int, segment: int, face: np.ndarray) -> None:
        """Take the grey face (227 px) of a frame; numbers may be missing, and faces of two segments are not compared."""
        self._held.append((index, segment, face))
        while self._held[0][0] < index - 2 * self.k or self._held[0][1] != segment:
            self._held.popleft()
        start = self._held[0]
        middle = next((f for i, _, f in self._held if i == index - self.k), None)
        if start[0] == index - 2 * self.k and middle is not None:
            first, second = (optical_flow(start[2], later, self.flow) for later in (middle, face))
            self.values[index - self.k] = difference(first, second, self.angle)


def difference(first: np.ndarray, second: np.ndarray, angle: Angle = "atan2") -> float:
    """F from the flows to the frame (k later) and beyond it (2k later): mean of the largest third of the block values.

    A block's value: over the vectors of the first flow that lie in its fullest direction bin, what the first is longer than the
    second along the middle of that bin; mean of the largest third.

    Reading: "projected to the bin" is taken as the projection of both vectors on the direction in the bin's middle.

    Shapes: two ``[2, H, W]`` in pixels -> number.
    """
    u, v = first
    turn = (
        np.arctan2(v, u) if angle == "atan2" else np.arctan(np.divide(u, v, out=np.full_like(u, np.inf), where=v != 0))
    )
    width = 2 * np.pi / BINS
    bins = np.clip(((turn + np.pi) // width).astype(int), 0, BINS - 1)
    height, breadth = u.shape
    values = []
    for row in range(BLOCKS):
        for column in range(BLOCKS):
            part = (
                slice(row * height // BLOCKS, (row + 1) * height // BLOCKS),
                slice(column * breadth // BLOCKS, (column + 1) * breadth // BLOCKS),
            )
            main = int(np.bincount(bins[part].ravel(), minlength=BINS).argmax())
            middle = -np.pi + (main + 0.5) * width
            along = (np.cos(middle), np.sin(middle)) if angle == "atan2" else (np.sin(middle), np.cos(middle))
            gap = (first[0][part] - second[0][part]) * along[0] + (first[1][part] - second[1][part]) * along[1]
            values.append(_largest_third(gap[bins[part] == main]))
    return _largest_third(np.array(values))


def intervals(
    feature: dict[int, float], n_frames: int, k: int, kind: Kind, fps: float, *, p: float = P
) -> tuple[list[Found], np.ndarray, float]:
    """MDMD's rule: contrast above ``mean + p (max - mean)``, neighbours merged, lengths kept that the kind can have.

    Shapes: -> intervals, contrast ``[n_frames]``, threshold.
    """
    values = np.full(n_frames, np.nan)
    values[list(feature)] = list(feature.values())
    curve = contrast(values, k - 1)
    line = threshold(curve, p)
    shortest, longest = round(SHORTEST * fps), round(LONGEST * fps)
    found = []
    for first, last in runs(curve > line):
        length = last - first + 1
        if (shortest <= length <= longest) if kind == "micro" else length > longest:
            apex = first + int(np.argmax(curve[first : last + 1]))
            found.append(
                Found(onset=first, apex=apex, offset=last, kind=kind, score=float(curve[apex] / max(line, 1e-9)))
            )
    return found, curve, line


def k_of(kind: Kind, fps: float, n_frames: int | None) -> int:
    """Frames before and after; halved where the video has fewer than 6k frames."""
    k = max(2, round(K_SECONDS[kind] * fps))
    return max(2, k // 2) if n_frames is not None and n_frames < 6 * k else k


def _largest_third(values: np.ndarray) -> float:
    count = max(1, len(values) // 3)
    return float(np.partition(values, -count)[-count:].mean()) if len(values) else 0.0


@cache
def _box() -> tuple[int, int, int, int]:
    points = geometry.landmarks() * SOURCE_SIZE - 0.5
    top = points[:, 1].min() - (points[36, 1] - points[18, 1])
    left, right, bottom = points[:, 0].min(), points[:, 0].max(), points[:, 1].max()
    low = np.maximum(np.floor([left, top]), 0).astype(int)
    high = np.minimum(np.ceil([right, bottom]) + 1, SOURCE_SIZE).astype(int)
    return int(low[0]), int(low[1]), int(high[0]), int(high[1])
