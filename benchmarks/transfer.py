"""Do networks trained on the published maps understand flow that this project computes? A check without labelled clips.

    python benchmarks/transfer.py --portraits london_pairs_256.npz

Two kinds of pairs of pictures go the way of `zoo predict`, from face detection on:

synthetic: faint expressions played on neutral portraits by the action-unit displacement fields, with sensor noise;
smiles: the neutral and the smiling photograph of the same person, a real and full smile, not a micro-expression.

Portraits: Face Research Lab London Set (DeBruine & Jones 2017, CC BY 4.0), 102 people; they are not part of this project.
Writes benchmarks/results/transfer.json; `benchmarks/release_megc2019.py` puts it into the leaderboard.
"""

from __future__ import annotations

import argparse
import io
import json
import time
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table

from zoo import list_models, load
from zoo.inputs import flow_map, normalise, prepare_maps
from zoo.synthesis.sample import motion_field, warp
from zoo.types import Clip, Interval
from zoo.vision.faces import MTCNNDetector, align, similarity

RESULT = Path(__file__).parent / "results" / "transfer.json"
# label, action units and their intensities; the labels are those of the field's objective classes
SCRIPTS = (
    ("positive", {6: 0.4, 12: 0.4}), ("positive", {12: 0.3}), ("surprise", {1: 0.5, 2: 0.5}), ("surprise", {1: 0.4, 2: 0.4, 5: 0.4}),
    ("negative", {4: 0.5}), ("negative", {4: 0.4, 7: 0.4}), ("negative", {9: 0.4, 10: 0.3}), ("negative", {15: 0.4, 17: 0.3}),
)  # fmt: skip


def pairs(path: Path, people: int):
    """Yield (kind, label, flow map): synthetic expressions and real smiles, face by face."""
    from PIL import Image

    data = np.load(path)
    jpeg, offset = data["jpeg"].tobytes(), data["offset"]
    pictures = {
        (int(who), str(data["expression_names"][e])): np.array(
            Image.open(io.BytesIO(jpeg[offset[i] : offset[i + 1]])).convert("RGB")
        )
        for i, (who, e) in enumerate(zip(data["face_id"], data["expression"], strict=True))
    }
    detector, rng = MTCNNDetector(), np.random.default_rng(0)
    everybody = sorted({who for who, _ in pictures})[:people]
    for who in track(everybody, "people", console=Console(stderr=True)):
        neutral, smiling = pictures[who, "neutral"], pictures[who, "smiling"]
        faces, smiles = detector.detect(neutral), detector.detect(smiling)
        if not faces or not smiles:
            continue
        matrix, _ = similarity(faces[0])
        for label, units in SCRIPTS:
            field = motion_field(faces[0], units, neutral.shape[:2])
            first, second = (
                np.clip(np.rint(picture + rng.normal(0, 1.5, neutral.shape)), 0, 255).astype(np.uint8)
                for picture in (neutral.astype(np.float32), warp(neutral, field))
            )
            name = "+".join(f"AU{au}" for au in units)
            yield name, label, _flow(align(first, matrix), align(second, matrix))
        # two photographs: each is aligned by itself
        yield "real smile", "positive", _flow(align(neutral, matrix), align(smiling, similarity(smiles[0])[0]))


def _flow(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    clip = Clip(id="pair", dataset="portraits", subject="?", frames=[first, second], interval=Interval(onset=0, apex=1))
    return flow_map(clip).data


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--portraits", type=Path, required=True)
    parser.add_argument("--people", type=int, default=1000)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    models = {name: load(name) for name in list_models("*", pretrained=True)}
    hits: dict[tuple[str, str], dict[str, list[bool]]] = {}
    count = 0
    for kind, label, data in pairs(arguments.portraits, arguments.people):
        count += kind == "real smile"
        for name, model in models.items():
            for crop in ("megc2019", "face"):
                x = prepare_maps(normalise(data, model.input_spec.map_size, crop)[None], model.input_spec)
                with torch.inference_mode():
                    right = model.classes[int(model(torch.from_numpy(x)).argmax())] == label
                hits.setdefault((name, crop), {}).setdefault(kind, []).append(right)
    rows = {}
    for (name, crop), found in hits.items():
        synthetic = [right for kind, values in found.items() if kind != "real smile" for right in values]
        rows.setdefault(name, {})[crop] = {
            "synthetic": float(np.mean(synthetic)), **{kind: float(np.mean(values)) for kind, values in found.items()}
        }  # fmt: skip
    RESULT.write_text(
        json.dumps({"date": time.strftime("%Y-%m-%d"), "people": count, "share_as_intended": rows}, indent=1) + "\n"
    )
    kinds = list(next(iter(next(iter(rows.values())).values())))
    table = Table(
        "weights", "crop", *kinds, title=f"share read as intended, {count} people", title_justify="left", box=None
    )
    for name, crops in rows.items():
        for crop, values in crops.items():
            table.add_row(name, crop, *(f"{values[k]:.2f}" for k in kinds))
    Console().print(table)


if __name__ == "__main__":
    main()
