"""The command as a person meets it: what it prints, what it leaves behind, how it says no."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import av
import numpy as np
import pytest

import zoo
from zoo.cli import DEFAULT_MODEL, main

PUBLISHED = zoo.list_models("*", pretrained=True)
needs_weights = pytest.mark.skipif(
    DEFAULT_MODEL not in PUBLISHED, reason="the published weights are not in this checkout"
)


def run(*arguments, **options):
    return subprocess.run(
        [sys.executable, "-m", "zoo.cli", *map(str, arguments)], capture_output=True, text=True, timeout=280, **options
    )


def write_video(path, frames, fps=30):
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=fps)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        for frame in frames:
            for packet in stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    return path


@pytest.fixture(scope="module")
def noise():
    return [np.random.default_rng(i).integers(0, 256, (96, 128, 3), dtype=np.uint8) for i in range(12)]


def test_version_and_help(capsys):
    for flag in ("--version", "--help"):
        with pytest.raises(SystemExit) as left:
            main([flag])
        assert left.value.code == 0
    out = capsys.readouterr().out
    assert zoo.__version__ in out
    for command in ("models", "predict", "train", "loso", "convert"):
        assert command in out


def test_models_lists_everything(capsys):
    assert main(["models"]) == 0
    out = capsys.readouterr().out
    for name in [*zoo.list_models(), *PUBLISHED]:
        assert name in out
    assert main(["models", "rcn_*", "--json"]) == 0
    listing = json.loads(capsys.readouterr().out)
    assert list(listing["architectures"]) == zoo.list_models("rcn_*")
    assert main(["models", "nothing"]) == 2
    assert "nothing" in capsys.readouterr().err


def test_a_closed_pipe_is_no_error():
    done = subprocess.run(
        f"{sys.executable} -m zoo.cli models | head -1", shell=True, capture_output=True, text=True, timeout=60
    )
    assert "Traceback" not in done.stderr


@needs_weights
@pytest.mark.parametrize(
    ("case", "word"),
    [
        ("missing", "no_such.mp4"), ("text", "notes.mp4"), ("no_face", "no face"), ("one_frame", "one.mp4"), ("truncated", "cut.mp4"),
        ("unequal", "002.png"), ("empty_folder", "empty"), ("unknown_model", "ststnet.megc2019"), ("architecture", "architecture"),
        ("unwritable", "file.txt"), ("apex_first", "apex"), ("onset_beyond", "400"),
    ],
)  # fmt: skip
def test_bad_input_ends_in_two_lines_and_nothing_written(case, word, tmp_path, noise, capsys):
    pytest.importorskip("facenet_pytorch", reason="the extra `faces` is not installed")
    import cv2

    arguments, out = [], tmp_path / "out"
    match case:
        case "missing":
            path = tmp_path / "no_such.mp4"
        case "text":
            path = tmp_path / "notes.mp4"
            path.write_text("this is no video")
        case "one_frame":
            path = write_video(tmp_path / "one.mp4", noise[:1])
        case "truncated":
            path = write_video(tmp_path / "cut.mp4", noise)
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        case "unequal":
            path = tmp_path / "frames"
            path.mkdir()
            for i, frame in enumerate(noise[:3]):
                cv2.imwrite(str(path / f"{i:03d}.png"), frame if i < 2 else frame[:50])
        case "empty_folder":
            path = tmp_path / "empty"
            path.mkdir()
        case _:
            path = write_video(tmp_path / "noise.mp4", noise)
    if case == "unknown_model":
        arguments = ["--model", "ststnet.megc2091"]
    if case == "architecture":
        arguments = ["--model", "ststnet"]
    if case == "unwritable":
        (tmp_path / "file.txt").write_text("in the way")
        out = tmp_path / "file.txt" / "out"
    if case == "apex_first":
        arguments = ["--onset", "5", "--apex", "2"]
    if case == "onset_beyond":
        arguments = ["--onset", "400"]
    code = main(["predict", str(path), "--out", str(out), *arguments])
    captured = capsys.readouterr()
    assert code == 2
    assert word in captured.err
    assert "Traceback" not in captured.err
    assert len([line for line in captured.err.splitlines() if line.strip()]) <= 2
    assert not out.is_dir() or not list(out.iterdir()), "nothing half-written"


@needs_weights
def test_tampered_checkpoint_through_the_command(tmp_path, noise):
    import shutil

    from zoo.weights import checkpoints_dir

    shelf = tmp_path / "shelf"
    shutil.copytree(checkpoints_dir(), shelf)
    weights = shelf / DEFAULT_MODEL / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4] + b"abcd")
    done = run(
        "predict",
        write_video(tmp_path / "v.mp4", noise),
        "--out",
        tmp_path / "out",
        env={**os.environ, "ZOO_CHECKPOINTS": str(shelf)},
    )
    assert done.returncode == 2
    assert "not the published file" in done.stderr
    assert "Traceback" not in done.stderr


def test_missing_extra_names_its_command(tmp_path, noise, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "facenet_pytorch", None)
    net = zoo.save(zoo.create_model("ststnet"), tmp_path / "net", classes=("a", "b", "c"), card="")
    code = main(
        [
            "predict",
            str(write_video(tmp_path / "v.mp4", noise)),
            "--model",
            f"local-dir:{net}",
            "--out",
            str(tmp_path / "out"),
        ]
    )
    err = capsys.readouterr().err
    assert code == 2
    assert "pip install --no-deps facenet-pytorch" in err


@needs_weights
def test_the_sample_clip_shows_truth_beside_prediction(tmp_path, capsys):
    assert main(["predict", "--out", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "synthetic" in out
    assert "truth: positive" in out
    record = json.loads((tmp_path / "prediction.json").read_text())
    assert record["synthetic"] is True
    assert record["truth"]["aus"] == [6, 12]
    assert abs(record["interval"]["apex"] - record["truth"]["apex"]) <= 4
    assert sum(record["probabilities"]) == pytest.approx(1, abs=1e-4)
    assert (tmp_path / "prediction.png").read_bytes()[:4] == b"\x89PNG"
    assert {p.name for p in tmp_path.iterdir()} == {"prediction.json", "prediction.png", "graph.png"}
    assert record["aus"]["12"] > 0.5 > record["aus"]["1"], "a smile pulls the corners of the lips"


@needs_weights
def test_json_is_all_that_stdout_holds(tmp_path):
    done = run("predict", "--json", "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["model"] == DEFAULT_MODEL


def test_convert_through_the_command(tmp_path, capsys):
    import torch

    torch.save(zoo.create_model("ststnet", padding=2).state_dict(), tmp_path / "006.pth")
    assert main(["convert", "ststnet", str(tmp_path / "006.pth"), "--out", str(tmp_path / "net")]) == 0
    assert "local-dir:" in capsys.readouterr().out
    assert zoo.load(f"local-dir:{tmp_path / 'net'}").input_spec.channels == ("strain", "v", "u")
    assert main(["convert", "ststnet", str(tmp_path / "none.pth"), "--out", str(tmp_path / "x")]) == 2
