"""Classical reference points under the same folds and the same scoring as every network."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from zoo.data.flow_maps import FlowMaps
from zoo.data.splits import split_digest
from zoo.inputs import prepare_maps
from zoo.train.score import summarise
from zoo.types import InputSpec

Baseline = Literal["majority", "svm", "svm_robust"]


def run_baseline(name: Baseline, data: FlowMaps) -> dict[str, Any]:
    """Leave-one-subject-out with ``majority`` (the training side's most frequent class) or ``svm``.

    The support vector machine (RBF, C=2, balanced classes) sees standardised 7x7 block means, see
    :class:`zoo.features.block_flow.BlockFlow`; as ``svm_robust`` it sees them of maps scaled robustly, see
    :class:`zoo.types.InputSpec`. All are deterministic: one run, no standard deviation.

    Returns:
        A summary in the form of :func:`zoo.train.score.score`.
    """
    folds = data.split()
    predicted: NDArray[np.int64] = np.full(len(data), -1)
    maps = prepare_maps(data.maps, InputSpec(scaling="robust")) if name == "svm_robust" else data.maps
    for fold in folds:
        train, test = list(fold.train), list(fold.test)
        if name == "majority":
            predicted[test] = np.bincount(data.labels[train]).argmax()
        else:
            predicted[test] = _svm().fit(maps[train], data.labels[train]).predict(maps[test])
    return {
        "protocol": f"leave-one-subject-out, {len(folds)} subjects, pooled",
        "seeds": [0],
        **summarise(
            keys=data.keys, people=data.people, datasets=data.datasets, classes=data.classes, truth=data.labels,
            predicted={0: predicted},
        ),
        "select": "none",
        "baseline": name,
        "digests": {"inputs": data.digest, "split": split_digest(folds, data.keys)},
    }  # fmt: skip


def _svm() -> Any:
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    from zoo.features.block_flow import BlockFlow

    return make_pipeline(BlockFlow(), StandardScaler(), SVC(C=2.0, class_weight="balanced"))
