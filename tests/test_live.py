"""A file played as a camera: bounded, in time, and stopped cleanly."""

from __future__ import annotations

import json
import threading
import time

import cv2
import numpy as np
import pytest
import torch

from zoo.cli import main
from zoo.errors import MediaError
from zoo.live.camera import DEPTH, Camera
from zoo.live.session import watch
from zoo.registry import create_model
from zoo.synthesis.sample import motion_field, sample_clip, strength, warp
from zoo.vision.video import write_video

ONSET, APEX, OFFSET = (
    80,
    86,
    92,
)  # 0.4 s: spotted intervals run a frame long at either end, and half a second is the line


class Fixed:
    """Knows where the sample's face is."""

    def __init__(self, face):
        self.face = face

    def detect(self, rgb, *, near=None):
        return [self.face] if rgb.mean() > 30 else []


@pytest.fixture(scope="module")
def sample():
    return sample_clip()


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    net = create_model("ststnet")
    net.classes = ("negative", "positive", "surprise")
    return net.eval()


@pytest.fixture(scope="module")
def video(sample, tmp_path_factory):
    """Five seconds at 30 frames/s with a smile at 2.7 s."""
    path = tmp_path_factory.mktemp("video") / "camera.mp4"
    still, rng = sample.frames[0], np.random.default_rng(0)
    field = motion_field(sample.face, {6: 0.4, 12: 0.4}, still.shape[:2])

    def frames():
        for i in range(150):
            moved = warp(still, field * strength(i, ONSET, APEX, OFFSET)) + rng.normal(0, 1, still.shape)
            yield np.clip(np.rint(moved), 0, 255).astype(np.uint8)

    write_video(path, frames(), fps=30, crf=10)
    return path


def test_an_expression_is_told_while_the_camera_runs(video, sample, model):
    cv2.setNumThreads(1)
    told, statuses = [], []
    begin = time.perf_counter()
    camera = Camera(str(video))
    status = watch(
        camera, model, Fixed(sample.face), on_status=lambda s: statuses.append(s.to_dict()),
        on_event=lambda event, delay: told.append((event, delay, time.perf_counter() - begin)),
    )  # fmt: skip
    assert len(told) == 1 and len(status.events) == 1
    event, delay, moment = told[0]
    assert abs(event.event.apex - APEX) <= 3 and event.event.kind == "micro"
    assert event.prediction.label in model.classes and event.face.shape == (84, 84, 3)
    assert delay >= 0.9 and moment > OFFSET / 30 + 0.9, "not before it has settled"
    assert status.captured == 150 and status.processed + status.dropped == 150
    assert status.seconds >= 4.9, "at its own pace"
    assert (
        len(statuses) >= 4
        and statuses[-1]["latency_ms"] > 0
        and not [t for t in threading.enumerate() if "zoo-" in t.name]
    )
    assert json.dumps(status.to_dict(), allow_nan=False)


def test_a_slow_reader_loses_old_frames_and_not_memory(video):
    with Camera(str(video)) as camera:
        time.sleep(0.8)
        frames = []
        for frame, _ in camera:
            frames.append(frame.index)
            if len(frames) == DEPTH:
                break
        assert camera.dropped >= 5 and frames[0] >= 5 and frames == sorted(frames)
    assert not [t for t in threading.enumerate() if t.name == "zoo-camera"]


def test_ctrl_c_stops_it_cleanly(video, sample, model):
    presses = []

    def once(status):
        if not presses and status.seconds > 0.9:
            presses.append(1)
            raise KeyboardInterrupt

    begin = time.perf_counter()
    status = watch(Camera(str(video)), model, Fixed(sample.face), on_status=once)
    assert time.perf_counter() - begin < 4 and 0 < status.processed < 150
    assert not [t for t in threading.enumerate() if "zoo-" in t.name]


def test_a_damaged_file_and_a_missing_camera_are_told(video, tmp_path, sample, model):
    (tmp_path / "cut.mkv").write_bytes(b"no video")
    with pytest.raises(MediaError, match="cannot be opened"):
        Camera(str(tmp_path / "cut.mkv"))
    with pytest.raises(MediaError, match="camera 97 cannot be opened"):
        Camera("97")


def test_the_command_writes_lines_of_json(video, sample, monkeypatch, capsys):
    class Short(Camera):
        def _frames(self):
            for frame in super()._frames():
                if frame.index > 40:
                    return
                yield frame

    monkeypatch.setattr("zoo.live.show.Camera", Short)
    monkeypatch.setattr("zoo.vision.faces.MTCNNDetector", lambda **_: Fixed(sample.face))
    monkeypatch.setattr("zoo.predictor.recognise.model_of", lambda _: create_model("ststnet").eval())
    assert main(["predict", "--camera", str(video), "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {"status", "end"} <= {line["type"] for line in lines} and lines[-1]["type"] == "end"
    assert lines[-1]["captured"] == 41 and lines[-1]["face"] is True
    assert main(["predict", "--camera", str(video)]) == 0
    assert "frames/s" in capsys.readouterr().out


def test_a_camera_takes_no_video_beside_it(video, capsys):
    assert main(["predict", str(video), "--camera", "0"]) == 2
    assert "--camera FILE" in capsys.readouterr().err
