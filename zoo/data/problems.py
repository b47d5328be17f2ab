"""Everything wrong with a data set, collected first and raised once: file, sheet, row, column, what came, what to
do.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from zoo.errors import DataError

SHOWN = 20  # an error message of a thousand lines helps nobody; the count is always told


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One thing that must be mended before the data set can be used."""

    file: str
    what: str  # what came, what was wanted
    remedy: str
    sheet: str | None = None
    row: int | None = None  # as the spreadsheet program counts, from 1
    column: str | None = None

    def __str__(self) -> str:
        place = [self.file]
        place += [f"sheet {self.sheet!r}"] if self.sheet else []
        place += [f"row {self.row}"] if self.row is not None else []
        place += [f"column {self.column!r}"] if self.column else []
        return f"{', '.join(place)}: {self.what}. {self.remedy}"


@dataclass
class Problems:
    """A list of :class:`Problem` that knows how to raise itself."""

    found: list[Problem] = field(default_factory=list)

    def add(self, file: str | Path, what: str, remedy: str, **place: Any) -> None:
        """Note a problem and go on reading."""
        self.found.append(Problem(file=str(file), what=what, remedy=remedy, **place))

    def __len__(self) -> int:
        return len(self.found)

    def __iter__(self) -> Iterator[Problem]:
        return iter(self.found)

    def raise_any(self, title: str) -> None:
        """Raise one :class:`~zoo.errors.DataError` with all problems, if there are any."""
        if self.found:
            lines = [f"  {p}" for p in self.found[:SHOWN]]
            more = len(self.found) - SHOWN
            lines += [f"  ... and {more} more"] if more > 0 else []
            count = f"{len(self.found)} problem{'s' if len(self.found) > 1 else ''}"
            raise DataError("\n".join([f"{title}: {count}", *lines]))
