"""Several faces, faces that come and go, a second detector, and the head's own motion."""

from __future__ import annotations

import os

import cv2
import numpy as np
import pytest

from zoo.errors import FaceError, ZooError
from zoo.facs import geometry
from zoo.synthesis.sample import motion_field, sample_clip, warp
from zoo.vision.faces import FACE_SIZE, Face, MTCNNDetector, align, similarity
from zoo.vision.flow import optical_flow
from zoo.vision.people import FaceFollower, followed, same_face
from zoo.vision.stabilise import HeadMotion, Stabiliser, head_motion, local_flow, rigid_region
from zoo.vision.track import FaceTrack
from zoo.vision.video import Frame
from zoo.vision.yunet import YuNetDetector, face_detector


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    yield
    cv2.setNumThreads(before)


@pytest.fixture(scope="module")
def sample():
    return sample_clip()


# -- several faces ---------------------------------------------------------------------------------------------------------

HEAD = (slice(40, 190), slice(50, 180))  # of the sample's frames


class Stage:
    """Heads of the sample on a grey stage, each on a path of its own, and a detector that knows where they are but jitters."""

    def __init__(self, sample, paths, *, blind=()):
        self.head = sample.frames[0][HEAD]
        self.face, self.paths, self.blind = sample.face, paths, blind
        self.rng, self.calls = np.random.default_rng(0), 0

    def places(self, index):
        return {name: path(index) for name, path in self.paths.items() if path(index) is not None}

    def frames(self, count):
        for index in range(count):
            rgb = np.full((240, 420, 3), 96, np.uint8)
            for x, y in self.places(index).values():
                shift = np.float32([[1, 0, x], [0, 1, y]])
                here = cv2.warpAffine(self.head, shift, (420, 240), flags=cv2.INTER_CUBIC)
                where = cv2.warpAffine(np.full(self.head.shape[:2], 255, np.uint8), shift, (420, 240)) > 127
                rgb[where] = here[where]
            rgb[0, 0] = index
            yield Frame(index, index / 30, rgb)

    def at(self, place):
        corner = np.float32([place[0] - HEAD[1].start, place[1] - HEAD[0].start])
        return Face(self.face.box + np.tile(corner, 2), self.face.points + corner, 1.0)

    def detect(self, rgb, *, near=None):
        self.calls += 1
        index = int(rgb[0, 0, 0])
        seen = [self.at(p) for name, p in self.places(index).items() if (name, index) not in self.blind]
        return [Face(f.box, f.points + self.rng.normal(0, 0.4, (5, 2)).astype(np.float32), 1.0) for f in seen]


def test_two_faces_are_followed_in_every_frame_under_their_own_numbers(sample):
    stage = Stage(sample, {"a": lambda i: (10 + 0.5 * i, 20), "b": lambda i: (260 - 0.4 * i, 60 + 0.3 * np.sin(i))})
    track = FaceFollower(stage.frames(60), stage, stride=15)
    worst = 0.0
    for frame, faces in track:
        assert len(faces) == 2
        truth = [stage.at(p) for p in stage.places(frame.index).values()]
        for one in faces:
            worst = max(worst, float(np.abs(one.face.points - truth[one.id - 1].points).max()))
            assert one.detected == (frame.index in track.checked)
    assert stage.calls == 4 and track.seen == {1: 60, 2: 60} and track.without == []
    assert worst < 3.0  # with a detector that jitters by more than one pixel


def test_a_face_that_leaves_ends_and_one_that_comes_is_new(sample):
    stage = Stage(sample, {"a": lambda i: (20, 30), "b": lambda i: (260, 50) if i < 22 or i >= 40 else None})
    track = FaceFollower(stage.frames(60), stage, stride=10)
    ids = {frame.index: sorted(one.id for one in faces) for frame, faces in track}
    assert ids[21] == [1, 2] and ids[25] == [1] and ids[50] == [1, 3]
    assert track.seen[1] == 60 and track.seen[2] in (22, 23) and track.seen[3] >= 10


