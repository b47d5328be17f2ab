"""EAC-Net: attention around the centres of action units (AUs), and networks of their own for the crops there.

Li, Abtahi, Zhu, Yin: "EAC-Net: Deep Nets with Enhancing and Cropping for Facial Action Unit Detection", TPAMI 2018
(FG 2017), arXiv:1702.02925; layers as in the authors' released code.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zoo.errors import ZooError
from zoo.facs import geometry
from zoo.models._base import AUModel, AUOutputs
from zoo.models._blocks import PerUnitLinear
from zoo.models._graph import AUs, units_of
from zoo.models._regions import unit_points
from zoo.registry import register
from zoo.types import InputSpec

GRID = 100  # pixels per side of the picture on which the attention is drawn


def attention_map(points: Tensor, *, window: int = 14, slope: float = 0.07) -> Tensor:
    """Diamonds around points: ``max(0, 1 - slope * Manhattan distance)`` inside a square window, the largest where they meet.

    Reading: points are rounded to the grid, and the window of 14 reaches 7 pixels to every side.

    Args:
        points: x, y in units of the picture.
        window: pixels of the grid; 14 in the released code, 10 in a variant of it.
        slope: per pixel; 0.07, in the variant 0.095.

    Shapes: ``[R, 2]`` -> ``[100, 100]``.
    """
    places = (points * GRID).round()
    lines = torch.arange(GRID)
    apart_x, apart_y = (lines - places[:, :1]).abs(), (lines - places[:, 1:]).abs()  # [R, 100]
    inside = (apart_y <= window / 2)[:, :, None] & (apart_x <= window / 2)[:, None]
    values = (1 - slope * (apart_y[:, :, None] + apart_x[:, None])).clamp(min=0)
    return (values * inside).amax(0)


def _convolutions(in_channels: int, out_channels: int, count: int) -> nn.ModuleList:
    widths = [in_channels] + [out_channels] * count
    return nn.ModuleList(nn.Conv2d(a, b, 3, padding=1) for a, b in pairwise(widths))


class EACNet(AUModel):
    r"""VGG-19 whose third and fourth blocks are enhanced where AUs show, then one small network per AU centre.

    Enhancing: conv3_4 + attention · conv3_1 and conv4_4 + attention · conv4_1. Cropping: around every centre 3x3 cells of the
    fourth block after local response normalisation, upsampled to 6x6, a 3x3 convolution and a linear layer of their own; all
    side by side -> ``hidden`` -> AU logits. Without ``crops`` it is the E-Net: a fifth block and linear layers in their place.

    Reading: faces are aligned, so that the centres are those of the canonical face. With the 12 units of BP4D there are the
    paper's 20 centres (one pair, on the lips, belongs to no unit); units for which it has none get the centres of their boxes.
    Pretrained VGG weights are not at hand, so that no block is frozen. The emotion is not in the paper; it is linear in the same
    ``hidden`` features. There is no graph: ``adjacency`` is the identity.

    Args:
        num_classes: outputs.
        aus: by number or the name of a set.
        width: maps of the first block; 64 is the paper's.
        crops: the network per centre.
        cell_features: of each crop; 150 in the paper.
        hidden: width before the outputs; 2048 in the paper.
        window, slope: of the attention, see :func:`attention_map`.
        dropout: before the outputs.
        input_spec: a picture of motion, or the apex, its size a multiple of 8 (without crops: 32); 224 px in the paper.

    Shapes: ``[B, 3, 112, 112]`` -> ``[B, num_classes]``; ``nodes``, with crops, are the means of a unit's crops
    ``[B, A, cell_features]``, else those of the fourth block's cells ``[B, A, 8 width]``.
    """

    map3: Tensor  # [1, 1, S/4, S/4]
    map4: Tensor  # [1, 1, S/8, S/8]
    rows: Tensor  # int [R, 3, 3]
    columns: Tensor

    def __init__(
        self,
        *,
        num_classes: int = 3,
        aus: AUs = "cross12",
        width: int = 16,
        crops: bool = True,
        cell_features: int = 32,
        hidden: int = 256,
        window: int = 14,
        slope: float = 0.07,
        dropout: float = 0.5,
        input_spec: InputSpec | None = None,
    ) -> None:
        super().__init__(num_classes=num_classes, input_spec=input_spec or InputSpec(size=112, map_size=112))
        spec, step = self.input_spec, 8 if crops else 32
        if spec.modality not in ("flow", "apex") or spec.size % step:
            raise ZooError(
                f"eac_net eats one picture per clip of a size that {step} divides; got modality {spec.modality}, {spec.size} px"
            )
        self.aus = units_of(aus)
        self.node_names = tuple(f"AU{au}" for au in self.aus)
        places = unit_points(self.aus, spec, extra=geometry.landmarks()[[51, 57]].tolist())
        self.register_buffer("share", places.share, persistent=False)
        drawn = F.interpolate(
            attention_map(places.where, window=window, slope=slope)[None, None], size=(spec.size,) * 2, mode="bilinear"
        )
        self.register_buffer("map3", F.avg_pool2d(drawn, 4), persistent=False)
        self.register_buffer("map4", F.avg_pool2d(drawn, 8), persistent=False)
        side = spec.size // 8
        cells = (places.where * side).floor().long()[:, :, None] + torch.arange(-1, 2)  # [R, 2, 3]
        cells = cells.clamp(0, side - 1)
        self.register_buffer("columns", cells[:, 0, None, :].expand(-1, 3, -1).clone(), persistent=False)
        self.register_buffer("rows", cells[:, 1, :, None].expand(-1, -1, 3).clone(), persistent=False)
        self.conv1, self.conv2 = _convolutions(spec.shape[0], width, 2), _convolutions(width, 2 * width, 2)
        self.conv3, self.conv4 = _convolutions(2 * width, 4 * width, 4), _convolutions(4 * width, 8 * width, 4)
        deep, count = 8 * width, len(places.where)
        self.num_features = hidden
        if crops:
            self.lrn = nn.LocalResponseNorm(5)
            self.crop_conv = nn.Conv2d(count * deep, count * deep, 3, padding=1, groups=count)  # of each crop its own
            self.crop_fc = PerUnitLinear(count, deep * 36, cell_features)
            self.hidden = nn.Sequential(nn.Linear(count * cell_features, hidden), nn.ReLU())
        else:
            self.conv5 = _convolutions(deep, deep, 4)
            flat = deep * (spec.size // 32) ** 2
            self.hidden = nn.Sequential(
                nn.Linear(flat, 2 * hidden), nn.ReLU(), nn.Dropout(dropout), nn.Linear(2 * hidden, hidden), nn.ReLU()
            )
        self.crops = crops
        self.dropout = nn.Dropout(dropout)
        self.au_fc = nn.Linear(hidden, len(self.aus))
        self.fc = nn.Linear(hidden, num_classes)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):  # no normalisation follows: the default would let ten layers fade
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")

    def enhanced(self, x: Tensor) -> Tensor:
        """The fourth block with its attention. Shapes: ``[B, C, S, S]`` -> ``[B, 8 width, S/8, S/8]``."""
        for block, attention in (
            (self.conv1, None),
            (self.conv2, None),
            (self.conv3, self.map3),
            (self.conv4, self.map4),
        ):
            first = x = block[0](x).relu()
            for conv in list(block)[1:]:
                x = conv(x).relu()
            if attention is not None:
                x = x + attention * first
            if block is not self.conv4:
                x = F.max_pool2d(x, 2)
        return x

    def cells(self, maps: Tensor) -> Tensor:
        """3x3 cells around every centre. Shapes: ``[B, C, h, w]`` -> ``[B, R, C, 3, 3]``."""
        return maps[:, :, self.rows, self.columns].transpose(1, 2)

    def forward_graph(self, x: Tensor) -> AUOutputs:
        """See :meth:`AUModel.forward_graph`."""
        maps, share = self.enhanced(x), self.get_buffer("share")
        if self.crops:
            cells = self.cells(self.lrn(maps))
            large = F.interpolate(cells.flatten(1, 2), scale_factor=2, mode="nearest")  # [B, R C, 6, 6]
            found = self.crop_fc(self.crop_conv(large).relu().unflatten(1, cells.shape[1:3]).flatten(2)).relu()
            nodes, flat = share @ found, found.flatten(1)
        else:
            nodes = share @ self.cells(maps).mean((3, 4))
            deep = F.max_pool2d(maps, 2)
            for conv in self.conv5:
                deep = conv(deep).relu()
            flat = F.max_pool2d(deep, 2).flatten(1)
        hidden = self.dropout(self.hidden(flat))
        edges = torch.eye(len(self.aus), device=x.device, dtype=nodes.dtype)
        return AUOutputs(hidden, self.au_fc(hidden), nodes, edges)


@register
def eac_net(
    *,
    num_classes: int = 3,
    aus: AUs = "cross12",
    width: int = 16,
    crops: bool = True,
    cell_features: int = 32,
    hidden: int = 256,
    window: int = 14,
    slope: float = 0.07,
    dropout: float = 0.5,
    input_spec: InputSpec | None = None,
) -> EACNet:
    """Attention around action-unit centres, and a network per crop there (Li et al., TPAMI 2018)."""
    return EACNet(
        num_classes=num_classes,
        aus=aus,
        width=width,
        crops=crops,
        cell_features=cell_features,
        hidden=hidden,
        window=window,
        slope=slope,
        dropout=dropout,
        input_spec=input_spec,
    )
