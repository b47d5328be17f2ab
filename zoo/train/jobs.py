"""One job: a config, a seed and some folds, as plain values, so that any process on any machine can run it."""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from zoo.data.clip_set import ClipSet
from zoo.data.source import PLACES, Source
from zoo.data.splits import Fold, grouped_kfold
from zoo.errors import ProtocolError
from zoo.registry import unknown
from zoo.train.callbacks import interruptible, loss_curve
from zoo.train.store import read_json, result_path, versions, write_json
from zoo.types import InputSpec

# fields of the data module that decide a fit, and are handed to it
OPTIONS = ("batch_size", "mirror", "shift", "balanced", "augment", "order", "drop_last")
Config = Mapping[str, Any]  # plain: {"model": {...}, "data": {...}, "trainer": {...}}
# Fields that came later count only where they are used, so that older results keep their digest.
_LATER: Mapping[str, Mapping[str, Any]] = {
    "model": {"losses": None, "finetune": None},
    "data": {
        "protocol": "", "scheme": "", "faces": "detect", "apex": "error", "max_gap": 0, "balanced": False, "augment": None,
        "order": "shuffled", "drop_last": True,
        "alphas": None, "adapt_to_test": False,
    },
}  # fmt: skip


def config_digest(config: Config) -> str:
    """SHA-256 of what decides the outcome of a fit; where the data lies and which fold is run do not."""

    def counts(section: str, name: str, value: Any) -> bool:
        later = _LATER[section]
        empty: tuple[Any, ...] = (None, "", [], (), {})
        return name not in later or not (later[name] == value or (later[name] in empty and value in empty))

    data = {
        k: v for k, v in placeless(config["data"]).items()
        if k not in ("fold", "seed", "complete") and counts("data", k, v)
    }  # fmt: skip
    trainer = {
        k: config["trainer"].get(k)
        for k in ("max_epochs", "max_steps", "precision", "gradient_clip_val", "accumulate_grad_batches")
    }
    model = {k: v for k, v in config["model"].items() if counts("model", k, v)}
    plain = {"model": model, "data": data, "trainer": trainer}
    return hashlib.sha256(json.dumps(plain, sort_keys=True, default=str).encode()).hexdigest()


def placeless(data: Mapping[str, Any]) -> dict[str, Any]:
    """The ``data`` of a config without where anything lies on this disk."""
    kept = {k: v for k, v in data.items() if k not in PLACES}
    return {**kept, "macro": placeless(kept["macro"])} if kept.get("macro") else kept


def two_domains(config: Config) -> bool:
    """Whether a config learns from other clips beside its own."""
    return "transfer" in config["model"]


def learns_from(config: Config) -> list[str]:
    """The weights that a training begins with or is taught by: what they have seen, it has seen."""
    model = config["model"]
    return [name for name in (model.get("weights"), (model.get("transfer") or {}).get("teacher")) if name]


def refuse_seen(config: Config, keys: Sequence[str], why: str) -> None:
    """Raise ProtocolError where the weights that a training begins with or is taught by were trained on some of the clips.

    Args:
        keys: of the clips.
        why: that is wrong, and the way out; the end of the error.
    """
    from zoo.weights import seen_among

    for weights in learns_from(config):
        if known := seen_among(weights, keys):
            raise ProtocolError(
                f"{weights} was trained on {len(known)} of these {len(keys)} clips ({known[0]}, …): {why}"
            )


def kinds(config: Config) -> tuple[Any, Any]:
    """The classes of task and data module that a config is for: one domain, or micro-expressions with macro beside them."""
    if two_domains(config):
        from zoo.train.transfer_task import TransferTask
        from zoo.train.two_domains import TwoDomainDataModule

        return TransferTask, TwoDomainDataModule
    from zoo.data.module import FlowMapsDataModule
    from zoo.train.task import RecognitionTask

    return RecognitionTask, FlowMapsDataModule


def data_of(config: Config, prepared: Any, fold: str, seed: int) -> Any:
    """The data module of one fit."""
    names = (*OPTIONS, "macro", "adapt_to_test") if two_domains(config) else OPTIONS
    options = {k: v for k, v in config["data"].items() if k in names}
    return kinds(config)[1](fold=fold, seed=seed, prepared=prepared, **options)


def beside(config: Config, spec: InputSpec, classes: tuple[str, ...]) -> dict[str, str]:
    """Digests of what is learnt from beside the clips of a run, which decides its results as they do.

    See :func:`zoo.train.two_domains.beside`; empty for one domain.
    """
    if not two_domains(config):
        return {}
    from zoo.train.two_domains import beside

    return beside(config, spec, classes)


