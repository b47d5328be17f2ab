"""A stream of frames becomes a stream of aligned faces, in segments that share one alignment."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from zoo.facs import geometry
from zoo.vision.faces import FACE_SIZE, Face, FaceDetector, align, outside, similarity
from zoo.vision.people import same_face
from zoo.vision.video import Frame


@dataclass(frozen=True, eq=False)
class AlignedFace:
    """The face of one frame. Only faces of one segment may be compared: they were cut out by the same similarity."""

    index: int
    time: float | None  # seconds
    rgb: np.ndarray  # uint8 [FACE_SIZE, FACE_SIZE, 3]
    segment: int


class FaceTrack:
    """Follow the largest face of the first look through a stream, holding one alignment for as long as the head keeps still.

    A detector that ran on every frame would jitter by more than a micro-expression moves. So it looks every ``stride``
    frames, and whenever the crop suddenly looks different; in between the similarity of the segment is kept. When the
    head has drifted from where the segment began, or moved fast between two looks, a new segment begins; the frames of
    a fast move are given up. So are the frames from a look that finds no face to the next that finds one (the looks are
    then twice as frequent). Memory: the crops between two looks.

    Args:
        frames: the stream.
        detector: finds the faces.
        stride: frames between looks.
        drift: movement of eyes and nose since the segment began that ends it, as a fraction of the distance between
            the eyes.
        step: movement between two looks at which the frames between are given up.
        hold: keep the first alignment to the end, whatever the head does (it is still measured).

    Attributes (final once the stream is exhausted):
        checked, lost: numbers of the frames looked at, and of those among them without a face.
        skipped: numbers of the frames given up.
        others: most faces seen beside the one followed.
        moved: largest movement within a segment, as a fraction of the distance between the eyes.
        residual, interocular: of the first alignment: misfit in crop units, and frame pixels between the eyes.
        outside: largest share of a crop that lay beyond the frame.
    """

    def __init__(
        self,
        frames: Iterable[Frame],
        detector: FaceDetector,
        *,
        stride: int,
        drift: float = 0.3,
        step: float = 0.2,
        hold: bool = False,
    ) -> None:
        self._frames, self._detector = frames, detector
        self._stride, self._drift, self._step, self._hold = max(1, stride), drift, step, hold
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
        self._near: Face | None = None
        self.seconds = {"detect": 0.0, "align": 0.0}

    def __iter__(self) -> Iterator[AlignedFace]:
        matrix: np.ndarray | None = None  # of the segment; survives a loss, in case the face comes back to its place
        anchor: np.ndarray | None = None  # [3, 2] eyes and nose when the segment began
        previous: np.ndarray | None = None  # the same at the last look
        look: np.ndarray | None = None  # thumbnail of the crop at the last look
        pending: list[AlignedFace] = []  # since the last look, delivered when the next one agrees
        present, last_check = False, -self._stride
        for frame in self._frames:
            self.n_frames = frame.index + 1
            crop = self._align(frame, matrix) if present and matrix is not None else None
            wait = self._stride if present or not self.checked else (self._stride + 1) // 2
            due = frame.index - last_check >= wait
            if not present and not due:
                self.skipped.append(frame.index)
                continue
            if crop is not None and not due and _alike(crop, look) >= 0.75:
                pending.append(AlignedFace(frame.index, frame.time, crop, self.segments))
                continue
            sudden = crop is not None and not due  # what came before the cut still looked like the face
            last_check = frame.index
            face = self._detect(frame)
            if face is None:
                if sudden:
                    yield from pending
                else:
                    self.skipped += [f.index for f in pending]
                pending, present = [], False
                self.skipped.append(frame.index)
                continue
            points = face.points[:3]
            apart = max(face.interocular, 1e-6)
            step = np.inf if previous is None else _shift(points, previous) / apart
            drift = np.inf if anchor is None else _shift(points, anchor) / apart
            steady = sudden or step <= self._step or self._hold
            if steady:
                yield from pending
            else:
                self.skipped += [f.index for f in pending]
            if matrix is not None and ((drift <= self._drift and steady) or self._hold):
                self.moved = max(self.moved, float(drift))
                crop = crop if crop is not None else self._align(frame, matrix)
            else:
                matrix, residual = similarity(face)
                if not self.segments:
                    self.residual = residual
                    self.interocular = geometry.interocular() * FACE_SIZE / float(np.hypot(matrix[0, 0], matrix[1, 0]))
                self.outside = max(self.outside, outside(matrix, frame.rgb.shape))
                anchor = points
                self.segments += 1
                crop = self._align(frame, matrix)
            pending, present, previous, look = [], True, points, _thumbnail(crop)
            yield AlignedFace(frame.index, frame.time, crop, self.segments)
        yield from pending

    def _detect(self, frame: Frame) -> Face | None:
        begin = time.perf_counter()
        # mostly where the face was, which is much faster; every fifth look takes the whole picture, to see who else is there
        near = self._near if len(self.checked) % 5 else None
        faces = self._detector.detect(frame.rgb, near=near)
        self.seconds["detect"] += time.perf_counter() - begin
        self.checked.append(frame.index)
        if not faces:
            self.lost.append(frame.index)
            self._near = None
            return None
        self.others = max(self.others, len(faces) - 1)
        self._near = same_face(faces, self._near)
        return self._near

    def _align(self, frame: Frame, matrix: np.ndarray) -> np.ndarray:
        begin = time.perf_counter()
        crop = align(frame.rgb, matrix, FACE_SIZE)
        self.seconds["align"] += time.perf_counter() - begin
        return crop


def _shift(points: np.ndarray, reference: np.ndarray) -> float:
    return float(np.linalg.norm(points - reference, axis=1).mean())


def _thumbnail(crop: np.ndarray) -> np.ndarray:
    grey = cv2.cvtColor(cv2.resize(crop, (24, 24), interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)
    return grey.astype(np.float32) - grey.mean()


def _alike(crop: np.ndarray, look: np.ndarray | None) -> float:
    """Correlation of two crops at 24 px: near 1 while it is the same face, low at a cut, a fade or an occlusion."""
    if look is None:
        return 0.0
    now = _thumbnail(crop)
    norm = float(np.linalg.norm(now) * np.linalg.norm(look))
    return float((now * look).sum()) / norm if norm > 1e-3 else 0.0
