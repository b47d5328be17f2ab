"""Losses between two domains, by hand."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
from torch import nn

from zoo.errors import ZooError
from zoo.train.domain_losses import (
    DomainDiscriminator,
    attention_transfer,
    coral,
    cross_domain_triplet,
    dann_strength,
    domain_loss,
    loss_inequality,
    mmd,
    reverse_gradient,
)


@pytest.mark.parametrize("strength", [1.0, 0.25, 0.0])
def test_a_reversed_gradient_has_the_reversed_sign(strength):
    torch.manual_seed(0)
    body, head, x = nn.Linear(3, 2), nn.Linear(2, 1), torch.randn(5, 3)
    plain = copy.deepcopy((body, head))
    head(reverse_gradient(body(x), strength)).square().sum().backward()
    plain[1](plain[0](x)).square().sum().backward()
    torch.testing.assert_close(body.weight.grad, -strength * plain[0].weight.grad)
    torch.testing.assert_close(head.weight.grad, plain[1].weight.grad)  # the head itself still learns to tell
    assert torch.equal(reverse_gradient(x, strength), x)


def test_strength_of_the_reversal_grows():
    assert dann_strength(0.0) == 0.0
    assert dann_strength(0.1) == pytest.approx((math.e - 1) / (math.e + 1))
    assert dann_strength(1.0) == pytest.approx(0.9999092, abs=1e-6)


def test_discriminator_and_its_loss():
    net = DomainDiscriminator()
    assert sum(p.numel() for p in net.parameters()) == 10_369
    assert net(torch.randn(6, 128)).shape == (6,)
    macro, micro = torch.tensor([-1.0, 2.0]), torch.tensor([0.5])
    wanted = (np.mean([math.log1p(math.exp(-1)), math.log1p(math.exp(2))]) + math.log1p(math.exp(-0.5))) / 2
    assert float(domain_loss(macro, micro)) == pytest.approx(wanted, abs=1e-6)


def test_coral_by_hand():
    a = torch.tensor([[0.0, 0.0], [2.0, 0.0]])  # covariance [[2, 0], [0, 0]]
    b = torch.tensor([[0.0, 0.0], [2.0, 2.0]])  # covariance [[2, 2], [2, 2]]
    assert float(coral(a, b)) == pytest.approx((4 + 4 + 4) / 16)
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(20, 5)), rng.normal(size=(13, 5)) * 2
    wanted = ((np.cov(x.T) - np.cov(y.T)) ** 2).sum() / 100
    assert float(coral(torch.tensor(x), torch.tensor(y))) == pytest.approx(wanted, rel=1e-5)
    assert float(coral(a + 7, a)) == pytest.approx(0, abs=1e-10), "it does not see the mean"


def test_mmd_by_hand():
    a, b = torch.tensor([[0.0], [1.0]]), torch.tensor([[2.0]])
    scale = 2 * (1 + 4 + 1) / 6
    k = [math.exp(-d / scale) for d in (1.0, 4.0)]
    wanted = (1 + 1 + 2 * k[0]) / 4 + 1 - 2 * (k[1] + k[0]) / 2
    assert float(mmd(a, b, factors=(1.0,))) == pytest.approx(wanted, abs=1e-6)
    x = torch.randn(10, 3, generator=torch.Generator().manual_seed(0))
    assert float(mmd(x, x)) == pytest.approx(0, abs=1e-6)
    assert float(mmd(x, x + 3)) > float(mmd(x, x + 1)) > 1e-3, "it sees the mean"
    assert float(mmd(torch.ones(2, 3), torch.ones(4, 3))) == 0
    moving = x.clone().requires_grad_()
    mmd(moving, x + 1).backward()
    assert float(moving.grad.sum()) < 0, "descending brings the domains together"


@pytest.mark.parametrize("loss", [coral, mmd])
def test_an_empty_domain_is_a_clear_error(loss):
    with pytest.raises(ZooError, match="neither domain is empty"):
        loss(torch.zeros(0, 3), torch.zeros(4, 3))


def test_attention_transfer_by_hand():
    teacher = [torch.tensor([[[[3.0, 0.0]], [[0.0, 0.0]]]])]  # mean of squares 4.5, 0: looks left alone
    student = [torch.tensor([[[[1.0, 1.0]]]]).requires_grad_()]  # looks both ways
    wanted = math.hypot(1 - 1 / math.sqrt(2), 1 / math.sqrt(2))
    assert attention_transfer(student, teacher).item() == pytest.approx(wanted, abs=1e-6)
    assert float(attention_transfer([5 * t for t in teacher], teacher)) == 0, "strength does not count, places do"
    attention_transfer(student, teacher).backward()
    assert student[0].grad[0, 0, 0, 0] < 0 < student[0].grad[0, 0, 0, 1]
    with pytest.raises(ZooError, match="stage by stage"):
        attention_transfer([torch.zeros(1, 1, 2, 2)], [torch.zeros(1, 1, 3, 3)])


def test_loss_inequality_has_a_direction():
    micro, macro = torch.tensor([2.0, 1.0], requires_grad=True), torch.tensor([1.0, 4.0], requires_grad=True)
    assert loss_inequality(micro, macro).item() == 0.5
    assert loss_inequality(micro, macro, "macro_above").item() == 1.5
    loss_inequality(micro, macro).backward()
    assert micro.grad.tolist() == [0.5, 0.0] and macro.grad is None, "the teacher is not pulled down"


def test_triplet_across_domains_by_hand():
    micro, macro = torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([[0.0, 2.0], [3.0, 0.0], [-1.0, 0.0]])
    labels = torch.tensor([0, 7]), torch.tensor([0, 1, 1])
    # clip 0: its emotion at sqrt(2), the nearest of another at 0; clip 1: nobody shows its emotion
    assert float(cross_domain_triplet(micro, labels[0], macro, labels[1], margin=0.3)) == pytest.approx(
        math.sqrt(2) + 0.3, abs=1e-4
    )
    alone = cross_domain_triplet(micro, labels[0], macro[1:], labels[1][1:])
    assert float(alone) == 0, "no pair, no loss"
