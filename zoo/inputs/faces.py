"""From raw frames to the aligned face that every input is cut from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import overload

import numpy as np

from zoo.errors import FaceError, ZooError
from zoo.types import Clip
from zoo.vision.faces import FaceDetector, MTCNNDetector, align, similarity

ALIGNED_PROCEDURE = "mtcnn-5-points-168"  # changes when faces would be aligned differently; part of cache keys


def face_detector() -> FaceDetector:
    """The detector that :func:`aligned_clip` is used with. Raises MissingExtra where none is installed."""
    return MTCNNDetector()


def aligned_clip(clip: Clip, detector: FaceDetector) -> Clip:
    """The clip cut to the largest face of its onset frame: one alignment for all frames, so that none jitters.

    Raises:
        FaceError: there is no face in the onset frame.
        ZooError: the clip has no frames.
    """
    if clip.frames is None:
        raise ZooError(f"clip {clip.key} has no frames to find a face in")
    onset = np.ascontiguousarray(clip.frames[clip.interval.onset if clip.interval else 0])
    faces = detector.detect(onset)
    if not faces:
        raise FaceError("no face in the onset frame")
    matrix, _ = similarity(faces[0])
    return replace(clip, frames=AlignedFrames(clip.frames, matrix))


class AlignedFrames(Sequence[np.ndarray]):
    """Frames seen through one similarity, each computed when it is asked for."""

    def __init__(self, frames: Sequence[np.ndarray], matrix: np.ndarray) -> None:
        self.frames, self.matrix = frames, matrix

    def __len__(self) -> int:
        return len(self.frames)

    @overload
    def __getitem__(self, index: int) -> np.ndarray: ...
    @overload
    def __getitem__(self, index: slice) -> AlignedFrames: ...
    def __getitem__(self, index: int | slice) -> np.ndarray | AlignedFrames:
        if isinstance(index, slice):
            return AlignedFrames(self.frames[index], self.matrix)
        return align(np.ascontiguousarray(self.frames[index]), self.matrix)
