"""Pixels to motion: geometry, faces, flow, strain, and the reader of videos and frame folders."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from zoo.errors import MediaError, MissingExtra, ZooError
from zoo.facs import geometry
from zoo.synthesis.sample import sample_clip
from zoo.vision.faces import Face, MTCNNDetector, align, canonical_points, outside, similarity
from zoo.vision.flow import optical_flow
from zoo.vision.strain import optical_strain
from zoo.vision.track import FaceTrack
from zoo.vision.video import Frame, MediaReader, write_video


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    yield
    cv2.setNumThreads(before)


@pytest.fixture(scope="module")
def sample():
    return sample_clip()


def texture(height: int = 96, width: int = 128, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    smooth = cv2.GaussianBlur(rng.normal(0, 1, (height, width, 3)), (0, 0), 2.5)
    return np.clip(128 + 55 * smooth / smooth.std(), 0, 255).astype(np.uint8)


def moving(count: int = 60, height: int = 96, width: int = 128) -> list[np.ndarray]:
    return [np.ascontiguousarray(np.roll(texture(height, width), i, 1)) for i in range(count)]


# -- geometry ------------------------------------------------------------------------------------------------------------


def test_the_canonical_face_is_its_own_mirror_image():
    points, mirror = geometry.landmarks(), geometry.mirror_index()
    assert points.shape == (68, 2)
    assert np.allclose(points[mirror] * [-1, 1] + [1, 0], points, atol=2e-3)
    assert np.allclose(np.diff(geometry.eye_centres()[:, 0]), geometry.interocular())
    assert np.allclose(points[[48, 54]], geometry.mouth_corners(), atol=1e-3)


def test_action_units_move_what_they_are_named_for():
    assert geometry.displacement(12)[[48, 54], 1].max() < 0  # lip corners up; y points down
    assert geometry.displacement(12)[54, 0] > 0 > geometry.displacement(12)[48, 0]  # and outwards
    assert geometry.displacement(4)[17:27, 1].min() > 0  # brows down
    assert not geometry.displacement(1, "left")[17:20].any()  # the subject's left is on the image's right
    with pytest.raises(ValueError, match="AU99"):
        geometry.displacement(99)


# -- faces ---------------------------------------------------------------------------------------------------------------


def test_similarity_recovers_the_pose_it_was_given():
    angle, scale = np.radians(17), 0.8
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    four = canonical_points() @ turn.T + [40, 25]
    points = np.insert(four, 2, four.mean(0), axis=0).astype(np.float32)
    matrix, residual = similarity(Face(np.zeros(4), points, 1.0))
    assert np.allclose(points[[0, 1, 3, 4]] @ matrix[:, :2].T + matrix[:, 2], canonical_points(), atol=1e-3)
    assert residual < 1e-5


def test_a_large_face_is_aligned_without_shifting_it(sample):
    big = cv2.resize(sample.frames[0], None, fx=6, fy=6, interpolation=cv2.INTER_CUBIC)
    matrix, _ = similarity(sample.face)
    scaled, _ = similarity(Face(sample.face.box, (sample.face.points + 0.5) * 6 - 0.5, 1.0))
    near, far = align(sample.frames[0], matrix), align(big, scaled)
    shift, _ = cv2.phaseCorrelate(*(cv2.cvtColor(p, cv2.COLOR_RGB2GRAY).astype(np.float64) for p in (near, far)))
    assert np.hypot(*shift) < 0.05
    assert outside(matrix, (256, 256)) == 0
    assert outside(matrix, (100, 256)) > 0.3


def test_mtcnn_finds_the_face_restores_threads_and_says_none_for_noise(sample):
    pytest.importorskip("facenet_pytorch", reason="the face detector is an extra")
    import torch

    before = torch.get_num_threads()
    detector = MTCNNDetector(min_face=40)
    twice = np.concatenate([cv2.resize(sample.frames[0], None, fx=0.6, fy=0.6), np.zeros((154, 40, 3), np.uint8)], 1)
    twice = np.concatenate([cv2.copyMakeBorder(twice, 0, 102, 0, 0, cv2.BORDER_CONSTANT), sample.frames[0]], 1)
    faces = detector.detect(twice)
    assert len(faces) == 2 and faces[0].area > faces[1].area
    assert faces[0].points.dtype == np.float32
    assert np.abs(faces[0].points - [194, 0] - sample.face.points).max() < 2.5  # the large one, on the right
    again = detector.detect(twice, near=faces[0])
    assert len(again) == 1 and np.abs(again[0].points - faces[0].points).max() < 1.5
    assert detector.detect(np.full((120, 160, 3), 127, np.uint8)) == []
    assert torch.get_num_threads() == before


def test_a_missing_detector_names_the_command_that_installs_it(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "facenet_pytorch", None)
    with pytest.raises(MissingExtra, match="pip install --no-deps facenet-pytorch"):
        MTCNNDetector()


class Scripted:
    """A detector that follows a script: the place of the face by frame, or None."""

    def __init__(self, places):
        self.places, self.calls = places, 0
        self.still = np.array([[60, 60], [100, 60], [80, 80], [63, 103], [97, 103]], np.float32)

    def detect(self, rgb, *, near=None):
        self.calls += 1
        place = self.places[int(rgb[0, 0, 0])]
        return [] if place is None else [Face(np.array([40, 30, 120, 130]), self.still + np.float32(place), 1.0)]


def scripted(places, **kwargs):
    def frames():
        for i in range(len(places)):
            rgb = texture(160, 160)
            if places[i] is None:
                rgb[:] = 0
            rgb[0, 0] = i
            yield Frame(i, None, rgb)

    detector = Scripted(places)
    return FaceTrack(frames(), detector, **kwargs), detector


def test_one_alignment_holds_while_the_head_is_still_and_the_detector_rests():
    track, detector = scripted([(0.3 * (i % 2), 0) for i in range(40)], stride=10)
    faces = list(track)
    assert [f.index for f in faces] == list(range(40)) and {f.segment for f in faces} == {1}
    assert detector.calls == 4 and not track.lost and not track.skipped


def test_a_head_that_moves_away_starts_a_new_segment():
    track, _ = scripted([(0, 0)] * 20 + [(30, 0)] * 20, stride=5)
    by_segment = {f.index: f.segment for f in track}
    assert by_segment[15] == 1 and by_segment[25] == 2
    assert set(track.skipped) <= set(range(15, 25))  # the frames of the move itself


def test_a_face_that_vanishes_between_two_looks_is_noticed_and_named():
    track, _ = scripted([(0, 0)] * 13 + [None] * 4 + [(0, 0)] * 13, stride=10)
    faces = [f.index for f in track]
    assert track.lost and set(track.lost) <= {13, 14, 15, 16}
    assert not set(faces) & {13, 14, 15, 16} and set(range(13)) <= set(faces)
    assert sorted([*faces, *track.skipped]) == list(range(30))


# -- flow and strain -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("method", "worst"), [("tvl1", 0.06), ("tvl1_fast", 0.1), ("dis", 0.12), ("farneback", 0.35)])
def test_flow_of_a_sub_pixel_shift_points_right_and_down(method, worst):
    first = cv2.cvtColor(texture(), cv2.COLOR_RGB2GRAY)
    second = cv2.warpAffine(
        first, np.float32([[1, 0, 0.7], [0, 1, 0.4]]), (128, 96), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
    )
    flow = optical_flow(first, second, method)
    assert flow.shape == (2, 96, 128) and flow.dtype == np.float32
    inner = flow[:, 10:-10, 10:-10]
    assert np.hypot(inner[0] - 0.7, inner[1] - 0.4).mean() < worst


def test_flow_of_a_faint_smile_is_near_the_truth(sample):
    onset, apex = (
        cv2.cvtColor(sample.clip.frames[i], cv2.COLOR_RGB2GRAY) for i in (sample.truth.onset, sample.truth.apex)
    )
    error = np.hypot(*(optical_flow(onset, apex, "tvl1") - sample.flow))
    still = np.hypot(*sample.flow)
    assert error.mean() < 0.2 and error[still > 1].mean() < 0.4 * still[still > 1].mean()


def test_flow_refuses_what_it_cannot_read():
    grey = np.zeros((40, 40), np.uint8)
    with pytest.raises(ZooError, match="grey uint8"):
        optical_flow(grey, grey.astype(np.float32))
    with pytest.raises(ZooError, match="one size"):
        optical_flow(grey, grey[:30])
    with pytest.raises(ZooError, match="'tvl2'; known: tvl1"):
        optical_flow(grey, grey, "tvl2")


def test_an_opencv_without_contrib_is_explained(monkeypatch):
    monkeypatch.delattr(cv2, "optflow")
    with pytest.raises(ZooError, match="pip install opencv-contrib-python-headless"):
        optical_flow(np.zeros((40, 40), np.uint8), np.zeros((40, 40), np.uint8))


def test_strain_of_analytic_fields():
    y, x = np.mgrid[:20, :30].astype(np.float32)
    zero = np.zeros_like(x)
    assert np.allclose(optical_strain(np.stack([0.1 * x, 0.1 * y])), 0.1 * np.sqrt(2), atol=1e-5)  # expansion
    assert np.allclose(optical_strain(np.stack([0.1 * y, zero])), 0.1 / np.sqrt(2), atol=1e-5)  # shear
    assert np.allclose(optical_strain(np.stack([-0.1 * y, 0.1 * x])), 0, atol=1e-5)  # rotation
    assert np.allclose(optical_strain(np.stack([zero + 3, zero - 2])), 0)  # translation
    assert np.allclose(optical_strain(np.stack([0.1 * x, zero])), 0.1, atol=1e-5)  # stretch along x alone
    with pytest.raises(ZooError, match=r"\[2, H, W\]"):
        optical_strain(np.zeros((3, 20, 30)))


# -- video ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "avi"])
@pytest.mark.parametrize("size", [(96, 128), (97, 131)])
def test_videos_are_read_as_a_stream_of_rgb(tmp_path, suffix, size):
    frames, path = moving(12, *size), tmp_path / f"clip.{suffix}"
    write_video(path, frames, fps=25)
    reader = MediaReader(path)
    stream = iter(reader)
    first = next(stream)
    assert not isinstance(stream, list) and iter(stream) is stream
    rest = list(stream)
    assert reader.fps == 25 and len(rest) == 11 and first.rgb.shape == (*size, 3) and first.rgb.dtype == np.uint8
    assert np.abs(first.rgb.astype(int) - frames[0]).mean() < 10  # colour is stored at half size
    assert [f.index for f in rest] == list(range(1, 12)) and rest[-1].time == pytest.approx(11 / 25, abs=2e-3)
    assert next(iter(MediaReader(path, fps=200))).time == 0 and list(MediaReader(path, fps=200))[10].time == 0.05


def test_the_rotation_of_a_phone_is_honoured(tmp_path):
    frames, path = moving(3), tmp_path / "phone.mp4"
    write_video(path, frames)
    data = bytearray(path.read_bytes())
    at = data.find(b"tkhd") + 8 + 20 + 16  # the track's matrix: turn by 90 degrees clockwise
    data[at : at + 36] = struct.pack(">9i", 0, 65536, 0, -65536, 0, 0, 96 * 65536, 0, 1 << 30)
    path.write_bytes(data)
    seen = next(iter(MediaReader(path))).rgb
    assert seen.shape == (128, 96, 3) and np.abs(seen.astype(int) - np.rot90(frames[0], -1)).mean() < 10


def bad_media(folder: Path, kind: str) -> Path:
    path = folder / "clip.mp4"
    match kind:
        case "missing":
            return path
        case "empty":
            path.touch()
        case "text":
            path.write_text("not a video " * 200)
        case "sound":
            with av.open(str(path), "w") as out:
                stream = out.add_stream("aac", rate=16000, layout="mono")
                sound = av.AudioFrame.from_ndarray(np.zeros((1, 4096), np.float32), "fltp", "mono")
                sound.sample_rate = 16000
                out.mux(stream.encode(sound))
                out.mux(stream.encode(None))
        case "single":
            write_video(path, moving(1))
        case "header cut":
            write_video(path, moving(30))
            path.write_bytes(path.read_bytes()[:-3000])
        case "middle" | "tail":
            path = folder / "clip.mkv"
            write_video(path, moving(60))
            data = bytearray(path.read_bytes())
            half = len(data) // 2
            data = (
                data[:half]
                if kind == "tail"
                else data[:half] + bytes(i * 37 % 251 for i in range(600)) + data[half + 600 :]
            )
            path.write_bytes(data)
        case "folder":
            path = folder / "frames"
            path.mkdir()
            (path / "notes.txt").touch()
        case "one picture" | "sizes" | "broken picture":
            path = folder / "frames"
            path.mkdir()
            for i, frame in enumerate(moving(1 if kind == "one picture" else 3)):
                cv2.imwrite(str(path / f"img{i}.png"), frame)
            if kind == "sizes":
                cv2.imwrite(str(path / "img2.png"), texture(90, 128))
            if kind == "broken picture":
                (path / "img1.png").write_bytes(b"\x89PNG rubbish")
    return path


@pytest.mark.parametrize(("kind", "words"), [
    ("missing", "no file or folder"), ("empty", "empty"), ("text", "cannot be opened as a video"), ("sound", "sound only"),
    ("single", "single frame"), ("header cut", "cannot be opened"), ("middle", r"\d+ frames decoded"),
    ("tail", r"\d+ frames decoded.*ffmpeg -i"), ("folder", "no pictures.*notes.txt"), ("one picture", "single frame"),
    ("sizes", "img0.png is 128x96, img2.png is 128x90"), ("broken picture", "img1.png"),
])  # fmt: skip
def test_bad_media_is_named_with_a_way_out(tmp_path, kind, words):
    path = bad_media(tmp_path, kind)
    with pytest.raises(MediaError, match=words) as caught:
        for _ in MediaReader(path):
            pass
    message = str(caught.value)
    assert path.name in message and "\n" not in message and "Error" not in message


def test_a_frame_folder_is_read_in_natural_order_and_gaps_are_said(tmp_path):
    for number in (1, 2, 9, 10, 11):
        cv2.imwrite(str(tmp_path / f"img{number}.png"), np.full((24, 32), 20 * number, np.uint8))
    reader = MediaReader(tmp_path)
    frames = list(reader)
    assert [int(f.rgb[0, 0, 0]) for f in frames] == [20, 40, 180, 200, 220]
    assert reader.fps is None and frames[1].time is None and reader.n_frames == 5
    assert len(reader.warnings) == 1 and "9 follows 2" in reader.warnings[0]
    assert list(MediaReader(tmp_path, fps=100))[2].time == 0.02


def test_sixteen_bit_and_tiff_frames_become_eight_bit(tmp_path):
    for i in range(2):
        cv2.imwrite(str(tmp_path / f"{i}.tif"), np.full((24, 32), 0x8040, np.uint16))
    assert {int(f.rgb.max()) for f in MediaReader(tmp_path)} == {0x80}


@pytest.mark.parametrize("fps", [0, -3, float("nan"), float("inf")])
def test_an_impossible_frame_rate_is_refused(tmp_path, fps):
    with pytest.raises(MediaError, match="fps"):
        MediaReader(tmp_path, fps=fps)
