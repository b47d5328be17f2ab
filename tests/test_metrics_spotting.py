"""Spotting evaluators against hand-counted cases and the challenges' published tables."""

from __future__ import annotations

import math
import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoo import metrics_spotting as m
from zoo.errors import ZooError
from zoo.metrics_spotting import Counts, Event


def ev(on, off, kind="micro", video="v", label=None):
    return Event(video=video, onset=on, offset=off, kind=kind, label=label)


def test_iou_counts_both_ends():
    assert m.interval_iou(ev(10, 19), ev(10, 14)) == 0.5
    assert m.interval_iou(ev(10, 19), ev(15, 24)) == pytest.approx(5 / 15)
    assert m.interval_iou(ev(10, 19), ev(30, 39)) == 0.0
    assert m.interval_iou(ev(10, 19), ev(30, 39), "megc2020") == pytest.approx(1 / 19)


@pytest.mark.parametrize(("evaluator", "tp", "fp"), [("one_to_one", 1, 1), ("softnet", 1, 1), ("megc2020", 2, 0)])
def test_two_predictions_for_one_truth(evaluator, tp, fp):
    c = spot([ev(10, 19)], [ev(10, 19), ev(11, 20)], evaluator)["micro"]
    assert (c.tp, c.fp) == (tp, fp)


def spot(truth, predicted, evaluator="one_to_one", videos=("v",)):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return m.spotting_scores(truth, predicted, videos, evaluator=evaluator)


def test_softnet_compares_only_with_the_best_truth():
    # both predictions prefer the second truth; one-to-one still gives the other prediction the first truth
    truth, predicted = [ev(0, 9), ev(4, 13)], [ev(3, 12), ev(4, 13)]
    assert spot(truth, predicted, "softnet")["micro"].tp == 1
    assert spot(truth, predicted, "one_to_one")["micro"].tp == 2


def test_kinds_do_not_match_each_other_and_videos_do_not_either():
    assert spot([ev(10, 19)], [ev(10, 19, "macro")])["overall"].to_dict() == {
        "tp": 0,
        "fp": 1,
        "fn": 1,
        "precision": 0.0,
        "recall": 0.0,
        "f1": 0.0,
    }
    assert spot([ev(10, 19)], [ev(10, 19, video="w")], videos="vw")["overall"].tp == 0


def test_a_video_without_prediction_costs_one_false_positive_with_softnet_only():
    truth = [ev(10, 19)]
    assert [spot(truth, [], e, "vw")["micro"].fp for e in ("one_to_one", "megc2020", "softnet")] == [0, 0, 2]


def test_nothing_to_find_is_nan_with_a_warning_and_no_prediction_is_zero():
    with pytest.warns(UserWarning, match="no true macro"):
        result = m.spotting_scores([ev(1, 5)], [], ["v"])
    assert math.isnan(result["macro"].f1) and result["micro"].f1 == 0 and result["micro"].precision == 0


MDMD = [  # TP, FP, FN and F1 as the baseline of 2020 published them
    ("CAS(ME)^2", (109, 1414, 191), (21, 5014, 36), (130, 6428, 227), (0.1196, 0.0082, 0.0376)),
    ("SAMM-LV", (22, 334, 321), (29, 1407, 130), (51, 1741, 451), (0.0629, 0.0364, 0.0445)),
]


@pytest.mark.parametrize(("name", "macro", "micro", "overall", "f1"), MDMD)
def test_the_published_table_of_mdmd(name, macro, micro, overall, f1):
    a, b = Counts.of(*macro), Counts.of(*micro)
    pooled = a + b
    assert (pooled.tp, pooled.fp, pooled.fn) == overall
    assert [round(c.f1, 4) for c in (a, b, pooled)] == list(f1)


@pytest.mark.parametrize(
    ("counts", "spotted", "pairs", "both"),
    [
        ((6, 217, 202), 0.0278, ([0, 0, 0, 1, 1, 2], [0] * 6), 0.0062),
        ((3, 115, 34), 0.0387, ([0, 0, 1], [0, 2, 2]), 0.0086),
    ],
)
def test_the_published_strs_of_mean(counts, spotted, pairs, both):
    tp, fp, fn = counts
    names = ("negative", "positive", "surprise")
    truth = [ev(100 * i, 100 * i + 9, label=names[pairs[0][i]]) for i in range(tp)]
    truth += [ev(100_000 + 100 * i, 100_009 + 100 * i, label="negative") for i in range(fn)]
    guess = [ev(100 * i, 100 * i + 9, label=names[pairs[1][i]]) for i in range(tp)]
    guess += [ev(900_000 + 100 * i, 900_009 + 100 * i, label="negative") for i in range(fp)]
    result = m.strs(truth, guess, ["v"], names)
    assert (result["tp"], result["fp"], result["fn"]) == counts
    assert round(result["f1_spot"], 4) == spotted
    assert round(result["f1_recognition"], 4) == 0.2222
    assert round(result["strs"], 4) == both


def test_strs_leaves_others_out_of_recognition_but_not_of_spotting():
    result = m.strs(
        [ev(0, 9, label="others"), ev(50, 59, label="positive")],
        [ev(0, 9, label="negative"), ev(50, 59, label="positive")],
        ["v"],
        ("negative", "positive"),
    )
    assert result["f1_spot"] == 1.0 and result["recognised"] == 1 and result["left_out"] == 1 and result["strs"] == 1.0
    nothing = m.strs([ev(0, 9, label="positive")], [], ["v"], ("negative", "positive"))
    assert nothing["strs"] == 0.0
    with pytest.raises(ZooError, match="wanted one of"):
        m.strs([ev(0, 9, label="positive")], [ev(0, 9)], ["v"], ("positive",))


def test_kind_of_a_prediction_follows_half_a_second():
    events = [Event(video="v", onset=0, offset=n) for n in (100, 101)] + [ev(0, 500, "micro")]
    named, how_many = m.with_kind(events, fps=200)
    assert [e.kind for e in named] == ["micro", "macro", "micro"] and how_many == 2
    with pytest.raises(ZooError, match="with_kind"):
        m.spotting_scores([], events, ["v"])


def test_impossible_intervals_and_unknown_names_are_refused():
    for on, off in ((5, 4), (-1, 3)):
        with pytest.raises(ZooError, match="impossible"):
            ev(on, off)
    with pytest.raises(ZooError, match="kind"):
        ev(0, 1, "nano")
    with pytest.raises(ZooError, match="one_to_one"):
        m.match_events([ev(0, 1)], [ev(0, 1)], evaluator="best")
    with pytest.raises(ZooError, match="videos"):
        m.spotting_scores([ev(0, 1)], [], ["w"])


@given(
    st.lists(st.tuples(st.integers(0, 60), st.integers(0, 20)), max_size=6),
    st.lists(st.tuples(st.integers(0, 60), st.integers(0, 20)), max_size=6),
)
def test_one_to_one_uses_each_interval_once_and_never_beats_the_pair_count(a, b):
    truth, guess = [ev(on, on + n) for on, n in a], [ev(on, on + n) for on, n in b]
    hits = m.match_events(truth, guess)
    assert len(hits) <= min(len(truth), len(guess))
    assert all(m.interval_iou(t, p) >= 0.5 for t, p in hits)
    assert len(hits) <= len(m.match_events(truth, guess, evaluator="megc2020"))
