"""Recognition and action-unit scores from pooled predictions (spotting: :mod:`zoo.metrics_spotting`).

Every function takes the predictions of *all* folds at once (Forman and Scholz 2010, and the guideline of MEGC2019): a
mean of per-fold F1 values is another quantity, distorted by folds of one class, and only exists here under the name
:func:`fold_mean_acc`. Plain numpy; tested against scikit-learn, torchmetrics and the organisers' published counts.
"""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from zoo.errors import ProtocolError

# --- recognition -----------------------------------------------------------------------------------------------------


def _labels(values: ArrayLike, name: str, num_classes: int) -> NDArray[np.int64]:
    array = np.asarray(values)
    if array.ndim != 1:
        raise ProtocolError(f"{name} must be a flat list of class indices; got shape {array.shape}")
    if array.size and not np.issubdtype(array.dtype, np.integer):
        raise ProtocolError(
            f"{name} must hold integer class indices; got {array.dtype} (take argmax of probabilities first)"
        )
    wrong = (array < 0) | (array >= num_classes) if array.size else np.zeros(0, bool)
    if wrong.any():
        at = int(np.argmax(wrong))
        raise ProtocolError(
            f"{name}[{at}] is {array[at]}; with {num_classes} classes indices run from 0 to {num_classes - 1}"
        )
    return array.astype(np.int64)


def confusion(truth: ArrayLike, predicted: ArrayLike, num_classes: int) -> NDArray[np.int64]:
    """Count pairs (truth, prediction); rows are the truth.

    Args:
        truth: class indices of all test samples, pooled over the folds.
        predicted: class indices in the same order.
        num_classes: the number of classes that the protocol declares, whether or not all occur.

    Shapes:
        truth, predicted: ``[N]`` integers; result ``[K, K]`` int64.

    Raises:
        ProtocolError: no samples, unequal lengths, or an index outside ``0..K-1``.
    """
    if num_classes < 1:
        raise ProtocolError(f"num_classes is {num_classes}; a protocol declares at least 1 class")
    t, p = _labels(truth, "truth", num_classes), _labels(predicted, "predicted", num_classes)
    if len(t) != len(p):
        raise ProtocolError(f"{len(t)} true labels but {len(p)} predictions; join them by sample id before scoring")
    if not len(t):
        raise ProtocolError("nothing to score: the lists of labels are empty")
    counts = np.bincount(t * num_classes + p, minlength=num_classes * num_classes)
    return counts.reshape(num_classes, num_classes).astype(np.int64)


def _ratio(numerator: NDArray[Any], denominator: NDArray[Any]) -> NDArray[np.float64]:
    """Element-wise quotient, 0 where the denominator is 0."""
    return np.divide(numerator, denominator, out=np.zeros(len(numerator)), where=denominator > 0)


def _per_class(matrix: NDArray[np.int64]) -> dict[str, NDArray[np.float64]]:
    hits, actual, called = np.diag(matrix), matrix.sum(1), matrix.sum(0)
    return {"precision": _ratio(hits, called), "recall": _ratio(hits, actual), "f1": _ratio(2 * hits, actual + called)}


def _warn_absent(matrix: NDArray[np.int64], stacklevel: int = 3) -> NDArray[np.bool_]:
    present = matrix.sum(1) > 0
    if not present.all():
        absent = ", ".join(map(str, np.flatnonzero(~present)))
        warnings.warn(
            f"class {absent} has no test sample in the pool; it is left out of UAR and counts 0 in UF1",
            stacklevel=stacklevel,
        )
    return present


def _uar(matrix: NDArray[np.int64]) -> float:
    return float(_per_class(matrix)["recall"][matrix.sum(1) > 0].mean())


def harmonic_of(matrix: NDArray[np.int64], classes: Literal["declared", "present"]) -> float:
    """:func:`harmonic_f1` of a confusion matrix ``[K, K]``, rows = truth."""
    used = (matrix.sum(0) + matrix.sum(1) > 0) if classes == "present" else np.ones(len(matrix), bool)
    parts = _per_class(matrix)
    p, r = parts["precision"][used].mean(), parts["recall"][used].mean()
    return float(2 * p * r / (p + r)) if p + r > 0 else 0.0


def accuracy(truth: ArrayLike, predicted: ArrayLike, num_classes: int) -> float:
    """Share of samples that are right, ``sum_c TP_c / N``; equal to the weighted average recall (WAR) and to micro
    F1.
    """
    matrix = confusion(truth, predicted, num_classes)
    return float(np.trace(matrix) / matrix.sum())


