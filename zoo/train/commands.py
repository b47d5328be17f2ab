"""What ``zoo train`` and ``zoo loso`` do, with progress and a summary that says where everything is."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from zoo.data.megc2019 import read_megc2019
from zoo.data.source import PLACES
from zoo.errors import ZooError
from zoo.train.folds import Config, config_digest, run_loso, versions, write_json
from zoo.train.launch import keep_freed_memory, quiet


def loso(
    recipes: Sequence[str],
    overrides: Sequence[str],
    *,
    seeds: int,
    folds: Sequence[str],
    workers: int,
    out: Path | None,
) -> int:
    """Run, score, print the table."""
    from zoo.train.recipe import parse, plain_config

    quiet()
    config = plain_config(parse(recipes, overrides))
    folder = out or Path("runs") / Path(recipes[-1]).stem
    console = Console(stderr=True)
    with Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), console=console
    ) as progress:
        task = progress.add_task("subjects × seeds", total=None)
        summary = run_loso(
            config,
            out=folder,
            seeds=range(seeds),
            folds=folds,
            workers=workers,
            on_progress=lambda done, total: progress.update(task, completed=done, total=total),
        )
    if not summary:
        console.print(
            f"{len(folds)} folds × {seeds} seeds are in {folder}; a partial run is not scored: "
            f"the same command without --folds does the rest"
        )
        return 0
    name = config["model"]["arch"] or config["model"]["weights"]
    _show(summary, folder, f"{name}, leave one subject out, {seeds} seed{'s' * (seeds > 1)}")
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
    _show(summary, folder, f"{name}, leave one subject out")
    return 0


def train(recipes: Sequence[str], overrides: Sequence[str], *, seed: int, out: Path | None, wandb: bool = False) -> int:
    """Train once, on all clips unless ``--data.fold`` says otherwise; write a checkpoint; test the held-out clips, if any."""
    folder = out or Path("runs") / f"{Path(recipes[-1]).stem}-train"
    _writable(folder)
    console = Console()
    result = fit(recipes, overrides, seed=seed, folder=folder, wandb=wandb)
    if result["test"]:
        shown = "  ".join(f"{m} {result['test'][f'test/{m}']:.4f}" for m in ("uf1", "uar", "accuracy"))
        console.print(f"held-out clips: {shown}")
    if result["known"]:
        console.print(
            f"not scored: {result['config']['model']['weights']} was trained on {len(result['known'])} of the held-out clips "
            f"({result['known'][0]}, …)", style="yellow", soft_wrap=True,
        )  # fmt: skip
    console.print(
        f'checkpoint: {folder / "checkpoint"}   zoo.load("local-dir:{folder / "checkpoint"}") opens it', soft_wrap=True
    )
    return 0


def fit(
    recipes: Sequence[str],
    overrides: Sequence[str],
    *,
    seed: int,
    folder: Path,
    wandb: bool = False,
    progress: bool = True,
) -> dict[str, Any]:
    """Train a recipe once and write ``folder/checkpoint`` and ``folder/run.json``.

    Returns:
        ``model`` (in eval mode), ``config``, ``test`` (metrics of the held-out clips, empty if the fold is ``all``),
        ``known`` (held-out clips that the starting weights have seen; then nothing is scored), ``record``.
    """
    import pytorch_lightning as pl
    import torch

    from zoo.train.recipe import parse, plain_config
    from zoo.weights import fingerprint, save, seen_among, seen_clips

    quiet()
    keep_freed_memory()
    torch.manual_seed(seed)
    cli = parse(recipes, [*overrides, "--seed_everything", str(seed), "--data.seed", str(seed)])
    config: Config = plain_config(cli)
    cli.datamodule.setup()
    digest = config_digest(config)
    logger: Any = False
    if wandb:
        from zoo.train.tracking import wandb_logger

        logger = wandb_logger(folder, name=Path(recipes[-1]).stem, config={**config, "digest": digest})
    trainer = pl.Trainer(
        **{
            **config["trainer"],
            "logger": logger,
            "enable_checkpointing": False,
            "enable_progress_bar": progress,
            "enable_model_summary": False,
            "log_every_n_steps": 1,
        }
    )
    trainer.fit(cli.model, datamodule=cli.datamodule)
    data, fold = cli.datamodule.prepared.data, cli.datamodule.fold
    before = seen_clips(config["model"]["weights"]) if config["model"]["weights"] else frozenset()
    known = seen_among(config["model"]["weights"], [data.keys[i] for i in fold.test])
    test: dict[str, float] = {}
    if fold.test and not known:  # what the starting weights have seen is not held out
        test = {k: float(v) for k, v in trainer.test(cli.model, datamodule=cli.datamodule, verbose=False)[0].items()}
    net = cli.model.net.eval()
    if not all(bool(torch.isfinite(p).all()) for p in net.parameters()):
        raise ZooError(
            "the weights are no numbers any more: the training diverged; lower model.lr. Nothing was written"
        )
    record = {
        "recipe": Path(recipes[-1]).stem,
        "config": config,
        "seed": seed,
        "fold": fold.name,
        "train_clips": len(fold.train),
        "seen": sorted(before | {fingerprint(data.keys[i]) for i in fold.train}),
        "test": test,
        "digests": {"config": digest, "inputs": data.digest},
        "versions": versions(),
    }
    card = (
        f"# {net.arch}\n\nTrained by recipe `{record['recipe']}` on {len(fold.train)} clips (fold {fold.name}, seed {seed}).\n"
        + (f"Held-out clips: {json.dumps(test)}.\n" if test else "No held-out clips: score it by `zoo loso`.\n")
        + "Research use; a micro-expression is no lie detector.\n"
    )
    private = {**record, "config": {**config, "data": {k: v for k, v in config["data"].items() if k not in PLACES}}}
    save(net, folder / "checkpoint", classes=data.classes, card=card, record=private)
    write_json(folder / "run.json", record)
    if logger:
        logger.experiment.finish()
    return {"model": net, "config": config, "test": test, "known": known, "record": private}


def print_scores(summary: dict[str, Any], title: str) -> None:
    """The table every score is read from: full and per data set, mean ± standard deviation over seeds."""
    table = Table("", "clips", "UF1", "UAR", "accuracy", title=title, title_justify="left", box=None, pad_edge=False)
    for part, values in summary["metrics"].items():
        cells = [
            f"{values[m]['mean']:.4f}" + (f" ± {values[m]['std']:.4f}" if values[m]["std"] is not None else "")
            for m in ("uf1", "uar", "accuracy")
        ]
        table.add_row(part, str(values["clips"]), *cells)
    Console().print(table)


def _writable(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".probe"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise ZooError(f"cannot write into {folder}: {error.strerror}; choose another folder with --out") from error


def _show(summary: dict[str, Any], folder: Path, title: str) -> None:
    """The table, the confusion figure, and where everything is."""
    from zoo.report import confusion_figure

    print_scores(summary, title)
    confusion_figure(summary["confusion"], summary["classes"], folder / "confusion.png")
    Console().print(
        f"summary and predictions: {folder / 'loso.json'}   confusion: {folder / 'confusion.png'}", soft_wrap=True
    )
