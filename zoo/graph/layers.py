"""Graph layers for small dense graphs: a batch of nodes ``[B, N, C]`` and an adjacency ``[N, N]`` or ``[B, N, N]``.

``adjacency[i, j]`` is the weight with which node i takes from node j. Up to some fifty nodes this is simpler than edge lists
and no slower. Each layer gives what its counterpart in torch_geometric gives, edge by edge; the tests hold them to it.
"""

from __future__ import annotations

import math
from typing import Literal, assert_never

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zoo.errors import ZooError

Readout = Literal["mean", "max", "sum", "mean_max"]


def gcn_normalise(adjacency: Tensor) -> Tensor:
    """Loops where there are none, then ``D^-1/2 A D^-1/2`` with D the sum of what each node takes (Kipf and Welling 2017).

    Shapes: ``[..., N, N]`` -> ``[..., N, N]``; a node without weight stays without.
    """
    diagonal = torch.diagonal(adjacency, dim1=-2, dim2=-1)
    adjacency = adjacency + torch.diag_embed((diagonal == 0).to(adjacency.dtype))
    degree = adjacency.sum(-1)
    scale = torch.where(degree > 0, degree.clamp(min=1e-12).rsqrt(), torch.zeros_like(degree))
    return scale[..., :, None] * adjacency * scale[..., None, :]


def readout(nodes: Tensor, how: Readout = "mean_max") -> Tensor:
    """One vector per graph. Shapes: ``[B, N, C]`` -> ``[B, C]``, of ``mean_max`` ``[B, 2 C]``."""
    match how:
        case "mean":
            return nodes.mean(1)
        case "max":
            return nodes.amax(1)
        case "sum":
            return nodes.sum(1)
        case "mean_max":
            return torch.cat([nodes.mean(1), nodes.amax(1)], -1)
        case _:
            assert_never(how)


class DenseGCN(nn.Module):
    """Graph convolution ``A X W + b`` (Kipf and Welling 2017; of torch_geometric: ``GCNConv``).

    Args:
        in_channels, out_channels: width of a node before and after.
        bias: add b, after the neighbours are summed.
        normalise: ``gcn`` applies :func:`gcn_normalise` to the adjacency given; ``none`` takes it as it is.
        init: of W; ``uniform`` is ML-GCN's U(-1/sqrt(out), 1/sqrt(out)).

    Shapes: nodes ``[B, N, in]``, adjacency ``[N, N]`` or ``[B, N, N]`` -> ``[B, N, out]``.

    Raises:
        ZooError: the adjacency does not fit the nodes.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        bias: bool = True,
        normalise: Literal["none", "gcn"] = "none",
        init: Literal["glorot", "uniform"] = "glorot",
    ) -> None:
        super().__init__()
        self.normalise = normalise
        self.linear = nn.Linear(in_channels, out_channels, bias=False)
        self.bias = nn.Parameter(torch.zeros(out_channels)) if bias else None
        if init == "glorot":
            nn.init.xavier_uniform_(self.linear.weight)
        else:
            nn.init.uniform_(self.linear.weight, -1 / math.sqrt(out_channels), 1 / math.sqrt(out_channels))

    def forward(self, nodes: Tensor, adjacency: Tensor) -> Tensor:
        """See the class."""
        adjacency = _fitting(adjacency, nodes)
        out = (gcn_normalise(adjacency) if self.normalise == "gcn" else adjacency) @ self.linear(nodes)
        return out if self.bias is None else out + self.bias


class _Attention(nn.Module):
    """What the two kinds of graph attention share: heads, the softmax over a node's neighbours, how heads are joined.

    The adjacency only says who is a neighbour (every entry but 0), so no gradient reaches it; weights of edges enter through
    ``edge_channels``. A node without neighbours gets the bias alone.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        heads: int = 1,
        concat: bool = True,
        bias: bool = True,
        slope: float = 0.2,
        dropout: float = 0.0,
        loops: bool = True,
    ) -> None:
        super().__init__()
        self.heads, self.out_channels = heads, out_channels
        self.concat, self.slope, self.dropout, self.loops = concat, slope, dropout, loops
        self.bias = nn.Parameter(torch.zeros(heads * out_channels if concat else out_channels)) if bias else None

    def _split(self, x: Tensor) -> Tensor:  # [B, N, H * C] -> [B, N, H, C]
        return x.unflatten(-1, (self.heads, self.out_channels))

    def _attend(self, scores: Tensor, values: Tensor, adjacency: Tensor) -> tuple[Tensor, Tensor]:
        """scores [B, N, N, H], values [B, N, H, C] -> nodes [B, N, H * C] or [B, N, C], attention [B, N, N, H]."""
        mask = _fitting(adjacency, values) != 0
        if self.loops:
            mask = mask | torch.eye(mask.shape[-1], dtype=torch.bool, device=mask.device)
        mask = mask[..., None]
        # the lowest number in place of -inf: a row without neighbours would become NaN
        attention = scores.masked_fill(~mask, torch.finfo(scores.dtype).min).softmax(2) * mask
        kept = F.dropout(attention, self.dropout, self.training)
        out = torch.einsum("bijh,bjhc->bihc", kept, values)
        out = out.flatten(2) if self.concat else out.mean(2)
        return (out if self.bias is None else out + self.bias), attention


