"""Pictures: of a prediction (two faces, the motion between them, what the model made of it) and of a confusion."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

if TYPE_CHECKING:
    from zoo.result import Result

INK, SOFT, FAINT, ACCENT, LOST = "#1c2430", "#5d6876", "#d5dae1", "#c8502d", "#f2e3c2"
BAR, WON, TRUE = "#b4bfcd", "#2f5f8f", "#3f8f5f"


def prediction_figure(result: Result, path: str | Path) -> None:
    """Draw a result as a PNG of 1760x1056 pixels.

    Above: the aligned face at onset and apex, the flow as colour (hue: direction, as the wheel shows; strength: speed,
    full at the number printed; "relative" where a shift of the whole head was taken off), the optical strain. Below:
    motion over time with onset and apex, stretches without a face shaded; the class probabilities.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 6.6), dpi=160, facecolor="white")
    FigureCanvasAgg(figure)
    _title(figure, result)
    left, width, gap = 0.045, 0.2125, 0.02
    axes = [figure.add_axes((left + i * (width + gap), 0.5, width, width * 11 / 6.6)) for i in range(4)]
    _faces(axes, result)
    _curve(figure.add_axes((0.075, 0.145, 0.475, 0.245)), result)
    _bars(figure.add_axes((0.69, 0.145, 0.265, 0.245)), result)
    _foot(figure, result)
    figure.savefig(path, format="png")


def flow_colours(flow: np.ndarray, scale: float) -> np.ndarray:
    """Direction as hue (red right, counter-clockwise on screen), speed as strength from white.

    Args:
        flow: u and v, v down.
        scale: speed in pixels that is drawn at full strength.

    Shapes: ``[2, H, W]`` -> uint8 ``[H, W, 3]``.
    """
    speed = np.clip(np.hypot(*flow) / max(scale, 1e-6), 0, 1)
    angle = np.degrees(np.arctan2(-flow[1], flow[0])) % 360
    hsv = np.stack([angle, speed, 1 - 0.12 * speed], 2).astype(np.float32)
    return np.rint(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB) * 255).astype(np.uint8)


def _title(figure: Any, result: Result) -> None:
    prediction = result.prediction
    share = max(prediction.probabilities)
    figure.text(0.045, 0.945, prediction.label, size=21, weight="bold", color=INK, va="center")
    head = f"{share:.0%} by {shorten(result.model, 40)}"
    source = shorten(result.source, 60, placeholder="…")
    figure.text(0.955, 0.957, source, size=11.5, color=INK, ha="right", va="center")
    rate = f"{result.fps:.4g} frames/s" if result.fps else "frame rate unknown"
    line = f"{head} · {result.n_frames} frames · {rate}"
    figure.text(0.955, 0.927, line, size=9.5, color=SOFT, ha="right", va="center")
    if result.truth is not None:
        colour = TRUE if result.truth.get("label") == prediction.label else ACCENT
        figure.text(0.045, 0.898, f"synthetic clip, truth: {_truth(result)}", size=10.5, color=colour, va="center")
    elif not result.clear:
        line = "no clear moment of motion: take this as a guess"
        figure.text(0.045, 0.898, line, size=10.5, color=ACCENT, va="center")


def _truth(result: Result) -> str:
    truth = result.truth or {}
    units = "+".join(f"AU{au}" for au in truth.get("aus", ()))
    frames = f"frames {truth['onset']}–{truth['apex']}–{truth['offset']}" if "apex" in truth else ""
    parts = (str(truth.get("label", "?")), str(truth.get("emotion", "")), units, frames)
    return ", ".join(part for part in parts if part)


