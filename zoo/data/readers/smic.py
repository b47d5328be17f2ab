"""SMIC HS, VIS and NIR (class folders, no sheet) and SMIC-E (long clips with up to three expressions per sheet row)."""

from __future__ import annotations

import re
from pathlib import Path

from zoo.data.frames import Folders
from zoo.data.readers._base import Draft, Job, Published, Reader, subject_number
from zoo.data.sheets import Row, Sheet, as_text
from zoo.errors import DataError
from zoo.facs.emotions import canonical

_CLIP = re.compile(r"s0*(\d+)_(ne|po|sur)_0*(\d+)", re.IGNORECASE)
_CLASSES = {"ne": "negative", "po": "positive", "sur": "surprise"}


def clip_name(text: str) -> tuple[str, str, str] | None:
    """Canonical clip name, subject and class of ``s1_ne_01`` or ``s01_ne_01``: the name is the reliable class."""
    match = _CLIP.fullmatch(text.strip())
    if match is None:
        return None
    person, token, index = int(match[1]), match[2].lower(), int(match[3])
    return f"s{person:02d}_{token}_{index:02d}", f"s{person:02d}", _CLASSES[token]


def _order(draft: Draft) -> tuple[int, str, str]:
    return subject_number(draft.subject) or 0, draft.kind, draft.clip


def _clips(camera: str, job: Job) -> list[Draft]:
    if job.sheet is not None:
        return _from_list(job)
    base = job.base()
    if base is None:
        raise DataError(
            f"{job.root}: SMIC has no sheet, its folders are the annotation; read it with frames='require', or "
            "name a list of clips (Subject, Filename, OnsetF, OffsetF) with sheet=FILE"
        )
    folders = Folders(base)
    top = folders.find(camera)
    if top is None:
        raise DataError(f"{base}: no folder {camera!r}; {folders.similar(camera)}. Copy {job.reader.title} there.")
    drafts = []
    for person in folders.names(top).values():
        for sort in folders.names(top / person).values():
            micro = sort.casefold().replace("-", "_") == "micro"
            if not micro and job.options["non_micro"] == "no":
                continue
            for parts in _leaves(folders, top, (person, sort), 2):
                name = clip_name(parts[-1])
                if micro and name is None:
                    job.problems.add(
                        top.joinpath(*parts),
                        f"{parts[-1]!r} is not a clip name of SMIC",
                        "Name the folder like s1_ne_01, as released, or remove it",
                    )
                    continue
                number = subject_number(person)
                clip, subject, emotion = name if name and micro else (parts[-1], f"s{number or 0:02d}", None)
                draft = Draft(
                    clip,
                    subject,
                    clip,
                    "micro" if micro else "non_micro",
                    folders=[(camera, *parts)],
                    values={"emotion": emotion, "emotion_raw": emotion},
                )
                if micro and len(parts) > 3 and canonical(parts[-2]) != emotion:
                    draft.notes.append(f"folder says {parts[-2]}")
                    job.report.note("class folder and clip name disagree, the name wins", clip)
                drafts.append(draft)
    return sorted(drafts, key=_order)


def _leaves(folders: Folders, top: Path, parts: tuple[str, ...], depth: int) -> list[tuple[str, ...]]:
    """Folders without sub-folders below ``parts``."""
    names = folders.names(top.joinpath(*parts))
    if not names or not depth:
        return [parts]
    return [leaf for name in names.values() for leaf in _leaves(folders, top, (*parts, name), depth - 1)]


