"""AU scripts played on a portrait: the skin slides, the head drifts, light and sensor waver, eyes blink; all of it known.

What this cannot show: folds and shading of the skin, teeth behind lips that part, eyeballs behind lids that close.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import cv2
import numpy as np

from zoo.errors import ZooError
from zoo.synthesis.fields import FaceFields, Movement
from zoo.synthesis.portraits import Portrait
from zoo.synthesis.script import AUScript
from zoo.types import Interval
from zoo.vision.landmarks import map_points
from zoo.vision.resample import arrivals

# A portrait is made this many times larger by a quintic spline, once, and read linearly from then on. Odd, so that a face at
# rest reads its own pixels; a shift of a tenth of a pixel comes out within a hundredth.
_FINER = 3
_BLINK: Movement = (45, "both")


@dataclass(frozen=True, kw_only=True)
class Nuisance:
    """What wavers beside the expression."""

    drift: float = 0.3  # step of the head's walk, percent of the distance between the eyes per 10 ms
    rotation: float = 0.15  # deviation of its roll, degrees
    gain: float = 0.01  # deviation of the light's strength
    noise: float = 2.0  # deviation of the sensor's noise, in grey values of 255
    blinks: float = 0.1  # probability of a blink in a clip; per three seconds of a long video

    @classmethod
    def none(cls) -> Nuisance:
        """Nothing but the expression."""
        return cls(drift=0.0, rotation=0.0, gain=0.0, noise=0.0, blinks=0.0)


@dataclass(frozen=True, kw_only=True)
class Event:
    """A script, placed in time."""

    script: AUScript
    start: float  # ms from the first frame
    interval: Interval  # in frames


@dataclass(frozen=True, kw_only=True, eq=False)
class Course:
    """What happens in every frame."""

    fps: float
    amplitudes: Mapping[Movement, np.ndarray]  # each float [T], share of the full displacement
    head: np.ndarray  # float [T, 3]: shift right and down in pixels, roll in degrees (clockwise in the picture)
    gain: np.ndarray  # float [T]
    noise: float
    seed: int  # of the noise
    events: tuple[Event, ...] = ()
    blinks: tuple[Interval, ...] = field(default=())

    def __len__(self) -> int:
        return len(self.gain)

    def still(self) -> Course:
        """The same expressions, of a head that does not move."""
        return replace(self, head=np.zeros_like(self.head))

    def to_dict(self) -> dict[str, Any]:
        """JSON-plain form, without the courses in time."""
        return {
            "fps": self.fps,
            "frames": len(self),
            "events": [{**e.script.to_dict(), "start_ms": e.start, **_frames(e.interval)} for e in self.events],
            "blinks": [_frames(b) for b in self.blinks],
            "noise": self.noise,
            "noise_seed": self.seed,
        }


def _frames(interval: Interval) -> dict[str, int | None]:
    return {"onset": interval.onset, "apex": interval.apex, "offset": interval.offset}


def plan(
    scripts: Sequence[tuple[float, AUScript]],
    *,
    frames: int,
    fps: float,
    interocular: float,
    rng: np.random.Generator,
    nuisance: Nuisance | None = None,
) -> Course:
    """Lay scripts, blinks, head motion and light out over time.

    Args:
        scripts: each with the millisecond at which it starts.
        frames: how many.
        fps: frames per second.
        interocular: distance between the eyes, pixels.
        rng: where chance comes from.
        nuisance: what wavers beside the scripts.

    Raises:
        ZooError: a script that reaches beyond the last frame.
    """
    if frames < 2 or fps <= 0:
        raise ZooError(f"{frames} frames at {fps} frames/s cannot show a motion; at least 2 are needed")
    wavers = nuisance or Nuisance()
    times = np.arange(frames) * 1000 / fps
    amplitudes: dict[Movement, np.ndarray] = {}
    events = []
    for start, script in scripts:
        whole = round(start * fps / 1000)  # a script starts on a frame, so that its interval is exact
        local = script.interval(fps)
        assert local.offset is not None
        interval = Interval(
            onset=whole + local.onset, apex=whole + local.apex, offset=whole + local.offset, source="synthetic"
        )
        if whole + local.offset >= frames:
            raise ZooError(
                f"a script ends in frame {whole + local.offset}, but there are {frames}; make the video longer"
            )
        begin = whole * 1000 / fps
        for movement, course in script.amplitudes(times - begin).items():
            amplitudes[movement] = np.maximum(amplitudes.get(movement, 0.0), course)
        events.append(Event(script=script, start=begin, interval=interval))
    blinks = _blinks(rng, events, frames, fps, wavers.blinks)
    for blink in blinks:
        assert blink.offset is not None
        shape = np.interp(np.arange(frames), [blink.onset, blink.apex, blink.offset], [0.0, 1.0, 0.0])
        course = 0.5 - 0.5 * np.cos(np.pi * shape)
        amplitudes[_BLINK] = np.maximum(amplitudes.get(_BLINK, 0.0), course)
    shift = wavers.drift / 100 * interocular
    head = np.stack([_walk(rng, times, shift), _walk(rng, times, shift), _waver(rng, times, wavers.rotation)], 1)
    return Course(
        fps=fps,
        amplitudes=amplitudes,
        head=head,
        gain=1 + _waver(rng, times, wavers.gain),
        noise=wavers.noise,
        seed=int(rng.integers(2**31)),
        events=tuple(events),
        blinks=blinks,
    )


def _blinks(
    rng: np.random.Generator, events: Sequence[Event], frames: int, fps: float, probability: float
) -> tuple[Interval, ...]:
    """Blinks of 150 to 300 ms; never while an action unit opens or closes the lids."""
    out: list[Interval] = []
    chances = max(1, round(frames / fps / 3))
    for k in range(chances):
        wanted, length, place = rng.random() < probability, rng.uniform(0.15, 0.3), rng.random()
        last = max(3, round(length * fps))
        room = frames / chances
        onset = round(k * room + place * max(room - last, 0))
        blink = Interval(onset=onset, apex=onset + max(1, round(0.4 * last)), offset=onset + last, source="synthetic")
        lids = [e.interval for e in events if e.script.aus & {5, 43, 45, 46}]
        free = all(onset + last < i.onset or (i.offset or 0) < onset for i in lids)
        if wanted and free and onset + last < frames and (not out or (out[-1].offset or 0) < onset):
            out.append(blink)
    return tuple(out)


def _walk(rng: np.random.Generator, times: np.ndarray, step: float) -> np.ndarray:
    """A walk with steps of that deviation per 10 ms, pulled home within seconds, smooth in between; it starts at home."""
    grid = np.arange(0, times[-1] + 60, 10.0)
    steps = step * rng.standard_normal(len(grid))
    walk = np.zeros(len(grid))
    for i in range(1, len(grid)):
        walk[i] = 0.995 * walk[i - 1] + steps[i]
    return _smooth(times, grid, walk)


def _waver(rng: np.random.Generator, times: np.ndarray, deviation: float) -> np.ndarray:
    """Slow noise of that deviation (memory of a second); it starts at zero."""
    grid = np.arange(0, times[-1] + 60, 10.0)
    steps = rng.standard_normal(len(grid))
    course = np.zeros(len(grid))
    for i in range(1, len(grid)):
        course[i] = 0.99 * course[i - 1] + np.sqrt(1 - 0.99**2) * steps[i]
    return _smooth(times, grid, deviation * course)


def _smooth(times: np.ndarray, grid: np.ndarray, values: np.ndarray) -> np.ndarray:
    kernel = np.hanning(9)[1:-1]
    padded = np.convolve(np.pad(values, 3, mode="edge"), kernel / kernel.sum(), mode="valid")
    out: np.ndarray = np.interp(times, grid, padded - padded[0])
    return out


class Player:
    """One portrait, ready to play.

    Args:
        portrait: framed to the size of the video.
        fields: how its face moves; by the table of landmarks if not given.
    """

    def __init__(self, portrait: Portrait, fields: FaceFields | None = None) -> None:
        from scipy.interpolate import RectBivariateSpline

        self.portrait = portrait
        height, width = portrait.picture.shape[:2]
        self.shape = (height, width)
        self.fields = fields or FaceFields(portrait.landmarks, self.shape)
        rows = np.clip((np.arange(height * _FINER) + 0.5) / _FINER - 0.5, 0, height - 1)
        columns = np.clip((np.arange(width * _FINER) + 0.5) / _FINER - 0.5, 0, width - 1)
        finer = [
            RectBivariateSpline(np.arange(height), np.arange(width), channel, kx=5, ky=5)(rows, columns)
            for channel in np.moveaxis(portrait.picture.astype(np.float64), 2, 0)
        ]
        self._finer = np.ascontiguousarray(np.stack(finer, -1), np.float32)
        y, x = np.mgrid[:height, :width].astype(np.float32)
        self._grid = np.stack([x, y])  # [2, H, W]
        self._middle = portrait.landmarks.mean(0)

    @property
    def interocular(self) -> float:
        """Distance between the eyes, in pixels."""
        return self.fields.interocular

    def frame(self, course: Course, index: int) -> np.ndarray:
        """One frame as the camera gives it. Shapes: uint8 ``[H, W, 3]`` RGB."""
        x, y = (self._sources(course, index) + 0.5) * _FINER - 0.5
        seen = cv2.remap(self._finer, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        picture = np.asarray(seen, np.float32)
        picture *= np.float32(course.gain[index])
        if course.noise > 0:
            rng = np.random.default_rng([course.seed, index])
            picture += np.float32(course.noise) * rng.standard_normal(picture.shape, np.float32)
        out: np.ndarray = cv2.convertScaleAbs(np.maximum(picture, 0, out=picture))  # rounds, and stops at 255
        return out

    def frames(self, course: Course) -> Iterator[np.ndarray]:
        """All frames in order."""
        return (self.frame(course, index) for index in range(len(course)))

    def flow(self, course: Course, first: int, second: int) -> np.ndarray:
        """True motion of each pixel of one frame until another. Shapes: float32 ``[2, H, W]`` dx, dy in pixels."""
        start = self._sources(course, first)
        leaves = -arrivals(-self._deformation(course, second))  # from the still face, where its skin goes
        at = start + np.stack([_read(plane, *start) for plane in leaves])
        return _carry(self._pose(course, second), at) - self._grid

    def landmarks(self, course: Course, index: int) -> np.ndarray:
        """True landmarks of one frame. Shapes: ``[68, 2]`` in pixels."""
        field = self._deformation(course, index)
        still = self.portrait.landmarks.astype(np.float32).T
        moved = still
        for _ in range(30):  # a field is read at the place of arrival
            moved = still + np.stack([_read(plane, *moved).ravel() for plane in field])
        return map_points(self._pose(course, index), moved.T.astype(np.float64))

    def _deformation(self, course: Course, index: int) -> np.ndarray:
        return self.fields.dense({m: a[index] for m, a in course.amplitudes.items() if a[index] > 0})

    def _pose(self, course: Course, index: int) -> np.ndarray:
        """Of the head: from the still portrait to the frame. Shapes: ``[2, 3]``."""
        right, down, roll = course.head[index]
        cosine, sine = np.cos(np.radians(roll)), np.sin(np.radians(roll))
        linear = np.array([[cosine, -sine], [sine, cosine]])
        return np.column_stack([linear, self._middle - linear @ self._middle + [right, down]])

    def _sources(self, course: Course, index: int) -> np.ndarray:
        """Where in the portrait each pixel of the frame was. Shapes: float32 ``[2, H, W]`` x, y."""
        back = np.asarray(cv2.invertAffineTransform(self._pose(course, index)))
        base = _carry(back, self._grid)
        if not any(a[index] > 0 for a in course.amplitudes.values()):
            return base
        field = self._deformation(course, index)
        if np.any(course.head[index]):
            field = np.stack([_read(plane, *base) for plane in field])
        return base - field


def _read(plane: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """A smooth field between its pixels. Shapes: ``[H, W]``, twice any ``[...]`` -> float32 ``[...]``."""
    found = cv2.remap(plane, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(found, np.float32)


def _carry(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Shapes: ``[2, 3]``, float32 ``[2, H, W]`` -> float32 ``[2, H, W]``."""
    m = matrix.astype(np.float32)
    return np.stack([m[i, 0] * points[0] + m[i, 1] * points[1] + m[i, 2] for i in (0, 1)])
