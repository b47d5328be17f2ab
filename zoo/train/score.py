"""From the files of a run to one summary: pooled scores, intervals over people, and the spread between people."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from zoo.data.clip_set import ClipSet
from zoo.errors import ProtocolError
from zoo.metrics import confusion, scores
from zoo.train.statistics import interval, person_bootstrap, person_confusions, pooled, resampled
from zoo.train.store import read_json, result_path

RESAMPLES = 10_000


EPOCH = {"last": "last epoch", "oracle": "best epoch on the held-out person: A LEAK, measured on purpose"}


def score(folder: Path, seeds: Sequence[int], data: ClipSet, select: str = "last") -> dict[str, Any]:
    """Pool the results of all folds per seed, score each seed once, then mean and standard deviation (n-1) over seeds.

    Raises:
        ProtocolError: a fold is missing or damaged, a clip was scored twice or never, or a stored truth differs from the data.
    """
    split = data.split()
    tested = np.array(sorted(i for fold in split for i in fold.test))
    predicted = {
        seed: pool(folder, seed, [fold.name for fold in split], data.keys, data.labels, tested) for seed in seeds
    }
    return {
        "protocol": f"{data.protocol}, {len(split)} folds, pooled, {EPOCH[select]}",
        "seeds": list(seeds),
        **summarise(
            keys=data.keys, people=data.people, datasets=data.datasets, classes=data.classes, truth=data.labels,
            predicted=predicted, tested=tested,
        ),
    }  # fmt: skip


def pool(
    folder: Path, seed: int, folds: Sequence[str], keys: Sequence[str], labels: ArrayLike, tested: ArrayLike
) -> NDArray[np.int64]:
    """The predicted class of every clip of one seed, -1 where the protocol tests none. Raises as :func:`score` says."""
    position, truths = {key: i for i, key in enumerate(keys)}, np.asarray(labels)
    predicted = np.full(len(keys), -1)
    for fold in folds:
        path = result_path(folder, seed, fold)
        if not path.is_file():
            raise ProtocolError(f"{path} is missing: run the same command again, it fits only what is missing")
        result = read_json(path)
        for key, truth, logits in zip(result["keys"], result["truth"], result["logits"], strict=True):
            i = position.get(key, -1)
            if i < 0:
                raise ProtocolError(f"{path}: clip {key} is not in the data; delete that file, or choose another --out")
            if predicted[i] >= 0 or truths[i] != truth:
                raise ProtocolError(
                    f"{path}: clip {key} was scored twice, or its truth {truth} is not the data's {truths[i]}"
                )
            predicted[i] = int(np.argmax(logits))
    missing = int((predicted[np.asarray(tested)] < 0).sum())
    if missing:
        raise ProtocolError(f"seed {seed}: {missing} clips have no prediction")
    return predicted


def summarise(
    *,
    keys: Sequence[str],
    people: Sequence[str],
    datasets: Sequence[str],
    classes: Sequence[str],
    truth: ArrayLike,
    predicted: Mapping[int, NDArray[np.int64]],
    tested: ArrayLike | None = None,
) -> dict[str, Any]:
    """What every table, figure and comparison is made from; JSON-plain.

    Args:
        keys, people, datasets: of each clip; people are the unit that is resampled.
        classes: their names.
        truth: class of each clip ``[N]``.
        predicted: per seed, the class of each clip ``[N]``, -1 where it is not tested.
        tested: positions of the clips that the protocol tests; all if not given.

    Returns:
        ``metrics`` (full and per data set: mean, std, seeds), ``intervals`` (95 %, people resampled within their data set),
        ``subjects`` (clips, accuracy and its spread over seeds), ``confusion`` (summed over seeds), and the predictions.
    """
    at = np.arange(len(keys)) if tested is None else np.asarray(tested)
    labels, groups, owners = np.asarray(truth)[at], np.asarray(datasets, str)[at], np.asarray(people, str)[at]
    rows = np.stack([p[at] for p in predicted.values()])
    table: dict[str, dict[str, list[float]]] = {}
    for row in rows:
        for part, values in scores(labels, row, len(classes), groups.tolist()).items():
            for metric, value in values.items():
                table.setdefault(part, {}).setdefault(metric, []).append(value)
    names, counts = person_confusions(labels, rows, owners.tolist(), len(classes))
    home = dict(zip(owners.tolist(), groups.tolist(), strict=True))
    return {
        "classes": list(classes),
        "metrics": {part: _metrics(values) for part, values in table.items()},
        "intervals": {
            "level": 0.95, "resamples": RESAMPLES, "unit": "person, within data set",
            **_intervals(labels, rows, owners, groups, len(classes)),
        },
        "subjects": _subjects(names, [home[name] for name in names], counts),
        "confusion": sum(confusion(labels, row, len(classes)) for row in rows).tolist(),  # type: ignore[union-attr]
        "keys": list(keys),
        "people": list(people),
        "truth": np.asarray(truth).tolist(),
        "predicted": {str(seed): p.tolist() for seed, p in predicted.items()},
    }  # fmt: skip


def _metrics(values: Mapping[str, list[float]]) -> dict[str, Any]:
    def spread(v: list[float]) -> dict[str, Any]:
        std = float(np.std(v, ddof=1)) if len(v) > 1 else None
        return {"mean": float(np.mean(v)), "std": std, "seeds": len(v)}

    return {m: spread(v) for m, v in values.items() if m != "clips"} | {"clips": int(values["clips"][0])}


def _intervals(
    labels: NDArray[Any], rows: NDArray[Any], owners: NDArray[Any], groups: NDArray[Any], num_classes: int
) -> dict[str, Any]:
    """Of the mean over seeds, for the whole and for each data set; one person alone has none."""
    out: dict[str, Any] = {}
    for part in ("full", *dict.fromkeys(groups.tolist())):
        mine = np.ones(len(groups), bool) if part == "full" else groups == part
        names, counts = person_confusions(labels[mine], rows[:, mine], owners[mine].tolist(), num_classes)
        home = dict(zip(owners[mine].tolist(), groups[mine].tolist(), strict=True))
        if len(names) > 1:
            weights = person_bootstrap([home[name] for name in names], resamples=RESAMPLES, seed=0)
            out[part] = {m: interval(v) for m, v in resampled(counts, weights).items()}
    return out


def _subjects(names: Sequence[str], strata: Sequence[str], counts: NDArray[np.int64]) -> dict[str, Any]:
    accuracy = pooled(counts)["accuracy"]  # [P, S]
    return {
        name: {
            "dataset": dataset,
            "clips": int(counts[i, 0].sum()),
            "accuracy": float(accuracy[i].mean()),
            "std": float(accuracy[i].std(ddof=1)) if accuracy.shape[1] > 1 else None,
        }
        for i, (name, dataset) in enumerate(zip(names, strata, strict=True))
    }


def subjects_csv(summary: Mapping[str, Any]) -> str:
    """One row per person: data set, clips, mean accuracy and its standard deviation over seeds."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["subject", "dataset", "clips", "accuracy", "std_over_seeds"])
    for name, row in summary["subjects"].items():
        std = "" if row["std"] is None else f"{row['std']:.4f}"
        writer.writerow([name, row["dataset"], row["clips"], f"{row['accuracy']:.4f}", std])
    return text.getvalue()
