"""Pictures of the audits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from zoo.audit.hemiface import VIEWS, Asymmetry
from zoo.audit.occlusion import Drop
from zoo.facs import regions
from zoo.graph.draw import LOWER, OTHER, UPPER, draw_face

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SOFT = "#777777"


def _figure(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure as NewFigure

    return NewFigure(figsize=(width, height), dpi=150, facecolor="white", layout="constrained")


def _bare(ax: Axes) -> None:
    for side in ("top", "right", "left"):
        ax.spines[side].set_visible(False)
    ax.tick_params(axis="y", length=0)
    ax.grid(axis="x", color="#eeeeee", zorder=0)


def _dot(ax: Axes, y: float, value: float, interval: Sequence[float], tint: str) -> None:
    ax.plot(list(interval), [y, y], color=tint, linewidth=3, alpha=0.35, solid_capstyle="round", zorder=2)
    ax.plot(value, y, "o", color=tint, markersize=7, zorder=3)


def hemiface_figure(result: Mapping[str, Any], found: Sequence[Asymmetry] = ()) -> Figure:
    """Recognition from each view, and where there is motion to measure, which half moves more."""
    overall = [a for a in found if a.emotion == "all"]
    figure = _figure(11 if overall else 6, max(3.4, 0.34 * len(overall) + 1.2))
    axes = figure.subplots(1, 2 if overall else 1, squeeze=False)[0]
    ax = axes[0]
    for k, (view, words) in enumerate(VIEWS.items()):
        score = result["views"]["full"][view]["uf1"]
        tint = {"full": OTHER, "LL": UPPER, "left": UPPER}.get(view, LOWER)
        _dot(ax, -k, score["value"], score["interval"], tint)
        ax.text(score["value"], -k + 0.2, f"{score['value']:.3f}", ha="center", fontsize=8, color=tint)
        ax.text(0.0, -k - 0.34, words, transform=ax.get_yaxis_transform(), fontsize=6.5, color=SOFT, ha="left")
    ax.set_yticks(range(0, -len(VIEWS), -1), list(VIEWS))
    ax.set_xlabel("UF1, 95 % interval over people", color=SOFT, fontsize=8)
    difference = result["differences"]["full"]["LL - RR"]["uf1"]
    ax.set_title(
        f"{result['model']}: LL − RR = {difference['value']:+.3f} (p {difference['p']:.2g})", fontsize=10, loc="left"
    )
    ax.set_ylim(-len(VIEWS) + 0.4, 0.6)
    _bare(ax)
    if overall:
        ax = axes[1]
        for k, a in enumerate(overall):
            _dot(ax, -k, a.mean, (a.low, a.high), LOWER if a.mean > 0 else UPPER)
        ax.axvline(0, color="#999999", linewidth=0.8)
        ax.set_yticks(range(0, -len(overall), -1), [f"AU{a.au}" for a in overall], fontsize=8)
        ax.set_xlabel("← subject's left moves more      right moves more →", color=SOFT, fontsize=8)
        ax.set_title("asymmetry (R − L) / (R + L) of the motion in each unit's two boxes", fontsize=10, loc="left")
        _bare(ax)
    about = f"{result['clips']} clips, {result['people']} people; {result['remark']}"
    figure.supxlabel(about, fontsize=7, color=SOFT, x=0.01, ha="left")
    return figure


def bias_figure(result: Mapping[str, Any]) -> Figure:
    """UAR of each group, the worst one in red."""
    groups = sorted(result["groups"].items(), key=lambda item: -item[1]["uar"]["value"])
    figure = _figure(7, max(2.2, 0.42 * len(groups) + 1.3))
    ax = figure.add_subplot()
    for k, (name, scores) in enumerate(groups):
        worst = name == result["worst"]["group"]
        _dot(ax, -k, scores["uar"]["value"], scores["uar"]["interval"], LOWER if worst else UPPER)
        ax.text(1.01, -k, f"{scores['clips']} clips, {scores['people']} people", transform=ax.get_yaxis_transform(),
                fontsize=7, color=SOFT, va="center")  # fmt: skip
    ax.set_yticks(range(0, -len(groups), -1), [name for name, _ in groups])
    low, high = result["gap"]["interval"]
    ax.set_title(
        f"by {result['by']}: largest gap in UAR {result['gap']['uar']:.3f} [{low:.3f}, {high:.3f}]",
        fontsize=10,
        loc="left",
    )
    ax.set_xlabel("UAR, 95 % interval over people", color=SOFT, fontsize=8)
    _bare(ax)
    return figure


def occlusion_figure(drops: Sequence[Drop], title: str) -> Figure:
    """One face for all clips and one for each class: the more the answer rests on a region, the redder it is."""
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import TwoSlopeNorm
    from matplotlib.patches import FancyBboxPatch

    emotions = list(dict.fromkeys(d.emotion for d in drops))
    top = max(max((abs(d.drop) for d in drops), default=0.0), 1e-6)
    norm, shades = TwoSlopeNorm(0.0, -top, top), colormaps["RdBu_r"]
    figure = _figure(3.2 * len(emotions) + 0.6, 4.1)
    axes = figure.subplots(1, len(emotions), squeeze=False)[0]
    for ax, emotion in zip(axes, emotions, strict=True):
        draw_face(ax)
        chosen = sorted((d for d in drops if d.emotion == emotion), key=lambda d: abs(d.drop))
        for d in chosen:  # the weightiest on top
            shade = (*shades(norm(d.drop))[:3], 0.15 + 0.7 * abs(d.drop) / top)
            for left, upper, right, lower in regions.boxes(d.au).values():
                box = FancyBboxPatch(
                    (left, upper),
                    right - left,
                    lower - upper,
                    boxstyle="round,pad=0,rounding_size=0.02",
                    facecolor=shade,
                    edgecolor="none",
                    zorder=4,
                )
                ax.add_patch(box)  # fmt: skip
        most = sorted(chosen, key=lambda d: -d.drop)[:3]
        ax.text(
            0.5,
            1.0,
            "\n".join(f"AU{d.au}  {d.drop:+.3f}" for d in most),
            ha="center",
            va="top",
            fontsize=7.5,
            color="#444444",
        )
        ax.set_ylim(1.13, -0.01)
        ax.set_title(f"{emotion} ({chosen[0].clips} clips)", fontsize=10)
    figure.colorbar(
        ScalarMappable(norm, shades), ax=list(axes), shrink=0.7, label="fall of the true class's probability"
    )
    figure.suptitle(title, fontsize=10, x=0.01, ha="left", color="#333333")
    return figure


def ceiling_figure(result: Mapping[str, Any], title: str) -> Figure:
    """What each reader makes of the units, on the same clips and on other people."""
    figure = _figure(6.6, 2.9)
    ax = figure.add_subplot()
    names = list(result["readers"])
    for k, name in enumerate(names):
        for shift, way, tint in ((0.13, "same", OTHER), (-0.13, "loso", LOWER)):
            score = result["readers"][name][way]["uf1"]
            _dot(ax, -k + shift, score["value"], score["interval"], tint)
            ax.text(1.06, -k + shift, f"{score['value']:.2f}", fontsize=8, va="center", color=tint)
    ax.set_yticks(range(0, -len(names), -1), names)
    ax.set_ylim(-len(names) + 0.4, 0.6)
    ax.set_xlim(-0.02, 1.05)
    ax.set_xlabel("UF1: grey fitted and scored on the same clips, red on people left out", fontsize=8, color=SOFT)
    ax.set_title(title, fontsize=10, loc="left")
    _bare(ax)
    return figure