class DenseGAT(_Attention):
    """Graph attention (Veličković et al. 2018; of torch_geometric: ``GATConv``).

    Args:
        in_channels, out_channels: width of a node before, and of each head after.
        heads: their number.
        concat: heads side by side; otherwise their mean.
        slope: of the leaky ReLU over the scores.
        dropout: of the attention, in training.
        loops: every node also attends to itself.

    Shapes: nodes ``[B, N, in]``, adjacency ``[N, N]`` or ``[B, N, N]`` -> ``[B, N, heads * out]``, of a mean ``[B, N, out]``.
    """

    def __init__(self, in_channels: int, out_channels: int, *, heads: int = 1, concat: bool = True, bias: bool = True,
                 slope: float = 0.2, dropout: float = 0.0, loops: bool = True) -> None:  # fmt: skip
        super().__init__(in_channels, out_channels, heads=heads, concat=concat, bias=bias, slope=slope,
                         dropout=dropout, loops=loops)  # fmt: skip
        self.linear = nn.Linear(in_channels, heads * out_channels, bias=False)
        self.from_node = nn.Parameter(torch.empty(heads, out_channels))  # scores what is taken
        self.to_node = nn.Parameter(torch.empty(heads, out_channels))  # scores who takes
        for weight in (self.linear.weight, self.from_node, self.to_node):
            nn.init.xavier_uniform_(weight)

    def forward(self, nodes: Tensor, adjacency: Tensor) -> Tensor:
        """See the class."""
        return self.attend(nodes, adjacency)[0]

    def attend(self, nodes: Tensor, adjacency: Tensor) -> tuple[Tensor, Tensor]:
        """Nodes, and the attention ``[B, N, N, heads]``: [i, j] is what node i gives to node j, a row sums to 1."""
        values = self._split(self.linear(nodes))
        sources, targets = (values * self.from_node).sum(-1), (values * self.to_node).sum(-1)  # [B, N, H]
        scores = F.leaky_relu(targets[:, :, None] + sources[:, None], self.slope)
        return self._attend(scores, values, adjacency)


