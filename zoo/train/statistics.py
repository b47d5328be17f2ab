"""How sure a score is, and whether two differ: everything resampled or counted by person, since clips of one face are alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

Metric = Literal["uf1", "uar", "accuracy"]
METRICS: tuple[Metric, ...] = ("uf1", "uar", "accuracy")


def person_confusions(
    truth: ArrayLike, predicted: ArrayLike, people: Sequence[str], num_classes: int
) -> tuple[list[str], NDArray[np.int64]]:
    """Confusion counts of each person: the sufficient statistic of every pooled score.

    Shapes: truth ``[N]``, predicted ``[S, N]`` (one row per seed) -> names ``[P]`` sorted, counts ``[P, S, K, K]``, rows = truth.
    """
    names, owner = np.unique(np.asarray(people, str), return_inverse=True)
    t, p = np.asarray(truth, np.int64), np.atleast_2d(np.asarray(predicted, np.int64))
    shape = (len(names), len(p), num_classes, num_classes)
    seeds = np.arange(len(p))[:, None]
    cells = np.ravel_multi_index(np.broadcast_arrays(owner[None], seeds, t[None], p), shape)
    return names.tolist(), np.bincount(cells.ravel(), minlength=int(np.prod(shape))).reshape(shape)


def pooled(counts: NDArray[Any]) -> dict[Metric, NDArray[np.float64]]:
    """UF1, UAR and accuracy of confusion counts, as :mod:`zoo.metrics` defines them, over any leading axes.

    A class without truth counts 0 in UF1 and is left out of UAR.

    Shapes: ``[..., K, K]`` -> each ``[...]``.
    """
    hits = np.diagonal(counts, axis1=-2, axis2=-1).astype(np.float64)
    actual, called = counts.sum(-1), counts.sum(-2)
    f1 = np.divide(2 * hits, actual + called, out=np.zeros_like(hits), where=actual + called > 0)
    recall = np.divide(hits, actual, out=np.full_like(hits, np.nan), where=actual > 0)
    return {
        "uf1": f1.mean(-1),
        "uar": np.nanmean(recall, -1),
        "accuracy": hits.sum(-1) / np.maximum(actual.sum(-1), 1),
    }


def person_bootstrap(strata: Sequence[str], *, resamples: int, seed: int) -> NDArray[np.int64]:
    """How often each person is drawn in each resample: people with replacement, within their data set.

    Shapes: strata ``[P]`` -> ``[R, P]``.
    """
    rng, groups = np.random.default_rng(seed), np.asarray(strata, str)
    weights = np.zeros((resamples, len(groups)), np.int64)
    for name in np.unique(groups):
        where = np.flatnonzero(groups == name)
        weights[:, where] = rng.multinomial(len(where), np.full(len(where), 1 / len(where)), size=resamples)
    return weights


def resampled(counts: NDArray[Any], weights: NDArray[np.int64]) -> dict[Metric, NDArray[np.float64]]:
    """Pooled scores of each resample, averaged over seeds.

    Shapes: counts ``[P, S, K, K]``, weights ``[R, P]`` -> each ``[R]``.
    """
    flat = weights.astype(np.float64) @ counts.reshape(len(counts), -1)
    return {m: v.mean(-1) for m, v in pooled(flat.reshape(len(weights), *counts.shape[1:])).items()}


def interval(values: ArrayLike, *, level: float = 0.95) -> list[float]:
    """Percentile interval ``[low, high]``."""
    tail = (1 - level) / 2
    return [float(v) for v in np.quantile(np.asarray(values), [tail, 1 - tail])]


def sign_p(differences: ArrayLike) -> float:
    """Two-sided bootstrap p: twice the share of resamples on the far side of zero, never below 2 / (R + 1)."""
    d = np.asarray(differences)
    return float(min(1.0, 2 * (1 + min((d <= 0).sum(), (d >= 0).sum())) / (len(d) + 1)))


def mcnemar(a_right: ArrayLike, b_right: ArrayLike) -> dict[str, Any]:
    """Exact McNemar test (McNemar 1947): among clips that one of two gets right, is it a fair coin which?

    It takes clips as independent, which clips of one person are not: read it beside the bootstrap over people.

    Shapes: ``[N]`` booleans each.
    """
    from scipy.stats import binomtest

    a, b = np.asarray(a_right, bool), np.asarray(b_right, bool)
    only_a, only_b = int((a & ~b).sum()), int((~a & b).sum())
    p = float(binomtest(only_a, only_a + only_b).pvalue) if only_a + only_b else 1.0
    return {"only_first": only_a, "only_second": only_b, "p": p}


def paired_tests(first: Sequence[float], second: Sequence[float]) -> dict[str, Any]:
    """Paired t and Wilcoxon signed-rank test over seeds of one number, None where fewer than two seeds are shared.

    They ask whether the *training runs* differ, on these very people; they say nothing about other people.
    """
    from scipy.stats import ttest_rel, wilcoxon

    a, b = np.asarray(first, np.float64), np.asarray(second, np.float64)
    if len(a) < 2 or len(a) != len(b):
        return {"pairs": len(a), "t_p": None, "wilcoxon_p": None}
    if np.ptp(a - b) == 0:  # the same difference in every pair: the t statistic would divide by zero
        return {"pairs": len(a), "t_p": 1.0 if a[0] == b[0] else None, "wilcoxon_p": 1.0 if a[0] == b[0] else None}
    return {
        "pairs": len(a),
        "t_p": float(ttest_rel(a, b).pvalue),
        "wilcoxon_p": float(wilcoxon(a, b).pvalue),
    }


def holm(values: Sequence[float]) -> list[float]:
    """p values of one family, corrected for its size (Holm 1979)."""
    order = np.argsort(values)
    out, running = np.zeros(len(values)), 0.0
    for rank, i in enumerate(order):
        running = max(running, min(1.0, (len(values) - rank) * values[i]))
        out[i] = running
    return [float(v) for v in out]
