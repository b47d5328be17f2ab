"""Recipes of two domains from their first stage to the last, through the real command, on small fakes."""

from __future__ import annotations

import json
import re

import pytest
import pytorch_lightning as pl
import torch

import zoo
from tests.fakes import moving
from tests.tiny import TINY
from zoo.cli import main
from zoo.data.manifest import Manifest
from zoo.data.module import Prepared
from zoo.data.source import Source
from zoo.train.jobs import data_of, kinds
from zoo.train.recipe import parse, plain_config, recipes_dir

SMALL = ["--model.arch_args.backbone", "test_resnet", "--model.input", "{size: 32, map_size: 32}"]
THREE = ("negative", "positive", "surprise")


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """Micro clips of CASME II and of SAMM, macro clips as CK+ has them, and the first two in one manifest."""
    root = tmp_path_factory.mktemp("places")
    moving.write(root / "casme2", people=3)
    moving.write(root / "samm", people=2, dataset="samm")
    moving.write(root / "ckplus", people=2, dataset="ckplus", kind="sequence", strength=2.0)
    tables = [Manifest.load(root / name / f"{name}.parquet") for name in ("casme2", "samm")]
    Manifest.concat(tables).write(root / "both.parquet")
    return root


def clips(root, name, option="--data."):
    where = root / name
    return [f"{option}manifest", str(where / f"{name}.parquet"), f"{option}frames", str(where), f"{option}faces", "cropped",
            f"{option}cache", str(root / "cache")]  # fmt: skip


def micro(root):
    return [*clips(root, "casme2"), *clips(root, "ckplus", "--data.macro."), "--data.fold", "casme2/sub02", *TINY]


def trained(recipe, out, flags, capsys):
    """The record of a run of `zoo train`, and the network."""
    code = main(["train", "--config", recipe, "--out", str(out), "--quiet", "--trainer.accelerator", "cpu", *flags])
    told = capsys.readouterr()
    assert code == 0, told.err
    return json.loads((out / "run.json").read_text()), zoo.load(f"local-dir:{out / 'checkpoint'}")


def refused(recipe, out, flags, capsys):
    """What the command says as it refuses."""
    code = main(["train", "--config", recipe, "--out", str(out), "--quiet", "--trainer.accelerator", "cpu", *flags])
    told = capsys.readouterr().err
    assert code == 2 and "Traceback" not in told and not (out / "checkpoint").exists()
    return " ".join(told.split())


def test_every_recipe_of_two_domains_is_tested_here():
    tested = {"micronet", "emr", "saat", "kd_student", "cross_database"}
    assert {p.stem.removesuffix("_two_domains") for p in recipes_dir().glob("*_two_domains.yaml")} == tested


def test_macronet_then_micronet(places, tmp_path, capsys):
    first, macronet = trained(
        "macronet_manifest", tmp_path / "macro", [*clips(places, "ckplus"), *TINY, *SMALL], capsys
    )
    assert first["train_clips"] == 6 and macronet.classes == THREE
    held = f"local-dir:{tmp_path / 'macro' / 'checkpoint'}"
    flags = [*micro(places), "--model.weights", held, "--model.transfer.teacher", held]
    run, net = trained("micronet_two_domains", tmp_path / "micro", flags, capsys)
    assert run["config"]["model"]["transfer"]["inequality"] == "micro_above"
    assert run["macro_clips"] == 6 and {"macro", "teacher"} <= set(run["digests"]) and "test/uf1" in run["test"]
    assert set(first["seen"]) <= set(run["seen"]) and len(run["seen"]) == 6 + 6
    before = macronet.state_dict()
    assert set(net.state_dict()) == set(before), "the branches of the training are not stored"
    assert any(not torch.equal(v, before[k]) for k, v in net.state_dict().items() if k.startswith("trunk."))
    other, _ = trained(
        "micronet_two_domains", tmp_path / "other", [*flags, "--model.transfer.inequality", "macro_above"], capsys
    )
    assert other["digests"]["config"] != run["digests"]["config"]
    assert "give one of arch" in refused("micronet_two_domains", tmp_path / "no", micro(places), capsys)


def test_emr(places, tmp_path, capsys):
    flags = [*micro(places), "--model.arch_args.backbone", "test_resnet", "--model.input", "{size: 64, map_size: 64}"]
    run, net = trained("emr_two_domains", tmp_path / "run", flags, capsys)
    assert run["macro_clips"] == 6 and net.arch == "emr" and net.classes == THREE
    assert not [k for k in net.state_dict() if "discriminator" in k]


def test_saat_teacher_then_student(places, tmp_path, capsys):
    _, teacher = trained("saat_manifest", tmp_path / "teacher", [*clips(places, "ckplus"), *TINY, *SMALL], capsys)
    held = ["--model.transfer.teacher", f"local-dir:{tmp_path / 'teacher' / 'checkpoint'}"]
    run, net = trained("saat_two_domains", tmp_path / "student", [*micro(places), *SMALL, *held], capsys)
    assert run["digests"]["teacher"] and not torch.equal(net.fc.weight, teacher.fc.weight)
    assert "learns from a teacher" in refused("saat_two_domains", tmp_path / "no", [*micro(places), *SMALL], capsys)


def test_a_teacher_of_action_units_then_its_student(places, tmp_path, capsys):
    first, teacher = trained(
        "kd_teacher_manifest", tmp_path / "teacher", [*clips(places, "ckplus"), *TINY, *SMALL], capsys
    )
    assert first["config"]["model"]["losses"] == {"emotion_weight": 0.0, "au": "bce"} and len(teacher.aus) == 10
    held = ["--model.transfer.teacher", f"local-dir:{tmp_path / 'teacher' / 'checkpoint'}", "--model.input", SMALL[-1]]
    run, net = trained("kd_student_two_domains", tmp_path / "student", [*micro(places), *held], capsys)
    assert run["macro_clips"] == 6 and sum(p.numel() for p in net.parameters()) == 241_571, "of the student alone"


