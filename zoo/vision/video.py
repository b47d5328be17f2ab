"""One reader for video files and for folders of numbered frames; frames come one at a time."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

import av
import numpy as np

from zoo.errors import MediaError
from zoo.vision.folder import PictureFolder
from zoo.vision.frame import Frame, Planes
from zoo.vision.seek import FrameIndex, Steps, frame_index, pictures_from

__all__ = ["Frame", "MediaReader", "Planes", "write_video"]


class MediaReader:
    """A video file, or a folder of numbered pictures, as a stream of RGB frames.

    Iterating opens the file anew each time and holds one frame at a time; :meth:`read` takes a range out of the middle.
    Rotation stored by phones is applied; grey and deeper pictures become 8-bit RGB. Pictures of 16 bits whose first one uses
    only 10, 12 or 14 of them are taken as of so many bits, and that is told. Frames before the first key frame cannot be
    decoded: frame 0 is the first that can, and their number is told.

    Args:
        path: the file or folder.
        fps: frames per second, where the medium does not say (folders) or says wrongly.

    Attributes:
        fps: frames per second, or None if unknown.
        n_frames: as the container states it, or None.
        warnings: what is odd without being fatal: gaps in the numbering, at once; a rate that varies, no key frame at the
            beginning, once the end has been reached.

    Raises:
        MediaError: missing, not a video, without pictures. While iterating: damaged, of unequal sizes, a single frame.
    """

    def __init__(self, path: str | Path, *, fps: float | None = None) -> None:
        if fps is not None and not (math.isfinite(fps) and 0 < fps <= 100_000):
            raise MediaError(f"fps is {fps}; frames per second must be a positive number")
        self.path = Path(path)
        self.fps = fps
        self.n_frames: int | None = None
        self.warnings: list[str] = []
        self._given_fps = fps is not None
        self._folder: PictureFolder | None = None
        self._index: FrameIndex | Literal["unread"] | None = "unread"
        if self.path.is_dir():
            self._folder = PictureFolder(self.path)
            self.n_frames, self.warnings = len(self._folder), self._folder.warnings
        elif not self.path.exists():
            raise MediaError(f"there is no file or folder {self.path}; give a video or a folder of numbered frames")
        else:
            self._probe()

    def __iter__(self) -> Iterator[Frame]:
        count = 0
        for frame in self._decode() if self._folder is None else self._folder.read(self.fps):
            count += 1
            yield frame
        if count == 1:
            raise MediaError(f"{self.path} holds a single frame; a video, or a folder of frames, is wanted")

    def read(self, start: int, stop: int) -> Iterator[Frame]:
        """Frames ``start`` to ``stop - 1``, numbered as in iterating, without decoding what comes before.

        A video is decoded from the key frame before ``start`` on; its packets are listed at the first call. Where they carry no
        time (some avi), it is decoded from the beginning.

        Args:
            start: number of the first frame, from 0.
            stop: number after the last one; beyond the end it stops there.

        Raises:
            MediaError: no such range; damaged there.
        """
        if not 0 <= start < stop:
            raise MediaError(f"frames {start} to {stop} were asked of {self.path}; 0 <= start < stop is wanted")
        if self._folder is not None:
            total: int | None = len(self._folder)
        else:
            listed = self._frame_index()
            total = None if listed is None else len(listed.stamps)
        if total is not None and start >= total:
            raise MediaError(f"{self.path} holds {total} frames, 0 to {total - 1}; frame {start} was asked")
        return self._range(start, stop if total is None else min(stop, total))

    def times(self) -> np.ndarray | None:
        """When each frame is shown, from the file's packets without decoding; None where they do not say.

        Shapes: float64 ``[T]``, seconds from the first frame.
        """
        if self._folder is not None:
            return np.arange(len(self._folder)) / self.fps if self.fps else None
        index = self._frame_index()
        if index is None:
            return None
        return np.arange(len(index.stamps)) / self.fps if self._given_fps and self.fps else index.times()

    def _range(self, start: int, stop: int) -> Iterator[Frame]:
        if self._folder is not None:
            yield from self._folder.read(self.fps, start, stop)
            return
        index, done = self._frame_index(), start
        if index is None:
            yield from self._counted(start, stop)
            return
        times = index.times()
        try:
            for number, picture in pictures_from(self._open, index, start, stop):
                if picture.is_corrupt:
                    raise self._damaged(number, "the next frame is corrupt")
                moment = number / self.fps if self._given_fps and self.fps else float(times[number])
                yield Frame(number, moment, picture=picture, turn=round(picture.rotation / 90) % 4)
                done = number + 1
        except (av.FFmpegError, OSError) as error:
            raise self._damaged(done, _reason(error)) from None
        if (
            done < stop
        ):  # the packets promised other pictures than came: counting decides, and names the damage if it is one
            yield from self._counted(done, stop)

    def _counted(self, start: int, stop: int) -> Iterator[Frame]:
        last = -1
        for frame in self._decode():
            last = frame.index
            if last >= start:
                yield frame
            if last >= stop - 1:
                return
        if last < start:
            raise MediaError(f"{self.path} holds {last + 1} frames, 0 to {last}; frame {start} was asked")

    def _frame_index(self) -> FrameIndex | None:
        if self._index == "unread":
            try:
                with self._open() as container:
                    self._index = None if container.format.name == "avi" else frame_index(container)
            except (av.FFmpegError, OSError) as error:
                raise self._damaged(0, _reason(error)) from None
        assert self._index != "unread"
        return self._index

    def _tell(self, warning: str) -> None:
        if warning not in self.warnings:
            self.warnings.append(warning)

    # -- files -----------------------------------------------------------------------------------------------------

    def _open(self) -> Any:
        if self.path.stat().st_size == 0:
            raise MediaError(f"{self.path} is empty (0 bytes); copy or record it again")
        try:
            container: Any = av.open(str(self.path), metadata_errors="ignore")
        except (av.FFmpegError, OSError) as error:
            raise MediaError(
                f"{self.path} cannot be opened as a video ({_reason(error)}): give a video file such as mp4, avi, mov, mkv "
                f"or webm, or a folder of frames; if it was one, it is damaged or cut short"
            ) from None
        if not container.streams.video:
            kind = "sound only" if container.streams.audio else "no picture stream"
            container.close()
            raise MediaError(f"{self.path} holds {kind}; a video is wanted")
        return container

    def _probe(self) -> None:
        with self._open() as container:
            stream = container.streams.video[0]
            rate = stream.average_rate or stream.guessed_rate
            if not self._given_fps and rate and 0 < rate <= 1000:  # a container without a rate states its clock, 90000
                self.fps = float(rate)
            self.n_frames = stream.frames or None

    def _decode(self) -> Iterator[Frame]:
        count, packets, start, end, size = 0, 0, None, None, None
        early, key, steps = 0, None, Steps()  # packets before the first key frame, and its time stamp
        with self._open() as container:
            stream = container.streams.video[0]
            by_rate = (
                self._given_fps or container.format.name == "avi"
            )  # avi stores no times, only an order of decoding
            alone = len(container.streams) == 1 and container.duration
            seconds = container.duration / av.time_base if alone else None
            try:
                for packet in container.demux(stream):
                    packets += packet.size > 0  # an edit list may hide frames, never packets: too few mean a cut file
                    if key is None and packet.size:
                        key = packet.pts if packet.is_keyframe else None
                        early += key is None
                    for picture in packet.decode():
                        # some decoders skip what needs a frame that is not there, others make a picture of it
                        if early and (key is None or (picture.pts is not None and picture.pts < key)):
                            continue
                        if picture.is_corrupt:
                            raise self._damaged(count, "the next frame is corrupt")
                        turn = round(picture.rotation / 90) % 4
                        now = (picture.height, picture.width)
                        if size is not None and now != size:
                            raise MediaError(
                                f"{self.path} changes size at frame {count}, from {size[1]}x{size[0]} to "
                                f"{now[1]}x{now[0]}; re-encode it at one size"
                            )
                        size = now
                        start = picture.time if start is None else start
                        end = picture.time
                        stated = None if picture.time is None or start is None else picture.time - start
                        from_rate = count / self.fps if self.fps else None
                        moment = from_rate if by_rate or stated is None else stated
                        if stated is not None and not by_rate:
                            steps.add(stated)
                        yield Frame(count, moment, picture=picture, turn=turn)
                        count += 1
            except (av.FFmpegError, OSError) as error:
                raise self._damaged(count, _reason(error)) from None
        if count == 0:
            why = "no key frame in it" if early and key is None else "the file is damaged"
            raise MediaError(f"{self.path}: no frame could be decoded ({why}): record it again")
        if early:
            self._tell(
                f"{self.path.name} begins without a key frame: its first {early} frames cannot be decoded and are left out; "
                f"frame 0 is the first that can"
            )
        if (remark := steps.remark()) is not None:
            self._tell(f"{self.path.name}: {remark}")
        if packets < (self.n_frames or 0):
            raise self._damaged(count, f"the file announces {self.n_frames}")
        # mkv and webm state no frame count, only how long they are
        if seconds and end is not None and end < seconds - max(0.5, 0.05 * seconds):
            raise self._damaged(count, f"at {end:.2f} s, the file announces {seconds:.2f} s")
        self.n_frames = count

    def _damaged(self, count: int, reason: str) -> MediaError:
        way_out = f"cut it there (`ffmpeg -i IN -frames:v {count} OUT.mp4`) or " if count > 1 else ""
        return MediaError(
            f"{self.path} is damaged or cut short: {count} frames decoded, then it ends ({reason}); "
            f"{way_out}copy it again from the source"
        )


def write_video(path: str | Path, frames: Iterable[np.ndarray], *, fps: float = 30, crf: int = 12) -> None:
    """Write RGB frames as H.264.

    Args:
        path: file to write; the suffix chooses the container (mp4, mkv, mov, avi).
        frames: each uint8 ``[H, W, 3]``.
        fps: frames per second.
        crf: 0 (lossless) to 51; above about 20 the compression eats motion of less than a pixel.

    Raises:
        MediaError: no frames.
    """
    from fractions import Fraction

    stream: Any = None
    with av.open(str(path), "w") as container:
        for rgb in frames:
            if stream is None:
                stream = container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1001))
                stream.height, stream.width = rgb.shape[:2]
                stream.pix_fmt = "yuv444p" if any(side % 2 for side in rgb.shape[:2]) else "yuv420p"
                stream.options = {"crf": str(crf)}
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb), format="rgb24")))
        if stream is None:
            raise MediaError(f"no frames to write to {path}")
        container.mux(stream.encode(None))


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error).strip().rstrip(".").lower() or type(error).__name__
