"""One reader for video files and for folders of numbered frames; frames come one at a time."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

from zoo.errors import MediaError

PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")


@dataclass(frozen=True)
class Planes:
    """The brightness and the two half-sized colour planes that most videos are stored as."""

    y: np.ndarray  # uint8 [H, W]
    u: np.ndarray  # uint8 [ceil(H/2), ceil(W/2)]
    v: np.ndarray
    full: bool  # brightness runs from 0 to 255; otherwise from 16 to 235
    bt709: bool  # colour matrix of high definition; otherwise BT.601


class Frame:
    """One decoded picture. Colour is converted when it is asked for: it costs several times what decoding does.

    Attributes:
        index: from 0.
        time: seconds from the first frame; None where no rate is known.
        planes: as stored in the file, where it is 4:2:0 of 8 bits; views that live as long as the frame.
    """

    def __init__(
        self, index: int, time: float | None, rgb: np.ndarray | None = None, *, picture: Any = None, turn: int = 0
    ) -> None:
        if (rgb is None) == (picture is None):
            raise MediaError("a frame is made of a picture in colour, or of a decoded one")
        self.index, self.time, self._picture, self._turn = index, time, picture, turn
        if rgb is not None:
            self.__dict__["rgb"] = rgb

    @cached_property
    def rgb(self) -> np.ndarray:
        """Shapes: uint8 ``[H, W, 3]``."""
        return np.ascontiguousarray(np.rot90(self._picture.to_ndarray(format="rgb24"), self._turn))

    @cached_property
    def grey(self) -> np.ndarray:
        """Brightness from 0 to 255, as the grey of :attr:`rgb` but for a few units of rounding. Shapes: uint8 ``[H, W]``."""
        if self.planes is not None:
            return self.planes.y if self.planes.full else cv2.LUT(self.planes.y, _full_range())
        return self.rgb if self.rgb.ndim == 2 else cv2.cvtColor(self.rgb, cv2.COLOR_RGB2GRAY)

    @cached_property
    def planes(self) -> Planes | None:
        """As stored in the file; None where it is not 4:2:0 of 8 bits."""
        picture = self._picture
        if picture is None or picture.format.name not in ("yuv420p", "yuvj420p"):
            return None
        y, u, v = (
            np.rot90(np.frombuffer(p, np.uint8).reshape(-1, p.line_size)[: p.height, : p.width], self._turn)
            for p in picture.planes
        )
        full = picture.format.name == "yuvj420p" or int(picture.color_range) == 2
        return Planes(y, u, v, full, int(picture.colorspace) == 1)


@cache
def _full_range() -> np.ndarray:
    return np.clip(np.rint((np.arange(256) - 16.0) * 255 / 219), 0, 255).astype(np.uint8)


class MediaReader:
    """A video file, or a folder of numbered pictures, as a stream of RGB frames.

    Iterating opens the file anew each time and holds one frame at a time. Rotation stored by phones is applied; grey
    and deeper pictures become 8-bit RGB (16 bit by dropping the low byte).

    Args:
        path: the file or folder.
        fps: frames per second, where the medium does not say (folders) or says wrongly.

    Attributes:
        fps: frames per second, or None if unknown.
        n_frames: as the container states it, or None.
        warnings: what is odd without being fatal, e.g. a gap in the numbering.

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
        self._pictures: list[Path] | None = None
        if self.path.is_dir():
            self._pictures = self._list_pictures()
            self.n_frames = len(self._pictures)
        elif not self.path.exists():
            raise MediaError(f"there is no file or folder {self.path}; give a video or a folder of numbered frames")
        else:
            self._probe()

    def __iter__(self) -> Iterator[Frame]:
        count = 0
        for frame in self._read_pictures() if self._pictures is not None else self._decode():
            count += 1
            yield frame
        if count == 1:
            raise MediaError(f"{self.path} holds a single frame; a video, or a folder of frames, is wanted")

    # -- folders ---------------------------------------------------------------------------------------------------

    def _list_pictures(self) -> list[Path]:
        entries = [p for p in self.path.iterdir() if p.is_file() and not p.name.startswith(".")]
        pictures = sorted((p for p in entries if p.suffix.lower() in PICTURES), key=lambda p: _natural(p.name))
        if not pictures:
            other = f" (it holds {entries[0].name}: a video is given as the file itself)" if entries else ""
            raise MediaError(f"the folder {self.path} has no pictures ({', '.join(PICTURES)}){other}")
        numbers = [int(found[-1]) for p in pictures if (found := re.findall(r"\d+", p.stem))]
        gaps = [(a, b) for a, b in pairwise(numbers) if b != a + 1]
        if gaps:
            shown = ", ".join(f"{b} follows {a}" for a, b in gaps[:3]) + (", …" if len(gaps) > 3 else "")
            self.warnings.append(
                f"{self.path.name}: {len(gaps)} gap{'s' if len(gaps) > 1 else ''} in the frame numbers "
                f"({shown}); frames are taken as evenly spaced"
            )
        return pictures

    def _read_pictures(self) -> Iterator[Frame]:
        assert self._pictures is not None
        first: tuple[int, ...] | None = None
        for index, path in enumerate(self._pictures):
            raw = np.fromfile(path, np.uint8)
            bgr = cv2.imdecode(raw, cv2.IMREAD_COLOR) if raw.size else None
            if bgr is None:
                raise MediaError(
                    f"{path} is not a readable picture ({raw.size:,} bytes); {index} frames before it were "
                    f"read: replace it or take it away"
                )
            if first is not None and bgr.shape != first:
                raise MediaError(
                    f"frames of unequal size in {self.path}: {self._pictures[0].name} is "
                    f"{first[1]}x{first[0]}, {path.name} is {bgr.shape[1]}x{bgr.shape[0]}; all frames of a "
                    f"clip must share one size"
                )
            first = bgr.shape
            yield Frame(index, index / self.fps if self.fps else None, cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB))

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
                    for picture in packet.decode():
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
                        yield Frame(count, moment, picture=picture, turn=turn)
                        count += 1
            except (av.FFmpegError, OSError) as error:
                raise self._damaged(count, _reason(error)) from None
        if count == 0:
            raise MediaError(f"{self.path}: no frame could be decoded; the file is damaged: record it again")
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


def _natural(name: str) -> list[tuple[int, int | str]]:
    return [(0, int(part)) if part.isdigit() else (1, part.lower()) for part in re.split(r"(\d+)", name) if part]


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error).strip().rstrip(".").lower() or type(error).__name__
