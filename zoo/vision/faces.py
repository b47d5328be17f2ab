"""Finding a face, and the similarity that carries it into the canonical crop."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import cv2
import numpy as np

from zoo.errors import ZooError, missing_extra
from zoo.facs import geometry

FACE_SIZE = 168  # px of the aligned face; 6 x 28, so that reducing it to 28 px is an exact mean of blocks
LONGEST_SIDE = 640  # px to which a frame is shrunk before detection
NEAR_SIDE = 320  # px likewise, where only the surroundings of a known face are searched


@dataclass(frozen=True, eq=False)
class Face:
    """One detected face, in pixels of the frame it was found in."""

    box: np.ndarray  # float32 [4], x0 y0 x1 y1
    points: np.ndarray  # float32 [5, 2]: image-left eye, image-right eye, nose, image-left and image-right mouth corner
    score: float  # 0..1

    @property
    def area(self) -> float:
        """Of the box, in square pixels."""
        return float((self.box[2] - self.box[0]) * (self.box[3] - self.box[1]))

    @property
    def interocular(self) -> float:
        """Distance between the eyes, in pixels."""
        return float(np.linalg.norm(self.points[1] - self.points[0]))


class FaceDetector(Protocol):
    """Anything that finds faces in one picture."""

    def detect(self, rgb: np.ndarray, *, near: Face | None = None) -> list[Face]:
        """All faces of a uint8 ``[H, W, 3]`` RGB picture, largest first; empty if there is none.

        ``near`` is where the face was a moment ago: a detector may look there first, and only there if it finds one.
        """
        ...


class MTCNNDetector:
    """MTCNN (Zhang et al. 2016) with the networks that ship inside facenet-pytorch; needs no download.

    The picture is shrunk to ``LONGEST_SIDE`` first, and torch is held to one thread meanwhile, since more of them are
    slower on networks this small.

    Args:
        min_face: smallest face to look for, in pixels of the frame given; None takes a tenth of its shorter side.
        min_score: confidence below which a face is dropped.

    Raises:
        MissingExtra: facenet-pytorch is not installed.
    """

    def __init__(self, *, min_face: float | None = None, min_score: float = 0.9) -> None:
        if min_face is not None and not min_face > 0:
            raise ZooError(f"min_face is {min_face}; it is the smallest face to look for, in pixels")
        try:
            from facenet_pytorch import MTCNN
        except ImportError:
            raise missing_extra("faces", "facenet-pytorch", "finding faces") from None
        self.min_face = min_face
        self.min_score = min_score
        self._network: Any = MTCNN(keep_all=True, device="cpu")

    def detect(self, rgb: np.ndarray, *, near: Face | None = None) -> list[Face]:
        """See :meth:`FaceDetector.detect`; looking near a known face is several times faster."""
        if near is not None:
            side = float(max(near.box[2:] - near.box[:2]))
            low = np.maximum(np.floor(near.box[:2] - 0.6 * side), 0).astype(int)
            high = np.maximum(np.ceil(near.box[2:] + 0.6 * side), 1).astype(int)
            if (part := rgb[low[1] : high[1], low[0] : high[0]]).size and side > 1:
                found = self._detect(part, NEAR_SIDE, 0.5 * side)
                if found:
                    corner = low.astype(np.float32)
                    return [Face(face.box + np.tile(corner, 2), face.points + corner, face.score) for face in found]
        return self._detect(rgb, LONGEST_SIDE, self.min_face or min(rgb.shape[:2]) / 10)

    def _detect(self, rgb: np.ndarray, longest: int, least: float, *, padded: bool = False) -> list[Face]:
        import torch

        small, scale = shrink(rgb, longest)
        self._network.min_face_size = max(20.0, least * scale)  # 20 px is the least that the networks were trained for
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:  # one picture at a time: a batch in which one picture has no face fails inside the library
            boxes, scores, points = self._network.detect(small, landmarks=True)
        finally:
            torch.set_num_threads(threads)
        if boxes is None:
            return []
        found = [
            Face(
                (np.asarray(box, np.float32) + 0.5) / scale - 0.5,
                (np.asarray(five, np.float32) + 0.5) / scale - 0.5,
                float(score),
            )
            for box, score, five in zip(boxes, scores, points, strict=True)
            if float(score) >= self.min_score
        ]
        if found and not padded and any(_touches(face, rgb.shape) for face in found):
            margin = round(0.25 * max(float((face.box[2:] - face.box[:2]).max()) for face in found))
            wide = cv2.copyMakeBorder(rgb, margin, margin, margin, margin, cv2.BORDER_REPLICATE)
            if again := self._detect(wide, longest, least, padded=True):
                found = [Face(face.box - margin, face.points - margin, face.score) for face in again]
        return sorted(found, key=lambda face: -face.area)


def _touches(face: Face, shape: tuple[int, ...]) -> bool:
    """Whether a face reaches the picture's border, where these networks misplace its points by a fifth of their distance."""
    least = 0.02 * float((face.box[2:] - face.box[:2]).max())
    return bool((face.box[:2] < least).any() or (face.box[2:] > np.array(shape[1::-1]) - 1 - least).any())


