"""Displacement fields over a face, and AU scripts drawn from what was measured."""

from __future__ import annotations

from collections import Counter

import cv2
import numpy as np
import pytest

from zoo.errors import ZooError
from zoo.facs import geometry
from zoo.facs.action_units import conflicts
from zoo.facs.coding import Unit, parse
from zoo.facs.statistics import statistics
from zoo.synthesis.fields import (
    SIDED,
    FaceFields,
    action_units,
    canonical_fields,
    dense_field,
    landmark_shifts,
    sides,
)
from zoo.synthesis.script import LETTERS, AUScript, draw, kind_of, playable, styles

SIZE = 168


@pytest.fixture(scope="module")
def fields() -> FaceFields:
    return canonical_fields(SIZE)


@pytest.fixture(scope="module")
def scripts() -> dict[str, list[AUScript]]:
    rng = np.random.default_rng(0)
    return {style: [draw(rng, dataset=style) for _ in range(400)] for style in styles()}


def at_landmarks(field: np.ndarray) -> np.ndarray:
    x, y = (geometry.landmarks() * SIZE - 0.5).astype(np.float32).T
    return np.stack([cv2.remap(np.array(plane), x, y, cv2.INTER_LINEAR).ravel() for plane in field], 1)


@pytest.mark.parametrize("au", action_units())
def test_landmarks_move_as_the_table_says(fields, au):
    wanted = landmark_shifts(au) * SIZE
    missed = np.abs(at_landmarks(fields.field(au)) - wanted).max()
    assert missed < 0.1 * np.abs(wanted).max() + 0.05


@pytest.mark.parametrize("au", sorted(SIDED))
def test_one_side_mirrors_the_other(fields, au):
    left, right = fields.field(au, "left"), fields.field(au, "right")
    assert np.allclose(left, right[:, :, ::-1] * np.array([-1, 1])[:, None, None], atol=0.25)  # the table is rounded
    x = np.arange(SIZE) / SIZE
    strength = np.hypot(*right).sum(0)
    assert (strength * x).sum() / strength.sum() < 0.45  # the subject's right is on the image's left


