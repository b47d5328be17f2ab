"""Leave-one-subject-out: one small fit per (seed, fold), one file per result, one score from all of them.

The held-out subject chooses nothing: the prediction is that of the last epoch, whose number stands in the recipe.
"""

from __future__ import annotations

import hashlib
import json
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import as_completed
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from zoo.data.flow_maps import FlowMaps
from zoo.data.source import PLACES, Source
from zoo.data.splits import split_digest
from zoo.errors import ProtocolError, ZooError
from zoo.metrics import confusion, scores
from zoo.registry import unknown
from zoo.train.launch import executor
from zoo.types import InputSpec
from zoo.weights import seen_among

Config = Mapping[str, Any]  # plain: {"model": {...}, "data": {...}, "trainer": {...}}
# Fields that came later count only where they are used, so that older results keep their digest.
_LATER = {
    "protocol": "",
    "scheme": "",
    "faces": "detect",
    "apex": "error",
    "max_gap": 0,
    "balanced": False,
    "augment": None,
}


def config_digest(config: Config) -> str:
    """SHA-256 of what decides the outcome of a fit; where the data lies and which fold is run do not."""
    data = {
        k: v for k, v in config["data"].items()
        if k not in (*PLACES, "fold", "seed", "complete") and (k not in _LATER or _LATER[k] != v)
    }  # fmt: skip
    trainer = {
        k: config["trainer"].get(k)
        for k in ("max_epochs", "max_steps", "precision", "gradient_clip_val", "accumulate_grad_batches")
    }
    plain = {"model": dict(config["model"]), "data": data, "trainer": trainer}
    return hashlib.sha256(json.dumps(plain, sort_keys=True, default=str).encode()).hexdigest()


def fit_seed(seed: int, fold: str) -> int:
    """Seed of one fit. Depends on nothing but its arguments: not on the worker, nor on the order of the folds."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{fold}".encode()).digest()[:4], "big")


@dataclass(frozen=True)
class Job:
    """One fit: plain values only, so that any process on any machine can run it."""

    config: dict[str, Any]
    seed: int
    fold: str
    out: str  # result file
    split: str  # digest of the split

    def run(self) -> str:
        """Fit, predict the held-out subject, write the result under a temporary name, rename. Returns the file's path."""
        import pytorch_lightning as pl
        import torch

        from zoo.data.module import FlowMapsDataModule
        from zoo.train.task import RecognitionTask, collect

        started = time.perf_counter()
        number = fit_seed(self.seed, self.fold)
        torch.manual_seed(number)
        task = RecognitionTask(**self.config["model"])
        spec = json.dumps(task.input_spec.to_dict(), sort_keys=True)
        maps = _maps(Source.of(self.config["data"]), spec, bool(self.config["data"].get("augment")))
        prepared = _prepared(maps, spec)
        options = {
            k: v
            for k, v in self.config["data"].items()
            if k in ("batch_size", "mirror", "shift", "balanced", "augment")
        }
        data = FlowMapsDataModule(fold=self.fold, seed=number, prepared=prepared, **options)
        trainer = pl.Trainer(
            **{
                **self.config["trainer"],
                "logger": False,
                "enable_checkpointing": False,
                "enable_progress_bar": False,
                "enable_model_summary": False,
            }
        )
        trainer.fit(task, datamodule=data)
        rows, truth, logits = collect(trainer.predict(task, datamodule=data))
        if not bool(torch.isfinite(logits).all()):
            raise ProtocolError(
                f"fold {self.fold}, seed {self.seed}: the logits are no numbers; the training diverged, lower model.lr"
            )
        keys = prepared.data.keys
        write_json(
            Path(self.out),
            {
                "seed": self.seed,
                "fold": self.fold,
                "keys": [keys[i] for i in rows.tolist()],
                "truth": truth.tolist(),
                "logits": logits.tolist(),
                "config": config_digest(self.config),
                "inputs": maps.digest,
                "split": self.split,
                "seconds": round(time.perf_counter() - started, 3),
                "versions": versions(),
            },
        )
        return self.out


@lru_cache(maxsize=2)
def _maps(source: Source, spec: str, keep_fields: bool) -> FlowMaps:
    return source.load(InputSpec.from_dict(json.loads(spec)), keep_fields=keep_fields)


@lru_cache(maxsize=2)
def _prepared(maps: FlowMaps, spec: str) -> Any:
    from zoo.data.module import Prepared

    return Prepared.of(maps, InputSpec.from_dict(json.loads(spec)))


def versions() -> dict[str, str]:
    """What a number was computed with."""
    return {
        "python": platform.python_version(),
        **{p: version(p) for p in ("torch", "pytorch-lightning", "numpy", "au-graph-zoo")},
    }


