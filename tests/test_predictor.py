"""From a video to a prediction: the moment, the losses on the way, the files."""

from __future__ import annotations

import json
from collections.abc import Iterator

import cv2
import numpy as np
import pytest
import torch

from zoo.cli import main
from zoo.errors import FaceError, MediaError, ZooError
from zoo.predictor import predict, predict_clip
from zoo.registry import create_model
from zoo.result import ranges, save
from zoo.spotting.apex import motion, spot_apex
from zoo.synthesis.sample import motion_field, sample_clip, strength, warp
from zoo.types import InputSpec, Interval
from zoo.vision.faces import Face
from zoo.vision.track import AlignedFace
from zoo.vision.video import write_video


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    before = cv2.getNumThreads(), torch.get_num_threads()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    yield
    cv2.setNumThreads(before[0])
    torch.set_num_threads(before[1])


@pytest.fixture(scope="module")
def sample():
    return sample_clip()


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    net = create_model("ststnet")
    net.classes = ("negative", "positive", "surprise")
    return net.eval()


class Fixed:
    """Knows where the sample's face is; sees nothing in the dark."""

    def __init__(self, face: Face, extra: int = 0):
        self.face, self.extra = face, extra

    def detect(self, rgb, *, near=None):
        small = Face(np.zeros(4), self.face.points * 0.3, 0.95)
        return [self.face, *[small] * self.extra] if rgb.mean() > 30 else []


@pytest.fixture(scope="module")
def video(sample, tmp_path_factory):
    path = tmp_path_factory.mktemp("video") / "smile.mp4"
    write_video(path, sample.frames, fps=60, crf=6)
    return path


@pytest.fixture(scope="module")
def long_video(sample, tmp_path_factory):
    """Four seconds at 30 frames/s: the smile begins at frame 62, is largest at 67 and gone at 75 (as strong a motion)."""
    path = tmp_path_factory.mktemp("video") / "long.mp4"
    field = motion_field(sample.face, {6: 0.4, 12: 0.4}, (256, 256))
    still = sample.frames[0]
    rng = np.random.default_rng(0)

    def frames():
        for i in range(120):
            moved = warp(still, field * strength(i, 62, 67, 75)) + rng.normal(0, 1, still.shape)
            yield np.clip(np.rint(moved), 0, 255).astype(np.uint8)

    write_video(path, frames(), fps=30, crf=6)
    return path


def test_the_apex_of_the_sample_is_found_and_its_truth_stays_beside_it(sample, model, tmp_path):
    result = predict_clip(sample.clip, model=model, truth=sample.truth.to_dict(), out=tmp_path)
    assert abs(result.interval.apex - sample.truth.apex) <= 1 and result.interval.onset <= sample.truth.onset
    assert result.clear and result.synthetic and sum(result.prediction.probabilities) == pytest.approx(1)
    written = json.loads((tmp_path / "prediction.json").read_text(encoding="utf-8"))
    assert written["synthetic"] is True and written["truth"]["label"] == "positive"
    assert len(written["motion"]["curve"]) == 60 and written["motion"]["curve"][0] is None
    assert written["label"] in written["classes"] and written["input_spec"]["size"] == 28
    picture = cv2.imread(str(tmp_path / "prediction.png"))
    assert picture.shape == (1056, 1760, 3) and picture.std() > 20
    assert {p.name for p in tmp_path.iterdir()} == {"prediction.json", "prediction.png"}


def test_a_short_video_gives_the_same_moment_as_its_frames(video, sample, model):
    seen = []
    result = predict(
        video, model=model, detector=Fixed(sample.face), progress=lambda done, total: seen.append((done, total))
    )
    assert abs(result.interval.apex - sample.truth.apex) <= 1 and result.interval.source == "spotted"
    assert result.times[1] == pytest.approx(result.interval.apex / 60, abs=1e-3) and seen[-1] == (60, 60)
    assert result.face.checked == 60 and not result.face.lost and not result.synthetic
    assert result.onset_face.shape == (168, 168, 3) and result.flow.data.shape == (3, 168, 168)


