"""SSSNet.

Varanka, Peng, Zhao: "Micro-expression recognition with noisy labels", IS&T Electronic Imaging 2021,
doi:10.2352/ISSN.2470-1173.2021.11.HVEI-157.
"""

from __future__ import annotations

from torch import Tensor, nn

from zoo.models._base import ZooModel
from zoo.registry import register
from zoo.types import InputSpec


class SSSNet(ZooModel):
    """Two unpadded convolutions and two linear layers on a 64 px picture of u, v and strain.

    Args:
        num_classes: outputs.
        dropout: probability after each convolution block (whole maps) and before the last layer.
        input_spec: three channels of 64 px.

    Shapes: ``[B, 3, 64, 64]`` -> ``[B, num_classes]``. Parameters: 1,349,251 at 3 classes.
    """

    def __init__(self, *, num_classes: int = 3, dropout: float = 0.5, input_spec: InputSpec | None = None) -> None:
        super().__init__(num_classes=num_classes, input_spec=input_spec or InputSpec(size=64, map_size=64))
        channels = self.input_spec.shape[0]
        # ReLU after the pooling gives the same numbers as before it (both are monotone) on a ninth of the elements
        self.block1 = nn.Sequential(
            nn.Conv2d(channels, 32, 5), nn.MaxPool2d(3), nn.ReLU(), nn.BatchNorm2d(32), nn.Dropout2d(dropout)
        )
        self.block2 = nn.Sequential(
            nn.Conv2d(32, 64, 3), nn.MaxPool2d(2), nn.ReLU(), nn.BatchNorm2d(64), nn.Dropout2d(dropout)
        )
        self.num_features = 256
        self.fc1 = nn.Linear(64 * 9 * 9, self.num_features)
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(self.num_features, num_classes)

    def forward_features(self, x: Tensor) -> Tensor:
        """See :meth:`ZooModel.forward_features`; 256 features."""
        return self.dropout(self.fc1(self.block2(self.block1(x)).flatten(1)).relu())


@register
def sssnet(*, num_classes: int = 3, dropout: float = 0.5, input_spec: InputSpec | None = None) -> SSSNet:
    """Small two-block CNN on u, v and strain at 64 px (Varanka et al., EI 2021)."""
    return SSSNet(num_classes=num_classes, dropout=dropout, input_spec=input_spec)
