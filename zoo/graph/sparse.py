"""Sparse graphs over the 68 landmarks, with torch_geometric: the only file that imports it.

A node is a landmark: its place on the onset, and how it moves until the apex. Edges come from a triangulation of the canonical
face or from nearest neighbours, so that they are the same for every face.
"""

from __future__ import annotations

from typing import Literal, assert_never

import numpy as np
import torch
from torch import Tensor, nn
from torch_geometric.data import Batch, Data
from torch_geometric.nn import GATv2Conv, global_max_pool, global_mean_pool
from torch_geometric.utils import dense_to_sparse, to_undirected

from zoo.errors import ZooError
from zoo.facs import geometry
from zoo.graph.adjacency import knn

Edges = Literal["delaunay", "knn"]
# per cent of the distance between the eyes that count as 1: micro-expressions move landmarks by 1 to 3, and a network would not
# see them beside the places
MOTION = 2.0


def landmark_edges(kind: Edges = "delaunay", *, k: int = 6) -> Tensor:
    """Edges between the landmarks of the canonical face, in both directions, without loops.

    Args:
        kind: ``delaunay``: sides of the triangles between them; ``knn``: to the k nearest.
        k: neighbours of ``knn``.

    Shapes: int64 ``[2, E]``, from the first row to the second.
    """
    points = geometry.landmarks()
    match kind:
        case "delaunay":
            from scipy.spatial import Delaunay

            triangles = Delaunay(points).simplices
            pairs = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]])
            edges = torch.from_numpy(pairs.T.astype(np.int64))
        case "knn":
            # [i, j] says that i takes from j, and an edge runs from j to i
            edges = dense_to_sparse(knn(points, k, loops=False).T.contiguous())[0]
        case _:
            assert_never(kind)
    return to_undirected(edges, num_nodes=len(points))


def landmark_graph(
    onset: np.ndarray, apex: np.ndarray, *, edges: Tensor | None = None, label: int | None = None
) -> Data:
    """The graph of one clip.

    Args:
        onset, apex: the 68 landmarks in pixels of the aligned face, or in any unit the two share.
        edges: see :func:`landmark_edges`; by default the triangulation.
        label: class index, where it is known.

    Shapes: ``[68, 2]`` each -> ``x`` float ``[68, 4]``: place relative to the eyes in distances between them, then
    displacement in ``MOTION`` per cent of that distance; ``edge_attr`` float ``[E, 3]``: vector from source to target, and its
    length.

    Raises:
        ZooError: not 68 landmarks, or eyes that fall together.
    """
    start, end = np.asarray(onset, np.float64), np.asarray(apex, np.float64)
    if start.shape != (68, 2) or end.shape != (68, 2):
        raise ZooError(f"wanted 68 landmarks x, y of onset and apex, got shapes {start.shape} and {end.shape}")
    eyes = start[36:42].mean(0), start[42:48].mean(0)
    scale = float(np.linalg.norm(eyes[1] - eyes[0]))
    if not np.isfinite(start).all() or not np.isfinite(end).all() or scale < 1e-6:
        raise ZooError("these landmarks are not finite, or the two eyes lie on one point")
    places = (start - (eyes[0] + eyes[1]) / 2) / scale
    x = torch.from_numpy(np.concatenate([places, (end - start) / scale * 100 / MOTION], 1)).float()
    index = landmark_edges() if edges is None else edges
    vectors = x[index[1], :2] - x[index[0], :2]
    return Data(
        x=x,
        edge_index=index,
        edge_attr=torch.cat([vectors, vectors.norm(dim=1, keepdim=True)], 1),
        y=None if label is None else torch.tensor([label]),
    )


class LandmarkGNN(nn.Module):
    """A small graph attention network over moving landmarks.

    Args:
        num_classes: number of classes.
        channels: width of a head.
        heads: number of heads.
        layers: graph layers, each with a residual connection from the second on.
        dropout: of attention and of the readout.

    Shapes: a batch of :func:`landmark_graph` -> logits ``[B, num_classes]``.
    """

    def __init__(self, *, num_classes: int = 3, channels: int = 16, heads: int = 4, layers: int = 3,
                 dropout: float = 0.1) -> None:  # fmt: skip
        super().__init__()
        width = channels * heads
        self.layers = nn.ModuleList(
            GATv2Conv(4 if k == 0 else width, channels, heads=heads, edge_dim=3, dropout=dropout, residual=k > 0)
            for k in range(layers)
        )
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(2 * width, num_classes)

    def forward(self, batch: Batch | Data) -> Tensor:
        """See the class."""
        x, index = batch.x, batch.batch if batch.batch is not None else torch.zeros(len(batch.x), dtype=torch.long)
        for layer in self.layers:
            x = torch.nn.functional.elu(layer(x, batch.edge_index, batch.edge_attr))
        return self.fc(self.dropout(torch.cat([global_mean_pool(x, index), global_max_pool(x, index)], 1)))
