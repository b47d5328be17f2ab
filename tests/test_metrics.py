from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score, recall_score

from zoo.errors import ProtocolError
from zoo.metrics import accuracy, confusion, scores, uar, uf1

MEGC = [0] * 250 + [1] * 109 + [2] * 83


def test_against_scikit_learn():
    rng = np.random.default_rng(0)
    for _ in range(20):
        truth, predicted = rng.integers(0, 3, 200), rng.integers(0, 3, 200)
        assert uf1(truth, predicted, 3) == pytest.approx(f1_score(truth, predicted, average="macro"))
        assert uar(truth, predicted, 3) == pytest.approx(recall_score(truth, predicted, average="macro"))
        assert accuracy(truth, predicted, 3) == pytest.approx(accuracy_score(truth, predicted))


def test_always_negative_on_megc2019():
    always = [0] * 442
    assert round(accuracy(MEGC, always, 3), 4) == 0.5656
    assert round(uf1(MEGC, always, 3), 4) == 0.2408
    assert round(uar(MEGC, always, 3), 4) == 0.3333


def test_the_authors_confusion_gives_the_authors_scores():
    """STSTNet's released weights: rows negative, positive, surprise."""
    matrix = np.array([[195, 39, 16], [36, 68, 5], [12, 7, 64]])
    truth = np.repeat([0, 1, 2], matrix.sum(1))
    predicted = np.concatenate([np.repeat([0, 1, 2], row) for row in matrix])
    assert np.array_equal(confusion(truth, predicted, 3), matrix)
    assert (round(uf1(truth, predicted, 3), 4), round(uar(truth, predicted, 3), 4)) == (0.7209, 0.7250)
    assert round(accuracy(truth, predicted, 3), 4) == 0.7398


def test_absent_classes():
    assert uf1([0, 0, 1], [0, 0, 1], 3) == 1.0, "a class that never occurs is no class"
    assert uar([0, 0, 1], [0, 0, 2], 3) == 0.5
    assert uf1([], [], 3) == uar([], [], 3) == accuracy([], [], 3) == 0.0


def test_groups_are_parts_of_the_same_predictions():
    table = scores([0, 1, 2, 0], [0, 1, 2, 1], 3, ["a", "a", "b", "b"])
    assert set(table) == {"full", "a", "b"}
    assert table["a"]["accuracy"] == 1.0
    assert table["b"]["accuracy"] == 0.5
    assert table["full"]["clips"] == 4


@pytest.mark.parametrize(
    ("truth", "predicted"), [([0, 1], [0]), ([0.0, 1.0], [0.0, 1.0]), ([0, 3], [0, 0]), ([0, -1], [0, 0])]
)
def test_nonsense_is_refused(truth, predicted):
    with pytest.raises(ProtocolError):
        uf1(truth, predicted, 3)
