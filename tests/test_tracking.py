"""What would go up to Weights & Biases, read back from the files of offline runs."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.tiny import TINY
from tests.wandb_files import read, table
from tests.wandb_server import Server
from zoo.cli import main
from zoo.data.megc2019 import read_megc2019

pytestmark = pytest.mark.skipif(not importlib.util.find_spec("wandb"), reason="the extra `wandb` is not installed")


@pytest.fixture
def offline(monkeypatch, tmp_path):
    """No account, nothing outside the test's own folder."""
    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_PROJECT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WANDB_SILENT", "true")
    for name in ("WANDB_CONFIG_DIR", "WANDB_CACHE_DIR", "WANDB_DATA_DIR"):
        monkeypatch.setenv(name, str(tmp_path / "wandb-home"))
    monkeypatch.setenv("NETRC", str(tmp_path / "no-netrc"))


def runs(folder):
    import wandb

    wandb.teardown()  # the files are whole once its service has ended
    return {path.parent: read(path) for path in sorted(folder.glob("wandb/offline-run-*/*.wandb"))}


def logged(run, key):
    found = [row[key] for row in run["history"] if key in row]
    assert found, f"{key} was not logged; there are {sorted({k for row in run['history'] for k in row})}"
    return found


def test_a_trial_its_folds_and_its_tables(megc_folder, tmp_path, offline, capsys):
    out = tmp_path / "trial"
    arguments = ["loso", "--config", "ststnet_megc2019", "--seeds", "1", "--workers", "0", "--quiet", "--out", str(out), "--data.root", str(megc_folder),
                 *TINY, "--trainer.max_epochs", "2", "--wandb", "--wandb-folds"]  # fmt: skip
    assert main(arguments) == 0, capsys.readouterr().err
    printed = capsys.readouterr().out
    found = runs(out)
    assert {r["run"]["group"] for r in found.values()} == {"trial"}, "folds are grouped under their trial"
    folds = [r for r in found.values() if r["run"]["job_type"] == "fold"]
    assert len(folds) == 7
    assert len(logged(folds[0], "train/loss")) == 2
    ((folder, trial),) = [(f, r) for f, r in found.items() if r["run"]["job_type"] == "trial"]
    summary = json.loads((out / "loso.json").read_text())
    assert trial["config"]["digests"] == summary["digests"]
    assert trial["config"]["model"]["arch"] == "ststnet"
    assert trial["summary"]["full/uf1"] == summary["metrics"]["full"]["uf1"]["mean"]
    curve = logged(trial, "train/loss")
    per_fold = [json.loads(p.read_text())["loss"] for p in out.glob("seed*/*.json")]
    assert curve == pytest.approx(np.mean(per_fold, axis=0))
    rows = table(folder, logged(trial, "folds/path")[0])
    assert len(rows["data"]) == 7
    assert sum(row[rows["columns"].index("clips")] for row in rows["data"]) == 42
    rows = table(folder, logged(trial, "predictions/path")[0])
    assert rows["columns"] == ["clip", "subject", "truth", "right in seeds", "seed 0"], (
        "no pictures unless they are asked for"
    )
    classes = summary["classes"]
    assert [row[4] for row in rows["data"]] == [classes[p] for p in summary["predicted"]["0"]]
    cells = table(folder, logged(trial, "confusion_table/path")[0])
    counts = {(a, p): n for a, p, n in cells["data"]}
    assert [[counts[a, p] for p in classes] for a in classes] == summary["confusion"]
    names = [path for a in trial["artifacts"] if a["name"].endswith("predictions") for path in a["files"]]
    assert not [name for name in names if name.endswith(".png")]
    goes_up(printed, found, summary, tmp_path)


def goes_up(printed, found, summary, tmp_path):
    """`wandb sync`, by the very words that the summary prints, against a server on loopback."""
    pattern = Path(printed.replace("\n", "").partition("`wandb sync ")[2].partition("`")[0])
    with Server() as server:
        server.command(tmp_path, "sync", *sorted(pattern.parent.glob(pattern.name)))
        assert "No runs to sync" in server.command(tmp_path, "sync", *pattern.parent.glob(pattern.name))
    assert not server.unknown
    assert server.runs.keys() == {run["run"]["id"] for run in found.values()}
    assert all((run.exitcode, run.project, run.group) == (0, "au-graph-zoo", "trial") for run in server.runs.values())
    (trial,) = [run for run in server.runs.values() if run.job_type == "trial"]
    assert trial.summary["full/uf1"] == summary["metrics"]["full"]["uf1"]["mean"]
    assert trial.config["digests"] == summary["digests"]
    assert all(artifact["state"] == "COMMITTED" for artifact in server.artifacts.values())
    (rows,) = [data for path, data in server.store.items() if path.endswith("/predictions.table.json")]
    assert len(json.loads(rows)["data"]) == 42
    assert any("/media/images/confusion" in path for path in server.store)


def test_a_training_with_pictures_and_its_checkpoint(megc_folder, tmp_path, offline, capsys):
    out = tmp_path / "run"
    arguments = ["train", "--config", "ststnet_megc2019", "--quiet", "--out", str(out), "--data.root", str(megc_folder), "--data.fold", "samm/006", *TINY,
                 "--trainer.max_epochs", "2", "--wandb", "--wandb-media"]  # fmt: skip
    assert main(arguments) == 0, capsys.readouterr().err
    ((folder, run),) = runs(out).items()
    record = json.loads((out / "run.json").read_text())
    assert run["run"]["job_type"] == "train"
    assert run["config"]["digest"] == record["digests"]["config"]
    assert run["summary"]["test/uf1"] == pytest.approx(record["test"]["test/uf1"])
    assert len(logged(run, "train/loss")) == 2
    rows = table(folder, logged(run, "predictions/path")[0])
    assert len(rows["data"]) == 6
    (pictured,) = [a for a in run["artifacts"] if a["type"] == "run_table" and a["name"].endswith("predictions")]
    pictures = {cv2.imread(file).tobytes() for path, file in pictured["files"].items() if path.endswith(".png")}
    clips = read_megc2019(megc_folder, complete=False)
    mine = [clips.maps[i] for i, key in enumerate(clips.keys) if key.startswith("samm/006/")]
    assert pictures == {m[::-1].transpose(1, 2, 0).tobytes() for m in mine}, "flow images, since they were asked for"
    (artifact,) = [a for a in run["artifacts"] if a["type"] == "model"]
    assert set(artifact["files"]) == {"README.md", "config.json", "model.safetensors"}


def test_a_cross_validation_tells_each_part(megc_folder, tmp_path, offline, capsys):
    out = tmp_path / "cv"
    arguments = [
        "cv",
        "--config",
        "ststnet_megc2019",
        "--parts",
        "3",
        "--workers",
        "0",
        "--quiet",
        "--out",
        str(out),
        "--data.root",
        str(megc_folder),
        *TINY,
        "--wandb",
    ]
    assert main(arguments) == 0, capsys.readouterr().err
    (run,) = runs(out).values()
    history = json.loads((out / "cv.json").read_text())["history"]
    assert logged(run, "cv/uf1") == [h["uf1"] for h in history], "what the early stopping of a server looks at"
    assert run["summary"]["cv/uf1"] == history[-1]["uf1"]
