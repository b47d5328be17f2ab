"""Graph layers whose edges are found anew, in every layer and for every sample, among the nodes' own features."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from zoo.errors import ZooError


class DynamicEdgeConv(nn.Module):
    """Each node takes the maximum over what it and its nearest nodes tell: ``max_j ReLU(norm(W [x_i, x_j - x_i]))``.

    Wang et al., "Dynamic Graph CNN", TOG 2019; of torch_geometric: ``DynamicEdgeConv`` with one linear layer, batch
    normalisation and ReLU.

    Args:
        in_channels, out_channels: width of a node before and after.
        k: neighbours by Euclidean distance, the node itself among them.

    Shapes: ``[B, N, in]`` -> ``[B, N, out]``.

    Raises:
        ZooError: fewer than k nodes.
    """

    def __init__(self, in_channels: int, out_channels: int, *, k: int) -> None:
        super().__init__()
        self.k = k
        self.linear = nn.Linear(2 * in_channels, out_channels, bias=False)
        self.norm = nn.BatchNorm1d(out_channels)

    def neighbours(self, nodes: Tensor) -> Tensor:
        """The k nearest of each node. Shapes: ``[B, N, in]`` -> int ``[B, N, k]``."""
        if not 1 <= self.k <= nodes.shape[1]:
            raise ZooError(f"the {self.k} nearest of {nodes.shape[1]} nodes: wanted 1 to {nodes.shape[1]}")
        # not by products: their rounding can put a node further from itself than from another, and differs between batches
        apart = torch.cdist(nodes.detach(), nodes.detach(), compute_mode="donot_use_mm_for_euclid_dist")
        return apart.topk(self.k, dim=-1, largest=False).indices

    def forward(self, nodes: Tensor) -> Tensor:
        """See the class."""
        return self.gather(nodes, self.neighbours(nodes))

    def gather(self, nodes: Tensor, index: Tensor) -> Tensor:
        """As :meth:`forward`, over given neighbours."""
        own, change = self.linear.weight.chunk(2, dim=1)
        # W [x_i, x_j - x_i] = (W_1 - W_2) x_i + W_2 x_j: two products per node in place of one per edge
        base, other = nodes @ (own - change).T, nodes @ change.T  # [B, N, out]
        batch = torch.arange(nodes.shape[0], device=nodes.device)[:, None, None]
        edges = base[:, :, None] + other[batch, index]  # [B, N, k, out]
        return self.norm(edges.flatten(0, 2)).view_as(edges).relu().amax(2)


def neighbour_matrix(index: Tensor) -> Tensor:
    """Adjacency of equal neighbours, rows summing to 1. Shapes: int ``[B, N, k]`` -> ``[B, N, N]``."""
    matrix = torch.zeros(*index.shape[:2], index.shape[1], device=index.device)
    return matrix.scatter(2, index, 1 / index.shape[2])
