"""The student of a teacher of action units.

Sun, Cao, Li, He, Yu: "Dynamic Micro-Expression Recognition Using Knowledge Distillation", IEEE Transactions on Affective
Computing, 2020.
"""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn

from zoo.models._base import ZooModel
from zoo.models.resnet_apex import APEX, check_picture
from zoo.registry import register
from zoo.types import InputSpec


class KDStudent(ZooModel):
    """Four 3x3 convolutions with batch normalisation, each pooled, on the apex frame; the mean; one linear layer.

    It is shallow, so that a deep teacher of action units can hand on what micro-expressions are too few to teach, see
    :class:`zoo.train.transfer_methods.Distillation`.

    Reading: a reconstruction, since the paper's layers are not public: 32, 64, 128 and 128 maps.

    Args:
        num_classes: outputs.
        input_spec: one picture of at least 16 px.

    Shapes: ``[B, C, S, S]`` -> ``[B, num_classes]``. Parameters: 241,571 at 3 classes and 3 channels.
    """

    def __init__(self, *, num_classes: int = 3, input_spec: InputSpec | None = None) -> None:
        spec = check_picture("kd_student", input_spec or APEX.replace(size=112, map_size=112), least=16)
        super().__init__(num_classes=num_classes, input_spec=spec)
        layers: list[nn.Module] = []
        for a, b in pairwise((spec.shape[0], 32, 64, 128, 128)):
            block = (nn.Conv2d(a, b, 3, padding=1, bias=False), nn.BatchNorm2d(b), nn.ReLU(), nn.MaxPool2d(2))
            layers.append(nn.Sequential(*block))
        self.trunk = nn.Sequential(*layers)
        self.num_features = 128
        self.fc = nn.Linear(self.num_features, num_classes)

    def forward_features(self, x: Tensor) -> Tensor:
        """See :meth:`ZooModel.forward_features`; 128 features."""
        return self.trunk(x).mean((2, 3))


@register
def kd_student(*, num_classes: int = 3, input_spec: InputSpec | None = None) -> KDStudent:
    """Shallow CNN that a teacher of action units distils into (Sun et al., TAFFC 2020)."""
    return KDStudent(num_classes=num_classes, input_spec=input_spec)
