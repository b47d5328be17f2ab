"""A data set on disk, through manifest, protocol and cache, to training: the whole path on frames that move."""

from __future__ import annotations

import json
import shutil

import cv2
import numpy as np
import pytest
from fakes import moving

from zoo.cli import main
from zoo.data.module import FlowMapsDataModule, Prepared, ResidentLoader
from zoo.data.motion_maps import maps_of
from zoo.data.selection import Selection
from zoo.data.source import Source
from zoo.errors import DataError, ProtocolError, ZooError
from zoo.types import InputSpec

SPEC = InputSpec(flow="tvl1_fast")


@pytest.fixture(scope="module")
def disk(tmp_path_factory):
    return moving.write(tmp_path_factory.mktemp("frames"))


def options(disk, tmp_path, **changes):
    return {"manifest": str(disk / "casme2.parquet"), "frames": str(disk), "protocol": "casme2_3", "complete": False,
            "faces": "cropped", "cache": str(tmp_path / "cache"), **changes}  # fmt: skip


def flags(disk, tmp_path, *, epochs):
    """The same options as the command takes them, over a recipe with a fast flow."""
    given = [
        part
        for k, v in options(disk, tmp_path).items()
        for part in (f"--data.{k}", str(v).lower() if isinstance(v, bool) else str(v))
    ]
    common = [
        "--config",
        "ststnet_megc2019",
        "--data.batch_size",
        "6",
        "--trainer.max_epochs",
        str(epochs),
        "--model.input.flow",
        "tvl1_fast",
    ]
    return common, given


def test_manifest_becomes_maps_with_the_protocols_folds(disk, tmp_path):
    data = Source.of(options(disk, tmp_path)).load(SPEC)
    assert data.maps.shape == (12, 3, 28, 28)
    assert data.classes == ("negative", "positive", "surprise")
    assert [data.classes[y] for y in data.labels[:3]] == ["positive", "surprise", "negative"]
    assert sorted(f.name for f in data.split()) == [f"casme2/sub{i:02d}" for i in range(1, 5)]
    surprise, smile = (data.maps[list(data.clips).index(f"1_{e}")].astype(int) for e in ("surprise", "happiness"))
    still = np.median(surprise[1])
    assert surprise[1, :12].min() < still - 60, "brows go up: v is negative above"
    assert abs(smile[1, :8] - np.median(smile[1])).max() < 60, "a smile leaves the brows alone"


def test_the_second_reading_comes_from_the_cache(disk, tmp_path, monkeypatch):
    first = Source.of(options(disk, tmp_path)).load(SPEC)
    monkeypatch.setattr("zoo.data.motion_maps.flow_map", lambda *_: pytest.fail("computed again"))
    again = Source.of(options(disk, tmp_path)).load(SPEC)
    assert again.digest == first.digest
    with pytest.raises(pytest.fail.Exception):
        Source.of(options(disk, tmp_path)).load(SPEC.replace(flow="tvl1")), "another flow is another entry"


