"""CAS(ME)^3, parts A and C: numbers stored as text, gaps in the frames, upper and lower case mixed."""

from __future__ import annotations

from zoo.data.readers._base import Draft, Job, Published, Reader, aus_of, emotion_of
from zoo.data.sheets import Row, Sheet, has_text, is_number

_FRAMES = {"onset": ["Onset"], "apex": ["Apex"], "offset": ["Offset"]}


def _places(job: Job, subject: str, video: str, onset: object) -> list[tuple[str, ...]]:
    """Whole videos (subject/video/color) or cut clips (subject_video_onset)."""
    clip = f"{subject}_{video}_{onset}"
    pictures = "depth" if job.variant in ("depth", "clip_depth") else "color"
    return [(clip,)] if job.variant in ("clip", "clip_depth") else [(subject, video, pictures), (clip,)]


def _one(job: Job, sheet: Sheet, row: Row, kind: str) -> Draft:
    subject, video = job.person(sheet, row, "spNO.{}"), sheet.text(row, "filename")
    onset = sheet.frame(row, "onset")
    values = {
        "onset": onset, "apex": sheet.frame(row, "apex", missing=("/", "", -1)), "offset": sheet.frame(row, "offset"),
        **emotion_of(row["emotion"]), **aus_of(row["aus"]), **job.origin(sheet, row),
    }  # fmt: skip
    if kind == "micro" and "objective" in sheet.titles:
        values["_objective"] = row["objective"]
    tail = "" if kind == "micro" else "_macro"
    return Draft(
        f"{subject}_{video}_{onset}{tail}",
        subject,
        video,
        kind,
        row.position,
        values,
        _places(job, subject, video, onset),
        key=(subject, video, onset, kind),
        window=job.variant != "clip",
    )


def _draft(job: Job) -> list[Draft]:
    job.base()  # decides on the variant
    sheet = job.table(
        job.find_sheet(f"cas(me)3_part_A_ME_label_JpgIndex_{job.version}*.xls*"),
        {"subject": ["Subject"], "filename": ["Filename"], **_FRAMES, "aus": ["AU"], "emotion": ["emotion"]},
        optional={"objective": ["Objective class"]},
    )  # fmt: skip
    drafts = [_one(job, sheet, row, "micro") for row in sheet.rows]
    if job.options["macro"] == "yes":
        path = job.find_file(
            "sheet of macro-expressions", "macro", f"cas(me)3_part_A_MaE_label_JpgIndex_{job.version}*.xls*"
        )
        macro = job.table(
            path, {"subject": ["sub", "Subject"], "filename": ["seq", "Filename"], **_FRAMES, "emotion": ["emotion"]},
            optional={"aus": ["AU"]},
        )  # fmt: skip
        for row in macro.rows:
            draft = _one(job, macro, row, "macro")
            draft.values["_free_label"] = True  # macro-expressions have a vocabulary of their own
            drafts.append(draft)
    return drafts


def _draft_c(job: Job) -> list[Draft]:
    sheet = job.table(
        job.find_sheet("CAS(ME)3_part_C_ME*.xls*"),
        {"subject": ["sub"], "filename": ["count"], "onset": ["onset"], "offset": ["offset"], "aus": ["au"],
         "emotion": ["emotion"]}, valid=has_text,
    )  # fmt: skip
    drafts = []
    for row in sheet.rows:
        subject, count = sheet.text(row, "subject"), sheet.text(row, "filename")
        if is_number(row["subject"]):
            subject = f"spNO.{int(float(subject))}"
        values = {
            "onset": sheet.frame(row, "onset"),
            "offset": sheet.frame(row, "offset"),
            **emotion_of(row["emotion"]),
            **aus_of(row["aus"]),
            **job.origin(sheet, row),
        }
        drafts.append(
            Draft(
                f"{subject}_{count}_{values['onset']}",
                subject,
                count,
                "micro",
                row.position,
                values,
                [(subject, count, "color"), (sheet.text(row, "subject"), count, "color"), (subject, count)],
                key=(subject, count, values["onset"]),
                window=True,
            )
        )
    return drafts


_A = ("part_A/data/part_A", "data/part_A", "part_A/data", "part_A", "")
READERS = (
    Reader(
        name="casme3_a", title="CAS(ME)^3 part A", family="micro", draft=_draft, fps=30, versions=("v2", "v1"), gaps=10,
        layout="part_A/annotation/cas(me)3_part_A_ME_label_JpgIndex_v2.xlsx beside "
               "part_A/data/part_A/spNO.1/a/color/355.jpg "
               "or Part_A_ME_clip/frame/spNO.10_a_116/116.jpg",
        variants={"clip": ("Part_A_ME_clip/frame", "part_A/Part_A_ME_clip/frame"), "color": _A, "depth": _A,
                  "clip_depth": ("Part_A_ME_clip/depth", "part_A/Part_A_ME_clip/depth")},
        options={"macro": ("no", "yes")},
        labels=("disgust", "surprise", "others", "fear", "anger", "sadness", "happiness"),
        published={
            "v2": Published(rows=(860, 860 + 3346), subjects=94, objective=(15, 151, 234, 37, 47, 3, 373), emotions={
                "disgust": 250, "surprise": 187, "others": 161, "fear": 86, "anger": 64, "sadness": 57,
                "happiness": 55}),
            "v1": Published(rows=(921, 921 + 3285)),
        },
        licence="form: http://casme.psych.ac.cn/casme/e4",
    ),
    Reader(
        name="casme3_c", title="CAS(ME)^3 part C", family="micro", draft=_draft_c, fps=30, gaps=10,
        layout="part_C/CAS(ME)3_part_C_ME.xlsx beside part_C/ME_C/<sub>/<count>/color/",
        variants={"color": ("part_C/ME_C", "ME_C")}, labels=("negative", "surprise", "others", "positive"),
        published={"": Published(rows=(165,), subjects=30, emotions={
            "negative": 99, "surprise": 30, "others": 20, "positive": 16})},
        licence="form: http://casme.psych.ac.cn/casme/e4",
    ),
)  # fmt: skip
