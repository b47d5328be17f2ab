"""From frames and files to intervals: what is found, what is written, what bad input gets."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator

import cv2
import numpy as np
import pytest
import torch

from zoo import create_model
from zoo.cli import main
from zoo.errors import FaceError, MediaError, ZooError
from zoo.metrics_spotting import Event, interval_iou, spotting_scores
from zoo.spotting.command import challenge_csv, save
from zoo.spotting.events import Found
from zoo.spotting.flow import FlowSpotter
from zoo.spotting.spot import search, spot
from zoo.spotting.stream import SteadyFace, SteadyTrack
from zoo.synthesis.sample import motion_field, sample_clip, strength, warp
from zoo.vision.faces import Face
from zoo.vision.video import Frame, MediaReader, write_video

TRUTH = ((60, 66, 73, "micro"), (140, 165, 200, "macro"), (262, 268, 274, "micro"))


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    before = cv2.getNumThreads(), torch.get_num_threads()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    yield
    cv2.setNumThreads(before[0])
    torch.set_num_threads(before[1])


class Fixed:
    """Knows where the sample's face is; sees nothing in the dark."""

    def __init__(self, face: Face):
        self.face, self.looks = face, 0

    def detect(self, rgb, *, near=None):
        self.looks += 1
        return [self.face] if rgb.mean() > 30 else []


@pytest.fixture(scope="module")
def sample():
    return sample_clip()