def fit_seed(seed: int, fold: str) -> int:
    """Seed of one fit. Depends on nothing but its arguments: not on the worker, nor on the order of the folds."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{fold}".encode()).digest()[:4], "big")


Select = Literal["last", "oracle"]


class Diverged(ProtocolError):
    """A training whose logits are no numbers any more."""


@dataclass(frozen=True, kw_only=True)
class Inner:
    """A split for choosing: ``parts`` folds of whole persons, none of whom is tested by the protocol's folds in ``held_out``."""

    parts: int
    held_out: tuple[str, ...] = ()

    def of(self, data: ClipSet) -> Any:
        """The same clips under this split: folds ``cv1of5`` …; the persons held out stand on no side of any.

        Raises:
            ProtocolError: an unknown fold, or fewer persons than parts.
        """
        by_name = {fold.name: fold for fold in data.split()}
        for name in self.held_out:
            if name not in by_name:
                raise ProtocolError(str(unknown("fold", name, by_name)))
        away = {data.people[i] for name in self.held_out for i in by_name[name].test}
        kept = [i for i, person in enumerate(data.people) if person not in away]
        people, labels = [data.people[i] for i in kept], [int(data.labels[i]) for i in kept]
        if self.parts < 2 or len(set(people)) < self.parts:
            raise ProtocolError(
                f"{self.parts} parts of {len(set(people))} persons: at least 2 parts are needed, and a person for each"
            )
        inner = tuple(
            Fold(
                name=f"cv{n}of{self.parts}",
                train=tuple(kept[i] for i in fold.train),
                test=tuple(kept[i] for i in fold.test),
            )
            for n, fold in enumerate(grouped_kfold(people, labels, folds=self.parts, seed=0), 1)
        )
        without = f" without {len(away)} held-out persons" if away else ""
        words = f"{self.parts}-fold cross-validation by person{without}"
        return replace(data, folds=inner, complete_test=not away, protocol=words)


@dataclass(frozen=True, kw_only=True)
class Job:
    """Fits of one seed. Its results are files; one that is there already is not fitted again."""

    config: dict[str, Any]
    seed: int
    folds: tuple[str, ...]
    out: str  # run folder
    split: str  # digest of the split
    inner: Inner | None = None
    parallel: bool = False  # its folds at once, see zoo.train.stacked
    compiled: bool = False  # these in machine code, see zoo.train.fused
    select: Select = "last"  # oracle: the epoch that is best on the held-out clips themselves, to measure that leak

    def run(self) -> int:
        """Fit and predict what has no result yet; returns the number of folds of the job."""
        paths = {fold: result_path(Path(self.out), self.seed, fold) for fold in self.folds}
        absent = [fold for fold, path in paths.items() if not path.is_file()]
        for result in self.fit_parallel(absent) if self.parallel else map(self.fit, absent):
            write_json(paths[result["fold"]], result)
        return len(self.folds)

    def fit_parallel(self, folds: Sequence[str]) -> list[dict[str, Any]]:
        """As :meth:`fit`, of several folds at once."""
        from zoo.train.stacked import fit_stacked
        from zoo.train.task import RecognitionTask

        started = time.perf_counter()
        prepared = self._inputs(RecognitionTask(**self.config["model"]).input_spec)
        outcomes = fit_stacked(
            self.config, prepared, [(fold, fit_seed(self.seed, fold)) for fold in folds], compiled=self.compiled
        )
        seconds = (time.perf_counter() - started) / max(len(folds), 1)
        return [self._result(o.fold, prepared, o.rows, o.truth, o.logits, o.losses, seconds) for o in outcomes]

    def _inputs(self, spec: InputSpec) -> Any:
        keep = bool(self.config["data"].get("augment"))
        return _prepared(Source.of(self.config["data"]), json.dumps(spec.to_dict(), sort_keys=True), keep, self.inner)

    def fit(self, fold: str) -> dict[str, Any]:
        """Fit one fold, predict the clips it holds out.

        Raises:
            Diverged: the logits are no numbers.
            KeyboardInterrupt: Ctrl-C, also where Lightning has caught it.
        """
        import pytorch_lightning as pl
        import torch
        from pytorch_lightning.plugins.environments import LightningEnvironment

        from zoo.train.task import collect

        started = time.perf_counter()
        number = fit_seed(self.seed, fold)
        torch.manual_seed(number)
        make_task, _ = kinds(self.config)
        task = make_task(**self.config["model"])
        prepared = self._inputs(task.input_spec)
        data = data_of(self.config, prepared, fold, number)
        curve = loss_curve()
        oracle = [oracle_watch()] if self.select == "oracle" else []
        trainer = pl.Trainer(
            **{
                # one process per fit, whatever batch system this runs under
                "plugins": [LightningEnvironment()],
                **self.config["trainer"],
                "callbacks": [curve, *oracle],
                "logger": False,
                "enable_checkpointing": False,
                "enable_progress_bar": False,
                "enable_model_summary": False,
            }
        )
        with interruptible(trainer):
            trainer.fit(task, datamodule=data)
            rows, truth, logits = collect(trainer.predict(task, datamodule=data))
        seconds = time.perf_counter() - started
        result = self._result(fold, prepared, rows.tolist(), truth.tolist(), logits.tolist(), curve.epochs, seconds)
        if two_domains(self.config):
            seen = "adapted_to_test" if data.adapt_to_test else "macro_clips"
            result |= {seen: len(data.macro.fold.train), **beside(self.config, prepared.spec, prepared.data.classes)}
        return {**result, "select": "oracle", **oracle[0].chosen()} if oracle else result

    def _result(
        self,
        fold: str,
        prepared: Any,
        rows: Sequence[int],
        truth: Sequence[int],
        logits: Sequence[Sequence[float]],
        losses: Sequence[float],
        seconds: float,
    ) -> dict[str, Any]:
        if not all(math.isfinite(value) for row in logits for value in row):
            raise Diverged(
                f"fold {fold}, seed {self.seed}: the logits are no numbers; the training diverged, lower model.lr"
            )
        keys = prepared.data.keys
        return {
            "seed": self.seed,
            "fold": fold,
            "keys": [keys[i] for i in rows],
            "truth": list(truth),
            "logits": [list(row) for row in logits],
            "loss": list(losses),
            "config": config_digest(self.config),
            "inputs": prepared.data.digest,
            "split": self.split,
            "seconds": round(seconds, 3),
            "versions": versions(),
        }


