"""A table shaped like FER2013: its counts, its columns, and cartoon faces of seven expressions in place of its pictures."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

SIDE = 48
NAMES = ("anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral")
COUNTS = {
    "Training": (3995, 436, 4097, 7215, 4830, 3171, 4965),
    "PublicTest": (467, 56, 496, 895, 653, 415, 607),
    "PrivateTest": (491, 55, 528, 879, 594, 416, 626),
}
# brow height, inner brow raised, eye opening, mouth corners raised, mouth opening, mouth width; of the strongest expression
_SHAPES = ((-0.4, -1, -0.3, -0.2, 0.0, -0.3), (-0.3, -0.5, -0.6, -0.4, 0.3, 0), (0.7, 0.8, 0.7, -0.2, 0.4, 0.6),
           (0.1, 0, -0.3, 1, 0.3, 0.7), (0, 1, -0.4, -1, 0, -0.2), (1, 0, 1, 0, 1, -0.5), (0, 0, 0, 0, 0, 0))  # fmt: skip


def cartoon(emotion: int, rng: np.random.Generator) -> np.ndarray:
    """A face somewhere near the middle: another head, pose, light, strength and noise each time. Shapes: -> uint8 [48, 48]."""
    size, strength = 96, rng.uniform(0.3, 1)
    brow, inner, eye, corner, opening, width = strength * np.array(_SHAPES[emotion]) + rng.normal(0, 0.12, 6)
    skin, dark = rng.uniform(110, 220), rng.uniform(10, 70)
    canvas = np.full((size, size), rng.uniform(0, 255), np.uint8)
    middle, axes = (48, 48), (int(rng.uniform(30, 38)), int(rng.uniform(38, 46)))
    cv2.ellipse(canvas, middle, axes, 0, 0, 360, skin, -1, cv2.LINE_AA)
    apart = int(rng.uniform(12, 16))
    for side in (-1, 1):
        x = 48 + side * apart
        cv2.ellipse(canvas, (x, 40), (6, max(1, round(3 + 2.5 * eye))), 0, 0, 360, 235, -1, cv2.LINE_AA)
        cv2.circle(canvas, (x, 40), 2, dark, -1, cv2.LINE_AA)
        y = 31 - 4 * brow
        ends = np.array([[x - 8 * side, y - 4 * inner], [x + 8 * side, y + 1.5 * inner]])
        cv2.polylines(canvas, [np.rint(ends).astype(np.int32)], False, dark, 2, cv2.LINE_AA)
    t = np.linspace(-1, 1, 9)
    half = 13 + 5 * width
    lip = np.stack([48 + half * t, 66 + 6 * corner * (0.5 - t**2)], 1)
    lower = lip + np.stack([0 * t, (1 - t**2) * max(0.0, 12 * opening)], 1)
    outline = np.rint(np.concatenate([lip, lower[::-1]])).astype(np.int32)
    cv2.fillPoly(canvas, [outline], dark, cv2.LINE_AA)
    cv2.polylines(canvas, [outline], True, dark, 2, cv2.LINE_AA)
    turn = cv2.getRotationMatrix2D(middle, rng.normal(0, 8), rng.uniform(0.85, 1.15))
    turn[:, 2] += rng.normal(0, 3, 2)
    moved = cv2.warpAffine(canvas, turn, (size, size), borderMode=cv2.BORDER_REPLICATE)
    small = cv2.resize(moved, (SIDE, SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
    light = np.linspace(-1, 1, SIDE)[None] * rng.normal(0, 20) + rng.normal(0, 15)
    return np.clip((small - 128) * rng.uniform(0.5, 1.1) + 128 + light + rng.normal(0, 8, small.shape), 0, 255).astype(
        np.uint8
    )


def rows(share: float = 1.0, seed: int = 0) -> Iterator[tuple[int, np.ndarray, str]]:
    """Class, picture and part, in the mixed order of the release; each class at least twice in each part."""
    rng = np.random.default_rng(seed)
    for usage, counts in COUNTS.items():
        deck = np.repeat(np.arange(len(counts)), [max(2, round(n * share)) for n in counts])
        for emotion in rng.permutation(deck).tolist():
            yield emotion, cartoon(emotion, rng), usage


def write(path: Path, *, share: float = 1.0, header: str = "emotion,pixels,Usage", seed: int = 0) -> Path:
    """``fer2013.csv`` as released, or with another header."""
    titles = [title.strip().casefold() for title in header.split(",")]
    with path.open("w", encoding="ascii") as file:
        file.write(header + "\n")
        for emotion, picture, usage in rows(share, seed):
            cells = {"emotion": str(emotion), "pixels": " ".join(map(str, picture.ravel().tolist())), "usage": usage}
            file.write(",".join(cells[title] for title in titles) + "\n")
    return path
