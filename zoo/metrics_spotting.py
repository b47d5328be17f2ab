"""Spotting scores and the spot-then-recognise score, with the three public evaluators by name.

Intervals are inclusive at both ends; counts are pooled over all videos of a data set, never averaged per video. The
evaluators differ in the third decimal, so that a score without its evaluator's name means little.
"""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

from zoo.errors import ZooError
from zoo.metrics import confusion, harmonic_of

Evaluator = Literal["one_to_one", "megc2020", "softnet"]
Kind = Literal["micro", "macro"]


@dataclass(frozen=True, kw_only=True)
class Event:
    """One true or predicted interval in a long video; both ends belong to it."""

    video: str  # unique over everything that is scored together
    onset: int  # first frame
    offset: int  # last frame, inclusive
    kind: Kind | None = None  # None: not told, see :func:`with_kind`
    label: str | None = None  # emotion, for spot-then-recognise

    def __post_init__(self) -> None:
        if self.onset < 0 or self.offset < self.onset:
            raise ZooError(
                f"video {self.video}: interval [{self.onset}, {self.offset}] is impossible; "
                "0 <= onset <= offset is wanted"
            )
        if self.kind is not None and self.kind not in get_args(Kind):
            raise ZooError(f"video {self.video}: kind is {self.kind!r}; known: {', '.join(get_args(Kind))}")


@dataclass(frozen=True)
class Counts:
    """Hits, number of true intervals and number of predictions; the rest follows. Add counts to pool them."""

    tp: int = 0
    truths: int = 0
    predictions: int = 0

    @classmethod
    def of(cls, tp: int, fp: int, fn: int) -> Counts:
        """From the three numbers that papers print."""
        return cls(tp, tp + fn, tp + fp)

    def __add__(self, other: Counts) -> Counts:
        return Counts(self.tp + other.tp, self.truths + other.truths, self.predictions + other.predictions)

    @property
    def fp(self) -> int:
        """Predictions without a hit; can fall below 0 only with the ``megc2020`` evaluator, which counts pairs."""
        return self.predictions - self.tp

    @property
    def fn(self) -> int:
        """True intervals without a hit."""
        return self.truths - self.tp

    @property
    def precision(self) -> float:
        """``TP / N``; 0 where nothing was predicted."""
        return self.tp / self.predictions if self.predictions else 0.0

    @property
    def recall(self) -> float:
        """``TP / M``; NaN where there is nothing to find."""
        return self.tp / self.truths if self.truths else float("nan")

    @property
    def f1(self) -> float:
        """``2 TP / (M + N)``; NaN where there is nothing to find."""
        return 2 * self.tp / (self.truths + self.predictions) if self.truths else float("nan")

    def to_dict(self) -> dict[str, float]:
        """JSON-plain form."""
        return {
            "tp": self.tp,
            "fp": self.fp,
            "fn": self.fn,
            "precision": self.precision,
            "recall": self.recall,
            "f1": self.f1,
        }


def interval_iou(a: Event, b: Event, evaluator: Evaluator = "one_to_one") -> float:
    """Intersection over union of two inclusive frame sets. With ``megc2020`` even disjoint intervals share one
    frame.
    """
    overlap = min(a.offset, b.offset) - max(a.onset, b.onset)
    shared = max(0, overlap) + 1 if evaluator == "megc2020" else max(0, overlap + 1)
    return shared / (a.offset - a.onset + b.offset - b.onset + 2 - shared)


def match_events(
    truth: Sequence[Event], predicted: Sequence[Event], *, evaluator: Evaluator = "one_to_one", threshold: float = 0.5
) -> list[tuple[Event, Event]]:
    """Hits (truth, prediction) among intervals of one video and one kind.

    ``one_to_one`` pairs by decreasing IoU, each interval once. ``softnet`` (SOFTNet, MTSN, MEAN) goes through the
    predictions in time order, compares each with its best truth only, and counts it wrong if that one is taken.
    ``megc2020`` (organisers' script) counts every pair that overlaps enough, so that one truth can be hit twice.
    """
    truth = sorted(truth, key=lambda e: (e.onset, e.offset))
    predicted = sorted(predicted, key=lambda e: (e.onset, e.offset))
    table = [[interval_iou(t, p, evaluator) for p in predicted] for t in truth]
    pairs: list[tuple[int, int]] = []
    if evaluator == "megc2020":
        pairs = [(i, j) for i, row in enumerate(table) for j, value in enumerate(row) if value >= threshold]
    elif evaluator == "softnet":
        for j in range(len(predicted) if truth else 0):
            best = max(range(len(truth)), key=lambda i: table[i][j])
            if table[best][j] >= threshold and all(best != i for i, _ in pairs):
                pairs.append((best, j))
    elif evaluator == "one_to_one":
        used_t, used_p = set(), set()
        for value, i, j in sorted((-table[i][j], i, j) for i in range(len(truth)) for j in range(len(predicted))):
            if -value >= threshold and i not in used_t and j not in used_p:
                pairs.append((i, j))
                used_t.add(i)
                used_p.add(j)
    else:
        raise ZooError(f"there is no spotting evaluator {evaluator!r}; known: {', '.join(get_args(Evaluator))}")
    return [(truth[i], predicted[j]) for i, j in pairs]


