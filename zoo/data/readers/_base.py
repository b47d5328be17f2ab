"""What all readers share: a :class:`Reader` drafts rows from sheet or folders, :func:`survey` repairs, checks and
locates.

The order is the same for every data set: read the sheet, find the frames, apply the documented corrections, check
intervals and labels, count. Problems are collected over the whole data set and raised once.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, Literal, get_args

from zoo.data.corrections import Correction, corrections
from zoo.data.frames import Folders, list_frames, nearest
from zoo.data.manifest import Change, Manifest, Report
from zoo.data.problems import Problems
from zoo.data.sheets import Columns, Row, Sheet, as_text, read_table
from zoo.errors import DataError
from zoo.facs.coding import parse
from zoo.facs.emotions import UnknownLabel, canonical, read_objective

Repair = Literal["documented", "none"]
Missing = Literal["error", "drop"]
Frames = Literal["require", "skip"]
_FRAMES = ("onset", "apex", "offset")
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
        files = sorted(
            p for p in _walk(self.root, 3) if any(fnmatch(p.name.casefold(), x.casefold()) for x in patterns)
        )
        if len(files) == 1:
            return files[0]
        if not files:
            tables = [p.name for p in _walk(self.root, 3) if p.suffix.lower() in (".xls", ".xlsx", ".csv", ".txt")]
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
        return _base(self) if self.check_frames == "require" and self.reader.variants else None


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


def _walk(folder: Path, depth: int) -> Iterator[Path]:
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
            yield from _walk(entry, depth - 1)


@dataclass
class Survey:
    """What a data set on disk amounts to, with everything that is wrong with it."""

    manifest: Manifest
    problems: Problems
    reader: Reader
    version: str

    @property
    def report(self) -> Report:
        """Counts and reasons."""
        return self.manifest.reports[0]


def survey(
    reader: Reader,
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
    """Read a data set and collect what is wrong with it, without raising on a bad row.

    Args:
        reader: which data set.
        root: its folder.
        version: of the annotation, see ``reader.versions``.
        variant: which pictures, see ``reader.variants``; otherwise the first that is there.
        sheet: the annotation file, where it is not found by name.
        repair: apply the documented corrections and conventions, or report every inconsistency.
        missing: a row without frames is an error, or is dropped and counted.
        frames: look for frames, or read the sheet only.
        skip: pictures to leave out: path patterns relative to the root (the data set's list of unreadable images).
        strict: a number of rows that is not a known version's is a problem, not a note.
        options: choices that only this data set has, see ``reader.options``.

    Raises:
        DataError: the root or sheet is missing or unreadable, or an argument is not known.
    """
    root = Path(root)
    if not root.is_dir():
        raise DataError(f"{root}: no such folder. Give the root of {reader.title}: {reader.layout}")
    job = Job(
        reader, root, _choice("version", version, reader.versions), variant, _options(reader, options),
        Path(sheet) if sheet else None, repair, missing, frames, tuple(skip), strict,
    )  # fmt: skip
    for name, value, known in (("repair", repair, Repair), ("missing", missing, Missing), ("frames", frames, Frames)):
        _choice(name, value, get_args(known))
    job.report.dataset, job.report.version = reader.name, job.version
    drafts = reader.draft(job)
    job.report.read = job.report.read or len(drafts)
    drafts = _unique(job, drafts)
    if frames == "require" and reader.variants:
        drafts = _find_frames(job, drafts)
    for correction in corrections(reader.name) if repair == "documented" else ():
        _correct(job, drafts, correction)
    for draft in drafts:
        if draft.frames is not None:
            _fit_to_disk(job, draft)
        _check(job, draft)
    drafts = [d for d in drafts if not d.values.get("_drop")]
    rows = [_row(job, draft) for draft in drafts]
    manifest = Manifest.from_rows(rows, job.report)
    _compare(job, manifest)
    return Survey(manifest, job.problems, reader, job.version)


def _choice(name: str, value: str | None, known: Sequence[str]) -> str:
    if value is None:
        return known[0] if known else ""
    if value not in known:
        raise DataError(f"{name} is {value!r}; known: {', '.join(known) or 'none for this data set'}")
    return value


def _options(reader: Reader, given: Mapping[str, str] | None) -> dict[str, str]:
    given = given or {}
    stray = sorted(set(given) - set(reader.options))
    if stray:
        raise DataError(f"{reader.name} has no option {', '.join(stray)}; it has {', '.join(reader.options) or 'none'}")
    return {name: _choice(name, given.get(name), choices) for name, choices in reader.options.items()}


def _where(job: Job, draft: Draft) -> dict[str, Any]:
    return {"row": draft.values.get("row"), "sheet": draft.values.get("_sheet")}


def _complain(job: Job, draft: Draft, what: str, remedy: str, column: str | None = None) -> None:
    file = draft.values.get("sheet") or draft.id
    title = draft.values.get("_titles", {}).get(column, column)
    job.problems.add(file, f"{draft.id}: {what}", remedy, column=title, **_where(job, draft))


def _unique(job: Job, drafts: list[Draft]) -> list[Draft]:
    """Exact copies of a row are kept once and noted; rows that contradict each other are a problem."""
    groups: dict[tuple[Any, ...], list[Draft]] = defaultdict(list)
    for draft in drafts:
        groups[draft.key or (draft.subject, draft.clip)].append(draft)
    kept = []
    for key, group in groups.items():
        first = group[0]
        kept.append(first)
        for other in group[1:]:
            a, b = ({k: v for k, v in d.values.items() if k != "row"} for d in (first, other))
            if a == b:
                job.report.drop("exact copy of another row", [f"{other.id} (row {other.values.get('row')})"])
            else:
                differs = ", ".join(k for k in a if a[k] != b.get(k))
                _complain(
                    job,
                    other,
                    f"{'/'.join(map(str, key))} is also row {first.values.get('row')}, and they differ in {differs}",
                    "Remove the wrong one",
                )
    ids = Counter(d.id for d in kept)
    for draft in kept:
        if ids[draft.id] > 1:
            raise DataError(
                f"{job.reader.name}: the id {draft.id!r} was made for {ids[draft.id]} rows with different keys"
            )
    return kept


# --- frames
# ------------------------------------------------------------------------------------------------------------


def _base(job: Job) -> Path:
    """The folder of the chosen variant, or of the first that is there."""
    folders = Folders(job.root)
    names = [_choice("variant", job.variant, tuple(job.reader.variants))] if job.variant else list(job.reader.variants)
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


def _find_frames(job: Job, drafts: list[Draft]) -> list[Draft]:
    base = _base(job)
    folders, found = Folders(base), []
    cache: dict[Path, dict[int, Path]] = {}
    lost = []
    for draft in drafts:
        draft.values["variant"] = job.variant
        if not draft.folders:  # a picture, already located by the reader
            found.append(draft)
            continue
        folder = next((f for parts in draft.folders if (f := folders.find(*parts))), None)
        if folder is None and job.missing == "drop":
            lost.append(draft.id)
            continue
        if folder is None:
            _complain(
                job,
                draft,
                f"no frames: {folders.similar(*draft.folders[0])}",
                "Copy the clip there, or drop such rows with missing='drop'",
            )
            found.append(draft)
            continue
        if folder not in cache:
            try:
                frames = list_frames(folder)
            except DataError as error:
                _complain(job, draft, str(error), "The row needs its frames")
                frames = {}
            cache[folder] = _without_skipped(job, frames)
        draft.frames = cache[folder]
        draft.values["path"] = folder.relative_to(job.root).as_posix()
        if not draft.frames and job.missing == "drop":
            lost.append(draft.id)
            continue
        if not draft.frames:
            _complain(
                job,
                draft,
                f"the folder {folder} holds no frame",
                "Copy the clip there, or drop such rows with missing='drop'",
            )
        found.append(draft)
    job.report.drop("no frames on disk", lost)
    return found


def _without_skipped(job: Job, frames: dict[int, Path]) -> dict[int, Path]:
    if not job.skip:
        return frames
    names = {n: p.relative_to(job.root).as_posix() for n, p in frames.items()}
    bad = [n for n, name in names.items() if any(fnmatch(name, pattern) for pattern in job.skip)]
    for n in bad:
        job.report.note("picture left out by the skip list", names[n])
    return {n: p for n, p in frames.items() if n not in set(bad)}


def _change(job: Job, draft: Draft, column: str, new: Any, source: str, mark: str = "repaired") -> None:
    old = draft.values.get(column)
    draft.values[column] = new
    if column in _FRAMES:
        draft.values[f"{column}_source"] = mark if new is not None else "unknown"
    old_text, new_text = ("" if v is None else str(v) for v in (old, new))
    job.report.repaired.append(Change(draft.id, column, old_text, new_text, source))


def _disorder(draft: Draft) -> str | None:
    onset, apex, offset = (draft.values.get(c) for c in _FRAMES)
    if onset is not None and offset is not None and offset < onset:
        return f"offset {offset} lies before onset {onset}"
    if apex is not None and onset is not None and apex < onset:
        return f"apex {apex} lies before onset {onset}"
    if apex is not None and offset is not None and apex > offset:
        return f"apex {apex} lies after offset {offset}"
    return None


def _off_disk(draft: Draft) -> bool:
    known = [draft.values[c] for c in _FRAMES if draft.values.get(c) is not None]
    return bool(draft.frames) and any(n not in (draft.frames or {}) for n in known)


def _correct(job: Job, drafts: list[Draft], c: Correction) -> None:
    if c.versions and job.version not in c.versions:
        return
    matching = [
        d for d in drafts
        if c.subject in (None, d.subject) and c.clip in (None, d.clip) and c.kind in (None, d.kind)
        and c.position in (None, d.position)
        and (d.values.get(c.column) == c.old if c.when == "always" else _flagged(d))
    ]  # fmt: skip
    if len(matching) <= c.occurrence:
        return
    draft = matching[c.occurrence]
    onset, apex = draft.values.get("onset"), draft.values.get("apex")
    if c.column == "offset" and isinstance(c.new, int) and onset is not None and c.new < onset:
        job.report.note(f"documented offset {c.new} lies before the onset, not applied", draft.id)
        return
    _change(job, draft, c.column, c.new, c.source)
    if c.column == "offset" and isinstance(c.new, int) and apex is not None and apex > c.new and c.when == "always":
        _change(job, draft, "apex", None, f"lies after the repaired offset {c.new}")


def _flagged(draft: Draft) -> bool:
    """Whether the row contradicted itself or the disk *before* its first repair: its repairs belong together."""
    if "_flagged" not in draft.values:
        draft.values["_flagged"] = _disorder(draft) is not None or _off_disk(draft)
    return bool(draft.values["_flagged"])


def _fit_to_disk(job: Job, draft: Draft) -> None:
    """Compare a row's frame numbers with the files; repair what the spec allows, complain about the rest."""
    frames, values = draft.frames, draft.values
    if not frames:
        return
    numbers = list(frames)
    values["first_frame"], values["last_frame"], values["frame_count"] = numbers[0], numbers[-1], len(numbers)
    if values.get("onset") is None and values.get("offset") is None and not draft.window:
        values["onset"], values["offset"] = numbers[0], numbers[-1]
        values["onset_source"] = values["offset_source"] = "annotated"
    if _disorder(draft):
        return  # reported by _check
    if job.repair == "documented" and job.reader.shifted and _off_disk(draft):
        onset, offset = values["onset"], values["offset"]
        known = onset is not None and offset is not None
        if known and all(n - 1 in frames for n in range(onset, offset + 1)):
            for column in _FRAMES:
                if values.get(column) is not None:
                    _change(job, draft, column, values[column] - 1, "the clip's files are numbered one lower")
            return
    if values.get("_outside") and job.repair == "documented" and _off_disk(draft):
        values["_drop"] = True
        job.report.drop("the interval lies outside the frames of its clip (known fault)", [draft.id])
        return
    for column in _FRAMES:
        number = values.get(column)
        if number is None or number in frames or values.get(f"{column}_source") == "unknown":
            continue
        _fit_number(job, draft, column, number, numbers)
    onset, offset = values.get("onset"), values.get("offset")
    if onset is not None and offset is not None:
        holes = sum(n not in frames for n in range(onset, offset + 1))
        if holes:
            draft.notes.append(f"{holes} frames missing inside")
            job.report.note("frames missing inside the interval", draft.id)


def _fit_number(job: Job, draft: Draft, column: str, number: int, numbers: list[int]) -> None:
    last, onset = numbers[-1], draft.values.get("onset")
    near = nearest(numbers, number)
    assert near is not None
    allowed = job.repair == "documented"
    if job.reader.gaps and numbers[0] - job.reader.gaps <= number <= last + job.reader.gaps:
        if abs(near - number) <= job.reader.gaps:
            draft.notes.append(f"{column} {number} is not on disk, nearest {near}")
            job.report.note(f"{column} not on disk, a neighbour is", draft.id)
            return
    elif column == "offset" and number > last and onset is not None and last >= onset:
        length = number - onset + 1
        if allowed and (number - last <= 0.1 * length or draft.position in job.reader.clipped):
            _change(job, draft, column, last, "last frame on disk")
            if draft.values.get("apex") is not None and draft.values["apex"] > last:
                _change(job, draft, "apex", last, "last frame on disk")
            return
    if allowed and column == "apex" and abs(near - number) <= 2:
        _change(job, draft, column, near, "nearest frame on disk")
        return
    folder = draft.values["path"]
    _complain(
        job,
        draft,
        f"{column} is frame {number}, but {folder} holds frames {numbers[0]} to {last}"
        + ("" if allowed or abs(near - number) > 2 else f" (nearest {near})"),
        "Restore the frame, or correct the sheet",
        column,
    )


# --- checks
# ------------------------------------------------------------------------------------------------------------


def _check(job: Job, draft: Draft) -> None:
    values = draft.values
    wrong = _disorder(draft)
    if wrong:
        _complain(
            job,
            draft,
            wrong,
            "Correct the sheet from the release (no documented repair fits)",
            "apex" if wrong.startswith("apex") else "offset",
        )
    if values.get("apex") is not None and values["apex"] == values.get("onset"):
        draft.notes.append("apex equals onset")
        job.report.note("apex equals onset: flow from onset to apex is zero", draft.id)
    emotion = values.get("emotion")
    if job.reader.labels and emotion is not None and not values.get("_free_label"):
        for part in emotion.split("+"):
            if part not in job.reader.labels:
                near = get_close_matches(part, job.reader.labels, n=1)
                hint = f"; nearest known: {near[0]}" if near else f"; known: {', '.join(job.reader.labels)}"
                _complain(
                    job,
                    draft,
                    f"unknown label {values.get('emotion_raw')!r}{hint}",
                    "Write the label as the release does",
                    "emotion",
                )
    if "_objective" in values:
        try:
            values["objective"] = read_objective(values["_objective"])
        except UnknownLabel as error:
            _complain(job, draft, str(error), "Restore the cell from the release sheet", "objective")


def _row(job: Job, draft: Draft) -> dict[str, Any]:
    values = {k: v for k, v in draft.values.items() if not k.startswith("_")}
    for column in _FRAMES:
        known = values.get(column) is not None
        values.setdefault(f"{column}_source", "annotated" if known else "unknown")
    coding = parse(values.get("aus_raw"))
    if coding is not None:
        if coding.units or coding.alternatives:
            values["aus"] = str(coding)
        if coding.unparsed:
            draft.notes.append("AU text partly not understood")
            job.report.note("AU text partly not understood, raw text kept", f"{draft.id} {values['aus_raw']!r}")
    values.setdefault("fps", job.reader.fps)
    return {
        **values, "id": draft.id, "dataset": job.reader.name, "subject": draft.subject, "clip": draft.clip,
        "kind": draft.kind, "note": "; ".join(draft.notes) or None,
    }  # fmt: skip


def _compare(job: Job, manifest: Manifest) -> None:
    """Note where the counts are not the published ones."""
    published = job.reader.published.get(job.version) or job.reader.published.get("")
    if published is None:
        return
    table = manifest.table
    if published.rows and job.report.read not in published.rows:
        known = ", ".join(map(str, published.rows))
        remark = f"the sheet has {job.report.read} rows; versions with {known} rows are known"
        job.report.note(remark)
        if job.strict:
            job.problems.add(job.root, remark, "Use a release sheet, or read without strict")
    found = Counter(table["emotion"].dropna())
    for name, number in published.emotions.items():
        if found.get(name, 0) != number:
            job.report.note(f"{name}: {found.get(name, 0)} clips, {number} published")
    if published.objective:
        classes = [int((table["objective"] == n).sum()) for n in range(1, 8)]
        if classes != list(published.objective):
            job.report.note(f"objective classes I..VII: {classes}, published {list(published.objective)}")
    if published.subjects is not None and table["subject"].nunique() != published.subjects:
        job.report.note(f"{table['subject'].nunique()} subjects, {published.subjects} published")
