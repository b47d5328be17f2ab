"""Classifiers of one picture: the apex, its difference from the onset, or the motion between them.

Peng, Wu, Zhang, Chen: "From Macro to Micro Expression Recognition: Deep Learning on Small Datasets Using Transfer Learning",
IEEE FG 2018, took a ResNet10 from ImageNet over macro- to micro-expressions.
"""

from __future__ import annotations

from typing import Literal, get_args

from torch import Tensor, nn

from zoo.errors import ZooError
from zoo.models._base import ZooModel
from zoo.models._jena import JenaTrunk
from zoo.models.backbone import Backbone, features
from zoo.registry import register
from zoo.types import InputSpec

APEX = InputSpec(
    modality="apex", channels=("red", "green", "blue"), size=224, map_size=224, scaling="imagenet", crop="face"
)
GREY = APEX.replace(channels=("grey",))
Stem = Literal["pooled", "unpooled"]


def check_picture(model: str, spec: InputSpec, least: int = 32) -> InputSpec:
    """The spec itself. Raises ZooError where it is no picture, or one of fewer than ``least`` pixels."""
    if spec.modality not in ("apex", "flow"):
        raise ZooError(
            f"{model} eats one picture per clip (modality apex or flow); its input_spec says {spec.modality}"
        )
    if spec.size < least:
        raise ZooError(f"{model} halves its picture several times; input size {spec.size} is below {least}")
    return spec


class ApexNet(ZooModel):
    """A backbone of timm, the mean of its last map, one linear layer.

    Args:
        num_classes: outputs.
        backbone: a model of timm with a feature map, e.g. ``resnet10t``, ``resnet18``, ``resnet34``, or ``conv4``, ``conv16``.
        dropout: probability before the last layer.
        stem: ``pooled``: the backbone as published, whose first stage makes a quarter of the picture's size; ``unpooled``: half
            of it, without its max-pooling, for pictures of 32 to 100 px (of 48 px a ResNet then keeps 3 x 3 places, not 2 x 2).
        maps: how many of the backbone's last maps a subclass reads.
        input_spec: one picture, of the apex (red, green, blue; grey; difference) or of flow (u, v, strain), of at least 32 px.

    Shapes: ``[B, C, S, S]`` -> ``[B, num_classes]``. Parameters: 11,178,051 with resnet18 at 3 classes and 3 channels.
    """

    trunk: Backbone

    def __init__(
        self,
        *,
        num_classes: int = 3,
        backbone: str = "resnet10t",
        dropout: float = 0.0,
        stem: Stem = "pooled",
        maps: int = 1,
        input_spec: InputSpec | None = None,
    ) -> None:
        spec = check_picture(type(self).__name__, input_spec or APEX)
        super().__init__(num_classes=num_classes, input_spec=spec)
        if stem not in get_args(Stem):
            raise ZooError(f"stem is {stem!r}; known: {', '.join(get_args(Stem))}")
        self._backbone, self._maps = backbone, maps
        self.trunk = features(backbone, self.channels_of_trunk(), maps=maps, pooled=stem == "pooled")
        self.num_features = self.trunk.num_features
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(self.num_features, num_classes)

    def forward_features(self, x: Tensor) -> Tensor:
        """See :meth:`ZooModel.forward_features`."""
        return self.dropout(self.trunk(x).mean((2, 3)))

    def channels_of_trunk(self) -> int:
        """Channels that the trunk takes: those of the input, unless a subclass recodes it."""
        return self.input_spec.shape[0]

    def load_imagenet(self) -> None:
        """Give the trunk timm's own weights, fitted to the channels of the input; an act, never a part of the config.

        Raises:
            ZooError: there are none of this backbone, or they cannot be fetched.
        """
        given = features(self._backbone, self.channels_of_trunk(), maps=self._maps, pretrained=True)
        self.trunk.load_state_dict(given.state_dict())


class JenaResNet10(ZooModel):
    """The Jena ResNet10 with a classifier of ours.

    Reading: which scale its authors fed is not told and its first layer normalises it; ImageNet's is taken, so that the running
    statistics start near what they become.

    Args:
        num_classes: outputs.
        attention: after each block, see :class:`~zoo.models.micro_attention.MicroAttentionNet`.
        input_spec: one picture.

    Shapes: ``[B, C, S, S]`` -> ``[B, num_classes]``. Parameters: 4,906,635 at 5 classes and 3 channels.
    """

    def __init__(self, *, num_classes: int = 5, attention: bool = False, input_spec: InputSpec | None = None) -> None:
        spec = check_picture("jena_resnet10", input_spec or APEX)
        super().__init__(num_classes=num_classes, input_spec=spec)
        self.trunk = JenaTrunk(spec.shape[0], attention=attention)
        self.num_features = self.trunk.num_features
        self.fc = nn.Linear(self.num_features, num_classes)

    def forward_features(self, x: Tensor) -> Tensor:
        """See :meth:`ZooModel.forward_features`; 512 features."""
        return self.trunk(x).mean((2, 3))


@register
def resnet_apex(
    *,
    num_classes: int = 3,
    backbone: str = "resnet10t",
    dropout: float = 0.0,
    stem: Stem = "pooled",
    input_spec: InputSpec | None = None,
) -> ApexNet:
    """Any backbone of timm on one picture: apex, difference or flow (as Peng et al., FG 2018)."""
    return ApexNet(num_classes=num_classes, backbone=backbone, dropout=dropout, stem=stem, input_spec=input_spec)


@register
def jena_resnet10(*, num_classes: int = 5, input_spec: InputSpec | None = None) -> JenaResNet10:
    """The Jena ResNet10 on the apex frame, from macro to micro (Peng et al., FG 2018)."""
    return JenaResNet10(num_classes=num_classes, input_spec=input_spec)
