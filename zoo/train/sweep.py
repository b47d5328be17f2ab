"""A wandb sweep file run here: each trial is a cross-validation over persons, in a folder of its own, resumable to the fold."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from zoo.errors import ZooError
from zoo.train.folds import run_cv
from zoo.train.jobs import Diverged
from zoo.train.launch import Workers
from zoo.train.search import Trial, hopeless, propose, read_sweep
from zoo.train.store import read_json, run_lock, write_json, write_text


@dataclass(frozen=True, kw_only=True)
class Call:
    """What the command of a sweep file says, with its macros filled in."""

    recipes: tuple[str, ...]
    overrides: tuple[str, ...]
    parts: int
    held_out: tuple[str, ...]
    seeds: int
    workers: int
    engine: str


def read_command(command: Sequence[str], parameters: Mapping[str, Any], extra: Sequence[str] = ()) -> Call:
    """Fill in the macros of wandb (``${env} ${interpreter} ${program} ${args} ${envvar:NAME}``) and read the ``zoo cv`` call.

    Args:
        command: of the sweep file.
        parameters: of a trial.
        extra: flags given to ``zoo sweep``; they win over the file.

    Raises:
        ZooError: the command is no ``zoo cv``, or holds a macro that is not known.
    """
    from zoo.train.command import cv_parser, names

    words: list[str] = []
    for word in map(str, command):
        if word in ("${env}", "${interpreter}", "${program}"):
            continue
        if word == "${args}":
            words += [f"--{k}={v if isinstance(v, str) else json.dumps(v)}" for k, v in parameters.items()]
            continue
        word = re.sub(r"\$\{envvar:([A-Z0-9_]*)\}", lambda m: os.environ.get(m[1], ""), word)
        if "${" in word:
            raise ZooError(
                f"the command holds {word!r}; known: ${{env}} ${{interpreter}} ${{program}} ${{args}} ${{envvar:NAME}}"
            )
        words.append(word)
    while words and words[0] in ("/usr/bin/env", "python", "-m", "zoo", "zoo.cli"):
        words.pop(0)
    if not words or words[0] != "cv":
        raise ZooError(
            f"the command is `{shlex.join(map(str, command))}`; `zoo sweep` runs `zoo cv`, whose score is of inner validation"
        )
    given, overrides = cv_parser().parse_known_args([*words[1:], *extra])
    return Call(
        recipes=tuple(given.config), overrides=tuple(overrides), parts=given.parts, held_out=tuple(names(given.hold_out)),
        seeds=given.seeds, workers=given.workers, engine=given.engine,
    )  # fmt: skip


def run_sweep(
    file: Path,
    *,
    out: Path,
    count: int,
    extra: Sequence[str] = (),
    seed: int = 0,
    open_workers: Callable[[Call], Workers],
    on_trial: Callable[[Trial, Sequence[Trial]], None] = lambda trial, done: None,
    on_parts: Callable[[int, int], None] = lambda done, total: None,
    on_read: Callable[[int, int], None] = lambda done, total: None,
    tracker: Callable[[Trial, Mapping[str, Any]], Any] | None = None,
) -> list[Trial]:
    """Search until ``count`` trials are over, or a grid is through. Trials of an earlier, interrupted call are kept.

    Args:
        file: wandb sweep file.
        out: folder of the sweep: ``trials/NNNN``, ``sweep.csv``, ``sweep.json``, ``best.yaml``.
        count: trials in all.
        extra: flags of ``zoo cv`` and fields of the recipe that win over the file's command.
        seed: of the search.
        open_workers: makes the workers for what the command says.
        on_trial: called with a trial when it begins and when it is over, and all that are over.
        on_parts: called with (fits done, fits wanted) of the current trial.
        on_read: called with (clips read, clips in all) while what is not in the cache is prepared.
        tracker: makes what logs a trial: ``step(history)`` and ``finish(summary)``.

    Raises:
        ZooError: a wrong sweep file, a field that does not exist, a folder that holds another sweep.
    """
    sweep = read_sweep(file)
    first = propose(sweep, [], seed=seed)
    if first is None:
        raise ZooError(f"{file}: there is nothing to try")
    call = read_command(sweep["command"], first, extra)
    _config(call)  # an unknown field is said before anything is written
    text = json.dumps({"sweep": sweep, "extra": list(extra), "seed": seed}, sort_keys=True, indent=1) + "\n"
    trials: list[Trial] = []
    with run_lock(out):
        _refuse_other(out, text)
        workers = open_workers(call)
        with workers:
            while len(trials) < count:
                trial = _next(out, sweep, trials, seed)
                if trial is None:
                    break
                on_trial(trial, trials)
                if trial.state == "running":
                    _run(out, sweep, trials, trial, extra, workers, on_parts, on_read, tracker)
                trials.append(trial)
                on_trial(trial, trials)
        _publish(out, sweep, trials, extra)
    return trials


def best_of(trials: Sequence[Trial]) -> Trial | None:
    """The trial of the highest score, of those that ran whole; of equals, the first."""
    whole = [t for t in trials if t.state == "finished" and t.score is not None]
    return max(whole, key=lambda t: t.score or 0.0, default=None)


def trials_csv(trials: Sequence[Trial]) -> str:
    """One row per trial."""
    names = list(dict.fromkeys(name for trial in trials for name in trial.parameters))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["trial", "state", "score", "std_over_seeds", "parts", "seconds", *names, "error"])
    for t in trials:
        values = [t.parameters.get(name, "") for name in names]
        writer.writerow([t.number, t.state, t.score, t.std, len(t.history), round(t.seconds, 1), *values, t.error])
    return text.getvalue()


def _config(call: Call) -> dict[str, Any]:
    from zoo.train.recipe import parse, plain_config

    return plain_config(parse(call.recipes, call.overrides))


def _refuse_other(out: Path, text: str) -> None:
    held = out / "search.json"
    if held.is_file() and held.read_text(encoding="utf-8") != text:
        raise ZooError(
            f"{out} holds another sweep (other file, flags or seed): choose another --out, or delete that folder"
        )
    write_text(held, text)


def _folder(out: Path, number: int) -> Path:
    return out / "trials" / f"{number:04d}"


def _next(out: Path, sweep: Mapping[str, Any], trials: Sequence[Trial], seed: int) -> Trial | None:
    """The trial that an earlier call began, or a new one."""
    path = _folder(out, len(trials) + 1) / "trial.json"
    if path.is_file():
        return Trial(**read_json(path))
    parameters = propose(sweep, trials, seed=seed)
    if parameters is None:
        return None
    trial = Trial(number=len(trials) + 1, parameters=parameters)
    write_json(path, asdict(trial), indent=1)
    return trial


def _run(
    out: Path, sweep: Mapping[str, Any], before: Sequence[Trial], trial: Trial, extra: Sequence[str], workers: Workers,
    on_parts: Callable[[int, int], None], on_read: Callable[[int, int], None],
    tracker: Callable[[Trial, Mapping[str, Any]], Any] | None,
) -> None:  # fmt: skip
    started, call = time.monotonic(), read_command(sweep["command"], trial.parameters, extra)
    config, metric = _config(call), sweep["metric"]["name"].removeprefix("cv/")
    log = tracker(trial, config) if tracker else None

    def step(history: Sequence[Mapping[str, float]]) -> bool:
        trial.history = [dict(scores) for scores in history]
        if log is not None:
            log.step(trial.history)
        return not hopeless(sweep, before, trial)

    summary: dict[str, Any] = {}
    try:
        summary = run_cv(
            config, out=_folder(out, trial.number), parts=call.parts, held_out=call.held_out, seeds=range(call.seeds),
            workers=workers, on_progress=on_parts, on_read=on_read, on_step=step,
        )  # fmt: skip
    except Diverged as error:  # settings that do not train are an answer too
        trial.state, trial.error = "failed", str(error)
    except BaseException as error:
        if log is not None:
            log.abandon(error)
        raise
    else:
        if "stopped" in summary:
            trial.state = "stopped"
        else:
            found = summary["metrics"]["full"][metric]
            trial.state, trial.score, trial.std = "finished", found["mean"], found["std"]
    if log is not None:
        log.finish(summary)
    trial.seconds = round(time.monotonic() - started, 3)
    write_json(_folder(out, trial.number) / "trial.json", asdict(trial), indent=1)


def _publish(out: Path, sweep: Mapping[str, Any], trials: Sequence[Trial], extra: Sequence[str]) -> None:
    from zoo.train.recipe import recipe_text
    from zoo.train.sweep_page import sweep_page

    best = best_of(trials)
    write_text(out / "sweep.csv", trials_csv(trials))
    write_json(
        out / "sweep.json",
        {"sweep": dict(sweep), "best": best.number if best else None, "trials": [asdict(t) for t in trials]},
        indent=1,
    )
    if best is not None:
        call = read_command(sweep["command"], best.parameters, extra)
        write_text(out / "best.yaml", recipe_text(_config(call)))
    write_text(out / "sweep.html", sweep_page(sweep, trials, best))
