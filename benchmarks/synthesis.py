"""How fast scripts are played, how true small motion is, and what it looks like.

    python benchmarks/synthesis.py

Frames of 256 px with every nuisance on the embedded portrait: frames per second in one process and in two, against the same
warp by scipy.ndimage.map_coordinates and skimage.transform.warp in the same run; the shift that a frame shows where .1 px was
asked, against OpenCV's cubic. Writes benchmarks/results/synthesis.json and synthesis.png. Two minutes on two cores.
"""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np

from zoo.synthesis.portraits import astronaut
from zoo.synthesis.render import Course, Nuisance, Player, plan
from zoo.synthesis.script import AUScript, Move, draw
from zoo.vision.resample import Spline

RESULTS = Path(__file__).resolve().parent / "results"
SIZE, FPS, FRAMES = 256, 200.0, 200


def course_of(player: Player, seed: int) -> Course:
    """A clip in which the face moves all the time."""
    rng = np.random.default_rng(seed)
    scripts, start = [], 20.0
    while start < 700:
        scripts.append((start, draw(rng)))
        start += scripts[-1][1].milliseconds + 20
    frames = int((start + 100) * FPS / 1000)
    return plan(scripts, frames=frames, fps=FPS, interocular=player.interocular, rng=rng)


def play(seed: int, frames: int) -> tuple[float, float]:
    """Wall clock and CPU seconds of so many frames, after a warm-up."""
    cv2.setNumThreads(1)
    player = Player(astronaut().framed(SIZE))
    course = course_of(player, seed)
    for index in range(10):
        player.frame(course, index)
    wall, cpu = time.perf_counter(), time.process_time()
    for index in range(frames):
        player.frame(course, index % len(course))
    return time.perf_counter() - wall, time.process_time() - cpu


def usual(frames: int) -> dict[str, float]:
    """Milliseconds of CPU a frame takes when the same warp is done by the usual tools, cubic, channel by channel."""
    from scipy.ndimage import map_coordinates
    from skimage.transform import warp

    player = Player(astronaut().framed(SIZE))
    course = course_of(player, 0)
    picture = player.portrait.picture.astype(np.float64)
    places = [player._sources(course, 20 + k)[::-1].astype(np.float64) for k in range(frames)]

    def scipy_way(at: np.ndarray) -> None:
        for channel in range(3):
            map_coordinates(picture[..., channel], at, order=3, mode="nearest")

    def skimage_way(at: np.ndarray) -> None:
        for channel in range(3):
            warp(picture[..., channel], at, order=3, mode="edge", preserve_range=True)

    ways: dict[str, Callable[[np.ndarray], None]] = {
        "scipy.ndimage.map_coordinates": scipy_way,
        "skimage.transform.warp": skimage_way,
    }
    out = {}
    for name, way in ways.items():
        begin = time.process_time()
        for at in places:
            way(at)
        out[name] = 1000 * (time.process_time() - begin) / frames
    return out


def bias(asked: float = 0.1) -> dict[str, float]:
    """Shift in pixels that the picture shows by least squares, where ``asked`` was played."""
    player = Player(astronaut().framed(SIZE))
    still = plan([], frames=3, fps=FPS, interocular=60, rng=np.random.default_rng(0), nuisance=Nuisance.none())
    still.head[:, 0] = asked
    picture = player.portrait.picture.astype(np.float32)
    y, x = np.mgrid[:SIZE, :SIZE].astype(np.float32)
    shown = {
        "zoo": player.frame(still, 0).astype(np.float32),
        "spline": Spline(picture).moved(np.stack([np.full((SIZE, SIZE), asked), np.zeros((SIZE, SIZE))])),
        "cv2 INTER_CUBIC": cv2.remap(picture, x - np.float32(asked), y, cv2.INTER_CUBIC),
        "cv2 INTER_LINEAR": cv2.remap(picture, x - np.float32(asked), y, cv2.INTER_LINEAR),
    }
    inner = slice(8, -8)
    slope = np.gradient(picture, axis=1)[inner, inner]
    # the interpolating spline is taken as the truth: how much further than it does each way move the picture
    return {
        name: asked - float(((moved - shown["spline"])[inner, inner] * slope).sum() / (slope**2).sum())
        for name, moved in shown.items()
        if name != "spline"
    }


def sheet() -> None:
    """Onset, apex, eight times their difference, and the true motion of some scripts, as one picture."""
    player = Player(astronaut().framed(SIZE))
    rows = []
    for moves in (((12, "both", 0.25), (6, "both", 0.25)), ((4, "both", 0.25),), ((1, "both", 0.25), (2, "both", 0.25)),
                  ((12, "left", 0.45),), ((15, "both", 0.45), (17, "both", 0.25))):  # fmt: skip
        script = AUScript(
            dataset="casme2", emotion="others",
            moves=tuple(
                Move(au=au, side=side, intensity=value, letter="B" if value < 0.4 else "C", start=0, peak=150, end=320)  # type: ignore[arg-type]
                for au, side, value in moves
            ),
        )  # fmt: skip
        course = plan(
            [(20, script)], frames=90, fps=FPS, interocular=player.interocular, rng=np.random.default_rng(1),
            nuisance=Nuisance.none(),
        )  # fmt: skip
        interval = course.events[0].interval
        onset, apex = (player.frame(course, i) for i in (interval.onset, interval.apex))
        flow = player.flow(course, interval.onset, interval.apex)
        length = np.hypot(*flow)
        hue = np.uint8((np.degrees(np.arctan2(flow[1], flow[0])) % 360) / 2)
        value = np.uint8(255 * np.clip(length / 4, 0, 1))
        colour = cv2.cvtColor(np.dstack([hue, np.full_like(value, 255), value]), cv2.COLOR_HSV2RGB)
        change = np.clip(128 + 8 * (apex.astype(np.float32) - onset), 0, 255).astype(np.uint8)
        panels = [cv2.resize(p, (160, 160), interpolation=cv2.INTER_AREA) for p in (onset, apex, change, colour)]
        title = np.full((18, 640, 3), 255, np.uint8)
        text = f"{script.code}: onset, apex, 8 x difference, true motion (up to {length.max():.1f} px of {SIZE})"
        cv2.putText(title, text, (4, 13), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (20, 20, 20), 1, cv2.LINE_AA)
        rows += [title, np.hstack(panels)]
    cv2.imwrite(str(RESULTS / "synthesis.png"), np.vstack(rows)[..., ::-1])


def main() -> None:
    wall, cpu = play(0, FRAMES)
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        list(pool.map(play, [0, 1], [5, 5]))  # the processes start, and import
        both = list(pool.map(play, [0, 1], [FRAMES, FRAMES]))
    slowest = max(w for w, _ in both)
    others = usual(20)
    found = {
        "what": f"frames of {SIZE} px, embedded portrait, every nuisance, before they are written",
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} while it ran",
        "versions": {"cv2": cv2.__version__, "numpy": np.__version__},
        "cpu_ms_per_frame": round(1000 * cpu / FRAMES, 2),
        "frames_per_second_one_process": round(FRAMES / wall, 1),
        "frames_per_second_two_processes": round(2 * FRAMES / slowest, 1),
        "cpu_ms_per_warp_of_others": {name: round(ms, 2) for name, ms in others.items()},
        "times_faster": {name: round(ms / (1000 * cpu / FRAMES), 1) for name, ms in others.items()},
        "shift_shown_where_0.1_px_was_asked": {name: round(px, 4) for name, px in bias().items()},
    }  # fmt: skip
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "synthesis.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    sheet()
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
