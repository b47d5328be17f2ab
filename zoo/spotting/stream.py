"""A stream of frames becomes a stream of steady faces, fast enough for a camera of 200 frames per second.

Unlike :class:`~zoo.vision.track.FaceTrack`, which holds one alignment and looks often, this follows the head between two looks
by its texture: a similarity from tracked points carries the alignment along, so that small movements of the head leave the
face in place, and the detector is asked once in a while, or when the face no longer looks like itself.
"""

from __future__ import annotations

import time
from array import array
from collections.abc import Iterable, Iterator
from functools import cache

import cv2
import numpy as np

from zoo.facs import geometry
from zoo.spotting.crop import FOLLOW_SIZE, SteadyFace, cut_planes, resized
from zoo.vision.faces import FACE_SIZE, Face, FaceDetector, align, outside, similarity
from zoo.vision.video import Frame, Planes

__all__ = ["SteadyFace", "SteadyTrack"]

LOOK_SECONDS = 2.0  # between two looks of the detector while the face is followed
AGAIN_SECONDS = 0.2, 1.0  # between two looks while there is none: at first, at most
FOLLOW_SECONDS = 1 / 30  # between two measurements of the head
ALIKE = 0.6  # correlation with the anchor below which the detector is asked
OTHER = 0.3  # and below which it is taken for another face, wherever it is
LEAP = 0.25  # of the distance between the eyes: detector and follower disagree by more, and the face is aligned anew
CREEP = 0.004  # likewise: a smaller movement of the head is left to the spotter, which takes it off the flow