def uar(truth: ArrayLike, predicted: ArrayLike, num_classes: int) -> float:
    """Unweighted average recall, the mean of ``TP_c / n_c``; a class without a test sample is left out, with a
    warning.
    """
    matrix = confusion(truth, predicted, num_classes)
    _warn_absent(matrix)
    return _uar(matrix)


def uf1(truth: ArrayLike, predicted: ArrayLike, num_classes: int, *, absent: Literal["zero", "skip"] = "zero") -> float:
    """Unweighted (macro) F1, the mean of ``2 TP_c / (2 TP_c + FP_c + FN_c)`` over the declared classes (MEGC2019).

    Args:
        truth: class indices ``[N]``.
        predicted: class indices ``[N]``.
        num_classes: declared number of classes; the divisor.
        absent: a class without a test sample counts 0 (``"zero"``) or is left out of the mean (``"skip"``).
    """
    matrix = confusion(truth, predicted, num_classes)
    present = _warn_absent(matrix) if absent == "zero" else matrix.sum(1) > 0
    values = _per_class(matrix)["f1"]
    return float(values.mean() if absent == "zero" else values[present].mean())


def weighted_f1(truth: ArrayLike, predicted: ArrayLike, num_classes: int) -> float:
    """F1 weighted by class frequency, ``sum_c n_c / N * F1_c``; papers often print it as plain "F1"."""
    matrix = confusion(truth, predicted, num_classes)
    return float((_per_class(matrix)["f1"] * matrix.sum(1)).sum() / matrix.sum())


def micro_f1(truth: ArrayLike, predicted: ArrayLike, num_classes: int) -> float:
    """F1 of the summed counts. For single labels it *is* the accuracy: never report it as macro F1."""
    return accuracy(truth, predicted, num_classes)


def harmonic_f1(
    truth: ArrayLike, predicted: ArrayLike, num_classes: int, *, classes: Literal["declared", "present"] = "declared"
) -> float:
    """Harmonic mean of class-mean precision and class-mean recall, ``2 P R / (P + R)``. Not UF1.

    Args:
        truth: class indices ``[N]``.
        predicted: class indices ``[N]``.
        num_classes: declared number of classes.
        classes: average over all declared classes, or (``"present"``, as MEAN's code) over those in truth or
            prediction.
    """
    return harmonic_of(confusion(truth, predicted, num_classes), classes)


def fold_mean_acc(truth: ArrayLike, predicted: ArrayLike, folds: Sequence[Hashable]) -> float:
    """Mean over folds of the fold's accuracy: what challenges do *not* report; kept under its own name for
    comparison.
    """
    t, p = np.asarray(truth), np.asarray(predicted)
    if not len(t) == len(p) == len(folds) or not len(t):
        raise ProtocolError(
            f"truth, predicted and folds need one equal, positive length; got {len(t)}, {len(p)}, {len(folds)}"
        )
    hits: dict[Hashable, list[bool]] = defaultdict(list)
    for fold, right in zip(folds, t == p, strict=True):
        hits[fold].append(bool(right))
    return float(np.mean([np.mean(values) for values in hits.values()]))


def scores(
    truth: ArrayLike, predicted: ArrayLike, num_classes: int, groups: Sequence[Hashable] | None = None
) -> dict[str, dict[str, float]]:
    """Every recognition score of one pool of predictions, each under its own name.

    Args:
        truth: class indices ``[N]`` of all folds together.
        predicted: class indices ``[N]`` in the same order.
        num_classes: declared number of classes K.
        groups: one name per sample, usually the data set; each group is scored on the *same* predictions, filtered.

    Returns:
        ``full`` and one entry per group, each with ``uf1, uar, accuracy, war, weighted_f1, micro_f1, harmonic_f1``
        and the number of ``clips``.
    """
    matrix = confusion(truth, predicted, num_classes)
    _warn_absent(matrix)
    result = {"full": _summary(matrix)}
    if groups is not None:
        t, p, names = np.asarray(truth), np.asarray(predicted), [str(g) for g in groups]
        if len(names) != len(t) or "full" in names:
            what = "a group is called 'full', which is the whole" if "full" in names else f"{len(names)} group names"
            raise ProtocolError(f"{what}, for {len(t)} samples; give one name per sample, and another than 'full'")
        for name in dict.fromkeys(names):
            chosen = np.array([n == name for n in names])
            result[name] = _summary(confusion(t[chosen], p[chosen], num_classes))
    return result


