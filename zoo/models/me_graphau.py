"""ME-GraphAU: a graph of action units (AUs) that is made for each face, with features on its edges.

Luo, Song, Xie, Shen, Gunes: "Learning Multi-dimensional Edge Feature-based AU Relation Graph for Facial Action Unit
Recognition", IJCAI 2022, pp. 1239-1246, arXiv:2205.01782; layers as in the authors' released code.
"""

from __future__ import annotations

import math
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zoo.errors import ZooError
from zoo.graph.gated import ResidualGatedGCN
from zoo.graph.learned import SimilarityGraph
from zoo.models._base import AUModel, AUOutputs
from zoo.models._blocks import Kept
from zoo.models._graph import AUs, units_of
from zoo.models.backbone import features
from zoo.registry import register
from zoo.types import InputSpec

Stage = Literal["similarity", "edges"]


class TokenLinear(nn.Module):
    """Linear layer, batch normalisation, ReLU over tokens. Shapes: ``[B, T, in]`` -> ``[B, T, out]``."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.linear = nn.Linear(in_channels, out_channels)
        nn.init.normal_(self.linear.weight, std=math.sqrt(2 / out_channels))
        nn.init.zeros_(self.linear.bias)
        self.norm = nn.BatchNorm1d(out_channels)

    def forward(self, tokens: Tensor) -> Tensor:
        """See the class."""
        return self.norm(self.linear(tokens).transpose(1, 2)).transpose(1, 2).relu()


class SimilarityStage(nn.Module):
    """One graph layer over the k most similar nodes: ``ReLU(x + norm(A V(x) + U(x)))``. Shapes: nodes ``[B, N, C]``."""

    def __init__(self, channels: int, *, nodes: int, k: int) -> None:
        super().__init__()
        self.graph = SimilarityGraph(k=k)
        self.own, self.neighbours = nn.Linear(channels, channels), nn.Linear(channels, channels)  # U, V
        for linear in (self.own, self.neighbours):
            nn.init.normal_(linear.weight, std=math.sqrt(2 / channels))
        self.norm = nn.BatchNorm1d(nodes)

    def forward(self, nodes: Tensor) -> tuple[Tensor, Tensor]:
        """Nodes and the adjacency ``[B, N, N]``."""
        edges = self.graph(nodes)
        return (nodes + self.norm(edges @ self.neighbours(nodes) + self.own(nodes))).relu(), edges


class CrossAttention(nn.Module):
    """What tokens read from other tokens, keys half as wide. Shapes: ``[..., T, C]``, ``[..., T, C]`` -> ``[..., T, C]``."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.query, self.key = nn.Linear(channels, channels // 2), nn.Linear(channels, channels // 2)
        self.value = nn.Linear(channels, channels)

    def forward(self, reader: Tensor, read: Tensor) -> Tensor:
        """See the class; leading axes broadcast."""
        scores = self.query(reader) @ self.key(read).transpose(-1, -2) / math.sqrt(self.query.out_features)
        return scores.softmax(-1) @ self.value(read)


class EdgeFeatures(nn.Module):
    """Features of every edge: each unit reads the whole face, then each pair of units reads one another.

    Shapes: unit tokens ``[B, N, T, C]``, face tokens ``[B, T, C]`` -> ``[B, N, N, C]``; [i, j] is what unit i read from unit j.
    """

    def __init__(self, channels: int, *, nodes: int) -> None:
        super().__init__()
        self.face, self.pair = CrossAttention(channels), CrossAttention(channels)
        self.project = nn.Linear(channels, channels)
        self.norm = nn.BatchNorm2d(nodes * nodes)

    def forward(self, units: Tensor, face: Tensor) -> Tensor:
        """See the class."""
        units = self.face(units, face[:, None])
        pairs = self.project(self.pair(units[:, :, None], units[:, None]))  # [B, N, N, T, C]
        return self.norm(pairs.flatten(1, 2)).mean(2).unflatten(1, pairs.shape[1:3])


