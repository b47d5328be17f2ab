"""CK+ (extended Cohn-Kanade): sequences from neutral to apex; a missing label file means unlabelled."""

from __future__ import annotations

from pathlib import Path

from zoo.data.frames import Folders
from zoo.data.readers._base import Draft, Job, Published, Reader, aus_of
from zoo.data.readers._pictures import place, sequence, subfolders

_CODES = ("neutral", "anger", "contempt", "disgust", "fear", "happiness", "sadness", "surprise")


def _only_text(folder: Path | None) -> Path | None:
    """The label file of a sequence; folders without one are common."""
    files = sorted(p for p in folder.glob("*.txt") if not p.name.startswith(".")) if folder else []
    return files[0] if files else None


def _label(job: Job, path: Path) -> str | None:
    text = " ".join(path.read_text(encoding="ascii", errors="replace").split())
    try:
        code = float(text)  # "   3.0000000e+00"
    except ValueError:
        code = -1.0
    if code in range(len(_CODES)):
        return _CODES[int(code)]
    job.problems.add(path, f"{text!r} is not an emotion code from 0 to 7", "Restore the file from the release", row=1)
    return None


def _units(job: Job, path: Path) -> str | None:
    """FACS file: a line of AU and intensity, both float text; intensity 0 means not given."""
    tokens = []
    for number, line in enumerate(path.read_text(encoding="ascii", errors="replace").splitlines(), 1):
        parts = line.split()
        if not parts:
            continue
        try:
            unit, level = int(float(parts[0])), int(float(parts[1]))
            tokens.append(f"{unit}{' ABCDE'[level].strip()}")
        except (ValueError, IndexError):
            job.problems.add(
                path,
                f"{line.strip()!r} is not an AU and its intensity 0 to 5",
                "Restore the file from the release",
                row=number,
            )
    return "+".join(tokens) or None


def _draft(job: Job) -> list[Draft]:
    folders = Folders(job.root)
    top = "cohn-kanade-images"
    drafts = []
    for person in subfolders(job, folders, top):
        for take in subfolders(job, folders, top, person):
            clip = f"{person}_{take}"
            draft = sequence(job, Draft(clip, person, clip, "sequence"), job.root / top / person / take)
            label = _only_text(folders.find("Emotion", person, take))
            if label:
                emotion = _label(job, label)
                draft.values |= {"emotion": emotion, "emotion_raw": emotion, "sheet": place(job, label)}
            facs = _only_text(folders.find("FACS", person, take))
            if facs:
                draft.values |= aus_of(_units(job, facs))
            drafts.append(draft)
    unlabelled = [d.id for d in drafts if d.values.get("emotion") is None]
    job.report.read = len(drafts)
    if job.options["unlabelled"] == "drop":
        job.report.drop("no label file", unlabelled)
        drafts = [d for d in drafts if d.values.get("emotion") is not None]
    else:
        for key in unlabelled:
            job.report.note("no label file: unlabelled", key)
    return drafts


READERS = (
    Reader(
        name="ckplus", title="CK+", family="macro", draft=_draft,
        layout="cohn-kanade-images/S005/001/S005_001_00000001.png, Emotion/S005/001/..._emotion.txt, "
               "FACS/S005/001/..._facs.txt",
        options={"unlabelled": ("keep", "drop")}, labels=_CODES,
        published={"": Published(rows=(593, 327), subjects=123, emotions={
            "anger": 45, "contempt": 18, "disgust": 59, "fear": 25, "happiness": 69, "sadness": 28, "surprise": 83})},
        licence="by request",
    ),
)  # fmt: skip
