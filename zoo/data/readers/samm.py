"""SAMM (micro-expressions) and SAMM Long Videos (the same events inside long videos, numbered differently)."""

from __future__ import annotations

from collections import Counter

from zoo.data.manifest import Manifest, Report
from zoo.data.readers._base import Draft, Job, Published, Reader, aus_of, emotion_of, subject_number
from zoo.data.sheets import Rounding, Row, Sheet, as_text, is_number
from zoo.errors import DataError


def _file(sheet: Sheet, row: Row, subject: str) -> str:
    """Filename ``006_1_2``; a tool may have eaten the zeros."""
    text = sheet.text(row, "filename")
    parts = text.split("_")
    if len(parts) != 3 or not all(p.isdecimal() for p in parts):
        sheet.complain(row, "filename", f"{text!r} is not subject_video_number", "Write it like 006_1_2")
        return text
    if subject and int(parts[0]) != int(subject):
        sheet.complain(
            row, "subject", f"subject {subject}, but the clip is {text}", "Restore the cell from the release"
        )
    return f"{int(parts[0]):03d}_{int(parts[1])}_{int(parts[2])}"


def _draft(job: Job) -> list[Draft]:
    sheet = job.table(
        job.find_sheet("SAMM_Micro_FACS_Codes*.xlsx", "SAMM_Micro*.xls*"),
        {"subject": ["Subject"], "filename": ["Filename"], "onset": ["Onset Frame", "Onset"],
         "apex": ["Apex Frame", "Apex"], "offset": ["Offset Frame", "Offset"], "aus": ["Action Units"],
         "emotion": ["Estimated Emotion"]},
        optional={"objective": ["Objective Classes", "Objective Class"], "inducement": ["Inducement Code"],
                  "duration": ["Duration"], "micro": ["Micro"], "notes": ["Notes"]},
        valid=is_number,
    )  # fmt: skip
    drafts = []
    for row in sheet.rows:
        subject = job.person(sheet, row, "{:03d}")
        clip = _file(sheet, row, subject)
        values = {
            "onset": sheet.frame(row, "onset"), "apex": sheet.frame(row, "apex", missing=("/", "", 0, -1)),
            "offset": sheet.frame(row, "offset"), **emotion_of(row["emotion"]), **aus_of(row["aus"]),
            **job.origin(sheet, row),
        }  # fmt: skip
        if "objective" in sheet.titles:
            values["_objective"] = row["objective"]
        drafts.append(Draft(clip, subject, clip, position=row.position, folders=[(subject, clip)], values=values))
    return drafts


def _draft_long(job: Job) -> list[Draft]:
    sheet = job.table(
        job.find_sheet(f"SAMM_LongVideos_{job.version}_Release.xlsx", f"SAMM*Long*{job.version}*.xls*"),
        {"subject": ["Subject"], "filename": ["Filename"], "onset": ["Onset", "Onset Frame"],
         "apex": ["Apex", "Apex Frame"], "offset": ["Offset", "Offset Frame"], "type": ["Type"],
         "aus": ["Action Units"]},
        optional={"inducement": ["Inducement Code"], "duration": ["Duration"], "notes": ["Notes"]},
        valid=is_number,
    )  # fmt: skip
    rounding: Rounding = "half_up" if job.options["rounding"] == "half_up" else "floor"
    drafts, lost = [], []
    for row in sheet.rows:
        subject = job.person(sheet, row, "{:03d}")
        clip = _file(sheet, row, subject)
        text = as_text(row["type"]).casefold()
        kind = "micro" if text.startswith("micro") else "macro" if text.startswith("macro") else ""
        if not kind:
            sheet.complain(row, "type", f"{row['type']!r} is neither Macro nor Micro - 1/2", "Restore the cell")
            continue
        apex_text = as_text(row["apex"])
        unknown = apex_text.startswith("-")  # -1 in V2, impossible negative numbers in V1
        values = {
            "onset": sheet.frame(row, "onset", rounding=rounding),
            "apex": None if unknown else sheet.frame(row, "apex", missing=("/", "", 0), rounding=rounding),
            "offset": sheet.frame(row, "offset", rounding=rounding), **aus_of(row["aus"]), **job.origin(sheet, row),
        }  # fmt: skip
        draft = Draft(
            f"{clip}_{kind}",
            subject,
            clip,
            kind,
            row.position,
            values,
            [("_".join(clip.split("_")[:2]),)],
            key=(clip, kind),
            window=True,
        )
        if any("." in as_text(row[c]) for c in ("onset", "apex", "offset")):
            job.report.note(f"fractional frame numbers, rounded ({rounding})", draft.id)
        if values["apex"] is None:
            job.report.note("apex not coded", draft.id)
        if values["onset"] == 0:
            if job.options["unknown_onset"] == "drop":
                lost.append(draft.id)
                continue
            values["onset_source"] = "unknown"
            draft.notes.append("onset not known (0)")
            job.report.note("onset is 0, that is not known; kept", draft.id)
        drafts.append(draft)
    job.report.read = len(sheet.rows)
    job.report.drop("onset is 0, that is not known", lost)
    return drafts


