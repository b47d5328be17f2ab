"""Fine-tuning in stages: by hand, on fakes, and through the real command."""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from torch.nn import functional as F

import zoo
from tests.fakes import moving
from tests.test_folds import config
from tests.test_models import build
from zoo import create_model
from zoo.cli import main
from zoo.data.clips import open_clip
from zoo.data.manifest import Manifest
from zoo.data.module import FlowMapsDataModule
from zoo.errors import MediaError, UnknownName, ZooError
from zoo.models.resnet_apex import APEX, GREY
from zoo.train.jobs import Job, config_digest
from zoo.train.stacked import why_not
from zoo.train.task import RecognitionTask
from zoo.train.transfer import FineTune, FineTuning, rebuilt, stages_of
from zoo.types import InputSpec

JENA = {"input_spec": InputSpec(size=32, map_size=32)}


def trained(task, folder, epochs=1, **options):
    """Fit on the fakes; returns what the network looked like before, and the trainer."""
    before = {k: v.clone() for k, v in task.net.state_dict().items()}
    quiet = {
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    trainer = pl.Trainer(max_epochs=epochs, accelerator="cpu", **{**quiet, **options})
    trainer.fit(task, datamodule=FlowMapsDataModule(str(folder), complete=False, fold="samm/006", batch_size=12))
    return before, trainer


def moved(task, before) -> set[str]:
    return {k for k, v in task.net.state_dict().items() if not torch.equal(v, before[k])}


def sssnet(**finetune):
    return RecognitionTask(net=small_sssnet(), lr=1e-2, finetune=finetune)


def small_sssnet():
    torch.manual_seed(0)
    return create_model("sssnet", input_spec=InputSpec(size=64, map_size=28))


def test_frozen_weights_and_their_batch_statistics_do_not_move(megc_folder):
    task = sssnet(freeze=["block1"])
    before, _ = trained(task, megc_folder)
    changed = moved(task, before)
    assert not {k for k in changed if k.startswith("block1.")}, "weights, running mean, variance and count stay"
    assert {"block2.0.weight", "block2.3.running_mean", "block2.3.num_batches_tracked", "fc.weight"} <= changed
    free = RecognitionTask(net=small_sssnet(), lr=1e-2)
    before, _ = trained(free, megc_folder)
    assert {"block1.0.weight", "block1.3.running_mean"} <= moved(free, before), "unfrozen they do"
    assert all(p.requires_grad for p in task.net.parameters()), "afterwards everything may learn again"


def test_a_frozen_part_drops_nothing_out_and_stays_so_after_a_validation(megc_folder):
    task, seen = sssnet(freeze=["block1"]), []

    class Watch(pl.Callback):
        def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
            seen.append((task.net.block1.training, task.net.block1[4].training, task.net.block2[4].training))

    trained(task, megc_folder, epochs=2, callbacks=[Watch()])
    assert set(seen) == {(False, False, True)}


def test_star_leaves_the_classifier_alone_to_learn(megc_folder):
    task = sssnet(freeze=["*"])
    before, _ = trained(task, megc_folder)
    assert moved(task, before) == {"fc.weight", "fc.bias"}


def test_stages_wake_from_the_classifier_down(megc_folder):
    task, awake = sssnet(unfreeze_every=1), []

    class Watch(pl.Callback):
        def on_train_epoch_end(self, trainer, pl_module):
            awake.append({n.split(".")[0] for n, p in task.net.named_parameters() if p.requires_grad})
            statistics.append(task.net.block1[3].num_batches_tracked.item())

    statistics: list[int] = []
    with pytest.warns(UserWarning, match=r"3 epochs are too few to wake block1\.0"):
        trained(task, megc_folder, epochs=3, callbacks=[Watch()])
    assert awake[0] == {"fc"} and awake[1] == {"fc", "fc1"} and awake[2] == {"fc", "fc1", "block2"}
    assert statistics == [0, 0, 0], "what sleeps keeps its statistics"


def test_rates_of_the_stages(megc_folder):
    net = create_model("jena_resnet10", **JENA)
    names = [stage.name for stage in stages_of(net)]
    assert names == ["trunk.data_norm", "trunk.conv1", *(f"trunk.layer{i}" for i in (1, 2, 3, 4)), "fc"]
    groups = FineTune.of({"lr_decay": 0.5, "head_lr": 10, "freeze": ["layer2"]}).groups(net, lr=0.08)
    assert {g["name"]: round(g["lr"], 6) for g in groups} == {
        "trunk.data_norm": 0.00125, "trunk.conv1": 0.0025, "trunk.layer1": 0.005, "trunk.layer3": 0.02, "trunk.layer4": 0.04, "fc": 0.8
    }  # fmt: skip
    held = [id(p) for g in groups for p in g["params"]]
    wanted = [id(p) for n, p in net.named_parameters() if not n.startswith("trunk.layer2.")]
    assert sorted(held) == sorted(wanted), "each parameter once"


@pytest.mark.parametrize("schedule", ["constant", "onecycle", "cosine"])
def test_the_optimiser_has_those_rates(schedule, megc_folder):
    task = RecognitionTask(net=small_sssnet(), lr=1e-2, schedule=schedule, finetune={"lr_decay": 0.5})
    _, trainer = trained(task, megc_folder)
    groups = trainer.optimizers[0].param_groups
    rates = [g["max_lr"] if schedule == "onecycle" else g.get("initial_lr", g["lr"]) for g in groups]
    assert rates == pytest.approx([1e-2 * 0.5 ** (len(groups) - 1 - i) for i in range(len(groups))])
    assert groups[-1]["name"] == "fc"


def test_one_step_moves_each_stage_as_far_as_its_rate(megc_folder):
    """Plain gradient descent on one batch: the step is the gradient times the rate of the stage."""
    net = small_sssnet().eval()
    reference = copy.deepcopy(net)
    x, y = torch.randn(4, *net.input_spec.shape), torch.tensor([0, 1, 2, 0])
    optimiser = torch.optim.SGD(FineTune.of({"lr_decay": 0.1}).groups(net, lr=0.5))
    F.cross_entropy(net(x), y).backward()
    gradients = {n: p.grad.clone() for n, p in net.named_parameters()}
    optimiser.step()
    for part, rate in (("fc", 0.5), ("fc1", 0.05)):
        name = f"{part}.weight"
        torch.testing.assert_close(net.state_dict()[name], reference.state_dict()[name] - rate * gradients[name])


@pytest.mark.parametrize("name", zoo.list_models())
def test_stages_hold_every_parameter_of_every_model_once(name):
    net = build(name)
    stages = stages_of(net)
    held = [n for stage in stages for n in stage.parameters]
    assert sorted(held) == sorted(n for n, _ in net.named_parameters())
    assert stages[-1].name == net.classifier and len(stages) > 1


def test_a_timm_resnet_has_its_own_stages():
    net = create_model("resnet_apex", backbone="resnet10t", input_spec=APEX.replace(size=32))
    names = [stage.name.rpartition(".")[2] for stage in stages_of(net)]
    assert names == ["conv1", "layer1", "layer2", "layer3", "layer4", "fc"]
    frozen = FineTune.of({"freeze": ["layer1", "trunk.body.conv1"]}).frozen(net)
    assert frozen == [net.trunk.body["layer1"], net.trunk.body["conv1"]]
    assert FineTune.of({"freeze": ["conv1"]}).frozen(net) == [net.trunk.body["conv1"]], (
        "the stem, not one of each block"
    )
    assert len(FineTune.of({"freeze": ["trunk.body.layer*.conv1"]}).frozen(net)) == 4


def test_stages_side_by_side_are_named():
    net = create_model("dual_inception")
    groups = FineTune.of({"lr_decay": 0.5, "stages": [["stream_u", "stream_v"], ["fc1"]]}).groups(net, lr=1.0)
    assert [(g["name"], g["lr"]) for g in groups] == [("stream_u stream_v", 0.25), ("fc1", 0.5), ("fc", 1.0)]
    with pytest.raises(ZooError, match=r"leaves out stream_v\."):
        FineTune.of({"stages": [["stream_u"], ["fc1"]]}).groups(net, lr=1.0)
    with pytest.raises(ZooError, match="twice"):
        FineTune.of({"stages": [["stream_u", "stream_v"], ["fc1", "stream_u"]]}).groups(net, lr=1.0)


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"frezze": []}, "freeze"), ({"freeze": "block1"}, "list of names"), ({"freeze": ["blokc1"]}, "block1"), ({"lr_decay": 0}, "above 0"),
        ({"unfreeze_every": -1}, "epochs"), ({"freeze": ["*", "fc"]}, "nothing"), ({"imagenet": True}, "no backbone"),
        ({"arch_args": {"dropout": 0.1}}, "model.arch_args"), ({"stages": ["block1"]}, "list of lists"),
    ],
)  # fmt: skip
def test_a_wrong_recipe_is_a_clear_error(options, word):
    with pytest.raises((ZooError, UnknownName), match=word):
        sssnet(**options)


