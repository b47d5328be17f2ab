"""Large sets of single pictures: reading, preparing and training on a fake of FER2013 at its full size, and on many picture files.

Run from the repository: ``python benchmarks/stills.py [--share 1]``; it prints a table and writes ``benchmarks/results/stills.json``.
The faces are cartoons, so that no accuracy is measured here: only time, memory and files. Seconds are those of the processor, of
one thread, so that they mean something on a busy machine too; each step is a process of its own. The plain loop that training
steps are compared with runs in turns with ours, over the same pictures.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tests"))

RECIPE = "resnet18_fer2013"
MANY, SIDE = 2000, 224  # picture files of AffectNet's kind


def peak() -> int:
    """MiB that this process has held at most; pages of mapped files count."""
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def held() -> int:
    """MiB that this process holds now beyond mapped files."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return round(sum(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) / 1024)


def data_of(folder: Path, manifest: str, frames: str, **options: Any) -> Any:
    from zoo.train.recipe import parse

    places = [
        "--data.manifest",
        str(folder / manifest),
        "--data.frames",
        str(folder / frames),
        "--data.cache",
        str(folder / "cache"),
    ]
    cli = parse(
        [RECIPE], [*places, *(part for k, v in options.items() for part in (f"--{k.replace('__', '.')}", str(v)))]
    )
    return cli.model, cli.datamodule


def build(folder: Path) -> dict[str, Any]:
    """The manifest of the table."""
    from zoo.data.readers import read

    started = time.process_time()
    read("fer2013", folder / "FER2013").write(folder / "fer.parquet")
    return {"manifest_s": time.process_time() - started, "manifest_peak_mib": peak()}


def prepare(folder: Path) -> dict[str, Any]:
    """Pictures from the table to the cache, or from the cache."""
    _, data = data_of(folder, "fer.parquet", "FER2013")
    before, started = held(), time.process_time()
    data.setup()
    seconds = time.process_time() - started
    started = time.process_time()
    batches = sum(1 for _ in data.train_dataloader())
    loading = time.process_time() - started
    files = list((folder / "cache").rglob("*.npy"))
    return {
        "prepare_s": seconds, "held_mib": held() - before, "pictures": len(data.prepared.data), "cache_files": len(files),
        "cache_mib": round(sum(f.stat().st_size for f in files) / 2**20, 1), "load_and_augment_epoch_s": loading, "batches": batches,
    }  # fmt: skip


