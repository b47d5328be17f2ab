"""Convolution, normalisation and pooling in machine code are those of torch, and so is a fit through them."""

from __future__ import annotations

from copy import deepcopy

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from zoo.cli import main
from zoo.data.megc2019 import read_megc2019
from zoo.data.module import Prepared
from zoo.models.ststnet import STSTNet
from zoo.train import fused
from zoo.train.jobs import Job, fit_seed
from zoo.train.stacked import fit_stacked
from zoo.train.task import RecognitionTask
from zoo.types import InputSpec

numba = pytest.importorskip("numba", reason="the extra `fast` is not installed")
pytestmark = pytest.mark.usefixtures("one_thread")

FOLDS = ("casme2/sub01", "samm/006")


class Masked(torch.nn.Module):
    """Dropout by a mask that is given."""

    def __init__(self, mask):
        super().__init__()
        self.mask = mask

    def forward(self, x):
        return x * self.mask.to(x)


def exact(net, mask):
    """The same network in float64, with the mask in place of dropout."""
    double = deepcopy(net).double()
    double.dropout = Masked(mask)
    return double


def mask_like_torch(clips, channels=16, p=0.5):
    like = torch.empty(clips, channels, 10, 10).contiguous(memory_format=torch.channels_last)
    if not p:
        return torch.ones_like(like)
    return like.bernoulli_(1 - p).div_(1 - p)


def trained_a_little(padding=1, **changes):
    """Weights where every case occurs: scales of either sign and 0, maps that are never active, always, and now and then."""
    torch.manual_seed(padding)
    net = STSTNet(padding=padding, **changes).train()
    with torch.no_grad():
        net.bn1.weight.copy_(torch.tensor([-0.7, 1.0, 0.5]))
        net.bn2.weight[1] = 0.0
        net.bn3.weight[2] = -1.3
        net.conv3.bias[:3] = torch.tensor([-20.0, 6.0, -0.4])
        for bias in (net.bn1.bias, net.bn2.bias, net.bn3.bias):
            bias.normal_(0, 0.3)
    return net


