"""``zoo faces``: everybody in a video, frame by frame, as a table and a figure."""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from zoo.errors import FaceError, ZooError
from zoo.vision.klt import PointTrack
from zoo.vision.landmarks import LandmarkProvider, landmark_provider
from zoo.vision.people import FaceFollower, TrackedFace
from zoo.vision.video import Frame, MediaReader
from zoo.vision.yunet import face_detector

POINTS = ("eye0", "eye1", "nose", "mouth0", "mouth1")  # 0 is on the image's left
SHOWN = 8  # frames in the figure
COLOURS = ((31, 119, 180), (255, 127, 14), (44, 160, 44), (214, 39, 40), (148, 103, 189), (140, 86, 75))


def parser() -> argparse.ArgumentParser:
    """Of the command's arguments."""
    out = argparse.ArgumentParser(
        prog="zoo faces",
        description="Find all faces of a video and follow each of them: faces.csv, one row per frame and face, and faces.png.",
        epilog="With --landmarks the table can be corrected by hand and read back as landmarks of one's own "
        "(zoo.vision.landmark_file). A face that leaves and comes back gets a new number.",
    )
    out.add_argument("path", metavar="VIDEO", help="video file or folder of numbered frames")
    out.add_argument("--out", type=Path, metavar="DIR", help="folder to write (default out/NAME)")
    out.add_argument("--stride", type=int, default=10, help="frames between two looks of the detector (default 10)")
    out.add_argument("--min-face", type=float, metavar="PX", help="smallest face (default a tenth of the picture)")
    out.add_argument("--detector", default="mtcnn", metavar="NAME", help="mtcnn, or the path of YuNet's .onnx")
    out.add_argument(
        "--landmarks", metavar="SOURCE", help="add 68 points: canonical, mediapipe, or a file (.task, .csv, .npy, .npz)"
    )
    out.add_argument("--fps", type=float, help="frames per second, where the input does not say or says it wrongly")
    return out


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    arguments = parser().parse_args(argv)
    reader = MediaReader(arguments.path, fps=arguments.fps)
    provider = landmark_provider(arguments.landmarks) if arguments.landmarks else None
    detector = face_detector(arguments.detector, min_face=arguments.min_face)
    track = FaceFollower(reader, detector, stride=arguments.stride)
    folder: Path = arguments.out or Path("out") / Path(arguments.path).stem
    folder.mkdir(parents=True, exist_ok=True)
    table, picture = folder / "faces.csv", folder / "faces.png"
    parts = [path.with_name(f".{path.name}.part") for path in (table, picture)]
    columns = TextColumn("faces"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    summary = _Summary()
    points = None if provider is None else _Landmarks(provider)
    try:
        with (
            Progress(*columns, console=Console(stderr=True), transient=True) as bar,
            parts[0].open("w", newline="", encoding="utf-8") as file,
        ):
            task = bar.add_task("frames", total=reader.n_frames)
            writer = csv.writer(file)
            writer.writerow(_header(points is not None))
            for frame, faces in track:
                writer.writerows(_rows(frame, faces, points))
                summary.add(frame, faces)
                bar.advance(task)
        figure(summary, parts[1], title=Path(arguments.path).name)
        for part, path in zip(parts, (table, picture), strict=True):
            part.replace(path)
    finally:
        for part in parts:
            part.unlink(missing_ok=True)
    for warning in [*reader.warnings, *getattr(provider, "warnings", []), *(points.notes() if points else [])]:
        print(f"note: {warning}", file=sys.stderr)
    for number, where in summary.where.items():
        print(f"face {number}: {len(where)} of {summary.frames} frames, first {where[0]}, last {where[-1]}")
    if track.without:
        print(f"no face in {len(track.without)} of {summary.frames} frames")
    print(f"{table}  {picture}")
    return 0


class _Landmarks:
    """Points of each face: by the provider where the detector has looked, followed in between."""

    def __init__(self, provider: LandmarkProvider) -> None:
        self._provider, self._tracks = provider, dict[int, PointTrack]()
        self._asked = self._failed = 0

    def of(self, frame: Frame, one: TrackedFace) -> np.ndarray | None:
        track = self._tracks.get(one.id)
        if track is not None and not one.detected:
            try:
                return track.step(frame.grey)
            except FaceError:
                del self._tracks[one.id]  # asked anew
        self._asked += 1
        try:
            points = self._provider.landmarks(frame.rgb, one.face, index=frame.index)
        except ZooError:
            self._failed += 1
            self._tracks.pop(one.id, None)
            return None
        self._tracks[one.id] = PointTrack(points, frame.grey)
        return points

    def notes(self) -> Iterator[str]:
        if self._failed:
            yield f"no landmarks in {self._failed} of the {self._asked} places where they were asked for; those cells are empty"


class _Summary:
    """Who was there when, and a few frames evenly spaced over a video whose length need not be known."""

    def __init__(self) -> None:
        self.where: dict[int, list[int]] = {}
        self.frames, self.shown, self._every = 0, list[tuple[int, np.ndarray]](), 1

    def add(self, frame: Frame, faces: list[TrackedFace]) -> None:
        self.frames += 1
        for one in faces:
            self.where.setdefault(one.id, []).append(frame.index)
        if frame.index % self._every == 0:
            self.shown.append((frame.index, _drawn(frame.rgb, faces)))
            if len(self.shown) >= 2 * SHOWN:
                self.shown, self._every = self.shown[::2], 2 * self._every


def _header(landmarks: bool) -> list[str]:
    head = ["frame", "time", "face", "detected", "score", "left", "top", "right", "bottom"]
    head += [f"{name}_{axis}" for name in POINTS for axis in "xy"]
    return head + [f"{axis}_{i}" for axis in "xy" for i in range(68)] * landmarks


def _rows(frame: Frame, faces: list[TrackedFace], points: _Landmarks | None) -> Iterator[list[Any]]:
    for one in faces:
        numbers = [*one.face.box, *one.face.points.ravel()]
        if points is not None:
            found = points.of(frame, one)
            numbers += [""] * 136 if found is None else [*found.T.ravel()]
        moment = "" if frame.time is None else f"{frame.time:.6f}"
        head = [frame.index, moment, one.id, int(one.detected), f"{one.face.score:.3f}"]
        yield head + [value if isinstance(value, str) else f"{value:.2f}" for value in numbers]


def _drawn(rgb: np.ndarray, faces: list[TrackedFace]) -> np.ndarray:
    scale = 320 / rgb.shape[1]
    out = cv2.resize(rgb, (320, max(1, round(rgb.shape[0] * scale))), interpolation=cv2.INTER_AREA)
    for one in faces:
        colour = COLOURS[(one.id - 1) % len(COLOURS)]
        x0, y0, x1, y1 = (one.face.box * scale).astype(int).tolist()
        cv2.rectangle(out, (x0, y0), (x1, y1), colour, 2 if one.detected else 1)
        for x, y in (one.face.points * scale).astype(int).tolist():
            cv2.circle(out, (x, y), 2, colour, -1)
        cv2.putText(out, str(one.id), (x0 + 3, y0 + 16), cv2.FONT_HERSHEY_SIMPLEX, 0.5, colour, 1, cv2.LINE_AA)
    return out


def figure(summary: _Summary, path: Path, *, title: str) -> None:
    """Frames with their faces, and below when each face was there."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    shown = summary.shown[:: max(1, len(summary.shown) // SHOWN)][:SHOWN]
    height = shown[0][1].shape[0] / 320
    out = Figure(figsize=(12, 6 * height + 1.2 + 0.22 * len(summary.where)), layout="constrained")
    FigureCanvasAgg(out)
    out.suptitle(title, x=0.01, ha="left", fontsize=11)
    halves: Any = out.subfigures(2, 1, height_ratios=[6 * height, 0.9 + 0.22 * len(summary.where)])
    top, bottom = halves
    for axes, (index, picture) in zip(top.subplots(2, SHOWN // 2, squeeze=False).ravel(), shown, strict=False):
        axes.imshow(picture)
        axes.set_title(f"frame {index}", fontsize=8, loc="left", pad=2)
    for axes in top.axes:
        axes.axis("off")
    line = bottom.subplots()
    for row, (number, where) in enumerate(summary.where.items()):
        starts = [i for i, now in enumerate(where) if i == 0 or now != where[i - 1] + 1]
        ends = [*starts[1:], len(where)]
        bars = [(where[a] - 0.5, where[b - 1] - where[a] + 1) for a, b in zip(starts, ends, strict=True)]
        line.broken_barh(bars, (row - 0.35, 0.7), color=np.array(COLOURS[(number - 1) % len(COLOURS)]) / 255)
    line.set_yticks(range(len(summary.where)), [f"face {number}" for number in summary.where], fontsize=8)
    line.set_xlim(-0.5, summary.frames - 0.5)
    line.set_ylim(max(len(summary.where), 1) - 0.5, -0.5)
    line.set_xlabel("frame" if summary.where else "frame (no face found)", fontsize=8)
    line.tick_params(labelsize=8)
    line.spines[["top", "right"]].set_visible(False)
    out.savefig(path, dpi=110, format="png")
