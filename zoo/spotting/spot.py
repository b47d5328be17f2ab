"""One door to all spotters: a video goes in, intervals come out."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, assert_never, get_args

import cv2
import numpy as np

from zoo.errors import FaceError, MediaError, ZooError
from zoo.metrics_spotting import Kind
from zoo.spotting import lbp, mdmd, softnet
from zoo.spotting.ahead import ahead
from zoo.spotting.events import Curve, Found, Spotting, kind_of
from zoo.spotting.flow import FlowSpotter
from zoo.spotting.stream import SteadyFace, SteadyTrack
from zoo.vision.faces import FACE_SIZE, FaceDetector, MTCNNDetector, align
from zoo.vision.video import Frame, MediaReader

if TYPE_CHECKING:
    from zoo.models.softnet import SoftNet

Method = Literal["flow", "mdmd", "softnet", "lbp"]
ASSUMED_FPS = 30.0
SLOW_RATE = 30.0  # frames per second that the dense methods look at, at most; faster videos are thinned
KEY_FRAMES = 8  # faces kept for the figure
WEIGHTS = ("softnet.synthetic_micro", "softnet.synthetic_macro")
KINDS: tuple[Kind, ...] = ("micro", "macro")


class _Spotter(Protocol):
    """What :func:`search` feeds: faces in order, then the end."""

    size: int  # px of the faces it wants
    step: int  # frames from one face to the next

    def add(self, face: SteadyFace) -> None: ...

    def finish(self, n_frames: int) -> tuple[list[Found], list[Curve], list[str]]: ...


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
    spotter = _spotter(method, rate, count, models, k)
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


def _spotter(
    method: Method, fps: float, n_frames: int | None, models: Sequence[str | SoftNet] | None, k: int | None
) -> _Spotter:
    match method:
        case "flow":
            return _Flow(fps)
        case "mdmd":
            return _Mdmd(fps, n_frames)
        case "softnet":
            return _SoftNets(fps, [_network(m) for m in models or WEIGHTS], k)
        case "lbp":
            return _Texture(fps)
        case _:
            assert_never(method)


class _Flow:
    size = FACE_SIZE

    def __init__(self, fps: float) -> None:
        self.events: list[Found] = []
        self.spotter = FlowSpotter(fps)
        self.step = self.spotter.step

    def add(self, face: SteadyFace) -> None:
        self.events += self.spotter.add(face)

    def finish(self, n_frames: int) -> tuple[list[Found], list[Curve], list[str]]:
        return [*self.events, *self.spotter.finish()], [self.spotter.curve(n_frames)], []


class _Thinned:
    """Counts in steps of some frames, so that no more than 30 per second are looked at."""

    def __init__(self, fps: float) -> None:
        self.step = max(1, round(fps / SLOW_RATE))
        self.rate = fps / self.step

    def due(self, face: SteadyFace) -> bool:
        return face.index % self.step == 0

    def full(
        self, events: list[Found], name: str, values: np.ndarray, line: float, n: int
    ) -> tuple[list[Found], Curve]:
        """Events and curve in frames of the video."""
        step = self.step
        out = [replace(e, onset=e.onset * step, apex=e.apex * step, offset=min(n - 1, e.offset * step)) for e in events]
        full = np.full(n, np.nan, np.float32)
        known = np.flatnonzero(np.isfinite(values))
        if len(known):
            inside = np.arange(known[0] * step, min(n, known[-1] * step + 1))
            full[inside] = np.interp(inside, known * step, values[known])
        return out, Curve(name=name, values=full, threshold=np.array([line], np.float32))


class _Mdmd(_Thinned):
    size = mdmd.SOURCE_SIZE

    def __init__(self, fps: float, n_frames: int | None) -> None:
        super().__init__(fps)
        total = None if n_frames is None else n_frames // self.step
        self.by_kind = {kind: mdmd.Differences(mdmd.k_of(kind, self.rate, total)) for kind in KINDS}

    def add(self, face: SteadyFace) -> None:
        if self.due(face):
            grey = mdmd.face_of(face.grey)
            for feature in self.by_kind.values():
                feature.add(face.index // self.step, face.segment, grey)

    def finish(self, n_frames: int) -> tuple[list[Found], list[Curve], list[str]]:
        events, curves, notes = [], [], []
        total = -(-n_frames // self.step)
        for kind, feature in self.by_kind.items():
            found, values, line = mdmd.intervals(feature.values, total, feature.k, kind, self.rate)
            if not feature.values:
                notes.append(
                    f"too short for {kind}-expressions: MDMD compares frames {2 * feature.k * self.step} apart"
                )
            mapped, curve = self.full(found, f"MDMD contrast, {kind}, pixels", values, line, n_frames)
            events += mapped
            curves.append(curve)
        return events, curves, notes


class _SoftNets(_Thinned):
    size = softnet.SIZE

    def __init__(self, fps: float, networks: Sequence[SoftNet], k: int | None) -> None:
        super().__init__(fps)
        self.parts = [softnet.Scorer(n, max(1, round((k / fps if k else n.k / n.fps) * self.rate))) for n in networks]

    def add(self, face: SteadyFace) -> None:
        if self.due(face):
            for part in self.parts:
                part.add(face.index // self.step, face.segment, face.grey)

    def finish(self, n_frames: int) -> tuple[list[Found], list[Curve], list[str]]:
        events, curves, notes = [], [], []
        total = -(-n_frames // self.step)
        for part in self.parts:
            kind: Kind = part.model.kind
            if total < 2 * part.k:
                notes.append(f"too short for {kind}-expressions: SOFTNet smooths over {2 * part.k * self.step} frames")
            found, values, line = softnet.intervals(part.finish(total), part.k, kind)
            mapped, curve = self.full(found, f"SOFTNet score, {kind}", values, line, n_frames)
            events += mapped
            curves.append(curve)
        return events, curves, notes


class _Texture(_Thinned):
    size = FACE_SIZE

    def __init__(self, fps: float) -> None:
        super().__init__(fps)
        self.k = max(1, round((lbp.N - 1) / 2 * self.rate / 30 + 0.5))
        self.feature = lbp.ChiSquare(self.k)

    def add(self, face: SteadyFace) -> None:
        if self.due(face):
            self.feature.add(face.index // self.step, face.segment, lbp.lbp_histograms(face.grey))

    def finish(self, n_frames: int) -> tuple[list[Found], list[Curve], list[str]]:
        total = -(-n_frames // self.step)
        spans, values, line = lbp.chi_square_spans(self.feature.finish(total), self.k, self.rate)
        events = [
            Found(
                onset=a,
                apex=a + int(np.argmax(values[a : b + 1])),
                offset=b,
                kind=kind_of(a, b, self.rate),
                score=float(values[a : b + 1].max() / max(line, 1e-9)),
            )
            for a, b in spans
        ]
        mapped, curve = self.full(events, "change of texture (chi-square contrast)", values, line, n_frames)
        notes = [] if total > 2 * self.k else [f"too short: frames {2 * self.k * self.step} apart are compared"]
        return mapped, [curve], notes


def _network(model: str | SoftNet) -> SoftNet:
    if isinstance(model, str):
        from zoo.weights import load

        model = load(model)  # type: ignore[assignment]
    from zoo.models.softnet import SoftNet

    if not isinstance(model, SoftNet):
        raise ZooError(
            f"a {type(model).__name__} scores no frames; method softnet wants a softnet, see zoo models 'softnet*'"
        )
    return model