def playing(sample, truth, n, *, sway=0.0, noise=1.0, seed=0):
    """The portrait with smiles at the times given, and a head that sways by so many pixels."""
    still, rng = sample.frames[0], np.random.default_rng(seed)
    fields = [motion_field(sample.face, aus, still.shape[:2]) for aus in ({6: 0.4, 12: 0.4}, {1: 0.4, 2: 0.4})]
    for i in range(n):
        frame = still.astype(np.float32)
        for number, (onset, apex, offset, _) in enumerate(truth):
            if onset < i < offset:
                frame = warp(still, fields[number % 2] * strength(i, onset, apex, offset))
        if sway:
            at = np.float32([[1, 0, sway * np.sin(i / 11)], [0, 1, 0.7 * sway * np.sin(i / 17)]])
            frame = cv2.warpAffine(
                frame, at, frame.shape[1::-1], flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
            )
        yield np.clip(np.rint(frame + rng.normal(0, noise, frame.shape)), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def video(sample, tmp_path_factory):
    """Eleven seconds at 30 frames/s with three expressions and a swaying head."""
    path = tmp_path_factory.mktemp("video") / "long.mp4"
    write_video(path, playing(sample, TRUTH, 330, sway=4), fps=30, crf=10)
    return path


@pytest.fixture(scope="module")
def found(video, sample):
    return search(video, detector=Fixed(sample.face))


def test_expressions_in_a_long_video_are_found_and_nothing_else(found):
    truth = [Event(video="v", onset=a, offset=b, kind=kind) for a, _, b, kind in TRUTH]
    counts = spotting_scores(truth, [e.event("v") for e in found.events], ["v"])
    assert counts["overall"].f1 == 1, found.events
    for (_, apex, _, _), event in zip(TRUTH, found.events, strict=True):
        assert abs(event.apex - apex) <= 2 and event.score > 1 and event.source == "spotted"


def test_the_curve_and_its_line_are_told_for_every_frame(found):
    (curve,) = found.curves
    assert len(curve.values) == len(curve.threshold) == found.n_frames == 330
    assert np.isfinite(curve.values).all() and curve.values[66] > curve.threshold[66] > curve.values[30]
    assert not found.skipped and found.fps == 30


def test_the_key_frames_are_the_faces_at_the_apex(found, video, sample):
    assert set(found.key_frames) == {e.apex for e in found.events}
    frames = {f.index: f for f in SteadyTrack(MediaReader(video), Fixed(sample.face), fps=30)}
    for apex, face in found.key_frames.items():
        assert face.shape == (168, 168, 3) and np.abs(face.astype(int) - frames[apex].rgb).mean() < 5


def test_a_head_that_sways_is_no_expression(sample, tmp_path):
    write_video(tmp_path / "sway.mp4", playing(sample, (), 100, sway=5), fps=30, crf=10)
    assert spot(tmp_path / "sway.mp4", detector=Fixed(sample.face)) == []


def test_the_detector_is_asked_once_in_two_seconds(video, sample):
    detector = Fixed(sample.face)
    track = SteadyTrack(MediaReader(video), detector, fps=30)
    assert sum(1 for _ in track) == 330 and detector.looks == len(track.checked) <= 7 and track.segments == 1


def test_the_follower_takes_the_head_along(sample):
    """By the third look the head has moved by 40 px; the face stays where it was in the crop."""
    frames = []
    for i in range(50):
        at = np.float32([[1, 0, 0.8 * i], [0, 1, -0.3 * i]])
        wide = cv2.copyMakeBorder(sample.frames[0], 60, 60, 60, 60, cv2.BORDER_REPLICATE)
        frames.append(cv2.warpAffine(wide, at, wide.shape[1::-1], borderMode=cv2.BORDER_REPLICATE))
    face = Face(sample.face.box + 60, sample.face.points + 60, 1.0)
    track = SteadyTrack((Frame(i, None, f) for i, f in enumerate(frames)), Fixed(face), fps=30)
    crops = [crop.grey.astype(np.float32) for crop in track]
    away = [np.abs(c - crops[0])[40:130, 40:130].mean() for c in crops]
    assert len(crops) == 50 and max(away) < 4 and track.moved > 0.5
    shifted = np.abs(np.roll(crops[0], 4, 1) - crops[0])[40:130, 40:130].mean()
    assert shifted > 6, "as large as a head that was lost by 4 px would be"


def test_colour_from_the_files_planes_is_the_colour_of_the_frame(video, sample):
    track = SteadyTrack(MediaReader(video), Fixed(sample.face), fps=30)
    face = next(iter(track))
    plain = next(iter(SteadyTrack([Frame(0, 0.0, next(iter(MediaReader(video))).rgb)], Fixed(sample.face), fps=30)))
    assert face.rgb.shape == (168, 168, 3) and np.abs(face.rgb.astype(int) - plain.rgb).mean() < 2.5
    assert np.abs(face.grey.astype(int) - plain.grey).mean() < 2


def test_a_measurement_is_made_no_more_than_fifty_times_a_second(sample):
    spotter = FlowSpotter(200.0)
    grey = cv2.cvtColor(sample.clip.frames[0], cv2.COLOR_RGB2GRAY)
    for i in range(100):
        spotter.add(SteadyFace(i, i / 200, 1, grey=grey))
    assert spotter.finish() == [] and spotter.step == 4
    curve = spotter.curve(100)
    assert np.isfinite(curve.values[:97]).all() and np.nanmax(curve.values) < 0.01


@pytest.mark.parametrize("method", ["mdmd", "softnet", "lbp"])
def test_the_other_methods_run_on_aligned_faces(sample, method):
    frames = [np.asarray(f) for f in list(sample.clip.frames)] + [sample.clip.frames[0]] * 4
    torch.manual_seed(0)
    net = create_model("softnet").eval()
    net.input_spec = net.input_spec.replace(flow="farneback")
    result = search(frames, method, fps=30, aligned=True, models=[net] if method == "softnet" else None)
    assert result.n_frames == 64 and all(len(c.values) == 64 for c in result.curves)
    assert all(0 <= e.onset <= e.apex <= e.offset < 64 for e in result.events)
    assert json.dumps(result.to_dict(), allow_nan=False)


@pytest.mark.parametrize("method", ["flow", "mdmd", "softnet", "lbp"])
@pytest.mark.parametrize("n", [2, 20])
def test_a_short_still_video_gives_nothing_and_says_why(sample, method, n):
    net = create_model("softnet").eval()
    net.input_spec = net.input_spec.replace(flow="farneback")
    frames = [sample.clip.frames[0]] * n
    result = search(frames, method, fps=30, aligned=True, models=[net] if method == "softnet" else None)
    assert result.events == () and json.dumps(result.to_dict(), allow_nan=False)
    if method != "flow" and n == 2:
        assert any("too short" in w for w in result.warnings)


def test_no_face_and_darkness_say_so(sample, tmp_path):
    write_video(tmp_path / "night.mp4", [np.zeros((64, 64, 3), np.uint8)] * 40, fps=30)
    with pytest.raises(FaceError, match=r"no face in night\.mp4.*min_face"):
        spot(tmp_path / "night.mp4", detector=Fixed(sample.face))


def test_a_face_that_leaves_and_returns_is_followed_again(sample):
    frames = list(playing(sample, ((20, 26, 32, "micro"), (150, 156, 162, "micro")), 190))
    frames[60:110] = [np.zeros_like(frames[0])] * 50
    result = search(frames, fps=30, detector=Fixed(sample.face))
    assert 50 <= len(result.skipped) <= 80 and set(range(60, 110)) <= set(result.skipped)
    assert "show no face" in " ".join(result.warnings)
    assert [interval_iou(e.event(""), Event(video="", onset=a, offset=b)) > 0.5
            for e, (a, b) in zip(result.events, ((20, 32), (150, 162)), strict=True)] == [True, True]  # fmt: skip


@pytest.mark.parametrize(("frames", "kind", "words"), [
    ([], MediaError, "at least two"), ([np.zeros((8, 8, 3), np.uint8)], MediaError, "at least two"),
    ([np.full((8, 8, 3), np.nan, np.float32)] * 3, MediaError, "uint8"),
    ([np.zeros((8, 8, 3), np.uint8), np.zeros((9, 8, 3), np.uint8)], MediaError, "frame 1"),
])  # fmt: skip
def test_frames_that_are_none_are_refused(frames, kind, words):
    with pytest.raises(kind, match=words):
        spot(frames, aligned=True)


def test_unknown_methods_and_networks_are_named(sample):
    with pytest.raises(ZooError, match="flow, mdmd, softnet, lbp"):
        spot([sample.clip.frames[0]] * 3, "magic", aligned=True)
    with pytest.raises(ZooError, match="scores no frames"):
        spot([sample.clip.frames[0]] * 3, "softnet", aligned=True, models=[create_model("ststnet")])


def test_the_files_are_those_of_the_challenge(found, tmp_path):
    table = list(csv.reader(io.StringIO(challenge_csv(found, "s15_0101", first=1))))
    assert table[0] == ["vid", "onset", "offset", "type"]
    first = found.events[0]
    assert table[1] == ["s15_0101", str(first.onset + 1), str(first.offset + 1), "me"] and table[2][3] == "mae"
    paths = save(found, tmp_path, video="v")
    assert {p.name for p in tmp_path.iterdir()} == {"spots.csv", "spots.json", "spots.png"}
    written = json.loads(paths[1].read_text())
    assert written["events"][0]["kind"] == "micro" and written["events"][0]["onset_seconds"] == round(
        first.onset / 30, 4
    )
    picture = cv2.imread(str(paths[2]))
    assert picture.shape[1] == 1760 and picture.std() > 10


def test_results_are_written_whole_or_not_at_all(found, tmp_path, monkeypatch):
    def fail(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("zoo.spotting.figure.timeline_figure", fail)
    with pytest.raises(ZooError, match="No space left"):
        save(found, tmp_path, video="v")
    assert not list(tmp_path.iterdir())


def test_the_command_writes_and_prints(found, video, sample, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("zoo.spotting.spot.MTCNNDetector", lambda **_: Fixed(sample.face))
    out = ["--out", str(tmp_path)]
    assert main(["spot", str(video), *out, "--id", "004_3"]) == 0
    printed = capsys.readouterr().out
    assert "2 micro, 1 macro" in printed and "spots.csv" in printed
    assert (tmp_path / "spots.csv").read_text().splitlines()[1].startswith("004_3,")
    assert main(["spot", str(tmp_path / "absent.mp4"), *out]) == 2
    assert "no file or folder" in capsys.readouterr().err
    monkeypatch.setattr("zoo.spotting.spot.search", lambda *_, **__: found)
    assert main(["spot", str(video), *out, "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["events"]) == 3


def test_two_bumps_keep_apart_and_a_glitch_is_dropped():
    from zoo.spotting.flow import _excursions

    curve = np.full(300, 0.05)
    for onset, apex, offset in ((50, 56, 62), (66, 72, 80), (150, 180, 220)):
        at = np.arange(onset, offset + 1)
        curve[at] = np.maximum(curve[at], [strength(int(i), onset, apex, offset) for i in at])
    curve[250] = 2.0
    events = _excursions(np.arange(300), curve, np.full(300, 0.25), 0.05, 30.0)
    truth = [Event(video="", onset=a, offset=b) for a, b in ((50, 62), (66, 80), (150, 220))]
    assert len(events) == 3 and all(interval_iou(e.event(""), t) > 0.7 for e, t in zip(events, truth, strict=True))
    assert all(isinstance(e, Found) for e in events)
