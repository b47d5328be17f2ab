"""4DME: several emotions at once, absolute frame counters, AUs that are static during the clip."""

from __future__ import annotations

from zoo.data.manifest import Change
from zoo.data.readers._base import Draft, Job, Reader, aus_of
from zoo.data.sheets import as_text
from zoo.facs.emotions import canonical


def _is_person(cell: object) -> bool:
    text = as_text(cell).casefold()
    return bool(text) and not text.startswith(("total", "sum"))


def _draft(job: Job) -> list[Draft]:
    sheet = job.table(
        job.find_sheet("4DME_Labelling_Micro*.xls*", "Micro and Macro-expression labels*.xls*"),
        {"subject": ["sub_ID"], "filename": ["fold_name"], "emotion": ["Emotion"], "onset": ["Onset"], "apex": ["Apex"],
         "offset": ["Offset"], "aus": ["AUs", "AU"]},
        valid=_is_person,
    )  # fmt: skip
    drafts = []
    for row in sheet.rows:
        subject, clip = sheet.text(row, "subject"), sheet.text(row, "filename")
        label = as_text(row["emotion"])
        values = {
            "onset": sheet.frame(row, "onset"), "apex": sheet.frame(row, "apex", missing=("/", "", 0, -1)),
            "offset": sheet.frame(row, "offset"), "emotion": "+".join(canonical(p) for p in label.split("+")) or None,
            "emotion_raw": label or None, **aus_of(row["aus"]), **job.origin(sheet, row),
        }  # fmt: skip
        if "+" in label:
            job.report.note("more than one emotion", f"{subject}/{clip}")
        drafts.append(
            Draft(f"{subject}_{clip}", subject, clip, position=row.position, values=values, folders=[(subject, clip)])
        )
    if job.options["swap_aus"] == "yes":
        _swap(job, drafts)
    return drafts


def _swap(job: Job, drafts: list[Draft]) -> None:
    """Positions 144 and 145 carry each other's AUs according to MEB; asked for, since no old value is on record."""
    pair = [d for d in drafts if d.position in (144, 145)]
    if len(pair) == 2:
        first, second = (d.values["aus_raw"] for d in pair)
        for draft, old, new in ((pair[0], first, second), (pair[1], second, first)):
            draft.values["aus_raw"] = new
            job.report.repaired.append(
                Change(draft.id, "aus_raw", old or "", new or "", "MEB swaps the AUs of the two rows")
            )


READERS = (
    Reader(
        name="4dme", title="4DME", family="micro", draft=_draft, fps=60,
        layout="4DME_Labelling_Micro_release v1.xlsx beside gray_micro/<sub_ID>/<fold_name>/Frame_000001826.jpg "
               "or gray_micro_crop/...",
        variants={"cropped": ("gray_micro_crop",), "gray": ("gray_micro",)},
        options={"swap_aus": ("no", "yes")},
        labels=("positive", "negative", "surprise", "repression", "others"),
        licence="University of Oulu agreement",
    ),
)  # fmt: skip
