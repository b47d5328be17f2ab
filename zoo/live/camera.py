"""A camera, or a video file played as one, behind a buffer that never grows."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2

from zoo.errors import MediaError
from zoo.vision.video import Frame, MediaReader

DEPTH = 8  # frames that may wait; when more come, the oldest is dropped
PATIENCE = 5.0  # seconds without a picture after which a camera is taken for gone


class Camera:
    """Frames as they come, for whoever keeps up; the others are dropped and counted.

    A thread captures. A file is played at its own pace, once. Use it as a context manager: leaving it frees the device.

    Args:
        source: number of a camera, or a video file or folder of frames.
        fps: frames per second, where the medium does not say.

    Attributes:
        name: for the display.
        fps: frames per second, as the device or the file states it.
        captured: frames that came so far.
        dropped: those of them that nobody had time for.

    Raises:
        MediaError: no such camera or file; while iterating: the file is damaged, or the camera falls silent.
    """

    def __init__(self, source: str, *, fps: float | None = None) -> None:
        self._device: Any = None
        self._reader: MediaReader | None = None
        if source.isdigit():
            self.name = f"camera {source}"
            device = cv2.VideoCapture(int(source))
            if not device.isOpened():
                raise MediaError(
                    f"camera {source} cannot be opened; is it there, free and permitted? A video file plays as a camera too: "
                    f"--camera FILE"
                )
            self._device = device
            stated = float(device.get(cv2.CAP_PROP_FPS) or 0)
            self.fps = fps or (stated if 1 <= stated <= 1000 else 30.0)
        else:
            self._reader = MediaReader(source, fps=fps)
            self.name = Path(source).name
            self.fps = self._reader.fps or 30.0
        self.captured = 0
        self.dropped = 0
        self._buffer: deque[tuple[Frame, float]] = deque()
        self._ready = threading.Condition()
        self._stop = threading.Event()
        self._error: BaseException | None = None
        self._ended = False
        self._thread = threading.Thread(target=self._capture, name="zoo-camera", daemon=True)

    def __enter__(self) -> Camera:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        with self._ready:
            self._ready.notify_all()
        self._thread.join(timeout=PATIENCE)
        if self._device is not None:
            self._device.release()

    def __iter__(self) -> Iterator[tuple[Frame, float]]:
        """Each frame with the moment it was captured at (of :func:`time.perf_counter`)."""
        while True:
            with self._ready:
                if not self._ready.wait_for(
                    lambda: self._buffer or self._ended or self._stop.is_set(), timeout=PATIENCE
                ):
                    raise MediaError(f"{self.name} has sent no picture for {PATIENCE:.0f} s; is it still connected?")
                if not self._buffer:
                    if self._error is not None:
                        raise self._error
                    return
                entry = self._buffer.popleft()
            yield entry

    def _capture(self) -> None:
        try:
            for frame in self._frames():
                with self._ready:
                    if len(self._buffer) == DEPTH:
                        self._buffer.popleft()
                        self.dropped += 1
                    self._buffer.append((frame, time.perf_counter()))
                    self.captured += 1
                    self._ready.notify()
                if self._stop.is_set():
                    break
        except BaseException as error:  # raised again where the frames are read
            self._error = error
        finally:
            with self._ready:
                self._ended = True
                self._ready.notify_all()

    def _frames(self) -> Iterator[Frame]:
        begin = time.perf_counter()
        if self._reader is not None:
            for frame in self._reader:
                due = begin + (frame.time if frame.time is not None else frame.index / self.fps)
                if self._stop.wait(max(0.0, due - time.perf_counter())):
                    return
                yield frame
            return
        index = 0
        while not self._stop.is_set():
            good, picture = self._device.read()
            if not good:
                raise MediaError(f"{self.name} has stopped sending pictures; is it still connected?")
            yield Frame(index, time.perf_counter() - begin, cv2.cvtColor(picture, cv2.COLOR_BGR2RGB))
            index += 1
