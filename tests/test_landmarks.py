"""Landmarks from five points, from MediaPipe's network, from files, and followed through a video."""

from __future__ import annotations

import importlib.util
import os
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest

from zoo.errors import DataError, FaceError, MissingExtra, ZooError
from zoo.facs import geometry
from zoo.synthesis.sample import motion_field, sample_clip, warp
from zoo.vision.facemesh import ENVIRONMENT, FaceMesh, ibug_index
from zoo.vision.faces import FACE_SIZE, Face, canonical_points, similarity
from zoo.vision.klt import PointTrack, follow
from zoo.vision.landmark_file import LandmarkFile
from zoo.vision.landmarks import CanonicalLandmarks, face_of, landmark_provider, landmarks_of, map_points

LONDON = Path(__file__).parents[2] / "shared" / "data" / "london_pairs_256.npz"


@pytest.fixture(scope="module")
def sample():
    return sample_clip()


def ideal_face() -> Face:
    """The canonical face itself, as a detection in a picture of FACE_SIZE."""
    points = geometry.landmarks() * FACE_SIZE - 0.5
    four = canonical_points()
    return Face(np.float32([0, 0, FACE_SIZE, FACE_SIZE]), np.insert(four, 2, points[30], 0).astype(np.float32), 1.0)


# -- canonical -------------------------------------------------------------------------------------------------------------


def test_the_canonical_face_gets_its_own_landmarks():
    found = CanonicalLandmarks().landmarks(np.zeros((9, 9, 3), np.uint8), ideal_face())
    assert found.shape == (68, 2) and found.dtype == np.float32
    assert np.abs(found - (geometry.landmarks() * FACE_SIZE - 0.5)).max() < 0.5


def test_landmarks_turn_with_the_face_and_face_of_undoes_them(sample):
    points = landmarks_of(sample.face)
    assert np.abs(face_of(points).points - sample.face.points).max() < 2.5
    turn = cv2.getRotationMatrix2D((100, 120), 25, 1.3)
    turned = Face(sample.face.box, map_points(turn, sample.face.points).astype(np.float32), 1.0)
    assert np.abs(landmarks_of(turned) - map_points(turn, points)).max() < 1e-2
    aligned = map_points(similarity(sample.face)[0], points)
    assert np.abs(aligned[36:48].mean(0) - geometry.eye_centres().mean(0) * FACE_SIZE).max() < 4


# -- MediaPipe ------------------------------------------------------------------------------------------------------------


def test_the_table_names_each_point_once_and_is_symmetric():
    index = ibug_index()
    assert index.shape == (68,) and len(set(index.tolist())) == 68 and index.min() >= 0 and index.max() < 468
    assert index[[8, 30, 33, 36, 39, 42, 45, 48, 54]].tolist() == [152, 1, 2, 33, 133, 362, 263, 61, 291]


@pytest.fixture(scope="module")
def mesh() -> FaceMesh:
    if importlib.util.find_spec("ai_edge_litert") is None:
        pytest.skip("MediaPipe's landmarks are an extra: pip install 'au-graph-zoo[landmarks]'")
    if not os.environ.get(ENVIRONMENT):
        pytest.skip(f"needs MediaPipe's face_landmarker.task, named by ${ENVIRONMENT}")
    return FaceMesh()


def test_mediapipes_points_lie_on_the_face_and_mirror(mesh, sample):
    picture = sample.frames[0]
    points = mesh.mesh(picture, sample.face)
    assert points.shape == (478, 2) and points.dtype == np.float32 and np.isfinite(points).all()
    five = face_of(mesh.landmarks(picture, sample.face)).points
    assert np.linalg.norm(five - sample.face.points, axis=1).max() < 0.12 * sample.face.interocular
    flipped = np.ascontiguousarray(picture[:, ::-1])
    mirrored = (sample.face.points[[1, 0, 2, 4, 3]] * [-1, 1] + [255, 0]).astype(np.float32)
    other = mesh.landmarks(flipped, Face(sample.face.box, mirrored, 1.0))[geometry.mirror_index()] * [-1, 1] + [255, 0]
    assert np.abs(other - mesh.landmarks(picture, sample.face)).mean() < 0.04 * sample.face.interocular


def test_mediapipe_refuses_what_is_no_face(mesh, sample):
    noise = np.random.default_rng(0).integers(0, 256, (256, 256, 3), np.uint8)
    for picture in (noise, np.zeros_like(noise)):
        with pytest.raises(FaceError, match="probability"):
            mesh.mesh(picture, sample.face)