def oracle_watch() -> Any:
    """A Lightning callback that picks, afterwards, the epoch that suited the held-out clips best: **a leak**, to be measured."""
    import pytorch_lightning as pl
    import torch

    class Watching(pl.Callback):
        def __init__(self) -> None:
            self.logits: list[torch.Tensor] = []
            self.truth = torch.empty(0)

        def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
            rng, training = torch.get_rng_state(), pl_module.training
            pl_module.eval()
            with torch.no_grad():
                batches = [(y.cpu(), pl_module(x).float().cpu()) for x, y, _ in trainer.datamodule.test_dataloader()]
            pl_module.train(training)
            torch.set_rng_state(rng)  # watching must not change what is watched
            self.truth = torch.cat([y for y, _ in batches])
            self.logits.append(torch.cat([logits for _, logits in batches]))

        def chosen(self) -> dict[str, Any]:
            """The first epoch with most held-out clips right, what it predicts, and what the last one predicts."""
            right = [int((logits.argmax(1) == self.truth).sum()) for logits in self.logits]
            best = max(range(len(right)), key=right.__getitem__)
            return {"logits": self.logits[best].tolist(), "epoch": best + 1, "last": self.logits[-1].tolist()}

    return Watching()


def check_result(path: Path, stamp: Mapping[str, str]) -> None:
    """Refuse a result of another config, split or data.

    Raises:
        ProtocolError: naming the file and the digest that differs.
    """
    held = {"select": "last", **read_json(path)}
    for name, digest in {"select": "last", **stamp}.items():
        if held.get(name) != digest:
            raise ProtocolError(
                f"{path} comes from another {name} ({str(held.get(name))[:12]}… is not {digest[:12]}…): "
                f"choose another --out, or delete that folder"
            )


@lru_cache(maxsize=2)
def _clips(source: Source, spec: str, keep_fields: bool) -> Any:
    return source.load(InputSpec.from_dict(json.loads(spec)), keep_fields=keep_fields)


@lru_cache(maxsize=2)
def _prepared(source: Source, spec: str, keep_fields: bool, inner: Inner | None) -> Any:
    from zoo.data.module import Prepared

    clips = _clips(source, spec, keep_fields)
    return Prepared.of(inner.of(clips) if inner else clips, InputSpec.from_dict(json.loads(spec)))
