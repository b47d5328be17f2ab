"""Runs of two domains through the real command: what is written, what is compared, what is refused."""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest
import pytorch_lightning as pl
import torch

import zoo
from tests.conftest import write_published_layout
from tests.fakes.two_domains import fitted, macro_rows
from tests.tiny import TINY
from zoo import create_model
from zoo.cli import main
from zoo.errors import ZooError
from zoo.train.losses import emotion_loss
from zoo.train.transfer_task import TransferTask

RECIPE = ["--config", "ststnet_megc2019", "--config", "base/two_domains"]


def places(micro, macro):
    return ["--data.root", str(micro), *TINY, "--data.macro", f"{{root: {macro}, batch_size: 9}}"]


def run(command, micro, macro, out, *flags):
    return main([command, *RECIPE, *places(micro, macro), "--out", str(out), "--quiet", *flags])


@pytest.fixture(scope="module")
def other_folder(tmp_path_factory):
    """The same macro clips, of which one moves otherwise."""
    rows = macro_rows()
    rows[0] = (*rows[0][:4], np.roll(rows[0][4], 3, 0))
    return write_published_layout(tmp_path_factory.mktemp("other"), rows)


# --- losses ---------------------------------------------------------------------------------------------------------


class First(pl.Callback):
    """The parts of the first step, and what the network was before it."""

    def on_train_batch_start(self, trainer, task, batch, index):
        if index == 0:
            self.batch, self.net = batch, copy.deepcopy(task.net)
            self.random = torch.get_rng_state()

    def on_train_batch_end(self, trainer, task, outputs, batch, index):
        if index == 0:
            self.loss = outputs["loss"]
            trainer.should_stop = True


def first_step(task, micro, macro, **options):
    seen = First()
    given = task.configure_callbacks
    task.configure_callbacks = lambda: [*given(), seen]
    data, _ = fitted(task, micro, macro, **options)
    return seen, data


def test_the_losses_of_a_recipe_are_those_of_both_domains(megc_folder, macro_folder):
    """Focal, with weights counted on the clips of each domain, by hand."""
    losses = {"emotion": "focal", "emotion_args": {"gamma": 1.5, "balance": 0.5}}
    task = TransferTask(
        net=create_model("ststnet", dropout=0.0),
        losses=losses,
        transfer={"method": "mmd", "macro_weight": 0.25, "weight": 0.0},
    )
    seen, data = first_step(task, megc_folder, macro_folder)
    (x, y, _), (other_x, other_y, _) = seen.batch
    logits = seen.net.train()(torch.cat((x, other_x)))
    wanted = [
        emotion_loss("focal", num_classes=3, class_counts=torch.tensor(side.class_counts), gamma=1.5, balance=0.5)
        for side in (data, data.macro)
    ]
    by_hand = wanted[0](logits[: len(y)], y) + 0.25 * wanted[1](logits[len(y) :], other_y)
    assert float(seen.loss) == pytest.approx(float(by_hand), rel=1e-5)


def test_macro_clips_have_losses_of_their_own(megc_folder, macro_folder):
    task = TransferTask(
        net=create_model("ststnet", dropout=0.0),
        transfer={"macro_losses": {"emotion": "focal", "emotion_args": {"gamma": 3.0}}},
    )
    seen, _ = first_step(task, megc_folder, macro_folder)
    (x, y, _), (other_x, other_y, _) = seen.batch
    logits = seen.net.train()(torch.cat((x, other_x)))
    by_hand = torch.nn.functional.cross_entropy(logits[: len(y)], y) + emotion_loss("focal", num_classes=3, gamma=3.0)(
        logits[len(y) :], other_y
    )
    assert float(seen.loss) == pytest.approx(float(by_hand), rel=1e-5)


def coded(units_of_macro):
    """Give the clips of each domain action units by their class: micro all of them, macro as told."""

    def put(data):
        sets = (frozenset({4}), frozenset({12}), frozenset({1, 2}))
        for side, shown in ((data, True), (data.macro, units_of_macro)):
            clips = side.prepared.data
            object.__setattr__(clips, "aus", tuple(sets[k] if shown else None for k in clips.labels))

    return put


