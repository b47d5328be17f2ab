"""FGRMER, also called AU-GCN: transformers over landmark patches meet a graph of action units (AUs).

Lei, Chen, Li, Chen, Li: "Micro-expression Recognition Based on Facial Graph Representation Learning and Facial Action Unit
Fusion", CVPR Workshops 2021, pp. 1571-1580; layers as in the authors' released code.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zoo.errors import ZooError
from zoo.facs.action_units import action_unit
from zoo.graph.layers import DenseGCN
from zoo.graph.learned import EncoderLayer
from zoo.models._base import AUModel, AUOutputs
from zoo.models._graph import AUs, CooccurrenceGraph, units_of
from zoo.registry import register
from zoo.types import InputSpec

BROWS = 10  # the first landmarks of a patch set are the brows, the rest the mouth
NODE = 160  # width of a half of the face, and of a unit


class FGRMER(AUModel):
    r"""Thirty 7x7 patches -> one vector for the brows, one for the mouth; each unit's node is compared with its half.

    Patches: a 3x3 convolution of each, batch normalisation, ReLU; six transformer layers over brows (10 tokens of 49), six over
    the mouth (20); two linear layers to 160. Units: a 40-d embedding each, graph convolutions 40 -> 80 -> 160 without bias, leaky
    ReLU after both. AU score = node · half (upper units with the brows, lower ones with the mouth); the class is a linear layer
    of the normalised scores. The AU scores are the ``au_logits``; the paper gives them no loss of their own.

    Edges: P(row | column) + I, with no threshold, :math:`(AD)^\top D` with D the row sums to -1/2; counted on the training clips,
    held as a parameter that nothing trains, as released.

    Reading: the released code feeds the first layer's input to all six transformer layers, so that only the last one counts
    (``stack_layers=False``; the re-implementation stacks them). Its dropout inside the transformers is 0.5, the
    re-implementation's 0.1.

    Args:
        num_classes: outputs.
        aus: the units, by number or the name of a set; those of the upper face are compared with the brows, others with the
            mouth.
        stack_layers: each transformer layer reads what the one before wrote.
        layers: of each transformer.
        encoder_dropout: in the transformers.
        dropout: between the two linear layers of a half.
        tau: threshold of the conditional probabilities; None keeps them as weights.
        prior: whose published counts the edges start from.
        input_spec: 30 patches around brows and mouth.

    Shapes: ``[B, 30, 7, 7]`` -> ``[B, num_classes]``; ``nodes`` are units times the vector of their half, whose sum is the score.
    Parameters: 1,046,669 at 3 classes and 9 units (81 of them the edges).
    """

    def __init__(
        self,
        *,
        num_classes: int = 3,
        aus: AUs = "fgrmer9",
        stack_layers: bool = True,
        layers: int = 6,
        encoder_dropout: float = 0.5,
        dropout: float = 0.5,
        tau: float | None = None,
        prior: str = "pooled",
        input_spec: InputSpec | None = None,
    ) -> None:
        spec = input_spec or InputSpec(modality="patches", channels=("grey",), patches="brow10_mouth20", size=128)
        super().__init__(num_classes=num_classes, input_spec=spec)
        if spec.modality != "patches":
            raise ZooError(f"fgrmer eats patches around landmarks, not the modality {spec.modality}")
        self.aus = units_of(aus)
        self.node_names = tuple(f"AU{au}" for au in self.aus)
        self.stack_layers = stack_layers
        count, side, _ = spec.shape
        width, parts = side * side, (BROWS, count - BROWS)
        self.patches = nn.Conv2d(count, count, 3, padding=1, groups=count)
        self.patch_norm = nn.BatchNorm2d(count)
        self.brows, self.mouth = (
            nn.ModuleList(EncoderLayer(width, dropout=encoder_dropout) for _ in range(layers)) for _ in parts
        )
        self.brows_fc, self.mouth_fc = (
            nn.Sequential(nn.Linear(n * width, 320), nn.ReLU(), nn.Dropout(dropout), nn.Linear(320, NODE), nn.ReLU())
            for n in parts
        )
        self.embedding = nn.Parameter(torch.randn(len(self.aus), 40) * 0.01)
        self.gcn1, self.gcn2 = (DenseGCN(a, b, bias=False, init="uniform") for a, b in ((40, 80), (80, NODE)))
        self.graph = CooccurrenceGraph(
            self.aus, prior=prior, as_parameter=True, smoothing=0.0, tau=tau, direction="given_column", form="none"
        )
        self.register_buffer(
            "upper", torch.tensor([action_unit(au).half == "upper" for au in self.aus]), persistent=False
        )
        self.num_features = len(self.aus)
        self.norm = nn.LayerNorm(self.num_features)
        self.fc = nn.Linear(self.num_features, num_classes)

    def fit_graph(self, au_labels: Tensor) -> None:
        """See :meth:`AUModel.fit_graph`; without a single clip the edges stay."""
        self.graph.fit(au_labels)

    def encode(self, tokens: Tensor, layers: nn.ModuleList) -> Tensor:
        """A transformer over one half of the face. Shapes: ``[B, n, 49]`` -> ``[B, n, 49]``."""
        if not self.stack_layers:
            return layers[-1](tokens)
        for layer in layers:
            tokens = layer(tokens)
        return tokens

    def units(self) -> Tensor:
        """The nodes of the units, the same for every sample. Shapes: -> ``[A, 160]``."""
        nodes = self.embedding[None]
        for gcn in (self.gcn1, self.gcn2):
            nodes = F.leaky_relu(gcn(nodes, self.graph()), 0.2)
        return nodes[0]

    def forward_graph(self, x: Tensor) -> AUOutputs:
        """See :meth:`AUModel.forward_graph`."""
        tokens = F.relu(self.patch_norm(self.patches(x))).flatten(2)  # [B, 30, 49]
        brows = self.brows_fc(self.encode(tokens[:, :BROWS], self.brows).flatten(1))
        mouth = self.mouth_fc(self.encode(tokens[:, BROWS:], self.mouth).flatten(1))
        half = torch.where(self.get_buffer("upper")[:, None], brows[:, None], mouth[:, None])  # [B, A, 160]
        nodes = half * self.units()
        au_logits = nodes.sum(2)
        return AUOutputs(self.norm(au_logits), au_logits, nodes, self.graph())


@register
def fgrmer(
    *,
    num_classes: int = 3,
    aus: AUs = "fgrmer9",
    stack_layers: bool = True,
    layers: int = 6,
    encoder_dropout: float = 0.5,
    dropout: float = 0.5,
    tau: float | None = None,
    prior: str = "pooled",
    input_spec: InputSpec | None = None,
) -> FGRMER:
    """Transformers over 30 landmark patches fused with a graph of action units (Lei et al., CVPRW 2021)."""
    return FGRMER(
        num_classes=num_classes,
        aus=aus,
        stack_layers=stack_layers,
        layers=layers,
        encoder_dropout=encoder_dropout,
        dropout=dropout,
        tau=tau,
        prior=prior,
        input_spec=input_spec,
    )
