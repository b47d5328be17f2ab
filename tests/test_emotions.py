"""Objective classes and label mappings against the field's tables."""

from __future__ import annotations

import subprocess
import sys

import pytest

from zoo.facs import emotions as e


@pytest.mark.parametrize(("units", "number"), [
    ({12}, 1), ({6, 7, 12}, 1), ({1, 2}, 2), ({4, 7}, 3), ({10}, 4), ({4, 10}, 7), ({4, 7, 10}, 4), ({15, 17}, 5),
    ({1, 2, 4}, 6), ({20}, 6), ({4, 7, 43}, 7), ({14}, 7), (set(), 7), ({12, 24}, 7),
])  # fmt: skip
def test_objective_class_needs_the_exact_set(units, number):
    assert e.objective_class(units) == number


def test_objective_sets_do_not_overlap():
    sets = [s for group in e.OBJECTIVE_SETS.values() for s in group]
    assert len(sets) == len(set(sets)) == 5 + 6 + 8 + 10 + 5 + 2


@pytest.mark.parametrize(
    ("cell", "number"), [("VII", 7), ("iv", 4), (3, 3), (3.0, 3), ("5", 5), (" II ", 2), ("6.0", 6)]
)
def test_objective_cells(cell, number):
    assert e.read_objective(cell) == number


@pytest.mark.parametrize("cell", ["VIII", 0, 8, 2.5, "", "x", None, float("nan")])
def test_other_objective_cells_are_errors(cell):
    with pytest.raises(e.UnknownLabel, match=r"I\.\.VII"):
        e.read_objective(cell)


COUNTS = [  # sheet counts, and what the published protocol makes of them
    ("casme3_3", "casme3_a", {"disgust": 250, "surprise": 187, "others": 158, "Others": 3, "fear": 86, "anger": 64,
                              "sad": 57, "happy": 55}, {"negative": 457, "positive": 55, "surprise": 187}),
    ("casme3_4", "casme3_a", {"disgust": 250, "surprise": 187, "others": 161, "fear": 86, "anger": 64, "sad": 57,
                              "happy": 55}, {"negative": 457, "positive": 55, "surprise": 187, "others": 161}),
    ("samm_3", "samm", {"Anger": 57, "Happiness": 26, "Other": 26, "Surprise": 15, "Contempt": 12, "Disgust": 9,
                        "Fear": 8, "Sadness": 6}, {"negative": 92, "positive": 26, "surprise": 15}),
    ("samm_5", "samm", {"Anger": 57, "Happiness": 26, "Other": 26, "Surprise": 15, "Contempt": 12, "Disgust": 9},
     {"anger": 57, "happiness": 26, "others": 26, "surprise": 15, "contempt": 12}),
    ("casme2_5", "casme2", {"others": 99, "disgust": 63, "happiness": 32, "repression": 27, "surprise": 25, "fear": 2},
     {"others": 99, "disgust": 63, "happiness": 32, "repression": 27, "surprise": 25}),
    ("cdmer", "casme2", {"others": 99, "disgust": 63, "happiness": 32, "repression": 27, "surprise": 25, "sadness": 7},
     {"negative": 90, "positive": 32, "surprise": 25}),
    ("casme_4", "casme", {"tense": 68, "disgust": 45, "repression": 39, "surprise": 20, "happiness": 7, "fear": 2},
     {"tense": 68, "disgust": 45, "repression": 39, "surprise": 20}),
    ("mmew_6", "mmew", {"surprise": 89, "disgust": 72, "others": 66, "happiness": 36, "fear": 16, "sadness": 13,
                        "anger": 8},
     {"surprise": 89, "disgust": 72, "happiness": 36, "fear": 16, "sadness": 13, "anger": 8}),
    ("megc2018", "samm", {1: 24, 2: 13, 3: 20, "IV": 8, 5.0: 3, 6: 7, "VII": 84},
     {"I": 24, "II": 13, "III": 20, "IV": 8, "V": 3}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "dataset", "raw", "expected"), COUNTS, ids=[c[0] for c in COUNTS])
def test_mapping_counts(name, dataset, raw, expected):
    counts: dict[str, int] = {}
    for label, number in raw.items():
        mapped = e.mapping(name).of(dataset, label)
        if mapped is not e.DROP:
            counts[mapped] = counts.get(mapped, 0) + number
    assert counts == expected


def test_an_unlisted_label_or_data_set_is_an_error_with_the_nearest_known_one():
    with pytest.raises(e.UnknownLabel, match="nearest known: disgust"):
        e.mapping("casme2_5").of("casme2", "disgsut")
    with pytest.raises(e.UnknownLabel, match="does not cover 'samm'"):
        e.mapping("casme2_5").of("samm", "anger")
    with pytest.raises(e.UnknownLabel, match="casme2_5"):
        e.mapping("casme2_6")


@pytest.mark.parametrize("name", e.MAPPINGS)
def test_every_class_of_a_mapping_can_be_reached(name):
    m = e.mapping(name)
    assert len(set(m.classes)) == len(m.classes)
    assert {c for table in m.tables.values() for c in table.values()} - {e.DROP} == set(m.classes)


def test_labels_compare_without_case_and_space():
    assert e.canonical(" Happy ") == "happiness" and e.canonical("Others") == "others" == e.canonical("other")


def test_facs_needs_only_the_standard_library_and_numpy():
    code = (
        "import sys; import zoo.facs.coding, zoo.facs.emotions; "
        "heavy = {'pandas', 'torch', 'sklearn', 'cv2', 'scipy'} & set(sys.modules); assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
