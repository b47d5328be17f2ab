"""Machine code of :mod:`zoo.train.fused`: ``Conv2d -> ReLU -> BatchNorm -> MaxPool`` whose maps never reach memory.

The sums over pixels, which take all the time, run on vectors that stay in registers: 16 output channels are two vectors of
eight, six pixels are convolved together, and the sums of the backward pass are taken while the row that they need is still at
hand. numba compiles this on first use and keeps the code beside this file, or in ``NUMBA_CACHE_DIR``. It looks at the date of
this file alone to see whether what it kept is still good: what the functions use belongs in here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic as _intrinsic

LANES = 16  # output channels of a block
PIXELS = 6  # convolved together: 12 sums, 2 weights and 1 input are what 16 registers hold
TAPS = 3  # of the kernel, in one sweep over a row: 12 sums, 3 inputs and 1 map
_WIDTH = 8  # values of a vector
_FLOAT, _INDEX, _INT = ir.FloatType(), ir.IntType(64), ir.IntType(32)
_VECTOR, _WHERE = ir.VectorType(_FLOAT, _WIDTH), ir.VectorType(_INT, _WIDTH)

intrinsic: Any = _intrinsic  # its types do not know that the first argument is numba's own


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Machine code of a function, made on first use and kept where that is possible."""
    options: Any = {"error_model": "numpy", "fastmath": {"contract"}}
    try:
        return njit(cache=True, **options)(function)
    except RuntimeError:  # nowhere to keep it
        return njit(**options)(function)


class _Emit:
    """What the intrinsics have in common: vectors to and from float32 (or int32) arrays, at an index of values."""

    def __init__(self, context: Any, builder: Any, signature: Any, args: Any) -> None:
        self.builder, self.context = builder, context
        self.arrays = {
            i: context.make_array(kind)(context, builder, value)
            for i, (kind, value) in enumerate(zip(signature.args, args, strict=True))
            if isinstance(kind, types.Array)
        }

    def at(self, index: Any, plus: int) -> Any:
        return self.builder.add(index, ir.Constant(_INDEX, plus)) if plus else index

    def load(self, array: int, index: Any, plus: int = 0, kind: Any = _VECTOR) -> Any:
        place = self.builder.gep(self.arrays[array].data, [self.at(index, plus)])
        value = self.builder.load(self.builder.bitcast(place, kind.as_pointer()))
        value.align = 4
        return value

    def store(self, value: Any, array: int, index: Any, plus: int = 0) -> None:
        place = self.builder.gep(self.arrays[array].data, [self.at(index, plus)])
        self.builder.store(value, self.builder.bitcast(place, value.type.as_pointer())).align = 4

    def splat(self, value: Any, kind: Any = _VECTOR) -> Any:
        nothing = ir.Constant(kind, ir.Undefined)
        one = self.builder.insert_element(nothing, value, ir.Constant(_INT, 0))
        return self.builder.shuffle_vector(one, nothing, ir.Constant(_WHERE, [0] * _WIDTH))

    def zero(self, kind: Any = _VECTOR) -> Any:
        return ir.Constant(kind, [0] * _WIDTH)

    def add_product(self, a: Any, b: Any, place: Any) -> None:
        """``place += a * b`` in one rounding where the processor can."""
        function = cgutils.get_or_insert_function(
            self.builder.module, ir.FunctionType(_VECTOR, [_VECTOR] * 3), f"llvm.fmuladd.v{_WIDTH}f32"
        )
        self.builder.store(self.builder.call(function, [a, b, self.builder.load(place)]), place)

    def places(self, count: int, start: Any) -> list[Any]:
        """Vectors that become registers."""
        found = [cgutils.alloca_once(self.builder, start(i).type) for i in range(count)]
        for i, place in enumerate(found):
            self.builder.store(start(i), place)
        return found

    def keep(self, places: list[Any], array: int, index: Any) -> None:
        for i, place in enumerate(places):
            self.store(self.builder.load(place), array, index, i * _WIDTH)

    def nothing(self) -> Any:
        return self.context.get_dummy_value()


