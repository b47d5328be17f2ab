"""A graph drawn over a face with matplotlib: nodes at their place, edges as wide as heavy, arrows from giver to taker."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from zoo.errors import ZooError
from zoo.facs.action_units import ACTION_UNITS
from zoo.graph.layout import place_nodes, strokes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from torch import Tensor

    Array = np.ndarray | Tensor

MANY = 24  # nodes, above which all is drawn smaller
UPPER, LOWER, OTHER, NEGATIVE = "#2a7f8e", "#c2553a", "#6b6478", "#8a1c4a"
LINES = {"ear": "#cfc5bb", "head": "#cfc5bb", "brow": "#8d7f73", "eye": "#8d7f73", "iris": "#a99c90", "nose": "#cfc5bb",
          "lips": "#d9a79c", "mouth": "#b98579"}  # fmt: skip
FILLS = {
    "ear": "#f5efe8",
    "head": "#fbf7f2",
    "brow": "#b7aa9e",
    "eye": "#ffffff",
    "iris": "#cdbfb2",
    "lips": "#f3dcd5",
}


@dataclass(frozen=True, kw_only=True)
class Edge:
    """An edge as it is drawn."""

    source: int  # the node that gives
    target: int  # the node that takes
    weight: float
    mutual: bool  # the other way round there is as much, and this one stands for both


def edges_of(adjacency: Array, *, most: int = 40, least: float = 0.0) -> tuple[list[Edge], int]:
    """The heaviest edges, and how many there are in all. Loops are not counted.

    Args:
        adjacency: [i, j] is what node i takes from node j.
        most: edges returned at most, pairs of equals as one.
        least: weights below it (in size) are left out.

    Raises:
        ZooError: the adjacency is not square or not finite.
    """
    a = _plain(adjacency)
    edges, total = [], 0
    for i in range(len(a)):
        for j in range(len(a)):
            if i == j or a[i, j] == 0:
                continue
            equal = abs(a[i, j] - a[j, i]) <= 1e-3 * max(abs(a[i, j]), abs(a[j, i]))
            if equal and j > i:
                continue
            total += 1
            if abs(a[i, j]) >= least:
                edges.append(Edge(source=j, target=i, weight=float(a[i, j]), mutual=equal))
    edges.sort(key=lambda e: -abs(e.weight))
    return edges[:most], total


def draw_graph(
    adjacency: Array,
    node_names: Sequence[str],
    *,
    ax: Axes | None = None,
    face: np.ndarray | None = None,
    landmarks: np.ndarray | None = None,
    values: Sequence[float] | None = None,
    title: str = "",
    most: int = 40,
    least: float = 0.0,
    limit: float | None = None,
) -> Axes:
    """Draw a graph of action units over a face.

    Arrows run from the node that gives to the one that takes. A straight line without a head stands for two equal edges. Units of
    the upper face are teal, of the lower face red; with ``values`` their circles grow and fill with them. Negative edges are
    dashed. The caption says how many edges are not drawn.

    Args:
        adjacency: [i, j] is what node i takes from node j.
        node_names: ``AU12``, ``AU12L`` (the subject's left), a landmark ``48``, or any other name.
        ax: where to draw; a figure of its own by default.
        face: the aligned face as a picture; without it a face is drawn.
        landmarks: of that face in crop units, where they are known.
        values: of the nodes, 0 to 1, such as AU probabilities.
        title: above the picture.
        most: edges drawn at most, the heaviest.
        least: lightest edge drawn.
        limit: weight of the widest line; by default that of the heaviest edge.

    Shapes: adjacency ``[N, N]``, face uint8 ``[H, W, 3]`` RGB, landmarks ``[68, 2]``, values N numbers.

    Raises:
        ZooError: the numbers of nodes, names and values differ, or something is not finite.
    """
    from matplotlib.figure import Figure as NewFigure

    a = _plain(adjacency)
    if len(a) != len(node_names) or (values is not None and len(values) != len(a)):
        raise ZooError(f"{len(a)} nodes, {len(node_names)} names"
                       + ("" if values is None else f", {len(values)} values") + ": wanted as many of each")  # fmt: skip
    if values is not None and not np.isfinite(np.asarray(values, float)).all():
        raise ZooError("a value of a node is not finite")
    if ax is None:
        ax = NewFigure(figsize=(7, 7.4), layout="constrained").add_subplot()
    places = place_nodes(node_names, landmarks)
    _background(ax, face, landmarks)
    edges, total = edges_of(a, most=most, least=least)
    top = limit or max((abs(e.weight) for e in edges), default=1.0)
    for edge in reversed(edges):  # the heaviest on top
        _draw_edge(ax, places, edge, abs(edge.weight) / top, small=len(places) > MANY, over_picture=face is not None)
    _draw_nodes(ax, places, node_names, values)
    low, high = ax.get_ylim()
    if title:
        ax.text(0.02, high - 0.02, title, fontsize=11, color="#333333", va="bottom", weight="bold")
    ax.text(0.02, low + 0.015, caption(edges, total, top), fontsize=7, color="#777777", va="top")
    ax.set_ylim(low + 0.045, high - (0.07 if title else 0.0))
    return ax


def graph_figure(adjacency: Array, node_names: Sequence[str], **arguments: Any) -> Figure:
    """A figure with the graph on a face and, beside it, what its units are called; arguments as of :func:`draw_graph`."""
    from matplotlib.figure import Figure as NewFigure

    units = list(dict.fromkeys(u for name in node_names if (u := unit_of(name)) is not None))
    figure = NewFigure(figsize=(9.6 if units else 7.2, 7.4), layout="constrained", facecolor="white")
    if not units:
        draw_graph(adjacency, node_names, ax=figure.add_subplot(), **arguments)
        return figure
    left, right = figure.subplots(1, 2, width_ratios=(3.1, 1))
    draw_graph(adjacency, node_names, ax=left, **arguments)
    right.axis("off")
    for k, unit in enumerate(units):
        y = 0.97 - k * min(0.05, 0.9 / max(len(units), 1))
        right.text(0.0, y, f"AU{unit}", fontsize=8.5, weight="bold", color=colour(f"AU{unit}"), va="top")
        right.text(0.24, y, ACTION_UNITS[unit].name, fontsize=8.5, color="#444444", va="top")
    return figure


def caption(edges: Sequence[Edge], total: int, top: float) -> str:
    """What the picture shows, in words."""
    if not edges:
        return f"none of {total} edges" if total else "no edges"
    drawn = f"all {total} edges" if len(edges) == total else f"the heaviest {len(edges)} of {total} edges"
    return f"{drawn}; widest line {top:.2g}; arrows run from the unit that gives to the unit that takes, plain lines both ways"


def unit_of(name: str) -> int | None:
    """The action unit that a node is named after, if any."""
    match = re.fullmatch(r"AU(\d+)[LR]?", name)
    return int(match[1]) if match and int(match[1]) in ACTION_UNITS else None


def colour(name: str) -> str:
    """By the half of the face."""
    unit = unit_of(name)
    return OTHER if unit is None else UPPER if ACTION_UNITS[unit].half == "upper" else LOWER


def _plain(adjacency: Array) -> np.ndarray:
    a = np.asarray(adjacency.detach().cpu() if hasattr(adjacency, "detach") else adjacency, np.float64)
    if a.ndim != 2 or a.shape[0] != a.shape[1] or not np.isfinite(a).all():
        raise ZooError(f"a graph to draw is one square table of finite weights, got shape {a.shape}")
    return a


def _background(ax: Axes, face: np.ndarray | None, landmarks: np.ndarray | None) -> None:
    ax.set_aspect("equal")
    ax.axis("off")
    if face is not None:
        ax.imshow(face, extent=(0, 1, 1, 0), zorder=0)
        ax.add_patch(_patch([(0, 0), (1, 0), (1, 1), (0, 1)], facecolor="white", alpha=0.4, zorder=0.5))
        ax.set(xlim=(0, 1), ylim=(1, 0))
        return
    draw_face(ax, landmarks)


def draw_face(ax: Axes, landmarks: np.ndarray | None = None) -> None:
    """A face as a drawing, in crop units; of the canonical landmarks by default. Shapes: ``[68, 2]``."""
    ax.set_aspect("equal")
    ax.axis("off")
    for stroke in strokes(landmarks):
        fill = FILLS.get(stroke.part)
        line = {"edgecolor": LINES[stroke.part], "linewidth": 1.6 if stroke.part == "head" else 1.1}
        if stroke.part == "iris":
            line["linewidth"] = 0.0
        if fill:
            ax.add_patch(_patch(stroke.points, facecolor=fill, zorder=1, **line))
        else:
            ax.plot(
                *stroke.points.T, color=line["edgecolor"], linewidth=line["linewidth"], solid_capstyle="round", zorder=1
            )
    ax.set(xlim=(0.0, 1.0), ylim=(0.96, -0.01))


def _patch(points: Any, **style: Any) -> Any:
    from matplotlib.patches import Polygon

    return Polygon(np.asarray(points), closed=True, joinstyle="round", **style)


def _draw_edge(ax: Axes, places: np.ndarray, edge: Edge, share: float, *, small: bool, over_picture: bool) -> None:
    from matplotlib.patches import FancyArrowPatch
    from matplotlib.patheffects import withStroke

    tint = NEGATIVE if edge.weight < 0 else "#34405a"
    size = 0.4 if small else 1.0
    width = size * (0.6 + 5.0 * share)
    ax.add_patch(
        FancyArrowPatch(
            tuple(places[edge.source]), tuple(places[edge.target]),
            arrowstyle="-" if edge.mutual else f"-|>,head_length={size * (4 + 3 * share)},head_width={size * (2 + 1.6 * share)}",
            connectionstyle=f"arc3,rad={0.05 if edge.mutual else 0.16}",
            linewidth=width, mutation_scale=1.0, shrinkA=11 * size, shrinkB=13 * size, color=tint, alpha=0.25 + 0.6 * share,
            linestyle=(0, (2.2, 1.4)) if edge.weight < 0 else "-", capstyle="round" if edge.mutual else "butt", zorder=3,
            path_effects=[withStroke(linewidth=width + 1.6, foreground="white", alpha=0.5)] if over_picture else [],
        )
    )  # fmt: skip


def _draw_nodes(ax: Axes, places: np.ndarray, names: Sequence[str], values: Sequence[float] | None) -> None:
    from matplotlib.colors import to_rgb
    from matplotlib.patheffects import withStroke

    halo = [withStroke(linewidth=1.8, foreground="white", alpha=0.9)]
    for k, (name, (x, y)) in enumerate(zip(names, places, strict=True)):
        tint = np.array(to_rgb(colour(name)))
        value = 1.0 if values is None else float(np.clip(values[k], 0, 1))
        small = len(names) > MANY
        size = (9 if small else 19) * (0.75 + 0.55 * value if values is not None else 1.0)
        fill = tint * value + 1.0 - value if values is not None else tint
        ax.plot(x, y, "o", markersize=size + 2.6, color="white", alpha=0.95, zorder=5)
        ax.plot(x, y, "o", markersize=size, markerfacecolor=tuple(fill), markeredgecolor=tuple(tint),
                markeredgewidth=1.2, zorder=6)  # fmt: skip
        ink = "white" if np.dot(fill, (0.3, 0.59, 0.11)) < 0.62 else "#222222"
        label = name.removeprefix("AU")
        ax.text(x, y, label, ha="center", va="center", color=ink, zorder=7, weight="bold",
                fontsize=4.5 if small else 8.5 if len(label) < 3 else 7)  # fmt: skip
        if values is not None:
            ax.text(x, y + 0.037, f"{values[k]:.2f}", ha="center", va="center", fontsize=6.5, zorder=7,
                    color="#222222", path_effects=halo)  # fmt: skip
