"""What each method of two domains moves, and what it leaves alone: gradients part by part, and over real training steps."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tests.fakes.two_domains import SMALL, fitted, student
from zoo import create_model
from zoo.train.domain_losses import dann_strength, domain_loss
from zoo.train.transfer_methods import Adversary, MicroNetMethod, Pair, method
from zoo.train.transfer_recipe import TransferRecipe
from zoo.train.transfer_task import TransferTask
from zoo.weights import load

# part of the loss -> modules of the network that its gradient reaches, modules of the method that it reaches
REACH = {
    ("dann", "domain"): ({"conv1", "conv2", "conv3", "bn1", "bn2", "bn3"}, {"discriminator"}),
    ("coral", "coral"): ({"conv1", "conv2", "conv3", "bn1", "bn2", "bn3"}, set()),
    ("mmd", "mmd"): ({"conv1", "conv2", "conv3", "bn1", "bn2", "bn3"}, set()),
    ("emr", "top"): ({"trunk", "top"}, {"top"}),
    ("emr", "bottom"): ({"trunk", "bottom"}, {"bottom"}),
    ("emr", "domain"): ({"trunk", "top", "bottom"}, {"discriminator"}),
    ("micronet", "identity"): ({"trunk"}, {"identity"}),
    ("micronet", "leak"): ({"trunk", "expression"}, {"leak"}),
    ("micronet", "triplet"): ({"trunk", "expression"}, set()),
    ("micronet", "domain"): ({"trunk", "expression"}, {"discriminator"}),
    ("micronet", "inequality"): ({"trunk", "expression", "fc"}, set()),
    ("saat", "attention"): ({"trunk"}, set()),
    ("distill", "features"): ({"trunk"}, {"project"}),
    ("distill", "units"): ({"trunk"}, {"units"}),
}


def passed(name, teachers, progress=0.5):
    """A network, its method, and a batch that has passed them: five micro clips, four macro clips."""
    net = student(name).train()
    teacher = load(teachers[name]) if name in teachers else None
    recipe = TransferRecipe.of({"method": name, "teacher": teachers.get(name, ""), "inequality_weight": 1.0})
    made = method(recipe, net, people=6, teacher=teacher).train()
    torch.manual_seed(1)
    x, y = torch.randn(9, *net.input_spec.shape), torch.tensor([0, 1, 2, 0, 1, 0, 1, 2, 2])
    seen = made.look(net, x)
    losses = F.cross_entropy(net.forward_head(seen.features), y, reduction="none")
    people = torch.tensor([0, 0, 1, 2, 2, 3, 4, 5, 5])
    pair = Pair(
        x=x, y=y, people=people, micro=5, progress=progress, features=seen.features, losses=losses, kept=seen.kept
    )
    return net, made, pair


def reached(module: nn.Module, loss: torch.Tensor) -> set[str]:
    names, parameters = zip(*[(n, p) for n, p in module.named_parameters() if p.requires_grad], strict=True)
    gradients = torch.autograd.grad(loss, parameters, allow_unused=True, retain_graph=True)
    return {n.partition(".")[0] for n, g in zip(names, gradients, strict=True) if g is not None and bool(g.any())}


@pytest.mark.parametrize(("name", "part"), REACH, ids=["-".join(case) for case in REACH])
def test_gradients_reach_what_they_should_and_nothing_else(name, part, teachers):
    net, made, pair = passed(name, teachers)
    parts = made(net, pair)
    assert set(parts) == {p for n, p in REACH if n == name}, "each part is told of"
    of_net, of_method = REACH[name, part]
    assert reached(net, parts[part]) == of_net
    if any(p.requires_grad for p in made.parameters()):
        assert reached(made, parts[part]) == of_method


@pytest.mark.parametrize("name", ["dann", "emr", "micronet"])
def test_before_training_begins_nothing_is_reversed(name, teachers):
    net, made, pair = passed(name, teachers, progress=0.0)
    parts = made(net, pair)
    for part in {"domain", "leak"} & set(parts):
        assert reached(net, parts[part]) == set(), "the ramp begins at 0"
        assert reached(made, parts[part]) == REACH[name, part][1], "the adversary learns from the first step"


def test_attention_is_of_micro_clips_alone(teachers):
    net, made, pair = passed("saat", teachers)
    maps = [
        m.detach().requires_grad_() for m in pair.kept
    ]  # of their own: batch statistics tie the clips to each other
    (attention,) = made(net, replace(pair, kept=maps)).values()
    first, *_ = torch.autograd.grad(attention, maps)
    assert bool(first[:5].any()) and not bool(first[5:].any())


def test_both_domains_are_brought_together_and_both_are_distilled(teachers):
    for name in ("coral", "mmd", "dann", "distill"):
        net, made, pair = passed(name, teachers)
        (gradient,) = torch.autograd.grad(torch.stack(list(made(net, pair).values())).sum(), pair.features)
        assert bool(gradient[:5].any()) and bool(gradient[5:].any()), name


@pytest.mark.parametrize("direction", ["micro_above", "macro_above"])
def test_the_inequality_pushes_the_student_alone_and_in_its_direction(direction, teachers):
    net, made, pair = passed("micronet", teachers)
    made.recipe = TransferRecipe.of({"method": "micronet", "inequality": direction, "inequality_weight": 1.0})
    (gradient,) = torch.autograd.grad(made(net, pair)["inequality"], pair.losses)
    with torch.no_grad():
        theirs = F.cross_entropy(made.teacher.net(pair.x[:5]), pair.y[:5], reduction="none")
        above = (pair.losses[:5] > theirs) if direction == "micro_above" else (pair.losses[:5] < theirs)
    sign = 1 if direction == "micro_above" else -1
    torch.testing.assert_close(gradient, torch.cat([sign * above / 5.0, torch.zeros(4)]))
    assert int(above.sum()) > 0, "the case says something"


@pytest.mark.parametrize("name", ["dann", "emr", "micronet"])
def test_the_ramp_of_the_reversal_over_real_steps(name, megc_folder, macro_folder, teachers, monkeypatch):
    """The gradient that the features get is the discriminator's own, times minus the ramp at that step."""
    ratios, told = [], Adversary.told

    def watched(self, pair):
        before = torch.get_rng_state()
        loss = told(self, pair)
        after = torch.get_rng_state()
        torch.set_rng_state(before)  # the same dropout
        plain = domain_loss(*reversed(pair.halves(self.discriminator(pair.features))))
        a, b = (torch.autograd.grad(v, pair.features, retain_graph=True)[0] for v in (loss, plain))
        torch.set_rng_state(after)
        ratios.append(((a * b).sum() / b.square().sum()).item())
        torch.testing.assert_close(a, ratios[-1] * b)
        return loss

    monkeypatch.setattr(Adversary, "told", watched)
    task = TransferTask(net=student(name), lr=1e-3, transfer={"method": name, "slope": 5.0})
    _, trainer = fitted(task, megc_folder, macro_folder, epochs=2)
    total = int(trainer.estimated_stepping_batches)
    assert len(ratios) == total >= 6
    assert ratios == pytest.approx([-dann_strength(step / total, 5.0) for step in range(total)], abs=1e-5)


