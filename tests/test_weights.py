"""Checkpoints: found in order, verified before use, loaded strictly, written whole or not at all."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import zoo
from zoo import weights
from zoo.convert import convert
from zoo.errors import UnknownName, WeightError, ZooError
from zoo.types import MEGC_CLASSES, InputSpec

PUBLISHED = zoo.list_models("*", pretrained=True)


@pytest.fixture
def saved(tmp_path):
    torch.manual_seed(1)
    model = zoo.create_model("ststnet", input_spec=InputSpec(scaling="median")).eval()
    return model, zoo.save(model, tmp_path / "net", classes=MEGC_CLASSES, card="# card\n")


def test_round_trip(saved):
    model, folder = saved
    twin = zoo.load(f"local-dir:{folder}")
    x = torch.randn(2, 3, 28, 28)
    assert torch.equal(twin(x), model(x))
    assert not twin.training
    assert (twin.input_spec, twin.classes, twin.card) == (model.input_spec, MEGC_CLASSES, "# card\n")
    assert {p.name for p in folder.iterdir()} == {"config.json", "model.safetensors", "README.md"}


def test_half_precision_keeps_normalisation_exact(tmp_path):
    model = zoo.create_model("sssnet").eval()
    folder = zoo.save(model, tmp_path / "half", classes=MEGC_CLASSES, card="", half=True)
    stored = load_file(folder / "model.safetensors")
    assert stored["fc1.weight"].dtype == torch.float16
    assert stored["block1.3.running_var"].dtype == torch.float32
    x = torch.randn(2, *model.input_spec.shape)
    torch.testing.assert_close(zoo.load(f"local-dir:{folder}")(x), model(x), atol=5e-3, rtol=5e-3)


@pytest.mark.parametrize("fault", ["missing", "unknown", "shape", "nan", "truncated", "pickle", "no_weights"])
def test_weights_that_do_not_fit_are_refused(saved, fault):
    _, folder = saved
    path = folder / "model.safetensors"
    state = {k: v.clone() for k, v in load_file(path).items()}
    match fault:
        case "missing":
            del state["bn2.bias"]
        case "unknown":
            state["extra.weight"] = torch.zeros(1)
        case "shape":
            state["fc.weight"] = torch.zeros(5, 400)
        case "nan":
            state["fc.bias"] = torch.full((3,), float("nan"))
        case "truncated":
            path.write_bytes(path.read_bytes()[:-100])
        case "pickle":
            torch.save(state, path)
        case "no_weights":
            path.unlink()
    if fault in ("missing", "unknown", "shape", "nan"):
        save_file(state, path)
    word = {"missing": "bn2.bias", "unknown": "extra.weight", "shape": "fc.weight", "nan": "fc.bias"}.get(
        fault, "safetensors"
    )
    with pytest.raises(WeightError, match=word):
        zoo.load(f"local-dir:{folder}")


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("{", "cannot be read"),
        ('{"arch": "ststnet"}', "lacks"),
        ('{"arch": "nonet", "arch_args": {}, "input_spec": {}, "classes": []}', "nonet"),
    ],
)
def test_damaged_config(saved, text, word):
    _, folder = saved
    (folder / "config.json").write_text(text)
    with pytest.raises(WeightError, match=word):
        zoo.load(f"local-dir:{folder}")


def test_a_listed_file_is_verified_before_it_is_used(saved, tmp_path, monkeypatch):
    model, folder = saved
    shelf = tmp_path / "shelf"
    shutil.copytree(folder, shelf / "ststnet.test")
    weights.write_index(shelf, {"ststnet.test": {"arch": "ststnet", "repo": None, "revision": None}})
    monkeypatch.setenv("ZOO_CHECKPOINTS", str(shelf))
    assert zoo.list_models("*", pretrained=True) == ["ststnet.test"]
    assert torch.equal(zoo.load("ststnet.test").fc.weight, model.fc.weight)
    for file in ("model.safetensors", "config.json", "README.md"):
        path = shelf / "ststnet.test" / file
        whole = path.read_bytes()
        path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))  # one bit
        with pytest.raises(WeightError, match=f"{file} is not the published file"):
            zoo.load("ststnet.test")
        path.write_bytes(whole)


def test_saving_never_overwrites_something_else(saved, tmp_path):
    model, folder = saved
    other = tmp_path / "thesis"
    other.mkdir()
    (other / "chapter1.tex").write_text("precious")
    with pytest.raises(ZooError, match="nothing was overwritten"):
        zoo.save(model, other, classes=MEGC_CLASSES, card="")
    assert [p.name for p in other.iterdir()] == ["chapter1.tex"]
    zoo.save(model, folder, classes=("a", "b", "c"), card="new")  # a checkpoint may be replaced
    assert zoo.load(f"local-dir:{folder}").classes == ("a", "b", "c")
    assert {p.name for p in tmp_path.iterdir()} == {"net", "thesis"}, "no temporary folder stays behind"


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("ststnet", "architecture"), ("ststnet.megc2018", "ststnet.megc2019"), ("./net", "local-dir:"), ("lab/net", "hf-hub:lab/net"),
        ("local-dir:/nowhere", "holds no checkpoint"), ("hf-hub:no-slash", "owner/name"),
    ],
)  # fmt: skip
def test_names_that_lead_nowhere(name, word):
    with pytest.raises((UnknownName, WeightError), match=word):
        zoo.load(name)


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_weights_load_and_answer(name):
    model = zoo.load(name)
    entry = weights.index()[name]
    x = torch.rand(2, *model.input_spec.shape)
    assert model(x).shape == (2, len(model.classes))
    assert model.classes == tuple(entry["classes"])
    assert sum(p.numel() for p in model.parameters()) == entry["parameters"]
    folder = weights.checkpoints_dir() / name
    assert (folder / "model.safetensors").stat().st_size <= 25e6


@pytest.mark.parametrize("name", [n for n in PUBLISHED if n.endswith(".megc2019")])
def test_card_tells_what_the_record_says(name):
    entry, card = weights.index()[name], (weights.checkpoints_dir() / name / "README.md").read_text()
    record = json.loads((weights.checkpoints_dir() / name / "config.json").read_text())["record"]
    assert record["metrics"] == entry["metrics"]
    for part in ("full", "smic", "casme2", "samm"):
        for metric in ("uf1", "uar"):
            value = entry["metrics"][part][metric]
            assert value["seeds"] >= 5
            assert f"{value['mean']:.3f} ± {value['std']:.3f}" in card
    for words in (
        "research only",
        "lie detector",
        "SMIC",
        "CASME II",
        "SAMM",
        entry["digests"]["split"][:16],
        "support vector machine",
    ):
        assert words in card
    assert f"{entry['parameters']:,}" in card


def test_every_checkpoint_folder_is_listed():
    folders = {p.name for p in weights.checkpoints_dir().iterdir() if p.is_dir()}
    assert folders == set(zoo.list_models("*", pretrained=True, task="*"))
    assert {
        "ststnet.megc2019",
        "off_apexnet.megc2019",
        "dual_inception.megc2019",
        "rcn_f.megc2019",
        "sssnet.megc2019",
    } <= folders


class AuthorsNet(torch.nn.Module):
    """The network as the authors' script defines it, written from its description: three streams, padding 2."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2, self.conv3 = (torch.nn.Conv2d(3, n, 3, padding=2) for n in (3, 5, 8))
        self.bn1, self.bn2, self.bn3 = (torch.nn.BatchNorm2d(n) for n in (3, 5, 8))
        self.fc = torch.nn.Linear(400, 3)

    def forward(self, x):
        pool = torch.nn.functional.max_pool2d
        maps = [
            pool(b(c(x).relu()), 3, 3, 1)
            for c, b in ((self.conv1, self.bn1), (self.conv2, self.bn2), (self.conv3, self.bn3))
        ]
        return self.fc(torch.nn.functional.avg_pool2d(torch.cat(maps, 1), 2).flatten(1))


