"""Rows against the files on disk: find the frames, apply the documented corrections, repair what may be repaired."""

from __future__ import annotations

from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from zoo.data.corrections import Correction
from zoo.data.frames import Folders, list_frames, nearest
from zoo.data.manifest import Change
from zoo.data.readers._base import Draft, Job, base_folder, complain
from zoo.errors import DataError

KEY_FRAMES = ("onset", "apex", "offset")


def find_frames(job: Job, drafts: list[Draft]) -> list[Draft]:
    """Locate the frames of every row; rows without are complained about, or dropped and counted."""
    base = base_folder(job)
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
            complain(
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
                complain(job, draft, str(error), "The row needs its frames")
                frames = {}
            cache[folder] = _without_skipped(job, frames)
        draft.frames = cache[folder]
        draft.values["path"] = folder.relative_to(job.root).as_posix()
        if not draft.frames and job.missing == "drop":
            lost.append(draft.id)
            continue
        if not draft.frames:
            complain(
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
    if column in KEY_FRAMES:
        draft.values[f"{column}_source"] = mark if new is not None else "unknown"
    old_text, new_text = ("" if v is None else str(v) for v in (old, new))
    job.report.repaired.append(Change(draft.id, column, old_text, new_text, source))


def disorder(draft: Draft) -> str | None:
    """What is wrong with the order of onset, apex and offset, in words."""
    onset, apex, offset = (draft.values.get(c) for c in KEY_FRAMES)
    if onset is not None and offset is not None and offset < onset:
        return f"offset {offset} lies before onset {onset}"
    if apex is not None and onset is not None and apex < onset:
        return f"apex {apex} lies before onset {onset}"
    if apex is not None and offset is not None and apex > offset:
        return f"apex {apex} lies after offset {offset}"
    return None


def _off_disk(draft: Draft) -> bool:
    known = [draft.values[c] for c in KEY_FRAMES if draft.values.get(c) is not None]
    return bool(draft.frames) and any(n not in (draft.frames or {}) for n in known)


def correct(job: Job, drafts: list[Draft], c: Correction) -> None:
    """Apply one documented correction where key, old value and condition agree."""
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
        draft.values["_flagged"] = disorder(draft) is not None or _off_disk(draft)
    return bool(draft.values["_flagged"])


def fit_to_disk(job: Job, draft: Draft) -> None:
    """Compare a row's frame numbers with the files; repair what the spec allows, complain about the rest."""
    frames, values = draft.frames, draft.values
    if not frames:
        return
    numbers = list(frames)
    values["first_frame"], values["last_frame"], values["frame_count"] = numbers[0], numbers[-1], len(numbers)
    if values.get("onset") is None and values.get("offset") is None and not draft.window:
        values["onset"], values["offset"] = numbers[0], numbers[-1]
        values["onset_source"] = values["offset_source"] = "annotated"
    if disorder(draft):
        return  # reported by _check
    if job.repair == "documented" and job.reader.shifted and _off_disk(draft):
        onset, offset = values["onset"], values["offset"]
        known = onset is not None and offset is not None
        if known and all(n - 1 in frames for n in range(onset, offset + 1)):
            for column in KEY_FRAMES:
                if values.get(column) is not None:
                    _change(job, draft, column, values[column] - 1, "the clip's files are numbered one lower")
            return
    if values.get("_outside") and job.repair == "documented" and _off_disk(draft):
        values["_drop"] = True
        job.report.drop("the interval lies outside the frames of its clip (known fault)", [draft.id])
        return
    for column in KEY_FRAMES:
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
    complain(
        job,
        draft,
        f"{column} is frame {number}, but {folder} holds frames {numbers[0]} to {last}"
        + ("" if allowed or abs(near - number) > 2 else f" (nearest {near})"),
        "Restore the frame, or correct the sheet",
        column,
    )


# ------------------------------------------------------------------------------------------------------------
