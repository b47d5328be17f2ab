"""The result of a sweep as one HTML file that needs nothing else: parallel coordinates, the course of the search, every trial."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from zoo.train.search import Trial

_COLOURS = {"finished": "#2f5f8f", "stopped": "#b8892b", "failed": "#c8502d", "running": "#5d6876"}
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; color: #1c2430; max-width: 1120px; margin: 2rem auto; padding: 0 1rem }}
h1 {{ font-size: 1.5rem; margin: 0 }} h2 {{ font-size: 1.05rem; margin: 2rem 0 .3rem }} p {{ color: #5d6876; margin: .3rem 0 }}
.scroll {{ overflow-x: auto }} table {{ border-collapse: collapse; font-variant-numeric: tabular-nums; width: 100% }}
th, td {{ text-align: right; padding: .3rem .7rem; border-bottom: 1px solid #e4e8ed; white-space: nowrap }}
th {{ color: #5d6876; font-weight: 500 }} th:nth-child(-n+2), td:nth-child(-n+2) {{ text-align: left }}
tr.best td {{ background: #eef4fa; font-weight: 600 }} td.note {{ white-space: normal; text-align: left; color: #c8502d }}
</style></head><body>
<h1>{title}</h1>
<p>{lead}</p>
<p>The score is of inner validation: it chooses settings, it reports nothing.
<code>zoo loso --config best.yaml</code> gives the number.</p>
<h2>Every finished trial, from its settings to its score</h2>
{parallel}
<h2>The course of the search</h2>
{course}
<h2>All trials</h2>
<div class="scroll">{table}</div>
</body></html>
"""


def sweep_page(sweep: Mapping[str, Any], trials: Sequence[Trial], best: Trial | None) -> str:
    """Draw a sweep.

    Args:
        sweep: the sweep file.
        trials: in order.
        best: of them, if any finished.
    """
    from plotly.io import to_html

    metric = str(sweep["metric"]["name"])
    counts = {state: sum(t.state == state for t in trials) for state in _COLOURS}
    said = ", ".join(f"{n} {state}" for state, n in counts.items() if n)
    lead = f"{sweep['method']} search for the highest {metric}: {len(trials)} trials ({said})."
    if best is not None and best.score is not None:
        lead += f" Best: trial {best.number}, {best.score:.4f}" + (
            f" ± {best.std:.4f}." if best.std is not None else "."
        )
    parallel = _parallel([t for t in trials if t.state == "finished"], metric)
    options: dict[str, Any] = {"full_html": False, "config": {"displaylogo": False}}
    return _PAGE.format(
        title=html.escape(str(sweep.get("name") or "Sweep")),
        lead=html.escape(lead),
        parallel=to_html(parallel, include_plotlyjs=True, **options) if parallel else "<p>No trial has finished.</p>",
        course=to_html(_course(trials, metric), include_plotlyjs=not parallel, **options),
        table=_table(trials, best),
    )


def varied(trials: Sequence[Trial]) -> list[str]:
    """Names of the parameters that differ between trials, or all where none does."""
    names = list(dict.fromkeys(name for t in trials for name in t.parameters))
    return [n for n in names if len({repr(t.parameters.get(n)) for t in trials}) > 1] or names


def _parallel(trials: Sequence[Trial], metric: str) -> Any:
    if not trials:
        return None
    from plotly.graph_objects import Figure, Parcoords

    scores = [float(t.score or 0.0) for t in trials]
    axes = [_axis(name, [t.parameters.get(name) for t in trials]) for name in varied(trials)]
    axes.append({"label": metric, "values": scores, "tickformat": ".3f"})
    low, high = min(scores), max(scores)
    line = {"color": scores, "colorscale": "Viridis", "cmin": low, "cmax": high if high > low else low + 1e-6}
    figure = Figure(Parcoords(line=line, dimensions=axes, labelside="top"))
    figure.update_layout(height=420, margin={"l": 90, "r": 40, "t": 70, "b": 30})
    return figure


