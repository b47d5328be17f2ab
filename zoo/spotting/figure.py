"""Pictures of what was spotted: the curve, the line above which something happens, the intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import shorten
from typing import Any

import numpy as np

from zoo.report import ACCENT, FAINT, INK, LOST, SOFT, WON, _plain, _spans
from zoo.spotting.events import Found, Spotting

MACRO = "#3f8f5f"
MOST_PICTURES = 8  # key frames that fit side by side


@dataclass(frozen=True, eq=False)
class Moment:
    """One interval on the timeline."""

    event: Found
    face: np.ndarray | None = None  # uint8 [S, S, 3], at the apex
    label: str = ""  # what was recognised


def timeline_figure(
    spotting: Spotting, path: str | Path, *, moments: Sequence[Moment] | None = None, note: str = ""
) -> None:
    """Draw a timeline as a PNG 1760 pixels wide.

    Above: the faces at the apex of the strongest intervals, where they are given, numbered in order of time. Below: each curve
    with its threshold; intervals shaded (micro red, macro green), onset to offset, a tick at the apex; frames without a face in
    sand.

    Args:
        spotting: what was found.
        path: file to write.
        moments: the intervals with faces and labels; those of ``spotting`` with its key frames if not given.
        note: a line at the foot.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    own = [Moment(e, spotting.key_frames.get(e.apex)) for e in spotting.events]
    shown = list(moments) if moments is not None else own
    pictured = _strongest(shown)
    curves = spotting.curves
    head, row, panel, foot = 0.75, 1.6 if pictured else 0.0, 2.3, 0.5
    height = head + row + panel * len(curves) + foot
    figure = Figure(figsize=(11, height), dpi=160, facecolor="white")
    FigureCanvasAgg(figure)
    _head(figure, spotting, height)
    if pictured:
        _faces(figure, shown, pictured, spotting.fps, height, head)
    for i, curve in enumerate(curves):
        bottom = foot + panel * (len(curves) - 1 - i) + 0.42
        ax = figure.add_axes((0.06, bottom / height, 0.9, (panel - 0.85) / height))
        _panel(ax, spotting, i, shown, pictured, last=i == len(curves) - 1)
        ax.set_title(curve.name, loc="left", size=10.5, weight="bold", color=INK)
    line = note or "Research use. Not a lie detector."
    figure.text(0.06, 0.22 / height, line, size=9, color=SOFT, va="center")
    if spotting.warnings:
        more = f"  (+{len(spotting.warnings) - 1} more)" if len(spotting.warnings) > 1 else ""
        text = f"note: {shorten(spotting.warnings[0], 100, placeholder='…')}{more}"
        figure.text(0.96, 0.22 / height, text, size=8.5, color=ACCENT, ha="right", va="center")
    figure.savefig(path, format="png")


def _strongest(moments: Sequence[Moment]) -> list[int]:
    """Numbers of the intervals whose face is shown, in order of time."""
    with_face = [i for i, m in enumerate(moments) if m.face is not None]
    return sorted(sorted(with_face, key=lambda i: -moments[i].event.score)[:MOST_PICTURES])


def _head(figure: Any, spotting: Spotting, height: float) -> None:
    micro = sum(e.kind == "micro" for e in spotting.events)
    macro = len(spotting.events) - micro
    title = f"{micro} micro, {macro} macro" if spotting.events else "nothing spotted"
    figure.text(0.06, 1 - 0.38 / height, title, size=19, weight="bold", color=INK, va="center")
    source = shorten(spotting.source, 60, placeholder="…")
    figure.text(0.96, 1 - 0.3 / height, source, size=11.5, color=INK, ha="right", va="center")
    rate = f"{spotting.fps:.4g} frames/s" if spotting.fps else "frame rate unknown"
    line = f"method {spotting.method} · {spotting.n_frames} frames · {rate}"
    figure.text(0.96, 1 - 0.52 / height, line, size=9.5, color=SOFT, ha="right", va="center")


