"""What training minimises, by name: losses of emotions, of action units (AUs), and of features.

``emotion_loss``, ``au_loss`` and ``feature_loss`` build a module from a name and its options. Class counts and AU rates come from
the training clips of the fold, through their arguments, and from nowhere else.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zoo.errors import ZooError
from zoo.registry import unknown
from zoo.train.au_losses import AUAsymmetric, AUCrossEntropy, AUFocal, at_least_0
from zoo.train.feature_losses import AUJaccard, BatchHardTriplet, CentreLoss, SupervisedContrastive

EmotionLossName = Literal["ce", "class_balanced", "focal", "kl"]
AULossName = Literal["bce", "asymmetric", "focal"]
FeatureLossName = Literal["centre", "triplet", "supcon", "au_jaccard"]


def emotion_loss(
    name: EmotionLossName, *, num_classes: int, class_counts: Sequence[int] | Tensor | None = None, **options: Any
) -> nn.Module:
    """A loss of class logits, called as ``loss(logits, target)``.

    Args:
        name: ``ce``, ``class_balanced``, ``focal`` or ``kl``; see :class:`CrossEntropy`, :class:`ClassBalanced`, :class:`Focal`,
            :class:`Divergence`.
        num_classes: outputs of the model.
        class_counts: training clips of each class; needed where classes are weighted.
        options: of the loss of that name, e.g. ``balance``, ``label_smoothing``, ``beta``, ``gamma``.

    Shapes: logits ``[B, K]``, target int ``[B]`` or a distribution ``[B, K]`` -> scalar.

    Raises:
        UnknownName: no such loss or option.
        ZooError: an option out of its range, or counts that are missing or hold a class without clips.
    """
    known: dict[str, Callable[..., nn.Module]] = {
        "ce": CrossEntropy,
        "class_balanced": ClassBalanced,
        "focal": Focal,
        "kl": Divergence,
    }
    counts = None if class_counts is None else torch.as_tensor(class_counts, dtype=torch.float32)
    if counts is not None and counts.shape != (num_classes,):
        raise ZooError(
            f"class_counts has shape {list(counts.shape)}, the model {num_classes} classes; give one count per class"
        )
    return _build("emotion loss", name, known, {"num_classes": num_classes, "class_counts": counts}, options)


def au_loss(name: AULossName, *, au_labels: Tensor | None = None, **options: Any) -> nn.Module:
    """A loss of AU logits, called as ``loss(au_logits, targets)``; targets that are NaN are unknown and left out.

    Args:
        name: ``bce``, ``asymmetric`` or ``focal``; see :class:`AUCrossEntropy`, :class:`AUAsymmetric`, :class:`AUFocal`.
        au_labels: of the training clips, 1 shown, 0 not shown, NaN unknown; the weights are counted on them. Without, all units
            weigh the same.
        options: of the loss of that name, e.g. ``cap``, ``gamma``.

    Shapes: au_labels float ``[M, A]``; au_logits ``[B, A]``, targets float ``[B, A]`` -> scalar.

    Raises:
        UnknownName: no such loss or option.
        ZooError: an option out of its range, or labels that are no 0/1 table.
    """
    known: dict[str, Callable[..., nn.Module]] = {"bce": AUCrossEntropy, "asymmetric": AUAsymmetric, "focal": AUFocal}
    return _build("AU loss", name, known, {"au_labels": au_labels}, options)


def feature_loss(name: FeatureLossName, *, num_classes: int, num_features: int, **options: Any) -> nn.Module:
    """A loss of features, called as ``loss(features, targets)``, added with a weight to that of the emotion.

    Args:
        name: ``centre``, ``triplet``, ``supcon`` (targets: labels) or ``au_jaccard`` (targets: AU labels).
        num_classes: of the labels.
        num_features: width of the features.
        options: of the loss of that name, e.g. ``temperature``, ``margin``.

    Shapes: features ``[B, D]``; targets int ``[B]``, or float ``[B, A]`` where the loss's ``needs_aus`` is true -> scalar.

    Raises:
        UnknownName: no such loss or option.
        ZooError: an option out of its range.
    """
    known: dict[str, Callable[..., nn.Module]] = {
        "centre": CentreLoss,
        "triplet": BatchHardTriplet,
        "supcon": SupervisedContrastive,
        "au_jaccard": AUJaccard,
    }
    given = {"num_classes": num_classes, "num_features": num_features} if name == "centre" else {}
    return _build("feature loss", name, known, given, options)


def _build(
    kind: str, name: str, known: Mapping[str, Callable[..., nn.Module]], given: dict[str, Any], options: dict[str, Any]
) -> nn.Module:
    if name not in known:
        raise unknown(kind, name, known)
    allowed = [p for p in inspect.signature(known[name]).parameters if p not in given]
    for option in options:
        if option not in allowed:
            raise unknown(f"option of {kind} {name}", option, allowed)
    return known[name](**given, **options)


def _weights_by_balance(counts: Tensor | None, num_classes: int, balance: float) -> Tensor:
    if balance < 0:
        raise ZooError(f"balance is {balance}; it is an exponent from 0 (none) to 1 (full)")
    if not balance:
        return torch.ones(num_classes)
    return (1 / (num_classes * _shares(counts, "balance"))).pow(balance)


def _shares(counts: Tensor | None, what: str) -> Tensor:
    if counts is None or not bool((counts > 0).all()):
        came = None if counts is None else counts.int().tolist()
        raise ZooError(f"{what} needs a training clip of every class; got class_counts {came}")
    return counts / counts.sum()


class _EmotionLoss(nn.Module):
    """Weighted mean over a batch of what :meth:`per_class` says, with the target as a distribution."""

    weight: Tensor  # [K]

    def __init__(self, weight: Tensor, label_smoothing: float = 0.0) -> None:
        super().__init__()
        if not 0 <= label_smoothing < 1:
            raise ZooError(f"label_smoothing is {label_smoothing}; it must be from 0 to below 1")
        self.register_buffer("weight", weight, persistent=False)
        self.label_smoothing = label_smoothing

    def per_class(self, log_p: Tensor) -> Tensor:
        """Loss of each class, were it the true one. Shapes: ``[B, K]`` -> ``[B, K]``."""
        return -log_p

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Shapes: ``[B, K]`` and int ``[B]`` or float ``[B, K]`` -> scalar."""
        if target.dim() == 1:
            target = F.one_hot(target, logits.shape[1])
        target = target.to(torch.float32)
        smooth = (1 - self.label_smoothing) * target + self.label_smoothing / logits.shape[1]
        total = (self.weight * smooth * self.per_class(logits.float().log_softmax(1))).sum()
        # Divided by the weights of the true classes, as torch does: a batch of rare classes does not make a bigger step.
        return total / (self.weight * target).sum()


