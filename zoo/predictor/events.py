"""Faces come in, recognised expressions come out, while the video still runs."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from zoo.predictor.recognise import Recognition, clip_of, recognise
from zoo.result import RecognisedEvent
from zoo.spotting.events import Found
from zoo.spotting.flow import SETTLE_SECONDS, SLOWEST, FlowSpotter
from zoo.spotting.stream import SteadyFace

if TYPE_CHECKING:
    from zoo.models._base import ZooModel

THUMBNAIL = 84  # px
WAITING = 4  # intervals that may wait for the model before the stream waits for them


@dataclass(frozen=True, kw_only=True, eq=False)
class Answer:
    """A recognised event with all that it was read from."""

    recognised: RecognisedEvent
    recognition: Recognition
    onset: SteadyFace
    apex: SteadyFace


class EventStream:
    """Spot and recognise in a stream of faces.

    Recognition runs in a thread beside the stream. Memory: the faces of the last seconds, however long the stream is, and a
    thumbnail per event.

    Args:
        net: the model.
        source: name of the video, for the ids of its clips.
        fps: frames per second.
        settle: seconds after an event until it is told.
        look: seconds between two looks for events.
    """

    def __init__(
        self, net: ZooModel, source: str, fps: float, *, settle: float = SETTLE_SECONDS, look: float = 1.0
    ) -> None:
        self.net, self.source, self.fps = net, source, fps
        self.spotter = FlowSpotter(fps, settle=settle, look=look)
        self.watch: dict[str, float] = {}
        self.guess: tuple[SteadyFace, SteadyFace] | None = (
            None  # the strongest motion so far, and the face 0.25 s before
        )
        self.best: Answer | None = None
        # an event is told at the next look, up to a second after it has settled
        self._held: deque[SteadyFace] = deque()
        self._span = round((SLOWEST + settle + 2.0) * fps)
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="zoo-recognise")
        self._pending: deque[Future[Answer]] = deque()

    def add(self, face: SteadyFace) -> list[RecognisedEvent]:
        """Take the next face; gives the events that have been recognised by now, in order of time."""
        self._held.append(face)
        while self._held[0].index < face.index - self._span:
            self._held.popleft()
        before = self.spotter.strongest
        for event in self.spotter.add(face):
            self._submit(event)
        if self.spotter.strongest != before:
            self._remember()
        return self._collect(wait=len(self._pending) > WAITING)

    def finish(self) -> list[RecognisedEvent]:
        """The events that were still waiting."""
        for event in self.spotter.finish():
            self._submit(event)
        self._remember()
        found: list[RecognisedEvent] = []
        while self._pending:
            found += self._collect(wait=True)
        self.close()
        return found

    def close(self) -> None:
        """End the thread; what waits is given up."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _submit(self, event: Found) -> None:
        faces = [face for face in self._held if event.onset <= face.index <= event.offset]
        apex = next((i for i, face in enumerate(faces) if face.index >= event.apex), None)
        if apex:  # else the stream lost the face between
            self._pending.append(self._pool.submit(self._recognise, event, faces, apex))

    def _recognise(self, event: Found, faces: list[SteadyFace], apex: int) -> Answer:
        clip = clip_of(faces, apex, id=f"{self.source}#{event.onset}-{event.offset}", fps=self.fps)
        found = recognise(clip, self.net, self.watch)
        picture = cv2.resize(faces[apex].rgb, (THUMBNAIL, THUMBNAIL), interpolation=cv2.INTER_AREA)
        shown = RecognisedEvent(event=event, prediction=found.prediction, face=np.asarray(picture))
        return Answer(recognised=shown, recognition=found, onset=faces[0], apex=faces[apex])

    def _collect(self, *, wait: bool) -> list[RecognisedEvent]:
        found = []
        while self._pending and (wait or self._pending[0].done()):
            answer = self._pending.popleft().result()
            wait = False
            if self.best is None or answer.recognised.event.score > self.best.recognised.event.score:
                self.best = answer
            found.append(answer.recognised)
        return found

    def _remember(self) -> None:
        if self.spotter.strongest is None:
            return
        apex = next((f for f in self._held if f.index >= self.spotter.strongest[0]), None)
        if apex is None:
            return
        lag = round(0.25 * self.fps)
        onset = next((f for f in self._held if f.index >= apex.index - lag and f.segment == apex.segment), None)
        if onset is not None and onset.index < apex.index:
            self.guess = onset, apex
