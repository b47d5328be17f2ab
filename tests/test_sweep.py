"""Sweeps: wandb's files without its server, killed and resumed, and never an eye on held-out clips."""

from __future__ import annotations

import csv
import importlib.util
import json
import warnings
from pathlib import Path

import numpy as np
import pytest
import yaml

from tests.tiny import TINY
from zoo.cli import main
from zoo.errors import ZooError
from zoo.train.recipe import parse, plain_config, recipes_dir
from zoo.train.search import Trial, hopeless, propose, read_sweep
from zoo.train.sweep import read_command

pytestmark = pytest.mark.skipif(not importlib.util.find_spec("sweeps"), reason="the extra `sweep` is not installed")
FILES = sorted((recipes_dir() / "sweeps").glob("*.yaml"))
GRID = {
    "name": "tiny", "program": "zoo", "method": "grid", "metric": {"name": "cv/uf1", "goal": "maximize"},
    "parameters": {"model.lr": {"values": [1e-9, 0.02]}, "model.class_balance": {"values": [0.0, 0.5]}},
    "command": ["${env}", "zoo", "cv", "--config", "ststnet_megc2019", "--parts", "3", "--wandb", "${args}"],
}  # fmt: skip


def written(folder: Path, **changes) -> Path:
    path = folder / "sweep.yaml"
    path.write_text(yaml.safe_dump({**GRID, **changes}))
    return path


def flags(megc_folder, out, epochs=1):
    return [
        "--workers",
        "0",
        "--out",
        str(out),
        "--quiet",
        "--data.root",
        str(megc_folder),
        *TINY,
        "--trainer.max_epochs",
        str(epochs),
    ]


@pytest.mark.filterwarnings("ignore:Valid config keys")
@pytest.mark.parametrize("file", FILES, ids=lambda f: f.stem)
def test_shipped_files_are_wandbs_and_name_fields_that_exist(file):
    from sweeps.config import SweepConfig  # wandb's own schema, and its defaults

    content = read_sweep(file)
    SweepConfig(yaml.safe_load(file.read_text()))
    assert all("." in name for name in content["parameters"]), "flat dotted keys are the flags of the command"
    call = read_command(content["command"], propose(content, [], seed=0))
    config = plain_config(parse(call.recipes, call.overrides))
    for name, value in propose(content, [], seed=0).items():
        section, field = name.split(".")
        assert (
            config[section][field] == pytest.approx(value)
            if isinstance(value, float)
            else config[section][field] == value
        )
    assert content["command"][-1] == "${args}"
    assert "--wandb" in content["command"], "under `wandb agent` the score must reach the server"


def test_the_command_is_what_wandbs_agent_would_run(monkeypatch):
    monkeypatch.setenv("MEGC2019", "/some/where")
    command = [
        "${env}",
        "${interpreter}",
        "-m",
        "zoo.cli",
        "cv",
        "--config",
        "x",
        "--data.root",
        "${envvar:MEGC2019}",
        "--parts",
        "4",
        "${args}",
    ]
    call = read_command(command, {"model.lr": 0.1, "model.arch": "a"}, ["--workers", "3", "--hold-out", "p/1,p/2"])
    assert call.overrides == ("--data.root", "/some/where", "--model.lr=0.1", "--model.arch=a")
    assert (call.recipes, call.parts, call.workers, call.held_out) == (("x",), 4, 3, ("p/1", "p/2"))
    with pytest.raises(ZooError, match="inner validation"):
        read_command(["zoo", "loso", "${args}"], {})
    with pytest.raises(ZooError, match="args_json"):
        read_command(["zoo", "cv", "${args_json}"], {})


