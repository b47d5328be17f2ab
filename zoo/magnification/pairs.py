"""What the learned magnifier learns from: faces moved a little, and the same motion moved much, both known exactly.

Oh et al. paste cut-outs on photographs and move them by sub-pixel shifts. Here skin moves as skin does: the displacement
fields of action units, smooth random fields, and a shift of the whole head, played on portraits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from zoo.errors import ZooError
from zoo.synthesis.fields import FaceFields, action_units
from zoo.vision.resample import Spline, arrivals


@dataclass(frozen=True, eq=False)
class Pair:
    """One lesson. All pictures float32 ``[S, S, 3]`` in -1..1."""

    first: np.ndarray  # the face, with sensor noise
    second: np.ndarray  # moved a little, in other colours, with noise
    plain: np.ndarray  # moved as the second, in the colours of the first
    target: np.ndarray  # moved alpha times as far, in the colours of the second, without noise
    alpha: float
    field: np.ndarray  # float32 [2, S, S], the small motion of each pixel of the first, in pixels


class PairMaker:
    """Draws pairs without end; the same seed draws the same pair.

    Reading: magnitudes are chosen for faces 200 to 300 px wide that show micro-expressions (0.05 to 3 px of motion).

    Args:
        portraits: aligned faces, all of one size, e.g. by :func:`zoo.vision.faces.align`.
        crop: pixels, height = width of what is drawn.
        farthest: pixels that the magnified motion may reach.
        noise: largest strength of the sensor noise, whose standard deviation is strength times the root of the grey value.
        still: share of pairs in which nothing moves.

    Shapes: portraits each uint8 ``[P, P, 3]``.
    """

    def __init__(
        self,
        portraits: Sequence[np.ndarray],
        *,
        crop: int = 64,
        farthest: float = 12.0,
        noise: float = 0.3,
        still: float = 0.05,
    ) -> None:
        sizes = {p.shape for p in portraits}
        if len(sizes) != 1 or min(next(iter(sizes))[:2]) < crop:
            raise ZooError(f"aligned portraits of one size, at least {crop} px, are wanted; got {sorted(sizes)[:3]}")
        self._splines = [Spline(p) for p in portraits]
        self._size = portraits[0].shape[0]
        self._crop, self._farthest, self._noise, self._still = crop, farthest, noise, still
        from zoo.facs import geometry

        self._fields = FaceFields(geometry.landmarks() * self._size - 0.5, (self._size, self._size))

    def draw(self, seed: int | Sequence[int]) -> Pair:
        """The pair of this seed."""
        rng = np.random.default_rng(seed)
        spline = self._splines[rng.integers(len(self._splines))]
        margin = int(np.ceil(self._farthest)) + 4
        place = self._place(rng)
        field, alpha = self._motion(rng, place, margin)
        within = slice(margin, margin + self._crop)
        y, x = np.mgrid[: self._crop, : self._crop].astype(np.float32)

        def seen(factor: float) -> np.ndarray:
            came = arrivals(factor * field)[:, within, within] if factor else np.zeros((2, 1, 1), np.float32)
            at = np.einsum("ij,jhw->ihw", place[:, :2], np.stack([x - came[0], y - came[1]])) + place[:, 2, None, None]
            return np.clip(spline.at(at[0], at[1]), 0, 255)

        first, second, target = seen(0.0), seen(1.0), seen(alpha)
        ours, other = _colours(rng), _colours(rng)
        other = other if rng.random() < 0.3 else ours
        strength = rng.uniform(0, self._noise)

        def shot(picture: np.ndarray) -> np.ndarray:
            noise: np.ndarray = picture + strength * np.sqrt(picture) * rng.standard_normal(picture.shape, np.float32)
            return noise

        pictures = (shot(ours(first)), shot(other(second)), shot(ours(second)), other(target))
        first, second, plain, target = ((np.clip(p, 0, 255) / 127.5 - 1).astype(np.float32) for p in pictures)
        return Pair(first=first, second=second, plain=plain, target=target, alpha=alpha, field=field[:, within, within])

    def _place(self, rng: np.random.Generator) -> np.ndarray:
        """Similarity from the crop's pixels to the portrait's. Shapes: ``[2, 3]``."""
        scale, angle, flip = rng.uniform(0.7, 1.2), np.radians(rng.uniform(-20, 20)), rng.choice([-1.0, 1.0])
        turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) * [flip, 1.0]
        reach = 0.5 * self._crop * scale
        centre = rng.uniform(min(reach, 0.5 * self._size), max(self._size - reach, 0.5 * self._size), 2)
        return np.column_stack([turn, centre - turn @ np.full(2, (self._crop - 1) / 2)])

    def _motion(self, rng: np.random.Generator, place: np.ndarray, margin: int) -> tuple[np.ndarray, float]:
        """A field around the crop, and how many times it is to be magnified. Shapes: ``[2, S + 2 margin, S + 2 margin]``."""
        side = self._crop + 2 * margin
        if rng.random() < self._still:
            return np.zeros((2, side, side), np.float32), float(rng.uniform(1.5, 20))
        y, x = np.mgrid[-margin : self._crop + margin, -margin : self._crop + margin].astype(np.float32)
        at = (np.einsum("ij,jhw->ihw", place[:, :2], np.stack([x, y])) + place[:, 2, None, None]).astype(np.float32)
        kind = rng.choice(3, p=[0.5, 0.35, 0.15])
        field: np.ndarray = np.zeros((2, self._size, self._size), np.float32)
        if kind != 1:
            known = action_units()
            for au in rng.choice(len(known), rng.integers(1, 5), replace=False):
                field = field + np.float32(rng.uniform(0.2, 1)) * self._fields.field(known[au])
            field /= max(float(np.abs(field).max()), 1e-6)
        if kind != 0:
            nodes = int(rng.integers(3, 14))
            rough = rng.standard_normal((nodes, nodes, 2)).astype(np.float32)
            smooth = np.asarray(cv2.resize(rough, (self._size, self._size), interpolation=cv2.INTER_CUBIC), np.float32)
            field = field + np.moveaxis(smooth / max(float(np.abs(smooth).max()), 1e-6), 2, 0)
        if rng.random() < 0.3:  # the head itself
            field += rng.normal(0, 0.5, (2, 1, 1)).astype(np.float32)
        moved = cv2.remap(np.moveaxis(field, 0, 2), at[0], at[1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        local = np.einsum("ij,jhw->ihw", np.linalg.inv(place[:, :2]), np.moveaxis(moved, 2, 0)).astype(np.float32)
        longest = max(float(np.hypot(*local).max()), 1e-6)
        steepest = max(max(float(np.abs(np.diff(local, axis=a)).max()) for a in (1, 2)), 1e-6)
        # beyond a gradient of .6 the magnified face would start to fold over itself
        reach = min(np.exp(rng.uniform(np.log(0.5), np.log(self._farthest))), 0.6 * longest / steepest)
        least, most = max(1.2, reach / 3), max(min(20.0, reach / 0.05), 1.3)
        alpha = float(np.exp(rng.uniform(np.log(least), np.log(max(most, least * 1.01)))))
        return local * np.float32(reach / longest / alpha), alpha


class _colours:
    """One lighting and one camera: gain, offset and gamma of each channel, now and then grey."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._gain, self._offset = rng.uniform(0.75, 1.25, 3), rng.uniform(-20, 20, 3)
        self._gamma, self._grey = rng.uniform(0.8, 1.25), rng.random() < 0.15

    def __call__(self, picture: np.ndarray) -> np.ndarray:
        seen = 255 * (picture / 255) ** self._gamma * self._gain + self._offset
        if self._grey:
            seen = np.repeat(seen @ np.array([[0.299], [0.587], [0.114]]), 3, 2)
        return np.clip(seen, 0, 255).astype(np.float32)
