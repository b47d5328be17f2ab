"""How fast exported models are beside the originals, and how close their answers: every recogniser with weights, both formats.

    python benchmarks/export.py            # writes benchmarks/results/export.json

Times are medians over rounds in which the three take turns in one process, on one thread; the message is the ratio.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

import torch

import zoo
from zoo.errors import ZooError
from zoo.export import _difference, _Outputs, export, open_exported

HERE = Path(__file__).parent


def measure(name: str, rounds: int, folder: Path) -> dict[str, object]:
    model = zoo.load(name)
    runs = {"eager": _Outputs(model).eval()}
    entry: dict[str, object] = {}
    for kind in ("onnx", "pt2"):
        try:
            file = export(name, folder / f"{name}.{kind}", checks=1000)
        except ZooError as error:
            entry[kind] = {"refused": str(error)}
            continue
        runs[kind] = open_exported(file).forward_outputs
        difference = _difference(_Outputs(model).eval(), open_exported(file), 1000)
        entry[kind] = {"largest_difference": difference, "inputs": 1000, "bytes": file.stat().st_size}
    for batch in (1, 64):
        x = torch.randn(batch, *model.input_spec.shape)
        seconds: dict[str, list[float]] = {kind: [] for kind in runs}
        with torch.inference_mode():
            for _ in range(rounds):
                for kind, run in runs.items():
                    begin = time.perf_counter()
                    run(x)
                    seconds[kind].append(time.perf_counter() - begin)
        middle = {kind: statistics.median(values[1:]) for kind, values in seconds.items()}
        entry[f"batch_{batch}"] = {
            "eager_ms": round(1000 * middle["eager"], 3),
            **{f"{kind}_times_faster": round(middle["eager"] / middle[kind], 2) for kind in middle if kind != "eager"},
        }
    return entry


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--out", type=Path, default=HERE / "results" / "export.json")
    given = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        table = {name: measure(name, given.rounds, Path(folder)) for name in zoo.list_models(pretrained=True)}
    given.out.write_text(json.dumps({"threads": 1, "rounds": given.rounds, "models": table}, indent=1) + "\n")
    print(json.dumps(table, indent=1))


if __name__ == "__main__":
    main()
