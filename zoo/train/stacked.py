"""Many small fits at once: the folds of a leave-one-subject-out run as one stacked model over one resident copy of the data.

Parameters and buffers of F networks lie in tensors ``[F, ...]``; :func:`torch.func.vmap` runs them as one. Everything that
decides a fit stays its own: initial weights, order, augmentation, dropout, batch statistics, class weights and schedule come
from the same seeds as when :meth:`zoo.train.jobs.Job.fit` fits the folds one by one, so that the logits of each fold are the
same but for rounding.

On a CPU a convolution gains nothing from being stacked: one fold's maps already fill the caches, and a grouped convolution is
slower than as many plain ones. There the folds of a convolutional network go one after the other through a bare loop, over the
same resident data and from the same seeds; what is saved is the trainer around it, and on demand, where :mod:`zoo.train.fused`
knows the network, most of the work.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm
from torch.overrides import TorchFunctionMode

from zoo.data.module import FlowMapsDataModule, Prepared, ResidentLoader
from zoo.models._base import ZooModel
from zoo.train.fused import fuse
from zoo.train.jobs import OPTIONS
from zoo.train.task import RecognitionTask, class_weights, make_optimiser

# what this engine does as the sequential trainer does it; a recipe that sets anything else falls back
_MODEL = {
    "arch", "arch_args", "input", "weights", "num_classes", "lr", "weight_decay", "optimiser", "schedule", "class_balance",
    "label_smoothing",
}  # fmt: skip
# ... and what Lightning shows or stores has no say in the outcome
_TRAINER = {
    "max_epochs", "accelerator", "devices", "strategy", "num_nodes", "logger", "enable_checkpointing", "enable_progress_bar",
    "enable_model_summary", "log_every_n_steps", "callbacks", "default_root_dir", "num_sanity_val_steps", "deterministic",
}  # fmt: skip
_BYTES = 1 << 30  # of parameters, gradients and moments that one stack may hold
_VALUES = 1 << 22  # input values of one step of a stack on a CPU: more gain nothing


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What one fold gave."""

    fold: str
    rows: list[int]  # positions of the held-out clips
    truth: list[int]
    logits: list[list[float]]
    losses: list[float]  # mean training loss of each epoch


@dataclass(kw_only=True)
class _Fit:
    """One fold before it is stacked."""

    fold: str
    net: nn.Module
    loader: ResidentLoader
    test: tuple[int, ...]
    weights: Tensor  # [K], of the classes
    recipe: Mapping[str, Any]  # fields of the task, with their defaults
    noise: torch.Generator  # where the global generator stands after the weights were drawn: it feeds the dropout
    losses: list[float] = field(default_factory=list)


def why_not(config: Mapping[str, Any]) -> str:
    """Why a recipe cannot be fitted in a stack; empty where it can."""
    if "transfer" in config["model"]:
        return "it learns from two domains"
    for part, owner, done in (("model", RecognitionTask, _MODEL), ("trainer", pl.Trainer, _TRAINER)):
        known = inspect.signature(owner.__init__).parameters
        for name, value in config[part].items():
            if name not in done and value is not None and not (name in known and value == known[name].default):
                return f"it sets {part}.{name}"
    if not config["trainer"].get("max_epochs") or int(config["trainer"]["max_epochs"]) < 1:
        return "it does not set trainer.max_epochs"
    net = RecognitionTask(**config["model"]).net
    if type(net).extra_loss is not ZooModel.extra_loss:
        return f"{net.arch} has a loss of its own"
    return ""