def shrink(rgb: np.ndarray, longest: int = LONGEST_SIDE) -> tuple[np.ndarray, float]:
    """The picture with its longer side at most ``longest`` px, and the factor by which it was shrunk."""
    scale = min(1.0, longest / max(rgb.shape[:2]))
    if scale == 1.0:
        return rgb, scale
    size = (max(1, round(rgb.shape[1] * scale)), max(1, round(rgb.shape[0] * scale)))
    return cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), scale


def canonical_points(size: int = FACE_SIZE) -> np.ndarray:
    """Eye centres and mouth corners of the canonical face. Shapes: ``[4, 2]`` in pixels of a crop of ``size``."""
    return np.concatenate([geometry.eye_centres(), geometry.mouth_corners()]) * size - 0.5


def similarity(face: Face, size: int = FACE_SIZE) -> tuple[np.ndarray, float]:
    """Rotation, uniform scale and shift that carry a face into the canonical crop, by least squares.

    Eyes and mouth corners decide; the nose is left out, since it moves off the face's plane when the head turns.

    Shapes: -> matrix ``[2, 3]`` from frame pixels to crop pixels, and the root mean square residual in crop units
    (0..1); above about 0.03 the head is turned.
    """
    source = face.points[[0, 1, 3, 4]].astype(np.float64)
    target = canonical_points(size)
    x, y = source.T
    one, zero = np.ones(4), np.zeros(4)
    system = np.concatenate([np.stack([x, -y, one, zero], 1), np.stack([y, x, zero, one], 1)])
    (a, b, shift_x, shift_y), *_ = np.linalg.lstsq(system, target.T.reshape(-1), rcond=None)
    matrix = np.array([[a, -b, shift_x], [b, a, shift_y]])
    miss = source @ matrix[:, :2].T + matrix[:, 2] - target
    return matrix, float(np.sqrt((miss**2).sum(1).mean()) / size)


def align(rgb: np.ndarray, matrix: np.ndarray, size: int = FACE_SIZE) -> np.ndarray:
    """The frame seen through a similarity; grey where the crop reaches beyond the frame.

    Shapes: uint8 ``[H, W, 3]``, matrix ``[2, 3]`` -> uint8 ``[size, size, 3]``.
    """
    scale = float(np.hypot(matrix[0, 0], matrix[1, 0]))
    if scale < 0.5:  # shrink by block means first, or fine texture would alias into false motion
        half = cv2.resize(rgb, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
        step = np.array([half.shape[1] / rgb.shape[1], half.shape[0] / rgb.shape[0]])  # odd sides round
        linear = matrix[:, :2] / step
        return align(half, np.column_stack([linear, matrix[:, 2] + linear @ (0.5 - 0.5 * step)]), size)
    return cv2.warpAffine(
        rgb,
        matrix,
        (size, size),
        flags=cv2.INTER_LINEAR if scale < 1 else cv2.INTER_CUBIC,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=(128, 128, 128),
    )


def outside(matrix: np.ndarray, shape: tuple[int, ...], size: int = FACE_SIZE) -> float:
    """Share of the crop that lies beyond the frame. Shapes: matrix ``[2, 3]``, shape ``(H, W, ...)``."""
    inverse = cv2.invertAffineTransform(matrix)
    y, x = np.mgrid[0:size:4, 0:size:4]
    at_x, at_y = inverse[:, :2] @ np.stack([x.ravel(), y.ravel()]) + inverse[:, 2:]
    return float(np.mean((at_x < -0.5) | (at_y < -0.5) | (at_x > shape[1] - 0.5) | (at_y > shape[0] - 0.5)))
