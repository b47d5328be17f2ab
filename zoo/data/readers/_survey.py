"""One order for every data set: read, find frames, correct, check, count; problems are collected, then raised once."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, get_args

from zoo.data.corrections import corrections
from zoo.data.manifest import Manifest, Report
from zoo.data.problems import Problems
from zoo.data.readers._base import Draft, Frames, Job, Missing, Reader, Repair, choice, complain
from zoo.data.readers._disk import KEY_FRAMES, correct, disorder, find_frames, fit_to_disk
from zoo.errors import DataError
from zoo.facs.coding import parse
from zoo.facs.emotions import UnknownLabel, read_objective


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
        reader, root, choice("version", version, reader.versions), variant, _options(reader, options),
        Path(sheet) if sheet else None, repair, missing, frames, tuple(skip), strict,
    )  # fmt: skip
    for name, value, known in (("repair", repair, Repair), ("missing", missing, Missing), ("frames", frames, Frames)):
        choice(name, value, get_args(known))
    job.report.dataset, job.report.version = reader.name, job.version
    drafts = reader.draft(job)
    job.report.read = job.report.read or len(drafts)
    drafts = _unique(job, drafts)
    if frames == "require" and reader.variants:
        drafts = find_frames(job, drafts)
    for correction in corrections(reader.name) if repair == "documented" else ():
        correct(job, drafts, correction)
    for draft in drafts:
        if draft.frames is not None:
            fit_to_disk(job, draft)
        _check(job, draft)
    drafts = [d for d in drafts if not d.values.get("_drop")]
    rows = [_row(job, draft) for draft in drafts]
    manifest = Manifest.from_rows(rows, job.report)
    _compare(job, manifest)
    return Survey(manifest, job.problems, reader, job.version)


def _options(reader: Reader, given: Mapping[str, str] | None) -> dict[str, str]:
    given = given or {}
    stray = sorted(set(given) - set(reader.options))
    if stray:
        raise DataError(f"{reader.name} has no option {', '.join(stray)}; it has {', '.join(reader.options) or 'none'}")
    return {name: choice(name, given.get(name), choices) for name, choices in reader.options.items()}


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
                complain(
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


# ------------------------------------------------------------------------------------------------------------


def _check(job: Job, draft: Draft) -> None:
    values = draft.values
    wrong = disorder(draft)
    if wrong:
        complain(
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
                complain(
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
            complain(job, draft, str(error), "Restore the cell from the release sheet", "objective")


def _row(job: Job, draft: Draft) -> dict[str, Any]:
    values = {k: v for k, v in draft.values.items() if not k.startswith("_")}
    for column in KEY_FRAMES:
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