@intrinsic
def _convolve(typing: Any, z: Any, zi: Any, x: Any, xi: Any, step: Any, taps: Any, weight: Any) -> Any:
    """``z[zi + 16 k + c] = weight[c] + sum_t weight[16 (t + 1) + c] x[xi + k step + taps[t]]`` for six pixels k."""

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        e = _Emit(context, builder, signature, args)
        _, zi, _, xi, step, _, _ = args
        bias = [e.load(6, ir.Constant(_INDEX, h * _WIDTH)) for h in range(2)]
        sums = e.places(2 * PIXELS, lambda i: bias[i % 2])
        starts = [builder.add(xi, builder.mul(step, ir.Constant(_INDEX, k))) for k in range(PIXELS)]
        starts = [builder.gep(e.arrays[2].data, [start]) for start in starts]
        with cgutils.for_range(builder, e.arrays[5].nitems) as loop:
            tap = builder.load(builder.gep(e.arrays[5].data, [loop.index]))
            row = builder.mul(e.at(loop.index, 1), ir.Constant(_INDEX, LANES))
            weights = [e.load(6, row, h * _WIDTH) for h in range(2)]
            for k, start in enumerate(starts):
                value = e.splat(builder.load(builder.gep(start, [tap])))
                for h in range(2):
                    e.add_product(weights[h], value, sums[2 * k + h])
        e.keep(sums, 0, zi)
        return e.nothing()

    return types.void(z, zi, x, xi, step, taps, weight), emit


@intrinsic
def _activate(typing: Any, maps: Any, z: Any, zi: Any, count: Any, shift: Any, moments: Any) -> Any:
    """Of ``count`` pixels: ``maps = [active, (z - shift) active]``, and into ``moments`` the sums of both and of the square."""

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        e = _Emit(context, builder, signature, args)
        _, _, zi, count, _, _ = args
        first = ir.Constant(_INDEX, 0)
        shifts = [e.load(4, first, h * _WIDTH) for h in range(2)]
        before = [e.load(5, first, i * _WIDTH) for i in range(6)]
        sums = e.places(6, lambda i: before[i])
        one = ir.Constant(_VECTOR, [1.0] * _WIDTH)
        with cgutils.for_range(builder, count) as loop:
            here = builder.add(zi, builder.mul(loop.index, ir.Constant(_INDEX, LANES)))
            out = builder.mul(loop.index, ir.Constant(_INDEX, 2 * LANES))
            for h in range(2):
                value = e.load(1, here, h * _WIDTH)
                off = builder.fcmp_ordered("<=", value, e.zero())  # no number is on: it has to show
                active = builder.select(off, e.zero(), one)
                moved = builder.select(off, e.zero(), builder.fsub(value, shifts[h]))
                e.store(active, 0, out, h * _WIDTH)
                e.store(moved, 0, out, LANES + h * _WIDTH)
                for i, term in enumerate((active, moved)):
                    place = sums[2 * i + h]
                    builder.store(builder.fadd(builder.load(place), term), place)
                e.add_product(moved, moved, sums[4 + h])
        e.keep(sums, 5, first)
        return e.nothing()

    return types.void(maps, z, zi, count, shift, moments), emit


