"""STSTNet: Shallow Triple Stream Three-dimensional CNN.

Liong, Gan, See, Khor, Huang: "Shallow Triple Stream Three-dimensional CNN (STSTNet) for Micro-expression Recognition",
IEEE FG 2019, arXiv:1902.03634.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zoo.errors import WeightError
from zoo.models._base import ZooModel
from zoo.models._blocks import PooledConvolution
from zoo.registry import register
from zoo.types import InputSpec


class STSTNet(ZooModel):
    r"""Three parallel 3x3 convolutions of 3, 5 and 8 maps on one picture of horizontal flow, vertical flow and strain.

    Each stream: convolution, ReLU, batch normalisation (in this order), max pooling 3/3, dropout; then concatenation,
    average pooling 2/2 and one linear layer of :math:`16\cdot5\cdot5 = 400` features.

    Reading: the paper's table draws "FC 400" before the output; the authors' MATLAB network has no such layer, 400 is the
    flattened size. Padding is 1 in the paper and the MATLAB network, 2 in the authors' PyTorch port; both give 5x5 maps
    (``padding``).

    Args:
        num_classes: outputs.
        padding: of the three convolutions, 1 or 2.
        dropout: probability on each stream.
        input_spec: another subset or order of u, v, strain, or another scaling; 28 px.

    Shapes: ``[B, 3, 28, 28]`` -> ``[B, num_classes]``. Parameters: 1,683 at 3 classes.
    """

    def __init__(
        self, *, num_classes: int = 3, padding: int = 1, dropout: float = 0.5, input_spec: InputSpec | None = None
    ) -> None:
        super().__init__(num_classes=num_classes, input_spec=input_spec or InputSpec())
        channels = self.input_spec.shape[0]
        self.conv1 = nn.Conv2d(channels, 3, 3, padding=padding)
        self.conv2 = nn.Conv2d(channels, 5, 3, padding=padding)
        self.conv3 = nn.Conv2d(channels, 8, 3, padding=padding)
        self.bn1, self.bn2, self.bn3 = nn.BatchNorm2d(3), nn.BatchNorm2d(5), nn.BatchNorm2d(8)
        self.maxpool = nn.MaxPool2d(3, stride=3, padding=1)
        self.avgpool = nn.AvgPool2d(2)
        self.dropout = nn.Dropout(dropout)
        self.num_features = 16 * 5 * 5
        self.fc = nn.Linear(self.num_features, num_classes)

    def forward_features(self, x: Tensor) -> Tensor:
        """See :meth:`ZooModel.forward_features`; 400 features."""
        # The three streams do the same to the same picture, so they run as one of 16 maps: half the time, the same numbers.
        convs, norms = (self.conv1, self.conv2, self.conv3), (self.bn1, self.bn2, self.bn3)
        weight = torch.cat([c.weight for c in convs])
        bias = torch.cat([c.bias for c in convs if c.bias is not None])
        maps = F.conv2d(x, weight, bias, padding=self.conv1.padding).relu_()  # [B, 16, 28, 28]
        return self.avgpool(self.dropout(self.maxpool(_joint_norm(maps, norms)))).flatten(1)

    def pooled_convolution(self) -> PooledConvolution:
        """The layers of :meth:`forward_features`, for those who run them in another way."""
        return PooledConvolution(
            convolutions=(self.conv1, self.conv2, self.conv3),
            norms=(self.bn1, self.bn2, self.bn3),
            pool=self.maxpool,
            dropout=self.dropout,
            average=self.avgpool,
        )


def _joint_norm(x: Tensor, norms: Sequence[nn.BatchNorm2d]) -> Tensor:
    """Batch normalisation of concatenated maps with the parameters and running statistics of several layers."""
    if len({n.training for n in norms}) > 1:  # some of them are frozen
        return torch.cat(
            [n(part) for n, part in zip(norms, x.split([n.num_features for n in norms], 1), strict=True)], 1
        )
    means, variances = [n.get_buffer("running_mean") for n in norms], [n.get_buffer("running_var") for n in norms]
    mean, var = torch.cat(means), torch.cat(variances)
    weight, bias = torch.cat([n.weight for n in norms]), torch.cat([n.bias for n in norms])
    training, first = norms[0].training, norms[0]
    out = F.batch_norm(x, mean, var, weight, bias, training, first.momentum or 0.0, first.eps)
    if training:
        sizes = [n.num_features for n in norms]
        with torch.no_grad():
            for old, new in zip([*means, *variances], [*mean.split(sizes), *var.split(sizes)], strict=True):
                old.copy_(new)
            for norm in norms:
                norm.get_buffer("num_batches_tracked").add_(1)
    return out


@register
def ststnet(
    *, num_classes: int = 3, padding: int = 1, dropout: float = 0.5, input_spec: InputSpec | None = None
) -> STSTNet:
    """Shallow three-stream CNN on u, v and strain (Liong et al., FG 2019)."""
    return STSTNet(num_classes=num_classes, padding=padding, dropout=dropout, input_spec=input_spec)


def convert_published(state: Mapping[str, Tensor]) -> tuple[dict[str, Any], Mapping[str, Tensor]]:
    """Arguments and state of the authors' PyTorch files (one per held-out subject).

    Their code pads by 2 and feeds what ``cv2.imread`` returns: channels strain, v, u, raw 0..255.

    Raises:
        WeightError: the keys are not those of the authors' network.
    """
    wanted = {f"{layer}.weight" for layer in ("conv1", "conv2", "conv3", "bn1", "bn2", "bn3", "fc")}
    if missing := sorted(wanted - set(state)):
        raise WeightError(f"this is no STSTNet of its authors: {', '.join(missing[:3])} not among its keys")
    spec = InputSpec(channels=("strain", "v", "u"), scaling="raw255")
    return {"num_classes": len(state["fc.weight"]), "padding": 2, "input_spec": spec}, state