def test_attention_comes_after_the_trunk():
    torch.manual_seed(0)
    trunk = create_model("micro_attention", stage="trunk", input_spec=GREY.replace(size=32)).eval()
    trunk.classes = ("a", "b", "c", "d", "e")
    whole = rebuilt(trunk, {"stage": "attention"})
    assert whole.config["stage"] == "attention" and not whole.training and whole.classes == trunk.classes
    fresh = {n for n in whole.state_dict() if n not in trunk.state_dict()}
    assert fresh == {f"trunk.layer{i}.attention.join.weight" for i in (1, 2, 3, 4)}
    assert all(torch.equal(v, whole.state_dict()[k]) for k, v in trunk.state_dict().items())
    with pytest.raises(ZooError, match="does not fit"):
        rebuilt(whole, {"stage": "trunk"})  # attention that was learnt is not thrown away in silence


def test_the_digest_of_recipes_without_it_stays_and_the_stack_leaves_it_to_the_trainer(megc_folder):
    plain = config(megc_folder)
    without = {**plain, "model": {k: v for k, v in plain["model"].items() if k != "finetune"}}
    used = {**plain, "model": {**plain["model"], "finetune": {"lr_decay": 0.5}}}
    assert "finetune" in plain["model"] and config_digest(plain) == config_digest(without) != config_digest(used)
    assert why_not(plain) == "" and why_not(used) == "it sets model.finetune"


