"""SRERL: action units (AUs) that come together or exclude each other, in a gated graph network.

Li, Zhu, Zeng, Wang, Lin: "Semantic Relationships Guided Representation Learning for Facial Action Unit Recognition",
AAAI 2019, arXiv:1904.09939.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from zoo.errors import ZooError
from zoo.graph import adjacency
from zoo.graph.gated import GatedGraph
from zoo.graph.layers import readout
from zoo.models._base import AUModel, AUOutputs
from zoo.models._blocks import PerUnitScore
from zoo.models._graph import AUs, units_of
from zoo.models._regions import RegionPool, unit_boxes
from zoo.models.backbone import features
from zoo.registry import register
from zoo.types import InputSpec


class SRERL(AUModel):
    r"""A node for each AU from the two places where it shows; gated messages along co-occurrence and exclusion.

    Edge +1 from unit j to i where P(i | j) - P(i) > ``positive``, -1 where P(i | j) < ``negative`` · P(i), else none. Gated graph
    network of three steps; what a node is told stands beside what it saw, and each AU's logit is a linear layer of both.

    Reading: the paper detects AUs on faces at large, with VGG-19 and features of several scales; here one scale, the units' boxes
    pooled in 3x3 cells, the mean of both sides, projected. Its signed sum is read as two networks, one on the edges of
    co-occurrence, one on those of exclusion, their states added. Thresholds are ours. The emotion is not in the paper: mean and
    maximum of the nodes -> 128 -> emotion.

    Args:
        num_classes: outputs.
        aus: the nodes, by number or the name of a set.
        positive, negative: thresholds of the two kinds of edge.
        prior: whose published counts the edges start from.
        backbone: see :func:`zoo.models.backbone.features`; ``vgg19`` is the paper's.
        pretrained: start the backbone from timm's weights.
        node_features: width of a node.
        steps: of messages.
        dropout: before the classifier.
        input_spec: a picture of motion, or the apex.

    Shapes: ``[B, 3, 28, 28]`` -> ``[B, num_classes]``; ``nodes`` are state and own feature side by side, ``[B, A, 512]``. Each of
    the two gated networks has 591,360 parameters at 256 features and 3 steps.
    """

    edges: Tensor  # [A, A], +1, -1 or 0

    def __init__(
        self,
        *,
        num_classes: int = 3,
        aus: AUs = "cross12",
        positive: float = 0.05,
        negative: float = 0.5,
        prior: str = "pooled",
        backbone: str = "conv4",
        pretrained: bool = False,
        node_features: int = 256,
        steps: int = 3,
        dropout: float = 0.3,
        input_spec: InputSpec | None = None,
    ) -> None:
        super().__init__(num_classes=num_classes, input_spec=input_spec or InputSpec())
        if self.input_spec.modality not in ("flow", "apex"):
            raise ZooError(f"srerl eats one picture per clip, not the modality {self.input_spec.modality}")
        self.aus = units_of(aus)
        self.node_names = tuple(f"AU{au}" for au in self.aus)
        self.thresholds = {"positive": positive, "negative": negative}
        self.register_buffer("edges", adjacency.signed_prior(self.aus, prior, **self.thresholds))
        self.backbone = features(backbone, self.input_spec.shape[0], pretrained=pretrained)
        places, channels, count = unit_boxes(self.aus, self.input_spec), self.backbone.num_features, len(self.aus)
        self.pool = RegionPool(places.where, size=self.backbone.map_size(self.input_spec.shape), cells=3)
        self.register_buffer("share", places.share, persistent=False)
        self.project = nn.Linear(channels * 9, node_features)
        self.together, self.exclusive = (GatedGraph(node_features, steps=steps) for _ in range(2))
        self.au_fc = PerUnitScore(count, 2 * node_features)
        self.num_features = 128
        self.hidden = nn.Linear(4 * node_features, self.num_features)
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(self.num_features, num_classes)

    def fit_graph(self, au_labels: Tensor) -> None:
        """See :meth:`AUModel.fit_graph`; without a single clip the edges stay."""
        if au_labels.ndim != 2 or au_labels.shape[1] != len(self.aus):
            raise ZooError(f"AU labels of shape {list(au_labels.shape)}; wanted [clips, {len(self.aus)}] as model.aus")
        if len(au_labels):
            self.edges.copy_(adjacency.signed(au_labels.cpu(), **self.thresholds))

    def forward_graph(self, x: Tensor) -> AUOutputs:
        """See :meth:`AUModel.forward_graph`."""
        cells = self.pool(self.backbone(x)).flatten(2)  # [B, R, 9 C]
        seen = self.project(self.get_buffer("share") @ cells).relu()  # [B, A, D]
        told = self.together(seen, self.edges.clamp(min=0)) + self.exclusive(seen, (-self.edges).clamp(min=0))
        nodes = torch.cat([told, seen], 2)
        hidden = self.dropout(self.hidden(readout(nodes, "mean_max")).relu())
        return AUOutputs(hidden, self.au_fc(nodes), nodes, self.edges)


@register
def srerl(
    *,
    num_classes: int = 3,
    aus: AUs = "cross12",
    positive: float = 0.05,
    negative: float = 0.5,
    prior: str = "pooled",
    backbone: str = "conv4",
    pretrained: bool = False,
    node_features: int = 256,
    steps: int = 3,
    dropout: float = 0.3,
    input_spec: InputSpec | None = None,
) -> SRERL:
    """Gated graph of action units that co-occur or exclude each other (Li et al., AAAI 2019)."""
    return SRERL(
        num_classes=num_classes,
        aus=aus,
        positive=positive,
        negative=negative,
        prior=prior,
        backbone=backbone,
        pretrained=pretrained,
        node_features=node_features,
        steps=steps,
        dropout=dropout,
        input_spec=input_spec,
    )