def write_json(path: Path, content: Any) -> None:
    """Whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(json.dumps(content) + "\n", encoding="utf-8")
    temporary.replace(path)


def run_loso(
    config: Config,
    *,
    out: str | Path,
    seeds: Sequence[int] = (0, 1, 2, 3, 4),
    folds: Sequence[str] = (),
    workers: int = 1,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Any]:
    """Train every (seed, fold) that has no result yet, then score.

    Args:
        config: resolved recipe, see ``zoo train --config``.
        out: run folder. Results of an earlier, interrupted run of the same config are kept; those of another config are an error.
        seeds: at least five for a published number.
        folds: names of test persons; all if empty. A partial run is stored, not scored.
        workers: processes; 0 runs here.
        on_progress: called with (results done, results wanted).

    Returns:
        The summary that is also written to ``loso.json``; empty for a partial run.

    Raises:
        ProtocolError: an unknown fold, or results of another config, split or data in the folder.
    """
    from zoo.train.task import RecognitionTask

    spec = RecognitionTask(**config["model"]).input_spec
    # read here first: what has to be computed is computed once, and the workers find it in the cache
    keep = bool(config["data"].get("augment"))
    data = Source.of(config["data"]).load(spec, on_progress, keep_fields=keep)
    every = data.split()
    names = [f.name for f in every]
    for fold in folds:
        if fold not in names:
            raise ProtocolError(str(unknown("fold", fold, names)))
    _refuse_seen(str(config["model"].get("weights") or ""), data)
    split = split_digest(every, data.keys)
    folder = Path(out).expanduser()
    wanted = [(seed, fold) for seed in seeds for fold in (folds or names)]
    stamp = {"config": config_digest(config), "inputs": data.digest, "split": split}
    todo = []
    try:
        write_json(
            folder / "config.json",
            {**{k: dict(v) if isinstance(v, Mapping) else v for k, v in config.items()}, "digests": stamp},
        )
    except OSError as error:
        raise ZooError(f"cannot write the run folder {folder}: {error.strerror}; choose another with --out") from error
    for seed, fold in wanted:
        path = result_path(folder, seed, fold)
        if path.is_file():
            held = json.loads(path.read_text(encoding="utf-8"))
            for name, digest in stamp.items():
                if held[name] != digest:
                    raise ProtocolError(
                        f"{path} comes from another {name} ({held[name][:12]}… is not {digest[:12]}…): "
                        f"choose another --out, or delete that folder"
                    )
        else:
            todo.append(Job(dict(config), seed, fold, str(path), split))
    done = len(wanted) - len(todo)
    on_progress(done, len(wanted))
    with executor(workers) as pool:
        try:
            for future in as_completed([pool.submit(job.run) for job in todo]):
                future.result()
                done += 1
                on_progress(done, len(wanted))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)  # what is finished is on disk; the same command resumes
            raise
    if folds:
        return {}
    summary = score(folder, seeds, data)
    summary |= {
        "digests": stamp,
        "versions": versions(),
        "epochs": config["trainer"].get("max_epochs"),
        "select": "last",
    }
    write_json(folder / "loso.json", summary)
    return summary


def _refuse_seen(weights: str, data: FlowMaps) -> None:
    """Leave-one-subject-out from weights that were trained on the clips it would hold out is a leak."""
    if known := seen_among(weights, data.keys):
        raise ProtocolError(
            f"{weights} was trained on {len(known)} of these {len(data)} clips ({known[0]}, …): scoring it on them "
            f"would be a leak; start from an architecture (model.arch), or from weights that have not seen them"
        )


def result_path(folder: Path, seed: int, fold: str) -> Path:
    """Where the result of one fit lies."""
    return folder / f"seed{seed}" / f"{fold.replace('/', '__')}.json"


def score(
    folder: Path,
    seeds: Sequence[int],
    data: FlowMaps,
) -> dict[str, Any]:
    """Pool the results of all folds per seed, score each seed once, then mean and standard deviation (n-1) over seeds.

    Raises:
        ProtocolError: a fold is missing, a clip was scored twice or never, or a stored truth differs from the data.
    """
    keys, labels, classes = data.keys, data.labels, data.classes
    split = data.split()
    folds, tested = [fold.name for fold in split], np.array(sorted(i for fold in split for i in fold.test))
    position = {key: i for i, key in enumerate(keys)}
    predictions: dict[str, list[int]] = {}
    table: dict[str, dict[str, list[float]]] = {}
    total = np.zeros((len(classes), len(classes)), int)
    for seed in seeds:
        predicted = np.full(len(keys), -1)
        for fold in folds:
            path = result_path(folder, seed, fold)
            if not path.is_file():
                raise ProtocolError(f"{path} is missing: run the same command again, it fits only what is missing")
            result = json.loads(path.read_text(encoding="utf-8"))
            for key, truth, logits in zip(result["keys"], result["truth"], result["logits"], strict=True):
                i = position[key]
                if predicted[i] >= 0 or labels[i] != truth:
                    raise ProtocolError(
                        f"{path}: clip {key} was scored twice, or its truth {truth} is not the data's {labels[i]}"
                    )
                predicted[i] = int(np.argmax(logits))
        if (predicted[tested] < 0).any():
            raise ProtocolError(f"seed {seed}: {int((predicted[tested] < 0).sum())} clips have no prediction")
        predictions[str(seed)] = predicted.tolist()
        total += confusion(labels[tested], predicted[tested], len(classes))
        groups = [data.datasets[i] for i in tested]
        for part, values in scores(labels[tested], predicted[tested], len(classes), groups).items():
            for metric, value in values.items():
                table.setdefault(part, {}).setdefault(metric, []).append(value)
    metrics = {
        part: {
            m: {"mean": float(np.mean(v)), "std": float(np.std(v, ddof=1)) if len(v) > 1 else None, "seeds": len(v)}
            for m, v in values.items()
            if m != "clips"
        }
        | {"clips": int(values["clips"][0])}
        for part, values in table.items()
    }
    return {
        "protocol": f"{data.protocol}, {len(folds)} folds, pooled, last epoch",
        "classes": list(classes),
        "seeds": list(seeds),
        "metrics": metrics,
        "confusion": total.tolist(),
        "keys": list(keys),
        "truth": labels.tolist(),
        "predicted": predictions,
    }
