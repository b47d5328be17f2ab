"""What a spotter finds, and the rules that turn a curve into intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from scipy.signal import find_peaks

from zoo.metrics_spotting import Event, Kind
from zoo.types import Interval

MICRO_SECONDS = 0.5  # the field's line between micro and macro


@dataclass(frozen=True, kw_only=True)
class Found(Interval):
    """An interval that a spotter found; both ends belong to it."""

    offset: int
    kind: Kind
    score: float  # how far the curve rose: peak over threshold, so that 1 is barely found
    source: Literal["annotated", "spotted", "estimated", "user", "synthetic"] = "spotted"

    def event(self, video: str) -> Event:
        """As :func:`zoo.metrics_spotting.spotting_scores` wants it."""
        return Event(video=video, onset=self.onset, offset=self.offset, kind=self.kind)


@dataclass(frozen=True, kw_only=True, eq=False)
class Curve:
    """One number per frame, and the line above which something happens."""

    name: str  # with its unit
    values: np.ndarray  # float32 [n], NaN where not measured
    threshold: np.ndarray  # float32 [n], or [1] where it is the same for all frames


@dataclass(frozen=True, kw_only=True, eq=False)
class Spotting:
    """What was found in a video, with the evidence."""

    source: str  # name of the file
    method: str
    events: tuple[Found, ...]  # in order of time
    curves: tuple[Curve, ...]
    fps: float | None
    n_frames: int
    skipped: tuple[int, ...] = ()  # frames without a face
    warnings: tuple[str, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)  # spent, by stage
    # the aligned face at the apex of the strongest events, by frame number; uint8 [168, 168, 3]
    key_frames: Mapping[int, np.ndarray] = field(default_factory=dict)

    def strongest(self, most: int) -> list[Found]:
        """The events of the highest scores, in order of time."""
        return sorted(sorted(self.events, key=lambda e: -e.score)[:most], key=lambda e: e.onset)

    def to_dict(self) -> dict[str, Any]:
        """JSON-plain form: events with frame numbers and seconds, curves with one number or null per frame."""
        rate = self.fps

        def at(frame: int) -> float | None:
            return round(frame / rate, 4) if rate else None

        return {
            "source": self.source,
            "method": self.method,
            "fps": rate,
            "n_frames": self.n_frames,
            "events": [
                {
                    "onset": e.onset,
                    "apex": e.apex,
                    "offset": e.offset,
                    "onset_seconds": at(e.onset),
                    "apex_seconds": at(e.apex),
                    "offset_seconds": at(e.offset),
                    "kind": e.kind,
                    "score": round(e.score, 3),
                }
                for e in self.events
            ],
            "curves": [
                {
                    "name": c.name,
                    "values": [round(float(v), 4) if np.isfinite(v) else None for v in c.values],
                    "threshold": [round(float(v), 4) if np.isfinite(v) else None for v in c.threshold],
                }
                for c in self.curves
            ],
            "skipped": list(self.skipped),
            "warnings": list(self.warnings),
            "seconds": {k: round(v, 3) for k, v in self.seconds.items()},
            "notice": "Research use. Not a lie detector.",
        }


def kind_of(onset: int, offset: int, fps: float) -> Kind:
    """Micro up to half a second between the first and the last frame (as :func:`zoo.metrics_spotting.with_kind`)."""
    return "micro" if (offset - onset) / fps <= MICRO_SECONDS else "macro"


def smooth(scores: np.ndarray, k: int) -> np.ndarray:
    """Mean over the 2k frames ``[i - k, i + k)``; NaN where they are not all measured (SOFTNet, MEAN).

    Shapes: ``[n]`` -> ``[n]``.
    """
    out = np.full(len(scores), np.nan, np.float64)
    if len(scores) >= 2 * k >= 2:
        measured = np.isfinite(scores)
        total = np.concatenate([[0.0], np.cumsum(np.where(measured, scores, 0), dtype=np.float64)])
        known = np.concatenate([[0], np.cumsum(measured)])
        whole = known[2 * k :] - known[: -2 * k] == 2 * k
        out[k : len(scores) - k + 1] = np.where(whole, (total[2 * k :] - total[: -2 * k]) / (2 * k), np.nan)
    return out


def contrast(values: np.ndarray, k: int) -> np.ndarray:
    """How far a curve stands above its surroundings k frames away, never below 0; 0 where they are not known.

    Shapes: ``[n]`` -> ``[n]``.
    """
    out = np.zeros(len(values))
    if k > 0 and len(values) > 2 * k:
        out[k:-k] = np.nan_to_num(values[k:-k] - (values[: -2 * k] + values[2 * k :]) / 2)
    return np.maximum(out, 0.0)


def threshold(values: np.ndarray, p: float) -> float:
    """``mean + p (max - mean)`` over what was measured; infinite where the curve is constant, so that nothing is above it."""
    seen = values[np.isfinite(values)]
    if not seen.size or float(np.ptp(seen)) <= 1e-9 * max(1.0, float(np.abs(seen).max())):
        return float("inf")
    return float(seen.mean() + p * (seen.max() - seen.mean()))


def peaks(values: np.ndarray, height: float, distance: int) -> list[int]:
    """Local maxima of at least ``height`` that lie at least ``distance`` frames apart (the higher one stays)."""
    filled = np.where(np.isfinite(values), values, -np.inf)
    if not np.isfinite(height):
        return []
    found, _ = find_peaks(filled, height=height, distance=max(1, distance))
    return [int(i) for i in found]


def runs(above: Sequence[bool] | np.ndarray, *, least: int = 1, gap: int = 0) -> list[tuple[int, int]]:
    """First and last frame of each group of neighbours; groups of fewer than ``least`` are dropped, then those with fewer than
    ``gap`` frames between them are joined.
    """
    flags = np.concatenate([[False], np.asarray(above, bool), [False]]).astype(np.int8)
    steps = np.diff(flags)
    groups = [
        (int(a), int(b) - 1) for a, b in zip(np.flatnonzero(steps == 1), np.flatnonzero(steps == -1), strict=True)
    ]
    out: list[tuple[int, int]] = []
    for first, last in groups:
        if last - first + 1 < least:
            continue
        if out and first - out[-1][1] - 1 < gap:
            out[-1] = (out[-1][0], last)
        else:
            out.append((first, last))
    return out
