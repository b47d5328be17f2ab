"""Losses of action units (AUs): unknown targets are left out, rare units weigh by their rate in the training clips."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zoo.errors import ZooError


def at_least_0(name: str, value: float) -> float:
    """The value of an option, refused if negative."""
    if value < 0:
        raise ZooError(f"{name} is {value}; it must be at least 0")
    return value


def au_counts(au_labels: Tensor) -> tuple[Tensor, Tensor]:
    """Clips that show each unit, and clips where it is known whether they do.

    Shapes: float ``[M, A]``, NaN unknown -> ``[A]``, ``[A]``.

    Raises:
        ZooError: other values than 0, 1 and NaN.
    """
    known = ~au_labels.isnan()
    if au_labels.dim() != 2 or not bool(((au_labels == 0) | (au_labels == 1) | ~known).all()):
        raise ZooError(
            f"au_labels must be a table [clips, units] of 0, 1 and NaN (unknown); got shape {list(au_labels.shape)}"
        )
    return (au_labels.nan_to_num(0) == 1).sum(0).float(), known.sum(0).float()


class _AULoss(nn.Module, ABC):
    """Mean of what :meth:`per_unit` says over the known targets; 0, with a gradient of 0, where none is known."""

    @abstractmethod
    def per_unit(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Shapes: ``[B, A]``, 0/1 ``[B, A]`` -> ``[B, A]``."""

    def forward(self, au_logits: Tensor, targets: Tensor) -> Tensor:
        """Shapes: ``[B, A]``, float ``[B, A]`` with NaN for unknown -> scalar."""
        if au_logits.shape != targets.shape:
            raise ZooError(
                f"AU logits are {list(au_logits.shape)}, targets {list(targets.shape)}; both must be [B, A], as model.aus"
            )
        known = ~targets.isnan()
        losses = self.per_unit(au_logits.float(), targets.nan_to_num(0).float())
        return (losses * known).sum() / known.sum().clamp(min=1)


class AUCrossEntropy(_AULoss):
    """Binary cross entropy with the positive term times (N - n) / n per unit.

    Args:
        au_labels: of the training clips; without, both terms weigh the same.
        cap: largest factor; also that of a unit which no training clip shows.
    """

    pos_weight: Tensor  # [A], or [1] without labels

    def __init__(self, *, au_labels: Tensor | None = None, cap: float = 20.0) -> None:
        super().__init__()
        self.register_buffer("pos_weight", _pos_weight(au_labels, cap), persistent=False)

    def per_unit(self, logits: Tensor, targets: Tensor) -> Tensor:
        """See :class:`_AULoss`."""
        return F.binary_cross_entropy_with_logits(logits, targets, pos_weight=self.pos_weight, reduction="none")


class AUFocal(AUCrossEntropy):
    """Binary focal loss: cross entropy times (1 - p of the truth)^gamma, the positive term times (N - n) / n per unit.

    Args:
        au_labels: of the training clips; without, both terms weigh the same.
        gamma: 0 gives the cross entropy.
        cap: largest factor of the positive term.
    """

    def __init__(self, *, au_labels: Tensor | None = None, gamma: float = 2.0, cap: float = 20.0) -> None:
        super().__init__(au_labels=au_labels, cap=cap)
        self.gamma = at_least_0("gamma", gamma)

    def per_unit(self, logits: Tensor, targets: Tensor) -> Tensor:
        """See :class:`_AULoss`."""
        wrong = torch.where(targets == 1, -logits, logits).sigmoid()
        return super().per_unit(logits, targets) * wrong.clamp(min=1e-8).pow(self.gamma)


class AUAsymmetric(_AULoss):
    r"""ME-GraphAU's weighted asymmetric loss (Luo et al., IJCAI 2022).

    :math:`-\frac1A\sum_k w_k\,[y_k\log p_k + (1-y_k)\,p_k\log(1-p_k)]`, the factor :math:`p_k` without a gradient, so that easy
    negatives hardly count; :math:`w_k` the inverse rate of the unit, scaled to a sum of A.

    Args:
        au_labels: of the training clips; without, :math:`w_k = 1`. A unit which none of them shows counts as shown once.
    """

    weight: Tensor  # [A], or [1] without labels

    def __init__(self, *, au_labels: Tensor | None = None) -> None:
        super().__init__()
        weight = torch.ones(1)
        if au_labels is not None:
            shown, known = au_counts(au_labels)
            weight = known.clamp(min=1) / shown.clamp(min=1)
            weight = weight * len(weight) / weight.sum()
        self.register_buffer("weight", weight, persistent=False)

    def per_unit(self, logits: Tensor, targets: Tensor) -> Tensor:
        """See :class:`_AULoss`."""
        positive = targets * F.logsigmoid(logits)
        negative = (1 - targets) * logits.sigmoid().detach() * F.logsigmoid(-logits)
        return -self.weight * (positive + negative)


def _pos_weight(au_labels: Tensor | None, cap: float) -> Tensor:
    if cap < 1:
        raise ZooError(f"cap is {cap}; the largest factor of the positive term must be at least 1")
    if au_labels is None:
        return torch.ones(1)
    shown, known = au_counts(au_labels)
    return torch.where(shown > 0, (known - shown) / shown.clamp(min=1), torch.full_like(shown, cap)).clamp(max=cap)
