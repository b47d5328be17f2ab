"""A synthetic data set on disk: frames and sheet as a real one's, and the truth of every clip beside them.

``OUT/<the layout's folders>`` and its coding sheet are what the data set's reader reads. ``OUT/truth/<subject>_<clip>.json``
tells scripts, intervals and blinks; the ``.npz`` beside it holds the true motion from onset to apex (``flow``, and
``expression`` without the head's own motion), true landmarks of both frames, the course of every movement, head and light.
``OUT/synthesis.json`` tells how it was made. Everything follows from it and the portraits, byte for byte.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, field, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Literal, get_args

import cv2
import numpy as np

from zoo.errors import ZooError
from zoo.synthesis.layouts import LAYOUTS, Layout, Row, check_code, write_sheet
from zoo.synthesis.mesh import MeshFields, MeshModel
from zoo.synthesis.portraits import Portrait
from zoo.synthesis.render import Course, Nuisance, Player, plan
from zoo.synthesis.script import AUScript, check_letters, draw, playable

VERSION = 1  # of the renderer; another one makes other bytes
Progress = Callable[[int, int], None]
Engine = Literal["landmarks", "ict"]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Everything that a data set follows from, beside its portraits."""

    layout: str = "casme2"
    subjects: int = 1
    clips: int = 8  # per subject
    seed: int = 0
    size: int = 256  # px, height = width of a frame
    fps: float = 200.0
    style: str = "casme2"  # whose statistics micro-expressions are drawn from
    emotions: tuple[str, ...] = ()  # these, equally often; empty: all, as often as measured
    letters: str = ""  # FACS intensities that occur, equally often; empty: as measured
    events: int = 1  # per video
    macro: float = 0.5  # share of macro-expressions, in long videos
    lead: float = 0.05  # seconds before onset and after offset, in short clips
    aligned: bool = False  # frames show the canonical crop, as `--data.faces cropped` takes them
    engine: Engine = "landmarks"  # where the fields come from: the table of landmarks, or a mesh
    mesh: str = ""  # digest of the mesh's file
    flow: bool = True  # keep the true motion
    quality: int = 95  # of the JPEG frames
    nuisance: Nuisance = field(default_factory=Nuisance)
    portraits: str = ""  # digest of the portraits

    def __post_init__(self) -> None:
        if self.layout not in LAYOUTS:
            raise ZooError(f"layout is {self.layout!r}; known: {', '.join(LAYOUTS)}")
        if self.engine not in get_args(Engine):
            raise ZooError(f"engine is {self.engine!r}; known: {', '.join(get_args(Engine))}")
        for name, least in (("subjects", 1), ("clips", 1), ("size", 32), ("events", 1)):
            if getattr(self, name) < least:
                raise ZooError(f"{name} is {getattr(self, name)}; at least {least} is wanted")
        if not 5 <= self.fps <= 2000:
            raise ZooError(f"fps is {self.fps}; between 5 and 2000 frames a second can be written")
        if unknown := [e for e in self.emotions if e not in playable(self.style)]:
            raise ZooError(f"{self.style} codes no {', '.join(unknown)}; it codes {', '.join(playable(self.style))}")
        check_letters(self.letters)
        form = LAYOUTS[self.layout]
        if self.letters and form.long:
            raise ZooError(
                f"intensities {self.letters} are for short clips; long videos mix micro- and macro-expressions as measured"
            )
        drawn = self.emotions or tuple(playable(self.style))
        if not form.any_label and (strange := [e for e in drawn if e not in playable(form.style)]):
            raise ZooError(
                f"a sheet of layout {self.layout} has no label {', '.join(strange)}, which {self.style} codes; give --emotions "
                f"of {', '.join(playable(form.style))}, or --layout csv, which has every label"
            )


def digest(portraits: Sequence[Portrait]) -> str:
    """Of pictures and landmarks."""
    out = hashlib.sha256()
    for portrait in portraits:
        out.update(portrait.name.encode())
        out.update(np.ascontiguousarray(portrait.picture).tobytes())
        out.update(np.round(portrait.landmarks, 3).tobytes())
    return out.hexdigest()


