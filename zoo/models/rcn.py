"""The recurrent convolutional networks (RCN) with parameter-free modules.

Xia, Peng, Khor, Feng, Zhao: "Revealing the Invisible with Model and Data Shrinking for Composite-database
Micro-expression Recognition", IEEE TIP 29:8590-8605, 2020, arXiv:2006.09674.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zoo.errors import ZooError
from zoo.models._base import ZooModel
from zoo.registry import register
from zoo.types import InputSpec

Stem = Literal["plain", "wide", "searched"]
Block = Literal["recurrent", "dense"]
Attention = Literal["none", "pooled", "input", "embedded"]


class _Stem(nn.Module):
    """Input to ``width`` maps. Shapes: ``[B, C, H, W]`` -> ``[B, width, h, w]``."""

    def __init__(self, kind: Stem, channels: int, width: int, dropout: float) -> None:
        super().__init__()
        if kind == "plain":
            self.streams = nn.ModuleList(
                [
                    nn.Sequential(
                        nn.Conv2d(channels, width, 5),
                        nn.BatchNorm2d(width),
                        nn.ReLU(),
                        nn.MaxPool2d(2),
                        nn.Dropout(dropout),
                    )
                ]
            )
            return
        # (maps, dilation = padding, stride); the wide stem strides, the searched one pools
        layout = (
            [(width // 2, 1, 3), (width // 4, 2, 3), (width // 4, 3, 3)]
            if kind == "wide"
            else [(width // 2, 1, 1), (width // 2, 3, 1)]
        )
        pool = [] if kind == "wide" else [nn.MaxPool2d(3, stride=3, padding=1)]
        self.streams = nn.ModuleList(
            [
                nn.Sequential(
                    nn.Conv2d(channels, maps, 3, stride=stride, padding=dilation, dilation=dilation),
                    nn.ReLU(),
                    nn.BatchNorm2d(maps),
                    *pool,
                    nn.Dropout(dropout),
                )
                for maps, dilation, stride in layout
            ]
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([stream(x) for stream in self.streams], 1)


class _Block(nn.Module):
    """One 1x1 and one 3x3 convolution, the 3x3 applied two or three times with the same weights, then halved.

    ``recurrent``: y = ff(x); y = rr(x + y); y = rr(x + y).  ``dense``: y = ff(x), multiplied by the mask if one is given;
    z = rr(x + y); e = rr(x + y + z); rr(x + y + z + e).  Shapes: ``[B, C, h, w]`` -> ``[B, C, h // 2, w // 2]``.
    """

    def __init__(self, kind: Block, width: int, dropout: float) -> None:
        super().__init__()
        self.kind = kind
        self.ff = nn.Sequential(nn.Conv2d(width, width, 1), nn.BatchNorm2d(width), nn.ReLU())
        self.rr = nn.Sequential(nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU())
        self.down = nn.Sequential(nn.MaxPool2d(2), nn.Dropout(dropout))

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        y = self.ff(x)
        if mask is not None:
            y = y * F.interpolate(mask, y.shape[-2:])
        total = x + y
        if self.kind == "recurrent":
            return self.down(self.rr(x + self.rr(total)))
        total = total + self.rr(total)
        total = total + self.rr(total)
        return self.down(self.rr(total))


def class_activation_mask(features: Tensor, weight: Tensor) -> Tensor:
    """The parameter-free attention: the classifier's own weights as a mask, averaged over classes.

    Per class, features times weights are averaged over channels and stretched to 0..1 over the map.

    Shapes: features ``[B, C, P, P]``, weight ``[K, C or 1, P, P]`` -> ``[B, 1, P, P]`` in 0..1.
    """
    maps = (features.unsqueeze(1) * weight).mean(2)  # [B, K, P, P]
    low, high = maps.amin((-2, -1), keepdim=True), maps.amax((-2, -1), keepdim=True)
    # a map without contrast (possible at initialisation, or on an empty picture) would be 0/0
    return ((maps - low) / (high - low).clamp_min(torch.finfo(maps.dtype).eps)).mean(1, keepdim=True)


class RCN(ZooModel):
    """The whole family in one class: a stem, one block with shared weights, and an attention without parameters.

    Reading: the release computes the embedded mask from the stem's output, pooled to ``pool``; its RCN-F calls the second
    stream twice in place of the third, which is taken for a slip: all three streams run here. A module that the release
    builds but never calls is left out. The gradient of the mask reaches the classifier's weights, as in the release.

    Args:
        num_classes: outputs.
        stem: ``plain`` 5x5 convolution, ``wide`` three dilated strided streams, ``searched`` two pooled streams.
        block: ``recurrent`` or ``dense``.
        attention: ``none``; ``pooled`` (mask from the stem's output times the pooled features); ``input`` (mask from the
            picture itself times the stem's output); ``embedded`` (mask inside the dense block).
        width: feature maps C, a multiple of 4.
        pool: side P of the pooled map before the classifier.
        dropout: probability after stem and block.
        input_spec: any size from 20 px; the release trains on small pictures (60 px), the default here.

    Shapes: ``[B, 3, S, S]`` -> ``[B, num_classes]``.
    Parameters at 3 classes: A, S 55,747 and W, P, C, F 52,675 (C=64, P=7); 15,331 and 13,795 (C=32, P=5).
    """

    def __init__(
        self,
        *,
        num_classes: int = 3,
        stem: Stem = "wide",
        block: Block = "dense",
        attention: Attention = "embedded",
        width: int = 64,
        pool: int = 7,
        dropout: float = 0.5,
        input_spec: InputSpec | None = None,
    ) -> None:
        super().__init__(num_classes=num_classes, input_spec=input_spec or InputSpec(size=60, map_size=60))
        for name, value, allowed in (
            ("stem", stem, Stem),
            ("block", block, Block),
            ("attention", attention, Attention),
        ):
            if value not in get_args(allowed):
                raise ZooError(f"RCN: {name} is {value!r}; known: {', '.join(get_args(allowed))}")
        if attention == "embedded" and block != "dense":
            raise ZooError(
                "RCN: the embedded attention lives in the dense block; choose block='dense' or another attention"
            )
        if width < 4 or width % 4:
            raise ZooError(
                f"RCN: width is {width}; the wide stem splits it in 2, 4 and 4, so it must be a multiple of 4"
            )
        if self.input_spec.size < 20:
            raise ZooError(f"RCN: the input is {self.input_spec.size} px; the stem and the block need at least 20")
        self.attention, self.pool = attention, pool
        self.stem = _Stem(stem, self.input_spec.shape[0], width, dropout)
        self.block = _Block(block, width, dropout)
        self.num_features = width * pool * pool
        self.fc = nn.Linear(self.num_features, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=0.01)
                nn.init.zeros_(module.bias)

    def _mask(self, x: Tensor, *, average_channels: bool = False) -> Tensor:
        if not isinstance(self.fc, nn.Linear):
            raise ZooError(
                f"RCN with attention={self.attention!r} makes its mask from the classifier's weights, "
                f"so it has no features without one; take attention='none' or forward_features before num_classes=0"
            )
        weight = self.fc.weight.view(self.num_classes, -1, self.pool, self.pool)
        if average_channels:
            weight = weight.mean(1, keepdim=True)
        return class_activation_mask(F.adaptive_avg_pool2d(x, self.pool), weight)

    def forward_features(self, x: Tensor) -> Tensor:
        """See :meth:`ZooModel.forward_features`; C·P·P features."""
        maps = self.stem(x)
        if self.attention == "input":
            maps = maps * F.interpolate(self._mask(x, average_channels=True), maps.shape[-2:])
        mask = self._mask(maps) if self.attention in ("pooled", "embedded") else None
        out = F.adaptive_avg_pool2d(self.block(maps, mask if self.attention == "embedded" else None), self.pool)
        if mask is not None and self.attention == "pooled":
            out = out * mask
        return out.flatten(1)


# locals() of a builder are its arguments, all of which every variant hands on


@register
def rcn_a(
    *, num_classes: int = 3, width: int = 64, pool: int = 7, dropout: float = 0.5, input_spec: InputSpec | None = None
) -> RCN:
    """Recurrent CNN with attention (Xia et al., TIP 2020)."""
    return RCN(stem="plain", block="recurrent", attention="pooled", **locals())


@register
def rcn_s(
    *, num_classes: int = 3, width: int = 64, pool: int = 7, dropout: float = 0.5, input_spec: InputSpec | None = None
) -> RCN:
    """Recurrent CNN with dense shortcuts (Xia et al., TIP 2020)."""
    return RCN(stem="plain", block="dense", attention="none", **locals())


@register
def rcn_w(
    *, num_classes: int = 3, width: int = 64, pool: int = 7, dropout: float = 0.5, input_spec: InputSpec | None = None
) -> RCN:
    """Recurrent CNN with a wide stem (Xia et al., TIP 2020)."""
    return RCN(stem="wide", block="recurrent", attention="none", **locals())


@register
def rcn_p(
    *, num_classes: int = 3, width: int = 64, pool: int = 7, dropout: float = 0.5, input_spec: InputSpec | None = None
) -> RCN:
    """Recurrent CNN with the searched mix of modules (Xia et al., TIP 2020)."""
    return RCN(stem="searched", block="dense", attention="pooled", **locals())


@register
def rcn_c(
    *, num_classes: int = 3, width: int = 64, pool: int = 7, dropout: float = 0.5, input_spec: InputSpec | None = None
) -> RCN:
    """Recurrent CNN with cascaded modules (Xia et al., TIP 2020)."""
    return RCN(stem="wide", block="dense", attention="input", **locals())


@register
def rcn_f(
    *, num_classes: int = 3, width: int = 64, pool: int = 7, dropout: float = 0.5, input_spec: InputSpec | None = None
) -> RCN:
    """Recurrent CNN with attention embedded in the dense block (Xia et al., TIP 2020)."""
    return RCN(stem="wide", block="dense", attention="embedded", **locals())