def _axis(name: str, values: Sequence[Any]) -> dict[str, Any]:
    """Numbers on a scale, over a decade or more on a logarithmic one; anything else as evenly spaced names."""
    short = _field(name)
    if all(isinstance(v, Real) and not isinstance(v, bool) for v in values):
        numbers = np.array(values, np.float64)
        if numbers.min() > 0 and numbers.max() / numbers.min() >= 10:
            low, high = np.floor(np.log10(numbers.min())), np.ceil(np.log10(numbers.max()))
            ticks = np.arange(low, high + 1)
            return {
                "label": short, "values": np.log10(numbers).tolist(), "range": [low, high], "tickvals": ticks.tolist(),
                "ticktext": [f"{10**t:g}" for t in ticks],
            }  # fmt: skip
        axis = {"label": short, "values": numbers.tolist()}
        if len(set(values)) <= 6:
            axis |= {"tickvals": sorted(set(numbers.tolist()))}
        return axis
    names = sorted({str(v) for v in values})
    return {
        "label": short, "values": [names.index(str(v)) for v in values], "tickvals": list(range(len(names))),
        "ticktext": names,
    }  # fmt: skip


def _course(trials: Sequence[Trial], metric: str) -> Any:
    from plotly.graph_objects import Figure, Scatter

    figure, key = Figure(), metric.removeprefix("cv/")
    for state, colour in _COLOURS.items():
        mine = [t for t in trials if t.state == state and (t.score is not None or t.history)]
        if not mine:
            continue
        values = [t.score if t.score is not None else t.history[-1][key] for t in mine]
        hints = [
            "<br>".join([f"trial {t.number}, {len(t.history)} parts", *(f"{k} = {v}" for k, v in t.parameters.items())])
            for t in mine
        ]
        figure.add_trace(
            Scatter(
                x=[t.number for t in mine], y=values, mode="markers", name=state, text=hints, hoverinfo="text+y",
                marker={"color": colour, "size": 9, "symbol": "circle" if state == "finished" else "x"},
            )
        )  # fmt: skip
    whole = [t for t in trials if t.state == "finished" and t.score is not None]
    if whole:
        high = np.maximum.accumulate([t.score or 0.0 for t in whole])
        figure.add_trace(
            Scatter(
                x=[t.number for t in whole], y=high.tolist(), mode="lines", name="best so far",
                line={"color": "#1c2430", "width": 1.5, "shape": "hv"}, hoverinfo="skip",
            )
        )  # fmt: skip
    figure.update_layout(
        height=320, template="simple_white", margin={"l": 60, "r": 20, "t": 20, "b": 50}, xaxis_title="trial",
        yaxis_title=metric, legend={"orientation": "h", "y": 1.12},
    )  # fmt: skip
    return figure


def _table(trials: Sequence[Trial], best: Trial | None) -> str:
    names = list(dict.fromkeys(name for t in trials for name in t.parameters))
    ordered = sorted(trials, key=lambda t: (t.score is None, -(t.score or 0.0), t.number))
    fixed = ("trial", "state", "score", "± seeds", "parts", "seconds")
    head = "".join(f"<th>{h}</th>" for h in fixed)
    head += "".join(f'<th title="{html.escape(n)}">{html.escape(_field(n))}</th>' for n in names) + "<th></th>"
    rows = []
    for t in ordered:
        score, std = ("-" if v is None else f"{v:.4f}" for v in (t.score, t.std))
        cells = [str(t.number), t.state, score, std, str(len(t.history)), f"{t.seconds:.0f}"]
        cells += [_short(t.parameters.get(name, "")) for name in names]
        marked = ' class="best"' if best is not None and t.number == best.number else ""
        body = "".join(f"<td>{html.escape(c)}</td>" for c in cells)
        rows.append(f'<tr{marked}>{body}<td class="note">{html.escape(t.error)}</td></tr>')
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


def _field(name: str) -> str:
    """Without the section of the recipe: ``model.lr`` is ``lr``."""
    return name.removeprefix("model.").removeprefix("data.").removeprefix("trainer.")


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
