"""Augmentation: flow is a field of vectors, a clip is one unit, a draw is repeatable."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from zoo.data.transforms import Augmentation, Augmenter, Draw, apply, draw
from zoo.errors import ZooError
from zoo.facs.geometry import mirror_index

DRAWS = [Draw(flip=True), Draw(angle=90.0), Draw(angle=-30.0), Draw(scale=1.25), Draw(shift=(0.1, -0.05)),
         Draw(flip=True, angle=20.0, scale=0.9, shift=(0.05, 0.05))]  # fmt: skip


def blob(x, y, size=(81, 101)):
    yy, xx = np.mgrid[: size[0], : size[1]]
    return np.exp(-((xx - x) ** 2 + (yy - y) ** 2) / 18.0)


def centre(picture):
    yy, xx = np.mgrid[: picture.shape[0], : picture.shape[1]]
    picture = picture - picture.min()
    return np.array([(picture * xx).sum(), (picture * yy).sum()]) / picture.sum()


@pytest.mark.parametrize("d", DRAWS, ids=str)
def test_vectors_land_where_the_pictures_say(d):
    start, vector = np.array([58.0, 34.0]), np.array([6.0, -4.0])
    a, b = (np.repeat((255 * blob(*p))[..., None], 3, 2).astype(np.uint8) for p in (start, start + vector))
    flow = np.broadcast_to(vector[:, None, None], (2, 81, 101)).astype(np.float32)
    out = apply({"frames": np.stack([a, b]), "flow": flow}, d)
    before, after = (centre(f[..., 0].astype(float)) for f in out["frames"])
    column, row = np.rint(before).astype(int)
    assert np.allclose(out["flow"][:, row, column], after - before, atol=0.15)


@pytest.mark.parametrize("d", DRAWS, ids=str)
def test_landmarks_move_with_the_pictures(d):
    points = np.tile([[50.0, 40.0]], (68, 1))
    points[36] = [60.0, 33.0]
    picture = np.repeat((255 * blob(60.0, 33.0))[..., None], 3, 2).astype(np.uint8)
    out = apply({"frames": picture[None], "landmarks": points}, d)
    place = mirror_index().tolist().index(36) if d.flip else 36
    assert np.allclose(out["landmarks"][place], centre(out["frames"][0, ..., 0].astype(float)), atol=0.3)


def test_a_flip_negates_u_and_only_u():
    flow = np.random.default_rng(0).normal(size=(3, 2, 8, 10)).astype(np.float32)
    out = apply({"flow": flow}, Draw(flip=True))["flow"]
    assert np.array_equal(out[:, 0], -flow[:, 0, :, ::-1]) and np.array_equal(out[:, 1], flow[:, 1, :, ::-1])
    assert np.array_equal(apply({"flow": out}, Draw(flip=True))["flow"], flow)


def test_strain_is_moved_but_keeps_its_values():
    strain = blob(30, 20).astype(np.float32)
    out = apply({"strain": strain}, Draw(angle=90.0))["strain"]
    assert out.max() == pytest.approx(strain.max(), abs=1e-3) and not np.allclose(out, strain)


def test_strain_of_turned_flow_is_turned_strain():
    yy, xx = np.mgrid[:81, :81] - 40.0
    bump = np.exp(-(xx**2 + 2 * (yy - 6) ** 2) / 200)
    flow = np.stack([bump * 3, bump * xx * 0.1]).astype(np.float32)

    def strain(f):
        (uy, ux), (vy, vx) = np.gradient(f[0]), np.gradient(f[1])
        return np.sqrt(ux**2 + vy**2 + (uy + vx) ** 2 / 2)

    d = Draw(angle=35.0)
    turned = strain(apply({"flow": flow}, d)["flow"])
    expected = apply({"strain": strain(flow).astype(np.float32)}, d)["strain"]
    assert np.abs(turned - expected)[15:-15, 15:-15].max() < 0.05 * expected.max()  # a wrong turn is off by half


def test_every_frame_of_a_clip_gets_the_same_draw():
    frame = np.random.default_rng(1).integers(0, 255, (20, 24, 3), np.uint8)
    d = Draw(flip=True, angle=7.0, scale=1.1, shift=(0.1, 0.0), brightness=0.1, contrast=1.2)
    out = apply({"frames": np.stack([frame] * 4), "name": "kept"}, d)
    assert (out["frames"] == out["frames"][0]).all() and out["name"] == "kept"
    noisy = apply({"frames": np.stack([frame] * 2)}, Draw(noise=5.0))["frames"]
    assert (noisy[0] != noisy[1]).any() and abs(noisy.astype(int) - frame).max() < 40


def test_light_never_touches_motion():
    flow = np.ones((2, 5, 5), np.float32)
    assert np.array_equal(apply({"flow": flow}, Draw(brightness=0.3, contrast=0.5, noise=9.0))["flow"], flow)


def test_the_default_leaves_a_sample_alone():
    sample = {
        "frames": np.random.default_rng(0).integers(0, 255, (2, 6, 7, 3), np.uint8),
        "flow": np.ones((2, 6, 7), np.float32),
    }
    out = Augmenter(Augmentation())(sample, key="k", epoch=0)
    assert all(np.array_equal(out[k], sample[k]) for k in sample)


def test_a_draw_depends_on_seed_epoch_and_key_only():
    sample = {"flow": np.random.default_rng(0).normal(size=(2, 9, 9)).astype(np.float32)}
    make = Augmenter(Augmentation(flip=0.5, rotate=20, shift=0.1), seed=4)
    a, b = (make(sample, key="casme2/sub01/x", epoch=2)["flow"] for _ in range(2))
    assert np.array_equal(a, b)
    others = [make(sample, key="casme2/sub01/x", epoch=3), make(sample, key="casme2/sub01/y", epoch=2),
              Augmenter(make.augmentation, seed=5)(sample, key="casme2/sub01/x", epoch=2)]  # fmt: skip
    assert all(not np.array_equal(a, o["flow"]) for o in others)


def test_draws_stay_within_their_limits():
    a = Augmentation(flip=0.3, rotate=10, scale=0.1, shift=0.05, brightness=0.2, contrast=0.3)
    draws = [draw(a, np.random.default_rng(i)) for i in range(400)]
    assert 0.2 < np.mean([d.flip for d in draws]) < 0.4
    assert max(abs(d.angle) for d in draws) <= 10 and max(abs(d.scale - 1) for d in draws) <= 0.1
    assert max(abs(d.angle) for d in draws) > 9 and max(max(map(abs, d.shift)) for d in draws) <= 0.05


def test_flipping_68_points_twice_is_nothing():
    order = mirror_index()
    assert sorted(order) == list(range(68)) and (order[order] == np.arange(68)).all()
    assert order[36] == 45 and order[48] == 54 and order[8] == 8 and order[0] == 16 and order[17] == 26


@pytest.mark.parametrize(("sample", "words"), [
    ({"frames": np.zeros((2, 4, 4), np.uint8)}, r"frames has shape \(2, 4, 4\); wanted \[T, H, W, 3\]"),
    ({"frames": np.zeros((2, 4, 4, 3), np.float32)}, "wanted uint8"),
    ({"flow": np.zeros((3, 4, 4))}, r"wanted \[..., 2, H, W\]"),
    ({"frames": np.zeros((1, 4, 4, 3), np.uint8), "flow": np.zeros((2, 5, 4))}, "sizes differ"),
    ({"landmarks": np.zeros((5, 2))}, "68"), ({"landmarks": np.zeros((68, 2))}, "size of the picture is not known"),
])  # fmt: skip
def test_wrong_shapes_are_named(sample, words):
    with pytest.raises(ZooError, match=words):
        apply(sample, Draw(flip=True))


def test_limits_are_checked_and_albumentations_is_imported_only_to_warp():
    with pytest.raises(ZooError, match="rotate is 200"):
        Augmentation(rotate=200)
    code = "import sys, zoo.data.transforms; assert not {'albumentations', 'cv2', 'torch', 'pandas'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
