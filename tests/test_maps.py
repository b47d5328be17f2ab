"""Motion as pictures, clips in one picture, clips of another length, and which frames are taken."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from scipy import fft, ndimage
from skimage.color import rgb2hsv

from zoo.errors import ZooError
from zoo.types import Interval
from zoo.vision.dynamic_image import coefficients, dynamic_image, stretched
from zoo.vision.interpolate import interpolate, weights
from zoo.vision.maps import hsv_code, motion_maps, polar
from zoo.vision.select import select
from zoo.vision.strain import optical_strain


def field(seed: int = 0, shape: tuple[int, int] = (24, 31)) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.stack([ndimage.gaussian_filter(rng.normal(0, 1, shape), 2) for _ in range(2)]).astype(np.float32) * 5


# -- maps -----------------------------------------------------------------------------------------------------------------


def test_maps_are_the_flow_and_its_strain_by_scipys_derivatives():
    flow = field()
    maps = motion_maps(flow)
    assert maps.shape == (3, 24, 31) and maps.dtype == np.float32 and np.array_equal(maps[:2], flow)
    half = np.array([0.5, 0, -0.5])
    u_x, v_x = (ndimage.convolve1d(c.astype(float), half, axis=1) for c in flow)
    u_y, v_y = (ndimage.convolve1d(c.astype(float), half, axis=0) for c in flow)
    wanted = np.sqrt(u_x**2 + v_y**2 + (u_y + v_x) ** 2 / 2)
    assert np.allclose(maps[2, 1:-1, 1:-1], wanted[1:-1, 1:-1], atol=1e-5)
    assert np.array_equal(maps[2], optical_strain(flow))


def test_polar_is_opencvs():
    flow = field(1)
    length, angle = polar(flow)
    wanted = cv2.cartToPolar(flow[0], flow[1])
    assert np.allclose(length, wanted[0], atol=1e-5) and angle.min() >= 0 and angle.max() < 2 * np.pi
    apart = np.abs(angle - wanted[1])
    assert np.minimum(apart, 2 * np.pi - apart).max() < 1e-3  # OpenCV's arc tangent is approximate
    down = polar(np.stack([np.zeros((2, 2)), np.ones((2, 2))]))[1]
    assert np.allclose(down, np.pi / 2)
    assert not polar(np.zeros((2, 3, 3)))[1].any()


def test_colour_tells_direction_and_length():
    flow = np.zeros((2, 4, 4), np.float32)
    flow[:, 0, 0], flow[:, 0, 1], flow[:, 0, 2], flow[:, 0, 3] = (2, 0), (0, 2), (-2, 0), (0, -1)
    code = hsv_code(flow)
    hsv = rgb2hsv(code)
    assert np.allclose(hsv[0, :, 0] * 360, [0, 90, 180, 270], atol=1) and np.allclose(
        hsv[0, :, 2], [1, 1, 1, 0.5], atol=0.01
    )
    assert not code[1:].any()
    assert np.allclose(rgb2hsv(hsv_code(flow, largest=4))[0, :, 2], [0.5, 0.5, 0.5, 0.25], atol=0.01)
    grey = np.full((4, 4, 3), 90, np.uint8)
    muted = hsv_code(flow, saturation=grey)
    assert np.ptp(muted, axis=-1).max() == 0 and muted[0, 0, 0] == 255  # a grey apex has no saturation
    assert not hsv_code(np.ones((2, 4, 4))).any() and not hsv_code(np.zeros((2, 4, 4))).any()


def test_flows_that_are_none_are_refused():
    broken = np.zeros((2, 4, 4))
    broken[0, 1, 2] = np.nan
    for read in (motion_maps, polar, hsv_code):
        with pytest.raises(ZooError, match="not finite in 1 of 16 pixels"):
            read(broken)
        with pytest.raises(ZooError, match=r"\[2, H, W\]"):
            read(np.zeros((3, 4, 4)))
    with pytest.raises(ZooError, match="largest"):
        hsv_code(np.zeros((2, 4, 4)), largest=0)
    with pytest.raises(ZooError, match="uint8 RGB picture"):
        hsv_code(np.zeros((2, 4, 4)), saturation=np.zeros((4, 4), np.uint8))


# -- dynamic images ---------------------------------------------------------------------------------------------------------


def brightening(count: int = 9, seed: int = 0) -> np.ndarray:
    """One spot that brightens steadily, one that darkens, noise elsewhere."""
    clip = np.random.default_rng(seed).normal(100, 1.5, (count, 12, 12))
    clip[:, 3, 3] += 8 * np.arange(count)
    clip[:, 8, 8] -= 8 * np.arange(count)
    return clip


def test_coefficients_by_hand_and_by_their_meaning():
    assert np.allclose(coefficients(2), [-0.5, 0.5]) and np.allclose(coefficients(3), [-4 / 3, 2 / 3, 2 / 3])
    assert np.allclose(coefficients(4, "simple"), [-3, -1, 1, 3])
    assert np.allclose(coefficients(2, "learnet"), [1, 1])
    for count in (2, 5, 17):
        harmonic = np.concatenate([[0], np.cumsum(1 / np.arange(1, count + 1))])
        t = np.arange(1, count + 1)
        assert np.allclose(coefficients(count), 2 * (count - t + 1) - (count + 1) * (harmonic[count] - harmonic[t - 1]))
        assert abs(coefficients(count).sum()) < 1e-9
    clip = brightening()
    means = np.cumsum(clip, 0) / np.arange(1, 10)[:, None, None]
    assert np.allclose(dynamic_image(clip), np.tensordot(coefficients(9, "simple"), means, 1), atol=1e-3)


@pytest.mark.parametrize("pooling", ["averaged", "simple", "exact"])
def test_what_brightens_is_bright(pooling):
    picture = dynamic_image(brightening(), pooling)
    assert picture.shape == (12, 12) and picture.dtype == np.float32
    assert np.unravel_index(picture.argmax(), (12, 12)) == (3, 3) and np.unravel_index(picture.argmin(), (12, 12)) == (
        8,
        8,
    )
    back = dynamic_image(brightening()[::-1], pooling)
    assert np.unravel_index(back.argmin(), (12, 12)) == (3, 3)
    colour = dynamic_image(np.repeat(brightening()[..., None], 3, -1), pooling)
    assert colour.shape == (12, 12, 3)


def test_exact_pooling_ranks_the_frames_and_is_the_regression_on_all_pixels():
    from sklearn.svm import LinearSVR

    clip = brightening(seed=3)
    picture = dynamic_image(clip, "exact").ravel()
    means = np.cumsum(clip.reshape(9, -1), 0) / np.arange(1, 10)[:, None]
    assert (np.diff(means @ picture) > 0).all()
    means /= np.linalg.norm(means, axis=1).mean()
    full = LinearSVR(C=1, epsilon=0.1, loss="squared_epsilon_insensitive", dual=True, max_iter=100_000, tol=1e-6)
    full.fit(means - means.mean(0), np.arange(1, 10.0))
    assert np.corrcoef(full.coef_, picture)[0, 1] > 0.999
    assert np.corrcoef(dynamic_image(clip).ravel(), picture)[0, 1] > 0.8  # what the approximation approximates


def test_a_still_clip_has_a_flat_dynamic_image():
    still = np.repeat(np.random.default_rng(0).integers(0, 256, (1, 8, 8, 3), np.uint8), 7, 0)
    for pooling in ("averaged", "simple", "exact"):
        assert (stretched(dynamic_image(still, pooling)) == 128).all(), pooling
    moving = stretched(dynamic_image(brightening()))
    assert moving.dtype == np.uint8 and moving.min() == 0 and moving.max() == 255


def test_dynamic_images_refuse_what_has_no_order():
    with pytest.raises(ZooError, match="1 of them have none"):
        dynamic_image(np.zeros((1, 4, 4)))
    with pytest.raises(ZooError, match="1 of them have none"):
        dynamic_image(np.zeros((1, 4, 4)), "exact")
    with pytest.raises(ZooError, match="not finite: 2"):
        dynamic_image([np.zeros((4, 4)), np.zeros((4, 4)), np.full((4, 4), np.nan)])
    with pytest.raises(ZooError, match="unequal sizes"):
        dynamic_image([np.zeros((4, 4)), np.zeros((4, 5))])
    with pytest.raises(ZooError, match="known: averaged"):
        coefficients(3, "median")


# -- interpolation --------------------------------------------------------------------------------------------------------------


def published_tim(clip: np.ndarray, count: int) -> np.ndarray:
    """The model step by step: SVD, graph Laplacian, projection, curve, and back."""
    n = len(clip)
    x = clip.reshape(n, -1).T.astype(float)
    mean = x.mean(1, keepdims=True)
    u, s, vt = np.linalg.svd(x - mean, full_matrices=False)
    u, q = u[:, : n - 1], (s[:, None] * vt)[: n - 1]
    path = np.diag(np.ones(n - 1), 1)
    path = path + path.T
    vectors = np.linalg.eigh(np.diag(path.sum(0)) - path)[1][:, 1:]
    w = np.linalg.pinv(q @ q.T) @ q @ vectors
    k = np.arange(1, n)
    m = (q[:, 0] @ w) / np.sin(np.pi * k / n + np.pi * (n - k) / (2 * n))
    out = []
    for t in np.linspace(1 / n, 1, count):
        out.append(u @ np.linalg.pinv(w.T) @ (m * np.sin(np.pi * k * t + np.pi * (n - k) / (2 * n))) + mean[:, 0])
    return np.stack(out).reshape(count, *clip.shape[1:])


@pytest.mark.parametrize(("given", "wanted"), [(5, 10), (12, 10), (33, 20), (3, 7)])
def test_the_model_is_the_published_one(given, wanted):
    clip = np.random.default_rng(given).normal(0, 1, (given, 9, 8))
    assert np.allclose(interpolate(clip, wanted), published_tim(clip, wanted), atol=1e-5)


def test_it_returns_the_given_frames_and_handles_the_corners():
    rng = np.random.default_rng(0)
    clip = rng.normal(0, 1, (11, 6, 5)).astype(np.float32)
    for method in ("tim", "linear"):
        assert np.allclose(interpolate(clip, 11, method), clip, atol=1e-6)
        twice = interpolate(clip, 21, method)
        assert np.allclose(twice[::2], clip, atol=1e-6) and twice.dtype == np.float32
        same = np.repeat(rng.integers(0, 256, (1, 6, 5), np.uint8), 6, 0)
        assert (interpolate(same, 10, method) == same[0]).all()
        assert (interpolate(same[:1], 4, method) == same[0]).all()
        assert np.allclose(interpolate(clip[:2], 5, method)[1], 0.75 * clip[0] + 0.25 * clip[1], atol=1e-6)
        assert np.allclose(weights(7, 13, method).sum(1), 1)
        assert np.allclose(interpolate(clip, 1, method)[0], clip[0], atol=1e-6)
    dependent = np.stack([clip[0] * i for i in range(6)])  # rank one: the published form would invert a singular matrix
    assert np.allclose(interpolate(dependent, 11)[::2], dependent, atol=1e-5)


def test_between_frames_it_is_a_cosine_series_and_lines():
    clip = np.random.default_rng(2).normal(0, 1, (8, 3))
    series = fft.dct(clip, axis=0, norm="ortho")
    k, at = np.arange(8), 2.5
    scale = np.where(k == 0, np.sqrt(1 / 8), np.sqrt(2 / 8))
    wanted = (scale * np.cos(np.pi * k * (2 * at + 1) / 16)) @ series
    assert np.allclose(interpolate(clip, 15)[5], wanted, atol=1e-5)
    lines = np.stack([np.interp(np.linspace(0, 7, 20), k, c) for c in clip.T], 1)
    assert np.allclose(interpolate(clip, 20, "linear"), lines, atol=1e-5)


def test_bytes_stay_bytes_and_do_not_wrap():
    clip = np.zeros((6, 4, 4), np.uint8)
    clip[3:] = 255
    out = interpolate(clip, 31)
    assert (
        out.dtype == np.uint8 and (out[:12] < 60).all() and (out[-12:] > 195).all()
    )  # a cosine series overshoots; bytes wrap


def test_bad_clips_and_lengths_are_named():
    with pytest.raises(ZooError, match="not finite: 1"):
        interpolate(np.stack([np.zeros((2, 2)), np.full((2, 2), np.inf)]), 5)
    with pytest.raises(ZooError, match="unequal"):
        interpolate([np.zeros((2, 2)), np.zeros((2, 3))], 5)
    with pytest.raises(ZooError, match="3 frames cannot become 0"):
        weights(3, 0)
    with pytest.raises(ZooError, match="known: tim, linear"):
        weights(3, 3, "cubic")


# -- frames ---------------------------------------------------------------------------------------------------------------------


def test_frames_are_chosen_by_their_role():
    whole = Interval(onset=10, apex=16, offset=30)
    assert select(whole, "onset_apex").tolist() == [10, 16]
    assert select(whole, "onset_apex_offset").tolist() == [10, 16, 30]
    assert select(whole, "even", 5).tolist() == [10, 15, 20, 25, 30]
    assert select(whole, "through_apex", 11).tolist() == [10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30]
    assert select(whole, "through_apex", 3).tolist() == [10, 16, 30]
    for count in range(3, 40):
        taken = select(whole, "through_apex", count)
        assert (
            len(taken) == count and 16 in taken and taken[0] == 10 and taken[-1] == 30 and (np.diff(taken) >= 0).all()
        )
    rise = Interval(onset=10, apex=16)
    assert select(rise, "even", 4).tolist() == [10, 12, 14, 16] == select(rise, "through_apex", 4).tolist()


@pytest.mark.parametrize(("interval", "choice", "count", "words"), [
    (Interval(onset=5, apex=5), "onset_apex", None, "onset before apex"),
    (Interval(onset=5, apex=9, offset=8), "even", 4, "in this order"),
    (Interval(onset=5, apex=90), "onset_apex", None, r"frames of 0\.\.49"),
    (Interval(onset=5, apex=9), "onset_apex_offset", None, "offset is not known"),
    (Interval(onset=5, apex=9, offset=12), "through_apex", 2, "at least 3"), (Interval(onset=5, apex=9), "even", None, "count is None"),
    (Interval(onset=5, apex=9), "random", None, "known: onset_apex"),
])  # fmt: skip
def test_frames_that_cannot_be_chosen_are_refused(interval, choice, count, words):
    with pytest.raises(ZooError, match=words):
        select(interval, choice, count, n_frames=50)
