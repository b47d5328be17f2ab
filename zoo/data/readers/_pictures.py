"""What the macro-expression releases share: trees of pictures and sequences instead of a sheet."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from zoo.data.clips import count_frames
from zoo.data.frames import IMAGES, Folders, list_frames
from zoo.data.readers._base import Draft, Job
from zoo.errors import DataError, MediaError


def subfolders(job: Job, folders: Folders, *parts: str) -> list[str]:
    """Names below the root, sorted.

    Raises:
        DataError: the folder is not there.
    """
    place = folders.find(*parts)
    if place is None:
        raise DataError(f"{job.root}: {folders.similar(*parts)}. Layout of {job.reader.title}: {job.reader.layout}")
    return sorted(folders.names(place).values())


def pictures(folder: Path) -> Iterator[Path]:
    """Picture files of a folder, sorted; others are passed over."""
    for path in sorted(folder.iterdir(), key=lambda p: p.name):
        if path.suffix.lower() in IMAGES and not path.name.startswith("."):
            yield path


def sequence(job: Job, draft: Draft, folder: Path, *, apex_last: bool = True) -> Draft:
    """A folder of frames as a clip: first to last, and the apex is the last frame where it runs from neutral to
    apex.
    """
    numbers = list(list_frames(folder))
    draft.values["path"] = folder.relative_to(job.root).as_posix()
    if not numbers:
        job.problems.add(folder, "the folder holds no frame", "Copy the sequence there, or remove the folder")
        return draft
    draft.values |= {
        "onset": numbers[0], "offset": numbers[-1], "first_frame": numbers[0], "last_frame": numbers[-1],
        "frame_count": len(numbers), "onset_source": "annotated", "offset_source": "annotated",
    }  # fmt: skip
    if apex_last:
        draft.values |= {"apex": numbers[-1], "apex_source": "annotated"}
    return draft


def video(job: Job, draft: Draft, path: Path) -> Draft:
    """A video as a clip: it lasts from its first frame to its last, which nobody coded; nor did anybody code its apex.

    Reading: the expression fills the video, so that onset and offset are ``estimated``.
    """
    draft.values["path"] = place(job, path)
    if job.check_frames == "skip":
        return draft
    try:
        count = count_frames(path)
    except MediaError as error:
        job.problems.add(path, f"not readable as a video ({error})", "Copy it from the release again, or remove it")
        return draft
    draft.values |= {
        "onset": 0, "offset": count - 1, "first_frame": 0, "last_frame": count - 1, "frame_count": count,
        "onset_source": "estimated", "offset_source": "estimated",
    }  # fmt: skip
    job.report.note("onset and offset are the video's first and last frame; no apex is coded", draft.id)
    return draft


def place(job: Job, path: Path) -> str:
    """A path for the manifest."""
    return path.relative_to(job.root).as_posix()
