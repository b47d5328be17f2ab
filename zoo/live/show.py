"""What ``zoo predict --camera`` shows: a table that is kept up to date, or lines of JSON."""

from __future__ import annotations

import json
import sys
from typing import Any

from zoo.live.camera import Camera
from zoo.live.session import Status, watch
from zoo.result import RecognisedEvent

SHOWN = 12  # events in the table


def show(
    source: str, *, model: str, fps: float | None = None, min_face: float | None = None, as_json: bool = False
) -> int:
    """Watch a camera until it ends or Ctrl-C is pressed, and say what is seen. Returns the exit code.

    With ``as_json`` each line of the output is one object, by its ``type``: ``status`` (about once in half a second: seconds,
    frames captured, processed and dropped, frames per second, whether there is a face, latency from capture to processed),
    ``event`` (as in ``events`` of ``prediction.json``, with ``latency_seconds`` from its offset to the answer), and ``end``.

    Raises:
        MediaError: no such camera or file. MissingExtra: no face detector is installed. UnknownName: no such model.
    """
    from zoo.predictor.recognise import model_of
    from zoo.vision.faces import MTCNNDetector

    camera = Camera(source, fps=fps)
    net = model_of(model)
    detector = MTCNNDetector(min_face=min_face)
    if as_json:
        end = watch(
            camera,
            net,
            detector,
            on_status=lambda status: _line("status", status.to_dict()),
            on_event=lambda event, delay: _line(
                "event", {**event.to_dict(camera.fps), "latency_seconds": _number(delay)}
            ),
        )
        _line("end", end.to_dict())
        return 0
    _show_table(camera, net, detector, model)
    return 0


def _show_table(camera: Camera, net: Any, detector: Any, model: str) -> None:
    from rich.console import Console
    from rich.live import Live

    console = Console()
    with Live(_table(Status(camera.name), camera.fps, model), console=console, refresh_per_second=4) as live:
        end = watch(camera, net, detector, on_status=lambda status: live.update(_table(status, camera.fps, model)))
        live.update(_table(end, camera.fps, model))
    console.print("Research use. Not a lie detector.", style="dim")


def _table(status: Status, fps: float, model: str) -> Any:
    from rich.table import Table

    face = "face" if status.face else "no face"
    caption = (
        f"{status.seconds:.0f} s · {face} · {status.fps:.0f} frames/s · latency {status.latency_ms:.0f} ms "
        f"(95 %: {status.latency_p95_ms:.0f} ms) · {status.dropped} of {status.captured} frames dropped · Ctrl-C stops"
    )
    title = f"{status.source}, read by {model}: {len(status.events)} expressions"
    table = Table(title=title, caption=caption, title_justify="left", caption_justify="left", box=None)
    for column in ("at", "kind", "lasts", "label", "probability", "told after"):
        table.add_column(column)
    for event, delay in status.events[-SHOWN:]:
        table.add_row(*_row(event, delay, fps))
    return table


def _row(event: RecognisedEvent, delay: float, fps: float) -> tuple[str, ...]:
    e, p = event.event, event.prediction
    lasts = f"{1000 * (e.offset - e.onset + 1) / fps:.0f} ms"
    return f"{e.apex / fps:.2f} s", e.kind, lasts, p.label, f"{max(p.probabilities):.0%}", f"{delay:.1f} s"


def _line(kind: str, content: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps({"type": kind, **content}, allow_nan=False) + "\n")
    sys.stdout.flush()


def _number(value: float) -> float | None:
    return round(value, 3) if value == value else None
