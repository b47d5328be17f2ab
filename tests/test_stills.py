"""Large sets of single pictures: FER2013 in its copies, official parts, packed inputs; through the real command."""

from __future__ import annotations

import json
import shutil

import cv2
import numpy as np
import pytest
import torch
from fakes import fer

from zoo.cli import main
from zoo.data.augment import vary
from zoo.data.manifest import Manifest
from zoo.data.module import FlowMapsDataModule
from zoo.data.protocols import split
from zoo.data.readers import read
from zoo.data.source import Source
from zoo.data.transforms import Augmentation, apply, draw
from zoo.errors import DataError, ProtocolError, ZooError
from zoo.inputs import pictures_of, planes_of, prepare, prepare_planes
from zoo.models.backbone import features
from zoo.registry import create_model
from zoo.types import Clip, InputSpec, Interval

SPEC = InputSpec(modality="apex", channels=("grey",), size=48, map_size=48, scaling="imagenet", crop="face")
SHARE = 0.004  # of FER2013: 115 + 21 + 21 pictures or a few more
TINY = ["--model.arch_args", "{num_classes: 7, backbone: test_resnet, stem: unpooled}", "--trainer.max_epochs", "1",
        "--data.batch_size", "16", "--trainer.accelerator", "cpu"]  # fmt: skip


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """A folder with a fake fer2013.csv, and its manifest beside it."""
    root = tmp_path_factory.mktemp("fer") / "FER2013"
    root.mkdir()
    fer.write(root / "fer2013.csv", share=SHARE)
    assert main(["data", "build", "fer2013", "--root", str(root), "--out", str(root.parent / "fer.parquet")]) == 0
    return root


def source(root, cache, **changes):
    return {"manifest": str(root.parent / "fer.parquet"), "frames": str(root), "protocol": "fer2013", "faces": "cropped",
            "cache": str(cache), **changes}  # fmt: skip


def numbers(share=SHARE):
    return {part: sum(max(2, round(n * share)) for n in counts) for part, counts in fer.COUNTS.items()}


# --- copies of FER2013


@pytest.mark.parametrize(
    ("name", "header"), [("fer2013.csv", "emotion,pixels,Usage"), ("icml_face_data.csv", "emotion, Usage, pixels")]
)
def test_every_copy_of_the_table_reads_the_same(table, tmp_path, name, header):
    fer.write(tmp_path / name, share=SHARE, header=header)
    ours, theirs = read("fer2013", tmp_path), Manifest.load(table.parent / "fer.parquet")
    same = ["id", "emotion", "split"]
    assert ours.table[same].equals(theirs.table[same]) and ours.table["path"].iloc[0] == f"{name}#0"
    (tmp_path / ("fer2013.csv" if name.startswith("icml") else "icml_face_data.csv")).write_text(
        "emotion,pixels,Usage\n"
    )
    assert len(read("fer2013", tmp_path)) in (0, len(theirs)), "fer2013.csv comes first where both are there"


def test_tables_of_single_parts_and_one_without_emotions(tmp_path):
    fer.write(tmp_path / "train.csv", share=SHARE, header="emotion,pixels")
    (tmp_path / "test.csv").write_text("pixels\n" + " ".join(["7"] * 2304) + "\n")
    found = read("fer2013", tmp_path)
    assert set(found.table["split"]) == {"Training"} and found.table["path"].iloc[1] == "train.csv#1"
    assert "test.csv has no emotions: passed over" in found.reports[0].notes
    with pytest.raises(ProtocolError, match="Without a part to test, choose another scheme"):
        split(found, "fer2013")
    fer.write(tmp_path / "test.csv", share=0.0001, header="emotion,pixels", seed=1)
    both = read("fer2013", tmp_path)
    assert [f.name for f in split(both, "fer2013").folds] == ["test"] and both.table.index.is_unique


