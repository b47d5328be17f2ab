"""A 3D CNN carried over from macro- to micro-expressions.

Zhi, Xu, Wan, Li: "Combining 3D Convolutional Neural Networks with Transfer Learning by Supervised Pre-Training for Facial
Micro-Expression Recognition", IEICE Transactions E102-D(5), 2019.
"""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn

from zoo.errors import ZooError
from zoo.models._base import ZooModel
from zoo.registry import register
from zoo.types import InputSpec

CLIP = InputSpec(modality="frames", channels=("grey",), size=64, frames=16, scaling="signed", crop="face")


class Zhi3D(ZooModel):
    """Four convolutions of 3 frames x 5 x 5 pixels over a grey clip, each pooled; their mean; two linear layers.

    Reading: the paper gives the kernels and the transfer (pre-trained on Oulu-CASIA, then micro), not the widths; 32, 64, 128 and
    128 maps are taken. Its scores shared persons between folds and are no target here.

    Args:
        num_classes: outputs.
        dropout: probability before the last layer.
        input_spec: a clip of at least 8 frames of 16 px.

    Shapes: ``[B, 1, 16, 64, 64]`` -> ``[B, num_classes]``. Parameters: 2,016,709 at 5 classes.
    """

    def __init__(self, *, num_classes: int = 5, dropout: float = 0.5, input_spec: InputSpec | None = None) -> None:
        spec = input_spec or CLIP
        if spec.modality != "frames" or spec.frames < 8 or spec.size < 16:
            raise ZooError(
                f"zhi3d eats clips (modality frames) of at least 8 frames of 16 px; its input_spec says {spec.modality}, "
                f"{spec.frames} frames, {spec.size} px"
            )
        super().__init__(num_classes=num_classes, input_spec=spec)
        layers: list[nn.Module] = []
        widths = (spec.shape[0], 32, 64, 128, 128)
        for i, (a, b) in enumerate(pairwise(widths)):
            pool = nn.MaxPool3d((1, 2, 2) if i == 0 else 2)
            layers += [nn.Conv3d(a, b, (3, 5, 5), padding=(1, 2, 2)), nn.ReLU(), pool]
        self.trunk = nn.Sequential(*layers)
        self.num_features = 128
        self.fc1 = nn.Linear(widths[-1], self.num_features)
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(self.num_features, num_classes)

    def forward_features(self, x: Tensor) -> Tensor:
        """See :meth:`ZooModel.forward_features`; 128 features."""
        return self.dropout(self.fc1(self.trunk(x).mean((2, 3, 4))).relu())


@register
def zhi3d(*, num_classes: int = 5, dropout: float = 0.5, input_spec: InputSpec | None = None) -> Zhi3D:
    """3D CNN over grey clips, from macro to micro (Zhi et al., 2019)."""
    return Zhi3D(num_classes=num_classes, dropout=dropout, input_spec=input_spec)
