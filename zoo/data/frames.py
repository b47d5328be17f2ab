"""Frames of a clip as files: listed and numbered by what is there, never by a name that was built."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Literal

from zoo.errors import DataError

IMAGES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".pgm"})
VIDEOS = frozenset({".avi", ".mp4", ".mpg", ".mpeg", ".flv", ".mkv", ".mov", ".webm", ".wmv", ".m4v"})
_LAST_DIGITS = re.compile(r"(\d+)(?!.*\d)")


def list_frames(folder: str | Path) -> dict[int, Path]:
    """Frames of a folder by number, in order.

    The number is the last group of digits of the file's stem, whatever its padding. Files that are no image
    (``Thumbs.db``, ``desktop.ini``, ``*.lnk``) or start with a dot are not frames.

    Raises:
        DataError: the folder is missing, or two files carry one number.
    """
    folder = Path(folder)
    found: dict[int, Path] = {}
    try:
        entries = sorted(os.scandir(folder), key=lambda e: e.name)
    except OSError as error:
        raise DataError(f"{folder}: cannot list frames ({error.strerror}). Check the data set's root.") from error
    for entry in entries:
        stem, dot, suffix = entry.name.rpartition(".")  # a million files: no Path for each
        if entry.name.startswith(".") or not dot or "." + suffix.lower() not in IMAGES:
            continue
        match = _LAST_DIGITS.search(stem)
        if match is None:
            continue
        number = int(match[1])
        if number in found:
            raise DataError(
                f"{folder}: {found[number].name} and {entry.name} are both frame {number}. Remove the copy."
            )
        found[number] = folder / entry.name
    return dict(sorted(found.items()))


def resolve(
    frames: Mapping[int, Path],
    number: int,
    *,
    policy: Literal["exact", "earlier", "nearest"] = "exact",
    max_gap: int = 2,
) -> Path:
    """The file of a frame, or of its neighbour where the data set has gaps.

    Args:
        frames: as :func:`list_frames` gives them.
        number: the frame wanted.
        policy: accept no other, the nearest earlier, or the nearest frame.
        max_gap: how far away it may be, in frames.

    Raises:
        DataError: no frame is near enough.
    """
    if number in frames:
        return frames[number]
    reach = range(1, max_gap + 1) if policy != "exact" else range(0)
    for step in reach:
        for candidate in (number - step, number + step) if policy == "nearest" else (number - step,):
            if candidate in frames:
                return frames[candidate]
    where = next(iter(frames.values())).parent if frames else "an empty folder"
    have = f"it holds {len(frames)} frames, {min(frames)} to {max(frames)}" if frames else "it holds none"
    raise DataError(
        f"{where}: frame {number} is not there (policy {policy!r}, max_gap {max_gap}); {have}. "
        "Allow a neighbour with policy='nearest', or restore the frame."
    )


def nearest(frames: Iterable[int], number: int) -> int | None:
    """The number on disk that is closest to the wanted one; the earlier of two."""
    return min(frames, key=lambda n: (abs(n - number), n), default=None)


class Folders:
    """Finds folders as people rename them: another case or spelling, an extra level. Directory lists are read once."""

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)
        self._seen: dict[Path, dict[str, str]] = {}

    def names(self, folder: Path) -> dict[str, str]:
        """Sub-folders by case-folded name."""
        if folder not in self._seen:
            try:
                self._seen[folder] = {
                    e.name.casefold(): e.name for e in sorted(os.scandir(folder), key=lambda e: e.name)
                    if e.is_dir() and not e.name.startswith(".")
                }  # fmt: skip
            except OSError:
                self._seen[folder] = {}
        return self._seen[folder]

    def find(self, *parts: str) -> Path | None:
        """The folder below the root, compared without case; ``None`` where it is not there."""
        at = self.root
        for part in parts:
            name = self.names(at).get(part.casefold())
            if name is None:
                return None
            at = at / name
        return at

    def similar(self, *parts: str) -> str:
        """What was looked for and what is there instead, for an error message."""
        at = self.root
        for part in parts:
            name = self.names(at).get(part.casefold())
            if name is None:
                near = get_close_matches(part, self.names(at).values(), n=3, cutoff=0.5)
                there = f"similar: {', '.join(near)}" if near else f"{len(self.names(at))} other folders there"
                return f"{'/'.join(parts)} is not below {self.root} ({part!r} is missing in {at}; {there})"
            at = at / name
        return f"{at} is there"