def test_a_face_that_the_detector_misses_is_followed_on_for_a_while(sample):
    paths = {"a": lambda i: (20 + 0.5 * i, 30)}
    missed = FaceFollower(
        Stage(sample, paths, blind={("a", 10), ("a", 20)}).frames(35),
        Stage(sample, paths, blind={("a", 10), ("a", 20)}),
        stride=10,
    )
    assert all(len(faces) == 1 for _, faces in missed) and missed.seen == {1: 35}
    blind = {("a", i) for i in range(10, 60)}
    given_up = FaceFollower(Stage(sample, paths).frames(60), Stage(sample, paths, blind=blind), stride=10)
    counts = [len(faces) for _, faces in given_up]
    assert counts[29] == 1 and counts[31] == 0 and given_up.without == list(range(30, 60))


def test_faces_that_cross_do_not_swap_while_they_are_apart(sample):
    stage = Stage(sample, {"a": lambda i: (10, 40), "b": lambda i: (150 if i < 20 else 155, 40)})
    track = FaceFollower(stage.frames(40), stage, stride=5)
    places = {one.id: one.face.box[0] for _, faces in track for one in faces}
    assert places[1] < places[2] and len(places) == 2


def test_darkness_and_an_empty_picture_end_the_track_and_never_hang(sample):
    stage = Stage(sample, {"a": lambda i: (20, 30) if i < 12 else None})

    def frames():
        for frame in stage.frames(40):
            if frame.index >= 12:
                dark = np.zeros((240, 420, 3), np.uint8)
                dark[0, 0] = frame.index
                yield Frame(frame.index, frame.time, dark)
            else:
                yield frame

    track = FaceFollower(frames(), stage, stride=10)
    assert [len(faces) for _, faces in track] == [1] * 12 + [0] * 28
    assert track.without == list(range(12, 40)) and len(track.checked) <= 14
    assert followed(stage.at((20, 30)), *(np.zeros((240, 420), np.uint8) for _ in range(2))) is None


def test_the_face_that_was_followed_is_kept_although_another_is_larger():
    points = np.zeros((5, 2), np.float32)
    small, large = Face(np.float32([0, 0, 40, 40]), points, 1.0), Face(np.float32([100, 0, 190, 90]), points, 1.0)
    known = Face(np.float32([4, 2, 44, 43]), points, 1.0)
    assert same_face([large, small], known) is small and same_face([small, large], None) is large
    assert same_face([large], known) is large  # it is gone


def test_a_track_keeps_to_its_face_when_another_becomes_larger(sample):
    stage = Stage(sample, {"a": lambda i: (20, 30), "b": lambda i: (260, 50)})
    real = stage.detect

    def detect(rgb, *, near=None):
        first, second = real(rgb)
        grown = Face(second.box + np.float32([-15, -15, 15, 15]), second.points, 1.0)  # from frame 10 on the larger box
        return [first, second] if int(rgb[0, 0, 0]) < 10 else [grown, first]

    stage.detect = detect
    track = FaceTrack(stage.frames(40), stage, stride=5)
    crops = list(track)
    assert {crop.segment for crop in crops} == {1} and track.others == 1 and not track.skipped
    assert np.abs(crops[-1].rgb.astype(int) - crops[0].rgb).mean() < 3


def test_mtcnn_places_a_face_at_the_border_as_well_as_inside(sample):
    pytest.importorskip("facenet_pytorch", reason="the face detector is an extra")
    x0, y0, x1, y1 = np.rint(sample.face.box).astype(int)
    tight = cv2.resize(
        sample.frames[0][y0 + 4 : y1 - 2, x0 + 2 : x1 - 2], None, fx=2.5, fy=2.5, interpolation=cv2.INTER_CUBIC
    )
    found = MTCNNDetector().detect(tight)
    wanted = (sample.face.points - [x0 + 2, y0 + 4] + 0.5) * 2.5 - 0.5
    assert len(found) == 1
    assert np.linalg.norm(found[0].points - wanted, axis=1).mean() < 0.08 * 2.5 * sample.face.interocular


def test_bad_settings_are_refused(sample):
    for bad in ({"stride": 0}, {"overlap": 0}, {"patience": -1}):
        with pytest.raises(ZooError, match="at least 1"):
            FaceFollower([], Stage(sample, {}), **bad)


