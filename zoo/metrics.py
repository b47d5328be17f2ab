"""Scores from pooled predictions: the only place where a score is computed.

The challenge's UF1 and UAR (MEGC2019) add true positives, false positives and false negatives over all folds before any
ratio is taken. A mean of per-fold F1 is a different, and much lower, number.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from zoo.errors import ProtocolError


def confusion(truth: ArrayLike, predicted: ArrayLike, num_classes: int) -> NDArray[np.int64]:
    """Confusion matrix, rows are truth.

    Shapes: truth ``[N]``, predicted ``[N]``, both 0..K-1 -> ``[K, K]``.
    """
    t, p = np.asarray(truth), np.asarray(predicted)
    if t.shape != p.shape or t.ndim != 1:
        raise ProtocolError(f"truth and predictions are lists of equal length; got shapes {t.shape} and {p.shape}")
    if t.size and (t.dtype.kind not in "iu" or p.dtype.kind not in "iu"):
        raise ProtocolError(f"labels are whole numbers, the positions of the classes; got {t.dtype} and {p.dtype}")
    if t.size and (min(t.min(), p.min()) < 0 or max(t.max(), p.max()) >= num_classes):
        raise ProtocolError(
            f"labels must lie in 0..{num_classes - 1}; got {min(t.min(), p.min())}..{max(t.max(), p.max())}"
        )
    cells = t.astype(np.int64) * num_classes + p.astype(np.int64)
    return np.bincount(cells, minlength=num_classes**2).reshape(num_classes, num_classes)


def _ratio(numerator: NDArray[Any], denominator: NDArray[Any]) -> NDArray[np.float64]:
    return np.divide(numerator, denominator, out=np.zeros(len(numerator)), where=denominator > 0)


def accuracy(truth: ArrayLike, predicted: ArrayLike, num_classes: int) -> float:
    """Share of correct predictions (WAR)."""
    matrix = confusion(truth, predicted, num_classes)
    return float(np.trace(matrix) / max(matrix.sum(), 1))


def uar(truth: ArrayLike, predicted: ArrayLike, num_classes: int) -> float:
    """Unweighted average recall over the classes that occur in the truth."""
    matrix = confusion(truth, predicted, num_classes)
    support = matrix.sum(1)
    return float(_ratio(np.diag(matrix), support)[support > 0].mean()) if support.any() else 0.0


def uf1(truth: ArrayLike, predicted: ArrayLike, num_classes: int) -> float:
    """Unweighted F1: mean over classes of 2TP / (2TP + FP + FN), counted over all samples.

    A class that occurs neither in the truth nor in the predictions is left out of the mean.
    """
    matrix = confusion(truth, predicted, num_classes)
    total = matrix.sum(0) + matrix.sum(1)  # 2TP + FP + FN
    return float(_ratio(2 * np.diag(matrix), total)[total > 0].mean()) if total.any() else 0.0


def scores(
    truth: ArrayLike, predicted: ArrayLike, num_classes: int, groups: Sequence[str] | None = None
) -> dict[str, dict[str, float]]:
    """UF1, UAR, accuracy and count, over everything (``full``) and within each group (e.g. data set of the clip)."""
    t, p = np.asarray(truth), np.asarray(predicted)
    rows = {"full": np.ones(len(t), bool)}
    if groups is not None:
        rows |= {name: np.asarray(groups) == name for name in dict.fromkeys(groups)}
    return {
        name: {
            "uf1": uf1(t[rows], p[rows], num_classes),
            "uar": uar(t[rows], p[rows], num_classes),
            "accuracy": accuracy(t[rows], p[rows], num_classes),
            "clips": int(rows.sum()),
        }
        for name, rows in rows.items()
    }
