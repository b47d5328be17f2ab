"""The picture of :mod:`zoo.graph.draw` as one HTML file that needs no network: names on hover, a threshold to slide."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from zoo.errors import ZooError
from zoo.facs.action_units import ACTION_UNITS
from zoo.graph.draw import FILLS, LINES, NEGATIVE, Edge, caption, colour, edges_of, unit_of
from zoo.graph.layout import place_nodes, strokes

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from zoo.graph.draw import Array

STEPS = 12  # positions of the slider


def graph_page(
    adjacency: Array,
    node_names: Sequence[str],
    *,
    face: np.ndarray | None = None,
    landmarks: np.ndarray | None = None,
    values: Sequence[float] | None = None,
    title: str = "",
    most: int = 200,
    least: float = 0.0,
) -> str:
    """An HTML page; arguments as of :func:`zoo.graph.draw.draw_graph`."""
    figure = graph_plot(adjacency, node_names, face=face, landmarks=landmarks, values=values, title=title, most=most,
                        least=least)  # fmt: skip
    return str(figure.to_html(include_plotlyjs=True, full_html=True, config={"displaylogo": False}))


def graph_plot(
    adjacency: Array,
    node_names: Sequence[str],
    *,
    face: np.ndarray | None = None,
    landmarks: np.ndarray | None = None,
    values: Sequence[float] | None = None,
    title: str = "",
    most: int = 200,
    least: float = 0.0,
) -> go.Figure:
    """A plotly figure; arguments as of :func:`zoo.graph.draw.draw_graph`."""
    import plotly.graph_objects as go

    edges, total = edges_of(adjacency, most=most, least=least)
    places = place_nodes(node_names, landmarks)
    if len(places) != len(adjacency) or (values is not None and len(values) != len(places)):
        raise ZooError(f"{len(adjacency)} nodes and {len(node_names)} names: wanted as many values and names as nodes")
    top = max((abs(e.weight) for e in edges), default=1.0)
    figure = go.Figure()
    if face is None:
        for stroke in strokes(landmarks):
            ring = np.vstack([stroke.points, stroke.points[:1]]) if stroke.closed else stroke.points
            figure.add_trace(
                go.Scatter(
                    x=ring[:, 0], y=ring[:, 1], mode="lines", hoverinfo="skip", showlegend=False,
                    line={"color": LINES[stroke.part], "width": 2 if stroke.part == "head" else 1.4},
                    fill="toself" if stroke.part in FILLS else None, fillcolor=FILLS.get(stroke.part),
                )
            )  # fmt: skip
    else:
        figure.add_layout_image(source=_picture(face), xref="x", yref="y", x=0, y=0, sizex=1, sizey=1, sizing="stretch",
                                opacity=0.65, layer="below")  # fmt: skip
    fixed = len(figure.data)
    for edge in edges:
        figure.add_trace(_edge_trace(places, edge, node_names, abs(edge.weight) / top))
    figure.add_trace(_node_trace(places, node_names, values, edges))
    _slider(figure, fixed, edges, top)
    figure.update_layout(
        title={"text": f"{title}<br><sup>{caption(edges, total, top)}</sup>", "x": 0.03},
        template="plotly_white", width=820, height=860, margin={"l": 10, "r": 10, "t": 70, "b": 10},
        xaxis={"visible": False, "range": [-0.05, 1.05]},
        yaxis={"visible": False, "range": [1.0, -0.06], "scaleanchor": "x"},
    )  # fmt: skip
    return figure


def _edge_trace(places: np.ndarray, edge: Edge, names: Sequence[str], share: float) -> Any:
    import plotly.graph_objects as go

    start, end = places[edge.source], places[edge.target]
    line = end - start
    bend = 0.0 if edge.mutual else 0.1
    middle = (start + end) / 2 + bend * np.array([line[1], -line[0]])
    t = np.linspace(0.06, 0.90, 24)[:, None]
    points = (1 - t) ** 2 * start + 2 * t * (1 - t) * middle + t**2 * end
    giver, taker = names[edge.source], names[edge.target]
    text = (
        f"{giver} and {taker}: {edge.weight:.3g} both ways"
        if edge.mutual
        else f"{taker} takes {edge.weight:.3g} from {giver}"
    )
    head = 0 if edge.mutual else 9 + 7 * share
    return go.Scatter(
        x=points[:, 0], y=points[:, 1], mode="lines+markers", text=[text] * len(points), hoverinfo="text", showlegend=False,
        opacity=0.3 + 0.6 * share,
        line={"width": 1 + 6 * share, "color": NEGATIVE if edge.weight < 0 else "#34405a",
              "dash": "dash" if edge.weight < 0 else "solid"},
        marker={"symbol": "arrow", "angleref": "previous", "size": [0] * (len(points) - 1) + [head],
                "color": NEGATIVE if edge.weight < 0 else "#34405a", "opacity": 1, "line": {"width": 0}},
    )  # fmt: skip


def _node_trace(places: np.ndarray, names: Sequence[str], values: Sequence[float] | None, edges: Sequence[Edge]) -> Any:
    import plotly.graph_objects as go

    hover = []
    for k, name in enumerate(names):
        unit = unit_of(name)
        lines = [f"<b>{name}</b>"]
        if unit is not None:
            lines += [ACTION_UNITS[unit].name, ", ".join(ACTION_UNITS[unit].muscles)]
        if values is not None:
            lines.append(f"value {values[k]:.3f}")
        taken = [
            (e.source if e.target == k else e.target, e.weight)
            for e in edges
            if e.target == k or (e.mutual and e.source == k)
        ]
        lines += [f"takes {w:.3g} from {names[j]}" for j, w in taken[:6]]
        hover.append("<br>".join(lines))
    size = [30.0] * len(names) if values is None else [20 + 18 * float(np.clip(v, 0, 1)) for v in values]
    return go.Scatter(
        x=places[:, 0], y=places[:, 1], mode="markers+text", text=[n.removeprefix("AU") for n in names],
        hovertext=hover, hoverinfo="text", showlegend=False, textfont={"color": "white", "size": 12},
        marker={"size": size, "color": [colour(n) for n in names], "line": {"width": 2, "color": "white"}, "opacity": 1},
    )  # fmt: skip


def _slider(figure: go.Figure, fixed: int, edges: Sequence[Edge], top: float) -> None:
    """Each position shows the edges from some weight on."""
    if not edges:
        return
    steps = []
    for level in np.linspace(0, top, STEPS, endpoint=False):
        shown = [True] * fixed + [abs(e.weight) >= level for e in edges] + [True]
        steps.append({"method": "restyle", "args": [{"visible": shown}], "label": f"{level:.2g}"})
    figure.update_layout(
        sliders=[{"steps": steps, "currentvalue": {"prefix": "edges from "}, "x": 0.05, "len": 0.9, "pad": {"t": 10}}]
    )


def _picture(face: np.ndarray) -> str:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(face).save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
