"""Where each frame of a video file lies: counted from the packets, without decoding a picture."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, eq=False)
class FrameIndex:
    """Time stamps of the frames in the order in which they are shown, and of those that can be decoded alone."""

    stamps: np.ndarray  # int64 [T], in units of the stream's clock
    keys: np.ndarray  # int64 [K]
    second: float  # one unit of that clock, in seconds

    def times(self) -> np.ndarray:
        """Seconds from the first frame. Shapes: float64 ``[T]``."""
        seconds: np.ndarray = (self.stamps - self.stamps[0]) * self.second
        return seconds


def frame_index(container: Any) -> FrameIndex | None:
    """Read all packets of the first video stream; None where they carry no time of their own, so that only counting helps."""
    stream = container.streams.video[0]
    if stream.codec_context.name == "vp8":  # some of its packets hold pictures that are never shown
        return None
    stamps, keys = [], []
    for packet in container.demux(stream):
        if not packet.size or packet.is_discard or packet.is_corrupt:  # an edit list hides what it discards
            continue
        if packet.pts is None:
            return None
        if packet.is_keyframe:
            keys.append(packet.pts)
        stamps.append(packet.pts)
    if not keys or len(set(stamps)) < len(stamps):
        return None
    shown = np.sort(np.array(stamps, np.int64))
    start = keys[0]  # what comes before cannot be decoded
    return FrameIndex(shown[shown >= start], np.sort(np.array(keys, np.int64)), float(stream.time_base))


def pictures_from(open_file: Callable[[], Any], index: FrameIndex, start: int, stop: int) -> Iterator[tuple[int, Any]]:
    """Numbers and decoded pictures of frames ``start`` to ``stop - 1``, decoding from the nearest key frame on.

    Ends early where the file does not give what its packets promised; the caller notices by the count.
    """
    wanted = int(index.stamps[start])
    key, back = int(np.searchsorted(index.keys, wanted, "right")) - 1, 1
    while True:  # some containers jump too far: begin one, two, four… key frames earlier, at last at the beginning
        with open_file() as container:
            stream = container.streams.video[0]
            if key > 0:
                container.seek(int(index.keys[key]), stream=stream)
            pictures = (picture for packet in container.demux(stream) for picture in packet.decode())
            picture = next((p for p in pictures if p.pts is not None and p.pts >= wanted), None)
            if key <= 0 or (picture is not None and picture.pts == wanted):
                for number in range(start, stop):
                    if picture is None or picture.pts != index.stamps[number]:
                        return
                    yield number, picture
                    picture = next(pictures, None) if number + 1 < stop else None
                return
        key, back = max(0, key - back), back * 2


class Steps:
    """Distances in time between frames, summed up as they come: is the rate constant?"""

    def __init__(self) -> None:
        self._least, self._most, self._first, self._last, self._count = np.inf, 0.0, 0.0, 0.0, -1

    def add(self, time: float) -> None:
        """The next frame's time, in seconds."""
        if self._count < 0:
            self._first = time
        else:
            self._least, self._most = min(self._least, time - self._last), max(self._most, time - self._last)
        self._last = time
        self._count += 1

    def remark(self) -> str | None:
        """What to tell where steps differ by more than half from their mean; containers that round to 1 ms do not."""
        if self._count < 2:
            return None
        mean = (self._last - self._first) / self._count
        slack = 0.0011
        if self._most <= 1.5 * mean + slack and self._least >= 0.5 * mean - slack:
            return None
        return (
            f"the frame rate varies: {1000 * self._least:.0f} to {1000 * self._most:.0f} ms between frames, "
            f"{1000 * mean:.0f} ms on average; times are the file's own, the rate is their mean"
        )
