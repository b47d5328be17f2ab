"""Short clips, and moments that are known: one expression, read once."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from zoo.errors import FaceError, MediaError, MissingExtra
from zoo.predictor.notes import clocked, explain, face_info, face_warnings
from zoo.predictor.recognise import Faces, Progress, model_of, recognise, timed
from zoo.result import FaceInfo, Result, save, writable
from zoo.spotting.apex import ASSUMED_FPS, SHORT_FRAMES, SHORT_SECONDS, Spotted, spot_apex
from zoo.types import Clip, Interval
from zoo.vision.faces import FaceDetector, MTCNNDetector
from zoo.vision.track import AlignedFace, FaceTrack
from zoo.vision.video import Frame, MediaReader

if TYPE_CHECKING:
    from zoo.models._base import ZooModel

LOOK_SECONDS = 0.2  # between two looks for the face
FEW_FRAMES = 64  # up to here every frame is looked at


def predict_brief(
    reader: MediaReader,
    net: ZooModel,
    name: str,
    *,
    detector: FaceDetector,
    start: int | None,
    end: int | None,
    watch: dict[str, float],
    begun: float,
    progress: Progress | None,
) -> Result:
    """Recognise the one expression of a short video, or of the moment given.

    The largest face is followed under one alignment (see :class:`~zoo.vision.track.FaceTrack`), the frame of most motion is
    sought (see :func:`~zoo.spotting.apex.spot_apex`) unless it is known.

    Args:
        reader: the video.
        net: the model.
        name: what it is called in the result.
        detector: finds faces.
        start: onset, where it is known.
        end: apex, where it is known.
        watch: seconds spent so far, by stage.
        begun: when the work began.
        progress: called after each frame.

    Raises:
        FaceError: no face, or none that holds still. MediaError: the video ends before ``start`` or ``end``.
    """
    few = reader.n_frames is not None and reader.n_frames <= FEW_FRAMES
    stride = 1 if few else max(1, round(LOOK_SECONDS * (reader.fps or ASSUMED_FPS)))
    stream = _window_frames(clocked(reader, watch, progress), start, end, reader.fps)
    track = FaceTrack(stream, detector, stride=stride, hold=start is not None)
    times: dict[int, float | None] = {}
    kept: dict[int, AlignedFace] | None = None if net.input_spec.reads_pair else {}
    loop = time.perf_counter()
    try:
        spotted = spot_apex(_noting(track, times, kept), fps=reader.fps, onset=start, apex=end)
    except FaceError as error:
        raise explain(error, reader, track, start, end) from None
    watch |= track.seconds
    watch["motion"] = time.perf_counter() - loop - watch.get("decode", 0.0) - sum(track.seconds.values())
    warnings = [*reader.warnings, *face_warnings(track, hold=start is not None)]
    measured = int(np.isfinite(spotted.curve).sum())
    if start is None and measured < 0.7 * track.n_frames:
        warnings.append(
            f"motion was measured in {measured} of {track.n_frames} frames, since the head moves: a steadier "
            f"head shows more"
        )
    return _finish(
        spotted,
        net,
        name,
        watch,
        begun,
        face=face_info(track),
        times=times,
        clip=Clip(id=reader.path.name, dataset="video", subject="unknown", fps=reader.fps),
        n_frames=track.n_frames,
        warnings=warnings,
        kept=kept,
    )


def predict_clip(
    clip: Clip, *, model: str | ZooModel, truth: Mapping[str, Any] | None = None, out: str | Path | None = None
) -> Result:
    """Recognise the micro-expression of a clip whose frames are aligned faces already. Needs no face detector.

    Args:
        clip: with ``frames``; its ``interval`` is used if there is one, else onset and apex are sought.
        model: a model, or the name of pretrained weights.
        truth: what a synthetic clip really shows; marks the result as synthetic.
        out: as in :func:`predict`.

    Raises:
        ZooError: the clip has no frames, or fewer than two; and as in :func:`predict`.
    """
    total = time.perf_counter()
    folder = writable(out) if out is not None else None
    if clip.frames is None or len(clip.frames) < 2:
        raise MediaError(f"clip {clip.key} has {len(clip.frames or ())} frames; at least two aligned faces are wanted")
    watch: dict[str, float] = {}
    with timed(watch, "load"):
        net = model_of(model)
    times = {i: i / clip.fps if clip.fps else None for i in range(len(clip.frames))}
    given = clip.interval
    faces = [AlignedFace(i, times[i], frame, 1) for i, frame in enumerate(clip.frames)]
    with timed(watch, "motion"):
        spotted = spot_apex(
            faces, fps=clip.fps, onset=given.onset if given else None, apex=given.apex if given else None
        )
    if given:
        spotted = replace(spotted, interval=given)
    result = _finish(
        spotted,
        net,
        str(model) if isinstance(model, str) else net.arch,
        watch,
        total,
        face=FaceInfo(),
        times=times,
        clip=clip,
        n_frames=len(clip.frames),
        warnings=[],
        truth=truth,
        kept=None if net.input_spec.reads_pair else {face.index: face for face in faces},
    )
    if folder is not None:
        save(result, folder)
    return result


def predict_sample(*, model: str | ZooModel, out: str | Path | None = None, progress: Progress | None = None) -> Result:
    """Recognise the synthetic sample clip, with its truth beside the answer.

    The frames go to a temporary folder and from there the way of any video, face detection included. Without a detector the
    alignment that is stored with the sample is used, and a warning says so.

    Args:
        model: a model, or the name of pretrained weights.
        out: as in :func:`predict`.
        progress: as in :func:`predict`.
    """
    from zoo.predictor.video import predict
    from zoo.synthesis.sample import sample_clip

    folder = writable(out) if out is not None else None
    sample = sample_clip()
    try:
        detector = MTCNNDetector()
    except MissingExtra as error:
        result = predict_clip(sample.clip, model=model, truth=sample.truth.to_dict())
        result = replace(result, warnings=(*result.warnings, f"the sample's stored alignment was used: {error}"))
    else:
        with TemporaryDirectory(prefix="zoo-sample-") as frames:
            for index, frame in enumerate(sample.frames):
                cv2.imwrite(str(Path(frames) / f"{index:03d}.png"), cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
            result = predict(frames, model=model, fps=sample.fps, detector=detector, progress=progress)
        result = replace(result, source="sample", truth=sample.truth.to_dict())
    if folder is not None:
        save(result, folder)
    return result


def _finish(
    spotted: Spotted,
    net: ZooModel,
    name: str,
    watch: dict[str, float],
    begun: float,
    *,
    clip: Clip,
    face: FaceInfo,
    times: Mapping[int, float | None],
    n_frames: int,
    warnings: list[str],
    truth: Mapping[str, Any] | None = None,
    kept: Mapping[int, AlignedFace] | None = None,
) -> Result:
    """From the faces to the probabilities. ``kept``: all faces by frame number, where the model reads more than a pair."""
    faces = [spotted.onset_face, spotted.apex_face]
    pair = replace(clip, frames=faces, interval=Interval(onset=0, apex=1, offset=1), flow_map=None)
    if kept is not None:
        pair = _whole(clip, spotted.interval, kept) or pair
    found = recognise(pair, net, watch)
    warnings = [*warnings, *found.warnings]
    if clip.fps is not None and clip.fps < 25:
        warnings.append(f"{clip.fps:.3g} frames/s is slow for micro-expressions, which last 0.04 to 0.5 s")
    watch["total"] = time.perf_counter() - begun
    return Result(
        prediction=found.prediction,
        model=name,
        source=clip.id,
        interval=spotted.interval,
        times=(times.get(spotted.interval.onset), times.get(spotted.interval.apex)),
        fps=clip.fps,
        n_frames=n_frames,
        curve=spotted.curve,
        lag=spotted.lag,
        clear=spotted.clear,
        onset_face=spotted.onset_face,
        apex_face=spotted.apex_face,
        flow=found.flow,
        graph=found.graph,
        input_spec=net.input_spec,
        face=face,
        warnings=(*warnings, *spotted.notes),
        seconds=watch,
        truth=truth,
    )


def _whole(clip: Clip, interval: Interval, kept: Mapping[int, AlignedFace]) -> Clip | None:
    """The clip from onset to offset; a clip whose offset nobody told ends with its expression."""
    if interval.onset not in kept or interval.apex not in kept:
        return None
    segment = kept[interval.onset].segment
    last = interval.offset if interval.offset is not None else max(kept)
    numbers = [i for i in sorted(kept) if interval.onset <= i <= last and kept[i].segment == segment]
    if interval.apex not in numbers:
        return None
    inside = Interval(onset=0, apex=numbers.index(interval.apex), offset=len(numbers) - 1, source=interval.source)
    return replace(clip, frames=Faces([kept[i] for i in numbers]), interval=inside, flow_map=None)


def _window_frames(frames: Iterable[Frame], start: int | None, end: int | None, fps: float | None) -> Iterator[Frame]:
    if start is None:
        yield from frames
        return
    last = end if end is not None else start + (SHORT_FRAMES if fps is None else max(2, round(SHORT_SECONDS * fps)))
    for frame in frames:
        if frame.index >= start:
            yield frame
        if frame.index >= last:
            return


def _noting(
    faces: Iterable[AlignedFace], times: dict[int, float | None], kept: dict[int, AlignedFace] | None
) -> Iterator[AlignedFace]:
    for face in faces:
        times[face.index] = face.time
        if kept is not None:
            kept[face.index] = face
        yield face
