"""TV-L1 in torch against OpenCV's, on motion as small as a micro-expression's."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from zoo.errors import ZooError
from zoo.facs import geometry
from zoo.synthesis.sample import motion_field, sample_clip, warp
from zoo.types import FlowMethod
from zoo.vision.faces import align, similarity
from zoo.vision.flow import FlowName, optical_flow, optical_flows
from zoo.vision.tvl1 import TVL1, _halve, _stretch, _warp

SIDE = 112


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    before = cv2.getNumThreads(), torch.get_num_threads()
    cv2.setNumThreads(1), torch.set_num_threads(1)
    yield
    cv2.setNumThreads(before[0]), torch.set_num_threads(before[1])


@pytest.fixture(scope="module")
def pairs() -> tuple[np.ndarray, np.ndarray]:
    """Portrait before and after, with sensor noise: a faint smile, four random mixes of action units, and nothing at all."""
    sample, rng = sample_clip(), np.random.default_rng(3)
    portrait = sample.frames[0].astype(np.float32)
    matrix, _ = similarity(sample.face, SIDE)

    def seen(picture: np.ndarray) -> np.ndarray:
        noisy = np.clip(np.rint(picture + rng.normal(0, 1.5, picture.shape)), 0, 255).astype(np.uint8)
        return cv2.cvtColor(align(noisy, matrix, SIDE), cv2.COLOR_RGB2GRAY)

    fields = [motion_field(sample.face, {6: 0.35, 12: 0.35}, portrait.shape[:2])]
    for _ in range(4):
        units = rng.choice(geometry.action_units(), 2, replace=False)
        mix = {int(au): float(rng.uniform(0.1, 0.45)) for au in units}
        fields.append(motion_field(sample.face, mix, portrait.shape[:2]))
    fields.append(np.zeros_like(fields[0]))
    return np.stack([seen(portrait) for _ in fields]), np.stack([seen(warp(portrait, field)) for field in fields])


@pytest.fixture(scope="module")
def flows(pairs) -> np.ndarray:
    return optical_flows(*pairs, "tvl1_torch")


def test_it_agrees_with_opencv_on_small_facial_motion(pairs, flows):
    reference = optical_flows(*pairs, "tvl1")
    error = np.hypot(*np.moveaxis(flows - reference, 1, 0)).mean((1, 2))
    moved = np.hypot(*np.moveaxis(reference, 1, 0)).mean((1, 2))
    assert flows.shape == reference.shape == (6, 2, SIDE, SIDE) and flows.dtype == np.float32
    assert error.max() <= 0.02, error  # the bound promised is 0.05
    assert moved[0] > 0.25 and error[0] < 0.05 * moved[0]  # and the motion itself is larger than that


def test_a_pair_does_not_depend_on_its_batch(pairs, flows):
    assert np.array_equal(optical_flow(pairs[0][2], pairs[1][2], "tvl1_torch"), flows[2])
    turned = optical_flows(pairs[0][::-1], pairs[1][::-1], "tvl1_torch")
    assert np.array_equal(turned[::-1], flows)


def test_an_odd_size_and_a_large_shift_agree_as_well():
    rng = np.random.default_rng(0)
    smooth = cv2.GaussianBlur(rng.normal(0, 1, (97, 131)), (0, 0), 3)
    first = np.clip(128 + 55 * smooth / smooth.std(), 0, 255).astype(np.uint8)
    second = cv2.warpAffine(
        first,
        np.float32([[1, 0, 3.4], [0, 1, -2.3]]),
        (131, 97),
        flags=cv2.INTER_CUBIC,
        borderMode=cv2.BORDER_REPLICATE,
    )
    ours, theirs = optical_flow(first, second, "tvl1_torch"), optical_flow(first, second, "tvl1")
    inner = (slice(None), slice(8, -8), slice(8, -8))
    assert np.hypot(*(ours - theirs)[inner]).mean() < 0.05
    assert np.hypot(ours[0] - 3.4, ours[1] + 2.3)[8:-8, 8:-8].mean() < 0.1


def test_zero_motion_flat_and_black_pictures_give_zero_and_no_nan():
    noise = np.random.default_rng(0).integers(0, 256, (40, 48), np.uint8)
    still = np.stack([noise, np.zeros_like(noise), np.full_like(noise, 255), noise])
    other = still.copy()
    other[3] = 0  # into the dark: whatever it answers is a number
    flow = optical_flows(still, other, "tvl1_torch")
    assert not flow[:3].any() and np.isfinite(flow).all()


def test_each_building_block_is_opencvs():
    rng = np.random.default_rng(1)
    picture = rng.uniform(0, 255, (2, 2, 45, 62)).astype(np.float32)
    for side in ((45, 62), (47, 61), (22, 30)):
        grey = np.ascontiguousarray(picture[0, 0, : side[0], : side[1]])
        small = cv2.resize(grey, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_LINEAR)
        ours = _halve(torch.from_numpy(grey)[None, None])[0, 0]
        assert ours.shape == small.shape and np.abs(ours.numpy() - small).max() < 1e-3
    stretched = _stretch(torch.from_numpy(picture[:1]))[0].numpy()
    low, high = picture[0].min(), picture[0].max()
    wanted = [cv2.GaussianBlur((p - low) * (255 / (high - low)), (0, 0), 0.8) for p in picture[0]]
    assert np.abs(stretched - wanted).max() < 1e-2
    flow = rng.integers(-64, 64, (1, 2, 45, 62)).astype(np.float32) / 32  # multiples of what OpenCV rounds to
    y, x = np.mgrid[:45, :62].astype(np.float32)
    read = cv2.remap(picture[0, 0], x + flow[0, 0], y + flow[0, 1], cv2.INTER_CUBIC, borderMode=cv2.BORDER_CONSTANT)
    assert np.abs(_warp(torch.from_numpy(picture[:1]), torch.from_numpy(flow))[0, 0].numpy() - read).max() < 0.1


def test_settings_do_what_they_say(pairs):
    first, second = (torch.from_numpy(p[:2]) for p in pairs)
    fine, coarse = TVL1()(first, second), TVL1(scales=1, warps=1, iterations=20)(first, second)
    assert not torch.allclose(fine, coarse, atol=0.01)
    rare = TVL1(every=7)(first, second)  # a few iterations more than needed: nearly the same answer
    assert (fine - rare).square().sum(1).sqrt().mean() < 0.03
    smooth = TVL1(lambda_=0.03)(first, second)
    assert roughness(smooth) < 0.9 * roughness(fine)


def roughness(flow: torch.Tensor) -> float:
    return float(flow.diff(dim=2).abs().mean() + flow.diff(dim=3).abs().mean())


def test_everything_is_made_on_the_device_of_the_pictures(pairs, flows):
    first, second = (torch.from_numpy(p[:2]) for p in pairs)
    with torch.device("meta"):  # whatever forgets to say where it lies is made there, and cannot be computed with
        there = TVL1()(first, second)
    assert there.device.type == "cpu" and np.array_equal(there.numpy(), flows[:2])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_answers_as_the_cpu_does(pairs, flows):
    there = optical_flows(*pairs, "tvl1_torch", device="cuda")
    assert np.hypot(*np.moveaxis(there - flows, 1, 0)).mean((1, 2)).max() < 0.01


def test_bad_input_is_named():
    grey = torch.zeros((3, 40, 40))
    with pytest.raises(ZooError, match=r"\[B, H, W\].*\[3, 40, 40\] and \[2, 40, 40\]"):
        TVL1()(grey, grey[:2])
    with pytest.raises(ZooError, match="at least 16 px"):
        TVL1()(grey[:, :12], grey[:, :12])
    broken = grey.clone()
    broken[1, 3, 4] = float("nan")
    with pytest.raises(ZooError, match="not finite in pair 1 of 3"):
        TVL1()(grey, broken)
    with pytest.raises(ZooError, match=r"TVL1\.theta is 0"):
        TVL1(theta=0)
    with pytest.raises(ZooError, match="2 first and 1 second"):
        optical_flows(np.zeros((2, 40, 40), np.uint8), np.zeros((1, 40, 40), np.uint8), "dis")
    with pytest.raises(ZooError, match="one size"):
        optical_flows([np.zeros((40, 40), np.uint8)] * 2, [np.zeros((40, 40), np.uint8), np.zeros((30, 40), np.uint8)])
    assert TVL1()(grey[:0], grey[:0]).shape == (0, 2, 40, 40)
    assert FlowName is FlowMethod
