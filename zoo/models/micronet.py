"""MicroNet and MacroNet.

Xia, Wang, Wang, Chen: "Learning from Macro-expression: a Micro-expression Recognition Framework", ACM MM 2020.
"""

from __future__ import annotations

from torch import Tensor, nn

from zoo.models.resnet_apex import ApexNet
from zoo.registry import register
from zoo.types import InputSpec


class EIDNet(ApexNet):
    """The expression half of the expression-identity disentangling network; MacroNet and MicroNet are two of it.

    MacroNet is trained on macro-expressions and frozen; MicroNet starts from it. The branch of the identity, the discriminator of
    the domains and the losses between the two networks are parts of the training, see
    :class:`zoo.train.transfer_methods.MicroNetMethod`.

    Reading: a reconstruction, since the paper's inner sizes are not public: a ResNet18, and one linear layer of 256 features each
    for expression and identity.

    Args:
        num_classes: outputs.
        backbone: of timm, as :class:`~zoo.models.resnet_apex.ApexNet`.
        width: features of the expression.
        input_spec: one picture.

    Shapes: ``[B, 3, 224, 224]`` -> ``[B, num_classes]``. Parameters: 11,308,611 at 3 classes.
    """

    def __init__(
        self,
        *,
        num_classes: int = 3,
        backbone: str = "resnet18",
        width: int = 256,
        input_spec: InputSpec | None = None,
    ) -> None:
        super().__init__(num_classes=num_classes, backbone=backbone, input_spec=input_spec)
        self.expression = nn.Linear(self.num_features, width)
        self.num_features = width
        self.fc = nn.Linear(width, num_classes)

    def forward_shared(self, x: Tensor) -> Tensor:
        """What expression and identity are both told from. Shapes: ``[B, C, S, S]`` -> ``[B, trunk.num_features]``."""
        return self.trunk(x).mean((2, 3))

    def forward_features(self, x: Tensor) -> Tensor:
        """See :meth:`ZooModel.forward_features`; 256 features."""
        return self.expression(self.forward_shared(x))


@register
def micronet(
    *, num_classes: int = 3, backbone: str = "resnet18", width: int = 256, input_spec: InputSpec | None = None
) -> EIDNet:
    """Expression apart from identity, guided by a twin that knows macro-expressions (Xia et al., ACM MM 2020)."""
    return EIDNet(num_classes=num_classes, backbone=backbone, width=width, input_spec=input_spec)
