"""MER-GCN: 3D convolutions find action units (AUs), graph convolutions let them inform each other.

Lo, Xie, Shuai, Cheng: "MER-GCN: Micro-Expression Recognition Based on Relation Modeling with Graph Convolutional Networks",
IEEE MIPR 2020, pp. 79-84, arXiv:2004.08915.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zoo.errors import ZooError
from zoo.graph.layers import DenseGCN, readout
from zoo.models._base import AUModel, AUOutputs
from zoo.models._blocks import PerUnitScore, ResNet3D
from zoo.models._graph import AUs, CooccurrenceGraph, units_of
from zoo.registry import register
from zoo.types import InputSpec

Variant = Literal["visual", "label"]


class UnitNodes(nn.Module):
    """One node per unit from a map in space and time: 1x1x1 convolution, batch normalisation, ReLU, mean.

    Shapes: ``[B, C, T, H, W]`` -> ``[B, N, D]``.
    """

    def __init__(self, units: int, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.units = units
        self.conv = nn.Conv3d(in_channels, units * out_channels, 1, bias=False)  # of all units at once
        self.norm = nn.BatchNorm3d(units * out_channels)

    def forward(self, maps: Tensor) -> Tensor:
        """See the class."""
        return self.norm(self.conv(maps)).relu().mean((2, 3, 4)).unflatten(1, (self.units, -1))


class MERGCN(AUModel):
    """A 3D residual network over 16 frames, a node for each AU, graph convolutions over their co-occurrence, the emotion.

    Reading: the paper's text was not at hand, and neither layers nor AU list nor thresholds are in public code; the parts are
    those that its abstract names, edges by ML-GCN's recipe, sizes chosen here. ``variant="visual"`` (nodes are features of the
    clip) fits the abstract best: graph convolutions 256 -> 256 -> 256, AU logits linear in the nodes, mean and maximum over the
    nodes -> 128 -> emotion. ``variant="label"`` is ML-GCN's own form: nodes start from the unit's name alone, graph convolutions
    -> 128 -> 256 without bias, AU scores are node · clip feature, the emotion is linear in the scores.

    Args:
        num_classes: outputs.
        variant: ``visual`` or ``label``.
        aus: the nodes, by number or the name of a set.
        tau: threshold of the conditional probabilities.
        p: weight that the neighbours of a node have together.
        smoothing: clips added when probabilities are counted.
        prior: whose published counts the edges start from.
        width: of the stem; nodes have eight times as many features.
        label_embedding: of the label form: width of learned names, 0 for one-hot ones.
        dropout: after each graph convolution, and before the classifier.
        input_spec: frames, or the motion from the onset to each.

    Shapes: ``[B, 3, 16, 112, 112]`` -> ``[B, num_classes]``. Parameters of the backbone: 3,598,944; of the label form's graph
    convolutions at 9 units: 33,920. The label form's ``nodes`` are units times the clip feature, whose sum is the score.
    """

    names: Tensor  # of the label form: [A, embedding]

    def __init__(
        self,
        *,
        num_classes: int = 3,
        variant: Variant = "visual",
        aus: AUs = "fgrmer9",
        tau: float | None = 0.1,
        p: float = 0.2,
        smoothing: float = 0.5,
        prior: str = "pooled",
        width: int = 32,
        label_embedding: int = 0,
        dropout: float = 0.3,
        input_spec: InputSpec | None = None,
    ) -> None:
        spec = input_spec or InputSpec(modality="frames", channels=("red", "green", "blue"), frames=16, size=112)
        super().__init__(num_classes=num_classes, input_spec=spec)
        if spec.modality != "frames":
            raise ZooError(f"mer_gcn eats the frames of a clip, not the modality {spec.modality}")
        if variant not in get_args(Variant):
            raise ZooError(f"variant of mer_gcn is {variant!r}; known: {', '.join(get_args(Variant))}")
        self.aus = units_of(aus)
        self.node_names = tuple(f"AU{au}" for au in self.aus)
        self.variant = variant
        self.graph = CooccurrenceGraph(self.aus, prior=prior, tau=tau, p=p, smoothing=smoothing)
        self.backbone = ResNet3D(spec.shape[0], width=width)
        self.dropout = nn.Dropout(dropout)
        count, channels = len(self.aus), self.backbone.num_features
        if variant == "visual":
            self.unit_nodes = UnitNodes(count, channels, channels)
            self.gcn1, self.gcn2 = DenseGCN(channels, channels), DenseGCN(channels, channels)
            self.au_fc = PerUnitScore(count, channels)
            self.num_features = 128
            self.hidden = nn.Linear(2 * channels, self.num_features)
        else:
            if label_embedding:
                self.names = nn.Parameter(torch.randn(count, label_embedding))
            else:
                self.register_buffer("names", torch.eye(count), persistent=False)
            self.gcn1 = DenseGCN(label_embedding or count, channels // 2, bias=False, init="uniform")
            self.gcn2 = DenseGCN(channels // 2, channels, bias=False, init="uniform")
            self.num_features = count
        self.fc = nn.Linear(self.num_features, num_classes)

    def fit_graph(self, au_labels: Tensor) -> None:
        """See :meth:`AUModel.fit_graph`; without a single clip the edges stay."""
        self.graph.fit(au_labels)

    def forward_graph(self, x: Tensor) -> AUOutputs:
        """See :meth:`AUModel.forward_graph`."""
        maps, edges = self.backbone(x), self.graph()
        if self.variant == "label":
            units = self.gcn2(F.leaky_relu(self.gcn1(self.names[None], edges), 0.2), edges)  # [1, A, 256]
            nodes = units * maps.mean((2, 3, 4))[:, None]
            au_logits = nodes.sum(2)
            return AUOutputs(au_logits, au_logits, nodes, edges)
        nodes = self.unit_nodes(maps)
        for gcn in (self.gcn1, self.gcn2):
            nodes = self.dropout(F.leaky_relu(gcn(nodes, edges), 0.2))
        features = self.dropout(self.hidden(readout(nodes, "mean_max")).relu())
        return AUOutputs(features, self.au_fc(nodes), nodes, edges)


@register
def mer_gcn(
    *,
    num_classes: int = 3,
    variant: Variant = "visual",
    aus: AUs = "fgrmer9",
    tau: float | None = 0.1,
    p: float = 0.2,
    smoothing: float = 0.5,
    prior: str = "pooled",
    width: int = 32,
    label_embedding: int = 0,
    dropout: float = 0.3,
    input_spec: InputSpec | None = None,
) -> MERGCN:
    """3D CNN whose action-unit nodes meet in a graph of their co-occurrence (Lo et al., MIPR 2020)."""
    return MERGCN(
        num_classes=num_classes,
        variant=variant,
        aus=aus,
        tau=tau,
        p=p,
        smoothing=smoothing,
        prior=prior,
        width=width,
        label_embedding=label_embedding,
        dropout=dropout,
        input_spec=input_spec,
    )
