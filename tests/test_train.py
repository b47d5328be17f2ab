"""The task, its scores and fine-tuning, on fakes in the real layout and through the real command."""

from __future__ import annotations

import json

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from sklearn.metrics import f1_score, recall_score

import zoo
import zoo.weights
from tests.test_folds import config
from tests.tiny import TINY
from zoo.cli import main
from zoo.data.megc2019 import read_megc2019
from zoo.data.module import FlowMapsDataModule
from zoo.errors import ProtocolError, ZooError
from zoo.train.baselines import run_baseline
from zoo.train.folds import config_digest, fit_seed, result_path, run_loso
from zoo.train.task import RecognitionTask

# recipes on synthetic people read a manifest, see test_synthesis_recipes


def trainer(**changes):
    options = {
        "max_epochs": 1,
        "accelerator": "cpu",
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
    }
    return pl.Trainer(**{**options, "enable_model_summary": False, **changes})


def test_model_and_data_that_disagree(megc_folder):
    task = RecognitionTask("ststnet", arch_args={"num_classes": 5})
    with pytest.raises(ZooError, match="3 classes, the model 5 outputs"):
        trainer().fit(task, datamodule=FlowMapsDataModule(str(megc_folder), complete=False))


def test_loso_is_scored_from_pooled_predictions(megc_folder, tmp_path):
    summary = run_loso(
        config(megc_folder, "ststnet_megc2019", "--trainer.max_epochs", "6"), out=tmp_path, seeds=[0, 1], workers=0
    )
    data = read_megc2019(megc_folder, complete=False)
    per_seed = []
    for seed in ("0", "1"):
        predicted = summary["predicted"][seed]
        per_seed.append(
            (f1_score(data.labels, predicted, average="macro"), recall_score(data.labels, predicted, average="macro"))
        )
    for metric, values in zip(("uf1", "uar"), zip(*per_seed, strict=True), strict=True):
        assert summary["metrics"]["full"][metric]["mean"] == pytest.approx(np.mean(values))
        assert summary["metrics"]["full"][metric]["std"] == pytest.approx(np.std(values, ddof=1))
    assert summary["metrics"]["full"]["uf1"]["mean"] > 0.8, "the fakes are made to be learnt"
    assert np.sum(summary["confusion"]) == 84
    assert json.loads((tmp_path / "loso.json").read_text()) == json.loads(json.dumps(summary))


def test_workers_change_nothing(megc_folder, tmp_path, one_thread):
    folds = ["samm/011", "smic/s01"]
    for workers in (0, 1):
        run_loso(config(megc_folder), out=tmp_path / str(workers), seeds=[3], folds=folds, workers=workers)
    for fold in folds:
        a, b = (json.loads(result_path(tmp_path / w, 3, fold).read_text()) for w in ("0", "1"))
        assert a["logits"] == b["logits"], "bit for bit, with one thread on either side"


def test_a_run_folder_holds_one_config(megc_folder, tmp_path):
    run_loso(config(megc_folder), out=tmp_path, seeds=[0], folds=["smic/s01"], workers=0)
    with pytest.raises(ProtocolError, match="another config"):
        run_loso(
            config(megc_folder, "ststnet_megc2019", "--model.lr", "1"),
            out=tmp_path,
            seeds=[0],
            folds=["smic/s01"],
            workers=0,
        )
    with pytest.raises(ProtocolError, match="smic/s01"):
        run_loso(config(megc_folder), out=tmp_path, seeds=[0], folds=["smic/s1"], workers=0)


def test_a_tampered_result_is_not_scored(megc_folder, tmp_path):
    plain = config(megc_folder)
    run_loso(plain, out=tmp_path, seeds=[0], workers=0)
    path = result_path(tmp_path, 0, "smic/s01")
    result = json.loads(path.read_text())
    path.write_text(json.dumps({**result, "keys": [result["keys"][0]] * len(result["keys"])}))
    with pytest.raises(ProtocolError, match="scored twice"):
        run_loso(plain, out=tmp_path, seeds=[0], workers=0)
    path.write_text(
        json.dumps(
            {**result, "keys": result["keys"][:-1], "truth": result["truth"][:-1], "logits": result["logits"][:-1]}
        )
    )
    with pytest.raises(ProtocolError, match="no prediction"):
        run_loso(plain, out=tmp_path, seeds=[0], workers=0)


def test_digest_sees_the_recipe_and_not_the_place(megc_folder):
    plain = config(megc_folder)
    assert config_digest(plain) == config_digest(
        {**plain, "data": {**plain["data"], "root": "/elsewhere", "fold": "x"}}
    )
    assert config_digest(plain) != config_digest({**plain, "model": {**plain["model"], "lr": 1}})
    assert fit_seed(0, "smic/s01") != fit_seed(1, "smic/s01") != fit_seed(0, "smic/s03")


def test_fine_tuning_starts_from_pretrained_weights(megc_folder, tmp_path):
    source = zoo.save(zoo.create_model("ststnet"), tmp_path / "base", classes=("a", "b", "c"), card="")
    task = RecognitionTask.from_pretrained(f"local-dir:{source}", num_classes=5, lr=1e-2)
    assert task.net.num_classes == 5
    assert torch.equal(task.net.conv3.weight, zoo.load(f"local-dir:{source}").conv3.weight)
    assert task.net.training
    task = RecognitionTask.from_pretrained(f"local-dir:{source}", num_classes=3, lr=1e-2)
    before = {k: v.clone() for k, v in task.net.state_dict().items()}
    trainer().fit(task, datamodule=FlowMapsDataModule(str(megc_folder), batch_size=16, complete=False))
    assert not torch.equal(before["conv1.weight"], task.net.conv1.weight)