class MEGraphAU(AUModel):
    r"""Tokens of a picture -> tokens of each AU -> nodes, whose graph is made anew for every face.

    Each AU has a linear layer of its own over the face's tokens; the mean of its tokens is its node. ``stage="similarity"``: one
    graph layer over the k nearest nodes. ``stage="edges"``: two gated graph layers with features on the edges, which are found
    by two cross-attentions. An AU's probability is the cosine between its node and a learned vector behind a ReLU; ``au_logits``
    are its logits, so that their sigmoid is that cosine. The paper trains the second stage from the first one's weights, with
    the asymmetric loss (``zoo.train.losses``), and, in it, the joint state of every pair of AUs, of four, as ``extra_loss``.

    Reading: the emotion is not in the paper; it is read from all nodes side by side through one hidden layer of 128.

    Args:
        num_classes: outputs.
        aus: the nodes, by number or the name of a set.
        stage: ``similarity`` or ``edges``.
        backbone: see :func:`zoo.models.backbone.features`.
        pretrained: start the backbone from timm's weights.
        node_features: width of a node; the paper's is a quarter of a ResNet's features, half of a Swin's.
        k: neighbours in the similarity stage, the node itself among them.
        pair_weight: of the loss of pair states; 0.05 for BP4D in the paper, 0.01 for DISFA.
        dropout: before the classifier.
        input_spec: a picture of motion, or the apex.

    Shapes: ``[B, 3, 28, 28]`` -> ``[B, num_classes]``. ``adjacency``: the neighbours, or the gates of the last layer averaged
    over their channels, ``[B, A, A]``.
    """

    def __init__(
        self,
        *,
        num_classes: int = 3,
        aus: AUs = "cross12",
        stage: Stage = "edges",
        backbone: str = "conv4",
        pretrained: bool = False,
        node_features: int = 64,
        k: int = 4,
        pair_weight: float = 0.05,
        dropout: float = 0.3,
        input_spec: InputSpec | None = None,
    ) -> None:
        super().__init__(num_classes=num_classes, input_spec=input_spec or InputSpec())
        if self.input_spec.modality not in ("flow", "apex"):
            raise ZooError(f"me_graphau eats one picture per clip, not the modality {self.input_spec.modality}")
        if stage not in get_args(Stage):
            raise ZooError(f"stage of me_graphau is {stage!r}; known: {', '.join(get_args(Stage))}")
        self.aus = units_of(aus)
        self.node_names = tuple(f"AU{au}" for au in self.aus)
        count, width = len(self.aus), node_features
        self.backbone = features(backbone, self.input_spec.shape[0], pretrained=pretrained)
        self.face = TokenLinear(self.backbone.num_features, width)
        self.units = TokenLinear(width, count * width)  # of all units at once
        self.similarity = SimilarityStage(width, nodes=count, k=k) if stage == "similarity" else None
        self.edge_features = EdgeFeatures(width, nodes=count) if stage == "edges" else None
        self.layers = nn.ModuleList(ResidualGatedGCN(width, nodes=count) for _ in range(2 if stage == "edges" else 0))
        self.pair_fc = nn.Linear(width, 4) if stage == "edges" and pair_weight else None
        self.pair_weight = pair_weight
        self.prototypes = nn.Parameter(torch.empty(count, width))
        nn.init.xavier_uniform_(self.prototypes)
        self.num_features = 128
        self.hidden = nn.Linear(count * width, self.num_features)
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(self.num_features, num_classes)
        self._edges = Kept()

    def forward_graph(self, x: Tensor) -> AUOutputs:
        """See :meth:`AUModel.forward_graph`."""
        face = self.face(self.backbone(x).flatten(2).transpose(1, 2))  # [B, T, C]
        units = self.units(face).unflatten(2, (len(self.aus), -1)).transpose(1, 2)  # [B, A, T, C]
        nodes = units.mean(2)
        if self.similarity is not None:
            nodes, adjacency = self.similarity(nodes)
        elif self.edge_features is not None:
            edges = self.edge_features(units, face)
            for layer in self.layers:
                nodes, edges = layer(nodes, edges)
            adjacency = edges.sigmoid().softmax(2).mean(-1).detach()
            if self.training:
                self._edges.value = edges
        hidden = self.dropout(self.hidden(nodes.flatten(1)).relu())
        return AUOutputs(hidden, self.au_scores(nodes), nodes, adjacency)

    def au_scores(self, nodes: Tensor) -> Tensor:
        """Logits of the cosines. Shapes: ``[B, A, C]`` -> ``[B, A]``."""
        cosine = (F.normalize(nodes, dim=-1) * F.normalize(self.prototypes.relu(), dim=-1)).sum(-1)
        return torch.logit(cosine, eps=1e-5)

    def extra_loss(self, x: Tensor, aus: Tensor | None = None) -> Tensor | None:
        """Cross entropy of the joint state 2 y_i + y_j of every pair whose units are both known."""
        edges = self._edges.take()
        if self.pair_fc is None or edges is None or aus is None:
            return None
        states = 2 * aus[:, :, None] + aus[:, None]  # NaN where either is unknown
        known = ~states.isnan()
        losses = F.cross_entropy(
            self.pair_fc(edges).flatten(0, 2), states.nan_to_num(0).long().flatten(), reduction="none"
        )
        return self.pair_weight * (losses * known.flatten()).sum() / known.sum().clamp(min=1)


@register
def me_graphau(
    *,
    num_classes: int = 3,
    aus: AUs = "cross12",
    stage: Stage = "edges",
    backbone: str = "conv4",
    pretrained: bool = False,
    node_features: int = 64,
    k: int = 4,
    pair_weight: float = 0.05,
    dropout: float = 0.3,
    input_spec: InputSpec | None = None,
) -> MEGraphAU:
    """Action-unit graph made per face, with features on its edges, on onset-to-apex motion (Luo et al., IJCAI 2022)."""
    return MEGraphAU(
        num_classes=num_classes,
        aus=aus,
        stage=stage,
        backbone=backbone,
        pretrained=pretrained,
        node_features=node_features,
        k=k,
        pair_weight=pair_weight,
        dropout=dropout,
        input_spec=input_spec,
    )
