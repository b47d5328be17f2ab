"""Action-unit heatmaps, with a graph that ties the feature channels that tell the same.

Fan, Lam, Li: "Facial Action Unit Intensity Estimation via Semantic Correspondence Learning with Dynamic Graph Convolution",
AAAI 2020, arXiv:2004.09681; layers as in the authors' released code.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from zoo.errors import ZooError
from zoo.graph.dynamic import DynamicEdgeConv, neighbour_matrix
from zoo.models._base import AUModel, AUOutputs
from zoo.models._blocks import Kept
from zoo.models._graph import AUs, units_of
from zoo.models._regions import unit_points
from zoo.models.backbone import features
from zoo.registry import register
from zoo.types import InputSpec

SHARPNESS = (
    10.0  # a peak of 1 against ground of 0 becomes a logit of 5 against -5; also of the softmax that finds a place
)


class Correspondence(nn.Module):
    """Maps twice as large, then a dynamic graph convolution whose nodes are the channels, each its flattened map.

    Shapes: ``[B, in, s, s]`` -> ``[B, out, 2 s, 2 s]``, and the channels each one took from: int ``[B, out, k]``.
    """

    def __init__(self, in_channels: int, out_channels: int, *, side: int, k: int) -> None:
        super().__init__()
        self.enlarge = nn.Sequential(
            nn.ConvTranspose2d(in_channels, out_channels, 4, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(),
        )
        self.graph = DynamicEdgeConv(side * side, side * side, k=k)

    def forward(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        """See the class."""
        maps = self.enlarge(maps)
        channels = maps.flatten(2)
        index = self.graph.neighbours(channels)
        return self.graph.gather(channels, index).view_as(maps), index


class AUHeatmap(AUModel):
    r"""A backbone, three enlargements each followed by a graph among its channels, one heatmap for every place of every AU.

    The graph's nodes are feature channels, tied to the 7 most alike by their maps; channels that tell the same place thus find
    each other. An AU's intensity is the peak of its map, its place where the peak is. Training regresses the maps
    (``extra_loss``) to a Gaussian of the AU's intensity at each of its places.

    Reading: micro-expressions are seldom coded with intensities: a coded AU counts as 1, on both sides. Gaussians have height 1
    in place of 255 per level, and the squared error is divided by the energy of one, so that an overlooked AU costs about 1.
    ``au_logits`` are 10 (peak - 1/2), of the larger of both sides. The emotion is not in the paper: the features at the AUs'
    places, found by a softmax over each map, and all peaks -> 128 -> emotion. ``adjacency`` ties two AUs as much as their maps
    draw on channels that take from each other: :math:`|W| A |W|^\top` with A the last graph among channels, rows summing to 1.

    Args:
        num_classes: outputs.
        aus: by number or the name of a set; two maps each, of midline units without an EAC-Net centre one.
        backbone: see :func:`zoo.models.backbone.features`; ``resnet50`` on 256 px is the paper's.
        pretrained: start the backbone from timm's weights.
        channels: of the three enlargements; 256, 128, 64 in the paper.
        k: neighbours of a channel, itself among them.
        sigma: of the Gaussians, in pixels of a map of 64.
        heatmap_weight: of the regression.
        dropout: before the classifier.
        input_spec: a picture of motion, or the apex; its feature map must be square.

    Shapes: ``[B, 3, 64, 64]`` -> ``[B, num_classes]``; maps ``[B, R, 32, 32]`` (:meth:`heatmaps`), in the paper 64x64.
    """

    targets: Tensor  # [R, side, side], the map of each place of a unit that shows

    def __init__(
        self,
        *,
        num_classes: int = 3,
        aus: AUs = "cross12",
        backbone: str = "conv16",
        pretrained: bool = False,
        channels: Sequence[int] = (64, 32, 16),
        k: int = 7,
        sigma: float = 2.0,
        heatmap_weight: float = 1.0,
        dropout: float = 0.3,
        input_spec: InputSpec | None = None,
    ) -> None:
        super().__init__(num_classes=num_classes, input_spec=input_spec or InputSpec(size=64, map_size=64))
        if self.input_spec.modality not in ("flow", "apex"):
            raise ZooError(f"au_heatmap eats one picture per clip, not the modality {self.input_spec.modality}")
        if len(channels) != 3:
            raise ZooError(f"au_heatmap enlarges three times; got channels {list(channels)}")
        self.aus = units_of(aus)
        self.node_names = tuple(f"AU{au}" for au in self.aus)
        self.backbone = features(backbone, self.input_spec.shape[0], pretrained=pretrained)
        side = self.backbone.map_size(self.input_spec.shape)[0]
        stages, before = [], self.backbone.num_features
        for after in channels:
            side *= 2
            stages.append(Correspondence(before, after, side=side, k=k))
            before = after
        self.stages = nn.ModuleList(stages)
        # a unit's own places: shared ones, such as the mouth corners of 12, 14 and 15, are told apart by the map
        places = [unit_points((au,), self.input_spec).where for au in self.aus]
        owner = [unit for unit, points in enumerate(places) for _ in points]
        self.register_buffer("owner", torch.tensor(owner), persistent=False)
        pairs = [[owner.index(unit), len(owner) - 1 - owner[::-1].index(unit)] for unit in range(len(places))]
        self.register_buffer("pairs", torch.tensor(pairs), persistent=False)  # twice the same where there is one place
        self.register_buffer("targets", gaussians(torch.cat(places), side, sigma * side / 64), persistent=False)
        self.to_maps = nn.Conv2d(before, len(owner), 1)
        nn.init.normal_(self.to_maps.weight, std=0.01)  # starts from all but empty maps: nothing shows
        self.heatmap_weight = heatmap_weight
        self.num_features = 128
        self.hidden = nn.Linear(len(self.aus) * before + len(owner), self.num_features)
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(self.num_features, num_classes)
        self._maps = Kept()

    def _trunk(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Features ``[B, C, side, side]`` and the last graph among channels, int ``[B, C, k]``."""
        maps = self.backbone(x)
        for stage in self.stages:
            maps, index = stage(maps)
        return maps, index

    def heatmaps(self, x: Tensor) -> Tensor:
        """One map per place. Shapes: ``[B, C, S, S]`` -> ``[B, R, side, side]``; place r belongs to unit ``owner[r]``."""
        return self.to_maps(self._trunk(x)[0])

    def forward_graph(self, x: Tensor) -> AUOutputs:
        """See :meth:`AUModel.forward_graph`."""
        trunk, index = self._trunk(x)
        maps = self.to_maps(trunk)
        if self.training:
            self._maps.value = maps
        peaks = maps.flatten(2).amax(2)  # [B, R]
        where = (SHARPNESS * maps.flatten(2)).softmax(2)
        seen = where @ trunk.flatten(2).transpose(1, 2)  # [B, R, C]
        pairs = self.get_buffer("pairs")
        nodes, strongest = seen[:, pairs].mean(2), peaks[:, pairs].amax(2)
        hidden = self.dropout(self.hidden(torch.cat([nodes.flatten(1), peaks], 1)).relu())
        return AUOutputs(hidden, SHARPNESS * (strongest - 0.5), nodes, self._edges(index))

    @torch.no_grad()
    def _edges(self, index: Tensor) -> Tensor:
        weight = self.to_maps.weight.abs().flatten(1)[self.get_buffer("pairs")].mean(1)  # [A, C]
        tied = weight @ neighbour_matrix(index).to(weight.dtype) @ weight.T
        return tied / tied.sum(2, keepdim=True).clamp(min=1e-12)

    def extra_loss(self, x: Tensor, aus: Tensor | None = None) -> Tensor | None:
        """Weighted squared error of the maps, of units that are known."""
        maps = self._maps.take()
        if maps is None or aus is None or not self.heatmap_weight:
            return None
        labels = aus[:, self.get_buffer("owner")]
        known = ~labels.isnan()
        wanted = labels.nan_to_num(0)[..., None, None] * self.targets
        errors = (maps - wanted).square().sum((2, 3)) / self.targets.square().sum((1, 2))
        return self.heatmap_weight * (errors * known).sum() / known.sum().clamp(min=1)