def clips(count, channels=3, offset=0.0, size=28):
    """Maps with flat parts, so that windows hold ties, and one map that is flat all over."""
    x = torch.randn(count, channels, size, size)
    x[:, :, 8:20, 5:15] = 0.25
    x[count // 2] = 0.0
    return x + offset


def both(net, x, y, weight=None):
    """Gradients, statistics and logits: of torch in float64, and of the machine code."""
    state, ours = torch.get_rng_state(), deepcopy(net)
    run = fused.fuse(ours)
    assert run is not None
    logits = run(x)
    F.cross_entropy(logits, y, weight=weight).backward()
    after = torch.get_rng_state()
    torch.set_rng_state(state)
    torch_net = exact(net, mask_like_torch(len(x), p=net.dropout.p))
    assert torch.equal(torch.get_rng_state(), after)  # as many numbers were drawn
    expected = torch_net(x.double())
    F.cross_entropy(expected, y, weight=None if weight is None else weight.double()).backward()
    assert torch.allclose(logits.double(), expected, atol=1e-5, rtol=1e-5)
    return ours, torch_net


@pytest.mark.parametrize("offset", [0.0, 128.0])  # as normalised maps lie, and as raw pictures do
@pytest.mark.parametrize("padding", [1, 2])
def test_one_step_is_that_of_torch_in_float64(padding, offset):
    net, y = trained_a_little(padding), torch.randint(3, (13,))
    ours, expected = both(net, clips(13, offset=offset), y, torch.tensor([0.2, 0.5, 0.3]))
    for (name, a), b in zip(ours.named_parameters(), expected.parameters(), strict=True):
        error, size = (a.grad.double() - b.grad).abs(), max(float(b.grad.abs().max()), 1e-3)
        assert float(error.max()) < 3e-5 * size, name
    for (name, a), b in zip(ours.named_buffers(), expected.buffers(), strict=True):
        assert torch.allclose(a.double(), b.double(), rtol=1e-5, atol=1e-6), name
    if not offset:
        assert float(ours.conv3.weight.grad[0].abs().max()) == 0  # never active


def test_what_is_zero_in_theory_is_far_below_what_torch_leaves():
    # normalisation takes any constant off a map that is active everywhere, so the bias before it has no gradient; torch leaves
    # rounding errors there, which Adam blows up to whole steps
    net, x, y = trained_a_little(1), clips(32), torch.randint(3, (32,))
    ours, _ = both(net, x, y)
    F.cross_entropy(net(x.contiguous(memory_format=torch.channels_last)), y).backward()
    assert abs(float(ours.conv3.bias.grad[1])) < 1e-8 < abs(float(net.conv3.bias.grad[1]))


@pytest.mark.parametrize(
    "changes",
    [
        {"input_spec": InputSpec(channels=("u", "v"))},
        {"dropout": 0.0},
        {"dropout": 0.3, "num_classes": 5},
    ],
    ids=["two channels", "no dropout", "other dropout"],
)
def test_other_inputs_and_dropout(changes):
    net = trained_a_little(**changes)
    x = clips(5, channels=net.input_spec.shape[0])
    ours, expected = both(net, x, torch.randint(3, (5,)))
    for a, b in zip(ours.parameters(), expected.parameters(), strict=True):
        assert torch.allclose(a.grad.double(), b.grad, rtol=1e-4, atol=1e-6 + 2e-5 * float(b.grad.abs().max()))


def test_fewer_maps_than_lanes():
    net = trained_a_little()
    net.conv3, net.bn3, net.fc = torch.nn.Conv2d(3, 2, 3, padding=1), torch.nn.BatchNorm2d(2), torch.nn.Linear(250, 3)
    x = clips(6)
    torch.manual_seed(5)
    logits = fused.fuse(net)(x)
    torch.manual_seed(5)
    expected = exact(net, mask_like_torch(6, channels=10))(x.double())
    assert torch.allclose(logits.double(), expected, atol=3e-6)


def test_what_is_no_number_shows():
    net = trained_a_little()
    x = clips(4)
    x[1, 0, 3, 3] = float("nan")
    assert not torch.isfinite(fused.fuse(net)(x)).any()


@pytest.mark.parametrize("p", [0.5, 0.3, 0.9, 0.0])
def test_dropout_is_drawn_as_torch_draws_it(p):
    from zoo.train.mersenne import dropout_factors, same_generator

    assert same_generator()
    for count in (1, 311, 312, 313, 1000, 40_000):
        torch.manual_seed(count)
        torch.rand(3)  # an odd number of words is gone
        state = torch.get_rng_state()
        ours, after = torch.from_numpy(dropout_factors(count, p)), torch.rand(2)
        torch.set_rng_state(state)
        assert torch.equal(ours, F.dropout(torch.ones(count), p)) and torch.equal(torch.rand(2), after)


def test_another_generator_is_asked_itself(monkeypatch):
    from zoo.train import mersenne

    monkeypatch.setattr(mersenne, "same_generator", lambda: False)
    torch.manual_seed(1)
    ours = mersenne.dropout_factors(999, 0.4)
    torch.manual_seed(1)
    assert np.array_equal(ours, F.dropout(torch.ones(999), 0.4).numpy())


def test_what_is_not_known_is_left_to_torch(monkeypatch):
    assert fused.fuse(RecognitionTask("off_apexnet").net) is None
    net = STSTNet()
    assert fused.fuse(net) is not None
    net.conv1.weight.requires_grad_(False)
    assert fused.fuse(net) is None
    assert fused.fuse(STSTNet().double()) is None
    monkeypatch.setattr(fused, "kernels", lambda: None)  # the extra is not installed
    assert fused.fuse(STSTNet()) is None


def settings(folder, **changes):
    """A batch that is not full at the end of each epoch, and weights of the classes."""
    return {
        "model": {"arch": "ststnet", "class_balance": 0.5, "label_smoothing": 0.1, **changes},
        "data": {"root": str(folder), "complete": False, "batch_size": 16, "mirror": 0.5, "shift": 1, "drop_last": False},
        "trainer": {"max_epochs": 20, "accelerator": "cpu"},
    }  # fmt: skip


def difference(a, b):
    return float((torch.tensor(a["logits"]) - torch.tensor(b["logits"])).abs().max())


@pytest.mark.parametrize(("padding", "optimiser"), [(1, "sgd"), (2, "adam")])
def test_after_20_epochs_the_logits_are_those_of_the_sequential_trainer(padding, optimiser, megc_folder):
    """Of the trainer in float64: in float32 it is itself some 1e-4 from that, and we from it by as much.

    Its batch normalisation adds up in float32, and where a bias has no gradient, Adam makes whole steps of the rounding error.
    """
    config = settings(megc_folder, arch_args={"padding": padding}, lr=1e-3, optimiser=optimiser)
    double = {**config, "trainer": {**config["trainer"], "precision": "64-true"}}
    prepared = Prepared.of(read_megc2019(megc_folder, complete=False), RecognitionTask(**config["model"]).input_spec)
    outcomes = fit_stacked(config, prepared, [(fold, fit_seed(3, fold)) for fold in FOLDS], compiled=True)
    for fold, outcome in zip(FOLDS, outcomes, strict=True):
        exact, single = (Job(config=c, seed=3, folds=(fold,), out="", split="").fit(fold) for c in (double, config))
        ours = {"logits": outcome.logits}
        assert outcome.truth == exact["truth"] and outcome.losses == pytest.approx(exact["loss"], abs=1e-5)
        assert difference(ours, exact) < 1e-4
        assert difference(ours, single) < difference(single, exact) + 1e-4 < 1e-3


def test_the_command_compiles_what_it_knows_and_says_what_it_does_not(megc_folder, tmp_path, capsys, monkeypatch):
    arguments = ["--data.root", str(megc_folder), "--data.complete", "false", "--data.batch_size", "16", "--trainer.max_epochs", "1",
                 "--seeds", "1", "--workers", "0", "--quiet", "--folds", "samm/006"]  # fmt: skip
    fused_nets = []
    monkeypatch.setattr("zoo.train.stacked.fuse", lambda net: fused_nets.append(net) or fused.fuse(net))
    assert main(["loso", "--config", "ststnet_megc2019", *arguments, "--compiled", "--out", str(tmp_path / "a")]) == 0
    assert len(fused_nets) == 1 and "not with this network" not in capsys.readouterr().err
    assert main(["loso", "--config", "ststnet_megc2019", *arguments, "--parallel", "--out", str(tmp_path / "b")]) == 0
    assert len(fused_nets) == 1, "torch alone unless asked"
    assert (
        main(["loso", "--config", "off_apexnet_megc2019", *arguments, "--compiled", "--out", str(tmp_path / "c")]) == 0
    )
    assert "not with this network" in capsys.readouterr().err
    monkeypatch.setattr(fused, "kernels", lambda: None)
    assert main(["loso", "--config", "ststnet_megc2019", *arguments, "--compiled", "--out", str(tmp_path / "d")]) == 2
    assert "au-graph-zoo[fast]" in capsys.readouterr().err
