"""MEGC2019 from its published layout, splits that refuse to leak, augmentation that knows what flow is."""

from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.conftest import fake_clips, write_published_layout
from zoo.data.augment import mirror_maps, shift
from zoo.data.flow_maps import FlowMaps
from zoo.data.megc2019 import COUNTS, read_megc2019
from zoo.data.module import FlowMapsDataModule, Prepared, ResidentLoader, pick_fold
from zoo.data.splits import Fold, check_folds, grouped_kfold, loso, split_digest
from zoo.errors import DataError, ProtocolError, UnknownName
from zoo.features.block_flow import BlockFlow
from zoo.types import MEGC_CLASSES, InputSpec


@pytest.fixture(scope="module")
def data(megc_folder) -> FlowMaps:
    return read_megc2019(megc_folder, complete=False)


def test_published_layout_is_read_as_written(data):
    rows = {(d, s): {} for d, s, *_ in fake_clips()}
    for dataset, subject, clip, label, picture in fake_clips():
        rows[dataset, subject][clip] = (label, picture)
    assert len(data) == 42
    for i in range(len(data)):
        label, picture = rows[data.datasets[i], data.subjects[i]][data.clips[i]]
        assert data.labels[i] == label
        assert np.array_equal(data.maps[i], picture.transpose(2, 0, 1)), "channels u, v, strain, not OpenCV's order"


def test_folder_and_npz_agree(data, tmp_path):
    np.savez(tmp_path / "maps.npz", flow=data.maps.transpose(0, 2, 3, 1), label=data.labels.astype(np.uint8), dataset=data.datasets,
             subject=data.subjects, clip=data.clips)  # fmt: skip
    twin = read_megc2019(tmp_path / "maps.npz", complete=False)
    assert twin.digest == data.digest
    assert twin.keys == data.keys


def test_the_folder_above_is_found_too(megc_folder, data):
    assert read_megc2019(megc_folder.parent, complete=False).digest == data.digest


def test_digest_ignores_order_and_sees_a_pixel(data):
    order = np.random.default_rng(0).permutation(len(data))

    def pick(values):
        return tuple(values[i] for i in order)

    shuffled = FlowMaps(maps=data.maps[order], labels=data.labels[order], datasets=pick(data.datasets), subjects=pick(data.subjects),
                        clips=pick(data.clips), classes=data.classes, source="shuffled")  # fmt: skip
    assert shuffled.digest == data.digest
    changed = shuffled.maps.copy()
    changed[0, 0, 0, 0] ^= 1
    assert replace(shuffled, maps=changed).digest != data.digest


@pytest.mark.parametrize(
    ("fault", "word"),
    [
        ("incomplete", "the challenge has"), ("nowhere", "does not exist"), ("empty", "u_test"), ("stranger", "person7"), ("text", "no readable PNG"),
        ("leak", "leaks"), ("npz", "cannot be read"), ("sizes", "different sizes"), ("twice", "occurs twice"),
    ],
)  # fmt: skip
def test_faults_are_named(tmp_path, fault, word):
    import cv2

    root = write_published_layout(tmp_path, fake_clips()[:12])
    first = sorted((root / "sub01" / "u_test" / "0").glob("*.png"))[0]
    path, complete = root, fault == "incomplete"
    match fault:
        case "nowhere":
            path = tmp_path / "nowhere"
        case "empty":
            path = tmp_path / "empty"
            path.mkdir()
        case "stranger":
            (root / "sub01").rename(root / "person7")
        case "text":
            first.write_text("not a picture")
        case "leak":
            shutil.copy(first, root / "sub01" / "u_train" / "0" / first.name)
        case "npz":
            path = tmp_path / "maps.npz"
            path.write_bytes(b"PK nothing")
        case "sizes":
            cv2.imwrite(str(first), np.zeros((30, 30, 3), np.uint8))
        case "twice":
            shutil.copy(first, root / "sub01" / "u_test" / "1" / first.name)
    with pytest.raises(DataError, match=word):
        read_megc2019(path, complete=complete)


def test_real_composite_has_the_counts_of_the_challenge(megc_real):
    real = read_megc2019(megc_real)
    assert len(real) == 442
    assert len(set(real.people)) == 68
    assert np.bincount(real.labels).tolist() == [250, 109, 83]
    assert sum(map(sum, COUNTS.values())) == 442
    assert np.all(real.maps.min((2, 3)) == 0)
    assert np.all(real.maps.max((2, 3)) == 255)


def test_loso_tests_everybody_once_and_trains_on_nobody_tested(data):
    folds = loso(data.people)
    check_folds(folds, data.people)
    assert [f.name for f in folds] == sorted(set(data.people))
    for fold in folds:
        assert {data.people[i] for i in fold.test} == {fold.name}
        assert len(fold.train) + len(fold.test) == len(data)


