"""Relation modelling of action units (AUs) over latent codes of the face's regions.

Liu, Dong, Zhang, Wang, Dang: "Relation Modeling with Graph Convolutional Networks for Facial Action Unit Detection",
MMM 2020, arXiv:1910.10334.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from zoo.errors import ZooError
from zoo.graph.layers import DenseGCN
from zoo.models._base import AUModel, AUOutputs
from zoo.models._blocks import Kept
from zoo.models._graph import AUs, CooccurrenceGraph, units_of
from zoo.models._regions import CropSampler, unit_points
from zoo.registry import register
from zoo.types import InputSpec

CROP = 24  # pixels, so that three halvings end at 3x3


class RegionAutoEncoder(nn.Module):
    """A crop of 24 pixels to a latent vector and back, the same for every region.

    Shapes: ``[N, C, 24, 24]`` -> ``[N, latent]`` (:meth:`encode`) -> ``[N, C, 24, 24]`` (:meth:`decode`).
    """

    def __init__(self, channels: int, *, latent: int) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv2d(channels, 32, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(32, 64, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(64, 64, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(64 * 9, latent),
        )
        self.decoder = nn.Sequential(
            nn.Linear(latent, 64 * 9),
            nn.ReLU(),
            nn.Unflatten(1, (64, 3, 3)),
            nn.ConvTranspose2d(64, 64, 4, stride=2, padding=1),
            nn.ReLU(),
            nn.ConvTranspose2d(64, 32, 4, stride=2, padding=1),
            nn.ReLU(),
            nn.ConvTranspose2d(32, channels, 4, stride=2, padding=1),
        )

    def encode(self, crops: Tensor) -> Tensor:
        """See the class."""
        return self.encoder(crops)

    def decode(self, codes: Tensor) -> Tensor:
        """See the class."""
        return self.decoder(codes)


class AURelationGCN(AUModel):
    """Crops at the AU centres -> latent vectors of an auto-encoder -> nodes -> graph convolutions -> all nodes side by side.

    Reading: the paper's full text was not at hand. Crops of 24 px around EAC-Net's two points of each AU (the centres of its
    boxes where EAC-Net has none); a node is the mean of its two codes of 150; two graph convolutions 150 -> 150 with ReLU, over
    co-occurrence with threshold 0.2. AU logits and the emotion, which is not in the paper, are linear in all nodes side by side.
    The reconstruction error is the ``extra_loss``, weight 0.1.

    Args:
        num_classes: outputs.
        aus: the nodes, by number or the name of a set.
        tau: threshold of the conditional probabilities.
        p: weight that the neighbours of a node have together.
        smoothing: clips added when probabilities are counted.
        prior: whose published counts the edges start from.
        latent: width of a code and of a node.
        reconstruction: weight of the mean squared error of the crops.
        dropout: before the classifier.
        input_spec: a picture of motion, or the apex.

    Shapes: ``[B, 3, 112, 112]`` -> ``[B, num_classes]``.
    """

    def __init__(
        self,
        *,
        num_classes: int = 3,
        aus: AUs = "cross12",
        tau: float | None = 0.2,
        p: float = 0.2,
        smoothing: float = 0.5,
        prior: str = "pooled",
        latent: int = 150,
        reconstruction: float = 0.1,
        dropout: float = 0.3,
        input_spec: InputSpec | None = None,
    ) -> None:
        super().__init__(num_classes=num_classes, input_spec=input_spec or InputSpec(size=112, map_size=112))
        spec = self.input_spec
        if spec.modality not in ("flow", "apex") or spec.size < CROP:
            raise ZooError(
                f"au_rgcn crops {CROP} px out of one picture per clip; got modality {spec.modality}, {spec.size} px"
            )
        self.aus = units_of(aus)
        self.node_names = tuple(f"AU{au}" for au in self.aus)
        self.graph = CooccurrenceGraph(self.aus, prior=prior, tau=tau, p=p, smoothing=smoothing)
        places = unit_points(self.aus, spec)
        self.crops = CropSampler(places.where, side=CROP / spec.size, pixels=CROP)
        self.register_buffer("share", places.share, persistent=False)
        self.autoencoder = RegionAutoEncoder(spec.shape[0], latent=latent)
        self.gcn1, self.gcn2 = DenseGCN(latent, latent), DenseGCN(latent, latent)
        self.reconstruction = reconstruction
        self.num_features = len(self.aus) * latent
        self.dropout = nn.Dropout(dropout)
        self.au_fc = nn.Linear(self.num_features, len(self.aus))
        self.fc = nn.Linear(self.num_features, num_classes)
        self._codes = Kept()

    def fit_graph(self, au_labels: Tensor) -> None:
        """See :meth:`AUModel.fit_graph`; without a single clip the edges stay."""
        self.graph.fit(au_labels)

    def forward_graph(self, x: Tensor) -> AUOutputs:
        """See :meth:`AUModel.forward_graph`."""
        crops = self.crops(x)
        codes = self.autoencoder.encode(crops.flatten(0, 1))
        if self.training:
            self._codes.value = codes
        nodes, edges = self.get_buffer("share") @ codes.unflatten(0, crops.shape[:2]), self.graph()
        for gcn in (self.gcn1, self.gcn2):
            nodes = gcn(nodes, edges).relu()
        flat = self.dropout(nodes.flatten(1))
        return AUOutputs(flat, self.au_fc(flat), nodes, edges)

    def reconstruct(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Crops and what the auto-encoder makes of them. Shapes: -> twice ``[B, R, C, 24, 24]``."""
        crops = self.crops(x)
        made = self.autoencoder.decode(self.autoencoder.encode(crops.flatten(0, 1)))
        return crops, made.unflatten(0, crops.shape[:2])

    def extra_loss(self, x: Tensor, aus: Tensor | None = None) -> Tensor | None:
        """Weighted mean squared error of the crops."""
        codes = self._codes.take()
        if codes is None or not self.reconstruction:
            return None
        return self.reconstruction * F.mse_loss(self.autoencoder.decode(codes), self.crops(x).flatten(0, 1))


@register
def au_rgcn(
    *,
    num_classes: int = 3,
    aus: AUs = "cross12",
    tau: float | None = 0.2,
    p: float = 0.2,
    smoothing: float = 0.5,
    prior: str = "pooled",
    latent: int = 150,
    reconstruction: float = 0.1,
    dropout: float = 0.3,
    input_spec: InputSpec | None = None,
) -> AURelationGCN:
    """Graph convolutions over auto-encoded regions of action units (Liu et al., MMM 2020)."""
    return AURelationGCN(
        num_classes=num_classes,
        aus=aus,
        tau=tau,
        p=p,
        smoothing=smoothing,
        prior=prior,
        latent=latent,
        reconstruction=reconstruction,
        dropout=dropout,
        input_spec=input_spec,
    )
