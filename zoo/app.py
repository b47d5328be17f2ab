"""A page to try the zoo on: drop a video or use the camera. The only importer of gradio.

Everything stays on the machine that serves the page. What is uploaded is deleted as soon as it has been read, results after an
hour; length and size are bounded before anything is decoded.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zoo.errors import FaceError, MediaError, ZooError, missing_extra

SENTENCE = "Research use. A micro-expression says that a face moved, not why: this is no lie detector."
KEEP_SECONDS = 3600  # results; uploads go at once
CSS = """
footer {display: none !important}
.gradio-container {max-width: 1180px !important; margin: auto}
#answer h2 {margin-top: 0}
"""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What the page takes."""

    seconds: float = 120.0
    megabytes: int = 200

    def __post_init__(self) -> None:
        if self.seconds <= 0 or self.megabytes < 1:
            raise ZooError(
                f"limits of {self.seconds} s and {self.megabytes} MB leave nothing to show; give larger ones"
            )


def analyse(
    path: str | Path | None,
    model: str,
    *,
    limits: Limits,
    progress: Callable[[int, int | None], None] = lambda done, total: None,
    keep: bool = False,
) -> tuple[dict[str, Any], Path]:
    """Read one video and remove it.

    Args:
        path: the uploaded file; None for the sample clip.
        model: name of pretrained weights.
        limits: what is refused.
        progress: called with (frames done, frames in all if known).
        keep: leave the file where it is.

    Returns:
        The content of ``prediction.json``, and the folder that holds it and the figures.

    Raises:
        MediaError: too long, or no readable video. FaceError: nobody in it. ZooError: no such model.
    """
    from zoo.predictor import predict, predict_sample

    out = Path(tempfile.mkdtemp(prefix="zoo-app-"))
    try:
        if path is None:
            predict_sample(model=model, out=out, progress=progress)
        else:
            _check(Path(path), limits)
            predict(path, model=model, out=out, progress=progress)
    finally:
        if path is not None and not keep:
            Path(path).unlink(missing_ok=True)
    return json.loads((out / "prediction.json").read_text(encoding="utf-8")), out


def _check(path: Path, limits: Limits) -> None:
    from zoo.vision.video import MediaReader

    if path.stat().st_size > limits.megabytes * 1_000_000:
        raise MediaError(f"the file has {path.stat().st_size / 1e6:.0f} MB; this page takes {limits.megabytes}")
    reader = MediaReader(path)
    if reader.n_frames and reader.fps and reader.n_frames / reader.fps > limits.seconds:
        raise MediaError(
            f"the video lasts {reader.n_frames / reader.fps:.0f} s; this page takes {limits.seconds:.0f}: cut it, or run "
            f"`zoo predict` on your own machine"
        )


def words(answer: dict[str, Any]) -> str:
    """The answer as Markdown."""
    probabilities = dict(zip(answer["classes"], answer["probabilities"], strict=True))
    lines = [f"## {answer['label'].capitalize()} ({probabilities[answer['label']]:.0%})"]
    if answer["synthetic"]:
        lines.append(f"The sample is synthetic: it shows {answer['truth']['label']}.")
    moment, fps = answer["interval"], answer["fps"]
    when = (
        "" if moment["onset_seconds"] is None else f", {moment['onset_seconds']:.2f} to {moment['apex_seconds']:.2f} s"
    )
    lines.append(
        f"Onset frame {moment['onset']}, apex frame {moment['apex']}{when}; {answer['n_frames']} frames"
        + (f" at {fps:.4g} per second" if fps else "")
        + f", read in {answer['seconds'].get('total', 0):.1f} s."
    )
    events = answer.get("events") or []
    if len(events) > 1:
        lines += ["", "| from | to | kind | answer |", "|---|---|---|---|"]
        lines += [_row(event) for event in events]
    lines += ["", *(f"- {text}" for text in answer["warnings"]), "", f"*{SENTENCE}*"]
    return "\n".join(lines)


def _row(event: dict[str, Any]) -> str:
    def second(name: str) -> str:
        value = event.get(f"{name}_seconds")
        return f"{value:.2f} s" if value is not None else f"frame {event.get(name)}"

    label, chance = event.get("label") or "–", max(event.get("probabilities") or [0.0])
    return f"| {second('onset')} | {second('offset')} | {event.get('kind', '')} | {label}{f' ({chance:.0%})' if chance else ''} |"


def explain(error: Exception) -> str:
    """Clear words in place of an answer."""
    head = {FaceError: "No face that could be followed", MediaError: "This video cannot be read"}
    title = next((text for kind, text in head.items() if isinstance(error, kind)), "That did not work")
    return f"## {title}\n{str(error)[:1].upper()}{str(error)[1:]}.\n\n*{SENTENCE}*"


