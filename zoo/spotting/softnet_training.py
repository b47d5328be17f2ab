"""SOFTNet's training, as its authors describe it: pseudo-labels, half of the negatives, mean squared error."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from zoo.errors import ZooError
from zoo.spotting.softnet import features, pseudo_labels, stretch
from zoo.types import FlowMethod

if TYPE_CHECKING:
    from zoo.models.softnet import Scope, SoftNet

NOISE = 0.05  # deviation of the noise by which positives are multiplied, in units of a stretched picture


@dataclass(frozen=True, eq=False)
class Samples:
    """What one video gives to learn from."""

    maps: np.ndarray  # float32 [N, 3, 42, 42], stretched
    labels: np.ndarray  # float32 [N], 0 or 1


def samples(
    faces: Sequence[np.ndarray],
    truth: Sequence[tuple[int, int]],
    k: int,
    *,
    flow: FlowMethod = "tvl1",
    scope: Scope = "image",
) -> Samples:
    """Pictures and pseudo-labels of one video.

    Args:
        faces: every frame's aligned grey face, uint8 ``[128, 128]``.
        truth: onset and offset of the expressions of the kind that is learned, inclusive.
        k: frames between the two pictures of a flow.
        flow: the algorithm.
        scope: over what the channels are stretched.

    Raises:
        ZooError: no more than k frames.
    """
    if len(faces) <= k:
        raise ZooError(f"{len(faces)} frames give no flow over k = {k} frames")
    maps = np.stack([features(faces[i], faces[i + k], flow) for i in range(len(faces) - k)])
    if scope == "video":
        limits = maps.min((0, 2, 3)), maps.max((0, 2, 3))
        stretched = stretch(maps, *limits)
    else:
        stretched = stretch(maps)
    return Samples(stretched, pseudo_labels(len(faces), truth, k))


def training_set(videos: Sequence[Samples], *, augment: bool, rng: np.random.Generator) -> Samples:
    """All positives, every second negative, and, for micro-expressions (``augment``), positives flipped, blurred and noisy."""
    maps, labels = [], []
    for video in videos:
        positive = video.labels > 0
        kept = positive.copy()
        kept[np.flatnonzero(~positive)[::2]] = True
        maps.append(video.maps[kept])
        labels.append(video.labels[kept])
        if augment and positive.any():
            shown = video.maps[positive]
            blurred = np.stack([[cv2.blur(channel, (7, 7)) for channel in picture] for picture in shown])
            noisy = shown + rng.normal(0, NOISE, shown.shape).astype(np.float32)
            maps += [shown[..., ::-1], blurred, noisy]
            labels += [video.labels[positive]] * 3
    return Samples(np.concatenate(maps).astype(np.float32), np.concatenate(labels))


def fit(
    model: SoftNet,
    videos: Sequence[Samples],
    *,
    epochs: int = 10,
    lr: float = 5e-4,
    momentum: float = 0.0,
    batch: int = 12,
    seed: int = 0,
    note: Callable[[int, float], None] | None = None,
) -> SoftNet:
    """Train by stochastic gradient descent on the mean squared error of the pseudo-labels.

    Args:
        model: changed in place, and returned in eval mode.
        videos: of the training persons only.
        epochs: fixed; nothing is chosen by a held-out score.
        lr: learning rate.
        momentum: 0 in the paper.
        batch: pictures per step.
        seed: of the order, and of the noise.
        note: called after each epoch with its number and the mean loss.

    Raises:
        ZooError: no positive, or no negative, among the labels.
    """
    import torch
    from torch.nn import functional as F

    rng = np.random.default_rng(seed)
    data = training_set(videos, augment=model.kind == "micro", rng=rng)
    if not 0 < data.labels.mean() < 1:
        raise ZooError(
            f"{len(data.labels)} pictures, all labelled {data.labels.mean():.0f}: there is nothing to tell apart"
        )
    maps, labels = torch.from_numpy(data.maps), torch.from_numpy(data.labels)
    optimiser = torch.optim.SGD(model.parameters(), lr=lr, momentum=momentum)
    model.train()
    for epoch in range(epochs):
        total = 0.0
        for chosen in np.array_split(rng.permutation(len(labels)), max(1, len(labels) // batch)):
            index = torch.from_numpy(chosen)
            loss = F.mse_loss(model(maps[index]), labels[index])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            total += float(loss.detach()) * len(chosen)
        if note is not None:
            note(epoch, total / len(labels))
    return model.eval()
