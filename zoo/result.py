"""What a prediction is worth: the answer, the evidence beside it, and its two files."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from zoo.errors import ZooError
from zoo.types import AUGraph, FlowMap, InputSpec, Interval, Prediction

if TYPE_CHECKING:
    from zoo.spotting.events import Found, Spotting

GRAPH_EDGES = 24  # drawn on a face, the heaviest


@dataclass(frozen=True, kw_only=True)
class FaceInfo:
    """How the face was followed. Frame numbers count from 0."""

    checked: int = 0  # frames in which the face was looked for; 0 where the clip was aligned already
    lost: tuple[int, ...] = ()  # those of them in which it was not found
    skipped: tuple[int, ...] = ()  # frames given up: no face near, or the head moved too fast
    segments: int = 1  # stretches that share one alignment
    others: int = 0  # most faces seen beside the largest, which was followed
    moved: float = 0.0  # of the distance between the eyes, largest movement under one alignment
    interocular: float | None = None  # pixels between the eyes in the video


@dataclass(frozen=True, kw_only=True, eq=False)
class RecognisedEvent:
    """One interval that was spotted in a long video, and what the model made of it."""

    event: Found  # when, of which kind, how far above the threshold
    prediction: Prediction
    face: np.ndarray  # uint8 [84, 84, 3] RGB, the apex

    def to_dict(self, fps: float | None) -> dict[str, Any]:
        """An entry of ``events`` in ``prediction.json``."""
        e, p = self.event, self.prediction
        moments = {"onset": e.onset, "apex": e.apex, "offset": e.offset}
        return {
            **moments,
            **{f"{name}_seconds": _round(frame / fps) if fps else None for name, frame in moments.items()},
            "kind": e.kind,
            "score": round(e.score, 3),
            "label": p.label,
            "probabilities": [round(v, 6) for v in p.probabilities],
            "aus": {str(unit): round(value, 6) for unit, value in p.aus},
        }


@dataclass(frozen=True, kw_only=True, eq=False)
class Result:
    """A prediction with everything needed to judge it."""

    prediction: Prediction
    model: str
    source: str  # name of the file, or key of the clip
    interval: Interval
    times: tuple[float | None, float | None]  # onset and apex, seconds from the first frame
    fps: float | None
    n_frames: int  # read
    curve: np.ndarray  # float32 [n], see Spotted
    lag: int | None  # frames, see Spotted
    clear: bool  # whether the motion has a clear peak
    onset_face: np.ndarray  # uint8 [168, 168, 3] RGB, aligned
    apex_face: np.ndarray
    flow: FlowMap  # float32 [3, 168, 168], pixels of the aligned face
    input_spec: InputSpec
    face: FaceInfo
    warnings: tuple[str, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)  # spent, by stage
    truth: Mapping[str, Any] | None = None  # what a synthetic clip shows
    # of a long video, in which expressions were spotted first; prediction, interval and faces are then those of the strongest
    spotting: Spotting | None = None
    events: tuple[RecognisedEvent, ...] = ()  # in order of time
    graph: AUGraph | None = None  # what a network of action units saw

    @property
    def pictures(self) -> tuple[str, ...]:
        """Names of the figures that :func:`save` draws."""
        timeline, graph = self.spotting is not None, self.graph is not None
        return ("prediction.png", *(["timeline.png"] if timeline else []), *(["graph.png"] if graph else []))

    @property
    def synthetic(self) -> bool:
        """Whether the clip was made by a program; then ``truth`` is known."""
        return self.truth is not None

    def to_dict(self) -> dict[str, Any]:
        """The content of ``prediction.json``; the fields are listed at :func:`save`."""
        import av
        import cv2
        import torch

        from zoo._version import __version__

        p = self.prediction
        return {
            "source": self.source,
            "model": self.model,
            "label": p.label,
            "classes": list(p.classes),
            "probabilities": [round(v, 6) for v in p.probabilities],
            "aus": {str(unit): round(value, 6) for unit, value in p.aus},
            "graph": None
            if self.graph is None
            else {"nodes": list(self.graph.nodes), "adjacency": self.graph.adjacency.round(4).tolist()},
            "synthetic": self.synthetic,
            "truth": dict(self.truth) if self.truth is not None else None,
            "interval": {
                "onset": self.interval.onset,
                "apex": self.interval.apex,
                "source": self.interval.source,
                "onset_seconds": _round(self.times[0]),
                "apex_seconds": _round(self.times[1]),
            },
            "events": [event.to_dict(self.fps) for event in self.events],
            "clear_peak": self.clear,
            "fps": self.fps,
            "n_frames": self.n_frames,
            "motion": {
                "unit": "percent of the distance between the eyes",
                "lag_frames": self.lag,
                "curve": [None if np.isnan(v) else round(float(v), 3) for v in self.curve],
            },
            "face": {**self.face.__dict__, "lost": list(self.face.lost), "skipped": list(self.face.skipped)},
            "warnings": list(self.warnings),
            "input_spec": self.input_spec.to_dict(),
            "seconds": {k: round(v, 3) for k, v in self.seconds.items()},
            "versions": {
                "au-graph-zoo": __version__,
                "torch": str(torch.__version__),
                "numpy": np.__version__,
                "opencv": cv2.__version__,
                "av": av.__version__,
            },
            "notice": "Research use. Not a lie detector.",
        }


def save(result: Result, out: str | Path) -> tuple[Path, Path]:
    """Write ``prediction.json`` and ``prediction.png``, of a long video ``timeline.png``, of a network of action units
    ``graph.png``; each whole or not at all.

    The JSON holds: ``source``, ``model``, ``label``, ``classes``, ``probabilities`` (in the order of the classes); ``aus`` (unit:
    probability) and ``graph`` (nodes, and what each takes from each; null where the model has none);
    ``synthetic`` and ``truth`` (emotion, label, aus, intensities, onset, apex, offset; null for real footage);
    ``interval`` (onset and apex as frame numbers from 0 and in seconds, and who chose them); ``events`` (of a long video: each
    interval spotted, with onset, apex and offset in frames and seconds, kind micro or macro, score, label, probabilities, aus;
    the fields above are those of the strongest; empty where the clip is short or the moment was given); ``clear_peak``; ``fps``
    (null if unknown); ``n_frames`` read; ``motion`` (unit, lag, and the curve with one number or null per frame); ``face``
    (how it was followed, see :class:`FaceInfo`); ``warnings``; ``input_spec``; ``seconds`` by stage; ``versions``; ``notice``.

    Raises:
        ZooError: the folder cannot be written.
    """
    from zoo.report import prediction_figure

    folder = writable(out)
    text = json.dumps(result.to_dict(), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    targets = [folder / name for name in ("prediction.json", *result.pictures)]
    half = [folder / f".part.{target.name}" for target in targets]
    try:
        half[0].write_text(text, encoding="utf-8")
        prediction_figure(result, half[1])
        if result.spotting is not None:
            from zoo.spotting.figure import Moment, timeline_figure

            moments = [Moment(e.event, e.face, f"{e.prediction.label} ({e.event.kind})") for e in result.events]
            timeline_figure(result.spotting, folder / ".part.timeline.png", moments=moments)
        if result.graph is not None:
            from zoo.graph.draw import graph_figure

            g = result.graph
            title = f"{result.model}, apex frame {result.interval.apex}"
            graph_figure(
                g.adjacency, g.nodes, face=result.apex_face, values=g.values, title=title, most=GRAPH_EDGES
            ).savefig(folder / ".part.graph.png", dpi=110)
        for part, target in zip(half, targets, strict=True):
            part.replace(target)
    except OSError as error:
        raise ZooError(f"the result cannot be written to {folder} ({error.strerror}); choose another folder") from None
    finally:
        for part in half:
            part.unlink(missing_ok=True)
    return targets[0], targets[1]


def writable(out: str | Path) -> Path:
    """The folder, made if need be. Raises ZooError now if nothing can be written there, and not after the work."""
    folder = Path(out).expanduser()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ZooError(f"nothing can be written to {folder} ({error.strerror}); choose another output folder") from None
    return folder


def ranges(numbers: Iterable[int], most: int = 8) -> str:
    """``[3, 4, 5, 9]`` -> ``"3–5, 9"``; after ``most`` entries an ellipsis."""
    spans: list[list[int]] = []
    for number in sorted(numbers):
        if spans and number == spans[-1][1] + 1:
            spans[-1][1] = number
        else:
            spans.append([number, number])
    text = [str(a) if a == b else f"{a}–{b}" for a, b in spans]
    return ", ".join(text[:most]) + (f", … ({len(text) - most} more)" if len(text) > most else "")


def _round(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