def build(*, model: str, limits: Limits) -> Any:
    """The page, as a ``gradio.Blocks`` that is not served yet.

    Raises:
        MissingExtra: gradio is not installed. UnknownName: no such weights.
    """
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    try:
        import gradio as gr
    except ImportError as error:
        raise missing_extra("app", "gradio", "the page") from error
    from zoo.registry import list_models
    from zoo.weights import find

    find(model)
    choices = sorted({model, *list_models(pretrained=True)})

    def answer(path: str | None, name: str, progress: Any = gr.Progress()) -> tuple[Any, ...]:  # noqa: B008
        if path is None:
            return "## Nothing to read yet\nDrop a video, record one, or press *Sample*.", {}, *_nothing()
        return respond(path, name, progress)

    def sample(name: str, progress: Any = gr.Progress()) -> tuple[Any, ...]:  # noqa: B008
        return respond(None, name, progress)

    def respond(path: str | None, name: str, progress: Any) -> tuple[Any, ...]:
        try:
            found, folder = analyse(
                path, name, limits=limits, progress=lambda done, total: progress((done, total), unit="frames")
            )
        except ZooError as error:
            return explain(error), {}, *_nothing()
        pictures = sorted(folder.glob("*.png"), key=lambda p: (p.stem != "prediction", p.name))
        chances = dict(zip(found["classes"], found["probabilities"], strict=True))
        files = [str(p) for p in sorted(folder.iterdir())]
        units = {f"AU{unit}": p for unit, p in found["aus"].items()}
        return (
            words(found), chances, gr.update(value=units, visible=bool(units)),
            gr.update(value=[str(p) for p in pictures], visible=True), gr.update(value=files, visible=True),
        )  # fmt: skip

    def _nothing() -> tuple[Any, ...]:
        return tuple(gr.update(value=None, visible=False) for _ in range(3))

    with gr.Blocks(title="au-graph-zoo", analytics_enabled=False, delete_cache=(600, KEEP_SECONDS)) as page:
        gr.Markdown(
            "# au-graph-zoo\nThe micro-expression in a video: when a face moved, how, and what a model makes of it."
        )
        with gr.Row():
            with gr.Column(scale=2):
                video = gr.Video(
                    label=f"Video, up to {limits.seconds:.0f} s and {limits.megabytes} MB", sources=["upload", "webcam"],
                    elem_id="video", webcam_options=gr.WebcamOptions(mirror=False),
                )  # fmt: skip
                weights = gr.Dropdown(choices, value=model, label="Model", elem_id="model")
                with gr.Row():
                    go = gr.Button("Read it", variant="primary", elem_id="go")
                    show = gr.Button("Sample", elem_id="sample")
            with gr.Column(scale=3):
                text = gr.Markdown("Drop a video, record one, or press *Sample*.", elem_id="answer")
                chances = gr.Label(label="Probabilities", elem_id="chances")
                units = gr.Label(label="Action units", num_top_classes=8, visible=False, elem_id="units")
        pictures = gr.Gallery(
            label="What it saw", columns=2, object_fit="contain", height="auto", visible=False, elem_id="pictures"
        )
        files = gr.Files(label="Download", visible=False, elem_id="files")
        gr.Markdown(f"{SENTENCE} Videos stay on this machine and are deleted once read.")
        outputs = [text, chances, units, pictures, files]
        go.click(answer, [video, weights], outputs, concurrency_limit=1)
        show.click(sample, [weights], outputs, concurrency_limit=1)
    page.queue(max_size=16)
    return page


def serve(page: Any, *, host: str, port: int, limits: Limits, wait: bool) -> str:
    """Start the server; returns its address. With ``wait`` only an interrupt ends it."""
    import gradio as gr

    fonts: dict[str, Any] = {
        "font": ["system-ui", "sans-serif"],
        "font_mono": ["ui-monospace", "monospace"],
    }  # nothing is fetched from afar
    _, address, _ = page.launch(
        server_name=host, server_port=port or None, share=False, quiet=True, prevent_thread_lock=not wait, show_error=True,
        max_file_size=limits.megabytes * 1_000_000, allowed_paths=[], footer_links=[], ssr_mode=False,
        theme=gr.themes.Soft(**fonts), css=CSS, enable_monitoring=False,
    )  # fmt: skip
    return str(address)


def main(argv: Sequence[str]) -> int:
    """``zoo app``."""
    from zoo.cli import DEFAULT_MODEL

    parser = argparse.ArgumentParser(
        prog="zoo app", description="Serve a page on which to drop a video or use the camera."
    )
    parser.add_argument(
        "--model", default=DEFAULT_MODEL, metavar="NAME", help=f"weights at first (default {DEFAULT_MODEL})"
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: this machine only)")
    parser.add_argument("--port", type=int, default=7860)
    parser.add_argument("--max-seconds", type=float, default=120.0, help="longest video (default 120)")
    parser.add_argument("--max-mb", type=int, default=200, help="largest upload (default 200)")
    given = parser.parse_args(argv)
    limits = Limits(seconds=given.max_seconds, megabytes=given.max_mb)
    page = build(model=given.model, limits=limits)
    print(f"http://{given.host}:{given.port}   (Ctrl-C ends it)", flush=True)
    try:
        serve(page, host=given.host, port=given.port, limits=limits, wait=True)
    except OSError as error:
        raise ZooError(f"cannot listen on {given.host}:{given.port} ({error}); choose another --port") from error
    return 0