class DenseGATv2(_Attention):
    """Graph attention whose ranking depends on the node that asks (Brody et al. 2022; of torch_geometric: ``GATv2Conv``).

    Args: as of :class:`DenseGAT`, and
        edge_channels: width of the features of an edge, 0 for none.

    Shapes: nodes ``[B, N, in]``, adjacency ``[N, N]`` or ``[B, N, N]``, edges ``[..., N, N, edge_channels]`` -> as DenseGAT.
    """

    def __init__(self, in_channels: int, out_channels: int, *, heads: int = 1, concat: bool = True, bias: bool = True,
                 slope: float = 0.2, dropout: float = 0.0, loops: bool = True, edge_channels: int = 0) -> None:  # fmt: skip
        super().__init__(in_channels, out_channels, heads=heads, concat=concat, bias=bias, slope=slope,
                         dropout=dropout, loops=loops)  # fmt: skip
        self.source = nn.Linear(in_channels, heads * out_channels, bias=bias)  # of the node that is taken from
        self.target = nn.Linear(in_channels, heads * out_channels, bias=bias)  # of the node that takes
        self.edge = nn.Linear(edge_channels, heads * out_channels, bias=False) if edge_channels else None
        self.attention = nn.Parameter(torch.empty(heads, out_channels))
        for linear in (self.source, self.target, self.edge):
            if linear is not None:
                nn.init.xavier_uniform_(linear.weight)
                if linear.bias is not None:
                    nn.init.zeros_(linear.bias)
        nn.init.xavier_uniform_(self.attention)

    def forward(self, nodes: Tensor, adjacency: Tensor, edges: Tensor | None = None) -> Tensor:
        """See the class."""
        return self.attend(nodes, adjacency, edges)[0]

    def attend(self, nodes: Tensor, adjacency: Tensor, edges: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """See :meth:`DenseGAT.attend`."""
        values = self._split(self.source(nodes))
        pairs = self._split(self.target(nodes))[:, :, None] + values[:, None]  # [B, N, N, H, C]
        if self.edge is not None:
            if edges is None:
                raise ZooError("this attention was made with edge_channels and wants the features of the edges")
            pairs = pairs + self.edge(edges).unflatten(-1, (self.heads, self.out_channels))
        scores = (F.leaky_relu(pairs, self.slope) * self.attention).sum(-1)
        return self._attend(scores, values, adjacency)


class DenseGraphConv(nn.Module):
    """``X W + A X V + b`` (Morris et al. 2019; of torch_geometric: ``GraphConv``).

    Shapes: nodes ``[B, N, in]``, adjacency ``[N, N]`` or ``[B, N, N]`` -> ``[B, N, out]``.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.own = nn.Linear(in_channels, out_channels, bias=False)
        self.neighbours = nn.Linear(in_channels, out_channels)

    def forward(self, nodes: Tensor, adjacency: Tensor) -> Tensor:
        """See the class."""
        return self.own(nodes) + self.neighbours(_fitting(adjacency, nodes) @ nodes)


class DenseSAGPool(nn.Module):
    """Keep the nodes that a graph layer scores highest (Lee et al. 2019; of torch_geometric: ``SAGPooling``).

    Args:
        channels: width of a node.
        ratio: share of the nodes kept, rounded up.
        score: the layer that scores: ``gcn``, or ``graph`` for :class:`DenseGraphConv`.

    Shapes: nodes ``[B, N, C]``, adjacency ``[N, N]`` or ``[B, N, N]`` -> nodes ``[B, K, C]`` times the tanh of their scores,
    adjacency among them ``[B, K, K]``, and which they are: int ``[B, K]``, best first.
    """

    def __init__(self, channels: int, *, ratio: float = 0.8, score: Literal["gcn", "graph"] = "gcn") -> None:
        super().__init__()
        if not 0 < ratio <= 1:
            raise ZooError(f"the ratio of nodes kept is {ratio}; it lies above 0 and not above 1")
        self.ratio = ratio
        self.score = DenseGCN(channels, 1, normalise="gcn") if score == "gcn" else DenseGraphConv(channels, 1)

    def forward(self, nodes: Tensor, adjacency: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """See the class."""
        return top_k(nodes, adjacency, torch.tanh(self.score(nodes, adjacency)[..., 0]), self.ratio)


def top_k(nodes: Tensor, adjacency: Tensor, scores: Tensor, ratio: float) -> tuple[Tensor, Tensor, Tensor]:
    """The ``ceil(ratio * N)`` nodes of highest score, weighted by it (Gao and Ji 2019).

    Shapes: nodes ``[B, N, C]``, adjacency ``[N, N]`` or ``[B, N, N]``, scores ``[B, N]`` -> see :class:`DenseSAGPool`.
    """
    count = math.ceil(ratio * nodes.shape[1])
    kept, index = scores.topk(count, dim=1)
    chosen = nodes.gather(1, index[..., None].expand(-1, -1, nodes.shape[-1])) * kept[..., None]
    full = _fitting(adjacency, nodes).expand(nodes.shape[0], -1, -1)
    rows = full.gather(1, index[..., None].expand(-1, -1, full.shape[-1]))
    return chosen, rows.gather(2, index[:, None].expand(-1, count, -1)), index


def _fitting(adjacency: Tensor, nodes: Tensor) -> Tensor:
    count = nodes.shape[1]
    if adjacency.ndim not in (2, 3) or adjacency.shape[-2:] != (count, count):
        raise ZooError(
            f"an adjacency of shape {list(adjacency.shape)} does not fit nodes of shape {list(nodes.shape)}; "
            f"wanted [{count}, {count}] or [B, {count}, {count}]"
        )
    return adjacency
