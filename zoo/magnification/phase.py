"""Phase-based magnification: the phases of local waves are moved on, so that motion grows and noise does not.

Wadhwa, Rubinstein, Durand, Freeman: "Phase-Based Video Motion Processing", ACM Transactions on Graphics 32(4), 2013. A wave of
length w holds while the motion, magnified, stays below a quarter of w: about four times as far as the linear method.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import numpy as np
import torch
from torch import Tensor

from zoo.magnification.pyramid import Bands, SteerablePyramid, smooth_phase
from zoo.magnification.temporal import BAND, Filter, blocks, sections, warmed_up

BLOCK = 8  # frames held at once


def phase_based(
    frames: Iterable[np.ndarray],
    fps: float,
    *,
    gain: float,
    band: tuple[float, float] = BAND,
    orientations: int = 4,
    sigma: float = 2.0,
    device: str = "cpu",
) -> Iterator[np.ndarray]:
    """Magnify frame by frame; memory does not grow with the clip.

    The brightness goes through a complex steerable pyramid; the phase of each wave, unwound over time, is band-passed,
    smoothed by its amplitude, and added ``gain`` times. Colours stay where they were.

    Reading: phases are filtered by a first-order Butterworth band pass; waves of one octave; the finest and the coarsest
    residual are left alone.

    Args:
        frames: the clip.
        fps: frames per second.
        gain: the motion comes out 1 + gain times as large.
        band: in Hz.
        orientations: directions of the waves.
        sigma: in pixels of each level, of the smoothing.
        device: where torch computes.

    Shapes: each uint8 ``[H, W, 3]`` -> each uint8 ``[H, W, 3]``.
    """
    sos = sections("butterworth", fps, band=band)
    pyramid: SteerablePyramid | None = None
    levels: list[_Unwound] = []
    for block, counts in blocks(warmed_up(frames, fps), BLOCK):
        if pyramid is None:
            pyramid = SteerablePyramid(*block.shape[1:3], orientations=orientations)
            levels = [_Unwound(sos) for _ in range(pyramid.levels)]
        grey = torch.from_numpy(block @ np.array([0.299, 0.587, 0.114], np.float32)).float().to(device)
        bands = pyramid.analyse(grey)
        moved = [
            waves * torch.polar(torch.ones_like(shift), gain * shift)
            for waves, level in zip(bands.waves, levels, strict=True)
            for shift in [smooth_phase(level(waves), waves.abs(), sigma)]
        ]
        change = pyramid.synthesise(Bands(bands.high, moved, bands.low)) - grey
        for frame, delta, wanted in zip(block, change.cpu().numpy(), counts, strict=True):
            if wanted:
                yield np.clip(np.rint(frame + delta[..., None]), 0, 255).astype(np.uint8)


class _Unwound:
    """The phases of one level over time: unwound from frame to frame, then band-passed."""

    def __init__(self, sos: np.ndarray) -> None:
        self._filter = Filter(sos)
        self._last: Tensor | None = None  # complex [1, K, h, w]
        self._sum: Tensor | None = None

    def __call__(self, waves: Tensor) -> Tensor:
        """Shapes: complex ``[T, K, h, w]`` -> float ``[T, K, h, w]``."""
        last = waves[:1] if self._last is None else self._last
        steps = torch.angle(waves * torch.cat((last, waves[:-1])).conj())
        total = torch.cumsum(steps, 0)
        if self._sum is not None:
            total = total + self._sum
        self._last, self._sum = waves[-1:], total[-1:]
        passed = torch.from_numpy(self._filter(total.cpu().numpy())).to(waves.device)
        return passed.clamp(-math.pi, math.pi)