def test_task_logs_pooled_scores(megc_folder):
    task, data = (
        RecognitionTask("ststnet", lr=1e-2),
        FlowMapsDataModule(str(megc_folder), fold="smic/s01", complete=False),
    )
    fitted = trainer(max_epochs=2)
    fitted.fit(task, datamodule=data)
    logged = fitted.test(task, datamodule=data, verbose=False)[0]
    rows, truth, logits = fitted.predict(task, datamodule=data)[0]
    assert logged["test/uf1"] == pytest.approx(f1_score(truth, logits.argmax(1), average="macro"), abs=1e-6)
    assert len(rows) == 6


@pytest.mark.parametrize("schedule", ["constant", "cosine", "onecycle"])
@pytest.mark.parametrize("optimiser", ["adamw", "adam", "sgd"])
def test_schedules_end_low(schedule, optimiser, megc_folder):
    task = RecognitionTask("ststnet", lr=0.1, schedule=schedule, optimiser=optimiser)
    fitted = trainer(max_epochs=3)
    fitted.fit(task, datamodule=FlowMapsDataModule(str(megc_folder), batch_size=16, complete=False))
    last = fitted.optimizers[0].param_groups[0]["lr"]
    assert last == 0.1 if schedule == "constant" else last < 0.02


@pytest.mark.parametrize("bad", [{}, {"arch": "ststnet", "weights": "x"}, {"arch": "ststnet", "schedule": "cosin"}])
def test_task_arguments_that_make_no_task(bad):
    with pytest.raises(ZooError):
        RecognitionTask(**bad)


def test_evaluate_scores_and_refuses_other_classes(megc_folder):
    model = zoo.create_model("ststnet").eval()
    result = zoo.evaluate(model, read_megc2019(megc_folder, complete=False))
    assert len(result["predictions"]) == 42
    assert result["metrics"]["full"]["accuracy"] == pytest.approx(np.trace(result["confusion"]) / 42)
    assert all(abs(sum(p.probabilities) - 1) < 1e-5 for p in result["predictions"])
    model.classes = ("happy", "sad", "angry")
    with pytest.raises(ZooError, match="happy"):
        zoo.evaluate(model, read_megc2019(megc_folder, complete=False))


def test_baselines_through_the_command(megc_folder, megc_real, tmp_path, capsys):
    assert main(["loso", "--baseline", "majority", "--data.root", str(megc_real), "--out", str(tmp_path / "m")]) == 0
    assert "0.2408" in capsys.readouterr().out
    assert (tmp_path / "m" / "confusion.png").stat().st_size > 5000


def test_support_vector_machine_reaches_its_known_score(megc_real):
    full = run_baseline("svm", read_megc2019(megc_real))["metrics"]["full"]
    assert (round(full["uf1"]["mean"], 4), round(full["uar"]["mean"], 4)) == (0.7473, 0.7507)


def test_weights_are_not_scored_on_what_they_have_seen(megc_folder, tmp_path, capsys):
    assert (
        main(
            [
                "train",
                "--config",
                "ststnet_megc2019",
                "--out",
                str(tmp_path / "a"),
                "--data.root",
                str(megc_folder),
                *TINY,
            ]
        )
        == 0
    )
    name = f"local-dir:{tmp_path / 'a' / 'checkpoint'}"
    assert zoo.evaluate(name, read_megc2019(megc_folder, complete=False))["seen"] == 42
    capsys.readouterr()
    again = [
        "train",
        "--config",
        "ststnet_finetune",
        "--model.weights",
        name,
        "--data.fold",
        "samm/006",
        "--data.root",
        str(megc_folder),
    ]
    assert main([*again, *TINY, "--out", str(tmp_path / "c")]) == 0
    out = capsys.readouterr().out
    assert "not scored" in out
    assert "uf1" not in out
    tuned = zoo.weights.seen_clips(f"local-dir:{tmp_path / 'c' / 'checkpoint'}")
    assert tuned == zoo.weights.seen_clips(name), "a fine-tune has seen what its start had seen"
    plain = config(megc_folder)
    leaking = {**plain, "model": {**plain["model"], "arch": "", "input": None, "weights": name}}
    with pytest.raises(ProtocolError, match="trained on 42 of these 42 clips"):
        run_loso(leaking, out=tmp_path / "b", seeds=[0], workers=0)
    assert not (tmp_path / "b").exists()


def test_no_data_is_said_first(tmp_path, capsys):
    assert main(["loso", "--config", "ststnet_megc2019", "--out", str(tmp_path)]) == 2
    assert "--data.root" in capsys.readouterr().err


def test_the_data_module_prepares_what_the_model_eats(megc_folder):
    task = RecognitionTask("ststnet", input={"scaling": "median"})
    data = FlowMapsDataModule(str(megc_folder), batch_size=16, complete=False)
    trainer().fit(task, datamodule=data)
    assert data.prepared.spec.scaling == "median"
    other = RecognitionTask("ststnet", input={"scaling": "raw255"})
    with pytest.raises(ZooError, match="raw255"):
        trainer().fit(other, datamodule=data)
