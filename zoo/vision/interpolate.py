"""A clip of another length: by the temporal interpolation model, and by straight lines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, assert_never, get_args

import numpy as np

from zoo.errors import ZooError

Interpolation = Literal["tim", "linear"]


def weights(given: int, wanted: int, method: Interpolation = "tim") -> np.ndarray:
    r"""How much each given frame counts in each wanted one.

    ``tim``: the temporal interpolation model (Zhou, Zhao, Pietikäinen, CVPR 2011; Pfister et al., ICCV 2011). It embeds the
    frames as a path graph, whose Laplacian's eigenvectors :math:`y_k(i) = \sin(\pi k i / n + \pi (n - k) / 2n)` lie on a curve
    in t = i / n, and maps that curve back to pictures. All of this is linear in the frames: mapping back inverts the embedding,
    so the singular vectors of the data cancel, and the frame at t is
    :math:`\sum_i (\tfrac1n + \sum_k \hat y_k(t) \hat y_k(i)) x_i` with the eigenvectors at unit length. Hence the weights
    depend on the lengths alone, and linearly dependent or equal frames, where the published form has to invert a singular
    matrix, are no exception. The wanted frames are evenly spaced from t = 1/n to 1. Two frames have only the line between
    them, which is walked evenly.

    ``linear``: between neighbours.

    Args:
        given: number of frames n.
        wanted: number of frames.
        method: see above.

    Shapes: -> float64 ``[wanted, given]``; each row sums to 1. A single frame is repeated.

    Raises:
        ZooError: a length below 1; no such method.
    """
    if given < 1 or wanted < 1:
        raise ZooError(f"{given} frames cannot become {wanted}; both must be at least 1")
    if method not in get_args(Interpolation):
        raise ZooError(f"there is no interpolation {method!r}; known: {', '.join(get_args(Interpolation))}")
    places = np.linspace(0, given - 1, wanted)  # in frames from the first
    match method if given > 2 else "linear":
        case "linear":
            return np.maximum(0, 1 - np.abs(places[:, None] - np.arange(given)))
        case "tim":
            k = np.arange(1, given)

            def curve(t: np.ndarray) -> np.ndarray:
                return np.sin(np.pi * np.outer(t, k) + np.pi * (given - k) / (2 * given)) * np.sqrt(2 / given)

            nodes = curve(np.arange(1, given + 1) / given)
            return 1 / given + curve((places + 1) / given) @ nodes.T
        case _:
            assert_never(method)


def interpolate(frames: Sequence[np.ndarray] | np.ndarray, count: int, method: Interpolation = "tim") -> np.ndarray:
    """The clip with ``count`` frames from the first to the last.

    Args:
        frames: of one size.
        count: how many are wanted (10, 15 and 20 are usual).
        method: see :func:`weights`.

    Shapes: ``[n, ...]`` -> ``[count, ...]``; uint8 stays uint8 (rounded, cut off at 0 and 255), all else becomes float32.

    Raises:
        ZooError: as :func:`weights`; frames of unequal sizes or not finite.
    """
    shapes = {np.shape(frame) for frame in frames}
    if len(shapes) > 1:
        raise ZooError(f"frames of unequal sizes: {', '.join(map(str, sorted(shapes)))}")
    stack = np.asarray(frames)
    if stack.dtype.kind == "f" and not np.isfinite(stack).all():
        bad = [i for i, frame in enumerate(stack) if not np.isfinite(frame).all()]
        raise ZooError(f"frames that are not finite: {', '.join(map(str, bad[:10]))}")
    out = np.tensordot(weights(len(stack), count, method), stack.astype(np.float64), 1)
    if stack.dtype == np.uint8:
        return np.clip(np.rint(out), 0, 255).astype(np.uint8)
    return out.astype(np.float32)
