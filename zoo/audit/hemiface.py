"""Do the two halves of a face tell the same? Recognition from one half alone, and which half moves more.

Sides are the subject's own: the left half of the face is on the image's right. What data sets call left in their sheets is not
sure for all of them; what is measured here is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from zoo.audit.recognise import Asked, neutral
from zoo.errors import ZooError
from zoo.facs import regions
from zoo.train.statistics import (
    holm,
    interval,
    mcnemar,
    person_bootstrap,
    person_confusions,
    pooled,
    resampled,
    sign_p,
)
from zoo.types import CROPS, Crop, InputSpec

if TYPE_CHECKING:
    from torch import Tensor

    from zoo.data.flow_maps import FlowMaps

# what is shown, and in words
VIEWS = {
    "full": "the whole face",
    "LL": "the left half and its mirror image",
    "RR": "the right half and its mirror image",
    "left": "the left half, the right one hidden",
    "right": "the right half, the left one hidden",
}
# difference -> first minus second; on mirrored faces the sign must turn
PAIRS = {"LL - RR": ("LL", "RR"), "left - right": ("left", "right"), "mirrored LL - RR": ("mirrored LL", "mirrored RR")}


def half_view(x: Tensor, mirrored: Tensor, spec: InputSpec, view: str) -> Tensor:
    """One of :data:`VIEWS`, of inputs as a network eats them. A column in the middle belongs to both halves.

    Args:
        x: prepared inputs.
        mirrored: the same of the mirrored faces, as in training. Where the two meet, what stands still must look alike: the
            medians of their channels are laid on each other.
        spec: of the inputs.
        view: which; ``mirrored LL`` is that of the mirrored faces.

    Shapes: ``[B, C, ..., H, W]`` twice -> the same.
    """
    import torch

    if view.startswith("mirrored "):
        return half_view(mirrored, x, spec, view.removeprefix("mirrored "))
    still = neutral(x, spec)
    other = mirrored + still - neutral(mirrored, spec)
    width = x.shape[-1]
    column = torch.arange(width)
    on_left, on_right = column >= width // 2, column < (width + 1) // 2  # the subject's own
    match view:
        case "full":
            return x
        case "LL":
            return torch.where(on_left, x, other)
        case "RR":
            return torch.where(on_right, x, other)
        case "left":
            return torch.where(on_left, x, still)
        case "right":
            return torch.where(on_right, x, still)
        case _:
            raise ZooError(f"there is no view {view!r} of a face; there are {', '.join(VIEWS)}")


def compare_halves(asked: Asked, *, resamples: int = 10_000, seed: int = 0) -> dict[str, Any]:
    """Recognition from each view, and whether the halves differ (experiment E1).

    People are resampled within their data set, the same ones for both halves; McNemar's test counts clips.

    Returns:
        ``views`` (per part and view: UF1, UAR, accuracy, intervals), ``differences`` (per part and pair: UF1 and UAR with
        interval and p, McNemar), ``clips``, ``people``, ``remark``, ``clean``.
    """
    names = [*VIEWS, "mirrored LL", "mirrored RR"]
    answers = asked.probabilities({v: partial(half_view, spec=asked.spec, view=v) for v in names})
    data = asked.data
    truth = np.asarray(data.labels)
    datasets = np.asarray(data.datasets, str)
    parts = {"full": np.ones(len(truth), bool), **{d: datasets == d for d in sorted(set(data.datasets))}}
    parts = {k: v for k, v in parts.items() if k == "full" or len(parts) > 2}
    views: dict[str, Any] = {}
    differences: dict[str, Any] = {}
    for part, rows in parts.items():
        people = [p for p, keep in zip(data.people, rows, strict=True) if keep]
        called = np.stack([answers[v][rows].argmax(1) for v in names])
        who, counts = person_confusions(truth[rows], called, people, len(data.classes))  # [P, V, K, K]
        stratum = dict(zip(people, datasets[rows], strict=True))
        weights = person_bootstrap([stratum[p] for p in who], resamples=resamples, seed=seed)
        drawn = {v: resampled(counts[:, [k]], weights) for k, v in enumerate(names)}
        scores = pooled(counts.sum(0))
        views[part] = {
            v: {m: {"value": float(scores[m][k]), "interval": interval(drawn[v][m])} for m in scores}
            for k, v in enumerate(names)
        }
        differences[part] = {
            name: {
                **{
                    m: {
                        "value": float(scores[m][names.index(a)] - scores[m][names.index(b)]),
                        "interval": interval(drawn[a][m] - drawn[b][m]),
                        "p": sign_p(drawn[a][m] - drawn[b][m]),
                    }
                    for m in ("uf1", "uar")
                },
                "mcnemar": mcnemar(called[names.index(a)] == truth[rows], called[names.index(b)] == truth[rows]),
            }
            for name, (a, b) in PAIRS.items()
        }
    return {
        "model": asked.name, "clips": len(truth), "people": len(set(data.people)), "clean": asked.clean,
        "remark": asked.remark, "resamples": resamples, "views": views, "differences": differences,
    }  # fmt: skip


# --- which half moves more ------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Asymmetry:
    """Of one unit and one emotion."""

    au: int
    emotion: str  # "all" for every clip
    clips: int
    people: int
    mean: float  # above 0: the subject's right half moves more
    low: float
    high: float
    p: float  # against 0, resampling people
    p_holm: float  # corrected for the number of units


def motion_magnitude(data: FlowMaps) -> NDArray[np.float64]:
    """Length of the motion of each pixel. In maps stretched to 0..255 the median of a channel is taken as standing still, and
    what comes out is comparable within a map alone. Shapes: -> ``[N, H, W]``.
    """
    maps = data.maps[:, :2].astype(np.float64)
    if data.normalisation == "minmax_255":
        maps = maps - np.median(maps, (2, 3), keepdims=True)
    return np.hypot(maps[:, 0], maps[:, 1])


def box_pixels(box: regions.Box, crop: Crop, height: int, width: int) -> tuple[slice, slice]:
    """Rows and columns of a picture of ``crop`` that lie in a box of the face; at least one of each.

    Raises:
        ZooError: the crop does not show the box.
    """
    left, top, right, bottom = CROPS[crop]
    x0, x1 = ((x - left) / (right - left) * width for x in (box[0], box[2]))
    y0, y1 = ((y - top) / (bottom - top) * height for y in (box[1], box[3]))
    if x1 <= 0 or y1 <= 0 or x0 >= width or y0 >= height:
        raise ZooError(f"the box {box} of the face lies outside the crop {crop}")
    a, b = max(0, round(y0)), min(height, max(round(y1), round(y0) + 1))
    c, d = max(0, round(x0)), min(width, max(round(x1), round(x0) + 1))
    return slice(min(a, height - 1), b), slice(min(c, width - 1), d)


def asymmetry_index(magnitude: NDArray[np.float64], au: int, crop: Crop) -> NDArray[np.float64]:
    """``(R - L) / (R + L)`` of the mean motion in a unit's two boxes; 0 where nothing moves. Shapes: ``[N, H, W]`` -> ``[N]``.

    Raises:
        ZooError: a unit of the midline has no two sides.
    """
    boxes = regions.boxes(au)
    if "both" in boxes:
        raise ZooError(f"AU{au} lies on the midline: there is no asymmetry to measure")
    height, width = magnitude.shape[1:]
    # the left box is the mirror image of the right one, so that rounding is the same on both sides
    rows, columns = box_pixels(boxes["right"], crop, height, width)
    right = magnitude[:, rows, columns].mean((1, 2))
    left = magnitude[:, :, ::-1][:, rows, columns].mean((1, 2))
    total = right + left
    return np.divide(right - left, total, out=np.zeros_like(total), where=total > 1e-12)


def asymmetries(
    data: FlowMaps, aus: Sequence[int], crop: Crop, *, resamples: int = 10_000, seed: int = 0
) -> list[Asymmetry]:
    """The asymmetry index of every unit, over all clips and by emotion (experiment E3)."""
    magnitude = motion_magnitude(data)
    people, labels = np.asarray(data.people, str), np.asarray(data.labels)
    groups = {"all": np.ones(len(labels), bool), **{name: labels == k for k, name in enumerate(data.classes)}}
    out: list[Asymmetry] = []
    for emotion, rows in groups.items():
        if not rows.any():
            continue
        who, owner = np.unique(people[rows], return_inverse=True)
        stratum = dict(zip(people[rows], np.asarray(data.datasets, str)[rows], strict=True))
        weights = person_bootstrap([str(stratum[p]) for p in who], resamples=resamples, seed=seed).astype(np.float64)
        clips = np.bincount(owner, minlength=len(who))
        found = []
        for au in aus:
            index = asymmetry_index(magnitude[rows], au, crop)
            sums = np.bincount(owner, weights=index, minlength=len(who))
            drawn = (weights @ sums) / np.maximum(weights @ clips, 1)
            low, high = interval(drawn)
            found.append((au, float(index.mean()), low, high, sign_p(drawn)))
        corrected = holm([p for *_, p in found])
        out += [
            Asymmetry(au=au, emotion=emotion, clips=int(rows.sum()), people=len(who), mean=mean, low=low, high=high, p=p,
                      p_holm=q)
            for (au, mean, low, high, p), q in zip(found, corrected, strict=True)
        ]  # fmt: skip
    return out
