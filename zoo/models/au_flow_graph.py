"""AUFlowGraph: a graph of action units (AUs) read off one picture of motion. Our own design, small enough to train in seconds.

A node is the region in which a unit moves the skin, one for each side of the face; edges start from how units occur together
in published annotations, and a learned part bends them; a head tells the units and the emotion.
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zoo.errors import ZooError
from zoo.facs import regions
from zoo.graph import adjacency
from zoo.models._base import AUModel, AUOutputs
from zoo.models._graph import AUs, units_of
from zoo.registry import register
from zoo.types import CROPS, Crop, InputSpec

Edges = Literal["none", "prior", "learned", "both"]
SPEC = InputSpec(scaling="robust")
_FLOOR = 1e-3  # a share that no pair of units falls below, so that the learned part can raise it


class AUFlowGraph(AUModel):
    r"""Regions of u, v and strain become nodes; one graph convolution; units and emotion from what each pair of sides shows.

    Left and right are tied: the left half is read in the mirror, with the sign of u turned, by the weights of the right half,
    and every readout is symmetric. A mirrored face therefore gives the same logits, by construction.

    A node holds the means :math:`x_i` of its region in ``bins`` x ``bins`` cells, embedded by its unit's weights,
    :math:`h_i = \mathrm{ReLU}(W_{a(i)} x_i + b_{a(i)})`; the graph convolution adds
    :math:`\mathrm{ReLU}(\sum_j A_{ij} V h_j)` with :math:`A = \mathrm{softmax}(\log P + E)`. The prior P and the learned
    part E depend on the two units and on whether they are on the same side. The classifier reads mean and maximum over the
    two sides of each unit, and the whole face in a coarse grid.

    Args:
        num_classes: outputs.
        aus: the units, by number or the name of a set.
        bins: cells per side of a region.
        width: features of a node.
        edges: ``none``, ``prior`` alone, ``learned`` from even weights, or ``both``.
        prior: whose published annotations give P, see :func:`zoo.facs.statistics.sources`. The default is a data set that is not
            in the MEGC2019 composite: its counts have seen nobody who is tested there.
        grid: cells per side of the view of the whole face; 0 for none.
        context: features of that view.
        dropout: before the classifier.
        input_dropout: of the means in the cells.
        views: 1, or 5 to average the features of the map as it is and moved by one pixel each way, in evaluation alone.
        input_spec: u, v, strain in this order; any size.

    Shapes: ``[B, 3, 28, 28]`` -> ``[B, num_classes]``; nodes ``[B, N, width]``, adjacency ``[N, N]``; 23 nodes for ``cross12``.
    """

    pool: Tensor
    grid_pool: Tensor
    prior_logits: Tensor
    edge_index: Tensor
    node_copy: Tensor

    def __init__(
        self,
        *,
        num_classes: int = 3,
        aus: AUs = "cross12",
        bins: int = 3,
        width: int = 16,
        edges: Edges = "both",
        prior: str = "casme3_a",
        grid: int = 7,
        context: int = 64,
        dropout: float = 0.5,
        input_dropout: float = 0.1,
        views: int = 5,
        input_spec: InputSpec | None = None,
    ) -> None:
        super().__init__(num_classes=num_classes, input_spec=input_spec or SPEC)
        spec = self.input_spec
        if spec.modality != "flow" or spec.channels != ("u", "v", "strain"):
            raise ZooError(f"au_flow_graph reads flow with channels u, v, strain; got {spec.modality} {spec.channels}")
        if edges not in get_args(Edges):
            raise ZooError(f"edges is {edges!r}; known: {', '.join(get_args(Edges))}")
        if views not in (1, 5):
            raise ZooError(f"views is {views}; it is 1, or 5 with the map moved by a pixel each way")
        self.aus = units_of(aus)
        self.edges, self.views, self.grid = edges, views, grid
        found = [regions.boxes(au) for au in self.aus]
        sides = [("R", "L") if "right" in boxes else ("",) for boxes in found]
        self.node_names = tuple(f"AU{au}{side}" for au, s in zip(self.aus, sides, strict=True) for side in s)
        units = [a for a, s in enumerate(sides) for _ in s]
        middle = [len(s) == 1 for s in sides]
        # copies of each unit: the right one, the left one; a unit of the midline is the mean of both
        count = len(self.aus)
        self.register_buffer(
            "node_copy",
            torch.tensor([a + count * (side == "L") for a, s in enumerate(sides) for side in s]), persistent=False,
        )  # fmt: skip
        self.middle = tuple(middle)
        pool = np.stack([_cells(b.get("right", b.get("both")), spec.crop, spec.size, bins) for b in found])
        self.register_buffer(
            "pool", torch.tensor(pool.reshape(-1, spec.size**2), dtype=torch.float32), persistent=False
        )
        whole = _cells((0.0, 0.0, 1.0, 1.0), "face", spec.size, grid) if grid else np.zeros((0, spec.size**2))
        self.register_buffer("grid_pool", torch.tensor(whole, dtype=torch.float32), persistent=False)

        cell = 3 * bins**2
        self.norm = nn.BatchNorm1d(count * cell)
        self.input_dropout = nn.Dropout(input_dropout)
        self.weight = nn.Parameter(torch.empty(count, cell, width))
        self.bias = nn.Parameter(torch.zeros(count, width))
        nn.init.normal_(self.weight, std=(2 / cell) ** 0.5)
        self.message = nn.Linear(width, width, bias=False)
        # which learned weight belongs to a pair of nodes: of their units, and of whether they are on opposite sides
        names = self.node_names
        opposite = [[{i[-1], j[-1]} == {"L", "R"} for j in names] for i in names]
        index = [
            [int(opposite[i][j]) * count**2 + units[i] * count + units[j] for j in range(len(names))]
            for i in range(len(names))
        ]
        self.register_buffer("edge_index", torch.tensor(index), persistent=False)
        table = adjacency.prior(self.aus, prior, tau=None, p=0.5, scale="none")
        shares = table[units][:, units] + torch.eye(count)[units][:, units] * torch.tensor(opposite)  # its twin, too
        self.register_buffer("prior_logits", shares.clamp(min=_FLOOR).log(), persistent=False)
        if edges in ("learned", "both"):
            self.learned = nn.Parameter(torch.zeros(2 * count**2))
        if grid:
            self.grid_norm = nn.BatchNorm1d(3 * grid**2)
            self.face = nn.Linear(3 * grid**2, context)
        self.au_weight = nn.Parameter(torch.zeros(count, width))
        self.au_bias = nn.Parameter(torch.zeros(count))
        self.dropout = nn.Dropout(dropout)
        self.num_features = 2 * count * width + (context if grid else 0)
        self.fc = nn.Linear(self.num_features, num_classes)

    def adjacency(self) -> Tensor:
        """Who takes from whom; rows sum to 1. Shapes: ``[N, N]``."""
        match self.edges:
            case "none":
                return torch.eye(len(self.node_names), device=self.bias.device)
            case "prior":
                return self.prior_logits.softmax(1)
            case "learned":
                return self.learned[self.edge_index].softmax(1)
            case _:
                return (self.prior_logits + self.learned[self.edge_index]).softmax(1)

    def forward_graph(self, x: Tensor) -> AUOutputs:
        """See :class:`AUModel`."""
        if self.training or self.views == 1:
            return self._forward_graph(x)
        padded = F.pad(x, (1, 1, 1, 1), mode="replicate")
        height, width = x.shape[-2:]
        moved = [padded[..., t : t + height, s : s + width] for t, s in ((1, 1), (0, 1), (2, 1), (1, 0), (1, 2))]
        features, au_logits, nodes, edges = self._forward_graph(torch.cat(moved))
        features, au_logits, nodes = (t.unflatten(0, (5, x.shape[0])).mean(0) for t in (features, au_logits, nodes))
        return AUOutputs(features, au_logits, nodes, edges)

    def _forward_graph(self, x: Tensor) -> AUOutputs:
        batch = x.shape[0]  # of no fixed size, where the network is exported
        sign = x.new_tensor([-1.0, 1.0, 1.0])[:, None, None]
        both = torch.cat([x, x.flip(-1) * sign]).flatten(2)  # [2B, 3, S * S]: as it is, in the mirror
        cells = (
            (both @ self.pool.T).unflatten(2, (len(self.aus), -1)).transpose(1, 2).flatten(1)
        )  # [2B, A * 3 * bins^2]
        cells = self.input_dropout(self.norm(cells)).unflatten(1, (len(self.aus), -1))
        shown = (torch.einsum("bak,akd->bad", cells, self.weight) + self.bias).relu()  # [2B, A, D]
        right, left = shown[:batch], shown[batch:]
        middle = torch.tensor(self.middle, device=x.device)[:, None]
        mean = (right + left) / 2
        copies = torch.cat([torch.where(middle, mean, right), torch.where(middle, mean, left)], 1)  # [B, 2A, D]
        nodes = copies[:, self.node_copy]  # [B, N, D]
        edges = self.adjacency()
        if self.edges != "none":
            nodes = nodes + self.message(edges @ nodes).relu()
        sided = self._by_unit(nodes)  # [B, 2, A, D]
        strongest = sided.amax(1)
        au_logits = (strongest * self.au_weight).sum(-1) + self.au_bias
        features = [sided.mean(1).flatten(1), strongest.flatten(1)]
        if self.grid:
            view = self.face(self.grid_norm((both @ self.grid_pool.T).flatten(1))).relu()
            features.append((view[:batch] + view[batch:]) / 2)
        return AUOutputs(self.dropout(torch.cat(features, 1)), au_logits, nodes, edges)

    def _by_unit(self, nodes: Tensor) -> Tensor:
        """Right and left node of every unit; the midline's stands on both sides. Shapes: ``[B, N, D]`` -> ``[B, 2, A, D]``."""
        place = {name: i for i, name in enumerate(self.node_names)}
        sides = [[place.get(f"AU{au}{side}", place.get(f"AU{au}", 0)) for au in self.aus] for side in "RL"]
        return torch.stack([nodes[:, side] for side in sides], 1)


