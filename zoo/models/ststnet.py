"""STSTNet: Shallow Triple Stream Three-dimensional CNN.

Liong, Gan, See, Khor, Huang: "Shallow Triple Stream Three-dimensional CNN (STSTNet) for Micro-expression Recognition",
IEEE FG 2019, arXiv:1902.03634.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from zoo.models._base import ZooModel
from zoo.registry import register
from zoo.types import InputSpec


class STSTNet(ZooModel):
    r"""Three parallel 3x3 convolutions of 3, 5 and 8 maps on one picture of horizontal flow, vertical flow and strain.

    Each stream: convolution, ReLU, batch normalisation (in this order), max pooling 3/3, dropout; then concatenation,
    average pooling 2/2 and one linear layer of :math:`16\cdot5\cdot5 = 400` features.

    Reading: the paper's table draws "FC 400" before the output; the authors' MATLAB network has no such layer, 400 is the
    flattened size. Padding is 1 in the paper and the MATLAB network, 2 in the authors' PyTorch port; both give 5x5 maps
    (``padding``).

    Args:
        num_classes: outputs.
        padding: of the three convolutions, 1 or 2.
        dropout: probability on each stream.
        input_spec: another subset or order of u, v, strain, or another scaling; 28 px.

    Shapes: ``[B, 3, 28, 28]`` -> ``[B, num_classes]``. Parameters: 1,683 at 3 classes.
    """

    def __init__(self, *, num_classes: int = 3, padding: int = 1, dropout: float = 0.5, input_spec: InputSpec | None = None) -> None:
        super().__init__(num_classes=num_classes, input_spec=input_spec or InputSpec())
        channels = self.input_spec.shape[0]
        self.conv1 = nn.Conv2d(channels, 3, 3, padding=padding)
        self.conv2 = nn.Conv2d(channels, 5, 3, padding=padding)
        self.conv3 = nn.Conv2d(channels, 8, 3, padding=padding)
        self.bn1, self.bn2, self.bn3 = nn.BatchNorm2d(3), nn.BatchNorm2d(5), nn.BatchNorm2d(8)
        self.maxpool = nn.MaxPool2d(3, stride=3, padding=1)
        self.avgpool = nn.AvgPool2d(2)
        self.dropout = nn.Dropout(dropout)
        self.num_features = 16 * 5 * 5
        self.fc = nn.Linear(self.num_features, num_classes)

    def forward_features(self, x: Tensor) -> Tensor:
        """See :meth:`ZooModel.forward_features`; 400 features."""
        streams = ((self.conv1, self.bn1), (self.conv2, self.bn2), (self.conv3, self.bn3))
        maps = [self.dropout(self.maxpool(norm(conv(x).relu()))) for conv, norm in streams]  # each [B, 3|5|8, 10, 10]
        return self.avgpool(torch.cat(maps, 1)).flatten(1)


@register
def ststnet(*, num_classes: int = 3, padding: int = 1, dropout: float = 0.5, input_spec: InputSpec | None = None) -> STSTNet:
    """Shallow three-stream CNN on u, v and strain (Liong et al., FG 2019)."""
    return STSTNet(num_classes=num_classes, padding=padding, dropout=dropout, input_spec=input_spec)
