"""JAFFE, BU-3DFE, RAF-DB and AffectNet: single pictures, each with its own order of classes, mapped by name."""

from __future__ import annotations

import re
from pathlib import Path

from zoo.data.frames import Folders
from zoo.data.readers._base import Draft, Job, Published, Reader, emotion_of
from zoo.data.readers._pictures import pictures, place
from zoo.data.sheets import as_text, has_text
from zoo.errors import DataError

_SIX = ("anger", "disgust", "fear", "happiness", "sadness", "surprise")
_TWO = {
    "AN": "anger",
    "DI": "disgust",
    "FE": "fear",
    "HA": "happiness",
    "NE": "neutral",
    "SA": "sadness",
    "SU": "surprise",
}


def _still(job: Job, path: Path, id: str, subject: str, emotion: str | None, **values: object) -> Draft:
    return Draft(id, subject, path.stem, "image", values={"path": place(job, path), **emotion_of(emotion), **values})


def _jaffe(job: Job) -> list[Draft]:
    top = next((job.root / n for n in ("jaffe", "jaffedbase", "") if (job.root / n).is_dir()), job.root)
    drafts = []
    for path in pictures(top):
        match = re.fullmatch(
            r"([A-Z]{2})[.-]?([A-Z]{2})\d*(?:\.\d+)?", path.stem.upper()
        )  # some index digits are missing
        if match is None or match[2] not in _TWO:
            job.problems.add(
                path, f"{path.name!r} is not named like KA.AN1.39.tiff", "Restore the name, or remove the file"
            )
            continue
        drafts.append(_still(job, path, path.stem, match[1], _TWO[match[2]]))
    return drafts


def _bu3dfe(job: Job) -> list[Draft]:
    folders, drafts = Folders(job.root), []
    for person in folders.names(job.root).values():
        for path in pictures(job.root / person):
            match = re.fullmatch(r"([FM]\d{4})_([A-Z]{2})(\d{2})([A-Z]{2})_F2D", path.stem, re.IGNORECASE)
            if match is None or match[2].upper() not in _TWO:
                job.report.note("picture that is no F2D scan, passed over", path.name)
                continue
            if match[1].upper() != person.upper():
                job.problems.add(path, f"lies in the folder of {person}", "Move it to the person's folder")
                continue
            draft = _still(job, path, path.stem, match[1].upper(), _TWO[match[2].upper()])
            draft.notes.append(f"level {int(match[3])}")
            drafts.append(draft)
    return drafts


_RAF = dict(zip("1234567", ("surprise", "fear", "disgust", "happiness", "sadness", "anger", "neutral"), strict=True))


def _rafdb(job: Job) -> list[Draft]:
    base = next((p for p in (job.root / "basic", job.root) if (p / "EmoLabel").is_dir()), None)
    path = job.sheet or (base / "EmoLabel" / "list_patition_label.txt" if base else None)  # the release's own spelling
    if path is None or not path.is_file():
        raise DataError(f"{job.root}: no basic/EmoLabel/list_patition_label.txt. Layout of RAF-DB: {job.reader.layout}")
    folder = (base or job.root) / "Image" / "aligned"
    there = {p.name for p in pictures(folder)} if job.check_frames == "require" and folder.is_dir() else None
    if there is None and job.check_frames == "require":
        raise DataError(f"{folder}: no such folder. Copy the aligned pictures there, or read with frames='skip'.")
    drafts, lost = [], []
    lines = path.read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        parts = line.split()
        if len(parts) != 2 or parts[1] not in _RAF:
            job.problems.add(
                path, f"{line!r} is not a file name and a class from 1 to 7", "Restore the line", row=number
            )
            continue
        stem = Path(parts[0]).stem
        name = f"{stem}_aligned.jpg"
        if there is not None and name not in there:
            if job.missing == "drop":
                lost.append(stem)
                continue
            job.problems.add(
                path, f"{name} is not in {folder}", "Copy the pictures, or drop rows with missing='drop'", row=number
            )
        drafts.append(
            _still(
                job, folder / name, stem, stem, _RAF[parts[1]], split=stem.split("_")[0], row=number, sheet=path.name
            )
        )
    job.report.read = len(drafts) + len(lost)
    job.report.drop("no picture on disk", lost)
    job.report.note("persons are not known: every picture counts as its own subject")
    return drafts


