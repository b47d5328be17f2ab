"""What to try next and what to give up, by wandb's own search without its server; the only importer of ``sweeps``.

A sweep file is wandb's: method (grid, random, bayes), metric, parameters with flat dotted names, early_terminate, command.
"""

from __future__ import annotations

import hashlib
import random
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from zoo.errors import ZooError, missing_extra

State = Literal["running", "finished", "stopped", "failed"]
OBJECTIVES = ("cv/uf1", "cv/uar", "cv/accuracy")


@dataclass(kw_only=True)
class Trial:
    """One point of the search."""

    number: int  # from 1
    parameters: dict[str, Any]
    state: State = "running"
    history: list[dict[str, float]] = field(default_factory=list)  # running scores: after 1, 2, … parts
    score: float | None = None  # of the whole cross-validation; None unless finished
    std: float | None = None  # over seeds
    error: str = ""
    seconds: float = 0.0


def read_sweep(path: Path) -> dict[str, Any]:
    """A sweep file, checked against wandb's schema and against one rule of ours: the objective is an inner-validation score.

    Raises:
        ZooError: no YAML, a violation of the schema (each is named), or an objective that held-out clips decide.
    """
    import yaml

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        raise ZooError(f"{path} is not readable as YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise ZooError(
            f"{path} holds a {type(content).__name__}; a sweep is a mapping with method, metric and parameters"
        )
    wrong = _sweeps().schema_violations_from_proposed_config(content)
    if wrong:
        raise ZooError(f"{path} is not a wandb sweep: {'; '.join(str(w) for w in wrong)}")
    metric = content.get("metric") or {}
    if metric.get("name") not in OBJECTIVES:
        raise ZooError(
            f"{path}: metric.name is {metric.get('name')!r}, wanted one of {', '.join(OBJECTIVES)}: a search may look at inner "
            f"validation alone, never at clips that are held out for the score"
        )
    if metric.get("goal") != "maximize":
        raise ZooError(f"{path}: metric.goal must be maximize (wandb's default is minimize)")
    if not isinstance(content.get("command"), list):
        raise ZooError(f"{path} has no command: a list that ends in a `zoo cv` call with ${{args}}")
    return content


def propose(sweep: Mapping[str, Any], trials: Sequence[Trial], *, seed: int) -> dict[str, Any] | None:
    """Parameters of the next trial; None where a grid is through.

    The draw depends on the sweep, the seed, the number of the trial and the trials so far: a search that was killed goes on as
    if it had not been.

    Args:
        sweep: what :func:`read_sweep` returned.
        trials: so far, all of them over.
        seed: of the draw.
    """
    sweeps = _sweeps()
    runs = [_run(sweep, trial, with_history=False) for trial in trials]
    with _seeded(f"{seed}/{len(trials)}"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a Gaussian process over few points
        try:
            found = sweeps.next_run(dict(sweep), runs)
        except ValueError as error:
            raise ZooError(f"the search cannot go on: {error}") from error
    if found is None:
        return None
    return {name: _plain(entry["value"]) for name, entry in found.config.items()}


def hopeless(sweep: Mapping[str, Any], trials: Sequence[Trial], current: Trial) -> bool:
    """Whether hyperband gives the current trial up: it compares running scores after equally many parts.

    Args:
        sweep: what :func:`read_sweep` returned.
        trials: those before.
        current: with its history so far.
    """
    if not sweep.get("early_terminate"):
        return False
    runs = [_run(sweep, trial, with_history=True) for trial in (*trials, current)]
    try:
        stopped = _sweeps().stop_runs(dict(sweep), runs)
    except ValueError as error:
        raise ZooError(f"early_terminate cannot be followed: {error}") from error
    return any(run.name == str(current.number) for run in stopped)


def _run(sweep: Mapping[str, Any], trial: Trial, *, with_history: bool) -> Any:
    """As wandb knows a run.

    The names are the aliases on purpose: under pydantic 2 some releases of sweeps ignore the plain ones without a word, and
    Bayesian search turns into random search. The search sees final scores only: a running score over few parts may be higher.
    """
    sweeps, name = _sweeps(), sweep["metric"]["name"]
    states = sweeps.RunState
    state = {
        "running": states.running, "finished": states.finished, "stopped": states.killed, "failed": states.failed,
    }[trial.state]  # fmt: skip
    last = (
        trial.score
        if trial.score is not None
        else (trial.history[-1][name.removeprefix("cv/")] if trial.history else None)
    )
    return sweeps.SweepRun(
        name=str(trial.number),
        state=state,
        config={key: {"value": value} for key, value in trial.parameters.items()},
        summaryMetrics={} if last is None else {name: last},
        sampledHistory=[{name: h[name.removeprefix("cv/")]} for h in trial.history] if with_history else [],
    )


def _sweeps() -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it speaks to two versions of pydantic at once
            import sweeps
    except ImportError as error:
        raise missing_extra("sweep", "sweeps", "zoo sweep") from error
    return sweeps


@contextmanager
def _seeded(text: str) -> Iterator[None]:
    """sweeps draws from the global generators; they are set for the moment and put back."""
    number = int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")
    before = random.getstate(), np.random.get_state()
    random.seed(number)
    np.random.seed(number)
    try:
        yield
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value
