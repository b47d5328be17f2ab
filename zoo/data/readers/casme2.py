"""CASME II: two versions of the coding sheet, a separate workbook of objective classes, unpadded frame names."""

from __future__ import annotations

from pathlib import Path

from zoo.data.readers._base import Draft, Job, Published, Reader, aus_of, emotion_of
from zoo.data.sheets import as_text, is_number
from zoo.errors import DataError


def _objective_workbook(job: Job) -> Path | None:
    choice = job.options["objective"]
    if choice == "sheet":
        return None
    try:
        return job.find_file(
            "workbook of objective classes", "objective", "CASME2-ObjectiveClasses.xlsx", "*objective*class*.xlsx"
        )
    except DataError:
        if choice == "workbook":
            raise
        return None


def _draft(job: Job) -> list[Draft]:
    sheet = job.table(
        job.find_sheet(f"CASME2-coding-{job.version}.xlsx", f"CASME2*{job.version}*.xlsx",
        f"CASME2*{job.version}*.xls"),
        {"subject": ["Subject"], "filename": ["Filename"], "onset": ["OnsetFrame"], "apex": ["ApexFrame"],
         "offset": ["OffsetFrame"], "aus": ["Action Units"], "emotion": ["Estimated Emotion"]},
        optional={"objective": ["Objective Classes", "Objective Class"]},
    )  # fmt: skip
    classes: dict[tuple[str, str], object] = {}
    workbook = _objective_workbook(job)
    if workbook:
        table = job.table(
            workbook, {"subject": ["Subject"], "filename": ["Filename"], "objective": ["Objective Class",
            "Objective Classes"]},
            valid=is_subject,
        )  # fmt: skip
        classes = {(job.person(table, r, "sub{:02d}"), table.text(r, "filename")): r["objective"] for r in table.rows}
        job.report.note(f"objective classes from {workbook.name}")
    drafts = []
    for row in sheet.rows:
        subject, clip = job.person(sheet, row, "sub{:02d}"), sheet.text(row, "filename")
        values = {
            "onset": sheet.frame(row, "onset"), "apex": sheet.frame(row, "apex", missing=("/", "", 0, -1)),
            "offset": sheet.frame(row, "offset"), **emotion_of(row["emotion"]), **aus_of(row["aus"]),
            **job.origin(sheet, row),
        }  # fmt: skip
        objective = classes.get((subject, clip)) if workbook else row["objective"]
        if as_text(objective):
            values["_objective"] = objective
            if workbook and as_text(row["objective"]) not in ("", as_text(objective)):
                job.report.note("objective class of the coding sheet differs from the workbook's", f"{subject}/{clip}")
        elif workbook:
            job.report.note("not in the workbook of objective classes", f"{subject}/{clip}")
        draft = Draft(
            f"{subject}_{clip}", subject, clip, position=row.position, folders=[(subject, clip)], values=values
        )
        if values["apex"] is None and as_text(row["apex"]):
            draft.notes.append(f"apex not coded ({as_text(row['apex'])})")
            job.report.note("apex not coded: choose midpoint, spot or drop", draft.id)
        elif values["apex"] is not None and values["apex"] == values["offset"]:
            job.report.note("apex equals offset", draft.id)
        drafts.append(draft)
    known = {(d.subject, d.clip) for d in drafts}
    stray = sorted(set(classes) - known)
    for subject, clip in stray:
        job.report.note("in the workbook of objective classes, but not in the coding sheet", f"{subject}/{clip}")
    return drafts


def is_subject(cell: object) -> bool:
    """Whether a cell is a number or ``subNN``."""
    return is_number(as_text(cell).casefold().removeprefix("sub"))


_EMOTIONS = {"others": 99, "disgust": 63, "happiness": 32, "repression": 27, "fear": 2}
READERS = (
    Reader(
        name="casme2", title="CASME II", family="micro", draft=_draft, fps=200, versions=("20140508", "20190701"),
        layout="CASME2-coding-20140508.xlsx (or 20190701), optionally CASME2-ObjectiveClasses.xlsx, beside "
               "Cropped/sub01/EP02_01f/reg_img46.jpg, CASME2_RAW_selected/... or CASME2-RAW/sub01/EP02_01f/img1.jpg",
        variants={"cropped": ("Cropped", "Cropped/Cropped"),
                  "selected": ("CASME2_RAW_selected", "CASME2-RAW_selected", "CASME2_RAW_selected/CASME2_RAW_selected"),
                  "raw": ("CASME2-RAW", "CASME2_RAW", "CASME2-RAW/CASME2-RAW")},
        options={"objective": ("auto", "workbook", "sheet")},
        labels=("others", "disgust", "happiness", "repression", "surprise", "sadness", "fear"),
        published={
            "20140508": Published(rows=(246, 247, 255, 256), subjects=26, objective=(25, 15, 99, 26, 20, 1, 69),
                                  emotions={**_EMOTIONS, "surprise": 25, "sadness": 7}),
            "20190701": Published(rows=(246, 247, 255, 256), subjects=26, objective=(30, 18, 93, 15, 18, 2, 79),
                                  emotions={**_EMOTIONS, "surprise": 28, "sadness": 4}),
        },
        licence="signed form: http://casme.psych.ac.cn/casme/e2",
    ),
)  # fmt: skip
