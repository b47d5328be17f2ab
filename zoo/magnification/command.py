"""``zoo magnify``: a video with its small motion made large, and a figure of before and after."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np

from zoo.errors import MediaError, ZooError
from zoo.magnification.figure import TimeSlices, before_after_figure
from zoo.magnification.lagrangian import Head
from zoo.magnification.learned import MODEL, Mode
from zoo.magnification.magnify import Method, magnified
from zoo.magnification.temporal import BAND, Temporal
from zoo.vision.flow import FlowName
from zoo.vision.video import Frame, MediaReader, write_video

_EPILOG = """lagrangian follows the optical flow from the first frame of the stretch; eulerian and phase amplify what changes
within a band of frequencies; learned is the network of Oh et al., slow without a GPU. All of them magnify noise and the head's
own motion too, and none tells what a person feels. Memory does not grow with the video, except with --components and
--temporal ideal, which hold the stretch and say so where it is too long."""
RATE = 30.0  # frames/s of the file written, where the frames do not say theirs


def parser() -> argparse.ArgumentParser:
    """Of the command's arguments."""
    out = argparse.ArgumentParser(
        prog="zoo magnify", description="Make small motion large: writes a video and a figure.", epilog=_EPILOG
    )
    out.add_argument("path", metavar="VIDEO", help="video file or folder of numbered frames")
    out.add_argument(
        "--alpha", type=float, default=8.0, help="how many times as large the motion comes out (default 8)"
    )
    out.add_argument("--method", choices=get_args(Method), default="lagrangian", help="default lagrangian")
    out.add_argument("--out", type=Path, metavar="FILE.mp4", help="video to write (default out/NAME/magnified.mp4)")
    out.add_argument("--start", type=float, metavar="S", help="seconds from where to magnify (default: the beginning)")
    out.add_argument("--stop", type=float, metavar="S", help="seconds up to where (default: the end)")
    out.add_argument(
        "--band", type=float, nargs=2, default=BAND, metavar=("LOW", "HIGH"),
        help=f"Hz, of eulerian, phase and learned temporal (default {BAND[0]} {BAND[1]})",
    )  # fmt: skip
    out.add_argument("--fps", type=float, help="frames per second, where the input does not say or says it wrongly")
    out.add_argument("--crf", type=int, default=12, help="compression, 0 (lossless) to 51 (default 12)")
    out.add_argument("--flow", choices=get_args(FlowName), help="lagrangian: the optical flow (default farneback)")
    out.add_argument("--head", choices=get_args(Head), help="lagrangian: motion of the whole picture (default kept)")
    out.add_argument("--components", type=int, metavar="K", help="lagrangian: GLMM, keep K principal components")
    out.add_argument("--temporal", choices=get_args(Temporal), help="eulerian: the filter (default butterworth)")
    out.add_argument("--mode", choices=get_args(Mode), help="learned: against which frame (default static)")
    out.add_argument("--model", metavar="NAME", help=f"learned: weights (default {MODEL})")
    out.add_argument("--device", help="phase and learned: where torch computes (default cpu)")
    return out


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    arguments = parser().parse_args(argv)
    options = _options(arguments)
    reader = MediaReader(arguments.path, fps=arguments.fps)
    out: Path = arguments.out or Path("out") / Path(arguments.path).stem / "magnified.mp4"
    if out.suffix.lower() not in (".mp4", ".mkv", ".mov", ".avi"):
        raise ZooError(f"--out is {out}; a video file is written: .mp4, .mkv, .mov or .avi")
    out.parent.mkdir(parents=True, exist_ok=True)
    figure, slices = out.with_suffix(".png"), TimeSlices()
    columns = TextColumn("magnify"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        frames, total = stretch(reader, arguments.start, arguments.stop)
        task = bar.add_task("frames", total=total)
        waiting: list[np.ndarray] = []  # read, not yet magnified: a filter looks half a second ahead

        def read() -> Iterator[np.ndarray]:
            for frame in frames:
                waiting.append(frame.rgb)
                yield frame.rgb

        def written() -> Iterator[np.ndarray]:
            made = magnified(
                read(),
                reader.fps,
                method=arguments.method,
                alpha=arguments.alpha,
                band=tuple(arguments.band),
                options=options,
            )
            for after in made:
                slices.add(waiting.pop(0), after)
                bar.advance(task)
                yield after

        temporary = out.with_name(f".{out.stem}.part{out.suffix}")
        picture = figure.with_name(f".{figure.name}.part")
        try:
            write_video(temporary, written(), fps=reader.fps or RATE, crf=arguments.crf)
            title = f"{Path(arguments.path).name}, {arguments.method}, motion times {arguments.alpha:g}"
            before_after_figure(slices, picture, title=title, fps=reader.fps)
            temporary.replace(out)
            picture.replace(figure)
        finally:
            temporary.unlink(missing_ok=True)
            picture.unlink(missing_ok=True)
    for warning in reader.warnings:
        print(f"note: {warning}", file=sys.stderr)
    if not reader.fps:
        print(
            f"note: the frame rate is not known; the video plays at {RATE:g} frames/s, --fps sets it", file=sys.stderr
        )
    print(f"{slices.frames} frames\n{out}  {figure}")
    return 0


def stretch(reader: MediaReader, start: float | None, stop: float | None) -> tuple[Iterator[Frame], int | None]:
    """The frames between two times in seconds, and how many, where that is known."""
    if start is None and stop is None:
        return iter(reader), reader.n_frames
    begin, end = start or 0.0, math.inf if stop is None else stop
    if not 0 <= begin < end:
        raise ZooError(f"the stretch from {begin:g} s to {end:g} s is empty; --start comes before --stop, from 0 on")
    times = reader.times()
    if times is None and not reader.fps:
        raise MediaError(f"{reader.path} does not say its frame rate, so seconds mean nothing; give --fps")
    if times is not None:
        first, last = (int(np.searchsorted(times, t - 1e-6)) for t in (begin, end))
    else:
        rate = reader.fps or RATE
        first, last = math.ceil(begin * rate - 1e-6), sys.maxsize if math.isinf(end) else math.ceil(end * rate - 1e-6)
    if first >= last:
        raise MediaError(f"{reader.path} has no frame between {begin:g} s and {end:g} s")
    return reader.read(first, last), None if last == sys.maxsize else last - first


def _options(arguments: argparse.Namespace) -> dict[str, Any]:
    takers = {
        "flow": ("lagrangian",), "head": ("lagrangian",), "components": ("lagrangian",), "temporal": ("eulerian",),
        "mode": ("learned",), "model": ("learned",), "device": ("phase", "learned"),
    }  # fmt: skip
    given = {name: getattr(arguments, name) for name in takers if getattr(arguments, name) is not None}
    for name in given:
        if arguments.method not in takers[name]:
            raise ZooError(f"--{name} belongs to --method {' or '.join(takers[name])}, not to {arguments.method}")
    if arguments.method == "lagrangian":
        given.setdefault("head", "kept")
    return given
