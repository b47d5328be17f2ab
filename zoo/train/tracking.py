"""Logging to Weights & Biases; the only importer of wandb.

Offline unless a login or ``WANDB_MODE`` says otherwise; offline runs lie under the run folder and go up later by ``wandb sync``.
Pictures of clips are logged on request only: they belong to the data sets, whose licences mostly forbid to publish them.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from zoo.errors import ZooError, missing_extra
from zoo.train.store import read_json, result_path

PROJECT = "au-graph-zoo"


def start(
    folder: Path, *, name: str, config: Mapping[str, Any], group: str = "", job_type: str = "", silent: bool = False
) -> Any:
    """A fresh wandb run, beside any other that is open in this process.

    Args:
        folder: its files lie in ``folder/wandb``.
        name: of the run.
        config: resolved recipe.
        group: of runs that belong together: the trial whose folds they are.
        job_type: ``train``, ``trial``, ``fold`` or ``cv``.
        silent: wandb prints nothing about it.

    Raises:
        MissingExtra: wandb is not installed.
        ZooError: it cannot start here.
    """
    try:
        import wandb
    except ImportError as error:
        raise missing_extra("wandb", "wandb", "--wandb") from error
    # a run of a sweep belongs where the sweep does, and wandb warns of any other word on it
    project = None if os.environ.get("WANDB_SWEEP_ID") else os.environ.get("WANDB_PROJECT", PROJECT)
    try:
        mode: Any = os.environ.get("WANDB_MODE") or ("online" if _logged_in(wandb) else "offline")
        return wandb.init(
            project=project, name=name, dir=str(folder), config=dict(config), mode=mode, group=group or None,
            job_type=job_type or None, reinit="create_new", settings=wandb.Settings(silent=True) if silent else None,
        )  # fmt: skip
    except (OSError, wandb.errors.Error) as error:
        raise ZooError(
            f"wandb could not start a run in {folder}: {error}; set WANDB_MODE=offline or leave --wandb out"
        ) from error


def _logged_in(wandb: Any) -> bool:
    """Whether there is a key, without asking for one."""
    if "prompt" in inspect.signature(wandb.login).parameters:
        return bool(wandb.login(prompt=False, verify=False))
    return bool(wandb.api.api_key)  # of older versions; deprecated since


def wandb_logger(folder: Path, *, name: str, config: Mapping[str, Any]) -> Any:
    """A Lightning logger on a fresh run; made here, since the logger's own start-up passes an argument that wandb has dropped."""
    run = start(folder, name=name, config=config, job_type="train")
    from pytorch_lightning.loggers import WandbLogger

    return WandbLogger(experiment=run)


def finish_training(
    run: Any, folder: Path, record: Mapping[str, Any], prepared: Any, predictions: Any, *, media: bool
) -> str:
    """Complete the run of ``zoo train``: confusion, predictions of the held-out clips, the checkpoint as an artifact.

    Args:
        run: the open run; it is closed.
        folder: of the training; ``folder/checkpoint`` is logged.
        record: what ``run.json`` holds.
        prepared: inputs and names of the clips.
        predictions: (positions, truth, logits) of the held-out clips, or None where there are none.
        media: with their pictures.
    """
    import wandb

    run.summary.update({"digests": record["digests"], "train_clips": record["train_clips"], **record["test"]})
    if predictions is not None:
        data = prepared.data
        rows, truth, logits = (part.numpy() for part in predictions)
        predicted, classes = logits.argmax(1), list(data.classes)
        run.log(
            {
                "confusion": wandb.plot.confusion_matrix(
                    y_true=truth.tolist(), preds=predicted.tolist(), class_names=classes
                )
            }
        )
        table = wandb.Table(columns=["clip", "truth", "predicted", "logits", *(["input"] if media else [])])
        for i, row in enumerate(rows.tolist()):
            picture = [wandb.Image(_picture(data, row))] if media else []
            table.add_data(data.keys[row], classes[truth[i]], classes[predicted[i]], logits[i].tolist(), *picture)
        run.log({"predictions": table})
    artifact = wandb.Artifact(_plain(str(record["recipe"])), type="model", metadata={"digests": record["digests"]})
    artifact.add_dir(str(folder / "checkpoint"))
    run.log_artifact(artifact)
    return _close(run)


