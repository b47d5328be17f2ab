"""Spotting and recognition as a camera runs, with its latency."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from zoo.live.camera import Camera
from zoo.predictor.events import EventStream
from zoo.result import RecognisedEvent
from zoo.spotting.stream import SteadyTrack
from zoo.vision.faces import FaceDetector
from zoo.vision.video import Frame

if TYPE_CHECKING:
    from zoo.models._base import ZooModel

SETTLE_SECONDS = 1.0  # after an event until it is told; long expressions are seen less whole than in a file
LOOK_SECONDS = 0.25  # between two looks for events
STATUS_SECONDS = 0.5  # between two reports
MOMENTS = 300  # frames over which the latency is told


@dataclass
class Status:
    """How it goes. Mutable: the same object is reported again and again."""

    source: str
    seconds: float = 0.0  # since the start
    captured: int = 0
    processed: int = 0
    dropped: int = 0
    fps: float = 0.0  # processed per second, of late
    face: bool = False  # whether there is one now
    latency_ms: float = 0.0  # from capture to processed, mean of late
    latency_p95_ms: float = 0.0
    events: list[tuple[RecognisedEvent, float]] = field(
        default_factory=list
    )  # with seconds from their offset to the answer

    def to_dict(self) -> dict[str, Any]:
        """JSON-plain form, without the events."""
        return {
            "seconds": round(self.seconds, 2),
            "captured": self.captured,
            "processed": self.processed,
            "dropped": self.dropped,
            "fps": round(self.fps, 1),
            "face": self.face,
            "latency_ms": round(self.latency_ms, 1),
            "latency_p95_ms": round(self.latency_p95_ms, 1),
            "events": len(self.events),
        }


def watch(
    camera: Camera,
    net: ZooModel,
    detector: FaceDetector,
    *,
    on_status: Callable[[Status], None] | None = None,
    on_event: Callable[[RecognisedEvent, float], None] | None = None,
) -> Status:
    """Read a camera until it ends or Ctrl-C is pressed.

    Memory does not grow with time, but for a thumbnail per event.

    Args:
        camera: not entered yet.
        net: the model.
        detector: finds faces.
        on_status: called twice a second.
        on_event: called with each recognised expression and the seconds from its offset to the answer.

    Raises:
        MediaError: the camera falls silent, or the file is damaged.
    """
    status = Status(camera.name)
    stream = EventStream(net, camera.name, camera.fps, settle=SETTLE_SECONDS, look=LOOK_SECONDS)
    clock = _Clock(camera, status, on_status)

    def tell(events: list[RecognisedEvent]) -> None:
        for event in events:
            delay = clock.since(event.event.offset)
            status.events.append((event, delay))
            if on_event is not None:
                on_event(event, delay)

    try:
        with camera:
            track = SteadyTrack(clock.frames(), detector, fps=camera.fps, every=stream.spotter.step)
            for face in track:
                clock.seen = face.index
                tell(stream.add(face))
            tell(stream.finish())
    except KeyboardInterrupt:  # the way to stop it; what was seen till then is still told
        tell(stream.finish())
    finally:
        stream.close()
        clock.report()
    return status


class _Clock:
    """Notes when each frame came and when it was done."""

    def __init__(self, camera: Camera, status: Status, on_status: Callable[[Status], None] | None) -> None:
        self.camera, self.status, self._on_status = camera, status, on_status
        self.seen = -1  # last frame with a face
        self._begin = self._told = time.perf_counter()
        self._arrivals: deque[tuple[int, float]] = deque(maxlen=round(60 * camera.fps))
        self._latencies: deque[float] = deque(maxlen=MOMENTS)
        self._done: deque[float] = deque(maxlen=MOMENTS)

    def frames(self) -> Iterator[Frame]:
        """The camera's frames; when the next one is asked for, the last is done."""
        for frame, arrived in self.camera:
            self._arrivals.append((frame.index, arrived))
            yield frame
            now = time.perf_counter()
            self._latencies.append(now - arrived)
            self._done.append(now)
            self.status.processed += 1
            self.status.face = self.seen >= frame.index - 2
            if now - self._told >= STATUS_SECONDS:
                self.report()

    def since(self, frame: int) -> float:
        """Seconds from the capture of a frame until now."""
        arrived = next((t for i, t in self._arrivals if i >= frame), None)
        return time.perf_counter() - arrived if arrived is not None else float("nan")

    def report(self) -> None:
        """Bring the status up to date, and tell it."""
        now = time.perf_counter()
        self._told = now
        status = self.status
        status.seconds = now - self._begin
        status.captured, status.dropped = self.camera.captured, self.camera.dropped
        if len(self._done) > 1:
            status.fps = (len(self._done) - 1) / max(self._done[-1] - self._done[0], 1e-6)
        if self._latencies:
            status.latency_ms = 1000 * float(np.mean(self._latencies))
            status.latency_p95_ms = 1000 * float(np.quantile(self._latencies, 0.95))
        if self._on_status is not None:
            self._on_status(status)
