"""EMR.

Liu, Du, Zheng, Gedeon: "A Neural Micro-Expression Recognizer", IEEE FG 2019 (first of MEGC2019).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from zoo.errors import ZooError
from zoo.models.resnet_apex import ApexNet
from zoo.registry import register
from zoo.types import InputSpec

MOTION = InputSpec(channels=("u", "v"), size=224, map_size=224, normalisation="peak", flow="farneback", crop="face")
PART = 64  # features of a part


def flow_colours(motion: Tensor) -> Tensor:
    """Motion as the colours of a wheel: hue is its direction, value its length, stretched over the picture; 0..1.

    Hue is 0 (red) to the right and grows towards down, as in OpenCV's HSV pictures of flow; the saturation is full.

    Shapes: u and v ``[B, 2, H, W]`` -> red, green, blue ``[B, 3, H, W]``.
    """
    length = motion.norm(dim=1, keepdim=True)
    least, most = length.amin((2, 3), keepdim=True), length.amax((2, 3), keepdim=True)
    value = (length - least) / (most - least).clamp_min(1e-12)
    hue = torch.atan2(motion[:, 1:2], motion[:, 0:1]) / (2 * math.pi) % 1
    corner = torch.tensor((5.0, 3.0, 1.0), device=motion.device, dtype=motion.dtype).view(1, 3, 1, 1)
    k = (corner + 6 * hue) % 6
    return value * (1 - torch.minimum(k, 4 - k).clamp(0, 1))


class EMR(ApexNet):
    """A ResNet18 whose last map is cut into the upper and the lower face, each with a small head; one classifier over both.

    The authors train it beside macro-expressions (CK+) with a classifier of each part and a discriminator of the two domains
    behind a gradient reversal, see :class:`zoo.train.transfer_methods.EMRMethod`; none of these is needed to predict.

    The authors magnify the micro-expressions (not the macro-expressions) before the flow is measured: ``magnify`` of the input
    does, by the same method.

    Reading: by how much they magnify is not told, so that the default is not at all. Their pictures code direction as hue, length
    as value and the saturation of the apex as saturation; the motion alone is fed here, so the saturation is full. With other
    channels than u and v the picture is taken as it comes.

    Args:
        num_classes: outputs.
        backbone: of timm, as :class:`~zoo.models.resnet_apex.ApexNet`.
        dropout: probability behind each part.
        input_spec: u and v in one unit (not stretched each on its own), or any picture.

    Shapes: ``[B, 2, 224, 224]`` -> ``[B, num_classes]``. Parameters: 11,242,563 at 3 classes.
    """

    def __init__(
        self,
        *,
        num_classes: int = 3,
        backbone: str = "resnet18",
        dropout: float = 0.1,
        input_spec: InputSpec | None = None,
    ) -> None:
        spec = input_spec or MOTION
        if spec.channels == MOTION.channels and spec.normalisation not in ("peak", "pixels", "iod"):
            raise ZooError(
                f"emr reads the direction of motion; normalisation {spec.normalisation} stretches u and v apart: "
                f"take peak, pixels or iod"
            )
        super().__init__(num_classes=num_classes, backbone=backbone, dropout=0.0, input_spec=spec)
        width = self.num_features
        self.top = nn.Sequential(nn.Linear(width, PART), nn.Tanh(), nn.Dropout(dropout))
        self.bottom = nn.Sequential(nn.Linear(width, PART), nn.Tanh(), nn.Dropout(dropout))
        self.num_features = 2 * PART
        self.fc = nn.Linear(self.num_features, num_classes)

    @property
    def codes(self) -> bool:
        """Whether the input is motion that is coloured first."""
        return self.input_spec.channels == MOTION.channels

    def channels_of_trunk(self) -> int:
        """Three where the motion is coloured."""
        return 3 if self.codes else super().channels_of_trunk()

    def forward_features(self, x: Tensor) -> Tensor:
        """See :meth:`ZooModel.forward_features`; 128 features, those of the upper face first."""
        maps = self.trunk(2 * flow_colours(x) - 1 if self.codes else x)
        cut = max(1, maps.shape[2] * 3 // 7)  # 3 of 7 rows
        top, bottom = maps[:, :, :cut].mean((2, 3)), maps[:, :, min(cut, maps.shape[2] - 1) :].mean((2, 3))
        return torch.cat((self.top(top), self.bottom(bottom)), 1)


@register
def emr(
    *, num_classes: int = 3, backbone: str = "resnet18", dropout: float = 0.1, input_spec: InputSpec | None = None
) -> EMR:
    """Upper and lower face of coloured motion, trained beside macro-expressions (Liu et al., FG 2019)."""
    return EMR(num_classes=num_classes, backbone=backbone, dropout=dropout, input_spec=input_spec)