@pytest.mark.parametrize("of_macro", [True, False])
def test_action_units_are_targets_where_they_are_coded(of_macro, megc_folder, macro_folder, monkeypatch):
    from zoo.train.two_domains import TwoDomainDataModule

    setup, put = TwoDomainDataModule.setup, coded(of_macro)

    def with_units(self, stage=None):
        begun = self.macro is None
        setup(self, stage)
        if begun:
            put(self)

    monkeypatch.setattr(TwoDomainDataModule, "setup", with_units)
    net = create_model("me_graphau", aus=[1, 2, 4, 12], node_features=8, backbone="conv4")
    task = TransferTask(net=net, losses={"au": "bce", "au_weight": 2.0}, transfer={"method": "dann"})
    parts: list[set[str]] = []
    given = task._of_domains

    def watched(*arguments):
        told = given(*arguments)
        parts.append(set(told))
        return told

    task._of_domains = watched
    if of_macro:
        fitted(task, megc_folder, macro_folder)
        assert parts[0] == {"micro_emotion", "micro_au", "macro_emotion", "macro_au"}
    else:
        with pytest.warns(UserWarning, match="leave the macro clips out: nobody coded the units of"):
            fitted(task, megc_folder, macro_folder)
        assert parts[0] == {"micro_emotion", "micro_au", "macro"}
    assert net._edges.value is None, "what the network minimises of its own was taken"
    with pytest.raises(
        ZooError, match="need clips whose units are coded"
    ):  # told for macro clips, it is not left out in silence
        put = coded(False)
        strict = {"method": "dann", "macro_losses": {"au": "bce"}}
        fitted(TransferTask(net=net, losses={"au": "bce"}, transfer=strict), megc_folder, macro_folder)


# --- results --------------------------------------------------------------------------------------------------------


def test_every_result_says_which_macro_clips_were_beside(megc_folder, macro_folder, other_folder, tmp_path, capsys):
    assert run("loso", megc_folder, macro_folder, tmp_path / "a", "--seeds", "1", "--workers", "0") == 0, (
        capsys.readouterr().err
    )
    summary = json.loads((tmp_path / "a" / "loso.json").read_text())
    results = [json.loads(p.read_text()) for p in (tmp_path / "a" / "seed0").glob("*.json")]
    digest = summary["digests"]["macro"]
    assert len(digest) == 64 and summary["macro_clips"] == 42 and len(results) == 7
    assert all(r["macro"] == digest and r["macro_clips"] == 42 for r in results)
    train = run("train", megc_folder, macro_folder, tmp_path / "t", "--data.fold", "samm/006")
    assert train == 0 and json.loads((tmp_path / "t" / "run.json").read_text())["digests"]["macro"] == digest
    capsys.readouterr()
    # one macro clip is another: neither gone on with …
    (tmp_path / "a" / "seed0" / "samm__006.json").unlink()
    assert run("loso", megc_folder, other_folder, tmp_path / "a", "--seeds", "1", "--workers", "0") == 2
    told = " ".join(capsys.readouterr().err.split())
    assert "comes from another macro" in told and "Traceback" not in told
    assert not (tmp_path / "a" / "seed0" / "samm__006.json").exists()
    # … nor compared as if it were the same
    (tmp_path / "b").mkdir()
    other = {**summary, "digests": {**summary["digests"], "macro": "f" * 64}}
    alone = {**summary, "digests": {k: v for k, v in summary["digests"].items() if k != "macro"}}
    for name, content in (("b", other), ("c", alone), ("d", summary)):
        (tmp_path / name).mkdir(exist_ok=True)
        (tmp_path / name / "loso.json").write_text(json.dumps(content))
    assert (
        main(["compare", *(str(tmp_path / n) for n in "abcd"), "--out", str(tmp_path / "z"), "--resamples", "100"]) == 0
    )
    notes = json.loads((tmp_path / "z" / "compare.json").read_text())["notes"]
    assert len(notes) == 2 and f"b beside macro {'f' * 13}, a beside macro {digest[:13]}" in notes[0]
    assert "c beside nothing" in notes[1]


def test_cross_validation_says_so_too(megc_folder, macro_folder, tmp_path, capsys):
    assert run("cv", megc_folder, macro_folder, tmp_path, "--parts", "2", "--workers", "0") == 0, (
        capsys.readouterr().err
    )
    summary = json.loads((tmp_path / "cv.json").read_text())
    results = [json.loads(p.read_text()) for p in (tmp_path / "seed0").glob("*.json")]
    assert summary["macro_clips"] == 42 and {r["macro"] for r in results} == {summary["digests"]["macro"]}


