"""One training by recipe: a checkpoint, its record, and the score of the clips that were held out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from zoo.data.splits import split_digest
from zoo.errors import ZooError
from zoo.train.callbacks import interruptible, loss_curve
from zoo.train.jobs import Config, beside, config_digest, learns_from, placeless
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
    save_every: float = 30.0,
) -> dict[str, Any]:
    """Train a recipe once and write ``folder/checkpoint``, ``folder/run.json`` and ``folder/recipe.yaml``.

    Until they are written, ``folder/state.pt`` holds the training after an epoch: where it is interrupted, the same call goes on
    from there, see :class:`zoo.train.resume.Resume`.

    Args:
        recipes, overrides: see :func:`zoo.train.recipe.parse`.
        seed: of weights, order and augmentation.
        folder: of the run; one process at a time.
        wandb: log to Weights & Biases.
        media: with the pictures of the held-out clips, which the licence of the data may forbid to upload.
        progress: show epochs.
        save_every: seconds that pass at least between two states; 0: one after each epoch.

    Returns:
        ``model`` (in eval mode), ``config``, ``test`` (metrics of the held-out clips, empty if the fold is ``all``),
        ``known`` (held-out clips that the starting weights have seen; then nothing is scored), ``record``, ``logged``,
        ``resumed`` (after which epochs an interrupted training was taken up again).

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
    with run_lock(folder):
        with Progress(quiet=not progress) as bars:
            cli.datamodule.on_progress = bars.track("clips read", within=True)
            cli.datamodule.setup()
            data, parts = cli.datamodule.prepared.data, cli.datamodule.fold
            held_out = f", holds out {len(parts.test)} ({parts.name})" if parts.test else ""
            bars.say("\n".join([*data.lines(), f"  trains on {len(parts.train)}{held_out}"]))
        return _fit(
            cli, config, Path(recipes[-1]).stem, recipe_text(config), seed, folder, wandb, media, progress, save_every
        )


def _fit(
    cli: Any, config: Config, name: str, recipe: str, seed: int, folder: Path, wandb: bool, media: bool, progress: bool,
    save_every: float,
) -> dict[str, Any]:  # fmt: skip
    import pytorch_lightning as pl
    import torch

    from zoo.train.resume import Resume
    from zoo.train.task import collect
    from zoo.weights import fingerprint, save, seen_among, seen_clips

    digest = config_digest(config)
    data, fold = cli.datamodule.prepared.data, cli.datamodule.fold
    digests = {
        "config": digest,
        "inputs": data.digest,
        "split": split_digest([fold], data.keys),
        **beside(config, cli.model.net.input_spec, data.classes),
    }
    logger: Any = False
    if wandb:
        from zoo.train.tracking import wandb_logger

        logger = wandb_logger(folder, name=name, config={**config, "digest": digest})
    with Progress(quiet=not progress) as bars:
        curve = loss_curve(bars.track("epochs"))
        resume = Resume(folder, stamp={**digests, "seed": seed, "fold": fold.name}, curve=curve, every=save_every)
        if resume.came:
            bars.say(f"goes on after epoch {resume.saved} of {config['trainer'].get('max_epochs')}, from {resume.path}")
        trainer = pl.Trainer(
            **{
                **config["trainer"],
                "callbacks": [curve, resume],
                "logger": logger,
                "enable_checkpointing": False,
                "enable_progress_bar": False,
                "enable_model_summary": False,
                "log_every_n_steps": 1,
            }
        )
        try:
            with interruptible(trainer):
                trainer.fit(cli.model, datamodule=cli.datamodule)
        except KeyboardInterrupt:
            kept = f"epoch {resume.saved} is kept in {resume.path}" if resume.saved else "no epoch is kept yet"
            bars.say(f"stopped in epoch {len(curve.epochs) + 1}: {kept}")
            raise
    net = cli.model.net.eval()
    if not all(bool(torch.isfinite(p).all()) for p in net.parameters()):
        raise ZooError(
            "the weights are no numbers any more: the training diverged; lower model.lr. Nothing was written"
        )
    weights = config["model"]["weights"]
    before = frozenset().union(*(seen_clips(name) for name in learns_from(config)))
    known = seen_among(weights, [data.keys[i] for i in fold.test])
    macro = getattr(cli.datamodule, "macro", None)  # of two domains
    others = [macro.prepared.data.keys[i] for i in macro.fold.train] if macro is not None else []
    adapted = bool(config["data"].get("adapt_to_test"))
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
        **({"adapted_to_test" if adapted else "macro_clips": len(others)} if macro is not None else {}),
        "seen": sorted(before | {fingerprint(key) for key in (*(data.keys[i] for i in fold.train), *others)}),
        "loss": curve.epochs,
        "test": test,
        **({"resumed": resume.came} if resume.came else {}),
        "digests": digests,
        "versions": versions(),
    }
    card = (
        f"# {net.arch}\n\nTrained by recipe `{record['recipe']}` on {len(fold.train)} clips (fold {fold.name}, seed {seed}).\n"
        + (
            "It was adapted to the held-out clips, whose pictures it has seen without their classes.\n"
            if adapted
            else ""
        )
        + (f"Held-out clips: {json.dumps(test)}.\n" if test else "No held-out clips: score it by `zoo loso`.\n")
        + "Research use; a micro-expression is no lie detector.\n"
    )
    private = {**record, "config": {**config, "data": placeless(config["data"])}}
    del private["loss"]  # of the run, not of the checkpoint
    save(net, folder / "checkpoint", classes=data.classes, card=card, record=private)
    write_json(folder / "run.json", record)
    write_text(folder / "recipe.yaml", recipe)
    resume.remove()
    logged = ""
    if logger:
        from zoo.train.tracking import finish_training

        logged = finish_training(logger.experiment, folder, record, cli.datamodule.prepared, predictions, media=media)
    return {"model": net, "config": config, "test": test, "known": known, "record": private, "logged": logged,
            "resumed": resume.came}  # fmt: skip
