"""From a row of a manifest to a :class:`zoo.types.Clip`: frames are read when they are asked for, one at a time."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, overload

import numpy as np
from numpy.typing import NDArray

from zoo.data.frames import list_frames, nearest
from zoo.data.manifest import Manifest
from zoo.errors import DataError, MediaError
from zoo.types import Clip, Interval

Picture = NDArray[np.uint8]
_SOURCES: Mapping[str, Literal["annotated", "spotted", "user", "synthetic"]] = {"spotted": "spotted"}


def read_picture(path: str | Path) -> Picture:
    """A picture as ``[H, W, 3]`` uint8 RGB; grey becomes three equal channels.

    Raises:
        MediaError: the file is missing, empty or cut off.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as picture:
            return np.asarray(picture.convert("RGB"))
    except (OSError, UnidentifiedImageError, SyntaxError) as error:
        raise MediaError(f"{path}: not a readable picture ({error}). Copy it from the release again.") from error


class FolderFrames(Sequence[Picture]):
    """Pictures of a clip, in the order of their numbers, read on access; all must have the size of the first."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = list(paths)
        self._size: tuple[int, ...] | None = None

    def __len__(self) -> int:
        return len(self.paths)

    @overload
    def __getitem__(self, index: int) -> Picture: ...
    @overload
    def __getitem__(self, index: slice) -> FolderFrames: ...
    def __getitem__(self, index: int | slice) -> Picture | FolderFrames:
        if isinstance(index, slice):
            return FolderFrames(self.paths[index])
        path = self.paths[index]
        picture = read_picture(path)
        if self._size is None:
            self._size = picture.shape
        if picture.shape != self._size:
            raise MediaError(f"{path}: {picture.shape[1]} x {picture.shape[0]} pixels, but the clip's others have "
                             f"{self._size[1]} x {self._size[0]}. Restore the clip from the release.")  # fmt: skip
        return picture


class TablePicture(FolderFrames):
    """The one picture that a row of a table of pixels holds, as FER2013 publishes them.

    Args:
        path: a CSV with a column ``pixels``: grey levels of a square picture, row by row.
        row: counted from 0 below the header.
    """

    def __init__(self, path: Path, row: int) -> None:
        super().__init__([path])
        self.row = row

    @overload
    def __getitem__(self, index: int) -> Picture: ...
    @overload
    def __getitem__(self, index: slice) -> FolderFrames: ...
    def __getitem__(self, index: int | slice) -> Picture | FolderFrames:
        if isinstance(index, slice):
            return self if range(1)[index] else FolderFrames([])
        path = self.paths[index]  # an index beyond the one picture ends an iteration here
        offsets, column = _table_rows(path, path.stat().st_mtime_ns)
        if not self.row < len(offsets):
            raise MediaError(f"{path} has no row {self.row + 2} any more; build the manifest again")
        with path.open("rb") as file:
            file.seek(offsets[self.row])
            cells = next(csv.reader([file.readline().decode()]))
        levels = [int(text) for text in cells[column].split() if text.isdecimal()] if column < len(cells) else []
        side = math.isqrt(len(levels))
        if not levels or side * side != len(levels) or max(levels) > 255:
            raise MediaError(f"{path}, row {self.row + 2}: {len(levels)} values are no square picture of 0 to 255")
        return np.repeat(np.array(levels, np.uint8).reshape(side, side, 1), 3, 2)


@lru_cache(maxsize=2)
def _table_rows(path: Path, stamp: int) -> tuple[list[int], int]:
    """Where each row of a table begins, in bytes, and which column holds the pixels; ``stamp`` tells a changed file."""
    offsets, place = [], 0
    with path.open("rb") as file:
        for line in file:
            if line.strip():
                offsets.append(place)
            place += len(line)
        file.seek(0)
        header = next(csv.reader([file.readline().decode("utf-8-sig")]), [])
    if "pixels" not in header:
        raise MediaError(f"{path} has no column pixels; its columns are {', '.join(header) or 'none'}")
    return offsets[1:], header.index("pixels")


def open_clip(manifest: Manifest, key: str, root: str | Path, *, margin: int = 0, max_gap: int = 0) -> Clip:
    """A clip with its frames and its interval counted from 0 within them.

    Args:
        manifest: where the clip is listed.
        key: ``dataset/subject/id``.
        root: the data set's folder.
        margin: frames before the onset and after the offset to take along, where the folder has them.
        max_gap: how far from its number an onset, apex or offset may be found, for data sets with gaps.

    Raises:
        DataError: no such clip, it has no frames, or a key frame is not on disk.
    """
    import pandas as pd

    if key not in manifest.table.index:
        raise DataError(
            f"the manifest has no clip {key!r}; keys look like {manifest.keys[0] if len(manifest) else 'none'}"
        )
    row: dict[str, Any] = {str(k): None if pd.isna(v) else v for k, v in manifest.table.loc[key].items()}
    if row["path"] is None:
        raise DataError(f"{key}: the manifest holds no path; build it with frames='require'")
    path = Path(root) / row["path"]
    common = {"id": row["id"], "dataset": row["dataset"], "subject": row["subject"], "emotion": row["emotion"]}
    fps = float(row["fps"]) if row["fps"] is not None else None
    table, _, number = path.name.partition("#")
    if number.isdecimal() and path.with_name(table).is_file():
        return Clip(**common, fps=fps, frames=TablePicture(path.with_name(table), int(number)))
    if path.is_file():
        return Clip(**common, fps=fps, frames=FolderFrames([path]))
    frames = list_frames(path)
    if not frames:
        raise DataError(f"{key}: {path} holds no frame. Copy the clip there again.")
    onset, offset = row["onset"], row["offset"]
    numbers = [n for n in frames if (onset is None or n >= onset - max(margin, max_gap))
               and (offset is None or n <= offset + max(margin, max_gap))]  # fmt: skip
    found = {name: _place(key, name, row[name], numbers, max_gap) for name in ("onset", "apex", "offset")}
    if margin < max_gap and onset is not None and offset is not None:  # neighbours were only let in to be found
        low, high = (n if n is not None else 0 for n in (found["onset"], found["offset"]))
        numbers = [n for n in numbers if min(low, int(onset)) - margin <= n <= max(high, int(offset)) + margin]
    places = {n: i for i, n in enumerate(numbers)}
    interval = None
    if found["onset"] is not None and found["apex"] is not None:
        last = places[found["offset"]] if found["offset"] is not None else None
        interval = Interval(onset=places[found["onset"]], apex=places[found["apex"]], offset=last,
                            source=_SOURCES.get(str(row["apex_source"]), "annotated"))  # fmt: skip
    return Clip(**common, fps=fps, frames=FolderFrames([frames[n] for n in numbers]), interval=interval)


def _place(key: str, name: str, number: int | None, numbers: list[int], max_gap: int) -> int | None:
    """The frame on disk that stands for a key frame."""
    if number is None:
        return None
    near = nearest(numbers, int(number))
    if near is None or abs(near - int(number)) > max_gap:
        have = f"{numbers[0]} to {numbers[-1]}" if numbers else "none"
        raise DataError(
            f"{key}: {name} is frame {number}, on disk are {have}, nearest {near}. Allow neighbours with max_gap, or "
            "restore the frame."
        )
    return near


def clips(manifest: Manifest, root: str | Path, **arguments: Any) -> Iterator[Clip]:
    """All clips of a manifest, opened one after another; see :func:`open_clip`."""
    for key in manifest.keys:
        yield open_clip(manifest, key, root, **arguments)
