"""Where the time of `zoo predict` goes on a long video, in frames per second, beside the usual way in the same run; and its memory.

    python benchmarks/predict.py [--video FILE] [--seconds 60] [--fps 30] [--model ststnet.megc2019]

The usual way, as most published code has it: MTCNN with its defaults on every frame, OpenCV's default TV-L1 on every pair of
neighbouring crops; timed on the first frames of the same video. Without a video, one is made of a portrait: 640x480, an
expression every few seconds, a drifting head. Memory: the same video, and one several times as long, each in a process of its
own. Writes benchmarks/results/predict.json.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import torch
from long_videos import long_videos
from rich.console import Console
from rich.table import Table

from zoo import load
from zoo.predictor import predict
from zoo.vision.faces import FACE_SIZE
from zoo.vision.video import MediaReader, write_video

RESULT = Path(__file__).parent / "results" / "predict.json"
MEASURE = """
import sys
from pathlib import Path
from zoo.predictor import predict
def peak():  # of this program alone; the kernel's ru_maxrss would count the parent that it was forked from
    return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) // 1024
before = peak()
result = predict(sys.argv[1], model=sys.argv[2])
print(result.n_frames, len(result.events), before, peak())
"""


def made_video(path: Path, seconds: float, fps: float) -> Path:
    """640x480, one portrait at 360 px, grey round it."""
    (video,) = long_videos(None, first=0, count=1, seconds=seconds, fps=fps, size=360, seed=3)

    def frames() -> Iterator[np.ndarray]:
        for picture in video.frames():
            yield cv2.copyMakeBorder(picture, 60, 60, 140, 140, cv2.BORDER_CONSTANT, value=(96, 96, 96))

    write_video(path, frames(), fps=fps, crf=20)
    return path


def longer(path: Path, target: Path, times: int) -> Path:
    """The same video so many times in a row, without decoding it."""
    import av

    with av.open(str(target), "w") as out:
        stream, shift = None, 0
        for _ in range(times):
            with av.open(str(path)) as source:
                video = source.streams.video[0]
                stream = stream or out.add_stream_from_template(video)
                last = 0
                for packet in source.demux(video):
                    if packet.dts is None:
                        continue
                    last = max(last, packet.pts + packet.duration)
                    packet.pts, packet.dts, packet.stream = packet.pts + shift, packet.dts + shift, stream
                    out.mux(packet)
                shift += last
    return target


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


def memory(path: Path, model: str) -> dict[str, int]:
    """Peak resident memory of a process that predicts one video: after the libraries are loaded, and at the end; in MB."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", MEASURE, str(path), model], capture_output=True, text=True, check=True,
                          env=environment)  # fmt: skip
    frames, events, before, peak = map(int, done.stdout.split())
    return {"frames": frames, "events": events, "libraries_mb": before, "peak_mb": peak}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--video", type=Path)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--fps", type=float, default=30.0)
    parser.add_argument("--model", default="ststnet.megc2019")
    parser.add_argument("--usual-frames", type=int, default=30, help="frames on which the usual way is timed")
    parser.add_argument(
        "--longer", type=int, default=6, help="times the video is put in a row to measure memory; 0: not"
    )
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    model = load(arguments.model)
    with tempfile.TemporaryDirectory() as folder:
        path = arguments.video or made_video(Path(folder) / "made.mp4", arguments.seconds, arguments.fps)
        predict(path, model=model, onset=0, apex=1)  # warm: library start-up is not a property of the pipeline
        begin, spent = time.perf_counter(), time.process_time()
        result = predict(path, model=model)
        whole, cpu = time.perf_counter() - begin, time.process_time() - spent
        usual = usual_way(path, arguments.usual_frames)
        held = {}
        if arguments.longer:
            held["once"] = memory(path, arguments.model)
            held[f"{arguments.longer} times"] = memory(longer(path, Path(folder) / "longer.mp4", arguments.longer),
                                                       arguments.model)  # fmt: skip
    n, s = result.n_frames, result.seconds
    stages = {
        "decode (own thread)": s["decode"], "detect": s["detect"], "follow and align": s["follow"] + s["align"],
        "motion of the parts": s["motion"], "flow of the intervals (own thread)": s.get("flow", 0.0),
        "network": s.get("model", 0.0),
    }  # fmt: skip
    limit = max(stages, key=stages.__getitem__)
    usual_total = n * sum(usual.values())
    table = Table("stage", "frames/s", title=f"zoo predict, {n} frames, {len(result.events)} expressions", box=None,
                  title_justify="left")  # fmt: skip
    for stage, seconds in stages.items():
        table.add_row(stage + (" (limits)" if stage == limit else ""), f"{n / max(seconds, 1e-9):,.0f}")
    table.add_row("all, wall clock", f"{n / whole:.0f}")
    table.add_row("all, per second of CPU", f"{n / cpu:.0f}")
    table.add_row("the usual way", f"{n / usual_total:.2f}, {usual_total / whole:.0f}x slower")
    Console().print(table)
    for name, row in held.items():
        print(
            f"memory, {name}: {row['frames']} frames, peak {row['peak_mb']} MB ({row['libraries_mb']} MB of it libraries)"
        )
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(
        json.dumps(
            {
                "date": time.strftime("%Y-%m-%d"),
                "video": arguments.video.name if arguments.video else f"made, 640x480, {arguments.fps:g} frames/s",
                "frames": n,
                "expressions": len(result.events),
                "frames_per_second": {
                    **{k: round(n / max(v, 1e-9), 1) for k, v in stages.items()},
                    "all": round(n / whole, 1),
                    "all_per_cpu_second": round(n / cpu, 1),
                },
                "limiting_stage": limit,
                "usual_frames_per_second": {
                    **{k: round(1 / max(v, 1e-9), 2) for k, v in usual.items()},
                    "all": round(n / usual_total, 2),
                },
                "ratio": round(usual_total / whole, 1),
                "memory": held,
                "machine": f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the end",
                "opencv": cv2.__version__,
                "torch": str(torch.__version__),
            },
            indent=1,
        )
        + "\n"
    )


if __name__ == "__main__":
    main()
