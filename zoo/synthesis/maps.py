"""Synthetic motion maps without any picture: AU scripts played on the canonical face, cut and stretched as published maps are.

They are what a network for motion maps can be pretrained on, and nothing else: **synthetic** wherever they appear.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from zoo.data.flow_maps import FlowMaps
from zoo.inputs import normalise
from zoo.synthesis.fields import FaceFields, canonical_fields
from zoo.synthesis.script import AUScript, draw
from zoo.types import MEGC_CLASSES, Crop
from zoo.vision.strain import optical_strain

# Annotations that hold nobody of the MEGC2019 composite.
OUTSIDE = ("casme3_a", "mmew", "dfme")
_FULL = 112  # pixels of the aligned face at which the motion is made, before it is cut and made smaller


@dataclass(frozen=True, kw_only=True)
class Disturbance:
    """What a flow shows beside the expression. Standard deviations; pixels are those of an aligned face 112 px wide.

    Args:
        place: of the face in the crop, pixels.
        turn: of the face in the picture, degrees.
        size: of the face, as a share.
        drift: of the head between the two frames, pixels.
        roll: of the head between the two frames, degrees.
        waves: of smooth errors of the flow, pixels.
        grain: of rough errors of the flow, pixels.
    """

    place: float = 1.5
    turn: float = 2.0
    size: float = 0.04
    drift: float = 0.15
    roll: float = 0.1
    waves: float = 0.05
    grain: float = 0.005


def emotion_class(script: AUScript) -> int | None:
    """Position among the three classes of MEGC2019; None for an emotion that belongs to none of them."""
    label = _CLASS.get(script.emotion)
    return None if label is None else MEGC_CLASSES.index(label)


_CLASS = {
    "happiness": "positive", "surprise": "surprise", "disgust": "negative", "anger": "negative", "fear": "negative",
    "sadness": "negative", "contempt": "negative", "repression": "negative",
}  # fmt: skip


def synthetic_maps(
    count: int,
    *,
    aus: Sequence[int],
    seed: int = 0,
    sources: Sequence[str] = OUTSIDE,
    size: int = 28,
    crop: Crop = "megc2019",
    disturbance: Disturbance | None = None,
) -> tuple[FlowMaps, np.ndarray]:
    """Motion maps of drawn expressions, as many of each class, and the action units that each shows.

    Args:
        count: of maps.
        aus: units of the table that comes back.
        seed: decides everything.
        sources: whose statistics the scripts are drawn from, in turn.
        size: pixels of a map.
        crop: which part of the face it shows.
        disturbance: by default what published maps look like.

    Shapes: maps uint8 ``[count, 3, size, size]``; units float ``[count, A]``.
    """
    rng, noise = np.random.default_rng(seed), disturbance or Disturbance()
    face = canonical_fields(_FULL)
    maps: list[np.ndarray] = []
    labels: list[int] = []
    shown: list[list[float]] = []
    while len(maps) < count:
        wanted = len(maps) % len(MEGC_CLASSES)
        script = draw(rng, dataset=sources[int(rng.integers(len(sources)))])
        if emotion_class(script) != wanted:
            continue
        maps.append(normalise(_motion(face, script, rng, noise), size, crop))
        labels.append(wanted)
        shown.append([float(au in script.aus) for au in aus])
    names = tuple(f"{i:06d}" for i in range(count))
    data = FlowMaps(
        maps=np.stack(maps),
        labels=np.array(labels, np.int64),
        datasets=("synthetic",) * count,
        subjects=names,
        clips=names,
        classes=MEGC_CLASSES,
        source=f"synthetic maps, seed {seed}",
    )
    return data, np.array(shown, np.float32)


def _motion(face: FaceFields, script: AUScript, rng: np.random.Generator, noise: Disturbance) -> np.ndarray:
    """Flow from onset to apex and its strain. Shapes: -> float32 ``[3, H, W]``."""
    flow = face.dense(script.intensities)
    centre = (_FULL - 1) / 2
    place: np.ndarray = cv2.getRotationMatrix2D(
        (centre, centre), rng.normal(0, noise.turn), float(np.exp(rng.normal(0, noise.size)))
    )
    place[:, 2] = place[:, 2] + rng.normal(0, noise.place, 2)
    # the vectors turn and grow with the face
    moved = np.stack([cv2.warpAffine(part, place, (_FULL, _FULL), borderMode=cv2.BORDER_REPLICATE) for part in flow])
    moved = np.einsum("ij,jhw->ihw", place[:, :2], moved)
    y, x = np.mgrid[:_FULL, :_FULL] - centre
    angle = np.deg2rad(rng.normal(0, noise.roll))
    moved = moved + rng.normal(0, noise.drift, 2)[:, None, None] + angle * np.stack([-y, x])
    waves = rng.normal(0, 1, (2, 8, 8))
    moved = moved + noise.waves * np.stack(
        [cv2.resize(part, (_FULL, _FULL), interpolation=cv2.INTER_CUBIC) for part in waves]
    )
    moved = moved + noise.grain * cv2.GaussianBlur(rng.normal(0, 3, (_FULL, _FULL, 2)), (0, 0), 1.0).transpose(2, 0, 1)
    moved = moved.astype(np.float32)
    return np.concatenate([moved, optical_strain(moved)[None]])
