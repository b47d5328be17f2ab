"""The Lightning task: any registered model, loss, optimiser, schedule, pooled metrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.nn import functional as F

from zoo.errors import ZooError
from zoo.metrics import au_f1, scores
from zoo.models._base import AUModel, ZooModel
from zoo.registry import create_model
from zoo.train.objective import LossRecipe, Objective
from zoo.train.transfer import FineTune, FineTuning
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
        losses: fields of :class:`~zoo.train.objective.LossRecipe`, e.g. ``{au: bce, au_weight: 0.5}``; without, the plain cross
            entropy. ``class_balance`` and ``label_smoothing`` belong to the plain one and are ``emotion_args`` here.
        finetune: fields of :class:`~zoo.train.transfer.FineTune`, e.g. ``{freeze: [layer1], lr_decay: 0.7, unfreeze_every: 5}``;
            without, everything learns at ``lr`` from the first step.
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
        losses: dict[str, Any] | None = None,
        finetune: dict[str, Any] | None = None,
        net: ZooModel | None = None,
    ) -> None:
        super().__init__()
        for name, value, allowed in (("optimiser", optimiser, Optimiser), ("schedule", schedule, Schedule)):
            if value not in get_args(allowed):
                raise ZooError(f"{name} is {value!r}; known: {', '.join(get_args(allowed))}")
        if sum((bool(arch), bool(weights), net is not None)) != 1:
            raise ZooError("give one of arch (fresh weights), weights (fine-tuning) and net (a ready model)")
        self.loss_recipe = LossRecipe.of(losses) if losses else None
        if self.loss_recipe and (class_balance or label_smoothing):
            raise ZooError(
                "class_balance and label_smoothing belong to the plain cross entropy; beside losses, write "
                "losses.emotion_args: {balance: …, label_smoothing: …}"
            )
        self.finetune = FineTune.of(finetune) if finetune else None
        self.save_hyperparameters(ignore=["net"])
        if weights:
            from zoo.weights import load

            net = load(weights).train()
            if self.finetune:
                net = self.finetune.start(net, weights=weights)
            if num_classes is not None:
                net.reset_classifier(num_classes)
        elif net is None:
            net = create_model(arch, **_with_input(arch, dict(arch_args or {}), dict(input or {})))
        if self.finetune and not weights:
            net = self.finetune.start(net)
        self.flat = net.input_spec.modality in ("flow", "apex")  # one picture per clip
        # a third faster on CPUs, and no slower elsewhere
        self.net: ZooModel = net.to(memory_format=torch.channels_last) if self.flat else net
        self.class_weights: Tensor | None = None
        self.objective: Objective | None = None
        self.au_targets: Tensor | None = None  # of all clips
        self._seen: list[tuple[Tensor, Tensor, Tensor]] = []
        self._told: list[tuple[Tensor, Tensor]] = []  # AU targets and logits of the clips tested

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
        return self.net(self._laid_out(x))

    def _laid_out(self, x: Tensor) -> Tensor:
        return x.contiguous(memory_format=torch.channels_last) if self.flat else x

    def setup(self, stage: str) -> None:
        """Refuse data that was prepared for another model: every normalisation is right for one input only."""
        prepared = getattr(getattr(self.trainer, "datamodule", None), "prepared", None)
        if prepared is not None and prepared.spec != self.input_spec:
            raise ZooError(
                f"the data module prepared {prepared.spec}, the model eats {self.input_spec}; "
                f"leave input_spec out, or pass the task's own"
            )

    def on_fit_start(self) -> None:
        """Count classes and action units of the training side, and of nothing else."""
        data: Any = getattr(self.trainer, "datamodule")  # noqa: B009
        counts = torch.as_tensor(data.class_counts, dtype=torch.float32)
        if len(counts) != self.net.num_classes:
            raise ZooError(
                f"the data has {len(counts)} classes, the model {self.net.num_classes} outputs; "
                f"set num_classes (model.arch_args.num_classes, or model.num_classes with model.weights)"
            )
        shown = None
        if isinstance(self.net, AUModel):
            self.au_targets = data.au_targets(self.net.aus).to(self.device)
            shown = self.au_targets[data.train_rows]
            coded = shown[~shown.isnan().any(1)]
            if len(coded):
                self.net.fit_graph(coded)
        if self.loss_recipe is not None:
            self.objective = Objective(
                self.loss_recipe, net=self.net, class_counts=counts,
                labels=data.prepared.labels[data.train_rows], au_labels=shown,
            ).to(self.device)  # fmt: skip
        weights = class_weights(counts, self.hparams["class_balance"])
        self.class_weights = None if weights is None else weights.to(next(self.net.parameters()))

    def training_step(self, batch: Batch, _: int) -> Tensor:
        """The loss of one batch."""
        x, y, rows = batch
        parts: dict[str, Tensor] = {}
        aus = self.au_targets[rows] if self.au_targets is not None else None
        if self.objective is not None:
            loss, parts = self.objective(self.net, self._laid_out(x), y, aus)
        else:
            logits = self(x)
            loss = F.cross_entropy(
                logits, y, weight=self.class_weights, label_smoothing=self.hparams["label_smoothing"]
            )
            if (extra := self.net.extra_loss(x, aus)) is not None:
                loss = loss + extra
        if self.trainer.loggers or self.trainer.progress_bar_callback:
            shown = {"train/loss": loss, **({f"train/{k}": v for k, v in parts.items()} if len(parts) > 1 else {})}
            self.log_dict(shown, prog_bar=True, on_step=False, on_epoch=True, batch_size=len(y))
        return loss

    def test_step(self, batch: Batch, _: int) -> None:
        """Collect predictions; they are scored together at the end."""
        x, y, rows = batch
        if isinstance(self.net, AUModel):
            logits, outputs = self.net.forward_all(self._laid_out(x))
            targets = self._targets(self.net)[rows.cpu()]
            self._told.append((targets, outputs.au_logits.float().cpu()))
        else:
            logits = self(x)
        self._seen.append((rows.cpu(), y.cpu(), logits.argmax(1).cpu()))

    def _targets(self, net: AUModel) -> Tensor:
        data: Any = getattr(self.trainer, "datamodule", None)
        if self.au_targets is not None:
            return self.au_targets.cpu()
        return data.au_targets(net.aus)

    def on_test_epoch_end(self) -> None:
        """Pooled UF1, UAR and accuracy of everything that was tested; F1 of each action unit where units are coded."""
        if self._seen:
            _, truth, predicted = (torch.cat(part) for part in zip(*self._seen, strict=True))
            self._seen.clear()
            full = scores(truth.numpy(), predicted.numpy(), self.net.num_classes)["full"]
            self.log_dict({f"test/{k}": float(v) for k, v in full.items() if k != "clips"})
        if self._told and isinstance(self.net, AUModel):
            targets, logits = (torch.cat(part) for part in zip(*self._told, strict=True))
            self._told.clear()
            known = ~targets.isnan().any(1)
            if bool(known.any()):
                found = au_f1(targets.nan_to_num().numpy(), (logits > 0).long().numpy(), self.net.aus, known.numpy())
                # a unit that nobody shows has no F1; it would pull the mean down
                shown = {unit: f1 for unit, f1 in found["f1"].items() if found["positives"][unit]}
                self.log_dict({f"test/au{unit}_f1": f1 for unit, f1 in shown.items()})
                self.log("test/au_f1", sum(shown.values()) / len(shown) if shown else 0.0)

    def predict_step(self, batch: Batch, _: int) -> tuple[Tensor, Tensor, Tensor]:
        """Positions, truth and logits of one batch."""
        x, y, rows = batch
        return rows.cpu(), y.cpu(), self(x).float().cpu()

    def configure_callbacks(self) -> list[pl.Callback]:
        """What freezes and wakes parts of the network, where the recipe says so."""
        return [FineTuning(self.finetune, self.net)] if self.finetune else []

    def learning(self) -> list[Any]:
        """Parameters to be trained, or groups of them."""
        if self.finetune:
            return self.finetune.groups(self.net, lr=self.hparams["lr"])
        return [p for p in self.net.parameters() if p.requires_grad]

    def configure_optimizers(self) -> Any:
        """Optimiser and a schedule that steps with every batch."""
        steps = max(int(self.trainer.estimated_stepping_batches), 1)
        optimiser, schedule = make_optimiser(self.learning(), self.hparams, steps)
        if schedule is None:
            return optimiser
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def class_weights(counts: Tensor, balance: float) -> Tensor | None:
    """Weights (N / (K n_c))^balance of the classes; None without balance.

    Shapes: counts ``[K]`` -> ``[K]``.

    Raises:
        ZooError: a class has no training clip.
    """
    if not balance:
        return None
    if not bool((counts > 0).all()):
        raise ZooError(f"class_balance needs a training clip of every class; got {counts.int().tolist()}")
    return (counts.sum() / (len(counts) * counts)).pow(balance)


def make_optimiser(
    parameters: Sequence[Any], h: Mapping[str, Any], steps: int
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler | None]:
    """Optimiser and schedule of a recipe; the schedule steps with every batch.

    Args:
        parameters: to be trained, or groups of them with learning rates of their own.
        h: fields of :class:`RecognitionTask`.
        steps: batches of the whole fit.
    """
    optimiser: torch.optim.Optimizer
    match h["optimiser"]:
        case "adamw":
            optimiser = torch.optim.AdamW(parameters, lr=h["lr"], weight_decay=h["weight_decay"], fused=True)
        case "adam":
            optimiser = torch.optim.Adam(parameters, lr=h["lr"], weight_decay=h["weight_decay"], fused=True)
        case _:
            optimiser = torch.optim.SGD(parameters, lr=h["lr"], momentum=0.9, weight_decay=h["weight_decay"])
    match h["schedule"]:
        case "constant":
            return optimiser, None
        case "onecycle":
            # one step more than there are: the scheduler steps once after the last batch; a rise of no length divides by zero
            total, peaks = steps + 1, [group["lr"] for group in optimiser.param_groups]
            return optimiser, torch.optim.lr_scheduler.OneCycleLR(
                optimiser, peaks, total_steps=total, pct_start=max(0.2, 2 / total)
            )
        case _:
            return optimiser, torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)


def collect(outputs: Any) -> tuple[Tensor, Tensor, Tensor]:
    """Positions ``[N]``, truth ``[N]`` and logits ``[N, K]`` from what ``Trainer.predict`` returns for this task."""
    rows, truth, logits = (torch.cat([batch[i] for batch in outputs]) for i in range(3))
    return rows, truth, logits


def _with_input(arch: str, arch_args: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    if changes:
        base = create_model(arch).input_spec.to_dict()
        arch_args["input_spec"] = InputSpec.from_dict({**base, **changes})
    return arch_args
