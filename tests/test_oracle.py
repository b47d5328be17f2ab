"""Choosing the epoch on the held-out person: measured as the leak that it is, and never mixed up with a clean run."""

from __future__ import annotations

import json

import pytest

from zoo.cli import main


def loso(megc_folder, out, *more):
    return main(
        ["loso", "--config", "ststnet_megc2019", "--data.root", str(megc_folder), "--data.complete", "false", "--seeds", "1", "--workers", "0",
         "--quiet", "--trainer.max_epochs", "4", "--data.batch_size", "8", "--out", str(out), *more]
    )  # fmt: skip


@pytest.fixture(scope="module")
def runs(megc_folder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    assert loso(megc_folder, folder / "clean") == 0
    assert loso(megc_folder, folder / "leak", "--select", "oracle") == 0
    return folder


def results(folder):
    return {p.stem: json.loads(p.read_text()) for p in sorted(folder.glob("seed0/*.json"))}


def test_watching_does_not_change_the_training(runs):
    clean, leak = results(runs / "clean"), results(runs / "leak")
    assert clean.keys() == leak.keys() and len(clean) == 7
    for fold, result in clean.items():
        assert leak[fold]["last"] == result["logits"] and leak[fold]["loss"] == result["loss"], fold


def test_the_oracle_is_never_worse_and_is_labelled(runs):
    def right(logits, truth):
        return sum(max(range(len(row)), key=row.__getitem__) == y for row, y in zip(logits, truth, strict=True))

    for fold, result in results(runs / "leak").items():
        assert right(result["logits"], result["truth"]) >= right(result["last"], result["truth"]), fold
        assert 1 <= result["epoch"] <= 4
    summary = json.loads((runs / "leak" / "loso.json").read_text())
    assert summary["select"] == "oracle" and "A LEAK" in summary["protocol"]
    assert json.loads((runs / "clean" / "loso.json").read_text())["select"] == "last"


@pytest.mark.parametrize(("folder", "more"), [("leak", []), ("clean", ["--select", "oracle"])])
def test_clean_and_leaking_results_do_not_mix(runs, megc_folder, folder, more, capsys):
    assert loso(megc_folder, runs / folder, *more) == 2
    assert "comes from another select" in capsys.readouterr().err


def test_the_oracle_goes_fold_by_fold(megc_folder, tmp_path, capsys):
    assert loso(megc_folder, tmp_path / "x", "--select", "oracle", "--parallel") == 2
    assert "leave --parallel out" in capsys.readouterr().err