# -- YuNet -----------------------------------------------------------------------------------------------------------------


def test_yunet_reads_opencvs_rows(monkeypatch, tmp_path, sample):
    class Fake:
        def setInputSize(self, size):
            self.size = size

        def detect(self, bgr):
            assert bgr.shape[1::-1] == self.size == (640, 480)
            small = [10, 10, 20, 20, *([12] * 10), 0.9]
            large = [100, 50, 80, 100, 120, 80, 160, 80, 140, 100, 125, 120, 155, 120, 0.95]
            return 1, np.float32([small, large])

    file = tmp_path / "yunet.onnx"
    file.write_bytes(b"model")
    monkeypatch.setattr(cv2.FaceDetectorYN, "create", staticmethod(lambda *_: Fake()))
    faces = YuNetDetector(file).detect(np.zeros((960, 1280, 3), np.uint8))
    assert len(faces) == 1  # the small one is below a tenth of the picture
    assert np.allclose(faces[0].box, [200.5, 100.5, 360.5, 300.5]) and np.allclose(faces[0].points[0], [240.5, 160.5])
    assert len(YuNetDetector(file, min_face=10).detect(np.zeros((960, 1280, 3), np.uint8))) == 2


def test_yunet_explains_a_missing_or_wrong_file(tmp_path):
    with pytest.raises(ZooError, match=r"there is no file.*opencv_zoo"):
        face_detector(tmp_path / "yunet.onnx")
    wrong = tmp_path / "wrong.onnx"
    wrong.write_bytes(b"no network")
    with pytest.raises(ZooError, match="cannot use"):
        YuNetDetector(wrong)
    with pytest.raises(ZooError, match="known: mtcnn"):
        face_detector("haar")


def test_yunet_finds_the_face(sample):
    if not os.environ.get("ZOO_YUNET"):
        pytest.skip("needs face_detection_yunet_2023mar.onnx, named by $ZOO_YUNET")
    faces = YuNetDetector(os.environ["ZOO_YUNET"]).detect(sample.frames[0])
    assert len(faces) == 1
    assert np.linalg.norm(faces[0].points - sample.face.points, axis=1).max() < 0.15 * sample.face.interocular


# -- the head's own motion ----------------------------------------------------------------------------------------------------


def turn(degrees: float, scale: float, shift: tuple[float, float], size: int = FACE_SIZE) -> np.ndarray:
    matrix = cv2.getRotationMatrix2D((size / 2, size / 2), -degrees, scale)
    matrix[:, 2] += shift
    return matrix


