"""Frames whose small motion was made large before anything is measured in them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from zoo.errors import ZooError
from zoo.inputs.motion import key_frames
from zoo.types import Clip, InputSpec, Interval


def magnified_pair(clip: Clip, spec: InputSpec) -> Clip:
    """Onset and apex, the motion between them ``spec.magnify`` times as large; the clip itself where that is 1.

    The linear Eulerian method (Wu et al., SIGGRAPH 2012) is run over the frames from onset to apex: the onset stays, and the apex
    is the last frame. Its filter passes 0.4 to 5 Hz, about six tenths of a micro-expression.

    Args:
        clip: aligned frames, the interval within them, and the frame rate, which the filter needs.
        spec: of the network.

    Raises:
        ZooError: no frames, no interval, or no frame rate.
    """
    if spec.magnify == 1:
        return clip
    key_frames(clip)
    assert clip.frames is not None and clip.interval is not None
    if clip.fps is None:
        raise ZooError(
            f"clip {clip.key} has no frame rate, which magnifying its motion needs (magnify {spec.magnify:g}): name it, or take "
            f"a network whose input has magnify 1"
        )
    from zoo.magnification.magnify import magnify

    frames = np.stack([_colours(clip.frames[i]) for i in range(clip.interval.onset, clip.interval.apex + 1)])
    made = magnify(frames, clip.fps, method="eulerian", alpha=spec.magnify)
    return replace(clip, frames=[frames[0], made[-1]], interval=Interval(onset=0, apex=1, offset=1), flow_map=None)


def _colours(frame: np.ndarray) -> np.ndarray:
    return frame if frame.ndim == 3 else np.repeat(frame[..., None], 3, axis=2)