def write_dataset(
    settings: Settings,
    portraits: Sequence[Portrait],
    out: Path,
    *,
    mesh: Path | None = None,
    workers: int = 1,
    progress: Progress | None = None,
) -> list[Row]:
    """Write a data set; what an earlier, interrupted call finished is kept.

    Args:
        settings: how.
        portraits: one for each subject.
        out: folder to write.
        mesh: file of the face mesh, for the engine ``ict``.
        workers: processes; 1 works in this one.
        progress: told clips done and clips in all.

    Returns:
        The coded events.

    Raises:
        ZooError: too few portraits; a folder that holds something else.
    """
    if len(portraits) < settings.subjects:
        raise ZooError(
            f"{settings.subjects} subjects are asked for, but there are {len(portraits)} portraits; "
            f"give more portraits, or --subjects {len(portraits)}"
        )
    portraits = list(portraits)[: settings.subjects]
    if (settings.engine == "ict") != (mesh is not None):
        raise ZooError(
            "the engine ict plays the shapes of a face mesh; give both --engine ict and --ict FILE, or neither"
        )
    model = MeshModel(mesh) if mesh is not None else None
    settings = replace(settings, portraits=digest(portraits), mesh=model.digest if model else "")
    _claim(out, settings)
    total, done = settings.subjects * settings.clips, 0
    rows: list[Row] = []

    def tick(count: int) -> None:
        nonlocal done
        done += count
        if progress is not None:
            progress(done, total)

    if workers <= 1:
        for k, portrait in enumerate(portraits, 1):
            rows += _write_subject(settings, portrait, k, out, model, tick)
    else:
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
            waiting = [
                pool.submit(_write_subject, settings, p, k, out, model, None) for k, p in enumerate(portraits, 1)
            ]
            try:
                for job in as_completed(waiting):
                    rows += job.result()
                    tick(settings.clips)
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
    rows.sort(key=lambda r: (r.subject, r.clip, r.event))
    layout = LAYOUTS[settings.layout]
    write_sheet(out / layout.sheet, layout.table(rows))
    return rows


def _claim(out: Path, settings: Settings) -> None:
    """Refuse a folder that holds anything but this data set, or a part of it."""
    plain = {"version": VERSION, "synthetic": True, **json.loads(json.dumps(asdict(settings)))}
    if not settings.letters:  # data sets made before there were any go on
        del plain["letters"]
    record = out / "synthesis.json"
    if record.exists():
        earlier = json.loads(record.read_text("utf-8"))
        if differs := sorted(k for k in {*earlier, *plain} if earlier.get(k) != plain.get(k)):
            raise ZooError(
                f"{out} holds a data set made with another {', '.join(differs)} "
                f"({', '.join(f'{k} {earlier.get(k)!r}' for k in differs[:2])}); give another --out, or remove it first"
            )
        return
    if out.exists() and any(out.iterdir()):
        raise ZooError(f"{out} is not empty and holds no synthetic data set; give another --out")
    (out / "truth").mkdir(parents=True, exist_ok=True)
    temporary = record.with_name(".synthesis.json.partial")
    temporary.write_text(json.dumps(plain, indent=1) + "\n", "utf-8")
    temporary.replace(record)


def _write_subject(
    settings: Settings,
    portrait: Portrait,
    subject: int,
    out: Path,
    model: MeshModel | None,
    tick: Callable[[int], None] | None,
) -> list[Row]:
    cv2.setNumThreads(1)  # one process, one core
    layout = LAYOUTS[settings.layout]
    order = _emotions(settings, subject)
    player: Player | None = None
    rows: list[Row] = []
    for clip in range(1, settings.clips + 1):
        folder = out.joinpath(*layout.folder(subject, clip))
        truth = out / "truth" / f"{subject:03d}_{clip:03d}.json"
        if not (folder.is_dir() and truth.is_file()):
            player = player or _player(settings, portrait, model)
            course = _course(settings, player, subject, clip, order[clip - 1])
            _write_clip(settings, layout, player, course, folder, truth, {"portrait": portrait.name})
        rows += _rows(json.loads(truth.read_text("utf-8")), layout, subject, clip)
        if tick is not None:
            tick(1)
    return rows


def _player(settings: Settings, portrait: Portrait, model: MeshModel | None) -> Player:
    framed = portrait.aligned(settings.size) if settings.aligned else portrait.framed(settings.size)
    fields = MeshFields(framed.landmarks, framed.picture.shape[:2], model) if model is not None else None
    return Player(framed, fields)


