"""Pictures of runs: the spread between people, and the difference between two runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from zoo.report import ACCENT, FAINT, INK, SOFT, WON

SETS = ("#2f5f8f", "#c8502d", "#3f8f5f", "#8a5fa8", "#b8892b", "#5d6876")


def subjects_figure(summary: Mapping[str, Any], path: str | Path) -> None:
    """Draw the accuracy of each person, sorted within each data set; the width of a bar says how many clips stand behind it.

    Args:
        summary: what :func:`zoo.train.score.summarise` made.
        path: of the PNG.
    """
    rows = summary["subjects"]
    sets = list(dict.fromkeys(row["dataset"] for row in rows.values()))
    figure, (ax,) = _figure(11, 3.9, 1)
    left, gap = 0.0, 4.0
    for number, dataset in enumerate(sets):
        mine = sorted(
            (r for r in rows.values() if r["dataset"] == dataset), key=lambda r: (-r["accuracy"], -r["clips"])
        )
        widths = np.array([r["clips"] for r in mine], float)
        edges = left + np.concatenate([[0], np.cumsum(widths)[:-1]])
        colour, values = SETS[number % len(SETS)], np.array([r["accuracy"] for r in mine])
        ax.bar(edges, values, widths, align="edge", color=colour, edgecolor="white", linewidth=0.6)
        spread = np.array([r["std"] or 0.0 for r in mine])
        shown = spread > 0
        if shown.any():
            middle = (edges + widths / 2)[shown]
            reach = np.minimum(spread, np.stack([values, 1 - values]))[:, shown]  # no accuracy lies beyond 0 and 1
            ax.errorbar(middle, values[shown], reach, fmt="none", ecolor=INK, elinewidth=0.7, alpha=0.6)
        mean = float((values * widths).sum() / widths.sum())
        ax.hlines(mean, left, left + widths.sum(), color=INK, linewidth=1, linestyle=(0, (4, 2)))
        zero = int((values == 0).sum())
        text = f"{dataset}\n{len(mine)} people, {widths.sum():.0f} clips" + (f", {zero} at zero" if zero else "")
        ax.text(left + widths.sum() / 2, -0.05, text, ha="center", va="top", size=9.5, color=INK)
        left += widths.sum() + gap
    ax.set_ylim(0, 1.06)
    ax.set_xlim(-gap / 2, left - gap / 2)
    ax.set_xticks([])
    ax.set_yticks(np.linspace(0, 1, 6), [f"{v:.0%}" for v in np.linspace(0, 1, 6)])
    ax.set_title(
        "accuracy of each person (bar width: clips; whisker: ± one standard deviation over seeds; dashed: the data set)",
        size=10, color=SOFT, loc="left",
    )  # fmt: skip
    figure.savefig(path, format="png")


def compare_figure(comparison: Mapping[str, Any], path: str | Path) -> None:
    """Draw differences to the first run: an interval per data set and score, and the difference at each person.

    Args:
        comparison: what :func:`zoo.train.compare.compare` made.
        path: of the PNG.
    """
    pairs = comparison["pairs"]
    parts = list(pairs[0]["parts"])
    figure, axes = _figure(11, 1.5 + (0.55 + 0.4 * len(pairs)) * len(parts), 2, (1.0, 1.15))
    _forest(axes[0], pairs, parts, comparison["reference"])
    _people(axes[1], pairs, comparison["reference"])
    figure.savefig(path, format="png")


def _forest(ax: Any, pairs: Sequence[Mapping[str, Any]], parts: Sequence[str], reference: str) -> None:
    labels, ticks, y = [], [], 0.0
    for part in parts:
        start = y
        for number, pair in enumerate(pairs):
            for metric, marker in (("uf1", "o"), ("uar", "s")):
                cell = pair["parts"][part][metric]
                low, high = cell["interval"]
                colour = SETS[number % len(SETS)]
                face = colour if marker == "o" else "white"
                ax.plot([low, high], [y, y], color=colour, linewidth=1.6, solid_capstyle="round")
                ax.plot([cell["difference"]], [y], marker, color=colour, markerfacecolor=face, markersize=6.5)
                y += 0.32
            y += 0.18
        ticks.append((start + y - 0.5) / 2)
        labels.append(part)
        y += 0.35
    ax.axvline(0, color=INK, linewidth=0.8)
    ax.set_yticks(ticks, labels)
    ax.set_ylim(y - 0.3, -0.4)
    reach = max(abs(v) for v in ax.get_xlim())
    ax.set_xlim(-reach, reach)
    ax.set_title(f"difference to {reference}, 95 % (people resampled)", size=10, color=SOFT, loc="left")
    handles = [
        ax.plot([], [], m, color=INK, markerfacecolor=INK if m == "o" else "white", linestyle="none", label=t)[0]
        for m, t in (("o", "UF1"), ("s", "UAR"))
    ]
    if len(pairs) > 1:
        handles += [ax.plot([], [], "-", color=SETS[n % len(SETS)], label=p["name"])[0] for n, p in enumerate(pairs)]
    ax.legend(handles=handles, frameon=False, fontsize=8.5, loc="lower left")


def _people(ax: Any, pairs: Sequence[Mapping[str, Any]], reference: str) -> None:
    """Most people are decided alike; the two ends show where the runs part."""
    for number, pair in enumerate(pairs):
        difference = np.sort([row["difference"] for row in pair["subjects"].values()])[::-1]
        x = np.arange(len(difference))
        if len(pairs) == 1:
            colours = [WON if d > 0 else ACCENT for d in difference]
            ax.bar(x, difference, 0.85, color=colours)
            better, worse = int((difference > 0).sum()), int((difference < 0).sum())
            same = len(difference) - better - worse
            ax.text(0.98, 0.95, f"{better} people better, {same} the same, {worse} worse", transform=ax.transAxes, ha="right",
                    va="top", size=9.5, color=INK)  # fmt: skip
        else:
            ax.step(x, difference, where="mid", color=SETS[number % len(SETS)], linewidth=1.4, label=pair["name"])
    if len(pairs) > 1:
        ax.legend(frameon=False, fontsize=8.5, loc="upper right")
    ax.axhline(0, color=INK, linewidth=0.8)
    ax.set_xticks([])
    ax.set_xlabel("people, sorted", color=SOFT, size=9)
    ax.yaxis.set_major_formatter(lambda v, _: f"{v:+.0%}")
    name = pairs[0]["name"] if len(pairs) == 1 else "run"
    ax.set_title(f"accuracy at each person, {name} minus {reference}", size=10, color=SOFT, loc="left")


def _figure(width: float, height: float, columns: int, ratios: Sequence[float] | None = None) -> tuple[Any, Any]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=150, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, columns, squeeze=False, width_ratios=ratios)[0]
    for ax in axes:
        ax.tick_params(length=0, labelsize=9, labelcolor=INK)
        for side, spine in ax.spines.items():
            spine.set_visible(side == "left")
            spine.set_color(FAINT)
    return figure, axes
