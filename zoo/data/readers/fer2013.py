"""FER2013 as it goes round: one table of pixels, Kaggle's other tables, or folders of pictures; with the votes of FER+."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from zoo.data.partitions import PARTS, part_name
from zoo.data.readers._base import Draft, Job, Published, Reader, emotion_of, walk
from zoo.data.readers._pictures import pictures, place
from zoo.data.sheets import has_text
from zoo.errors import DataError
from zoo.facs.emotions import canonical

SIDE = 48
_FER = ("anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral")
_PLUS = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt", "unknown", "NF")
# Tables by name, the complete ones first, with what each is where it has no column Usage.
_TABLES = {"fer2013.csv": "", "icml_face_data.csv": "", "train.csv": "Training", "test.csv": "Test"}


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


def _draft(job: Job) -> list[Draft]:
    tables, top = _tables(job), _parts(job.root)
    if tables:
        drafts = _rows(job, tables)
    elif top is not None:
        drafts = _folders(job, top)
    else:
        raise DataError(
            f"{job.root}: neither {', '.join(_TABLES)} nor a folder train is there. Layout: {job.reader.layout}"
        )
    job.report.note("persons are not known: every picture counts as its own subject")
    return drafts


def _tables(job: Job) -> list[Path]:
    """The one table with all parts; else Kaggle's tables of single parts."""
    if job.sheet is not None:
        return [job.sheet]
    there = {p.name.casefold() for p in walk(job.root, 3)}
    for name, part in _TABLES.items():
        if name in there and not part:
            return [job.find_sheet(name)]
    return [job.find_sheet(name) for name, part in _TABLES.items() if part and name in there]


def _rows(job: Job, tables: Sequence[Path]) -> list[Draft]:
    votes = _votes(job)
    drafts: list[Draft] = []
    dropped = 0
    for path in tables:
        alone = _TABLES.get(path.name.casefold(), "")
        for i, code, pixels, usage in _cells(job, path, alone):
            number = i + 2
            if not code.isdecimal() or int(code) >= len(_FER):
                remedy = "Restore the row"
                job.problems.add(path, f"{code!r} is not a class from 0 to 6", remedy, row=number, column="emotion")
                continue
            digits = pixels.replace(" ", "")
            count = len(pixels.split())
            if count != SIDE * SIDE or not digits.isdecimal():
                what = f"{count} values, {SIDE * SIDE} numbers were wanted"
                job.problems.add(path, what, "Restore the row", row=number, column="pixels")
                continue
            label = _FER[int(code)]
            if votes is not None:
                if i >= len(votes):
                    raise DataError(
                        f"{path}: row {number} has no row in fer2013new.csv ({len(votes)} rows): the files must "
                        "have the same rows in the same order"
                    )
                label, reason = majority(votes[i])
                if reason:
                    job.report.drop(reason, [f"{number}"])
                    dropped += 1
                    continue
            key = f"{alone.casefold()}/{i:05d}" if alone else f"{i:05d}"
            where = {"path": f"{place(job, path)}#{i}", "split": usage, "sheet": place(job, path), "row": number}
            draft = Draft(key, key, key, "image", i, {**where, **emotion_of(label)})
            if not digits.strip("0"):
                draft.notes.append("all black")
                job.report.note("picture is all black", draft.id)
            drafts.append(draft)
    job.report.read = len(drafts) + dropped
    if votes is not None and len(votes) != job.report.read + len({p.row for p in job.problems}):
        raise DataError(
            f"{tables[0].name} has {job.report.read} rows, fer2013new.csv {len(votes)}: they must have the same rows in "
            "the same order"
        )
    return drafts


def _cells(job: Job, path: Path, alone: str) -> Iterator[tuple[int, str, str, str]]:
    """Position, class, pixels and part of each row of a table; titles may have spaces around them."""
    csv.field_size_limit(sys.maxsize)
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file)
        titles = [title.strip().casefold() for title in next(reader, [])]
        if alone == "Test" and "emotion" not in titles:
            job.report.note(f"{path.name} has no emotions: passed over")
            return
        missing = [
            name for name in ("emotion", "pixels", "Usage")[: 2 if alone else 3] if name.casefold() not in titles
        ]
        if missing:
            raise DataError(
                f"{path}, row 1: no column {', '.join(sorted(missing))}; columns are {titles}. "
                "Give fer2013.csv as released."
            )
        emotion, pixels = titles.index("emotion"), titles.index("pixels")
        usage = titles.index("usage") if "usage" in titles else None
        for i, row in enumerate(filter(None, reader)):
            cells = [*row, *[""] * (len(titles) - len(row))]
            yield i, cells[emotion].strip(), cells[pixels].strip(), alone if usage is None else cells[usage].strip()


def _votes(job: Job) -> list[list[int]] | None:
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
    return [[table.frame(row, n) or 0 for n in _PLUS] for row in table.rows]


def _parts(root: Path) -> Path | None:
    """The folder that holds train and test (or validation): the root, or one level below it."""
    for top in (root, *sorted(p for p in root.iterdir() if p.is_dir() and not p.name.startswith("."))):
        if any(p.is_dir() and part_name(p.name) == "train" for p in top.iterdir()):
            return top
    return None


def _folders(job: Job, top: Path) -> list[Draft]:
    if job.options["labels"] == "ferplus":
        raise DataError(f"{top}: the votes of FER+ go with the rows of fer2013.csv, which folders of pictures have not")
    drafts: list[Draft] = []
    for part in sorted(p for p in top.iterdir() if p.is_dir() and part_name(p.name) in PARTS):
        for folder in sorted(p for p in part.iterdir() if p.is_dir() and not p.name.startswith(".")):
            emotion = canonical(folder.name)
            if emotion not in _FER:
                job.problems.add(
                    folder, f"{folder.name!r} is none of {', '.join(_FER)}", "Rename the folder, or remove it"
                )
                continue
            for path in pictures(folder):
                key = f"{part.name}/{folder.name}/{path.stem}"
                values = {"path": place(job, path), "split": part.name, **emotion_of(folder.name)}
                drafts.append(Draft(key, key, key, "image", len(drafts), values))
    job.report.read = len(drafts)
    return drafts


READERS = (
    Reader(name="fer2013", title="FER2013", family="macro", draft=_draft,
           layout="fer2013.csv (or icml_face_data.csv, or train.csv with test.csv), optionally fer2013new.csv (FER+); or "
                  "folders train/angry/*.jpg, test/angry/*.jpg, …",
           options={"labels": ("fer2013", "ferplus")}, labels=(*_FER, "contempt"),
           published={"": Published(rows=(35887,))}, licence="Kaggle; FER+ votes are public"),
)  # fmt: skip
