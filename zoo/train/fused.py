"""A model's convolution, normalisation and pooling in machine code, for training on one core: the optional extra ``fast``.

The first layer's input needs no gradient, only one pixel in nine of a pooled map gets one, and what batch normalisation sends
back to all others is a combination of sums that can be taken on the way forward. So nothing but the pooled values is kept, and
one pass over the pixels does where torch needs a dozen. Initial weights, batches, statistics and dropout are those of torch;
sums are taken in another order, and about a mean, so that they lose less.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from zoo.models._base import ZooModel
from zoo.models._blocks import PooledConvolution


@cache
def kernels() -> ModuleType | None:
    """The compiled functions; None where numba is not installed."""
    try:
        from zoo.train import kernels
    except ImportError:
        return None
    return kernels


def layers_of(net: nn.Module) -> PooledConvolution | None:
    """The layers of a network that machine code could run; None if there are none."""
    describe = getattr(net, "pooled_convolution", None)
    if describe is None or not isinstance(net, ZooModel):
        return None
    layers: PooledConvolution = describe()
    convolutions, norms, pool, average = layers.convolutions, layers.norms, layers.pool, layers.average
    padding = convolutions[0].padding
    if (
        any(p.dtype != torch.float32 or p.device.type != "cpu" or not p.requires_grad for p in net.parameters())
        or sum(c.out_channels for c in convolutions) > 16
        or len({(c.kernel_size, c.padding, c.in_channels) for c in convolutions}) > 1
        or any((c.stride, c.dilation, c.groups, c.padding_mode) != ((1, 1), (1, 1), 1, "zeros") for c in convolutions)
        or not isinstance(padding, tuple)
        or padding[0] != padding[1]
        or net.input_spec.shape[2] + 2 * padding[1] - convolutions[0].kernel_size[1] + 1 < 6
        or any(not n.affine or not n.track_running_stats or n.momentum is None for n in norms)
        or len({(n.eps, n.momentum) for n in norms}) > 1
        or not all(isinstance(v, int) for v in (pool.kernel_size, pool.stride, pool.padding, average.kernel_size))
        or (pool.dilation, pool.ceil_mode, average.ceil_mode) != (1, False, False)
        or (average.stride, average.padding) != (average.kernel_size, 0)
    ):
        return None
    return layers


def fuse(net: nn.Module) -> Callable[[Tensor], Tensor] | None:
    """The network's training pass, ``[B, C, H, W]`` -> logits, with its convolution compiled; None where that cannot be."""
    layers = layers_of(net)
    if layers is None or (module := kernels()) is None:
        return None
    assert isinstance(net, ZooModel)
    block = _Block(layers, module)

    def run(x: Tensor) -> Tensor:
        net.check_input(x)
        return net.forward_head(block(x))

    return run


