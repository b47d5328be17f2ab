"""Do two runs differ? Paired, on the same clips and the same folds, with people as the unit of chance.

The difference of pooled scores is averaged over seeds; its interval comes from resampling people within their data set
(Efron and Tibshirani 1993, the same people drawn for both runs). McNemar's test looks at clips, the paired t and Wilcoxon tests
at seeds: three questions, three answers, none of which stands for another.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoo.errors import ProtocolError
from zoo.train.statistics import (
    Metric,
    holm,
    interval,
    mcnemar,
    paired_tests,
    person_bootstrap,
    person_confusions,
    pooled,
    resampled,
    sign_p,
)  # fmt: skip
from zoo.train.store import read_json

SHOWN: tuple[Metric, ...] = ("uf1", "uar")


@dataclass(frozen=True, kw_only=True, eq=False)
class Run:
    """Pooled predictions of one run, clips sorted by name."""

    name: str
    keys: tuple[str, ...]
    people: tuple[str, ...]
    truth: NDArray[np.int64]  # [N]
    predicted: dict[str, NDArray[np.int64]]  # per seed [N]
    classes: tuple[str, ...]
    split: str  # digest
    inputs: str  # digest
    beside: tuple[str, ...] = ()  # digests of macro clips and of a teacher that were learnt from too

    @classmethod
    def read(cls, path: str | Path) -> Run:
        """From a run folder, or from its ``loso.json``.

        Raises:
            ProtocolError: no such file, or one that holds no pooled predictions.
        """
        file = Path(path).expanduser()
        file = file / "loso.json" if file.is_dir() else file
        if not file.is_file():
            raise ProtocolError(f"{file} is not there: `zoo loso` writes it once every fold is done (not with --folds)")
        content = read_json(file)
        try:
            rows = {seed: np.asarray(row, np.int64) for seed, row in content["predicted"].items()}
            truth = np.asarray(content["truth"], np.int64)
            everybody = np.stack(list(rows.values()))
            tested = [i for i in range(len(truth)) if (everybody[:, i] >= 0).all()]
            at = np.array(sorted(tested, key=lambda i: content["keys"][i]))
            # summaries written before people were: a person is a subject of a data set
            people = content.get("people") or [key.rpartition("/")[0] for key in content["keys"]]
            return cls(
                name=file.parent.name if file.name == "loso.json" else file.stem,
                keys=tuple(content["keys"][i] for i in at), people=tuple(people[i] for i in at), truth=truth[at],
                predicted={seed: row[at] for seed, row in rows.items()}, classes=tuple(content["classes"]),
                split=content["digests"]["split"], inputs=content["digests"]["inputs"],
                beside=(
                    *(f"{k} {content['digests'][k]}" for k in ("macro", "teacher") if k in content["digests"]),
                    *(["held-out clips without classes"] if content.get("adapted_to_test") else []),
                ),
            )  # fmt: skip
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise ProtocolError(
                f"{file} holds no pooled predictions of a run ({error!r}): give what `zoo loso` wrote"
            ) from None

    def vote(self) -> NDArray[np.int64]:
        """One prediction per clip ``[N]``: the class most seeds chose; of equals, the first."""
        counts = np.zeros((len(self.keys), len(self.classes)), np.int64)
        for row in self.predicted.values():
            counts[np.arange(len(row)), row] += 1
        return counts.argmax(1)


def compare(runs: Sequence[Run], *, resamples: int = 10_000, seed: int = 0) -> dict[str, Any]:
    """Compare every run with the first.

    Args:
        runs: two or more, of the same protocol.
        resamples: of the bootstrap.
        seed: of the bootstrap.

    Returns:
        JSON-plain: ``runs`` (scores), ``pairs`` (per other run and part, full and per data set: difference, interval, p of
        UF1 and UAR; McNemar; tests over seeds; difference at each person), ``notes``. ``p_holm``
        is corrected for the number of pairs.

    Raises:
        ProtocolError: fewer than two runs, or runs of other clips, labels, classes or folds.
    """
    if len(runs) < 2:
        raise ProtocolError("comparing needs two runs or more")
    first, others = runs[0], runs[1:]
    for other in others:
        _refuse_unlike(first, other)
    notes = [f"{r.name} was trained on other inputs than {first.name}" for r in others if r.inputs != first.inputs]
    notes += [_learnt_otherwise(r, first) for r in others if r.beside != first.beside]
    datasets = np.array([key.partition("/")[0] for key in first.keys])
    pairs = [_pair(first, other, datasets, resamples, seed) for other in others]
    for part in pairs[0]["parts"]:
        for metric in SHOWN:
            corrected = holm([pair["parts"][part][metric]["p"] for pair in pairs])
            for pair, p in zip(pairs, corrected, strict=True):
                pair["parts"][part][metric]["p_holm"] = p
    return {
        "reference": first.name,
        "runs": {r.name: _scores(r) for r in runs},
        "clips": len(first.keys),
        "people": len(set(first.people)),
        "split": first.split,
        "resamples": resamples,
        "seed": seed,
        "pairs": pairs,
        "notes": notes,
    }


def _learnt_otherwise(a: Run, b: Run) -> str:
    told = [f"{run.name} beside {' and '.join(d[:19] for d in run.beside) or 'nothing'}" for run in (a, b)]
    return f"learnt from other clips or teachers too: {', '.join(told)}"


def _refuse_unlike(a: Run, b: Run) -> None:
    if a.name == b.name:
        raise ProtocolError(f"both runs are called {a.name}: give folders of different names")
    if a.keys != b.keys:
        only = sorted(set(a.keys) ^ set(b.keys))
        raise ProtocolError(
            f"{a.name} and {b.name} do not test the same clips: {len(a.keys)} and {len(b.keys)}, {len(only)} in one only "
            f"({', '.join(only[:3])}); a paired comparison needs the same data and protocol"
        )
    if a.classes != b.classes or not np.array_equal(a.truth, b.truth):
        raise ProtocolError(f"{a.name} and {b.name} label the clips differently: {a.classes} and {b.classes}")
    if a.split != b.split:
        raise ProtocolError(
            f"{a.name} and {b.name} come from other folds (split {a.split[:12]}… and {b.split[:12]}…): who is trained on "
            f"decides what is learnt, so they are not paired"
        )


def _pair(first: Run, other: Run, datasets: NDArray[Any], resamples: int, seed: int) -> dict[str, Any]:
    shared = [s for s in first.predicted if s in other.predicted]
    parts: dict[str, Any] = {}
    for part in ("full", *dict.fromkeys(datasets.tolist())):
        at = np.ones(len(datasets), bool) if part == "full" else datasets == part
        people = [p for p, mine in zip(first.people, at, strict=True) if mine]
        home = dict(zip(people, datasets[at].tolist(), strict=True))
        (names, a), (_, b) = (_counts(run, at, people) for run in (first, other))
        weights = person_bootstrap([home[name] for name in names], resamples=resamples, seed=seed)
        drawn_a, drawn_b = resampled(a, weights), resampled(b, weights)
        whole_a, whole_b = pooled(a.sum(0)), pooled(b.sum(0))  # [S]
        parts[part] = {
            metric: {
                "difference": float(whole_b[metric].mean() - whole_a[metric].mean()),
                "interval": interval(drawn_b[metric] - drawn_a[metric]),
                "p": sign_p(drawn_b[metric] - drawn_a[metric]),
                "over_seeds": paired_tests(*(_by_seed(run, at, shared, metric) for run in (first, other))),
            }
            for metric in SHOWN
        }
        right = [run.vote()[at] == run.truth[at] for run in (first, other)]
        parts[part]["mcnemar"] = mcnemar(*right)
        if part == "full":
            accuracy = [pooled(counts)["accuracy"].mean(1) for counts in (a, b)]
            subjects = {
                name: {"clips": int(a[i, 0].sum()), "difference": float(accuracy[1][i] - accuracy[0][i])}
                for i, name in enumerate(names)
            }
    return {"name": other.name, "parts": parts, "subjects": subjects}


def _counts(run: Run, at: NDArray[np.bool_], people: Sequence[str]) -> tuple[list[str], NDArray[np.int64]]:
    rows = np.stack([row[at] for row in run.predicted.values()])
    return person_confusions(run.truth[at], rows, people, len(run.classes))


def _by_seed(run: Run, at: NDArray[np.bool_], seeds: Sequence[str], metric: Metric) -> list[float]:
    rows = [run.predicted[s][at] for s in seeds]
    if not rows:
        return []
    _, counts = person_confusions(run.truth[at], np.stack(rows), [""] * int(at.sum()), len(run.classes))
    return [float(v) for v in pooled(counts[0])[metric]]


def _scores(run: Run) -> dict[str, Any]:
    values = {m: _by_seed(run, np.ones(len(run.keys), bool), list(run.predicted), m) for m in SHOWN}
    return {
        m: {"mean": float(np.mean(v)), "std": float(np.std(v, ddof=1)) if len(v) > 1 else None, "seeds": len(v)}
        for m, v in values.items()
    }


def comparison_csv(comparison: dict[str, Any]) -> str:
    """One row per other run, part and score."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        [
            "run",
            "reference",
            "part",
            "score",
            "difference",
            "low",
            "high",
            "p",
            "p_holm",
            "mcnemar_p",
            "pairs",
            "t_p",
            "wilcoxon_p",
        ]
    )
    for pair in comparison["pairs"]:
        for part, cells in pair["parts"].items():
            for metric in SHOWN:
                c, seeds = cells[metric], cells[metric]["over_seeds"]
                writer.writerow(
                    [pair["name"], comparison["reference"], part, metric, c["difference"], *c["interval"], c["p"], c["p_holm"],
                     cells["mcnemar"]["p"], seeds["pairs"], seeds["t_p"], seeds["wilcoxon_p"]]
                )  # fmt: skip
    return text.getvalue()
