"""Dual-Inception.

Zhou, Mao, Xue: "Dual-Inception Network for Cross-Database Micro-Expression Recognition", IEEE FG 2019.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from zoo.models._base import ZooModel
from zoo.registry import register
from zoo.types import InputSpec


class Inception(nn.Module):
    """Four parallel branches of ``width`` maps each: 1x1; 1x1→3x3; 1x1→5x5; max pool→1x1. ReLU after every convolution.

    Shapes: ``[B, in_channels, H, W]`` -> ``[B, 4 * width, H, W]``.
    """

    def __init__(self, in_channels: int, width: int) -> None:
        super().__init__()

        def conv(channels: int, kernel: int) -> nn.Sequential:
            return nn.Sequential(nn.Conv2d(channels, width, kernel, padding=kernel // 2), nn.ReLU())

        self.branches = nn.ModuleList(
            [
                conv(in_channels, 1),
                nn.Sequential(conv(in_channels, 1), conv(width, 3)),
                nn.Sequential(conv(in_channels, 1), conv(width, 5)),
                nn.Sequential(nn.MaxPool2d(3, stride=1, padding=1), conv(in_channels, 1)),
            ]
        )

    def forward(self, x: Tensor) -> Tensor:
        """All branches, concatenated over channels."""
        return torch.cat([branch(x) for branch in self.branches], 1)


class DualInception(ZooModel):
    """Two unshared streams of two Inception blocks, one on horizontal and one on vertical flow.

    Reading: the authors fed flow pictures saved as 3-channel PNGs (equal channels); here each stream takes the one channel
    that carries information. Their code has neither dropout nor batch normalisation; ``dropout`` before the last layer is
    off by default and exists for training on the small composite.

    Args:
        num_classes: outputs.
        dropout: probability before the last linear layer.
        stream_channels: channels that each stream takes, 1 (u | v) or 3 (the authors' PNGs: 6,449,963 parameters).
        input_spec: two channels of 28 px.

    Shapes: ``[B, 2, 28, 28]`` (u, v; repeated where a stream takes 3) -> ``[B, num_classes]``.
    Parameters: 6,449,867 at 3 classes.
    """

    def __init__(
        self,
        *,
        num_classes: int = 3,
        dropout: float = 0.0,
        stream_channels: int = 1,
        input_spec: InputSpec | None = None,
    ) -> None:
        super().__init__(num_classes=num_classes, input_spec=input_spec or InputSpec(channels=("u", "v")))
        self.stream_channels = stream_channels
        self.stream_u, self.stream_v = self._stream(stream_channels), self._stream(stream_channels)
        self.num_features = 1024
        self.fc1 = nn.Linear(2 * 64 * 7 * 7, self.num_features)
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(self.num_features, num_classes)

    @staticmethod
    def _stream(channels: int) -> nn.Sequential:
        return nn.Sequential(Inception(channels, 6), nn.MaxPool2d(2), Inception(24, 16), nn.MaxPool2d(2), nn.Flatten())

    def forward_features(self, x: Tensor) -> Tensor:
        """See :meth:`ZooModel.forward_features`; 1,024 features."""
        u, v = x[:, 0:1], x[:, 1:2]
        if self.stream_channels > 1:
            u, v = (channel.expand(-1, self.stream_channels, -1, -1) for channel in (u, v))
        return self.dropout(self.fc1(torch.cat((self.stream_u(u), self.stream_v(v)), 1)).relu())


@register
def dual_inception(
    *, num_classes: int = 3, dropout: float = 0.0, stream_channels: int = 1, input_spec: InputSpec | None = None
) -> DualInception:
    """Two-stream Inception CNN on u and v (Zhou et al., FG 2019)."""
    return DualInception(
        num_classes=num_classes, dropout=dropout, stream_channels=stream_channels, input_spec=input_spec
    )
