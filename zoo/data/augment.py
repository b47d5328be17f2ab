"""Augmentation of whole batches. Flow stays what it is: vectors, not colours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from zoo.data.transforms import Draw
from zoo.types import InputSpec


def mirror_maps(maps: NDArray[Any]) -> NDArray[Any]:
    """The same expression on the mirrored face: columns reversed, and u with its sign turned.

    In a picture stretched to 0..255 (uint8) the sign of u turns by 255 - u; v and strain keep their values.

    Shapes: uint8 or float32 ``[N, 3, H, W]`` (u, v, strain) -> the same.
    """
    out = maps[..., ::-1].copy()
    out[:, 0] = 255 - out[:, 0] if out.dtype == np.uint8 else -out[:, 0]
    return out


def mirror_inputs(x: Tensor, spec: InputSpec) -> Tensor:
    """Prepared frames or apexes of the mirrored face: flipped, and horizontal motion with its sign turned.

    Shapes: ``[B, C, ..., H, W]`` -> the same.
    """
    out = x.flip(-1)
    if "u" in spec.channels:
        channel = spec.channels.index("u")
        # a sequence stretched to 0..1 turns about its middle
        out[:, channel] = 1 - out[:, channel] if spec.normalisation == "minmax_255" else -out[:, channel]
    return out


def shift(x: Tensor, pixels: int, generator: torch.Generator) -> Tensor:
    """Move a batch by up to ``pixels`` in x and y, edges repeated. One draw for the whole batch.

    Shapes: ``[B, C, H, W]`` or ``[B, C, T, H, W]`` -> the same.
    """
    if not pixels:
        return x
    top, left = torch.randint(0, 2 * pixels + 1, (2,), generator=generator).tolist()
    height, width = x.shape[-2:]
    padded = F.pad(x.reshape(len(x), -1, height, width), (pixels,) * 4, mode="replicate")
    return padded[..., top : top + height, left : left + width].reshape(x.shape)


def vary(pictures: NDArray[np.uint8], draws: Sequence[Draw]) -> NDArray[np.float32]:
    """Move and light a batch of pictures, each by its own draw: :func:`zoo.data.transforms.apply` for many small ones.

    Where a place lies between pixels it is read bilinearly, beyond the edge the edge is repeated; noise is new in each picture.

    Shapes: uint8 ``[B, C, S, S]`` -> float32 of the same shape, 0..255.
    """
    size = pictures.shape[-1]
    x = torch.from_numpy(pictures).float()
    if any(d.flip or d.moves for d in draws):
        back = np.linalg.inv(np.stack([d.matrix for d in draws]))  # from a place to where its grey level comes from
        moved = np.array([[round(s * size) for s in d.shift] for d in draws]) * (2 / max(size - 1, 1))
        theta = torch.from_numpy(np.concatenate([back, -back @ moved[..., None]], 2)).float()[..., None, None]
        right, down = torch.meshgrid(*[torch.linspace(-1, 1, size)] * 2, indexing="xy")
        grid = (theta[:, :, 0] * right + theta[:, :, 1] * down + theta[:, :, 2]).movedim(1, -1)  # [B, S, S, 2]
        x = F.grid_sample(x, grid, padding_mode="border", align_corners=True)
    if any(d.brightness or d.contrast != 1 or d.noise for d in draws):
        gain, bias = (
            torch.tensor([getattr(d, n) for d in draws]).view(-1, 1, 1, 1) for n in ("contrast", "brightness")
        )
        x = x * gain + 255 * bias
        for row, d in enumerate(draws):
            if d.noise:
                x[row] += torch.from_numpy(
                    np.random.default_rng(d.seed).normal(0, d.noise, x.shape[1:]).astype(np.float32)
                )
        x = x.clamp(0, 255)
    return x.numpy()
