"""What our fits ask of Lightning beside the training itself: the curve of the loss, and a Ctrl-C that stays one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any


def loss_curve(on_epoch: Callable[..., None] = lambda done, total, note="": None) -> Any:
    """A Lightning callback whose ``epochs`` holds the mean training loss of each epoch; tells of each as it ends."""
    import pytorch_lightning as pl
    import torch

    class LossCurve(pl.Callback):
        epochs: list[float]

        def __init__(self) -> None:
            self.epochs, self._losses = [], []  # type: list[float], list[torch.Tensor]

        def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
            if outputs is not None:
                self._losses.append((outputs["loss"] if isinstance(outputs, Mapping) else outputs).detach())

        def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
            if self._losses:  # read once per epoch: reading a value waits for the device
                self.epochs.append(round(float(torch.stack(self._losses).mean()), 6))
                self._losses.clear()
                on_epoch(len(self.epochs), trainer.max_epochs, f"loss {self.epochs[-1]:.4f}")

    return LossCurve()


class interruptible:
    """Lightning turns Ctrl-C into ``exit(1)`` and leaves the signal ignored; here it stays a KeyboardInterrupt."""

    def __init__(self, trainer: Any) -> None:
        self.trainer = trainer

    def __enter__(self) -> None:
        import signal
        import threading

        self.main = threading.current_thread() is threading.main_thread()
        self.handler = signal.getsignal(signal.SIGINT)

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        import signal

        if self.main and self.handler is not None:
            signal.signal(signal.SIGINT, self.handler)
        if isinstance(error, SystemExit) and self.trainer.interrupted:
            held = error.__context__  # SIGTERM comes as a KeyboardInterrupt too, and is to stay what it is
            raise (held if isinstance(held, KeyboardInterrupt) else KeyboardInterrupt()) from None
