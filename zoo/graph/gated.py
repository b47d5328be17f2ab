"""Gated graph layers on dense graphs: recurrent (GGNN), residual, and with features on the edges.

Shapes and direction as in :mod:`zoo.graph.layers`.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zoo.errors import ZooError


class GatedGraph(nn.Module):
    """Gated graph network: messages along the edges, then a gated recurrent unit (Li et al. 2016; of torch_geometric:
    ``GatedGraphConv``).

    Each step has its own message weights, the recurrent unit is shared. With several kinds of edge (for a signed graph: those
    of co-occurrence, those of exclusion) each kind has its own weights and the messages are added.

    Args:
        channels: width of a node, the same before and after; narrower nodes are padded with zeros.
        steps: how often messages are passed.
        edge_types: number of kinds of edge.

    Shapes: nodes ``[B, N, <= channels]``, adjacency ``[..., N, N]``, of several kinds ``[K, N, N]`` or ``[K, B, N, N]``
    -> ``[B, N, channels]``.

    Raises:
        ZooError: wider nodes than ``channels``, or another number of adjacencies than kinds.
    """

    def __init__(self, channels: int, *, steps: int = 3, edge_types: int = 1) -> None:
        super().__init__()
        self.channels, self.edge_types = channels, edge_types
        self.weight = nn.Parameter(torch.empty(edge_types, steps, channels, channels))
        self.rnn = nn.GRUCell(channels, channels)
        nn.init.uniform_(self.weight, -1 / math.sqrt(channels), 1 / math.sqrt(channels))

    def forward(self, nodes: Tensor, adjacency: Tensor) -> Tensor:
        """See the class."""
        if nodes.shape[-1] > self.channels:
            raise ZooError(f"nodes of width {nodes.shape[-1]} do not fit a gated graph of width {self.channels}")
        kinds = adjacency[None] if self.edge_types == 1 else adjacency
        if len(kinds) != self.edge_types or kinds.ndim not in (3, 4):
            raise ZooError(
                f"{self.edge_types} kinds of edge want that many adjacencies, stacked in front; got {list(adjacency.shape)}"
            )
        state = F.pad(nodes, (0, self.channels - nodes.shape[-1]))
        for step in range(self.weight.shape[1]):
            message = torch.stack([a @ (state @ w) for a, w in zip(kinds, self.weight[:, step], strict=True)]).sum(0)
            state = self.rnn(message.flatten(0, 1), state.flatten(0, 1)).view_as(state)
        return state


class ResGatedGraph(nn.Module):
    """Each neighbour through a gate of both nodes: ``S x_i + sum_j A_ij sigmoid(K x_i + Q x_j) * V x_j + b`` (Bresson and
    Laurent 2017; of torch_geometric: ``ResGatedGraphConv``, for edges of weight 1).

    Shapes: nodes ``[B, N, in]``, adjacency ``[N, N]`` or ``[B, N, N]`` -> ``[B, N, out]``.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.key, self.query, self.value = (nn.Linear(in_channels, out_channels) for _ in range(3))
        self.skip = nn.Linear(in_channels, out_channels, bias=False)
        self.bias = nn.Parameter(torch.zeros(out_channels))

    def forward(self, nodes: Tensor, adjacency: Tensor) -> Tensor:
        """See the class."""
        gates = torch.sigmoid(self.key(nodes)[:, :, None] + self.query(nodes)[:, None])  # [B, N, N, out]
        taken = adjacency.expand(nodes.shape[0], -1, -1)[..., None] * gates * self.value(nodes)[:, None]
        return self.skip(nodes) + taken.sum(2) + self.bias


class NodesAndEdges(NamedTuple):
    """Features of a graph."""

    nodes: Tensor  # [B, N, C]
    edges: Tensor  # [B, N, N, C]; [i, j] belongs to what node i takes from node j


class ResidualGatedGCN(nn.Module):
    """A layer of ME-GraphAU's graph with features on every edge (Luo et al. 2022, after Bresson and Laurent 2017).

    ``e_ij += ReLU(norm(A x_i + B x_j + E e_ij))``; gates are the softmax over j of ``sigmoid(e_ij)``, channel by channel;
    ``x_i = ReLU(x_i + norm(U x_i + 1/N sum_j gate_ij * V x_j))``. The normalisations are over batch and channels: one mean per
    node, and one per edge, so that the number of nodes is fixed.

    Args:
        channels: width of nodes and of edges.
        nodes: number of nodes.

    Shapes: nodes ``[B, N, C]``, edges ``[B, N, N, C]`` -> the same.
    """

    def __init__(self, channels: int, *, nodes: int) -> None:
        super().__init__()
        linears = [nn.Linear(channels, channels, bias=False) for _ in range(5)]
        self.own, self.value, self.target, self.source, self.edge = linears  # U, V, A, B, E
        for linear in linears:
            nn.init.normal_(linear.weight, std=math.sqrt(2 / channels))
        self.node_norm, self.edge_norm = nn.BatchNorm1d(nodes), nn.BatchNorm1d(nodes * nodes)

    def forward(self, nodes: Tensor, edges: Tensor) -> NodesAndEdges:
        """See the class."""
        change = self.target(nodes)[:, :, None] + self.source(nodes)[:, None] + self.edge(edges)
        edges = edges + F.relu(self.edge_norm(change.flatten(1, 2))).view_as(edges)
        gates = torch.sigmoid(edges).softmax(2)
        taken = (gates * self.value(nodes)[:, None]).sum(2) / nodes.shape[1]
        return NodesAndEdges(F.relu(nodes + self.node_norm(self.own(nodes) + taken)), edges)
