"""Optical flow on faint facial motion: milliseconds per pair and error against the true motion, every method in one run.

    python benchmarks/flow.py [--sizes 112 168 224] [--pairs 12]

A public-domain portrait moves by random mixes of two action units at 0.1 to 0.45 of their full intensity, with sensor noise; the
true motion of each pixel is known. CPU times are processor times of one thread; the GPU, where there is one, takes 128 pairs
together, by the clock. Writes benchmarks/results/flow.json.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from pathlib import Path

import cv2
import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from zoo.facs import geometry
from zoo.synthesis.sample import motion_field, sample_clip
from zoo.vision.faces import align, similarity
from zoo.vision.flow import optical_flows
from zoo.vision.resample import Spline, arrivals

RESULT = Path(__file__).parent / "results" / "flow.json"
CPU = ("tvl1", "tvl1_torch", "tvl1_fast", "dis", "farneback")
GPU_BATCH = 128


def moved_faces(size: int, count: int, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Grey pictures before and after, and the true motion. Shapes: uint8 [N, S, S] twice, float32 [N, 2, S, S]."""
    sample, rng = sample_clip(), np.random.default_rng(seed)
    portrait = sample.frames[0].astype(np.float32)
    whole = Spline(portrait)  # OpenCV's remap would shift the picture by up to .04 px from the truth
    matrix, _ = similarity(sample.face, size)
    back = cv2.invertAffineTransform(matrix)
    y, x = np.mgrid[:size, :size].astype(np.float32)
    start = np.einsum("ij,jhw->ihw", back[:, :2], np.stack([x, y])) + back[:, 2, None, None]

    def seen(picture: np.ndarray) -> np.ndarray:
        noisy = np.clip(np.rint(picture + rng.normal(0, 1.5, picture.shape)), 0, 255).astype(np.uint8)
        return cv2.cvtColor(align(noisy, matrix, size), cv2.COLOR_RGB2GRAY)

    firsts, seconds, truths = [], [], []
    for _ in range(count):
        units = rng.choice(geometry.action_units(), 2, replace=False)
        field = motion_field(sample.face, {int(au): float(rng.uniform(0.1, 0.45)) for au in units}, portrait.shape[:2])
        there = np.stack([cv2.remap(part, *start.astype(np.float32), cv2.INTER_LINEAR) for part in field])
        firsts.append(seen(portrait))
        seconds.append(seen(whole.moved(arrivals(field))))
        truths.append(np.einsum("ij,jhw->ihw", matrix[:, :2], there))
    return np.stack(firsts), np.stack(seconds), np.stack(truths).astype(np.float32)


def endpoint(flow: np.ndarray, other: np.ndarray) -> float:
    return float(np.hypot(*np.moveaxis(flow - other, 1, 0)).mean())


def timed(firsts: np.ndarray, seconds: np.ndarray, method: str, device: str = "cpu") -> tuple[np.ndarray, float]:
    """The flows, and milliseconds per pair: the better of two runs; on the CPU of processor time, which others do not share."""
    clock, best = time.process_time if device == "cpu" else time.perf_counter, float("inf")
    for _ in range(2):
        begin = clock()
        flows = optical_flows(firsts, seconds, method, device=device)  # ends on the CPU, so a GPU has finished
        best = min(best, clock() - begin)
    return flows, 1000 * best / len(firsts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[112, 168, 224])
    parser.add_argument("--pairs", type=int, default=12)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    table = Table(
        "size", "method", "ms a pair", "times OpenCV's TV-L1", "error, px", "from OpenCV's TV-L1, px", box=None
    )
    rows = []
    for size in arguments.sizes:
        firsts, seconds, truth = moved_faces(size, arguments.pairs)
        optical_flows(firsts[:1], seconds[:1], "tvl1_torch")  # warm
        still = endpoint(truth, np.zeros_like(truth))
        reference, base = None, 0.0
        for method in CPU:
            flows, each = timed(firsts, seconds, method)
            if reference is None:
                reference, base = flows, each
            rows.append({
                "size": size, "method": method, "device": "cpu, 1 thread", "ms_per_pair": round(each, 2),
                "speed_of_opencv_tvl1": round(base / each, 2), "error_px": round(endpoint(flows, truth), 4),
                "error_of_no_motion_px": round(still, 4), "from_opencv_tvl1_px": round(endpoint(flows, reference), 4),
            })  # fmt: skip
        if torch.cuda.is_available():
            many = [np.concatenate([p] * -(-GPU_BATCH // len(p)))[:GPU_BATCH] for p in (firsts, seconds)]
            timed(*many, "tvl1_torch", "cuda")
            flows, each = timed(*many, "tvl1_torch", "cuda")
            far = endpoint(flows[: len(reference)], reference[: len(flows)])
            rows.append({
                "size": size, "method": "tvl1_torch", "device": torch.cuda.get_device_name(), "ms_per_pair": round(each, 3),
                "speed_of_opencv_tvl1": round(base / each, 1), "error_px": round(endpoint(flows[: len(truth)], truth[: len(flows)]), 4),
                "error_of_no_motion_px": round(still, 4), "from_opencv_tvl1_px": round(far, 4),
            })  # fmt: skip
    for row in rows:
        name = row["method"] + ("" if row["device"].startswith("cpu") else " on GPU")
        table.add_row(*map(str, (row["size"], name, row["ms_per_pair"], row["speed_of_opencv_tvl1"], row["error_px"], row["from_opencv_tvl1_px"])))  # fmt: skip
    Console().print(table)
    written = {
        "date": time.strftime("%Y-%m-%d"),
        "pairs": arguments.pairs,
        "what": "synthetic: a portrait moved by mixes of two action units, noise of 1.5 grey values",
        "rows": rows,
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else "not measured: no GPU here",
        "machine": platform.machine(),
        "opencv": cv2.__version__,
        "torch": str(torch.__version__),
    }
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(written, indent=1) + "\n")


if __name__ == "__main__":
    main()
