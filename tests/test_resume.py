"""A training that is interrupted, by kill -9 or Ctrl-C, and taken up again, through the real command."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.conftest import write_published_layout
from tests.test_two_domains import macro_rows
from zoo.cli import main
from zoo.train.resume import NAME
from zoo.train.task import RecognitionTask
from zoo.train.transfer_task import TransferTask

pytestmark = pytest.mark.usefixtures("one_thread")
PLAIN = ["--config", "ststnet_megc2019", "--data.fold", "samm/006"]
# dropout, a schedule, class weights, and stages that wake up one by one at rates of their own
WAKING = [*PLAIN, "--model.finetune", "{unfreeze_every: 2, lr_decay: 0.5}", "--model.class_balance", "0.5"]
TWO = [*PLAIN, "--model.transfer", "{method: dann, weight: 0.5}", "--data.mirror", "0.5"]


@pytest.fixture(scope="module")
def others(tmp_path_factory):
    """The macro domain: other people."""
    return write_published_layout(tmp_path_factory.mktemp("macro"), macro_rows())


def command(root, out, flags, epochs=8):
    return ["train", *flags, "--data.root", str(root), "--data.complete", "false", "--data.batch_size", "16", "--save-every", "0",
            "--trainer.max_epochs", str(epochs), "--trainer.accelerator", "cpu", "--out", str(out)]  # fmt: skip


def weights(out: Path) -> dict[str, bytes]:
    held = load_file(out / "checkpoint" / "model.safetensors")  # the file's header also names the run
    return {name: tensor.numpy().tobytes() for name, tensor in held.items()}


def record(out: Path) -> dict:
    return json.loads((out / "run.json").read_text())


def stop_at(monkeypatch, task, step):
    """Ctrl-C in the middle of that training step."""
    done, original = [], task.training_step

    def training_step(self, *args):
        done.append(1)
        if len(done) == step:
            os.kill(os.getpid(), signal.SIGINT)
        return original(self, *args)

    monkeypatch.setattr(task, "training_step", training_step)


def test_a_training_killed_at_any_moment_ends_with_the_same_bits(megc_folder, tmp_path, capsys):
    asked = command(megc_folder, tmp_path / "killed", PLAIN, epochs=60)
    assert main(command(megc_folder, tmp_path / "whole", PLAIN, epochs=60)) == 0
    assert not (tmp_path / "whole" / NAME).exists() and "resumed" not in record(tmp_path / "whole")
    with (tmp_path / "log").open("w") as log:
        running = subprocess.Popen([sys.executable, "-m", "zoo.cli", *asked], stdout=log, stderr=log)
        state, until = tmp_path / "killed" / NAME, time.monotonic() + 120
        while not state.exists() and running.poll() is None and time.monotonic() < until:
            time.sleep(0.02)
        time.sleep(0.1)
        running.kill()
        assert running.wait() == -signal.SIGKILL, (tmp_path / "log").read_text()
    capsys.readouterr()
    assert main(asked) == 0
    said = capsys.readouterr()
    (after,) = record(tmp_path / "killed")["resumed"]
    assert 0 < after < 60 and f"taken up again after epoch {after}" in said.out and "goes on after epoch" in said.err
    assert weights(tmp_path / "killed") == weights(tmp_path / "whole")
    a, b = record(tmp_path / "killed"), record(tmp_path / "whole")
    assert a["loss"] == b["loss"] and a["test"] == b["test"] and a["digests"] == b["digests"]
    assert not state.exists() and not list((tmp_path / "killed").glob(".*.tmp"))


@pytest.mark.parametrize(("flags", "task"), [(WAKING, RecognitionTask), (TWO, TransferTask)], ids=["waking", "two"])
def test_ctrl_c_twice_changes_nothing(flags, task, megc_folder, others, tmp_path, monkeypatch, capsys):
    flags = [*flags, "--data.macro.root", str(others), "--data.macro.batch_size", "5"] if flags is TWO else flags
    assert main(command(megc_folder, tmp_path / "whole", flags)) == 0
    asked = command(megc_folder, tmp_path / "stopped", flags)
    for step, epoch in ((7, 3), (3, 4)):  # two steps an epoch
        with monkeypatch.context() as patch:
            stop_at(patch, task, step)
            assert main(asked) == 130
        said = capsys.readouterr().err
        assert f"stopped in epoch {epoch + 1}: epoch {epoch} is kept in {tmp_path / 'stopped' / NAME}" in said
        assert "the same command goes on from there" in said and not (tmp_path / "stopped" / "checkpoint").exists()
    assert main(asked) == 0
    assert record(tmp_path / "stopped")["resumed"] == [3, 4]
    assert weights(tmp_path / "stopped") == weights(tmp_path / "whole")
    assert record(tmp_path / "stopped")["loss"] == record(tmp_path / "whole")["loss"]


def test_a_state_of_another_training_is_refused_and_a_damaged_one_named(megc_folder, tmp_path, monkeypatch, capsys):
    asked = command(megc_folder, tmp_path, PLAIN)
    with monkeypatch.context() as patch:
        stop_at(patch, RecognitionTask, 5)
        assert main(asked) == 130
    for flags, word in (
        (["--model.lr", "0.5"], "another config:"), (["--seed", "3"], "another seed:"), (["--data.fold", "samm/011"], "fold, split"),
    ):  # fmt: skip
        assert main([*asked, *flags]) == 2 and word in capsys.readouterr().err
    assert torch.load(tmp_path / NAME, weights_only=True)["loss"], "a refusal leaves it as it was"
    (tmp_path / NAME).write_bytes((tmp_path / NAME).read_bytes()[:1000])
    assert main(asked) == 2 and "delete it, and the same command begins anew" in capsys.readouterr().err
    (tmp_path / NAME).unlink()
    assert main(asked) == 0 and "resumed" not in record(tmp_path)
    assert main([*asked, "--save-every", "-1"]) == 2


def test_short_trainings_are_not_slowed_by_states(megc_folder, tmp_path, monkeypatch):
    written = []
    monkeypatch.setattr("zoo.train.resume._write", lambda path, state: written.append(path))
    asked = command(megc_folder, tmp_path / "a", PLAIN)
    asked[asked.index("--save-every") + 1] = "30"
    assert main(asked) == 0 and not written
    assert main(command(megc_folder, tmp_path / "b", PLAIN)) == 0 and len(written) == 8
