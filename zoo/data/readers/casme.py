"""CASME: several expressions per clip, frame names with and without padding, two apex columns."""

from __future__ import annotations

from zoo.data.readers._base import Draft, Job, Published, Reader, aus_of, emotion_of


def _draft(job: Job) -> list[Draft]:
    sheet = job.table(
        job.find_sheet("casme.xlsx", "casme.xls"),
        {"subject": ["Subject"], "filename": ["Filename"], "onset": ["OnsetF"], "apex": ["ApexF1"],
            "emotion": ["Emotion"]},
        optional={"apex2": ["ApexF2"], "offset": ["OffsetF"], "aus": ["AU"]},
    )  # fmt: skip
    drafts = []
    for row in sheet.rows:
        subject, clip = job.person(sheet, row, "sub{:02d}"), sheet.text(row, "filename")
        onset = sheet.frame(row, "onset")
        draft = Draft(
            f"{subject}_{clip}_{onset}", subject, clip, position=row.position, key=(subject, clip, onset),
            folders=[(subject, clip)], window=True,
            values={
                "onset": onset, "apex": sheet.frame(row, "apex", missing=("/", "", 0)),
                "offset": sheet.frame(row, "offset", required="offset" in sheet.titles),
                **emotion_of(row["emotion"]), **aus_of(row["aus"]), **job.origin(sheet, row),
            },
        )  # fmt: skip
        second = sheet.frame(row, "apex2", missing=("/", "", 0), required=False)
        if second is not None:
            draft.notes.append(f"second apex {second}")
            job.report.note("held expression with a second apex", draft.id)
        drafts.append(draft)
    for missing in {"offset", "aus"} - set(sheet.titles):
        job.report.note(f"this copy of the sheet has no column for {missing}")
    return drafts


READERS = (
    Reader(
        name="casme", title="CASME", family="micro", draft=_draft, fps=60,
        layout="casme.xlsx beside CASME_raw_selected/sub01/EP01_12/EP01_12-73.jpg or "
               "Cropped/sub01/EP01_12/reg_EP01_12-73.jpg",
        variants={"cropped": ("Cropped",), "raw": ("CASME_raw_selected", "CASME-raw_selected")},
        labels=("tense", "disgust", "repression", "surprise", "happiness", "sadness", "contempt", "fear"),
        published={"": Published(rows=(189,), subjects=18, emotions={
            "tense": 68, "disgust": 45, "repression": 39, "surprise": 20, "happiness": 7, "sadness": 6, "contempt": 2,
            "fear": 2})},
        licence="signed form, academic use: http://casme.psych.ac.cn/casme/e1",
    ),
)  # fmt: skip
