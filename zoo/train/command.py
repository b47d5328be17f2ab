"""The parsers of ``zoo train``, ``zoo loso`` and ``zoo cv``; what they do is in :mod:`zoo.train.commands`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from zoo.errors import ZooError

_FIELDS = "Every field of a recipe is a flag: --model.lr 1e-3 --data.root PATH --trainer.max_epochs 20."


def train(argv: Sequence[str]) -> int:
    """``zoo train``."""
    parser = argparse.ArgumentParser(
        prog="zoo train",
        description="Train or fine-tune by recipe, write a checkpoint.",
        epilog=f"{_FIELDS} An interrupted training goes on where it was kept, bit for bit on a CPU.",
    )
    _config(parser, required=True)
    parser.add_argument("--seed", type=int, default=0, help="of weights, order and augmentation (default 0)")
    parser.add_argument("--out", type=Path, metavar="DIR", help="run folder (default runs/RECIPE-train)")
    parser.add_argument(
        "--save-every", type=float, default=30.0, metavar="SECONDS",
        help="how often the training is kept, as epochs end, for the same command to go on from (default 30; 0: each epoch)",
    )  # fmt: skip
    _talk(parser)
    _media(parser)
    arguments, overrides = parser.parse_known_args(argv)
    from zoo.train.commands import train

    return train(
        arguments.config, overrides, seed=arguments.seed, out=arguments.out, wandb=arguments.wandb, media=arguments.wandb_media,
        silent=arguments.quiet, save_every=arguments.save_every,
    )  # fmt: skip


def loso(argv: Sequence[str]) -> int:
    """``zoo loso``."""
    parser = argparse.ArgumentParser(
        prog="zoo loso",
        description="Leave-one-subject-out by recipe: train every fold, score the pooled predictions.",
        epilog=f"{_FIELDS} An interrupted run goes on where it stopped, bit for bit on a CPU.",
    )
    _config(parser, required=False)
    parser.add_argument(
        "--baseline",
        choices=("majority", "svm", "svm_robust"),
        help="a classical reference point in place of a recipe; needs --data.root",
    )
    parser.add_argument(
        "--seeds", type=int, default=5, metavar="N", help="runs with different seeds, 0 to N-1 (default 5)"
    )
    parser.add_argument(
        "--folds", default="", metavar="A,B", help="test persons, e.g. casme2/sub01,samm/006; stored, not scored"
    )
    parser.add_argument(
        "--select", choices=("last", "oracle"), default="last",
        help="which epoch is scored; oracle: the one that suits the held-out person best, to measure that leak (labelled so)",
    )  # fmt: skip
    parser.add_argument("--out", type=Path, metavar="DIR", help="run folder (default runs/RECIPE)")
    _places(parser)
    _talk(parser)
    _media(parser)
    parser.add_argument("--wandb-folds", action="store_true", help="with --wandb: also one run per fold, grouped")
    arguments, overrides = parser.parse_known_args(argv)
    if bool(arguments.config) == bool(arguments.baseline):
        raise ZooError("give either --config RECIPE or --baseline majority|svm|svm_robust")
    _seeds(arguments.seeds)
    from zoo.train.commands import baseline, loso

    if arguments.baseline:
        return baseline(arguments.baseline, overrides, out=arguments.out)
    return loso(
        arguments.config, overrides, seeds=arguments.seeds, folds=names(arguments.folds), out=arguments.out,
        media=arguments.wandb_media, fold_runs=arguments.wandb_folds, select=arguments.select, **_shared(arguments),
    )  # fmt: skip


def cv(argv: Sequence[str]) -> int:
    """``zoo cv``."""
    arguments, overrides = cv_parser().parse_known_args(argv)
    _seeds(arguments.seeds)
    from zoo.train.commands import cv

    return cv(
        arguments.config, overrides, parts=arguments.parts, held_out=names(arguments.hold_out), seeds=arguments.seeds,
        out=arguments.out, **_shared(arguments),
    )  # fmt: skip


def cv_parser() -> argparse.ArgumentParser:
    """Of ``zoo cv``; the command of a sweep file is read by it too."""
    parser = argparse.ArgumentParser(
        prog="zoo cv",
        description="Cross-validate a recipe over whole persons, to choose between settings before `zoo loso`.",
        epilog=_FIELDS,
    )
    _config(parser, required=True)
    parser.add_argument("--parts", type=int, default=5, metavar="K", help="folds of persons (default 5)")
    parser.add_argument(
        "--hold-out",
        default="",
        metavar="A,B",
        help="test persons (folds) of the protocol that take no part, e.g. samm/006",
    )
    parser.add_argument(
        "--seeds", type=int, default=1, metavar="N", help="runs with different seeds, 0 to N-1 (default 1)"
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="run folder (default runs/RECIPE-cv)")
    _places(parser)
    _talk(parser)
    return parser


def _config(parser: argparse.ArgumentParser, *, required: bool) -> None:
    parser.add_argument(
        "--config", action="append", required=required, metavar="RECIPE",
        help="YAML file or name of a shipped recipe; repeat to overlay",
    )  # fmt: skip


def _places(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--workers", type=int, default=1, metavar="N", help="processes, one thread each (default 1; 0: in this process)"
    )
    parser.add_argument(
        "--parallel",
        action="store_true",
        help="fit many folds of a small model at once; the same results, but for rounding",
    )
    parser.add_argument(
        "--compiled", action="store_true",
        help="as --parallel, in machine code where it knows the network (STSTNet; extra `fast`): a few times faster on a "
        "CPU, and nearer to exact arithmetic than torch, so that logits differ by torch's own rounding",
    )  # fmt: skip
    parser.add_argument(
        "--engine", default="", metavar="NAME",
        help="where jobs run: process (default), slurm:partition=…,timeout_min=…, ray:address=HOST:PORT; --workers at a time",
    )  # fmt: skip


def _talk(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--quiet", action="store_true", help="no progress; the result is still printed")
    parser.add_argument(
        "--wandb", action="store_true", help="log to Weights & Biases (offline unless you are logged in)"
    )


def _media(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--wandb-media", action="store_true",
        help="with --wandb: also the motion picture of each clip; the licences of most data sets forbid to publish them",
    )  # fmt: skip


def _shared(arguments: argparse.Namespace) -> dict[str, Any]:
    return {
        "workers": arguments.workers, "engine": arguments.engine, "silent": arguments.quiet, "wandb": arguments.wandb,
        "parallel": "compiled" if arguments.compiled else arguments.parallel,
    }  # fmt: skip


def names(text: str) -> list[str]:
    """Of a comma-separated list."""
    return [name.strip() for name in text.split(",") if name.strip()]


def _seeds(count: int) -> None:
    if count < 1:
        raise ZooError(f"--seeds is {count}; at least 1 is needed, 5 for a number worth quoting")
