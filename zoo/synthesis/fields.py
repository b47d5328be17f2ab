"""From action units to motion of every pixel: the displacement fields of the geometry, spread over any face.

The 68 landmarks move as :mod:`zoo.facs.geometry` says, turned and scaled onto the face. Between them a thin-plate spline
carries the motion, held at zero by anchors around the face and along the hair. Four action units move skin that has no
landmark; they get nodes of their own on cheek, nasolabial fold, glabella and crow's feet.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache

import numpy as np

from zoo.errors import ZooError
from zoo.facs import geometry
from zoo.facs.geometry import Side

Movement = tuple[int, Side]  # an action unit, and on which side of the subject's face

# Units that one side of a face can show alone (FACS manual); of the others only "both" can be asked.
SIDED = frozenset({1, 2, 4, 5, 6, 7, 9, 10, 11, 12, 13, 14, 15, 16, 20, 24, 38, 39, 43})
# Shifts of landmarks in percent of the distance between the eyes, subject's right half, which the scans lack: nothing
# there deepens the nasolabial fold, and their squint leaves the upper lid where it is.
_ADDED: Mapping[int, Mapping[int, tuple[float, float]]] = {
    7: {37: (0.0, 1.5), 38: (0.0, 1.5)},
    11: {31: (-1.0, -1.5), 49: (-1.0, -1.5)},
}
# The scanned jaws closed while lips pulled, dimpled or pressed; a chin that hops is no part of these units.
_JAW, _JAW_HELD, _JAW_KEPT = slice(4, 13), frozenset({12, 14, 23, 24}), 0.3
# Skin without a landmark, subject's right half. Reading: direction by the muscle, size by the nearest landmark. Below and
# above a lid that opens or closes the skin rests; left to itself a plate swings back there.
_REST = {"cheek": (0.0, 0.0), "bag": (0.0, 0.0), "forehead": (0.0, 0.0)}
_SKIN: Mapping[int, Mapping[str, tuple[float, float]]] = {
    6: {"cheek": (0.3, -4.5), "crow": (1.5, -0.6)},
    9: {"fold": (-0.5, -9.0), "glabella": (0.0, 4.5)},
    11: {"fold": (-1.5, -3.5), "cheek": (0.0, -1.0)},
    14: {"fold": (-1.5, -1.5)},
    5: _REST,
    43: _REST,
    45: _REST,
}
_NODES = ("cheek", "bag", "fold", "crow", "forehead")  # of each half; one more, the glabella, lies on the midline
_SKINS = 2 * len(_NODES) + 1
_MOVING = 68 + _SKINS
_SMOOTH = 2e-5  # ridge of the spline: the lids' landmarks lie close, and an exact plate would ring between them


def action_units() -> tuple[int, ...]:
    """The action units that can be played."""
    return tuple(sorted({*geometry.action_units(), *_ADDED}))


def sides(au: int) -> tuple[Side, ...]:
    """On which sides an action unit can be played."""
    return ("both", "left", "right") if au in SIDED else ("both",)


@cache
def _mirror() -> np.ndarray:
    return geometry.mirror_index()


def landmark_shifts(au: int, side: Side = "both") -> np.ndarray:
    """How an action unit at full intensity moves the landmarks, as it is played.

    The geometry's field, with the jaw held for AU12, 14, 23 and 24, the upper lid lowered for AU7, and AU11 made by hand.

    Shapes: ``[68, 2]`` dx, dy in crop units.

    Raises:
        ZooError: the unit has no field, or no such side.
    """
    if au not in action_units() or side not in sides(au):
        known = ", ".join(f"{a}" + ("" if a in SIDED else " (both)") for a in action_units())
        raise ZooError(f"AU{au}, side {side}, cannot be played; there are fields for {known}")
    out = np.zeros((68, 2))
    if au in geometry.action_units():
        out += _from_geometry(au, side)
    if au in _JAW_HELD:
        out[_JAW] *= _JAW_KEPT
    for index, shift in _ADDED.get(au, {}).items():
        for half, flip in (("right", 1.0), ("left", -1.0)):
            if side in ("both", half):
                at = index if half == "right" else int(_mirror()[index])
                out[at] += np.array([shift[0] * flip, shift[1]]) * geometry.interocular() / 100
    return out


def _from_geometry(au: int, side: Side) -> np.ndarray:
    try:
        return geometry.displacement(au, side)
    except ValueError:  # made by hand for both sides at once: one half, and half of the midline
        whole = geometry.displacement(au)
        x = geometry.landmarks()[:, 0]
        own = x < 0.5 - 1e-6 if side == "right" else x > 0.5 + 1e-6
        middle = np.abs(x - 0.5) <= 1e-6
        return whole * (own + 0.5 * middle)[:, None]


def skin_nodes(landmarks: np.ndarray, right: np.ndarray, down: np.ndarray) -> np.ndarray:
    """Points of skin that follow no landmark: cheek, below the eye, nasolabial fold, crow's foot and forehead of the right
    half, those of the left, and the glabella.

    Args:
        landmarks: in any unit.
        right: image-right by one distance between the eyes, in that unit.
        down: likewise downwards.

    Shapes: ``[68, 2]``, ``[2]``, ``[2]`` -> ``[11, 2]``.
    """
    halves = []
    for lid, wing, corner, canthus, brow, out in ((41, 31, 48, 36, 19, -1.0), (46, 35, 54, 45, 24, 1.0)):
        halves += [landmarks[lid] + 0.5 * down, landmarks[lid] + 0.2 * down]
        halves += [(landmarks[wing] + landmarks[corner]) / 2, landmarks[canthus] + 0.2 * out * right]
        halves += [landmarks[brow] - 0.25 * down]
    return np.array([*halves, (landmarks[21] + landmarks[22]) / 2])


def _skin_shifts(au: int, side: Side) -> np.ndarray:
    """Shapes: ``[11, 2]`` in crop units, NaN where the plate decides."""
    out = np.full((_SKINS, 2), np.nan)
    for name, (dx, dy) in _SKIN.get(au, {}).items():
        step = np.array([dx, dy]) * geometry.interocular() / 100
        if name == "glabella":
            out[-1] = step if side == "both" else step / 2
            continue
        for first, half, flip in ((0, "right", 1.0), (len(_NODES), "left", -1.0)):
            if side in ("both", half):
                out[first + _NODES.index(name)] = step * [flip, 1.0]
    return out


def anchors() -> np.ndarray:
    """Points that never move: around the crop, and along the hair. Shapes: ``[27, 2]`` in crop units."""
    line = np.linspace(-0.06, 1.06, 6)
    low, high = np.full(6, -0.06), np.full(6, 1.06)
    border = np.concatenate(
        [np.stack(p, 1) for p in ((line, low), (line, high), (low[1:5], line[1:5]), (high[1:5], line[1:5]))]
    )
    hair = np.stack([np.linspace(0.14, 0.86, 7), [0.12, 0.06, 0.03, 0.02, 0.03, 0.06, 0.12]], 1)
    return np.concatenate([border, hair])


def crop_to_picture(landmarks: np.ndarray) -> np.ndarray:
    """Similarity from crop units to the picture, by least squares on eye centres and mouth corners.

    Shapes: ``[68, 2]`` pixels -> ``[2, 3]``.
    """
    source = np.concatenate([geometry.eye_centres(), geometry.mouth_corners()])
    target = np.array([landmarks[36:42].mean(0), landmarks[42:48].mean(0), landmarks[48], landmarks[54]])
    x, y = source.T
    one, zero = np.ones(4), np.zeros(4)
    system = np.concatenate([np.stack([x, -y, one, zero], 1), np.stack([y, x, zero, one], 1)])
    (a, b, left, top), *_ = np.linalg.lstsq(system, target.T.reshape(-1), rcond=None)
    return np.array([[a, -b, left], [b, a, top]])


def _plate(distance2: np.ndarray) -> np.ndarray:
    return 0.5 * distance2 * np.log(np.maximum(distance2, 1e-12))


class FaceFields:
    """The motion of every pixel of one face, for any mix of action units; linear in their intensities.

    The spline's basis is made once per face. The field of a movement costs one matrix product and is then kept, so that a
    frame costs a weighted sum. A field is read at the place of arrival: ``moved(x) = still(x - field(x))``.

    Args:
        landmarks: of the still face, in pixels of the picture.
        shape: height and width of the picture.

    Shapes:
        landmarks: ``[68, 2]`` x, y.
    """

    def __init__(self, landmarks: np.ndarray, shape: tuple[int, int]) -> None:
        points = np.asarray(landmarks, np.float64)
        if points.shape != (68, 2) or not np.isfinite(points).all():
            raise ZooError(
                f"68 landmarks x, y are wanted, finite and in pixels; what came has the shape {points.shape}"
            )
        self.landmarks = points
        self.shape = (int(shape[0]), int(shape[1]))
        self.matrix = crop_to_picture(points)  # [2, 3] crop units -> pixels
        self.scale = float(np.hypot(self.matrix[0, 0], self.matrix[1, 0]))  # pixels per crop unit
        if self.scale < 8:
            raise ZooError(f"the face is {self.scale:.1f} px wide; at least 8 are needed to play anything on it")
        self._linear = self.matrix[:, :2]
        self._known: dict[Movement, np.ndarray] = {}
        inverse = np.linalg.inv(self._linear)
        own = (points - self.matrix[:, 2]) @ inverse.T  # [68, 2] crop units
        eye = geometry.interocular()
        skin = skin_nodes(own, np.array([eye, 0.0]), np.array([0.0, eye]))
        fixed = anchors()
        self._fill = _basis(skin, np.concatenate([own, fixed]))[:, :68]  # [11, 68]: what the plate gives at the skin
        self._nodes = np.concatenate([own, skin])
        y, x = np.mgrid[: self.shape[0], : self.shape[1]]
        pixels = np.stack([x.ravel(), y.ravel()], 1)
        at = (pixels - self.matrix[:, 2]) @ inverse.T
        weights = _basis(at, np.concatenate([self._nodes, fixed]))[:, :_MOVING]
        # beyond the anchors a plate runs away; it is let down to zero within a tenth of the crop
        beyond = np.maximum(np.abs(at - 0.5).max(1) - 0.5, 0.0) / 0.1
        self.fade: np.ndarray = 0.5 + 0.5 * np.cos(np.pi * np.minimum(beyond, 1.0))  # [H*W]
        self._weights = np.asarray(weights * self.fade[:, None], np.float32)  # [H*W, 79]

    @property
    def interocular(self) -> float:
        """Distance between the eyes, in pixels."""
        return self.scale * geometry.interocular()

    def node_shifts(self, movement: Movement) -> np.ndarray:
        """Of landmarks and skin nodes at full intensity. Shapes: ``[79, 2]`` in pixels."""
        shifts = landmark_shifts(*movement)
        skin = _skin_shifts(*movement)
        skin = np.where(np.isnan(skin), self._fill @ shifts, skin)
        out: np.ndarray = np.concatenate([shifts, skin]) @ self._linear.T
        return out

    def field(self, au: int, side: Side = "both") -> np.ndarray:
        """One movement at full intensity. Shapes: float32 ``[2, H, W]`` dx, dy in pixels; not to be written to."""
        if (au, side) not in self._known:
            shifts = self.node_shifts((au, side)).astype(np.float32)
            field = np.ascontiguousarray((self._weights @ shifts).T).reshape(2, *self.shape)
            field.flags.writeable = False
            self._known[au, side] = field
        return self._known[au, side]

    def stack(self, movements: Sequence[Movement]) -> np.ndarray:
        """Several movements at full intensity. Shapes: float32 ``[K, 2, H, W]`` in pixels."""
        return np.stack([self.field(*m) for m in movements]) if movements else np.zeros((0, 2, *self.shape), np.float32)

    def dense(self, intensities: Mapping[Movement, float]) -> np.ndarray:
        """A mix of movements, each from 0 to 1. Shapes: -> float32 ``[2, H, W]`` dx, dy in pixels."""
        out = np.zeros((2, *self.shape), np.float32)
        for movement, value in intensities.items():
            out += np.float32(value) * self.field(*movement)
        return out


def carry(face: FaceFields, places: np.ndarray, shifts: np.ndarray) -> np.ndarray:
    """Shifts of the 68 landmarks, carried to other places by the plate. Shapes: ``[M, 2]``, ``[68, 2]`` pixels -> ``[M, 2]``."""
    inverse = np.linalg.inv(face.matrix[:, :2])
    own, at = ((points - face.matrix[:, 2]) @ inverse.T for points in (face.landmarks, places))
    out: np.ndarray = _basis(at, np.concatenate([own, anchors()]))[:, :68] @ shifts
    return out * (np.abs(at - 0.5).max(1) < 0.56)[:, None]


def _basis(at: np.ndarray, nodes: np.ndarray) -> np.ndarray:
    """Weights with which a thin plate carries values at nodes to other places. Shapes: ``[M, 2]``, ``[N, 2]`` -> ``[M, N]``."""
    n = len(nodes)
    between = ((nodes[:, None] - nodes[None]) ** 2).sum(-1)
    system = np.zeros((n + 3, n + 3))
    system[:n, :n] = _plate(between) + _SMOOTH * np.eye(n)
    system[:n, n:] = np.concatenate([np.ones((n, 1)), nodes], 1)
    system[n:, :n] = system[:n, n:].T
    coefficients = np.linalg.solve(system, np.eye(n + 3)[:, :n])  # [N+3, N]
    out = np.empty((len(at), n))
    for start in range(0, len(at), 16384):  # the distances of a large picture at once would not fit the cache
        part = at[start : start + 16384]
        away = (part**2).sum(1)[:, None] - 2 * part @ nodes.T + (nodes**2).sum(1)[None]
        plate = np.concatenate([_plate(np.maximum(away, 0.0)), np.ones((len(part), 1)), part], 1)
        out[start : start + 16384] = plate @ coefficients
    return out


def dense_field(intensities: Mapping[Movement, float], landmarks: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Motion of every pixel of a face that shows these action units; for many mixes keep a :class:`FaceFields`.

    Args:
        intensities: of each movement ``(au, side)``, 0 to 1 (FACS letters A to E: .1, .25, .45, .7, 1).
        landmarks: of the still face, in pixels.
        shape: height and width of the picture.

    Shapes: landmarks ``[68, 2]`` -> float32 ``[2, H, W]`` dx, dy in pixels.
    """
    return FaceFields(landmarks, shape).dense(intensities)


def canonical_fields(size: int) -> FaceFields:
    """The fields on the canonical crop of ``size`` pixels: motion maps without any picture."""
    return FaceFields(geometry.landmarks() * size - 0.5, (size, size))
