"""Where the time of `zoo predict` goes, in frames per second, beside the usual way in the same run.

    python benchmarks/predict.py [--video FILE] [--seconds 4] [--model ststnet.megc2019]

The usual way, as most published code has it: MTCNN with its defaults on every frame, OpenCV's default TV-L1 on every pair of
neighbouring crops. Without a video, one is made from the public-domain portrait of scikit-image: 640x480, 30 frames/s, a faint
smile every second. Writes benchmarks/results/predict.json.
"""

from __future__ import annotations

import argparse
import json
import platform
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from zoo import load
from zoo.predictor import predict
from zoo.synthesis.sample import motion_field, sample_clip, strength, warp
from zoo.vision.faces import FACE_SIZE
from zoo.vision.video import MediaReader, write_video

RESULT = Path(__file__).parent / "results" / "predict.json"


def made_video(path: Path, seconds: float) -> Path:
    """A 640x480 clip with one faint smile a second."""
    sample, rng = sample_clip(), np.random.default_rng(0)
    portrait = sample.frames[0]
    field = motion_field(sample.face, {6: 0.35, 12: 0.35}, portrait.shape[:2])

    def frames():
        for index in range(round(seconds * 30)):
            picture = warp(portrait, field * strength(index % 30, 8, 14, 22))
            canvas = np.full((480, 640, 3), 96, np.float32)
            canvas[:, 80:560] = cv2.resize(picture, (480, 480), interpolation=cv2.INTER_CUBIC)
            yield np.clip(canvas + rng.normal(0, 1.5, canvas.shape), 0, 255).astype(np.uint8)

    write_video(path, frames(), fps=30, crf=18)
    return path


def usual_way(path: Path, most: int) -> dict[str, float]:
    """Seconds per frame of detection on every frame and of TV-L1 on every pair, over at most ``most`` frames."""
    from zoo.vision.faces import MTCNNDetector

    network = MTCNNDetector()._network  # the same networks, with the library's defaults and the whole picture
    network.min_face_size = 20
    flow = cv2.optflow.DualTVL1OpticalFlow_create()  # type: ignore[attr-defined]
    spent, last, count = {"face": 0.0, "flow": 0.0}, None, 0
    for frame in MediaReader(path):
        if count >= most:
            break
        begin = time.perf_counter()
        boxes, _ = network.detect(frame.rgb)
        spent["face"] += time.perf_counter() - begin
        count += 1
        if boxes is None:
            last = None
            continue
        x0, y0, x1, y1 = np.maximum(np.rint(np.asarray(boxes[0], float)), 0).astype(int)
        crop = cv2.cvtColor(cv2.resize(frame.rgb[y0:y1, x0:x1], (FACE_SIZE, FACE_SIZE)), cv2.COLOR_RGB2GRAY)
        if last is not None:
            begin = time.perf_counter()
            flow.calc(last, crop, None)
            spent["flow"] += time.perf_counter() - begin
        last = crop
    return {stage: value / count for stage, value in spent.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--video", type=Path)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--model", default="ststnet.megc2019")
    parser.add_argument("--usual-frames", type=int, default=30, help="frames on which the usual way is timed")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    model = load(arguments.model)
    with tempfile.TemporaryDirectory() as folder:
        path = arguments.video or made_video(Path(folder) / "made.mp4", arguments.seconds)
        predict(path, model=model)  # warm: library start-up is not a property of the pipeline
        begin = time.perf_counter()
        result = predict(path, model=model)
        whole = time.perf_counter() - begin
        usual = usual_way(path, arguments.usual_frames)
    n, s = result.n_frames, result.seconds
    stages = {
        "decode": s["decode"], "face (detect, align)": s["detect"] + s["align"], "motion (find the apex)": s["motion"],
        "flow (one pair)": s["flow"], "network": s["model"],
    }  # fmt: skip
    usual_total = n * sum(usual.values())
    table = Table(
        "stage", "frames/s", "share", title=f"zoo predict, {n} frames, one thread", title_justify="left", box=None
    )
    for stage, seconds in stages.items():
        table.add_row(stage, f"{n / max(seconds, 1e-9):,.0f}", f"{seconds / whole:.0%}")
    table.add_row("all", f"{n / whole:.0f}", "100%")
    table.add_row("the usual way: face", f"{1 / usual['face']:.1f}", "")
    table.add_row("the usual way: flow", f"{1 / max(usual['flow'], 1e-9):.1f}", "")
    table.add_row("the usual way: both", f"{n / usual_total:.1f}", f"{usual_total / whole:.0f}x slower")
    Console().print(table)
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(
        json.dumps(
            {
                "date": time.strftime("%Y-%m-%d"),
                "frames": n,
                "video": arguments.video.name if arguments.video else "made, 640x480",
                "frames_per_second": {k: round(n / max(v, 1e-9), 1) for k, v in {**stages, "all": whole}.items()},
                "usual_frames_per_second": {
                    **{k: round(1 / max(v, 1e-9), 2) for k, v in usual.items()},
                    "all": round(n / usual_total, 2),
                },
                "ratio": round(usual_total / whole, 1),
                "machine": f"{platform.machine()}, 1 thread",
                "opencv": cv2.__version__,
                "torch": str(torch.__version__),
            },
            indent=1,
        )
        + "\n"
    )


if __name__ == "__main__":
    main()
