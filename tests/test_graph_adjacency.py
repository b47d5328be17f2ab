"""Adjacency from labels and statistics, against values worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from zoo.errors import UnknownName, ZooError
from zoo.facs import emotions, statistics
from zoo.graph import adjacency as adj

# eight clips, four units. Counts: N = 4, 4, 2, 0; units 0 and 1 together in 3 clips, 0 and 2 in 1, 1 and 2 never.
LABELS = np.array([
    [1, 1, 0, 0], [1, 1, 0, 0], [1, 1, 0, 0], [1, 0, 1, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0], [0, 0, 0, 0],
], np.float32)  # fmt: skip
GIVEN_ROW = torch.tensor([[0, 3 / 4, 1 / 4, 0], [3 / 4, 0, 0, 0], [1 / 2, 0, 0, 0], [0, 0, 0, 0]], dtype=torch.float64)


def close(a, b, tolerance=1e-6):
    torch.testing.assert_close(torch.as_tensor(a).double(), torch.as_tensor(b).double(), rtol=0, atol=tolerance)


def test_counts():
    joint, shown = adj.joint_counts(LABELS)
    close(joint, [[4, 3, 1, 0], [3, 4, 0, 0], [1, 0, 2, 0], [0, 0, 0, 0]])
    close(shown, [[4] * 4, [4] * 4, [2] * 4, [0] * 4])


def test_conditional_both_directions():
    joint, _ = adj.joint_counts(LABELS)
    close(adj.conditional(joint, smoothing=0), GIVEN_ROW)  # [0, 2] is P(unit 2 | unit 0) = 1/4
    close(adj.conditional(joint, smoothing=0, direction="given_column"), GIVEN_ROW.T)  # [0, 2] is P(0 | 2) = 1/2


def test_smoothing_is_laplace_and_leaves_out_what_never_occurs():
    joint, _ = adj.joint_counts(LABELS)
    p = adj.conditional(joint)
    close(p[0], [0, 3.5 / 5, 1.5 / 5, 0.5 / 5])
    close(p[2], [1.5 / 3, 0.5 / 3, 0, 0.5 / 3])
    close(p[3], [0, 0, 0, 0])


def test_the_papers_reweighting_by_hand():
    # tau 0.3: 0-1 and 1-0 and 2-0 remain
    got = adj.cooccurrence(LABELS, smoothing=0, tau=0.3, p=0.2, scale="none")
    close(got, [[0.8, 0.2, 0, 0], [0.2, 0.8, 0, 0], [0.2, 0, 0.8, 0], [0, 0, 0, 0.8]])
    other = adj.cooccurrence(LABELS, smoothing=0, tau=0.3, p=0.2, direction="given_column", scale="none")
    close(other, [[0.8, 0.1, 0.1, 0], [0.2, 0.8, 0, 0], [0, 0, 0.8, 0], [0, 0, 0, 0.8]])


def test_the_published_codes_reweighting_divides_by_the_column():
    got = adj.cooccurrence(LABELS, smoothing=0, tau=0.3, form="ml_gcn", scale="none")
    close(got, [[1, 0.25, 0, 0], [0.125, 1, 0, 0], [0.125, 0, 1, 0], [0, 0, 0, 1]])


def test_ml_gcn_normalisation_transposes():
    a = adj.cooccurrence(LABELS, smoothing=0, tau=0.3, form="ml_gcn", scale="none").double()
    d = a.sum(1) ** -0.5
    close(adj.normalise(a), (a @ torch.diag(d)).T @ torch.diag(d))
    # what unit 0 takes from unit 2: entry [2, 0] of the table before
    close(adj.normalise(a)[0, 2], 0.125 / np.sqrt(1.25 * 1.125))
    close(adj.normalise(a, "symmetric"), adj.normalise(a).T)


def test_fgrmer_keeps_probabilities_and_adds_loops():
    got = adj.cooccurrence(LABELS, smoothing=0, tau=None, direction="given_column", form="none")
    a = GIVEN_ROW.T + torch.eye(4)
    d = torch.diag(a.sum(1) ** -0.5)
    close(got, (a @ d).T @ d)


def test_smoothing_alone_gives_edges_to_rare_units_unless_a_joint_clip_is_asked_for():
    def edges(**arguments):
        return adj.cooccurrence(LABELS, tau=0.1, form="none", scale="none", **arguments) - torch.eye(4)

    assert edges()[2].tolist() == [1, 1, 0, 1]  # (0 + 0.5) / (2 + 1) of units that never came with it
    assert edges(min_joint=1)[2].tolist() == [1, 0, 0, 0]
    assert edges(min_joint=2).nonzero().tolist() == [[0, 1], [1, 0]]


def test_a_threshold_of_zero_makes_no_edges_from_nothing():
    got = adj.cooccurrence(LABELS, smoothing=0, tau=0.0, form="none", scale="none")
    close(got, (GIVEN_ROW > 0).double() + torch.eye(4))


@pytest.mark.parametrize("labels", [np.zeros((5, 3)), np.zeros((0, 3)), np.eye(3)[:1], np.ones((4, 3))],
                         ids=["nothing shown", "no clips", "one clip", "always all"])  # fmt: skip
@pytest.mark.parametrize("scale", ["ml_gcn", "symmetric", "row", "none"])
@pytest.mark.parametrize("form", ["paper", "ml_gcn", "none"])
def test_degenerate_tables_stay_finite(labels, scale, form):
    for direction in ("given_row", "given_column"):
        got = adj.cooccurrence(labels, form=form, scale=scale, direction=direction)
        assert got.isfinite().all() and (got.diagonal() > 0).all() and (got >= 0).all()


def test_units_in_doubt_count_neither_way():
    labels = LABELS.copy()
    labels[0, 1] = np.nan  # of the four clips with unit 0, unit 1 is known in three and shown in two
    joint, shown = adj.joint_counts(labels)
    p = adj.conditional(joint, shown, smoothing=0)
    close(p[0, 1], 2 / 3)
    close(p[1, 0], 2 / 3)
    close(p[0, 2], 1 / 4)


def test_signed_graph_by_hand():
    got = adj.signed(LABELS)
    # P = 1/2, 1/2, 1/4, 0. P(0|1) = 3/4: more by 1/4. P(0|2) = 1/2: no more, no less. P(1|2) = 0 < 1/4: exclusion.
    # P(2|0) = 1/4: as ever. P(2|1) = 0 < 1/8: exclusion. Unit 3 never occurs.
    close(got, [[0, 1, 0, 0], [1, 0, -1, 0], [0, -1, 0, 0], [0, 0, 0, 0]])


def test_knn_and_full():
    points = [[0.0, 0.0], [1.0, 0.0], [3.0, 0.0]]
    close(adj.knn(torch.tensor(points), 1, loops=False), [[0, 1, 0], [1, 0, 0], [0, 1, 0]])
    close(adj.knn(torch.tensor(points), 1), [[0.5, 0.5, 0], [0.5, 0.5, 0], [0, 0.5, 0.5]])
    close(adj.knn(torch.tensor([points, points[::-1]]), 1, loops=False)[1], [[0, 1, 0], [0, 0, 1], [0, 1, 0]])
    close(adj.fully_connected(3), np.full((3, 3), 1 / 3))
    close(adj.fully_connected(3, loops=False), (np.ones((3, 3)) - np.eye(3)) / 2)
    with pytest.raises(ZooError, match="1 to 2"):
        adj.knn(torch.tensor(points), 3)


@pytest.mark.parametrize("bad", [np.full((3, 2), 0.5), np.array([1.0, 0.0]), np.full((2, 2), 2.0)])
def test_labels_that_are_none_are_refused(bad):
    with pytest.raises(ZooError, match="0 and 1"):
        adj.cooccurrence(bad)


@pytest.mark.parametrize("arguments", [{"p": 1.0}, {"direction": "row"}, {"form": "x"}, {"scale": "gcn"},
                                       {"smoothing": -1}])  # fmt: skip
def test_arguments_out_of_range_are_refused(arguments):
    with pytest.raises(ZooError):
        adj.cooccurrence(LABELS, **arguments)


# edges with P >= tau at 0.05, 0.1, 0.2, 0.3, 0.4, as counted from the coding sheets clip by clip
EDGES = [
    ("casme2", "cross12", (46, 30, 20, 12, 10)), ("samm", "cross12", (35, 27, 18, 10, 9)),
    ("casme3_a", "cross12", (20, 14, 8, 6, 5)), ("pooled", "cross12", (30, 16, 11, 7, 4)),
    ("casme2", "fgrmer9", (19, 11, 8, 6, 5)), ("samm", "fgrmer9", (21, 15, 6, 3, 3)),
    ("mmew", "cross12", (41, 31, 18, 15, 10)), ("dfme", "fgrmer9", (18, 10, 7, 6, 3)),
]  # fmt: skip


@pytest.mark.parametrize(("source", "aus", "expected"), EDGES, ids=[f"{s}-{a}" for s, a, _ in EDGES])
def test_edge_counts_of_the_data_sets(source, aus, expected):
    counts = statistics.joint_counts(emotions.AU_SETS[aus], source)
    assert tuple(adj.edge_count(torch.tensor(counts), t) for t in (0.05, 0.1, 0.2, 0.3, 0.4)) == expected


def test_a_prior_is_the_recipe_on_the_counts():
    aus = emotions.AU_SETS["cross12"]
    got = adj.prior(aus, "casme2", smoothing=0, tau=None, direction="given_column", form="none", scale="none")
    # P(AU4 | AU10) = 15/18 in CASME II, and the other way 15/125
    close(got[aus.index(4), aus.index(10)], 15 / 18)
    close(got[aus.index(10), aus.index(4)], 15 / 125)
    assert (adj.prior((1, 2, 80))[2] == torch.tensor([0.0, 0.0, 1.0])).all()
    with pytest.raises(UnknownName, match="casme2"):
        adj.prior(aus, "casme")


def test_published_examples_of_the_pooled_table():
    aus = emotions.AU_SETS["cross12"]
    p = adj.conditional(torch.tensor(statistics.joint_counts(aus)), smoothing=0)
    at = {au: k for k, au in enumerate(aus)}
    for (i, j), expected in {
        (1, 2): 0.71,
        (2, 1): 0.78,
        (9, 4): 0.58,
        (10, 4): 0.53,
        (15, 17): 0.30,
        (6, 4): 0.35,
    }.items():
        assert round(float(p[at[i], at[j]]), 2) == expected
    weights = statistics.positive_weights(aus)
    np.testing.assert_allclose(weights[[0, 2, 4]], [5.81, 2.02, 54.39], atol=0.005)