def _faces(axes: list[Any], result: Result) -> None:
    data = np.asarray(result.flow.data, np.float32)
    shift = np.median(data[:2], axis=(1, 2), keepdims=True)
    scale = max(float(np.quantile(np.hypot(*(data[:2] - shift)), 0.99)), 0.05)
    # a shift that the whole face shares is the head, and would drown the expression in one colour
    shared = float(np.hypot(*shift.ravel())) > 0.3 * scale
    local = data[:2] - shift if shared else data[:2]
    grey = cv2.cvtColor(cv2.cvtColor(result.onset_face, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    ghost = 0.55 + 0.45 * grey / 255
    height, width = ghost.shape[:2]
    painted = np.clip(flow_colours(local, scale) / 255 * ghost, 0, 1)
    interval, (onset_time, apex_time) = result.interval, result.times
    show = (
        ("onset", _moment(interval.onset, onset_time), result.onset_face),
        ("apex", _moment(interval.apex, apex_time), result.apex_face),
        ("relative motion" if shared else "motion", f"up to {scale:.2g} px", painted),
        ("optical strain", f"up to {np.quantile(data[2], 0.995):.2g}", None),
    )
    for ax, (name, detail, picture) in zip(axes, show, strict=True):
        if picture is not None:
            ax.imshow(picture, interpolation="bicubic", extent=(0, width, height, 0))
        else:
            ax.imshow(grey, extent=(0, width, height, 0), alpha=0.35)
            ax.imshow(
                data[2],
                cmap="magma_r",
                vmin=0,
                vmax=max(float(np.quantile(data[2], 0.995)), 1e-4),
                alpha=0.78,
                interpolation="bicubic",
                extent=(0, width, height, 0),
            )
        ax.set_xticks([])
        ax.set_yticks([])
        for spine in ax.spines.values():
            spine.set_color(FAINT)
        ax.text(0, -0.035, name, transform=ax.transAxes, size=10.5, weight="bold", color=INK, va="top")
        ax.text(1, -0.035, detail, transform=ax.transAxes, size=9.5, color=SOFT, va="top", ha="right")
    _wheel(axes[2])


def _moment(frame: int, seconds: float | None) -> str:
    return f"frame {frame}" + (f" · {seconds:.2f} s" if seconds is not None else "")


def _wheel(ax: Any) -> None:
    side = 96
    y, x = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j]
    colours = np.dstack([flow_colours(np.stack([x, y]), 1.0), np.where(np.hypot(x, y) <= 1, 255, 0).astype(np.uint8)])
    inset = ax.inset_axes((0.81, 0.02, 0.17, 0.17))
    inset.imshow(colours, interpolation="bilinear")
    inset.set_axis_off()


def _curve(ax: Any, result: Result) -> None:
    rate = result.fps
    curve = result.curve
    at = np.arange(len(curve)) / (rate or 1)
    last = max(result.n_frames - 1, len(curve) - 1, 1) / (rate or 1)
    half = 0.5 / (rate or 1)
    for first, final in _spans(result.face.skipped):
        ax.axvspan(first / (rate or 1) - half, final / (rate or 1) + half, color=LOST, lw=0, zorder=0)
    seen = curve[np.isfinite(curve)]
    top = max(float(seen.max()) if seen.size else 0.0, 0.3) * 1.28
    onset, apex = (n / (rate or 1) for n in (result.interval.onset, result.interval.apex))
    ax.axvspan(onset, apex, color=ACCENT, alpha=0.10, lw=0, zorder=1)
    for event in (found.event for found in result.events):  # the others that were spotted
        ax.axvspan(event.onset / (rate or 1), event.offset / (rate or 1), color=BAR, alpha=0.35, lw=0, zorder=0)
    ax.plot(at, curve, color=WON, lw=1.5, zorder=3, solid_capstyle="round")
    lonely = np.isfinite(curve) & ~np.isfinite(np.r_[np.nan, curve[:-1]]) & ~np.isfinite(np.r_[curve[1:], np.nan])
    ax.plot(at[lonely], curve[lonely], ".", color=WON, ms=3, zorder=3)
    labels = _sides(onset / last, apex / last)
    for place, name, (side, row) in ((onset, "onset", labels[0]), (apex, "apex", labels[1])):
        ax.axvline(place, color=ACCENT, lw=1.1, zorder=2)
        text = f" {name}" if side == "left" else f"{name} "
        ax.text(place, top * (0.97 - 0.11 * row), text, color=ACCENT, size=9.5, ha=side, va="top", zorder=4)
    ax.set_xlim(-half, last + half)
    ax.set_ylim(0, top)
    ax.set_xlabel("seconds" if rate else "frame", size=9.5, color=SOFT)
    since = (
        "from the first frame"
        if result.lag is None
        else (f"over {result.lag / rate:.2f} s" if rate else f"over {result.lag} frames")
    )
    what = f"motion {since}" if result.spotting is None else "distance from rest"
    ax.set_title(f"{what}, % of the distance between the eyes", loc="left", size=10.5, weight="bold", color=INK)
    if result.face.skipped:
        ax.text(
            1,
            -0.21,
            "shaded: face lost or moving fast",
            transform=ax.transAxes,
            size=8.5,
            color="#94803f",
            ha="right",
            va="center",
        )
    _plain(ax)


def _sides(onset: float, apex: float) -> tuple[tuple[str, int], tuple[str, int]]:
    """Alignment and row of the two labels, so that they stay inside the axes (places 0..1) and off each other."""
    if onset < 0.09:
        return ("left", 0), ("right", 0) if apex - onset > 0.24 else ("left", 1)
    if apex > 0.91:
        return ("left", 0) if apex - onset > 0.24 else ("right", 1), ("right", 0)
    return ("right", 0), ("left", 0)


def _bars(ax: Any, result: Result) -> None:
    prediction = result.prediction
    order = range(len(prediction.classes))
    best = max(order, key=prediction.probabilities.__getitem__)
    ax.barh(list(order), [1.0] * len(order), color="#f1f3f6", height=0.62)
    ax.barh(list(order), prediction.probabilities, color=[WON if i == best else BAR for i in order], height=0.62)
    size = 10 if len(order) <= 5 else 8
    for i in order:
        share = prediction.probabilities[i]
        inside = share > 0.8
        ax.text(
            share + (-0.02 if inside else 0.02),
            i,
            f"{share:.0%}",
            va="center",
            ha="right" if inside else "left",
            size=size,
            color="white" if inside and i == best else INK,
        )
    truth = (result.truth or {}).get("label")
    ax.set_yticks(
        list(order),
        [shorten(c, 18, placeholder="…") + ("  (truth)" if c == truth else "") for c in prediction.classes],
        size=size,
    )
    for i, tick in enumerate(ax.get_yticklabels()):
        tick.set_color(TRUE if prediction.classes[i] == truth else INK)
        tick.set_weight("bold" if i == best else "normal")
    ax.invert_yaxis()
    ax.set_xlim(0, 1)
    ax.set_xticks([])
    ax.set_title("probability", loc="left", size=10.5, weight="bold", color=INK)
    ax.tick_params(length=0)
    for spine in ax.spines.values():
        spine.set_visible(False)


def _foot(figure: Any, result: Result) -> None:
    line = "Research use. Not a lie detector."
    if result.synthetic:
        line += " Synthetic clip: it shows the path, not the accuracy."
    figure.text(0.045, 0.025, line, size=9, color=SOFT, va="center")
    notes = [note for note in result.warnings if not (result.synthetic and "no class names" in note)]
    if notes:
        more = f"  (+{len(notes) - 1} more in prediction.json)" if len(notes) > 1 else ""
        note = f"note: {shorten(notes[0], 92, placeholder='').rstrip(' ,…')}{'…' if len(notes[0]) > 92 else ''}{more}"
        figure.text(0.955, 0.025, note, size=8.5, color=ACCENT, ha="right", va="center")


def _plain(ax: Any) -> None:
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        ax.spines[side].set_color(FAINT)
    ax.tick_params(colors=SOFT, labelsize=9, length=3, color=FAINT)
    ax.grid(axis="y", color="#eef0f3", lw=0.8, zorder=0)
    ax.set_axisbelow(True)


def _spans(numbers: tuple[int, ...]) -> list[tuple[int, int]]:
    spans: list[tuple[int, int]] = []
    for number in sorted(numbers):
        if spans and number == spans[-1][1] + 1:
            spans[-1] = (spans[-1][0], number)
        else:
            spans.append((number, number))
    return spans


def confusion_figure(matrix: Sequence[Sequence[int]], classes: Sequence[str], path: str | Path) -> None:
    """Draw a confusion matrix, rows normalised to the truth of each class, counts beside the shares.

    Shapes: matrix ``[K][K]``, rows are truth; classes ``[K]``.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    counts = np.asarray(matrix, np.float64)
    share = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    size = 2.2 + 0.95 * len(classes)
    figure = Figure(figsize=(size, size * 0.94), dpi=160, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    ax = figure.add_subplot()
    ax.imshow(share, cmap="Blues", vmin=0, vmax=1)
    for (i, j), value in np.ndenumerate(share):
        colour = "white" if value > 0.55 else INK
        ax.text(
            j,
            i - 0.06,
            f"{value:.0%}",
            ha="center",
            va="center",
            size=12,
            weight="bold" if i == j else "normal",
            color=colour,
        )
        ax.text(j, i + 0.22, f"{counts[i, j]:.0f}", ha="center", va="center", size=8, color=colour)
    ax.set_xticks(range(len(classes)), classes)
    ax.set_yticks(range(len(classes)), classes, rotation=90, va="center")
    ax.set_xlabel("predicted", color=SOFT)
    ax.set_ylabel("truth", color=SOFT)
    ax.tick_params(length=0, labelsize=10, labelcolor=INK)
    for spine in ax.spines.values():
        spine.set_visible(False)
    figure.savefig(path, format="png")
