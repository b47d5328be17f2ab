"""Metrics against the definitions, scikit-learn, torchmetrics and the numbers that the organisers printed."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zoo import metrics as m
from zoo.errors import ProtocolError, ZooError

TRUTH, PREDICTED = [0, 0, 1, 2], [0, 0, 0, 2]  # fold A: the first three; fold B: the last


def test_pooled_scores_of_two_folds():
    s, each = m.scores(TRUTH, PREDICTED, 3)["full"], m.class_scores(TRUTH, PREDICTED, 3)
    assert s["accuracy"] == s["war"] == s["micro_f1"] == 0.75 and s["clips"] == 4
    assert each["f1"] == pytest.approx([0.8, 0.0, 1.0]) and each["support"] == [2, 1, 1] and each["absent"] == []
    assert s["uf1"] == pytest.approx(0.6)
    assert s["uar"] == pytest.approx(2 / 3)
    assert s["weighted_f1"] == pytest.approx(0.65) == m.weighted_f1(TRUTH, PREDICTED, 3)
    assert m.fold_mean_acc(TRUTH, PREDICTED, "AAAB") == pytest.approx((2 / 3 + 1) / 2)


def test_always_negative_on_the_composite():
    truth = [0] * 250 + [1] * 109 + [2] * 83
    guess = [0] * 442
    assert m.accuracy(truth, guess, 3) == pytest.approx(0.5656, abs=5e-5)
    assert m.uf1(truth, guess, 3) == pytest.approx(0.2408, abs=5e-5)
    assert m.uar(truth, guess, 3) == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    ("counts", "acc", "f1"),
    [((88, 32, 25), 0.6069, 0.2518), ((70, 51, 43), 0.4268, 0.1994), ((92, 26, 15), 0.6917, 0.2726)],
)
def test_majority_rows_of_the_three_data_sets(counts, acc, f1):
    truth = np.repeat([0, 1, 2], counts)
    assert m.accuracy(truth, np.zeros_like(truth), 3) == pytest.approx(acc, abs=5e-5)
    assert m.uf1(truth, np.zeros_like(truth), 3) == pytest.approx(f1, abs=5e-5)


def test_groups_are_the_same_predictions_filtered():
    truth, guess = np.array([0, 1, 2, 0]), np.array([0, 1, 0, 2])
    s = m.scores(truth, guess, 3, groups=["samm", "samm", "smic", "smic"])
    assert {k: v["clips"] for k, v in s.items()} == {"full": 4, "samm": 2, "smic": 2}
    assert s["samm"]["accuracy"] == 1.0 and s["smic"]["accuracy"] == 0.0
    assert s["samm"]["uf1"] == pytest.approx(2 / 3)
    with pytest.raises(ProtocolError, match="3 group names, for 4 samples"):
        m.scores(truth, guess, 3, groups=["a", "b", "c"])
    with pytest.raises(ProtocolError, match="called 'full'"):
        m.scores(truth, guess, 3, groups=["full"] * 4)


def test_the_authors_confusion_gives_the_authors_scores():
    """STSTNet, re-run in Python: rows negative, positive, surprise."""
    matrix = np.array([[195, 39, 16], [36, 68, 5], [12, 7, 64]])
    truth = np.repeat([0, 1, 2], matrix.sum(1))
    predicted = np.concatenate([np.repeat([0, 1, 2], row) for row in matrix])
    assert np.array_equal(m.confusion(truth, predicted, 3), matrix)
    assert round(m.uf1(truth, predicted, 3), 4) == 0.7209 and round(m.uar(truth, predicted, 3), 4) == 0.7250


def test_a_declared_class_without_samples_warns_and_stays_in_uf1_only():
    with pytest.warns(UserWarning, match="class 2 has no test sample"):
        assert m.uar([0, 1], [0, 1], 3) == 1.0
    with pytest.warns(UserWarning, match="counts 0 in UF1"):
        assert m.uf1([0, 1], [0, 1], 3) == pytest.approx(2 / 3)
    assert m.uf1([0, 1], [0, 1], 3, absent="skip") == 1.0


@settings(deadline=None, max_examples=40)  # the first example imports torchmetrics
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=60))
def test_agrees_with_scikit_learn_and_torchmetrics(pairs):
    import torch
    from sklearn import metrics as sk
    from torchmetrics.functional.classification import multiclass_confusion_matrix, multiclass_f1_score

    truth, guess = [t for t, _ in pairs], [p for _, p in pairs]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ours = m.scores(truth, guess, 4)["full"]
        labels = range(4)
        assert (m.confusion(truth, guess, 4) == sk.confusion_matrix(truth, guess, labels=labels)).all()
        assert ours["accuracy"] == pytest.approx(sk.accuracy_score(truth, guess))
        assert ours["uf1"] == pytest.approx(sk.f1_score(truth, guess, labels=labels, average="macro", zero_division=0))
        assert ours["weighted_f1"] == pytest.approx(
            sk.f1_score(truth, guess, labels=labels, average="weighted", zero_division=0)
        )
        assert ours["micro_f1"] == pytest.approx(sk.f1_score(truth, guess, labels=labels, average="micro"))
        assert ours["uar"] == pytest.approx(sk.balanced_accuracy_score(truth, guess))
        t, g = torch.tensor(truth), torch.tensor(guess)
        assert (
            multiclass_confusion_matrix(g, t, 4).numpy() == np.array(m.class_scores(truth, guess, 4)["confusion"])
        ).all()
        # torchmetrics leaves a class that neither side names out of its macro mean: the definitions agree only
        # without one
        if {*truth, *guess} == set(labels):
            assert ours["uf1"] == pytest.approx(float(multiclass_f1_score(g, t, 4, average="macro")), abs=1e-6)


def test_harmonic_f1_is_not_uf1():
    truth, guess = [0, 0, 0, 1, 1, 2], [0] * 6
    assert m.harmonic_f1(truth, guess, 3) == pytest.approx(0.2222, abs=5e-5)  # P .1667, R .3333
    assert m.uf1(truth, guess, 3) == pytest.approx((2 * 3 / 9) / 3)
    assert m.harmonic_f1([0, 1], [0, 1], 4) == 0.5
    assert m.harmonic_f1([0, 1], [0, 1], 4, classes="present") == 1.0
    assert m.harmonic_f1([0], [1], 2) == 0.0


@pytest.mark.parametrize(
    ("truth", "guess", "classes", "words"),
    [
        ([], [], 3, "nothing to score"),
        ([0, 1], [0], 3, "join them by sample id"),
        ([0, 3], [0, 0], 3, r"truth\[1\] is 3"),
        ([0.0], [0], 3, "integer"),
        ([[0]], [[0]], 3, "flat"),
        ([0], [0], 0, "at least 1"),
    ],
)
def test_bad_input_says_what_to_do(truth, guess, classes, words):
    with pytest.raises(ZooError, match=words):
        m.uf1(truth, guess, classes)


def test_join_by_id_refuses_doubled_missing_and_foreign_samples():
    assert m.join_by_id({"a": 0, "b": 1}, [("b", 5), ("a", 4)]) == ([0, 1], [4, 5], ["a", "b"])
    for predicted, words in (
        ([("a", 0), ("a", 0), ("b", 1)], "scored twice"),
        ([("a", 0)], "without a prediction"),
        ([("a", 0), ("b", 0), ("c", 0)], "not in the protocol"),
    ):
        with pytest.raises(ProtocolError, match=words):
            m.join_by_id({"a": 0, "b": 1}, predicted)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(st.booleans(), st.booleans(), st.booleans(), st.booleans()), min_size=1, max_size=30))
def test_au_f1_is_scikit_learns_binary_f1(rows):
    from sklearn.metrics import f1_score

    table = np.array(rows, int)
    result = m.au_f1(table[:, :2], table[:, 2:], (1, 4))
    for column, unit in enumerate((1, 4)):
        expected = f1_score(table[:, column], table[:, 2 + column], zero_division=0)
        assert result["f1"][unit] == pytest.approx(expected)
        assert result["positives"][unit] == table[:, column].sum()
    assert result["mean"] == pytest.approx(np.mean(list(result["f1"].values())))


def test_au_f1_leaves_uncoded_samples_out_and_counts_them():
    result = m.au_f1([[1], [0], [0]], [[1], [1], [0]], [12], known=[True, False, True])
    assert result["f1"] == {12: 1.0} and result["left_out"] == 1 and result["n"] == 2
    with pytest.raises(ZooError, match="0 or 1"):
        m.au_f1([[2]], [[1]], [12])
    with pytest.raises(ZooError, match="one column per unit"):
        m.au_f1([[1]], [[1]], [12, 14])