def stack_size(config: Mapping[str, Any]) -> int:
    """How many folds a stack should hold: as many as pay off."""
    task = RecognitionTask(**config["model"])
    device = _device(config)
    if device.type == "cpu" and _convolves(task.net):
        return 1  # nothing is shared: each fold is stored as soon as it is through
    weights = sum(p.numel() for p in task.net.parameters()) * 4 * 4  # with gradients and two moments
    limit = max(1, _BYTES // max(weights, 1))
    if device.type == "cuda":
        return int(limit)
    inputs = int(config["data"].get("batch_size", 64)) * math.prod(task.input_spec.shape)
    return int(max(1, min(limit, _VALUES // inputs)))


def fit_stacked(
    config: Mapping[str, Any],
    prepared: Prepared,
    fits: Sequence[tuple[str, int]],
    *,
    loop: bool | None = None,
    compiled: bool = False,
) -> list[Outcome]:
    """Fit several folds of one recipe together and predict what each holds out.

    Args:
        config: resolved recipe, one of which :func:`why_not` says nothing.
        prepared: inputs of every clip.
        fits: name of the fold and seed of the fit, see :func:`zoo.train.jobs.fit_seed`.
        loop: one after the other; None: for convolutional networks on a CPU.
        compiled: in machine code what can be, see :func:`zoo.train.fused.fuse`: faster, and nearer to float64 than the trainer
            is; where folds run one after the other, torch alone is the trainer to the bit.
    """
    data, device = config["data"], _device(config)
    options = {k: data[k] for k in OPTIONS if k in data}
    # folds of as many steps and clips march together; elsewhere each step would have stragglers
    alike: dict[tuple[int, int, int], list[_Fit]] = {}
    for fold, seed in fits:
        fit = _prepare(config, prepared, fold, seed, options)
        steps, size = len(fit.loader), fit.loader.batch_size
        alike.setdefault((size, steps, len(fit.loader.rows) if steps * size > len(fit.loader.rows) else 0), []).append(
            fit
        )
    epochs, found = int(config["trainer"]["max_epochs"]), {}  # type: int, dict[str, Outcome]
    for group in alike.values():
        if loop if loop is not None else device.type == "cpu" and _convolves(group[0].net):
            outcomes = [_fit_alone(fit, prepared, epochs, device, compiled) for fit in group]
        else:
            stack = _Stack(group, prepared, epochs, device)
            for _ in range(epochs):
                stack.epoch()
            outcomes = stack.predict()
        found.update({outcome.fold: outcome for outcome in outcomes})
    return [found[fold] for fold, _ in fits]


def _prepare(config: Mapping[str, Any], prepared: Prepared, fold: str, seed: int, options: dict[str, Any]) -> _Fit:
    """The start of one fit, drawing from the generators in the order of the sequential trainer."""
    torch.manual_seed(seed)
    task = RecognitionTask(**config["model"])
    noise = torch.Generator()
    noise.set_state(torch.get_rng_state())
    module = FlowMapsDataModule(fold=fold, seed=seed, prepared=prepared, **options)
    module.setup()
    assert module.fold is not None
    counts = torch.as_tensor(module.class_counts, dtype=torch.float32)
    weights = class_weights(counts, task.hparams["class_balance"])
    return _Fit(
        fold=fold,
        net=task.net,
        loader=module.train_dataloader(),
        test=module.fold.test,
        weights=torch.ones_like(counts) if weights is None else weights,
        recipe=task.hparams,
        noise=noise,
    )


def _device(config: Mapping[str, Any]) -> torch.device:
    wanted = str(config["trainer"].get("accelerator") or "auto") in ("auto", "gpu", "cuda")
    return torch.device("cuda" if wanted and torch.cuda.is_available() else "cpu")


def _convolves(net: nn.Module) -> bool:
    return any(isinstance(module, nn.Conv2d | nn.Conv3d) for module in net.modules())


def _fit_alone(fit: _Fit, prepared: Prepared, epochs: int, device: torch.device, compiled: bool) -> Outcome:
    """One fold from beginning to end, without a trainer around it."""
    torch.set_rng_state(fit.noise.get_state())
    net = fit.net.to(device).train()
    run = (fuse(net) if compiled else None) or net
    weights, smoothing = fit.weights.to(device), fit.recipe["label_smoothing"]
    optimiser, schedule = make_optimiser(
        [p for p in net.parameters() if p.requires_grad], fit.recipe, len(fit.loader) * epochs
    )
    for _ in range(epochs):
        losses = []
        for x, y, _rows in fit.loader:
            logits = run(_laid_out(x).to(device))
            loss = F.cross_entropy(logits, y.to(device), weight=weights, label_smoothing=smoothing)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            if schedule is not None:
                schedule.step()
            losses.append(loss.detach())
        fit.losses.append(round(float(torch.stack(losses).mean()), 6))
    with torch.no_grad():
        rows = torch.tensor(fit.test, dtype=torch.long)
        logits = net.eval()(_laid_out(prepared.take(rows)).to(device)).float().cpu()
    return _outcome(fit, prepared, logits)


def _laid_out(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last) if x.ndim == 4 else x


def _outcome(fit: _Fit, prepared: Prepared, logits: Tensor) -> Outcome:
    return Outcome(
        fold=fit.fold,
        rows=list(fit.test),
        truth=prepared.labels[list(fit.test)].tolist(),
        logits=logits.tolist(),
        losses=fit.losses,
    )


class _Stack:
    """F networks as one."""

    def __init__(self, fits: Sequence[_Fit], prepared: Prepared, epochs: int, device: torch.device) -> None:
        self.fits, self.prepared, self.device = fits, prepared, device
        self.smoothing = float(fits[0].recipe["label_smoothing"])
        parameters, buffers = stack_module_state([fit.net for fit in fits])
        self.parameters = {k: v.detach().to(device).requires_grad_(v.requires_grad) for k, v in parameters.items()}
        self.buffers = {k: v.to(device) for k, v in buffers.items()}
        # tables that all folds share stay one; only what training writes into has to be each fold's own
        written = {f"{name}." for name, module in fits[0].net.named_modules() if isinstance(module, _BatchNorm)}
        self.shared = {
            k: v[0] for k, v in self.buffers.items()
            if not any(k.startswith(name) for name in written) and bool((v == v[:1]).all())
        }  # fmt: skip
        self.buffers = {k: v for k, v in self.buffers.items() if k not in self.shared}
        self.template = deepcopy(fits[0].net).to("meta")
        self.weights = torch.stack([fit.weights for fit in fits]).to(device)  # [F, K]
        steps = len(fits[0].loader) * epochs
        learning = [p for p in self.parameters.values() if p.requires_grad]
        self.optimiser, self.schedule = make_optimiser(learning, fits[0].recipe, steps)
        self.drops: dict[int, list[tuple[Tensor, float]]] = {}  # by clips in a batch

    def epoch(self) -> None:
        """One pass of every fold over its own training clips, in its own order."""
        self.template.train()
        losses = []
        for batches in zip(*(fit.loader for fit in self.fits), strict=True):
            x = torch.stack([x for x, *_ in batches]).to(self.device)  # [F, B, ...]
            y = torch.stack([y for _, y, *_ in batches]).to(self.device)  # [F, B]
            loss = self._loss(self._logits(x), y)  # [F]
            self.optimiser.zero_grad(set_to_none=True)
            loss.sum().backward()
            self.optimiser.step()
            if self.schedule is not None:
                self.schedule.step()
            losses.append(loss.detach())
        means = torch.stack(losses).mean(0).tolist()
        for fit, value in zip(self.fits, means, strict=True):
            fit.losses.append(round(value, 6))

    @torch.no_grad()
    def predict(self) -> list[Outcome]:
        """Each fold on the clips that it holds out; shorter lists are filled up with a clip that is thrown away."""
        self.template.eval()
        longest = max(len(fit.test) for fit in self.fits)
        rows = torch.tensor([[*fit.test, *[0] * (longest - len(fit.test))] for fit in self.fits])
        x = torch.stack([self.prepared.take(r) for r in rows]).to(self.device)
        logits = self._logits(x).float().cpu()
        return [_outcome(fit, self.prepared, logits[i, : len(fit.test)]) for i, fit in enumerate(self.fits)]

    def _logits(self, x: Tensor) -> Tensor:
        """Shapes: ``[F, B, ...]`` -> ``[F, B, K]``."""

        def one(parameters: dict[str, Tensor], buffers: dict[str, Tensor], masks: list[Tensor], x: Tensor) -> Tensor:
            with _Masks(iter(masks)):
                out: Tensor = functional_call(self.template, (parameters, buffers, self.shared), (x,))
                return out

        return vmap(one)(self.parameters, self.buffers, self._masks(x), x)

    def _masks(self, x: Tensor) -> list[Tensor]:
        """One mask ``[F, ...]`` for each dropout of the network, drawn as the sequential trainer draws it."""
        if not self.template.training:
            return []
        if (found := self.drops.get(x.shape[1])) is None:
            found = self.drops[x.shape[1]] = self._drops(x[0])
        masks = [torch.empty(len(self.fits), *like.shape) for like, _ in found]
        for i, fit in enumerate(self.fits):
            for mask, (like, p) in zip(masks, found, strict=True):
                mask[i] = like.bernoulli_(1 - p, generator=fit.noise)
        return [mask.div_(1 - p).to(self.device) for mask, (_, p) in zip(masks, found, strict=True)]

    @torch.no_grad()
    def _drops(self, x: Tensor) -> list[tuple[Tensor, float]]:
        """A tensor laid out like the input of each dropout, since the generator fills memory in its order, and p."""
        net = self.fits[0].net
        state = {k: v.clone() for k, v in net.named_buffers()}
        with _Record() as record:
            functional_call(net.train(), state, (_laid_out(x.cpu()),))
        return record.calls

    def _loss(self, logits: Tensor, y: Tensor) -> Tensor:
        """Weighted cross entropy of each fold. Shapes: ``[F, B, K]``, ``[F, B]`` -> ``[F]``."""
        logs = logits.log_softmax(-1)
        weight = self.weights.gather(1, y)
        chosen = -logs.gather(-1, y.unsqueeze(-1)).squeeze(-1)
        loss = (weight * chosen).sum(1) / weight.sum(1)
        if not self.smoothing:
            return loss
        spread = -(logs * self.weights[:, None]).sum((1, 2)) / weight.sum(1) / logits.shape[-1]
        return (1 - self.smoothing) * loss + self.smoothing * spread


class _Record(TorchFunctionMode):
    """Notes layout and probability of every dropout, and lets everything through."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Tensor, float]] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is F.dropout:
            x, p, training = _dropout(*args, **(kwargs or {}))
            if training and p:
                self.calls.append((torch.empty_like(x), p))
            return x
        return func(*args, **(kwargs or {}))


class _Masks(TorchFunctionMode):
    """Multiplies by the mask drawn for it wherever the network drops."""

    def __init__(self, masks: Iterator[Tensor]) -> None:
        super().__init__()
        self.masks = masks

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is F.dropout:
            x, p, training = _dropout(*args, **(kwargs or {}))
            return x * next(self.masks) if training and p else x
        return func(*args, **(kwargs or {}))


def _dropout(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> tuple[Tensor, float, bool]:
    return input, p, training