@intrinsic
def _correlate(
    typing: Any, s: Any, si: Any, x: Any, xi: Any, step: Any, n: Any, maps: Any, a: Any, b: Any, c: Any
) -> Any:
    """``s[si + 32 j + l] += sum_i x[xi + i step + tap_j] maps[32 i + l]`` over n pixels, for the three taps a, b, c."""

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        e = _Emit(context, builder, signature, args)
        _, si, _, xi, step, n, _, *taps = args
        before = [e.load(0, si, i * _WIDTH) for i in range(4 * TAPS)]
        sums = e.places(4 * TAPS, lambda i: before[i])
        start = builder.gep(e.arrays[2].data, [xi])
        with cgutils.for_range(builder, n) as loop:
            here = builder.gep(start, [builder.mul(loop.index, step)])
            row = builder.mul(loop.index, ir.Constant(_INDEX, 2 * LANES))
            values = [e.splat(builder.load(builder.gep(here, [tap]))) for tap in taps]
            for h in range(4):  # one map at a time: a second would not find a register
                vector = e.load(6, row, h * _WIDTH)
                for j, value in enumerate(values):
                    e.add_product(vector, value, sums[4 * j + h])
        e.keep(sums, 0, si)
        return e.nothing()

    return types.void(s, si, x, xi, step, n, maps, a, b, c), emit


@intrinsic
def _pool(
    typing: Any, best: Any, where: Any, out: Any, z: Any, first: Any, rows: Any, columns: Any, width: Any, sign: Any
) -> Any:
    """Of a window of ``relu(z)`` the value that ``sign`` times it is largest, the first of several, and its pixel."""

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        e = _Emit(context, builder, signature, args)
        _, _, out, _, first, rows, columns, width, _ = args

        def relu(pixel: Any, h: int) -> Any:
            value = e.load(3, builder.mul(pixel, ir.Constant(_INDEX, LANES)), h * _WIDTH)
            return builder.select(builder.fcmp_ordered("<=", value, e.zero()), e.zero(), value)

        signs = [e.load(8, ir.Constant(_INDEX, 0), h * _WIDTH) for h in range(2)]
        starts = [relu(first, h) for h in range(2)]
        values = e.places(2, lambda h: starts[h])
        start = e.splat(builder.trunc(first, _INT), _WHERE)
        places = e.places(2, lambda h: start)
        with cgutils.for_range(builder, rows) as row:
            begin = builder.add(first, builder.mul(row.index, width))
            with cgutils.for_range(builder, columns) as column:
                pixel = builder.add(begin, column.index)
                number = e.splat(builder.trunc(pixel, _INT), _WHERE)
                for h in range(2):
                    value, so_far = relu(pixel, h), builder.load(values[h])
                    better = builder.fcmp_ordered(">", builder.fmul(signs[h], value), builder.fmul(signs[h], so_far))
                    builder.store(builder.select(better, value, so_far), values[h])
                    builder.store(builder.select(better, number, builder.load(places[h])), places[h])
        e.keep(values, 0, out)
        e.keep(places, 1, out)
        return e.nothing()

    return types.void(best, where, out, z, first, rows, columns, width, sign), emit


@intrinsic
def _scatter(typing: Any, s: Any, si: Any, x: Any, xi: Any, pitch: Any, rows: Any, vectors: Any, g: Any) -> Any:
    """``s[si + 8 (r vectors + v) + l] += g x[xi + r pitch + 8 v + l]``: a patch times a gradient."""

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        e = _Emit(context, builder, signature, args)
        _, si, _, xi, pitch, rows, vectors, g = args
        weight = e.splat(g)
        with cgutils.for_range(builder, rows) as row, cgutils.for_range(builder, vectors) as vector:
            width = ir.Constant(_INDEX, _WIDTH)
            begin = builder.add(xi, builder.mul(row.index, pitch))
            values = e.load(2, builder.add(begin, builder.mul(vector.index, width)))
            number = builder.add(builder.mul(row.index, vectors), vector.index)
            to = builder.add(si, builder.mul(number, width))
            e.store(builder.fadd(e.load(0, to), builder.fmul(weight, values)), 0, to)
        return e.nothing()

    return types.void(s, si, x, xi, pitch, rows, vectors, g), emit


