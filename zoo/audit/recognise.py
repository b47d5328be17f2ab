"""A recogniser on a data set, asked again after its inputs have been changed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
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
    recipes: Sequence[str],
    overrides: Sequence[str],
    *,
    seed: int = 0,
    on_fold: Callable[[int, int], None] | None = None,
) -> Asked:
    """Each fold's network is trained anew by a recipe, and answers for the people it has not seen, as in ``zoo loso``.

    Args:
        recipes: files or names of shipped recipes, later ones over earlier ones; with ``transfer`` in them, each network learns
            from macro clips too.
        overrides: dotted flags, as of ``zoo loso``.
        seed: of weights and order.
        on_fold: told of folds done and their number.

    Raises:
        ZooError: the recipe or the data are at fault.
    """
    from zoo.data.module import Prepared
    from zoo.data.source import Source
    from zoo.train.jobs import kinds, refuse_seen
    from zoo.train.launch import quiet
    from zoo.train.recipe import parse, plain_config

    quiet()
    config = plain_config(parse(recipes, [*overrides, "--seed_everything", str(seed)]))
    spec = kinds(config)[0](**config["model"]).input_spec
    data = Source.of(config["data"]).load(spec, keep_fields=bool(config["data"].get("augment")))
    refuse_seen(
        config,
        data.keys,
        "no network that starts or learns from it has not seen them; take other weights, or audit the weights themselves "
        "with --model",
    )
    prepared = Prepared.of(data, spec)

    def nets() -> Iterator[tuple[ZooModel, Sequence[int]]]:
        folds = data.split()
        for k, fold in enumerate(folds):
            yield _fit(config, prepared, fold.name, seed), fold.test
            if on_fold is not None:
                on_fold(k + 1, len(folds))

    others = ""
    if config["data"].get("macro"):
        others = ", with macro clips beside"
    elif config["data"].get("adapt_to_test"):
        others = ", but adapted to their pictures without the classes"
    remark = f"{len(data.split())} networks, each trained without the people that it answers for{others} (seed {seed})"
    return Asked(name=Path(recipes[-1]).stem, prepared=prepared, nets=nets, clean=True, remark=remark)


def _fit(config: Mapping[str, Any], prepared: Prepared, fold: str, seed: int) -> ZooModel:
    import pytorch_lightning as pl
    import torch

    from zoo.train.callbacks import interruptible
    from zoo.train.jobs import data_of, fit_seed, kinds

    number = fit_seed(seed, fold)
    torch.manual_seed(number)
    task = kinds(config)[0](**config["model"])
    data = data_of(config, prepared, fold, number)
    silent = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    trainer = pl.Trainer(**{**config["trainer"], **silent})
    with interruptible(trainer):
        trainer.fit(task, datamodule=data)
    net: ZooModel = task.net.eval()
    return net


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
