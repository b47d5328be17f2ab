"""Recipes: each through the real command on tiny fakes; bases and overlays; and whatever a recipe can get wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

import zoo
from tests.fakes import moving
from tests.tiny import TINY
from zoo.cli import main
from zoo.train.jobs import config_digest
from zoo.train.recipe import layers, parse, plain_config, recipe_text, recipes_dir

# those on synthetic people, of two domains and of large sets of stills have fakes of their own, see test_synthesis_recipes,
# test_two_domain_recipes, test_macro_training
RECIPES = sorted(
    p.stem for p in recipes_dir().glob("*.yaml")
    if not p.stem.endswith(("_synthetic", "_two_domains")) and not p.stem.startswith("resnet18_")
)  # fmt: skip
RESULTS = Path(__file__).parents[1] / "benchmarks" / "results" / "megc2019"


@pytest.fixture(scope="module")
def frames(tmp_path_factory):
    return moving.write(tmp_path_factory.mktemp("moving"), people=3)


@pytest.fixture
def data(request, recipe):
    """Where the recipe's data lie, and a fold of it."""
    if "manifest" in recipe:
        folder = request.getfixturevalue("frames")
        where = [
            "--data.manifest",
            str(folder / "casme2.parquet"),
            "--data.frames",
            str(folder),
            "--data.faces",
            "cropped",
        ]
        return [
            *where,
            "--data.cache",
            str(folder / "cache"),
            "--data.fold",
            "casme2/sub02",
            *TINY,
            "--data.batch_size",
            "4",
        ], 6
    return ["--data.root", str(request.getfixturevalue("megc_folder")), "--data.fold", "samm/006", *TINY], 36


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_recipe_trains_through_the_command(recipe, data, tmp_path, capsys):
    flags, clips = data
    assert main(["train", "--config", recipe, "--out", str(tmp_path), *flags, "--quiet"]) == 0, capsys.readouterr().err
    captured = capsys.readouterr()
    assert "uf1" in captured.out
    assert captured.err == "", "quiet is quiet"
    for name in ("checkpoint", "run.json", "recipe.yaml"):
        assert str(tmp_path / name) in captured.out.replace("\n", "")
    model = zoo.load(f"local-dir:{tmp_path / 'checkpoint'}")
    assert model.classes == ("negative", "positive", "surprise")
    run = json.loads((tmp_path / "run.json").read_text())
    assert set(run["digests"]) == {"config", "inputs", "split"}
    assert set(run) >= {"config", "seed", "versions", "fold", "loss"}
    assert run["train_clips"] == clips
    again = plain_config(parse([str(tmp_path / "recipe.yaml")], []))
    assert config_digest(again) == run["digests"]["config"]


def test_shipped_recipes_cover_the_published_weights():
    published = zoo.list_models("*.megc2019", pretrained=True)
    assert {n.removesuffix(".megc2019") + "_megc2019" for n in published} <= set(RECIPES)


@pytest.mark.parametrize(
    "result",
    sorted(p for p in RESULTS.glob("*.json") if (recipes_dir() / f"{p.stem}_megc2019.yaml").is_file()),
    ids=lambda p: p.stem,
)
def test_published_results_belong_to_the_recipes_of_today(result):
    """A new field of task or data must not change the digest where it is not used (see jobs._LATER)."""
    config = plain_config(parse([f"{result.stem}_megc2019"], []))
    assert config_digest(config) == json.loads(result.read_text())["digests"]["config"]


def test_overlay_and_dotted_overrides(tmp_path):
    (tmp_path / "slow.yaml").write_text(yaml.safe_dump({"model": {"lr": 0.5}, "trainer": {"max_epochs": 3}}))
    merged = plain_config(parse(["ststnet_megc2019", str(tmp_path / "slow.yaml")], ["--trainer.max_epochs", "7"]))
    assert merged["model"]["lr"] == 0.5
    assert merged["model"]["arch"] == "ststnet"
    assert merged["trainer"]["max_epochs"] == 7


def test_a_base_lies_under_and_may_lie_beside(tmp_path):
    (tmp_path / "mine.yaml").write_text("base: ours\nmodel: {arch: ststnet, lr: 0.3}\n")
    (tmp_path / "ours.yaml").write_text("base: base/megc2019\nmodel: {lr: 0.1, weight_decay: 0.7}\n")
    assert [layer.get("model", {}).get("lr") for layer in layers(str(tmp_path / "mine.yaml"))] == [None, 0.1, 0.3]
    merged = plain_config(parse([str(tmp_path / "mine.yaml")], []))
    assert (merged["model"]["lr"], merged["model"]["weight_decay"], merged["model"]["class_balance"]) == (0.3, 0.7, 0.5)
    assert yaml.safe_load(recipe_text(merged))["data"]["batch_size"] == 64


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("base: loop\nmodel: {arch: ststnet}\n", "leads back to itself"), ("base: nowhere\n", "no recipe 'nowhere'"), ("[1, 2]\n", "holds a list"),
        ("model: {arch: ststnet\n", "not readable as YAML"), ("model: {archh: ststnet}\n", "model.arch"), ("modle: {arch: ststnet}\n", "modle"),
    ],
)  # fmt: skip
def test_a_wrong_file_is_a_clear_error(text, word, tmp_path, capsys):
    (tmp_path / "loop.yaml").write_text(text)
    assert main(["train", "--config", str(tmp_path / "loop.yaml"), "--out", str(tmp_path / "run")]) == 2
    captured = capsys.readouterr()
    assert word in captured.err
    assert "Traceback" not in captured.err
    assert not (tmp_path / "run" / "checkpoint").exists()


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--model.lrr", "1"], "model.lr"), (["--model.lr", "fast"], "lr"), (["--model.arch", "stsnet"], "ststnet"),
        (["--data.root", "/nowhere"], "/nowhere"), (["--model.optimiser", "magic"], "magic"), (["--model.input", "{scaling: 'zscored'}"], "zscored"),
        (["--data.btach_size", "3"], "data.batch_size"), (["--trainer.max_epochz", "3"], "trainer.max_epochs"), (["--config", "ststnet_megc2018"], "ststnet_megc2019"),
        (["--model.input", "{normalisation: iod}", "--data.root", "."], "--data.manifest"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("command", ["train", "loso", "cv"])
def test_a_wrong_flag_is_a_clear_error(command, arguments, word, tmp_path, capsys):
    code = main([command, "--config", "ststnet_megc2019", *arguments, "--out", str(tmp_path / "run")])
    captured = capsys.readouterr()
    assert code == 2
    assert word in captured.err
    assert "Traceback" not in captured.err
    assert len(captured.err.strip().splitlines()) <= 3
