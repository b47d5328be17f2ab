"""Layers that several families share: a 3D residual network, a small convolution stem, pooling of fixed regions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zoo.types import CROPS, InputSpec


class Block3D(nn.Module):
    """Basic residual block in space and time, stride on all three axes."""

    def __init__(self, in_channels: int, out_channels: int, *, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv3d(in_channels, out_channels, 3, stride=stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm3d(out_channels)
        self.conv2 = nn.Conv3d(out_channels, out_channels, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm3d(out_channels)
        self.down = None
        if stride != 1 or in_channels != out_channels:
            self.down = nn.Sequential(
                nn.Conv3d(in_channels, out_channels, 1, stride=stride, bias=False), nn.BatchNorm3d(out_channels)
            )

    def forward(self, x: Tensor) -> Tensor:
        """Shapes: ``[B, in, T, H, W]`` -> ``[B, out, T/stride, H/stride, W/stride]``."""
        out = self.norm2(self.conv2(self.norm1(self.conv1(x)).relu()))
        return (out + (x if self.down is None else self.down(x))).relu()


class ResNet3D(nn.Sequential):
    """A small 3D residual network: stem 7x7 over three frames, then one block each of w, 2w, 4w and 8w channels.

    Args:
        in_channels: of a frame.
        width: w, of the stem; 32 gives 3,598,944 parameters at three channels.

    Shapes: ``[B, C, T, H, W]`` -> ``[B, 8 w, T/8, H/32, W/32]``, rounded up.
    """

    def __init__(self, in_channels: int = 3, *, width: int = 32) -> None:
        super().__init__(
            nn.Conv3d(in_channels, width, (3, 7, 7), stride=(1, 2, 2), padding=(1, 3, 3), bias=False),
            nn.BatchNorm3d(width),
            nn.ReLU(),
            nn.MaxPool3d((1, 3, 3), stride=(1, 2, 2), padding=(0, 1, 1)),
            Block3D(width, width),
            Block3D(width, 2 * width, stride=2),
            Block3D(2 * width, 4 * width, stride=2),
            Block3D(4 * width, 8 * width, stride=2),
        )
        self.num_features = 8 * width


class ConvStem(nn.Sequential):
    """Three 3x3 convolutions with batch normalisation, the resolution halved after the first and the second.

    Args:
        in_channels: of the picture.
        width: maps of the first; the last has four times as many.

    Shapes: ``[B, C, H, W]`` -> ``[B, 4 width, H/4, W/4]``, rounded up.
    """

    def __init__(self, in_channels: int, *, width: int = 32) -> None:
        widths, strides = (in_channels, width, 2 * width, 4 * width), (1, 2, 2)
        layers: list[nn.Module] = []
        for (a, b), stride in zip(pairwise(widths), strides, strict=True):
            layers += [nn.Conv2d(a, b, 3, stride=stride, padding=1, bias=False), nn.BatchNorm2d(b), nn.ReLU()]
        super().__init__(*layers)
        self.num_features = 4 * width


class PerUnitLinear(nn.Module):
    """A linear layer of its own for each node.

    Args:
        units: number of nodes.
        in_channels, out_channels: width of a node before and after.

    Shapes: ``[B, N, in]`` -> ``[B, N, out]``.
    """

    def __init__(self, units: int, in_channels: int, out_channels: int) -> None:
        super().__init__()
        bound = 1 / math.sqrt(in_channels)
        self.weight = nn.Parameter(torch.empty(units, in_channels, out_channels).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.zeros(units, out_channels))

    def forward(self, nodes: Tensor) -> Tensor:
        """See the class."""
        return torch.einsum("bni,nio->bno", nodes, self.weight) + self.bias


class PerUnitScore(PerUnitLinear):
    """One logit per node, with weights of its own. Shapes: ``[B, N, in]`` -> ``[B, N]``."""

    def __init__(self, units: int, in_channels: int) -> None:
        super().__init__(units, in_channels, 1)

    def forward(self, nodes: Tensor) -> Tensor:
        """See the class."""
        return super().forward(nodes)[..., 0]


def in_crop(boxes: Tensor, spec: InputSpec) -> Tensor:
    """From units of the aligned face to units of the picture that ``spec`` shows. Shapes: ``[..., 2 or 4]`` x, y, … -> same."""
    left, top, right, bottom = CROPS[spec.crop]
    pairs = boxes.unflatten(-1, (-1, 2))
    return ((pairs - pairs.new_tensor([left, top])) / pairs.new_tensor([right - left, bottom - top])).flatten(-2)


class RegionPool(nn.Module):
    """Mean over the cells of fixed regions, each pixel counted by the share of it that lies inside.

    Faces come aligned, so that the regions are the same for every picture; what lies outside of it counts as nothing.

    Args:
        boxes: left, top, right, bottom in units of the picture.
        size: height and width of the maps that are pooled.
        cells: of a region, per side.

    Shapes: boxes ``[R, 4]``; maps ``[B, C, H, W]`` -> ``[B, R, C, cells, cells]``.
    """

    rows: Tensor  # [R, cells, H]
    columns: Tensor  # [R, cells, W]

    def __init__(self, boxes: Tensor | Sequence[Sequence[float]], *, size: tuple[int, int], cells: int = 3) -> None:
        super().__init__()
        corners = torch.as_tensor(boxes, dtype=torch.float32)
        self.register_buffer("rows", _shares(corners[:, 1], corners[:, 3], size[0], cells), persistent=False)
        self.register_buffer("columns", _shares(corners[:, 0], corners[:, 2], size[1], cells), persistent=False)

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
    """Square crops around fixed points, read bilinearly.

    Args:
        centres: x, y in units of the picture.
        side: of a crop, in units of the picture.
        pixels: height and width of what is read.

    Shapes: centres ``[R, 2]``; pictures ``[B, C, H, W]`` -> ``[B, R, C, pixels, pixels]``.
    """

    grid: Tensor  # [1, R * pixels, pixels, 2]

    def __init__(self, centres: Tensor, *, side: float, pixels: int) -> None:
        super().__init__()
        steps = ((torch.arange(pixels) + 0.5) / pixels - 0.5) * side
        y, x = torch.meshgrid(steps, steps, indexing="ij")
        points = centres[:, None, None] + torch.stack([x, y], -1)  # [R, pixels, pixels, 2]
        self.count = len(centres)
        self.register_buffer("grid", (2 * points - 1).flatten(0, 1)[None], persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        read = F.grid_sample(x, self.grid.expand(len(x), -1, -1, -1), align_corners=False)  # [B, C, R * p, p]
        return read.unflatten(2, (self.count, -1)).transpose(1, 2)


class Kept:
    """A tensor that the forward pass leaves for the extra loss of the same batch; copies and pickles of a model leave it out."""

    def __init__(self) -> None:
        self.value: Tensor | None = None

    def take(self) -> Tensor | None:
        """The tensor, once."""
        value, self.value = self.value, None
        return value

    def __deepcopy__(self, _: object) -> Kept:
        return Kept()

    def __reduce__(self) -> tuple[type[Kept], tuple[()]]:
        return Kept, ()
