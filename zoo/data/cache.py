"""Prepared inputs on disk: found by what they were made from, memory-mapped, safe against two writers and a crash.

An entry's name is a digest of everything that determines it (clip, frames, input specification, versions); its file
appears under that name only when it is complete. Two writers of one entry write the same bytes, and the later
replaces the earlier in one step; a reader that has mapped the earlier keeps it. Leftovers of a crash lie under other
names and are swept.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from zoo.errors import DataError

VERSION = 1


def fingerprint(paths: Iterable[str | Path]) -> str:
    """Digest of files by name, size and time of change: cheap, and different when a file is replaced.

    Raises:
        DataError: a file is not there.
    """
    hasher = hashlib.sha256()
    for path in paths:
        try:
            state = Path(path).stat()
        except OSError as error:
            raise DataError(f"{path}: not there any more ({error.strerror}); build the manifest again") from error
        hasher.update(f"{Path(path).name}\0{state.st_size}\0{state.st_mtime_ns}\n".encode())
    return hasher.hexdigest()


def content_key(**parts: Any) -> str:
    """Name of an entry: digest of JSON-plain parts, whatever their order.

    Raises:
        DataError: a part is not JSON-plain, so that its digest would mean nothing.
    """
    try:
        text = json.dumps({"cache": VERSION, **parts}, sort_keys=True, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise DataError(
            f"a cache key is made of plain values (numbers, texts, lists, dictionaries): {error}"
        ) from error
    return hashlib.sha256(text.encode()).hexdigest()


class Cache:
    """A folder of arrays by content key."""

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)

    def path(self, key: str) -> Path:
        """Where an entry lies."""
        if len(key) != 64 or not set(key) <= set("0123456789abcdef"):
            raise DataError(f"{key!r} is not a content key; make one with content_key(...)")
        return self.root / key[:2] / f"{key}.npy"

    def get(self, key: str) -> NDArray[Any] | None:
        """The array, read-only and memory-mapped; ``None`` where it is not there or was damaged (and is then
        removed).
        """
        path = self.path(key)
        try:
            array = np.load(path, mmap_mode="r", allow_pickle=False)
            with path.open("rb") as file:
                npy.read_magic(file)
                return array if path.stat().st_size >= array.nbytes else None
        except FileNotFoundError:
            return None
        except (ValueError, OSError, EOFError):  # cut off by a full disk or a failing one; it can be made again
            with contextlib.suppress(OSError):
                path.unlink()
            return None

    def put(self, key: str, array: NDArray[Any]) -> NDArray[Any]:
        """Store an array and return it memory-mapped.

        Raises:
            DataError: the array holds objects, or the disk refuses it.
        """
        array = np.ascontiguousarray(array)
        if array.dtype.hasobject:
            raise DataError(f"cache entry {key[:12]}: an array of objects cannot be stored; convert it to numbers")
        path = self.path(key)
        part = ""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            handle, part = tempfile.mkstemp(prefix=f".{key[:8]}-", suffix=".part", dir=path.parent)
            with os.fdopen(handle, "wb") as file:
                np.save(file, array, allow_pickle=False)
                file.flush()
                os.fsync(file.fileno())  # else a crash of the machine may leave the name without the bytes
            Path(part).replace(path)
        except OSError as error:
            with contextlib.suppress(OSError):
                Path(part).unlink()
            raise DataError(
                f"{path}: cannot be written ({error.strerror}). Free space, or choose another cache folder."
            ) from error
        stored = self.get(key)
        if stored is None:
            raise DataError(
                f"{path}: was written but cannot be read back. Check the disk, or choose another cache folder."
            )
        return stored

    def fetch(self, key: str, make: Callable[[], NDArray[Any]]) -> NDArray[Any]:
        """The array, made and stored if it is not there."""
        found = self.get(key)
        return found if found is not None else self.put(key, make())

    def __contains__(self, key: str) -> bool:
        return self.path(key).is_file()

    def entries(self) -> Iterator[Path]:
        """Files of complete entries."""
        yield from sorted(self.root.glob("??/*.npy"))

    def stats(self) -> dict[str, int]:
        """Number of entries, bytes they take, leftovers of crashed writers."""
        sizes = [p.stat().st_size for p in self.entries()]
        return {"entries": len(sizes), "bytes": sum(sizes), "leftovers": len(list(self.root.glob("??/.*.part")))}

    def sweep(self, *, older_than: float = 3600.0) -> int:
        """Remove leftovers of crashed writers; younger ones may belong to a writer at work.

        Args:
            older_than: seconds since the last change.

        Returns:
            How many were removed.
        """
        removed = 0
        for path in self.root.glob("??/.*.part"):
            with contextlib.suppress(OSError):
                if time.time() - path.stat().st_mtime > older_than:
                    path.unlink()
                    removed += 1
        return removed
