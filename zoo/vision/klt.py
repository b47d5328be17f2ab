"""Points followed from frame to frame by pyramidal Lucas-Kanade, with a check in both directions."""

from __future__ import annotations

import cv2
import numpy as np

from zoo.errors import FaceError, ZooError


def follow(
    first: np.ndarray, second: np.ndarray, points: np.ndarray, *, window: int = 11, levels: int = 1, most: float = 0.5
) -> tuple[np.ndarray, np.ndarray]:
    """Where points of ``first`` lie in ``second`` (Bouguet's pyramidal Lucas-Kanade), and which of these answers hold.

    An answer holds if following it back leads to where it began (Kalal, Mikolajczyk, Matas, ICPR 2010: forward-backward
    error), and if it lies in the picture.

    Args:
        first: grey picture.
        second: the next one, of the same size.
        points: x and y, in pixels of ``first``.
        window: side of the square around a point that is matched, in pixels.
        levels: of the pyramid above the picture itself, each half as large; more find larger steps, and lose more points
            beside something that moves otherwise.
        most: forward-backward error that is still accepted, in pixels.

    Shapes: uint8 ``[H, W]`` twice, ``[N, 2]`` -> float32 ``[N, 2]``, bool ``[N]``.

    Raises:
        ZooError: unequal pictures; points that are not finite, named by number.
    """
    if first.shape != second.shape or first.ndim != 2 or first.dtype != np.uint8 or second.dtype != np.uint8:
        raise ZooError(
            f"points are followed between grey uint8 pictures of one size; got {first.dtype} {list(first.shape)} and "
            f"{second.dtype} {list(second.shape)}"
        )
    if not np.isfinite(points).all():
        bad = np.flatnonzero(~np.isfinite(points).all(-1))
        raise ZooError(f"points that are not finite cannot be followed: number {', '.join(map(str, bad[:10]))}")
    if not len(points):
        return np.zeros((0, 2), np.float32), np.zeros(0, bool)
    start = np.ascontiguousarray(points, np.float32)[:, None]
    setting = {"winSize": (window, window), "maxLevel": levels}
    there, found, _ = cv2.calcOpticalFlowPyrLK(first, second, start, None, **setting)  # type: ignore[call-overload]
    back, returned, _ = cv2.calcOpticalFlowPyrLK(second, first, there, None, **setting)  # type: ignore[call-overload]
    there, error = there[:, 0], np.linalg.norm(back - start, axis=-1)[:, 0]
    inside = (there > -0.5).all(1) & (there < np.array(first.shape[::-1]) - 0.5).all(1)
    holds = (found.ravel() == 1) & (returned.ravel() == 1) & (error <= most) & inside
    return there, holds


class PointTrack:
    """Landmarks followed through a stream, so that a detector need not run, and jitter, on every frame.

    A point whose answer does not hold is placed by the similarity that carries the others.

    Args:
        points: where they lie in the first frame, in pixels.
        grey: that frame.
        least: share of the points that must hold; with fewer the track is lost.

    Attributes:
        points: float32 ``[N, 2]`` in the latest frame.
        held: share of them that were followed there, the rest having been placed.
    """

    def __init__(self, points: np.ndarray, grey: np.ndarray, *, least: float = 0.5) -> None:
        self.points, self.held = np.asarray(points, np.float32), 1.0
        self._grey, self._least = grey, least

    def step(self, grey: np.ndarray) -> np.ndarray:
        """The points in the next frame.

        Shapes: uint8 ``[H, W]`` -> float32 ``[N, 2]``.

        Raises:
            FaceError: too few points hold (a cut, darkness, something before the face); look for the face anew.
        """
        there, holds = follow(self._grey, grey, self.points)
        self.held = float(holds.mean()) if len(holds) else 0.0
        if holds.sum() < 3 or self.held < self._least:
            raise FaceError(
                f"the landmarks are lost: {int(holds.sum())} of {len(holds)} points could be followed into the next frame; "
                f"look for the face anew"
            )
        if not holds.all():
            matrix, _ = cv2.estimateAffinePartial2D(self.points[holds], there[holds], method=cv2.LMEDS)
            if matrix is None:  # all at one place
                matrix = np.column_stack([np.eye(2), np.median(there[holds] - self.points[holds], 0)])
            there = np.where(holds[:, None], there, self.points @ matrix[:, :2].T + matrix[:, 2])
        self.points, self._grey = there.astype(np.float32), grey
        return self.points
