"""A run folder on disk: results that are whole or absent, one process at a time, and errors that say what to do."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import socket
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

from zoo.errors import ProtocolError, ZooError

try:
    import fcntl
except ImportError:  # Windows: the lock file still says who, but nothing enforces it
    fcntl = None  # type: ignore[assignment]


def versions() -> dict[str, str]:
    """What a number was computed with."""
    return {
        "python": platform.python_version(),
        **{p: version(p) for p in ("torch", "pytorch-lightning", "numpy", "au-graph-zoo")},
    }


def write_text(path: Path, text: str) -> None:
    """Whole or not at all: a temporary name, flushed to the disk, then renamed.

    Raises:
        ZooError: the disk is full or the folder cannot be written; what was there before is still there.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise ZooError(
            f"cannot write {path}: {error.strerror or error}; what was finished is kept: make room, or choose another "
            f"folder with --out, and run the same command again"
        ) from error


def write_json(path: Path, content: Any, *, indent: int | None = None) -> None:
    """:func:`write_text` of JSON."""
    write_text(path, json.dumps(content, indent=indent) + "\n")


def read_json(path: Path) -> Any:
    """What :func:`write_json` wrote.

    Raises:
        ProtocolError: the file is missing or damaged.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:  # a JSON or unicode error is a ValueError
        what = error.strerror if isinstance(error, OSError) else "it is no whole JSON file"
        raise ProtocolError(f"cannot read {path}: {what}; delete it, and the same command makes it again") from error


def result_path(folder: Path, seed: int, fold: str) -> Path:
    """Where the result of one fit lies."""
    return folder / f"seed{seed}" / f"{fold.replace('/', '__')}.json"


@contextlib.contextmanager
def run_lock(folder: Path) -> Iterator[None]:
    """Hold a run folder for this process; the operating system lets go of it when the process ends, however it ends.

    The file ``.lock`` names process and machine. It is empty while nobody holds it. A name of another machine in a file that
    nobody here has locked is taken seriously, since not every network disk passes locks on.

    Raises:
        ZooError: another process works in the folder.
    """
    path, me = folder / ".lock", socket.gethostname()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = path.open("a+", encoding="utf-8")
    except OSError as error:
        raise ZooError(f"cannot write the run folder {folder}: {error.strerror}; choose another with --out") from error
    with file:
        file.seek(0)
        holder = file.read().strip()
        free = True
        if fcntl is not None:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                free = False
            except OSError:  # a disk without locks: the name alone must do
                free = not holder
        elsewhere = bool(holder) and holder.rpartition(" on ")[2] != me
        if not free or elsewhere:
            hint = f"; if that is over, delete {path}" if free else ""
            raise ZooError(
                f"{folder} is in use by {holder or 'another process'}: wait for it, or choose another --out{hint}"
            )
        _write_over(file, f"process {os.getpid()} on {me}\n")
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                _write_over(file, "")


def _write_over(file: Any, text: str) -> None:
    try:
        file.seek(0)
        file.truncate()
        file.write(text)
        file.flush()
    except OSError as error:
        raise ZooError(f"cannot write {file.name}: {error.strerror}; make room, or choose another --out") from error