_AFFECT = ("neutral", "happiness", "sadness", "surprise", "fear", "disgust", "anger", "contempt", "none", "uncertain",
           "no-face")  # fmt: skip


def _affectnet(job: Job) -> list[Draft]:
    if any((job.root / part / "annotations").is_dir() for part in ("train_set", "val_set")):
        return _affectnet_npy(job)
    drafts: list[Draft] = []
    files = {"train": "training.csv", "val": "validation.csv"}
    for split, name in files.items():
        path = job.root / name
        if not path.is_file():
            job.report.note(f"no {name}: {split} is not read")
            continue
        table = job.table(
            path,
            {"path": ["subDirectory_filePath"], "expression": ["expression"]},
            optional={"valence": ["valence"], "arousal": ["arousal"]},
            anchors=("path", "expression"),
            subject="path",
            valid=has_text,
        )
        for row in table.rows:
            code = as_text(row["expression"])
            if not code.isdecimal() or int(code) >= len(_AFFECT):
                table.complain(
                    row, "expression", f"{row['expression']!r} is not a code from 0 to 10", "Restore the cell"
                )
                continue
            file = job.root / "Manually_Annotated_Images" / as_text(row["path"])
            key = as_text(row["path"]).rpartition(".")[0]
            if job.check_frames == "require" and not file.is_file():
                if job.missing == "drop":
                    job.report.drop("no picture on disk", [key])
                else:
                    table.complain(
                        row, "path", f"{file} is not there", "Copy it, or drop such rows with missing='drop'"
                    )
                continue
            drafts.append(
                _still(
                    job,
                    file,
                    f"{split}/{key}",
                    f"{split}/{key}",
                    _AFFECT[int(code)],
                    split=split,
                    **job.origin(table, row),
                )
            )
    if not drafts and not job.problems.found:
        raise DataError(
            f"{job.root}: neither training.csv, validation.csv nor train_set/annotations is there. Layout: "
            f"{job.reader.layout}"
        )
    job.report.read = len(drafts) + sum(map(len, job.report.dropped.values()))
    job.report.note("persons are not known: every picture counts as its own subject")
    return drafts


def _affectnet_npy(job: Job) -> list[Draft]:
    import numpy as np

    drafts = []
    for split, part in (("train", "train_set"), ("val", "val_set")):
        for path in sorted((job.root / part / "annotations").glob("*_exp.npy"), key=lambda p: (len(p.name), p.name)):
            try:
                code = int(str(np.load(path, allow_pickle=False)))  # a 0-d string
                label = _AFFECT[code]
            except (ValueError, IndexError, OSError, EOFError) as error:
                job.problems.add(path, f"not a class from 0 to 10 ({error})", "Restore the file from the release")
                continue
            number = path.name.removesuffix("_exp.npy")
            drafts.append(
                _still(
                    job,
                    job.root / part / "images" / f"{number}.jpg",
                    f"{split}/{number}",
                    f"{split}/{number}",
                    label,
                    split=split,
                )
            )
    return drafts


READERS = (
    Reader(name="jaffe", title="JAFFE", family="macro", draft=_jaffe, labels=tuple(_TWO.values()),
           layout="KA.AN1.39.tiff, all in one folder",
           published={"": Published(rows=(213,), subjects=10, emotions={
               "anger": 30, "disgust": 29, "fear": 32, "happiness": 31, "neutral": 30, "sadness": 31, "surprise": 30})},
           licence="by request on Zenodo"),
    Reader(name="bu3dfe", title="BU-3DFE", family="macro", draft=_bu3dfe, labels=tuple(_TWO.values()),
           layout="F0001/F0001_AN01WH_F2D.bmp", published={"": Published(rows=(2500,), subjects=100)},
           licence="by request"),
    Reader(name="rafdb", title="RAF-DB", family="macro", draft=_rafdb, labels=(*_SIX, "neutral"),
           layout="basic/EmoLabel/list_patition_label.txt and basic/Image/aligned/train_00001_aligned.jpg",
           published={"": Published(rows=(15339,))}, licence="by request"),
    Reader(name="affectnet", title="AffectNet", family="macro", draft=_affectnet, labels=_AFFECT,
           layout="Manually_Annotated_Images/<dir>/<hash>.jpg with training.csv and validation.csv, or "
                  "train_set/{images/0.jpg, annotations/0_exp.npy} and val_set/...", licence="by request"),
)  # fmt: skip
