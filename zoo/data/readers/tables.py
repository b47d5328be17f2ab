"""FER2013 (with the votes of FER+), CREMA-D and a generic CSV of clips."""

from __future__ import annotations

import csv
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from zoo.data.readers._base import Draft, Job, Published, Reader, aus_of, emotion_of
from zoo.data.readers._pictures import place
from zoo.data.sheets import as_text, has_text
from zoo.errors import DataError

_FER = ("anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral")
_PLUS = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt", "unknown", "NF")


def majority(votes: Sequence[int]) -> tuple[str, str | None]:
    """FER+ label of ten votes, or ``("", reason)`` where the majority rule drops the picture.

    Args:
        votes: in the order of the file: eight emotions, unknown, no face.
    """
    best = max(votes)
    names = [n for n, v in zip(_PLUS, votes, strict=True) if v == best]
    if len(names) > 1:
        return "", "FER+: no majority"
    if names[0] in ("unknown", "NF"):
        return "", f"FER+: majority says {'unknown' if names[0] == 'unknown' else 'no face'}"
    return names[0], None


def _votes(job: Job) -> list[tuple[int, list[int]]] | None:
    if job.options["labels"] == "fer2013":
        return None
    path = job.find_file("table of FER+ votes", "root", "fer2013new.csv")
    table = job.table(
        path,
        {"usage": ["Usage"], **{n: [n] for n in _PLUS}},
        optional={"image": ["Image name"]},
        anchors=("usage", "NF"),
        subject="usage",
        valid=has_text,
    )
    result = []
    for row in table.rows:
        votes = [table.frame(row, n) for n in _PLUS]
        result.append((row.number, [v or 0 for v in votes]))
    return result


def _fer(job: Job) -> list[Draft]:
    path = job.find_sheet("fer2013.csv")
    votes = _votes(job)
    csv.field_size_limit(sys.maxsize)
    drafts, dropped = [], []
    blank = 0
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file)
        missing = {"emotion", "pixels", "Usage"} - set(reader.fieldnames or ())
        if missing:
            raise DataError(
                f"{path}, row 1: no column {', '.join(sorted(missing))}; columns are {reader.fieldnames}. "
                "Give fer2013.csv as released."
            )
        for i, row in enumerate(reader):
            number = i + 2
            code, pixels = (row["emotion"] or "").strip(), (row["pixels"] or "").split()
            if not code.isdecimal() or int(code) >= len(_FER):
                job.problems.add(
                    path, f"{code!r} is not a class from 0 to 6", "Restore the row", row=number, column="emotion"
                )
                continue
            if len(pixels) != 48 * 48 or not all(p.isdecimal() for p in pixels):
                job.problems.add(
                    path,
                    f"{len(pixels)} values, 2304 numbers were wanted",
                    "Restore the row",
                    row=number,
                    column="pixels",
                )
                continue
            label = _FER[int(code)]
            if votes is not None:
                if i >= len(votes):
                    raise DataError(
                        f"{path}: row {number} has no row in fer2013new.csv ({len(votes)} rows): the files must "
                        "have the same rows in the same order"
                    )
                label, reason = majority(votes[i][1])
                if reason:
                    dropped.append((reason, f"{number}"))
                    continue
            draft = Draft(
                f"{i:05d}",
                f"{i:05d}",
                f"{i:05d}",
                "image",
                i,
                {
                    "path": f"{place(job, path)}#{i}",
                    "split": row["Usage"],
                    "sheet": place(job, path),
                    "row": number,
                    **emotion_of(label),
                },
            )
            if not any(p != "0" for p in pixels):
                blank += 1
                draft.notes.append("all black")
                job.report.note("picture is all black", draft.id)
            drafts.append(draft)
    job.report.read = len(drafts) + len(dropped)
    for reason, key in dropped:
        job.report.drop(reason, [key])
    if votes is not None and len(votes) != job.report.read + len({p.row for p in job.problems}):
        raise DataError(
            f"fer2013.csv has {job.report.read} rows, fer2013new.csv {len(votes)}: they must have the same rows in "
            "the same order"
        )
    job.report.note("persons are not known: every picture counts as its own subject")
    return drafts


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
            values={"path": place(job, path), **emotion_of(_CREMA[match[3]])},
        )
        draft.notes.append(f"level {match[4]}")
        drafts.append(draft)
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
    Reader(name="fer2013", title="FER2013", family="macro", draft=_fer,
    layout="fer2013.csv, optionally fer2013new.csv (FER+)",
           options={"labels": ("fer2013", "ferplus")}, labels=(*_FER, "contempt"),
           published={"": Published(rows=(35887,))}, licence="Kaggle; FER+ votes are public"),
    Reader(name="crema_d", title="CREMA-D", family="macro", draft=_crema, labels=tuple(_CREMA.values()),
           layout="VideoFlash/1001_DFA_ANG_XX.flv", published={"": Published(rows=(7442,), subjects=91)},
           licence="Open Database Licence"),
    Reader(name="csv", title="a table of clips", family="generic", draft=_generic,
           layout="clips.csv with id, subject, path and optionally clip, kind, fps, onset, apex, offset, emotion, "
                  "objective, "
                  "aus, split; paths relative to the root"),
)  # fmt: skip
