"""Adjacency that is learned, or made anew for each sample. Convention as in :mod:`zoo.graph.adjacency`."""

from __future__ import annotations

from typing import Literal, assert_never

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zoo.errors import ZooError
from zoo.graph.adjacency import normalise


class LearnedAdjacency(nn.Module):
    """A prior plus a learned part that starts at 0, entries of either sign.

    Rows whose absolute values sum to more than 1 are divided by that sum, so that depth does not blow up what is passed on; a
    prior whose rows sum to at most 1 is what the graph starts from, unchanged.

    Args:
        prior: what is known; by default nothing but loops.
        nodes: number of nodes, where no prior is given.

    Shapes: prior ``[N, N]``; called without arguments -> ``[N, N]``.
    """

    prior: Tensor

    def __init__(self, *, prior: Tensor | None = None, nodes: int | None = None) -> None:
        super().__init__()
        if (prior is None) == (nodes is None):
            raise ZooError("a learned adjacency wants a prior or the number of nodes, one of the two")
        start = torch.eye(nodes) if prior is None and nodes is not None else torch.as_tensor(prior).clone()
        self.register_buffer("prior", start)
        self.delta = nn.Parameter(torch.zeros_like(start))

    def set_prior(self, prior: Tensor) -> None:
        """Another prior, as for another fold; the learned part stays. Raises ZooError if the shape differs."""
        if prior.shape != self.prior.shape:
            raise ZooError(f"a prior of shape {list(prior.shape)} in place of one of {list(self.prior.shape)}")
        self.prior.copy_(prior)

    def forward(self) -> Tensor:
        """See the class."""
        weights = self.prior + self.delta
        return weights / weights.abs().sum(-1, keepdim=True).clamp(min=1)


class SimilarityGraph(nn.Module):
    """ME-GraphAU's graph of a sample: each node takes from the k most similar ones (Luo et al., IJCAI 2022).

    Similarity is the dot product (or cosine) of the nodes, which no gradient passes; equals of the k-th are taken too. Edges
    are normalised by the sums of the rows on both sides.

    Shapes: nodes ``[B, N, C]`` -> ``[B, N, N]``.
    """

    def __init__(self, *, k: int = 4, metric: Literal["dots", "cosine"] = "dots") -> None:
        super().__init__()
        self.k, self.metric = k, metric

    def forward(self, nodes: Tensor) -> Tensor:
        """See the class. Raises ZooError if there are fewer than k nodes."""
        if not 1 <= self.k <= nodes.shape[1]:
            raise ZooError(f"the {self.k} most similar of {nodes.shape[1]} nodes: wanted 1 to {nodes.shape[1]}")
        x = nodes.detach()
        match self.metric:
            case "dots":
                pass
            case "cosine":
                x = F.normalize(x, dim=-1)
            case _:
                assert_never(self.metric)
        similarity = x @ x.transpose(1, 2)
        kept = similarity >= similarity.topk(self.k, dim=-1).values[..., -1:]
        return normalise(kept.to(nodes.dtype), "symmetric")


class SampleAdjacency(nn.Module):
    """A transformer turns the diagonal matrix of a sample's AU logits into its adjacency (Wang et al., ICASSP 2024).

    Row i enters as a token with the logit of unit i at place i; row i of what comes out says what unit i takes from whom.

    Reading: the paper says six layers; heads, widths and normalisation are those of FGRMER's encoder, which it builds on.

    Args:
        nodes: number of units.
        layers, heads, head_width, feed_forward, dropout: of the encoder.

    Shapes: logits ``[B, N]`` -> ``[B, N, N]``, of either sign, each row with mean 0 and variance 1 up to learned scales.
    """

    def __init__(self, *, nodes: int, layers: int = 6, heads: int = 8, head_width: int = 16, feed_forward: int = 128,
                 dropout: float = 0.1) -> None:  # fmt: skip
        super().__init__()
        self.layers = nn.ModuleList(
            EncoderLayer(nodes, heads=heads, head_width=head_width, feed_forward=feed_forward, dropout=dropout)
            for _ in range(layers)
        )

    def forward(self, logits: Tensor) -> Tensor:
        """See the class."""
        x = torch.diag_embed(logits)
        for layer in self.layers:
            x = layer(x)
        return x


class EncoderLayer(nn.Module):
    """A transformer's encoder layer, normalised after each part, whose heads have a width of their own (Vaswani et al. 2017).

    Args:
        width: of a token; needs not be a multiple of the heads.
        heads, head_width: number of heads, and width of queries, keys and values in each.
        feed_forward: width of the hidden layer.
        dropout: of attention and of each part's output.

    Shapes: ``[B, N, width]`` -> ``[B, N, width]``.
    """

    def __init__(self, width: int, *, heads: int = 8, head_width: int = 16, feed_forward: int = 128, dropout: float = 0.1,
                 eps: float = 1e-6) -> None:  # fmt: skip
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.query, self.key, self.value = (nn.Linear(width, heads * head_width, bias=False) for _ in range(3))
        self.out = nn.Linear(heads * head_width, width, bias=False)
        self.feed_forward = nn.Sequential(
            nn.Linear(width, feed_forward), nn.ReLU(), nn.Linear(feed_forward, width), nn.Dropout(dropout)
        )
        self.norm_attention, self.norm_out = nn.LayerNorm(width, eps=eps), nn.LayerNorm(width, eps=eps)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        q, k, v = (f(x).unflatten(-1, (self.heads, -1)).transpose(1, 2) for f in (self.query, self.key, self.value))
        taken = F.scaled_dot_product_attention(q, k, v, dropout_p=self.dropout if self.training else 0.0)
        taken = self.out(taken.transpose(1, 2).flatten(2))
        x = self.norm_attention(x + F.dropout(taken, self.dropout, self.training))
        return self.norm_out(x + self.feed_forward(x))