class Shape(NamedTuple):
    """What a block works on; lengths in values of the padded input, whose pixels lie one after the other with their channels."""

    channels: int  # of the output, at most LANES
    rows: int  # of the convolution's output
    columns: int
    step: int  # from pixel to pixel: input channels
    pitch: int  # from row to row
    padding: int  # pixels
    kernel: int  # rows of the convolution's kernel
    run: int  # vectors that hold one row of the kernel
    window: int  # of the max pooling
    stride: int
    margin: int  # its padding
    pooled_rows: int
    pooled_columns: int
    average: int  # window and stride of the average pooling that follows; 1: none


# Slices are taken before a loop: an index that numba cannot prove to be positive keeps the loop from becoming vectors.


@compiled
def _tile(picture: Any, centre: Any, tile: Any, shape: Shape) -> None:
    for y in range(picture.shape[0]):
        at = (y + shape.padding) * shape.pitch + shape.padding * shape.step
        line, to = picture[y], tile[at : at + picture.shape[1]]
        for i in range(line.shape[0]):
            to[i] = line[i] - centre[i]


@compiled
def _empty_tile(height: int, centre: Any, shape: Shape) -> Any:
    tile = np.zeros((height + 2 * shape.padding) * shape.pitch + 4 * _WIDTH, np.float32)
    for i in range(tile.shape[0]):
        tile[i] = -centre[i % shape.step]
    return tile


@compiled
def forward(
    x: Any,
    weight: Any,
    taps: Any,
    centre: Any,
    shift: Any,
    sign: Any,
    shape: Shape,
    best: Any,
    where: Any,
    sums: Any,
    moments: Any,
) -> None:
    """Convolution, ReLU and max pooling, with the sums over all pixels that batch normalisation and its gradient need.

    Args:
        x: float32 ``[B, H, W C]``.
        weight: float32 ``[1 + T, 16]`` flat: bias, then a row for each tap, of the input minus ``centre``.
        taps: int64 ``[T]``, where each tap lies in the padded input; T is a multiple of 3.
        centre, shift: ``[W C]`` of inputs and ``[16]`` of outputs, near their means: what is summed stays small.
        sign: of the scale that normalisation will apply; where it is negative the smallest value wins.
        best, where: float32 and int32 ``[B, rows, columns, 16]`` flat, filled: pooled values and their pixels.
        sums: float64 ``[T, 32]`` flat, added to: inputs over active pixels, and times (output - shift).
        moments: float64 ``[48]``, added to: active pixels, sums of (output - shift) and of its square over them.
    """
    tile = _empty_tile(x.shape[1], centre, shape)
    z = np.empty(shape.rows * shape.columns * LANES, np.float32)
    maps = np.empty(shape.columns * 2 * LANES, np.float32)
    part, row = np.empty(sums.shape[0], np.float32), np.empty(moments.shape[0], np.float32)
    out = 0
    for b in range(x.shape[0]):
        _tile(x[b], centre, tile, shape)
        part[:] = 0
        for y in range(shape.rows):
            first, i = y * shape.pitch, 0
            while i < shape.columns:
                i = min(i, shape.columns - PIXELS)
                _convolve(z, (y * shape.columns + i) * LANES, tile, first + i * shape.step, shape.step, taps, weight)
                i += PIXELS
            row[:] = 0
            _activate(maps, z, y * shape.columns * LANES, shape.columns, shift, row)
            for i in range(moments.shape[0]):
                moments[i] += row[i]
            for t in range(0, taps.shape[0], TAPS):
                _correlate(
                    part, t * 2 * LANES, tile, first, shape.step, shape.columns, maps, taps[t], taps[t + 1], taps[t + 2]
                )
        for i in range(sums.shape[0]):
            sums[i] += part[i]
        for p in range(shape.pooled_rows):
            top, bottom = max(p * shape.stride - shape.margin, 0), p * shape.stride - shape.margin + shape.window
            for q in range(shape.pooled_columns):
                left, right = max(q * shape.stride - shape.margin, 0), q * shape.stride - shape.margin + shape.window
                _pool(
                    best, where, out, z, top * shape.columns + left, min(bottom, shape.rows) - top,
                    min(right, shape.columns) - left, shape.columns, sign,
                )  # fmt: skip
                out += LANES


