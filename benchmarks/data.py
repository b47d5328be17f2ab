"""Time of the data path: filter and split 100,000 clips; second epoch from the cache against the first.

Run from the repository: ``python benchmarks/data.py``; it prints a table and writes ``benchmarks/results/data.json``.
"""

from __future__ import annotations

import datetime
import json
import os
import platform
import resource
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from zoo.data.cache import Cache, content_key
from zoo.data.manifest import Manifest, Report
from zoo.data.protocols import protocol, split


def clock(work: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def manifest(number: int) -> Manifest:
    emotions = ("happiness", "surprise", "disgust", "others")
    rows = [{"id": f"c{i}", "dataset": "big", "subject": f"s{i // 200}", "clip": f"c{i}", "kind": "micro", "onset": i,
             "apex": i + 10, "offset": i + 20, "emotion": emotions[i % 4], "aus": "4+7", "path": f"s{i // 200}/c{i}"}
            for i in range(number)]  # fmt: skip
    return Manifest.from_rows(rows, Report(dataset="big", read=number))


def flow(seed: int) -> np.ndarray:
    """TV-L1 flow between two pictures of the size of a cropped face: what an epoch without cache pays per clip."""
    import cv2

    rng = np.random.default_rng(seed)
    first = cv2.GaussianBlur(rng.integers(0, 255, (170, 140), np.uint8), (0, 0), 3)
    second = np.roll(first, 1, axis=1)
    field = cv2.optflow.createOptFlow_DualTVL1().calc(first, second, None)
    return np.ascontiguousarray(field.transpose(2, 0, 1))


def main() -> None:
    warnings.simplefilter("ignore")
    result: dict[str, Any] = {"date": datetime.date.today().isoformat(), "python": platform.python_version(),
                              "processors": os.cpu_count(), "clips": 100_000}  # fmt: skip
    chosen = replace(protocol("mmew_6"), name="big", datasets=("big",), mapping="basic6", counts={})
    result["make_s"], m = clock(lambda: manifest(100_000))
    result["filter_s"], kept = clock(lambda: m.filter(lambda t: t["emotion"].ne("others").to_numpy(bool), "others"))
    result["loso_split_s"], made = clock(lambda: split(m, chosen))
    result["folds"], result["samples"] = len(made.folds), len(made.keys)
    result["kfold_split_s"], _ = clock(lambda: split(m, chosen, scheme="kfold:10"))
    result["digest_s"], _ = clock(lambda: made.digest)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        result["write_manifest_s"], _ = clock(lambda: m.write(root / "m.parquet"))
        result["load_manifest_s"], _ = clock(lambda: Manifest.load(root / "m.parquet"))
        result["freeze_s"], _ = clock(lambda: made.write(root / "split.json"))
        result["peak_memory_mib"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
        cache, number = Cache(root / "cache"), 40

        def epoch() -> float:
            keys = [content_key(clip=i, spec="benchmark") for i in range(number)]
            return sum(float(cache.fetch(key, lambda i=i: flow(i)).sum()) for i, key in enumerate(keys))

        first, a = clock(epoch)
        second, b = clock(epoch)
    assert a == b and len(kept) == 75_000
    result |= {"epoch_clips": number, "first_epoch_s": first, "second_epoch_s": second, "speed_up": first / second}
    for name, value in result.items():
        print(f"{name:>20}  {value:.3f}" if isinstance(value, float) else f"{name:>20}  {value}")
    (Path(__file__).parent / "results" / "data.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
