"""SAAT.

Zhou, Mao, Xue: "Cross-Database Micro-Expression Recognition: A Style Aggregated and Attention Transfer Approach", IEEE ICME
Workshops 2019.
"""

from __future__ import annotations

from torch import Tensor

from zoo.models.resnet_apex import ApexNet
from zoo.registry import register
from zoo.types import InputSpec


class SAATNet(ApexNet):
    """A ResNet18 that shows the map of each of its four stages: teacher (macro) and student (micro) of an attention transfer.

    Reading: a reconstruction, since the paper's layers are not public. The transfer is that of Zagoruyko and Komodakis, see
    :func:`zoo.train.domain_losses.attention_transfer`. The other half of the paper, styles aggregated by a CycleGAN between
    databases, is not part of it: neither its networks nor how the translations are joined are public, and an average of other
    pictures under its name would be another method.

    Args:
        num_classes: outputs.
        backbone: of timm, as :class:`~zoo.models.resnet_apex.ApexNet`.
        dropout: probability before the last layer.
        input_spec: one picture.

    Shapes: ``[B, 3, 224, 224]`` -> ``[B, num_classes]``. Parameters: 11,178,051 at 3 classes.
    """

    def __init__(
        self,
        *,
        num_classes: int = 3,
        backbone: str = "resnet18",
        dropout: float = 0.0,
        input_spec: InputSpec | None = None,
    ) -> None:
        super().__init__(num_classes=num_classes, backbone=backbone, dropout=dropout, maps=4, input_spec=input_spec)

    def forward_stages(self, x: Tensor) -> list[Tensor]:
        """Maps of the four stages, the last of which the classifier reads. Shapes: each ``[B, c, h, w]``."""
        return self.trunk.maps(x)

    def forward_pooled(self, last: Tensor) -> Tensor:
        """Features of the last map. Shapes: ``[B, c, h, w]`` -> ``[B, num_features]``."""
        return self.dropout(last.mean((2, 3)))


@register
def saat(
    *, num_classes: int = 3, backbone: str = "resnet18", dropout: float = 0.0, input_spec: InputSpec | None = None
) -> SAATNet:
    """ResNet18 that learns where a teacher of macro-expressions looks (Zhou et al., ICMEW 2019)."""
    return SAATNet(num_classes=num_classes, backbone=backbone, dropout=dropout, input_spec=input_spec)