def test_landmarks_of_real_portraits(mesh):
    """Against MediaPipe's own answers on people; $ZOO_FACE_LANDMARKER and ../shared/data in one."""
    if not LONDON.exists():
        pytest.skip("needs ../shared/data/london_pairs_256.npz")
    data = np.load(LONDON)
    errors = []
    for i in range(0, 204, 17):
        code = data["jpeg"][data["offset"][i] : data["offset"][i + 1]]
        rgb = cv2.cvtColor(cv2.imdecode(code, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
        truth = data["landmarks478"][i].astype(np.float32) - 0.5  # MediaPipe counts from the pixel's corner
        face = face_of(truth[ibug_index()])
        shifted = Face(face.box, face.points + np.float32([6, -4]), 1.0)  # as rough as a detector
        errors.append(np.linalg.norm(mesh.mesh(rgb, shifted) - truth, axis=1).mean() / face.interocular)
    assert np.mean(errors) < 0.015 and max(errors) < 0.025


def test_a_missing_or_wrong_model_file_is_explained(monkeypatch, tmp_path):
    pytest.importorskip("ai_edge_litert", reason="an extra")
    monkeypatch.delenv(ENVIRONMENT, raising=False)
    with pytest.raises(ZooError, match="download https://storage"):
        landmark_provider("mediapipe")
    with pytest.raises(ZooError, match="there is no file"):
        landmark_provider(tmp_path / "none.task")
    wrong = tmp_path / "wrong.task"
    wrong.write_bytes(b"not a zip")
    with pytest.raises(ZooError, match=r"is not MediaPipe's face_landmarker\.task"):
        FaceMesh(wrong)
    with zipfile.ZipFile(wrong, "w") as archive:
        archive.writestr("other.tflite", b"0")
    with pytest.raises(ZooError, match="a zip that holds"):
        FaceMesh(wrong)


def test_a_missing_runtime_names_its_extra(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "ai_edge_litert.interpreter", None)
    with pytest.raises(MissingExtra, match=r"au-graph-zoo\[landmarks\]"):
        FaceMesh("x.task")


# -- files ----------------------------------------------------------------------------------------------------------------


def points_of(frames: int) -> np.ndarray:
    return np.stack([landmarks_of(ideal_face()) + i for i in range(frames)])


def csv(path: Path, points: np.ndarray, *, openface: bool = False, start: int = 0) -> Path:
    pad = " " if openface else ""
    extra = ["frame", "face_id", "timestamp", "confidence", "success"] if openface else ["frame"]
    names = extra + [f"x_{i}" for i in range(68)] + [f"y_{i}" for i in range(68)]
    rows = [(f",{pad}").join(names)]
    for i, p in enumerate(points):
        head = [i + start, 0, i / 30, 0.98, int(np.isfinite(p).all())] if openface else [i + start]
        rows.append((f",{pad}").join(map(str, [*head, *p[:, 0], *p[:, 1]])))
    path.write_text("\n".join(rows) + "\n")
    return path


def test_every_form_of_file_gives_the_same_points(tmp_path):
    points = points_of(4)
    np.save(tmp_path / "a.npy", np.concatenate([points, points[..., :1]], -1))
    np.savez(tmp_path / "b.npz", landmarks=points, frames=np.arange(4))
    sources = [
        tmp_path / "a.npy",
        tmp_path / "b.npz",
        csv(tmp_path / "c.csv", points),
        csv(tmp_path / "d.csv", points, openface=True, start=1),
    ]
    for path in sources:
        provider = landmark_provider(path)
        assert isinstance(provider, LandmarkFile) and provider.warnings == []
        assert np.allclose(
            provider.landmarks(np.zeros((1, 1, 3), np.uint8), ideal_face(), index=2), points[2], atol=1e-3
        )
    mesh = np.zeros((2, 478, 3))
    mesh[:, ibug_index(), :2] = points[:2]
    np.save(tmp_path / "e.npy", mesh)
    assert np.allclose(LandmarkFile(tmp_path / "e.npy").points, points[:2], atol=1e-3)


def test_a_frame_without_valid_points_is_refused_by_its_number(tmp_path):
    points = points_of(5)
    points[3, 7] = np.nan
    np.savez(tmp_path / "a.npz", landmarks=points, frames=[10, 11, 12, 13, 20])
    provider = LandmarkFile(tmp_path / "a.npz")
    assert provider.warnings == ["a.npz: no valid landmarks in 1 of 5 frames (13)"]
    assert np.isfinite(provider.landmarks(None, index=12)).all()
    with pytest.raises(DataError, match="frame 13 are not valid \\(1 of 68 points"):
        provider.landmarks(None, index=13)
    with pytest.raises(DataError, match="no landmarks of frame 15; it holds 5 frames, 10 to 20"):
        provider.landmarks(None, index=15)
    failed = LandmarkFile(csv(tmp_path / "b.csv", points, openface=True, start=1))
    with pytest.raises(DataError, match="frame 3 are not valid \\(68 of 68"):
        failed.landmarks(None, index=3)


@pytest.mark.parametrize(("name", "content", "words"), [
    ("none.npy", None, "there is no landmark file"), ("a.txt", "x", "not from .txt"), ("a.npy", "rubbish", "cannot be read as an array"),
    ("a.csv", "frame,x_0,y_0\n0,1,2\n", "1 columns x_0"), ("b.npy", np.zeros((3, 51, 2)), r"68 or 478.*\[3, 51, 2\]"),
    ("c.npz", {"points": np.zeros((1, 68, 2))}, "no array `landmarks`; it has points"),
    ("d.npz", {"landmarks": np.zeros((2, 68, 2)), "frames": np.array([1, 1])}, "unique"),
    ("e.npz", {"landmarks": np.zeros((2, 68, 2)), "frames": np.array([1.0])}, "2 whole numbers"),
    ("b.csv", "frame," + ",".join(f"{a}_{i}" for a in "xy" for i in range(68)) + "\nfirst," + ",".join("1" * 136) + "\n", "row 2, column frame: 'first'"),
])  # fmt: skip
def test_bad_files_are_named(tmp_path, name, content, words):
    path = tmp_path / name
    match content:
        case str():
            path.write_text(content)
        case dict():
            np.savez(path, **content)
        case np.ndarray():
            np.save(path, content)
    with pytest.raises(DataError, match=words) as caught:
        LandmarkFile(path)
    assert name in str(caught.value)


# -- following -------------------------------------------------------------------------------------------------------------


def test_points_follow_the_true_motion_of_a_smile(sample):
    portrait = sample.frames[0].astype(np.float32)
    field = motion_field(sample.face, {12: 0.35}, portrait.shape[:2])
    grey = [
        cv2.cvtColor(np.clip(p, 0, 255).astype(np.uint8), cv2.COLOR_RGB2GRAY) for p in (portrait, warp(portrait, field))
    ]
    points = landmarks_of(sample.face).astype(np.float32)
    true = points.copy()
    for _ in range(30):  # the field is stated at the place of arrival
        true = points + np.stack(
            [cv2.remap(part, *np.ascontiguousarray(true.T)[..., None], cv2.INTER_LINEAR)[:, 0] for part in field], 1
        )
    there, holds = follow(*grey, points)
    assert holds.mean() > 0.9
    assert np.linalg.norm(there - true, axis=1)[holds].mean() < 0.1
    mouth = holds & np.isin(np.arange(68), [48, 54])
    assert mouth.any() and np.linalg.norm((there - points)[mouth], axis=1).min() > 1.5


def test_a_track_stays_on_the_face_for_many_frames_and_says_when_it_is_lost(sample):
    rng = np.random.default_rng(0)
    grey = cv2.cvtColor(sample.frames[0], cv2.COLOR_RGB2GRAY)
    start = landmarks_of(sample.face)
    track, place = PointTrack(start, grey), np.zeros(2)
    for _ in range(25):
        place = place + rng.normal(0.4, 0.3, 2)
        moved = cv2.warpAffine(
            grey, np.float32([[1, 0, place[0]], [0, 1, place[1]]]), (256, 256), borderMode=cv2.BORDER_REPLICATE
        )
        points = track.step(moved)
    assert np.linalg.norm(points - start - place, axis=1).mean() < 1.0
    with pytest.raises(FaceError, match="look for the face anew"):
        track.step(rng.integers(0, 256, grey.shape, np.uint8))
    with pytest.raises(FaceError, match="lost"):
        track.step(np.zeros_like(grey))


def test_points_that_do_not_hold_are_placed_by_the_others(sample):
    grey = cv2.cvtColor(sample.frames[0], cv2.COLOR_RGB2GRAY)
    points = landmarks_of(sample.face)
    moved = cv2.warpAffine(grey, np.float32([[1, 0, 2.5], [0, 1, -1.5]]), (256, 256), borderMode=cv2.BORDER_REPLICATE)
    hidden = slice(int(points[57, 1]) - 2, 200), slice(60, 180)
    moved[hidden] = np.random.default_rng(0).integers(0, 256, moved[hidden].shape, np.uint8)  # a hand over the chin
    track = PointTrack(points, grey)
    there = track.step(moved)
    assert 0.5 < track.held < 0.95
    assert np.abs(there[4:13] - points[4:13] - [2.5, -1.5]).max() < 2.0


def test_following_refuses_nan_and_unequal_pictures(sample):
    grey = np.zeros((40, 40), np.uint8)
    with pytest.raises(ZooError, match="number 1"):
        follow(grey, grey, np.array([[1.0, 2.0], [np.nan, 3.0]]))
    with pytest.raises(ZooError, match="one size"):
        follow(grey, grey[:30], np.zeros((1, 2)))
    there, holds = follow(grey, grey, np.zeros((0, 2)))
    assert there.shape == (0, 2) and holds.shape == (0,)