@pytest.mark.parametrize("file", FILES, ids=lambda f: f.stem)
def test_wandbs_own_agent_makes_the_same_call(file, monkeypatch):
    """Its way to write values (``True``, ``1e-05``) and to fill in macros leads to the same config as ours."""
    from wandb.sdk.launch.sweeps.utils import create_sweep_command, create_sweep_command_args

    for name in ("MEGC2019", "ZOO_MANIFEST", "ZOO_FRAMES"):
        monkeypatch.setenv(name, "/some/where")
    content = read_sweep(file)
    values = {**propose(content, [], seed=0), "data.drop_last": False, "model.weight_decay": 1e-5}
    macros = create_sweep_command_args({"args": {name: {"value": value} for name, value in values.items()}})
    macros |= {"env": ["/usr/bin/env"], "program": [content["program"]]}
    command = []
    for word in map(str, create_sweep_command(list(content["command"]))):  # as in wandb_agent.Agent._command_run
        command += macros.get(word[2:-1]) or [] if word.startswith("${") and word.endswith("}") else [word]
    assert command[:3] == ["/usr/bin/env", "zoo", "cv"]
    theirs, ours = read_command(command, {}), read_command(content["command"], values)
    assert (theirs.recipes, theirs.parts) == (ours.recipes, ours.parts)
    configs = [plain_config(parse(call.recipes, call.overrides)) for call in (theirs, ours)]
    assert configs[0] == configs[1]
    assert configs[0]["data"]["drop_last"] is False


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"metric": {"name": "test/uf1", "goal": "maximize"}}, "inner"), ({"metric": {"name": "cv/uf1"}}, "minimize"), ({"method": "magic"}, "magic"),
        ({"parameters": {"model.lr": {"mn": 1}}}, "model.lr"), ({"parameters": {"model.lrr": {"values": [1]}}}, "lrr"), ({"command": None}, "wandb sweep"),
        ({"early_terminate": {"type": "hyperband"}}, "hyperband"),
    ],
)  # fmt: skip
def test_a_wrong_sweep_is_a_clear_error(change, word, megc_folder, tmp_path, capsys):
    assert main(["sweep", str(written(tmp_path, **change)), *flags(megc_folder, tmp_path / "out")]) == 2
    captured = capsys.readouterr()
    assert word in captured.err
    assert "Traceback" not in captured.err
    assert not (tmp_path / "out").exists()


def test_a_grid_runs_to_its_end_and_shows_it(megc_folder, tmp_path, capsys):
    file, out = written(tmp_path), tmp_path / "out"
    assert main(["sweep", str(file), "--count", "9", *flags(megc_folder, out, epochs=3)]) == 0, capsys.readouterr().err
    text = capsys.readouterr().out
    for name in ("sweep.html", "sweep.csv", "best.yaml"):
        assert str(out / name) in text
    rows = list(csv.DictReader((out / "sweep.csv").open()))
    assert {(float(r["model.lr"]), float(r["model.class_balance"])) for r in rows} == {
        (a, b) for a in (1e-9, 0.02) for b in (0.0, 0.5)
    }
    assert all(r["state"] == "finished" for r in rows)
    best = max(rows, key=lambda r: float(r["score"]))
    assert float(best["model.lr"]) == 0.02
    stored = json.loads((out / "trials" / f"{int(best['trial']):04d}" / "cv.json").read_text())
    assert stored["metrics"]["full"]["uf1"]["mean"] == float(best["score"])
    chosen = plain_config(parse([str(out / "best.yaml")], []))
    assert chosen["model"]["lr"] == 0.02
    page = (out / "sweep.html").read_text()
    assert page.count("<tr") == 1 + 4
    assert '"type":"parcoords"' in page
    assert "https://cdn" not in page.split("<style>")[0]
    assert 'src="http' not in page, "it needs nothing else"
    assert main(["sweep", str(file), "--count", "9", *flags(megc_folder, out, epochs=4)]) == 2
    assert "another sweep" in capsys.readouterr().err


