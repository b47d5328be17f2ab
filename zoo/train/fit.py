"""One training by recipe: a checkpoint, its record, and the score of the clips that were held out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from zoo.data.splits import split_digest
from zoo.errors import ZooError
from zoo.train.callbacks import interruptible, loss_curve
from zoo.train.jobs import Config, config_digest, placeless
from zoo.train.launch import keep_freed_memory, quiet
from zoo.train.progress import Progress
from zoo.train.store import run_lock, versions, write_json, write_text


def fit(
    recipes: Sequence[str],
    overrides: Sequence[str],
    *,
    seed: int,
    folder: Path,
    wandb: bool = False,
    media: bool = False,
    progress: bool = True,
) -> dict[str, Any]:
    """Train a recipe once and write ``folder/checkpoint``, ``folder/run.json`` and ``folder/recipe.yaml``.

    Args:
        recipes, overrides: see :func:`zoo.train.recipe.parse`.
        seed: of weights, order and augmentation.
        folder: of the run; one process at a time.
        wandb: log to Weights & Biases.
        media: with the pictures of the held-out clips, which the licence of the data may forbid to upload.
        progress: show epochs.

    Returns:
        ``model`` (in eval mode), ``config``, ``test`` (metrics of the held-out clips, empty if the fold is ``all``),
        ``known`` (held-out clips that the starting weights have seen; then nothing is scored), ``record``, ``logged``.

    Raises:
        ZooError: the recipe, the data or the folder is at fault, or the training diverged; nothing is written then.
    """
    import torch

    from zoo.train.recipe import parse, plain_config, recipe_text

    quiet()
    keep_freed_memory()
    torch.manual_seed(seed)
    cli = parse(recipes, [*overrides, "--seed_everything", str(seed), "--data.seed", str(seed)])
    config: Config = plain_config(cli)
    cli.datamodule.setup()
    with run_lock(folder):
        return _fit(cli, config, Path(recipes[-1]).stem, recipe_text(config), seed, folder, wandb, media, progress)


def _fit(
    cli: Any, config: Config, name: str, recipe: str, seed: int, folder: Path, wandb: bool, media: bool, progress: bool
) -> dict[str, Any]:
    import pytorch_lightning as pl
    import torch

    from zoo.train.task import collect
    from zoo.weights import fingerprint, save, seen_among, seen_clips

    digest = config_digest(config)
    logger: Any = False
    if wandb:
        from zoo.train.tracking import wandb_logger

        logger = wandb_logger(folder, name=name, config={**config, "digest": digest})
    with Progress(quiet=not progress) as bars:
        curve = loss_curve(bars.track("epochs"))
        trainer = pl.Trainer(
            **{
                **config["trainer"],
                "callbacks": [curve],
                "logger": logger,
                "enable_checkpointing": False,
                "enable_progress_bar": False,
                "enable_model_summary": False,
                "log_every_n_steps": 1,
            }
        )
        with interruptible(trainer):
            trainer.fit(cli.model, datamodule=cli.datamodule)
    net = cli.model.net.eval()
    if not all(bool(torch.isfinite(p).all()) for p in net.parameters()):
        raise ZooError(
            "the weights are no numbers any more: the training diverged; lower model.lr. Nothing was written"
        )
    data, fold = cli.datamodule.prepared.data, cli.datamodule.fold
    weights = config["model"]["weights"]
    before = seen_clips(weights) if weights else frozenset()
    known = seen_among(weights, [data.keys[i] for i in fold.test])
    macro = getattr(cli.datamodule, "macro", None)  # of two domains
    beside = [macro.prepared.data.keys[i] for i in macro.fold.train] if macro is not None else []
    test: dict[str, float] = {}
    predictions: Any = None
    if fold.test and not known:  # what the starting weights have seen is not held out
        with interruptible(trainer):
            test = {
                k: float(v) for k, v in trainer.test(cli.model, datamodule=cli.datamodule, verbose=False)[0].items()
            }
            predictions = collect(trainer.predict(cli.model, datamodule=cli.datamodule)) if logger else None
    record = {
        "recipe": name,
        "config": config,
        "seed": seed,
        "fold": fold.name,
        "train_clips": len(fold.train),
        **({"macro_clips": len(beside)} if macro is not None else {}),
        "seen": sorted(before | {fingerprint(key) for key in (*(data.keys[i] for i in fold.train), *beside)}),
        "loss": curve.epochs,
        "test": test,
        "digests": {
            "config": digest,
            "inputs": data.digest,
            "split": split_digest([fold], data.keys),
            **({"macro": macro.prepared.data.digest} if macro is not None else {}),
        },
        "versions": versions(),
    }
    card = (
        f"# {net.arch}\n\nTrained by recipe `{record['recipe']}` on {len(fold.train)} clips (fold {fold.name}, seed {seed}).\n"
        + (f"Held-out clips: {json.dumps(test)}.\n" if test else "No held-out clips: score it by `zoo loso`.\n")
        + "Research use; a micro-expression is no lie detector.\n"
    )
    private = {**record, "config": {**config, "data": placeless(config["data"])}}
    del private["loss"]  # of the run, not of the checkpoint
    save(net, folder / "checkpoint", classes=data.classes, card=card, record=private)
    write_json(folder / "run.json", record)
    write_text(folder / "recipe.yaml", recipe)
    logged = ""
    if logger:
        from zoo.train.tracking import finish_training

        logged = finish_training(logger.experiment, folder, record, cli.datamodule.prepared, predictions, media=media)
    return {"model": net, "config": config, "test": test, "known": known, "record": private, "logged": logged}
