"""Where the nodes of a graph lie on a face, and the lines that a face is drawn with. Crop units, x right, y down."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from zoo.errors import ZooError
from zoo.facs import geometry, regions

NEAR = 0.075  # crop units; nodes are pushed apart to this distance, so that their circles do not cover each other


def place_nodes(names: Sequence[str], landmarks: np.ndarray | None = None) -> np.ndarray:
    """A place for each node.

    ``AU12L`` and ``AU12R`` go to the subject's left and right, units of the midline and landmarks (``48``) to their own place;
    ``AU12`` goes to the side where there is more room, since its edges would end in two places otherwise. Anything else is
    set around the face.

    Args:
        names: names of the nodes.
        landmarks: 68 points in crop units; the places follow them by the affine map that fits best. Without them the nodes lie
            on the canonical face.

    Shapes: N names, ``[68, 2]`` -> float ``[N, 2]``.

    Raises:
        ZooError: a name occurs twice.
    """
    if len(set(names)) != len(names):
        raise ZooError(f"nodes have names of their own, got {', '.join(names)}")
    found: dict[str, np.ndarray] = {}
    twofold: dict[str, list[np.ndarray]] = {}
    for name in names:
        if (place := regions.place(name)) is not None:
            found[name] = np.array(place)
        elif (right := regions.place(f"{name}R")) is not None and (left := regions.place(f"{name}L")) is not None:
            twofold[name] = [np.array(right), np.array(left)]
    found |= _choose_sides(twofold, list(found.values()))
    strange = [name for name in names if name not in found]
    for k, name in enumerate(strange):
        angle = 2 * np.pi * k / len(strange) - np.pi / 2
        found[name] = np.array([0.5 + 0.56 * np.cos(angle), 0.52 + 0.56 * np.sin(angle)])
    places = _spread(np.stack([found[name] for name in names]) if names else np.zeros((0, 2)), names)
    if landmarks is None:
        return places
    points = np.asarray(landmarks, np.float64)
    if points.shape != (68, 2) or not np.isfinite(points).all():
        raise ZooError(f"wanted 68 finite landmarks x, y in crop units, got shape {points.shape}")
    canonical = np.column_stack([geometry.landmarks(), np.ones(68)])
    affine = np.linalg.lstsq(canonical, points, rcond=None)[0]
    return np.column_stack([places, np.ones(len(places))]) @ affine


def _choose_sides(twofold: dict[str, list[np.ndarray]], fixed: list[np.ndarray]) -> dict[str, np.ndarray]:
    """One of two places for each name, so that all keep their distance: sides alternate at first, then each changes over as
    long as that lowers the sum of 1 / distance².
    """
    names = list(twofold)
    side = [k % 2 for k in range(len(names))]

    def crowd(k: int, which: int) -> float:
        here = twofold[names[k]][which]
        others = [twofold[n][side[m]] for m, n in enumerate(names) if m != k] + fixed
        return sum(1 / max(float(((here - there) ** 2).sum()), 1e-4) for there in others)

    for _ in range(20):
        better = [k for k in range(len(names)) if crowd(k, 1 - side[k]) < crowd(k, side[k]) - 1e-9]
        if not better:
            break
        side[better[0]] = 1 - side[better[0]]  # one at a time: the others look at where it is now
    return {name: twofold[name][side[k]] for k, name in enumerate(names)}


def _spread(places: np.ndarray, names: Sequence[str], rounds: int = 60) -> np.ndarray:
    """Push apart what lies nearer than NEAR; landmarks stay, since they are where they are."""
    free = np.array([not name.isdigit() for name in names], bool)[:, None]
    out = places.copy()
    for _ in range(rounds):
        gap = out[:, None] - out[None]  # [N, N, 2], to i from j
        distance = np.linalg.norm(gap, axis=-1)
        np.fill_diagonal(distance, np.inf)
        if not (distance < NEAR).any():
            break
        # two on one point part along a direction of their own, the same in every run
        same = (distance < 1e-6)[..., None] & (np.arange(len(out))[:, None] < np.arange(len(out))[None])[..., None]
        gap = np.where(same, [0.0, -1e-3], np.where(same.transpose(1, 0, 2), [0.0, 1e-3], gap))
        push = (
            np.clip(NEAR - distance, 0, None)[..., None]
            * gap
            / np.maximum(np.linalg.norm(gap, axis=-1), 1e-9)[..., None]
        )
        out = out + 0.5 * push.sum(1) * free
    return out


@dataclass(frozen=True, kw_only=True, eq=False)
class Stroke:
    """One line of the drawing."""

    part: str  # ear, head, brow, eye, iris, nose, lips or mouth
    points: np.ndarray  # [K, 2]
    closed: bool = False


def strokes(landmarks: np.ndarray | None = None) -> list[Stroke]:
    """A face as smooth lines through its landmarks, from back to front. Shapes: ``[68, 2]`` -> lines of ``[K, 2]``.

    Args:
        landmarks: in crop units; by default those of the canonical face.
    """
    p = geometry.landmarks() if landmarks is None else np.asarray(landmarks, np.float64)
    return [
        *(Stroke(part="ear", points=_ear(p[top], p[low], p[8]), closed=True) for top, low in ((0, 2), (16, 14))),
        Stroke(part="head", points=_head(p), closed=True),
        *(Stroke(part="brow", points=_brow(p[part]), closed=True) for part in (slice(17, 22), slice(26, 21, -1))),
        *(Stroke(part="eye", points=_eye(p[part]), closed=True) for part in (slice(36, 42), slice(42, 48))),
        *(Stroke(part="iris", points=_iris(p[part]), closed=True) for part in (slice(36, 42), slice(42, 48))),
        Stroke(part="nose", points=_smooth(p[28:31])),
        Stroke(part="nose", points=_smooth(np.vstack([p[31] + (p[31] - p[33]) * 0.22 - [0, 0.03], p[31:36],
                                                      p[35] + (p[35] - p[33]) * 0.22 - [0, 0.03]]))),
        Stroke(part="lips", points=_lips(p[48:55], p[54:60], p[48]), closed=True),
        Stroke(part="mouth", points=_smooth((p[[60, 61, 62, 63, 64]] + p[[60, 67, 66, 65, 64]]) / 2)),
    ]  # fmt: skip


def _smooth(points: np.ndarray, count: int = 40, *, closed: bool = False) -> np.ndarray:
    """A cubic spline through the points, by arc length."""
    from scipy.interpolate import CubicSpline

    ring = np.vstack([points, points[:1]]) if closed else points
    steps = np.concatenate([[0.0], np.cumsum(np.maximum(np.linalg.norm(np.diff(ring, axis=0), axis=1), 1e-9))])
    spline = CubicSpline(steps, ring, bc_type="periodic" if closed else "natural")
    return spline(np.linspace(0, steps[-1], count))


def _head(p: np.ndarray) -> np.ndarray:
    """The jaw, and over it the half of an ellipse for the skull, which no landmark shows."""
    left, right = p[0], p[16]
    middle, half = (left + right) / 2, (right - left) / 2
    up = np.array([half[1], -half[0]]) * 0.97  # across the line between the temples
    angles = np.linspace(0, np.pi, 9)[1:-1]
    skull = middle + np.outer(np.cos(angles), half) + np.outer(np.sin(angles), up)
    return _smooth(np.vstack([p[0:17], skull]), 160, closed=True)


def _ear(top: np.ndarray, low: np.ndarray, chin: np.ndarray) -> np.ndarray:
    """Between the landmarks of the temple and of the cheek, outwards."""
    down = low - top
    out = (top - chin) * [1, 0]
    out = out / np.linalg.norm(out) * np.linalg.norm(down) * 0.27
    return _smooth(np.vstack([top + down * 0.08, top + out * 0.6 - down * 0.02, top + out + down * 0.22,
                              top + out * 0.85 + down * 0.6, low + out * 0.3, low]), 40)  # fmt: skip


def _brow(points: np.ndarray) -> np.ndarray:
    """From the outer end inwards, thicker towards the inner one."""
    line = _smooth(points, 24)
    size = np.linalg.norm(points[-1] - points[0])
    width = size * np.interp(np.linspace(0, 1, 24), [0, 0.5, 0.92, 1], [0.015, 0.07, 0.085, 0.05])[:, None]
    return np.vstack([line - width * [0, 0.5], (line + width * [0, 0.5])[::-1]])


def _eye(points: np.ndarray) -> np.ndarray:
    upper, lower = _smooth(points[[0, 1, 2, 3]], 24), _smooth(points[[3, 4, 5, 0]], 24)
    return np.vstack([upper, lower])


def _iris(points: np.ndarray) -> np.ndarray:
    centre = points.mean(0)
    radius = 0.52 * float(np.linalg.norm((points[1] + points[2]) / 2 - (points[4] + points[5]) / 2))
    angles = np.linspace(0, 2 * np.pi, 32)
    return centre + radius * np.column_stack([np.cos(angles), np.sin(angles)])


def _lips(upper: np.ndarray, lower: np.ndarray, corner: np.ndarray) -> np.ndarray:
    return np.vstack([_smooth(upper, 40), _smooth(np.vstack([lower, corner]), 40)])
