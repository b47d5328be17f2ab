"""Losses between two domains: macro- and micro-expressions, or one database and another.

All take features or logits of a batch of each domain and give a scalar; none is below 0.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Literal, assert_never

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zoo.errors import ZooError

Inequality = Literal["micro_above", "macro_above"]


class _Reverse(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, strength: float) -> Tensor:
        ctx.strength = strength
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return -ctx.strength * gradients[0], None


def reverse_gradient(x: Tensor, strength: float = 1.0) -> Tensor:
    """The tensor itself, whose gradient comes back with the other sign, times ``strength`` (Ganin and Lempitsky, ICML 2015)."""
    reversed_: Tensor = _Reverse.apply(x, strength)
    return reversed_


def dann_strength(progress: float, slope: float = 10.0) -> float:
    """How strongly a gradient is reversed as training goes from 0 to 1: 2 / (1 + exp(-slope progress)) - 1."""
    return 2 / (1 + math.exp(-slope * progress)) - 1


class DomainDiscriminator(nn.Sequential):
    """Tells the domain of features, layer by layer: ReLU and dropout between, one logit at the end.

    Args:
        widths: of its layers, the features first.
        dropout: behind each hidden layer.

    Shapes: ``[B, widths[0]]`` -> ``[B]``. Parameters: 10,369 with 128, 64 and 32 (EMR's).
    """

    def __init__(self, widths: Sequence[int] = (128, 64, 32), *, dropout: float = 0.5) -> None:
        layers: list[nn.Module] = []
        for a, b in pairwise(widths):
            layers += [nn.Linear(a, b), nn.ReLU(), nn.Dropout(dropout)]
        super().__init__(*layers, nn.Linear(widths[-1], 1), nn.Flatten(0))


def domain_loss(macro_logits: Tensor, micro_logits: Tensor) -> Tensor:
    """Binary cross entropy of telling macro (0) from micro (1); both domains weigh the same.

    Shapes: ``[B]``, ``[b]`` -> scalar.
    """
    return (F.softplus(macro_logits).mean() + F.softplus(-micro_logits).mean()) / 2


def coral(a: Tensor, b: Tensor) -> Tensor:
    """Squared distance of two covariance matrices over 4 d² (Sun and Saenko, ECCV workshops 2016).

    Shapes: ``[N, D]``, ``[M, D]`` -> scalar.

    Raises:
        ZooError: fewer than two clips on one side, which have no covariance.
    """
    _matching(a, b, least=2)
    return (_covariance(a) - _covariance(b)).square().sum() / (4 * a.shape[1] ** 2)


def mmd(a: Tensor, b: Tensor, factors: Sequence[float] = (0.25, 0.5, 1.0, 2.0, 4.0)) -> Tensor:
    """Squared maximum mean discrepancy under a sum of Gaussian kernels (Gretton et al., JMLR 2012; Long et al., ICML 2015).

    The kernels are exp(-|x - y|² / (f s)), s the mean squared distance between different clips of both sides, taken as a
    constant; the estimate keeps the diagonal, so that it is 0 for equal sets and never below.

    Args:
        a, b: features of the two domains.
        factors: f of each kernel.

    Shapes: ``[N, D]``, ``[M, D]`` -> scalar.
    """
    _matching(a, b, least=1)
    both, n = torch.cat((a, b)).float(), len(a)
    apart = (both[:, None] - both).square().sum(-1)
    scale = apart.detach().sum() / max(len(both) * (len(both) - 1), 1)
    if not bool(scale > 0):
        return both.sum() * 0
    kernel = torch.stack([torch.exp(-apart / (f * scale)) for f in factors]).sum(0)
    return (kernel[:n, :n].mean() + kernel[n:, n:].mean() - 2 * kernel[:n, n:].mean()).clamp_min(0)


def attention_transfer(student: Sequence[Tensor], teacher: Sequence[Tensor]) -> Tensor:
    """Distance between where two networks look, summed over stages (Zagoruyko and Komodakis, ICLR 2017).

    Where a network looks is the mean of its squared maps, as a vector of length 1; the distance is that of vectors, its mean over
    the batch. The teacher gets no gradient.

    Shapes: each stage ``[B, c, h, w]``, channels may differ -> scalar.

    Raises:
        ZooError: stages or sizes that differ.
    """
    sizes = [[tuple(m.shape[0:1] + m.shape[2:]) for m in maps] for maps in (student, teacher)]
    if sizes[0] != sizes[1]:
        raise ZooError(
            f"attention is carried over between maps of one size, stage by stage; the student has {sizes[0]}, the "
            f"teacher {sizes[1]} (clips, height, width)"
        )
    looks = [[F.normalize(m.square().mean(1).flatten(1)) for m in maps] for maps in (student, teacher)]
    return torch.stack([(s - t.detach()).norm(dim=1).mean() for s, t in zip(*looks, strict=True)]).sum()


def loss_inequality(micro: Tensor, macro: Tensor, direction: Inequality = "micro_above") -> Tensor:
    """By how much one network's loss is above the other's on the same clips; the mean of what is above 0.

    Reading: the idea (Xia et al., ACM MM 2020) is that the network of micro-expressions, which is taught, should do no worse than
    its teacher: ``micro_above``, max(0, micro - macro). The authors' released code has it the other way round: ``macro_above``.

    Shapes: losses of each clip ``[B]``, ``[B]`` -> scalar.
    """
    match direction:
        case "micro_above":
            return (micro - macro.detach()).relu().mean()
        case "macro_above":
            return (macro.detach() - micro).relu().mean()
        case _:
            assert_never(direction)


def cross_domain_triplet(
    micro: Tensor, micro_labels: Tensor, macro: Tensor, macro_labels: Tensor, *, margin: float = 0.3
) -> Tensor:
    """Each micro clip nearer to the furthest macro clip of its emotion than to the nearest of another, by a margin.

    Features are brought to length 1 first. Clips whose emotion, or any other, no macro clip of the batch shows are left out; 0
    where none is left.

    Shapes: micro ``[B, D]``, labels int ``[B]``; macro ``[b, D]``, labels int ``[b]`` -> scalar.
    """
    apart = (F.normalize(micro.float())[:, None] - F.normalize(macro.float())).square().sum(-1).clamp_min(1e-12).sqrt()
    same = micro_labels[:, None] == macro_labels
    complete = same.any(1) & (~same).any(1)
    furthest = apart.masked_fill(~same, -torch.inf).amax(1)
    nearest = apart.masked_fill(same, torch.inf).amin(1)
    losses = (furthest - nearest + margin)[complete].relu()
    return losses.mean() if len(losses) else micro.sum() * 0


def _covariance(x: Tensor) -> Tensor:
    centred = x.float() - x.float().mean(0)
    return centred.T @ centred / (len(x) - 1)


def _matching(a: Tensor, b: Tensor, *, least: int) -> None:
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1] or min(len(a), len(b)) < least:
        raise ZooError(
            f"features of two domains are [N, D] and [M, D] with at least {least} clips each; got {list(a.shape)} and "
            f"{list(b.shape)}: raise the batch size, or check that neither domain is empty"
        )
