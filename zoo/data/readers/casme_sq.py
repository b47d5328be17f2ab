"""CAS(ME)^2: a workbook of three sheets without headers, long videos, offsets that were not visible."""

from __future__ import annotations

import re

from zoo.data.frames import Folders
from zoo.data.manifest import Change
from zoo.data.readers._base import Draft, Job, Published, Reader, aus_of, emotion_of, subject_number
from zoo.data.sheet_files import load
from zoo.data.sheets import as_text, is_number, read_headerless
from zoo.errors import DataError

_COLUMNS = ("subject", "clip", "onset", "apex", "offset", "aus", "emotion", "kind", "report")
_KINDS = {"macro-expression": "macro", "micro-expression": "micro"}
_CODE = re.compile(r"(\d+)_(\d{4})")


def _whole(cell: object) -> int:
    """A cell that passed ``is_number``, also the text ``1.0``."""
    return int(float(as_text(cell)))


def _is_kind(cell: object) -> bool:
    return as_text(cell).casefold() in _KINDS


def _draft(job: Job) -> list[Draft]:
    path = job.find_sheet("CAS(ME)^2code_final*.xlsx", "code_final*.xlsx", "CAS(ME)^2code_final*.xls")
    names = list(load(path))
    if len(names) < 3:
        raise DataError(
            f"{path}: the workbook has {len(names)} sheet, three are wanted (codes, naming rule1, naming rule2). "
            "Give the workbook as released."
        )
    codes = read_headerless(
        path,
        _COLUMNS,
        sheet=names[0],
        problems=job.problems,
        checks={"subject": is_number, "onset": is_number, "apex": is_number, "offset": is_number, "kind": _is_kind},
    )
    people = read_headerless(
        path,
        ("number", "folder", "index"),
        sheet=names[1],
        problems=job.problems,
        checks={"number": is_number, "folder": lambda c: subject_number(c) is not None, "index": is_number},
    )
    videos = read_headerless(
        path,
        ("code", "name"),
        sheet=names[2],
        problems=job.problems,
        checks={"code": is_number, "name": lambda c: bool(as_text(c))},
    )
    folder_of = {_whole(r["index"]): as_text(r["folder"]) for r in people.rows}
    code_of = {as_text(r["name"]).casefold(): f"{_whole(r['code']):04d}" for r in videos.rows}
    base = job.base()
    folders = Folders(base) if base else None
    drafts, used = [], set()
    for row in codes.rows:
        index, clip = _whole(row["subject"]), codes.text(row, "clip")
        video = clip.rpartition("_")[0].casefold()
        if index not in folder_of or video not in code_of:
            column, sheet = ("subject", "naming rule1") if index not in folder_of else ("clip", "naming rule2")
            codes.complain(
                row, column, f"{row[column]!r} is not in the sheet {sheet!r}", "Give the workbook as released"
            )
            continue
        subject = folder_of[index]
        values = {
            "onset": codes.frame(row, "onset"), "apex": codes.frame(row, "apex", missing=(0,)),
            "offset": codes.frame(row, "offset"), **emotion_of(row["emotion"]), **aus_of(row["aus"]),
            **job.origin(codes, row),
        }  # fmt: skip
        draft = Draft(
            f"{subject}_{clip}",
            subject,
            clip,
            _KINDS[as_text(row["kind"]).casefold()],
            row.position,
            values,
            window=True,
            folders=[(subject, f"{subject_number(subject)}_{code_of[video]}")],
        )
        if folders is not None:
            place = _video(job, folders, subject, code_of[video])
            if place:
                draft.folders = [place]
                used.add(place)
        if values["apex"] is None:
            job.report.note("apex is 0, that is not coded", draft.id)
        if values["offset"] == 0 and job.repair == "documented":
            values["offset"], values["offset_source"] = values["apex"], "imputed"
            change = Change(draft.id, "offset", "0", as_text(values["apex"]), "convention of the baselines: the apex")
            job.report.repaired.append(change)
            job.report.note("offset is 0, that was not visible: the apex stands for it", draft.id)
        drafts.append(draft)
    if folders is not None:
        _note_silent(job, folders, used)
    return drafts


def _video(job: Job, folders: Folders, subject: str, code: str) -> tuple[str, str] | None:
    """The video folder of a person by the four digits of its code; the folder above says who it is."""
    parent = folders.find(subject)
    for name in folders.names(parent).values() if parent else ():
        match = _CODE.match(name)
        if match and match[2] == code:
            remark = "video folder named after another person, the folder above is trusted"
            known = job.report.notes.get(remark, [])
            if int(match[1]) != subject_number(subject) and f"{subject}/{name}" not in known:
                job.report.note(remark, f"{subject}/{name}")
            return subject, name
    return None


def _note_silent(job: Job, folders: Folders, used: set[tuple[str, str]]) -> None:
    seen = {(s.casefold(), v.casefold()) for s, v in used}
    for subject in folders.names(folders.root).values():
        for name in folders.names(folders.root / subject).values():
            if (subject.casefold(), name.casefold()) not in seen:
                job.report.note("video without annotation (negative for spotting)", f"{subject}/{name}")


READERS = (
    Reader(
        name="casme_sq", title="CAS(ME)^2", family="micro", draft=_draft, fps=30,
        layout="CAS(ME)^2code_final.xlsx beside rawpic/s15/15_0101disgustingteeth/img001.jpg or "
               "longVideoFaceCropped/s15/15_0101disgustingteeth/img_1.jpg",
        variants={"cropped": ("longVideoFaceCropped", "longVideoFaceCropped/longVideoFaceCropped"),
                  "raw": ("rawpic", "rawpic/rawpic")},
        labels=("negative", "others", "positive", "surprise"),
        published={"": Published(rows=(357,), subjects=22, emotions={
            "negative": 126, "others": 82, "positive": 124, "surprise": 25})},
        licence="signed form: http://casme.psych.ac.cn/casme/e3",
    ),
)  # fmt: skip