def with_kind(events: Iterable[Event], fps: float) -> tuple[list[Event], int]:
    """Name the kind of predictions that have none: micro if offset - onset is at most 0.5 s. Returns them and how many.

    Reading: the 0.5 s are counted between the first and the last frame, so that the 101-frame micro-expressions of
        SAMM at
    200 frames per second are micro, as in the sheet. Only for predictions: the kind of the truth comes from the sheet.
    """
    result, named = [], 0
    for e in events:
        if e.kind is None:
            named += 1
            kind: Kind = "micro" if (e.offset - e.onset) / fps <= 0.5 else "macro"
            e = replace(e, kind=kind)
        result.append(e)
    return result, named


def spotting_scores(
    truth: Iterable[Event],
    predicted: Iterable[Event],
    videos: Iterable[str],
    *,
    evaluator: Evaluator = "one_to_one",
    threshold: float = 0.5,
) -> dict[str, Counts]:
    """Pooled spotting counts: ``micro``, ``macro`` and ``overall`` (TP, FP and FN pooled, *not* the mean of two F1s).

    Args:
        truth: all true intervals.
        predicted: all predicted intervals; each must name its kind.
        videos: every video that was searched, also those without an expression.
        evaluator: see :func:`match_events`; ``softnet`` also adds a dummy ``[0, 0]`` to a video without predictions.
        threshold: least IoU of a hit.

    Raises:
        ZooError: an interval without kind, or in a video that was not searched.
    """
    names = list(dict.fromkeys(videos))
    sorted_in: dict[tuple[str, str, bool], list[Event]] = defaultdict(list)
    for is_truth, events in ((True, truth), (False, predicted)):
        for e in events:
            if e.kind is None:
                raise ZooError(
                    f"video {e.video}: interval [{e.onset}, {e.offset}] names no kind; call with_kind(events, fps)"
                )
            sorted_in[e.video, e.kind, is_truth].append(e)
    unknown = sorted({video for video, _, _ in sorted_in} - set(names))
    if unknown:
        raise ZooError(
            f"intervals in {len(unknown)} videos that are not among those searched, first {unknown[0]!r}; "
            "list every video in `videos`"
        )
    result: dict[str, Counts] = {}
    kinds: tuple[Kind, ...] = get_args(Kind)
    for kind in kinds:
        pooled = Counts()
        for video in names:
            t, p = sorted_in[video, kind, True], sorted_in[video, kind, False]
            if evaluator == "softnet" and not p:
                p = [Event(video=video, onset=0, offset=0, kind=kind)]
            pooled += Counts(len(match_events(t, p, evaluator=evaluator, threshold=threshold)), len(t), len(p))
        if not pooled.truths:
            warnings.warn(
                f"there is no true {kind} interval in the {len(names)} videos: its F1 is undefined (NaN)", stacklevel=2
            )
        result[kind] = pooled
    result["overall"] = result["micro"] + result["macro"]
    return result


def strs(
    truth: Iterable[Event],
    predicted: Iterable[Event],
    videos: Iterable[str],
    classes: Sequence[str],
    *,
    evaluator: Evaluator = "one_to_one",
) -> dict[str, float]:
    """Spot-then-recognise score of MEGC: spotting F1 of the micros times recognition F1 on the hits.

    The recognition F1 is :func:`zoo.metrics.harmonic_f1` over the classes present among the hits. Hits whose truth is
    outside ``classes`` (``others`` in the three-class variant) count as spotted but are not recognised; their number is
    returned.
    """
    names = list(dict.fromkeys(videos))
    true_events = [e for e in truth if e.kind in ("micro", None)]
    found = [e for e in predicted if e.kind in ("micro", None)]
    spot, pairs, left_out = Counts(), [], 0
    strangers = sorted({e.video for e in (*true_events, *found)} - set(names))
    if strangers:
        raise ZooError(
            f"intervals in videos that were not searched, first {strangers[0]!r}; list every video in `videos`"
        )
    for video in names:
        t, p = [e for e in true_events if e.video == video], [e for e in found if e.video == video]
        if evaluator == "softnet" and not p:
            p = [Event(video=video, onset=0, offset=0)]
        hits = match_events(t, p, evaluator=evaluator)
        spot += Counts(len(hits), len(t), len(p))
        for a, b in hits:
            if a.label not in classes:
                left_out += 1
            elif b.label not in classes:
                raise ZooError(
                    f"video {video}: the prediction [{b.onset}, {b.offset}] has label {b.label!r}; "
                    f"wanted one of {', '.join(classes)}"
                )
            else:
                pairs.append((classes.index(a.label), classes.index(b.label)))
    matrix = confusion([a for a, _ in pairs], [b for _, b in pairs], len(classes)) if pairs else None
    recognition = harmonic_of(matrix, "present") if matrix is not None else 0.0
    return {
        "f1_spot": spot.f1,
        "f1_recognition": recognition,
        "strs": spot.f1 * recognition,
        "tp": spot.tp,
        "fp": spot.fp,
        "fn": spot.fn,
        "recognised": len(pairs),
        "left_out": left_out,
    }
