"""AU-GACN: attention between action units (AUs) that occur together, pooled to the ones that matter.

Xie, Lo, Shuai, Cheng: "AU-assisted Graph Attention Convolutional Network for Micro-Expression Recognition", ACM MM 2020,
pp. 2871-2880, doi:10.1145/3394171.3414012.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from zoo.errors import ZooError
from zoo.graph.layers import DenseGAT, DenseSAGPool, readout
from zoo.models._base import AUModel, AUOutputs
from zoo.models._blocks import PerUnitScore, ResNet3D
from zoo.models._graph import AUs, CooccurrenceGraph, units_of
from zoo.models.mer_gcn import UnitNodes
from zoo.registry import register
from zoo.types import InputSpec


class AUGACN(AUModel):
    """3D features, a node for each AU, two layers of graph attention masked by co-occurrence, pooling, the emotion.

    Reading: the paper's text was not at hand and there is no public code; parts and order are those of its abstract and of
    surveys, sizes chosen here: nodes of 256, two attention layers of 4 heads of 64 with ELU, self-attention pooling to 80 % of
    the nodes after the second; mean and maximum of all nodes after the first layer plus those of the kept nodes -> 128 ->
    emotion. AU logits are linear in the nodes before the pooling. A penalty on the sum of the attention is left out: each row
    of a softmax sums to 1. The paper's augmentation by generated faces is another network.

    Args:
        num_classes: outputs.
        aus: the nodes, by number or the name of a set.
        tau: conditional probability from which two units see each other.
        smoothing: clips added when probabilities are counted.
        prior: whose published counts the edges start from.
        width: of the backbone's stem; nodes have eight times as many features.
        heads: of each attention layer; they share the width of a node.
        ratio: share of the nodes that the pooling keeps.
        dropout: after each attention layer, and before the classifier.
        input_spec: frames, or the motion from the onset to each.

    Shapes: ``[B, 3, 16, 112, 112]`` -> ``[B, num_classes]``. ``adjacency`` is the attention of the second layer, mean of its
    heads, ``[B, A, A]``.
    """

    def __init__(
        self,
        *,
        num_classes: int = 3,
        aus: AUs = "cross12",
        tau: float = 0.1,
        smoothing: float = 0.5,
        prior: str = "pooled",
        width: int = 32,
        heads: int = 4,
        ratio: float = 0.8,
        dropout: float = 0.3,
        input_spec: InputSpec | None = None,
    ) -> None:
        spec = input_spec or InputSpec(modality="frames", channels=("red", "green", "blue"), frames=16, size=112)
        super().__init__(num_classes=num_classes, input_spec=spec)
        if spec.modality != "frames":
            raise ZooError(f"au_gacn eats the frames of a clip, not the modality {spec.modality}")
        self.aus = units_of(aus)
        self.node_names = tuple(f"AU{au}" for au in self.aus)
        # A mask needs neither weights nor scale; a unit looks at those whose presence makes its own likely, as in MER-GCN,
        # where the scaling transposes.
        self.graph = CooccurrenceGraph(
            self.aus, prior=prior, tau=tau, smoothing=smoothing, direction="given_column", form="none", scale="none"
        )
        self.backbone = ResNet3D(spec.shape[0], width=width)
        count, channels = len(self.aus), self.backbone.num_features
        if channels % heads:
            raise ZooError(f"{heads} heads do not share nodes of {channels} features evenly")
        self.unit_nodes = UnitNodes(count, channels, channels)
        self.gat1, self.gat2 = (DenseGAT(channels, channels // heads, heads=heads, dropout=dropout) for _ in range(2))
        self.pool = DenseSAGPool(channels, ratio=ratio)
        self.dropout = nn.Dropout(dropout)
        self.au_fc = PerUnitScore(count, channels)
        self.num_features = 128
        self.hidden = nn.Linear(2 * channels, self.num_features)
        self.fc = nn.Linear(self.num_features, num_classes)

    def fit_graph(self, au_labels: Tensor) -> None:
        """See :meth:`AUModel.fit_graph`; without a single clip the edges stay."""
        self.graph.fit(au_labels)

    def forward_graph(self, x: Tensor) -> AUOutputs:
        """See :meth:`AUModel.forward_graph`."""
        mask = self.graph()
        first = self.dropout(F.elu(self.gat1(self.unit_nodes(self.backbone(x)), mask)))
        second, attention = self.gat2.attend(first, mask)
        nodes = self.dropout(F.elu(second))
        kept, _, _ = self.pool(nodes, mask)
        summary = readout(first, "mean_max") + readout(kept, "mean_max")
        features = self.dropout(self.hidden(summary).relu())
        return AUOutputs(features, self.au_fc(nodes), nodes, attention.mean(-1).detach())


@register
def au_gacn(
    *,
    num_classes: int = 3,
    aus: AUs = "cross12",
    tau: float = 0.1,
    smoothing: float = 0.5,
    prior: str = "pooled",
    width: int = 32,
    heads: int = 4,
    ratio: float = 0.8,
    dropout: float = 0.3,
    input_spec: InputSpec | None = None,
) -> AUGACN:
    """3D CNN with attention between co-occurring action units, and graph pooling (Xie et al., ACM MM 2020)."""
    return AUGACN(
        num_classes=num_classes,
        aus=aus,
        tau=tau,
        smoothing=smoothing,
        prior=prior,
        width=width,
        heads=heads,
        ratio=ratio,
        dropout=dropout,
        input_spec=input_spec,
    )
