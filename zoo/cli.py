"""The command ``zoo``. Each subcommand imports what it needs when it runs, so that help and listings answer at once."""

from __future__ import annotations

import argparse
import errno
import json
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from zoo._version import __version__
from zoo.errors import ZooError
from zoo.interrupts import Terminated, die, terminable

DEFAULT_MODEL = "au_flow_graph.megc2019"  # the best of the leaderboard's networks; tells action units as well
# Commands that live in their own rooms, each ``module[:function]``, called with the arguments, with a parser of its own, made
# when the command runs: help and listings must not wait for what they import.
ROOM_COMMANDS: dict[str, tuple[str, str]] = {
    "train": ("zoo.train.command:train", "train or fine-tune by recipe, write a checkpoint"),
    "loso": (
        "zoo.train.command:loso",
        "leave-one-subject-out by recipe: train every fold, score the pooled predictions",
    ),
    "cv": ("zoo.train.command:cv", "cross-validate a recipe over persons, to choose settings"),
    "sweep": ("zoo.train.sweep_command", "search settings by a wandb sweep file, without a server"),
    "compare": ("zoo.train.compare_command", "do two runs differ? paired, on the same clips"),
    "push": ("zoo.publish:push_command", "publish a checkpoint on a model hub"),
    "app": ("zoo.app", "serve a page to try it on"),
    "export": ("zoo.export", "write weights as ONNX or .pt2"),
    "pull": ("zoo.publish:pull_command", "fetch a checkpoint from a model hub"),
    "audit": ("zoo.audit.command", "what stands behind a score: halves of the face, groups, regions, action units"),
    "graph": ("zoo.graph.command", "draw a graph of action units over a face"),
    "spot": ("zoo.spotting.command", "find micro- and macro-expressions in a long video"),
    "magnify": ("zoo.magnification.command", "make small motion in a video large, with a figure"),
    "faces": ("zoo.vision.command", "find and follow all faces of a video, write a table and a figure"),
    "synth": ("zoo.synthesis.command", "play micro-expressions on portraits, write a synthetic data set"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command. Returns the exit code: 0 done, 2 the input is at fault (one or two lines on stderr), 130 interrupted.

    SIGTERM ends the process as its sender expects, after the same clean stop as Ctrl-C.
    """
    parser = build_parser()
    arguments, rest = parser.parse_known_args(argv)
    if rest and not getattr(arguments, "takes_overrides", False):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    try:
        with terminable():
            return int(arguments.run(arguments, rest) or 0)
    except ZooError as error:
        print(f"zoo: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as stop:
        print("zoo: interrupted; what was finished is kept, the same command goes on from there", file=sys.stderr)
        terminated = isinstance(stop, Terminated)
    except BrokenPipeError:  # `zoo models | head`
        sys.stderr.close()
        return 0
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG):
            raise
        where = f"cannot write {error.filename}" if error.filename else "cannot write"
        print(
            f"zoo: error: {where}: {error.strerror}; make room, or choose another folder, and run the same command again",
            file=sys.stderr,
        )
        return 2
    return die() if terminated else 130


def build_parser() -> argparse.ArgumentParser:
    """The parser, with one subparser per command."""
    parser = argparse.ArgumentParser(
        prog="zoo",
        description="The model zoo for facial micro-expression recognition.",
        epilog="`zoo COMMAND --help` explains a command. Research use; a micro-expression is no lie detector.",
    )
    parser.add_argument("--version", action="version", version=f"zoo {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    models = commands.add_parser("models", help="list architectures and pretrained weights")
    models.add_argument("pattern", nargs="?", default="*", help="shell pattern, e.g. 'rcn_*'")
    models.add_argument("--pretrained", action="store_true", help="weights only")
    models.add_argument("--json", action="store_true", help="machine-readable")
    models.set_defaults(run=_models)

    predict = commands.add_parser("predict", help="read a micro-expression from a video or a folder of frames")
    predict.add_argument(
        "path", nargs="?", help="video file or folder of numbered frames; without it, a synthetic sample clip"
    )
    predict.add_argument(
        "--model",
        default=DEFAULT_MODEL,
        metavar="NAME",
        help=f"weights: a name of `zoo models --pretrained`, local-dir:PATH or hf-hub:owner/name (default {DEFAULT_MODEL})",
    )
    predict.add_argument(
        "--onset", type=int, metavar="N", help="frame number (from 0) where the expression starts; found if not given"
    )
    predict.add_argument("--apex", type=int, metavar="N", help="frame number where it is strongest; found if not given")
    predict.add_argument(
        "--fps", type=float, help="frames per second, where the input does not say (folders) or says it wrongly"
    )
    predict.add_argument(
        "--min-face", type=float, metavar="PX", help="smallest face to look for, in pixels of the video"
    )
    predict.add_argument(
        "--out", type=Path, metavar="DIR", help="where prediction.json and prediction.png go (default out/NAME)"
    )
    predict.add_argument(
        "--camera",
        metavar="N|FILE",
        help="watch camera N, or a video file played at its own pace, and recognise as it goes; Ctrl-C stops",
    )
    predict.add_argument(
        "--json", action="store_true", help="print prediction.json in place of the table; of a camera, lines of JSON"
    )
    predict.set_defaults(run=_predict)

    # its own parser is made when it runs: reading data sets needs numpy, and help must not wait for that
    data = commands.add_parser("data", add_help=False, help="data sets on disk: list, check, build, freeze, show")
    data.set_defaults(run=_data, takes_overrides=True)

    for name, (module, summary) in ROOM_COMMANDS.items():
        room = commands.add_parser(name, add_help=False, help=summary)
        room.set_defaults(run=_room, module=module, takes_overrides=True)

    convert = commands.add_parser("convert", help="turn weights that authors published into a checkpoint folder")
    convert.add_argument("arch", help="architecture, e.g. ststnet")
    convert.add_argument("source", help="the authors' file, e.g. a PyTorch state dict (.pth)")
    convert.add_argument(
        "--out", required=True, metavar="DIR", help='folder to write; zoo.load("local-dir:DIR") opens it'
    )
    convert.set_defaults(run=_convert)
    return parser


def _models(arguments: argparse.Namespace, _: list[str]) -> int:
    from zoo.registry import entries, list_models
    from zoo.weights import index

    weights = {name: index()[name] for name in list_models(arguments.pattern, pretrained=True, task="*")}
    architectures = (
        {} if arguments.pretrained else {n: entries()[n].summary for n in list_models(arguments.pattern, task="*")}
    )
    if arguments.json:
        print(json.dumps({"architectures": architectures, "weights": weights}, indent=1))
        return 0
    if not weights and not architectures:
        raise ZooError(f"nothing matches {arguments.pattern!r}; `zoo models` lists all")
    from rich.console import Console
    from rich.table import Table

    console = Console()

    def table(title: str, *columns: str) -> Table:
        out = Table(box=None, pad_edge=False, title=title, title_justify="left")
        for column in columns:
            # a name that is cut short cannot be typed again; prose may wrap
            out.add_column(column, no_wrap=column != "what", overflow="fold")
        return out

    if architectures:
        rows = table("Architectures", "architecture", "weights as", "what")
        for name, summary in architectures.items():
            tags = (w.partition(".")[2] for w in index() if w.startswith(f"{name}."))
            rows.add_row(name, "\n".join(f".{tag}" for tag in tags) or "-", summary)
        console.print(rows)
    if weights:
        title = "\nPretrained weights" if architectures else "Pretrained weights"
        rows = table(title, "weights", "UF1", "UAR", "scored on", "licence")  # narrow enough for 80 columns
        for name, entry in weights.items():
            full = entry["metrics"].get("full")  # what is no recogniser has no UF1
            scores = [f"{full[score]['mean']:.3f}" if full else "-" for score in ("uf1", "uar")]
            where = "-" if not full else "synthetic" if entry.get("synthetic") else "MEGC2019"
            rows.add_row(name, *scores, where, entry["licence"])
        console.print(rows)
        hint = "MEGC2019: leave one subject out, mean over seeds; zoo.load(NAME).card says all."
        console.print(hint, style="dim")
    return 0


def _predict(arguments: argparse.Namespace, _: list[str]) -> int:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    if arguments.camera is not None:
        return _watch(arguments)
    from zoo.predictor import predict, predict_sample
    from zoo.predictor.show import print_result

    console = Console(stderr=True)  # the answer goes to stdout alone
    out = arguments.out or Path("out") / (Path(arguments.path).stem if arguments.path else "sample")
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("frames", total=None)

        def progress(done: int, total: int | None) -> None:
            bar.update(task, completed=done, total=total)

        if arguments.path is None:
            given = [n for n in ("onset", "apex", "fps") if getattr(arguments, n) is not None]
            if given:
                raise ZooError(f"--{given[0]} belongs to a video of yours; the sample clip brings its own")
            result = predict_sample(model=arguments.model, out=out, progress=progress)
        else:
            result = predict(
                arguments.path, model=arguments.model, onset=arguments.onset, apex=arguments.apex, fps=arguments.fps,
                min_face=arguments.min_face, out=out, progress=progress,
            )  # fmt: skip
    if arguments.json:
        print((out / "prediction.json").read_text(encoding="utf-8"), end="")
        return 0
    print_result(result, out)
    return 0


def _watch(arguments: argparse.Namespace) -> int:
    given = [n for n in ("path", "onset", "apex", "out") if getattr(arguments, n) is not None]
    if given:
        raise ZooError(
            f"--camera watches until it is stopped and takes no {'video' if given[0] == 'path' else f'--{given[0]}'}; to play a "
            f"file as a camera, write --camera FILE"
        )
    from zoo.live.show import show

    return show(
        arguments.camera, model=arguments.model, fps=arguments.fps, min_face=arguments.min_face, as_json=arguments.json
    )


def _data(_: argparse.Namespace, rest: list[str]) -> int:
    import cv2
    import numpy as np

    from zoo.data.command import add_parser, run
    from zoo.vision.flow import optical_flow

    def flow(onset: np.ndarray, apex: np.ndarray) -> np.ndarray:
        first, second = (cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) for picture in (onset, apex))
        return optical_flow(first, second)

    parser = argparse.ArgumentParser(prog="zoo")
    add_parser(parser.add_subparsers(required=True))
    return run(parser.parse_args(["data", *rest]), flow=flow)


def _room(arguments: argparse.Namespace, rest: list[str]) -> int:
    module, _, function = arguments.module.partition(":")
    return int(getattr(import_module(module), function or "main")(rest) or 0)


def _convert(arguments: argparse.Namespace, _: list[str]) -> int:
    from zoo.convert import convert

    folder = convert(arguments.arch, arguments.source, arguments.out)
    print(f'wrote {folder}; zoo.load("local-dir:{folder}") opens it')
    return 0


if __name__ == "__main__":
    sys.exit(main())