def test_every_fold_is_fine_tuned(megc_folder, monkeypatch):
    plain, seen = config(megc_folder, "ststnet_megc2019", "--trainer.max_epochs", "2"), []
    begin = FineTuning.on_train_epoch_start

    def watched(self, trainer, module):
        begin(self, trainer, module)
        seen.append([n for n, p in self.net.named_parameters() if p.requires_grad])

    monkeypatch.setattr(FineTuning, "on_train_epoch_start", watched)
    used = {**plain, "model": {**plain["model"], "finetune": {"freeze": ["*"]}}}
    one, other = (Job(config=c, seed=0, folds=("samm/006",), out="", split="").fit("samm/006") for c in (used, plain))
    assert seen == [["fc.weight", "fc.bias"]] * 2 and one["logits"] != other["logits"]


def test_from_a_checkpoint_through_the_command(megc_folder, tmp_path, capsys):
    base = zoo.create_model("ststnet")
    source = zoo.save(base, tmp_path / "base", classes=("negative", "positive", "surprise"), card="")
    flags = ["--data.root", str(megc_folder), "--data.fold", "samm/006", "--trainer.max_epochs", "1", "--quiet"]
    flags += ["--model.weights", f"local-dir:{source}", "--out", str(tmp_path / "run")]
    chosen = ["--model.finetune", "{freeze: [conv3, bn3], lr_decay: 0.7}"]
    assert main(["train", "--config", "ststnet_finetune", *flags, *chosen]) == 0, capsys.readouterr().err
    made, run = (
        zoo.load(f"local-dir:{tmp_path / 'run' / 'checkpoint'}"),
        json.loads((tmp_path / "run/run.json").read_text()),
    )
    assert torch.equal(made.conv3.weight, base.conv3.weight) and torch.equal(
        made.bn3.running_mean, base.bn3.running_mean
    )
    assert not torch.equal(made.conv2.weight, base.conv2.weight)
    assert run["config"]["model"]["finetune"] == {"freeze": ["conv3", "bn3"], "lr_decay": 0.7}
    capsys.readouterr()
    assert main(["train", "--config", "ststnet_finetune", *flags, "--model.finetune", "{freeze: [conv9]}"]) == 2
    told = capsys.readouterr().err
    assert "conv9" in told and "conv3" in told and "Traceback" not in told


@pytest.fixture(scope="module")
def stills(tmp_path_factory):
    """Three people as JAFFE publishes them, one picture each emotion; what moves is where the brightness is."""
    from PIL import Image

    folder, rng = tmp_path_factory.mktemp("jaffe"), np.random.default_rng(0)
    for k, person in enumerate(("KA", "YM", "NA")):
        for e, emotion in enumerate(("AN", "HA", "SU")):
            for take in (1, 2):
                picture = rng.integers(0, 60, (40, 40), np.uint8)
                picture[12 * e : 12 * e + 12] += 150
                Image.fromarray(picture).save(folder / f"{person}.{emotion}{take}.{9 * k + 3 * e + take}.tiff")
    assert main(["data", "build", "jaffe", "--root", str(folder), "--out", str(folder / "jaffe.parquet")]) == 0
    return folder


SMALL = ["--model.input", "{size: 32, map_size: 32}", "--quiet", "--trainer.accelerator", "cpu"]


def pictures(folder, manifest, fold):
    return ["--data.manifest", str(folder / manifest), "--data.frames", str(folder), "--data.faces", "cropped", "--data.cache",
            str(folder / "cache"), "--data.fold", fold, "--data.batch_size", "6"]  # fmt: skip


