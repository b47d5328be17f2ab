"""Scripts played on a portrait: subpixel motion without bias, true flow, and what wavers beside it."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from zoo.errors import ZooError
from zoo.synthesis.portraits import PICTURES, Portrait, astronaut, read_portraits
from zoo.synthesis.render import Nuisance, Player, plan
from zoo.synthesis.script import AUScript, Move, draw
from zoo.vision.resample import Spline


@pytest.fixture(scope="module")
def player() -> Player:
    return Player(astronaut().framed(160))


def script_of(*moves: tuple[int, str, float]) -> AUScript:
    return AUScript(
        dataset="casme2",
        emotion="others",
        moves=tuple(
            Move(au=au, side=side, intensity=value, letter="B", start=0.0, peak=150.0, end=300.0)
            for au, side, value in moves
        ),
    )


def play(player, script, *, nuisance=None, fps=100.0, start=50.0, seed=0, frames=45):
    return plan(
        [(start, script)],
        frames=frames,
        fps=fps,
        interocular=player.interocular,
        rng=np.random.default_rng(seed),
        nuisance=nuisance or Nuisance.none(),
    )


def test_a_face_at_rest_is_the_portrait(player):
    course = play(player, script_of((12, "both", 0.3)))
    interval = course.events[0].interval
    for index in (0, interval.onset, interval.offset, len(course) - 1):
        assert np.array_equal(player.frame(course, index), player.portrait.picture)
    assert not np.array_equal(player.frame(course, interval.apex), player.portrait.picture)


@pytest.mark.parametrize("shift", [0.05, 0.1, 0.37])
def test_small_shifts_are_not_biased(player, shift):
    course = play(player, script_of((12, "both", 0.3)))
    course.head[:, 0] = shift
    moved = player.frame(course, 0).astype(np.float64)
    picture = player.portrait.picture
    exact = Spline(picture).moved(np.stack([np.full(picture.shape[:2], shift), np.zeros(picture.shape[:2])]))
    inner = slice(8, -8)
    slope = np.gradient(picture.astype(np.float64), axis=1)[inner, inner]
    # the shift that explains the difference from the exact picture; OpenCV's cubic would be off by 0.04 px
    off = -((moved - exact)[inner, inner] * slope).sum() / (slope**2).sum()
    assert abs(off) < 0.006
    assert np.abs(moved - exact)[inner, inner].mean() < 0.6  # rounding to grey values alone makes 0.25


def test_the_true_flow_carries_the_onset_to_the_apex(player):
    script = script_of((12, "both", 0.5), (4, "left", 0.6))
    for nuisance in (Nuisance.none(), Nuisance(noise=0.0, blinks=0.0, gain=0.0)):
        course = play(player, script, nuisance=nuisance, seed=3)
        interval = course.events[0].interval
        flow = player.flow(course, interval.onset, interval.apex)
        onset, apex = (player.frame(course, i).astype(np.float64) for i in (interval.onset, interval.apex))
        y, x = np.mgrid[:160, :160].astype(np.float64)
        back = Spline(apex).at(x + flow[0], y + flow[1])
        inner = slice(12, -12)
        before, after = (np.abs(p - onset)[inner, inner].mean() for p in (apex, back))
        assert after < 0.35 * before and after < 1.0
        reverse = player.flow(course, interval.apex, interval.onset)
        returned = flow + np.stack(
            [
                cv2.remap(plane, (x + flow[0]).astype(np.float32), (y + flow[1]).astype(np.float32), cv2.INTER_LINEAR)
                for plane in reverse
            ]
        )
        assert np.abs(returned[:, inner, inner]).max() < 0.05


def test_true_landmarks_follow_the_flow(player):
    course = play(player, script_of((12, "both", 0.5)), nuisance=Nuisance(noise=0.0, blinks=0.0), seed=1)
    interval = course.events[0].interval
    first, last = (player.landmarks(course, i) for i in (interval.onset, interval.apex))
    flow = player.flow(course, interval.onset, interval.apex)
    read = np.stack([cv2.remap(p, *first.astype(np.float32).T, cv2.INTER_LINEAR).ravel() for p in flow], 1)
    assert np.abs(first + read - last).max() < 0.05
    still = player.landmarks(course.still(), interval.apex) - player.portrait.landmarks
    assert still[48, 1] < -0.5 and still[54, 1] < -0.5 and np.abs(still[36]).max() < 0.2  # corners up, eyes stay


def test_left_is_the_subjects_left(player):
    course = play(player, script_of((2, "left", 0.7)))
    flow = player.flow(course, course.events[0].interval.onset, course.events[0].interval.apex)
    middle = round(player.portrait.landmarks[27, 0])
    moved = np.hypot(*flow)
    assert moved[:, middle + 10 :].max() > 2 > 5 * moved[:, : middle - 10].max()


def test_what_wavers_has_the_asked_size(player):
    rng = np.random.default_rng(0)
    walks, rolls, gains = [], [], []
    for _ in range(60):
        course = plan([], frames=100, fps=100, interocular=100.0, rng=rng, nuisance=Nuisance())
        assert not course.head[0].any() and course.gain[0] == 1
        walks.append(np.diff(course.head[:, 0]))
        rolls.append(course.head[-1, 2])
        gains.append(course.gain[-1])
    # steps of 0.3 px per 10 ms, smoothed over seven of them: deviation of the difference falls, that of the walk stays
    assert 0.05 < np.std(walks) < 0.3
    assert 0.08 < np.std(rolls) < 0.3 and 0.004 < np.std(gains) < 0.02


def test_noise_is_there_and_new_in_each_frame(player):
    course = play(
        player, script_of((12, "both", 0.2)), nuisance=Nuisance(drift=0.0, rotation=0.0, gain=0.0, blinks=0.0)
    )
    one, two = (player.frame(course, i).astype(np.float64) for i in (0, 1))
    flat = slice(60, 100)  # away from saturated background
    noise = (one - player.portrait.picture)[flat, flat]
    assert 1.6 < noise.std() < 2.4 and abs(noise.mean()) < 0.1
    assert abs(np.corrcoef(noise.ravel(), (two - player.portrait.picture)[flat, flat].ravel())[0, 1]) < 0.1


def test_blinks_come_as_asked_and_spare_lids_that_are_coded(player):
    rng = np.random.default_rng(0)
    wanted = Nuisance(blinks=0.5, drift=0.0, rotation=0.0)

    def share(script: AUScript) -> float:
        courses = [
            plan([(200.0, script)], frames=150, fps=100, interocular=50, rng=rng, nuisance=wanted) for _ in range(200)
        ]
        for course in courses:
            for blink in course.blinks:
                assert 13 <= blink.offset - blink.onset <= 31
                if script.aus & {5, 43}:
                    event = course.events[0].interval
                    assert blink.offset < event.onset or event.offset < blink.onset
        return float(np.mean([bool(c.blinks) for c in courses]))

    assert 0.38 < share(script_of((12, "both", 0.2))) < 0.62
    assert share(script_of((5, "both", 0.2))) < 0.4


def test_a_script_must_fit():
    with pytest.raises(ZooError, match="longer"):
        plan([(100.0, script_of((12, "both", 0.2)))], frames=20, fps=100, interocular=50, rng=np.random.default_rng(0))


def test_events_lie_where_they_were_put(player):
    rng = np.random.default_rng(5)
    scripts = [(203.0, draw(rng)), (1501.0, draw(rng, dataset="casme_sq_macro"))]
    course = plan(scripts, frames=700, fps=100, interocular=50, rng=rng, nuisance=Nuisance.none())
    total = sum(course.amplitudes.values())
    for (start, _), event in zip(scripts, course.events, strict=True):
        assert abs(event.start - start) <= 5
        i = event.interval
        assert total[i.onset] == 0 < total[i.onset + 1] and total[i.offset] == 0 < total[i.offset - 1]
        assert total[i.apex] == total[i.onset : i.offset].max()


def test_portraits_from_a_table(tmp_path):
    base = astronaut()
    _, data = cv2.imencode(".png", base.picture[..., ::-1])
    one = np.frombuffer(data.tobytes(), np.uint8)
    np.savez(
        tmp_path / "faces.npz",
        jpeg=np.concatenate([one, one, one]),
        offset=np.array([0, len(one), 2 * len(one), 3 * len(one)]),
        landmarks68=np.stack([base.landmarks] * 3),
        face_id=np.array(["b", "a", "a"]),
        expression=np.array([0, 1, 0], np.uint8),
    )
    found = read_portraits(tmp_path / "faces.npz")
    assert [p.name for p in found] == ["a", "b"]  # by name; smiling ones left out
    assert np.array_equal(found[0].picture, base.picture)
    np.savez(tmp_path / "empty.npz", jpeg=one)
    with pytest.raises(ZooError, match="offset, face_id"):
        read_portraits(tmp_path / "empty.npz")
    with pytest.raises(ZooError, match="not there"):
        read_portraits(tmp_path / "none.npz")
    (tmp_path / "folder").mkdir()
    with pytest.raises(ZooError, match=PICTURES[0]):
        read_portraits(tmp_path / "folder")


def test_portraits_from_a_folder_find_the_face(tmp_path):
    pytest.importorskip("facenet_pytorch", reason="finding faces needs the extra 'faces'")
    cv2.imwrite(str(tmp_path / "eileen.png"), astronaut().picture[..., ::-1])
    cv2.imwrite(str(tmp_path / "wall.png"), np.full((120, 120, 3), 90, np.uint8))
    (tmp_path / "broken.jpg").write_bytes(b"x")
    notes: list[str] = []
    found = read_portraits(tmp_path, note=notes.append)
    assert [p.name for p in found] == ["eileen"] and len(notes) == 2
    assert np.abs(found[0].landmarks - astronaut().landmarks).mean() < 2


@pytest.mark.parametrize("size", [96, 320])
def test_framing_keeps_landmarks_on_the_face(size):
    base = astronaut()
    framed = base.framed(size)
    assert framed.picture.shape == (size, size, 3)
    spot = np.zeros_like(base.picture)
    x, y = base.landmarks[30]
    cv2.circle(spot, (round(x), round(y)), 3, (255, 255, 255), -1)
    seen = Portrait(name="spot", picture=spot, landmarks=base.landmarks).framed(size).picture[..., 0].astype(np.float64)
    rows, columns = np.mgrid[:size, :size]
    centre = np.array([(seen * columns).sum(), (seen * rows).sum()]) / seen.sum()
    assert np.abs(centre - framed.landmarks[30]).max() < 1.0 + size / 160
