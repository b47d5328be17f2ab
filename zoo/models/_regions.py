"""Where on the picture an action unit (AU) is looked for, and layers that read there. Faces come aligned, so places are fixed."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zoo.facs import regions
from zoo.types import CROPS, InputSpec


class Places(NamedTuple):
    """Distinct places of several units, and which unit they belong to."""

    where: Tensor  # [R, 2] points x, y, or [R, 4] boxes left, top, right, bottom; in units of the picture
    share: Tensor  # [A, R], rows sum to 1: a unit is the mean of its places


def unit_boxes(aus: tuple[int, ...], spec: InputSpec) -> Places:
    """The boxes of each unit: one per side, or one of the midline.

    Raises:
        UnknownName: a unit that has none.
    """
    return _places({au: [list(box) for box in regions.boxes(au).values()] for au in aus}, spec)


def unit_points(aus: tuple[int, ...], spec: InputSpec, *, extra: list[list[float]] | None = None) -> Places:
    """The points of each unit: EAC-Net's two, or the centres of its boxes where EAC-Net has none.

    Args:
        aus: the units.
        spec: whose picture they are on.
        extra: further points x, y, in units of the aligned face, that belong to no unit.

    Raises:
        UnknownName: a unit that has neither.
    """
    centres = regions.au_centres()
    points = {au: centres[au].tolist() if au in centres else _centres(au) for au in aus}
    return _places(points, spec, extra)


def _centres(au: int) -> list[list[float]]:
    return [[(left + right) / 2, (top + bottom) / 2] for left, top, right, bottom in regions.boxes(au).values()]


def _places(of: dict[int, list[list[float]]], spec: InputSpec, extra: list[list[float]] | None = None) -> Places:
    distinct: list[list[float]] = []
    for place in [*(place for places in of.values() for place in places), *(extra or [])]:
        if place not in distinct:
            distinct.append(place)
    share = torch.zeros(len(of), len(distinct))
    for row, places in zip(share, of.values(), strict=True):
        row[[distinct.index(place) for place in places]] = 1 / len(places)
    return Places(in_crop(torch.tensor(distinct), spec), share)


def in_crop(places: Tensor, spec: InputSpec) -> Tensor:
    """From units of the aligned face to units of the picture that ``spec`` shows. Shapes: ``[..., 2 or 4]`` x, y, … -> same."""
    left, top, right, bottom = CROPS[spec.crop]
    pairs = places.unflatten(-1, (-1, 2))
    return ((pairs - pairs.new_tensor([left, top])) / pairs.new_tensor([right - left, bottom - top])).flatten(-2)


class RegionPool(nn.Module):
    """Mean over the cells of fixed boxes, each pixel counted by the share of it that lies inside; outside the picture is 0.

    Args:
        boxes: left, top, right, bottom in units of the picture.
        size: height and width of the maps that are pooled.
        cells: of a box, per side.

    Shapes: boxes ``[R, 4]``; maps ``[B, C, H, W]`` -> ``[B, R, C, cells, cells]``.
    """

    rows: Tensor  # [R, cells, H]
    columns: Tensor  # [R, cells, W]

    def __init__(self, boxes: Tensor, *, size: tuple[int, int], cells: int = 3) -> None:
        super().__init__()
        self.register_buffer("rows", _shares(boxes[:, 1], boxes[:, 3], size[0], cells), persistent=False)
        self.register_buffer("columns", _shares(boxes[:, 0], boxes[:, 2], size[1], cells), persistent=False)

    def forward(self, maps: Tensor) -> Tensor:
        """See the class."""
        return torch.einsum("rih,bchw,rjw->brcij", self.rows, maps, self.columns)


def _shares(low: Tensor, high: Tensor, size: int, cells: int) -> Tensor:
    """Share of each pixel in each cell of intervals; they sum to 1 for a cell inside. Shapes: ``[R]`` -> ``[R, cells, size]``."""
    edges = low[:, None] + (high - low)[:, None] * torch.linspace(0, 1, cells + 1)
    begin, end = edges[:, :-1, None] * size, edges[:, 1:, None] * size
    pixels = torch.arange(size)
    overlap = (torch.minimum(end, pixels + 1) - torch.maximum(begin, pixels)).clamp(min=0)
    return overlap / (end - begin)


class CropSampler(nn.Module):
    """Square crops around fixed points, read bilinearly; outside the picture is 0.

    Args:
        points: x, y in units of the picture.
        side: of a crop, in units of the picture.
        pixels: height and width of what is read.

    Shapes: points ``[R, 2]``; pictures ``[B, C, H, W]`` -> ``[B, R, C, pixels, pixels]``.
    """

    grid: Tensor  # [1, R * pixels, pixels, 2]

    def __init__(self, points: Tensor, *, side: float, pixels: int) -> None:
        super().__init__()
        steps = ((torch.arange(pixels) + 0.5) / pixels - 0.5) * side
        y, x = torch.meshgrid(steps, steps, indexing="ij")
        grid = points[:, None, None] + torch.stack([x, y], -1)  # [R, pixels, pixels, 2]
        self.count = len(points)
        self.register_buffer("grid", (2 * grid - 1).flatten(0, 1)[None], persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        read = F.grid_sample(x, self.grid.expand(x.shape[0], -1, -1, -1), align_corners=False)  # [B, C, R * p, p]
        return read.unflatten(2, (self.count, -1)).transpose(1, 2)
