"""The head's own motion, taken off what the skin does: by a robust similarity over the parts of the face that keep still."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np

from zoo.errors import FaceError, ZooError
from zoo.facs import geometry
from zoo.vision.faces import FACE_SIZE
from zoo.vision.klt import follow


@dataclass(frozen=True, eq=False)
class HeadMotion:
    """Rotation, uniform scale and shift of a head between two pictures.

    Attributes:
        matrix: float64 ``[2, 3]``, from pixels of the first picture to pixels of the second.
        agreeing: share of the places looked at that move so, within twice the usual error.
    """

    matrix: np.ndarray
    agreeing: float

    @property
    def rotation(self) -> float:
        """In degrees, clockwise as seen."""
        return float(np.degrees(np.arctan2(self.matrix[1, 0], self.matrix[0, 0])))

    @property
    def scale(self) -> float:
        """Above 1 where the head comes nearer."""
        return float(np.hypot(self.matrix[0, 0], self.matrix[1, 0]))

    def flow(self, height: int, width: int) -> np.ndarray:
        """What this motion does to each pixel. Shapes: -> float32 ``[2, H, W]``, in pixels."""
        y, x = np.mgrid[:height, :width].astype(np.float64)
        (a, b, shift_x), (c, d, shift_y) = self.matrix
        return np.stack([(a - 1) * x + b * y + shift_x, c * x + (d - 1) * y + shift_y]).astype(np.float32)


def head_motion(flow: np.ndarray, region: np.ndarray | None = None) -> HeadMotion:
    """The similarity that most of a region follows, whatever the rest of it does.

    Least squares, repeated with Geman and McClure's weights around the median error, so that skin that moves on its own counts
    little.

    Args:
        flow: of an aligned face, in pixels.
        region: where to look; None: :func:`rigid_region`.

    Shapes: ``[2, H, W]``, bool ``[H, W]``.

    Raises:
        ZooError: a flow that is not finite; a region of fewer than 8 pixels, or of another size.
    """
    if flow.ndim != 3 or flow.shape[0] != 2 or not np.isfinite(flow).all():
        raise ZooError(f"a finite flow [2, H, W] is wanted, got {list(flow.shape)}")
    if region is None:
        if flow.shape[1] != flow.shape[2]:
            raise ZooError(
                f"an aligned face is square; of a flow {list(flow.shape)} the region to look at must be given"
            )
        region = rigid_region(flow.shape[1])
    if region.shape != flow.shape[1:] or region.sum() < 8:
        raise ZooError(
            f"the region {list(region.shape)} of {int(region.sum())} pixels does not fit a flow {list(flow.shape)}"
        )
    y, x = np.nonzero(region)
    start = np.stack([x, y], 1).astype(np.float64)
    return _fit(start, start + flow[:, y, x].T)


def local_flow(flow: np.ndarray, region: np.ndarray | None = None) -> tuple[np.ndarray, HeadMotion]:
    """The flow without the head's motion, and that motion.

    Shapes: as :func:`head_motion`; -> float32 ``[2, H, W]``, in pixels.
    """
    head = head_motion(flow, region)
    return flow.astype(np.float32) - head.flow(*flow.shape[1:]), head


@cache
def rigid_region(size: int) -> np.ndarray:
    """Where an aligned face keeps still while it speaks or smiles: forehead, temples, bridge of the nose, sides of the cheeks.

    Shapes: -> bool ``[size, size]``, read-only.
    """
    points = geometry.landmarks() * size - 0.5
    mask = np.zeros((size, size), np.uint8)
    brow = points[17:27, 1].min() - 0.05 * size
    cv2.rectangle(mask, (round(0.2 * size), 0), (round(0.8 * size), round(brow)), 1, -1)  # forehead
    for side in ([0, 1, 2, 36], [16, 15, 14, 45]):  # temple and side of the cheek
        cv2.fillConvexPoly(mask, np.rint(points[side]).astype(np.int32), 1)
    wide = 0.045 * size
    bridge = np.concatenate([points[[27, 30]] - [wide, 0], points[[30, 27]] + [wide, 0]])
    cv2.fillConvexPoly(mask, np.rint(bridge).astype(np.int32), 1)
    for eye in geometry.eye_centres() * size - 0.5:
        cv2.ellipse(mask, np.rint(eye).astype(int).tolist(), (round(0.1 * size), round(0.06 * size)), 0, 0, 360, 0, -1)
    region = mask.astype(bool)
    region.setflags(write=False)
    return region


class Stabiliser:
    """Registers each frame of a long video to one reference frame, so that errors do not add up.

    Args:
        reference: aligned grey face that all others are compared with.
        region: where points are followed; None: :func:`rigid_region`.

    Shapes: uint8 ``[S, S]``, bool ``[S, S]``.

    Raises:
        FaceError: nothing in the region can be followed (darkness, blur).
    """

    def __init__(self, reference: np.ndarray, region: np.ndarray | None = None) -> None:
        self._reference = reference
        mask = (rigid_region(reference.shape[0]) if region is None else region).astype(np.uint8)
        found = cv2.goodFeaturesToTrack(reference, 120, 0.01, max(3, FACE_SIZE // 42), mask=mask)
        if found is None or len(found) < 8:
            raise FaceError(
                f"the head cannot be followed: {0 if found is None else len(found)} points stand out in forehead, temples and "
                f"nose (8 are wanted); the picture is dark or blurred: choose another reference frame"
            )
        self._points: np.ndarray = found[:, 0]

    def motion(self, grey: np.ndarray) -> HeadMotion:
        """How the head has moved since the reference.

        Shapes: uint8 ``[S, S]``.

        Raises:
            FaceError: too few points are found again.
        """
        there, holds = follow(self._reference, grey, self._points, window=15, levels=2)
        if holds.sum() < max(8, 0.25 * len(holds)):
            raise FaceError(
                f"the head is lost: {int(holds.sum())} of {len(holds)} points are found again; take a new reference frame, "
                f"or look for the face anew"
            )
        return _fit(self._points[holds].astype(np.float64), there[holds].astype(np.float64))

    def steady(self, picture: np.ndarray, grey: np.ndarray | None = None) -> np.ndarray:
        """The picture with the head put back to where it was in the reference.

        Shapes: uint8 ``[S, S]`` or ``[S, S, 3]`` (then with ``grey``) -> the same.
        """
        if picture.ndim == 3 and grey is None:
            grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
        matrix = self.motion(picture if grey is None else grey).matrix
        flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
        size = picture.shape[1::-1]
        moved: np.ndarray = cv2.warpAffine(picture, matrix, size, flags=flags, borderMode=cv2.BORDER_REPLICATE)
        return moved


def _fit(start: np.ndarray, end: np.ndarray) -> HeadMotion:
    """Shapes: two ``[N, 2]``."""
    middle = start.mean(0)
    x, y = (start - middle).T
    one, zero = np.ones_like(x), np.zeros_like(x)
    system = np.concatenate([np.stack([x, -y, one, zero], 1), np.stack([y, x, zero, one], 1)])
    weight, answer, error, usual = np.ones_like(x), np.zeros(4), np.zeros_like(x), 0.0
    for _ in range(10):
        root = np.sqrt(np.concatenate([weight, weight]))
        # what is fitted is the motion, not the place: zero motion then gives the identity to the last bit
        answer, *_ = np.linalg.lstsq(system * root[:, None], (end - start).T.reshape(-1) * root, rcond=None)
        miss = (system @ answer).reshape(2, -1) - (end - start).T
        error = np.hypot(*miss)
        usual = max(float(np.median(error)), 1e-6)
        weight = 1 / (1 + (error / (2 * usual)) ** 2) ** 2
    a, b, shift_x, shift_y = answer
    linear = np.array([[1 + a, -b], [b, 1 + a]])
    shift = np.array([shift_x, shift_y]) + middle - linear @ middle
    return HeadMotion(np.column_stack([linear, shift]), float((error <= 2 * usual).mean()))
