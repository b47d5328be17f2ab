"""A folder of numbered pictures as a stream of frames."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np

from zoo.errors import MediaError
from zoo.vision.frame import Frame

PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")


class PictureFolder:
    """Pictures in the natural order of their names (img2 before img10).

    Attributes:
        warnings: gaps in the numbers; pictures of 16 bits that use fewer.

    Raises:
        MediaError: no pictures in it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.warnings: list[str] = []
        self._bits: int | None = None  # of 16-bit pictures, as the first one read tells
        entries = [p for p in self.path.iterdir() if p.is_file() and not p.name.startswith(".")]
        pictures = sorted((p for p in entries if p.suffix.lower() in PICTURES), key=lambda p: _natural(p.name))
        if not pictures:
            other = f" (it holds {entries[0].name}: a video is given as the file itself)" if entries else ""
            raise MediaError(f"the folder {self.path} has no pictures ({', '.join(PICTURES)}){other}")
        numbers = [int(found[-1]) for p in pictures if (found := re.findall(r"\d+", p.stem))]
        step = min((b - a for a, b in pairwise(numbers)), default=1)  # every fifth frame, say, is no gap
        gaps = [(a, b) for a, b in pairwise(numbers) if b != a + max(step, 1)]
        if gaps:
            shown = ", ".join(f"{b} follows {a}" for a, b in gaps[:3]) + (", …" if len(gaps) > 3 else "")
            self.warnings.append(
                f"{self.path.name}: {len(gaps)} gap{'s' if len(gaps) > 1 else ''} in the frame numbers "
                f"({shown}); frames are taken as evenly spaced"
            )
        self._pictures = pictures

    def __len__(self) -> int:
        return len(self._pictures)

    def read(self, fps: float | None, start: int = 0, stop: int | None = None) -> Iterator[Frame]:
        """Frames ``start`` to ``stop - 1``; of unequal sizes or not readable: MediaError."""
        first: tuple[int, ...] | None = None
        for index in range(start, len(self) if stop is None else stop):
            path = self._pictures[index]
            raw = np.fromfile(path, np.uint8)
            bgr = cv2.imdecode(raw, cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH) if raw.size else None
            if bgr is None:
                raise MediaError(
                    f"{path} is not a readable picture ({raw.size:,} bytes); {index - start} frames before it were "
                    f"read: replace it or take it away"
                )
            if bgr.dtype != np.uint8:
                bgr = self._eight_bit(bgr, path)
            if first is not None and bgr.shape != first:
                raise MediaError(
                    f"frames of unequal size in {self.path}: {self._pictures[start].name} is "
                    f"{first[1]}x{first[0]}, {path.name} is {bgr.shape[1]}x{bgr.shape[0]}; all frames of a "
                    f"clip must share one size"
                )
            first = bgr.shape
            yield Frame(index, index / fps if fps else None, cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB))

    def _eight_bit(self, bgr: np.ndarray, path: Path) -> np.ndarray:
        if bgr.dtype != np.uint16:
            raise MediaError(f"{path} holds {bgr.dtype} pixels; pictures of 8 or 16 bits are wanted")
        if self._bits is None:
            most = int(bgr.max())
            self._bits = next(bits for bits in (10, 12, 14, 16) if most < 1 << bits)
            if self._bits < 16:
                self.warnings.append(
                    f"{self.path.name}: pictures of 16 bits that use {self._bits} (no pixel of {path.name} is above {most}); "
                    f"they are taken as of {self._bits} bits"
                )
        return np.minimum(bgr >> (self._bits - 8), 255).astype(np.uint8)


def _natural(name: str) -> list[tuple[int, int | str]]:
    return [(0, int(part)) if part.isdigit() else (1, part.lower()) for part in re.split(r"(\d+)", name) if part]
