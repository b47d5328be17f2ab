"""A prediction in the terminal."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from zoo.result import Result


def print_result(result: Result, out: Path) -> None:
    """What ``zoo predict`` says: classes, moment, action units, notes, and which files are in ``out``."""
    console = Console()
    prediction = result.prediction
    table = Table(box=None, pad_edge=False, show_header=False)
    for name, p in sorted(zip(prediction.classes, prediction.probabilities, strict=True), key=lambda item: -item[1]):
        best = name == prediction.label
        table.add_row(
            Text(name, style="bold" if best else ""),
            f"{p:6.1%}",
            Text("█" * round(30 * p), style="green" if best else "dim"),
        )
    console.print(
        f"[bold]{result.source}[/] read by {result.model}"
        + (" [yellow](synthetic clip)[/]" if result.synthetic else "")
    )
    if result.events:
        _print_events(result, console)
    console.print(table)
    seconds = [f"{t:.2f} s" if t is not None else "time unknown" for t in result.times]
    interval = result.interval
    console.print(
        f"onset frame {interval.onset} ({seconds[0]}), apex frame {interval.apex} ({seconds[1]}), {interval.source}; "
        f"{result.n_frames} frames read in {result.seconds.get('total', 0.0):.1f} s", highlight=False,
    )  # fmt: skip
    if result.truth is not None:
        t = result.truth
        aus = " + ".join(f"AU{au}" for au in t["aus"])
        verdict = "as predicted" if t["label"] == prediction.label else f"predicted {prediction.label}"
        console.print(
            f"truth: {t['label']} ({t['emotion']}, {aus}), onset {t['onset']}, apex {t['apex']}; {verdict}",
            highlight=False,
        )
    if prediction.aus:
        told = sorted(prediction.aus, key=lambda item: -item[1])[:6]
        console.print("action units: " + "  ".join(f"AU{unit} {p:.0%}" for unit, p in told), highlight=False)
    for warning in result.warnings:
        console.print(f"note: {warning}", style="yellow", highlight=False, soft_wrap=True)
    names = [*result.pictures, "prediction.json"]
    console.print("  ".join(str(out / name) for name in names), highlight=False, soft_wrap=True)
    console.print("Research use. Not a lie detector.", style="dim")


def _print_events(result: Result, console: Console) -> None:
    table = Table("", "kind", "onset", "apex", "offset", "seconds", "score", "label", "", box=None, pad_edge=False)
    for number, found in enumerate(result.events, 1):
        e, p = found.event, found.prediction
        when = f"{e.onset / result.fps:.2f} - {e.offset / result.fps:.2f}" if result.fps else "-"
        row = (
            number,
            e.kind,
            e.onset,
            e.apex,
            e.offset,
            when,
            f"{e.score:.1f}",
            p.label,
            f"{max(p.probabilities):.0%}",
        )
        table.add_row(*map(str, row), style="" if e.kind == "micro" else "dim")
    console.print(table)
    console.print("the strongest:", style="dim")