@pytest.mark.parametrize("top", ["", "images"])
def test_folders_of_pictures(tmp_path, top):
    words = dict(zip(fer.NAMES, ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral"), strict=True))
    for emotion, picture, usage in fer.rows(0.0001):
        folder = tmp_path / top / {"Training": "train"}.get(usage, "test") / words[fer.NAMES[emotion]]
        folder.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(folder / f"{usage}_{len(list(folder.iterdir()))}.png"), picture)
    found = read("fer2013", tmp_path)
    assert set(found.table["emotion"].value_counts()) == {6} and set(found.table["split"]) == {"train", "test"}
    made = split(found, "fer2013")
    assert [f.name for f in made.folds] == ["test"] and len(made.folds[0].train) == 14
    (tmp_path / top / "test" / "bored").mkdir()
    with pytest.raises(DataError, match="'bored' is none of anger"):
        read("fer2013", tmp_path)
    with pytest.raises(DataError, match="votes of FER"):
        read("fer2013", tmp_path, options={"labels": "ferplus"})


# --- official parts


def test_training_learns_and_private_test_is_held_out(table, tmp_path):
    data = FlowMapsDataModule(**source(table, tmp_path), fold="test", input_spec=SPEC)
    data.setup()
    parts = Manifest.load(table.parent / "fer.parquet").table["split"]
    sides = {side: {parts[data.prepared.data.keys[i]] for i in getattr(data.fold, side)} for side in ("train", "test")}
    assert sides == {"train": {"Training"}, "test": {"PrivateTest"}}
    count = numbers()
    assert (len(data.fold.train), len(data.fold.test)) == (count["Training"], count["PrivateTest"])
    chosen = FlowMapsDataModule(**source(table, tmp_path), fold="val", prepared=data.prepared)
    chosen.setup()
    assert len(chosen.fold.test) == count["PublicTest"] and not set(chosen.fold.test) & set(data.fold.test)
    with pytest.raises(ZooError, match="no fold 'tset'; did you mean test"):
        FlowMapsDataModule(**source(table, tmp_path), fold="tset", prepared=data.prepared).setup()


def test_without_persons_nobody_is_left_out_one_by_one(table, tmp_path, monkeypatch):
    monkeypatch.setattr("zoo.data.splits.MOST_PLACES", 1000)
    monkeypatch.setattr("zoo.data.selection.MOST_PLACES", 1000)
    data = Source.of(source(table, tmp_path, protocol="own_basic7")).load(SPEC)
    assert data.folds == ()
    with pytest.raises(ProtocolError, match=r"data\.scheme official or kfold:10"):
        data.split()
    with pytest.raises(ProtocolError, match="choose official or kfold:10"):
        Source.of(source(table, tmp_path, scheme="lovo")).load(SPEC)
    assert len(Source.of(source(table, tmp_path, scheme="kfold:3")).load(SPEC).folds) == 3


def test_what_a_selection_leaves_out_is_counted(table):
    manifest = Manifest.load(table.parent / "fer.parquet")
    notes = split(manifest, "own_3").notes
    neutral = int((manifest.table["emotion"] == "neutral").sum())
    assert f"{neutral} clips left out: fer2013: neutral has no class in three" in notes


# --- packed inputs


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"scaling": "median"},
        {"channels": ("red", "green", "blue"), "scaling": "unit"},
        {"size": 40, "scaling": "raw255"},
    ],
)
def test_a_pack_is_the_input_of_every_clip(change):
    spec, rng = SPEC.replace(**change), np.random.default_rng(0)
    clips = [Clip(id=str(i), dataset="d", subject="s", frames=[rng.integers(0, 255, (60, 52, 3), np.uint8)] * 2,
                  interval=Interval(onset=0, apex=1)) for i in range(3)]  # fmt: skip
    pack = np.stack([planes_of(pictures_of(clip, spec), spec) for clip in clips])
    assert pack.dtype == np.uint8
    assert np.array_equal(prepare_planes(pack, spec), np.stack([prepare(clip, spec) for clip in clips]))
    with pytest.raises(ZooError, match="more than the channels of one picture"):
        planes_of(pictures_of(clips[0], spec), spec.replace(channels=("difference",)))