def gaussians(points: Tensor, side: int, sigma: float) -> Tensor:
    """A Gaussian of height 1 at every point.

    Args:
        points: x, y in units of the picture.
        side: pixels of the map.
        sigma: pixels.

    Shapes: ``[..., 2]`` -> ``[..., side, side]``.
    """
    lines = torch.arange(side, device=points.device) + 0.5
    x, y = ((lines - points[..., axis, None] * side).square() for axis in (0, 1))
    return torch.exp(-(y[..., :, None] + x[..., None, :]) / (2 * sigma**2))


@register
def au_heatmap(
    *,
    num_classes: int = 3,
    aus: AUs = "cross12",
    backbone: str = "conv16",
    pretrained: bool = False,
    channels: Sequence[int] = (64, 32, 16),
    k: int = 7,
    sigma: float = 2.0,
    heatmap_weight: float = 1.0,
    dropout: float = 0.3,
    input_spec: InputSpec | None = None,
) -> AUHeatmap:
    """Heatmaps of action units with a dynamic graph among feature channels (Fan et al., AAAI 2020)."""
    return AUHeatmap(
        num_classes=num_classes,
        aus=aus,
        backbone=backbone,
        pretrained=pretrained,
        channels=channels,
        k=k,
        sigma=sigma,
        heatmap_weight=heatmap_weight,
        dropout=dropout,
        input_spec=input_spec,
    )
