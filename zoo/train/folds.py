"""Leave-one-subject-out, and cross-validation for choosing: one fit per (seed, fold), one file per result, one score from all.

The held-out subject chooses nothing: the prediction is that of the last epoch, whose number stands in the recipe.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from zoo.data.clip_set import ClipSet
from zoo.data.source import Source
from zoo.data.splits import split_digest
from zoo.errors import ProtocolError, ZooError
from zoo.registry import unknown
from zoo.train.jobs import (
    Config,
    Inner,
    Job,
    Select,
    beside,
    check_result,
    config_digest,
    fit_seed,
    kinds,
    refuse_seen,
    two_domains,
)
from zoo.train.launch import Workers, local
from zoo.train.recipe import recipe_text
from zoo.train.score import pool, score, subjects_csv
from zoo.train.statistics import person_confusions, pooled
from zoo.train.store import read_json, result_path, run_lock, versions, write_json, write_text

__all__ = [
    "Config",
    "config_digest",
    "fit_seed",
    "result_path",
    "run_cv",
    "run_loso",
    "score",
    "versions",
    "write_json",
]
Progress = Callable[[int, int], None]
Parallel = bool | Literal["compiled"]


def run_loso(
    config: Config,
    *,
    out: str | Path,
    seeds: Sequence[int] = (0, 1, 2, 3, 4),
    folds: Sequence[str] = (),
    workers: int | Workers = 1,
    parallel: Parallel = False,
    select: Select = "last",
    on_progress: Progress = lambda done, total: None,
    on_read: Progress = lambda done, total: None,
) -> dict[str, Any]:
    """Train every (seed, fold) that has no result yet, then score.

    Args:
        config: resolved recipe, see ``zoo train --config``.
        out: run folder. Results of an earlier, interrupted run of the same config are kept; those of another config are an error.
        seeds: at least five for a published number.
        folds: names of test persons; all if empty. A partial run is stored, not scored.
        workers: processes; 0 runs here; or an engine of :mod:`zoo.train.engines`.
        parallel: folds at once, see :mod:`zoo.train.stacked`; the same result files. ``compiled``: in machine code where it
            knows the network, see :mod:`zoo.train.fused`.
        select: which epoch's predictions are scored: the ``last``; or, **to measure the leak and for nothing else**, for each
            held-out person the one that is best on that person (``oracle``).
        on_progress: called with (results done, results wanted).
        on_read: called with (clips read, clips in all) while what is not in the cache is prepared.

    Returns:
        The summary that is also written to ``loso.json``; empty for a partial run.

    Raises:
        ProtocolError: an unknown fold, or results of another config, split or data in the folder.
        ZooError: another process works in the folder, the disk is full, or workers keep dying.
    """
    if select != "last" and parallel:
        raise ZooError("the oracle watches fold by fold; leave --parallel out")
    run = _Run(config, Path(out).expanduser(), seeds, None, on_read, parallel, select)
    run.refuse_seen()
    for fold in folds:
        if fold not in run.folds:
            raise ProtocolError(str(unknown("fold", fold, run.folds)))
    with run_lock(run.folder):
        run.describe()
        run.fit(tuple(folds) or run.folds, workers, on_progress)
        if folds:
            return {}
        summary = score(run.folder, seeds, run.data, select) | run.stamps()
        write_json(run.folder / "loso.json", summary)
        write_text(run.folder / "subjects.csv", subjects_csv(summary))
    return summary


def run_cv(
    config: Config,
    *,
    out: str | Path,
    parts: int,
    held_out: Sequence[str] = (),
    seeds: Sequence[int] = (0,),
    workers: int | Workers = 1,
    parallel: Parallel = False,
    on_progress: Progress = lambda done, total: None,
    on_read: Progress = lambda done, total: None,
    on_step: Callable[[Sequence[Mapping[str, float]]], bool] = lambda history: True,
) -> dict[str, Any]:
    """Score a config by cross-validation over whole persons: what a choice of settings may look at.

    Args:
        config, out, seeds, workers, parallel, on_progress, on_read: see :func:`run_loso`.
        parts: number of folds.
        held_out: folds of the protocol whose test persons stay out altogether, for a choice within one fold's training side.
        on_step: called with the pooled scores after 1, 2, … complete parts, in order; False ends the run there.

    Returns:
        The summary that is also written to ``cv.json``: as ``loso.json``, with the ``history`` of running scores; only
        ``history`` and ``stopped`` where it was ended.

    Raises:
        See :func:`run_loso`.
    """
    run = _Run(config, Path(out).expanduser(), seeds, Inner(parts=parts, held_out=tuple(held_out)), on_read, parallel)
    run.refuse_seen()
    history: list[dict[str, float]] = []

    enough = False

    def step(_: Job | None = None) -> bool:
        nonlocal enough
        while not enough and len(history) < len(run.folds) and run.complete(run.folds[len(history)]):
            history.append(run.running(run.folds[: len(history) + 1]))
            enough = not on_step(history) and len(history) < len(run.folds)
        return not enough

    with run_lock(run.folder):
        run.describe()
        if step():
            run.fit(run.folds, workers, on_progress, then=step)
        if enough:
            stopped = {"history": history, "stopped": len(history)} | run.stamps()
            write_json(run.folder / "cv.json", stopped)
            return stopped
        summary = score(run.folder, seeds, run.data) | run.stamps() | {"history": history}
        write_json(run.folder / "cv.json", summary)
    return summary


class _Run:
    """Data, split and digests of one run folder."""

    def __init__(
        self,
        config: Config,
        folder: Path,
        seeds: Sequence[int],
        inner: Inner | None,
        on_read: Progress,
        parallel: Parallel,
        select: Select = "last",
    ) -> None:
        self.config, self.folder, self.seeds, self.inner = dict(config), folder, list(seeds), inner
        self.parallel, self.select = parallel, select
        task = kinds(config)[0](**config["model"])
        # read here first: what has to be computed is computed once, and the workers find it in the cache
        source, keep = Source.of(config["data"]), bool(config["data"].get("augment"))
        every: ClipSet = source.load(task.input_spec, on_read, keep_fields=keep)
        if task.net.num_classes != len(every.classes):
            raise ZooError(
                f"the data has {len(every.classes)} classes ({', '.join(every.classes)}), the model {task.net.num_classes} "
                f"outputs; set model.arch_args.num_classes (or model.num_classes with model.weights)"
            )
        self.data: ClipSet = inner.of(every) if inner else every
        split = self.data.split()
        self.folds = tuple(f.name for f in split)
        self.tested = {f.name: np.array(f.test) for f in split}
        digest: str = self.data.digest
        self.stamp = {
            "config": config_digest(config), "inputs": digest, "split": split_digest(split, self.data.keys),
            **({"select": select} if select != "last" else {}), **beside(config, task.input_spec, every.classes),
        }  # fmt: skip

    def refuse_seen(self) -> None:
        """Scoring weights on clips that they were trained on is a leak."""
        refuse_seen(
            self.config,
            self.data.keys,
            "scoring on them what starts or learns from it would be a leak; start from an architecture (model.arch), or take "
            "weights that have not seen them",
        )

    def stamps(self) -> dict[str, Any]:
        """What stands beside every number."""
        epochs = self.config["trainer"].get("max_epochs")
        plain = {"digests": self.stamp, "versions": versions(), "epochs": epochs, "select": self.select}
        if not two_domains(self.config):
            return plain
        if self.config["data"].get("adapt_to_test"):
            return plain | {"adapted_to_test": True}
        first = result_path(self.folder, self.seeds[0], self.folds[0])
        return plain | ({"macro_clips": read_json(first)["macro_clips"]} if first.is_file() else {})

    def describe(self) -> None:
        """``config.json`` for programs, ``recipe.yaml`` to run the same again."""
        plain = {k: dict(v) if isinstance(v, Mapping) else v for k, v in self.config.items()}
        write_json(
            self.folder / "config.json",
            {**plain, "seeds": self.seeds, "digests": self.stamp, "versions": versions()},
            indent=1,
        )
        write_text(self.folder / "recipe.yaml", recipe_text(self.config))

    def complete(self, fold: str) -> bool:
        """Whether every seed has a result for this fold."""
        return all(result_path(self.folder, seed, fold).is_file() for seed in self.seeds)

    def running(self, folds: Sequence[str]) -> dict[str, float]:
        """Pooled scores of some folds, averaged over seeds."""
        at = np.concatenate([self.tested[f] for f in folds])
        rows = [pool(self.folder, s, folds, self.data.keys, self.data.labels, at)[at] for s in self.seeds]
        _, counts = person_confusions(self.data.labels[at], rows, [""] * len(at), len(self.data.classes))
        return {m: float(v.mean()) for m, v in pooled(counts).items()}

    def fit(
        self,
        folds: Sequence[str],
        workers: int | Workers,
        on_progress: Progress,
        then: Callable[[Job], bool] = lambda job: True,
    ) -> None:
        """Fit what has no result yet; results that do not belong here are refused first."""
        for torn in self.folder.glob("seed*/.*.tmp"):  # of a worker that was killed while it wrote
            if not torn.is_symlink():
                torn.unlink(missing_ok=True)
        wanted = [(seed, fold) for fold in folds for seed in self.seeds]
        todo = []
        for seed, fold in wanted:
            path = result_path(self.folder, seed, fold)
            if path.is_file():
                check_result(path, self.stamp)
            else:
                todo.append((seed, fold))
        done = len(wanted) - len(todo)
        on_progress(done, len(wanted))

        def finished(job: Job) -> bool:
            nonlocal done
            absent = [f for f in job.folds if not result_path(self.folder, job.seed, f).is_file()]
            if absent:
                raise ZooError(
                    f"the worker says that seed {job.seed}, fold {absent[0]} is done, but {self.folder} does not hold it: "
                    f"--out must lie on a disk that all machines share"
                )
            done += len(job.folds)
            on_progress(done, len(wanted))
            return then(job)

        def look() -> None:  # bundles of folds are told of only when they are through
            found = sum(result_path(self.folder, seed, fold).is_file() for seed, fold in todo)
            on_progress(len(wanted) - len(todo) + found, len(wanted))

        team = local(workers) if isinstance(workers, int) else workers
        size = -(-len(todo) // team.slots) if team.coarse or self.parallel else 1
        if self.parallel:
            from zoo.train.stacked import stack_size

            size = min(size, stack_size(self.config))
        try:
            team.run(self._jobs(todo, size), finished, look if size > 1 else lambda: None)
        finally:
            if isinstance(workers, int):
                team.close()

    def _jobs(self, todo: Sequence[tuple[int, str]], size: int) -> list[Job]:
        jobs = []
        for seed in self.seeds:
            mine = [fold for s, fold in todo if s == seed]
            jobs += [
                Job(
                    config=self.config, seed=seed, folds=tuple(mine[i : i + size]), out=str(self.folder),
                    split=self.stamp["split"], inner=self.inner, parallel=bool(self.parallel),
                    compiled=self.parallel == "compiled", select=self.select,
                )
                for i in range(0, len(mine), max(size, 1))
            ]  # fmt: skip
        if size <= 1:  # fold by fold over the seeds: early stopping wants whole folds first
            order = {fold: i for i, fold in enumerate(self.folds)}
            jobs.sort(key=lambda job: order[job.folds[0]])
        return jobs