def class_scores(truth: ArrayLike, predicted: ArrayLike, num_classes: int) -> dict[str, list[Any]]:
    """Scores of each class: ``f1, precision, recall, support`` (lists of K), ``absent`` classes, ``confusion``;
    JSON-plain.
    """
    matrix = confusion(truth, predicted, num_classes)
    support = matrix.sum(1)
    return {
        **{name: [float(v) for v in values] for name, values in _per_class(matrix).items()},
        "support": [int(v) for v in support],
        "absent": [int(c) for c in np.flatnonzero(support == 0)],
        "confusion": matrix.tolist(),
    }


def _summary(matrix: NDArray[np.int64]) -> dict[str, float]:
    f1, support, total = _per_class(matrix)["f1"], matrix.sum(1), int(matrix.sum())
    acc = float(np.trace(matrix) / total)
    return {
        "uf1": float(f1.mean()),
        "uar": _uar(matrix),
        "accuracy": acc,
        "war": acc,
        "weighted_f1": float((f1 * support).sum() / total),
        "micro_f1": acc,
        "harmonic_f1": harmonic_of(matrix, "declared"),
        "clips": total,
    }


def join_by_id(
    truth: Mapping[str, Any], predicted: Iterable[tuple[str, Any]]
) -> tuple[list[Any], list[Any], list[str]]:
    """Bring truth and predictions into one order by sample id, so that no two files can be zipped out of step.

    Returns:
        True values, predicted values and ids, in the order of ``truth``.

    Raises:
        ProtocolError: a sample is predicted twice, never, or is not in the protocol.
    """
    given: dict[str, Any] = {}
    doubled = []
    for key, value in predicted:
        if key in given:
            doubled.append(key)
        given[key] = value
    problems = {
        "scored twice": doubled,
        "without a prediction": [k for k in truth if k not in given],
        "predicted but not in the protocol": [k for k in given if k not in truth],
    }
    found = [f"{len(keys)} {what} (first: {', '.join(keys[:3])})" for what, keys in problems.items() if keys]
    if found:
        raise ProtocolError(
            f"predictions do not fit the protocol's samples: {'; '.join(found)}. "
            "Give exactly one prediction for each sample id."
        )
    return list(truth.values()), [given[k] for k in truth], list(truth)


# --- action units ----------------------------------------------------------------------------------------------------


def au_f1(
    truth: ArrayLike, predicted: ArrayLike, units: Sequence[int], known: ArrayLike | None = None
) -> dict[str, Any]:
    """Binary F1 of the *positive* class for each action unit, on pooled predictions, and their plain mean (CD6ME).

    The benchmark's documentation says "macro", its configuration scores the positive class; this is the latter. A
    unit without positives has F1 0 (as in scikit-learn) and pulls the mean down, hence ``positives`` beside every
    value.

    Args:
        truth: 0/1 per sample and unit.
        predicted: 0/1 per sample and unit (logits thresholded at 0).
        units: the AU numbers, one per column.
        known: False for a sample whose AUs were not coded; it is left out and counted.

    Shapes:
        truth, predicted: ``[N, A]``; known: ``[N]``.
    """
    t, p = np.asarray(truth), np.asarray(predicted)
    if t.shape != p.shape or t.ndim != 2 or t.shape[1] != len(units):
        raise ProtocolError(
            f"truth {t.shape} and predicted {p.shape} must both be [samples, {len(units)}], one column per unit"
        )
    for name, array in (("truth", t), ("predicted", p)):
        if not np.isin(array, (0, 1)).all():
            raise ProtocolError(
                f"{name} must be 0 or 1 everywhere; threshold logits at 0, and mark uncoded samples in `known`"
            )
    keep = np.ones(len(t), bool) if known is None else np.asarray(known, bool)
    if keep.shape != (len(t),):
        raise ProtocolError(f"known must hold one flag for each of the {len(t)} samples; got shape {keep.shape}")
    t, p = t[keep].astype(bool), p[keep].astype(bool)
    hits, actual, called = (t & p).sum(0), t.sum(0), p.sum(0)
    values = _ratio(2 * hits, actual + called)
    return {
        "f1": {int(u): float(v) for u, v in zip(units, values, strict=True)},
        "mean": float(values.mean()),
        "positives": {int(u): int(n) for u, n in zip(units, actual, strict=True)},
        "n": int(keep.sum()),
        "left_out": int((~keep).sum()),
    }