@compiled
def finish(best: Any, keep: Any, mean: Any, scale: Any, offset: Any, shape: Shape, out: Any) -> None:
    """Normalise the pooled values, drop some of them, and average. Shapes: out ``[B, channels, rows, columns]``."""
    cell, share = np.empty(LANES, np.float32), np.float32(1 / shape.average**2)
    for b in range(out.shape[0]):
        for y in range(out.shape[2]):
            for x in range(out.shape[3]):
                cell[:] = 0
                for i in range(shape.average):
                    for j in range(shape.average):
                        p, q = y * shape.average + i, x * shape.average + j
                        at = ((b * shape.pooled_rows + p) * shape.pooled_columns + q) * LANES
                        value, factor = best[at : at + LANES], keep[at : at + LANES]
                        for c in range(LANES):
                            cell[c] += ((value[c] - mean[c]) * scale[c] + offset[c]) * factor[c]
                for c in range(shape.channels):
                    out[b, c, y, x] = cell[c] * share


@compiled
def backward(
    x: Any,
    centre: Any,
    gradient: Any,
    best: Any,
    where: Any,
    keep: Any,
    mean: Any,
    spread: Any,
    shape: Shape,
    sums: Any,
    totals: Any,
) -> None:
    """What comes back through the pooled values alone: the rest of the gradient is in the sums of :func:`forward`.

    Args:
        gradient: float32 ``[B, channels, rows, columns]``, of what :func:`finish` gave.
        mean, spread: of the batch, and 1 / standard deviation.
        sums: float64 ``[16, kernel, run, 8]`` flat, added to: gradient times input where the winner is active.
        totals: float64 ``[48]``, added to: gradient, gradient times normalised value, gradient where active.
    """
    tile, part = _empty_tile(x.shape[1], centre, shape), np.empty(sums.shape[0], np.float32)
    start = np.empty(shape.rows * shape.columns, np.int64)
    for i in range(start.shape[0]):
        start[i] = i // shape.columns * shape.pitch + i % shape.columns * shape.step
    size, count = shape.kernel * shape.run * _WIDTH, shape.pooled_rows * shape.pooled_columns
    chosen, values = np.empty(count * LANES, np.int64), np.empty(count * LANES, np.float32)
    share, n_average = np.float32(1 / shape.average**2), shape.average
    cell, total = np.empty(LANES, np.float32), np.empty(3 * LANES, np.float32)
    cell[:] = 0
    for b in range(x.shape[0]):
        _tile(x[b], centre, tile, shape)
        part[:] = 0
        total[:] = 0
        n, some = 0, 0
        for y in range(gradient.shape[2]):
            for i in range(gradient.shape[3]):
                for c in range(shape.channels):
                    cell[c] = gradient[b, c, y, i] * share
                for k in range(n_average * n_average):
                    row, column = y * n_average + k // n_average, i * n_average + k % n_average
                    first = (b * count + row * shape.pooled_columns + column) * LANES
                    value, factor, out = best[first : first + LANES], keep[first : first + LANES], values[n : n + LANES]
                    for c in range(LANES):
                        g = cell[c] * factor[c]
                        total[c] += g
                        total[LANES + c] += g * (value[c] - mean[c]) * spread[c]
                        out[c] = g if value[c] > 0 else np.float32(0)
                        total[2 * LANES + c] += out[c]
                    for c in range(LANES):  # a list without a branch: dropout makes it a coin's toss
                        chosen[some] = first + c
                        values[some] = out[c]
                        some += out[c] != 0
                    n += LANES
        for i in range(totals.shape[0]):
            totals[i] += total[i]
        for i in range(some):
            at = chosen[i]
            _scatter(part, at % LANES * size, tile, start[where[at]], shape.pitch, shape.kernel, shape.run, values[i])
        for i in range(sums.shape[0]):
            sums[i] += part[i]
