"""One door to all spotters: a video goes in, intervals come out."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import cv2
import numpy as np

from zoo.errors import FaceError, MediaError, ZooError
from zoo.spotting.ahead import ahead
from zoo.spotting.events import Found, Spotting
from zoo.spotting.methods import Method, spotter_of
from zoo.spotting.stream import SteadyFace, SteadyTrack
from zoo.vision.faces import FaceDetector, MTCNNDetector, align
from zoo.vision.video import Frame, MediaReader

if TYPE_CHECKING:
    from zoo.models.softnet import SoftNet

ASSUMED_FPS = 30.0
KEY_FRAMES = 8  # faces kept for the figure


def spot(source: str | Path | Sequence[np.ndarray], method: Method = "flow", **options: Any) -> list[Found]:
    """The intervals in which a face shows something, in order of time, each with a score and a kind (micro or macro).

    Arguments and errors are those of :func:`search`, which also gives the curves.
    """
    return list(search(source, method, **options).events)


def search(
    source: str | Path | Sequence[np.ndarray],
    method: Method = "flow",
    *,
    fps: float | None = None,
    models: Sequence[str | SoftNet] | None = None,
    k: int | None = None,
    aligned: bool = False,
    detector: FaceDetector | None = None,
    min_face: float | None = None,
    progress: Callable[[int, int | None], None] | None = None,
) -> Spotting:
    """Spot expressions in a video, with the evidence.

    ``flow`` follows the parts of the face (:mod:`zoo.spotting.flow`), as fast as a camera; ``mdmd`` and ``softnet`` are the
    baseline of MEGC 2020 and the network of Liong et al. 2021; ``lbp`` is Moilanen's change of texture. The last three look at
    no more than 30 frames per second. Memory does not grow with the video but for a few numbers per frame.

    Args:
        source: a video file, a folder of numbered frames, or frames (uint8 ``[H, W, 3]``).
        method: see above.
        fps: frames per second, where the medium does not say.
        models: for ``softnet``: networks or names of weights, one per kind; those of the zoo by default.
        k: for ``softnet``: frames of the video between the two pictures of a flow, in place of what the weights say.
        aligned: the frames given are aligned faces already.
        detector: finds faces; MTCNN unless given.
        min_face: smallest face to look for, in pixels of the video.
        progress: called after each frame with the frames done and, if known, in all.

    Raises:
        MediaError: the video cannot be read. FaceError: no frame shows a face. ZooError: no such method.
        MissingExtra: no face detector is installed.
    """
    if method not in get_args(Method):
        raise ZooError(f"there is no spotting method {method!r}; known: {', '.join(get_args(Method))}")
    begin = time.perf_counter()
    reader, name, frames, given, count = _opened(source, fps)
    rate = given or ASSUMED_FPS
    notes = [] if given else [f"the frame rate is unknown: {ASSUMED_FPS:.0f} frames/s was taken; give fps"]
    spotter = spotter_of(method, rate, count, models, k)
    faces: Iterable[SteadyFace]
    track: SteadyTrack | None = None
    if aligned:
        faces = (_as_face(frame, spotter.size) for frame in frames)
    else:
        found = detector or MTCNNDetector(min_face=min_face)
        told = ahead(_told(frames, progress, count))
        track = SteadyTrack(told, found, fps=given, size=spotter.size, colour=False, every=spotter.step)
        faces = track
    last, seen = -1, 0
    for face in faces:
        spotter.add(face)
        last, seen = face.index, seen + 1
    n_frames = track.n_frames if track is not None else last + 1
    if not seen:
        raise FaceError(
            f"no face in {name}: {len(track.checked) if track else 0} of {n_frames} frames were looked at; crop closer, film "
            f"in better light, or lower min_face (in pixels) if the face is small"
        )
    events, curves, said = spotter.finish(n_frames)
    if track is not None and len(track.skipped) > 0:
        notes.append(f"{len(track.skipped)} of {n_frames} frames show no face, or none that could be followed")
    spotting = Spotting(
        source=name,
        method=method,
        events=tuple(sorted(events, key=lambda e: (e.onset, e.offset))),
        curves=tuple(curves),
        fps=given,
        n_frames=n_frames,
        skipped=tuple(track.skipped) if track else (),
        warnings=(*(reader.warnings if reader else ()), *notes, *said),
        seconds={**(track.seconds if track else {}), "total": time.perf_counter() - begin},
    )
    return replace(spotting, key_frames=_key_frames(spotting, reader, source, track))


def _key_frames(
    spotting: Spotting, reader: MediaReader | None, source: Any, track: SteadyTrack | None
) -> dict[int, np.ndarray]:
    """The faces at the apex of the strongest events, read once more: none had to be kept while the video ran."""
    faces = {}
    for event in spotting.strongest(KEY_FRAMES):
        picture = source[event.apex] if reader is None else next(iter(reader.read(event.apex, event.apex + 1))).rgb
        matrix = track.alignment(event.apex) if track is not None else None
        if track is None:
            faces[event.apex] = picture
        elif matrix is not None:
            faces[event.apex] = align(picture, matrix)
    return faces


def _opened(
    source: str | Path | Sequence[np.ndarray], fps: float | None
) -> tuple[MediaReader | None, str, Iterable[Frame], float | None, int | None]:
    if isinstance(source, (str, Path)):
        reader = MediaReader(source, fps=fps)
        return reader, reader.path.name, reader, reader.fps, reader.n_frames
    if len(source) < 2:
        raise MediaError(f"{len(source)} frames were given; at least two are wanted")
    if fps is not None and not 0 < fps < float("inf"):
        raise MediaError(f"fps is {fps}; frames per second must be a positive number")
    wrong = next((i for i, f in enumerate(source) if f.dtype != np.uint8 or f.shape != source[0].shape), None)
    if wrong is not None or source[0].ndim != 3:
        bad = source[wrong or 0]
        raise MediaError(
            f"frames are uint8 [H, W, 3] of one size; frame {wrong or 0} is {bad.dtype} {list(bad.shape)}, the first "
            f"{list(source[0].shape)}"
        )
    frames = (Frame(i, i / fps if fps else None, f) for i, f in enumerate(source))
    return None, "frames", frames, fps, len(source)


def _told(
    frames: Iterable[Frame], progress: Callable[[int, int | None], None] | None, total: int | None
) -> Iterator[Frame]:
    for frame in frames:
        yield frame
        if progress is not None:
            progress(frame.index + 1, total)


def _as_face(frame: Frame, size: int) -> SteadyFace:
    grey = frame.grey
    if grey.shape != (size, size):
        way = cv2.INTER_AREA if min(grey.shape) > size else cv2.INTER_LINEAR
        grey = cv2.resize(grey, (size, size), interpolation=way)
    return SteadyFace(frame.index, frame.time, 1, grey=grey, colour=frame.rgb)
