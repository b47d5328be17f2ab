"""Another engine for the fields: the expression shapes of a face mesh, fitted to the portrait by its landmarks.

The mesh is ICT-FaceKit's light model (Li et al. 2020, MIT licence), from a file that the user names; none is shipped. Where the
landmark table knows 68 points, the mesh knows thousands, so cheeks and forehead move as the scans did.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

import numpy as np

from zoo.errors import ZooError
from zoo.facs.geometry import Side
from zoo.synthesis.fields import FaceFields, Movement, carry

_KEYS = ("mean", "faces", "identity", "expression", "expression_names", "landmarks68")
# Action unit -> shapes and their weights; shapes that come as a pair of sides are named without the side.
SHAPES: Mapping[int, Mapping[str, float]] = {
    1: {"browInnerUp": 1.0}, 2: {"browOuterUp": 1.0}, 4: {"browDown": 1.0}, 5: {"eyeWide": 1.0},
    6: {"cheekSquint": 0.5, "cheekRaiser": 0.5, "eyeSquint": 0.3}, 7: {"eyeSquint": 1.0}, 9: {"noseSneer": 1.0},
    10: {"mouthUpperUp": 1.0}, 12: {"mouthSmile": 1.0}, 14: {"mouthDimple": 1.0}, 15: {"mouthFrown": 1.0},
    16: {"mouthLowerDown": 1.0}, 17: {"mouthShrugLower": 1.0}, 18: {"mouthPucker": 1.0}, 20: {"mouthStretch": 1.0},
    22: {"mouthFunnel": 1.0}, 23: {"mouthPress": 0.6, "mouthPucker": 0.25}, 24: {"mouthPress": 1.0},
    25: {"mouthLowerDown": 0.6, "mouthUpperUp": 0.25}, 26: {"jawOpen": 0.3}, 27: {"jawOpen": 1.0},
    28: {"mouthRollLower": 1.0, "mouthRollUpper": 1.0}, 43: {"eyeBlink": 1.0}, 45: {"eyeBlink": 1.0},
}  # fmt: skip
_CONTOUR = 0.2  # weight of the jaw's landmarks in the fit: in a picture they are the silhouette, on the mesh a line
_RIDGE = 0.5  # of the identity's coefficients, in landmarks of one percent of the distance between the eyes


class MeshModel:
    """ICT-FaceKit's light model, as arrays.

    Args:
        path: an ``.npz`` with ``mean [V, 3]``, ``faces [F, 3]``, ``identity [I, V, 3]``, ``expression [E, V, 3]`` (from the
            mean), ``expression_names [E]`` and ``landmarks68 [68]``; ``vertex_part``, where given, is 0 for skin.

    Raises:
        ZooError: not such a file.
    """

    def __init__(self, path: str | Path) -> None:
        path = Path(path)
        if not path.is_file():
            raise ZooError(f"{path} is not there; --ict names an .npz of ICT-FaceKit's light model")
        try:
            table = np.load(path, allow_pickle=False)
            missing = [k for k in _KEYS if k not in table.files]
        except (OSError, ValueError) as error:
            raise ZooError(f"{path} is no .npz of a face mesh ({error})") from None
        if missing:
            raise ZooError(f"{path} lacks {', '.join(missing)}; a face mesh holds {', '.join(_KEYS)}")
        self.mean = table["mean"].astype(np.float64)
        self.faces = table["faces"].astype(np.int64)
        self.identity = table["identity"].astype(np.float64)
        self.expression = dict(
            zip(table["expression_names"].tolist(), table["expression"].astype(np.float64), strict=True)
        )
        self.landmarks = table["landmarks68"].astype(np.int64)
        count = len(self.mean)
        self.skin = table["vertex_part"] == 0 if "vertex_part" in table.files else np.ones(count, bool)
        self.digest = hashlib.sha256(path.read_bytes()).hexdigest()

    def shape_of(self, movement: Movement) -> np.ndarray | None:
        """How the vertices move at full intensity; None where the mesh has no shape for it. Shapes: ``[V, 3]``."""
        au, side = movement
        out = np.zeros_like(self.mean)
        for name, weight in SHAPES.get(au, {}).items():
            if name in self.expression:  # one shape for the whole face
                if side != "both":
                    return None
                out += weight * self.expression[name]
                continue
            suffixes = {"both": ("_L", "_R"), "left": ("_L",), "right": ("_R",)}[side]
            if any(name + s not in self.expression for s in suffixes):
                return None
            out += weight * sum(self.expression[name + s] for s in suffixes)
        return out if au in SHAPES else None


def fit(model: MeshModel, landmarks: np.ndarray, *, rounds: int = 8) -> tuple[np.ndarray, np.ndarray]:
    """Lay the mesh over a face: scaled orthographic pose and identity in turn, by least squares on the landmarks.

    Shapes: landmarks ``[68, 2]`` in pixels -> vertices ``[V, 3]`` of that person, camera ``[2, 4]`` (to pixels).
    """
    scale = float(np.linalg.norm(landmarks[36:42].mean(0) - landmarks[42:48].mean(0)))
    weight = np.where(np.arange(68) < 17, _CONTOUR, 1.0)
    modes = model.identity[:, model.landmarks]  # [I, 68, 3]
    own = model.mean[model.landmarks]
    coefficients = np.zeros(len(modes))
    camera = np.zeros((2, 4))
    for _ in range(rounds):
        points = own + np.tensordot(coefficients, modes, 1)
        camera = _pose(points, landmarks, weight)
        seen = np.einsum("ij,klj->kli", camera[:, :3], modes)  # [I, 68, 2] px
        target = landmarks - (own @ camera[:, :3].T + camera[:, 3])
        system = (seen * weight[None, :, None]).reshape(len(modes), -1).T * (100 / scale)
        wanted = (target * weight[:, None]).reshape(-1) * (100 / scale)
        coefficients = np.linalg.solve(system.T @ system + _RIDGE * np.eye(len(modes)), system.T @ wanted)
    return model.mean + np.tensordot(coefficients, model.identity, 1), camera


def _pose(points: np.ndarray, seen: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Scaled orthographic camera by least squares, its rows made orthogonal and equally long. Shapes: -> ``[2, 4]``."""
    mean_p, mean_s = (weight @ a / weight.sum() for a in (points, seen))
    linear = np.linalg.lstsq((points - mean_p) * weight[:, None], (seen - mean_s) * weight[:, None], rcond=None)[0].T
    left, values, right = np.linalg.svd(linear, full_matrices=False)
    linear = values.mean() * left @ right
    return np.column_stack([linear, mean_s - linear @ mean_p])