def _faces(
    figure: Any, moments: Sequence[Moment], shown: Sequence[int], fps: float | None, height: float, head: float
) -> None:
    side, gap = 1.12, 0.125
    for place, number in enumerate(shown):
        moment = moments[number]
        left = 0.06 * 11 + place * (side + gap)
        ax = figure.add_axes((left / 11, 1 - (head + side + 0.02) / height, side / 11, side / height))
        ax.imshow(moment.face, interpolation="bicubic")
        ax.set_xticks([])
        ax.set_yticks([])
        for spine in ax.spines.values():
            spine.set_color(_colour(moment.event))
            spine.set_linewidth(1.6)
        when = f"{moment.event.apex / fps:.2f} s" if fps else f"frame {moment.event.apex}"
        ax.text(0, -0.06, f"{number + 1}  {when}", transform=ax.transAxes, size=8.5, color=SOFT, va="top")
        label = shorten(moment.label or moment.event.kind, 20, placeholder="…")
        ax.text(0, -0.2, label, transform=ax.transAxes, size=9, weight="bold", color=_colour(moment.event), va="top")


def _panel(
    ax: Any, spotting: Spotting, which: int, moments: Sequence[Moment], pictured: Sequence[int], *, last: bool
) -> None:
    rate = spotting.fps or 1.0
    curve = spotting.curves[which]
    half, end = 0.5 / rate, max(spotting.n_frames - 1, 1) / rate
    for first, final in _spans(spotting.skipped):
        ax.axvspan(first / rate - half, final / rate + half, color=LOST, lw=0, zorder=0)
    line = np.broadcast_to(curve.threshold, curve.values.shape) if curve.values.size else curve.threshold
    seen = np.concatenate([curve.values[np.isfinite(curve.values)], line[np.isfinite(line)]])
    low, high = (float(seen.min()), float(seen.max())) if seen.size else (0.0, 1.0)
    low = min(low, 0.0)
    top = high + 0.24 * max(high - low, 1e-6)
    # one curve for all kinds shows all intervals; a curve per kind shows its own
    own = [m for m in moments if len(spotting.curves) == 1 or f", {m.event.kind}" in curve.name]
    for moment in own:
        event, colour = moment.event, _colour(moment.event)
        ax.axvspan(event.onset / rate - half, event.offset / rate + half, color=colour, alpha=0.16, lw=0, zorder=1)
        ax.plot([event.apex / rate] * 2, [low, low + 0.06 * (top - low)], color=colour, lw=1.4, zorder=4)
    ax.plot(np.arange(len(curve.values)) / rate, curve.values, color=WON, lw=1.1, zorder=3)
    ax.plot(np.arange(len(line)) / rate, line, color=SOFT, lw=0.9, ls=(0, (4, 3)), zorder=2)
    numbered = {id(moments[i]): i + 1 for i in pictured} or (
        {id(m): i + 1 for i, m in enumerate(moments)} if len(moments) <= 30 else {}
    )
    for moment in own:
        if id(moment) in numbered:
            at = moment.event.apex / rate
            ax.text(
                at,
                0.985 * top,
                str(numbered[id(moment)]),
                color=_colour(moment.event),
                size=8.5,
                ha="center",
                va="top",
                zorder=4,
            )
    ax.set_xlim(-half, end + half)
    ax.set_ylim(low, top)
    ax.set_xlabel(("seconds" if spotting.fps else "frame") if last else "", size=9.5, color=SOFT)
    legend = "shaded: micro" if all(m.event.kind == "micro" for m in own) else "shaded: micro red, macro green"
    if own and not all(m.event.kind == "macro" for m in own):
        ax.text(1, 1.04, f"{legend}; dashed: threshold", transform=ax.transAxes, size=8.5, color=SOFT, ha="right")
    else:
        ax.text(1, 1.04, "dashed: threshold", transform=ax.transAxes, size=8.5, color=SOFT, ha="right")
    for spine in ax.spines.values():
        spine.set_color(FAINT)
    _plain(ax)


def _colour(event: Found) -> str:
    return ACCENT if event.kind == "micro" else MACRO
