"""A training that was interrupted goes on: its state after an epoch, in one file of the run folder that is whole or absent."""

from __future__ import annotations

import contextlib
import os
import random
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch

from zoo.errors import ZooError

NAME = "state.pt"
LEAST = 50  # a state is not written before so many times what writing it took have passed: at most 2 % of the time


class Resume(pl.Callback):
    """Writes the state of a training as epochs end, and puts it back when the training starts again.

    What is put back: weights and buffers of the task (with what a transfer method adds), optimiser, schedule, gradient scaler,
    where the loaders stand in their orders, random numbers, and the losses so far. On a CPU the end is then the same bit for bit.

    Args:
        folder: of the run.
        stamp: digests of what decides the outcome; a state with others is refused.
        curve: the callback whose ``epochs`` are the losses so far.
        every: seconds that pass at least between two states; 0: after each epoch.
    """

    def __init__(self, folder: Path, *, stamp: Mapping[str, Any], curve: Any, every: float) -> None:
        if every < 0:
            raise ZooError(f"--save-every is {every}; seconds are counted from 0")
        self.path, self.stamp, self.curve, self.every = folder / NAME, dict(stamp), curve, every
        self.saved = 0  # epochs that the state on disk has behind it
        self.came: list[int] = []  # after which epochs the training was taken up again
        self._state = self._read()
        self._last, self._took = time.monotonic(), 0.0
        if self._state is not None:
            self.saved = len(self._state["loss"])
            self.came = [*self._state["came"], self.saved]

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Put the state back, when everything that has one is there."""
        self._last = time.monotonic()
        if self._state is None:
            return
        state, self._state = self._state, None
        pl_module.load_state_dict(state["task"])
        for optimiser, held in zip(trainer.optimizers, state["optimisers"], strict=True):
            optimiser.load_state_dict(held)
        for config, held in zip(trainer.lr_scheduler_configs, state["schedules"], strict=True):
            config.scheduler.load_state_dict(held)
        if state["precision"]:
            trainer.precision_plugin.load_state_dict(state["precision"])
        for loader, epoch in zip(_loaders(trainer), state["loaders"], strict=True):
            loader.epoch = epoch
        self.curve.epochs[:] = state["loss"]
        _set_progress(trainer, self.saved, state["progress"])
        _set_random(state["random"])

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the state, where enough time has passed."""
        started = time.monotonic()
        if self.every and started - self._last < max(self.every, LEAST * self._took):
            return
        loop = trainer.fit_loop.epoch_loop
        state = {
            "stamp": self.stamp,
            "came": self.came,
            "loss": list(self.curve.epochs),
            "task": pl_module.state_dict(),
            "optimisers": [optimiser.state_dict() for optimiser in trainer.optimizers],
            "schedules": [config.scheduler.state_dict() for config in trainer.lr_scheduler_configs],
            "precision": trainer.precision_plugin.state_dict(),
            "loaders": [loader.epoch for loader in _loaders(trainer)],
            "progress": {
                "optimiser": loop.automatic_optimization.optim_progress.state_dict(),
                "batch": loop.batch_progress.state_dict(),
                "schedule": loop.scheduler_progress.state_dict(),
                "logged": loop._batches_that_stepped,
            },
            "random": _random(),
        }
        _write(self.path, state)
        self.saved, self._last = len(self.curve.epochs), time.monotonic()
        self._took = self._last - started

    def remove(self) -> None:
        """The training is over and its results are written."""
        for path in (self.path, _part(self.path)):
            path.unlink(missing_ok=True)

    def _read(self) -> dict[str, Any] | None:
        if not self.path.is_file():
            return None
        try:
            state: dict[str, Any] = torch.load(self.path, map_location="cpu", weights_only=True)
            held = state["stamp"]
        except Exception as error:  # what torch throws over a damaged file has no common class
            reason = str(error).partition("\n")[0]
            raise ZooError(
                f"{self.path} is no state of a training ({reason}): delete it, and the same command begins anew"
            ) from error
        differs = sorted(name for name in {*held, *self.stamp} if held.get(name) != self.stamp.get(name))
        if differs:
            raise ZooError(
                f"{self.path} is of an interrupted training with another {', '.join(differs)}: the command and the data that "
                f"began it go on from there; for this one choose another --out, or delete that file"
            )
        return state


def _loaders(trainer: pl.Trainer) -> list[Any]:
    """What counts epochs to draw its order: the loader of the clips, or those of two domains."""
    top: Any = trainer.train_dataloader
    return [top.micro, top.macro] if hasattr(top, "micro") else [top]


def _set_progress(trainer: pl.Trainer, epochs: int, held: Mapping[str, Any]) -> None:
    """Tell Lightning how far the training is. Its own restart would also load the task, before the task is complete."""
    epoch, loop = trainer.fit_loop.epoch_progress, trainer.fit_loop.epoch_loop
    counts: tuple[Any, ...] = (epoch.total, epoch.current)
    for count in counts:
        count.ready = count.started = count.processed = count.completed = epochs
    loop.automatic_optimization.optim_progress.load_state_dict(held["optimiser"])
    loop.batch_progress.load_state_dict(held["batch"])
    loop.scheduler_progress.load_state_dict(held["schedule"])
    loop._batches_that_stepped = held["logged"]


def _random() -> dict[str, Any]:
    name, keys, *rest = np.random.get_state(legacy=True)
    return {
        "torch": torch.get_rng_state(),
        "devices": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "numpy": [name, torch.from_numpy(np.asarray(keys, np.int64)), *rest],
        "python": random.getstate(),
    }


def _set_random(state: Mapping[str, Any]) -> None:
    torch.set_rng_state(state["torch"])
    if state["devices"] and torch.cuda.device_count() == len(state["devices"]):
        torch.cuda.set_rng_state_all(state["devices"])
    name, keys, *rest = state["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), *rest))
    random.setstate(state["python"])


def _part(path: Path) -> Path:
    """Always the same name, so that what a kill leaves is written over; the folder is locked for one process."""
    return path.with_name(f".{path.name}.tmp")


def _write(path: Path, state: Mapping[str, Any]) -> None:
    """Whole or not at all, also where the machine goes down."""
    part = _part(path)
    try:
        with part.open("wb") as file:
            torch.save(dict(state), file)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except (OSError, RuntimeError) as error:  # torch wraps a full disk
        with contextlib.suppress(OSError):
            part.unlink()
        raise ZooError(
            f"cannot write {path}: {error}; make room, and the same command goes on from the state before"
        ) from error
