"""The sample clip: a faint, brief smile played on a public-domain portrait, with exact truth.

It shows the path from frames to figure on any machine. It is synthetic: skin slides, but does not fold, shade or
show new teeth, and nothing measured on it says how a model does on people.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import cv2
import numpy as np

from zoo.facs import geometry
from zoo.types import Clip
from zoo.vision.faces import FACE_SIZE, Face, align, similarity
from zoo.vision.landmarks import landmarks_of

# NASA's portrait of Eileen Collins, cut to the head: columns 96..351, rows 0..255 of skimage.data.astronaut().
_CUT = (slice(0, 256), slice(96, 352))
# Found once by MTCNN (facenet-pytorch 2.6.0, min_face_size 51) in the whole picture; kept so that none is needed.
_BOX = (179.1, 60.3, 268.2, 173.0)
_POINTS = ((204.58, 101.08), (247.01, 103.20), (224.91, 129.53), (200.98, 139.71), (245.48, 142.41))


@dataclass(frozen=True, kw_only=True)
class Truth:
    """What the sample really shows."""

    emotion: str  # as coded
    label: str  # class of the MEGC2019 protocol
    aus: tuple[int, ...]
    intensities: tuple[float, ...]  # of each action unit at the apex, 1 = maximal contraction
    onset: int  # frame numbers from 0
    apex: int
    offset: int

    def to_dict(self) -> dict[str, Any]:
        """JSON-plain form."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}


@dataclass(frozen=True, kw_only=True, eq=False)
class Sample:
    """The frames, and everything that is known about them."""

    frames: tuple[np.ndarray, ...]  # each uint8 [256, 256, 3], as a camera would see it
    fps: float
    truth: Truth
    clip: Clip  # the same frames, aligned; without an interval, for the finder to find
    face: Face  # in pixels of `frames`
    flow: np.ndarray  # float32 [2, FACE_SIZE, FACE_SIZE], true onset→apex motion of the aligned face, in pixels


def sample_portrait() -> tuple[np.ndarray, Face]:
    """The portrait, and its face. Shapes: uint8 ``[256, 256, 3]``."""
    from skimage.data import astronaut

    shift = np.array([_CUT[1].start, _CUT[0].start], np.float32)
    face = Face(np.array(_BOX, np.float32) - np.tile(shift, 2), np.array(_POINTS, np.float32) - shift, 1.0)
    return np.ascontiguousarray(astronaut()[_CUT]), face


def sample_clip(*, seed: int = 0, noise: float = 1.5) -> Sample:
    """One second at 60 frames/s: the portrait's smile deepens and fades within 0.45 s (AU6 + AU12 at a third).

    Args:
        seed: of the sensor noise.
        noise: its standard deviation, in grey values of 255.
    """
    portrait, face = sample_portrait()
    truth = Truth(
        emotion="happiness", label="positive", aus=(6, 12), intensities=(0.35, 0.35), onset=15, apex=27, offset=42
    )
    field = motion_field(face, dict(zip(truth.aus, truth.intensities, strict=True)), portrait.shape[:2])
    matrix, _ = similarity(face)
    rng = np.random.default_rng(seed)
    frames = []
    for index in range(60):
        still = warp(portrait, field * strength(index, truth.onset, truth.apex, truth.offset))
        frames.append(np.clip(np.rint(still + rng.normal(0, noise, still.shape)), 0, 255).astype(np.uint8))
    clip = Clip(
        id="sample",
        dataset="synthetic",
        subject="astronaut",
        frames=[align(f, matrix) for f in frames],
        fps=60.0,
        emotion=truth.emotion,
    )
    return Sample(frames=tuple(frames), fps=60.0, truth=truth, clip=clip, face=face, flow=_aligned_flow(field, matrix))


def strength(index: int, onset: int, apex: int, offset: int) -> float:
    """Course of an expression: raised cosine from 0 at the onset to 1 at the apex and back to 0 at the offset."""
    if not onset < index < offset:
        return 0.0
    phase = (index - onset) / (apex - onset) if index <= apex else (offset - index) / (offset - apex)
    return float(0.5 - 0.5 * np.cos(np.pi * phase))


def motion_field(face: Face, intensities: dict[int, float], shape: tuple[int, int]) -> np.ndarray:
    """A smooth field that moves each landmark as its action units say, fading to nothing away from the face.

    Args:
        face: where it is.
        intensities: of each action unit, 0 to 1.
        shape: height and width of the picture.

    Shapes: -> float32 ``[2, H, W]`` dx, dy in pixels.
    """
    matrix, _ = similarity(face, 1)
    out_of_crop = cv2.invertAffineTransform(matrix)[:, :2]
    shifts = sum((geometry.displacement(au) * value for au, value in intensities.items()), np.zeros((68, 2)))
    # The smile shapes pull the chin up because the scanned jaws closed; a chin that hops is not part of a smile.
    shifts[4:13] *= 0.3
    nodes, shifts = landmarks_of(face), shifts @ out_of_crop.T
    if (cheek := intensities.get(6, 0.0)) > 0:  # skin between the landmarks: AU6 lifts the cheek below each eye
        drop = np.array([0, 0.5 * face.interocular])
        lift = np.array([0, -0.04 * cheek * face.interocular])
        nodes, shifts = np.concatenate([nodes, nodes[[41, 46]] + drop]), np.concatenate([shifts, [lift, lift]])
    y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    total, field = np.zeros(shape, np.float32), np.zeros((2, *shape), np.float32)
    for (node_x, node_y), shift in zip(nodes, shifts, strict=True):
        weight = np.exp(-((x - node_x) ** 2 + (y - node_y) ** 2) / (2 * (0.17 * face.interocular) ** 2))
        total += weight
        field += weight * shift.astype(np.float32)[:, None, None]
    # the constant lets the motion fade with distance, where an average of the nearest landmarks would carry it on
    smooth: np.ndarray = field / (total + 0.25)
    return smooth


def warp(picture: np.ndarray, field: np.ndarray) -> np.ndarray:
    """The picture after its content has moved. ``field`` is read at the place of arrival. Shapes: ``[H, W, 3]``."""
    y, x = np.mgrid[: picture.shape[0], : picture.shape[1]].astype(np.float32)
    moved = cv2.remap(
        picture.astype(np.float32),
        (x - field[0]).astype(np.float32),
        (y - field[1]).astype(np.float32),
        cv2.INTER_CUBIC,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return np.asarray(moved, np.float32)


def _aligned_flow(field: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """True motion of each pixel of the aligned onset face: the field, read where the pixel arrives (fixed point)."""
    inverse = cv2.invertAffineTransform(matrix)
    y, x = np.mgrid[:FACE_SIZE, :FACE_SIZE].astype(np.float32)
    start = np.einsum("ij,jhw->ihw", inverse[:, :2], np.stack([x, y])) + inverse[:, 2, None, None]
    moved = np.zeros_like(start)
    for _ in range(30):
        at = (start + moved).astype(np.float32)
        moved = np.stack([cv2.remap(c, at[0], at[1], cv2.INTER_LINEAR) for c in field])
    return np.einsum("ij,jhw->ihw", matrix[:, :2], moved).astype(np.float32)
