"""How the parts of a face have moved, with the movement of the head taken off."""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np

from zoo.facs import geometry
from zoo.vision.flow import optical_flow

SIZE = 84  # px of the faces compared
BLOCK = 9  # px, side of the square over which the motion of a part is averaged


def moved(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Displacement of each part of the face between two aligned grey pictures, and how far the head moved.

    Dense flow (DIS), less the affine motion that most of the skin shares: found by least squares in which what does not agree
    weighs less and less, so that neither an expression nor a lip drags it along.

    Shapes: two uint8 ``[84, 84]`` -> float32 ``[14, 2]`` in percent of the distance between the eyes (x right, y down), and
    the mean of what was taken off, ``[2]`` in the same unit.
    """
    design, (rows, columns), (at_y, at_x) = _layout()
    flow = optical_flow(first, second, "dis")
    samples = flow[:, rows, columns].T.astype(np.float64)  # [n, 2]
    weight = np.ones(len(samples))
    for _ in range(3):
        weighted = design * weight[:, None]
        rigid = np.linalg.solve(design.T @ weighted + 1e-6 * np.eye(3), weighted.T @ samples)
        miss = np.linalg.norm(samples - design @ rigid, axis=1)
        scale = max(float(np.median(miss)), 0.01)
        weight = 1 / (1 + (miss / (1.5 * scale)) ** 2)
    parts = np.stack([cv2.blur(channel, (BLOCK, BLOCK))[at_y, at_x] for channel in flow], 1)
    where = np.column_stack([at_x / SIZE - 0.5, at_y / SIZE - 0.5, np.ones(len(at_x))])
    unit = 100 / (geometry.interocular() * SIZE)
    local = ((parts - where @ rigid) * unit).astype(np.float32)
    return local, ((design @ rigid).mean(0) * unit).astype(np.float32)


def names() -> tuple[str, ...]:
    """Of the parts, in the order of :func:`moved`; sides as on the picture."""
    return tuple(_parts())


def _parts() -> dict[str, np.ndarray]:
    points, eyes = geometry.landmarks(), geometry.eye_centres()
    down = np.array([0, 0.55 * geometry.interocular()])
    return {
        "outer brow left": points[18],
        "inner brow left": points[20:22].mean(0),
        "between the brows": points[21:23].mean(0) + 0.15 * down,
        "inner brow right": points[22:24].mean(0),
        "outer brow right": points[25],
        "cheek left": eyes[0] + down,
        "cheek right": eyes[1] + down,
        "nose left": points[31],
        "nose right": points[35],
        "mouth corner left": points[48],
        "mouth corner right": points[54],
        "upper lip": points[51],
        "lower lip": points[57],
        "chin": points[8] - 0.15 * down,
    }


@cache
def _layout() -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Design matrix of the affine fit, the pixels that it reads, and the centres of the parts."""
    points = geometry.landmarks() * SIZE - 0.5
    mask = np.zeros((SIZE, SIZE), np.uint8)
    outline = np.concatenate([points[:27], points[17:27] - [0, 0.1 * SIZE]])
    cv2.fillConvexPoly(mask, cv2.convexHull(np.rint(outline).astype(np.int32)), 1)
    for eye in geometry.eye_centres() * SIZE - 0.5:
        cv2.ellipse(
            mask, np.rint(eye).astype(int).tolist(), (round(0.11 * SIZE), round(0.055 * SIZE)), 0, 0, 360, 0, -1
        )
    cv2.fillConvexPoly(mask, cv2.convexHull(np.rint(points[48:68]).astype(np.int32)), 0)
    lattice = np.zeros_like(mask)
    lattice[::3, ::3] = 1
    rows, columns = np.nonzero(mask * lattice)
    design = np.column_stack([columns / SIZE - 0.5, rows / SIZE - 0.5, np.ones(len(rows))])
    centres = np.clip(np.rint(np.stack(list(_parts().values())) * SIZE - 0.5), 0, SIZE - 1).astype(int)
    return design, (rows, columns), (centres[:, 1], centres[:, 0])