def _from_list(job: Job) -> list[Draft]:
    """A list of clips with onset and offset, as public code passes round; its apex, if any, is an estimate."""
    assert job.sheet is not None
    sheet = job.table(
        job.sheet, {"subject": ["Subject"], "filename": ["Filename", "Clip"], "onset": ["OnsetF", "Onset",
        "OnsetFrame"],
                    "offset": ["OffsetF", "Offset", "OffsetFrame"]},
        optional={"apex": ["ApexF", "Apex", "ApexFrame"]}, valid=_numeric,
    )  # fmt: skip
    drafts = []
    for row in sheet.rows:
        name = _named(sheet, row)
        if name is None:
            continue
        clip, subject, emotion = name
        apex = sheet.frame(row, "apex", missing=("/", "", 0, -1), required=False)
        person = clip.split("_")[0]
        values = {
            "onset": sheet.frame(row, "onset"),
            "apex": apex,
            "offset": sheet.frame(row, "offset"),
            "emotion": emotion,
            "emotion_raw": emotion,
            **job.origin(sheet, row),
        }
        if apex is not None:
            values["apex_source"] = "estimated"
        camera = job.reader.name.removeprefix("smic_").upper()
        token = {"negative": "negative", "positive": "positive", "surprise": "surprise"}[emotion]
        short = f"s{int(person[1:])}"
        raw = as_text(row["filename"])
        drafts.append(
            Draft(
                clip,
                subject,
                clip,
                position=row.position,
                values=values,
                folders=[(camera, who, "micro", token, what) for who in (short, person) for what in (raw, clip)],
            )
        )
    return drafts


def _numeric(cell: object) -> bool:
    return subject_number(cell) is not None


def _named(sheet: Sheet, row: Row) -> tuple[str, str, str] | None:
    name = clip_name(as_text(row["filename"]))
    if name is None:
        sheet.complain(row, "filename", f"{row['filename']!r} is not a clip name of SMIC", "Write it like s1_ne_01")
        return None
    number = subject_number(row["subject"])
    if number is not None and f"s{number:02d}" != name[1]:
        sheet.complain(row, "subject", f"subject {row['subject']!r}, but the clip is {name[0]}", "Restore the cell")
    return name


def _extended(camera: str, job: Job) -> list[Draft]:
    path = job.find_sheet(f"SMIC?{camera}?E_annotation*.xls*", f"SMIC?{camera}?E?annotation*.xls*")
    sheet = job.table(
        path,
        {"subject": ["Subject"], "filename": ["Filename"], "onset": ["OnsetF"], "offset": ["OffsetF"],
            "first": ["FirstF"]},
        optional={"onset2": ["Onset2F"], "offset2": ["Offset2F"], "onset3": ["Onset3F"], "offset3": ["Offset3F"],
                  "last": ["LastF"], "total": ["TotalVL"], "emotion": ["Emotion"]},
        sheet=_sheet_name(path, camera), valid=_numeric,
    )  # fmt: skip
    job.report.read = len(sheet.rows)
    drafts: list[Draft] = []
    for row in sheet.rows:
        name = _named(sheet, row)
        if name:
            drafts += _expressions(camera, job, sheet, row, name)
    return drafts


def _sheet_name(path: Path, camera: str) -> str | None:
    from zoo.data.sheet_files import load

    return camera if camera in load(path) else None


def _window(job: Job, sheet: Sheet, row: Row, clip: str) -> tuple[int | None, int | None]:
    """First and last frame of the long clip; unknown where the sheet says so in words."""
    first, last = as_text(row["first"]), as_text(row["last"])
    if not first.isdecimal():
        job.report.note(f"the clip's window is not known: {first or 'empty'!r}", clip)
        return None, None
    if last.isdecimal():
        return int(first), int(last)
    total = as_text(row["total"])
    if total.isdecimal():  # the sheets of VIS and NIR have no last frame, only the length
        return int(first), int(first) + int(total) - 1
    job.report.note("the clip's last frame is not known", clip)
    return int(first), None


