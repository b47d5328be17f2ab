"""What models of action units (AUs) share: their list of units, and edges that are counted on the training clips."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from zoo.errors import ZooError
from zoo.facs.action_units import au_set
from zoo.facs.emotions import AU_SETS
from zoo.graph import adjacency

AUs = str | Sequence[int]  # a set by name, such as "cross12", or numbers


def units_of(aus: AUs) -> tuple[int, ...]:
    """The units of a set by name, or the numbers given.

    Raises:
        ZooError: no such set, no such unit, none at all, or one twice.
    """
    units = au_set(aus if isinstance(aus, str) else ",".join(map(str, aus))) if aus else ()
    if not units:
        raise ZooError(f"aus is {aus!r}; wanted action units by number, or the name of a set: {', '.join(AU_SETS)}")
    return units


class CooccurrenceGraph(nn.Module):
    """Edges between units that occur together: from published annotations until :meth:`fit` counts the training clips.

    Args:
        aus: the units.
        prior: whose published counts to start from, see :func:`zoo.facs.statistics.sources`.
        as_parameter: hold them as a parameter that nothing trains, where a paper's code counts them among its own.
        options: of :func:`zoo.graph.adjacency.cooccurrence`.

    Shapes: called without arguments -> ``[A, A]``; entry [i, j] is the weight with which unit i takes from unit j.
    """

    adjacency: Tensor

    def __init__(
        self, aus: Sequence[int], *, prior: str = "pooled", as_parameter: bool = False, **options: Any
    ) -> None:
        super().__init__()
        self.options = options
        edges = adjacency.prior(aus, prior, **options)
        if as_parameter:
            self.adjacency = nn.Parameter(edges, requires_grad=False)
        else:
            self.register_buffer("adjacency", edges)

    def fit(self, au_labels: Tensor) -> None:
        """Count the training clips of the fold. Without a single clip the edges stay. Shapes: ``[M, A]``."""
        if au_labels.ndim != 2 or au_labels.shape[1] != len(self.adjacency):
            raise ZooError(
                f"AU labels of shape {list(au_labels.shape)} for {len(self.adjacency)} units; wanted [clips, units] as model.aus"
            )
        if len(au_labels):
            with torch.no_grad():
                self.adjacency.copy_(adjacency.cooccurrence(au_labels.cpu(), **self.options))

    def forward(self) -> Tensor:
        """See the class."""
        return self.adjacency
