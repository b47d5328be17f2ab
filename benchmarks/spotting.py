"""How well moments and intervals are found, on synthetic clips and long videos whose truth is known.

    python benchmarks/spotting.py --portraits ../shared/data/london_pairs_256.npz --first 20

Apex: clips of one expression from onset to offset, error in frames by method. Intervals: long videos, F1 pooled over videos at
IoU of at least 0.5, by method. The people are not those that `benchmarks/release_softnet.py` trained on (persons from --first
on). Synthetic skin is easier to read than a person's: the numbers compare methods, and say nothing on how one does on people.
Writes benchmarks/results/spotting.json.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from long_videos import LongVideo, long_videos
from rich.console import Console
from rich.table import Table

from zoo.metrics_spotting import spotting_scores
from zoo.spotting.lbp import find_apex
from zoo.spotting.spot import search
from zoo.synthesis.portraits import read_portraits
from zoo.synthesis.render import Nuisance, Player, plan
from zoo.synthesis.script import draw
from zoo.vision.faces import MTCNNDetector, align, similarity

RESULT = Path(__file__).parent / "results" / "spotting.json"
METHODS = ("flow", "mdmd", "softnet", "lbp")


def apex_errors(portraits: Path | None, *, first: int, clips: int, fps: float) -> dict[str, Any]:
    """Mean absolute error in frames, its standard error, and the share within a tenth of the clip, by method."""
    people = read_portraits(portraits, limit=first + clips if portraits else None)[first if portraits else 0 :]
    errors: dict[str, list[float]] = {m: [] for m in ("lbp", "strain", "motion", "middle")}
    lengths = []
    for number in range(clips):
        person = people[number % len(people)].framed(256)
        player, rng = Player(person), np.random.default_rng([7, number])
        script = draw(rng, dataset="casme2")
        frames = round(script.milliseconds * fps / 1000) + 4
        course = plan([(0.0, script)], frames=frames, fps=fps, interocular=player.interocular, rng=rng,
                      nuisance=Nuisance(blinks=0.0))  # fmt: skip
        interval = course.events[0].interval
        matrix, _ = similarity(person.face)
        last = interval.offset or frames - 1
        faces = [align(player.frame(course, i), matrix) for i in range(interval.onset, last + 1)]
        lengths.append(len(faces))
        for method in errors:
            errors[method].append(abs(find_apex(faces, method) - (interval.apex - interval.onset)))  # type: ignore[arg-type]
    out: dict[str, Any] = {"clips": clips, "fps": fps, "mean_length": float(np.mean(lengths))}
    for method, values in errors.items():
        near = np.mean(np.array(values) <= 0.1 * np.array(lengths))
        out[method] = {
            "mean_error_frames": round(float(np.mean(values)), 2),
            "standard_error": round(float(np.std(values, ddof=1) / np.sqrt(len(values))), 2),
            "within_a_tenth": round(float(near), 3),
        }
    return out


def interval_scores(videos: Sequence[LongVideo], methods: Sequence[str], models: Sequence[str]) -> dict[str, Any]:
    """Pooled counts by method and kind, error of the apex of the hits, and frames per second."""
    detector = MTCNNDetector()
    truth = [e for v in videos for e in v.truth]
    names = [v.name for v in videos]
    out: dict[str, Any] = {
        "videos": len(videos),
        "seconds": round(sum(len(v.course) / v.fps for v in videos), 1),
        "micro": sum(e.kind == "micro" for e in truth),
        "macro": sum(e.kind == "macro" for e in truth),
    }
    found: dict[str, list[Any]] = {m: [] for m in methods}
    spent = dict.fromkeys(methods, 0.0)
    for video in videos:
        frames = list(video.frames())
        for method in methods:
            begin = time.process_time()
            answer = search(
                frames, method, fps=video.fps, detector=detector, models=models if method == "softnet" else None
            )  # type: ignore[arg-type]
            spent[method] += time.process_time() - begin
            found[method] += [e.event(video.name) for e in answer.events]
        print(f"{video.name}: {len(video.truth)} true; " + ", ".join(
            f"{m} {sum(e.video == video.name for e in found[m])}" for m in methods), flush=True)  # fmt: skip
    for method in methods:
        counts = spotting_scores(truth, found[method], names)
        out[method] = {kind: {k: round(v, 4) for k, v in c.to_dict().items()} for kind, c in counts.items()}
        out[method]["frames_per_cpu_second"] = round(sum(len(v.course) for v in videos) / max(spent[method], 1e-9), 1)
    return out


def show(result: dict[str, Any]) -> None:
    """Two tables."""
    console = Console()
    table = Table("method", "mean error, frames", "within a tenth", title="apex", title_justify="left", box=None)
    for method in ("lbp", "strain", "motion", "middle"):
        row = result["apex"][method]
        table.add_row(method, f"{row['mean_error_frames']} ± {row['standard_error']}", f"{row['within_a_tenth']:.0%}")
    console.print(table)
    table = Table("method", "F1 micro", "F1 macro", "F1 overall", "precision", "recall", "frames per CPU second",
                  title="intervals", title_justify="left", box=None)  # fmt: skip
    for method in METHODS:
        if method in result["intervals"]:
            row = result["intervals"][method]
            numbers = [row[kind]["f1"] for kind in ("micro", "macro", "overall")]
            numbers += [row["overall"]["precision"], row["overall"]["recall"]]
            table.add_row(method, *(f"{n:.3f}" for n in numbers), str(row["frames_per_cpu_second"]))
    console.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--portraits", type=Path, help="folder or .npz; the embedded portrait if not given")
    parser.add_argument("--first", type=int, default=20, help="first person")
    parser.add_argument("--clips", type=int, default=30)
    parser.add_argument("--clip-fps", type=float, default=100.0)
    parser.add_argument("--videos", type=int, default=6)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=METHODS)
    parser.add_argument(
        "--softnet", nargs="+", default=["softnet.synthetic_micro", "softnet.synthetic_macro"], help="weights"
    )
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    warnings.simplefilter("ignore")
    result = {
        "date": time.strftime("%Y-%m-%d"),
        "data": "synthetic; people apart from those that the networks were trained on",
        "portraits": arguments.portraits.name if arguments.portraits else "embedded",
        "first_person": arguments.first,
        "apex": apex_errors(arguments.portraits, first=arguments.first, clips=arguments.clips, fps=arguments.clip_fps),
    }
    videos = long_videos(arguments.portraits, first=arguments.first, count=arguments.videos, seconds=arguments.seconds,
                         seed=2)  # fmt: skip
    result["intervals"] = interval_scores(videos, arguments.methods, arguments.softnet)
    show(result)
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
