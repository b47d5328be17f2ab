"""A recogniser on a data set, asked again after its inputs have been changed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from zoo.errors import ZooError
from zoo.types import InputSpec

if TYPE_CHECKING:
    from torch import Tensor

    from zoo.data.clip_set import ClipSet
    from zoo.data.module import Prepared
    from zoo.models._base import ZooModel

    Change = Callable[[Tensor, Tensor], Tensor]  # inputs, the same mirrored -> inputs

BATCH = 256


@dataclass(frozen=True, kw_only=True, eq=False)
class Asked:
    """A data set with, for each of its parts, the network that answers for it."""

    name: str  # of the weights or the recipe
    prepared: Prepared
    nets: Callable[[], Iterator[tuple[ZooModel, Sequence[int]]]]  # network in eval mode, rows that it answers for
    clean: bool  # whether no network answers for clips that it was trained on
    remark: str  # how that is, in words

    @property
    def data(self) -> ClipSet:
        """The clips."""
        return cast("ClipSet", self.prepared.data)

    @property
    def spec(self) -> InputSpec:
        """What the networks eat."""
        return self.prepared.spec

    def probabilities(self, changes: Mapping[str, Change]) -> dict[str, NDArray[np.float64]]:
        """Class probabilities of every clip after each change. Shapes: each ``[N, K]``.

        Raises:
            ZooError: a clip that nobody answers for.
        """
        import torch

        out = {name: np.full((len(self.data), len(self.data.classes)), np.nan) for name in changes}
        for net, rows in self.nets():
            for part in torch.tensor(rows, dtype=torch.long).split(BATCH):
                x, mirrored = (
                    self.prepared.take(part),
                    self.prepared.take(part, torch.ones(len(part), dtype=torch.bool)),
                )
                for name, change in changes.items():
                    with torch.inference_mode():
                        out[name][part.numpy()] = net(change(x, mirrored)).softmax(1).double().numpy()
        if any(np.isnan(p).any() for p in out.values()):
            raise ZooError(f"{self.name}: some clips got no answer, or one that is no number")
        return out


def ask_checkpoint(name: str, source: Mapping[str, Any]) -> Asked:
    """Pretrained weights answer for every clip, those included that they were trained on; ``remark`` says how many.

    Args:
        name: see :func:`zoo.weights.load`.
        source: fields of :class:`zoo.data.source.Source`.

    Raises:
        ZooError: the weights or the data are at fault, or have other classes than each other.
    """
    from zoo.data.module import Prepared
    from zoo.data.source import Source
    from zoo.models._base import ZooModel
    from zoo.weights import load, seen_among

    net = load(name)
    if not isinstance(net, ZooModel):
        raise ZooError(f"{name} is no recogniser; `zoo models --pretrained` names those that there are")
    data = Source.of(source).load(net.input_spec)
    if net.classes and tuple(net.classes) != tuple(data.classes):
        raise ZooError(f"{name} predicts {', '.join(net.classes)}; {data.source} is labelled {', '.join(data.classes)}")
    seen = len(seen_among(name, data.keys))
    remark = (
        f"{seen} of {len(data)} clips were among those the weights were trained on"
        if seen
        else "no clip was trained on"
    )
    net.eval()
    return Asked(name=name, prepared=Prepared.of(data, net.input_spec), nets=lambda: iter([(net, range(len(data)))]),
                 clean=not seen, remark=remark)  # fmt: skip


def ask_folds(
    recipe: str, overrides: Sequence[str], *, seed: int = 0, on_fold: Callable[[int, int], None] | None = None
) -> Asked:
    """Each fold's network is trained anew by a recipe, and answers for the people it has not seen, as in ``zoo loso``.

    Args:
        recipe: file or name of a shipped recipe.
        overrides: dotted flags, as of ``zoo loso``.
        seed: of weights and order.
        on_fold: told of folds done and their number.

    Raises:
        ZooError: the recipe or the data are at fault.
    """
    from zoo.data.module import Prepared
    from zoo.data.source import Source
    from zoo.train.launch import quiet
    from zoo.train.recipe import parse, plain_config
    from zoo.train.task import RecognitionTask

    quiet()
    config = plain_config(parse([recipe], [*overrides, "--seed_everything", str(seed)]))
    spec = RecognitionTask(**config["model"]).input_spec
    data = Source.of(config["data"]).load(spec, keep_fields=bool(config["data"].get("augment")))
    prepared = Prepared.of(data, spec)

    def nets() -> Iterator[tuple[ZooModel, Sequence[int]]]:
        folds = data.split()
        for k, fold in enumerate(folds):
            yield _fit(config, prepared, fold.name, seed), fold.test
            if on_fold is not None:
                on_fold(k + 1, len(folds))

    remark = f"{len(data.split())} networks, each trained without the people that it answers for (seed {seed})"
    return Asked(name=recipe, prepared=prepared, nets=nets, clean=True, remark=remark)


def _fit(config: Mapping[str, Any], prepared: Prepared, fold: str, seed: int) -> ZooModel:
    import pytorch_lightning as pl
    import torch

    from zoo.data.module import FlowMapsDataModule
    from zoo.train.jobs import fit_seed, interruptible
    from zoo.train.task import RecognitionTask

    number = fit_seed(seed, fold)
    torch.manual_seed(number)
    task = RecognitionTask(**config["model"])
    options = {k: v for k, v in config["data"].items() if k in ("batch_size", "mirror", "shift", "balanced", "augment")}
    data = FlowMapsDataModule(fold=fold, seed=number, prepared=prepared, **options)
    silent = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    trainer = pl.Trainer(**{**config["trainer"], **silent})
    with interruptible(trainer):
        trainer.fit(task, datamodule=data)
    return task.net.eval()


def neutral(x: Tensor, spec: InputSpec) -> Tensor:
    """What a region shows when it shows nothing: the median of its picture and channel, which of motion is standing still.

    Shapes: ``[B, C, ..., H, W]`` -> ``[B, C, ..., 1, 1]``.

    Raises:
        ZooError: the inputs are no pictures.
    """
    if spec.modality == "patches":
        raise ZooError(
            "patches around landmarks are no picture of the face: they have no halves and no regions to hide"
        )
    return x.flatten(-2).median(-1).values[..., None, None]
