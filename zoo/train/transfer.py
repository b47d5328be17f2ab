"""Fine-tuning: what is frozen, what learns slowly, what wakes up later, and what of a checkpoint is carried over.

A network is seen as a row of stages from the picture to the classifier. A frozen stage is frozen whole: its weights get no
gradient and its layers run as in prediction, so that neither its batch statistics move nor its dropout drops.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from fnmatch import fnmatchcase
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.utilities import rank_zero_warn
from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from zoo.errors import ZooError
from zoo.models._base import ZooModel
from zoo.models.backbone import Backbone
from zoo.registry import create_model, unknown
from zoo.weights import load_state

BOXES = (nn.Sequential, nn.ModuleList, nn.ModuleDict)  # what they hold are stages
NORMS = (_NormBase, nn.GroupNorm, nn.LayerNorm)  # these belong to the layer that they follow


@dataclass(frozen=True)
class Stage:
    """Some parameters that freeze, wake and learn together."""

    name: str
    parameters: dict[str, nn.Parameter]
    modules: tuple[nn.Module, ...] = ()


@dataclass(frozen=True, kw_only=True)
class FineTune:
    """How a network is fine-tuned; the ``finetune`` of a recipe. JSON-plain.

    A part is named as in ``model.named_modules()``: in full (``trunk.body.layer1``), by its end (``layer1``; of several, those
    that lie least deep, so that ``conv1`` is the stem and not a layer of each block), or by a pattern (``trunk.*``). The
    classifier answers to its own name alone, so that ``*`` freezes everything but it.
    """

    freeze: tuple[str, ...] = ()  # parts that never learn
    lr_decay: float = 1.0  # learning rate of a stage over that of the next one
    head_lr: float = 1.0  # learning rate of the classifier over model.lr
    unfreeze_every: int = (
        0  # epochs: begin with the classifier alone, wake one more stage each time (Howard and Ruder, ACL 2018)
    )
    stages: tuple[
        tuple[str, ...], ...
    ] = ()  # which parts stand at one depth, where the order of construction does not tell
    imagenet: bool = False  # begin with timm's own weights of the backbone
    arch_args: Mapping[str, Any] = field(
        default_factory=dict
    )  # arguments in which the network differs from its checkpoint's

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> FineTune:
        """From the ``finetune`` of a recipe.

        Raises:
            ZooError: a field that there is not, or a value out of range.
        """
        known = {f.name for f in fields(cls)}
        if extra := sorted(set(options) - known):
            raise ZooError(f"finetune has no {', '.join(extra)}; it has {', '.join(sorted(known))}")
        given = dict(options)
        for name in ("freeze", "stages"):
            if isinstance(given.get(name, ()), str) or any(
                isinstance(part, str) == (name == "stages") for part in given.get(name, ())
            ):
                form = "a list of names" if name == "freeze" else "a list of lists of names"
                raise ZooError(f"finetune.{name} is {given[name]!r}; write {form}, such as layer1")
        given["freeze"] = tuple(given.get("freeze", ()))
        given["stages"] = tuple(tuple(stage) for stage in given.get("stages", ()))
        recipe = cls(**given)
        for name in ("lr_decay", "head_lr"):
            if not getattr(recipe, name) > 0:
                raise ZooError(f"finetune.{name} is {getattr(recipe, name)}; it must be above 0")
        if recipe.unfreeze_every < 0:
            raise ZooError(f"finetune.unfreeze_every is {recipe.unfreeze_every}; it counts epochs, 0 for never")
        return recipe

    def start(self, net: ZooModel, *, weights: str = "") -> ZooModel:
        """The network that training begins with, and whether the recipe fits it.

        Args:
            net: fresh, or as loaded from ``weights``.
            weights: where they came from; empty if fresh.

        Raises:
            ZooError: parts that it does not have, arguments that its weights do not fit, nothing left to learn.
        """
        if self.arch_args:
            if not weights:
                raise ZooError(
                    "finetune.arch_args changes the network of a checkpoint; beside model.arch write model.arch_args"
                )
            net = rebuilt(net, self.arch_args)
        if self.imagenet:
            act = getattr(net, "load_imagenet", None)
            if act is None or weights:
                why = f"model.weights {weights} are there already" if weights else f"{net.arch} has no backbone of timm"
                raise ZooError(f"finetune.imagenet loads timm's weights, but {why}; leave it out")
            act()
        self.groups(net, lr=1.0)
        return net

    def frozen(self, net: ZooModel) -> list[nn.Module]:
        """The parts that never learn."""
        return [module for name in self.freeze for module in parts(net, name).values()]

    def groups(self, net: ZooModel, *, lr: float) -> list[dict[str, Any]]:
        """Parameters by stage with their learning rates, for an optimiser.

        The stage next to the classifier learns at ``lr_decay`` of its rate, the one before at ``lr_decay`` of that, and so on;
        ``head_lr`` is of the classifier alone.

        Raises:
            ZooError: nothing is left to learn.
        """
        asleep = {id(p) for module in self.frozen(net) for p in module.parameters()}
        stages, head = self.stages_of(net), net.get_classifier()
        groups: list[dict[str, Any]] = []
        for i, stage in enumerate(stages):
            learning = [p for p in stage.parameters.values() if p.requires_grad and id(p) not in asleep]
            if learning:
                rate = lr * self.lr_decay ** (len(stages) - 1 - i) * (self.head_lr if head in stage.modules else 1.0)
                groups.append({"params": learning, "lr": rate, "name": stage.name})
        if not groups:
            raise ZooError(f"finetune.freeze {', '.join(self.freeze)} leaves nothing of {net.arch} to learn")
        return groups

    def stages_of(self, net: ZooModel) -> list[Stage]:
        """See :func:`stages_of`; as ``stages`` says, where it says something.

        Raises:
            ZooError: ``stages`` names a part that there is not, or leaves one out.
        """
        if not self.stages:
            return stages_of(net)
        names = {id(p): name for name, p in net.named_parameters()}
        head = _stage(net.classifier, [net.get_classifier()], names)
        found = [
            _stage(" ".join(stage), [m for name in stage for m in parts(net, name).values()], names)
            for stage in self.stages
        ]
        held = [name for stage in (*found, head) for name in stage.parameters]
        left = sorted(set(names.values()) - set(held))
        if left or len(set(held)) < len(held):
            twice = sorted({name for name in held if held.count(name) > 1})
            wrong = f"leaves out {', '.join(left[:5])}" if left else f"holds {', '.join(twice[:5])} twice"
            raise ZooError(f"finetune.stages {wrong}; every part before {net.classifier} has its place in one stage")
        return [*found, head]


class FineTuning(pl.Callback):
    """Freezes and wakes the stages of a network as epochs begin; leaves every parameter as trainable as it was.

    Args:
        recipe: what to freeze, and when to wake.
        net: which is trained.
    """

    def __init__(self, recipe: FineTune, net: ZooModel) -> None:
        self.recipe, self.net = recipe, net
        self.stages, self.frozen = recipe.stages_of(net), recipe.frozen(net)
        self.before: dict[str, bool] = {}

    def asleep(self, epoch: int) -> list[Stage]:
        """The stages that do not learn yet."""
        every = self.recipe.unfreeze_every
        return self.stages[: max(0, len(self.stages) - 1 - epoch // every)] if every else []

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Remember what was trainable; say which stages will never be."""
        self.before = {name: p.requires_grad for name, p in self.net.named_parameters()}
        never = self.asleep(trainer.max_epochs - 1) if trainer.max_epochs and trainer.max_epochs > 0 else []
        if never:
            rank_zero_warn(
                f"finetune.unfreeze_every {self.recipe.unfreeze_every}: {trainer.max_epochs} epochs are too few to wake "
                f"{', '.join(stage.name for stage in never)}"
            )

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Freeze what is to be frozen in this epoch, and nothing else."""
        still = self.asleep(trainer.current_epoch)
        frozen = {id(p) for module in self.frozen for p in module.parameters()}
        frozen |= {id(p) for stage in still for p in stage.parameters.values()}
        for name, p in self.net.named_parameters():
            p.requires_grad_(self.before[name] and id(p) not in frozen)
        self.net.train()
        for module in (*self.frozen, *(m for stage in still for m in stage.modules)):
            module.eval()

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """As trainable as before."""
        for name, p in self.net.named_parameters():
            p.requires_grad_(self.before[name])


def stages_of(net: ZooModel) -> list[Stage]:
    """The stages of a network from the picture to the classifier, which is the last.

    Reading: order of construction stands for depth. A box (a backbone, ``Sequential`` and the like) that the network itself holds
    is opened, boxes within it are not, and a normalisation joins the layer that it follows: a ResNet of timm gives conv1, layer1
    to layer4 and the classifier. Where branches run side by side that is not their depth: :attr:`FineTune.stages` names them.
    """
    names, head = {id(p): name for name, p in net.named_parameters()}, net.get_classifier()
    boxes: list[tuple[str, list[nn.Module]]] = []

    def put(name: str, module: nn.Module) -> None:
        if isinstance(module, NORMS) and boxes:
            boxes[-1][1].append(module)
        elif any(True for _ in module.parameters()):
            boxes.append((name, [module]))

    for name, child in net.named_children():
        if child is head:
            continue
        path, box = (f"{name}.body", child.body) if isinstance(child, Backbone) else (name, child)
        if isinstance(box, BOXES):
            for inner, module in box.named_children():
                put(f"{path}.{inner}", module)
        else:
            put(path, box)
    stages = [_stage(name, modules, names) for name, modules in boxes]
    held = {name for stage in stages for name in stage.parameters}
    last = _stage(net.classifier, [head], names)
    own = {name: p for name, p in net.named_parameters() if name not in held | set(last.parameters)}
    first = [Stage("parameters of its own", own)] if own else []
    return [*first, *stages, *([last] if last.parameters else [])]


def parts(net: ZooModel, name: str) -> dict[str, nn.Module]:
    """Modules that a name stands for, see :class:`FineTune`.

    Raises:
        UnknownName: there is none.
    """

    every = {path: module for path, module in net.named_modules() if path}
    if name in every:
        return {name: every[name]}
    head = f"{net.classifier}."
    rest = {path: module for path, module in every.items() if not f"{path}.".startswith(head)}
    ends = {path: module for path, module in rest.items() if path.endswith(f".{name}")}
    nearest = min((path.count(".") for path in ends), default=0)
    found = {path: module for path, module in ends.items() if path.count(".") == nearest}
    found = found or {path: module for path, module in rest.items() if fnmatchcase(path, name)}
    if not found:
        raise unknown(f"part of {net.arch or type(net).__name__}", name, dict.fromkeys(_names(net)))
    return found


def rebuilt(net: ZooModel, arch_args: Mapping[str, Any]) -> ZooModel:
    """The same architecture with some arguments changed, with the weights that both have.

    Args:
        net: as loaded.
        arch_args: arguments of its builder; the modules that only the new one has begin fresh.

    Raises:
        ZooError: an unknown argument, weights of another shape, or weights for which the new one has no place.
    """
    new: ZooModel = create_model(net.arch, **{**net.config, **arch_args}, input_spec=net.input_spec)
    held, state = net.state_dict(), new.state_dict()
    load_state(new, {**state, **held}, f"{net.arch} with {dict(arch_args)}")
    new.classes, new.card = net.classes, net.card
    return new.train(net.training)


def _stage(name: str, modules: Sequence[nn.Module], names: Mapping[int, str]) -> Stage:
    return Stage(name, {names[id(p)]: p for m in modules for p in m.parameters()}, tuple(modules))


def _names(net: nn.Module) -> Iterator[str]:
    """Parts worth naming: the stages and the boxes that hold them."""
    for path, module in net.named_modules():
        if path and any(True for _ in module.parameters(recurse=False)):
            yield from (path, *path.split("."))