@pytest.mark.parametrize("zipped", [True, False])
def test_convert_gives_the_authors_classes(tmp_path, megc_folder, zipped):
    import cv2

    torch.manual_seed(3)
    authors = AuthorsNet()
    for _ in range(20):  # statistics of raw 0..255 pictures
        authors.train()(torch.rand(32, 3, 28, 28) * 255)
    authors.eval()
    torch.save(authors.state_dict(), tmp_path / "006.pth", _use_new_zipfile_serialization=zipped)
    folder = convert("ststnet", tmp_path / "006.pth", tmp_path / "out")
    model = zoo.load(f"local-dir:{folder}")
    files = sorted(megc_folder.glob("*/u_test/*/*.png"))
    theirs = authors(torch.stack([torch.tensor(cv2.imread(str(f))).permute(2, 0, 1).float() for f in files])).argmax(1)
    by_clip = {
        clip.key: model(torch.from_numpy(zoo.prepare(clip, model.input_spec))[None]).argmax().item()
        for clip in zoo.read_megc2019(megc_folder, complete=False)
    }
    dataset = {"sub": "casme2", "s": "smic", "": "samm"}
    ours = []
    for file in files:
        subject, stem = file.parents[2].name, file.stem.strip()
        ours.append(by_clip[f"{dataset[subject.rstrip('0123456789')]}/{subject}/{stem.removeprefix(f'{subject}_')}"])
    assert ours == theirs.tolist()
    assert len(set(ours)) > 1


def test_convert_refuses_what_is_no_state_dict(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (print, ("code ran while opening a file",))

    torch.save(Bomb(), tmp_path / "bomb.pth")
    torch.save({"weight": torch.zeros(3)}, tmp_path / "other.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    (tmp_path / "text.pth").write_text("hello")
    for file, word in (
        ("bomb", "refused"),
        ("other", "bn1.weight"),
        ("list", "state dict"),
        ("text", "state dict"),
        ("none", "does not exist"),
    ):
        with pytest.raises(WeightError, match=word):
            convert("ststnet", tmp_path / f"{file}.pth", tmp_path / "out")
    with pytest.raises(ZooError, match="convertible: softnet, ststnet"):
        convert("sssnet", tmp_path / "other.pth", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("seed", range(6))
def test_bytes_that_are_nothing_are_refused_in_words(tmp_path, seed):
    (tmp_path / "junk.pth").write_bytes(np.random.default_rng(seed).bytes(2000))
    with pytest.raises(WeightError, match="no plain PyTorch state dict"):
        convert("ststnet", tmp_path / "junk.pth", tmp_path / "out")
