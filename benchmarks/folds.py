"""How long the 68-fold, 800-epoch STSTNet takes, and where the time goes: the authors' way, ours fold by fold, and ours at once.

    python benchmarks/folds.py --root PATH/TO/norm_u_v_os
    python benchmarks/folds.py --root PATH/TO/norm_u_v_os --full runs/authors     # the whole run itself; adds to the results

Every way trains the same network on the same clips of the first folds for a few epochs, in one run and on one thread. Counted is
processor time, so that other work on the machine disturbs little. The authors' way runs in a process of its own, as a plain script
would: none of what we set up (memory that is kept, fused optimiser, layout) reaches it. What a full run would take is the time per
epoch times 68 x 800, and is written as the extrapolation that it is. Ratios travel; seconds do not.

"parallel" is what ``zoo loso --parallel`` does, "compiled" what ``--compiled`` does. How far apart their logits are after 20
epochs is measured beside, and how far each is from the same fit in float64.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from zoo.data.megc2019 import read_megc2019
from zoo.data.module import Prepared
from zoo.train import fused, mersenne
from zoo.train.folds import run_loso
from zoo.train.jobs import Job, fit_seed
from zoo.train.launch import keep_freed_memory, one_thread, quiet
from zoo.train.recipe import parse, plain_config
from zoo.train.stacked import fit_stacked
from zoo.train.task import RecognitionTask
from zoo.types import InputSpec

OUT = Path(__file__).parent / "results" / "folds.json"
FOLDS, EPOCHS = 68, 800


class AuthorsNet(nn.Module):
    """STSTNet as its authors write it: three streams, one after the other."""

    def __init__(self) -> None:
        super().__init__()
        self.streams = nn.ModuleList(
            nn.Sequential(nn.Conv2d(3, n, 3, padding=2), nn.ReLU(), nn.BatchNorm2d(n), nn.MaxPool2d(3, 3, padding=1), nn.Dropout(0.5))
            for n in (3, 5, 8)
        )  # fmt: skip
        self.pool, self.fc = nn.AvgPool2d(2), nn.Linear(400, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Shapes: ``[B, 3, 28, 28]`` -> ``[B, 3]``."""
        return self.fc(self.pool(torch.cat([stream(x) for stream in self.streams], 1)).flatten(1))


def authors(prepared: Prepared, train: list[int], test: list[int], epochs: int) -> None:
    """A loop as in the authors' script: a DataLoader over tensors, and the held-out person scored after every epoch."""
    x, y = prepared.inputs[0], prepared.labels
    net = AuthorsNet()
    optimiser = torch.optim.Adam(net.parameters(), lr=5e-5)
    batches = DataLoader(TensorDataset(x[train], y[train]), batch_size=256)
    held = DataLoader(TensorDataset(x[test], y[test]), batch_size=256)
    for _ in range(epochs):
        net.train()
        for a, b in batches:
            optimiser.zero_grad()
            F.cross_entropy(net(a), b).backward()
            optimiser.step()
        net.eval()
        with torch.no_grad():
            for a, _b in held:
                net(a)


def bare(prepared: Prepared, train: list[int], epochs: int) -> None:
    """The least that one fold can be: our network, tensors cut by hand, nothing around."""
    net = RecognitionTask("ststnet", arch_args={"padding": 2}).net
    optimiser = torch.optim.Adam(net.parameters(), lr=5e-5, fused=True)
    order = torch.tensor(train)[torch.argsort(prepared.labels[train], stable=True)]
    for _ in range(epochs):
        for rows in order.split(256):
            x = prepared.inputs[0, rows].contiguous(memory_format=torch.channels_last)
            loss = F.cross_entropy(net(x), prepared.labels[rows])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()