def test_interrupted_and_resumed_it_takes_the_same_course(megc_folder, tmp_path, monkeypatch, capsys):
    """Bayes and hyperband look at what was: the search must not notice that it was cut off in a trial."""
    changes = {
        "method": "bayes", "parameters": {"model.lr": {"values": [0.02, 0.01, 1e-9, 2e-9]}},
        "early_terminate": {"type": "hyperband", "min_iter": 1, "eta": 3},
    }  # fmt: skip
    file = written(tmp_path, **changes)
    course_of = ["sweep", str(file), "--count", "5", "--search-seed", "1"]
    assert main([*course_of, *flags(megc_folder, tmp_path / "whole", epochs=3)]) == 0
    from zoo.train.jobs import Job

    fits, real = [], Job.fit

    def cut(self, fold):
        fits.append(fold)
        if len(fits) == 6:
            raise KeyboardInterrupt
        return real(self, fold)

    monkeypatch.setattr(Job, "fit", cut)
    parts = [*course_of, *flags(megc_folder, tmp_path / "parts", epochs=3)]
    assert main(parts) == 130
    assert main(parts) == 0
    capsys.readouterr()

    def course(folder):
        return [
            {k: v for k, v in t.items() if k != "seconds"}
            for t in json.loads((folder / "sweep.json").read_text())["trials"]
        ]

    assert course(tmp_path / "parts") == course(tmp_path / "whole")
    states = [t["state"] for t in course(tmp_path / "whole")]
    assert "stopped" in states, "the draws of this seed hold a learning rate that is beaten"
    assert all(len(t["history"]) < 3 for t in course(tmp_path / "whole") if t["state"] == "stopped")


def _searched(method: str, trials: int) -> list[Trial]:
    """A search for x = 0.7 under a score that only the search sees."""
    sweep = {
        "method": method,
        "metric": {"name": "cv/uf1", "goal": "maximize"},
        "parameters": {"x": {"min": 0.0, "max": 1.0}},
    }
    out: list[Trial] = []
    for _ in range(trials):
        x = propose(sweep, out, seed=1)["x"]
        out.append(Trial(number=len(out) + 1, parameters={"x": x}, state="finished", score=1 - (x - 0.7) ** 2))
    return out


def test_bayes_sees_the_scores():
    """The trap of sweeps under pydantic 2: without its aliases Bayes is told nothing and draws at random."""
    found = [abs(t.parameters["x"] - 0.7) for t in _searched("bayes", 12)]
    assert np.mean(found[-4:]) < 0.1
    assert np.mean([abs(t.parameters["x"] - 0.7) for t in _searched("random", 12)][-4:]) > 0.1


def test_the_same_seed_draws_the_same_and_leaves_the_world_alone():
    import random

    random.seed(5)
    np.random.seed(5)
    expected = random.Random(5).random(), np.random.RandomState(5).rand()
    assert _searched("random", 3) == _searched("random", 3)
    assert (random.random(), np.random.rand()) == expected


def test_hyperband_gives_up_the_worse_half():
    sweep = {"method": "random", "metric": {"name": "cv/uf1", "goal": "maximize"}, "parameters": {"x": {"min": 0.0, "max": 1.0}},
             "early_terminate": {"type": "hyperband", "min_iter": 2, "eta": 2}}  # fmt: skip

    def trial(number, *scores, state="finished"):
        return Trial(number=number, parameters={"x": 0.5}, state=state, history=[{"uf1": s} for s in scores])

    before = [trial(1, 0.5, 0.6, 0.7), trial(2, 0.5, 0.7, 0.8)]
    assert hopeless(sweep, before, trial(3, 0.5, 0.3, state="running"))
    assert not hopeless(sweep, before, trial(3, 0.5, 0.75, state="running"))
    assert not hopeless(sweep, before, trial(3, 0.1, state="running")), "one part is too early to say"
    assert not hopeless({**sweep, "early_terminate": None}, before, trial(3, 0.1, 0.1, state="running"))


def test_a_diverged_trial_is_an_answer(megc_folder, tmp_path, capsys):
    file = written(tmp_path, parameters={"model.lr": {"values": [1e30, 0.02]}, "model.optimiser": {"value": "sgd"}})
    out = tmp_path / "out"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert main(["sweep", str(file), *flags(megc_folder, out)]) == 0, capsys.readouterr().err
    rows = list(csv.DictReader((out / "sweep.csv").open()))
    assert [r["state"] for r in rows] == ["failed", "finished"]
    assert "diverged" in rows[0]["error"]


def test_a_name_that_is_not_there(capsys):
    assert main(["sweep", "ststnet_bays"]) == 2
    assert "ststnet_bayes" in capsys.readouterr().err
