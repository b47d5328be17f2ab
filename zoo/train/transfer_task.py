"""The Lightning task that learns from two domains."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from pytorch_lightning.utilities import rank_zero_warn
from torch import Tensor
from torch.nn import functional as F

from zoo.errors import ProtocolError, ZooError
from zoo.models._base import AUModel, ZooModel
from zoo.train.objective import LossRecipe, Objective
from zoo.train.task import Batch, RecognitionTask
from zoo.train.transfer_methods import Look, Pair, check_families, method
from zoo.train.transfer_recipe import UNLABELLED, TransferRecipe
from zoo.train.two_domains import TwoDomainDataModule


class TransferTask(RecognitionTask):
    """Train a recogniser of micro-expressions with macro-expressions beside them; it is tested as ever.

    Micro clips are under ``losses`` (or the plain cross entropy), macro clips under ``transfer.macro_losses``, or else under the
    same ones, with weights counted on the macro clips; losses of action units leave macro clips out where nobody coded any. What
    a network minimises of its own (:meth:`~zoo.models._base.ZooModel.extra_loss`) is of both. The edges of a graph are counted on
    micro clips.

    Args:
        arch: and all that follows, see :class:`~zoo.train.task.RecognitionTask`; ``class_balance`` and ``label_smoothing`` are of
            the micro clips.
        transfer: fields of :class:`~zoo.train.transfer_recipe.TransferRecipe`, e.g. ``{method: dann, weight: 0.5}``.

    Shapes: batches of two triples ``(x [B, C, S, S], y [B], position [B])``, micro and macro.
    """

    def __init__(self, arch: str = "", *, transfer: dict[str, Any] | None = None, **kwargs: Any) -> None:
        self.transfer = TransferRecipe.of(transfer or {})
        super().__init__(arch, **kwargs)
        self._taught_by: tuple[ZooModel, ...] = ()  # not a part of the task until the method holds it
        if self.transfer.teacher:
            from zoo.weights import load

            self._taught_by = (load(self.transfer.teacher),)
        check_families(self.transfer, self.net, *(self._taught_by or (None,)))
        self.macro_losses = self.transfer.losses_of_macro(self.loss_recipe)
        self.macro_objective: Objective | None = None
        self.macro_units: Tensor | None = None  # of all macro clips
        self.method: Any = None
        self.people: tuple[Tensor, Tensor] | None = None

    def setup(self, stage: str) -> None:
        """Build what the method adds, which is trained with the network and not stored with it.

        Raises:
            ZooError: no second domain, or a teacher that does not go with the student or has seen the clips that are tested.
        """
        super().setup(stage)
        data: Any = getattr(self.trainer, "datamodule", None)
        if stage != "fit" or self.method is not None:
            return
        if not isinstance(data, TwoDomainDataModule):
            raise ZooError("model.transfer learns from two domains: say in data.macro where the macro clips are")
        if data.adapt_to_test and self.transfer.method not in UNLABELLED:
            raise ZooError(
                f"transfer.method {self.transfer.method} needs the classes of both domains; those that adapt to clips "
                f"without classes (data.adapt_to_test) are {', '.join(UNLABELLED)}"
            )
        micro, macro, count = data.people
        self.people = micro, macro
        self.method = method(self.transfer, self.net, people=count, teacher=self._teacher(data))

    def _teacher(self, data: TwoDomainDataModule) -> ZooModel | None:
        if not self._taught_by:
            return None
        from zoo.weights import seen_among

        name, (teacher,) = self.transfer.teacher, self._taught_by
        assert data.prepared is not None and data.fold is not None
        clips = data.prepared.data
        if known := seen_among(name, [clips.keys[i] for i in data.fold.test]):
            raise ProtocolError(
                f"transfer.teacher {name} was trained on {len(known)} of the clips that are tested ({known[0]}, …): what it "
                f"hands on would be a leak; take a teacher that has not seen them"
            )
        # its classes count where it is asked for them; a teacher of attention or action units may tell others
        if self.transfer.method == "micronet" and tuple(teacher.classes) != tuple(clips.classes):
            raise ZooError(
                f"transfer.teacher {name} tells {', '.join(teacher.classes)}, the clips are {', '.join(clips.classes)}: "
                f"its losses would be those of other classes; train it under the same protocol"
            )
        return teacher

    def on_fit_start(self) -> None:
        """Count classes and action units of each domain's training side, and of nothing else."""
        super().on_fit_start()
        data: Any = getattr(self.trainer, "datamodule")  # noqa: B009
        shown = None
        if isinstance(self.net, AUModel):
            self.macro_units = data.macro.au_targets(self.net.aus).to(self.device)
            shown = self.macro_units[data.macro.train_rows]
        if self.macro_losses is None or data.adapt_to_test:
            return
        losses = self.macro_losses
        if self.transfer.macro_losses is None and shown is not None and bool(shown.isnan().all()):
            losses = _without_units(losses, data.macro.prepared.data.source)
        self.macro_objective = Objective(
            losses, net=self.net, class_counts=torch.as_tensor(data.macro.class_counts, dtype=torch.float32),
            labels=data.macro.prepared.labels[data.macro.train_rows], au_labels=shown,
        ).to(self.device)  # fmt: skip

    def learning(self) -> list[Any]:
        """As ever, and what the method adds."""
        added = [p for p in self.method.parameters() if p.requires_grad]
        if not added:
            return super().learning()
        if self.finetune:
            return [*super().learning(), {"params": added, "lr": self.hparams["lr"], "name": "transfer"}]
        return [*super().learning(), *added]

    def training_step(self, batch: tuple[Batch, Batch], _: int) -> Tensor:  # type: ignore[override]
        """The loss of a batch of each domain."""
        (x, y, rows), (macro_x, macro_y, macro_rows) = batch
        assert self.people is not None
        both_x, both_y = self._laid_out(torch.cat((x, macro_x))), torch.cat((y, macro_y))
        who = torch.cat((self.people[0][rows.cpu()], self.people[1][macro_rows.cpu()])).to(y.device)
        units = None
        if self.au_targets is not None and self.macro_units is not None:
            units = torch.cat((self.au_targets[rows], self.macro_units[macro_rows]))
        self.net.check_input(both_x)
        seen = self.method.look(self.net, both_x)
        logits = self.net.forward_head(seen.features)
        pair = Pair(
            x=both_x, y=both_y, people=who, micro=len(y), features=seen.features, kept=seen.kept,
            losses=F.cross_entropy(logits, both_y, reduction="none", ignore_index=-1),
            progress=self.trainer.global_step / max(int(self.trainer.estimated_stepping_batches), 1),
        )  # fmt: skip
        parts = self._of_domains(pair, logits, seen, units)
        extra = self.net.extra_loss(both_x, units)
        if extra is not None:
            parts["extra"] = extra
        parts |= {name: self.transfer.weight * value for name, value in self.method(self.net, pair).items()}
        loss = torch.stack(list(parts.values())).sum()
        if self.trainer.loggers or self.trainer.progress_bar_callback:
            shown = {"train/loss": loss, **{f"train/{k}": v for k, v in parts.items()}}
            self.log_dict(shown, prog_bar=True, on_step=False, on_epoch=True, batch_size=len(y))
        return loss

    def _of_domains(self, pair: Pair, logits: Tensor, seen: Look, units: Tensor | None) -> dict[str, Tensor]:
        """What each domain's own clips tell, by name."""
        parts: dict[str, Tensor] = {}
        n, data = pair.micro, getattr(self.trainer, "datamodule", None)
        for name, at, objective in (
            ("micro", slice(None, n), self.objective), ("macro", slice(n, None), self.macro_objective),
        ):  # fmt: skip
            if name == "macro" and getattr(data, "adapt_to_test", False):
                continue  # their classes are not to be known
            if objective is not None:
                told = objective.parts(
                    logits[at], seen.features[at], None if seen.au_logits is None else seen.au_logits[at], pair.y[at],
                    None if units is None else units[at],
                )  # fmt: skip
                parts |= {name if len(told) == 1 else f"{name}_{k}": v for k, v in told.items()}
            elif name == "micro":
                parts[name] = F.cross_entropy(
                    logits[at], pair.y[at], weight=self.class_weights, label_smoothing=self.hparams["label_smoothing"]
                )
            else:
                parts[name] = pair.losses[at].mean()
        weigh = self.transfer.macro_weight
        return {name: weigh * value if name.startswith("macro") else value for name, value in parts.items()}


def _without_units(losses: LossRecipe, source: str) -> LossRecipe:
    """The losses of clips whose action units nobody coded."""
    left = [name for name, used in (("au", losses.au), ("fuzzy", losses.fuzzy)) if used]
    feature = losses.feature
    if feature == "au_jaccard":
        left, feature = [*left, "feature au_jaccard"], None
    if left:
        rank_zero_warn(
            f"losses of action units ({', '.join(left)}) leave the macro clips out: nobody coded the units of {source}"
        )
    return replace(losses, au=None, fuzzy=0.0, feature=feature)
