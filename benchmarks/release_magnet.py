"""Train the learned magnifier on synthetic motion, and measure it against the others, from one command.

    python benchmarks/release_magnet.py --portraits london_pairs_256.npz

Portraits: Face Research Lab London Set (DeBruine & Jones 2017, CC BY 4.0) with MediaPipe landmarks; persons 0 to 79 are
trained on, the rest only measured on. An hour or so on one core; an interrupted run goes on from its last snapshot, and
``--measure`` only measures. Writes checkpoints/magnet.synthetic, benchmarks/results/magnification.json and .png.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from skimage.data import astronaut
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torch import Tensor
from torch.nn import functional

from zoo.magnification.learned import magnifier
from zoo.magnification.magnify import magnified
from zoo.magnification.pairs import Pair, PairMaker
from zoo.magnification.start import start_as_linear
from zoo.models.magnet import MagNet
from zoo.registry import create_model
from zoo.synthesis.fields import FaceFields, canonical_fields
from zoo.synthesis.sample import landmarks_of, sample_clip, strength
from zoo.vision.faces import Face, align, similarity
from zoo.vision.flow import optical_flow
from zoo.vision.resample import Spline, arrivals
from zoo.weights import add_to_index, find, load, save

HERE = Path(__file__).resolve().parent.parent
TRAINED_ON = 80  # persons
SIZE = 256  # px, of the aligned portraits
# MediaPipe's numbers of the points that the alignment wants; contour of each eye, nose tip, corners of the mouth
EYES = ((33, 160, 158, 133, 153, 144), (362, 385, 387, 263, 373, 380))
NOSE, CORNERS = 4, (61, 291)
NAME = "magnet.synthetic"
ALPHAS = (2, 4, 8, 16)
RATE = 60.0  # frames/s of the clips that are measured on
ONSET, APEX, OFFSET = 6, 21, 36  # frames; a quarter of a second up, as much down
LARGEST = 0.5  # px, of the motion before it is magnified
NOISE = 1.5  # grey values of 255
METHODS = ("none", "eulerian", "phase", "lagrangian", "learned")
# what the measured faces show: an action unit or two each
SHOWN = ({12: 1.0}, {4: 1.0}, {1: 1.0, 2: 0.6}, {10: 1.0}, {15: 1.0, 17: 0.6}, {6: 0.6, 12: 1.0}, {20: 1.0}, {9: 1.0})


def portraits(path: str | Path, size: int = SIZE) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Aligned portraits to train on, and to measure on. Shapes: each uint8 ``[size, size, 3]``."""
    data = np.load(path)
    people = sorted(set(data["face_id"].tolist()))
    sides: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
    for number, person in enumerate(data["face_id"].tolist()):
        raw = data["jpeg"][data["offset"][number] : data["offset"][number + 1]]
        rgb = cv2.cvtColor(cv2.imdecode(raw, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
        marks = data["landmarks478"][number].astype(np.float32)
        points = np.stack([*(marks[list(eye)].mean(0) for eye in EYES), marks[NOSE], *(marks[c] for c in CORNERS)])
        face = Face(np.array([*points.min(0), *points.max(0)], np.float32), points, 1.0)
        sides[people.index(person) >= TRAINED_ON].append(align(rgb, similarity(face, size)[0], size))
    return sides


def batch_of(pairs: list[Pair]) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """First, second, plain, target ``[B, 3, S, S]`` and alpha ``[B]``."""

    def stack(name: str) -> Tensor:
        return torch.from_numpy(np.stack([getattr(p, name) for p in pairs])).permute(0, 3, 1, 2).contiguous()

    alpha = torch.tensor([p.alpha for p in pairs])
    return stack("first"), stack("second"), stack("plain"), stack("target"), alpha


def loss_of(model: MagNet, pairs: list[Pair], weight: float) -> tuple[Tensor, float]:
    """L1 of the picture, plus ``weight`` times: colours belong to the texture, places to the shape. And the first alone."""
    first, second, plain, target, alpha = batch_of(pairs)
    a, b, c = (model.encode(x) for x in (first, second, plain))
    picture = model.decode(b.texture, model.manipulate(a.shape, b.shape, alpha))
    error = functional.l1_loss(picture, target)
    apart = functional.l1_loss(c.texture, a.texture) + functional.l1_loss(c.shape, b.shape)
    return error + weight * apart, float(error.detach())


def train(
    maker: PairMaker,
    known: list[np.ndarray],
    run: Path,
    *,
    steps: int,
    batch: int,
    rate: float,
    weight: float,
    seed: int,
    every: int = 20,
) -> MagNet:
    """From the linear method on: Adam with a short warm-up and, over the last quarter, a straight way to zero.

    Each step's pairs follow from the seed and the step, so a run goes on exactly where it stopped.
    """
    torch.manual_seed(seed)
    model: MagNet = create_model("magnet").train()
    start_as_linear(model, known[::8])
    optimiser = torch.optim.Adam(model.parameters(), lr=rate, betas=(0.9, 0.999))
    snapshot, step, curve = run / "state.pt", 0, []
    if snapshot.is_file():
        state = torch.load(snapshot, weights_only=True)
        model.load_state_dict(state["model"])
        optimiser.load_state_dict(state["optimiser"])
        step, curve = state["step"], state["curve"]
        print(f"going on from step {step}", flush=True)
    run.mkdir(parents=True, exist_ok=True)
    begin, recent = time.perf_counter(), []
    while step < steps:
        for group in optimiser.param_groups:
            group["lr"] = rate * min(1, (step + 1) / 20, 4 * (steps - step) / steps)
        loss, error = loss_of(model, [maker.draw([seed, step, i]) for i in range(batch)], weight)
        if not math.isfinite(error):
            raise SystemExit(f"the loss is {error} at step {step}; start again with a lower --rate")
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        step += 1
        recent.append(error)
        if step % every == 0 or step == steps:
            curve.append([step, float(np.mean(recent))])
            recent = []
            state = {"model": model.state_dict(), "optimiser": optimiser.state_dict(), "step": step, "curve": curve}
            torch.save(state, run / ".state.pt")
            (run / ".state.pt").replace(snapshot)
            print(f"step {step}/{steps}  L1 {curve[-1][1]:.4f}  {time.perf_counter() - begin:.0f} s", flush=True)
    (run / "curve.json").write_text(json.dumps(curve))
    return model.eval()


def clip_of(still: np.ndarray, field: np.ndarray, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """A pulse of the motion, from rest to its apex, with sensor noise. Shapes: each uint8 ``[S, S, 3]``."""
    spline = Spline(still)
    for frame in range(APEX + 1):
        moved = spline.moved(arrivals(field * np.float32(strength(frame, ONSET, APEX, OFFSET))))
        yield np.clip(np.rint(moved + rng.normal(0, NOISE, moved.shape)), 0, 255).astype(np.uint8)


def at_apex(method: str, clip: list[np.ndarray], alpha: float, model: MagNet) -> np.ndarray:
    """The apex frame, magnified by a method that has seen all that came before (or, if that is enough, the first frame)."""
    if method == "none":
        return clip[-1]
    if method in ("eulerian", "phase"):
        return list(magnified(clip, RATE, method=method, alpha=alpha))[-1]  # type: ignore[arg-type]
    options = {"model": model} if method == "learned" else {}
    return list(magnified([clip[0], clip[-1]], RATE, method=method, alpha=alpha, options=options))[-1]  # type: ignore[arg-type]


def compare(out: np.ndarray, true: np.ndarray, still: np.ndarray, field: np.ndarray) -> dict[str, float]:
    """How near a magnified frame is to the true one.

    ``gain`` is the share of the true motion that shows up: flow from the still face to ``out``, along the flow from the still
    face to ``true``, where the face moves; 1 is right. ``off`` is the mean distance of the two flows there, in pixels.
    """
    grey = [cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) for picture in (still, out, true)]
    found, wanted = optical_flow(grey[0], grey[1], "farneback"), optical_flow(grey[0], grey[2], "farneback")
    moving = np.hypot(*field) > 0.3 * LARGEST
    return {
        "psnr": float(peak_signal_noise_ratio(true, out, data_range=255)),
        "ssim": float(structural_similarity(true, out, channel_axis=2, data_range=255)),
        "gain": float((found * wanted)[:, moving].sum() / (wanted * wanted)[:, moving].sum()),
        "off": float(np.hypot(*(found - wanted))[moving].mean()),
    }


def measure(faces: list[np.ndarray], model: MagNet, size: int) -> dict[str, Any]:
    """Every method at every factor on faces that the model has not seen; mean and standard deviation over faces."""
    fields, rows = canonical_fields(size), []
    for number, still in enumerate(faces):
        field = fields.dense({(au, "both"): value for au, value in SHOWN[number % len(SHOWN)].items()})
        field = field * np.float32(LARGEST / np.hypot(*field).max())
        clip = list(clip_of(still, field, np.random.default_rng([1, number])))
        for alpha in ALPHAS:
            true = np.clip(np.rint(Spline(still).moved(arrivals(field * alpha))), 0, 255).astype(np.uint8)
            for method in METHODS:
                begin = time.perf_counter()
                out = at_apex(method, clip, alpha, model)
                seconds = time.perf_counter() - begin
                scores = compare(out, true, still, field)
                rows.append({"face": number, "alpha": alpha, "method": method, "seconds": seconds, **scores})
        print(f"face {number + 1}/{len(faces)}", flush=True)
    table: dict[str, Any] = {}
    for method in METHODS:
        for alpha in ALPHAS:
            own = [r for r in rows if r["method"] == method and r["alpha"] == alpha]
            table.setdefault(method, {})[str(alpha)] = {
                key: {"mean": float(np.mean([r[key] for r in own])), "std": float(np.std([r[key] for r in own]))}
                for key in ("psnr", "ssim", "gain", "off")
            }
    return table


def figure(table: dict[str, Any], model: MagNet, path: Path, *, alpha: float = 8.0) -> None:
    """Scores over the factor, and what each method makes of one synthetic smile on a public-domain portrait."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    sample = sample_clip()
    still = np.ascontiguousarray(astronaut()[0:256, 96:352])

    field = FaceFields(landmarks_of(sample.face), still.shape[:2]).dense({(12, "both"): 1.0, (6, "both"): 0.6})
    field = field * np.float32(LARGEST / np.hypot(*field).max())
    clip = list(clip_of(still, field, np.random.default_rng(0)))
    true = np.clip(np.rint(Spline(still).moved(arrivals(field * np.float32(alpha)))), 0, 255).astype(np.uint8)
    shown = {"at rest": still, "truth": true, **{m: at_apex(m, clip, alpha, model) for m in METHODS}}
    canvas = Figure(figsize=(13, 7.6), dpi=130, facecolor="white")
    FigureCanvasAgg(canvas)
    canvas.suptitle(
        f"Synthetic motion of {LARGEST} px, magnified {alpha:g} times (above), and by factor (below)", x=0.02, ha="left"
    )
    grid = canvas.add_gridspec(2, 1, height_ratios=(1, 1.25), left=0.05, right=0.99, top=0.92, bottom=0.08, hspace=0.22)
    faces = grid[0].subgridspec(1, len(shown), wspace=0.04)
    for place, (name, picture) in enumerate(shown.items()):
        axes = canvas.add_subplot(faces[place])
        axes.imshow(picture[96:176, 78:158])
        axes.set_title("not magnified" if name == "none" else name, size=10, loc="left")
        axes.axis("off")
    curves = grid[1].subgridspec(1, 3, wspace=0.2)
    for place, (key, label) in enumerate(
        (("psnr", "PSNR, dB"), ("ssim", "SSIM"), ("gain", "share of the true motion"))
    ):
        axes = canvas.add_subplot(curves[place])
        for method in METHODS:
            means = [table[method][str(a)][key]["mean"] for a in ALPHAS]
            axes.plot(ALPHAS, means, marker="o", label="not magnified" if method == "none" else method)
        axes.set_xscale("log", base=2)
        axes.set_xticks(ALPHAS, [str(a) for a in ALPHAS])
        axes.set_xlabel("times the motion")
        axes.set_title(label, size=10, loc="left")
        axes.grid(alpha=0.25)
    axes.axhline(1, color="0.5", linewidth=0.8)
    axes.legend(frameon=False, fontsize=9)
    canvas.savefig(path, format="png")


def card_of(record: dict[str, Any], table: dict[str, Any]) -> str:
    """The model card, from the record and from nothing else."""
    body = "\n".join(
        f"| {'not magnified' if method == 'none' else method} | "
        + " | ".join(f"{own[str(a)]['psnr']['mean']:.1f} | {own[str(a)]['gain']['mean']:.2f}" for a in ALPHAS)
        + " |"
        for method, own in table.items()
    )
    return f"""---
library_name: au-graph-zoo
license: apache-2.0
pipeline_tag: image-to-image
tags: [motion-magnification, micro-expression]
---

# {NAME}

Learned motion magnification (Oh et al., ECCV 2018, arXiv:1804.02684), {record["parameters"]:,} parameters, trained on **synthetic motion**.

```python
import zoo
model = zoo.load("{NAME}")            # model(first, second, alpha), model.shape_code(first, second, alpha)
```

`zoo magnify VIDEO --method learned`. Frames are RGB in -1..1; `alpha` is how many times as large the motion comes out (the authors'
convention; ports that multiply by alpha itself call ours less one alpha).

## Data and licence

Trained on {record["pairs"]:,} pairs drawn from portraits of {TRAINED_ON} people of the Face Research Lab London Set (DeBruine & Jones 2017,
doi:10.6084/m9.figshare.5047666, CC BY 4.0; changed: aligned, cropped, recoloured, warped), moved by displacement fields of action units, by
smooth random fields and by shifts. Nobody in them shows a micro-expression. The weights are under the Apache licence 2.0.

## How good it is

Faces of {record["measured_faces"]} people not trained on, {LARGEST} px of synthetic motion with noise of {NOISE} grey values, at the apex. PSNR in dB against the true
magnified picture, and the share of the true motion that shows up (1 is right):

| method | {" | ".join(f"x{a} PSNR | share" for a in ALPHAS)} |
|---|{"---|" * (2 * len(ALPHAS))}
{body}

`eulerian` and `phase` filter over time (0.4 to 5 Hz, causal) and see a single pulse of half a second, of which their filter passes a part.
Written by `python benchmarks/release_magnet.py`, {record["steps"]} steps of {record["batch"]} pairs of {record["crop"]} px; the authors trained on 100,000 pairs of 384 px.
Weights are stored in half precision.

## Limits

Trained briefly and on faces of one studio: {verdict(table)} Synthetic skin slides and does not fold. What it draws is a caricature, and no
evidence of what a person feels; this is no lie detector, and must not be used to judge anybody.
"""


def verdict(table: dict[str, Any]) -> str:
    """Where the learned method stands, in words that follow from the numbers."""
    best = {
        a: max((m for m in METHODS if m != "none"), key=lambda m, a=a: table[m][str(a)]["psnr"]["mean"]) for a in ALPHAS
    }
    behind = [a for a in ALPHAS if best[a] != "learned"]
    if not behind:
        return "on these synthetic clips it draws the picture nearest to the truth at every factor."
    least = {a: table["learned"][str(a)]["psnr"]["mean"] - table[best[a]][str(a)]["psnr"]["mean"] for a in behind}
    parts = ", ".join(f"{-gap:.1f} dB behind {best[a]} at x{a}" for a, gap in least.items())
    return f"its pictures are {parts}."


def publish(model: MagNet, table: dict[str, Any], record: dict[str, Any]) -> None:
    """Write the checkpoint folder and its entry in the index, beside the others."""
    folder = HERE / "checkpoints" / NAME
    save(model, folder, classes=(), card=card_of(record, table), half=True, record=record)
    entry = {
        "arch": "magnet",
        "recipe": None,
        "licence": "Apache-2.0",
        "trained_on": record["trained_on"],
        "protocol": record["protocol"],
        "metrics": {"magnification": table},
        "digests": {},
        "parameters": record["parameters"],
        "classes": [],
        "repo": None,
        "revision": None,
    }
    add_to_index(HERE / "checkpoints", {NAME: entry})
    load(NAME)


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--portraits", type=Path, required=True)
    parser.add_argument("--run", type=Path, default=HERE / "runs" / "magnet", help="snapshots go there")
    parser.add_argument("--steps", type=int, default=1200)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--crop", type=int, default=64)
    parser.add_argument("--rate", type=float, default=3e-4)
    parser.add_argument("--weight", type=float, default=0.1, help="of the texture and shape terms")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--faces", type=int, default=6, help="people to measure on")
    parser.add_argument("--measure", action="store_true", help="measure the published weights, train nothing")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    known, unseen = portraits(arguments.portraits)
    if arguments.measure:
        model, record = magnifier(NAME), json.loads((find(NAME)[0] / "config.json").read_text())["record"]
    else:
        maker = PairMaker(known, crop=arguments.crop)
        settings = {k: getattr(arguments, k) for k in ("steps", "batch", "rate", "weight", "seed")}
        model = train(maker, known, arguments.run, **settings)
        record = {
            **settings, "crop": arguments.crop, "pairs": arguments.steps * arguments.batch, "parameters": 928_144, "half": True,
            "trained_on": [f"synthetic motion on {TRAINED_ON} people of the Face Research Lab London Set (CC BY 4.0)"],
            "licence": "Apache-2.0", "protocol": "people not trained on, synthetic motion", "date": date.today().isoformat(),
        }  # fmt: skip
    faces = unseen[0 : 2 * arguments.faces : 2]  # one portrait of each person
    record["measured_faces"] = len(faces)
    size = 192
    table = measure([cv2.resize(f, (size, size), interpolation=cv2.INTER_AREA) for f in faces], model, size)
    results = {"record": record, "largest_px": LARGEST, "noise": NOISE, "size": size, "methods": table}
    (HERE / "benchmarks" / "results" / "magnification.json").write_text(json.dumps(results, indent=1) + "\n")
    figure(table, model, HERE / "benchmarks" / "results" / "magnification.png")
    publish(model, table, record)
    print(verdict(table))


if __name__ == "__main__":
    main()
