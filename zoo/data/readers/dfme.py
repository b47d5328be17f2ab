"""DFME: the challenge workbooks (training, test A, test B), frames counted from 0, three frame rates."""

from __future__ import annotations

from zoo.data.readers._base import Draft, Job, Published, Reader, aus_of, emotion_of, folder_index
from zoo.data.sheets import as_text
from zoo.errors import DataError

_IDS = ("anger", "contempt", "disgust", "fear", "happiness", "sadness", "surprise")
_PARTS = {"train": "training*.xlsx", "testA": "testA*.xlsx", "testB": "testB*.xlsx"}


def _draft(job: Job) -> list[Draft]:
    index = folder_index(job.base())
    books = {}
    for part, pattern in _PARTS.items():
        if job.sheet is not None:
            books = {
                next((p for p in _PARTS if job.sheet.name.casefold().startswith(p.casefold())), "train"): job.sheet
            }
            break
        try:
            books[part] = job.find_file(f"workbook of {part}", "sheet", pattern)
        except DataError as error:
            if "files could be" in str(error):
                raise
            job.report.note(f"no workbook of {part} ({pattern})")
    if not books:
        raise DataError(
            f"{job.root}: none of {', '.join(_PARTS.values())} is there. Copy the workbooks of the challenge "
            "there, or name one with sheet=FILE."
        )
    drafts: list[Draft] = []
    home: dict[str, str] = {}
    for part, path in books.items():
        sheet = job.table(
            path, {"subject": ["Subject"], "filename": ["Filename"], "onset": ["OnsetFrame"], "apex": ["ApexFrame"],
                   "offset": ["OffsetFrame"], "emotion": ["Emotion"], "fps": ["Fps"], "aus": ["AU"]},
            optional={"id": ["EmotionId"]},
        )  # fmt: skip
        for row in sheet.rows:
            subject, clip = job.person(sheet, row, "sub{:04d}"), sheet.text(row, "filename")
            if home.setdefault(subject, part) != part:
                sheet.complain(
                    row,
                    "subject",
                    f"{subject} is in {part} and in {home[subject]}; the parts share nobody",
                    "Give the workbooks as released",
                )
            values = {
                "onset": sheet.frame(row, "onset"), "apex": sheet.frame(row, "apex", missing=("/", "", -1)),
                "offset": sheet.frame(row, "offset"), "split": part, **emotion_of(row["emotion"]), **aus_of(row["aus"]),
                **job.origin(sheet, row), "fps": sheet.frame(row, "fps"),
            }  # fmt: skip
            number = as_text(row["id"])
            if number and (
                not number.isdecimal() or int(number) >= len(_IDS) or _IDS[int(number)] != values["emotion"]
            ):
                sheet.complain(
                    row,
                    "id",
                    f"EmotionId {number} and Emotion {row['emotion']!r} disagree",
                    "Restore the row from the release",
                )
            drafts.append(
                Draft(
                    clip,
                    subject,
                    clip,
                    position=row.position,
                    values=values,
                    folders=index.get(clip.casefold()) or [(clip,)],
                )
            )
    return drafts


READERS = (
    Reader(
        name="dfme", title="DFME", family="micro", draft=_draft,
        layout="training_full_with_AU.xlsx, testA_..., testB_... beside one folder per sample, sub0003_01, at any "
               "level",
        variants={"frames": ("frames", "")}, labels=_IDS,
        published={"": Published(rows=(2629, 1856, 474, 299), subjects=259, emotions={
            "anger": 241, "contempt": 171, "disgust": 735, "fear": 365, "happiness": 311, "sadness": 359,
            "surprise": 447})},
        licence="form: https://mea-lab-421.github.io",
    ),
)  # fmt: skip
