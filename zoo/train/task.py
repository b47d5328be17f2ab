"""The Lightning task: any registered model, loss, optimiser, schedule, pooled metrics."""

from __future__ import annotations

from typing import Any, Literal, get_args

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.nn import functional as F

from zoo.errors import ZooError
from zoo.metrics import scores
from zoo.models._base import ZooModel
from zoo.registry import create_model
from zoo.types import InputSpec

Optimiser = Literal["adamw", "adam", "sgd"]
Schedule = Literal["constant", "cosine", "onecycle"]
Batch = tuple[Tensor, Tensor, Tensor]  # inputs [B, C, S, S], labels [B], positions [B]


class RecognitionTask(pl.LightningModule):
    """Train and test one recogniser.

    Args:
        arch: an architecture of the registry; empty if ``weights`` is given.
        arch_args: its keyword arguments.
        input: fields of the :class:`~zoo.types.InputSpec` that differ from the architecture's own.
        weights: start from these pretrained weights (fine-tuning) in place of fresh ones.
        num_classes: with ``weights``, replace the classifier by one of so many outputs.
        lr: peak learning rate.
        weight_decay: of the optimiser.
        optimiser: ``adamw``, ``adam``, or ``sgd`` with momentum 0.9.
        schedule: ``onecycle`` (20 % warm-up, cosine down), ``cosine`` or ``constant``.
        class_balance: exponent b of the class weights (N / (K n_c))^b; 0 none, 1 full. Counted on the training clips.
        label_smoothing: of the cross entropy.
        net: a ready model in place of ``arch`` or ``weights`` (not saved with the hyper-parameters).

    Shapes: batches ``(x [B, C, S, S], y [B], position [B])``.
    """

    def __init__(
        self,
        arch: str = "",
        *,
        arch_args: dict[str, Any] | None = None,
        input: dict[str, Any] | None = None,
        weights: str = "",
        num_classes: int | None = None,
        lr: float = 1e-3,
        weight_decay: float = 1e-4,
        optimiser: Optimiser = "adamw",
        schedule: Schedule = "onecycle",
        class_balance: float = 0.0,
        label_smoothing: float = 0.0,
        net: ZooModel | None = None,
    ) -> None:
        super().__init__()
        for name, value, allowed in (("optimiser", optimiser, Optimiser), ("schedule", schedule, Schedule)):
            if value not in get_args(allowed):
                raise ZooError(f"{name} is {value!r}; known: {', '.join(get_args(allowed))}")
        if sum((bool(arch), bool(weights), net is not None)) != 1:
            raise ZooError("give one of arch (fresh weights), weights (fine-tuning) and net (a ready model)")
        self.save_hyperparameters(ignore=["net"])
        if weights:
            from zoo.weights import load

            net = load(weights).train()
            if num_classes is not None:
                net.reset_classifier(num_classes)
        elif net is None:
            net = create_model(arch, **_with_input(arch, dict(arch_args or {}), dict(input or {})))
        self.net = net.to(memory_format=torch.channels_last)  # a third faster on CPUs, and no slower elsewhere
        self.class_weights: Tensor | None = None
        self._seen: list[tuple[Tensor, Tensor, Tensor]] = []

    @classmethod
    def from_pretrained(cls, name: str, num_classes: int | None = None, **kwargs: Any) -> RecognitionTask:
        """The start of a fine-tune: ``name`` as in :func:`zoo.load`, a fresh classifier if ``num_classes`` is given."""
        return cls(weights=name, num_classes=num_classes, **kwargs)

    @property
    def input_spec(self) -> InputSpec:
        """What the model eats; the data module prepares it."""
        return self.net.input_spec

    def forward(self, x: Tensor) -> Tensor:
        """Logits. Shapes: ``[B, C, S, S]`` -> ``[B, K]``."""
        return self.net(x.contiguous(memory_format=torch.channels_last))

    def setup(self, stage: str) -> None:
        """Refuse data that was prepared for another model: every normalisation is right for one input only."""
        prepared = getattr(getattr(self.trainer, "datamodule", None), "prepared", None)
        if prepared is not None and prepared.spec != self.input_spec:
            raise ZooError(
                f"the data module prepared {prepared.spec}, the model eats {self.input_spec}; "
                f"leave input_spec out, or pass the task's own"
            )

    def on_fit_start(self) -> None:
        """Count the classes of the training side, and of nothing else."""
        counts = torch.as_tensor(getattr(self.trainer, "datamodule").class_counts, dtype=torch.float32)  # noqa: B009
        if len(counts) != self.net.num_classes:
            raise ZooError(
                f"the data has {len(counts)} classes, the model {self.net.num_classes} outputs; "
                f"set num_classes (model.arch_args.num_classes, or model.num_classes with model.weights)"
            )
        if self.hparams["class_balance"]:
            if not bool((counts > 0).all()):
                raise ZooError(f"class_balance needs a training clip of every class; got {counts.int().tolist()}")
            self.class_weights = (
                (counts.sum() / (len(counts) * counts)).pow(self.hparams["class_balance"]).to(self.device)
            )

    def training_step(self, batch: Batch, _: int) -> Tensor:
        """Cross entropy of one batch."""
        x, y, _rows = batch
        loss = F.cross_entropy(self(x), y, weight=self.class_weights, label_smoothing=self.hparams["label_smoothing"])
        if self.trainer.loggers or self.trainer.progress_bar_callback:
            self.log("train/loss", loss, prog_bar=True, on_step=False, on_epoch=True, batch_size=len(y))
        return loss

    def test_step(self, batch: Batch, _: int) -> None:
        """Collect predictions; they are scored together at the end."""
        x, y, rows = batch
        self._seen.append((rows.cpu(), y.cpu(), self(x).argmax(1).cpu()))

    def on_test_epoch_end(self) -> None:
        """Pooled UF1, UAR and accuracy of everything that was tested."""
        if self._seen:
            _, truth, predicted = (torch.cat(part) for part in zip(*self._seen, strict=True))
            self._seen.clear()
            full = scores(truth.numpy(), predicted.numpy(), self.net.num_classes)["full"]
            self.log_dict({f"test/{k}": float(v) for k, v in full.items() if k != "clips"})

    def predict_step(self, batch: Batch, _: int) -> tuple[Tensor, Tensor, Tensor]:
        """Positions, truth and logits of one batch."""
        x, y, rows = batch
        return rows.cpu(), y.cpu(), self(x).float().cpu()

    def configure_optimizers(self) -> Any:
        """Optimiser and a schedule that steps with every batch."""
        h = self.hparams
        parameters = [p for p in self.net.parameters() if p.requires_grad]
        optimiser: torch.optim.Optimizer
        match h["optimiser"]:
            case "adamw":
                optimiser = torch.optim.AdamW(parameters, lr=h["lr"], weight_decay=h["weight_decay"], fused=True)
            case "adam":
                optimiser = torch.optim.Adam(parameters, lr=h["lr"], weight_decay=h["weight_decay"], fused=True)
            case _:
                optimiser = torch.optim.SGD(parameters, lr=h["lr"], momentum=0.9, weight_decay=h["weight_decay"])
        if h["schedule"] == "constant":
            return optimiser
        steps = max(int(self.trainer.estimated_stepping_batches), 1)
        schedule: torch.optim.lr_scheduler.LRScheduler
        if h["schedule"] == "onecycle":
            # one step more than there are: the scheduler steps once after the last batch
            schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, h["lr"], total_steps=steps + 1, pct_start=0.2)
        else:
            schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def collect(outputs: Any) -> tuple[Tensor, Tensor, Tensor]:
    """Positions ``[N]``, truth ``[N]`` and logits ``[N, K]`` from what ``Trainer.predict`` returns for this task."""
    rows, truth, logits = (torch.cat([batch[i] for batch in outputs]) for i in range(3))
    return rows, truth, logits


def _with_input(arch: str, arch_args: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    if changes:
        base = create_model(arch).input_spec.to_dict()
        arch_args["input_spec"] = InputSpec.from_dict({**base, **changes})
    return arch_args
