"""The spotters behind one face: they take faces in order, then tell intervals and curves in frames of the video."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Literal, Protocol, assert_never

import numpy as np

from zoo.errors import ZooError
from zoo.metrics_spotting import Kind
from zoo.spotting import lbp, mdmd, softnet
from zoo.spotting.events import Curve, Found, kind_of
from zoo.spotting.flow import FlowSpotter
from zoo.spotting.stream import SteadyFace
from zoo.vision.faces import FACE_SIZE

if TYPE_CHECKING:
    from zoo.models.softnet import SoftNet

Method = Literal["flow", "mdmd", "softnet", "lbp"]
SLOW_RATE = 30.0  # frames per second that the dense methods look at, at most; faster videos are thinned
WEIGHTS = ("softnet.synthetic_micro", "softnet.synthetic_macro")
KINDS: tuple[Kind, ...] = ("micro", "macro")


class Spotter(Protocol):
    """What :func:`zoo.spotting.spot.search` feeds: faces in order, then the end."""

    size: int  # px of the faces it wants
    step: int  # frames from one face to the next

    def add(self, face: SteadyFace) -> None:
        """Take the next face."""
        ...

    def finish(self, n_frames: int) -> tuple[list[Found], list[Curve], list[str]]:
        """Intervals, curves and warnings of a video of so many frames."""
        ...


def spotter_of(
    method: Method, fps: float, n_frames: int | None, models: Sequence[str | SoftNet] | None, k: int | None
) -> Spotter:
    """The spotter of a method, for a video of that rate and, if known, length."""
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