def test_a_smile_is_found_in_a_long_video(long_video, sample, model, tmp_path):
    result = predict(long_video, model=model, detector=Fixed(sample.face), out=tmp_path)
    assert result.clear and abs(result.interval.apex - 67) <= 2 and result.n_frames == 120 and result.face.checked <= 4
    assert len(result.events) == 1 and result.interval.offset is not None
    event = result.events[0]
    assert (event.event.onset, event.event.apex, event.event.offset) == (
        result.interval.onset, result.interval.apex, result.interval.offset,
    )  # fmt: skip
    assert event.prediction.probabilities == result.prediction.probabilities and event.event.kind == "micro"
    written = json.loads((tmp_path / "prediction.json").read_text(encoding="utf-8"))
    (entry,) = written["events"]
    assert entry["label"] == written["label"] and entry["apex"] == written["interval"]["apex"]
    assert entry["offset_seconds"] == round(entry["offset"] / 30, 4) and entry["kind"] == "micro" and entry["score"] > 1
    assert len(written["motion"]["curve"]) == 120 and written["motion"]["lag_frames"] is None
    assert {p.name for p in tmp_path.iterdir()} == {"prediction.json", "prediction.png", "timeline.png"}
    assert cv2.imread(str(tmp_path / "timeline.png")).shape[1] == 1760


