"""``zoo synth``: a synthetic data set in a real one's layout, with the truth beside it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

_EPILOG = """It is synthetic: skin slides, but does not fold, shade or show teeth; nothing measured on it says how a model does
on people. zoo data build casme2 --root OUT --out OUT.parquet reads it; with --long it is casme_sq."""


def parser() -> argparse.ArgumentParser:
    """Of the command's arguments."""
    out = argparse.ArgumentParser(
        prog="zoo synth", description="Play micro-expressions on portraits; write a data set.", epilog=_EPILOG
    )
    out.add_argument(
        "--portraits", type=Path, metavar="DIR|FILE.npz",
        help="folder of pictures, one face and one person each; or a table of portraits; default: a public-domain portrait",
    )  # fmt: skip
    out.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write; goes on where it stopped")
    out.add_argument(
        "--subjects", type=int, metavar="N", help="how many portraits to play on (default: all, at most 40)"
    )
    out.add_argument("--skip", type=int, default=0, metavar="N", help="leave the first N portraits to another data set")
    out.add_argument(
        "--clips", type=int, default=8, metavar="N", help="clips, or long videos, of each subject (default 8)"
    )
    out.add_argument(
        "--long", type=int, metavar="N_EVENTS", help="long videos with so many micro- and macro-expressions each"
    )
    out.add_argument(
        "--layout",
        choices=("casme2", "casme_sq", "csv"),
        help="whose files it looks like (default casme2; with --long casme_sq); csv: a table of clips, with any label",
    )
    out.add_argument(
        "--style", metavar="NAME", help="whose statistics scripts are drawn from (default: those of the layout)"
    )
    out.add_argument(
        "--emotions", default="", metavar="A,B", help="only these, equally often (default: all, as measured)"
    )
    out.add_argument(
        "--intensity",
        default="",
        metavar="LETTERS",
        help="FACS intensities, equally often, e.g. DE (default: as measured)",
    )
    out.add_argument("--seed", type=int, default=0)
    out.add_argument("--size", type=int, default=256, metavar="PX", help="of a frame (default 256)")
    out.add_argument(
        "--fps", type=float, help="frames a second (default: the layout's, which its reader takes for granted)"
    )
    out.add_argument(
        "--aligned", action="store_true", help="frames show the canonical crop of the face, for --data.faces cropped"
    )
    out.add_argument(
        "--engine", choices=("landmarks", "ict"), default="landmarks",
        help="what moves the skin: displacements of 68 landmarks, or the shapes of ICT-FaceKit's mesh",
    )  # fmt: skip
    out.add_argument("--ict", type=Path, metavar="FILE.npz", help="ICT-FaceKit's light model, for --engine ict")
    out.add_argument("--still", action="store_true", help="no head motion, light drift, noise or blinks")
    out.add_argument(
        "--no-flow", action="store_true", help="leave the true motion out of the truth files (half the size)"
    )
    out.add_argument("--workers", type=int, default=1, metavar="N", help="processes (default 1)")
    return out


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    arguments = parser().parse_args(argv)
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    from zoo.errors import ZooError
    from zoo.synthesis.dataset import Settings, write_dataset
    from zoo.synthesis.layouts import LAYOUTS
    from zoo.synthesis.portraits import read_portraits
    from zoo.synthesis.render import Nuisance

    name = arguments.layout or ("casme_sq" if arguments.long else "casme2")
    layout = LAYOUTS[name]
    if bool(arguments.long) != layout.long:
        need = "holds long videos; give --long N_EVENTS" if layout.long else "holds short clips; leave --long out"
        raise ZooError(f"layout {name} {need}")
    if arguments.skip < 0:
        raise ZooError(f"--skip is {arguments.skip}; it counts portraits")
    console = Console(stderr=True)

    def note(text: str) -> None:
        console.print(f"note: {text}", style="yellow", highlight=False)

    wanted = arguments.subjects if arguments.subjects is not None else 40
    found = read_portraits(arguments.portraits, note=note, limit=arguments.skip + wanted)[arguments.skip :]
    if not found:
        raise ZooError(f"--skip {arguments.skip} leaves no portrait; there are fewer")
    fps = arguments.fps or layout.fps
    if fps != layout.fps:
        note(f"the reader of {name} takes its frames to be at {layout.fps:g} a second; these are at {fps:g}")
    settings = Settings(
        layout=name, subjects=arguments.subjects if arguments.subjects is not None else len(found), clips=arguments.clips,
        seed=arguments.seed, size=arguments.size, fps=fps, style=arguments.style or layout.style,
        emotions=tuple(e.strip() for e in arguments.emotions.split(",") if e.strip()), events=arguments.long or 1,
        letters=arguments.intensity.upper(), flow=not arguments.no_flow, aligned=arguments.aligned, engine=arguments.engine,
        nuisance=Nuisance.none() if arguments.still else Nuisance(),
    )  # fmt: skip
    columns = TextColumn("clips"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn()
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("clips", total=settings.subjects * settings.clips)
        rows = write_dataset(
            settings, found, arguments.out, mesh=arguments.ict, workers=arguments.workers,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )  # fmt: skip
    micro = sum(r.kind == "micro" for r in rows)
    counts = f"{micro} micro-expressions" + (f", {len(rows) - micro} macro-expressions" if micro < len(rows) else "")
    print(
        f"{arguments.out}: synthetic, {settings.subjects} subjects, {settings.subjects * settings.clips} "
        f"{'videos' if layout.long else 'clips'}, {counts}"
    )
    print(f"zoo data build {name} --root {arguments.out} --out {arguments.out.name}.parquet")
    return 0


if __name__ == "__main__":
    sys.exit(main())