def test_from_stills_of_macro_to_micro_through_the_command(stills, tmp_path, capsys):
    """Both stages of micro-attention: the trunk on pictures of macro-expressions, then the attention on micro clips."""
    macro = [
        "train",
        "--config",
        "micro_attention_manifest",
        "--out",
        str(tmp_path / "macro"),
        "--trainer.max_epochs",
        "12",
        *SMALL,
    ]
    assert main([*macro, "--data.shift", "0", *pictures(stills, "jaffe.parquet", "jaffe/NA")]) == 0, (
        capsys.readouterr().err
    )
    first = json.loads((tmp_path / "macro" / "run.json").read_text())
    assert first["test"]["test/accuracy"] > 0.9, "the stills are made to be learnt"
    people = moving.write(tmp_path / "micro", people=3)
    micro = [
        "train",
        "--config",
        "base/macro_to_micro",
        "--out",
        str(tmp_path / "out"),
        "--trainer.max_epochs",
        "1",
        *SMALL[2:],
    ]
    chosen = ["--model.finetune.arch_args", "{stage: attention}", "--model.finetune.freeze", "[conv1, layer1]"]
    micro += [
        "--model.weights",
        f"local-dir:{tmp_path / 'macro' / 'checkpoint'}",
        "--data.protocol",
        "casme2_3",
        *chosen,
    ]
    assert main([*micro, *pictures(people, "casme2.parquet", "casme2/sub02")]) == 0, capsys.readouterr().err
    made, trunk = (zoo.load(f"local-dir:{tmp_path / where / 'checkpoint'}") for where in ("out", "macro"))
    assert made.config["stage"] == "attention" and made.input_spec == trunk.input_spec
    moved = {k for k, v in trunk.state_dict().items() if not torch.equal(v, made.state_dict()[k])}
    assert not {k for k in moved if k.startswith(("trunk.conv1.", "trunk.layer1."))}
    assert {"fc.weight", "trunk.layer4.conv2.weight", "trunk.layer2.norm0.running_mean"} <= moved
    seen = json.loads((tmp_path / "out" / "run.json").read_text())
    assert set(first["seen"]) <= set(seen["seen"]), "what the macro stage saw goes along"
    assert seen["config"]["model"]["finetune"] == {
        "lr_decay": 0.5,
        "arch_args": {"stage": "attention"},
        "freeze": ["conv1", "layer1"],
    }


def test_fer2013_as_it_is_released_is_learnt(tmp_path, capsys):
    rng, rows = np.random.default_rng(0), []
    for i in range(36):
        picture = rng.integers(0, 60, (48, 48))
        picture[16 * (i % 3) : 16 * (i % 3) + 16] += 150
        rows.append(f"{(0, 3, 5)[i % 3]},{' '.join(map(str, picture.ravel()))},Training")
    (tmp_path / "fer2013.csv").write_text("\n".join(["emotion,pixels,Usage", *rows]) + "\n")
    assert main(["data", "build", "fer2013", "--root", str(tmp_path), "--out", str(tmp_path / "fer.parquet")]) == 0
    clip = open_clip(Manifest.load(tmp_path / "fer.parquet"), "fer2013/00035/00035", tmp_path)
    assert len(clip.frames) == len(list(clip.frames)) == 1 and np.array_equal(clip.frames[0][..., 1], picture)
    flags = [
        "--config",
        "resnet_apex_manifest",
        "--data.protocol",
        "own_basic7",
        "--model.class_balance",
        "0",
        "--quiet",
    ]
    flags += [
        "--model.arch_args",
        "{num_classes: 7, backbone: test_resnet}",
        "--data.shift",
        "0",
        "--trainer.max_epochs",
        "20",
    ]
    flags += [
        "--model.input",
        "{channels: [grey], size: 32, map_size: 32}",
        "--out",
        str(tmp_path / "run"),
        "--model.lr",
        "5e-3",
    ]
    assert main(["train", *flags, *pictures(tmp_path, "fer.parquet", "1/3")]) == 0, capsys.readouterr().err
    run = json.loads((tmp_path / "run" / "run.json").read_text())
    assert run["train_clips"] == 24 and run["test"]["test/accuracy"] > 0.9
    (tmp_path / "fer2013.csv").write_text("emotion,pixels,Usage\n")
    with pytest.raises(MediaError, match="row 37 any more"):
        clip.frames[0]


def test_a_still_shows_no_difference(stills, capsys, tmp_path):
    flags = [
        "train",
        "--config",
        "resnet_apex_manifest",
        "--out",
        str(tmp_path),
        *SMALL[2:],
        *pictures(stills, "jaffe.parquet", "jaffe/NA"),
    ]
    assert main([*flags, "--model.input", "{channels: [difference], size: 32, map_size: 32}"]) == 2
    assert "apex" in capsys.readouterr().err
