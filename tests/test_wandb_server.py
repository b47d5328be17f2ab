"""wandb's own commands on our files, against a server on loopback: what it asks for is what a real one is asked for."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from pathlib import Path

import pytest
import yaml

from tests.fakes import moving
from tests.tiny import TINY
from tests.wandb_server import ENTITY, Server
from zoo.train.recipe import recipes_dir

pytestmark = pytest.mark.skipif(
    not importlib.util.find_spec("wandb") or not importlib.util.find_spec("sweeps"),
    reason="the extra `sweep` is not installed",
)
slow = pytest.mark.skipif(
    not os.environ.get("ZOO_SLOW_TESTS"), reason="needs ZOO_SLOW_TESTS=1: agents start processes that import torch"
)
SWEEPS = recipes_dir() / "sweeps"


@pytest.fixture
def server():
    with Server() as running:
        yield running
    assert not running.unknown, "it was asked for what it does not know"


@pytest.fixture
def home(monkeypatch, tmp_path):
    """wandb with nothing of this machine: no key, no settings."""
    for name in [n for n in os.environ if n.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    for name in ("WANDB_CONFIG_DIR", "WANDB_CACHE_DIR", "WANDB_DATA_DIR"):
        monkeypatch.setenv(name, str(tmp_path / "home"))
    monkeypatch.setenv("NETRC", str(tmp_path / "no-netrc"))
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    return tmp_path


def test_a_shipped_sweep_is_registered_as_it_is(server, home):
    file = SWEEPS / "ststnet_bayes.yaml"
    server.command(home, "sweep", file)
    (held,) = server.sweeps.values()
    written, held = yaml.safe_load(file.read_text()), yaml.safe_load(held)
    for name in ("command", "metric", "early_terminate", "method", "name"):
        assert held[name] == written[name]
    assert held["parameters"].keys() == written["parameters"].keys()
    assert server.projects == ["au-graph-zoo"]


def swept(server, folder, file, count, **environment):
    """`wandb sweep FILE`, then the `wandb agent …` that it prints; the runs that the server has seen."""
    said = server.command(folder, "sweep", file)
    sweep = said.partition("wandb agent ")[2].split()[0]
    said = server.command(folder, "agent", "--count", count, sweep, **environment)
    assert "deprecated" not in said
    assert "WARNING" not in said
    runs = list(server.runs.values())
    assert len(runs) == count
    for run in runs:
        assert f"{ENTITY}/{run.project}/{run.sweep}" == sweep
        assert run.project == "au-graph-zoo"
    return runs


def check(runs, content):
    """What the search of a server needs of a run: the end, the metric, its course, the parameters it drew."""
    metric, parts = content["metric"]["name"], int(content["command"][content["command"].index("--parts") + 1])
    for run in runs:
        assert run.exitcode == 0
        assert 0 <= run.summary[metric] <= 1
        course = [row[metric] for row in run.history if metric in row]
        assert len(course) == parts
        assert course[-1] == run.summary[metric]
        for name, value in run.drawn.items():
            section, key = name.split(".")
            assert run.config[section][key] == pytest.approx(value) if isinstance(value, float) else value
    assert len({json.dumps(run.drawn, sort_keys=True) for run in runs}) == len(runs)


@slow
@pytest.mark.timeout(900)
def test_an_agent_fine_tunes_by_the_shipped_file(server, home):
    """`recipes/sweeps/finetune_random.yaml` unchanged, on frames, through faces, flow and a pretrained network."""
    file, data = SWEEPS / "finetune_random.yaml", moving.write(home / "moving", people=5)
    found = {"ZOO_MANIFEST": str(data / "casme2.parquet"), "ZOO_FRAMES": str(data)}
    runs = swept(server, home, file, 2, **found)
    check(runs, yaml.safe_load(file.read_text()))
    assert runs[0].config["model"]["weights"] == "off_apexnet.megc2019"


@slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", ["ststnet_bayes", "recognisers_grid"])
def test_an_agent_searches_the_composite_by_the_shipped_file(name, server, home, megc_real):
    runs = swept(server, home, SWEEPS / f"{name}.yaml", 1, MEGC2019=str(megc_real))
    check(runs, yaml.safe_load((SWEEPS / f"{name}.yaml").read_text()))
    assert runs[0].summary["cv/uf1"] > 0.4, "it has learnt something"


@slow
@pytest.mark.timeout(900)
def test_a_run_that_the_server_gives_up_ends_cleanly(server, home, megc_folder):
    """Early termination: the agent sends SIGTERM; what was logged is there, and the agent counts no failure."""
    content = yaml.safe_load((SWEEPS / "ststnet_bayes.yaml").read_text())
    content["command"][-1:] = [*TINY, "--trainer.max_epochs", "400", "${args}"]
    content["parameters"] = {"model.lr": {"values": [0.01]}}
    file = home / "long.yaml"
    file.write_text(yaml.safe_dump(content))
    server.stop_after = 1
    (run,) = swept(server, home, file, 1, MEGC2019=str(megc_folder))
    assert run.exitcode == 255, "closed, and marked as interrupted"
    assert 1 <= len(run.history) < 5
