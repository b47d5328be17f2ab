"""A simple apex finder: the moment at which the face has moved most.

It measures motion, not expression: a spoken word, or a turn of the head that the alignment did not follow, scores too.
Its answer is a proposal, given with its curve and with a plain statement of whether there is a clear peak at all.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache

import cv2
import numpy as np

from zoo.errors import FaceError
from zoo.facs import geometry
from zoo.types import Interval
from zoo.vision.flow import optical_flow
from zoo.vision.track import AlignedFace

MOTION_SIZE = 112  # px at which motion is measured
SHORT_SECONDS, SHORT_FRAMES = 1.0, 200  # up to here a clip is taken to hold one expression
LAG_SECONDS, ASSUMED_FPS = 0.25, 30.0  # onset to apex of a typical micro-expression
CLEAR = 2.0  # a peak stands out if it is this many times the quiet level
LARGE = 8.0  # % likewise: three times what a full smile moves on average; more is a head, a hand or speech
NOISE = 0.2  # % of the distance between the eyes: motion below this is sensor noise and compression


@dataclass(frozen=True, kw_only=True, eq=False)
class Spotted:
    """What the finder saw."""

    interval: Interval
    onset_face: np.ndarray  # uint8 [H, W, 3]
    apex_face: np.ndarray  # uint8 [H, W, 3]
    curve: np.ndarray  # float32 [n], per frame: motion in % of the distance between the eyes, NaN where not measured
    lag: int | None  # frames between the two compared; None: every frame was compared with the first
    prominence: float  # peak over quiet level
    clear: bool
    notes: tuple[str, ...] = ()


@dataclass
class _Curve:
    """Motion by frame, and the best peak so far with the pair of faces that made it.

    A peak is a local maximum of the motion averaged over 3 frames. One that is too large for skin, or that lies at the
    end of a stretch (where ``edges`` are not trusted), is taken only for want of another. A face that relaxes moves as
    much as it did before, so a peak that undoes one of the last ``relaxing`` frames is not taken for a new expression.
    """

    edges: bool
    relaxing: int = 0
    values: dict[int, float] = field(default_factory=dict)
    pair: tuple[AlignedFace, AlignedFace] | None = None
    _rank: tuple[bool, bool, float] = (False, False, -1.0)
    _waiting: list[tuple[AlignedFace, AlignedFace]] = field(default_factory=list)

    def add(self, start: AlignedFace, end: AlignedFace, value: float) -> None:
        self.values[end.index] = value
        while self._waiting and self._waiting[0][1].index <= end.index - 2:  # all that its rank depends on is known now
            self._weigh(self._waiting.pop(0))
        self._waiting.append((start, end))

    def finish(self) -> None:
        while self._waiting:
            self._weigh(self._waiting.pop(0))

    def smooth(self, at: int) -> float | None:
        near = [self.values[i] for i in (at - 1, at, at + 1) if i in self.values]
        return float(np.mean(near)) if at in self.values else None

    def _weigh(self, pair: tuple[AlignedFace, AlignedFace]) -> None:
        at = pair[1].index
        here, sides = self.smooth(at) or 0.0, (self.smooth(at - 1), self.smooth(at + 1))
        peak = all(self.edges if side is None else here >= side for side in sides)
        rank = (self.values[at] <= LARGE, peak, here)
        if rank > self._rank and not (rank[:2] == self._rank[:2] and self._undoes(pair, here)):
            self._rank, self.pair = rank, pair

    def _undoes(self, pair: tuple[AlignedFace, AlignedFace], here: float) -> bool:
        if (
            self.pair is None
            or pair[0].index < self.pair[0].index
            or pair[1].index > self.pair[1].index + self.relaxing
        ):
            return False
        if here > 1.5 * self._rank[2]:
            return False
        old, new = (skin_flow(_small(a), _small(b)).ravel() for a, b in (self.pair, pair))
        return float(old @ new) < -0.3 * float(np.linalg.norm(old) * np.linalg.norm(new))


def spot_apex(
    faces: Iterable[AlignedFace], *, fps: float | None, onset: int | None = None, apex: int | None = None
) -> Spotted:
    """Find onset and apex in a stream of aligned faces.

    A short clip (up to 1 s; without a frame rate, up to 200 frames) is taken to begin neutral: each frame is compared
    with the first of its segment, and the apex is where the motion, averaged over 3 frames, is largest. In a longer
    stream each frame is compared with the one 0.25 s before; onset and apex are the pair that moved most. Peaks larger
    than skin can move are passed over where there are others; so is the return that follows an expression. Frames of
    different segments are never compared. Memory: the faces of the first second, then those of 0.25 s.

    Args:
        faces: in order of time.
        fps: frames per second; None if unknown (the lag of a long stream is then that of 30 frames/s, and said).
        onset: given by the user: the apex is sought within the second after it, unless given too. The stream must begin
            there.
        apex: given by the user, together with ``onset``.

    Raises:
        FaceError: no two frames could be compared.
    """
    limit = SHORT_FRAMES if fps is None else max(2, round(SHORT_SECONDS * fps))
    stream = iter(faces)
    notes: list[str] = []
    if onset is not None:
        last = onset + limit if apex is None else apex
        held = [face for face in _until(stream, last) if face.index >= onset]
        seen = {face.index for face in held[:1] + held[-1:]}
        for name, number in (("onset", onset), ("apex", apex)):
            if number is not None and number not in seen:
                raise FaceError(f"no face in frame {number}, which was given as {name}; choose one that shows the face")
        curve, lag = _from_first(held), None
        if apex is not None and held[0].segment == held[-1].segment and len(held) > 1:
            curve.pair = (held[0], held[-1])
    else:
        held = []
        for face in stream:
            held.append(face)
            if face.index - held[0].index > limit:
                break
        if held and held[-1].index - held[0].index > limit:
            lag = max(1, round(LAG_SECONDS * (fps or ASSUMED_FPS)))
            if fps is None:
                notes.append(
                    f"the frame rate is unknown: a lag of {lag} frames (0.25 s at 30 frames/s) was taken; give fps"
                )
            curve = _lagged(_chain(held, stream), lag, relaxing=4 * lag)
        else:
            curve, lag = _from_first(held), None
    if curve.pair is None:
        why = "the face is seen in one frame only" if lag is None else f"the head never holds still for {lag} frames"
        raise FaceError(
            f"no two frames could be compared: {why}; use a clip with a steadier head, or give onset and apex"
        )
    start, end = curve.pair
    measured = np.array(list(curve.values.values()))
    quiet = float(np.quantile(measured, 0.25 if lag is None else 0.5))
    peak = curve.values[end.index]
    prominence = peak / max(quiet, 1e-3)
    clear = prominence >= CLEAR and peak >= NOISE
    if not clear:
        why = (
            f"at most {peak:.2f} % of the distance between the eyes, no more than noise"
            if peak < NOISE
            else f"the largest is {prominence:.1f} times the quiet level, a clear one is {CLEAR:.0f} times or more"
        )
        notes.append(
            f"no clear peak of motion ({why}): the frames {'chosen are a guess' if apex is None else 'given are used'}"
        )
    if large := int((measured > LARGE).sum()):
        notes.append(
            f"in {large} frame{'s' if large > 1 else ''} the face moves more than skin does (head, hand or speech); "
            f"{'the interval is among them' if peak > LARGE else 'they were passed over'}"
        )
    out = np.full(max(curve.values) + 1, np.nan, np.float32)
    out[list(curve.values)] = measured
    return Spotted(
        interval=Interval(onset=start.index, apex=end.index, source="spotted" if apex is None else "user"),
        onset_face=start.rgb,
        apex_face=end.rgb,
        curve=out,
        lag=lag,
        prominence=prominence,
        clear=clear,
        notes=tuple(notes),
    )


def motion(first: np.ndarray, second: np.ndarray) -> float:
    """Mean flow between two aligned grey faces, without the shift that the whole face shares.

    The eye openings are left out, so that a blink does not count (the brow and the cheek that move with it still do).

    Shapes: two uint8 ``[112, 112]`` -> percent of the distance between the eyes.
    """
    return float(np.hypot(*skin_flow(first, second)).mean()) * 100 / (geometry.interocular() * MOTION_SIZE)


def skin_flow(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The flow that :func:`motion` averages. Shapes: two uint8 ``[112, 112]`` -> ``[2, pixels of the face region]``."""
    flow = optical_flow(first, second, "dis")[:, face_region()]
    local: np.ndarray = flow - np.median(flow, axis=1, keepdims=True)
    return local


