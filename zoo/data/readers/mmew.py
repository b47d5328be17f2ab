"""MMEW: micro-expression clips (and macro stills), folders by emotion or by person, frames counted within the clip."""

from __future__ import annotations

from zoo.data.frames import IMAGES, Folders
from zoo.data.readers._base import Draft, Job, Published, Reader, aus_of, emotion_of, folder_index, subject_number


def _draft(job: Job) -> list[Draft]:
    sheet = job.table(
        job.find_sheet("MMEW_Micro_Exp*.xlsx", "MMEW_Micro_Exp*.xls"),
        {"subject": ["Subject"], "filename": ["Filename"], "onset": ["OnsetFrame"], "apex": ["ApexFrame"],
         "offset": ["OffsetFrame"], "aus": ["Action Units"], "emotion": ["Estimated Emotion"]},
        optional={"remarks": ["remarks"]},
    )  # fmt: skip
    index = folder_index(job.base())
    drafts = []
    for row in sheet.rows:
        subject, clip = job.person(sheet, row, "S{:02d}"), sheet.text(row, "filename")
        values = {
            "onset": sheet.frame(row, "onset"), "apex": sheet.frame(row, "apex", missing=("/", "", 0, -1)),
            "offset": sheet.frame(row, "offset"), **emotion_of(row["emotion"]), **aus_of(row["aus"]),
            **job.origin(sheet, row),
        }  # fmt: skip
        places = index.get(clip.casefold(), [])
        draft = Draft(clip, subject, clip, position=row.position, values=values, folders=places or [(clip,)])
        # the folder `repression` is the sheet's `others`; the sheet wins wherever they differ
        if places and len(places[0]) > 1:
            classes = {p.casefold() for p in places[0][:-1]}
            told = {values["emotion"], "repression"} if values["emotion"] == "others" else {values["emotion"]}
            if not told & classes and any(subject_number(p) is None for p in places[0][:-1]):
                job.report.note("class folder and sheet disagree, the sheet wins", clip)
        drafts.append(draft)
    if job.options["macro"] == "yes":
        drafts += _macro(job)
        job.report.read = len(drafts)
    return drafts


def _macro(job: Job) -> list[Draft]:
    folders = Folders(job.root)
    top = folders.find("Macro_Expression")
    drafts = []
    for person in folders.names(top).values() if top else ():
        for emotion in folders.names(top / person).values() if top else ():
            assert top is not None
            for file in sorted((top / person / emotion).iterdir()):
                if file.suffix.lower() in IMAGES and not file.name.startswith("."):
                    drafts.append(
                        Draft(
                            f"{file.stem}_macro",
                            f"S{subject_number(person) or 0:02d}",
                            file.stem,
                            "image",
                            values={
                                "path": file.relative_to(job.root).as_posix(),
                                "fps": None,
                                "_free_label": True,
                                **emotion_of(emotion),
                            },
                        )
                    )
    return drafts


READERS = (
    Reader(
        name="mmew", title="MMEW", family="micro", draft=_draft, fps=90,
        layout="MMEW_Micro_Exp.xlsx beside Micro_Expression/<emotion>/S01-01-001/1.jpg and "
               "Macro_Expression/S01/anger/S01-07-001.jpg",
        variants={"cropped": ("Micro_Expression", "MMEW_Final/Micro_Expression")},
        options={"macro": ("no", "yes")},
        clipped=frozenset({33, *range(35, 43), 142, 143, 145, 146, 148, 154, 156}),
        labels=("surprise", "disgust", "others", "happiness", "fear", "sadness", "anger"),
        published={"": Published(rows=(300,), subjects=30, emotions={
            "surprise": 89, "disgust": 72, "others": 66, "happiness": 36, "fear": 16, "sadness": 13, "anger": 8})},
        licence="signed form: http://www.dpailab.com/database.html",
    ),
)  # fmt: skip