class SteadyTrack:
    """Follow the largest face through a stream.

    Memory: one frame. Frames in which there is no face are given up and counted.

    Args:
        frames: the stream.
        detector: finds the faces.
        fps: frames per second; None if unknown, then 30 is assumed.
        size: pixels of the faces given out; colour is kept at 168 px only.
        colour: whether the faces can be asked for their colour.
        every: only each n-th frame is looked at; the others are passed over, not skipped.

    Attributes (final once the stream is exhausted): as :class:`~zoo.vision.track.FaceTrack`; ``moved`` counts from the last
        alignment from scratch.
    """

    def __init__(
        self,
        frames: Iterable[Frame],
        detector: FaceDetector,
        *,
        fps: float | None,
        size: int = FACE_SIZE,
        colour: bool = True,
        every: int = 1,
    ) -> None:
        self._every = max(1, every)
        rate = fps or 30.0
        self._frames, self._detector, self._size, self._colour = frames, detector, size, colour
        self._look = max(1, round(LOOK_SECONDS * rate))
        self._again = tuple(max(1, round(s * rate)) for s in AGAIN_SECONDS)
        self._follow_every = max(1, round(FOLLOW_SECONDS * rate))
        self.checked: list[int] = []
        self.lost: list[int] = []
        self.skipped: list[int] = []
        self.others = 0
        self.moved = 0.0
        self.residual = 0.0
        self.interocular = 0.0
        self.outside = 0.0
        self.segments = 0
        self.n_frames = 0
        self.seconds = {"detect": 0.0, "align": 0.0, "follow": 0.0}
        self._placed = array("d")  # frame, then the six numbers of its alignment: an hour at 50 frames/s is 10 MB
        self._near: Face | None = None
        self._likeness = 1.0  # of the face to the anchor, at the last measurement
        self._matrix: np.ndarray | None = None  # from the frame to the crop of FACE_SIZE
        self._born = np.eye(2, 3)  # likewise, when the segment began
        self._anchor: tuple[np.ndarray, np.ndarray] | None = None  # small crop and the points followed in it

    def __iter__(self) -> Iterator[SteadyFace]:
        due, wait, last_follow = 0, self._again[0], 0
        for frame in self._frames:
            self.n_frames = frame.index + 1
            if frame.index % self._every:
                continue
            face = None
            if self._matrix is not None:
                face = self._cut(frame)
                if frame.index - last_follow >= self._follow_every:
                    last_follow = frame.index
                    face = self._follow(frame, face)
            if face is None and self._matrix is not None:
                due = frame.index  # the face no longer looks like itself
            if frame.index >= due:
                found = self._detect(frame)
                if found is None:
                    self._matrix = self._anchor = None
                    due = frame.index + wait
                    wait = min(2 * wait, self._again[1])
                    face = None
                else:
                    due, wait = frame.index + self._look, self._again[0]
                    if self._matrix is None or self._likeness < OTHER or self._leapt(found):
                        face = self._begin(frame, found)
                    elif face is None:  # changed, but where it should be
                        face = self._cut(frame)
                    self._anchor = _anchored(face.small)
            if face is None or self._matrix is None:
                self.skipped.append(frame.index)
            else:
                self._placed.extend((frame.index, *self._matrix.ravel()))
                yield face

    def alignment(self, index: int) -> np.ndarray | None:
        """From a frame that was seen (or the last before it) to the face of 168 px. Shapes: ``[2, 3]``."""
        rows = np.frombuffer(self._placed, np.float64).reshape(-1, 7) if self._placed else np.empty((0, 7))
        at = int(np.searchsorted(rows[:, 0], index, side="right")) - 1
        return rows[at, 1:].reshape(2, 3).copy() if at >= 0 else None

    def _begin(self, frame: Frame, found: Face) -> SteadyFace:
        matrix, residual = similarity(found, FACE_SIZE)
        if not self.segments:
            self.residual = residual
            self.interocular = geometry.interocular() * FACE_SIZE / _scale(matrix)
        self.outside = max(self.outside, outside(matrix, frame.grey.shape))
        self._matrix = self._born = matrix
        self._likeness = 1.0
        self.segments += 1
        return self._cut(frame)

    def _leapt(self, found: Face) -> bool:
        """Whether the detector sees the face elsewhere than the follower does."""
        assert self._matrix is not None
        wanted, _ = similarity(found, FACE_SIZE)
        return _shift(wanted, self._matrix) > LEAP

    def _follow(self, frame: Frame, face: SteadyFace) -> SteadyFace | None:
        """The face with the head's movement since the last measurement taken off; None where it is no longer the same."""
        begin = time.perf_counter()
        assert self._anchor is not None and self._matrix is not None
        anchor, points = self._anchor
        back = _similarity_between(anchor, face.small, points)
        if back is not None:
            step = FACE_SIZE / FOLLOW_SIZE
            back[:, 2] = step * back[:, 2] + (back[:, :2] @ np.full(2, 0.5 * step - 0.5)) * -1 + 0.5 * step - 0.5
            matrix = np.column_stack([back[:, :2] @ self._matrix[:, :2], back[:, :2] @ self._matrix[:, 2] + back[:, 2]])
            if _shift(matrix, self._matrix) > CREEP:
                self._matrix = matrix
                self.moved = max(self.moved, _shift(matrix, self._born))
                face = self._cut(frame)
        self._likeness = alike(face.small, anchor)
        same = back is not None and self._likeness >= ALIKE
        self.seconds["follow"] += time.perf_counter() - begin
        return face if same else None

    def _detect(self, frame: Frame) -> Face | None:
        begin = time.perf_counter()
        # mostly where the face was, which is much faster; every fifth look takes the whole picture, to see who else is there
        near = self._near if len(self.checked) % 5 else None
        if near is not None and self._matrix is not None:
            near = _placed(near, self._matrix)
        faces = self._detector.detect(frame.rgb, near=near)
        self.seconds["detect"] += time.perf_counter() - begin
        self.checked.append(frame.index)
        if not faces:
            self.lost.append(frame.index)
            self._near = None
            return None
        self.others = max(self.others, len(faces) - 1)
        self._near = max(faces, key=lambda face: face.area)
        return self._near

    def _cut(self, frame: Frame) -> SteadyFace:
        begin = time.perf_counter()
        assert self._matrix is not None
        colour: Planes | np.ndarray | None = None
        if self._colour:
            colour = cut_planes(frame.planes, self._matrix) if frame.planes else align(frame.rgb, self._matrix)
        grey = None
        if colour is None or self._size != FACE_SIZE:
            grey = align(frame.grey, resized(self._matrix, self._size / FACE_SIZE), self._size)
        self.seconds["align"] += time.perf_counter() - begin
        return SteadyFace(frame.index, frame.time, self.segments, grey=grey, colour=colour)


