"""OFF-ApexNet: Optical Flow Features from Apex frame Network.

Gan, Liong, Yau, Huang, Tan: "OFF-ApexNet on micro-expression recognition system", Signal Processing: Image Communication
74:129-139, 2019, arXiv:1805.08699.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from zoo.models._base import ZooModel
from zoo.registry import register
from zoo.types import InputSpec


class OFFApexNet(ZooModel):
    """Two unshared LeNet-like streams, one on horizontal and one on vertical flow, joined by two wide linear layers.

    Reading: the paper does not say which activation follows the convolutions, nor whether both linear layers carry
    dropout; ReLU and dropout after both, as the linear layers' description suggests.

    Args:
        num_classes: outputs.
        dropout: probability after each of the two linear layers.
        input_spec: two channels of 28 px.

    Shapes: ``[B, 2, 28, 28]`` (u, v) -> ``[B, num_classes]``. Parameters: 2,664,475 at 3 classes.
    """

    def __init__(self, *, num_classes: int = 3, dropout: float = 0.5, input_spec: InputSpec | None = None) -> None:
        super().__init__(num_classes=num_classes, input_spec=input_spec or InputSpec(channels=("u", "v")))
        self.stream_u, self.stream_v = self._stream(), self._stream()
        self.num_features = 1024
        self.fc1 = nn.Linear(2 * 16 * 7 * 7, 1024)
        self.fc2 = nn.Linear(1024, self.num_features)
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(self.num_features, num_classes)

    @staticmethod
    def _stream() -> nn.Sequential:
        # ReLU after the pooling gives the same numbers as before it (both are monotone) on a quarter of the elements
        return nn.Sequential(
            nn.Conv2d(1, 6, 5, padding=2),
            nn.MaxPool2d(2),
            nn.ReLU(),
            nn.Conv2d(6, 16, 5, padding=2),
            nn.MaxPool2d(2),
            nn.ReLU(),
            nn.Flatten(),
        )

    def forward_features(self, x: Tensor) -> Tensor:
        """See :meth:`ZooModel.forward_features`; 1,024 features."""
        joined = torch.cat((self.stream_u(x[:, 0:1]), self.stream_v(x[:, 1:2])), 1)  # [B, 1568]
        return self.dropout(self.fc2(self.dropout(self.fc1(joined).relu())).relu())


@register
def off_apexnet(*, num_classes: int = 3, dropout: float = 0.5, input_spec: InputSpec | None = None) -> OFFApexNet:
    """Two-stream CNN on u and v (Gan et al., SPIC 2019)."""
    return OFFApexNet(num_classes=num_classes, dropout=dropout, input_spec=input_spec)
