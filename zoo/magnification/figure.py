"""Before and after in one picture: the frame of most motion, and one line of pixels laid out over time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from zoo.report import ACCENT, INK, SOFT

_CANDIDATES = 12  # columns, and as many rows, among which the line of most motion is chosen
_LONGEST = 400  # moments that are kept; of a longer clip every second, fourth, ... one


class TimeSlices:
    """Watches a clip and its magnified copy go by and keeps, of each, a few lines of pixels over time. Memory is bounded."""

    def __init__(self) -> None:
        self.frames = 0
        self._stride = 1
        self._lines: list[tuple[np.ndarray, np.ndarray]] = []  # each [2, lines, length, 3]: columns, rows
        self._rest: np.ndarray | None = None
        self._most = -1.0
        self.peak: tuple[np.ndarray, np.ndarray] | None = None
        self.peak_at = 0

    def add(self, before: np.ndarray, after: np.ndarray) -> None:
        """The next frame of both. Shapes: two uint8 ``[H, W, 3]``."""
        thin = before[::4, ::4].astype(np.float32)
        self._rest = thin if self._rest is None else self._rest
        moved = float(np.abs(thin - self._rest).mean())
        if moved > self._most:
            self._most, self.peak, self.peak_at = moved, (before.copy(), after.copy()), self.frames
        if self.frames % self._stride == 0:
            rows, columns = (self.places(side) for side in before.shape[:2])
            pair = np.stack([before, after])
            self._lines.append((np.swapaxes(pair[:, :, columns], 1, 2).copy(), pair[:, rows].copy()))
            if len(self._lines) >= 2 * _LONGEST:
                self._lines, self._stride = self._lines[::2], 2 * self._stride
        self.frames += 1

    @staticmethod
    def places(side: int) -> np.ndarray:
        """Where the candidate lines run, in pixels."""
        return np.unique(np.linspace(0.1 * side, 0.9 * side, _CANDIDATES).astype(int))

    def chosen(self) -> tuple[str, int, np.ndarray, np.ndarray]:
        """The line along which the magnified clip changes most: column or row, its place, and both clips along it.

        Shapes: two uint8 ``[length, T, 3]``.
        """
        best: tuple[float, str, int, np.ndarray] | None = None
        for kind, way in (("column", 0), ("row", 1)):
            table = np.stack([lines[way] for lines in self._lines], 3)  # [2, lines, length, T, 3]
            grey = table[1].astype(np.float32).mean(-1)
            change = np.abs(grey - np.median(grey, 2, keepdims=True)).mean((1, 2))
            line = int(np.argmax(change))
            if best is None or change[line] > best[0]:
                best = (float(change[line]), kind, line, table[:, line])
        assert best is not None and self.peak is not None
        height, width = self.peak[0].shape[:2]
        place = int(self.places(width if best[1] == "column" else height)[best[2]])
        return best[1], place, best[3][0], best[3][1]


def before_after_figure(slices: TimeSlices, path: str | Path, *, title: str, fps: float | None) -> None:
    """Draw what was watched as a PNG.

    Above: the frame that differs most from the first one, as it was and magnified, with a line across it. Below: the pixels
    of that line from the first to the last frame, left to right; what moves draws a wave.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    kind, place, *lines = slices.chosen()
    assert slices.peak is not None
    height, width = slices.peak[0].shape[:2]
    figure = Figure(figsize=(11, 3.0 + 5.0 * min(height / width, 1.2)), dpi=140, facecolor="white")
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(2, 2, height_ratios=(5.0 * min(height / width, 1.2), 2.2), hspace=0.12, wspace=0.07)
    grid.update(left=0.06, right=0.985, bottom=0.09, top=0.87)
    figure.text(0.06, 0.955, title, size=14, weight="bold", color=INK, va="center")
    seconds = slices.frames / fps if fps else None
    note = f"frame {slices.peak_at} of {slices.frames}; below, the pixels of the marked {kind} over time"
    figure.text(0.06, 0.915, note, size=10, color=SOFT, va="center")
    for index, name in enumerate(("before", "after")):
        above: Any = figure.add_subplot(grid[0, index])
        above.imshow(slices.peak[index])
        (above.axvline if kind == "column" else above.axhline)(place, color=ACCENT, linewidth=1.2)
        above.set_title(name, size=11, color=INK, loc="left")
        above.axis("off")
        below: Any = figure.add_subplot(grid[1, index])
        length = lines[index].shape[0]
        extent = (0, seconds if seconds else slices.frames, length, 0)
        below.imshow(lines[index], aspect="auto", extent=extent, interpolation="nearest")
        below.set_xlabel("seconds" if seconds else "frame", size=9, color=SOFT)
        below.tick_params(labelsize=8, colors=SOFT)
        if index == 0:
            below.set_ylabel(f"{'y' if kind == 'column' else 'x'}, px", size=9, color=SOFT)
        for side in below.spines.values():
            side.set_visible(False)
    figure.savefig(path, format="png")
