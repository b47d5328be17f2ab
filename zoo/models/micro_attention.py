"""Micro-attention.

Wang, Peng, Bi, Chen: "Micro-Attention for Micro-Expression Recognition", Neurocomputing 410, 2020 (arXiv:1811.02360).
"""

from __future__ import annotations

from typing import Literal, get_args

from torch import nn

from zoo.errors import ZooError
from zoo.models.resnet_apex import GREY, JenaResNet10
from zoo.registry import register
from zoo.types import InputSpec

Stage = Literal["trunk", "attention"]


class MicroAttentionNet(JenaResNet10):
    """The Jena ResNet10 with one map of spatial attention after each of its four residual blocks, on the grey apex.

    The authors train the trunk on macro-expressions without attention first: ``stage="trunk"`` is that network, and
    :func:`zoo.train.transfer.rebuilt` turns its weights into those of ``stage="attention"``, where only the attention is new.

    Reading: the authors crop 224 px at random out of 240 in training; here ``data.shift`` moves the picture.

    Args:
        num_classes: outputs.
        stage: ``trunk`` (4,900,359 parameters at 5 classes) or ``attention``.
        input_spec: one picture.

    Shapes: ``[B, 1, 224, 224]`` -> ``[B, num_classes]``. Parameters: 5,944,839 at 5 classes.
    """

    def __init__(
        self, *, num_classes: int = 5, stage: Stage = "attention", input_spec: InputSpec | None = None
    ) -> None:
        if stage not in get_args(Stage):
            raise ZooError(f"stage is {stage!r}; known: {', '.join(get_args(Stage))}")
        super().__init__(num_classes=num_classes, attention=stage == "attention", input_spec=input_spec or GREY)
        nn.init.xavier_uniform_(self.fc.weight)
        nn.init.constant_(self.fc.bias, 0.2)


@register
def micro_attention(
    *, num_classes: int = 5, stage: Stage = "attention", input_spec: InputSpec | None = None
) -> MicroAttentionNet:
    """ResNet10 with attention after each block, on the grey apex (Wang et al., 2020)."""
    return MicroAttentionNet(num_classes=num_classes, stage=stage, input_spec=input_spec)
