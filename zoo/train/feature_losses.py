"""Losses of the features themselves: near what is alike, far from what is not.

All of them are 0, with a gradient of 0, for a batch that holds no pair to learn from.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zoo.errors import ZooError


class CentreLoss(nn.Module):
    r"""Half the squared distance to the centre of the own class, mean over the batch (Wen et al., ECCV 2016).

    In training the centres follow by the paper's rule,
    :math:`c_j \leftarrow c_j - \alpha\,\sum_{y_i=j}(c_j - x_i) / (1 + n_j)`, after the loss is taken; no optimiser moves them.

    Args:
        num_classes: of the labels.
        num_features: width of the features.
        alpha: rate of the centres, 0 to 1.

    Shapes: features ``[B, D]``, labels int ``[B]`` -> scalar.
    """

    needs_aus = False
    centres: Tensor  # [K, D]

    def __init__(self, *, num_classes: int, num_features: int, alpha: float = 0.5) -> None:
        super().__init__()
        if not 0 <= alpha <= 1:
            raise ZooError(f"alpha is {alpha}; the rate of the centres is from 0 to 1")
        self.alpha = alpha
        self.register_buffer("centres", torch.zeros(num_classes, num_features))

    def forward(self, features: Tensor, labels: Tensor) -> Tensor:
        """See the class."""
        features = features.float()
        apart = features - self.centres[labels]
        if self.training:
            with torch.no_grad():
                pull = torch.zeros_like(self.centres).index_add_(0, labels, apart)
                counts = torch.bincount(labels, minlength=len(self.centres))
                self.centres += self.alpha * pull / (1 + counts[:, None])
        return apart.square().sum(1).mean() / 2


class BatchHardTriplet(nn.Module):
    """Batch-hard triplet loss: furthest of the same class, nearest of another (Hermans et al., arXiv:1703.07737).

    Args:
        margin: by which another class must lie further away.
        normalise: bring features to length 1 first, so that the margin does not depend on their scale.

    Shapes: features ``[B, D]``, labels int ``[B]`` -> scalar.
    """

    needs_aus = False

    def __init__(self, *, margin: float = 0.3, normalise: bool = True) -> None:
        super().__init__()
        if margin < 0:
            raise ZooError(f"margin is {margin}; it must be at least 0")
        self.margin, self.normalise = margin, normalise

    def forward(self, features: Tensor, labels: Tensor) -> Tensor:
        """See the class."""
        features = features.float()
        x = F.normalize(features) if self.normalise else features
        apart = torch.cdist(
            x, x, compute_mode="donot_use_mm_for_euclid_dist"
        )  # exact, and flat where two clips coincide
        same = labels[:, None] == labels
        others = same & ~torch.eye(len(x), dtype=torch.bool, device=x.device)
        complete = others.any(1) & (~same).any(1)
        furthest = apart.masked_fill(~others, -torch.inf).amax(1)
        nearest = apart.masked_fill(same, torch.inf).amin(1)
        losses = (furthest - nearest + self.margin)[complete].relu()
        return losses.mean() if len(losses) else features.sum() * 0


class SupervisedContrastive(nn.Module):
    """Supervised contrastive loss, the mean outside the logarithm (Khosla et al., NeurIPS 2020, equation 2).

    Args:
        temperature: of the cosine similarities.

    Shapes: features ``[B, D]``, labels int ``[B]`` -> scalar.
    """

    needs_aus = False

    def __init__(self, *, temperature: float = 0.1) -> None:
        super().__init__()
        self.temperature = _positive(temperature)

    def forward(self, features: Tensor, labels: Tensor) -> Tensor:
        """See the class."""
        return _contrast(features.float(), (labels[:, None] == labels).float(), self.temperature)


class AUJaccard(nn.Module):
    """Contrastive loss whose positives weigh as much as their AU sets overlap (Ruan et al., ACM MM 2022, SAMER).

    The weight of a pair is the Jaccard index |A ∩ B| / |A ∪ B| of the units that are known in both clips; 0 where neither
    shows any.

    Args:
        temperature: of the cosine similarities.

    Shapes: features ``[B, D]``, AU labels float ``[B, A]``, NaN unknown -> scalar.
    """

    needs_aus = True

    def __init__(self, *, temperature: float = 0.1) -> None:
        super().__init__()
        self.temperature = _positive(temperature)

    def forward(self, features: Tensor, aus: Tensor) -> Tensor:
        """See the class."""
        return _contrast(features.float(), au_jaccard(aus), self.temperature)


def au_jaccard(aus: Tensor) -> Tensor:
    """Jaccard index of every pair of AU sets. Shapes: float ``[B, A]``, NaN unknown -> ``[B, B]``."""
    known = (~aus.isnan()).float()
    shown = aus.nan_to_num(0).float()
    both = shown @ shown.T
    of_i = shown @ known.T  # units that i shows and j knows of
    return both / (of_i + of_i.T - both).clamp(min=1)


def _positive(temperature: float) -> float:
    if temperature <= 0:
        raise ZooError(f"temperature is {temperature}; it must be above 0")
    return temperature


def _contrast(features: Tensor, alike: Tensor, temperature: float) -> Tensor:
    """Cross entropy from each clip's neighbours by likeness to its neighbours by cosine; clips like no other are left out."""
    itself = torch.eye(len(features), dtype=torch.bool, device=features.device)
    alike = alike.masked_fill(itself, 0)
    x = F.normalize(features)
    log_p = (x @ x.T / temperature).masked_fill(itself, -torch.inf).log_softmax(1).masked_fill(itself, 0)
    total = alike.sum(1)
    losses = -(alike * log_p).sum(1)[total > 0] / total[total > 0]
    return losses.mean() if len(losses) else features.sum() * 0
