"""Layers that several families share: a 3D residual network, a small convolution stem, layers per node."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn


@dataclass(frozen=True, kw_only=True)
class PooledConvolution:
    """The layers of a model whose features are ``flatten(average(dropout(pool(norm(relu(convolution(x)))))))``.

    A model that has such a method ``pooled_convolution()`` can be trained by a compiled version of these layers; several
    convolutions read the same input, and their outputs are concatenated.
    """

    convolutions: Sequence[nn.Conv2d]
    norms: Sequence[nn.BatchNorm2d]  # one for each convolution
    pool: nn.MaxPool2d
    dropout: nn.Dropout
    average: nn.AvgPool2d


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
    """3x3 convolutions with batch normalisation: one at full size, then one for each halving, which doubles the maps.

    Args:
        in_channels: of the picture.
        width: maps of the first.
        halvings: how often height and width are halved.

    Shapes: ``[B, C, H, W]`` -> ``[B, width 2^halvings, H/2^halvings, W/2^halvings]``, rounded up.
    """

    def __init__(self, in_channels: int, *, width: int = 32, halvings: int = 2) -> None:
        widths = [in_channels, *(width * 2**i for i in range(halvings + 1))]
        layers: list[nn.Module] = []
        for i, (a, b) in enumerate(pairwise(widths)):
            layers += [nn.Conv2d(a, b, 3, stride=2 if i else 1, padding=1, bias=False), nn.BatchNorm2d(b), nn.ReLU()]
        super().__init__(*layers)
        self.num_features = widths[-1]


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
