"""The complex steerable pyramid: a picture as waves of several lengths and directions, each with amplitude and phase.

Simoncelli, Freeman: "The steerable pyramid", ICIP 1995; complex as in Portilla, Simoncelli, IJCV 2000, made in the frequency
domain. Wadhwa et al. (2013) magnify motion by its phases.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from zoo.errors import ZooError


class Bands(NamedTuple):
    """A picture taken apart."""

    high: Tensor  # [B, H, W], the finest residual
    waves: list[Tensor]  # per level complex [B, K, h, w], finest first, each half as large as the one before
    low: Tensor  # [B, h, w], the coarsest residual


@dataclass(frozen=True)
class _Level:
    waves: Tensor  # [K, h, w], filters over the frequencies of this level
    low: Tensor  # [h / 2, w / 2], over those of the next


class SteerablePyramid:
    """Takes pictures of one size apart and puts them together again, exactly.

    Pictures are continued by their mirror image to a size that halves evenly. A wave whose frequency grows beyond half of
    what its level can show goes to the next finer level; the bands are one octave wide.

    Args:
        height: pixels.
        width: pixels.
        orientations: directions of the waves (K).
        levels: octaves; None takes as many as leave the coarsest residual at least 4 px.
        margin: pixels of mirror image on each side at least, since the Fourier transform joins opposite borders.
    """

    def __init__(
        self, height: int, width: int, *, orientations: int = 4, levels: int | None = None, margin: int = 16
    ) -> None:
        most = max(1, int(math.log2(max(min(height, width) / 4, 2))))
        self.levels = most if levels is None else levels
        self.orientations = orientations
        if orientations < 2 or not 1 <= self.levels <= most:
            raise ZooError(
                f"a steerable pyramid of {width}x{height} px has 2 or more orientations and 1 to {most} levels, "
                f"got {orientations} and {self.levels}"
            )
        unit = 2 ** (self.levels + 1)
        self._shape = (height, width)
        self._whole = tuple(-(-(side + 2 * margin) // unit) * unit for side in self._shape)
        self._pads = tuple(((whole - side) // 2) for whole, side in zip(self._whole, self._shape, strict=True))
        radius, angle = _polar(self._whole)
        # at the cut of a level the low pass has fallen to nothing, so the smaller transform loses nothing
        self._high, low = _split(radius, 1.0)
        self._low = low
        self._levels: list[_Level] = []
        for level in range(self.levels):
            scale = 2.0**-level
            size = tuple(side >> level for side in self._whole)
            part, turn = _centre(radius, size), _centre(angle, size)
            high, below = _split(part, scale / 2)
            half = tuple(side // 2 for side in size)
            waves = torch.stack([high * _direction(turn, k, orientations) for k in range(orientations)])
            self._levels.append(_Level(waves, _centre(below, half)))

    def analyse(self, pictures: Tensor) -> Bands:
        """Shapes: float ``[B, H, W]`` -> see :class:`Bands`."""
        spectrum = _forward(self._widened(pictures))
        high = _backward(spectrum * self._high).real
        rest = spectrum * self._low
        waves = []
        for level in self._levels:
            # twice one half of the plane: the real part is the band, the imaginary part its quadrature
            waves.append(2 * _backward(rest[:, None] * level.waves))
            rest = _shrink(rest, level.low.shape) * level.low
        return Bands(high, waves, _backward(rest).real)

    def synthesise(self, bands: Bands) -> Tensor:
        """The inverse of :meth:`analyse`. Shapes: -> ``[B, H, W]``."""
        rest = _forward(bands.low)
        for level, waves in zip(reversed(self._levels), reversed(bands.waves), strict=True):
            rest = _grow(rest * level.low, level.waves.shape[1:])
            rest = rest + (_forward(waves) * level.waves).sum(1)
        whole = _backward(rest * self._low + _forward(bands.high) * self._high).real
        top, left = self._pads
        return whole[:, top : top + self._shape[0], left : left + self._shape[1]]

    def _widened(self, pictures: Tensor) -> Tensor:
        (top, left), (height, width) = self._pads, self._shape
        rows = _mirrored(-top, self._whole[0], height)
        columns = _mirrored(-left, self._whole[1], width)
        return pictures[:, rows][:, :, columns]


def smooth_phase(shift: Tensor, amplitude: Tensor, sigma: float) -> Tensor:
    """Phases blurred by a Gaussian, each weighted by its amplitude: where there is no wave its phase means nothing.

    Shapes: two ``[B, K, h, w]`` -> ``[B, K, h, w]``.
    """
    reach = min(max(1, math.ceil(2.5 * sigma)), min(shift.shape[2:]) - 1)
    line = torch.exp(-(torch.arange(-reach, reach + 1.0) ** 2) / (2 * sigma**2)).to(shift)
    kernel = line[:, None] * line[None]

    def blur(values: Tensor) -> Tensor:
        flat = functional.pad(values.reshape(-1, 1, *values.shape[2:]), (reach,) * 4, mode="reflect")
        rows = functional.conv2d(flat, line[None, None, None])
        return functional.conv2d(rows, line[None, None, :, None]).reshape(values.shape)

    weight = amplitude + 1e-6 * kernel.sum()
    return blur(shift * weight) / blur(weight)


def _mirrored(start: int, count: int, size: int) -> Tensor:
    period = max(1, 2 * (size - 1))
    at = torch.arange(start, start + count) % period
    return torch.minimum(at, period - at)


def _polar(shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Radius (1 at the highest frequency of the axes) and angle of each frequency, zero in the centre."""
    y, x = (torch.fft.fftshift(torch.fft.fftfreq(side, 0.5, dtype=torch.float64)) for side in shape)
    grid_y, grid_x = torch.meshgrid(y, x, indexing="ij")
    return torch.hypot(grid_y, grid_x), torch.atan2(grid_y, grid_x)


