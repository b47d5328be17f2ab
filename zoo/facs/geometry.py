"""The canonical face: 68 landmarks in a square crop, and where each action unit moves them.

``face_geometry.json`` was derived for this project. Landmarks: the mean of three shape sources, aligned and made
symmetric. Displacements: the expression shapes of ICT-FaceKit (MIT licence) seen from the front, read at their 68
landmarks. Crop units run from 0 to 1, x right and y down; the subject's right side is on the image's left. In a picture
of S pixels the pixel of a value v is ``v * S - 0.5``.
"""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from typing import Any, Literal, get_args

import numpy as np

Side = Literal["both", "left", "right"]  # the subject's own


@cache
def _table() -> dict[str, Any]:
    table: dict[str, Any] = json.loads(files("zoo.facs").joinpath("face_geometry.json").read_text(encoding="utf-8"))
    return table


def _points(key: str) -> np.ndarray:
    return np.asarray(_table()[key], np.float64)


def landmarks() -> np.ndarray:
    """The 68 points in iBUG order. Shapes: ``[68, 2]`` x, y in crop units."""
    return _points("landmarks")


def eye_centres() -> np.ndarray:
    """Image-left eye first. Shapes: ``[2, 2]`` x, y in crop units."""
    return _points("eye_centres")


def mouth_corners() -> np.ndarray:
    """Image-left corner first. Shapes: ``[2, 2]`` x, y in crop units."""
    return _points("mouth_corners")


def interocular() -> float:
    """Distance between the eye centres, in crop units."""
    return float(_table()["iod"])


def mirror_index() -> np.ndarray:
    """For each landmark the one on the other side. Shapes: int ``[68]``."""
    return np.asarray(_table()["mirror_index"], np.int64)


def roi_boxes() -> dict[str, tuple[float, float, float, float]]:
    """Boxes of action units on the canonical face, left, top, right, bottom; :func:`zoo.facs.regions.boxes` reads them."""
    return {name: (box[0], box[1], box[2], box[3]) for name, box in _table()["roi_boxes"].items()}


def action_units() -> tuple[int, ...]:
    """The action units that have a displacement field."""
    return tuple(sorted(int(key[2:]) for key in _table()["au_fields_full_intensity"] if key[2:].isdigit()))


def displacement(au: int, side: Side = "both") -> np.ndarray:
    """How an action unit at full intensity (FACS letter E) moves the landmarks.

    Micro-expressions show 0.1 to 0.45 of it. For midline units (16, 17, 25, 26, ...) only ``both`` exists.

    Args:
        au: number of the action unit.
        side: the subject's own left or right half, or both.

    Shapes: ``[68, 2]`` dx, dy in crop units.

    Raises:
        ValueError: no such field; the message lists those there are.
    """
    if side not in get_args(Side):
        raise ValueError(f"side is {side!r}; known: {', '.join(get_args(Side))}")
    fields = _table()["au_fields_full_intensity"]
    key = f"AU{au}" + {"both": "", "left": "L", "right": "R"}[side]
    if key not in fields:
        known = ", ".join(map(str, action_units()))
        raise ValueError(f"there is no displacement field for AU{au}, side {side}; fields (both sides): {known}")
    out = np.zeros((68, 2))
    for index, shift in fields[key]["dxdy_pct_iod"].items():
        out[int(index)] = shift
    return out * interocular() / 100