def steps(folder: Path) -> dict[str, Any]:
    """Seconds per training step of ours and of a plain loop over a DataLoader, in turns."""
    import pytorch_lightning as pl
    import torch
    from torch.nn import functional as F
    from torch.utils.data import DataLoader, TensorDataset

    from zoo.train.launch import keep_freed_memory, quiet

    quiet()
    keep_freed_memory()
    torch.set_num_threads(1)
    count, rounds = 3, 2
    ours, plain = [], []
    for _ in range(rounds):
        task, data = data_of(folder, "fer.parquet", "FER2013")
        data.setup()
        trainer = pl.Trainer(
            max_steps=count, gradient_clip_val=1.0, accelerator="cpu", logger=False, enable_checkpointing=False,
            enable_progress_bar=False, enable_model_summary=False, callbacks=[clock := Steps()],
        )  # fmt: skip
        trainer.fit(task, datamodule=data)
        ours.append(clock.mean())

        rows = torch.tensor(data.fold.train[: count * data.batch_size])
        pictures = TensorDataset(data.prepared.take(rows), data.prepared.labels[rows])
        net = task.net.train()
        optimiser = torch.optim.AdamW(net.parameters(), lr=1e-3, fused=True)
        marks = [time.process_time()]
        for x, y in DataLoader(pictures, batch_size=data.batch_size, shuffle=True):
            loss = F.cross_entropy(net(x.contiguous(memory_format=torch.channels_last)), y)
            optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimiser.step()
            marks.append(time.process_time())
        plain.append((marks[-1] - marks[1]) / (len(marks) - 2))
    per_epoch = len(data.train_dataloader())
    return {
        "step_s": sorted(ours)[rounds // 2], "plain_step_s": sorted(plain)[rounds // 2], "step_ratios": [a / b for a, b in zip(ours, plain, strict=True)],
        "epoch_s": per_epoch * sorted(ours)[rounds // 2], "train_peak_mib": peak(), "parameters": sum(p.numel() for p in task.net.parameters()),
    }  # fmt: skip


def state(folder: Path) -> dict[str, Any]:
    """What keeping the state of the training costs each time."""
    import pytorch_lightning as pl

    from zoo.train.callbacks import loss_curve
    from zoo.train.launch import quiet
    from zoo.train.resume import Resume

    quiet()
    task, data = data_of(folder, "fer.parquet", "FER2013")
    curve = loss_curve()
    resume = Resume(folder, stamp={}, curve=curve, every=0)
    trainer = pl.Trainer(
        max_epochs=1, limit_train_batches=1, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, callbacks=[curve, resume],
    )  # fmt: skip
    trainer.fit(task, datamodule=data)
    return {"state_s": resume._took, "state_mib": round(resume.path.stat().st_size / 2**20)}


def files(folder: Path) -> dict[str, Any]:
    """Many picture files of 224 px: what each costs, the first time and after."""
    _, data = data_of(
        folder, "affect.parquet", "AffectNet", data__protocol="affectnet_7", data__fold="val", model__input="{channels: [red, green, blue], size: 224, map_size: 224}"
    )  # fmt: skip
    before, started = held(), time.process_time()
    data.setup()
    seconds = time.process_time() - started
    for _ in data.train_dataloader():
        pass
    return {
        "files": len(data.prepared.data), "file_ms": 1000 * seconds / len(data.prepared.data), "held_mib": held() - before,
        "as_float32_mib": round(len(data.prepared.data) * 3 * SIDE**2 * 4 / 2**20),
    }  # fmt: skip


def affect(folder: Path) -> None:
    """A folder of AffectNet's layout."""
    import cv2
    import numpy as np
    from fakes import fer

    rng = np.random.default_rng(0)
    codes = (6, 5, 4, 1, 2, 3, 0)  # AffectNet's numbers of FER2013's classes
    for part, name, count in (("training", "training.csv", MANY * 4 // 5), ("validation", "validation.csv", MANY // 5)):
        pictures = folder / "Manually_Annotated_Images" / part
        pictures.mkdir(parents=True)
        lines = ["subDirectory_filePath,face_x,expression,valence,arousal"]
        for i in range(count):
            face = cv2.resize(fer.cartoon(i % 7, rng), (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
            cv2.imwrite(str(pictures / f"{i}.jpg"), cv2.cvtColor(face, cv2.COLOR_GRAY2BGR))
            lines.append(f"{part}/{i}.jpg,0,{codes[i % 7]},0,0")
        (folder / name).write_text("\n".join(lines) + "\n")


def Steps() -> Any:
    """Times from the second step on."""
    import pytorch_lightning as pl

    class Clock(pl.Callback):
        def __init__(self) -> None:
            self.marks: list[float] = []

        def on_train_batch_end(self, *_: Any) -> None:
            self.marks.append(time.process_time())

        def mean(self) -> float:
            return (self.marks[-1] - self.marks[0]) / (len(self.marks) - 1)

    return Clock()


def apart(step: str, folder: Path) -> dict[str, Any]:
    """A step in a process of its own."""
    done = subprocess.run(
        [sys.executable, __file__, "--step", step, "--folder", str(folder)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"{step} failed:\n{done.stderr[-3000:]}")
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--share", type=float, default=1.0, help="of FER2013's 35,887 pictures")
    parser.add_argument("--step", choices=("build", "prepare", "steps", "state", "files"), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help="keep the fakes there, for another run")
    asked = parser.parse_args()
    if asked.step:
        print(json.dumps(globals()[asked.step](asked.folder)))
        return
    from fakes import fer

    result: dict[str, Any] = {
        "date": datetime.date.today().isoformat(), "python": platform.python_version(), "processors": os.cpu_count(), "threads": 1,
        "pictures": "cartoons, synthetic", "recipe": RECIPE, "share": asked.share,
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as place:
        folder = asked.folder or Path(place)
        table = folder / "FER2013" / "fer2013.csv"
        if not table.is_file():
            table.parent.mkdir(parents=True, exist_ok=True)
            fer.write(table, share=asked.share)
        if not (folder / "AffectNet").is_dir():
            affect(folder / "AffectNet")
        shutil.rmtree(folder / "cache", ignore_errors=True)
        result["table_mib"] = round(table.stat().st_size / 2**20)
        result |= apart("build", folder)
        result["first"], result["second"] = apart("prepare", folder), apart("prepare", folder)
        from zoo.data.readers import read

        read("affectnet", folder / "AffectNet").write(folder / "affect.parquet")
        result["files_first"], result["files_second"] = apart("files", folder), apart("files", folder)
        result |= apart("state", folder) | apart("steps", folder)
    for name, value in result.items():
        print(f"{name:>24}  {value:.3f}" if isinstance(value, float) else f"{name:>24}  {value}")
    (HERE / "results" / "stills.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
