"""A second face detector: YuNet, by OpenCV, from a model file that the user names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np

from zoo.errors import ZooError
from zoo.vision.faces import LONGEST_SIDE, Face, FaceDetector, MTCNNDetector, shrink

_ADDRESS = "https://github.com/opencv/opencv_zoo/tree/main/models/face_detection_yunet"


class YuNetDetector:
    """YuNet (Wu, Peng, Yu, 2023), several times faster than MTCNN; its weights (MIT) are not part of the zoo.

    Args:
        model: ``face_detection_yunet_2023mar.onnx`` of the OpenCV Zoo.
        min_face: smallest face to look for, in pixels of the frame given; None takes a tenth of its shorter side.
        min_score: confidence below which a face is dropped.

    Raises:
        ZooError: the file is missing, or OpenCV cannot use it; OpenCV was built without this detector.
    """

    def __init__(self, model: str | Path, *, min_face: float | None = None, min_score: float = 0.8) -> None:
        path = Path(model)
        if not path.is_file():
            raise ZooError(f"there is no file {path}; YuNet's .onnx is found at {_ADDRESS}")
        if not hasattr(cv2, "FaceDetectorYN"):
            raise ZooError(f"OpenCV {cv2.__version__} was built without FaceDetectorYN; use MTCNN")
        try:
            self._network: Any = cv2.FaceDetectorYN.create(str(path), "", (320, 320), min_score, 0.3, 100)
        except cv2.error as error:
            raise ZooError(
                f"OpenCV cannot use {path} as YuNet ({error.err}); download it anew from {_ADDRESS}"
            ) from None
        self.min_face, self.min_score = min_face, min_score

    def detect(self, rgb: np.ndarray, *, near: Face | None = None) -> list[Face]:
        """See :meth:`~zoo.vision.faces.FaceDetector.detect`; it is fast enough to look everywhere each time."""
        small, scale = shrink(rgb, LONGEST_SIDE)
        self._network.setInputSize(small.shape[1::-1])
        _, rows = self._network.detect(cv2.cvtColor(small, cv2.COLOR_RGB2BGR))
        least = self.min_face if self.min_face is not None else min(rgb.shape[:2]) / 10
        found = [_face(row, scale) for row in (() if rows is None else np.asarray(rows, np.float32))]
        wide = [face for face in found if float((face.box[2:] - face.box[:2]).min()) >= least]
        return sorted(wide, key=lambda face: -face.area)


def face_detector(source: str | Path = "mtcnn", *, min_face: float | None = None) -> FaceDetector:
    """The detector of that name, ``mtcnn``, or YuNet from that ``.onnx`` file.

    Raises:
        ZooError: neither. MissingExtra: facenet-pytorch is not installed.
    """
    if source == "mtcnn":
        return MTCNNDetector(min_face=min_face)
    if Path(source).suffix == ".onnx":
        return YuNetDetector(source, min_face=min_face)
    raise ZooError(f"there is no face detector {source}; known: mtcnn, or the path of YuNet's .onnx ({_ADDRESS})")


def _face(row: np.ndarray, scale: float) -> Face:
    """Of x, y, width, height, five points (eyes, nose, mouth corners; image-left first), score."""
    box = np.concatenate([row[:2], row[:2] + row[2:4]])
    points = row[4:14].reshape(5, 2)
    return Face((box + 0.5) / scale - 0.5, (points + 0.5) / scale - 0.5, float(row[14]))
