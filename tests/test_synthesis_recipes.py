"""From ``zoo synth`` to weights: every recipe on synthetic people through the commands that a person types."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

import zoo
from zoo.cli import main
from zoo.models._base import AUModel
from zoo.synthesis.portraits import astronaut
from zoo.train.recipe import recipes_dir
from zoo.weights import checkpoints_dir, index

RECIPES = sorted(p.stem for p in recipes_dir().glob("*_synthetic.yaml") if not p.stem.startswith(("magnet", "resnet")))
WEIGHTS = [name for name, entry in index().items() if entry.get("recipe") in RECIPES]


@pytest.fixture(scope="module")
def people(tmp_path_factory) -> tuple[Path, Path]:
    """Three people, five clips each, as files: portraits in a table, clips from the command, the manifest from the command."""
    folder = tmp_path_factory.mktemp("people")
    base = astronaut()
    data = [cv2.imencode(".png", np.roll(base.picture, k, 2))[1].ravel() for k in range(3)]
    np.savez(
        folder / "portraits.npz",
        jpeg=np.concatenate(data),
        offset=np.cumsum([0, *map(len, data)]),
        landmarks68=np.stack([base.landmarks] * 3),
        face_id=np.array(["a", "b", "c"]),
    )
    emotions = "happiness,surprise,disgust,repression,others"
    made = [
        "--portraits",
        str(folder / "portraits.npz"),
        "--clips",
        "5",
        "--size",
        "96",
        "--fps",
        "50",
        "--emotions",
        emotions,
    ]
    assert main(["synth", *made, "--out", str(folder / "clips"), "--no-flow"]) == 0
    manifest = folder / "clips.parquet"
    assert main(["data", "build", "casme2", "--root", str(folder / "clips"), "--out", str(manifest)]) == 0
    return folder / "clips", manifest


@pytest.mark.parametrize("recipe", RECIPES)
def test_recipe_trains_on_what_synth_wrote(recipe, people, tmp_path, capsys):
    clips, manifest = people
    code = main(
        ["train", "--config", recipe, "--out", str(tmp_path / "run"), "--data.manifest", str(manifest), "--data.frames",
         str(clips), "--data.faces", "cropped", "--data.cache", str(tmp_path / "cache"), "--data.fold", "1/3",
         "--data.batch_size", "5", "--trainer.max_epochs", "1"]
    )  # fmt: skip
    assert code == 0, capsys.readouterr().err
    run = json.loads((tmp_path / "run" / "run.json").read_text())
    assert run["train_clips"] == 10 and "test/au_f1" in run["test"]
    model = zoo.load(f"local-dir:{tmp_path / 'run' / 'checkpoint'}")
    assert isinstance(model, AUModel) and set(model.classes) == {
        "happiness", "surprise", "disgust", "repression", "others"
    }  # fmt: skip


def test_macro_weights_start_a_fine_tune_on_micro_clips(people, tmp_path, capsys):
    clips, manifest = people
    data = [
        "--data.manifest",
        str(manifest),
        "--data.frames",
        str(clips),
        "--data.cache",
        str(tmp_path / "cache"),
        "--data.batch_size",
        "3",
    ]
    command = [
        "train",
        "--config",
        "resnet_apex_synthetic",
        *data,
        "--data.faces",
        "cropped",
        "--trainer.max_epochs",
        "1",
    ]
    assert main([*command, "--data.fold", "1/3", "--out", str(tmp_path / "macro")]) == 0, capsys.readouterr().err
    macro = f"local-dir:{tmp_path / 'macro' / 'checkpoint'}"
    frozen = ["--model.arch", "", "--model.weights", macro, "--model.finetune", '{freeze: ["*"]}']
    assert main([*command, *frozen, "--data.fold", "2/3", "--out", str(tmp_path / "micro")]) == 0, (
        capsys.readouterr().err
    )
    before, after = (zoo.load(f"local-dir:{tmp_path / run / 'checkpoint'}").state_dict() for run in ("macro", "micro"))
    moved = {name for name, value in before.items() if not value.equal(after[name])}
    assert moved == {"fc.weight", "fc.bias"}, "batch statistics stay too"


@pytest.mark.skipif(not WEIGHTS, reason="the weights trained on synthetic people are not in this checkout")
@pytest.mark.parametrize("name", WEIGHTS)
def test_cards_say_that_it_is_synthetic(name):
    entry, folder = index()[name], checkpoints_dir() / name
    text = (folder / "README.md").read_text()
    for words in (
        "synthetic clips",
        "DeBruine",
        "CC BY 4.0",
        "lie detector",
        "never seen a micro-expression of a person",
    ):
        assert words in text
    assert f"{entry['parameters']:,}" in text and f"{entry['metrics']['au_f1']['mean']:.3f}" in text
    assert entry["synthetic"] is True
    assert json.loads((folder / "config.json").read_text())["record"]["metrics"] == entry["metrics"]
    assert (folder / "model.safetensors").stat().st_size < 10e6
