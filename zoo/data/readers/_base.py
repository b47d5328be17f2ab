"""What all readers share: a :class:`Reader` drafts rows from a sheet or folders with the help of a :class:`Job`."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, Literal

from zoo.data.frames import Folders
from zoo.data.manifest import Report
from zoo.data.problems import Problems
from zoo.data.sheets import Columns, Row, Sheet, as_text, read_table
from zoo.errors import DataError
from zoo.facs.emotions import canonical

Repair = Literal["documented", "none"]


Missing = Literal["error", "drop"]


Frames = Literal["require", "skip"]


_PERSON = re.compile(r"(?:sub(?:ject)?|spno\.?|s|p)?0*(\d+)", re.IGNORECASE)


@dataclass
class Draft:
    """A row on its way into the manifest."""

    id: str
    subject: str
    clip: str
    kind: str = "micro"
    position: int = 0  # 0-based among the data rows of the sheet
    values: dict[str, Any] = field(default_factory=dict)  # further manifest columns
    folders: Sequence[Sequence[str]] = ()  # where the frames may lie, below the variant's folder
    notes: list[str] = field(default_factory=list)
    key: tuple[Any, ...] = ()  # what makes the row unique in the sheet; (subject, clip) where empty
    frames: Mapping[int, Path] | None = None  # as found on disk
    window: bool = False  # the folder holds more than the clip (a long video)


@dataclass(frozen=True, kw_only=True)
class Published:
    """What the release or the literature counts; compared with what was found, never enforced."""

    rows: tuple[int, ...] = ()
    emotions: Mapping[str, int] = field(default_factory=dict)
    objective: tuple[int, ...] = ()  # classes I..VII
    subjects: int | None = None


@dataclass(frozen=True, kw_only=True)
class Reader:
    """One data set: how its release lies on disk."""

    name: str
    title: str
    family: Literal["micro", "macro", "generic"]
    draft: Callable[[Job], list[Draft]]
    layout: str  # what to put where, for people
    versions: tuple[str, ...] = ()  # of the annotation; the first is the default
    variants: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # name -> folders below the root, any of them
    labels: tuple[str, ...] = ()  # canonical emotions that the sheet may hold; empty: not checked
    published: Mapping[str, Published] = field(default_factory=dict)  # by version, "" for all
    options: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # option -> choices, the first is the default
    fps: float | None = None
    clipped: frozenset[int] = frozenset()  # positions whose offset is known to lie beyond the folder's last frame
    gaps: int = 0  # frames that may be missing in a row without being a fault; 0 where numbering is complete
    shifted: bool = False  # some clips are numbered one lower on disk than in the sheet
    licence: str = ""


@dataclass
class Job:
    """One reading of one data set: what was asked for, what was found so far."""

    reader: Reader
    root: Path
    version: str
    variant: str | None
    options: Mapping[str, str]
    sheet: Path | None
    repair: Repair
    missing: Missing
    check_frames: Frames
    skip: tuple[str, ...] = ()
    strict: bool = False
    problems: Problems = field(default_factory=Problems)
    report: Report = field(default_factory=Report)

    def find_sheet(self, *patterns: str) -> Path:
        """The one annotation file that matches; told by ``sheet`` where several do.

        Raises:
            DataError: none or several files match.
        """
        if self.sheet is not None:
            return self.sheet
        return self.find_file("annotation sheet", "sheet", *patterns)

    def find_file(self, what: str, argument: str, *patterns: str) -> Path:
        """A file of the release by name, in the root or up to three folders below it."""
        files = sorted(p for p in walk(self.root, 3) if any(fnmatch(p.name.casefold(), x.casefold()) for x in patterns))
        if len(files) == 1:
            return files[0]
        if not files:
            tables = [p.name for p in walk(self.root, 3) if p.suffix.lower() in (".xls", ".xlsx", ".csv", ".txt")]
            there = f"tables there: {', '.join(tables[:6])}" if tables else "no table is there"
            raise DataError(
                f"{self.root}: no {what} of {self.reader.title} ({' or '.join(patterns)}); {there}. "
                f"Copy it there, or name it with {argument}=FILE."
            )
        raise DataError(
            f"{self.root}: {len(files)} files could be the {what}: "
            f"{', '.join(str(f.relative_to(self.root)) for f in files)}. Choose one with {argument}=FILE."
        )

    def table(self, path: Path, columns: Columns, **arguments: Any) -> Sheet:
        """A table with a header, see :func:`zoo.data.sheets.read_table`; its notes go into the report."""
        arguments.setdefault("valid", is_person)
        sheet = read_table(path, columns, problems=self.problems, **arguments)
        for note in sheet.notes:
            self.report.note(f"{sheet.path.name}: {note}")
        return sheet

    def origin(self, sheet: Sheet, row: Row) -> dict[str, Any]:
        """Manifest columns that say where a row came from."""
        path = sheet.path
        inside = path.resolve().is_relative_to(self.root.resolve())
        text = path.resolve().relative_to(self.root.resolve()).as_posix() if inside else path.name
        return {"sheet": text, "_sheet": sheet.name, "_titles": sheet.titles, "row": row.number}

    def person(self, sheet: Sheet, row: Row, form: str, column: str = "subject") -> str:
        """A subject in canonical spelling: ``1``, ``1.0``, ``01`` and ``sub01`` are one person."""
        number = subject_number(row[column])
        if number is None:
            sheet.complain(
                row,
                column,
                f"{row[column]!r} is not a subject of {self.reader.title}",
                f"Write it like {form.format(1)}",
            )
            return ""
        return form.format(number)

    def base(self) -> Path | None:
        """The folder with the frames, or ``None`` where frames are not looked for."""
        return base_folder(self) if self.check_frames == "require" and self.reader.variants else None


def subject_number(value: object) -> int | None:
    """The number in ``7``, ``7.0``, ``007``, ``sub07``, ``s7``, ``S07`` or ``spNO.7``."""
    match = _PERSON.fullmatch(as_text(value))
    return int(match[1]) if match else None


def is_person(value: object) -> bool:
    """Whether a cell names a subject; rows below the table that do not are notes."""
    return subject_number(value) is not None


def emotion_of(value: object) -> dict[str, Any]:
    """Manifest columns of a label cell."""
    text = as_text(value)
    return {"emotion": canonical(text) if text else None, "emotion_raw": text or None}


def aus_of(value: object) -> dict[str, Any]:
    """Manifest columns of an AU cell; it is parsed later, so that a correction can change the text."""
    return {"aus_raw": as_text(value) or None}


def folder_index(base: Path | None, depth: int = 4) -> dict[str, list[tuple[str, ...]]]:
    """Folders below ``base`` by case-folded name, for releases whose upper levels differ between copies."""
    index: dict[str, list[tuple[str, ...]]] = defaultdict(list)
    level: list[tuple[str, ...]] = [()] if base else []
    folders = Folders(base or Path())
    for _ in range(depth):
        below = []
        for parts in level:
            for name in folders.names(folders.root.joinpath(*parts)).values():
                index[name.casefold()].append((*parts, name))
                below.append((*parts, name))
        level = below
    return index


def walk(folder: Path, depth: int) -> Iterator[Path]:
    """Files near the root: annotation sheets do not lie under thousands of frames."""
    try:
        entries = sorted(folder.iterdir(), key=lambda p: p.name)
    except OSError:
        return
    folders = []
    for entry in entries:
        if entry.name.startswith((".", "~$")):
            continue
        if entry.suffix and entry.is_file():
            yield entry
        elif entry.is_dir():
            folders.append(entry)
    if depth and len(folders) <= 40:  # a folder of subjects or clips holds no sheet
        for entry in folders:
            yield from walk(entry, depth - 1)


def choice(name: str, value: str | None, known: Sequence[str]) -> str:
    """The value, or the first that is known; another is refused."""
    if value is None:
        return known[0] if known else ""
    if value not in known:
        raise DataError(f"{name} is {value!r}; known: {', '.join(known) or 'none for this data set'}")
    return value


def base_folder(job: Job) -> Path:
    """The folder of the chosen variant, or of the first that is there."""
    folders = Folders(job.root)
    names = [choice("variant", job.variant, tuple(job.reader.variants))] if job.variant else list(job.reader.variants)
    for name in names:
        for place in job.reader.variants[name]:
            found = folders.find(*[p for p in place.split("/") if p])
            if found:
                job.variant = name
                return found
    wanted = [p for n in names for p in job.reader.variants[n]]
    raise DataError(
        f"{job.root}: no folder with frames of {job.reader.title}; looked for {', '.join(wanted)}. Copy the frames "
        "there, or read the sheet alone with frames='skip'."
    )


def _where(job: Job, draft: Draft) -> dict[str, Any]:
    return {"row": draft.values.get("row"), "sheet": draft.values.get("_sheet")}


def complain(job: Job, draft: Draft, what: str, remedy: str, column: str | None = None) -> None:
    """Note a problem of one row, with its file, sheet, row and the title of the column."""
    file = draft.values.get("sheet") or draft.id
    title = draft.values.get("_titles", {}).get(column, column)
    job.problems.add(file, f"{draft.id}: {what}", remedy, column=title, **_where(job, draft))
