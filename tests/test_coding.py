"""Coder notation: the spec's table row by row, and properties over arbitrary text."""

from __future__ import annotations

import datetime
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zoo.facs.coding import Coding, CodingError, Unit, multi_hot, parse

CASES = [
    ("4+7", {4, 7}), ("4+7+6", {4, 6, 7}), ("4+L10", {4, 10}), ("R6+R12", {6, 12}), ("7B", {7}), ("43E", {43}),
    ("B18+25", {18, 25}), ("A9+12", {9, 12}), ("L12A+25", {12, 25}), ("10A/B", {10}), ("A/L12", {12}),
    ("12+15 ", {12, 15}), ("L12 + 61", {12, 61}), ("4,24,6+12+15", {4, 6, 12, 15, 24}), ("4，7", {4, 7}),
    ("4＋７", {4, 7}), ("AD38+M57", {38, 57}), ("12L", {12}), ("4R", {4}), (14.0, {14}), (4, {4}), ("14.0", {14}),
    (np.int64(12), {12}), ("4 7", {4, 7}), ("AU12+AU25", {12, 25}),
]  # fmt: skip


@pytest.mark.parametrize(("cell", "numbers"), CASES)
def test_plain_notation_is_read_strictly(cell, numbers):
    assert parse(cell, strict=True).numbers() == numbers


def test_sides_and_intensities_are_told_by_their_place():
    def unit(cell):
        (only,) = parse(cell, strict=True).units
        return only.number, only.side, only.intensity

    assert unit("L10") == (10, "L", None)
    assert unit("7B") == (7, None, "B")
    assert unit("B18") == (18, "B", None)
    assert unit("T23") == (23, "T", None)
    assert unit("A12") == (12, "A", None)
    assert unit("R12B") == (12, "R", "B")
    assert unit("12BL") == (12, "L", "B")
    assert unit("12L") == (12, "L", None)
    assert unit("10A/B") == (10, None, "A/B")
    assert unit("A/L12") == (12, "A/L", None)
    assert parse("AD38").units[0].kind == "AD" and parse("M57").units[0].kind == "M"


@pytest.mark.parametrize(("cell", "certain", "options"), [
    ("14or23", set(), [{14}, {23}]),
    ("L12 or L14", set(), [{12}, {14}]),
    ("R14A or 17A or 24A", set(), [{14}, {17}, {24}]),
    ("(R6 or R12)+R15", {15}, [{6}, {12}]),
    ("((8+25)or(50))", set(), [{8, 25}, {50}]),
    ("12/14", set(), [{12}, {14}]),
    ("4A/B12", set(), [{4}, {12}]),
    ("4+12or14", {4}, [{12}, {14}]),
])  # fmt: skip
def test_alternatives(cell, certain, options):
    coding = parse(cell, strict=True)
    assert coding.numbers("unknown") == certain
    (group,) = coding.alternatives
    assert [{u.number for u in option} for option in group] == options
    assert coding.numbers("first") == certain | options[0]
    assert coding.numbers("all") == certain.union(*options)
    assert coding.doubtful() == set().union(*options)


def test_nested_alternatives_multiply_out():
    (group,) = parse("((1 or 2)+3) or 4", strict=True).alternatives
    assert [{u.number for u in o} for o in group] == [{3, 1}, {3, 2}, {4}]


def test_reference_and_static_units_are_kept_but_not_counted():
    coding = parse("ref(L10)+A12B", strict=True)
    assert coding.numbers() == {12} and coding.numbers(refs=True) == {10, 12}
    assert parse("12A+ref(24)").numbers() == {12}
    coding = parse("AU4(k)+L7", strict=True)
    assert coding.numbers() == {7} and coding.numbers(static=True) == {4, 7}
    assert coding.units[0].static and coding.units[1].side == "L"


@pytest.mark.parametrize("cell", [None, "", "  ", "?", " ? ", "？", math.nan])
def test_nothing_coded_is_unknown_and_not_the_empty_set(cell):
    assert parse(cell) is None and parse(cell, strict=True) is None
    assert multi_hot(parse(cell), (1, 2)) is None


@pytest.mark.parametrize(("cell", "numbers", "left"), [
    ("R14+17+soft focus", {14, 17}, ("soft focus",)),
    ("Chewing", set(), ("Chewing",)),
    ("reaction?", set(), ("reaction", "?")),
    ("double 45", {45}, ("double",)),
    ("12B ?", {12}, ("?",)),
    ("((8+25)or(50)", {8, 25}, ("(",)),
    ("5Z", {5}, ("Z",)),
    ("12 or", {12}, ("or",)),
    ("126", set(), ("126",)),
    ("0", set(), ("0",)),
    (14.5, set(), ("14.5",)), ("00100", set(), ("00100",)),
    (datetime.datetime(2014, 4, 7), set(), ("2014-04-07 00:00:00",)),
])  # fmt: skip
def test_free_text_is_flagged_and_refused_when_strict(cell, numbers, left):
    coding = parse(cell)
    assert coding.numbers() == numbers
    assert coding.unparsed == left and coding.raw == str(cell)
    with pytest.raises(CodingError, match="not AU notation"):
        parse(cell, strict=True)


def test_multi_hot_marks_doubt_with_nan():
    assert multi_hot(parse("4+12or14"), (4, 12, 14, 1)) == [1, 1, 0, 0]
    values = multi_hot(parse("4+12or14"), (4, 12, 14, 1), "unknown")
    assert values[0] == 1 and math.isnan(values[1]) and math.isnan(values[2]) and values[3] == 0
    assert multi_hot(parse("Chewing"), (1,)) is None


units = st.builds(
    Unit, st.integers(1, 80), st.sampled_from([None, "L", "R", "A", "T", "B", "A/L"]),
    st.sampled_from([None, *"ABCDE", "A/B"]), st.booleans(), st.booleans(), st.sampled_from(["AU", "AD", "M"]),
)  # fmt: skip
options = st.lists(st.lists(units, min_size=1, max_size=3).map(tuple), min_size=2, max_size=3, unique=True).map(tuple)


@given(st.builds(Coding, st.lists(units, max_size=4).map(tuple), st.lists(options, max_size=2).map(tuple)))
def test_what_is_written_reads_back(coding):
    text = str(coding)
    assert (parse(text, strict=True) or Coding()) == coding


alphabet = st.sampled_from([*"0123456789LRATBCDEZ+,，/?(){} .or", "ref(", "or", "(k)", "AU", "AD", "soft", "\n", "é"])


@settings(max_examples=1000)
@given(st.one_of(st.text(max_size=30), st.lists(alphabet, max_size=20).map("".join)))
def test_any_text_is_read_without_exception_and_survives_a_round_trip(text):
    coding = parse(text)
    if coding is None:
        return
    assert all(1 <= n <= 80 for n in coding.numbers("all", refs=True, static=True))
    assert coding.raw == text
    again = parse(str(coding)) or Coding()
    assert again == coding
    assert coding.unparsed or parse(text, strict=True) == coding


def test_a_cell_of_brackets_does_not_exhaust_the_stack():
    assert parse("(" * 5000 + "12").unparsed
