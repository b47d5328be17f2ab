"""``zoo spot``: when something happens in a long video."""

from __future__ import annotations

import argparse
import csv
import io
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from zoo.errors import ZooError
from zoo.result import writable
from zoo.spotting.events import Spotting

TYPES = {"micro": "me", "macro": "mae"}  # as the challenges write them


def main(argv: Sequence[str]) -> int:
    """Run the command. Returns the exit code."""
    arguments = _parser().parse_args(argv)
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from zoo.spotting.spot import search

    out = arguments.out or Path("out") / f"{Path(arguments.video).stem}-spots"
    folder = writable(out)
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("frames", total=None)
        found = search(
            arguments.video,
            arguments.method,
            fps=arguments.fps,
            models=arguments.model or None,
            k=arguments.k,
            min_face=arguments.min_face,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    save(found, folder, video=arguments.id or Path(arguments.video).stem, first=arguments.first)
    if arguments.json:
        sys.stdout.write((folder / "spots.json").read_text(encoding="utf-8"))
        return 0
    _print(found, folder)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="zoo spot",
        description="Spot micro- and macro-expressions in a long video: when they begin, are strongest, and end.",
        epilog="Writes spots.csv (vid,onset,offset,type as the spotting challenges want it), spots.json and spots.png.",
    )
    parser.add_argument("video", help="video file, or folder of numbered frames")
    parser.add_argument(
        "--method",
        default="flow",
        choices=("flow", "mdmd", "softnet", "lbp"),
        help="flow: path of the parts of the face, fastest (default); mdmd: baseline of MEGC 2020; softnet: network of Liong et "
        "al. 2021; lbp: change of texture (Moilanen et al. 2014)",
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="where the files go (default out/NAME-spots)")
    parser.add_argument("--fps", type=float, help="frames per second, where the input does not say or says it wrongly")
    parser.add_argument(
        "--model", action="append", metavar="NAME", help="softnet: weights, one per kind (default: those of the zoo)"
    )
    parser.add_argument(
        "--k", type=int, help="softnet: frames between the two pictures of a flow (default: as trained)"
    )
    parser.add_argument(
        "--min-face", type=float, metavar="PX", help="smallest face to look for, in pixels of the video"
    )
    parser.add_argument("--id", help="name of the video in spots.csv (default: that of the file)")
    parser.add_argument(
        "--first",
        type=int,
        default=0,
        metavar="N",
        help="number of the first frame in spots.csv (default 0; challenges: 1)",
    )
    parser.add_argument("--json", action="store_true", help="print spots.json in place of the table")
    return parser


def save(found: Spotting, folder: Path, *, video: str, first: int = 0) -> tuple[Path, Path, Path]:
    """Write ``spots.csv``, ``spots.json`` and ``spots.png``, each whole or not at all.

    The CSV is that of the MEGC spotting challenges since 2022: ``vid,onset,offset,type``, both ends inclusive, type ``me`` or
    ``mae``. The JSON is :meth:`Spotting.to_dict`, in frames counted from 0.

    Args:
        found: what to write.
        folder: an existing one.
        video: the name in the CSV.
        first: number of the first frame in the CSV.

    Raises:
        ZooError: the folder cannot be written.
    """
    from zoo.spotting.figure import timeline_figure

    names = ("spots.csv", "spots.json", "spots.png")
    targets = tuple(folder / name for name in names)
    half = tuple(folder / f".{name}.part" for name in names)
    try:
        half[0].write_text(challenge_csv(found, video, first), encoding="utf-8")
        text = json.dumps(found.to_dict(), indent=1, ensure_ascii=False, allow_nan=False)
        half[1].write_text(text + "\n", encoding="utf-8")
        timeline_figure(found, half[2])
        for part, target in zip(half, targets, strict=True):
            part.replace(target)
    except OSError as error:
        raise ZooError(f"the result cannot be written to {folder} ({error.strerror}); choose another folder") from None
    finally:
        for part in half:
            part.unlink(missing_ok=True)
    return targets[0], targets[1], targets[2]


def challenge_csv(found: Spotting, video: str, first: int = 0) -> str:
    """The table of the spotting challenges: ``vid,onset,offset,type``."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("vid", "onset", "offset", "type"))
    writer.writerows((video, e.onset + first, e.offset + first, TYPES[e.kind]) for e in found.events)
    return text.getvalue()


def _print(found: Spotting, folder: Path) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    console.print(f"[bold]{found.source}[/], method {found.method}: {_count(found)}", highlight=False)
    if found.events:
        table = Table("", "kind", "onset", "apex", "offset", "seconds", "score", box=None, pad_edge=False)
        for number, e in enumerate(found.events, 1):
            when = f"{e.onset / found.fps:.2f} - {e.offset / found.fps:.2f}" if found.fps else "-"
            style = "" if e.kind == "micro" else "dim"
            row = (number, e.kind, e.onset, e.apex, e.offset, when, f"{e.score:.1f}")
            table.add_row(*map(str, row), style=style)
        console.print(table)
    for warning in found.warnings:
        console.print(f"note: {warning}", style="yellow", highlight=False, soft_wrap=True)
    rate = found.n_frames / max(found.seconds.get("total", 0.0), 1e-9)
    console.print(f"{found.n_frames} frames at {rate:.0f} frames/s", highlight=False)
    files = "  ".join(str(folder / name) for name in ("spots.csv", "spots.json", "spots.png"))
    console.print(files, highlight=False, soft_wrap=True)
    console.print("Research use. Not a lie detector.", style="dim")


def _count(found: Spotting) -> str:
    micro = sum(e.kind == "micro" for e in found.events)
    return f"{micro} micro, {len(found.events) - micro} macro" if found.events else "nothing spotted"
