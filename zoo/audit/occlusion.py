"""Which parts of a face decide: hide the region of one action unit after another, and see what becomes of the true class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from zoo.audit.hemiface import box_pixels
from zoo.audit.recognise import Asked, neutral
from zoo.facs import regions
from zoo.train.statistics import interval, person_bootstrap
from zoo.types import CROPS, Crop, InputSpec

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Drop:
    """Of one unit's region and one class."""

    au: int
    emotion: str  # "all" for every clip
    clips: int
    people: int
    area: float  # share of the picture that is hidden
    drop: float  # mean fall of the probability of the true class when it is
    low: float
    high: float
    flips: float  # share of clips whose answer changes


def shown_units(aus: Sequence[int], crop: Crop) -> tuple[int, ...]:
    """Those of the units that have a region of their own in the crop."""
    left, top, right, bottom = CROPS[crop]
    known = set(regions.box_units())
    return tuple(
        au for au in aus
        if au in known and all(
            b[2] > left and b[0] < right and b[3] > top and b[1] < bottom for b in regions.boxes(au).values()
        )
    )  # fmt: skip


def region_mask(au: int, spec: InputSpec) -> NDArray[np.bool_]:
    """Where a picture of ``spec`` shows a unit, on both sides. Shapes: -> ``[size, size]``."""
    mask = np.zeros((spec.size, spec.size), bool)
    boxes = regions.boxes(au)
    for side, box in boxes.items():
        if side == "left":  # the mirror image of the right one, also after rounding
            rows, columns = box_pixels(boxes["right"], spec.crop, spec.size, spec.size)
            mask[:, ::-1][rows, columns] = True
        else:
            mask[box_pixels(box, spec.crop, spec.size, spec.size)] = True
    return mask


def hide(x: Tensor, mirrored: Tensor | None = None, *, mask: NDArray[np.bool_], spec: InputSpec) -> Tensor:
    """The inputs with a region standing still. Shapes: x ``[B, C, ..., S, S]``, mask ``[S, S]`` -> as x."""
    import torch

    return torch.where(torch.from_numpy(mask), neutral(x, spec), x)


def occlusion(asked: Asked, aus: Sequence[int], *, resamples: int = 2000, seed: int = 0) -> list[Drop]:
    """How far the probability of the true class falls when a unit's region is hidden, over all clips and by class.

    Regions differ in size, and a large one hides more: ``area`` stands beside each number. Regions of neighbouring units overlap.
    """
    spec, data = asked.spec, asked.data
    masks = {au: region_mask(au, spec) for au in aus}
    changes = {str(au): partial(hide, mask=mask, spec=spec) for au, mask in masks.items()}
    answers = asked.probabilities({"whole": lambda x, mirrored: x, **changes})
    labels = np.asarray(data.labels)
    row = np.arange(len(labels))
    whole = answers["whole"]
    people = np.asarray(data.people, str)
    groups = {"all": np.ones(len(labels), bool), **{name: labels == k for k, name in enumerate(data.classes)}}
    out = []
    for emotion, chosen in groups.items():
        if not chosen.any():
            continue
        who, owner = np.unique(people[chosen], return_inverse=True)
        stratum = dict(zip(people[chosen], np.asarray(data.datasets, str)[chosen], strict=True))
        weights = person_bootstrap([str(stratum[p]) for p in who], resamples=resamples, seed=seed).astype(np.float64)
        clips = np.bincount(owner, minlength=len(who))
        for au in aus:
            hidden = answers[str(au)]
            fall = (whole[row, labels] - hidden[row, labels])[chosen]
            drawn = (weights @ np.bincount(owner, weights=fall, minlength=len(who))) / np.maximum(weights @ clips, 1)
            low, high = interval(drawn)
            flips = (whole.argmax(1) != hidden.argmax(1))[chosen]
            out.append(Drop(au=au, emotion=emotion, clips=int(chosen.sum()), people=len(who), area=float(masks[au].mean()),
                            drop=float(fall.mean()), low=low, high=high, flips=float(flips.mean())))  # fmt: skip
    return out
