"""Macro- and micro-expressions side by side: batches of both, and the task that learns from them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from zoo.data.module import FlowMapsDataModule, Prepared, ResidentLoader
from zoo.data.source import Source
from zoo.errors import ProtocolError, ZooError
from zoo.train.task import Batch, RecognitionTask
from zoo.train.transfer_methods import Pair, TransferRecipe, method
from zoo.types import InputSpec

OWN = (
    "batch_size",
    "mirror",
    "shift",
    "balanced",
    "fold",
)  # of the macro clips; what is left out is as for the micro clips


class PairedLoader:
    """A macro batch beside each micro batch; the macro clips begin anew, in another order, when they have all been seen."""

    def __init__(self, micro: ResidentLoader, macro: ResidentLoader) -> None:
        self.micro, self.macro = micro, macro

    def __len__(self) -> int:
        return len(self.micro)

    def __iter__(self) -> Iterator[tuple[Batch, Batch]]:
        beside = iter(self.macro)
        for batch in self.micro:
            other = next(beside, None)
            if other is None:
                beside = iter(self.macro)
                other = next(beside)
            yield batch, other


class TwoDomainDataModule(FlowMapsDataModule):
    """Micro clips under a protocol, as :class:`~zoo.data.module.FlowMapsDataModule`, with macro clips beside them in training.

    Args:
        root: and all that follows, of the micro clips, which alone are tested.
        macro: of the macro clips: fields of :class:`~zoo.data.source.Source` (``root``, or ``manifest``, ``frames`` and
            ``protocol``), and ``batch_size``, ``mirror``, ``shift``, ``balanced``, ``fold``, where they differ.

    Raises:
        ProtocolError: an empty domain; classes that are not the same, or that one domain does not show; a person who is tested
            among the macro clips.
    """

    def __init__(self, root: str = "", *, macro: dict[str, Any] | None = None, **kwargs: Any) -> None:
        super().__init__(root, **kwargs)
        if not macro:
            raise ZooError(
                "two domains need macro clips beside the micro ones: data.macro: {manifest: …, frames: …, protocol: …}"
            )
        known = {f.name for f in fields(Source)} | set(OWN)
        if extra := sorted(set(macro) - known):
            raise ZooError(f"data.macro has no {', '.join(extra)}; it has {', '.join(sorted(known))}")
        self.macro_options = dict(macro)
        self.macro: FlowMapsDataModule | None = None

    def setup(self, stage: str | None = None) -> None:
        """Read, prepare and split both domains, once; refuse what cannot be learnt together."""
        if self.macro is not None:
            return
        super().setup(stage)
        assert self.prepared is not None and self.fold is not None
        spec, own = self.prepared.spec, {k: self.macro_options[k] for k in OWN if k in self.macro_options}
        source = Source.of({"complete": False, **{k: v for k, v in self.macro_options.items() if k not in OWN}})
        prepared = _macro_inputs(source, json.dumps(spec.to_dict(), sort_keys=True))
        shared = {"batch_size": self.batch_size, "mirror": self.mirror, "shift": self.shift, "balanced": self.balanced}
        macro = FlowMapsDataModule(seed=self.seed + 1, prepared=_in_order(prepared, self), **{**shared, **own})
        macro.setup()
        _refuse(self, macro)
        self.macro = macro

    def train_dataloader(self) -> Any:
        """Pairs of batches."""
        assert self.macro is not None
        return PairedLoader(super().train_dataloader(), self.macro.train_dataloader())

    @property
    def people(self) -> tuple[Tensor, Tensor, int]:
        """Number of the person of each micro clip, of each macro clip, and how many persons there are."""
        assert self.macro is not None
        names = [_clips(domain).people for domain in (self, self.macro)]
        numbers = {name: i for i, name in enumerate(dict.fromkeys([*names[0], *names[1]]))}
        micro, macro = (torch.tensor([numbers[name] for name in of]) for of in names)
        return micro, macro, len(numbers)


class TransferTask(RecognitionTask):
    """Train a recogniser of micro-expressions with macro-expressions beside them; it is tested as ever.

    Args:
        arch: and all that follows, see :class:`~zoo.train.task.RecognitionTask`; ``class_balance`` and ``label_smoothing`` are of
            the micro clips.
        transfer: fields of :class:`~zoo.train.transfer_methods.TransferRecipe`, e.g. ``{method: dann, weight: 0.5}``.

    Shapes: batches of two triples ``(x [B, C, S, S], y [B], position [B])``, micro and macro.
    """

    def __init__(self, arch: str = "", *, transfer: dict[str, Any] | None = None, **kwargs: Any) -> None:
        super().__init__(arch, **kwargs)
        self.transfer = TransferRecipe.of(transfer or {})
        if self.loss_recipe is not None:
            raise ZooError(
                "losses and transfer do not mix yet: the losses between domains go with the plain cross entropy"
            )
        self.method: Any = None
        self.people: tuple[Tensor, Tensor] | None = None

    def setup(self, stage: str) -> None:
        """Build what the method adds, which is trained with the network and not stored with it."""
        super().setup(stage)
        data: Any = getattr(self.trainer, "datamodule", None)
        if stage != "fit" or self.method is not None:
            return
        if not isinstance(data, TwoDomainDataModule):
            raise ZooError("model.transfer learns from two domains: say in data.macro where the macro clips are")
        teacher = None
        if self.transfer.teacher:
            from zoo.weights import load

            teacher = load(self.transfer.teacher)
        micro, macro, count = data.people
        self.people = micro, macro
        self.method = method(self.transfer, self.net, people=count, teacher=teacher)

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
        self.net.check_input(both_x)
        features, kept = self.method.look(self.net, both_x)
        logits = self.net.forward_head(features)
        pair = Pair(
            x=both_x, y=both_y, people=who, micro=len(y), features=features, kept=kept,
            losses=F.cross_entropy(logits, both_y, reduction="none"),
            progress=self.trainer.global_step / max(int(self.trainer.estimated_stepping_batches), 1),
        )  # fmt: skip
        parts = {
            "micro": F.cross_entropy(
                logits[: len(y)], y, weight=self.class_weights, label_smoothing=self.hparams["label_smoothing"]
            ),
            "macro": self.transfer.macro_weight * pair.losses[len(y) :].mean(),
        }
        parts |= {name: self.transfer.weight * value for name, value in self.method(self.net, pair).items()}
        loss = torch.stack(list(parts.values())).sum()
        if self.trainer.loggers or self.trainer.progress_bar_callback:
            shown = {"train/loss": loss, **{f"train/{k}": v for k, v in parts.items()}}
            self.log_dict(shown, prog_bar=True, on_step=False, on_epoch=True, batch_size=len(y))
        return loss


@lru_cache(maxsize=1)  # the folds of a run share their macro clips
def _macro_inputs(source: Source, spec: str) -> Prepared:
    found = InputSpec.from_dict(json.loads(spec))
    return Prepared.of(source.load(found), found)


def _clips(domain: FlowMapsDataModule) -> Any:
    assert domain.prepared is not None
    return domain.prepared.data


def _in_order(macro: Prepared, micro: FlowMapsDataModule) -> Prepared:
    """The macro clips with the numbers that the micro clips give their classes."""
    have, want = macro.data.classes, _clips(micro).classes
    if set(have) != set(want):
        raise ProtocolError(
            f"the classes of two domains must be the same: micro has {', '.join(want)}; macro has {', '.join(have)}; "
            f"choose protocols that agree, such as own_3 or own_basic6 (`zoo data list`)"
        )
    if have == want:
        return macro
    labels = np.array([want.index(name) for name in have], np.int64)[macro.data.labels]
    data: Any = replace(macro.data, labels=labels, classes=want)
    return replace(macro, data=data, labels=torch.from_numpy(labels))


def _refuse(micro: FlowMapsDataModule, macro: FlowMapsDataModule) -> None:
    """Raise ProtocolError for two domains that cannot be learnt together, or must not be."""
    sides: Mapping[str, FlowMapsDataModule] = {"micro": micro, "macro": macro}
    for name, side in sides.items():
        assert side.fold is not None
        clips = _clips(side)
        if not side.fold.train:
            raise ProtocolError(
                f"the {name} domain is empty: {clips.source} has no training clip in fold {side.fold.name}"
            )
        absent = [c for c, count in zip(clips.classes, side.class_counts, strict=True) if not count]
        if absent:
            raise ProtocolError(
                f"the {name} domain shows no {', '.join(absent)} in training ({clips.source}): both domains need every class; "
                f"join data sets, or choose a protocol with fewer classes"
            )
    assert micro.fold is not None and macro.fold is not None
    tested = {_clips(micro).people[i] for i in micro.fold.test}
    both = sorted(tested & {_clips(macro).people[i] for i in macro.fold.train})
    if both:
        raise ProtocolError(
            f"{', '.join(both[:5])} would be tested and trained on: the macro clips hold the persons of fold "
            f"{micro.fold.name}; leave them out of data.macro"
        )