@pytest.fixture(scope="module")
def seen_teacher(megc_folder, tmp_path_factory):
    """Weights of action units that were trained on one of the persons."""
    folder = tmp_path_factory.mktemp("seen")
    from zoo.weights import fingerprint

    net = create_model("au_flow_graph")
    record = {"seen": [fingerprint("samm/006/006_00_1")]}
    return f"local-dir:{zoo.save(net, folder / 'teacher', classes=('negative', 'positive', 'surprise'), card='', record=record)}"


STUDENT = ["--model.arch", "kd_student", "--model.arch_args", "{num_classes: 3}", "--model.input",
           "{modality: flow, channels: [u, v, strain], size: 28, map_size: 28, crop: megc2019, scaling: robust}"]  # fmt: skip


@pytest.mark.parametrize("command", ["train", "loso", "cv"])
def test_a_teacher_that_has_seen_who_is_tested_is_a_leak(
    command, megc_folder, macro_folder, seen_teacher, tmp_path, capsys
):
    spec = zoo.load(seen_teacher).input_spec
    student = [
        *STUDENT[:-1],
        f"{{modality: flow, channels: [u, v, strain], size: 28, map_size: 28, crop: {spec.crop}, scaling: {spec.scaling}}}",
    ]
    flags = [*student, "--model.transfer", f"{{method: distill, teacher: {seen_teacher}}}"]
    if command == "train":
        flags += ["--data.fold", "samm/006"]
    assert run(command, megc_folder, macro_folder, tmp_path / "run", *flags) == 2
    told = " ".join(capsys.readouterr().err.split())
    assert "leak" in told and "samm/006/006_00_1" in told and "Traceback" not in told
    if command == "train":  # on everybody it may be used; who it has seen is told on
        assert run("train", megc_folder, macro_folder, tmp_path / "all", *flags[:-1], "samm/011") == 0, (
            capsys.readouterr().err
        )
        record = json.loads((tmp_path / "all" / "run.json").read_text())
        assert len(record["seen"]) == record["train_clips"] + 42 and len(record["digests"]["teacher"]) == 64


# --- audit ----------------------------------------------------------------------------------------------------------


def test_audit_of_a_run_of_two_domains(megc_folder, macro_folder, tmp_path, capsys):
    flags = [
        "audit",
        "occlusion",
        *RECIPE,
        "--root",
        str(megc_folder),
        "--partial",
        "--aus",
        "1,12",
        "--resamples",
        "100",
    ]
    flags += ["--trainer.max_epochs", "1", "--data.batch_size", "12", "--out", str(tmp_path / "o")]
    assert main([*flags, "--data.macro", f"{{root: {macro_folder}}}"]) == 0, capsys.readouterr().err
    content = json.loads((tmp_path / "o" / "occlusion.json").read_text())
    assert (
        content["clean"] is True
        and "with macro clips beside" in content["remark"]
        and "7 networks" in content["remark"]
    )
    assert main([*flags, "--data.macro", f"{{root: {megc_folder}}}"]) == 2, "the same people"
    assert "would be tested and trained on" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["audit", "occlusion", "--model", "ststnet.megc2019", "--root", str(megc_folder), "--data.macro", "x"])


# --- what is refused ------------------------------------------------------------------------------------------------