def _cells(box: regions.Box | None, crop: Crop, size: int, bins: int) -> np.ndarray:
    """Weights that average a map over ``bins`` x ``bins`` cells of a box, pixels counted by the area they share.

    Shapes: box in crop units of the aligned face -> ``[bins^2, size^2]``.
    """
    assert box is not None
    left, top, right, bottom = CROPS[crop]
    x0, x1 = ((v - left) / (right - left) for v in (box[0], box[2]))
    y0, y1 = ((v - top) / (bottom - top) for v in (box[1], box[3]))
    across, down = _shares(x0, x1, size, bins), _shares(y0, y1, size, bins)
    return np.einsum("ai,bj->abij", down, across).reshape(bins**2, size**2)


def _shares(low: float, high: float, size: int, bins: int) -> np.ndarray:
    """Shapes: -> ``[bins, size]``; rows sum to 1. What lies outside the picture is left out."""
    edges = np.linspace(max(low, 0.0), min(high, 1.0), bins + 1) * size
    pixel = np.arange(size)
    shared = np.clip(np.minimum(edges[1:, None], pixel + 1) - np.maximum(edges[:-1, None], pixel), 0, None)
    return shared / shared.sum(1, keepdims=True)


@register
def au_flow_graph(
    *,
    num_classes: int = 3,
    aus: AUs = "cross12",
    bins: int = 3,
    width: int = 16,
    edges: Edges = "both",
    prior: str = "casme3_a",
    grid: int = 7,
    context: int = 64,
    dropout: float = 0.5,
    input_dropout: float = 0.1,
    views: int = 5,
    input_spec: InputSpec | None = None,
) -> AUFlowGraph:
    """Graph of action units over regions of the motion map, left and right tied (our own)."""
    return AUFlowGraph(
        num_classes=num_classes, aus=aus, bins=bins, width=width, edges=edges, prior=prior, grid=grid, context=context,
        dropout=dropout, input_dropout=input_dropout, views=views, input_spec=input_spec,
    )  # fmt: skip
