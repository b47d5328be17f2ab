"""Losses against values worked out by hand, against torch's own, and on batches that hold nothing to learn from."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from zoo.errors import UnknownName, ZooError
from zoo.train.feature_losses import au_jaccard
from zoo.train.fuzzy import label_distribution
from zoo.train.losses import au_loss, emotion_loss, feature_loss

NAN = float("nan")
LABELS = torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 1.0], [0.0, 0.0, 0.0], [0.0, 0.0, NAN]])  # AU rates 1/4, 0/4, 2/3


def logits(rows: int, columns: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed)).requires_grad_()


@pytest.mark.parametrize("balance", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy_is_torchs_and_takes_distributions(balance, smoothing):
    counts, x, y = torch.tensor([10.0, 30.0, 60.0]), logits(7, 3), torch.tensor([0, 1, 2, 2, 1, 0, 0])
    loss = emotion_loss("ce", num_classes=3, class_counts=counts, balance=balance, label_smoothing=smoothing)
    weight = (100 / (3 * counts)) ** balance
    expected = F.cross_entropy(x, y, weight=weight, label_smoothing=smoothing)
    torch.testing.assert_close(loss(x, y), expected)
    torch.testing.assert_close(loss(x, F.one_hot(y, 3).float()), expected)


def test_class_balanced_by_hand():
    # beta 0.5: effective numbers of 1, 2, 3 clips are 1, 1.5, 1.75
    loss = emotion_loss("class_balanced", num_classes=3, class_counts=[1, 2, 3], beta=0.5)
    raw = torch.tensor([1.0, 1 / 1.5, 1 / 1.75])
    torch.testing.assert_close(loss.weight, raw * 3 / raw.sum())
    x, y = logits(4, 3), torch.tensor([0, 1, 2, 2])
    torch.testing.assert_close(loss(x, y), F.cross_entropy(x, y, weight=loss.weight))
    plain = emotion_loss("class_balanced", num_classes=3, class_counts=[1, 2, 3], beta=0.0)
    torch.testing.assert_close(plain.weight, torch.ones(3))


def test_focal_by_hand():
    x = torch.tensor([[math.log(3.0), 0.0]])  # p = 3/4, 1/4
    loss = emotion_loss("focal", num_classes=2, gamma=2.0)
    assert loss(x, torch.tensor([0])).item() == pytest.approx(0.25**2 * -math.log(0.75), rel=1e-5)
    assert loss(x, torch.tensor([1])).item() == pytest.approx(0.75**2 * -math.log(0.25), rel=1e-5)
    y, z = torch.tensor([0, 1, 1]), logits(3, 2)
    torch.testing.assert_close(emotion_loss("focal", num_classes=2, gamma=0.0)(z, y), F.cross_entropy(z, y))
    sure = torch.tensor([[60.0, 0.0]], requires_grad=True)
    emotion_loss("focal", num_classes=2, gamma=0.5)(sure, torch.tensor([0])).backward()
    assert sure.grad.isfinite().all()


def test_divergence_is_zero_at_the_target_and_torchs_elsewhere():
    q = torch.tensor([[0.7, 0.3, 0.0], [0.2, 0.2, 0.6]])
    loss = emotion_loss("kl", num_classes=3)
    assert loss(q.clamp(min=1e-30).log(), q).item() == pytest.approx(0, abs=1e-6)
    x = logits(2, 3)
    torch.testing.assert_close(loss(x, q), F.kl_div(x.log_softmax(1), q, reduction="batchmean"))
    torch.testing.assert_close(loss(x, torch.tensor([0, 2])), F.cross_entropy(x, torch.tensor([0, 2])))


@pytest.mark.parametrize(
    ("name", "options", "word"),
    [
        ("ce", {"balance": 1.0}, "every class"),
        ("ce", {"balance": -1.0}, "balance"),
        ("ce", {"label_smoothing": 1.0}, "label_smoothing"),
        ("ce", {"class_counts": [3, 4]}, "one count per class"),
        ("ce", {"class_counts": [3, 0, 4], "balance": 0.5}, r"\[3, 0, 4\]"),
        ("class_balanced", {}, "every class"),
        ("class_balanced", {"class_counts": [1, 1, 1], "beta": 1.0}, "beta"),
        ("focal", {"gamma": -1.0}, "gamma"),
        ("focal", {"gama": 1.0}, "gamma"),
        ("cross", {}, "there is no emotion loss"),
    ],
)
def test_emotion_options_are_checked(name, options, word):
    with pytest.raises(ZooError, match=word):
        emotion_loss(name, num_classes=3, **options)


def test_au_cross_entropy_weights_come_from_the_training_labels():
    loss = au_loss("bce", au_labels=LABELS, cap=20.0)
    torch.testing.assert_close(loss.pos_weight, torch.tensor([3.0, 20.0, 0.5]))  # (4-1)/1, none shown: the cap, (3-2)/2
    x = torch.zeros(1, 3, requires_grad=True)
    value = loss(x, torch.tensor([[1.0, 0.0, NAN]]))
    assert value.item() == pytest.approx((3 * math.log(2) + math.log(2)) / 2)
    value.backward()
    torch.testing.assert_close(x.grad, torch.tensor([[-0.75, 0.25, 0.0]]))  # nothing from the unknown one
    assert au_loss("bce", au_labels=LABELS, cap=2.0).pos_weight.tolist() == [2.0, 2.0, 0.5]


def test_au_asymmetric_by_hand():
    loss = au_loss("asymmetric", au_labels=LABELS)
    inverse = torch.tensor([4.0, 4.0, 1.5])
    torch.testing.assert_close(loss.weight, inverse * 3 / inverse.sum())
    p = torch.tensor([[0.8, 0.3, 0.6]])
    x = torch.logit(p).requires_grad_()
    y = torch.tensor([[1.0, 0.0, 1.0]])
    terms = torch.tensor([math.log(0.8), 0.3 * math.log(0.7), math.log(0.6)])
    value = loss(x, y)
    torch.testing.assert_close(value, -(loss.weight * terms).mean())
    value.backward()
    # the factor p of the negative term is a constant: d/dx of -p log(1-sigmoid(x)) is p * p
    torch.testing.assert_close(x.grad[0, 1], loss.weight[1] * 0.3 * 0.3 / 3)


def test_au_focal_by_hand():
    x = torch.tensor([[math.log(3.0), math.log(3.0)]])  # p = 3/4
    expected = (0.25**2 * -math.log(0.75) + 0.75**2 * -math.log(0.25)) / 2
    assert au_loss("focal")(x, torch.tensor([[1.0, 0.0]])).item() == pytest.approx(expected, rel=1e-5)
    y = torch.tensor([[1.0, 0.0, 1.0]])
    z = logits(1, 3)
    torch.testing.assert_close(au_loss("focal", gamma=0.0)(z, y), F.binary_cross_entropy_with_logits(z, y))


@pytest.mark.parametrize("name", ["bce", "asymmetric", "focal"])
def test_nothing_known_is_a_loss_of_zero(name):
    for labels in (None, LABELS, torch.full((2, 3), NAN)):
        loss, x = au_loss(name, au_labels=labels), logits(2, 3)
        value = loss(x, torch.full((2, 3), NAN))
        value.backward()
        assert value.item() == 0
        assert not x.grad.any()
        assert loss(x * 1e4, torch.tensor([[1.0, 0.0, NAN], [NAN, 1.0, 0.0]])).isfinite()


def test_au_loss_refuses_what_it_cannot_count():
    with pytest.raises(ZooError, match="0, 1 and NaN"):
        au_loss("bce", au_labels=torch.tensor([[0.0, 2.0]]))
    with pytest.raises(ZooError, match="cap"):
        au_loss("bce", cap=0.0)
    with pytest.raises(UnknownName, match="asymmetric"):
        au_loss("assymetric")
    with pytest.raises(ZooError, match=r"model\.aus"):
        au_loss("bce")(torch.zeros(2, 3), torch.zeros(2, 4))


def test_centres_follow_the_papers_rule():
    loss = feature_loss("centre", num_classes=3, num_features=2)
    x = torch.tensor([[2.0, 0.0], [4.0, 0.0], [0.0, 6.0]], requires_grad=True)
    y = torch.tensor([0, 0, 1])
    value = loss(x, y)
    assert value.item() == pytest.approx((4 + 16 + 36) / 2 / 3)
    value.backward()
    torch.testing.assert_close(x.grad, x.detach() / 3)
    torch.testing.assert_close(
        loss.centres, torch.tensor([[1.0, 0.0], [0.0, 1.5], [0.0, 0.0]])
    )  # .5*6/3, .5*6/2, unseen
    before = loss.eval().centres.clone()
    loss(x, y)
    assert torch.equal(loss.centres, before), "testing moves nothing"


def test_triplet_by_hand():
    x = torch.tensor([[0.0], [1.0], [3.0], [1.5]], requires_grad=True)
    loss = feature_loss("triplet", num_classes=2, num_features=1, margin=0.5, normalise=False)
    value = loss(x, torch.tensor([0, 0, 1, 1]))
    # anchors: 1 - 1.5 + .5 = 0; 1 - .5 + .5 = 1; 1.5 - 2 + .5 = 0; 1.5 - .5 + .5 = 1.5
    assert value.item() == pytest.approx(2.5 / 4)
    same = torch.zeros(4, 2, requires_grad=True)
    feature_loss("triplet", num_classes=2, num_features=2)(same, torch.tensor([0, 0, 1, 1])).backward()
    assert same.grad.isfinite().all(), "clips that coincide"


def test_supervised_contrast_by_hand():
    x = torch.tensor([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0]])
    loss = feature_loss("supcon", num_classes=2, num_features=2, temperature=0.5)
    # anchors 0 and 1 (cosine 1 to each other, 0 to the third); the third has no partner and is left out
    assert loss(x, torch.tensor([0, 0, 1])).item() == pytest.approx(math.log(1 + math.exp(-2)), rel=1e-5)


def test_jaccard_by_hand():
    aus = torch.tensor([[1.0, 1.0, 0.0], [1.0, 0.0, 0.0], [NAN, 1.0, 1.0], [0.0, 0.0, 0.0]])
    expected = torch.tensor([[1.0, 0.5, 0.5, 0.0], [0.5, 1.0, 0.0, 0.0], [0.5, 0.0, 1.0, 0.0], [0.0, 0.0, 0.0, 0.0]])
    torch.testing.assert_close(au_jaccard(aus), expected)
    x = torch.eye(4)  # all cosines 0: log p = -log 3 for every pair, whatever the weights
    loss = feature_loss("au_jaccard", num_classes=2, num_features=4)
    assert loss.needs_aus
    assert loss(x, aus).item() == pytest.approx(math.log(3), rel=1e-5)


@pytest.mark.parametrize("name", ["triplet", "supcon", "au_jaccard"])
def test_a_batch_without_pairs_is_a_loss_of_zero(name):
    loss = feature_loss(name, num_classes=4, num_features=3)
    for rows in (1, 4):
        x = logits(rows, 3)
        targets = torch.eye(rows) if loss.needs_aus else torch.arange(rows)
        value = loss(x, targets)
        value.backward()
        assert value.item() == 0
        assert not x.grad.any()
    if loss.needs_aus:
        assert loss(logits(4, 3), torch.full((4, 2), NAN)).item() == 0


@pytest.mark.parametrize(
    ("name", "options", "word"),
    [
        ("centre", {"alpha": 2.0}, "alpha"),
        ("triplet", {"margin": -1.0}, "margin"),
        ("supcon", {"temperature": 0.0}, "temperature"),
        ("au_jaccard", {"temprature": 1.0}, "temperature"),
        ("contrast", {}, "there is no feature loss"),
    ],
)
def test_feature_options_are_checked(name, options, word):
    with pytest.raises(ZooError, match=word):
        feature_loss(name, num_classes=3, num_features=4, **options)


@pytest.mark.parametrize("name", ["centre", "triplet", "supcon"])
def test_feature_losses_draw_classes_together(name):
    torch.manual_seed(0)
    x = torch.randn(24, 4).requires_grad_()
    y = torch.arange(24) % 3
    loss = feature_loss(name, num_classes=3, num_features=4)
    optimiser = torch.optim.SGD([x], lr=1.0)

    def spread():
        z = F.normalize(x.detach())
        return sum(float((z[y == k] - z[y == k].mean(0)).norm()) for k in range(3))

    before = spread()
    for _ in range(60):
        optimiser.zero_grad()
        loss(x, y).backward()
        optimiser.step()
    assert spread() < 0.7 * before


def test_fuzzy_targets_by_hand():
    aus = torch.tensor([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [NAN, 1.0]])
    labels = torch.tensor([0, 0, 1, 1, 2])
    fuzzy = label_distribution(aus, labels, 3, a=2.0, mix=0.3)
    prior = torch.tensor([0.4, 0.4, 0.2])
    q = torch.stack([(torch.tensor([2.0, 1.0, 0.0]) + 2 * prior) / 5, (torch.tensor([0.0, 1.0, 0.0]) + 2 * prior) / 3])
    torch.testing.assert_close(fuzzy.distribution(aus[[0, 3]]), q)
    torch.testing.assert_close(
        fuzzy.distribution(torch.tensor([[1.0, 1.0]])), prior[None], msg="a set never seen: the prior"
    )
    targets = fuzzy(aus, labels)
    torch.testing.assert_close(targets[0], 0.7 * torch.tensor([1.0, 0.0, 0.0]) + 0.3 * q[0])
    torch.testing.assert_close(targets[4], torch.tensor([0.0, 0.0, 1.0]), msg="units unknown: the hard label stays")
    torch.testing.assert_close(targets.sum(1), torch.ones(5))
    assert torch.equal(label_distribution(aus, labels, 3, mix=0.0)(aus, labels), F.one_hot(labels, 3).float())


def test_fuzzy_targets_refuse():
    with pytest.raises(ZooError, match="mix"):
        label_distribution(torch.zeros(2, 2), torch.zeros(2, dtype=torch.long), 2, mix=2.0)
    with pytest.raises(ZooError, match="one label per clip"):
        label_distribution(torch.zeros(2, 2), torch.zeros(3, dtype=torch.long), 2)
    unknown = label_distribution(torch.full((2, 2), NAN), torch.tensor([0, 1]), 2)
    assert torch.equal(unknown.distribution(torch.zeros(1, 2)), torch.tensor([[0.5, 0.5]]))
