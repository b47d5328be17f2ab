"""How much of the emotion label do the action units of a clip tell? No recogniser that goes by way of them can do better."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from zoo.errors import DataError
from zoo.train.statistics import interval, person_bootstrap, person_confusions, pooled, resampled

Reader = Literal["lookup", "logistic", "trees"]
READERS: dict[Reader, str] = {
    "lookup": "most frequent emotion of exactly this set of units",
    "logistic": "logistic regression on the units, balanced classes",
    "trees": "gradient-boosted trees on the units",
}


class Lookup:
    """The most frequent class of exactly the same units among the training clips; of a new set, the most frequent class."""

    def fit(self, units: NDArray[Any], labels: NDArray[np.int64]) -> Lookup:
        """Count. Shapes: ``[N, A]``, ``[N]``."""
        self.common = Counter(labels.tolist()).most_common(1)[0][0]
        table: dict[bytes, Counter[int]] = {}
        for row, label in zip(units.astype(np.int8), labels.tolist(), strict=True):
            table.setdefault(row.tobytes(), Counter())[label] += 1
        # of equals the smaller class, so that the order of clips does not matter
        self.table = {key: min(c, key=lambda k, c=c: (-c[k], k)) for key, c in table.items()}  # type: ignore[misc]
        return self

    def predict(self, units: NDArray[Any]) -> NDArray[np.int64]:
        """Look up. Shapes: ``[N, A]`` -> ``[N]``."""
        return np.array([self.table.get(row.tobytes(), self.common) for row in units.astype(np.int8)], np.int64)


def make_reader(name: Reader, seed: int = 0) -> Any:
    """A classifier with ``fit`` and ``predict``."""
    match name:
        case "lookup":
            return Lookup()
        case "logistic":
            from sklearn.linear_model import LogisticRegression

            return LogisticRegression(class_weight="balanced", max_iter=1000)
        case "trees":
            from sklearn.ensemble import GradientBoostingClassifier

            return GradientBoostingClassifier(n_estimators=60, max_depth=3, random_state=seed)
        case _:
            raise DataError(f"there is no reader {name!r}; there are {', '.join(READERS)}")


def ceiling(
    units: NDArray[Any],
    labels: NDArray[np.int64],
    people: Sequence[str],
    classes: Sequence[str],
    *,
    datasets: Sequence[str] | None = None,
    readers: Sequence[Reader] = ("lookup", "logistic", "trees"),
    resamples: int = 2000,
    seed: int = 0,
) -> dict[str, Any]:
    """Emotion from units: fitted and scored on the same clips, and with each person left out.

    The first number says how far the labels follow from the units at all, the second how far that carries over to other people.

    Args:
        units: 0 and 1 per clip and unit.
        labels: class per clip.
        people: who each clip is of.
        classes: their names.
        datasets: of each clip, for drawing people within their data set.
        readers: which classifiers.
        resamples, seed: of the intervals, over people.

    Returns:
        ``readers`` (per reader ``same`` and ``loso``: UF1, UAR, accuracy with intervals), ``ambiguous`` (sets of units that
        have several labels, most clips first), ``clips``, ``people``, ``sets``.

    Raises:
        DataError: fewer than two people or classes, or lengths that differ.
    """
    x, y, who = np.asarray(units), np.asarray(labels, np.int64), np.asarray(people, str)
    if not len(x) == len(y) == len(who) or x.ndim != 2:
        raise DataError(f"wanted one row of units, label and person per clip, got {x.shape}, {len(y)} and {len(who)}")
    if len(set(who)) < 2 or len(set(y.tolist())) < 2:
        raise DataError(f"{len(set(who))} people and {len(set(y.tolist()))} classes: a ceiling needs two of each")
    strata = dict(zip(who, datasets if datasets is not None else [""] * len(who), strict=True))
    out: dict[str, Any] = {}
    for name in readers:
        predicted = {"same": make_reader(name, seed).fit(x, y).predict(x), "loso": np.full(len(y), -1)}
        for person in np.unique(who):
            test = who == person
            if len(set(y[~test].tolist())) < 2:  # nothing to tell apart without this person
                predicted["loso"][test] = y[~test][0]
            else:
                predicted["loso"][test] = make_reader(name, seed).fit(x[~test], y[~test]).predict(x[test])
        out[name] = {}
        for way, called in predicted.items():
            names, counts = person_confusions(y, called, who.tolist(), len(classes))
            weights = person_bootstrap([strata[n] for n in names], resamples=resamples, seed=seed)
            drawn, scores = resampled(counts, weights), pooled(counts.sum((0, 1)))
            out[name][way] = {m: {"value": float(scores[m]), "interval": interval(drawn[m])} for m in scores}
    return {
        "readers": out, "clips": len(y), "people": len(set(who)), "classes": list(classes),
        "sets": len({row.tobytes() for row in x.astype(np.int8)}), "ambiguous": _ambiguous(x, y, classes),
    }  # fmt: skip


def _ambiguous(x: NDArray[Any], y: NDArray[np.int64], classes: Sequence[str]) -> list[dict[str, Any]]:
    found: dict[tuple[int, ...], Counter[str]] = {}
    for row, label in zip(x, y.tolist(), strict=True):
        found.setdefault(tuple(np.flatnonzero(row).tolist()), Counter())[classes[label]] += 1
    several = [(units, counts) for units, counts in found.items() if len(counts) > 1]
    several.sort(key=lambda item: (-sum(item[1].values()), item[0]))
    return [{"columns": list(units), "clips": sum(c.values()), "labels": dict(c.most_common())} for units, c in several]
