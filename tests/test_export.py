"""Exported files answer as the models they were made of, and say what they eat."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

import zoo
from zoo.cli import main
from zoo.errors import WeightError, ZooError
from zoo.export import ExportedModel, export, open_exported

pytest.importorskip("onnxruntime", reason="the extra `export` is not installed")
NAME = "ststnet.megc2019"


@pytest.fixture(scope="module", params=["onnx", "pt2"])
def file(request, tmp_path_factory):
    return export(NAME, tmp_path_factory.mktemp("exported") / f"net.{request.param}")


@pytest.mark.parametrize("batch", [1, 2, 37])
def test_a_file_answers_as_the_model_does(file, batch):
    model, exported = zoo.load(NAME), open_exported(file)
    x = torch.randn(batch, 3, 28, 28, generator=torch.Generator().manual_seed(batch))
    with torch.inference_mode():
        assert torch.allclose(exported(x), model(x), atol=1e-5, rtol=1e-5)


def test_a_file_says_what_it_is(file):
    model, exported = zoo.load(NAME), open_exported(file)
    assert (exported.input_spec, exported.classes, exported.card) == (model.input_spec, model.classes, model.card)
    with pytest.raises(ZooError, match=r"wants \[B, 3, 28, 28\]"):
        exported(torch.zeros(1, 3, 24, 24))


def test_a_network_of_units_gives_both_its_answers(tmp_path):
    model, exported = (
        zoo.load("au_flow_graph.megc2019"),
        open_exported(export("au_flow_graph.megc2019", tmp_path / "net.pt2")),
    )
    x = torch.randn(5, *model.input_spec.shape)
    with torch.inference_mode():
        logits, outputs = model.forward_all(x)
        for mine, theirs in zip((logits, outputs.au_logits), exported.forward_outputs(x), strict=True):
            assert torch.allclose(mine, theirs, atol=1e-5, rtol=1e-5)
    assert exported.aus == model.aus


def test_a_network_that_counts_its_clips_is_refused_in_words(tmp_path, monkeypatch):
    from zoo.models.ststnet import STSTNet

    honest = STSTNet.forward_features
    monkeypatch.setattr(STSTNet, "forward_features", lambda self, x: honest(self, x)[: len(x)])
    with pytest.raises(ZooError, match="batch of any size"):
        export(NAME, tmp_path / "net.pt2")
    assert not list(tmp_path.iterdir())


def test_one_file_and_nothing_beside_it(file):
    assert [p.name for p in file.parent.iterdir()] == [file.name]


def test_predict_runs_a_file(file, tmp_path):
    from zoo.predictor import predict_clip
    from zoo.synthesis.sample import sample_clip

    clip = sample_clip().clip
    ours, theirs = (predict_clip(clip, model=m).prediction for m in (NAME, str(file)))
    assert theirs.probabilities == pytest.approx(ours.probabilities, abs=1e-4) and theirs.classes == ours.classes


def test_a_file_that_answers_otherwise_is_not_kept(tmp_path, monkeypatch):
    honest = ExportedModel.forward_outputs
    monkeypatch.setattr(ExportedModel, "forward_outputs", lambda self, x: tuple(v + 1e-3 for v in honest(self, x)))
    with pytest.raises(ZooError, match="nothing was kept"):
        export(NAME, tmp_path / "net.pt2", checks=4)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("argv", "word"),
    [
        ([NAME, "--out", "net.tflite"], "tflite"),
        (["ststnet", "--out", "net.onnx"], "without weights"),
        ([NAME, "--out", "net.pt2", "--checks", "0"], "--checks is 0"),
        ([NAME, "--out", "/proc/none/net.pt2"], "choose another place"),
    ],
)
def test_the_command_explains(argv, word, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["export", *argv]) == 2
    assert word in capsys.readouterr().err and not list(tmp_path.iterdir())


def test_foreign_and_torn_files_are_refused(tmp_path):
    import onnx
    from onnx import TensorProto, helper

    node = helper.make_node("Identity", ["input"], ["output"])
    values = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1]) for n in ("input", "output")]
    model = helper.make_model(helper.make_graph([node], "g", values[:1], values[1:]), opset_imports=[helper.make_opsetid("", 18)], ir_version=8)  # fmt: skip
    onnx.save(model, str(tmp_path / "foreign.onnx"))
    with pytest.raises(WeightError, match="not written by"):
        open_exported(tmp_path / "foreign.onnx")
    for suffix in ("onnx", "pt2"):
        (tmp_path / f"torn.{suffix}").write_bytes(json.dumps({}).encode())
        with pytest.raises(WeightError, match="no readable"):
            open_exported(tmp_path / f"torn.{suffix}")
    with pytest.raises(WeightError, match="does not exist"):
        open_exported(Path("nowhere.onnx"))