def per_epoch(run: Callable[[int], Any], folds: int, few: int, many: int) -> float:
    """Seconds of one fold and epoch: a longer run minus a shorter one, so that what is done once does not count."""
    times = []
    for epochs in (few, many):
        started = time.process_time()
        run(epochs)
        times.append(time.process_time() - started)
    return max(times[1] - times[0], 1e-9) / (many - few) / folds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", required=True)
    parser.add_argument("--folds", type=int, default=2, help="folds that are measured")
    parser.add_argument(
        "--epochs", type=int, default=6, help="epochs of the longer of the two runs that are subtracted"
    )
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument(
        "--full", type=Path, metavar="RUN", help="run all folds and epochs into this folder, or read it"
    )
    parser.add_argument("--workers", type=int, default=1, help="of the full run")
    parser.add_argument("--authors", action="store_true", help="measure the authors' way alone, and print its seconds")
    arguments = parser.parse_args()
    quiet()
    one_thread()
    if arguments.authors:
        data = read_megc2019(arguments.root)
        prepared = Prepared.of(data, InputSpec(channels=("strain", "v", "u"), scaling="raw255"))
        folds = data.split()[: arguments.folds]

        def run(epochs: int) -> None:
            for fold in folds:
                authors(prepared, list(fold.train), list(fold.test), epochs)

        print(per_epoch(run, len(folds), 2, arguments.epochs))
        return
    keep_freed_memory()
    if arguments.full:
        found = json.loads(OUT.read_text("utf-8"))
        found["full_run"] = full(arguments)
        OUT.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        print(json.dumps(found["full_run"], indent=1))
        return
    kept = {"root": "", "full": None}
    found = {
        "threads": 1,
        "measured": vars(arguments) | kept,
        "torch": torch.__version__,
        "engine": f"numba {version('numba')}" if fused.kernels() else "torch",
        "full_run": json.loads(OUT.read_text("utf-8")).get("full_run") if OUT.is_file() else None,
    }
    for name, recipe in (
        ("authors_recipe", "ststnet_authors_megc2019"),
        ("ststnet", "ststnet_megc2019"),
        ("au_flow_graph", "au_flow_graph_megc2019"),
    ):
        found[name] = measure(recipe, arguments)
        print(name, json.dumps(found[name], indent=1), flush=True)
    OUT.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def measure(recipe: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """Every way on one recipe; ratios are of the medians over interleaved repeats."""
    config = plain_config(parse([recipe], ["--data.root", arguments.root]))
    data = read_megc2019(arguments.root)
    prepared = Prepared.of(data, RecognitionTask(**config["model"]).input_spec)
    folds = data.split()[: arguments.folds]
    fits = [(fold.name, fit_seed(0, fold.name)) for fold in folds]

    def at(epochs: int) -> dict[str, Any]:
        return {**config, "trainer": {**config["trainer"], "max_epochs": epochs}}

    def sequential(epochs: int) -> None:
        for fold in folds:
            Job(config=at(epochs), seed=0, folds=(fold.name,), out="", split="").fit(fold.name)

    ways: dict[str, Callable[[int], Any]] = {
        "sequential": sequential,
        "parallel": lambda epochs: fit_stacked(at(epochs), prepared, fits),
    }
    if fused.layers_of(RecognitionTask(**config["model"]).net):
        ways["compiled"] = lambda epochs: fit_stacked(at(epochs), prepared, fits, compiled=True)
    if recipe.startswith("ststnet_authors"):
        ways["bare"] = lambda epochs: [bare(prepared, list(f.train), epochs) for f in folds]
    elif recipe.startswith("au_flow_graph"):
        ways["one at a time"] = lambda epochs: fit_stacked(at(epochs), prepared, fits, loop=True)
    every: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(arguments.repeats):
        if recipe.startswith("ststnet_authors"):
            every.setdefault("authors", []).append(_alone(arguments))
        for name, run in ways.items():
            every[name].append(per_epoch(run, len(folds), 2, arguments.epochs))
    seconds = {name: statistics.median(values) for name, values in every.items()}
    epochs = int(config["trainer"]["max_epochs"])
    reference = "authors" if "authors" in seconds else "sequential"
    return {
        "processor_milliseconds_per_fold_and_epoch": {name: round(1000 * s, 2) for name, s in seconds.items()},
        f"times_faster_than_{reference}": {name: round(seconds[reference] / s, 2) for name, s in seconds.items()},
        "extrapolated_hours_of_a_full_run_on_one_core": {
            name: round(s * FOLDS * epochs / 3600, 3) for name, s in seconds.items()
        },
        "sequential_over_bare": round(seconds["sequential"] / seconds["bare"], 3) if "bare" in seconds else None,
        "epochs_of_a_full_run": FOLDS * epochs,
        "where_the_time_goes": where(prepared) if "bare" in seconds else None,
        "where_the_time_of_compiled_goes": compiled_where(lambda: ways["compiled"](4)) if "compiled" in ways else None,
        "logits_after_20_epochs": agreement(at(20), prepared, fits) if "bare" in seconds else None,
    }


def _alone(arguments: argparse.Namespace) -> float:
    """Seconds of the authors' way in a process of its own."""
    command = [
        sys.executable,
        __file__,
        "--authors",
        "--root",
        arguments.root,
        "--folds",
        arguments.folds,
        "--epochs",
        arguments.epochs,
    ]
    out = subprocess.run([str(part) for part in command], check=True, capture_output=True, text=True).stdout
    return float(out.split()[-1])


def compiled_where(run: Callable[[], Any]) -> dict[str, float] | None:
    """Share of each compiled function in a fit; the rest is torch and Python."""
    module = fused.kernels()
    if module is None:
        return None
    spent: dict[str, float] = {}

    def timed(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*values: Any) -> Any:
            started = time.process_time()
            result = function(*values)
            spent[name] = spent.get(name, 0.0) + time.process_time() - started
            return result

        return call

    places = [(module, "forward"), (module, "finish"), (module, "backward"), (mersenne, "draw")]
    kept = [(place, name, getattr(place, name)) for place, name in places]
    try:
        for place, name, function in kept:
            setattr(place, name, timed(name, function))
        started = time.process_time()
        run()
        total = time.process_time() - started
    finally:
        for place, name, function in kept:
            setattr(place, name, function)
    return {name: round(value / total, 3) for name, value in spent.items()} | {
        "everything else": round(1 - sum(spent.values()) / total, 3)
    }


def agreement(config: dict[str, Any], prepared: Prepared, fits: list[tuple[str, int]]) -> dict[str, float]:
    """Largest difference of any held-out logit between ways to fit; float64 is the sequential trainer in that precision."""

    def sequential(**trainer: Any) -> list[Tensor]:
        changed = {**config, "trainer": {**config["trainer"], **trainer}}
        results = [Job(config=changed, seed=0, folds=(fold,), out="", split="").fit(fold) for fold, _ in fits]
        return [torch.tensor(result["logits"]) for result in results]

    ways = {
        "sequential": sequential(),
        "float64": sequential(precision="64-true"),
        "parallel": [torch.tensor(o.logits) for o in fit_stacked(config, prepared, fits)],
        "compiled": [torch.tensor(o.logits) for o in fit_stacked(config, prepared, fits, compiled=True)],
    }
    pairs = (
        ("parallel", "sequential"), ("compiled", "sequential"), ("compiled", "float64"), ("sequential", "float64"),
    )  # fmt: skip
    return {
        f"{a} - {b}": float(f"{max(float((x - y).abs().max()) for x, y in zip(ways[a], ways[b], strict=True)):.2e}")
        for a, b in pairs
    }


def full(arguments: argparse.Namespace) -> dict[str, Any]:
    """All folds and epochs of the authors' recipe; a folder that is complete is read."""
    config = plain_config(parse(["ststnet_authors_megc2019"], ["--data.root", arguments.root]))
    summary = run_loso(config, out=arguments.full, seeds=[0], workers=arguments.workers, parallel="compiled")
    results = [json.loads(path.read_text("utf-8")) for path in sorted((arguments.full / "seed0").glob("*.json"))]
    return {
        "folds": len(results),
        "epochs": sum(len(result["loss"]) for result in results),
        "wall_minutes_of_all_folds_in_a_row": round(sum(result["seconds"] for result in results) / 60, 2),
        "metrics": {
            part: {name: round(values[name]["mean"], 4) for name in ("uf1", "uar", "accuracy")}
            for part, values in summary["metrics"].items()
        },
    }


def where(prepared: Prepared) -> dict[str, float]:
    """Share of each operation in a bare step, by torch's own profiler."""
    from torch.profiler import ProfilerActivity, profile

    train = list(range(435))
    bare(prepared, train, 1)
    with profile(activities=[ProfilerActivity.CPU]) as found:
        bare(prepared, train, 3)
    rows = sorted(found.key_averages(), key=lambda row: -row.self_cpu_time_total)
    total = sum(row.self_cpu_time_total for row in rows)
    return {row.key: round(row.self_cpu_time_total / total, 3) for row in rows[:10]}


if __name__ == "__main__":
    main()