def test_identity_is_hidden_as_strongly_as_the_ramp_says(teachers):
    for progress in (0.1, 0.9):
        net, made, pair = passed("micronet", teachers, progress=progress)
        assert isinstance(made, MicroNetMethod)
        (got,) = torch.autograd.grad(made(net, pair)["leak"], pair.features, retain_graph=True)
        (plain,) = torch.autograd.grad(F.cross_entropy(made.leak(pair.features), pair.people), pair.features)
        torch.testing.assert_close(got, -dann_strength(progress) * plain)


@pytest.mark.parametrize("name", ["joint", "dann", "coral", "mmd", "emr", "micronet", "saat", "distill"])
def test_over_real_steps_what_is_frozen_stays_and_what_learns_moves(name, megc_folder, macro_folder, teachers):
    """Frozen: weights and batch statistics, though batches of both domains pass through. Moved: the adversary, the rest."""
    net, frozen = student(name), "layer1"
    if name in ("joint", "dann", "coral", "mmd"):
        net, frozen = create_model("sssnet", input_spec=SMALL.replace(size=64)), "block1"
    elif name == "distill":
        frozen = "trunk.0"
    task = TransferTask(
        net=net, lr=1e-2, transfer={"method": name, "teacher": teachers.get(name, "")}, finetune={"freeze": [frozen]}
    )
    before = {k: v.clone() for k, v in net.state_dict().items()}
    begun: dict[str, torch.Tensor] = {}
    learning = task.learning

    def watched():
        begun.update({k: v.clone() for k, v in task.method.state_dict().items()})
        return learning()

    task.learning = watched
    fitted(task, megc_folder, macro_folder)
    moved = {k for k, v in net.state_dict().items() if not torch.equal(v, before[k])}
    inside = {k for k in before if f".{frozen}." in f".{k}"}
    assert inside and not moved & inside, "weights, running mean, variance and count"
    assert {k for k in before if k.endswith("running_mean")} - inside <= moved, (
        "all other statistics are of both domains"
    )
    assert {"fc.weight", "fc.bias"} <= moved
    own = {k: v for k, v in task.method.state_dict().items() if not k.startswith("teacher.")}
    assert not {k for k, v in own.items() if torch.equal(v, begun[k])}, "what the method adds learns"
    theirs = {k: v for k, v in task.method.state_dict().items() if k.startswith("teacher.")}
    assert all(torch.equal(v, begun[k]) for k, v in theirs.items()), "the teacher does not"
    assert bool(theirs) == (name in teachers)


@pytest.mark.parametrize(
    ("arch", "name", "wanted", "added"),
    [("emr", "emr", 11_242_563, 11_253_322 - 11_242_563), ("micronet", "micronet", 11_308_611, 0), ("saat", "saat", 11_178_051, 0)],
)  # fmt: skip
def test_what_predicts_is_as_large_as_the_papers_say(arch, name, wanted, added, teachers):
    net = create_model(arch)
    assert sum(p.numel() for p in net.parameters()) == wanted
    if added:
        made = method(TransferRecipe.of({"method": name}), net, people=3)
        assert sum(p.numel() for p in made.parameters()) == added, "11,253,322 in training"
