"""Parts of the face: boxes of action units, their centres, and the published partitions into 16 and 36 (43) regions.

All in crop units (see :mod:`zoo.facs.geometry`). Functions that take landmarks follow a face; without them they describe the
canonical one. The subject's right side is on the image's left.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from zoo.errors import UnknownName
from zoo.facs import geometry
from zoo.facs.geometry import Side

Box = tuple[float, float, float, float]  # left, top, right, bottom


def box_units() -> tuple[int, ...]:
    """The units that have boxes."""
    return tuple(sorted({int(name.partition("_")[0][2:]) for name in geometry.roi_boxes()}))


def boxes(au: int) -> dict[Side, Box]:
    """Where the canonical face shows a unit: one box per side, or one under ``both`` for a unit of the midline.

    Raises:
        UnknownName: there is none for that unit.
    """
    table = geometry.roi_boxes()
    if f"AU{au}" in table:
        return {"both": table[f"AU{au}"]}
    if f"AU{au}_right" not in table:
        raise UnknownName(f"there is no box of AU{au}; there are boxes of {', '.join(map(str, box_units()))}")
    return {"right": table[f"AU{au}_right"], "left": table[f"AU{au}_left"]}


def place(name: str) -> tuple[float, float] | None:
    """Where a node belongs on the canonical face: ``AU12L`` (the subject's left), ``AU17``, or a landmark, ``48``.

    A unit that has two sides but is named without one has no single place: ``None``, as has any other name.
    """
    if name.isdigit() and int(name) < 68:
        x, y = geometry.landmarks()[int(name)]
        return float(x), float(y)
    number, side = name.removeprefix("AU"), None
    if number[-1:] in ("L", "R"):
        number, side = number[:-1], number[-1]
    if not name.startswith("AU") or not number.isdigit() or int(number) not in box_units():
        return None
    found = boxes(int(number))
    if "both" in found:
        return _centre(found["both"])
    return None if side is None else _centre(found["left" if side == "L" else "right"])


def _centre(box: Box) -> tuple[float, float]:
    return (box[0] + box[2]) / 2, (box[1] + box[3]) / 2


# --- AU centres of EAC-Net ------------------------------------------------------------------------------------------

# unit -> landmark of the right and of the left half, and how far down in parts of the distance between the inner eye corners
_CENTRES: Mapping[int, tuple[int, int, float]] = {
    1: (21, 22, -1 / 2), 2: (18, 25, -1 / 3), 4: (19, 24, 1 / 3), 6: (41, 46, 1.0), 7: (38, 43, 0.0),
    10: (49, 53, 0.0), 12: (48, 54, 0.0), 14: (48, 54, 0.0), 15: (48, 54, 0.0), 17: (58, 56, 1 / 2),
    23: (61, 63, 0.0), 24: (61, 63, 0.0),
}  # fmt: skip


def au_centres(landmarks: np.ndarray | None = None) -> dict[int, np.ndarray]:
    """Two points for each unit, the subject's right one first (Li et al., EAC-Net, FG 2017; from its code).

    For AU17 the points below the lower lip: the comments of that code say AU23 there and give AU17 points on the lips.

    Args:
        landmarks: in crop units, or in any other; by default those of the canonical face.

    Shapes: ``[68, 2]`` -> unit to ``[2, 2]``.
    """
    points = geometry.landmarks() if landmarks is None else np.asarray(landmarks, np.float64)
    unit = float(np.linalg.norm(points[39] - points[42]))
    return {au: points[[right, left]] + [0.0, down * unit] for au, (right, left, down) in _CENTRES.items()}


# --- 16 regions -----------------------------------------------------------------------------------------------------

# Reading: of the 16 regions of Wang et al. 2015 the outlines are not published; these are the landmarks that show the units.
# Name -> landmarks, how far down and how far around, in distances between the eyes
_SIXTEEN: Mapping[str, tuple[tuple[int, ...], float, float]] = {
    "inner brow R": ((20, 21), -0.05, 0.12), "inner brow L": ((22, 23), -0.05, 0.12),
    "outer brow R": ((17, 18, 19), -0.05, 0.1), "outer brow L": ((24, 25, 26), -0.05, 0.1),
    "glabella": ((21, 22, 27), 0.0, 0.04),
    "lower lid R": ((40, 41), 0.05, 0.12), "lower lid L": ((46, 47), 0.05, 0.12),
    "cheek R": ((41,), 0.58, 0.25), "cheek L": ((46,), 0.58, 0.25),
    "nose": ((27, 28, 29, 30), 0.0, 0.12),
    "nose wing R": ((31,), 0.0, 0.16), "nose wing L": ((35,), 0.0, 0.16),
    "mouth corner R": ((48,), 0.0, 0.2), "mouth corner L": ((54,), 0.0, 0.2),
    "lips": ((50, 51, 52, 56, 57, 58), 0.0, 0.05),
    "chin": ((7, 8, 9, 57), 0.0, 0.02),
}  # fmt: skip


def sixteen(landmarks: np.ndarray | None = None) -> dict[str, Box]:
    """Sixteen boxes after Wang et al., TIP 2015. Shapes: landmarks ``[68, 2]``; see :func:`au_centres`."""
    points = geometry.landmarks() if landmarks is None else np.asarray(landmarks, np.float64)
    iod = float(np.linalg.norm(points[42:48].mean(0) - points[36:42].mean(0)))
    out = {}
    for name, (indices, down, margin) in _SIXTEEN.items():
        part = points[list(indices)] + [0.0, down * iod]
        (left, top), (right, bottom) = part.min(0) - margin * iod, part.max(0) + margin * iod
        out[name] = (float(left), float(top), float(right), float(bottom))
    return out


# --- 36 and 43 regions ----------------------------------------------------------------------------------------------

# After the 36 regions of MDMO (Liu et al., TAC 2016), as AU R-CNN draws them on 68 points, with its seven more (37 to 43).
# 17u: landmark 17 moved up by _UP, uu: twice as far; 41~2: half way between two landmarks.
_POLYGONS = """
1:17u,19u,19,17  2:19u,21u,21,19  3:21u,27uu,27,21  4:27uu,22u,27,22  5:22u,24u,24,22  6:24u,26u,26,24
7:1,17,36  8:17,19,37,36  9:19,38,39,21  10:21,27,28,39  11:22,27,28,42  12:22,42,43,24  13:24,44,45,26  14:26,16,15,45
15:2,41~2,3~29,3  16:41,2~41,3~29,39  17:39,3~29,29,28  18:28,29,13~29,42  19:42,46,14~46,13~29  20:14~46,14,13,13~29
21:3,3~29,4~33,4  22:4~33,3~29,29,33  23:33,29,13~29,12~33  24:13~29,13,12,12~33
25:4,4~33,5~59,5  26:5~59,4~33,33,59  27:33,55,11~55,12~33  28:11~55,12~33,12,11
29:59,58,6~58,5~59  30:6~58,58,57,8~57  31:57,8~57,10~56,56  32:56,10~56,11~55,55
33:5,5~59,6~58,6  34:6,6~58,8~57,8  35:8~57,10~56,10,8  36:10~56,10,11,11~55
37:33,55,56,57,58,59  38:1,2,36,37  39:14,15,44,45  40:19,37,38  41:24,43,44  42:36,37,38,39,40,41  43:42,43,44,45,46,47
"""
_UP = 20 / 512  # of the height of the crop

# Which of the 43 regions a unit shows in, as AU R-CNN assigns them
_AROUND_THE_EYES = (1, 2, 5, 6, 8, 9, 12, 13, 40, 41)
_OF_UNITS: Mapping[tuple[int, ...], tuple[int, ...]] = {
    (1, 2, 5, 7): (*_AROUND_THE_EYES, 42, 43),
    (4,): (*_AROUND_THE_EYES, 3, 4),
    (6,): (16, 17, 18, 19, 42, 43),
    (9,): (10, 11, 17, 18, 22, 23),
    (10, 11, 12, 13, 14, 15): (*range(21, 29), 37),
    (16, 20, 25, 26, 27): tuple(range(25, 38)),
    (17,): tuple(range(29, 37)),
    (18, 22, 23, 24, 28): (26, 27, 29, 30, 31, 32, 37),
    (43, 45, 61, 62, 63, 64): (8, 9, 12, 13, 40, 41, 42, 43),
}


def polygons(landmarks: np.ndarray | None = None, *, count: int = 36) -> dict[int, np.ndarray]:
    """The regions of MDMO, numbered from 1, as convex polygons; see above.

    Args:
        landmarks: in crop units; by default those of the canonical face.
        count: 36, or 43 with those that AU R-CNN adds (they overlap others).

    Shapes: ``[68, 2]`` -> number to corners ``[K, 2]`` in order around the region.

    Raises:
        ValueError: another count.
    """
    if count not in (36, 43):
        raise ValueError(f"there are 36 regions, or 43 with those of AU R-CNN, not {count}")
    points = geometry.landmarks() if landmarks is None else np.asarray(landmarks, np.float64)
    out = {}
    for entry in _POLYGONS.split():
        number, _, corners = entry.partition(":")
        if int(number) <= count:
            out[int(number)] = _hull(np.stack([_corner(text, points) for text in corners.split(",")]))
    return out


def regions_of(au: int) -> tuple[int, ...]:
    """Numbers among the 43 regions in which a unit shows; raises UnknownName where none is assigned."""
    for units, numbers in _OF_UNITS.items():
        if au in units:
            return tuple(sorted(numbers))
    raise UnknownName(f"no regions are assigned to AU{au}; there are some for "
                      f"{', '.join(str(u) for units in _OF_UNITS for u in units)}")  # fmt: skip


def _corner(text: str, points: np.ndarray) -> np.ndarray:
    if "~" in text:
        a, b = map(int, text.split("~"))
        return (points[a] + points[b]) / 2
    up = text.count("u")
    return points[int(text.rstrip("u"))] - [0.0, up * _UP]


def _hull(points: np.ndarray) -> np.ndarray:
    from scipy.spatial import ConvexHull

    return points[ConvexHull(points).vertices]
