"""Augmentation of a clip as one unit: frames, motion and landmarks move together, by one draw of parameters.

Motion is a field of vectors: a flip negates u, a rotation turns the vectors, a scaling lengthens them; light and
noise touch pictures only. The drawing is ours, so that it is repeatable from a seed; the pixels are moved by
albumentations, which only this file imports, and only when an augmentation runs.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoo.errors import ZooError
from zoo.facs.geometry import mirror_index


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """How far clips are varied in training; the default leaves them alone. JSON-plain."""

    flip: float = 0.0  # probability of a left-right flip
    rotate: float = 0.0  # degrees, drawn from -rotate..rotate; positive is counter-clockwise as seen
    scale: float = 0.0  # drawn from 1-scale..1+scale
    shift: float = 0.0  # share of width and height, drawn from -shift..shift
    brightness: float = 0.0  # share of the full range, drawn from -brightness..brightness
    contrast: float = 0.0  # drawn from 1-contrast..1+contrast
    noise: float = 0.0  # standard deviation in grey levels of Gaussian noise, new in each frame

    def __post_init__(self) -> None:
        limits = {
            "flip": 1.0,
            "rotate": 180.0,
            "scale": 0.9,
            "shift": 1.0,
            "brightness": 1.0,
            "contrast": 1.0,
            "noise": 255.0,
        }
        for name, limit in limits.items():
            value = getattr(self, name)
            if not 0 <= value <= limit:
                raise ZooError(f"Augmentation.{name} is {value}; wanted 0 to {limit:g}")

    def to_dict(self) -> dict[str, float]:
        """JSON-plain form."""
        return asdict(self)

    @classmethod
    def of(cls, data: Mapping[str, float]) -> Augmentation:
        """Inverse of :meth:`to_dict`; fields may be left out. Raises ZooError for a field that there is not."""
        known = {f.name for f in fields(cls)}
        if extra := sorted(set(data) - known):
            raise ZooError(f"an augmentation has no {', '.join(extra)}; it has {', '.join(sorted(known))}")
        return cls(**data)


@dataclass(frozen=True)
class Draw:
    """One draw of parameters, the same for the whole clip."""

    flip: bool = False
    angle: float = 0.0  # degrees, counter-clockwise as seen
    scale: float = 1.0
    shift: tuple[float, float] = (0.0, 0.0)  # share of width (right) and height (down)
    brightness: float = 0.0
    contrast: float = 1.0
    noise: float = 0.0
    seed: int = 0  # of the noise

    @property
    def matrix(self) -> NDArray[np.float64]:
        """What happens to a vector (x right, y down): ``[2, 2]``."""
        c, s = math.cos(math.radians(self.angle)), math.sin(math.radians(self.angle))
        turn = self.scale * np.array([[c, s], [-s, c]])  # counter-clockwise where y points down
        return turn @ np.diag([-1.0 if self.flip else 1.0, 1.0])

    @property
    def moves(self) -> bool:
        """Whether pixels change place (beyond a flip)."""
        return self.angle != 0 or self.scale != 1 or self.shift != (0.0, 0.0)


def draw(augmentation: Augmentation, rng: np.random.Generator) -> Draw:
    """Parameters for one clip; consumes a fixed number of random values, so that options do not shift each other."""
    u = rng.uniform(-1, 1, 6)
    coin, seed = rng.uniform(), int(rng.integers(2**31))
    a = augmentation
    return Draw(
        bool(coin < a.flip), float(u[0] * a.rotate), float(1 + u[1] * a.scale),
        (float(u[2] * a.shift), float(u[3] * a.shift)), float(u[4] * a.brightness), float(1 + u[5] * a.contrast),
            a.noise,
        seed,
    )  # fmt: skip


def apply(sample: Mapping[str, Any], d: Draw) -> dict[str, Any]:
    """Apply one draw to everything in a sample that has a place in the picture.

    Args:
        sample: any of ``frames``, ``flow``, ``strain``, ``landmarks``; other entries are passed on as they are.
        d: the parameters.

    Shapes:
        frames: ``[T, H, W, 3]`` uint8; flow: ``[..., 2, H, W]`` float (u right, v down, pixels); strain: ``[..., H,
            W]``
        float; landmarks: ``[..., 68, 2]`` float, (x, y) in pixels of the picture.

    Raises:
        ZooError: a shape or type is not the one above, or sizes differ.
    """
    out = dict(sample)
    size = _size(sample)
    if "frames" in sample:
        pictures = [_warp(f, d) for f in sample["frames"]]
        out["frames"] = _light(np.stack(pictures), d)
    if "flow" in sample:
        flow = np.asarray(sample["flow"], np.float32)
        moved = _fields(flow, d)
        out["flow"] = np.einsum("ij,...jhw->...ihw", d.matrix.astype(np.float32), moved)
    if "strain" in sample:  # its magnitude does not depend on the direction of the axes, nor on a common scaling
        out["strain"] = _fields(np.asarray(sample["strain"], np.float32), d)
    if "landmarks" in sample:
        out["landmarks"] = _points(np.asarray(sample["landmarks"], np.float64), d, size)
    return out


def _size(sample: Mapping[str, Any]) -> tuple[int, int] | None:
    """Height and width that all pictures of the sample share."""
    sizes: dict[str, tuple[int, int]] = {}
    for name, low, channels in (("frames", 4, None), ("flow", 3, 2), ("strain", 2, None)):
        if name not in sample:
            continue
        shape = np.shape(sample[name])
        wrong = len(shape) < low or (name == "frames" and (len(shape) != 4 or shape[-1] != 3 or not shape[0]))
        if wrong or (channels and shape[-3] != channels):
            wanted = {"frames": "[T, H, W, 3]", "flow": "[..., 2, H, W]", "strain": "[..., H, W]"}[name]
            raise ZooError(f"{name} has shape {shape}; wanted {wanted}")
        sizes[name] = (shape[1], shape[2]) if name == "frames" else (shape[-2], shape[-1])
    if "frames" in sample and np.asarray(sample["frames"][0]).dtype != np.uint8:
        raise ZooError(f"frames are {np.asarray(sample['frames'][0]).dtype}; wanted uint8 (normalise after augmenting)")
    if len(set(sizes.values())) > 1:
        raise ZooError(f"sizes differ within one sample: {sizes}; resize everything to one size first")
    if "landmarks" in sample and np.shape(sample["landmarks"])[-2:] != (68, 2):
        raise ZooError(f"landmarks have shape {np.shape(sample['landmarks'])}; wanted [..., 68, 2]")
    return next(iter(sizes.values()), None)


def _warp(picture: NDArray[Any], d: Draw) -> NDArray[Any]:
    """Move the pixels of a picture ``[H, W, C]``; what comes from outside is 0 for fields and the edge for pictures."""
    if d.flip:
        picture = np.ascontiguousarray(picture[:, ::-1])
    if not d.moves:
        return picture
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # importing it would ask the network for a newer version
    import albumentations as A
    import cv2

    height, width = picture.shape[:2]
    border = cv2.BORDER_REPLICATE if picture.dtype == np.uint8 else cv2.BORDER_CONSTANT
    # whole pixels in albumentations, so that a shift means the same for pictures, fields and landmarks
    pixels = {"x": (round(d.shift[0] * width),) * 2, "y": (round(d.shift[1] * height),) * 2}
    affine = A.Affine(
        rotate=(d.angle, d.angle), scale=(d.scale, d.scale), translate_px=pixels, border_mode=border, p=1.0
    )
    moved: NDArray[Any] = affine(image=picture)["image"]
    return moved.reshape(picture.shape)


def _fields(field: NDArray[np.float32], d: Draw) -> NDArray[np.float32]:
    planes = field.reshape(-1, *field.shape[-2:])
    return np.stack([_warp(p[..., None], d)[..., 0] for p in planes]).reshape(field.shape)


def _light(frames: NDArray[np.uint8], d: Draw) -> NDArray[np.uint8]:
    if d.brightness == 0 and d.contrast == 1 and d.noise == 0:
        return frames
    bright = frames.astype(np.float32) * d.contrast + 255 * d.brightness
    if d.noise:
        bright += np.random.default_rng(d.seed).normal(0, d.noise, frames.shape).astype(np.float32)
    return np.clip(np.rint(bright), 0, 255).astype(np.uint8)


def _points(points: NDArray[np.float64], d: Draw, size: tuple[int, int] | None) -> NDArray[np.float64]:
    if not d.flip and not d.moves:
        return points
    if size is None:
        raise ZooError("landmarks alone cannot be moved: the size of the picture is not known; add frames or flow")
    height, width = size
    centre = np.array([(width - 1) / 2, (height - 1) / 2])
    shift = np.array([round(d.shift[0] * width), round(d.shift[1] * height)])
    moved: NDArray[np.float64] = (points - centre) @ d.matrix.T + centre + shift
    return moved[..., mirror_index(), :] if d.flip else moved


class Augmenter:
    """Augments samples, each by its own draw that depends on seed, epoch and key only: not on workers or order."""

    def __init__(self, augmentation: Augmentation, *, seed: int = 0) -> None:
        self.augmentation = augmentation
        self.seed = seed

    def __call__(self, sample: Mapping[str, Any], *, key: str, epoch: int) -> dict[str, Any]:
        """Augment one sample; see :func:`apply`."""
        return apply(sample, self.draw(key, epoch))

    def draw(self, key: str, epoch: int) -> Draw:
        """What happens to a sample in an epoch."""
        return draw(self.augmentation, np.random.default_rng([self.seed, epoch, *key.encode()]))
