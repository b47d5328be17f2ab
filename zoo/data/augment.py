"""Augmentation that keeps flow what it is: vectors, not colours."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F


def mirror_maps(maps: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The same expression on the mirrored face: columns reversed, and u with its sign turned.

    In a picture stretched to 0..255 the sign of u turns by 255 - u; v and strain keep their values.

    Shapes: uint8 ``[N, 3, H, W]`` (u, v, strain) -> the same.
    """
    out = maps[..., ::-1].copy()
    out[:, 0] = 255 - out[:, 0]
    return out


def shift(x: Tensor, pixels: int, generator: torch.Generator) -> Tensor:
    """Move a batch by up to ``pixels`` in x and y, edges repeated. One draw for the whole batch.

    Shapes: ``[B, C, H, W]`` -> the same.
    """
    if not pixels:
        return x
    top, left = torch.randint(0, 2 * pixels + 1, (2,), generator=generator).tolist()
    height, width = x.shape[-2:]
    return F.pad(x, (pixels,) * 4, mode="replicate")[..., top : top + height, left : left + width]
