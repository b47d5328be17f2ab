"""Train the zoo's SOFTNet weights on synthetic long videos: one network for micro-, one for macro-expressions.

    python benchmarks/release_softnet.py --portraits ../shared/data/london_pairs_256.npz --out checkpoints

    python benchmarks/spotting.py --portraits ../shared/data/london_pairs_256.npz --first 20
    python benchmarks/release_softnet.py --publish

Persons 0 to N-1 train; benchmarks/spotting.py scores on persons that come after them. Nothing is chosen by a held-out score.
`--publish` lists what lies in the folder in checkpoints/index.json, with the scores of benchmarks/results/spotting.json.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import cv2
import numpy as np
import torch
from long_videos import LongVideo, long_videos

from zoo.registry import create_model
from zoo.spotting.softnet import SIZE, mean_k
from zoo.spotting.softnet_training import fit, samples
from zoo.spotting.stream import SteadyTrack
from zoo.vision.faces import MTCNNDetector
from zoo.vision.video import Frame
from zoo.weights import add_to_index, load, read_config, save

FLOW, SCOPE = "dis", "video"
SCORES = Path(__file__).parent / "results" / "spotting.json"
CARD = """---
library_name: au-graph-zoo
license: apache-2.0
tags: [micro-expression, spotting, optical-flow, synthetic]
---

# softnet.synthetic_{kind}

SOFTNet (Liong, See, Wong: ICIP 2021), trained for {kind}-expressions on **synthetic** long videos: AU scripts drawn from coders'
statistics and played on {people} still portraits by `benchmarks/release_softnet.py`, {seconds:.0f} s each at 30 frames/s,
{positives} true {kind}-intervals. {attribution}

```python
from zoo.spotting.spot import spot
spot("interview.mp4", "softnet")     # or: zoo spot interview.mp4 --method softnet
```

- Input: flow over k = {k} frames ({flow}), each channel stretched over the *video* (the authors' code stretches each picture, by
  which faint and strong motion look alike). Training: {epochs} epochs, batch 12, SGD {lr:g} with momentum {momentum:g} (paper:
  5e-4 without; raised since the set is small), mean squared error {loss:.4f} at the end. No epoch or threshold was chosen.
- Measured on synthetic videos of other people by `benchmarks/spotting.py`, see `benchmarks/results/spotting.json`.
- Synthetic skin slides but does not fold; how these weights do on people has not been measured. The authors' own weights load
  by `zoo convert softnet FILE.hdf5 --out DIR`.

Research use. Not a lie detector. Licence: {licence}.
"""
LONDON = (
    "Portraits: Face Research Lab London Set (DeBruine & Jones 2017, https://doi.org/10.6084/m9.figshare.5047666, CC BY 4.0); "
    "no picture of it is part of the weights."
)


def aligned(video: LongVideo, detector: MTCNNDetector) -> list[np.ndarray]:
    """The grey faces of all frames, as spotting sees them."""
    frames = (Frame(i, i / video.fps, f) for i, f in enumerate(video.frames()))
    track = SteadyTrack(frames, detector, fps=video.fps, size=SIZE, colour=False)
    faces = [face.grey for face in track]
    if len(faces) != track.n_frames or track.segments != 1:
        raise RuntimeError(f"{video.name}: the face was followed in {len(faces)} of {track.n_frames} frames")
    return faces


def publish(folder: Path) -> None:
    """List the two networks in the index of the checkpoints."""
    scores = json.loads(SCORES.read_text(encoding="utf-8"))["intervals"]["softnet"]
    listed = {}
    for kind in ("micro", "macro"):
        name = f"softnet.synthetic_{kind}"
        record = read_config(folder / name)["record"]
        listed[name] = {
            "arch": "softnet",
            "recipe": None,
            "licence": record["licence"],
            "trained_on": [f"synthetic long videos of {record['people']} people, {record['seconds']:g} s each"],
            "protocol": "people not trained on, synthetic long videos, pooled F1 at IoU 0.5",
            "metrics": {"spotting": scores[kind]},
            "digests": {},
            "parameters": 314_817,
            "classes": [],
            "repo": None,
            "revision": None,
        }
    add_to_index(folder, listed)
    for kind in ("micro", "macro"):
        load(f"softnet.synthetic_{kind}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--portraits", type=Path, help="folder or .npz; the embedded portrait if not given")
    parser.add_argument("--people", type=int, default=12)
    parser.add_argument("--seconds", type=float, default=20.0, help="of each video")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--lr", type=float, default=5e-3)
    parser.add_argument("--momentum", type=float, default=0.9)
    parser.add_argument("--out", type=Path, default=Path("checkpoints"))
    parser.add_argument("--publish", action="store_true", help="train nothing; list what is there in the index")
    arguments = parser.parse_args()
    if arguments.publish:
        publish(arguments.out)
        return
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    detector = MTCNNDetector()
    videos = long_videos(arguments.portraits, first=0, count=arguments.people, seconds=arguments.seconds, seed=1)
    begin = time.perf_counter()
    faces = []
    for video in videos:
        faces.append(aligned(video, detector))
        print(f"{video.name}: {len(video.truth)} expressions, {time.perf_counter() - begin:.0f} s", flush=True)
    for kind in ("micro", "macro"):
        spans = [[(e.onset, e.offset) for e in video.truth if e.kind == kind] for video in videos]
        k = mean_k([span for video in spans for span in video])
        made = [samples(f, s, k, flow=FLOW, scope=SCOPE) for f, s in zip(faces, spans, strict=True)]
        torch.manual_seed(0)
        model = create_model("softnet", kind=kind, k=k, fps=30.0, scope=SCOPE)
        model.input_spec = model.input_spec.replace(flow=FLOW)
        losses: list[float] = []
        fit(model, made, epochs=arguments.epochs, lr=arguments.lr, momentum=arguments.momentum,
            note=lambda epoch, loss, losses=losses: losses.append(loss))  # fmt: skip
        print(
            f"{kind}: k {k}, loss {losses[0]:.4f} -> {losses[-1]:.4f}, {time.perf_counter() - begin:.0f} s", flush=True
        )
        london = "london" in str(arguments.portraits)
        facts = {
            "kind": kind, "people": arguments.people, "seconds": arguments.seconds, "k": k, "flow": FLOW, "epochs": arguments.epochs,
            "lr": arguments.lr, "momentum": arguments.momentum, "loss": losses[-1], "positives": sum(map(len, spans)),
            "licence": "Apache-2.0", "attribution": LONDON if london else "",
        }  # fmt: skip
        record = {**facts, "data": "synthetic long videos", "script": "benchmarks/release_softnet.py", "seed": 0}
        folder = save(model, arguments.out / f"softnet.synthetic_{kind}", classes=(), card=CARD.format(**facts), half=True,
                      record=record)  # fmt: skip
        print(f"wrote {folder}", flush=True)


if __name__ == "__main__":
    main()