def test_a_few_files_hold_all_pictures_and_are_read_again(table, tmp_path, monkeypatch):
    monkeypatch.setattr("zoo.data.apex_set.MOST", 50)
    seen = []
    first = Source.of(source(table, tmp_path)).load(SPEC, lambda done, total: seen.append((done, total)))
    total = sum(numbers().values())
    assert len(first) == total and seen[-1] == (total, total)
    files = list(tmp_path.rglob("*.npy"))
    assert len(files) == -(-total // 50) and sum(f.stat().st_size for f in files) < total * 48 * 48 + 200 * len(files)
    monkeypatch.setattr("zoo.data.apex_set.pictures_of", None)  # the second time nothing may be computed
    again = Source.of(source(table, tmp_path)).load(SPEC)
    assert again.digest == first.digest and first.planes([0, 60]).shape == (2, 1, 48, 48)
    shutil.copy(table / "fer2013.csv", table.parent / "other.csv")
    (table / "fer2013.csv").touch()
    with pytest.raises(TypeError):  # the file was changed: what was packed of it does not count any more
        Source.of(source(table, tmp_path)).load(SPEC)


def test_batches_of_a_pack(table, tmp_path):
    data = FlowMapsDataModule(
        **source(table, tmp_path), fold="test", input_spec=SPEC, batch_size=16, mirror=1.0, shift=0
    )
    data.setup()
    x, y, rows = next(iter(data.train_dataloader()))
    assert torch.equal(x, data.prepared.take(rows).flip(-1)) and torch.equal(y, data.prepared.labels[rows])
    straight = torch.cat([x for x, _, _ in data.test_dataloader()])
    assert torch.equal(straight, data.prepared.take(torch.tensor(data.fold.test)))


def test_varied_batches_move_as_single_pictures_do():
    rng = np.random.default_rng(0)
    smooth = (
        cv2.GaussianBlur(rng.integers(0, 255, (48, 48, 16), np.uint8), (0, 0), 2).transpose(2, 0, 1)[:, None].copy()
    )
    wide = Augmentation(flip=0.5, shift=0.1, rotate=20, scale=0.2, brightness=0.1, contrast=0.3)
    draws = [draw(wide, rng) for _ in smooth]
    for picture, one, varied in zip(smooth, draws, vary(smooth, draws), strict=True):
        alone = apply({"frames": np.repeat(picture[0][None, ..., None], 3, -1)}, one)["frames"][0, ..., 0]
        assert np.abs(alone - varied[0]).max() < 2, "they differ by how they round"
    still = [draw(Augmentation(), rng)] * len(smooth)
    assert np.array_equal(vary(smooth, still), smooth.astype(np.float32))
    noisy = [draw(Augmentation(noise=9), rng) for _ in smooth]
    assert 7 < (vary(np.full_like(smooth, 128), noisy) - 128).std() < 11


# --- the network, and the whole way


def test_a_stem_without_pooling_has_the_same_weights_and_wider_maps():
    pooled, unpooled = (
        create_model("resnet_apex", num_classes=7, backbone="resnet18", stem=stem, input_spec=SPEC)
        for stem in ("pooled", "unpooled")
    )
    assert {k: v.shape for k, v in pooled.state_dict().items()} == {
        k: v.shape for k, v in unpooled.state_dict().items()
    }
    assert sum(p.numel() for p in unpooled.parameters()) == 11_173_831
    assert (pooled.trunk.map_size((1, 48, 48)), unpooled.trunk.map_size((1, 48, 48))) == ((2, 2), (3, 3))
    with pytest.raises(ZooError, match="stem is 'small'"):
        create_model("resnet_apex", stem="small")
    for name in ("conv4", "mobilenetv3_small_050"):
        with pytest.raises(ZooError, match="no max-pooling"):
            features(name, 1, pooled=False)


def test_fer2013_by_one_command_after_its_manifest(table, tmp_path, capsys):
    places = [
        "--data.manifest",
        str(table.parent / "fer.parquet"),
        "--data.frames",
        str(table),
        "--data.cache",
        str(tmp_path / "c"),
    ]
    asked = ["train", "--config", "resnet18_fer2013", *places, *TINY, "--out", str(tmp_path / "run")]
    assert main(asked) == 0, capsys.readouterr().err
    run = json.loads((tmp_path / "run" / "run.json").read_text())
    assert run["fold"] == "test" and run["train_clips"] == numbers()["Training"] and "test/accuracy" in run["test"]
    assert run["config"]["data"]["protocol"] == "fer2013" and len(list((tmp_path / "c").rglob("*.npy"))) == 1
    said = capsys.readouterr().err
    counted = Manifest.load(table.parent / "fer.parquet").table["emotion"].value_counts()
    assert f"fer2013, official: {sum(numbers().values())} clips" in said and f"happiness {counted['happiness']}" in said
    assert f"trains on {numbers()['Training']}, holds out {numbers()['PrivateTest']} (test)" in said
