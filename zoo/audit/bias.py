"""Does a recogniser serve all groups of people alike? Any column of a manifest, or of a table about people, makes the groups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from zoo.errors import DataError
from zoo.train.statistics import interval, person_bootstrap, pooled

if TYPE_CHECKING:
    import pandas as pd

    from zoo.train.compare import Run

FEW = 5  # people below which a group's scores say little


def groups_of(run: Run, by: str, table: str | Path | None = None) -> list[str | None]:
    """The group of each clip.

    Args:
        run: pooled predictions.
        by: ``dataset``, or a column of the table.
        table: a manifest, or a CSV with the column and one of ``key``; ``dataset`` and ``subject``; ``subject``.

    Returns:
        One name per clip in the order of ``run.keys``; None where the table does not say.

    Raises:
        DataError: no such column, nothing to join by, two answers for one clip, or none for any.
    """
    if table is None:
        if by != "dataset":
            raise DataError(f"groups by {by!r} need a table that says it of each clip or person: name it with --table")
        return [key.partition("/")[0] for key in run.keys]
    frame = _read(Path(table))
    if by not in frame:
        raise DataError(f"{table} has no column {by!r}; it has {', '.join(map(str, frame.columns))}")
    joined = _join(run.keys, frame, by, table)
    if not any(value is not None for value in joined):
        raise DataError(f"{table} says {by} of none of the {len(run.keys)} clips, such as {run.keys[0]}")
    return joined


def _read(path: Path) -> pd.DataFrame:
    import pandas as pd

    if path.suffix == ".parquet":
        from zoo.data.manifest import Manifest

        frame = Manifest.load(path).table.copy()
        frame["key"] = frame.index
        return frame
    try:
        return pd.read_csv(path, dtype=str, keep_default_na=False, na_values=[""])
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read as a table ({error})") from None


def _join(keys: Sequence[str], frame: pd.DataFrame, by: str, table: str | Path) -> list[str | None]:
    named = [key.split("/") for key in keys]
    subject = [f"{parts[0]}/{parts[1]}" for parts in named]
    if "key" in frame and frame["key"].isin(keys).any():
        wanted, given = list(keys), frame["key"].astype(str)
    elif {"dataset", "subject"} <= set(frame):
        wanted, given = subject, frame["dataset"].astype(str) + "/" + frame["subject"].astype(str)
    elif "subject" in frame:
        if len({parts[0] for parts in named}) > 1:
            raise DataError(
                f"{table} names subjects without their data set, and the run has several: add a column dataset"
            )
        wanted, given = [parts[1] for parts in named], frame["subject"].astype(str)
    else:
        raise DataError(f"{table} has neither key nor subject: there is nothing to find a clip by")
    answers: dict[str, str] = {}
    for name, value in zip(given, frame[by], strict=True):
        if value is None or value != value or str(value) in ("", "<NA>"):
            continue
        if answers.setdefault(name, str(value)) != str(value):
            raise DataError(f"{table} says {by} of {name} twice, and not the same: {answers[name]} and {value}")
    return [answers.get(name) for name in wanted]


def group_bias(
    run: Run, groups: Sequence[str | None], *, by: str, resamples: int = 10_000, seed: int = 0
) -> dict[str, Any]:
    """Scores of each group, the worst one, gaps, and equalised odds; intervals from resampling people within their group.

    Scores are means over seeds. The recall (true-positive rate) of a class that a group does not have is left out of everything,
    and so is a class that fewer than two groups have.

    Args:
        run: pooled predictions.
        groups: of each clip, None to leave it out.
        by: what the groups are, in words.

    Returns:
        ``groups`` (clips, people, UF1, UAR, accuracy with intervals), ``worst`` (lowest UAR), ``gap`` (highest minus
        lowest UAR, with interval), ``odds`` (per class: largest difference of true- and of false-positive rates),
        ``people`` (spread of UAR over people), ``left_out``, ``notes``.

    Raises:
        DataError: fewer than two groups.
    """
    rows = np.array([k for k, group in enumerate(groups) if group is not None])
    names = sorted({str(g) for g in groups if g is not None})
    if len(names) < 2:
        raise DataError(f"grouping by {by} gives {len(names)} group{'s' * (len(names) != 1)}; a comparison needs two")
    label = np.array([names.index(str(groups[k])) for k in rows])
    who, owner = np.unique(np.asarray(run.people, str)[rows], return_inverse=True)
    classes, seeds = len(run.classes), len(run.predicted)
    counts = np.zeros((len(who), len(names), seeds, classes, classes), np.int64)
    for s, predicted in enumerate(run.predicted.values()):
        np.add.at(counts[:, :, s], (owner, label, run.truth[rows], predicted[rows]), 1)
    belongs = counts.sum((2, 3, 4)) > 0  # [P, G]
    one_each = bool((belongs.sum(1) == 1).all())
    # people of one group are drawn among themselves, so that no resample loses a group
    strata = [names[k] for k in belongs.argmax(1)] if one_each else [""] * len(who)
    weights = person_bootstrap(strata, resamples=resamples, seed=seed).astype(np.float64)
    drawn = (weights @ counts.reshape(len(who), -1)).reshape(len(weights), *counts.shape[1:])
    total = counts.sum(0)  # [G, S, K, K]
    with np.errstate(invalid="ignore"):
        scores = {m: v.mean(-1) for m, v in pooled(total).items()}  # [G]
        spread = {m: v.mean(-1) for m, v in _quiet(drawn).items()}  # [R, G]
    notes = [
        f"{n} has {int(b)} people: its scores say little" for n, b in zip(names, belongs.sum(0), strict=True) if b < FEW
    ]
    notes += [
        f"{n} has no clip of {c}"
        for g, n in enumerate(names)
        for k, c in enumerate(run.classes)
        if not total[g, 0, k].sum()
    ]
    if not one_each:
        notes.append("some people are in several groups: people are drawn from all of them together")
    uar = scores["uar"]
    gaps = np.nanmax(spread["uar"], 1) - np.nanmin(spread["uar"], 1)
    return {
        "by": by,
        "groups": {
            name: {
                "clips": int((label == g).sum()), "people": int(belongs[:, g].sum()),
                **{m: {"value": float(scores[m][g]), "interval": _interval(spread[m][:, g])} for m in scores},
            }
            for g, name in enumerate(names)
        },
        "worst": {"group": names[int(uar.argmin())], "uar": float(uar.min())},
        "gap": {"uar": float(uar.max() - uar.min()), "interval": _interval(gaps)},
        "odds": _odds(total, run.classes),
        "people": _people(counts.sum(1)),
        "left_out": len(groups) - len(rows),
        "seeds": seeds, "resamples": resamples, "notes": notes,
    }  # fmt: skip


def _quiet(drawn: NDArray[Any]) -> Mapping[Any, NDArray[np.float64]]:
    import warnings

    with warnings.catch_warnings():  # a resample may lack every clip of a small group; it is left out of the interval
        warnings.simplefilter("ignore", RuntimeWarning)
        return pooled(drawn)


def _interval(values: NDArray[np.float64]) -> list[float]:
    kept = values[np.isfinite(values)]
    return interval(kept) if len(kept) else [float("nan"), float("nan")]


def _odds(total: NDArray[np.int64], classes: Sequence[str]) -> dict[str, dict[str, float | None]]:
    """Hardt, Price and Srebro 2016: rates of calling a class, of those who show it and of those who do not, compared."""
    out: dict[str, dict[str, float | None]] = {}
    for k, name in enumerate(classes):
        shown = total[:, :, k].sum(-1)
        called = total[:, :, :, k].sum(-1)
        hits, everyone = total[:, :, k, k], total.sum((-1, -2))
        true = [float((h / s).mean()) for h, s in zip(hits, shown, strict=True) if s.all()]
        false = [
            float(((c - h) / (e - s)).mean())
            for c, h, e, s in zip(called, hits, everyone, shown, strict=True)
            if (e - s).all()
        ]
        gaps = [max(rates) - min(rates) if len(rates) > 1 else None for rates in (true, false)]
        told = [g for g in gaps if g is not None]
        out[name] = {"true_positive": gaps[0], "false_positive": gaps[1], "difference": max(told) if told else None}
    return out


def _people(counts: NDArray[np.int64]) -> dict[str, float]:
    values = pooled(counts)["uar"].mean(1)
    return {"mean": float(values.mean()), "p10": float(np.quantile(values, 0.1)), "median": float(np.median(values))}
