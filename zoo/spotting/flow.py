"""Intervals by following the parts of the face: what leaves its resting place and comes back is an expression.

The place of each part is measured against a reference face that is renewed every second, and the steps are added up, so that
the signal is a path and not a speed: an expression is one bump of it, from onset to offset, with the apex on top.
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter1d, maximum_filter1d, median_filter

from zoo.spotting.events import Curve, Found, kind_of, runs
from zoo.spotting.regions import moved, names
from zoo.spotting.stream import SteadyFace

RATE = 50.0  # measurements per second, at most
RENEW_SECONDS = 1.0  # age of the reference
REST_SECONDS = 10.0  # window whose median is the resting place
BRIEF_SECONDS = 4.0  # of a stretch that is too short to show its rest: it is taken to begin with it
LEAST_SECONDS = 0.7  # of a stretch between two losses of the face; a shorter one is not judged
SMOOTH_SECONDS = 0.04  # standard deviation
WINDOW_SECONDS = 30.0  # looked at together
SETTLE_SECONDS = 4.0  # an event is told once that much has been seen after it
FASTEST, SLOWEST = 0.08, 6.0  # seconds of an expression; shorter is a glitch, longer a change of pose
TOP = 3  # parts that count, those farthest from rest
FLOOR = 0.25  # % of the distance between the eyes: below this it is noise and compression
OVER_REST = 2.5  # times the quiet level
OVER_HEAD = 0.1  # times the movement of the head within half a second: a turning head bends every flow
EDGE = 0.2  # of the peak: where the flanks are read
FLANK = 1.2  # times the way from half to that: where a flank that levels off begins


class FlowSpotter:
    """Find expressions in a stream of steady faces, while it runs.

    Memory: the measurements of the last 30 s, and one number per measurement for the curve.

    Args:
        fps: frames per second.
        settle: seconds after an event until it is told; more lets long expressions be seen whole.
        look: seconds between two looks for events.

    Attributes:
        strongest: frame and amplitude of the largest excursion told so far, above the threshold or not; None at first.
    """

    def __init__(self, fps: float, *, settle: float = SETTLE_SECONDS, look: float = 1.0) -> None:
        self.fps = fps
        self.step = max(1, round(fps / RATE))
        self.settle, self.look = settle, look
        self._rate = fps / self.step
        self._reference: SteadyFace | None = None
        self._base = np.zeros((len(names()), 2), np.float32)
        self._index: list[int] = []
        self._path: list[np.ndarray] = []
        self._head: list[np.ndarray] = []
        self._head_base = np.zeros(2, np.float32)
        self._segment: list[int] = []
        self._told = -1  # last frame of the last event
        self._done: list[tuple[int, float, float]] = []  # frame, amplitude, threshold
        self._fresh = 0  # measurements since the last look
        self.strongest: tuple[int, float] | None = None

    def add(self, face: SteadyFace) -> list[Found]:
        """Take the next face; gives the events that have become certain by it, mostly none."""
        if self._index and face.index - self._index[-1] < self.step:
            return []
        reference = self._reference
        if reference is None or face.segment != reference.segment:
            self._reference, local, head = face, np.zeros_like(self._base), np.zeros(2, np.float32)
        else:
            local, head = moved(reference.small, face.small)
        self._index.append(face.index)
        self._path.append(self._base + local)
        self._head.append(self._head_base + head)
        self._segment.append(face.segment)
        assert self._reference is not None
        if face.index - self._reference.index >= RENEW_SECONDS * self.fps:
            self._base, self._head_base = self._base + local, self._head_base + head
            self._reference = face
        self._fresh += 1
        if self._fresh < self.look * self._rate or len(self._index) < (self.settle + 1) * self._rate:
            return []
        self._fresh = 0
        return self._look(self.settle)

    def finish(self) -> list[Found]:
        """The events that were still waiting at the end of the stream."""
        return self._look(0.0)

    def curve(self, n_frames: int) -> Curve:
        """Amplitude and threshold for each frame, NaN where none was measured; between measurements, the line that joins them."""
        values, line = np.full(n_frames, np.nan, np.float32), np.full(n_frames, np.nan, np.float32)
        if self._done:
            at, a, t = (np.array(column) for column in zip(*self._done, strict=True))
            values[at], line[at] = a, t
            if self.step > 1:
                for first, last in runs(np.diff(at) <= 2 * self.step):
                    inside = np.arange(at[first], at[last + 1] + 1)
                    values[inside], line[inside] = np.interp(inside, at, a), np.interp(inside, at, t)
        return Curve(name="distance from rest, % of the distance between the eyes", values=values, threshold=line)

    def _look(self, settle: float) -> list[Found]:
        if len(self._index) < 2:
            return []
        index, segment = np.array(self._index), np.array(self._segment)
        amplitude, turning = np.zeros(len(index)), np.zeros(len(index))
        path, head = np.stack(self._path), np.stack(self._head)
        # a gap (no face) ends a stretch as a new alignment does
        breaks = np.flatnonzero((np.diff(segment) != 0) | (np.diff(index) > 5 * self.step)) + 1
        stretches = list(zip([0, *breaks], [*breaks, len(index)], strict=True))
        for first, last in stretches:
            amplitude[first:last] = _amplitude(path[first:last], self._rate)
            turning[first:last] = _turning(head[first:last], self._rate)
        quiet = 0.1 if index[-1] - index[0] < BRIEF_SECONDS * self.fps else 0.3  # share of the time spent at rest
        rest = float(np.quantile(amplitude, quiet))
        line = np.maximum(max(FLOOR, OVER_REST * rest), OVER_HEAD * turning)
        end = index[-1] - settle * self.fps
        events = []
        for first, last in stretches:
            if len(stretches) > 1 and index[last - 1] - index[first] < LEAST_SECONDS * self.fps:
                continue
            for event in _excursions(index[first:last], amplitude[first:last], line[first:last], rest, self.fps):
                if event.onset > self._told and event.offset <= end:
                    events.append(event)
                    self._told = event.offset
        known = self._done[-1][0] if self._done else -1
        told = int(np.searchsorted(index, end, side="right"))
        fresh = [
            (int(i), float(a), float(t))
            for i, a, t in zip(index[:told], amplitude[:told], line[:told], strict=True)
            if i > known
        ]
        self._done += fresh
        for frame, value, _ in fresh:
            if self.strongest is None or value > self.strongest[1]:
                self.strongest = frame, value
        keep = round(WINDOW_SECONDS * self._rate)
        for column in (self._index, self._path, self._head, self._segment):
            del column[:-keep]
        return events


def _amplitude(path: np.ndarray, rate: float) -> np.ndarray:
    """Distance from rest, mean of the parts that are farthest from theirs. Shapes: ``[n, 14, 2]`` -> ``[n]``."""
    flat = path.reshape(len(path), -1)
    if len(path) <= BRIEF_SECONDS * rate:
        return _top(gaussian_filter1d(flat - flat[:1], SMOOTH_SECONDS * rate, axis=0, mode="nearest"))
    skip = max(1, int(rate // 10))  # the resting place changes slowly
    thin = flat[::skip]
    window = min(2 * (round(REST_SECONDS * rate / skip) // 2) + 1, 2 * len(thin) - 1)
    rest = median_filter(thin, size=(window, 1), mode="reflect")
    at, known = np.arange(len(flat)), np.arange(len(thin)) * skip
    away = flat - np.stack([np.interp(at, known, column) for column in rest.T], 1)
    away = gaussian_filter1d(away, SMOOTH_SECONDS * rate, axis=0, mode="nearest")
    return _top(away)


def _top(away: np.ndarray) -> np.ndarray:
    distance = np.linalg.norm(away.reshape(len(away), -1, 2), axis=2)
    found: np.ndarray = np.sort(distance, axis=1)[:, -TOP:].mean(1)
    return found


def _turning(head: np.ndarray, rate: float) -> np.ndarray:
    """How far the head moves within half a second, at its most within a quarter of a second. Shapes: ``[n, 2]`` -> ``[n]``."""
    half = max(1, round(0.25 * rate))
    at = np.arange(len(head))
    step = head[np.minimum(at + half, len(head) - 1)] - head[np.maximum(at - half, 0)]
    return maximum_filter1d(np.linalg.norm(step, axis=1), 2 * half + 1)


def _excursions(index: np.ndarray, amplitude: np.ndarray, line: np.ndarray, rest: float, fps: float) -> list[Found]:
    """Bumps that rise above the line, with their flanks drawn down to the quiet level.

    One that has not come down by half at both sides before the stretch ends is not seen whole, and not told.
    """
    found: list[Found] = []
    for first, last in runs(amplitude > line, least=2):
        apex = first + int(np.argmax(amplitude[first : last + 1]))
        height = amplitude - 1.2 * rest
        half = 0.5 * height[apex]
        if height[:apex].min(initial=np.inf) > half or height[apex + 1 :].min(initial=np.inf) > half:
            continue
        onset = _foot(height, apex, -1, index)
        offset = _foot(height, apex, +1, index)
        if found and onset <= found[-1].offset:
            if onset <= found[-1].apex:
                continue  # the same bump, notched by noise
            onset = found[-1].offset + 1
        seconds = (offset - onset + 1) / fps
        if FASTEST <= seconds <= SLOWEST and onset < index[apex] <= offset:
            score = float(amplitude[apex] / line[apex])
            kind = kind_of(onset, offset, fps)
            found.append(Found(onset=onset, apex=int(index[apex]), offset=offset, kind=kind, score=score))
    return found


def _foot(height: np.ndarray, apex: int, way: int, index: np.ndarray) -> int:
    """Frame at which a flank leaves rest, drawn on from its middle and its lower part as flanks of a cosine go.

    A flank that turns up again above its lower part ends where it turns.
    """
    peak, at = height[apex], apex
    middle: float | None = None
    lower: float | None = None
    while lower is None and 0 <= at + way < len(height):
        here, there = height[at], height[at + way]
        if there > here and middle is not None and there > height[at - way]:
            break
        crossing = [at + way * (here - part * peak) / max(here - there, 1e-9) for part in (0.5, EDGE)]
        if middle is None and there < 0.5 * peak <= here:
            middle = crossing[0]
        if there < EDGE * peak <= here:
            lower = crossing[1]
        at += way
    if lower is not None and middle is not None:
        foot = lower + (lower - middle) * FLANK
    else:
        foot = float(at)
    place = float(np.interp(foot, np.arange(len(index)), index))
    return round(place)