def alike(first: np.ndarray, second: np.ndarray) -> float:
    """Correlation of two grey crops: near 1 while it is the same face, low at a cut, a fade or an occlusion."""
    a, b = (cv2.resize(p, (24, 24), interpolation=cv2.INTER_AREA).astype(np.float32) for p in (first, second))
    a, b = a - a.mean(), b - b.mean()
    norm = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float((a * b).sum()) / norm if norm > 1e-3 else 0.0


def _anchored(small: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    points = cv2.goodFeaturesToTrack(small, 60, 0.01, 4, mask=_still_region())
    return small, np.zeros((0, 1, 2), np.float32) if points is None else points


@cache
def _still_region() -> np.ndarray:
    """Where a face moves least when it speaks or smiles: forehead, temples, bridge and tip of the nose, edge of the cheeks."""
    points = geometry.landmarks() * FOLLOW_SIZE - 0.5
    mask = np.zeros((FOLLOW_SIZE, FOLLOW_SIZE), np.uint8)
    cv2.fillConvexPoly(
        mask, cv2.convexHull(np.rint(points[[0, 1, 2, 3, 13, 14, 15, 16, 17, 26]]).astype(np.int32)), 255
    )
    cv2.rectangle(mask, (0, 0), (FOLLOW_SIZE, int(points[19:25, 1].min())), 255, -1)
    for eye in geometry.eye_centres() * FOLLOW_SIZE - 0.5:
        cv2.ellipse(mask, np.rint(eye).astype(int).tolist(), (10, 6), 0, 0, 360, 0, -1)
    mask[int(points[48:68, 1].min()) - 2 :] = 0
    mask.setflags(write=False)
    return mask


def _similarity_between(anchor: np.ndarray, small: np.ndarray, points: np.ndarray) -> np.ndarray | None:
    """Carries the face of ``small`` back to where it was in ``anchor``; None where too few points agree. ``[2, 3]``."""
    if len(points) < 8:
        return np.eye(2, 3)  # darkness or a plain surface: nothing to follow, the comparison of pictures decides
    moved, status, _ = cv2.calcOpticalFlowPyrLK(anchor, small, points, None, winSize=(11, 11), maxLevel=2)  # type: ignore[call-overload]
    good = status.ravel() == 1
    if good.sum() < 8:
        return None
    matrix, inliers = cv2.estimateAffinePartial2D(moved[good], points[good], ransacReprojThreshold=0.7)
    if matrix is None or inliers.sum() < max(6, 0.3 * len(points)):
        return None
    return np.asarray(matrix, np.float64)


def _shift(one: np.ndarray, other: np.ndarray) -> float:
    """How far apart two alignments put the eyes and the nose, as a fraction of the distance between the eyes."""
    inverse = cv2.invertAffineTransform(other)
    points = np.concatenate([geometry.eye_centres(), geometry.landmarks()[[30]]]) * FACE_SIZE - 0.5
    there = points @ inverse[:, :2].T + inverse[:, 2]
    back = there @ one[:, :2].T + one[:, 2]
    return float(np.linalg.norm(back - points, axis=1).mean()) / (geometry.interocular() * FACE_SIZE)


def _placed(face: Face, matrix: np.ndarray) -> Face:
    """A known face moved to where the follower has it now."""
    inverse = cv2.invertAffineTransform(matrix)
    centre = inverse[:, :2] @ np.full(2, FACE_SIZE / 2) + inverse[:, 2]
    shift = (centre - (face.box[:2] + face.box[2:]) / 2).astype(np.float32)
    return Face(face.box + np.tile(shift, 2), face.points + shift, face.score)


def _scale(matrix: np.ndarray) -> float:
    return float(np.hypot(matrix[0, 0], matrix[1, 0]))