def test_the_command_lists_every_expression(long_video, sample, model, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("zoo.predictor.video.MTCNNDetector", lambda **_: Fixed(sample.face))
    monkeypatch.setattr("zoo.predictor.video.model_of", lambda _: model)
    assert main(["predict", str(long_video), "--out", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert "micro" in printed and "the strongest" in printed and "timeline.png" in printed


def test_a_long_video_in_which_nothing_happens_has_no_events(sample, model, tmp_path):
    rng, still = np.random.default_rng(2), sample.frames[0]
    frames = [np.clip(still + rng.normal(0, 1, still.shape), 0, 255).astype(np.uint8) for _ in range(70)]
    write_video(tmp_path / "still.mp4", frames, fps=30, crf=6)
    result = predict(tmp_path / "still.mp4", model=model, detector=Fixed(sample.face))
    assert result.events == () and not result.clear and "nothing was spotted" in " ".join(result.warnings)
    assert np.isfinite(result.prediction.probabilities).all() and result.interval.onset < result.interval.apex


def test_a_video_that_does_not_say_its_length_is_read_as_what_it_is(sample, model, tmp_path, monkeypatch):
    write_video(tmp_path / "short.mkv", sample.frames, fps=60, crf=6)
    result = predict(tmp_path / "short.mkv", model=model, detector=Fixed(sample.face))
    assert result.n_frames == 60 and result.spotting is None and abs(result.interval.apex - sample.truth.apex) <= 1


@pytest.mark.parametrize("modality", ["frames", "apex", "patches"])
def test_models_of_every_modality_read_a_video(long_video, video, sample, modality):
    channels = {"frames": ("red", "green", "blue"), "apex": ("difference",), "patches": ("difference",)}[modality]
    seen = []

    class Net(torch.nn.Module):
        arch, classes = "probe", ("a", "b")
        input_spec = InputSpec(
            modality=modality, channels=channels, frames=5, size=112 if modality == "patches" else 32, source="difference",
            scaling="unit",
        )  # fmt: skip

        def __init__(self):
            super().__init__()
            self.fc = torch.nn.Linear(1, 2)

        def forward(self, x):
            seen.append(tuple(x.shape[1:]))
            return self.fc(x.flatten(1).abs().mean(1, keepdim=True))

    for path in (long_video, video):
        result = predict(path, model=Net(), detector=Fixed(sample.face))
        assert sum(result.prediction.probabilities) == pytest.approx(1) and result.flow.data.shape == (3, 168, 168)
    assert set(seen) == {Net.input_spec.shape}


def test_the_user_overrides_the_moment(long_video, sample, model):
    def at(**given):
        result = predict(long_video, model=model, detector=Fixed(sample.face), **given)
        return result.interval

    assert at(onset=60, apex=66) == Interval(onset=60, apex=66, source="user")
    assert abs(at(onset=60).apex - 67) <= 1 and at(onset=60).onset == 60
    assert at(apex=20).onset == 0 and at(apex=67).onset == 59


@pytest.mark.parametrize(("given", "kind", "words"), [
    ({"onset": 10, "apex": 10}, ZooError, "before apex"), ({"apex": 600}, MediaError, "apex is frame 600.*0 to 119"),
    ({"onset": -1}, MediaError, "onset is frame -1"),
])  # fmt: skip
def test_an_impossible_moment_is_refused(long_video, sample, model, given, kind, words):
    with pytest.raises(kind, match=words):
        predict(long_video, model=model, detector=Fixed(sample.face), **given)


def test_frames_without_a_face_are_reported_by_number(sample, model, tmp_path):
    frames = list(sample.frames)
    frames[40:46] = [np.zeros_like(frames[0])] * 6
    write_video(tmp_path / "dark.mp4", frames, fps=60, crf=6)
    result = predict(tmp_path / "dark.mp4", model=model, detector=Fixed(sample.face), out=tmp_path)
    assert result.face.lost == (40, 41, 42, 43, 44, 45) and "40–45" in " ".join(result.warnings)
    assert np.isnan(result.curve[40:46]).all() and abs(result.interval.apex - sample.truth.apex) <= 1
    assert json.loads((tmp_path / "prediction.json").read_text(encoding="utf-8"))["face"]["lost"] == [
        40,
        41,
        42,
        43,
        44,
        45,
    ]


def test_no_face_at_all_names_the_file_and_the_frames_looked_at(model, sample, tmp_path):
    write_video(tmp_path / "night.mp4", [np.zeros((64, 64, 3), np.uint8)] * 12)
    with pytest.raises(FaceError, match=r"night\.mp4: 12 of 12 frames.*min_face"):
        predict(tmp_path / "night.mp4", model=model, detector=Fixed(sample.face))


def test_other_faces_are_counted(video, sample, model):
    result = predict(video, model=model, detector=Fixed(sample.face, extra=2))
    assert result.face.others == 2 and "2 other faces" in " ".join(result.warnings)


def test_a_clip_in_which_nothing_happens_is_called_a_guess(sample, model):
    rng = np.random.default_rng(1)
    still = sample.clip.frames[0].astype(np.float32)
    frames = [np.clip(still + rng.normal(0, 2, still.shape), 0, 255).astype(np.uint8) for _ in range(30)]
    result = predict_clip(sample.clip.__class__(id="x", dataset="d", subject="s", frames=frames, fps=60.0), model=model)
    assert not result.clear and "no clear peak" in " ".join(result.warnings)


def test_frozen_frames_do_not_become_nan(sample, model):
    clip = sample.clip.__class__(id="x", dataset="d", subject="s", frames=[sample.clip.frames[0]] * 5)
    result = predict_clip(clip, model=model)
    assert np.isfinite(result.prediction.probabilities).all() and "nothing moves" in " ".join(result.warnings)


def test_a_folder_that_cannot_be_written_stops_before_any_work(sample, model, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ZooError, match="nothing can be written"):
        predict(tmp_path / "absent.mp4", model=model, out=tmp_path / "file" / "out")


def test_results_are_written_whole_or_not_at_all(sample, model, tmp_path, monkeypatch):
    result = predict_clip(sample.clip, model=model)

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("zoo.report.prediction_figure", fail)
    with pytest.raises(ZooError, match="No space left"):
        save(result, tmp_path)
    assert not list(tmp_path.iterdir())


def test_faces_of_different_segments_are_never_compared(sample):
    frames = sample.clip.frames
    faces = [AlignedFace(i, None, frames[0] if i < 5 else frames[27], 1 if i < 5 else 2) for i in range(10)]
    spotted = spot_apex(faces, fps=30)
    assert np.nanmax(spotted.curve) < 0.05 and not spotted.clear


def test_the_finder_holds_few_faces_of_a_long_stream(sample):
    import weakref

    alive: weakref.WeakSet[AlignedFace] = weakref.WeakSet()
    most = 0

    def stream():
        nonlocal most
        for i in range(150):
            face = AlignedFace(i, None, sample.clip.frames[15 + (i if 60 <= i < 72 else 0) % 12], 1)
            alive.add(face)
            most = max(most, len(alive))
            yield face

    spot_apex(stream(), fps=30)
    assert most < 60  # a second, the lag, and the pair in hand


def test_a_shift_of_the_whole_head_is_no_motion(sample):
    grey = cv2.resize(cv2.cvtColor(sample.clip.frames[0], cv2.COLOR_RGB2GRAY), (112, 112), interpolation=cv2.INTER_AREA)
    shifted = cv2.warpAffine(grey, np.float32([[1, 0, 1.5], [0, 1, -1]]), (112, 112), borderMode=cv2.BORDER_REPLICATE)
    smile = cv2.resize(
        cv2.cvtColor(sample.clip.frames[27], cv2.COLOR_RGB2GRAY), (112, 112), interpolation=cv2.INTER_AREA
    )
    assert motion(grey, shifted) < 0.5 * motion(grey, smile)


def test_ranges_are_short():
    assert ranges([3, 4, 5, 9]) == "3–5, 9"
    assert ranges(range(0, 40, 2), most=3) == "0, 2, 4, … (17 more)"


def test_the_whole_path_with_the_real_detector(video, sample, model):
    pytest.importorskip("facenet_pytorch", reason="the face detector is an extra")
    result = predict(video, model=model)
    assert abs(result.interval.apex - sample.truth.apex) <= 2 and not result.face.lost
