"""Leave-one-subject-out and cross-validation: killed, doubled, out of room, interrupted; and no result lost."""

from __future__ import annotations

import contextlib
import errno
import io
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import yaml

from tests.tiny import TINY
from zoo.cli import main
from zoo.data.megc2019 import read_megc2019
from zoo.errors import ProtocolError, ZooError
from zoo.metrics import scores
from zoo.train.folds import result_path, run_cv, run_loso
from zoo.train.jobs import Inner, Job, config_digest
from zoo.train.recipe import parse, plain_config
from zoo.train.store import run_lock, write_json


def config(folder, recipe="ststnet_megc2019", *overrides):
    return plain_config(parse([recipe], ["--data.root", str(folder), *TINY, *overrides]))


def results(folder):
    return [json.loads(path.read_text()) for path in sorted(folder.glob("seed*/*.json"))]


@pytest.mark.timeout(900)
def test_killed_by_force_and_resumed_bit_for_bit(megc_folder, tmp_path, one_thread):
    overrides = ["--trainer.max_epochs", "25"]  # long enough for the kill to hit a fit
    command = [sys.executable, "-m", "zoo.cli", "loso", "--config", "ststnet_megc2019", "--seeds", "1", "--workers", "0", "--quiet",
               "--out", str(tmp_path / "killed"), "--data.root", str(megc_folder), *TINY, *overrides]  # fmt: skip
    process = subprocess.Popen(
        command, env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    deadline = time.monotonic() + 600  # importing torch takes minutes on a busy machine
    while len(list((tmp_path / "killed").glob("seed0/*.json"))) < 2:
        assert process.poll() is None, process.stderr.read().decode()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    kept = {p: p.stat().st_mtime_ns for p in (tmp_path / "killed").glob("seed0/*.json")}
    assert 2 <= len(kept) < 7, "killed in the middle"
    plain = config(megc_folder, "ststnet_megc2019", *overrides)
    resumed = run_loso(plain, out=tmp_path / "killed", seeds=[0], workers=0)  # the dead process's lock is no hindrance
    assert {p: p.stat().st_mtime_ns for p in kept} == kept, "what was finished is not fitted again"
    whole = run_loso(plain, out=tmp_path / "whole", seeds=[0], workers=0)
    assert resumed["predicted"] == whole["predicted"]
    assert [r["logits"] for r in results(tmp_path / "killed")] == [r["logits"] for r in results(tmp_path / "whole")]


@pytest.mark.timeout(900)
def test_one_process_per_run_folder(megc_folder, tmp_path, capsys):
    holder = subprocess.Popen(
        [sys.executable, "-c", "import sys, time; from pathlib import Path; from zoo.train.store import run_lock\n"
         f"with run_lock(Path({str(tmp_path)!r})): print('held', flush=True); time.sleep(60)"], stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert holder.stdout.readline() == "held\n"
        arguments = [
            "loso",
            "--config",
            "ststnet_megc2019",
            "--workers",
            "0",
            "--out",
            str(tmp_path),
            "--data.root",
            str(megc_folder),
            *TINY,
        ]
        assert main(arguments) == 2
        assert f"in use by process {holder.pid}" in capsys.readouterr().err
        assert not list(tmp_path.glob("seed*")), "nothing was touched"
    finally:
        holder.kill()
        holder.wait()
    with run_lock(tmp_path):  # the holder died without a word: its lock died with it
        assert f"process {os.getpid()} on " in (tmp_path / ".lock").read_text()
    assert (tmp_path / ".lock").read_text() == ""


def test_a_lock_of_another_machine_is_taken_seriously(tmp_path):
    (tmp_path / ".lock").write_text("process 7 on some-other-node\n")
    with pytest.raises(ZooError, match=r"process 7 on some-other-node.*delete"), run_lock(tmp_path):
        pass


def test_a_full_disk_loses_nothing(megc_folder, tmp_path, monkeypatch, capsys):
    """/dev/full is a disk without room: the third result is written onto it."""
    full = result_path(tmp_path, 0, "samm/006")
    full.parent.mkdir()
    full.with_name(f".{full.name}.{os.getpid()}.tmp").symlink_to("/dev/full")
    arguments = [
        "loso",
        "--config",
        "ststnet_megc2019",
        "--seeds",
        "1",
        "--workers",
        "0",
        "--out",
        str(tmp_path),
        "--data.root",
        str(megc_folder),
        *TINY,
    ]
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert os.strerror(errno.ENOSPC) in error
    assert "Traceback" not in error
    names = {r["fold"] for r in results(tmp_path)}
    assert names
    assert "samm/006" not in names
    assert not list(tmp_path.glob("seed0/.*.tmp"))
    assert main(arguments) == 0, "with room again, the same command does the rest"
    assert len(results(tmp_path)) == 7


def test_ctrl_c_is_a_clean_stop(megc_folder, tmp_path, monkeypatch, capsys):
    """Also inside a fit, where Lightning would turn it into exit(1)."""
    from zoo.train.task import RecognitionTask

    steps, real = [], RecognitionTask.training_step

    def interrupted(self, batch, index):
        steps.append(index)
        if len(steps) == 5:
            raise KeyboardInterrupt
        return real(self, batch, index)

    monkeypatch.setattr(RecognitionTask, "training_step", interrupted)
    arguments = [
        "loso",
        "--config",
        "ststnet_megc2019",
        "--seeds",
        "1",
        "--workers",
        "0",
        "--out",
        str(tmp_path),
        "--data.root",
        str(megc_folder),
        *TINY,
    ]
    handler = signal.getsignal(signal.SIGINT)
    assert main(arguments) == 130
    assert signal.getsignal(signal.SIGINT) == handler
    assert "interrupted" in capsys.readouterr().err
    assert len(results(tmp_path)) == 2
    assert (tmp_path / ".lock").read_text() == ""
    assert main(arguments) == 0
    assert len(results(tmp_path)) == 7


@pytest.fixture(scope="module")
def finished(megc_folder, tmp_path_factory):
    """A run of two seeds through the command, and what it said on its way: (folder, stdout, stderr)."""
    folder, out, err = tmp_path_factory.mktemp("finished"), io.StringIO(), io.StringIO()
    arguments = [
        "loso",
        "--config",
        "ststnet_megc2019",
        "--seeds",
        "2",
        "--workers",
        "0",
        "--out",
        str(folder),
        "--data.root",
        str(megc_folder),
        *TINY,
    ]
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        assert main([*arguments, "--trainer.max_epochs", "2"]) == 0, err.getvalue()
    return folder, out.getvalue(), err.getvalue()


def test_what_stands_beside_every_run(finished):
    folder = finished[0]
    stored, summary = (json.loads((folder / name).read_text()) for name in ("config.json", "loso.json"))
    assert stored["seeds"] == [0, 1]
    assert set(stored["versions"]) >= {"python", "torch", "pytorch-lightning", "numpy", "au-graph-zoo"}
    assert set(stored["digests"]) == {"config", "inputs", "split"}
    assert summary["digests"] == stored["digests"]
    again = plain_config(parse([str(folder / "recipe.yaml")], []))
    assert config_digest(again) == stored["digests"]["config"], "the stored recipe is the run's"
    assert len(results(folder)) == 14
    assert all(len(r["loss"]) == 2 for r in results(folder))
    rows = (folder / "subjects.csv").read_text().splitlines()
    assert len(rows) == 1 + 7
    assert sum(int(row.split(",")[2]) for row in rows[1:]) == 42


def test_intervals_and_people_agree_with_the_predictions(finished):
    summary = json.loads((finished[0] / "loso.json").read_text())
    truth = np.array(summary["truth"])
    for part, values in summary["intervals"].items():
        if isinstance(values, dict):
            assert values["uf1"][0] <= summary["metrics"][part]["uf1"]["mean"] <= values["uf1"][1]
    for person, row in summary["subjects"].items():
        mine = np.array([p == person for p in summary["people"]])
        right = [np.mean(np.array(summary["predicted"][s])[mine] == truth[mine]) for s in ("0", "1")]
        assert row["accuracy"] == pytest.approx(np.mean(right))
        assert row["std"] == pytest.approx(np.std(right, ddof=1))
        assert row["clips"] == mine.sum()


def test_progress_survives_a_pipe_and_the_end_says_where_everything_is(finished):
    folder, out, err = finished
    assert "subjects × seeds 14/14 (100 %)" in err
    assert "\x1b" not in err + out
    assert "\r" not in err
    assert "±" in out
    for name in ("loso.json", "confusion.png", "subjects.csv", "subjects.png"):
        assert str(folder / name) in out
        assert (folder / name).is_file()


def test_a_damaged_result_is_named(megc_folder, tmp_path):
    plain = config(megc_folder)
    run_loso(plain, out=tmp_path, seeds=[0], folds=["smic/s01"], workers=0)
    result_path(tmp_path, 0, "smic/s01").write_text('{"half')
    with pytest.raises(ProtocolError, match=r"smic__s01.*delete it"):
        run_loso(plain, out=tmp_path, seeds=[0], folds=["smic/s01"], workers=0)


def test_classes_that_disagree_are_said_before_any_fit(megc_folder, tmp_path, capsys):
    code = main(
        [
            "loso",
            "--config",
            "ststnet_megc2019",
            "--out",
            str(tmp_path / "r"),
            "--data.root",
            str(megc_folder),
            *TINY,
            "--model.arch_args.num_classes",
            "5",
        ]
    )
    assert code == 2
    assert "3 classes (negative, positive, surprise), the model 5" in capsys.readouterr().err
    assert not (tmp_path / "r").exists()


def test_inner_folds_never_hold_the_held_out_person(megc_folder):
    data = read_megc2019(megc_folder, complete=False)
    inner = Inner(parts=3, held_out=("samm/006",)).of(data)
    folds = inner.split()
    touched = {data.people[i] for fold in folds for i in (*fold.train, *fold.test)}
    assert touched == set(data.people) - {"samm/006"}
    tested = sorted(i for fold in folds for i in fold.test)
    assert tested == [i for i, p in enumerate(data.people) if p != "samm/006"]
    for fold in folds:
        assert not {data.people[i] for i in fold.train} & {data.people[i] for i in fold.test}
    with pytest.raises(ProtocolError, match="samm/006"):
        Inner(parts=3, held_out=("samm/06",)).of(data)
    with pytest.raises(ProtocolError, match="8 parts of 7 persons"):
        Inner(parts=8).of(data)


def test_cross_validation_is_scored_from_its_files(megc_folder, tmp_path, capsys):
    code = main(["cv", "--config", "ststnet_megc2019", "--parts", "3", "--hold-out", "smic/s03", "--workers", "0", "--out", str(tmp_path),
                 "--data.root", str(megc_folder), *TINY, "--trainer.max_epochs", "3"])  # fmt: skip
    assert code == 0, capsys.readouterr().err
    summary = json.loads((tmp_path / "cv.json").read_text())
    stored = {
        k: (t, int(np.argmax(x)))
        for r in results(tmp_path)
        for k, t, x in zip(r["keys"], r["truth"], r["logits"], strict=True)
    }
    assert len(stored) == 36
    assert not any(key.startswith("smic/s03/") for key in stored)
    truth, predicted = zip(*stored.values(), strict=True)
    full = scores(truth, predicted, 3)["full"]
    assert summary["metrics"]["full"]["uf1"]["mean"] == pytest.approx(full["uf1"])
    assert len(summary["history"]) == 3
    assert summary["history"][-1]["uf1"] == pytest.approx(full["uf1"])


def test_a_cross_validation_can_be_ended_and_taken_up(megc_folder, tmp_path):
    plain = config(megc_folder)
    ended = run_cv(plain, out=tmp_path, parts=4, workers=0, on_step=lambda history: len(history) < 2)
    assert ended["stopped"] == 2
    assert len(results(tmp_path)) == 2
    whole = run_cv(plain, out=tmp_path, parts=4, workers=0)
    assert whole["history"][:2] == ended["history"]
    assert whole["metrics"]["full"]["clips"] == 42


def test_a_job_skips_what_is_there(megc_folder, tmp_path):
    job = Job(config=config(megc_folder), seed=0, folds=("smic/s01", "smic/s03"), out=str(tmp_path), split="x")
    write_json(result_path(tmp_path, 0, "smic/s01"), {"mine": True})
    assert job.run() == 2
    assert json.loads(result_path(tmp_path, 0, "smic/s01").read_text()) == {"mine": True}
    assert yaml.safe_load(result_path(tmp_path, 0, "smic/s03").read_text())["split"] == "x"
