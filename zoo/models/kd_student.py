"""A teacher of action units, and its student.

Sun, Cao, Li, He, Yu: "Dynamic Micro-Expression Recognition Using Knowledge Distillation", IEEE Transactions on Affective
Computing, 2020.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from zoo.models._base import AUModel, AUOutputs, ZooModel
from zoo.models._graph import AUs, units_of
from zoo.models.backbone import features
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


FERA2017 = (1, 4, 6, 7, 10, 12, 14, 15, 17, 23)  # the units of the challenge that the authors' teacher was trained on


class KDTeacher(AUModel):
    """A deep backbone whose pooled features tell action units (AUs): what :class:`KDStudent` learns from.

    It is trained for its units alone (``losses: {emotion_weight: 0, au: bce}``), on any clips whose units are coded; its
    classifier of emotions, which every network of the zoo has, is then never asked.

    Reading: a reconstruction, since the paper's layers are not public: one linear layer per task on the mean of a ResNet's last
    map. The paper's second task, the view of the head, is left out: no data set that the zoo reads has views. There is no graph:
    ``adjacency`` is the identity, and the node of a unit is what each feature adds to its logit.

    Args:
        num_classes: outputs.
        aus: by number or the name of a set; the ten of FERA 2017 if not given.
        backbone: of timm, ``resnet18`` or ``resnet50``, or another.
        dropout: probability before the outputs.
        input_spec: one picture, the same as the student's.

    Shapes: ``[B, C, S, S]`` -> ``[B, num_classes]``; ``nodes`` ``[B, A, num_features]``. Parameters: 11,183,181 at 3 classes and
    10 units.
    """

    def __init__(
        self,
        *,
        num_classes: int = 3,
        aus: AUs = FERA2017,
        backbone: str = "resnet18",
        dropout: float = 0.0,
        input_spec: InputSpec | None = None,
    ) -> None:
        spec = check_picture("kd_teacher", input_spec or APEX.replace(size=112, map_size=112))
        super().__init__(num_classes=num_classes, input_spec=spec)
        self.aus = units_of(aus)
        self.node_names = tuple(f"AU{au}" for au in self.aus)
        self._backbone = backbone
        self.trunk = features(backbone, spec.shape[0])
        self.num_features = self.trunk.num_features
        self.dropout = nn.Dropout(dropout)
        self.au_fc = nn.Linear(self.num_features, len(self.aus))
        self.fc = nn.Linear(self.num_features, num_classes)

    def forward_graph(self, x: Tensor) -> AUOutputs:
        """See :meth:`AUModel.forward_graph`."""
        seen = self.dropout(self.trunk(x).mean((2, 3)))
        edges = torch.eye(len(self.aus), device=seen.device, dtype=seen.dtype)
        return AUOutputs(seen, self.au_fc(seen), seen[:, None] * self.au_fc.weight, edges)

    def load_imagenet(self) -> None:
        """As :meth:`zoo.models.resnet_apex.ApexNet.load_imagenet`."""
        given = features(self._backbone, self.input_spec.shape[0], pretrained=True)
        self.trunk.load_state_dict(given.state_dict())


@register
def kd_student(*, num_classes: int = 3, input_spec: InputSpec | None = None) -> KDStudent:
    """Shallow CNN that a teacher of action units distils into (Sun et al., TAFFC 2020)."""
    return KDStudent(num_classes=num_classes, input_spec=input_spec)


@register
def kd_teacher(
    *,
    num_classes: int = 3,
    aus: AUs = FERA2017,
    backbone: str = "resnet18",
    dropout: float = 0.0,
    input_spec: InputSpec | None = None,
) -> KDTeacher:
    """Deep teacher of action units for the shallow student (Sun et al., TAFFC 2020)."""
    return KDTeacher(num_classes=num_classes, aus=aus, backbone=backbone, dropout=dropout, input_spec=input_spec)