def test_motion_peaks_where_the_unit_lives(fields):
    for name, box in geometry.roi_boxes().items():
        unit, side = name.removeprefix("AU").split("_") if "_" in name else (name.removeprefix("AU"), "both")
        if not unit.isdigit() or side == "left" or int(unit) not in action_units() or int(unit) in (6, 9, 31):
            continue  # 6 moves the whole cheek, 9 the upper lip most, 31 nearly nothing
        field = np.hypot(*fields.field(int(unit), "right" if side == "right" and len(sides(int(unit))) > 1 else "both"))
        if side == "right":
            field = field[:, : SIZE // 2 + 8]
        y, x = np.unravel_index(field.argmax(), field.shape)
        x0, y0, x1, y1 = np.array(box) * SIZE
        assert x0 - 8 <= x <= x1 + 8 and y0 - 8 <= y <= y1 + 8, (name, x / SIZE, y / SIZE)


def test_nothing_moves_far_from_the_face():
    landmarks = geometry.landmarks() * 100 + 100  # a face of 100 px in a picture of 300
    field = dense_field({(12, "both"): 1.0, (1, "both"): 1.0, (26, "both"): 0.5}, landmarks, (300, 300))
    assert np.hypot(*field).max() > 5
    away = np.ones((300, 300), bool)
    away[80:222, 80:222] = False
    assert np.abs(field[:, away]).max() == 0


def test_a_turned_face_moves_in_its_own_frame():
    angle = np.radians(90)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    straight = (geometry.landmarks() - 0.5) * 120
    upright = dense_field({(1, "both"): 1.0}, straight + 100, (200, 200))
    turned = dense_field({(1, "both"): 1.0}, straight @ turn.T + 100, (200, 200))
    x, y = np.rint(straight[21] + 100).astype(int)
    tx, ty = np.rint(straight[21] @ turn.T + 100).astype(int)
    assert np.allclose(turn @ upright[:, y, x], turned[:, ty, tx], atol=0.1)
    assert upright[1, y, x] < -2  # brows go up


def test_fields_are_linear(fields):
    both = fields.dense({(12, "both"): 0.3, (4, "left"): 0.5})
    assert np.allclose(both, 0.3 * fields.field(12) + 0.5 * fields.field(4, "left"), atol=1e-5)
    assert fields.stack([(12, "both"), (17, "both")]).shape == (2, 2, SIZE, SIZE)
    assert not fields.dense({}).any()


def test_bad_faces_and_units_are_named():
    with pytest.raises(ZooError, match="AU99"):
        landmark_shifts(99)
    with pytest.raises(ZooError, match="AU17, side left"):
        landmark_shifts(17, "left")
    with pytest.raises(ZooError, match="68 landmarks"):
        FaceFields(np.zeros((5, 2)), (10, 10))
    with pytest.raises(ZooError, match="px wide"):
        FaceFields(geometry.landmarks() * 4, (10, 10))


def test_scripts_follow_the_counts(scripts):
    for style, drawn in scripts.items():
        table = statistics(style).emotions
        shares = Counter(s.emotion for s in drawn)
        for emotion, part in table.items():
            name = {"other": "others"}.get(emotion, emotion)
            share = part.clips / sum(p.clips for e, p in table.items())
            assert abs(shares[name] / 400 - share) < 0.1, (style, emotion)
        assert all(s.aus in playable(style)[s.emotion] for s in drawn)
        assert all(s.kind == kind_of(style) for s in drawn)


def test_units_that_exclude_each_other_never_meet(scripts):
    for script in (s for drawn in scripts.values() for s in drawn):
        assert not conflicts(parse(script.code, strict=True).units)
    with pytest.raises(ZooError, match="exclude"):
        draw(np.random.default_rng(0), emotion="others", aus=frozenset({24, 25}))


def test_a_rare_pair_is_kept_apart_by_strength():
    rng = np.random.default_rng(1)
    for _ in range(300):
        script = draw(rng, dataset="casme_sq_macro", emotion="surprise", aus=frozenset({5, 7}))
        assert "7E" not in script.code


def test_timing_follows_the_quartiles(scripts):
    for style, drawn in scripts.items():
        rise = np.array([m.peak - m.start for s in drawn for m in s.moves])
        wanted = statistics(style).onset_to_apex_ms
        assert abs(np.median(rise) / wanted.median - 1) < 0.15, style
        whole = np.array([s.milliseconds for s in drawn])
        assert whole.max() < (800 if kind_of(style) == "micro" else 4200)
        assert all(min(m.start for m in s.moves) == 0 for s in drawn)


def test_sides_follow_the_counts(scripts):
    alone = {
        style: np.mean([any(m.side != "both" for m in s.moves) and len(s.moves) == len(s.aus) for s in drawn])
        for style, drawn in scripts.items()
    }
    assert 0.1 < alone["casme2"] < 0.27 and 0.15 < alone["samm"] < 0.35 and alone["casme3_a"] < 0.16
    uneven = [s for s in scripts["samm"] if len(s.moves) > len(s.aus)]
    assert 4 < len(uneven) < 70  # SAMM: 12 of 159 are coded as stronger on one side
    for script in uneven:
        assert "A" in script.code
        for au in {m.au for m in script.moves}:
            mine = [m.intensity for m in script.moves if m.au == au]
            assert len(mine) == 1 or 0.29 < min(mine) / max(mine) < 0.81


def test_strengths_are_those_of_letters(scripts):
    for drawn in scripts.values():
        for move in (m for s in drawn for m in s.moves if len(s.moves) == len(s.aus)):
            assert abs(move.intensity / LETTERS[move.letter] - 1) < 0.11
            assert drawn[0].kind == "macro" or move.au == 43 or move.letter != "E"


def test_the_interval_is_what_moves():
    rng = np.random.default_rng(2)
    for fps in (30.0, 200.0):
        for _ in range(40):
            script = draw(rng, dataset="casme2")
            interval = script.interval(fps)
            times = np.arange(interval.onset - 1, interval.offset + 2) * 1000 / fps
            total = sum(script.amplitudes(times).values())
            assert total[0] == total[1] == 0 == total[-2] == total[-1]
            assert interval.onset < interval.apex < interval.offset
            assert total[interval.apex - interval.onset + 1] == total.max()


def test_scripts_survive_json(scripts):
    import json

    for script in (s for drawn in scripts.values() for s in drawn[:20]):
        assert AUScript.from_dict(json.loads(json.dumps(script.to_dict()))) == script
        units = {u.number for u in parse(script.code, strict=True).units}
        assert units == script.aus and all(isinstance(u, Unit) for u in parse(script.code).units)


def test_unknown_names_are_told():
    rng = np.random.default_rng(0)
    with pytest.raises(ZooError, match="casme2"):
        draw(rng, dataset="casme99")
    with pytest.raises(ZooError, match="happiness"):
        draw(rng, dataset="casme2", emotion="joy")


def test_the_same_seed_draws_the_same():
    one, two = (draw(np.random.default_rng(7), dataset="samm") for _ in range(2))
    assert one == two != draw(np.random.default_rng(8), dataset="samm")