def track_loso(
    folder: Path,
    summary: Mapping[str, Any],
    config: Mapping[str, Any],
    *,
    name: str,
    media: bool = False,
    fold_runs: bool = False,
) -> str:
    """Log a finished leave-one-subject-out: one run for the trial, on request one more per fold in its group.

    Args:
        folder: of the run.
        summary: its ``loso.json``.
        config: resolved recipe.
        name: of the trial, and of the group.
        media: with a picture of each clip.
        fold_runs: hundreds of runs make a slow page: the trial's own tables and curves hold the same.

    Returns:
        Where the run lies, or how it goes up.
    """
    import wandb

    results = [
        read_json(result_path(folder, seed, fold))
        for seed in summary["seeds"]
        for fold in sorted({p.stem for p in (folder / f"seed{seed}").glob("*.json")})
    ]
    whole = {**config, "digests": summary["digests"], "seeds": summary["seeds"]}
    run = start(folder, name=name, config=whole, group=name, job_type="trial")
    for part, values in summary["metrics"].items():
        for metric in ("uf1", "uar", "accuracy"):
            run.summary[f"{part}/{metric}"] = values[metric]["mean"]
            run.summary[f"{part}/{metric}_std"] = values[metric]["std"]
    for epoch, row in enumerate(_curves(results)):
        run.log({"epoch": epoch + 1, **row})
    truth, votes = _votes(summary)
    run.log({"confusion": wandb.plot.confusion_matrix(y_true=truth, preds=votes, class_names=list(summary["classes"]))})
    run.log({"folds": _fold_table(results), "subjects": _subject_table(summary)})
    run.log({"predictions": _prediction_table(summary, _data(config) if media else None)})
    for picture in ("confusion.png", "subjects.png"):
        if (folder / picture).is_file():
            run.log({picture.removesuffix(".png"): wandb.Image(str(folder / picture))})
    if fold_runs:
        for result in results:
            _fold_run(folder, name, whole, result)
    return _close(run, beside=fold_runs)


class CvTracker:
    """Log a cross-validation as it goes: under ``wandb agent`` this is what the search and its early stopping see.

    Args:
        folder: for the files of wandb.
        name: of the run.
        config: resolved recipe.
        group: the sweep.
    """

    def __init__(self, folder: Path, *, name: str, config: Mapping[str, Any], group: str = "") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.run = start(folder, name=name, config=config, group=group, job_type="cv")
        self.id = str(self.run.id)
        self._logged = 0

    def step(self, history: Sequence[Mapping[str, float]]) -> bool:
        """Log the pooled scores so far: ``cv/uf1``, ``cv/uar``, ``cv/accuracy``."""
        for scores in history[self._logged :]:
            self._logged += 1
            self.run.log({"part": self._logged, **{f"cv/{m}": v for m, v in scores.items()}})
        return True

    def finish(self, summary: Mapping[str, Any]) -> str:
        """Log the final scores, if the cross-validation came so far, and close."""
        for metric in ("uf1", "uar", "accuracy") if "metrics" in summary else ():
            self.run.summary[f"cv/{metric}"] = summary["metrics"]["full"][metric]["mean"]
        return _close(self.run)

    def abandon(self, error: BaseException) -> None:
        """Close a run that did not come to its end, marked as wandb marks one that was interrupted or that failed."""
        self.run.finish(exit_code=255 if isinstance(error, KeyboardInterrupt) else 1)


def _close(run: Any, *, beside: bool = False) -> str:
    """End a run; returns where it is, and how it goes up (with ``beside`` together with all that lie beside it)."""
    where, offline = Path(run.dir).parent, run.settings.mode == "offline" or run.offline
    url = None if offline else run.url
    run.finish()
    if url:
        return f"wandb: {url}"
    what, them = (where.parent / "offline-run-*", "all") if beside else (where, "it")
    return f"wandb: {where}   `wandb sync {what}` uploads {them}"


