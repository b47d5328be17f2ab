"""Fitting AUFlowGraph to synthetic motion maps: as a start for real ones, or for its action units alone.

Published motion maps come without action units. What the network says about units is therefore learnt on synthetic maps and has
never been checked on real ones; whoever publishes such weights says so.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from zoo.data.flow_maps import FlowMaps
from zoo.inputs import prepare_maps
from zoo.models._base import AUModel


def pretrain(
    net: AUModel, data: FlowMaps, units: NDArray[np.float32], *, epochs: int = 20, lr: float = 2e-3, seed: int = 0
) -> None:
    """Train everything: cross entropy of the class plus binary cross entropy of the units, weighted as they are rare.

    Args:
        net: as built; left in eval mode.
        data: synthetic maps.
        units: 1 where a map shows a unit of ``net.aus``. Shapes: ``[N, A]``.
        epochs: over all maps.
        lr: peak learning rate of a one-cycle schedule.
        seed: of order and dropout.
    """
    x, y, shown = _tensors(net, data, units)

    def loss(rows: Tensor) -> Tensor:
        logits, outputs = net.forward_all(x[rows])
        return F.cross_entropy(logits, y[rows]) + _unit_loss(outputs.au_logits, shown[rows], shown)

    _descend(net, list(net.parameters()), loss, len(x), epochs=epochs, lr=lr, seed=seed)


def fit_units(
    net: AUModel,
    parameters: list[Tensor],
    data: FlowMaps,
    units: NDArray[np.float32],
    *,
    epochs: int = 10,
    lr: float = 2e-2,
    seed: int = 0,
) -> None:
    """Train the head of the units and nothing else: class logits stay what they are, bit for bit.

    Args:
        net: trained for its classes; left in eval mode.
        parameters: of the head.
        data, units, epochs, lr, seed: see :func:`pretrain`.
    """
    x, _, shown = _tensors(net, data, units)
    net.eval()  # batch statistics and nodes stay

    def loss(rows: Tensor) -> Tensor:
        return _unit_loss(net.forward_graph(x[rows]).au_logits, shown[rows], shown)

    _descend(net, parameters, loss, len(x), epochs=epochs, lr=lr, seed=seed, training=False)


@torch.no_grad()
def unit_scores(net: AUModel, data: FlowMaps, units: NDArray[np.float32]) -> dict[str, Any]:
    """How well the units are told: F1 at probability one half, and area under the curve, of each that occurs."""
    from sklearn.metrics import f1_score, roc_auc_score

    x, _, shown = _tensors(net, data, units)
    logits = net.eval().forward_graph(x).au_logits
    found: dict[str, Any] = {}
    for i, au in enumerate(net.aus):
        truth = shown[:, i].numpy()
        if 0 < truth.sum() < len(truth):
            f1 = f1_score(truth, (logits[:, i] > 0).numpy())
            found[str(au)] = {
                "f1": round(float(f1), 4),
                "auc": round(float(roc_auc_score(truth, logits[:, i].numpy())), 4),
            }
    mean = {k: round(float(np.mean([v[k] for v in found.values()])), 4) for k in ("f1", "auc")}
    return {"mean": mean, "units": found}


def _tensors(net: AUModel, data: FlowMaps, units: NDArray[np.float32]) -> tuple[Tensor, Tensor, Tensor]:
    x = torch.from_numpy(prepare_maps(data.maps, net.input_spec))
    return x, torch.from_numpy(data.labels), torch.from_numpy(units)


def _unit_loss(logits: Tensor, shown: Tensor, every: Tensor) -> Tensor:
    rare = ((len(every) - every.sum(0)) / every.sum(0).clamp(min=1)).clamp(max=20)
    return F.binary_cross_entropy_with_logits(logits, shown, pos_weight=rare)


def _descend(
    net: AUModel, parameters: list[Tensor], loss: Any, count: int, *, epochs: int, lr: float, seed: int, training: bool = True
) -> None:  # fmt: skip
    torch.manual_seed(seed)
    batch = 64
    steps = epochs * max(count // batch, 1)
    optimiser = torch.optim.AdamW(parameters, lr=lr, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, lr, total_steps=steps + 1, pct_start=0.2)
    net.train(training)
    for _ in range(epochs):
        for rows in torch.randperm(count).split(batch)[: max(count // batch, 1)]:
            optimiser.zero_grad()
            loss(rows).backward()
            optimiser.step()
            schedule.step()
    net.eval()
