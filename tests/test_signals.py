"""Interrupted from outside, as terminals, batch systems and people do it: no process is left, no result is lost, few words."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest
import yaml

from tests.test_sweep import GRID
from tests.tiny import TINY
from zoo.cli import main

slow = pytest.mark.skipif(
    not os.environ.get("ZOO_SLOW_TESTS"), reason="needs ZOO_SLOW_TESTS=1: process pools that are killed in the middle"
)
LOSO = ["loso", "--config", "ststnet_megc2019", "--seeds", "1"]
EPOCHS = 40  # some seconds per fit: signals arrive while fits are under way
CALM = "zoo: interrupted; what was finished is kept, the same command goes on from there"


def start(command, out, megc_folder, epochs=EPOCHS):
    where = ["--out", str(out), "--data.root", str(megc_folder), *TINY, "--trainer.max_epochs", str(epochs)]
    return subprocess.Popen(
        [sys.executable, "-m", "zoo.cli", *command, *where], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip


def results(out):
    return {
        str(path.relative_to(out)): {k: json.loads(path.read_text())[k] for k in ("keys", "logits", "loss")}
        for path in sorted(out.rglob("seed*/*.json"))
    }


def wait_until(condition, process):
    while not condition():
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)


def workers_of(process):
    return [p for p in psutil.Process(process.pid).children(recursive=True) if "spawn_main" in " ".join(p.cmdline())]


def ended(process, family):
    """What it said; nothing that it had started is left a moment later."""
    out, err = process.communicate(timeout=120)
    _, alive = psutil.wait_procs(family, timeout=10)
    assert not alive, "orphans"
    return out, [line for line in err.splitlines() if "×" not in line and "trials" not in line]


def strike(process, how):
    """The signal; what is to come of it: exit code and words."""
    match how:
        case "ctrl-c":  # a terminal sends it to the whole group
            os.killpg(process.pid, signal.SIGINT)
            return 130, [CALM]
        case "term":
            process.terminate()
            return -signal.SIGTERM, [CALM]
        case "term all":
            os.killpg(process.pid, signal.SIGTERM)
            return -signal.SIGTERM, [CALM]
        case _:
            process.kill()
            return -signal.SIGKILL, None  # it had no time for words


def interrupted(how, command, out, megc_folder):
    process = start(command, out, megc_folder)
    wait_until(lambda: results(out), process)
    family = psutil.Process(process.pid).children(recursive=True)
    code, words = strike(process, how)
    _, said = ended(process, family)
    assert process.returncode == code
    assert words is None or said == words
    return results(out)


@pytest.mark.timeout(300)
def test_ctrl_c_ends_a_pool_with_one_line(megc_folder, tmp_path):
    kept = interrupted("ctrl-c", [*LOSO, "--workers", "2"], tmp_path / "run", megc_folder)
    assert 1 <= len(kept) < 7


@slow
@pytest.mark.timeout(1200)
def test_whatever_strikes_a_run_is_finished_bit_for_bit(megc_folder, tmp_path):
    """Four interruptions of one run, a worker killed and a second process in between; then the whole, compared."""
    out, command = tmp_path / "run", [*LOSO, "--workers", "2"]
    for how in ("ctrl-c", "term", "kill", "term all"):
        before = len(results(out))
        interrupted(how, command, out, megc_folder)
        assert len(results(out)) >= before
        if len(results(out)) >= 5:
            break
    process = start(command, out, megc_folder)
    wait_until(lambda: len(workers_of(process)) == 2, process)
    second = start(command, out, megc_folder)
    assert "is in use by process" in ended(second, [])[1][0]
    assert second.returncode == 2
    text, _ = ended(process, [])
    assert process.returncode == 0
    assert str(out / "loso.json") in text
    alone = start([*LOSO, "--workers", "0"], tmp_path / "alone", megc_folder)
    ended(alone, [])
    assert results(out) == results(tmp_path / "alone")
    assert len(results(out)) == 7
    assert not list(out.rglob("*.tmp")), "what killed workers were writing is cleared away"


@slow
@pytest.mark.timeout(600)
def test_a_worker_that_is_killed_is_told_and_replaced(megc_folder, tmp_path):
    out = tmp_path / "run"
    process = start([*LOSO, "--workers", "2"], out, megc_folder)
    wait_until(lambda: results(out), process)
    workers_of(process)[0].kill()
    _, said = ended(process, [])
    assert process.returncode == 0
    assert len(said) == 1
    assert said[0].endswith("to be run again: a worker died")
    alone = start([*LOSO, "--workers", "0"], tmp_path / "alone", megc_folder)
    ended(alone, [])
    assert results(out) == results(tmp_path / "alone")


@slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("how", ["ctrl-c", "term", "kill"])
def test_a_struck_sweep_takes_the_same_course(how, megc_folder, tmp_path):
    pytest.importorskip("sweeps")
    content = {**GRID, "parameters": {"model.lr": {"values": [0.01, 0.02]}}}
    (tmp_path / "s.yaml").write_text(yaml.safe_dump(content))
    command = ["sweep", str(tmp_path / "s.yaml"), "--workers", "2"]
    interrupted(how, command, tmp_path / "run", megc_folder)
    for folder in (tmp_path / "run", tmp_path / "whole"):
        process = start(command, folder, megc_folder)
        ended(process, [])
        assert process.returncode == 0
    scores = [
        [(t["parameters"], t["score"]) for t in json.loads((tmp_path / f / "sweep.json").read_text())["trials"]]
        for f in ("run", "whole")
    ]
    assert scores[0] == scores[1]
    assert results(tmp_path / "run") == results(tmp_path / "whole")


def test_sigterm_is_a_clean_stop_and_still_a_sigterm(megc_folder, tmp_path, monkeypatch, capsys):
    from zoo.train.jobs import Job

    seen = []
    monkeypatch.setattr(Job, "fit", lambda self, fold: os.kill(os.getpid(), signal.SIGTERM) or time.sleep(5))
    before = signal.signal(signal.SIGTERM, lambda *_: seen.append("SIGTERM"))
    try:
        where = ["--workers", "0", "--out", str(tmp_path), "--data.root", str(megc_folder), *TINY, "--quiet"]
        assert main([*LOSO, *where]) == 143
    finally:
        signal.signal(signal.SIGTERM, before)
    assert seen == ["SIGTERM"], "raised again once all is closed: without a handler it would have ended the process"
    assert capsys.readouterr().err.splitlines() == [CALM]
    assert (tmp_path / ".lock").read_text() == ""


def test_a_disk_that_is_full_for_a_figure(megc_folder, tmp_path, monkeypatch, capsys):
    """Whoever writes, and whatever library it uses."""
    import matplotlib.figure

    def full(self, path, **_):
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    where = ["--workers", "0", "--out", str(tmp_path), "--data.root", str(megc_folder), *TINY, "--quiet"]
    with monkeypatch.context() as patch:
        patch.setattr(matplotlib.figure.Figure, "savefig", full)
        assert main([*LOSO, *where]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "No space left" in line
    assert "run the same command again" in line
    assert main([*LOSO, *where]) == 0
    assert (tmp_path / "confusion.png").is_file()
