"""From a video file to a prediction: face, moment, motion, class."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from zoo.errors import FaceError, MediaError, MissingExtra, ZooError
from zoo.inputs import flow_map, prepare
from zoo.result import FaceInfo, Result, ranges, save, writable
from zoo.spotting.apex import ASSUMED_FPS, LAG_SECONDS, SHORT_FRAMES, SHORT_SECONDS, Spotted, spot_apex
from zoo.types import Clip, Interval, Prediction
from zoo.vision.faces import FaceDetector, MTCNNDetector
from zoo.vision.track import AlignedFace, FaceTrack
from zoo.vision.video import Frame, MediaReader

if TYPE_CHECKING:
    from zoo.models._base import ZooModel

Progress = Callable[[int, int | None], None]  # frames done, frames in all if known
LOOK_SECONDS = 0.2  # between two looks for the face
FEW_FRAMES = 64  # up to here every frame is looked at


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
    """Recognise the micro-expression of a video.

    The video is decoded once, as a stream. The largest face is followed (see :class:`~zoo.vision.track.FaceTrack`), the
    moment of most motion is sought (see :func:`~zoo.spotting.apex.spot_apex`), and the flow from onset to apex goes
    through :func:`~zoo.inputs.prepare` to the model.

    Args:
        path: a video file, or a folder of numbered frames.
        model: a model, or the name of pretrained weights.
        onset: frame number from 0, if known; alone, the apex is sought in the second after it.
        apex: frame number from 0, if known; alone, the onset is the first frame, or 0.25 s before the apex where the
            first frame is more than a second away.
        fps: frames per second, where the medium does not say.
        out: folder for ``prediction.json`` and ``prediction.png``, see :func:`save`.
        progress: called after each frame.
        detector: finds faces; MTCNN unless given.
        min_face: smallest face to look for, in pixels of the video.

    Raises:
        MediaError: the video cannot be read, or ends before ``onset`` or ``apex``.
        FaceError: no face, or none that holds still.
        MissingExtra: no face detector is installed.
        ZooError: ``out`` cannot be written; ``onset`` and ``apex`` make no interval. UnknownName: no such model.
    """
    total = time.perf_counter()
    folder = writable(out) if out is not None else None
    reader = MediaReader(path, fps=fps)
    start, end = _window(onset, apex, reader)
    watch: dict[str, float] = {}
    with _timed(watch, "load"):
        net = _model(model)
        detector = detector or MTCNNDetector(min_face=min_face)
    few = reader.n_frames is not None and reader.n_frames <= FEW_FRAMES
    stride = 1 if few else max(1, round(LOOK_SECONDS * (reader.fps or ASSUMED_FPS)))
    stream = _window_frames(_clocked(reader, watch, progress), start, end, reader.fps)
    track = FaceTrack(stream, detector, stride=stride, hold=start is not None)
    times: dict[int, float | None] = {}
    loop = time.perf_counter()
    try:
        spotted = spot_apex(_noting(track, times), fps=reader.fps, onset=start, apex=end)
    except FaceError as error:
        raise _explain(error, reader, track, start, end) from None
    watch |= track.seconds
    watch["motion"] = time.perf_counter() - loop - watch.get("decode", 0.0) - sum(track.seconds.values())
    face = FaceInfo(
        checked=len(track.checked),
        lost=tuple(track.lost),
        skipped=tuple(sorted(track.skipped)),
        segments=track.segments,
        others=track.others,
        moved=round(track.moved, 3),
        interocular=round(track.interocular, 1),
    )
    warnings = [*reader.warnings, *_face_warnings(track, hold=start is not None)]
    measured = int(np.isfinite(spotted.curve).sum())
    if start is None and measured < 0.7 * track.n_frames:
        warnings.append(
            f"motion was measured in {measured} of {track.n_frames} frames, since the head moves: a steadier "
            f"head shows more"
        )
    result = _finish(
        spotted,
        net,
        str(model) if isinstance(model, str) else net.arch,
        watch,
        total,
        face=face,
        times=times,
        clip=Clip(id=reader.path.name, dataset="video", subject="unknown", fps=reader.fps),
        n_frames=track.n_frames,
        warnings=warnings,
    )
    if folder is not None:
        save(result, folder)
    return result


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
    with _timed(watch, "load"):
        net = _model(model)
    times = {i: i / clip.fps if clip.fps else None for i in range(len(clip.frames))}
    given = clip.interval
    faces = (AlignedFace(i, times[i], frame, 1) for i, frame in enumerate(clip.frames))
    with _timed(watch, "motion"):
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
) -> Result:
    """From the two faces to the probabilities."""
    import torch

    spec = net.input_spec
    pair = replace(clip, frames=[spotted.onset_face, spotted.apex_face], interval=Interval(onset=0, apex=1))
    with _timed(watch, "flow"):
        flow = flow_map(pair, spec.flow)
        x = prepare(replace(pair, flow_map=flow), spec)
    training = net.training
    with _timed(watch, "model"), torch.inference_mode():
        net.eval()
        weight = next(net.parameters(), torch.zeros(()))  # an exported model shows none
        logits = net(torch.from_numpy(x)[None].to(weight.device, weight.dtype))[0]
        net.train(training)
    probabilities = tuple(torch.softmax(logits.double().cpu(), 0).tolist())
    classes = net.classes or tuple(f"class {i}" for i in range(len(probabilities)))
    flat = [channel for channel, data in zip(("u", "v", "strain"), flow.data, strict=True) if np.ptp(data) < 1e-6]
    if flat:
        warnings.append(f"nothing moves between onset and apex ({', '.join(flat)} constant): the prediction is void")
    if clip.fps is not None and clip.fps < 25:
        warnings.append(f"{clip.fps:.3g} frames/s is slow for micro-expressions, which last 0.04 to 0.5 s")
    if not net.classes:
        warnings.append("the model carries no class names: its weights may be untrained")
    watch["total"] = time.perf_counter() - begun
    return Result(
        prediction=Prediction(clip=clip.key, probabilities=probabilities, classes=classes),
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
        flow=flow,
        input_spec=spec,
        face=face,
        warnings=(*warnings, *spotted.notes),
        seconds=watch,
        truth=truth,
    )


def _model(model: str | ZooModel) -> Any:
    if not isinstance(model, str):
        return model
    if model.endswith((".onnx", ".pt2")):
        from zoo.export import open_exported

        return open_exported(model)
    from zoo.weights import load

    return load(model)


def _window(onset: int | None, apex: int | None, reader: MediaReader) -> tuple[int | None, int | None]:
    """Onset and apex that bound what is read; (None, None) where the whole video is searched."""
    for name, number in (("onset", onset), ("apex", apex)):
        if number is not None and (number < 0 or (reader.n_frames is not None and number >= reader.n_frames)):
            last = "the last" if reader.n_frames is None else str(reader.n_frames - 1)
            raise MediaError(f"{name} is frame {number}; the frames of {reader.path} are numbered from 0 to {last}")
    if apex is not None and onset is None:
        near = apex <= (SHORT_FRAMES if reader.fps is None else SHORT_SECONDS * reader.fps)
        onset = 0 if near else apex - max(1, round(LAG_SECONDS * (reader.fps or ASSUMED_FPS)))
    if onset is not None and apex is not None and onset >= apex:
        raise ZooError(f"onset {onset} must come before apex {apex}; give frame numbers counted from 0")
    return onset, apex


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


def _clocked(reader: MediaReader, watch: dict[str, float], progress: Progress | None) -> Iterator[Frame]:
    total = reader.n_frames
    frames = iter(reader)
    while True:
        begin = time.perf_counter()
        frame = next(frames, None)
        watch["decode"] = watch.get("decode", 0.0) + time.perf_counter() - begin
        if frame is None:
            return
        yield frame
        if progress is not None:
            progress(frame.index + 1, total)


def _noting(faces: Iterable[AlignedFace], times: dict[int, float | None]) -> Iterator[AlignedFace]:
    for face in faces:
        times[face.index] = face.time
        yield face


@contextmanager
def _timed(watch: dict[str, float], stage: str) -> Iterator[None]:
    begin = time.perf_counter()
    yield
    watch[stage] = watch.get(stage, 0.0) + time.perf_counter() - begin


def _explain(error: FaceError, reader: MediaReader, track: FaceTrack, start: int | None, end: int | None) -> ZooError:
    wanted = max((n for n in (start, end) if n is not None), default=-1)
    if track.n_frames <= wanted:
        return MediaError(
            f"{reader.path} ends before frame {wanted}, which was given as "
            f"{'apex' if end == wanted else 'onset'}; frames are counted from 0"
        )
    if len(track.lost) == len(track.checked):
        return FaceError(
            f"no face in {reader.path}: {len(track.checked)} of {track.n_frames} frames were looked at; crop "
            f"closer, film in better light, or lower min_face (in pixels) if the face is small"
        )
    return FaceError(f"{reader.path}: {error}")


def _face_warnings(track: FaceTrack, *, hold: bool) -> list[str]:
    out = []
    if track.lost:
        out.append(
            f"the face was not found in {len(track.lost)} of the {len(track.checked)} frames looked at: "
            f"{ranges(track.lost)}"
        )
    if track.skipped:
        out.append(
            f"{len(track.skipped)} of {track.n_frames} frames were left out (no face, or the head moved fast): "
            f"{ranges(track.skipped)}"
        )
    if track.others:
        out.append(f"{track.others} other face{'s' if track.others > 1 else ''} in view; the largest was followed")
    if hold and track.moved > 0.15:
        out.append(f"the head moved by {track.moved:.0%} of the distance between the eyes within the interval given")
    if 0 < track.interocular < 22:
        out.append(f"the face is small ({track.interocular:.0f} px between the eyes): faint motion is lost")
    if track.outside > 0.05:
        out.append(f"the face touches the edge of the picture ({track.outside:.0%} of the crop lies outside)")
    if track.residual > 0.05:
        out.append("the face is turned away from the camera; the models have seen frontal faces")
    return out
