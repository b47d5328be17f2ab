"""One file per data set; its name finds it. A new data set is one file with a ``READERS`` tuple, and no edit
elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from zoo.errors import DataError
from zoo.registry import unknown

if TYPE_CHECKING:
    from zoo.data.manifest import Manifest
    from zoo.data.readers._base import Frames, Missing, Reader, Repair
    from zoo.data.readers._survey import Survey


@cache
def readers() -> dict[str, Reader]:
    """All readers by data set name."""
    found: dict[str, Reader] = {}
    for path in sorted(Path(__file__).parent.glob("[!_]*.py")):
        for reader in import_module(f"{__name__}.{path.stem}").READERS:
            if reader.name in found:
                raise DataError(f"two readers are called {reader.name!r}; a data set has one name")
            found[reader.name] = reader
    return found


def reader(name: str) -> Reader:
    """The reader of a data set.

    Raises:
        UnknownName: there is none of that name.
    """
    if name not in readers():
        raise unknown("data set", name, readers())
    return readers()[name]


def survey(
    name: str,
    root: str | Path,
    *,
    version: str | None = None,
    variant: str | None = None,
    sheet: str | Path | None = None,
    repair: Repair = "documented",
    missing: Missing = "error",
    frames: Frames = "require",
    skip: Sequence[str] = (),
    strict: bool = False,
    options: Mapping[str, str] | None = None,
) -> Survey:
    """Read a data set and collect its problems; see :func:`zoo.data.readers._survey.survey` for the arguments."""
    from zoo.data.readers._survey import survey as run

    return run(reader(name), root, version=version, variant=variant, sheet=sheet, repair=repair, missing=missing,
               frames=frames, skip=skip, strict=strict, options=options)  # fmt: skip


def read(
    name: str,
    root: str | Path,
    *,
    version: str | None = None,
    variant: str | None = None,
    sheet: str | Path | None = None,
    repair: Repair = "documented",
    missing: Missing = "error",
    frames: Frames = "require",
    skip: Sequence[str] = (),
    strict: bool = False,
    options: Mapping[str, str] | None = None,
) -> Manifest:
    """The manifest of a data set.

    Raises:
        DataError: anything is wrong with it; all problems at once, each with file, row, column and the way out.
    """
    result = survey(name, root, version=version, variant=variant, sheet=sheet, repair=repair, missing=missing,
                    frames=frames, skip=skip, strict=strict, options=options)  # fmt: skip
    result.problems.raise_any(f"{result.reader.title} in {root}")
    return result.manifest
