"""From a video file to a prediction: a short one is read as one expression, in a long one expressions are spotted first."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from zoo.errors import FaceError
from zoo.predictor.brief import predict_brief
from zoo.predictor.events import EventStream
from zoo.predictor.notes import clocked, explain, face_info, face_warnings, window
from zoo.predictor.recognise import Progress, model_of, recognise, timed
from zoo.result import Result, save, writable
from zoo.spotting.ahead import ahead
from zoo.spotting.apex import ASSUMED_FPS, SHORT_FRAMES, SHORT_SECONDS
from zoo.spotting.events import Spotting
from zoo.spotting.stream import SteadyTrack
from zoo.types import Clip, Interval
from zoo.vision.faces import FaceDetector, MTCNNDetector
from zoo.vision.video import MediaReader

if TYPE_CHECKING:
    from zoo.models._base import ZooModel


def predict(
    path: str | Path,
    *,
    model: str | ZooModel,
    onset: int | None = None,
    apex: int | None = None,
    fps: float | None = None,
    out: str | Path | None = None,
    progress: Progress | None = None,
    detector: FaceDetector | None = None,
    min_face: float | None = None,
) -> Result:
    """Recognise the micro-expressions of a video.

    The video is decoded once, as a stream; the largest face is followed. Up to one second (without a frame rate, 200 frames), or
    where ``onset`` or ``apex`` is given, it is taken to hold one expression: the moment of most motion is sought
    (:func:`~zoo.spotting.apex.spot_apex`) and recognised. In a longer one expressions are spotted first
    (:class:`~zoo.spotting.flow.FlowSpotter`) and each is recognised; the result is that of the strongest, and lists all under
    ``events``. Where nothing is spotted the list is empty, and the moment of most motion is answered as a guess. Memory does
    not grow with the video.

    Args:
        path: a video file, or a folder of numbered frames.
        model: a model, or the name of pretrained weights.
        onset: frame number from 0, if known; alone, the apex is sought in the second after it.
        apex: frame number from 0, if known; alone, the onset is the first frame, or 0.25 s before the apex where the
            first frame is more than a second away.
        fps: frames per second, where the medium does not say.
        out: folder for ``prediction.json``, ``prediction.png`` and, of a long video, ``timeline.png``; see
            :func:`zoo.result.save`.
        progress: called after each frame.
        detector: finds faces; MTCNN unless given.
        min_face: smallest face to look for, in pixels of the video.

    Raises:
        MediaError: the video cannot be read, or ends before ``onset`` or ``apex``.
        FaceError: no face, or none that holds still.
        MissingExtra: no face detector is installed.
        ZooError: ``out`` cannot be written; ``onset`` and ``apex`` make no interval. UnknownName: no such model.
    """
    begun = time.perf_counter()
    folder = writable(out) if out is not None else None
    reader = MediaReader(path, fps=fps)
    start, end = window(onset, apex, reader)
    watch: dict[str, float] = {}
    with timed(watch, "load"):
        net = model_of(model)
        detector = detector or MTCNNDetector(min_face=min_face)
    name = str(model) if isinstance(model, str) else net.arch
    result: Result | None = None
    if start is None and not _brief(reader, reader.n_frames):
        result = _predict_long(reader, net, name, detector=detector, watch=watch, begun=begun, progress=progress)
    if result is None:
        result = predict_brief(
            reader, net, name, detector=detector, start=start, end=end, watch=watch, begun=begun, progress=progress
        )
    if folder is not None:
        save(result, folder)
    return result


def _brief(reader: MediaReader, n_frames: int | None) -> bool:
    limit = SHORT_FRAMES if reader.fps is None else max(2, round(SHORT_SECONDS * reader.fps))
    return n_frames is not None and n_frames <= limit + 1


def _predict_long(
    reader: MediaReader,
    net: ZooModel,
    name: str,
    *,
    detector: FaceDetector,
    watch: dict[str, float],
    begun: float,
    progress: Progress | None,
) -> Result | None:
    """Spot, and recognise each interval; None where a file that did not say its length turns out to be short."""
    rate = reader.fps or ASSUMED_FPS
    stream = EventStream(net, reader.path.name, rate)
    frames = ahead(clocked(reader, watch, progress))
    track = SteadyTrack(frames, detector, fps=reader.fps, every=stream.spotter.step)
    events = []
    try:
        for face in track:
            with timed(watch, "motion"):
                events += stream.add(face)
        if _brief(reader, track.n_frames):
            return None
        with timed(watch, "motion"):
            events += stream.finish()
    finally:
        stream.close()
    watch |= {**track.seconds, **stream.watch}
    if stream.guess is None and stream.best is None:
        raise explain(
            FaceError("the face is seen in no two frames that could be compared; use a clip with a steadier head"),
            reader,
            track,
            None,
            None,
        )
    events.sort(key=lambda e: e.event.onset)
    curve = stream.spotter.curve(track.n_frames)
    warnings = [*reader.warnings, *face_warnings(track, hold=False)]
    if reader.fps is None:
        warnings.append(f"the frame rate is unknown: {ASSUMED_FPS:.0f} frames/s was taken; give fps")
    elif reader.fps < 25:
        warnings.append(f"{reader.fps:.3g} frames/s is slow for micro-expressions, which last 0.04 to 0.5 s")
    if stream.best is not None:
        found, faces = stream.best.recognition, (stream.best.onset, stream.best.apex)
        spotted = stream.best.recognised.event
        interval = Interval(onset=spotted.onset, apex=spotted.apex, offset=spotted.offset, source="spotted")
    else:
        assert stream.guess is not None
        faces = stream.guess
        interval = Interval(onset=faces[0].index, apex=faces[1].index, source="spotted")
        pair = Interval(onset=0, apex=1, offset=1)
        pictures = [face.rgb for face in faces]
        guess = Clip(id=reader.path.name, dataset="video", subject="unknown", frames=pictures, fps=rate, interval=pair)
        found = recognise(guess, net, watch)
        peak = stream.spotter.strongest[1] if stream.spotter.strongest else 0.0
        warnings.append(
            f"nothing was spotted: the face leaves its rest by at most {peak:.2f} % of the distance between the eyes; the "
            f"frames chosen are a guess"
        )
    watch["total"] = time.perf_counter() - begun
    return Result(
        prediction=found.prediction,
        model=name,
        source=reader.path.name,
        interval=interval,
        times=(faces[0].time, faces[1].time),
        fps=reader.fps,
        n_frames=track.n_frames,
        curve=curve.values,
        lag=None,
        clear=stream.best is not None,
        onset_face=faces[0].rgb,
        apex_face=faces[1].rgb,
        flow=found.flow,
        graph=found.graph,
        input_spec=net.input_spec,
        face=face_info(track),
        warnings=(*warnings, *found.warnings),
        seconds=watch,
        spotting=Spotting(
            source=reader.path.name,
            method="flow",
            events=tuple(e.event for e in events),
            curves=(curve,),
            fps=reader.fps,
            n_frames=track.n_frames,
            skipped=tuple(track.skipped),
            warnings=tuple(warnings),
        ),
        events=tuple(events),
    )