@cache
def face_region() -> np.ndarray:
    """The skin over which motion is averaged: inside jaw and brows, outside the eyes. Shapes: bool ``[112, 112]``."""
    points = geometry.landmarks() * MOTION_SIZE - 0.5
    mask = np.zeros((MOTION_SIZE, MOTION_SIZE), np.uint8)
    outline = np.concatenate([points[:27], points[17:27] - [0, 0.05 * MOTION_SIZE]])  # some forehead above the brows
    cv2.fillConvexPoly(mask, cv2.convexHull(np.rint(outline).astype(np.int32)), 1)
    for eye in geometry.eye_centres() * MOTION_SIZE - 0.5:
        axes = (round(0.11 * MOTION_SIZE), round(0.055 * MOTION_SIZE))
        cv2.ellipse(mask, np.rint(eye).astype(int).tolist(), axes, 0, 0, 360, 0, -1)
    region = mask.astype(bool)
    region.setflags(write=False)
    return region


def _small(face: AlignedFace) -> np.ndarray:
    grey = cv2.cvtColor(face.rgb, cv2.COLOR_RGB2GRAY)
    return cv2.resize(grey, (MOTION_SIZE, MOTION_SIZE), interpolation=cv2.INTER_AREA)


def _from_first(held: list[AlignedFace]) -> _Curve:
    curve, first, grey = _Curve(edges=True), None, None
    for face in held:
        if first is None or grey is None or face.segment != first.segment:
            first, grey = face, _small(face)
        else:
            curve.add(first, face, motion(grey, _small(face)))
    curve.finish()
    return curve


def _lagged(faces: Iterable[AlignedFace], lag: int, *, relaxing: int) -> _Curve:
    curve = _Curve(edges=False, relaxing=relaxing)
    ring: deque[tuple[AlignedFace, np.ndarray]] = deque()
    for face in faces:
        grey = _small(face)
        while ring and ring[0][0].index < face.index - lag:
            ring.popleft()
        if ring and ring[0][0].index == face.index - lag and ring[0][0].segment == face.segment:
            curve.add(ring[0][0], face, motion(ring[0][1], grey))
        ring.append((face, grey))
    curve.finish()
    return curve


def _until(stream: Iterator[AlignedFace], last: int) -> Iterator[AlignedFace]:
    for face in stream:
        if face.index > last:
            return
        yield face
        if face.index == last:
            return


def _chain(held: list[AlignedFace], stream: Iterator[AlignedFace]) -> Iterator[AlignedFace]:
    while held:
        yield held.pop(0)
    yield from stream
