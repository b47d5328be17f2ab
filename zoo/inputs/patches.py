"""Inputs that are small squares around landmarks, cut from one map of an expression."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, assert_never

import cv2
import numpy as np

from zoo.errors import ZooError
from zoo.facs import geometry
from zoo.inputs.motion import between, cut, grey, key_frames, resize
from zoo.types import CROPS, PATCH_POINTS, Clip, InputSpec

if TYPE_CHECKING:
    from zoo.models.magnet import MagNet


def patches_of(clip: Clip, spec: InputSpec) -> np.ndarray:
    """The patches of a clip: a map of its expression, cut around brows and mouth.

    ``shape``: the magnified shape code between onset and apex (:class:`~zoo.models.magnet.MagNet`), each of its channels
    stretched to 0..1, then their mean. ``difference``: grey apex minus onset, in 0..1 about 0. ``strain``: optical strain.
    A landmark is a place (x, y) and is read at row y, column x; patches that reach beyond the map repeat its edge.

    Shapes: -> float32 ``[N, patch, patch]``, in the order of ``PATCH_POINTS[spec.patches]``.

    Raises:
        ZooError: no frames or interval, or landmarks that are no numbers.
    """
    onset, apex = key_frames(clip)
    points = _landmarks(clip, onset.shape[:2], spec)
    picture = resize(_source(onset, apex, spec)[None], spec.size, cv2.INTER_LINEAR)[0]
    radius = spec.patch // 2
    padded = np.pad(picture, radius, mode="edge")
    place = np.clip(np.rint(points * spec.size - 0.5), 0, spec.size - 1).astype(int)
    return np.stack([padded[y : y + spec.patch, x : x + spec.patch] for x, y in place]).astype(np.float32)


def _landmarks(clip: Clip, shape: tuple[int, ...], spec: InputSpec) -> np.ndarray:
    """The points in units of the crop. Shapes: ``[N, 2]`` x, y."""
    points = geometry.landmarks()
    if clip.landmarks is not None:
        points = (np.asarray(clip.landmarks, np.float64) + 0.5) / (shape[1], shape[0])
        if points.shape != (68, 2) or not np.isfinite(points).all():
            raise ZooError(
                f"clip {clip.key} has landmarks {list(points.shape)}{'' if np.isfinite(points).all() else ' with NaN'}; "
                f"wanted 68 finite points (x, y) in pixels of the aligned onset frame; leave them out for the canonical ones"
            )
    left, top, right, bottom = CROPS[spec.crop]
    return ((points - (left, top)) / (right - left, bottom - top))[list(PATCH_POINTS[spec.patches])]


def _source(onset: np.ndarray, apex: np.ndarray, spec: InputSpec) -> np.ndarray:
    match spec.source:
        case "difference":
            return cut((grey(apex).astype(np.float32) - grey(onset)) / 255, spec.crop)
        case "strain":
            return cut(between(onset, apex, spec.flow).data[2], spec.crop)
        case "shape":
            return _shape_map(onset, apex, spec)
        case _:
            assert_never(spec.source)


def _shape_map(onset: np.ndarray, apex: np.ndarray, spec: InputSpec) -> np.ndarray:
    """Mean of the stretched channels of the magnified shape code. Shapes: -> float32 ``[h, w]``, half the crop's size."""
    import torch

    pair = [cut(np.moveaxis(_colour(frame), -1, 0), spec.crop) for frame in (onset, apex)]
    even = [p[:, : p.shape[1] // 2 * 2, : p.shape[2] // 2 * 2].astype(np.float32) / 127.5 - 1 for p in pair]
    with torch.inference_mode():
        first, second = (torch.from_numpy(np.ascontiguousarray(p))[None] for p in even)
        code = magnifier(spec.magnifier).shape_code(first, second, spec.alpha)[0].numpy()  # [32, h, w]
    low, high = code.min((1, 2), keepdims=True), code.max((1, 2), keepdims=True)
    return ((code - low) / np.maximum(high - low, 1e-6)).mean(0)


def _colour(frame: np.ndarray) -> np.ndarray:
    return frame if frame.ndim == 3 else np.repeat(frame[..., None], 3, -1)


@lru_cache(maxsize=2)
def magnifier(name: str) -> MagNet:
    """The magnification network of that name, loaded once."""
    from zoo.weights import load

    found: Any = load(name)
    if not hasattr(found, "shape_code"):
        raise ZooError(f"{name} is no motion magnifier; InputSpec.magnifier names one, such as magnet.synthetic")
    return found


def magnifier_digest(name: str) -> str:
    """SHA-256 of the magnifier's weights: part of what decides a patch."""
    from zoo.weights import WEIGHTS, find, sha256

    return sha256(find(name)[0] / WEIGHTS)
