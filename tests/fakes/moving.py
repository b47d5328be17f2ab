"""A small data set of frames that move: action units played on the sample portrait, with the manifest over them."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from zoo.data.manifest import Manifest
from zoo.synthesis.sample import motion_field, sample_clip, warp

EXPRESSIONS = {"happiness": {12: 0.4}, "surprise": {1: 0.5, 2: 0.5}, "disgust": {4: 0.5}}


def write(root: Path, *, people: int = 4, dataset: str = "casme2", kind: str = "micro", strength: float = 1.0) -> Path:
    """One clip per person and class, frames 10..13 of 256x256, onset 11, apex 13; ``casme2.parquet`` beside them.

    The offset of a micro-expression is 13 too; a macro-expression (kind ``sequence``, as CK+) ends at its apex and has none.
    """
    sample, rng = sample_clip(), np.random.default_rng(0)
    fields = {emotion: motion_field(sample.face, units, (256, 256)) for emotion, units in EXPRESSIONS.items()}
    rows = []
    for person in range(1, people + 1):
        for emotion, units in EXPRESSIONS.items():
            folder = root / f"sub{person:02d}" / emotion
            folder.mkdir(parents=True)
            for number, part in ((10, 0.0), (11, 0.0), (12, 0.5), (13, 1.0)):
                picture = warp(sample.frames[0], fields[emotion] * part * strength) + rng.normal(0, 1, (256, 256, 3))
                cv2.imwrite(str(folder / f"img{number}.png"), np.clip(picture, 0, 255).astype(np.uint8)[..., ::-1])
            rows.append({"id": f"{person}_{emotion}", "dataset": dataset, "subject": f"sub{person:02d}", "clip": emotion, "kind": kind,
                         "path": f"sub{person:02d}/{emotion}", "fps": 200.0, "onset": 11, "apex": 13, "offset": 13 if kind == "micro" else None, "emotion": emotion,
                         "aus": "+".join(map(str, units))})  # fmt: skip
    Manifest.from_rows(rows).write(root / f"{dataset}.parquet")
    return root