def _expressions(camera: str, job: Job, sheet: Sheet, row: Row, name: tuple[str, str, str]) -> list[Draft]:
    clip, subject, emotion = name
    first, last = _window(job, sheet, row, clip)

    def inside(on: int, off: int) -> bool:
        return on <= off and (first is None or on >= first) and (last is None or off <= last)

    onset, offset = sheet.frame(row, "onset"), sheet.frame(row, "offset")
    if onset is None or offset is None:
        return []
    found = [(onset, offset)]
    for n in ("2", "3"):
        on_text, off_text = as_text(row["onset" + n]), as_text(row["offset" + n])
        if not on_text and not off_text:
            continue
        if not (on_text.isdecimal() and off_text.isdecimal()):
            job.report.note("further expression without whole frame numbers, ignored", f"{clip} #{n}")
        elif (pair := (int(on_text), int(off_text))) in found:
            job.report.note("further expression repeats another one, ignored", f"{clip} #{n}")
        elif not inside(*pair):  # formulas that were dragged along give frames before the clip begins
            job.report.note("further expression outside the clip, ignored", f"{clip} #{n}")
        else:
            found.append(pair)
    label = as_text(row["emotion"])
    if label and canonical(label) != emotion:
        job.report.note("label and clip name disagree, the name wins", f"{clip} ({label})")
    drafts = []
    for number, (on, off) in enumerate(sorted(found), 1):
        draft = Draft(
            f"{clip}_{number}", subject, clip, position=row.position, key=(subject, clip, on), window=True,
            values={"onset": on, "offset": off, "emotion": emotion, "emotion_raw": label or emotion,
                    **job.origin(sheet, row)},
            folders=[(camera, subject, clip), (camera, subject, as_text(row["filename"])), (subject, clip)],
        )  # fmt: skip
        if not inside(on, off):
            draft.notes.append(f"outside the clip's window {first}..{last}")
            draft.values["_outside"] = True
            job.report.note("interval outside the clip's window: a wrong window in the sheet", draft.id)
        drafts.append(draft)
    return drafts


def _reader(camera: str, published: Published) -> Reader:
    return Reader(
        name=f"smic_{camera.lower()}", title=f"SMIC {camera}", family="micro", draft=lambda job: _clips(camera, job),
        fps=100 if camera == "HS" else 25, shifted=True, published={"": published},
        layout=f"SMIC_all_cropped/{camera}/s1/micro/negative/s1_ne_01/reg_image562560.bmp or SMIC_all_raw/{camera}/...",
        variants={"cropped": ("SMIC_all_cropped", "SMIC_all_cropped/SMIC_all_cropped"),
                  "raw": ("SMIC_all_raw", "SMIC_all_raw/SMIC_all_raw")},
        options={"non_micro": ("no", "yes")}, labels=("negative", "positive", "surprise"),
        licence="University of Oulu, signed by permanent staff",
    )  # fmt: skip


def _reader_e(camera: str, published: Published) -> Reader:
    top = f"{camera}_long/SMIC-{camera}-E"
    return Reader(
        name=f"smic_e_{camera.lower()}", title=f"SMIC-E {camera}", family="micro",
        draft=lambda job: _extended(camera, job),
        fps=100 if camera == "HS" else 25, shifted=True, published={"": published},
        layout=f"SMIC-{camera}-E_annotation.xlsx and SMIC-E_raw image/{top}/{camera}/s01/s01_ne_01/image559740.jpg",
        variants={"raw": (f"SMIC-E_raw image/{top}", top, f"SMIC-{camera}-E")},
        labels=("negative", "positive", "surprise"), licence="University of Oulu, signed by permanent staff",
    )  # fmt: skip


_HS = Published(rows=(164,), subjects=16, emotions={"negative": 70, "positive": 51, "surprise": 43})
_SLOW = Published(rows=(71,), subjects=8, emotions={"negative": 23, "positive": 28, "surprise": 20})
READERS = (
    _reader("HS", _HS), _reader("VIS", _SLOW), _reader("NIR", _SLOW),
    _reader_e("HS", Published(rows=(157, 162))), _reader_e("VIS", Published(rows=(71,))),
    _reader_e("NIR", Published(rows=(71,))),
)  # fmt: skip
