"""A clip in one picture: rank pooling, approximate and exact (Bilen et al., CVPR 2016; Fernando et al., PAMI 2017)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, assert_never, get_args

import numpy as np

from zoo.errors import ZooError

Pooling = Literal["averaged", "simple", "learnet", "exact"]


def coefficients(count: int, pooling: Pooling = "averaged") -> np.ndarray:
    r"""Weight of each frame in a dynamic image of approximate rank pooling.

    ``averaged``: the published form, which ranks the running means of the frames,
    :math:`\alpha_t = \sum_{i=t}^{T} (2i - T - 1) / i = 2(T - t + 1) - (T + 1)(H_T - H_{t-1})` with harmonic numbers H.
    ``simple``: ranks the frames themselves, :math:`\alpha_t = 2t - T - 1`. ``learnet``: as LEARNet's released code has it,
    :math:`\sum_{i=t}^{T} (2i - T) / i`; these do not sum to zero, so that a still clip shows through.

    Args:
        count: number of frames T.
        pooling: which of these forms.

    Shapes: -> float64 ``[T]``.

    Raises:
        ZooError: fewer than two frames; ``exact``, which has no weights of its own.
    """
    if count < 2:
        raise ZooError(f"a dynamic image tells the order of frames; {count} of them have none")
    i = np.arange(1, count + 1, dtype=np.float64)
    match pooling:
        case "averaged":
            terms = (2 * i - count - 1) / i
        case "simple":
            return 2 * i - count - 1
        case "learnet":
            terms = (2 * i - count) / i
        case "exact":
            raise ZooError("exact rank pooling fits each clip anew; it has no coefficients")
        case _:
            if pooling not in get_args(Pooling):
                raise ZooError(f"there is no rank pooling {pooling!r}; known: {', '.join(get_args(Pooling))}")
            assert_never(pooling)
    return np.cumsum(terms[::-1])[::-1].copy()


def dynamic_image(
    frames: Sequence[np.ndarray] | np.ndarray, pooling: Pooling = "averaged", *, c: float = 1.0
) -> np.ndarray:
    """The picture onto which the frames project in their order: what brightens in time is bright, what darkens dark.

    ``exact`` fits a linear support vector regression of the time on the running means of the frames; its weights, one per
    pixel, are the picture. The other forms are weighted sums, see :func:`coefficients`.

    Args:
        frames: at least two, of one size.
        pooling: the form.
        c: of ``exact``: weight of the errors against the smoothness; 1 as published.

    Shapes: ``T`` of ``[H, W]`` or ``[H, W, C]`` -> float32, as one frame. Only its shape matters, not its scale: see
    :func:`stretched`.

    Raises:
        ZooError: as :func:`coefficients`; frames of unequal sizes or not finite.
    """
    stack = _stack(frames)
    if pooling == "exact":
        return _exact(stack, c)
    weights = coefficients(len(stack), pooling)
    return np.tensordot(weights, stack, 1).astype(np.float32)


def stretched(picture: np.ndarray) -> np.ndarray:
    """A dynamic image from its least to its largest value over all channels together, as LEARNet reads it.

    Shapes: float ``[...]`` -> uint8 of the same shape; without any contrast (nothing moved) all 128.

    Raises:
        ZooError: not finite.
    """
    if not np.isfinite(picture).all():
        raise ZooError("the dynamic image is not finite")
    low, high = float(picture.min()), float(picture.max())
    if high - low <= 1e-6 * max(1.0, abs(low), abs(high)):
        return np.full(picture.shape, 128, np.uint8)
    return np.rint(255 * (picture.astype(np.float64) - low) / (high - low)).astype(np.uint8)


def _stack(frames: Sequence[np.ndarray] | np.ndarray) -> np.ndarray:
    shapes = {np.shape(frame) for frame in frames}
    if len(shapes) > 1:
        raise ZooError(f"frames of unequal sizes: {', '.join(map(str, sorted(shapes)))}")
    stack = np.asarray(frames, np.float64)
    if bad := [i for i, frame in enumerate(stack) if not np.isfinite(frame).all()]:
        raise ZooError(f"frames that are not finite: {', '.join(map(str, bad[:10]))}")
    return stack


def _exact(stack: np.ndarray, c: float) -> np.ndarray:
    from sklearn.svm import LinearSVR

    count = len(stack)
    if count < 2:
        raise ZooError(f"a dynamic image tells the order of frames; {count} of them have none")
    means = np.cumsum(stack.reshape(count, -1), 0) / np.arange(1, count + 1)[:, None]
    means /= max(float(np.linalg.norm(means, axis=1).mean()), 1e-12)  # the regression's C has a meaning at length 1
    middle = means.mean(0)
    # the weights lie in the span of the means: so many numbers instead of one per pixel, with the same lengths and angles
    left, size, basis = np.linalg.svd(means - middle, full_matrices=False)
    regression = LinearSVR(C=c, epsilon=0.1, loss="squared_epsilon_insensitive", dual=True, max_iter=100_000, tol=1e-6)
    regression.fit(left * size, np.arange(1, count + 1, dtype=np.float64))
    return (regression.coef_ @ basis).reshape(stack.shape[1:]).astype(np.float32)
