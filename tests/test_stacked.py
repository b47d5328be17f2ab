"""Folds fitted at once are the folds fitted one by one."""

from __future__ import annotations

import json

import pytest
import torch

from zoo.cli import main
from zoo.data.megc2019 import read_megc2019
from zoo.data.module import Prepared
from zoo.train.folds import run_loso
from zoo.train.jobs import Job, fit_seed
from zoo.train.stacked import fit_stacked, stack_size, why_not
from zoo.train.task import RecognitionTask

FOLDS = ("casme2/sub01", "samm/006")


@pytest.fixture(autouse=True)
def one_thread():
    """Small steps lose more to two threads than they gain."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def config(folder, arch="au_flow_graph", epochs=20, **changes):
    return {
        "model": {"arch": arch, "lr": 1e-3, "weight_decay": 1e-2, "class_balance": 0.5, "label_smoothing": 0.1, **changes},
        "data": {"root": str(folder), "complete": False, "batch_size": 16, "mirror": 0.5, "shift": 1},
        "trainer": {"max_epochs": epochs, "accelerator": "cpu"},
    }  # fmt: skip


def prepare(settings, folder):
    return Prepared.of(read_megc2019(folder, complete=False), RecognitionTask(**settings["model"]).input_spec)


def difference(result, outcome):
    assert outcome.truth == result["truth"]
    assert outcome.losses == pytest.approx(result["loss"], abs=1e-3)
    return float((torch.tensor(outcome.logits) - torch.tensor(result["logits"])).abs().max())


@pytest.mark.parametrize("arch", ["ststnet", "off_apexnet", "au_flow_graph"])
def test_after_20_epochs_the_logits_are_those_of_the_sequential_trainer(arch, megc_folder):
    settings = config(megc_folder, arch)
    alone = [Job(config=settings, seed=3, folds=(fold,), out="", split="").fit(fold) for fold in FOLDS]
    fits = [(fold, fit_seed(3, fold)) for fold in FOLDS]
    together = fit_stacked(settings, prepare(settings, megc_folder), fits)
    for result, outcome in zip(alone, together, strict=True):
        assert difference(result, outcome) < 1e-4, outcome.fold


@pytest.mark.parametrize(("arch", "optimiser"), [("ststnet", "sgd"), ("au_flow_graph", "adam")])
def test_convolutions_too_can_be_stacked(arch, optimiser, megc_folder):
    # plain gradient descent: the first steps of Adam turn a rounding error in a gradient near 0 into a whole step
    settings = config(megc_folder, arch, epochs=10, optimiser=optimiser, schedule="cosine")
    prepared, fits = prepare(settings, megc_folder), [(fold, fit_seed(0, fold)) for fold in FOLDS]
    one, many = (fit_stacked(settings, prepared, fits, loop=loop) for loop in (True, False))
    for a, b in zip(one, many, strict=True):
        assert float((torch.tensor(a.logits) - torch.tensor(b.logits)).abs().max()) < 1e-4


def test_folds_of_different_length_do_not_wait_for_each_other(megc_folder):
    settings = config(megc_folder, epochs=2)
    settings["data"]["batch_size"] = 36  # the training sides hold 36 of 42 clips
    data = read_megc2019(megc_folder, complete=False)
    prepared = prepare(settings, megc_folder)
    fits = [("1/3", 5), ("casme2/sub01", 6), ("3/3", 7)]  # other numbers of clips, other batches
    together = fit_stacked(settings, prepared, fits)
    assert [o.fold for o in together] == ["1/3", "casme2/sub01", "3/3"]
    assert len({len(o.rows) for o in together}) > 1 and all(len(o.logits) == len(o.rows) for o in together)
    alone = fit_stacked(settings, prepared, fits[2:])[0]
    assert torch.allclose(torch.tensor(alone.logits), torch.tensor(together[2].logits), atol=1e-5)
    assert len(data) == 42


def test_the_command_writes_the_same_files_and_resumes_among_them(megc_folder, tmp_path, capsys):
    arguments = ["loso", "--config", "au_flow_graph_megc2019", "--data.root", str(megc_folder), "--data.complete", "false",
                 "--data.batch_size", "16", "--trainer.max_epochs", "2", "--seeds", "1", "--workers", "0", "--quiet"]  # fmt: skip
    assert main([*arguments, "--folds", "samm/006,smic/s01", "--out", str(tmp_path / "a")]) == 0  # two folds one by one
    assert main([*arguments, "--parallel", "--out", str(tmp_path / "a")]) == 0  # the rest at once
    assert main([*arguments, "--parallel", "--out", str(tmp_path / "b")]) == 0
    mixed, whole = (json.loads((tmp_path / name / "loso.json").read_text()) for name in "ab")
    assert mixed["digests"] == whole["digests"] and mixed["keys"] == whole["keys"]
    first, second = (sorted((tmp_path / name / "seed0").glob("*.json")) for name in "ab")
    assert [p.name for p in first] == [p.name for p in second] and len(first) == 7
    for a, b in zip(first, second, strict=True):
        a, b = json.loads(a.read_text()), json.loads(b.read_text())
        assert a.keys() == b.keys() and a["keys"] == b["keys"]
        assert torch.allclose(torch.tensor(a["logits"]), torch.tensor(b["logits"]), atol=1e-4)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"trainer": {"gradient_clip_val": 0.5}}, "gradient_clip_val"),
        ({"trainer": {"precision": "bf16-mixed"}}, "precision"),
        ({"trainer": {"max_epochs": -1}}, "max_epochs"),
        ({"model": {"losses": {"emotion": "focal"}}}, "losses"),
    ],
)
def test_what_a_stack_cannot_do_is_said_and_done_one_by_one(changes, reason, megc_folder):
    settings = config(megc_folder)
    for part, fields in changes.items():
        settings[part] |= fields
    if "model" in changes:
        settings["model"] |= {"class_balance": 0.0, "label_smoothing": 0.0}
    assert reason in why_not(settings)
    assert not why_not(config(megc_folder))


def test_a_killed_run_keeps_what_is_finished(megc_folder, tmp_path, monkeypatch):
    settings = config(megc_folder, epochs=1)
    calls = []

    def dies(self, folds):
        calls.append(folds)
        raise KeyboardInterrupt

    run_loso(settings, out=tmp_path, seeds=[0], folds=["samm/006"], workers=0, parallel=True)
    before = (tmp_path / "seed0" / "samm__006.json").read_bytes()
    monkeypatch.setattr(Job, "fit_parallel", dies)
    with pytest.raises(KeyboardInterrupt):
        run_loso(settings, out=tmp_path, seeds=[0], workers=0, parallel=True)
    assert "samm/006" not in calls[0] and (tmp_path / "seed0" / "samm__006.json").read_bytes() == before


def test_stacks_are_as_large_as_pays(megc_folder):
    small, large = config(megc_folder), config(megc_folder, "off_apexnet")
    assert stack_size(small) > stack_size(large) >= 1