def _fold_run(folder: Path, group: str, config: Mapping[str, Any], result: Mapping[str, Any]) -> None:
    child = start(
        folder, name=f"seed{result['seed']}/{result['fold']}", config={**config, "seed": result["seed"], "fold": result["fold"]},
        group=group, job_type="fold", silent=True,
    )  # fmt: skip
    for epoch, loss in enumerate(result.get("loss", [])):
        child.log({"epoch": epoch + 1, "train/loss": loss})
    child.summary.update({"clips": len(result["keys"]), "right": _right(result), "seconds": result["seconds"]})
    child.finish()


def _curves(results: Sequence[Mapping[str, Any]]) -> list[dict[str, float]]:
    """Mean training loss of each epoch, over all fits and over those of each seed."""
    known = [r for r in results if r.get("loss")]
    epochs = min((len(r["loss"]) for r in known), default=0)
    rows = []
    for epoch in range(epochs):
        row = {"train/loss": float(np.mean([r["loss"][epoch] for r in known]))}
        for seed in dict.fromkeys(r["seed"] for r in known):
            row[f"train/loss_seed{seed}"] = float(np.mean([r["loss"][epoch] for r in known if r["seed"] == seed]))
        rows.append(row)
    return rows


def _right(result: Mapping[str, Any]) -> int:
    return int(sum(int(np.argmax(x)) == y for x, y in zip(result["logits"], result["truth"], strict=True)))


def _fold_table(results: Sequence[Mapping[str, Any]]) -> Any:
    import wandb

    table = wandb.Table(columns=["seed", "fold", "clips", "right", "last loss", "seconds"])
    for r in results:
        last = r["loss"][-1] if r.get("loss") else None
        table.add_data(r["seed"], r["fold"], len(r["keys"]), _right(r), last, r["seconds"])
    return table


def _subject_table(summary: Mapping[str, Any]) -> Any:
    import wandb

    table = wandb.Table(columns=["subject", "data set", "clips", "accuracy", "std over seeds"])
    for name, row in summary["subjects"].items():
        table.add_data(name, row["dataset"], row["clips"], row["accuracy"], row["std"])
    return table


def _votes(summary: Mapping[str, Any]) -> tuple[list[int], list[int]]:
    """Truth and prediction of every tested clip under every seed, pooled."""
    pairs = [
        (t, p) for row in summary["predicted"].values() for t, p in zip(summary["truth"], row, strict=True) if p >= 0
    ]
    return [t for t, _ in pairs], [p for _, p in pairs]


def _prediction_table(summary: Mapping[str, Any], data: Any) -> Any:
    import wandb

    classes, seeds = summary["classes"], list(summary["predicted"])
    columns = ["clip", "subject", "truth", "right in seeds", *(f"seed {s}" for s in seeds)]
    table = wandb.Table(columns=[*columns, *(["input"] if data is not None else [])])
    for i, (key, person, truth) in enumerate(zip(summary["keys"], summary["people"], summary["truth"], strict=True)):
        said = [summary["predicted"][s][i] for s in seeds]
        if min(said) < 0:  # the protocol tests it never
            continue
        picture = [wandb.Image(_picture(data, data.keys.index(key)))] if data is not None else []
        right = sum(p == truth for p in said)
        table.add_data(key, person, classes[truth], right, *(classes[p] for p in said), *picture)
    return table


def _data(config: Mapping[str, Any]) -> Any:
    from zoo.data.source import Source
    from zoo.train.jobs import kinds

    return Source.of(config["data"]).load(kinds(config)[0](**config["model"]).input_spec)


def _picture(data: Any, row: int) -> np.ndarray:
    """uint8 ``[H, W, 3]`` of a clip: u, v, strain as red, green, blue; or the first channels of its (middle) frame."""
    if hasattr(data, "maps"):
        x = np.asarray(data.maps[row], np.float32)
    else:
        x = np.asarray(data.planes([row])[0] if hasattr(data, "planes") else data.inputs[0, row], np.float32)
    if x.ndim == 4:
        x = x[:, x.shape[1] // 2]
    x = x[:3] if len(x) >= 3 else np.repeat(x[:1], 3, 0)
    low, high = float(x.min()), float(x.max())
    return np.rint(255 * (x - low) / max(high - low, 1e-6)).astype(np.uint8).transpose(1, 2, 0)


def _plain(name: str) -> str:
    """Names of artifacts hold letters, digits, dots, dashes and underscores only."""
    return "".join(c if c.isalnum() or c in "._-" else "-" for c in name)
