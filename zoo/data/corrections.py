"""Known wrong cells of the released sheets, as data: which cell, what it holds, what it should hold, and who says so.

The table is ``corrections.json``. An entry is applied only where data set, version and key agree *and* the cell holds
the old value; a sheet that was mended by hand is left alone. ``old: null`` with ``when: "inconsistent"`` stands for a
cell whose published value is not on record: it is applied only while the row contradicts itself.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class Correction:
    """One cell."""

    dataset: str
    column: Literal["onset", "apex", "offset", "aus_raw"]
    old: int | str | None
    new: int | str | None  # None: the value is not known, mark it so
    source: str
    versions: tuple[str, ...] = ()  # empty: all
    subject: str | None = None
    clip: str | None = None
    kind: str | None = None
    position: int | None = None  # 0-based among the data rows, where the key alone is not known or not unique
    occurrence: int = 0  # which of the rows that match, in the order of the sheet
    when: Literal["always", "inconsistent"] = "always"


@cache
def corrections(dataset: str) -> tuple[Correction, ...]:
    """The entries of one data set, in the order in which they are applied."""
    text = files("zoo.data").joinpath("corrections.json").read_text(encoding="utf-8")
    entries = (Correction(**{**e, "versions": tuple(e.get("versions", ()))}) for e in json.loads(text))
    return tuple(e for e in entries if e.dataset == dataset)
