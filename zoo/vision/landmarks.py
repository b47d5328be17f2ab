"""Facial landmarks: 68 points in iBUG order, whoever provides them."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from zoo.facs import geometry
from zoo.vision.faces import Face, similarity

_NEAREST = (30, 48, 54)  # landmarks of the last three detected points; the eye centres are means of six


class LandmarkProvider(Protocol):
    """Anything that knows where the 68 points of a face lie."""

    def landmarks(self, rgb: np.ndarray, face: Face, *, index: int = 0) -> np.ndarray:
        """The 68 points in iBUG order.

        Args:
            rgb: the frame.
            face: which face of it.
            index: number of the frame, from 0; read by providers that took their points from a file.

        Shapes: uint8 ``[H, W, 3]`` -> float32 ``[68, 2]``, x and y in pixels of the frame.

        Raises:
            FaceError: the points were not found. DataError: a file has none for that frame.
        """
        ...


class CanonicalLandmarks:
    """The default: the canonical face laid over the five detected points; needs nothing else, and is approximate."""

    def landmarks(self, rgb: np.ndarray, face: Face, *, index: int = 0) -> np.ndarray:
        """See :meth:`LandmarkProvider.landmarks`; the picture is not looked at."""
        return landmarks_of(face).astype(np.float32)


def landmark_provider(source: str | Path = "canonical") -> LandmarkProvider:
    """The provider of that name, or of that file.

    Args:
        source: ``canonical``; ``mediapipe`` (its model file named by ``$ZOO_FACE_LANDMARKER``); a path ending in ``.task``
            (that model file), or in ``.csv``, ``.npy`` or ``.npz`` (points of one's own).

    Raises:
        ZooError: neither; a file that cannot be used. MissingExtra: ``ai-edge-litert`` is not installed.
    """
    if source == "canonical":
        return CanonicalLandmarks()
    if source == "mediapipe" or Path(source).suffix == ".task":
        from zoo.vision.facemesh import FaceMesh

        return FaceMesh(None if source == "mediapipe" else source)
    from zoo.vision.landmark_file import LandmarkFile

    return LandmarkFile(source)


def landmarks_of(face: Face) -> np.ndarray:
    """68 approximate landmarks: the canonical ones laid over the face, then drawn to the five detected points.

    Shapes: -> ``[68, 2]`` in pixels.
    """
    matrix, _ = similarity(face, 1)
    inverse = cv2.invertAffineTransform(matrix)
    points = (geometry.landmarks() - 0.5) @ inverse[:, :2].T + inverse[:, 2]
    here = [points[36:42].mean(0), points[42:48].mean(0), *(points[i] for i in _NEAREST)]
    away = ((points[:, None] - np.array(here)[None]) ** 2).sum(-1)
    weight = np.exp(-away / (2 * (0.3 * face.interocular) ** 2))
    drawn: np.ndarray = points + (weight @ (face.points - np.array(here))) / (weight.sum(1, keepdims=True) + 0.1)
    return drawn


def face_of(landmarks: np.ndarray) -> Face:
    """The face that 68 landmarks outline: five points for the alignment, and a box around them all.

    Shapes: ``[68, 2]`` in pixels -> Face, score 1.
    """
    points = np.stack([landmarks[36:42].mean(0), landmarks[42:48].mean(0), *(landmarks[i] for i in _NEAREST)])
    box = np.concatenate([landmarks.min(0), landmarks.max(0)])
    return Face(box.astype(np.float32), points.astype(np.float32), 1.0)


def map_points(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Points carried by an affine map, as from the frame into the aligned face. Shapes: ``[2, 3]``, ``[N, 2]`` -> ``[N, 2]``."""
    mapped: np.ndarray = points @ matrix[:, :2].T + matrix[:, 2]
    return mapped