def test_leaks_are_refused():
    people = ["a/1", "a/1", "a/2"]
    with pytest.raises(ProtocolError, match="both sides"):
        Fold(name="x", train=(0, 1), test=(1, 2))
    with pytest.raises(ProtocolError, match="a/1"):
        check_folds([Fold(name="x", train=(0,), test=(1,)), Fold(name="y", train=(0, 1), test=(2,))], people)
    with pytest.raises(ProtocolError, match="tested once"):
        check_folds([Fold(name="x", train=(2,), test=(0, 1))], people)
    with pytest.raises(ProtocolError, match="two subjects"):
        loso(["a/1", "a/1"])


def test_same_name_in_two_data_sets_is_two_people():
    assert [f.name for f in loso(["casme/sub01", "casme2/sub01", "casme2/sub01"])] == ["casme/sub01", "casme2/sub01"]


def test_grouped_folds_and_digest(data):
    folds = grouped_kfold(data.people, data.labels.tolist(), folds=3, seed=0)
    check_folds(folds, data.people)
    assert split_digest(folds, data.keys) == split_digest(folds[::-1], data.keys)
    assert split_digest(folds, data.keys) != split_digest(loso(data.people), data.keys)


def test_pick_fold(data):
    assert pick_fold(data, "all").test == ()
    assert {data.people[i] for i in pick_fold(data, "samm/006").test} == {"samm/006"}
    assert len(pick_fold(data, "1/3").test) + len(pick_fold(data, "2/3").test) + len(
        pick_fold(data, "3/3").test
    ) == len(data)
    with pytest.raises((ProtocolError, UnknownName), match="casme2/sub01"):
        pick_fold(data, "casme2/sub1")


def test_mirror_turns_the_sign_of_u_only():
    maps = np.random.default_rng(0).integers(0, 256, (2, 3, 28, 28), dtype=np.uint8)
    mirrored = mirror_maps(maps)
    assert np.array_equal(mirrored[:, 0], 255 - maps[:, 0, :, ::-1])
    assert np.array_equal(mirrored[:, 1:], maps[:, 1:, :, ::-1])
    assert np.array_equal(mirror_maps(mirrored), maps)


def test_mirrored_picture_is_the_picture_of_the_mirrored_motion():
    """Stretching and mirroring commute up to rounding, so a mirrored map is what a mirrored face would have given."""
    from zoo.inputs import normalise

    flow = np.random.default_rng(1).normal(size=(3, 28, 28)).astype(np.float32)
    turned = flow[..., ::-1].copy()
    turned[0] *= -1
    direct, through = normalise(turned, 28).astype(int), mirror_maps(normalise(flow, 28)[None])[0].astype(int)
    assert np.abs(direct - through).max() <= 1


def test_shift_moves_by_at_most_so_many_pixels():
    x = torch.arange(49.0).reshape(1, 1, 7, 7)
    seen = {tuple(shift(x, 1, torch.Generator().manual_seed(s))[0, 0, 3, 3].reshape(1).tolist()) for s in range(60)}
    assert seen == {(float(24 + dy * 7 + dx),) for dy in (-1, 0, 1) for dx in (-1, 0, 1)}
    assert shift(x, 0, torch.Generator()) is x


def test_loader_is_a_function_of_seed_and_epoch(data):
    prepared = Prepared.of(data, InputSpec())

    def epochs(seed, count):
        loader = ResidentLoader(prepared, range(40), batch_size=16, seed=seed, mirror=0.5, shift_pixels=1)
        return [[(x.clone(), rows.tolist()) for x, _, rows in loader] for _ in range(count)]

    first, again, other = epochs(0, 2), epochs(0, 2), epochs(1, 1)
    for a, b in zip(first[1], again[1], strict=True):
        assert a[1] == b[1]
        assert torch.equal(a[0], b[0])
    assert [r for _, r in first[0]] != [r for _, r in first[1]] != [r for _, r in other[0]]
    assert [len(r) for _, r in first[0]] == [16, 16], "the last, smaller batch is left out in training"
    tested = ResidentLoader(prepared, range(40), batch_size=16)
    assert len(list(tested)) == len(tested) == 3
    assert torch.equal(torch.cat([x for x, _, _ in tested]), prepared.inputs[0, :40])


def test_module_holds_the_tested_person_out(megc_folder):
    module = FlowMapsDataModule(str(megc_folder), fold="smic/s03", batch_size=8, complete=False)
    module.setup()
    people = module.prepared.data.people
    seen = {people[i] for _, _, rows in module.train_dataloader() for i in rows.tolist()}
    assert "smic/s03" not in seen
    assert {people[i] for _, _, rows in module.test_dataloader() for i in rows.tolist()} == {"smic/s03"}
    assert module.class_counts.tolist() == [12, 12, 12]
    assert module.prepared.data.classes == MEGC_CLASSES


def test_block_means_by_hand():
    maps = np.zeros((1, 3, 4, 4), np.float32)
    maps[0, 0, :2, :2] = 8
    maps[0, 2] = 5
    got = BlockFlow(grid=2).fit_transform(maps)[0]
    assert got.tolist() == [8, 0, 0, 0, 0, 0, 0, 0, 5, 5, 5, 5], "the median leaves u and v, strain keeps its level"
    with pytest.raises(ValueError, match="divide"):
        BlockFlow(grid=3).transform(maps)