def _split(radius: Tensor, edge: float) -> tuple[Tensor, Tensor]:
    """High and low pass that share the octave below ``edge``; their squares add to one."""
    octave = torch.log2(radius.clamp(min=1e-12) / edge).clamp(-1, 0)  # -1 and below: low, 0 and above: high
    high = torch.cos(math.pi / 2 * octave)
    low = (1 - high**2).clamp(min=0).sqrt()
    return high.float(), low.float()


def _direction(angle: Tensor, index: int, count: int) -> Tensor:
    """Power of a cosine around one direction, over one half of the plane; the squares of all add to one with their mirror."""
    factor = 2.0 ** (count - 1) * math.factorial(count - 1) / math.sqrt(count * math.factorial(2 * (count - 1)))
    cosine = torch.cos(angle - math.pi * index / count)
    return (factor * cosine.clamp(min=0) ** (count - 1)).float()


def _centre(values: Tensor, shape: tuple[int, ...]) -> Tensor:
    rows, columns = ((whole - side) // 2 for whole, side in zip(values.shape[-2:], shape, strict=True))
    return values[..., rows : rows + shape[0], columns : columns + shape[1]]


def _shrink(spectrum: Tensor, shape: torch.Size) -> Tensor:
    """The lower half of the frequencies: a picture of half the size, at the same brightness."""
    return _centre(spectrum, tuple(shape)) / 4


def _grow(spectrum: Tensor, shape: torch.Size) -> Tensor:
    out = spectrum.new_zeros((*spectrum.shape[:-2], *shape))
    _centre(out, tuple(spectrum.shape[-2:])).copy_(spectrum * 4)
    return out


def _forward(pictures: Tensor) -> Tensor:
    return torch.fft.fftshift(torch.fft.fft2(pictures), dim=(-2, -1))


def _backward(spectrum: Tensor) -> Tensor:
    return torch.fft.ifft2(torch.fft.ifftshift(spectrum, dim=(-2, -1)))
