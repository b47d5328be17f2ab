"""From a row of a manifest to a :class:`zoo.types.Clip`: frames are read when they are asked for, one at a time."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, overload

import numpy as np
from numpy.typing import NDArray

from zoo.data.frames import VIDEOS, list_frames, nearest
from zoo.data.manifest import Manifest
from zoo.errors import DataError, MediaError
from zoo.types import Clip, Interval

Picture = NDArray[np.uint8]
_SOURCES: Mapping[str, Literal["spotted", "estimated"]] = {"spotted": "spotted", "estimated": "estimated"}


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
        return self._some(index) if isinstance(index, slice) else self._one(index)

    def _some(self, index: slice) -> FolderFrames:
        return FolderFrames(self.paths[index])

    def _one(self, index: int) -> Picture:
        path = self.paths[index]  # an index beyond the end ends an iteration here
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

    def _some(self, index: slice) -> FolderFrames:
        return self if range(1)[index] else FolderFrames([])

    def _one(self, index: int) -> Picture:
        path = self.paths[index]  # an index beyond the one picture ends an iteration here
        offsets, column = _table_rows(path, path.stat().st_mtime_ns)
        if not self.row < len(offsets):
            raise MediaError(f"{path} has no row {self.row + 2} any more; build the manifest again")
        with path.open("rb") as file:
            file.seek(offsets[self.row])
            cells = next(csv.reader([file.readline().decode()]))
        texts = cells[column].split() if column < len(cells) else []
        side = math.isqrt(len(texts))
        try:
            levels = np.frombuffer(bytes(map(int, texts)), np.uint8)
        except ValueError:
            side = 0
        if not texts or side * side != len(texts):
            raise MediaError(f"{path}, row {self.row + 2}: {len(texts)} values are no square picture of 0 to 255")
        return np.repeat(levels.reshape(side, side, 1), 3, 2)


class VideoFrames(FolderFrames):
    """Frames of a video file, decoded on access.

    Args:
        path: the file.
        count: of its frames.
    """

    def __init__(self, path: Path, count: int) -> None:
        super().__init__([path] * count)
        self.path = path
        self._reader: Any = None

    def _some(self, index: slice) -> FolderFrames:
        raise TypeError("frames of a video are taken one by one")

    def _one(self, index: int) -> Picture:
        from zoo.vision.video import MediaReader

        number = range(len(self))[index]  # an index beyond the end ends an iteration here
        self._reader = self._reader or MediaReader(self.path)
        return next(self._reader.read(number, number + 1)).rgb


def count_frames(path: str | Path) -> int:
    """How many frames a video has: as its container states, else by decoding it.

    Raises:
        MediaError: not a readable video.
    """
    from zoo.vision.video import MediaReader

    reader = MediaReader(path)
    return reader.n_frames or sum(1 for _ in reader)


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
    names = [name.strip() for name in header]
    if "pixels" not in names:
        raise MediaError(f"{path} has no column pixels; its columns are {', '.join(names) or 'none'}")
    return offsets[1:], names.index("pixels")


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
    return _open(next(rows_of(manifest, [key])), key, Path(root), margin, max_gap)


def rows_of(manifest: Manifest, keys: Sequence[str], *, block: int = 1024) -> Iterator[dict[str, Any]]:
    """Rows of a manifest as plain values, None where one is missing; a few at a time, for tables of many clips.

    Raises:
        DataError: no such clip.
    """
    import pandas as pd

    places = manifest.table.index.get_indexer(pd.Index(list(keys)))
    if (places < 0).any():
        raise DataError(
            f"the manifest has no clip {keys[int(places.argmin())]!r}; keys look like "
            f"{manifest.keys[0] if len(manifest) else 'none'}"
        )
    for start in range(0, len(places), block):
        part = manifest.table.iloc[places[start : start + block]].astype(object)
        rows: Any = part.where(part.notna(), None).to_dict("records")
        yield from rows


def clips(
    manifest: Manifest,
    root: str | Path | Callable[[str], Path],
    *,
    keys: Sequence[str] | None = None,
    margin: int = 0,
    max_gap: int = 0,
) -> Iterator[Clip]:
    """Clips of a manifest, all or those named, opened one after another; see :func:`open_clip`.

    Args:
        root: the data set's folder, or a function from the name of a data set to it.
        keys: which clips, in this order.
    """
    chosen = manifest.keys if keys is None else keys
    for key, row in zip(chosen, rows_of(manifest, chosen), strict=True):
        yield _open(row, key, root(row["dataset"]) if callable(root) else Path(root), margin, max_gap)


def _open(row: Mapping[str, Any], key: str, root: Path, margin: int, max_gap: int) -> Clip:
    if row["path"] is None:
        raise DataError(f"{key}: the manifest holds no path; build it with frames='require'")
    table, _, number = row["path"].rpartition("#")
    path = root / row["path"]
    common = {"id": row["id"], "dataset": row["dataset"], "subject": row["subject"], "emotion": row["emotion"]}
    fps = float(row["fps"]) if row["fps"] is not None else None
    if table and number.isdecimal() and (root / table).is_file():
        return Clip(**common, fps=fps, frames=TablePicture(root / table, int(number)))
    if path.is_file() and row["kind"] != "image" and path.suffix.lower() in VIDEOS:
        count = row["frame_count"] or count_frames(path)
        there = {
            name: _place(key, name, row[name], list(range(count)), max_gap) for name in ("onset", "apex", "offset")
        }
        interval = _interval({**row, **there}, dict(enumerate(range(count))))
        return Clip(**common, fps=fps, frames=VideoFrames(path, count), interval=interval)
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
    interval = _interval({**row, **found}, {n: i for i, n in enumerate(numbers)})
    return Clip(**common, fps=fps, frames=FolderFrames([frames[n] for n in numbers]), interval=interval)


def _interval(row: Mapping[str, Any], places: Mapping[int, int]) -> Interval | None:
    """Key frames counted from 0 within the clip; None where onset or apex is not known."""
    if row["onset"] is None or row["apex"] is None:
        return None
    onset, apex, offset = (None if row[n] is None else places[int(row[n])] for n in ("onset", "apex", "offset"))
    assert onset is not None and apex is not None
    return Interval(onset=onset, apex=apex, offset=offset, source=_SOURCES.get(str(row["apex_source"]), "annotated"))


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
