"""What ``zoo train``, ``zoo loso`` and ``zoo cv`` do, with progress and a summary that says where everything is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from zoo.data.megc2019 import read_megc2019
from zoo.errors import ZooError, missing_extra
from zoo.train.fit import fit
from zoo.train.folds import Parallel, run_cv, run_loso, write_json
from zoo.train.jobs import Select
from zoo.train.launch import Workers, quiet
from zoo.train.progress import Progress
from zoo.train.score import subjects_csv
from zoo.train.store import write_text

__all__ = ["baseline", "cv", "fit", "loso", "print_scores", "train"]


def loso(
    recipes: Sequence[str],
    overrides: Sequence[str],
    *,
    seeds: int,
    folds: Sequence[str],
    workers: int,
    out: Path | None,
    engine: str = "",
    parallel: Parallel = False,
    select: Select = "last",
    silent: bool = False,
    wandb: bool = False,
    media: bool = False,
    fold_runs: bool = False,
) -> int:
    """Run, score, print the table."""
    from zoo.train.recipe import parse, plain_config

    quiet()
    config = plain_config(parse(recipes, overrides))
    folder = out or Path("runs") / (Path(recipes[-1]).stem + ("-oracle" if select == "oracle" else ""))
    with Progress(quiet=silent) as progress, _workers(engine, workers, folder, progress) as team:
        summary = run_loso(
            config, out=folder, seeds=range(seeds), folds=folds, workers=team, parallel=_parallel(config, parallel),
            on_read=progress.track("clips read", within=True), on_progress=progress.track("subjects × seeds"), select=select,
        )  # fmt: skip
    if not summary:
        Console(stderr=True).print(
            f"{len(folds)} folds × {seeds} seeds are in {folder}; a partial run is not scored: "
            f"the same command without --folds does the rest", soft_wrap=True,
        )  # fmt: skip
        return 0
    name = config["model"]["arch"] or config["model"]["weights"]
    if summary.get("adapted_to_test"):
        name = f"{name}, adapted to the held-out clips without their classes"
    leak = (
        ", ORACLE: the epoch was chosen on the held-out person, a leak measured on purpose"
        if select == "oracle"
        else ""
    )
    _show(summary, folder, f"{name}, leave one subject out, {_seeds(seeds)}{leak}")
    if wandb:
        from zoo.train.tracking import track_loso

        where = track_loso(folder, summary, config, name=folder.name, media=media, fold_runs=fold_runs)
        Console().print(where, soft_wrap=True, highlight=False)
    return 0


def cv(
    recipes: Sequence[str],
    overrides: Sequence[str],
    *,
    parts: int,
    held_out: Sequence[str],
    seeds: int,
    workers: int,
    out: Path | None,
    engine: str = "",
    parallel: Parallel = False,
    silent: bool = False,
    wandb: bool = False,
) -> int:
    """Cross-validate over persons, print the table; with ``wandb``, log the running score of each part."""
    from zoo.train.recipe import parse, plain_config

    quiet()
    config = plain_config(parse(recipes, overrides))
    track = None
    if wandb:
        from zoo.train.tracking import CvTracker

        track = CvTracker(out or Path("runs"), name=f"{Path(recipes[-1]).stem}-cv", config=config)
    # a trial of a sweep is known by its settings: each has a folder of its own
    folder = out or Path("runs") / (f"{Path(recipes[-1]).stem}-cv" + (f"-{track.id}" if track else ""))
    try:
        with Progress(quiet=silent) as progress, _workers(engine, workers, folder, progress) as team:
            summary = run_cv(
                config, out=folder, parts=parts, held_out=held_out, seeds=range(seeds), workers=team,
                parallel=_parallel(config, parallel), on_read=progress.track("clips read", within=True),
                on_progress=progress.track("parts × seeds"),
                on_step=track.step if track else lambda history: True,
            )  # fmt: skip
    except BaseException as error:
        if track:
            track.abandon(error)
        raise
    print_scores(summary, f"{summary['protocol']}, {_seeds(seeds)}: for choosing, not for reporting")
    Console().print(f"summary and predictions: {folder / 'cv.json'}", soft_wrap=True, highlight=False)
    if track:
        Console().print(track.finish(summary), soft_wrap=True, highlight=False)
    return 0


def baseline(name: str, overrides: Sequence[str], *, out: Path | None) -> int:
    """Score a classical reference point."""
    import argparse

    from zoo.train.baselines import run_baseline

    parser = argparse.ArgumentParser(prog="zoo loso --baseline", add_help=False)
    parser.add_argument("--data.root", dest="root", required=True)
    summary = run_baseline(name, read_megc2019(parser.parse_args(overrides).root))  # type: ignore[arg-type]
    folder = out or Path("runs") / f"baseline-{name}"
    _writable(folder)
    write_json(folder / "loso.json", summary)
    write_text(folder / "subjects.csv", subjects_csv(summary))
    _show(summary, folder, f"{name}, leave one subject out")
    return 0


def train(
    recipes: Sequence[str],
    overrides: Sequence[str],
    *,
    seed: int,
    out: Path | None,
    wandb: bool = False,
    media: bool = False,
    silent: bool = False,
    save_every: float = 30.0,
) -> int:
    """Train once, on all clips unless ``--data.fold`` says otherwise; write a checkpoint; test the held-out clips, if any."""
    folder = out or Path("runs") / f"{Path(recipes[-1]).stem}-train"
    _writable(folder)
    console = Console()
    result = fit(
        recipes,
        overrides,
        seed=seed,
        folder=folder,
        wandb=wandb,
        media=media,
        progress=not silent,
        save_every=save_every,
    )
    if result["resumed"]:
        console.print(f"taken up again after epoch {', '.join(map(str, result['resumed']))}", highlight=False)
    if result["test"]:
        shown = "  ".join(f"{m} {result['test'][f'test/{m}']:.4f}" for m in ("uf1", "uar", "accuracy"))
        console.print(f"held-out clips: {shown}")
    if result["known"]:
        console.print(
            f"not scored: {result['config']['model']['weights']} was trained on {len(result['known'])} of the held-out clips "
            f"({result['known'][0]}, …)", style="yellow", soft_wrap=True,
        )  # fmt: skip
    console.print(
        f'checkpoint: {folder / "checkpoint"}   zoo.load("local-dir:{folder / "checkpoint"}") opens it\n'
        f"record: {folder / 'run.json'}   the same again: --config {folder / 'recipe.yaml'}", soft_wrap=True,
    )  # fmt: skip
    if result["logged"]:
        console.print(result["logged"], soft_wrap=True, highlight=False)
    return 0


def print_scores(summary: dict[str, Any], title: str) -> None:
    """The table every score is read from: full and per data set, mean ± standard deviation over seeds, 95 % interval of UF1."""
    intervals = summary.get("intervals", {})
    columns = ["", "clips", "UF1", *(["95 % over people"] if intervals else []), "UAR", "accuracy"]
    table = Table(*columns, box=None, pad_edge=False)
    console = Console()
    if not console.is_terminal:  # a pipe has no width of its own; numbers are not to be cut
        console = Console(width=120)
    console.print(title, style="italic", soft_wrap=True, highlight=False)  # a title of the table wraps at its width
    for part, values in summary["metrics"].items():
        cells = [
            f"{values[m]['mean']:.4f}" + (f" ± {values[m]['std']:.4f}" if values[m]["std"] is not None else "")
            for m in ("uf1", "uar", "accuracy")
        ]
        if intervals:
            known = intervals.get(part)
            cells.insert(1, "{:.3f} … {:.3f}".format(*known["uf1"]) if known else "-")
        table.add_row(part, str(values["clips"]), *cells)
    console.print(table)


def _workers(engine: str, workers: int, folder: Path, progress: Progress) -> Workers:
    from zoo.train.engines import open_engine

    team = open_engine(engine, workers, folder)
    team.on_lost = progress.say
    return team


def _parallel(config: Mapping[str, Any], wanted: Parallel) -> Parallel:
    """How the folds of this recipe can be fitted; says why not as wanted.

    Raises:
        MissingExtra: machine code is wanted, and numba is not installed.
    """
    from zoo.train.fused import kernels, layers_of
    from zoo.train.stacked import why_not
    from zoo.train.task import RecognitionTask

    if not wanted:
        return False
    if reason := why_not(config):
        Console(stderr=True).print(
            f"--parallel: not with this recipe, since {reason}; its folds run one by one", soft_wrap=True
        )
        return False
    if wanted == "compiled" and kernels() is None:
        raise missing_extra("fast", "numba", "--compiled")
    if wanted == "compiled" and layers_of(RecognitionTask(**config["model"]).net) is None:
        Console(stderr=True).print(
            "--compiled: not with this network; its folds run by torch, as with --parallel", soft_wrap=True
        )
        return True
    return wanted


def _seeds(count: int) -> str:
    return f"{count} seed{'s' * (count > 1)}"


def _writable(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".probe"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise ZooError(f"cannot write into {folder}: {error.strerror}; choose another folder with --out") from error


def _show(summary: dict[str, Any], folder: Path, title: str) -> None:
    """The table, the figures, and where everything is."""
    from zoo.report import confusion_figure
    from zoo.train.figures import subjects_figure

    print_scores(summary, title)
    confusion_figure(summary["confusion"], summary["classes"], folder / "confusion.png")
    subjects_figure(summary, folder / "subjects.png")
    Console().print(
        f"summary and predictions: {folder / 'loso.json'}   confusion: {folder / 'confusion.png'}\n"
        f"per person: {folder / 'subjects.csv'}, {folder / 'subjects.png'}   against another run: zoo compare {folder} OTHER",
        soft_wrap=True, highlight=False,
    )  # fmt: skip