class CrossEntropy(_EmotionLoss):
    """Cross entropy with class weights (N / (K n_c))^b; equal to torch's, and defined for distributions as well.

    Args:
        num_classes: K.
        class_counts: n_c, training clips of each class; needed where ``balance`` is not 0.
        balance: exponent b of the weights; 0 none, 1 full.
        label_smoothing: share of the target spread over all classes.
    """

    def __init__(
        self,
        *,
        num_classes: int,
        class_counts: Tensor | None = None,
        balance: float = 0.0,
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__(_weights_by_balance(class_counts, num_classes, balance), label_smoothing)


class Focal(_EmotionLoss):
    """Focal loss: cross entropy times (1 - p)^gamma (Lin et al., ICCV 2017), divided by the weights of the true classes.

    Args:
        num_classes: K.
        class_counts: training clips of each class; needed where ``balance`` is not 0.
        gamma: 0 gives the cross entropy; the larger, the less easy clips count.
        balance: exponent of the class weights, see :class:`CrossEntropy`.
    """

    def __init__(
        self, *, num_classes: int, class_counts: Tensor | None = None, gamma: float = 2.0, balance: float = 0.0
    ) -> None:
        super().__init__(_weights_by_balance(class_counts, num_classes, balance))
        self.gamma = at_least_0("gamma", gamma)

    def per_class(self, log_p: Tensor) -> Tensor:
        """Loss of each class, were it the true one."""
        # -expm1 keeps 1 - p exact where p is near 1; the floor keeps the power's slope finite at gamma < 1
        return -log_p * (-torch.expm1(log_p)).clamp(min=1e-8).pow(self.gamma)


class ClassBalanced(Focal):
    """Weights by the effective number of clips, (1 - beta) / (1 - beta^n_c), scaled to a sum of K (Cui et al., CVPR 2019).

    Args:
        num_classes: K.
        class_counts: n_c, training clips of each class.
        beta: from 0 (no weights) to below 1 (towards 1 / n_c).
        gamma: above 0, the class-balanced focal loss.
    """

    def __init__(
        self, *, num_classes: int, class_counts: Tensor | None = None, beta: float = 0.999, gamma: float = 0.0
    ) -> None:
        super().__init__(num_classes=num_classes, gamma=gamma)
        if not 0 <= beta < 1:
            raise ZooError(f"beta is {beta}; it must be from 0 to below 1")
        _shares(class_counts, "class_balanced")
        counts = torch.as_tensor(class_counts, dtype=torch.float64)
        weight = (1 - beta) / (1 - beta**counts)
        self.weight = (weight * num_classes / weight.sum()).float()


class Divergence(_EmotionLoss):
    """Kullback-Leibler divergence from the target distribution to the predicted one; for fuzzy targets.

    Its gradient is that of the cross entropy; its least value is 0 for soft targets too.

    Args:
        num_classes: K.
        class_counts: unused, so that every loss is built alike.
    """

    def __init__(self, *, num_classes: int, class_counts: Tensor | None = None) -> None:
        super().__init__(torch.ones(num_classes))

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """See :func:`emotion_loss`."""
        entropy = 0.0 if target.dim() == 1 else torch.special.entr(target.float()).sum(1).mean()
        return super().forward(logits, target) - entropy