class MeshFields(FaceFields):
    """The fields of :class:`FaceFields`, from a mesh; a unit without a shape in it moves by the landmark table.

    Args:
        landmarks: of the still face, in pixels of the picture.
        shape: height and width of the picture.
        model: the mesh.

    Shapes:
        landmarks: ``[68, 2]`` x, y.
    """

    def __init__(self, landmarks: np.ndarray, shape: tuple[int, int], model: MeshModel) -> None:
        super().__init__(landmarks, shape)
        self.model = model
        self.vertices, self.camera = fit(model, self.landmarks)

    @cached_property
    def _places(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Which three vertices surround each pixel, with what weights; the weights fade with the face."""
        from scipy.spatial import Delaunay

        flat = self.vertices @ self.camera[:, :3].T + self.camera[:, 3]
        # what the fit missed at the landmarks is spread over the mesh, so that lips lie on lips
        flat = flat + carry(self, flat, self.landmarks - flat[self.model.landmarks])
        front = np.flatnonzero(self._facing())
        mesh = Delaunay(flat[front])
        height, width = self.shape
        y, x = np.mgrid[:height, :width]
        pixels = np.stack([x.ravel(), y.ravel()], 1).astype(np.float64)
        found = mesh.find_simplex(pixels)
        inside = found >= 0
        turn = mesh.transform[found]
        first = np.einsum("nij,nj->ni", turn[:, :2], pixels - turn[:, 2])
        weights = np.column_stack([first, 1 - first.sum(1)]) * (inside * self.fade)[:, None]
        return front[mesh.simplices[found]], np.nan_to_num(weights), inside

    def _facing(self) -> np.ndarray:
        """Skin that faces the camera. Shapes: bool ``[V]``."""
        corners = self.vertices[self.model.faces]
        normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        axis = np.cross(
            self.camera[0, :3], self.camera[1, :3]
        )  # pixels run right and down, so this looks into the face
        towards = normal @ axis
        # which way round the faces are listed is told by the nose
        nose = np.isin(self.model.faces, self.model.landmarks[30]).any(1)
        towards = towards * np.sign(towards[nose].mean())
        seen = np.zeros(len(self.vertices), bool)
        seen[np.unique(self.model.faces[towards > 0])] = True
        return seen & self.model.skin

    def field(self, au: int, side: Side = "both") -> np.ndarray:
        """See :meth:`FaceFields.field`."""
        import cv2

        shape = self.model.shape_of((au, side))
        if shape is None:
            return super().field(au, side)
        if (au, side) not in self._known:
            corners, weights, _ = self._places
            moves = shape @ self.camera[:, :3].T  # [V, 2] px
            dense = np.einsum("nk,nkc->cn", weights, moves[corners]).reshape(2, *self.shape)
            blur = 0.03 * self.interocular  # the edges of the triangles are no edges of the skin
            field = np.stack([cv2.GaussianBlur(c.astype(np.float32), (0, 0), blur) for c in dense])
            field.flags.writeable = False
            self._known[au, side] = field
        return self._known[au, side]
