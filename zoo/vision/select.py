"""Which frames stand for an expression."""

from __future__ import annotations

from typing import Literal, assert_never, get_args

import numpy as np

from zoo.errors import ZooError
from zoo.types import Interval

Choice = Literal["onset_apex", "onset_apex_offset", "even", "through_apex"]


def select(interval: Interval, choice: Choice, count: int | None = None, *, n_frames: int | None = None) -> np.ndarray:
    """Numbers of the frames that a choice takes of an expression, in order of time.

    ``onset_apex`` and ``onset_apex_offset``: the key frames. ``even``: ``count`` frames evenly spaced from onset to offset.
    ``through_apex``: ``count`` of them of which one is the apex: evenly spaced from onset to apex and from apex to offset, shared
    out as the lengths of the two halves are.

    Reading: where no offset is known, the rise to the apex is all there is (``onset_apex_offset`` is refused). Where there
    are fewer frames than are wanted, some are taken twice.

    Args:
        interval: when it happens.
        choice: see above.
        count: frames wanted, for ``even`` at least 2, for ``through_apex`` at least 3 (2 without an offset).
        n_frames: length of the clip, to check against.

    Shapes: -> int ``[count]``, or 2 or 3 key frames.

    Raises:
        ZooError: the interval is out of order or beyond the clip; the offset is not known; ``count`` is missing or too small.
    """
    if choice not in get_args(Choice):
        raise ZooError(f"there is no choice of frames {choice!r}; known: {', '.join(get_args(Choice))}")
    onset, apex, offset = interval.onset, interval.apex, interval.offset
    last = apex if offset is None else offset
    if not 0 <= onset < apex <= last or (n_frames is not None and last >= n_frames):
        beyond = "" if n_frames is None else f" of 0..{n_frames - 1}"
        raise ZooError(
            f"onset {onset}, apex {apex}, offset {offset}: they must be frames{beyond} in this order, onset before apex"
        )
    match choice:
        case "onset_apex":
            return np.array([onset, apex])
        case "onset_apex_offset":
            if offset is None:
                raise ZooError("the offset is not known: choose onset_apex, or give an interval with an offset")
            return np.array([onset, apex, offset])
        case "even":
            return np.rint(np.linspace(onset, last, _wanted(count, 2, choice))).astype(int)
        case "through_apex":
            wanted = _wanted(count, 2 if last == apex else 3, choice)
            rise = wanted - 1 if last == apex else round((wanted - 1) * (apex - onset) / (last - onset))
            rise = wanted - 1 if last == apex else min(max(rise, 1), wanted - 2)
            up, down = np.linspace(onset, apex, rise + 1), np.linspace(apex, last, wanted - rise)
            return np.rint(np.concatenate([up, down[1:]])).astype(int)
        case _:
            assert_never(choice)


def _wanted(count: int | None, least: int, choice: str) -> int:
    if count is None or count < least:
        raise ZooError(f"count is {count}; the choice {choice} wants at least {least} frames")
    return count
