"""Everybody in the picture: several faces found now and then, followed in between, each under a number of its own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from zoo.errors import ZooError
from zoo.vision.faces import Face, FaceDetector
from zoo.vision.klt import follow
from zoo.vision.video import Frame

POINTS = 40  # followed per face
SIDE = 160  # px to which a face is shrunk for following
KEPT = 0.4  # share of the points that must be found again


@dataclass(frozen=True, eq=False)
class TrackedFace:
    """One face of one frame."""

    id: int  # from 1, in order of appearance; a face that has left and comes back is a new one
    face: Face
    detected: bool  # by the detector in this frame; otherwise followed from the frame before


@dataclass(eq=False)
class _Track:
    id: int
    face: Face
    missed: int = 0  # looks in a row in which the detector did not see it


class FaceFollower:
    """Find all faces now and then, and follow each of them in every frame between.

    Between two looks a face moves with the texture inside its box (Lucas-Kanade both ways, then a robust similarity). At a look,
    detections are handed to the faces they overlap, all at once by the assignment of most overlap, so that neighbours do not
    swap; what is left over is a new face. A face that the detector misses is followed on for ``patience`` looks. A face whose
    texture is lost calls for a look at once, at most every third frame.

    Memory: one frame.

    Args:
        frames: the stream.
        detector: finds the faces.
        stride: frames between looks.
        overlap: intersection over union from which a detection is the same face.
        patience: looks in a row that a face may be missed.

    Attributes (final once the stream is exhausted):
        checked: numbers of the frames looked at.
        without: numbers of the frames without any face.
        seen: frames in which each face was there, by its number.
    """

    def __init__(
        self,
        frames: Iterable[Frame],
        detector: FaceDetector,
        *,
        stride: int = 10,
        overlap: float = 0.3,
        patience: int = 2,
    ) -> None:
        if stride < 1 or patience < 0 or not 0 < overlap <= 1:
            raise ZooError(
                f"stride {stride}, overlap {overlap}, patience {patience}: at least 1, within 0..1, at least 0"
            )
        self._frames, self._detector = frames, detector
        self._stride, self._overlap, self._patience = stride, overlap, patience
        self._tracks: list[_Track] = []
        self.checked: list[int] = []
        self.without: list[int] = []
        self.seen: dict[int, int] = {}

    def __iter__(self) -> Iterator[tuple[Frame, list[TrackedFace]]]:
        """Each frame with its faces, largest first."""
        previous: np.ndarray | None = None
        due = 0
        for frame in self._frames:
            lost = previous is not None and not self._follow(previous, frame.grey)
            wait = 3 if lost else self._stride
            detected: set[int] = set()
            if not self.checked or frame.index >= due or (lost and frame.index >= self.checked[-1] + wait):
                detected = self._look(frame)
                due = frame.index + (self._stride if self._tracks else min(3, self._stride))
            out = [TrackedFace(t.id, t.face, t.id in detected) for t in self._tracks]
            for one in out:
                self.seen[one.id] = self.seen.get(one.id, 0) + 1
            if not out:
                self.without.append(frame.index)
            previous = frame.grey
            yield frame, sorted(out, key=lambda one: -one.face.area)

    def _follow(self, before: np.ndarray, now: np.ndarray) -> bool:
        """Carry every face into the next frame; those that cannot be are dropped. Whether all could."""
        kept = []
        for track in self._tracks:
            if (face := followed(track.face, before, now)) is not None:
                track.face = face
                kept.append(track)
        whole = len(kept) == len(self._tracks)
        self._tracks = kept
        return whole

    def _look(self, frame: Frame) -> set[int]:
        from scipy.optimize import linear_sum_assignment

        self.checked.append(frame.index)
        found = self._detector.detect(frame.rgb)
        shared = np.zeros((len(self._tracks), len(found)))
        for row, track in enumerate(self._tracks):
            shared[row] = [_overlap(track.face, face) for face in found]
        rows, columns = linear_sum_assignment(-shared)
        pairs = {int(c): int(r) for r, c in zip(rows, columns, strict=True) if shared[r, c] >= self._overlap}
        detected: set[int] = set()
        for column, face in enumerate(found):
            if column in pairs:
                track = self._tracks[pairs[column]]
                track.face, track.missed = face, 0
            else:
                track = _Track(max([*self.seen, *detected], default=0) + 1, face)
                self._tracks.append(track)
            detected.add(track.id)
        for track in self._tracks:
            track.missed += track.id not in detected
        self._tracks = [t for t in self._tracks if t.missed <= self._patience]
        return detected


def followed(face: Face, before: np.ndarray, now: np.ndarray) -> Face | None:
    """A face in the next frame, from the motion of its texture; None where that is lost, or the face has left the picture.

    Shapes: two uint8 ``[H, W]``.
    """
    size = np.array(before.shape[::-1])
    side = float((face.box[2:] - face.box[:2]).max())
    low = np.clip(np.floor(face.box[:2] - 0.3 * side), 0, size).astype(int)
    high = np.clip(np.ceil(face.box[2:] + 0.3 * side), 0, size).astype(int)
    if (high - low).min() < 24 or side < 8:
        return None
    scale = min(1.0, SIDE / side)
    parts = [picture[low[1] : high[1], low[0] : high[0]] for picture in (before, now)]
    if scale < 1:
        whole = (max(24, round((high[0] - low[0]) * scale)), max(24, round((high[1] - low[1]) * scale)))
        parts = [cv2.resize(part, whole, interpolation=cv2.INTER_AREA) for part in parts]
    ratio = np.array([parts[0].shape[1] / (high[0] - low[0]), parts[0].shape[0] / (high[1] - low[1])])
    mask = np.zeros(parts[0].shape, np.uint8)
    x0, y0 = np.clip((face.box[:2] - low) * ratio, 0, None).astype(int)
    x1, y1 = ((face.box[2:] - low) * ratio).astype(int)
    mask[y0 : y1 + 1, x0 : x1 + 1] = 255
    corners = cv2.goodFeaturesToTrack(parts[0], POINTS, 0.01, 4, mask=mask)
    if corners is None or len(corners) < 6:
        return None
    there, holds = follow(parts[0], parts[1], corners[:, 0], window=15, levels=2)
    if holds.sum() < max(6, KEPT * len(holds)):
        return None
    matrix, inliers = cv2.estimateAffinePartial2D(corners[holds, 0] / ratio, there[holds] / ratio)
    if matrix is None or inliers.sum() < max(5, KEPT * holds.sum()) or not 0.8 < np.hypot(*matrix[:, 0]) < 1.25:
        return None
    linear, shift = matrix[:, :2], matrix[:, 2]

    def move(points: np.ndarray) -> np.ndarray:
        return ((points - low) @ linear.T + shift + low).astype(np.float32)

    middle = move((face.box[:2] + face.box[2:]) / 2)
    half = float(np.hypot(*matrix[:, 0])) * (face.box[2:] - face.box[:2]) / 2  # a box stays upright when the head tilts
    if (middle < 0).any() or (middle > size - 1).any():
        return None
    return Face(np.concatenate([middle - half, middle + half]).astype(np.float32), move(face.points), face.score)


def same_face(faces: list[Face], known: Face | None, *, overlap: float = 0.3) -> Face:
    """The face that was followed so far, or the largest where none of them overlaps it enough.

    Args:
        faces: at least one.
        known: where it was a moment ago.
        overlap: intersection over union that is enough.
    """
    if known is not None:
        best = max(faces, key=lambda face: _overlap(face, known))
        if _overlap(best, known) >= overlap:
            return best
    return max(faces, key=lambda face: face.area)


def _overlap(one: Face, other: Face) -> float:
    low, high = np.maximum(one.box[:2], other.box[:2]), np.minimum(one.box[2:], other.box[2:])
    shared = float(np.prod(np.maximum(high - low, 0)))
    whole = one.area + other.area - shared
    return shared / whole if whole > 0 else 0.0