def smile(sample) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Aligned grey face before and after a smile, and the true motion."""
    matrix, _ = similarity(sample.face)
    portrait = sample.frames[0].astype(np.float32)
    field = motion_field(sample.face, {6: 0.35, 12: 0.35}, portrait.shape[:2])
    pair = [np.clip(p, 0, 255).astype(np.uint8) for p in (portrait, warp(portrait, field))]
    before, after = (cv2.cvtColor(align(p, matrix), cv2.COLOR_RGB2GRAY) for p in pair)
    return before, after, sample.flow


def test_the_heads_motion_is_found_under_an_expression_and_taken_off(sample):
    head = turn(1.5, 1.01, (1.2, -0.8))
    truth = HeadMotion(head, 1.0).flow(FACE_SIZE, FACE_SIZE)
    both = truth + sample.flow  # small motions add up
    rest, found = local_flow(both)
    assert found.rotation == pytest.approx(1.5, abs=0.1) and found.scale == pytest.approx(1.01, abs=2e-3)
    assert np.hypot(*(rest - sample.flow)).mean() < 0.1 < 0.2 * np.hypot(*truth).mean()
    assert found.agreeing > 0.5


def test_the_heads_motion_is_found_in_real_flow(sample):
    before, after, true = smile(sample)
    moved = cv2.warpAffine(
        after, turn(1, 1.0, (1.0, 0.7)), (FACE_SIZE, FACE_SIZE), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
    )
    rest, found = local_flow(optical_flow(before, moved, "dis"))
    assert found.rotation == pytest.approx(1, abs=0.25)
    skin = np.hypot(*true) > 1
    assert np.hypot(*(rest - true))[skin].mean() < 0.5 * np.hypot(*true)[skin].mean()
    still = rigid_region(FACE_SIZE)
    assert np.hypot(*rest)[still].mean() < 0.35


def test_no_motion_is_the_identity_exactly_and_a_bad_flow_is_refused():
    rest, head = local_flow(np.zeros((2, 84, 84), np.float32))
    assert not rest.any() and np.array_equal(head.matrix, np.eye(2, 3)) and head.agreeing == 1
    broken = np.zeros((2, 84, 84))
    broken[0, 3, 3] = np.nan
    with pytest.raises(ZooError, match="finite flow"):
        head_motion(broken)
    with pytest.raises(ZooError, match="does not fit"):
        head_motion(np.zeros((2, 84, 84)), np.zeros((84, 84), bool))
    with pytest.raises(ZooError, match="square"):
        head_motion(np.zeros((2, 84, 80)))


def test_no_action_unit_is_taken_for_the_heads_motion(sample):
    matrix, _ = similarity(sample.face)
    back = cv2.invertAffineTransform(matrix)
    y, x = np.mgrid[:FACE_SIZE, :FACE_SIZE]
    place = (np.einsum("ij,jhw->ihw", back[:, :2], np.stack([x, y])) + back[:, 2, None, None]).astype(np.float32)
    for au in geometry.action_units():
        field = motion_field(sample.face, {au: 0.4}, (256, 256))
        flow = np.einsum("ij,jhw->ihw", matrix[:, :2], [cv2.remap(part, *place, cv2.INTER_LINEAR) for part in field])
        taken = np.hypot(*head_motion(flow).flow(FACE_SIZE, FACE_SIZE))[20:-20, 20:-20].mean()
        assert taken < 0.06 * np.hypot(*flow).max(), au


def test_the_rigid_region_leaves_out_eyes_and_mouth():
    region = rigid_region(FACE_SIZE)
    points = np.rint(geometry.landmarks() * FACE_SIZE - 0.5).astype(int)
    assert not region[points[36:68, 1], points[36:68, 0]].any() and not region[points[17:27, 1], points[17:27, 0]].any()
    assert region[points[28, 1], points[28, 0]] and 0.1 < region.mean() < 0.4
    assert np.abs(region.astype(int) - region[:, ::-1]).mean() < 0.02


def test_a_long_video_is_held_to_its_reference_without_drift(sample):
    before, after, _ = smile(sample)
    steady = Stabiliser(before)
    rng = np.random.default_rng(0)
    inner = (slice(25, -25), slice(25, -25))
    for i in range(30):
        matrix = turn(3 * np.sin(i / 5), 1 + 0.02 * np.sin(i / 7), (4 * np.sin(i / 4), 3 * np.cos(i / 6)))
        face = after if i % 2 else before
        seen = cv2.warpAffine(
            face, matrix, (FACE_SIZE, FACE_SIZE), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
        )
        seen = np.clip(seen + rng.normal(0, 1.5, seen.shape), 0, 255).astype(np.uint8)
        found = steady.motion(seen)
        corners = np.array([[30, 30], [138, 30], [84, 120]])
        apart = corners @ (found.matrix - matrix)[:, :2].T + (found.matrix - matrix)[:, 2]
        assert np.abs(apart).max() < 0.5, i
        back = steady.steady(seen)
        assert np.abs(back[inner].astype(float) - face[inner]).mean() < 6


def test_a_head_that_is_lost_or_dark_is_told(sample):
    before, _, _ = smile(sample)
    with pytest.raises(FaceError, match="dark or blurred"):
        Stabiliser(np.zeros((FACE_SIZE, FACE_SIZE), np.uint8))
    steady = Stabiliser(before)
    with pytest.raises(FaceError, match="new reference frame"):
        steady.motion(np.zeros_like(before))
    colour = cv2.cvtColor(before, cv2.COLOR_GRAY2RGB)
    assert steady.steady(colour).shape == colour.shape and np.abs(steady.steady(colour).astype(int) - colour).max() <= 2
