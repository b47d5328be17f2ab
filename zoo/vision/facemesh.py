"""MediaPipe's 478 face landmarks by its own networks, without MediaPipe."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from zoo.errors import FaceError, ZooError, missing_extra
from zoo.facs import geometry
from zoo.vision.faces import Face, similarity

ENVIRONMENT = "ZOO_FACE_LANDMARKER"
SIDE = 256  # px of the picture that the network reads
_NETWORK = "face_landmarks_detector.tflite"
_EYES = (33, 263)  # outer corners; the line between them is the face's horizontal
_WIDER = 1.5  # how much larger than the box of the points the picture is
_ADDRESS = (
    "https://storage.googleapis.com/mediapipe-models/face_landmarker/face_landmarker/float16/1/face_landmarker.task"
)

# iBUG's 68 points among MediaPipe's 478. Chosen for this project: among the points of the contours that MediaPipe names
# (face oval, brows, eyes, lips: `face_mesh_connections.py`; nose: midline and base of its canonical face model), the one nearest
# to the canonical landmark on average over the 102 neutral portraits of the Face Research Lab London Set; eye corners and lip
# points of the upper and lower contour facing each other. The left half mirrors the right one. The jaw of iBUG is the
# silhouette and that of MediaPipe the face oval, so points 1 to 15 differ by nature when the head turns.
_RIGHT = {
    0: 127, 1: 234, 2: 93, 3: 58, 4: 172, 5: 136, 6: 149, 7: 148,
    17: 70, 18: 63, 19: 105, 20: 66, 21: 107, 31: 98, 32: 97,
    36: 33, 37: 160, 38: 158, 39: 133, 40: 153, 41: 144,
    48: 61, 49: 40, 50: 37, 58: 84, 59: 91, 60: 78, 61: 82, 67: 87,
}  # fmt: skip
_MIDDLE = {8: 152, 27: 168, 28: 197, 29: 5, 30: 1, 33: 2, 51: 0, 57: 17, 62: 13, 66: 14}
_MIRROR = {
    127: 356, 234: 454, 93: 323, 58: 288, 172: 397, 136: 365, 149: 378, 148: 377, 70: 300, 63: 293, 105: 334, 66: 296,
    107: 336, 98: 327, 97: 326, 33: 263, 160: 387, 158: 385, 133: 362, 153: 380, 144: 373, 61: 291, 40: 270, 37: 267,
    84: 314, 91: 321, 78: 308, 82: 312, 87: 317,
}  # fmt: skip


def ibug_index() -> np.ndarray:
    """For each of iBUG's 68 points its number among MediaPipe's 478. Shapes: int ``[68]``."""
    table, mirror = {**_RIGHT, **_MIDDLE}, geometry.mirror_index()
    table |= {int(mirror[point]): _MIRROR[mesh] for point, mesh in _RIGHT.items()}
    return np.array([table[i] for i in range(68)])


class FaceMesh:
    """The landmark network of MediaPipe's Face Landmarker (Grishchenko et al. 2020, with attention), run by LiteRT.

    The picture around the face is turned upright and read twice: first where the detector saw the face, then where the first
    answer puts it, as MediaPipe does from one frame of a video to the next.

    Args:
        model: the file ``face_landmarker.task`` (Apache-2.0); None reads its path from ``$ZOO_FACE_LANDMARKER``.
        passes: how often the network reads the face.
        min_presence: probability of a face below which the answer is refused.

    Raises:
        MissingExtra: ``ai-edge-litert`` is not installed. ZooError: the model file is not there, or is not one.
    """

    def __init__(self, model: str | Path | None = None, *, passes: int = 2, min_presence: float = 0.5) -> None:
        try:
            from ai_edge_litert.interpreter import Interpreter
        except ImportError:
            raise missing_extra("landmarks", "ai-edge-litert", "MediaPipe's landmarks") from None
        if passes < 1:
            raise ZooError(f"passes is {passes}; the network must read the face at least once")
        self.passes, self.min_presence = passes, min_presence
        self._interpreter: Any = Interpreter(model_content=_network(model), num_threads=1)
        self._interpreter.allocate_tensors()
        self._input = self._interpreter.get_input_details()[0]["index"]
        by_size = {int(np.prod(out["shape"])): out["index"] for out in self._interpreter.get_output_details()[:2]}
        if set(by_size) != {478 * 3, 1}:
            raise ZooError(
                f"the landmark network answers {sorted(by_size)} numbers, not 1434 and 1; is it of version 2?"
            )
        self._points, self._presence = by_size[478 * 3], by_size[1]

    def landmarks(self, rgb: np.ndarray, face: Face, *, index: int = 0) -> np.ndarray:
        """See :meth:`~zoo.vision.landmarks.LandmarkProvider.landmarks`."""
        return self.mesh(rgb, face)[ibug_index()]

    def mesh(self, rgb: np.ndarray, face: Face) -> np.ndarray:
        """All points. Shapes: uint8 ``[H, W, 3]`` -> float32 ``[478, 2]``, in pixels of the frame.

        Raises:
            FaceError: the network sees no face there.
        """
        matrix, _ = similarity(face, 1)  # the canonical face fills 0.74 of its crop
        inverse = cv2.invertAffineTransform(matrix)
        place = inverse @ np.array([0.0, 0.04, 1.0])  # its middle lies a little below the crop's: the forehead is short
        side, angle = 1.35 * float(np.hypot(*inverse[:, 0])), float(np.arctan2(inverse[1, 0], inverse[0, 0]))
        points = np.zeros((478, 2), np.float32)
        for _ in range(self.passes):
            points, presence = self._read(rgb, place, side, angle)
            if presence < self.min_presence:
                raise FaceError(
                    f"no landmarks: the network takes what was detected for a face with probability {presence:.2f} only "
                    f"(box {np.round(face.box).astype(int).tolist()}); use a frame that shows the face from the front"
                )
            place, side, angle = _surrounding(points)
        return points

    def _read(self, rgb: np.ndarray, centre: np.ndarray, side: float, angle: float) -> tuple[np.ndarray, float]:
        cosine, sine = np.cos(angle) * side / SIDE, np.sin(angle) * side / SIDE
        turn = np.array([[cosine, -sine], [sine, cosine]])  # of a step in the network's picture, in the frame
        shift = centre - turn @ np.full(2, (SIDE - 1) / 2)
        seen = cv2.warpAffine(
            rgb, np.column_stack([turn, shift]), (SIDE, SIDE), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REPLICATE,
        )  # fmt: skip
        self._interpreter.set_tensor(self._input, seen[None].astype(np.float32) / 255)
        self._interpreter.invoke()
        raw = self._interpreter.get_tensor(self._points).reshape(478, 3)[:, :2].astype(np.float64)
        logit = float(self._interpreter.get_tensor(self._presence).ravel()[0])
        # the network counts from the corner of the first pixel, as mirrored pictures show; here from its centre
        return ((raw - 0.5) @ turn.T + shift).astype(np.float32), float(1 / (1 + np.exp(-logit)))


def _surrounding(points: np.ndarray) -> tuple[np.ndarray, float, float]:
    """Middle, side and angle of the upright square that the network wants to see. Shapes: [478, 2]."""
    across = points[_EYES[1]] - points[_EYES[0]]
    angle = float(np.arctan2(across[1], across[0]))
    back = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    upright = points @ back.T
    low, high = upright.min(0), upright.max(0)
    return back.T @ ((low + high) / 2), _WIDER * float((high - low).max()), angle


def _network(model: str | Path | None) -> bytes:
    named = model or os.environ.get(ENVIRONMENT)
    if not named:
        raise ZooError(
            f"MediaPipe's landmarks need its model file face_landmarker.task (Apache-2.0): download {_ADDRESS} "
            f"and name it, or set {ENVIRONMENT} to its path"
        )
    path = Path(named)
    if not path.is_file():
        raise ZooError(f"there is no file {path}; it should be MediaPipe's face_landmarker.task, from {_ADDRESS}")
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.read(_NETWORK)
    except (zipfile.BadZipFile, KeyError):
        raise ZooError(
            f"{path} is not MediaPipe's face_landmarker.task (a zip that holds {_NETWORK}); download it from {_ADDRESS}"
        ) from None
