"""Oulu-CASIA, MUG and MMI: posed sequences in folders, or videos with a session file."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree

from zoo.data.frames import Folders
from zoo.data.readers._base import Draft, Job, Reader, emotion_of
from zoo.data.readers._pictures import place, sequence, subfolders, video
from zoo.errors import DataError

_SIX = ("anger", "disgust", "fear", "happiness", "sadness", "surprise")


def _oulu(job: Job) -> list[Draft]:
    folders = Folders(job.root)
    spectrum, light = job.options["spectrum"], job.options["light"]
    top = next(
        (t for t in ((f"{spectrum}_Acropped",), ("OriginalImg", spectrum), (spectrum,)) if folders.find(*t, light)),
        None,
    )
    if top is None:
        raise DataError(
            f"{job.root}: neither {spectrum}_Acropped/{light} nor OriginalImg/{spectrum}/{light} is there. "
            f"Layout: {job.reader.layout}"
        )
    drafts = []
    for person in subfolders(job, folders, *top, light):
        for emotion in subfolders(job, folders, *top, light, person):
            folder = folders.find(*top, light, person, emotion)
            assert folder is not None
            clip = f"{person}_{emotion}"
            drafts.append(
                sequence(
                    job,
                    Draft(
                        f"{spectrum}_{light}_{clip}",
                        person,
                        clip,
                        "sequence",
                        values={"variant": f"{spectrum}_{light}", **emotion_of(emotion)},
                    ),
                    folder,
                )
            )
    return drafts


def _mug(job: Job) -> list[Draft]:
    folders = Folders(job.root)
    drafts = []
    for person in subfolders(job, folders):
        if not person.isdecimal():
            job.report.note("folder that is not a person, passed over", person)
            continue
        for emotion in subfolders(job, folders, person):
            for take in subfolders(job, folders, person, emotion):
                clip = f"{person}_{emotion}_{take}"
                drafts.append(
                    sequence(
                        job,
                        Draft(clip, person, clip, "sequence", values=emotion_of(emotion)),
                        job.root / person / emotion / take,
                        apex_last=False,
                    )
                )
    return drafts


# session.xml: attribute or element `Expression`, numbers 1..6
_MMI = dict(zip("123456", ("anger", "disgust", "fear", "happiness", "sadness", "surprise"), strict=True))


def _mmi(job: Job) -> list[Draft]:
    folders = Folders(job.root)
    drafts: list[Draft] = []
    for session in subfolders(job, folders, "Sessions"):
        folder = job.root / "Sessions" / session
        videos = sorted(p for p in folder.glob("*") if p.suffix.lower() in (".avi", ".mp4", ".mpg"))
        if not videos:
            job.report.note("session without a video (pictures only), passed over", session)
            continue
        info = folder / "session.xml"
        code = _expression(job, info) if info.is_file() else None
        if code is not None and code not in _MMI:
            job.report.note("session with another expression than the six, unlabelled", f"{session} ({code})")
        match = re.match(r"S(\d+)", videos[0].name, re.IGNORECASE)
        if match is None:
            job.problems.add(
                videos[0],
                "the file name does not begin with the person, like S054-001.avi",
                "Restore the name from the release",
            )
            continue
        label = _MMI.get(code or "")
        values = {"emotion": label, "emotion_raw": code, "sheet": place(job, info) if info.is_file() else None}
        person = f"S{int(match[1]):03d}"
        drafts.append(video(job, Draft(session, person, videos[0].stem, "sequence", values=values), videos[0]))
    job.report.read = len(drafts)
    if job.options["unlabelled"] == "drop":
        job.report.drop("no expression label", [d.id for d in drafts if d.values["emotion"] is None])
        drafts = [d for d in drafts if d.values["emotion"] is not None]
    return drafts


def _expression(job: Job, path: object) -> str | None:
    try:
        tree = ElementTree.parse(str(path))
    except (ElementTree.ParseError, OSError) as error:
        job.problems.add(str(path), f"not readable as XML ({error})", "Restore the file from the release")
        return None
    for node in tree.iter():
        for name, value in node.attrib.items():
            if name.casefold() == "expression":
                return value.strip()
            if value.casefold() == "expression" and "Value" in node.attrib:
                return node.attrib["Value"].strip()
        if node.tag.casefold() == "expression" and node.text:
            return node.text.strip()
    return None


READERS = (
    Reader(
        name="oulu_casia", title="Oulu-CASIA", family="macro", draft=_oulu, fps=25, labels=_SIX,
        layout="OriginalImg/VL/Strong/P001/Anger/000.jpeg or VL_Acropped/Strong/P001/Anger/000.jpeg",
        options={"spectrum": ("VL", "NI"), "light": ("Strong", "Weak", "Dark")}, licence="by request",
    ),
    Reader(
        name="mug", title="MUG", family="macro", draft=_mug, fps=19, labels=(*_SIX, "neutral"),
        layout="001/anger/take000/img_0000.jpg", licence="by request",
    ),
    Reader(
        name="mmi", title="MMI", family="macro", draft=_mmi, labels=_SIX,
        layout="Sessions/<id>/S054-001.avi with session.xml", options={"unlabelled": ("keep", "drop")},
        licence="by request",
    ),
)  # fmt: skip
