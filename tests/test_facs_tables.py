"""Units, prototypes, regions and statistics: tables against each other and against published counts."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest

from zoo.errors import UnknownName
from zoo.facs import action_units as au
from zoo.facs import coding, emotions, geometry, prototypes, regions, statistics

FIELDS = {"up": (1, -1), "down": (1, 1), "out": (0, -1), "in": (0, 1)}  # axis and sign on the image's left half


@pytest.mark.parametrize("number", [n for n in au.ACTION_UNITS if n in geometry.action_units()])
def test_landmarks_move_whither_the_displacement_fields_say(number):
    """The table is anatomy, the fields are scans: they must agree on every landmark that the table names."""
    field = geometry.displacement(number)
    for move in au.action_unit(number).moves:
        axis, sign = FIELDS[move.direction]
        values = field[list(move.landmarks), axis] * sign
        assert (values > 0).all(), (number, move, field[list(move.landmarks)])


@pytest.mark.parametrize("unit", au.ACTION_UNITS.values(), ids=lambda u: f"AU{u.number}")
def test_the_table_is_well_formed(unit):
    assert unit.sides in get_args(au.Sides) and unit.name and unit.muscles and unit.region
    for move in unit.moves:
        assert move.direction in get_args(au.Direction)
        assert all(geometry.landmarks()[k, 0] <= 0.5 for k in move.landmarks)  # the other half is its mirror image
    assert unit.half == ("upper" if unit.number in (1, 2, 4, 5, 6, 7, 43, 45, 46) else "lower")


def test_a_unit_with_two_fields_can_be_coded_on_one_side():
    one_sided = {n for n in geometry.action_units() if _has_sides(n)}
    for number in one_sided & set(au.ACTION_UNITS) - {24, 43}:  # the scans have sides there, the coders do not
        assert au.action_unit(number).lateral, number


def _has_sides(number):
    try:
        geometry.displacement(number, "left")
    except ValueError:
        return False
    return True


def test_sets_by_name():
    assert au.au_set("fgrmer9") == (1, 2, 4, 10, 12, 14, 15, 17, 25)
    assert au.au_set("1,2,4") == (1, 2, 4) == au.au_set("1+2+4")
    assert set(au.au_set("me16")) == set(au.au_set("cross12")) | {20, 24, 25, 38}
    for name in emotions.AU_SETS:
        assert all(au.action_unit(n).number == n for n in au.au_set(name))
    for wrong in ("cross13", "1,99", "1,1", ""):
        with pytest.raises(UnknownName):
            au.au_set(wrong)


@pytest.mark.parametrize(("text", "clashes"), [
    ("5+43", 1), ("24+25", 1), ("26+27+31", 3), ("8+24", 1), ("1+2+5+26", 0), ("5+7E", 1), ("5+7B", 0), ("7E+5", 1),
    ("T22+B28", 0), ("T22+T28", 1), ("16+28", 1), ("16+T28", 0), ("16+B28", 1), ("6+12", 0), ("12", 0),
])  # fmt: skip
def test_exclusive_pairs(text, clashes):
    coded = coding.parse(text, strict=True)
    assert len(au.conflicts(coded.units)) == clashes


def test_no_published_prototype_or_measured_set_is_impossible():
    for source in prototypes.LISTS:
        for sets in prototypes.prototypes(source).values():
            for units in sets:
                pairs = [p for p in au.EXCLUSIVE if p <= units]
                assert not pairs, (source, units)


def test_prototypes_fit():
    assert next(iter(prototypes.fit({6, 12}))) == "happiness" and prototypes.fit({6, 12})["happiness"] == 1
    assert prototypes.fit({1, 2, 5, 26})["surprise"] == 1
    assert prototypes.fit({1, 2})["surprise"] == 0.5  # {1, 2, 5, 26} has two more
    assert prototypes.fit({4, 7}, "samm")["anger"] == 1
    assert frozenset({1, 2, 5, 25}) in prototypes.prototypes("fig2002_variants")["fear"]
    assert frozenset({5, 20}) in prototypes.prototypes("fig2002_variants")["fear"]
    anger = prototypes.prototypes("fig2002_variants")["anger"]
    assert frozenset({5, 7, 23}) in anger and frozenset({4, 7, 17, 24}) in anger and len(anger) == len(set(anger))
    assert prototypes.similarity([], []) == 1 and prototypes.similarity([1], []) == 0
    with pytest.raises(UnknownName, match="fig2002"):
        prototypes.prototypes("ekman")


# --- objective classes on measured sets -----------------------------------------------------------------------------


@pytest.mark.parametrize("source", ["casme2", "samm", "casme3_a"])
def test_the_rule_for_objective_classes_gives_the_published_counts(source):
    """Counts of the sheets against the rule on the frequent sets: they differ by at most the clips whose sets are not
    listed, plus the 2 (CASME II) and 15 (SAMM) clips that the sheets code against the rule.
    """
    part = statistics.statistics(source)
    by_rule = np.zeros(7, int)
    for units, clips in part.sets.items():
        by_rule[emotions.objective_class(units) - 1] += clips
    unlisted = part.clips - by_rule.sum()
    exceptions = {"casme2": 2, "samm": 15, "casme3_a": 0}[source]
    difference = np.array(part.objective) - by_rule
    assert sum(part.objective) == part.clips and by_rule.sum() > 0.8 * part.clips
    assert difference[difference > 0].sum() <= unlisted + exceptions
    assert -difference[difference < 0].sum() <= exceptions


def test_published_totals_of_objective_classes():
    assert statistics.statistics("casme2").objective == (30, 18, 93, 15, 18, 2, 79)
    assert statistics.statistics("samm").objective == (24, 13, 20, 8, 3, 7, 84)
    assert statistics.statistics("casme3_a").objective == (15, 151, 234, 37, 47, 3, 373)


# --- statistics -----------------------------------------------------------------------------------------------------

FREQUENCY = [("casme2_2014", 255, {1: 26, 4: 129, 12: 34}), ("casme2", 255, {1: 28, 4: 125, 12: 39, 3: 0}),
             ("samm", 159, {7: 46, 12: 30, 43: 8}), ("casme3_a", 860, {4: 274, 14: 193}), ("mmew", 300, {5: 70, 10: 38}),
             ("dfme", 2629, {4: 1079, 24: 241}), ("casme_sq", 57, {2: 12}), ("samm_lv_macro", 343, {12: 101})]  # fmt: skip


@pytest.mark.parametrize(("source", "clips", "counts"), FREQUENCY, ids=[f[0] for f in FREQUENCY])
def test_frequencies(source, clips, counts):
    part = statistics.statistics(source)
    assert part.clips == clips and {n: part.count(n) for n in counts} == counts


@pytest.mark.parametrize("source", [s for s in statistics.sources() if s != "pooled"])
def test_statistics_hold_together(source):
    part = statistics.statistics(source)
    np.testing.assert_array_equal(part.joint, part.joint.T)
    assert (part.joint <= np.diag(part.joint)[:, None]).all() and sum(part.sides.values()) == part.clips
    assert part.onset_to_apex_ms.lower <= part.onset_to_apex_ms.median <= part.onset_to_apex_ms.upper
    assert 0 < part.apex_position[0] < 1
    assert sum(e.clips for e in part.emotions.values()) in (0, part.clips)
    for emotion in part.emotions.values():
        assert sum(emotion.sets.values()) <= emotion.clips
    if part.emotions:
        for k, number in enumerate(part.aus):
            assert sum(e.aus.get(number, 0) for e in part.emotions.values()) == part.joint[k, k]


def test_pooled_is_the_sum_and_the_order_is_the_callers():
    table = statistics.joint_counts((4, 1, 2, 80))
    assert table[0, 0] == 422 and table[1, 2] == table[2, 1] == 133 and (table[3] == 0).all()
    assert statistics.clip_count() == 1274
    assert statistics.statistics("casme3_a").onset_to_apex_ms.median == 200
    with pytest.raises(ValueError, match="read-only"):
        statistics.statistics("samm").joint[0, 0] = 1


# --- regions --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", regions.box_units())
def test_boxes_hold_what_moves_and_mirror_each_other(number):
    boxes = regions.boxes(number)
    for left, top, right, bottom in boxes.values():
        assert 0 <= left < right <= 1 and 0 <= top < bottom <= 1
    if "both" in boxes:
        left, _, right, _ = boxes["both"]
        assert left + right == pytest.approx(1, abs=2e-3)
    else:
        (a, t, b, u), (c, v, d, w) = boxes["right"], boxes["left"]
        assert (a + d, b + c) == (pytest.approx(1, abs=2e-3),) * 2 and (t, u) == (v, w)
    if number in au.ACTION_UNITS and number in geometry.action_units() and number != 6:  # the cheek has no landmark
        field = np.linalg.norm(geometry.displacement(number), axis=1)
        k = max((k for move in au.action_unit(number).moves for k in move.landmarks), key=lambda k: field[k])
        x, y = geometry.landmarks()[k]
        assert any(b[0] - 0.1 <= x <= b[2] + 0.1 and b[1] - 0.1 <= y <= b[3] + 0.1 for b in boxes.values())


def test_places_of_nodes():
    assert regions.place("AU12L")[0] > 0.5 > regions.place("AU12R")[0]
    assert regions.place("AU17")[0] == pytest.approx(0.5) and regions.place("48") == tuple(geometry.landmarks()[48])
    assert regions.place("AU12") is None and regions.place("AU99L") is None and regions.place("happy") is None
    with pytest.raises(UnknownName, match="no box of AU21"):
        regions.boxes(21)


def test_eac_centres():
    """The points of the published table, on the canonical face."""
    table = {1: (0.441, 0.172), 2: (0.253, 0.185), 4: (0.313, 0.298), 6: (0.313, 0.564), 7: (0.364, 0.337), 10: (0.411, 0.678),
             12: (0.363, 0.704), 14: (0.363, 0.704), 15: (0.363, 0.704), 17: (0.456, 0.861), 23: (0.458, 0.701)}  # fmt: skip
    centres = regions.au_centres()
    for number, point in table.items():
        np.testing.assert_allclose(centres[number][0], point, atol=1e-3)
        np.testing.assert_allclose(centres[number][0] * [-1, 1] + [1, 0], centres[number][1], atol=1e-3)
    moved = regions.au_centres(geometry.landmarks() * 100 + 7)
    np.testing.assert_allclose(moved[6], centres[6] * 100 + 7)


def test_thirty_six_regions_tile_without_overlap():
    from skimage.draw import polygon2mask

    shapes = regions.polygons(count=43)
    assert sorted(shapes) == list(range(1, 44)) and len(regions.polygons()) == 36
    size = 400
    masks = {k: polygon2mask((size, size), p[:, ::-1] * size) for k, p in shapes.items()}
    assert all(m.any() for m in masks.values())
    covered = sum(masks[k].astype(int) for k in range(1, 37))
    assert (covered > 1).sum() < 0.03 * (covered > 0).sum()
    mirror = {1: 6, 8: 13, 15: 20, 21: 24, 29: 32, 33: 36, 42: 43}  # 7 and 14 differ, as published
    for a, b in mirror.items():
        overlap = masks[a][:, ::-1] & masks[b]
        assert overlap.sum() > 0.9 * max(masks[a].sum(), masks[b].sum()), (a, b)
    with pytest.raises(ValueError, match="36 regions"):
        regions.polygons(count=40)


def test_regions_of_units_are_where_the_boxes_are():
    shapes = regions.polygons(count=43)
    for number in (1, 2, 4, 6, 9, 10, 12, 14, 15, 17, 24, 25):
        centres = [shapes[k].mean(0) for k in regions.regions_of(number)]
        for box in regions.boxes(number).values():
            middle = ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)
            assert min(np.linalg.norm(c - middle) for c in centres) < 0.1, (number, middle)
    with pytest.raises(UnknownName):
        regions.regions_of(21)


def test_sixteen_regions():
    boxes = regions.sixteen()
    assert len(boxes) == 16
    for name, (left, top, right, bottom) in boxes.items():
        assert 0 <= left < right <= 1 and 0 <= top < bottom <= 1.0, name
        if name.endswith(" R"):
            other = boxes[name[:-1] + "L"]
            np.testing.assert_allclose((1 - right, top, 1 - left, bottom), other, atol=2e-3)