@pytest.mark.parametrize("teacher", ["me_graphau.synthetic", "au_flow_graph.synthetic"])
def test_weights_of_the_zoo_teach_and_what_they_eat_is_told(
    teacher, places, megc_folder, macro_folder, tmp_path, capsys
):
    published = [
        "--data.root",
        str(megc_folder),
        "--data.macro",
        f"{{root: {macro_folder}}}",
        "--data.fold",
        "samm/006",
    ]
    flags = [*published, *TINY] if teacher == "au_flow_graph.synthetic" else micro(places)
    flags = [*flags, "--model.transfer.teacher", teacher]
    told = refused("kd_student_two_domains", tmp_path / "no", flags, capsys)
    assert f"teacher {teacher} eats other inputs than the student: modality flow, not apex" in told
    flag = re.search(r'--model.input "(\{.*?\})"', told)[1]
    run, net = trained("kd_student_two_domains", tmp_path / "run", [*flags, "--model.input", flag], capsys)
    assert net.input_spec == zoo.load(teacher).input_spec and len(run["digests"]["teacher"]) == 64


@pytest.mark.parametrize("method", ["dann", "coral", "mmd"])
def test_from_one_database_to_another(method, places, tmp_path, capsys):
    where = ["--data.manifest", str(places / "both.parquet"), "--data.faces", "cropped", "--data.cache", str(places / "cache"),
             "--data.frames", f"casme2={places / 'casme2'},samm={places / 'samm'}", "--model.transfer.method", method,
             "--model.input", "{flow: farneback}"]  # fmt: skip
    run, _ = trained("cross_database_two_domains", tmp_path / "run", [*where, *TINY, "--data.fold", "samm"], capsys)
    assert run["train_clips"] == 9 and run["adapted_to_test"] == 6 and "macro" not in run["digests"]
    assert "test/uf1" in run["test"] and len(run["seen"]) == 15, "the clips adapted to were looked at"
    card = (tmp_path / "run" / "checkpoint" / "README.md").read_text()
    assert "adapted to the held-out clips" in card
    if method != "dann":
        return
    both = [
        "loso",
        "--config",
        "cross_database_two_domains",
        "--out",
        str(tmp_path / "both"),
        "--seeds",
        "1",
        "--workers",
        "0",
    ]
    assert main([*both, *where, *TINY, "--quiet"]) == 0
    assert "without their classes" in " ".join(capsys.readouterr().out.split())
    summary = json.loads((tmp_path / "both" / "loso.json").read_text())
    assert summary["adapted_to_test"] is True and summary["metrics"]["full"]["clips"] == 15
    result = json.loads((tmp_path / "both" / "seed0" / "samm.json").read_text())
    assert result["adapted_to_test"] == 6 and len(result["keys"]) == 6


def test_the_classes_adapted_to_decide_nothing(places, tmp_path):
    """Other labels of the tested data set, the same network to the last bit."""
    config = plain_config(
        parse(["cross_database_two_domains"], ["--data.manifest", str(places / "both.parquet"), *TINY, "--data.faces", "cropped",
              "--data.frames", f"casme2={places / 'casme2'},samm={places / 'samm'}", "--data.cache", str(places / "cache"),
              "--model.input", "{flow: farneback}"])
    )  # fmt: skip
    weights = []
    for turn in (0, 1):
        torch.manual_seed(0)
        task = kinds(config)[0](**config["model"])
        prepared = Prepared.of(Source.of(config["data"]).load(task.input_spec), task.input_spec)
        held_out = [k.startswith("samm/") for k in prepared.data.keys]
        prepared.labels[held_out] = (prepared.labels[held_out] + turn) % 3
        quiet = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
        pl.Trainer(max_epochs=2, accelerator="cpu", **quiet).fit(task, datamodule=data_of(config, prepared, "samm", 0))
        weights.append(task.net.state_dict())
    assert all(torch.equal(v, weights[1][k]) for k, v in weights[0].items())


def test_zhi_from_macro_clips_resampled_to_micro_clips(places, tmp_path, capsys):
    small = ["--model.input", "{size: 16, frames: 8}"]
    _, macro = trained("zhi3d_manifest", tmp_path / "macro", [*clips(places, "ckplus"), *TINY, *small], capsys)
    assert macro.input_spec.shape == (1, 8, 16, 16), "three frames of an expression are shown as eight"
    held = ["--model.weights", f"local-dir:{tmp_path / 'macro' / 'checkpoint'}", "--data.protocol", "own_3"]
    flags = [
        *clips(places, "casme2"),
        *TINY,
        *held,
        "--data.fold",
        "casme2/sub02",
        "--model.finetune.freeze",
        "[trunk.0]",
    ]
    run, net = trained("base/macro_to_micro", tmp_path / "micro", flags, capsys)
    assert net.arch == "zhi3d" and net.input_spec == macro.input_spec and len(run["seen"]) == 12
    before, after = macro.state_dict(), net.state_dict()
    assert torch.equal(before["trunk.0.weight"], after["trunk.0.weight"])
    assert not torch.equal(before["trunk.3.weight"], after["trunk.3.weight"])
    assert "zhi3d eats clips" in refused(
        "zhi3d_manifest", tmp_path / "no", [*clips(places, "ckplus"), *TINY, "--model.input", "{frames: 4}"], capsys
    )
