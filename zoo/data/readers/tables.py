"""CREMA-D and a generic CSV of clips."""

from __future__ import annotations

import re
from pathlib import Path

from zoo.data.readers._base import Draft, Job, Published, Reader, aus_of, emotion_of
from zoo.data.readers._pictures import video
from zoo.data.sheets import as_text, has_text

_CREMA = {"ANG": "anger", "DIS": "disgust", "FEA": "fear", "HAP": "happiness", "NEU": "neutral", "SAD": "sadness"}


def _crema(job: Job) -> list[Draft]:
    top = next((job.root / n for n in ("VideoFlash", "videos", "") if (job.root / n).is_dir()), job.root)
    drafts = []
    for path in sorted(top.iterdir(), key=lambda p: p.name):
        if path.suffix.lower() not in (".flv", ".mp4", ".avi") or path.name.startswith("."):
            continue
        match = re.fullmatch(r"(\d{4})_([A-Z]{3})_([A-Z]{3})_([A-Z]{2,3}|X)", path.stem.upper())
        if match is None or match[3] not in _CREMA:
            job.problems.add(
                path,
                f"{path.name!r} is not named actor_sentence_emotion_level, like 1001_DFA_ANG_XX.flv",
                "Restore the name, or remove the file",
            )
            continue
        draft = Draft(
            path.stem,
            match[1],
            path.stem,
            "sequence",
            values=emotion_of(_CREMA[match[3]]),
        )
        draft.notes.append(f"level {match[4]}")
        drafts.append(video(job, draft, path))
    return drafts


_CSV = {"id": ["id"], "subject": ["subject"], "path": ["path"]}
_CSV_MORE = {"clip": ["clip"], "kind": ["kind"], "fps": ["fps"], "onset": ["onset"], "apex": ["apex"],
    "offset": ["offset"],
             "emotion": ["emotion"], "objective": ["objective"], "aus": ["aus"], "split": ["split"]}  # fmt: skip


def _generic(job: Job) -> list[Draft]:
    table = job.table(
        job.find_sheet("clips.csv"),
        _CSV,
        optional=_CSV_MORE,
        anchors=("id", "path"),
        subject="id",
        valid=has_text,
    )
    drafts = []
    for row in table.rows:
        path = table.text(row, "path")
        key = table.text(row, "id")
        fps = as_text(row["fps"])
        try:
            rate = float(fps) if fps else None
        except ValueError:
            rate = None
            table.complain(
                row, "fps", f"{fps!r} is not a number of frames per second", "Write a number, or leave it empty"
            )
        values = {
            **{c: table.frame(row, c, missing=("", "/", "-1"), required=False) for c in ("onset", "apex", "offset")},
            **emotion_of(row["emotion"]), **aus_of(row["aus"]), **job.origin(table, row), "fps": rate,
            "split": as_text(row["split"]) or None, "path": path,
        }  # fmt: skip
        if as_text(row["objective"]):
            values["_objective"] = row["objective"]
        there = job.root / Path(path)
        draft = Draft(
            key,
            table.text(row, "subject"),
            as_text(row["clip"]) or key,
            as_text(row["kind"]) or "micro",
            row.position,
            values,
            key=(key,),
        )
        if job.check_frames == "require" and not there.exists():
            if job.missing == "drop":
                job.report.drop("no file on disk", [key])
                continue
            table.complain(
                row, "path", f"{path} is not below {job.root}", "Paths are relative to the folder of the table"
            )
        if there.is_dir() and job.check_frames == "require":
            from zoo.data.frames import list_frames

            draft.frames = list_frames(there)
        drafts.append(draft)
    job.report.read = len(table.rows)
    return drafts


READERS = (
    Reader(name="crema_d", title="CREMA-D", family="macro", draft=_crema, labels=tuple(_CREMA.values()),
           layout="VideoFlash/1001_DFA_ANG_XX.flv", published={"": Published(rows=(7442,), subjects=91)},
           licence="Open Database Licence"),
    Reader(name="csv", title="a table of clips", family="generic", draft=_generic,
           layout="clips.csv with id, subject, path and optionally clip, kind, fps, onset, apex, offset, emotion, "
                  "objective, "
                  "aus, split; paths relative to the root"),
)  # fmt: skip