class _Block:
    """The layers of a network and what outlives a batch."""

    def __init__(self, layers: PooledConvolution, module: ModuleType) -> None:
        self.layers, self.module = layers, module
        self.sizes = [c.out_channels for c in layers.convolutions]
        self.centre: np.ndarray | None = None  # [W C], about the mean of the inputs' channels
        self.shift: np.ndarray | None = None  # [16], about the mean of the outputs: that of the last batch

    def __call__(self, x: Tensor) -> Tensor:
        """Shapes: ``[B, C, H, W]`` -> ``[B, F]``, as ``forward_features`` gives it in training."""
        convolutions, norms = self.layers.convolutions, self.layers.norms
        biases = [c.bias if c.bias is not None else c.weight.new_zeros(c.out_channels) for c in convolutions]
        out: Tensor = _Run.apply(
            x,
            torch.cat([c.weight for c in convolutions]),
            torch.cat(biases),
            torch.cat([n.weight for n in norms]),
            torch.cat([n.bias for n in norms]),
            self,
        )
        return out.flatten(1)

    def geometry(self, x: Tensor) -> tuple[Any, np.ndarray]:
        """Lengths, and where the taps of the kernel lie: row by row, pixel by pixel, channel by channel."""
        first, pool, average = self.layers.convolutions[0], self.layers.pool, self.layers.average
        channels, height, width = x.shape[1:]
        (rows, columns), (padding, _) = first.kernel_size, _pair(first.padding)
        pitch = (width + 2 * padding) * channels
        out = [height + 2 * padding - rows + 1, width + 2 * padding - columns + 1]
        window, stride, margin = (_pair(n)[0] for n in (pool.kernel_size, pool.stride, pool.padding))
        pooled = [(n + 2 * margin - window) // stride + 1 for n in out]
        taps = [r * pitch + i for r in range(rows) for i in range(columns * channels)]
        shape = self.module.Shape(
            channels=sum(self.sizes), rows=out[0], columns=out[1], step=channels, pitch=pitch, padding=padding, kernel=rows,
            run=-(-columns * channels // 8), window=window, stride=stride, margin=margin, pooled_rows=pooled[0],
            pooled_columns=pooled[1], average=_pair(average.kernel_size)[0],
        )  # fmt: skip
        return shape, np.array(taps + [0] * (-len(taps) % self.module.TAPS), np.int64)

    def keep(self, cells: int, channels: int) -> np.ndarray:
        """Factors of dropout. Shapes: ``[cells, 16]`` flat."""
        from zoo.train.mersenne import dropout_factors

        drawn = dropout_factors(cells * channels, self.layers.dropout.p)
        if channels == self.module.LANES:
            return drawn
        wide = np.zeros((cells, self.module.LANES), np.float32)
        wide[:, :channels] = drawn.reshape(cells, channels)
        return wide.ravel()

    @torch.no_grad()
    def track(self, mean: np.ndarray, variance: np.ndarray, count: int) -> None:
        """Running statistics, as :class:`torch.nn.BatchNorm2d` keeps them."""
        at = 0
        for norm, size in zip(self.layers.norms, self.sizes, strict=True):
            here = slice(at, at + size)
            for name, value in (("running_mean", mean), ("running_var", variance * count / (count - 1))):
                norm.get_buffer(name).lerp_(torch.from_numpy(value[here].astype(np.float32)), norm.momentum or 0.0)
            norm.get_buffer("num_batches_tracked").add_(1)
            at += size


class _Run(torch.autograd.Function):
    """Convolution to average pooling, there and back."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, gamma: Tensor, beta: Tensor, block: _Block
    ) -> Tensor:
        lanes = block.module.LANES
        pixels = x.permute(0, 2, 3, 1).contiguous().flatten(2).numpy()  # [B, H, W C]
        shape, taps = block.geometry(x)
        if block.centre is None:
            block.centre = np.tile(x.mean((0, 2, 3)).numpy(), x.shape[3])
        centre = block.centre
        w = weight.permute(2, 3, 1, 0).flatten(0, 2).double().numpy()  # [T, channels]
        rows = np.zeros((1 + len(taps), lanes), np.float32)
        rows[0, : shape.channels] = bias.double().numpy() + _per_tap(centre, len(w), x.shape[1]) @ w
        rows[1 : 1 + len(w), : shape.channels] = w
        shift = np.maximum(rows[0], 0) if block.shift is None else block.shift
        scale, offset = np.zeros(lanes, np.float32), np.zeros(lanes, np.float32)
        scale[: shape.channels], offset[: shape.channels] = gamma.numpy(), beta.numpy()
        cells = len(pixels) * shape.pooled_rows * shape.pooled_columns
        best, where = np.empty(cells * lanes, np.float32), np.empty(cells * lanes, np.int32)
        sums, moments = np.zeros(len(taps) * 2 * lanes), np.zeros(3 * lanes)
        block.module.forward(
            pixels, rows.ravel(), taps, centre, shift, np.sign(scale), shape, best, where, sums, moments
        )

        count = len(pixels) * shape.rows * shape.columns
        active, moved, squares = moments.reshape(3, lanes)
        rest = (moved - (count - active) * shift) / count  # of the mean, beyond the shift
        variance = np.maximum((squares + (count - active) * shift.astype(float) ** 2) / count - rest**2, 0)
        mean, spread = shift + rest, 1 / np.sqrt(variance + block.layers.norms[0].eps)
        block.track(mean, variance, count)
        block.shift = mean.astype(np.float32)

        keep = block.keep(cells, shape.channels)
        out = torch.empty(
            len(pixels), shape.channels, shape.pooled_rows // shape.average, shape.pooled_columns // shape.average
        )
        block.module.finish(best, keep, block.shift, (scale * spread).astype(np.float32), offset, shape, out.numpy())
        ctx.held = block.module, pixels, shape, centre, best, where, keep, sums, moments, count, weight.shape
        ctx.norm = mean, shift, spread, scale
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        module, pixels, shape, centre, best, where, keep, sums, moments, count, like = ctx.held
        mean, shift, spread, scale = ctx.norm
        patches, totals = np.zeros(module.LANES * shape.kernel * shape.run * 8), np.zeros(3 * module.LANES)
        module.backward(
            pixels, centre, gradient.contiguous().numpy(), best, where, keep, mean.astype(np.float32),
            spread.astype(np.float32), shape, patches, totals,
        )  # fmt: skip
        taps, n = like[1] * like[2] * like[3], shape.channels
        through = patches.reshape(module.LANES, shape.kernel, -1)[..., : like[3] * like[1]].reshape(-1, taps).T
        inputs, products = sums.reshape(-1, 2, module.LANES)[:taps].transpose(1, 0, 2)  # [T, 16] each
        active, moved, _ = moments.reshape(3, -1)
        whole, along, lit = totals.reshape(3, -1)

        def combine(direct: np.ndarray, ones: np.ndarray, outputs: np.ndarray) -> np.ndarray:
            """gamma / sd (g - mean(g) - r mean(g r)), r normalised, summed over active pixels with a weight."""
            normal = spread * (outputs - (mean - shift) * ones)
            return scale * spread * (direct - whole / count * ones - along / count * normal)

        d_bias = combine(lit, active, moved)
        d_taps = combine(through, inputs, products) + _per_tap(centre, taps, like[1])[:, None] * d_bias
        d_weight = d_taps[:, :n].T.reshape(n, like[2], like[3], like[1]).transpose(0, 3, 1, 2)
        found = (d_weight, d_bias[:n], along[:n], whole[:n])
        return None, *(torch.from_numpy(np.ascontiguousarray(g, np.float32)) for g in found), None


def _pair(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else tuple(value)


def _per_tap(centre: np.ndarray, taps: int, channels: int) -> np.ndarray:
    return np.tile(centre[:channels].astype(float), taps // channels)
