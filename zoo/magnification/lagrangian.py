"""Magnification by motion itself: how far each pixel has gone since a reference frame, multiplied, and the frame redrawn.

LMM follows Liu et al. (2005) as micro-expression work uses it; GLMM: Le Ngo, Johnston, Phan, See: "Micro-expression Motion
Magnification: Global Lagrangian vs. Local Eulerian Approaches", FG 2018. Nothing bounds the factor but the flow: its errors
grow with it, and where the magnified motion folds the face over itself no picture is right.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal

import cv2
import numpy as np

from zoo.errors import ZooError
from zoo.vision.flow import FlowName, optical_flow
from zoo.vision.resample import Spline, arrivals

WHOLE_CLIP = 100_000_000  # pixels of a clip whose flows GLMM, which needs all of them, may hold
Head = Literal["magnified", "kept"]


def lagrangian(
    frames: Iterable[np.ndarray],
    *,
    gain: float,
    reference: int = 0,
    flow: FlowName = "farneback",
    components: int | None = None,
    head: Head = "magnified",
    smooth: float = 1.5,
) -> Iterator[np.ndarray]:
    """Magnify frame by frame; memory does not grow with the clip, but for a later reference and for ``components``.

    Each frame is redrawn from itself, so that a blink or a shadow stays: the pixel of the reference that went by u is drawn at
    (1 + gain) u. The drawing inverts the motion by fixed point and reads the frame by cubic splines.

    Reading: GLMM's matrix of all flows is reduced to its strongest components without taking its mean off first, so that the
    reference frame stays where it is.

    Args:
        frames: the clip.
        gain: the motion since the reference comes out 1 + gain times as large.
        reference: number of the frame at rest.
        flow: the optical flow, see :mod:`zoo.vision.flow`.
        components: GLMM: principal components of all flows that are kept (the paper's kin use 5); None is LMM.
        head: whether the similarity that best carries the whole picture is magnified with the rest, or kept as it is.
        smooth: standard deviation in pixels by which the flow is blurred.

    Shapes: each uint8 ``[H, W, 3]`` -> each uint8 ``[H, W, 3]``.

    Raises:
        ZooError: no such reference, a clip too long for GLMM, a picture too small for the flow.
    """
    if components is not None and components < 1:
        raise ZooError(f"components is {components}; at least 1 is needed, or None for every flow as it is")
    if components is None and reference == 0:
        rest: np.ndarray | None = None
        for frame in frames:
            rest = frame if rest is None else rest
            yield _drawn(frame, _flow(rest, frame, flow, smooth), gain, head)
        return
    clip: list[np.ndarray] = []
    for frame in frames:
        clip.append(frame)
        if len(clip) * frame.shape[0] * frame.shape[1] > WHOLE_CLIP:
            raise ZooError(
                f"GLMM, and a reference that is not the first frame, hold the whole clip in memory, at most {WHOLE_CLIP:,} "
                f"pixels, which {len(clip)} frames of {frame.shape[1]}x{frame.shape[0]} exceed; give a shorter stretch"
            )
    if not -len(clip) <= reference < len(clip):
        raise ZooError(f"there is no reference frame {reference} in {len(clip)} frames")
    flows = np.stack([_flow(clip[reference], frame, flow, smooth) for frame in clip])
    if components is not None:
        flows = principal(flows, components)
    for frame, field in zip(clip, flows, strict=True):
        yield _drawn(frame, field, gain, head)


def principal(flows: np.ndarray, components: int) -> np.ndarray:
    """All flows of a clip, rebuilt from their strongest components. Shapes: ``[T, 2, H, W]`` -> the same, float32."""
    table = flows.reshape(len(flows), -1)
    # the left vectors come from the small T x T matrix; the tall one is never decomposed
    values, vectors = np.linalg.eigh(table @ table.T)
    kept = vectors[:, np.argsort(values)[::-1][:components]].astype(np.float32)
    out: np.ndarray = (kept @ (kept.T @ table)).reshape(flows.shape)
    return out


def whole_motion(field: np.ndarray, *, rounds: int = 8) -> np.ndarray:
    """The similarity that best carries the picture along a flow; what departs from it counts ever less.

    Shapes: ``[2, H, W]`` -> float32 ``[2, H, W]``, that similarity as a flow.
    """
    height, width = field.shape[1:]
    y, x = np.mgrid[:height, :width].astype(np.float64)
    x, y = (x - x.mean()) / max(height, width), (y - y.mean()) / max(height, width)
    basis = np.stack([[np.ones_like(x), 0 * x], [0 * x, np.ones_like(x)], [x, y], [-y, x]])  # [4, 2, H, W]
    step = max(1, min(height, width) // 64)
    thin = basis[..., ::step, ::step].reshape(4, -1)
    target = field[:, ::step, ::step].astype(np.float64).reshape(-1)
    weight = np.ones_like(target)
    for _ in range(rounds):
        fit = np.linalg.solve((thin * weight) @ thin.T + 1e-9 * np.eye(4), (thin * weight) @ target)
        miss = np.hypot(*(target - fit @ thin).reshape(2, -1))
        weight = np.tile(1 / (1 + (miss / max(float(np.median(miss)), 1e-3)) ** 2), 2)
    return np.einsum("k,kjhw->jhw", fit, basis).astype(np.float32)


def _flow(first: np.ndarray, second: np.ndarray, method: FlowName, smooth: float) -> np.ndarray:
    still, moved = (cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) for picture in (first, second))
    same = bool((still == moved).all())  # a flow of what does not move may still find something
    field = np.zeros((2, *still.shape), np.float32) if same else optical_flow(still, moved, method)
    return np.stack([cv2.GaussianBlur(part, (0, 0), smooth) for part in field]) if smooth > 0 else field


def _drawn(frame: np.ndarray, field: np.ndarray, gain: float, head: Head) -> np.ndarray:
    if gain == 0 or not field.any():
        return frame.copy()
    grown = field + np.float32(gain) * (field - whole_motion(field) if head == "kept" else field)
    came = arrivals(grown)
    y, x = np.mgrid[: frame.shape[0], : frame.shape[1]].astype(np.float32)
    # the pixel of the reference that arrives here, and where it is in this frame
    start_x, start_y = x - came[0], y - came[1]
    now = [cv2.remap(part, start_x, start_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE) for part in field]
    drawn = Spline(frame).at(start_x + now[0], start_y + now[1])
    return np.clip(np.rint(drawn), 0, 255).astype(np.uint8)
