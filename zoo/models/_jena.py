"""The pre-activated ResNet10 of the Jena group, with or without micro-attention after each of its blocks."""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn

WIDTHS = (64, 128, 256, 512)


class MicroAttention(nn.Module):
    """One map of weights in (0, 1) from what a residual block holds: shortcut, middle and output.

    A 1x1 convolution brings the three back to C maps, whose mean goes through a sigmoid (Wang et al., Neurocomputing 2020).

    Shapes: three times ``[B, C, H, W]`` -> ``[B, 1, H, W]``.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.join = nn.Conv2d(3 * channels, channels, 1, bias=False)

    def forward(self, shortcut: Tensor, middle: Tensor, out: Tensor) -> Tensor:
        """See the class."""
        return self.join(torch.cat((shortcut, middle, out), 1)).mean(1, keepdim=True).sigmoid()


class JenaBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut; pre-activated, except the first block, which follows an activation.

    Args:
        in_channels, out_channels: where they differ, the block halves the picture and its shortcut is a 1x1 convolution.
        attention: weight the sum by one plus :class:`MicroAttention`.

    Shapes: ``[B, in, H, W]`` -> ``[B, out, H, W]``, or half of it.
    """

    def __init__(self, in_channels: int, out_channels: int, *, attention: bool = False) -> None:
        super().__init__()
        grows = in_channels != out_channels
        self.norm0 = nn.BatchNorm2d(in_channels) if grows else None
        self.shortcut = nn.Conv2d(in_channels, out_channels, 1, stride=2, bias=False) if grows else None
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride=2 if grows else 1, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.attention = MicroAttention(out_channels) if attention else None

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        x = x if self.norm0 is None else self.norm0(x).relu()
        shortcut = x if self.shortcut is None else self.shortcut(x)
        middle = self.norm1(self.conv1(x)).relu()
        out = self.conv2(middle)
        total = shortcut + out
        return total if self.attention is None else total + total * self.attention(shortcut, middle, out)


class JenaTrunk(nn.Sequential):
    """``ResNet10_cvgj`` up to its last activation, layer by layer.

    The picture itself is batch-normalised first, so that no mean need be subtracted; the pooling rounds up, as Caffe's does.

    Args:
        in_channels: of the picture.
        attention: in each of the four blocks.

    Shapes: ``[B, C, H, W]`` -> ``[B, 512, H/32, W/32]``. Parameters: 4,904,070 at three channels.
    """

    def __init__(self, in_channels: int, *, attention: bool = False) -> None:
        layers: OrderedDict[str, nn.Module] = OrderedDict(
            data_norm=nn.BatchNorm2d(in_channels),
            conv1=nn.Conv2d(in_channels, 64, 7, stride=2, padding=3),
            norm1=nn.BatchNorm2d(64),
            act1=nn.ReLU(),
            pool1=nn.MaxPool2d(3, stride=2, ceil_mode=True),
        )
        for i, (a, b) in enumerate(zip((64, *WIDTHS[:-1]), WIDTHS, strict=True), 1):
            layers[f"layer{i}"] = JenaBlock(a, b, attention=attention)
        layers["norm5"], layers["act5"] = nn.BatchNorm2d(WIDTHS[-1]), nn.ReLU()
        super().__init__(layers)
        self.num_features = WIDTHS[-1]
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
