"""TV-L1 optical flow in plain torch: many pairs at once, on CPU or GPU."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from zoo.errors import ZooError

LEAST = 16  # px: below this side no coarser level of the pyramid is made
_TINY = 1e-7  # squared grey values; keeps a division finite where the picture is flat


@dataclass(frozen=True, kw_only=True)
class TVL1:
    r"""Dense flow of a batch of pairs by TV-L1 (Zach, Pock, Bischof, DAGM 2007), by duality.

    The energy :math:`\int |\nabla u| + |\nabla v| + \lambda |I_1(x + u) - I_0(x)|` is lowered by alternating a threshold
    step on the linearised data term with a projection of the dual variable, at each level of a pyramid and after each
    warp. Defaults are those of ``tvl1`` in :mod:`zoo.vision.flow` (IPOL 2013/26), and the discretisation is OpenCV's
    (``cv2.optflow.DualTVL1OpticalFlow`` without its median filter), so that both answer alike; OpenCV rounds the places
    at which it reads the warped picture to 1/32 px, which this does not.

    A pair leaves the batch as soon as it has converged, and each pair is worked on alone: its flow does not depend on
    the batch it came in.

    Args:
        tau: time step of the dual variable.
        lambda_: weight of the data term.
        theta: tightness of the coupling.
        scales: levels of the pyramid, each half as large as the one below; None: as many as keep 16 px of diagonal.
        warps: linearisations per level.
        epsilon: root mean square change of the flow, in pixels, at which a warp is finished.
        iterations: most per warp.
        every: iterations between two looks at that change; a GPU waits at each look.

    Raises:
        ZooError: a setting is not positive.
    """

    tau: float = 0.25
    lambda_: float = 0.15
    theta: float = 0.3
    scales: int | None = None
    warps: int = 5
    epsilon: float = 0.01
    iterations: int = 300
    every: int = 1

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value is not None and not 0 < value < math.inf:
                raise ZooError(f"TVL1.{name} is {value}; it must be a positive number")

    @torch.no_grad()
    def __call__(self, first: Tensor, second: Tensor) -> Tensor:
        """Where each pixel of ``first`` went in ``second``.

        Args:
            first: grey pictures, 0..255, integer or float; moved and computed on the device they lie on.
            second: likewise, of the same shape.

        Shapes: two ``[B, H, W]`` -> float32 ``[B, 2, H, W]``, u (right) and v (down), in pixels.

        Raises:
            ZooError: not two batches of one shape of at least 16 px, or a pixel is not finite; the message names the pair.
        """
        if first.shape != second.shape or first.ndim != 3 or min(first.shape[1:]) < LEAST:
            raise ZooError(
                f"TV-L1 wants two batches [B, H, W] of one shape, at least {LEAST} px a side; "
                f"got {list(first.shape)} and {list(second.shape)}"
            )
        if not len(first):
            return first.new_zeros((0, 2, *first.shape[1:]), dtype=torch.float32)
        pair = torch.stack([first.float(), second.float()], 1)  # [B, 2, H, W]
        finite = pair.isfinite().all(-1).all(-1).all(-1)
        if not bool(finite.all()):
            bad = (~finite).nonzero().ravel().tolist()
            raise ZooError(f"TV-L1: pixels that are not finite in pair {', '.join(map(str, bad))} of {len(pair)}")
        pyramid = [_stretch(pair)]
        while len(pyramid) < (self.scales or _levels(pair)):
            half = _halve(pyramid[-1])
            if min(half.shape[2:]) < LEAST:
                break
            pyramid.append(half)
        flow = torch.zeros_like(pyramid[-1])
        for level in reversed(pyramid):
            if flow.shape != level.shape:
                flow = 2 * F.interpolate(flow, level.shape[2:], mode="bilinear", align_corners=False)
            flow = self._one_level(level, flow)
        flow[(pair[:, 0] == pair[:, 1]).all(-1).all(-1)] = 0  # where nothing moved, only rounding would remain
        return flow

    def _one_level(self, pair: Tensor, flow: Tensor) -> Tensor:
        start, target = pair.unbind(1)
        stack = torch.stack([target, *_central(target)], 1)  # [B, 3, H, W] the picture and its gradient
        dual = torch.zeros((2, 2, *start.shape), device=pair.device)  # along x and y, of u and v
        for _ in range(self.warps):
            warped = _warp(stack, flow)
            gradient = warped[:, 1:].transpose(0, 1).contiguous()  # [2, B, H, W]
            moved = flow.transpose(0, 1).contiguous()
            constant = warped[:, 0] - (gradient * moved).sum(0) - start
            moved, dual = self._solve(gradient, constant, moved, dual)
            flow = moved.transpose(0, 1)
        return flow.contiguous()

    def _solve(self, gradient: Tensor, constant: Tensor, flow: Tensor, dual: Tensor) -> tuple[Tensor, Tensor]:
        """The iterations after one warp. Shapes: [2, B, H, W], [B, H, W], [2, B, H, W], [2, 2, B, H, W]."""
        flow_out, dual_out = torch.empty_like(flow), torch.empty_like(dual)
        index = torch.arange(flow.shape[1], device=flow.device)  # of the pairs still in the batch
        working = torch.ones_like(index, dtype=torch.bool)  # of these, the pairs that have not converged
        inverse = gradient.square().sum(0).clamp_min_(_TINY).reciprocal_().neg_()
        for done in range(1, self.iterations + 1):
            before, last = flow, done == self.iterations
            flow, dual = self._iterate(gradient, constant, inverse, flow, dual)
            if done % self.every and not last:
                continue
            change = (flow - before).square().mean((2, 3)).sum(0)
            leaving = working & (change <= self.epsilon**2) if not last else working
            if not bool(leaving.any()):
                continue
            flow_out[:, index[leaving]], dual_out[:, :, index[leaving]] = flow[:, leaving], dual[:, :, leaving]
            working = working & ~leaving
            left = int(working.sum())
            if not left:
                break
            if left <= 0.75 * len(index):  # copying the rest costs as much as an iteration or two
                index, flow, dual = index[working], flow[:, working], dual[:, :, working]
                gradient, constant, inverse = gradient[:, working], constant[working], inverse[working]
                working = working[working]
        return flow_out, dual_out

    def _iterate(
        self, gradient: Tensor, constant: Tensor, inverse: Tensor, flow: Tensor, dual: Tensor
    ) -> tuple[Tensor, Tensor]:
        step, tight = self.lambda_ * self.theta, self.tau / self.theta
        residual = torch.addcmul(constant, gradient[0], flow[0]).addcmul_(gradient[1], flow[1])
        flow = torch.addcmul(flow, gradient, residual.mul_(inverse).clamp_(-step, step))
        along_x, along_y = dual
        divergence = along_x + along_y
        divergence[..., 1:] -= along_x[..., :-1]
        divergence[..., 1:, :] -= along_y[..., :-1, :]
        flow.add_(divergence, alpha=self.theta)
        slope = torch.zeros_like(dual)
        torch.sub(flow[..., 1:], flow[..., :-1], out=slope[0, ..., :-1])
        torch.sub(flow[..., 1:, :], flow[..., :-1, :], out=slope[1, ..., :-1, :])
        length = torch.addcmul(slope[0].square(), slope[1], slope[1]).sqrt_().mul_(tight).add_(1)
        return flow, dual.add(slope, alpha=tight).div_(length)


def _levels(pair: Tensor) -> int:
    return max(1, int(1 + math.log2(math.hypot(*pair.shape[2:]) / LEAST)))


def _stretch(pair: Tensor) -> Tensor:
    """Grey values of each pair stretched together to 0..255, then smoothed by σ 0.8, as IPOL's program begins."""
    low = pair.amin((1, 2, 3), keepdim=True)
    wide = (pair.amax((1, 2, 3), keepdim=True) - low).clamp_min(1)
    grey = (pair - low) * (255 / wide)
    # seven taps: the kernel that OpenCV makes of this σ for floats; summed by hand, as a GPU may round a convolution to 10 bits
    taps = [math.exp(-(i**2) / (2 * 0.8**2)) for i in range(-3, 4)]
    for dim, beyond in ((3, (3, 3, 0, 0)), (2, (0, 0, 3, 3))):
        wider, side = F.pad(grey, beyond, mode="reflect"), grey.shape[dim]
        grey = torch.stack([wider.narrow(dim, i, side) * (tap / sum(taps)) for i, tap in enumerate(taps)]).sum(0)
    return grey


