"""Dense optical flow between grey pictures: OpenCV's algorithms, and TV-L1 in torch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import assert_never, get_args

import cv2
import numpy as np

from zoo.errors import ZooError
from zoo.types import FlowMethod as FlowName

BATCH = 32  # pairs that torch works on together on a CPU, four times as many on a GPU; of 224 px 32 take about 250 MB


def optical_flow(first: np.ndarray, second: np.ndarray, method: FlowName = "tvl1") -> np.ndarray:
    """Where each pixel of ``first`` went in ``second``.

    ``tvl1`` is the field's standard: TV-L1 (Zach, Pock, Bischof 2007) as in its reference implementation (Sánchez,
    Meinhardt-Llopis, Facciolo: IPOL 2013/26), the flow of the public STSTNet inputs: τ .25, λ .15, θ .3, ε .01,
    pyramid step .5 with as many levels as keep 16 px of diagonal, 5 warps, up to 300 iterations per warp, grey values
    of the pair stretched together to 0..255 and smoothed by σ .8. OpenCV's own defaults differ: step .8, no stretching
    or smoothing, and a 5x5 median filter of the flow between its 10 outer loops of 30; with the filter off those loops
    are the single loop of 300. What still differs from IPOL is interpolation (pyramid and warp: bilinear against
    Gaussian and bicubic), hence answers that agree closely but not to the bit.

    ``tvl1_torch``: the same by :class:`zoo.vision.tvl1.TVL1`, which takes many pairs at once (:func:`optical_flows`).
    ``tvl1_fast``: 3 levels, 3 warps, ε .02, up to 75 iterations; two to four times faster. ``dis``: Dense Inverse
    Search, preset medium (the two faster presets make motion of less than a pixel worse). ``farneback``: polynomial
    expansion.

    Args:
        first: grey picture of the onset.
        second: grey picture of the apex, of the same size.
        method: the algorithm and its settings.

    Shapes: two uint8 ``[H, W]`` -> float32 ``[2, H, W]``, u (right) and v (down), in pixels.

    Raises:
        ZooError: the pictures are not grey uint8 of one size of at least 16 px, or the algorithm is not installed.
    """
    _check(first, second)
    match method:
        case "tvl1":
            diagonal = math.hypot(*first.shape)
            levels = max(1, int(1 + math.log2(diagonal / 16)))
            flow = _tvl1(*_as_ipol(first, second), scales=levels, warps=5, epsilon=0.01, outer=10, inner=30)
        case "tvl1_fast":
            flow = _tvl1(*_as_ipol(first, second), scales=3, warps=3, epsilon=0.02, outer=5, inner=15)
        case "tvl1_torch":
            return optical_flows([first], [second], method)[0]
        case "dis":
            dis = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)  # type: ignore[attr-defined]
            flow = dis.calc(first, second, None)
        case "farneback":
            flow = cv2.calcOpticalFlowFarneback(first, second, None, 0.5, 3, 15, 3, 5, 1.2, 0)  # type: ignore[call-overload]
        case _:
            if method not in get_args(FlowName):  # a typo reaches here; a forgotten case does not pass the type checker
                raise ZooError(f"there is no optical flow {method!r}; known: {', '.join(get_args(FlowName))}")
            assert_never(method)
    return np.ascontiguousarray(np.moveaxis(np.asarray(flow, np.float32), 2, 0))


def optical_flows(
    firsts: Sequence[np.ndarray], seconds: Sequence[np.ndarray], method: FlowName = "tvl1", *, device: str = "cpu"
) -> np.ndarray:
    """The flow of many pairs: together where the method can (``tvl1_torch``), else one after the other.

    Args:
        firsts: grey pictures of the onsets.
        seconds: of the apices, as many, all of one size.
        method: see :func:`optical_flow`.
        device: of torch, for ``tvl1_torch``; a GPU must not be named in a worker process that was forked.

    Shapes: N and N uint8 ``[H, W]`` -> float32 ``[N, 2, H, W]``, in pixels.

    Raises:
        ZooError: as :func:`optical_flow`; unequal numbers of pictures, or none.
    """
    if len(firsts) != len(seconds) or not len(firsts):
        raise ZooError(f"optical flow of {len(firsts)} first and {len(seconds)} second pictures; they come in pairs")
    for first, second in zip(firsts, seconds, strict=True):
        _check(first, second)
        _check(firsts[0], first)
    if method != "tvl1_torch":
        return np.stack([optical_flow(a, b, method) for a, b in zip(firsts, seconds, strict=True)])
    import torch

    from zoo.vision.tvl1 import TVL1

    algorithm, out = TVL1(), []
    batch = BATCH if torch.device(device).type == "cpu" else 4 * BATCH
    for begin in range(0, len(firsts), batch):
        a, b = (
            torch.from_numpy(np.stack(pictures[begin : begin + batch])).to(device) for pictures in (firsts, seconds)
        )
        out.append(algorithm(a, b).cpu().numpy())
    return np.concatenate(out)


def _check(first: np.ndarray, second: np.ndarray) -> None:
    for picture in (first, second):
        if picture.dtype != np.uint8 or picture.ndim != 2 or picture.shape != first.shape or min(picture.shape) < 16:
            raise ZooError(
                f"optical flow wants two grey uint8 pictures of one size, at least 16 px; got {first.dtype} "
                f"{list(first.shape)} and {second.dtype} {list(second.shape)}"
            )


def _as_ipol(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The pair stretched together to 0..1 (OpenCV multiplies floats by 255) and smoothed, as IPOL's program begins."""
    low, high = min(first.min(), second.min()), max(first.max(), second.max())
    scale = 1.0 / max(int(high) - int(low), 1)

    def stretch(picture: np.ndarray) -> np.ndarray:
        return cv2.GaussianBlur((picture.astype(np.float32) - np.float32(low)) * np.float32(scale), (0, 0), 0.8)

    return stretch(first), stretch(second)


def _tvl1(
    first: np.ndarray, second: np.ndarray, *, scales: int, warps: int, epsilon: float, outer: int, inner: int
) -> np.ndarray:
    try:  # the plain OpenCV wheel has the name cv2.optflow and no algorithm behind it, so only calling tells
        algorithm = cv2.optflow.DualTVL1OpticalFlow_create()  # type: ignore[attr-defined]
    except (AttributeError, cv2.error):
        raise ZooError(
            "TV-L1 flow needs OpenCV's contrib modules, and the OpenCV that is installed has none (two OpenCV wheels "
            "write the same files): run `pip uninstall -y opencv-python opencv-python-headless opencv-contrib-python "
            "opencv-contrib-python-headless` and then `pip install opencv-contrib-python-headless`"
        ) from None
    algorithm.setTau(0.25)
    algorithm.setLambda(0.15)
    algorithm.setTheta(0.3)
    algorithm.setEpsilon(epsilon)
    algorithm.setScaleStep(0.5)
    algorithm.setScalesNumber(scales)
    algorithm.setWarpingsNumber(warps)
    algorithm.setOuterIterations(outer)
    algorithm.setInnerIterations(inner)
    algorithm.setMedianFiltering(1)
    flow: np.ndarray = algorithm.calc(first, second, None)
    return flow
