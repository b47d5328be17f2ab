"""Where the learned magnifier's training starts: as the linear method, written in its own weights.

From random weights the network spends most of a day learning to copy a picture through its bottleneck. It can do that by
construction: the shape code holds the four pixels of each 2x2 block, the manipulator adds the gain times their difference
(which is linear Eulerian magnification without a filter), and the decoder puts the blocks together again. The residual branches
begin at zero, as in Zhang, Dauphin, Ma: "Fixup Initialization", ICLR 2019; the spare channels are random. What training then
adds is what the linear method lacks: motion beyond an eighth of a wavelength, other colours, noise that stays where it is.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from zoo.errors import ZooError
from zoo.models.magnet import MagNet, Residual

PHASES = ((0, 0), (0, 1), (1, 0), (1, 1))  # row and column of a pixel within its block
HELD = 24  # channels of the shape code that are used: 4 pixels of 3 colours, positive and negative part


def start_as_linear(model: MagNet, pictures: Sequence[np.ndarray]) -> None:
    """Set the weights so that the network copies pictures, and magnifies as the linear method does.

    Channel ``8 c + 2 p`` of the shape code is the positive part of colour c at pixel p of the block, the next its negative part.
    Only the last layer, which must tell the pixels of an enlarged block apart by their neighbours, is fitted: by least squares.

    Args:
        model: with random weights, which the spare channels keep.
        pictures: to fit the last layer on.

    Shapes: pictures each uint8 ``[H, W, 3]``.

    Raises:
        ZooError: no picture of at least 32 px.
    """
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, Residual):
                _last(module.body).zero_()
        stem, blocks = _convolution(model.encoder.stem, 0), _convolution(model.encoder.stem, 2)
        stem[:6], blocks[:HELD] = 0, 0
        for colour in range(3):
            for part, sign in enumerate((1.0, -1.0)):
                stem[2 * colour + part, colour, 3, 3] = sign
                for index, (row, column) in enumerate(PHASES):
                    blocks[8 * colour + 2 * index + part, 2 * colour + part, 1 + row, 1 + column] = 1
        same = _convolution(model.encoder.shape, 0)
        same[:HELD] = 0
        grow, add = _convolution(model.manipulator.g, 0), _convolution(model.manipulator.h, 0)
        grow[:HELD], add[:] = 0, 0
        spread, join = _convolution(model.decoder.head, 1), _convolution(model.decoder.head, 3)
        spread[:HELD], join[:] = 0, 0
        own = torch.from_numpy(_joining(pictures)).to(join)  # [4, 7, 7]
        for channel in range(0, HELD, 2):
            colour, index = channel // 8, channel % 8 // 2
            for part, sign in enumerate((1.0, -1.0)):
                same[channel + part, channel + part, 1, 1] = 1
                # the change of a value is that of its positive less that of its negative part
                grow[channel + part, channel, 3, 3], grow[channel + part, channel + 1, 3, 3] = sign, -sign
                add[channel, channel + part, 1, 1] = sign
                spread[channel + part, 32 + channel, 1, 1], spread[channel + part, 33 + channel, 1, 1] = sign, -sign
                join[colour, channel + part] = sign * own[index]


def _joining(pictures: Sequence[np.ndarray]) -> np.ndarray:
    """The kernel that best restores a picture from its four quarters, each enlarged. Shapes: -> float32 ``[4, 7, 7]``."""
    reach, moments, target = 3, np.zeros((4 * 49, 4 * 49)), np.zeros(4 * 49)
    for picture in pictures:
        grey = picture[: picture.shape[0] // 2 * 2, : picture.shape[1] // 2 * 2].mean(2) / 127.5 - 1
        height, width = grey.shape
        if min(height, width) < 32:
            raise ZooError(f"a picture of at least 32 px is wanted to start from, got {width}x{height}")
        enlarged = [np.repeat(np.repeat(grey[row::2, column::2], 2, 0), 2, 1) for row, column in PHASES]
        shifted = [
            part[row : height - 2 * reach + row, column : width - 2 * reach + column].ravel()
            for part in enlarged
            for row in range(7)
            for column in range(7)
        ]
        table = np.stack(shifted)
        moments += table @ table.T
        target += table @ grey[reach : height - reach, reach : width - reach].ravel()
    if not target.any():
        raise ZooError("there is no picture to start from")
    ridge = 1e-6 * np.trace(moments) / len(moments)
    return np.linalg.solve(moments + ridge * np.eye(len(moments)), target).reshape(4, 7, 7).astype(np.float32)


def _convolution(layers: torch.nn.Module, index: int) -> torch.Tensor:
    layer = list(layers.children())[index]
    assert isinstance(layer, torch.nn.Conv2d)
    return layer.weight.data


def _last(layers: torch.nn.Module) -> torch.Tensor:
    return _convolution(layers, len(list(layers.children())) - 1)