def _halve(pair: Tensor) -> Tensor:
    """Means of 2x2 pixels; an odd side rounds as OpenCV's resize does, and its last pixel stands for two."""
    height, width = (round(side * 0.5) for side in pair.shape[2:])
    beyond = (0, max(0, 2 * width - pair.shape[3]), 0, max(0, 2 * height - pair.shape[2]))
    return F.avg_pool2d(F.pad(pair, beyond, mode="replicate"), 2)


def _central(picture: Tensor) -> tuple[Tensor, Tensor]:
    """Central differences along x and y, halved one-sided ones at the border. Shapes: [B, H, W] -> two of the same."""
    wide = F.pad(picture[:, None], (1, 1, 1, 1), mode="replicate")[:, 0]
    return 0.5 * (wide[:, 1:-1, 2:] - wide[:, 1:-1, :-2]), 0.5 * (wide[:, 2:, 1:-1] - wide[:, :-2, 1:-1])


def _warp(stack: Tensor, flow: Tensor) -> Tensor:
    """The pictures read where the flow points, bicubic, 0 beyond the border. Shapes: [B, C, H, W], [B, 2, H, W]."""
    height, width = stack.shape[2:]
    x = torch.arange(width, device=flow.device) + flow[:, 0]
    y = torch.arange(height, device=flow.device)[:, None] + flow[:, 1]
    grid = torch.stack([(2 * x + 1) / width - 1, (2 * y + 1) / height - 1], -1)
    return F.grid_sample(stack, grid, mode="bicubic", padding_mode="zeros", align_corners=False)
