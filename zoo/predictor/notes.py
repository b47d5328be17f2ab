"""What is read, and what is told about it: the moment asked for, how the face was followed, what went wrong."""

from __future__ import annotations

import time
from collections.abc import Iterator

from zoo.errors import FaceError, MediaError, ZooError
from zoo.predictor.recognise import Progress
from zoo.result import FaceInfo, ranges
from zoo.spotting.apex import ASSUMED_FPS, LAG_SECONDS, SHORT_FRAMES, SHORT_SECONDS
from zoo.spotting.stream import SteadyTrack
from zoo.vision.track import FaceTrack
from zoo.vision.video import Frame, MediaReader


def window(onset: int | None, apex: int | None, reader: MediaReader) -> tuple[int | None, int | None]:
    """Onset and apex that bound what is read; (None, None) where the whole video is searched."""
    for name, number in (("onset", onset), ("apex", apex)):
        if number is not None and (number < 0 or (reader.n_frames is not None and number >= reader.n_frames)):
            last = "the last" if reader.n_frames is None else str(reader.n_frames - 1)
            raise MediaError(f"{name} is frame {number}; the frames of {reader.path} are numbered from 0 to {last}")
    if apex is not None and onset is None:
        near = apex <= (SHORT_FRAMES if reader.fps is None else SHORT_SECONDS * reader.fps)
        onset = 0 if near else apex - max(1, round(LAG_SECONDS * (reader.fps or ASSUMED_FPS)))
    if onset is not None and apex is not None and onset >= apex:
        raise ZooError(f"onset {onset} must come before apex {apex}; give frame numbers counted from 0")
    return onset, apex


def clocked(reader: MediaReader, watch: dict[str, float], progress: Progress | None) -> Iterator[Frame]:
    """The frames, with the seconds that they take to decode under ``decode``."""
    total = reader.n_frames
    frames = iter(reader)
    while True:
        begin = time.perf_counter()
        frame = next(frames, None)
        watch["decode"] = watch.get("decode", 0.0) + time.perf_counter() - begin
        if frame is None:
            return
        yield frame
        if progress is not None:
            progress(frame.index + 1, total)


def explain(
    error: FaceError, reader: MediaReader, track: FaceTrack | SteadyTrack, start: int | None, end: int | None
) -> ZooError:
    """The error that a user can act on, in place of one that only knows its own frames."""
    wanted = max((n for n in (start, end) if n is not None), default=-1)
    if track.n_frames <= wanted:
        return MediaError(
            f"{reader.path} ends before frame {wanted}, which was given as "
            f"{'apex' if end == wanted else 'onset'}; frames are counted from 0"
        )
    if len(track.lost) == len(track.checked):
        return FaceError(
            f"no face in {reader.path}: {len(track.checked)} of {track.n_frames} frames were looked at; crop "
            f"closer, film in better light, or lower min_face (in pixels) if the face is small"
        )
    return FaceError(f"{reader.path}: {error}")


def face_warnings(track: FaceTrack | SteadyTrack, *, hold: bool) -> list[str]:
    """What a user should know about how the face was followed. ``hold``: under one alignment."""
    out = []
    if track.lost:
        out.append(
            f"the face was not found in {len(track.lost)} of the {len(track.checked)} frames looked at: "
            f"{ranges(track.lost)}"
        )
    if track.skipped:
        out.append(
            f"{len(track.skipped)} of {track.n_frames} frames were left out (no face, or the head moved fast): "
            f"{ranges(track.skipped)}"
        )
    if track.others:
        out.append(f"{track.others} other face{'s' if track.others > 1 else ''} in view; the largest was followed")
    if hold and track.moved > 0.15:
        out.append(f"the head moved by {track.moved:.0%} of the distance between the eyes within the interval given")
    if 0 < track.interocular < 22:
        out.append(f"the face is small ({track.interocular:.0f} px between the eyes): faint motion is lost")
    if track.outside > 0.05:
        out.append(f"the face touches the edge of the picture ({track.outside:.0%} of the crop lies outside)")
    if track.residual > 0.05:
        out.append("the face is turned away from the camera; the models have seen frontal faces")
    return out


def face_info(track: FaceTrack | SteadyTrack) -> FaceInfo:
    """How the face was followed, as the result tells it."""
    return FaceInfo(
        checked=len(track.checked),
        lost=tuple(track.lost),
        skipped=tuple(sorted(track.skipped)),
        segments=track.segments,
        others=track.others,
        moved=round(track.moved, 3),
        interocular=round(track.interocular, 1),
    )