WRONG = {
    "same people": (["--data.macro", "{root: MICRO}"], "samm/006 would be tested and trained on"),
    "class missing": (["--data.macro", "{root: NO_SURPRISE}"], "macro domain shows no surprise"),
    "empty": (["--data.macro", "{root: EMPTY}"], "data.macro:"),
    "no place": (["--data.macro", "{batch_size: 9}"], "data.macro: it names no clips"),
    "nowhere": (["--data.macro", "{root: /nowhere}"], "data.macro: /nowhere"),
    "empty fold": (["--data.macro", "{root: MACRO, fold: samm/999}"], "data.macro: "),
    "unknown field": (["--data.macro", "{root: MACRO, rot: 1}"], "data.macro has no rot"),
    "no second domain": (["--data.macro", "null"], "two domains need other clips"),
    "both": (["--data.adapt_to_test", "true"], "exclude each other"),
    "nothing to adapt to": (["--data.macro", "null", "--data.adapt_to_test", "true", "--data.fold", "all"], "holds no clip out"),
    "classes not known": (["--data.macro", "null", "--data.adapt_to_test", "true", "--model.transfer.method", "joint"], "dann, coral, mmd"),
    "unknown method": (["--model.transfer.method", "dan"], "known: joint, dann"),
    "unknown option": (["--model.transfer", "{methode: dann}"], "transfer has no methode; it has beta"),
    "negative": (["--model.transfer.weight", "-1"], "transfer.weight is -1"),
    "no number": (["--model.transfer.weight", "much"], "transfer.weight is 'much'"),
    "not finite": (["--model.transfer", "{margin: .inf}"], "transfer.margin is inf"),
    "no mapping": (["--model.transfer", "dann"], "model.transfer"),
    "losses no mapping": (["--model.transfer", "{macro_losses: focal}"], "transfer.macro_losses is 'focal'"),
    "losses unknown": (["--model.transfer", "{macro_losses: {emotin: ce}}"], "losses have no emotin"),
    "teacher missing": (["--model.transfer", "{method: distill}"], "learns from a teacher"),
    "teacher unknown": (["--model.transfer", "{method: distill, teacher: me_grafau.synthetic}"], "me_graphau.synthetic"),
    "teacher nowhere": (["--model.transfer", "{method: distill, teacher: 'local-dir:/nowhere'}"], "/nowhere holds no checkpoint"),
    "teacher of nothing": (["--model.transfer", "{method: dann, teacher: me_graphau.synthetic}"], "dann has no teacher"),
    "teacher of no units": (["--model.transfer", "{method: distill, teacher: ststnet.megc2019}"], "needs teacher AUModel, got ststnet"),
    "wrong family": (["--model.transfer.method", "emr"], "emr needs the network EMR, got ststnet"),
    "one clip each": (["--model.transfer.method", "coral", "--data.macro", "{root: MACRO, batch_size: 1}"], "raise the batch size"),
    "macro batch": (["--data.macro", "{root: MACRO, batch_size: 0}"], "batch_size is 0"),
    "macro mirror": (["--data.macro", "{root: MACRO, mirror: often}"], "mirror is 'often'"),
}  # fmt: skip


@pytest.fixture(scope="module")
def wrong_places(megc_folder, macro_folder, tmp_path_factory):
    root = tmp_path_factory.mktemp("wrong")
    (root / "empty" / "norm_u_v_os").mkdir(parents=True)
    return {
        "MICRO": megc_folder, "MACRO": macro_folder, "EMPTY": root / "empty" / "norm_u_v_os",
        "NO_SURPRISE": write_published_layout(root, [r for r in macro_rows() if r[3] != 2]),
    }  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_be_learnt_together_is_refused(case, wrong_places, tmp_path, capsys):
    flags, word = WRONG[case]
    for name, place in wrong_places.items():
        flags = [flag.replace(name, str(place)) for flag in flags]
    out = tmp_path / "run"
    code = run("train", wrong_places["MICRO"], wrong_places["MACRO"], out, "--data.fold", "samm/006", *flags)
    told = " ".join(capsys.readouterr().err.split())
    assert code == 2 and word in told, told
    assert "Traceback" not in told and not (out / "checkpoint").exists() and not (out / "run.json").exists()


def test_macro_clips_of_another_kind_are_refused(wrong_places, tmp_path, capsys):
    """Stills beside motion; whatever the network eats, beside a network that eats something else."""
    from PIL import Image

    for person in ("KA", "YM"):
        for emotion in ("AN", "HA", "SU"):
            Image.new("L", (64, 64), 90).save(tmp_path / f"{person}.{emotion}1.1.tiff")
    table = tmp_path / "jaffe.parquet"
    assert main(["data", "build", "jaffe", "--root", str(tmp_path), "--out", str(table)]) == 0
    capsys.readouterr()
    flags = ["--data.macro", f"{{manifest: {table}, frames: {tmp_path}, protocol: own_3, faces: cropped}}"]
    assert run("train", wrong_places["MICRO"], "", tmp_path / "run", "--data.fold", "samm/006", *flags) == 2
    told = " ".join(capsys.readouterr().err.split())
    assert (
        "data.macro: " in told and "holds 6 pictures and no sequence, but the network eats flow (u, v, strain)" in told
    )
    flags = [
        "--data.root",
        "",
        "--data.manifest",
        str(table),
        "--data.frames",
        str(tmp_path),
        "--data.protocol",
        "own_3",
    ]
    flags += ["--data.faces", "cropped", "--model.arch", "saat", "--model.arch_args", "{backbone: test_resnet}"]
    out = ["--model.input", "{size: 32, map_size: 32}", "--data.cache", str(tmp_path / "cache")]
    assert run("train", "", wrong_places["MACRO"], tmp_path / "run", *flags, *out) == 2
    told = " ".join(capsys.readouterr().err.split())
    assert "data.macro: the published MEGC2019 maps are pictures of flow" in told
