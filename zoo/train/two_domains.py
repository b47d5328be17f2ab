"""Macro- and micro-expressions side by side, or one database and another: batches of both."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields, replace
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from zoo.data.manifest import Manifest
from zoo.data.module import FlowMapsDataModule, Prepared, ResidentLoader
from zoo.data.source import Source
from zoo.data.splits import Fold
from zoo.errors import DataError, ProtocolError, ZooError
from zoo.inputs import eats_stills
from zoo.train.task import Batch
from zoo.types import InputSpec

# of the macro clips; what is left out is as for the micro clips, but for the fold: all of them
OWN = ("batch_size", "mirror", "shift", "balanced", "augment", "fold")


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
    """Micro clips under a protocol, as :class:`~zoo.data.module.FlowMapsDataModule`, with other clips beside them in training.

    Args:
        root: and all that follows, of the micro clips, which alone are tested.
        macro: of the macro clips: fields of :class:`~zoo.data.source.Source` (``root``, or ``manifest``, ``frames`` and
            ``protocol``), and ``batch_size``, ``mirror``, ``shift``, ``balanced``, ``augment``, ``fold``, where they differ.
            Their motion is large as it is: where the network's input magnifies it, theirs is left alone.
        adapt_to_test: in place of ``macro``: the clips that the fold holds out, without their classes, as unsupervised domain
            adaptation from one database to another has it. Such a network has looked at the pictures it is tested on, which every
            result says.

    Raises:
        ProtocolError: an empty domain; classes that are not the same, or that one domain does not show; a person who is tested
            among the macro clips; nothing held out to adapt to.
    """

    def __init__(
        self, root: str = "", *, macro: dict[str, Any] | None = None, adapt_to_test: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(root, **kwargs)
        if bool(macro) == adapt_to_test:
            both = "data.macro and data.adapt_to_test exclude each other" if macro else "two domains need other clips"
            raise ZooError(
                f"{both}: say data.macro: {{manifest: …, frames: …, protocol: …}}, or data.adapt_to_test to adapt to the "
                f"held-out clips without their classes"
            )
        known = {f.name for f in fields(Source)} | set(OWN)
        if extra := sorted(set(macro or {}) - known):
            raise ZooError(f"data.macro has no {', '.join(extra)}; it has {', '.join(sorted(known))}")
        _check_own(macro or {})
        self.macro_options = dict(macro or {})
        self.adapt_to_test = adapt_to_test
        self.macro: FlowMapsDataModule | None = None
        self._augment = kwargs.get("augment")

    def setup(self, stage: str | None = None) -> None:
        """Read, prepare and split both domains, once; refuse what cannot be learnt together."""
        if self.macro is not None:
            return
        super().setup(stage)
        assert self.prepared is not None
        self.macro = self._held_out(self.prepared) if self.adapt_to_test else self._macro(self.prepared)

    def _macro(self, micro: Prepared) -> FlowMapsDataModule:
        own = {k: self.macro_options[k] for k in OWN if k in self.macro_options}
        options = {**self._shared(), **own}
        prepared = macro_inputs(self.macro_options, micro.spec, augment=options["augment"])
        with _said_of("data.macro"):
            macro = FlowMapsDataModule(seed=self.seed + 1, prepared=_in_order(prepared, micro.data.classes), **options)
            macro.setup()
        _refuse(self, macro)
        return macro

    def _held_out(self, prepared: Prepared) -> FlowMapsDataModule:
        assert self.fold is not None
        if not self.fold.test:
            raise ProtocolError(
                f"data.adapt_to_test: fold {self.fold.name} holds no clip out that could be adapted to; choose data.fold"
            )
        _show_every_class("micro", self)
        unknown = replace(prepared, labels=torch.full_like(prepared.labels, -1))
        beside = FlowMapsDataModule(seed=self.seed + 1, prepared=unknown, **{**self._shared(), "balanced": False})
        beside.fold = Fold(name=self.fold.name, train=self.fold.test, test=())
        return beside

    def _shared(self) -> dict[str, Any]:
        shared = ("batch_size", "mirror", "shift", "balanced")
        return {**{name: getattr(self, name) for name in shared}, "augment": self._augment}

    def train_dataloader(self) -> Any:
        """Pairs of batches."""
        assert self.macro is not None
        return PairedLoader(super().train_dataloader(), self.macro.train_dataloader())

    @property
    def people(self) -> tuple[Tensor, Tensor, int]:
        """Number of the person of each micro clip, of each macro clip, and how many persons are trained on.

        Who is not trained on has -1.
        """
        assert self.macro is not None
        sides = self, self.macro
        trained = [_clips(side).people[i] for side in sides for i in _fold(side).train]
        numbers = {name: i for i, name in enumerate(dict.fromkeys(trained))}
        micro, macro = (torch.tensor([numbers.get(name, -1) for name in _clips(side).people]) for side in sides)
        return micro, macro, len(numbers)


def macro_inputs(options: Mapping[str, Any], spec: InputSpec, *, augment: Any = None) -> Prepared:
    """The macro clips of a recipe, read once for all folds.

    Args:
        options: ``data.macro``.
        spec: what the network eats.
        augment: whether they are to be augmented, so that what augmentation works on is kept.

    Raises:
        ZooError: saying that it is ``data.macro`` which is at fault.
    """
    with _said_of("data.macro"):
        if not (options.get("root") or options.get("manifest")):
            raise ZooError("it names no clips; add manifest and frames (what `zoo data build` wrote), or root")
        spec = spec.replace(magnify=1.0)  # what magnification is for, macro-expressions are
        source = Source.of({"complete": False, **{k: v for k, v in options.items() if k not in OWN}})
        return _macro_inputs(source, json.dumps(spec.to_dict(), sort_keys=True), bool(augment))


def _check_own(options: Mapping[str, Any]) -> None:
    """Raise ZooError for an option of the macro clips that is out of range; no parser has looked into the mapping."""
    checks: dict[str, tuple[str, Callable[[Any], bool]]] = {
        "batch_size": ("clips, at least 1", lambda v: isinstance(v, int) and v >= 1),
        "mirror": ("a probability", lambda v: isinstance(v, int | float) and 0 <= v <= 1),
        "shift": ("pixels, from 0", lambda v: isinstance(v, int) and v >= 0),
        "balanced": ("true or false", lambda v: isinstance(v, bool)),
        "fold": ("the name of a fold", lambda v: isinstance(v, str)),
        "augment": ("a mapping, or null for none", lambda v: v is None or isinstance(v, Mapping)),
    }
    for name, (wanted, fits) in checks.items():
        if name in options and not fits(options[name]):
            raise ZooError(f"data.macro.{name} is {options[name]!r}; wanted {wanted}")


def _refuse_stills(source: Source, spec: InputSpec) -> None:
    """Raise DataError where motion is wanted of pictures."""
    if not source.manifest or eats_stills(spec):
        return
    kinds = Manifest.load(source.manifest).table["kind"]
    if bool((kinds == "image").all()):
        raise DataError(
            f"{source.manifest} holds {len(kinds)} pictures and no sequence, but the network eats {spec.modality} "
            f"({', '.join(spec.channels)}), which needs an onset beside the apex: take sequences, or a network of apexes"
        )


@lru_cache(maxsize=1)  # the folds of a run share their macro clips
def _macro_inputs(source: Source, spec: str, keep_fields: bool) -> Prepared:
    found = InputSpec.from_dict(json.loads(spec))
    _refuse_stills(source, found)
    return Prepared.of(source.load(found, keep_fields=keep_fields), found)


def beside(config: Mapping[str, Any], spec: InputSpec, classes: tuple[str, ...]) -> dict[str, str]:
    """Digests of what a fit learns from beside its own clips: ``macro`` (clips) and ``teacher`` (weights).

    Args:
        config: resolved recipe.
        spec: what the network eats.
        classes: of the micro clips.
    """
    from zoo.weights import WEIGHTS, find, sha256

    found, macro = {}, config["data"].get("macro")
    if macro:
        augment = macro.get("augment", config["data"].get("augment"))
        with _said_of("data.macro"):
            found["macro"] = _in_order(macro_inputs(macro, spec, augment=augment), classes).data.digest
    if teacher := (config["model"].get("transfer") or {}).get("teacher"):
        found["teacher"] = sha256(find(teacher)[0] / WEIGHTS)
    return found


@contextmanager
def _said_of(option: str) -> Iterator[None]:
    """The name of an option before what is wrong with it."""
    try:
        yield
    except ZooError as error:
        raise type(error)(f"{option}: {error}") from None


def _clips(domain: FlowMapsDataModule) -> Any:
    assert domain.prepared is not None
    return domain.prepared.data


def _fold(domain: FlowMapsDataModule) -> Fold:
    assert domain.fold is not None
    return domain.fold


def _in_order(macro: Prepared, want: tuple[str, ...]) -> Prepared:
    """The macro clips with the numbers that the micro clips give their classes."""
    have = macro.data.classes
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
    _show_every_class("micro", micro)
    _show_every_class("macro", macro)
    tested = {_clips(micro).people[i] for i in _fold(micro).test}
    both = sorted(tested & {_clips(macro).people[i] for i in _fold(macro).train})
    if both:
        raise ProtocolError(
            f"{', '.join(both[:5])} would be tested and trained on: the macro clips hold the persons of fold "
            f"{_fold(micro).name}; leave them out of data.macro"
        )


def _show_every_class(name: str, side: FlowMapsDataModule) -> None:
    clips = _clips(side)
    if not _fold(side).train:
        raise ProtocolError(
            f"the {name} domain is empty: {clips.source} has no training clip in fold {_fold(side).name}"
        )
    absent = [c for c, count in zip(clips.classes, side.class_counts, strict=True) if not count]
    if absent:
        raise ProtocolError(
            f"the {name} domain shows no {', '.join(absent)} in training ({clips.source}): both domains need every class; "
            f"join data sets, or choose a protocol with fewer classes"
        )