def _emotions(settings: Settings, subject: int) -> list[str | None]:
    """The emotion of each clip; None where it is left to chance."""
    if not settings.emotions:
        return [None] * settings.clips
    rng = np.random.default_rng([settings.seed, subject, 0])
    rounds = -(-settings.clips // len(settings.emotions))
    return [settings.emotions[i] for _ in range(rounds) for i in rng.permutation(len(settings.emotions))]


def _course(settings: Settings, player: Player, subject: int, clip: int, emotion: str | None) -> Course:
    rng = np.random.default_rng([settings.seed, subject, clip])
    scripts: list[tuple[float, AUScript]] = []
    if not LAYOUTS[settings.layout].long:
        script = draw(rng, dataset=settings.style, emotion=emotion, letters=settings.letters)
        start = 1000 * settings.lead
        scripts.append((start, script))
        last = start + script.milliseconds + 1000 * settings.lead
    else:
        last = 1000.0
        for _ in range(settings.events):
            big = rng.random() < settings.macro
            script = draw(rng, dataset="casme_sq_macro" if big else settings.style, emotion=None if big else emotion)
            scripts.append((last, script))
            last += script.milliseconds + float(rng.uniform(800, 3500))
    frames = int(np.ceil(last * settings.fps / 1000)) + 3
    return plan(
        scripts,
        frames=frames,
        fps=settings.fps,
        interocular=player.interocular,
        rng=rng,
        nuisance=settings.nuisance,
    )


def _write_clip(
    settings: Settings,
    layout: Layout,
    player: Player,
    course: Course,
    folder: Path,
    truth: Path,
    about: dict[str, Any],
) -> None:
    """Frames last, by renaming their folder: a folder under its own name is whole."""
    temporary = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(temporary, ignore_errors=True)
    shutil.rmtree(folder, ignore_errors=True)
    temporary.mkdir(parents=True)
    for index, frame in enumerate(player.frames(course)):
        ok, data = cv2.imencode(".jpg", frame[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, settings.quality])
        assert ok
        (temporary / layout.frame(index + layout.first)).write_bytes(data.tobytes())
    _write_truth(settings, layout, player, course, truth, about)
    temporary.replace(folder)


def _write_truth(
    settings: Settings, layout: Layout, player: Player, course: Course, path: Path, about: dict[str, Any]
) -> None:
    names = [f"AU{au} {side}" for au, side in course.amplitudes]
    arrays: dict[str, np.ndarray] = {
        "movements": np.array(names),
        "amplitudes": np.stack(list(course.amplitudes.values())).astype(np.float32),  # [K, T]
        "head": course.head.astype(np.float32),  # [T, 3]
        "gain": course.gain.astype(np.float32),  # [T]
        "landmarks": player.portrait.landmarks.astype(np.float32),  # [68, 2] of the still face
    }
    for k, event in enumerate(course.events, 1):
        tag = f"_{k}" if layout.long else ""
        first, peak = event.interval.onset, event.interval.apex
        arrays[f"landmarks_onset{tag}"] = player.landmarks(course, first).astype(np.float32)
        arrays[f"landmarks_apex{tag}"] = player.landmarks(course, peak).astype(np.float32)
        if settings.flow:
            arrays[f"flow{tag}"] = player.flow(course, first, peak).astype(np.float16)  # [2, H, W] px
            arrays[f"expression{tag}"] = player.flow(course.still(), first, peak).astype(np.float16)
    partial = path.with_suffix(".partial.npz")
    np.savez_compressed(partial, **arrays)  # type: ignore[arg-type]  # its stub takes the names for flags
    partial.replace(path.with_suffix(".npz"))
    plain = {"synthetic": True, **about, "first_frame": layout.first, **course.to_dict()}
    partial = path.with_suffix(".partial.json")
    partial.write_text(json.dumps(plain, indent=1) + "\n", "utf-8")
    partial.replace(path)


def _rows(truth: dict[str, Any], layout: Layout, subject: int, clip: int) -> list[Row]:
    return [
        Row(
            subject=subject,
            clip=clip,
            event=k,
            onset=event["onset"] + layout.first,
            apex=event["apex"] + layout.first,
            offset=event["offset"] + layout.first,
            code=check_code(event["code"]),
            emotion=event["emotion"],
            kind=event["kind"],
            objective=event["objective_class"],
        )
        for k, event in enumerate(truth["events"], 1)
    ]
