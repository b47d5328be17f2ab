"""Fuzzy targets: what emotions the training clips with the same action units (AUs) were given."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zoo.errors import ZooError


def label_distribution(
    au_labels: Tensor, labels: Tensor, num_classes: int, *, a: float = 2.0, mix: float = 0.3
) -> FuzzyTargets:
    """Fit fuzzy targets to the training clips of a fold, and to nothing else.

    Args:
        au_labels: 1 where a clip shows the unit, 0 where not, NaN unknown.
        labels: emotion of each clip.
        num_classes: of the labels.
        a: weight of the prior, in clips.
        mix: share of the fuzzy distribution in the target, 0 (hard labels) to 1.

    Shapes: au_labels float ``[M, A]``, labels int ``[M]``.

    Raises:
        ZooError: ``a`` or ``mix`` out of range, tables of different length, or no clip at all.
    """
    return FuzzyTargets(au_labels, labels, num_classes, a=a, mix=mix)


class FuzzyTargets(nn.Module):
    r"""Targets :math:`(1-\lambda)\,\text{one-hot} + \lambda\,q`, to be used with the divergence or the cross entropy.

    :math:`q(c\mid S) = (n(c, S) + a\,\pi_c) / (n(S) + a)` with n counted on the training clips that show exactly the set S, and
    :math:`\pi` the rate of the classes there; a set that no training clip shows gives :math:`\pi`. A clip whose units are not all
    known keeps its hard label.

    Shapes: AU labels ``[B, A]``, labels int ``[B]`` -> ``[B, K]``, rows sum to 1.
    """

    sets: Tensor  # bool [S, A], the distinct sets
    counts: Tensor  # [S, K], clips of each class with exactly that set
    prior: Tensor  # [K]

    def __init__(
        self, au_labels: Tensor, labels: Tensor, num_classes: int, *, a: float = 2.0, mix: float = 0.3
    ) -> None:
        super().__init__()
        if a <= 0 or not 0 <= mix <= 1:
            raise ZooError(f"a is {a} and mix {mix}; a must be above 0, mix from 0 to 1")
        if len(au_labels) != len(labels) or not len(labels):
            raise ZooError(
                f"fuzzy targets want one label per clip; got {len(labels)} labels for {len(au_labels)} clips"
            )
        self.a, self.mix = a, mix
        one_hot = F.one_hot(labels, num_classes).float()
        known = ~au_labels.isnan().any(1)
        sets, which = torch.unique(au_labels[known] > 0.5, dim=0, return_inverse=True)
        counts = torch.zeros(len(sets), num_classes).index_add_(0, which, one_hot[known])
        self.register_buffer("sets", sets, persistent=False)
        self.register_buffer("counts", counts, persistent=False)
        self.register_buffer("prior", one_hot.mean(0), persistent=False)

    def distribution(self, au_labels: Tensor) -> Tensor:
        """q of each clip's AU set. Shapes: ``[B, A]`` -> ``[B, K]``."""
        same = ((au_labels > 0.5)[:, None] == self.sets).all(2).float()  # [B, S], at most one 1 a row
        counts = same @ self.counts
        return (counts + self.a * self.prior) / (counts.sum(1, keepdim=True) + self.a)

    def forward(self, au_labels: Tensor, labels: Tensor) -> Tensor:
        """See the class."""
        one_hot = F.one_hot(labels, len(self.prior)).float()
        mixed = (1 - self.mix) * one_hot + self.mix * self.distribution(au_labels)
        return torch.where(au_labels.isnan().any(1, keepdim=True), one_hot, mixed)
