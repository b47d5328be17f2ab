"""Macro- and micro-expressions learnt side by side, on fakes in the published layout."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import pytorch_lightning as pl
import torch

import zoo
from tests.conftest import fake_clips, write_published_layout
from tests.fakes.two_domains import SMALL, fitted, macro_rows, student
from zoo import create_model
from zoo.cli import main
from zoo.errors import DataError, ProtocolError, ZooError
from zoo.train import two_domains
from zoo.train.domain_losses import coral, mmd
from zoo.train.jobs import Job, config_digest, placeless
from zoo.train.recipe import parse, plain_config
from zoo.train.stacked import why_not
from zoo.train.transfer_methods import Adversary, Pair
from zoo.train.transfer_recipe import TransferRecipe
from zoo.train.transfer_task import TransferTask
from zoo.train.two_domains import TwoDomainDataModule
from zoo.types import InputSpec


@pytest.mark.parametrize(
    ("method", "adds"),
    [
        ("joint", set()), ("dann", {"domain"}), ("coral", {"coral"}), ("mmd", {"mmd"}), ("emr", {"top", "bottom", "domain"}),
        ("micronet", {"identity", "leak", "triplet", "domain", "inequality"}), ("saat", {"attention"}), ("distill", {"features", "units"}),
    ],
)  # fmt: skip
def test_every_method_trains_and_leaves_its_teacher_alone(method, adds, megc_folder, macro_folder, teachers):
    net = student(method)
    task = TransferTask(net=net, lr=1e-3, transfer={"method": method, "teacher": teachers.get(method, "")})
    before, seen = {k: v.clone() for k, v in net.state_dict().items()}, []
    step = TransferTask.training_step

    def watched(self, batch, index):
        if not seen:
            self.method.register_forward_hook(
                lambda module, inputs, parts: seen.append({k: float(v.detach()) for k, v in parts.items()})
            )
        return step(self, batch, index)

    task.training_step = watched.__get__(task)
    _, trainer = fitted(task, megc_folder, macro_folder)
    assert set(seen[0]) == adds and all(np.isfinite(v) for parts in seen for v in parts.values())
    learning = {id(p) for group in trainer.optimizers[0].param_groups for p in group["params"]}
    teacher = getattr(task.method, "teacher", None)
    if teacher is not None:
        given = zoo.load(teachers[method]).state_dict()
        assert all(torch.equal(v, given[k]) for k, v in teacher.net.state_dict().items()), "weights and statistics stay"
        assert not learning & {id(p) for p in teacher.parameters()}
        assert not any(m.training for m in teacher.modules())
    own = [p for p in task.method.parameters() if p.requires_grad]
    assert learning == {id(p) for p in [*net.parameters(), *own]}, "what the method adds is trained too"
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in own)
    assert any(not torch.equal(v, before[k]) for k, v in net.state_dict().items())
    assert set(net.state_dict()) == set(before), "nothing of the training is stored with the network"


def test_the_adversary_pulls_features_and_discriminator_apart():
    torch.manual_seed(0)
    told, features = Adversary(TransferRecipe(method="dann"), 4).eval(), torch.randn(6, 4)
    gradients = []
    for progress in (0.0, 0.2, 1.0):
        x = features.clone().requires_grad_()
        told.zero_grad()
        told.told(Pair(x=x, y=x, people=x, micro=2, progress=progress, features=x, losses=x)).backward()
        gradients.append((x.grad.clone(), told.discriminator[0].weight.grad.clone()))
    x = features.clone().requires_grad_()
    logits = told.discriminator(x)
    ((logits[2:].exp() + 1).log().mean() / 2 + ((-logits[:2]).exp() + 1).log().mean() / 2).backward()
    for (reached, own), strength in zip(
        gradients, (0.0, 2 / (1 + np.exp(-2)) - 1, 2 / (1 + np.exp(-10)) - 1), strict=True
    ):
        torch.testing.assert_close(reached, -float(strength) * x.grad)
        torch.testing.assert_close(own, gradients[0][1])


def test_moments_bring_the_domains_together(megc_folder, tmp_path):
    paler = [(d, s, c, label, (255 - m) // 2 + 64) for d, s, c, label, m in macro_rows()]
    macro, apart = write_published_layout(tmp_path, paler), {}
    for method in ("joint", "mmd", "coral"):
        torch.manual_seed(0)
        net = create_model("ststnet", dropout=0.0)
        task = TransferTask(net=net, lr=2e-2, transfer={"method": method, "weight": 20.0 if method == "coral" else 1.0})
        data, _ = fitted(task, megc_folder, macro, epochs=25)
        net.eval()
        with torch.no_grad():
            sides = [net.forward_features(d.prepared.take(d.train_rows)) for d in (data, data.macro)]
        apart[method] = float(mmd(*sides)), float(coral(*sides))
    assert apart["mmd"][0] < apart["joint"][0] * 0.6
    assert apart["coral"][1] < apart["joint"][1] * 0.2


def test_pairs_of_batches(megc_folder, macro_folder):
    data = TwoDomainDataModule(
        str(megc_folder),
        complete=False,
        fold="samm/006",
        batch_size=6,
        input_spec=InputSpec(),
        macro={"root": str(macro_folder), "batch_size": 20},
    )
    data.setup()
    pairs = list(data.train_dataloader())
    assert [(len(a[1]), len(b[1])) for a, b in pairs] == [(6, 20)] * 6
    assert sorted(torch.cat([a[2] for a, _ in pairs]).tolist()) == sorted(data.fold.train), "every micro clip once"
    assert len(set(torch.cat([b[2] for _, b in pairs[:2]]).tolist())) == 40, "macro clips go round as a whole"
    assert not torch.equal(pairs[0][1][2], pairs[2][1][2]), "and in another order"
    micro, macro, count = data.people
    assert count == 13 and not set(micro.tolist()) & set(macro.tolist())
    assert set(micro[list(data.fold.test)].tolist()) == {-1}, "who is tested has no number"
    assert [len(batch[1]) for batch in data.test_dataloader()] == [6], "tested on micro clips alone"


def test_classes_in_another_order_are_told_by_name(megc_folder, macro_folder, monkeypatch):
    data = TwoDomainDataModule(
        str(megc_folder), complete=False, input_spec=InputSpec(), macro={"root": str(macro_folder)}
    )
    data.setup()
    before, given = data.macro.prepared, two_domains._macro_inputs
    turned = replace(before.data, classes=("surprise", "negative", "positive"), labels=(before.data.labels + 1) % 3)
    monkeypatch.setattr(
        two_domains, "_macro_inputs", lambda *a: replace(given(*a), data=turned, labels=torch.from_numpy(turned.labels))
    )
    again = TwoDomainDataModule(
        str(megc_folder), complete=False, input_spec=InputSpec(), macro={"root": str(macro_folder)}
    )
    again.setup()
    assert again.macro.prepared.labels.tolist() == before.labels.tolist()
    assert again.macro.prepared.data.classes == data.prepared.data.classes
    wrong = replace(before.data, classes=("anger", "positive", "surprise"))
    monkeypatch.setattr(two_domains, "_macro_inputs", lambda *a: replace(given(*a), data=wrong))
    with pytest.raises(ProtocolError, match=r"micro has negative.*macro has anger"):
        TwoDomainDataModule(
            str(megc_folder), complete=False, input_spec=InputSpec(), macro={"root": str(macro_folder)}
        ).setup()


@pytest.mark.parametrize(
    ("rows", "error", "word"),
    [
        ([r for r in macro_rows() if r[3] != 2], ProtocolError, "macro domain shows no surprise"),
        ([], DataError, "no "),
        (fake_clips(), ProtocolError, "samm/006 would be tested and trained on"),
    ],
    ids=["class missing", "empty", "same people"],
)  # fmt: skip
def test_domains_that_do_not_go_together(rows, error, word, megc_folder, tmp_path):
    (tmp_path / "norm_u_v_os").mkdir()
    folder = write_published_layout(tmp_path, rows)
    data = TwoDomainDataModule(
        str(megc_folder), complete=False, fold="samm/006", input_spec=InputSpec(), macro={"root": str(folder)}
    )
    with pytest.raises(error, match=word):
        data.setup()


@pytest.mark.parametrize(
    ("transfer", "macro", "word"),
    [
        ({"method": "dan"}, {}, "dann"), ({"methode": "dann"}, {}, "method"), ({"method": "saat"}, {}, "teacher"), ({"weight": -1}, {}, "below 0"),
        ({"method": "emr"}, {}, "EMR"), ({"inequality": "none"}, {}, "micro_above"), ({}, {"rot": ""}, "root"), ({}, None, "data.macro"),
    ],
)  # fmt: skip
def test_what_a_recipe_can_get_wrong(transfer, macro, word, megc_folder, macro_folder):
    with pytest.raises(ZooError, match=word):
        task = TransferTask("ststnet", transfer=transfer)
        found = None if macro is None else {"root": str(macro_folder), **macro}
        data = TwoDomainDataModule(str(megc_folder), complete=False, fold="samm/006", macro=found)
        pl.Trainer(max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False).fit(task, datamodule=data)


def test_a_teacher_of_another_input_is_refused_before_any_clip_is_read(teachers):
    with pytest.raises(ZooError, match=r'size 32, not 64.*--model.input "\{size: 32\}"'):
        TransferTask("saat", arch_args={"backbone": "test_resnet", "input_spec": SMALL.replace(size=64)},
                     transfer={"method": "saat", "teacher": teachers["saat"]})  # fmt: skip


def flags(micro, macro):
    return ["--data.root", str(micro), "--data.complete", "false", "--data.batch_size", "12", "--trainer.max_epochs", "1",
            "--model.transfer", "{method: dann, weight: 0.1}", "--data.macro", f"{{root: {macro}, batch_size: 9}}"]  # fmt: skip


def test_through_the_command(megc_folder, macro_folder, tmp_path, capsys):
    command = [
        "train",
        "--config",
        "ststnet_megc2019",
        "--out",
        str(tmp_path / "run"),
        "--data.fold",
        "samm/006",
        "--quiet",
    ]
    assert main([*command, *flags(megc_folder, macro_folder)]) == 0, capsys.readouterr().err
    run = json.loads((tmp_path / "run" / "run.json").read_text())
    assert run["macro_clips"] == 42 and len(run["digests"]["macro"]) == 64 and "uf1" in str(run["test"])
    assert len(run["seen"]) == run["train_clips"] + 42, "what it has seen of either domain is told"
    made = tmp_path / "run" / "checkpoint"
    assert zoo.load(f"local-dir:{made}").classes == ("negative", "positive", "surprise")
    assert str(macro_folder) not in (made / "config.json").read_text(), "a place on this disk is not published"
    again = plain_config(parse([str(tmp_path / "run" / "recipe.yaml")], []))
    assert config_digest(again) == run["digests"]["config"]
    capsys.readouterr()
    assert main([*command, *flags(megc_folder, megc_folder)]) == 2
    told = capsys.readouterr().err
    assert "samm/006" in told and "Traceback" not in told


def test_a_fold_of_leave_one_subject_out(megc_folder, macro_folder):
    config = plain_config(parse(["ststnet_megc2019"], flags(megc_folder, macro_folder)))
    result = Job(config=config, seed=0, folds=("samm/006",), out="", split="").fit("samm/006")
    assert len(result["keys"]) == 6 and all(key.startswith("samm/006/") for key in result["keys"])
    assert why_not(config) == "it learns from two domains"
    elsewhere = {**config, "data": {**config["data"], "macro": {**config["data"]["macro"], "root": "/elsewhere"}}}
    assert config_digest(elsewhere) == config_digest(config), "where the macro clips lie decides nothing"
    other = {**config, "data": {**config["data"], "macro": {**config["data"]["macro"], "batch_size": 8}}}
    assert config_digest(other) != config_digest(config)
    assert placeless(config["data"])["macro"] == {"batch_size": 9}
