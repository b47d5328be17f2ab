"""``zoo sweep FILE --count N``: the parser, the progress, and where the result lies."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from zoo.errors import ZooError


def main(argv: Sequence[str]) -> int:
    """Run the command; see ``zoo sweep --help``."""
    parser = argparse.ArgumentParser(
        prog="zoo sweep",
        description="Search settings by a wandb sweep file, without a server: grid, random or bayes, with hyperband.",
        epilog="Further flags go to the `zoo cv` calls and win over the file: --data.root PATH --parts 5 --workers 2. With a "
        "server, `wandb sweep FILE` and `wandb agent` run the same file. An interrupted search goes on where it stopped.",
    )
    parser.add_argument("file", help="sweep file, or the name of one that is shipped (sweeps/…)")
    parser.add_argument(
        "--count", type=int, default=20, metavar="N", help="trials in all (default 20); a grid ends by itself"
    )
    parser.add_argument("--search-seed", type=int, default=0, metavar="S", help="of the search (default 0)")
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder of the sweep (default runs/sweep-FILE)")
    parser.add_argument("--quiet", action="store_true", help="no progress; the result is still printed")
    parser.add_argument(
        "--wandb", action="store_true", help="log each trial to Weights & Biases (offline unless logged in)"
    )
    arguments, extra = parser.parse_known_args(argv)
    if arguments.count < 1:
        raise ZooError(f"--count is {arguments.count}; at least one trial is needed")
    from zoo.train.engines import open_engine
    from zoo.train.launch import Workers, quiet
    from zoo.train.progress import Progress
    from zoo.train.recipe import find_recipe
    from zoo.train.search import Trial
    from zoo.train.sweep import Call, run_sweep

    quiet()
    file = _find(arguments.file, find_recipe)
    out = arguments.out or Path("runs") / f"sweep-{file.stem}"

    def open_workers(call: Call) -> Workers:
        team = open_engine(call.engine, call.workers, out)
        team.on_lost = progress.say
        return team

    def tracker(trial: Trial, config: Mapping[str, Any]) -> Any:
        from zoo.train.tracking import CvTracker

        return CvTracker(out, name=f"{out.name}/{trial.number}", config={**config, **trial.parameters}, group=out.name)

    with Progress(quiet=arguments.quiet) as progress:  # of which open_workers makes use
        show = progress.track("trials")

        def on_trial(trial: Trial, done: Sequence[Trial]) -> None:
            show(len(done), arguments.count, "" if trial.score is None else f"trial {trial.number}: {trial.score:.4f}")

        trials = run_sweep(
            file, out=out, count=arguments.count, extra=extra, seed=arguments.search_seed, open_workers=open_workers,
            on_trial=on_trial, on_parts=progress.track("parts × seeds", within=True),
            on_read=progress.track("clips read", within=True), tracker=tracker if arguments.wandb else None,
        )  # fmt: skip
    _show(trials, out)
    return 0


def _find(name: str, find_recipe: Any) -> Path:
    """A path, or a shipped sweep with or without ``sweeps/``."""
    path = Path(name).expanduser()
    if path.is_file():
        return path
    try:
        found: Path = find_recipe(name if name.removeprefix("recipes/").startswith("sweeps/") else f"sweeps/{name}")
    except ZooError:
        from zoo.train.recipe import recipes_dir

        known = ", ".join(sorted(p.stem for p in (recipes_dir() / "sweeps").glob("*.yaml")))
        raise ZooError(f"there is no sweep {name!r}; give a YAML file, or one of {known}") from None
    return found


def _show(trials: Sequence[Any], out: Path) -> None:
    from rich.console import Console
    from rich.table import Table

    from zoo.train.sweep import best_of
    from zoo.train.sweep_page import varied

    console, best = Console(), best_of(trials)
    if not console.is_terminal:
        console = Console(width=120)
    names = varied(trials)
    table = Table("trial", "state", "score", *names, box=None, pad_edge=False)
    for trial in sorted(trials, key=lambda t: (t.score is None, -(t.score or 0.0), t.number))[:10]:
        values = [f"{v:.4g}" if isinstance(v, float) else str(v) for v in (trial.parameters.get(n, "") for n in names)]
        table.add_row(str(trial.number), trial.state, "-" if trial.score is None else f"{trial.score:.4f}", *values)
    console.print("best trials, by inner validation", style="italic")  # a title of the table wraps at its width
    console.print(table)
    lines = [f"page: {out / 'sweep.html'}   table: {out / 'sweep.csv'}"]
    if best is not None:
        lines.append(f"the number to report: zoo loso --config {out / 'best.yaml'}")
    console.print("\n".join(lines), soft_wrap=True, highlight=False)
