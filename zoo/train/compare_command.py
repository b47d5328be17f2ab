"""``zoo compare A B``: table, figure, and where they lie."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from zoo.errors import ZooError


def main(argv: Sequence[str]) -> int:
    """Run the command; see ``zoo compare --help``."""
    parser = argparse.ArgumentParser(
        prog="zoo compare",
        description="Compare runs of `zoo loso`, paired on the same clips and folds: every other run with the first.",
        epilog="Intervals and p resample people; McNemar counts clips; t and Wilcoxon look at seeds: different questions.",
    )
    parser.add_argument(
        "runs", nargs="+", metavar="RUN", help="run folder or its loso.json; the first is the reference"
    )
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="where compare.{json,csv,png} go (default runs/compare-…)"
    )
    parser.add_argument("--resamples", type=int, default=10_000, help="of the bootstrap over people (default 10000)")
    parser.add_argument("--seed", type=int, default=0, help="of the bootstrap")
    arguments = parser.parse_args(argv)
    if arguments.resamples < 100:
        raise ZooError(f"--resamples is {arguments.resamples}; a 95 % interval needs 100 at the very least")
    from zoo.train.compare import Run, compare, comparison_csv
    from zoo.train.figures import compare_figure
    from zoo.train.store import write_json, write_text

    runs = [Run.read(path) for path in arguments.runs]
    result = compare(runs, resamples=arguments.resamples, seed=arguments.seed)
    folder = arguments.out or Path("runs") / ("compare-" + "-".join(run.name for run in runs))
    write_json(folder / "compare.json", result, indent=1)
    write_text(folder / "compare.csv", comparison_csv(result))
    compare_figure(result, folder / "compare.png")
    _show(result, folder)
    return 0


def _show(result: dict[str, Any], folder: Path) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    for name, scores in result["runs"].items():
        shown = "  ".join(f"{m.upper()} {_spread(v)}" for m, v in scores.items())
        console.print(f"{name}: {shown}, {_seeds(scores['uf1']['seeds'])}", highlight=False, soft_wrap=True)
    corrected = "p (Holm)" if len(result["pairs"]) > 1 else "p"
    for pair in result["pairs"]:
        title = f"\n{pair['name']} minus {result['reference']}, {result['clips']} clips of {result['people']} people"
        console.print(title, style="italic", soft_wrap=True, highlight=False)  # a title of the table wraps at its width
        table = Table("", "", box=None, pad_edge=False)
        for column in ("difference", "95 %", corrected, "t, seeds", "Wilcoxon", "McNemar"):
            table.add_column(column, justify="right", no_wrap=True)
        for part, cells in pair["parts"].items():
            for metric in ("uf1", "uar"):
                c, first = cells[metric], metric == "uf1"
                seeds, low_high = c["over_seeds"], "{:+.3f} … {:+.3f}".format(*c["interval"])
                table.add_row(
                    part if first else "", metric.upper(), f"{c['difference']:+.3f}", low_high, _p(c["p_holm"]),
                    _p(seeds["t_p"]), _p(seeds["wilcoxon_p"]), _p(cells["mcnemar"]["p"]) if first else "",
                )  # fmt: skip
        console.print(table)
    for note in result["notes"]:
        console.print(f"note: {note}", style="yellow", soft_wrap=True)
    console.print(
        f"\n{folder / 'compare.png'}  {folder / 'compare.json'}  {folder / 'compare.csv'}",
        highlight=False,
        soft_wrap=True,
    )


def _spread(value: dict[str, Any]) -> str:
    return f"{value['mean']:.3f}" + (f" ± {value['std']:.3f}" if value["std"] is not None else "")


def _seeds(count: int) -> str:
    return f"{count} seed{'s' * (count > 1)}"


def _p(value: float | None) -> str:
    if value is None:
        return "-"
    return "<.001" if value < 0.001 else f"{value:.3f}"