def join_emotions(long: Manifest, samm: Manifest) -> Manifest:
    """SAMM Long Videos with the emotions and objective classes of SAMM: all micros agree in their file name.

    Frame numbers are not carried over: they differ by a constant per video, see :func:`numbering_offsets`.

    Raises:
        DataError: a micro of the long videos is not in SAMM.
    """
    table, source = long.table.copy(), samm.table.set_index("clip")
    micro = table["kind"] == "micro"
    strange = sorted(set(table.loc[micro, "clip"]) - set(source.index))
    if strange:
        raise DataError(
            f"{len(strange)} micro-expressions of the long videos are not in SAMM, first {strange[0]}; "
            "read both from their full release sheets"
        )
    for column in ("emotion", "emotion_raw", "objective"):
        table.loc[micro, column] = table.loc[micro, "clip"].map(source[column])
    report = Report(dataset="join", read=len(table))
    report.note(f"emotions of {int(micro.sum())} micro-expressions from SAMM; macro-expressions have none")
    return Manifest(table, [*long.reports, report])


def numbering_offsets(long: Manifest, samm: Manifest) -> dict[str, int]:
    """Per video, what to add to a long-video frame number to get SAMM's; 0 for many videos, up to 10,000 for others.

    Raises:
        DataError: the micros of one video disagree by more than a frame: sheets of different versions.
    """
    source = samm.table.set_index("clip")["onset"]
    shifts: dict[str, list[int]] = {}
    for clip, onset in long.table.loc[long.table["kind"] == "micro", ["clip", "onset"]].itertuples(index=False):
        if clip in source.index:
            shifts.setdefault("_".join(clip.split("_")[:2]), []).append(int(source[clip]) - int(onset))
    for video, values in shifts.items():
        if max(values) - min(values) > 1:
            raise DataError(
                f"video {video}: SAMM and SAMM Long Videos differ by {sorted(set(values))} frames; one constant "
                "was wanted. Use sheets of matching versions."
            )
    return {video: Counter(values).most_common(1)[0][0] for video, values in shifts.items()}


def subject_of(clip: str) -> int | None:
    """Subject number of ``006_1_2``."""
    return subject_number(clip.split("_")[0])


READERS = (
    Reader(
        name="samm", title="SAMM", family="micro", draft=_draft, fps=200, versions=("v2",),
        layout="SAMM_Micro_FACS_Codes_v2.xlsx beside 006/006_1_2/006_05562.jpg, or SAMM_CROP/006/006_1_2/...",
        variants={"cropped": ("SAMM_CROP",), "raw": ("SAMM", "")},
        labels=("anger", "happiness", "others", "surprise", "contempt", "disgust", "fear", "sadness"),
        published={"": Published(rows=(159,), subjects=29, objective=(24, 13, 20, 8, 3, 7, 84), emotions={
            "anger": 57, "happiness": 26, "others": 26, "surprise": 15, "contempt": 12, "disgust": 9, "fear": 8,
            "sadness": 6})},
        licence="MMU, signed form: http://www2.docm.mmu.ac.uk/STAFF/M.Yap/dataset.php",
    ),
    Reader(
        name="samm_lv", title="SAMM Long Videos", family="micro", draft=_draft_long, fps=200, versions=("V2", "V3",
        "V1"),
        layout="SAMM_LongVideos_V2_Release.xlsx beside SAMM_longvideos/006_1/006_1_0001.jpg",
        variants={"raw": ("SAMM_longvideos", "SAMM_longvideos/SAMM_longvideos")},
        options={"rounding": ("half_up", "floor"), "unknown_onset": ("keep", "drop")},
        published={"": Published(rows=(502,), subjects=30)},
        licence="as SAMM",
    ),
)  # fmt: skip
