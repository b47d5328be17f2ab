"""Augmentation that keeps flow what it is: vectors, not colours."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

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