def test_a_frame_that_was_replaced_is_computed_anew(disk, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(disk, copy)
    changed = options(copy, tmp_path)
    first = Source.of(changed).load(SPEC)
    shutil.copy(copy / "sub01" / "surprise" / "img13.png", copy / "sub01" / "disgust" / "img13.png")
    assert Source.of(changed).load(SPEC).digest != first.digest


def test_raw_frames_are_aligned_and_cut(disk, tmp_path):
    pytest.importorskip("facenet_pytorch", reason="the extra `faces` is not installed")
    raw = Source.of(options(disk, tmp_path, faces="detect")).load(SPEC)
    cropped = Source.of(options(disk, tmp_path)).load(SPEC)
    assert raw.maps.shape == cropped.maps.shape
    assert raw.digest != cropped.digest


def test_training_and_folds_work_on_it(disk, tmp_path, capsys):
    common, given = flags(disk, tmp_path, epochs=2)
    code = main(["loso", *common, *given, "--seeds", "1", "--workers", "0", "--out", str(tmp_path / "run")])
    assert code == 0, capsys.readouterr().err
    summary = json.loads((tmp_path / "run" / "loso.json").read_text())
    assert summary["protocol"].startswith("casme2_3, loso, 4 folds")
    assert summary["metrics"]["full"]["clips"] == 12
    assert main(["train", *common, *given, "--data.fold", "casme2/sub02", "--out", str(tmp_path / "one")]) == 0


def test_module_serves_the_manifest(disk, tmp_path):
    module = FlowMapsDataModule(**options(disk, tmp_path), fold="casme2/sub03", batch_size=3, input_spec=SPEC)
    module.setup()
    assert module.class_counts.tolist() == [3, 3, 3]
    assert {module.prepared.data.people[i] for _, _, rows in module.test_dataloader() for i in rows.tolist()} == {
        "casme2/sub03"
    }


def test_balanced_sampling_evens_the_classes(megc_folder):
    from zoo.data.megc2019 import read_megc2019

    prepared = Prepared.of(read_megc2019(megc_folder, complete=False), InputSpec())
    rows = [i for i, y in enumerate(prepared.labels.tolist()) if y == 0 or i < 9]  # 17 of class 0, 3 each of the others
    loader = ResidentLoader(prepared, rows, batch_size=len(rows), seed=0, balanced=True)
    counts = np.bincount(np.concatenate([y.numpy() for _ in range(200) for _, y, _ in loader]), minlength=3)
    assert counts.min() / counts.max() > 0.9
    again = ResidentLoader(prepared, rows, batch_size=len(rows), seed=0, balanced=True)
    assert [r.tolist() for *_, r in again] == [
        r.tolist() for *_, r in ResidentLoader(prepared, rows, batch_size=len(rows), seed=0, balanced=True)
    ]


@pytest.mark.parametrize(
    ("change", "error", "word"),
    [
        ({"protocol": "casme2_4"}, ZooError, "did you mean"), ({"protocol": "megc2019"}, ProtocolError, "lacks"), ({"frames": ""}, DataError, "--data.frames"),
        ({"root": "x"}, DataError, "not both"), ({"manifest": "/nowhere.parquet"}, ZooError, "nowhere"), ({"frames": "samm=/x"}, DataError, "casme2"),
        ({"faces": "guess"}, ZooError, "cropped"), ({"complete": True}, ProtocolError, "casme2"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named(disk, tmp_path, change, error, word):
    with pytest.raises(error, match=word):
        Source.of(options(disk, tmp_path, **change)).load(SPEC)


def test_a_missing_frame_names_clip_and_frame(disk, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(disk, copy)
    (copy / "sub02" / "disgust" / "img13.png").unlink()
    with pytest.raises(DataError, match=r"casme2/sub02/2_disgust: apex is frame 13"):
        chosen = Selection.of(str(copy / "casme2.parquet"), copy, "casme2_3", faces="cropped", strict=False)
        maps_of(chosen, SPEC, cache=tmp_path / "c")


def test_contact_sheet_of_a_manifest_without_sources(disk, tmp_path):
    """Rows that say nothing of where their apex came from, and pictures too small for flow."""
    assert (
        main(
            [
                "data",
                "show",
                str(disk / "casme2.parquet"),
                "--root",
                str(disk),
                "--number",
                "3",
                "--out",
                str(tmp_path / "a.png"),
            ]
        )
        == 0
    )
    assert (tmp_path / "a.png").stat().st_size > 20_000
    small = tmp_path / "small"
    shutil.copytree(disk, small)
    for path in small.rglob("*.png"):
        cv2.imwrite(str(path), cv2.imread(str(path))[:12, :12])
    assert (
        main(
            [
                "data",
                "show",
                str(small / "casme2.parquet"),
                "--root",
                str(small),
                "--number",
                "1",
                "--out",
                str(tmp_path / "b.png"),
            ]
        )
        == 0
    )


def test_augmentation_moves_the_motion_as_vectors(disk, tmp_path):
    """A flip by the augmenter is the mirrored map; rotation and scale give new maps, the same for the same seed and epoch."""
    from zoo.data.augment import mirror_maps

    module = FlowMapsDataModule(
        **options(disk, tmp_path), batch_size=12, input_spec=SPEC.replace(scaling="raw255"), augment={"flip": 1.0}
    )
    module.setup()
    x, _, rows = next(iter(module.train_dataloader()))
    wanted = mirror_maps(module.prepared.data.maps)[rows.numpy()]
    assert np.abs(x.numpy() - wanted).max() <= 2, "kept in half precision, a level or two may differ"
    turned = FlowMapsDataModule(
        **options(disk, tmp_path), batch_size=12, input_spec=SPEC, augment={"rotate": 10.0, "scale": 0.1, "shift": 0.02}
    )
    turned.setup()
    loader = turned.train_dataloader()
    first, second = next(iter(loader))[0], next(iter(loader))[0]
    assert not np.allclose(first, second), "another epoch, another draw"
    assert np.array_equal(first, next(iter(turned.train_dataloader()))[0])


def test_augmentation_through_the_command_and_its_refusals(disk, tmp_path, megc_folder, capsys):
    common, given = flags(disk, tmp_path, epochs=1)
    run = ["loso", *common, "--seeds", "1", "--workers", "0", "--data.augment.rotate", "5"]
    assert main([*run, *given, "--out", str(tmp_path / "run")]) == 0, capsys.readouterr().err
    assert main([*run, "--data.root", str(megc_folder), "--data.complete", "false", "--out", str(tmp_path / "no")]) == 2
    assert "hold none any more" in capsys.readouterr().err
    with pytest.raises(ZooError, match="rotate"):
        FlowMapsDataModule(**options(disk, tmp_path), augment={"rotat": 5})
