"""prepare(): the only door between a clip and a model."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zoo.errors import ZooError
from zoo.inputs import ORDER, flow_map, normalise, prepare, prepare_maps
from zoo.synthesis.sample import sample_clip
from zoo.types import Clip, FlowMap, InputSpec, Interval
from zoo.vision.strain import optical_strain


def clip(**fields) -> Clip:
    return Clip(id="a", dataset="d", subject="s", **fields)


@pytest.fixture(scope="module")
def maps() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (4, 3, 28, 28), dtype=np.uint8)


@pytest.fixture(scope="module")
def face_clip() -> Clip:
    sample = sample_clip()
    return clip(frames=sample.clip.frames, interval=Interval(onset=sample.truth.onset, apex=sample.truth.apex))


@pytest.mark.parametrize("scaling", ["raw255", "unit", "median"])
@pytest.mark.parametrize("size", [28, 60])
def test_published_maps_take_the_same_path_one_by_one_and_together(maps, scaling, size):
    spec = InputSpec(scaling=scaling, size=size, channels=("strain", "u"))
    one = [prepare(clip(flow_map=FlowMap(data=m, normalisation="minmax_255")), spec) for m in maps]
    assert np.array_equal(np.stack(one), prepare_maps(maps, spec))
    assert one[0].shape == spec.shape and one[0].dtype == np.float32


def test_the_scalings_are_what_they_say(maps):
    x = maps.astype(np.float32)
    assert np.array_equal(prepare_maps(maps, InputSpec(scaling="raw255")), x)
    assert np.array_equal(prepare_maps(maps, InputSpec(scaling="unit")), x / np.float32(255))
    wanted = (x - np.median(x, (2, 3), keepdims=True)) / 64
    assert np.array_equal(prepare_maps(maps, InputSpec(scaling="median")), wanted.astype(np.float32))


def test_channels_come_in_the_order_of_the_spec(maps):
    mixed = prepare_maps(maps, InputSpec(channels=("strain", "v", "u"), scaling="raw255"))
    assert np.array_equal(mixed, maps[:, ::-1].astype(np.float32))
    assert prepare_maps(maps[:0], InputSpec(channels=("v",), size=60)).shape == (0, 1, 60, 60)


def test_frames_become_flow_then_strain_then_small_then_normalised(face_clip):
    found = flow_map(face_clip, "tvl1_fast")
    assert found.data.shape == (3, 168, 168) and np.array_equal(found.data[2], optical_strain(found.data[:2]))
    blocks = found.data.astype(np.float64).reshape(3, 28, 6, 28, 6).mean((2, 4))  # 168 -> 28 is an exact mean of blocks
    low, high = blocks.min((1, 2), keepdims=True), blocks.max((1, 2), keepdims=True)
    wanted = np.rint(255 * (blocks - low) / (high - low))
    got = prepare(face_clip, InputSpec(flow="tvl1_fast", scaling="raw255", crop="face"))
    assert np.abs(got - wanted).max() <= 1 and (got == wanted).mean() > 0.99
    again = clip(flow_map=found)
    assert np.array_equal(prepare(again, InputSpec(flow="tvl1_fast", scaling="raw255", crop="face")), got)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(1e-3, 1e3), st.floats(-100, 100))
def test_every_moving_channel_spans_0_to_255_whatever_its_units(seed, scale, shift):
    data = np.random.default_rng(seed).normal(size=(3, 28, 28))
    plain, changed = normalise(data, 28), normalise(data * scale + shift * scale, 28)
    assert (plain.min((1, 2)) == 0).all() and (plain.max((1, 2)) == 255).all()
    assert np.abs(plain.astype(int) - changed).max() <= 1


def test_no_motion_gives_numbers_and_not_nan():
    still = [np.full((168, 168, 3), 90, np.uint8)] * 2
    x = prepare(clip(frames=still, interval=Interval(onset=0, apex=1)), InputSpec(scaling="raw255"))
    assert [set(np.unique(channel)) for channel in x] == [{128.0}, {128.0}, {0.0}]
    assert ORDER == ("u", "v", "strain")


@pytest.mark.parametrize(("fields", "words"), [
    ({}, "no frames"),
    ({"frames": [np.zeros((40, 40, 3), np.uint8)] * 3}, "no interval"),
    ({"frames": [np.zeros((40, 40, 3), np.uint8)] * 3, "interval": Interval(onset=0, apex=3)}, r"apex 3 .* 0\.\.2"),
    ({"frames": [np.zeros((40, 40, 3), np.uint8)] * 3, "interval": Interval(onset=1, apex=1)}, "two different frames"),
    ({"flow_map": FlowMap(data=np.zeros((3, 48, 48), np.uint8), normalisation="minmax_255")}, "48x48 px.*map_size 28"),
    ({"flow_map": FlowMap(data=np.full((3, 48, 48), np.nan, np.float32))}, "NaN"),
    ({"flow_map": FlowMap(data=np.zeros((2, 48, 48), np.float32))}, r"\[3, H, W\]"),
])  # fmt: skip
def test_a_clip_that_cannot_be_prepared_says_why(fields, words):
    with pytest.raises(ZooError, match=words):
        prepare(clip(**fields), InputSpec())


def test_maps_in_the_wrong_layout_are_refused(maps):
    with pytest.raises(ZooError, match="channels u, v, strain first"):
        prepare_maps(maps.transpose(0, 2, 3, 1), InputSpec())
    with pytest.raises(ZooError, match="uint8"):
        prepare_maps(maps / 255, InputSpec())


def test_the_picture_shows_the_part_of_the_face_that_the_published_ones_show():
    """A movement at a known place of the aligned face arrives where the published pictures have it."""
    from zoo.facs import geometry

    size = 168
    y, x = np.mgrid[:size, :size]
    eye = geometry.eye_centres()[0] * size - 0.5
    bump = np.exp(-((x - eye[0]) ** 2 + (y - eye[1]) ** 2) / 50).astype(np.float32)
    data = np.stack([np.zeros_like(bump), bump, bump])
    whole, part = (normalise(data, 28, crop)[1] for crop in ("face", "megc2019"))
    assert np.unravel_index(whole.argmax(), whole.shape) == (10, 9)  # (0.36, 0.34) of 28
    row, column = np.unravel_index(part.argmax(), part.shape)
    assert abs(row + 0.5 - (0.36 - 0.10) / 0.90 * 28) < 0.8
    assert abs(column + 0.5 - (0.34 - 0.13) / 0.74 * 28) < 0.8


def test_prepare_cuts_as_the_spec_says():
    rng = np.random.default_rng(0)
    data = rng.normal(size=(3, 168, 168)).astype(np.float32)
    clip = Clip(id="c", dataset="d", subject="s", flow_map=FlowMap(data=data))
    for crop in ("face", "megc2019"):
        spec = InputSpec(scaling="raw255", crop=crop)
        assert np.array_equal(prepare(clip, spec), normalise(data, 28, crop).astype(np.float32))
    with pytest.raises(ZooError, match="crop"):
        InputSpec(crop="mouth")
