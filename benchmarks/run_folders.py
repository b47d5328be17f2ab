"""What it costs to keep a run safe: locks, digests, one file per fold flushed to the disk, scoring with intervals.

    python benchmarks/run_folders.py --root PATH/TO/norm_u_v_os

The same fits of the STSTNet recipe are made twice in one process, bare (the fit alone, nothing stored) and through a run folder, in
turn fold by fold so that a busy machine slows both alike; then a summary of 68 people and five seeds is scored. CPU seconds.
Writes benchmarks/results/run_folders.json.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np

from zoo.data.megc2019 import read_megc2019
from zoo.train.compare import Run, compare
from zoo.train.folds import run_loso
from zoo.train.jobs import Job
from zoo.train.launch import one_thread, quiet
from zoo.train.recipe import parse, plain_config
from zoo.train.score import summarise

HERE = Path(__file__).resolve().parent
PUBLISHED = HERE / "results" / "megc2019"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", required=True)
    parser.add_argument("--folds", type=int, default=6)
    arguments = parser.parse_args()
    quiet()
    one_thread()
    config = plain_config(parse(["ststnet_megc2019"], ["--data.root", arguments.root]))
    data = read_megc2019(arguments.root)
    folds = [fold.name for fold in data.split()][:: max(1, 68 // arguments.folds)][: arguments.folds]
    bare, kept = [], []
    with tempfile.TemporaryDirectory() as folder:
        job = Job(config=config, seed=0, folds=(), out=folder, split="")
        job.fit(folds[0])  # the first fit of a process loads what later ones find
        run_loso(config, out=f"{folder}/warm", seeds=[0], folds=folds[:1], workers=0)
        for fold in folds:
            bare.append(seconds(lambda fold=fold: job.fit(fold)))
        kept = [seconds(lambda: run_loso(config, out=f"{folder}/run", seeds=[0], folds=folds, workers=0))]
    stored = json.loads((PUBLISHED / "ststnet.json").read_text())
    people = [key.rpartition("/")[0] for key in stored["keys"]]
    predicted = {int(seed): np.array(row) for seed, row in stored["predicted"].items()}
    scoring = seconds(
        lambda: summarise(
            keys=stored["keys"], people=people, datasets=[key.partition("/")[0] for key in stored["keys"]],
            classes=stored["classes"], truth=stored["truth"], predicted=predicted,
        )
    )  # fmt: skip
    runs = [Run.read(PUBLISHED / f"{name}.json") for name in ("ststnet", "off_apexnet")]
    result = {
        "what": "CPU seconds, one thread",
        "folds": len(folds),
        "epochs": config["trainer"]["max_epochs"],
        "fits_bare": round(sum(bare), 3),
        "fits_in_a_run_folder": round(sum(kept), 3),
        "ratio": round(sum(kept) / sum(bare), 3),
        "scoring_68_people_5_seeds_10000_resamples": round(scoring, 3),
        "comparing_two_runs_10000_resamples": round(seconds(lambda: compare(runs)), 3),
    }
    (HERE / "results" / "run_folders.json").write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


def seconds(work) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


if __name__ == "__main__":
    main()
