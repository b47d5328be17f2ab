"""Rules that turn curves into moments and intervals, and the curves themselves, on what is known exactly."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from zoo.errors import ZooError
from zoo.metrics_spotting import Counts
from zoo.spotting import lbp, mdmd
from zoo.spotting.ahead import ahead
from zoo.spotting.events import Found, contrast, kind_of, peaks, runs, smooth, threshold
from zoo.spotting.regions import moved, names
from zoo.synthesis.sample import sample_clip, strength, warp


@pytest.fixture(scope="module")
def sample():
    return sample_clip()


@pytest.fixture(scope="module")
def smile(sample):
    """41 aligned faces: the smile grows until frame 18 and fades; noise of a camera."""
    rng, still = np.random.default_rng(0), sample.clip.frames[0]
    frames = [warp(still, sample.flow * strength(i, 0, 18, 40)) + rng.normal(0, 1, still.shape) for i in range(41)]
    return [np.clip(np.rint(f), 0, 255).astype(np.uint8) for f in frames]


def test_smoothing_is_the_mean_of_2k_frames():
    values = np.arange(10.0) ** 2
    out = smooth(values, 2)
    assert np.isnan(out[:2]).all() and np.isnan(out[9])
    for i in range(2, 9):
        assert out[i] == pytest.approx(values[i - 2 : i + 2].mean())
    values[5] = np.nan
    assert np.isnan(smooth(values, 2)[4:8]).all() and np.isfinite(smooth(values, 2)[[2, 3, 8]]).all()
    assert np.isnan(smooth(np.ones(3), 2)).all(), "a video shorter than 2k has no score"


def test_a_constant_curve_has_no_peak():
    """Its maximum is its mean, so that the threshold is the curve itself."""
    constant = np.full(50, 0.7)
    assert threshold(constant, 0.55) == np.inf
    assert peaks(constant, threshold(constant, 0.55), 3) == [] and peaks(constant, 0.7, 3) != [0]
    assert (
        not contrast(constant, 5).any() and runs(contrast(constant, 5) > threshold(contrast(constant, 5), 0.15)) == []
    )


def test_peaks_keep_their_distance_and_threshold():
    values = np.zeros(60)
    values[[10, 14, 40]] = 3, 4, 2
    assert threshold(values, 0.5) == pytest.approx(values.mean() + 0.5 * (4 - values.mean()))
    assert peaks(values, 1.5, 6) == [14, 40] and peaks(values, 1.5, 2) == [10, 14, 40] and peaks(values, 2.5, 6) == [14]
    values[40] = np.nan
    assert peaks(values, 1.5, 6) == [14]


def test_runs_drop_short_groups_and_join_near_ones():
    flags = np.zeros(40, bool)
    flags[[0, 1, 2, 5, 6, 7, 20, 39]] = True
    assert runs(flags) == [(0, 2), (5, 7), (20, 20), (39, 39)]
    assert runs(flags, least=2) == [(0, 2), (5, 7)] and runs(flags, least=2, gap=3) == [(0, 7)]
    assert runs(np.zeros(0, bool)) == []


def test_half_a_second_is_the_line_between_micro_and_macro():
    assert kind_of(0, 15, 30) == "micro" and kind_of(0, 16, 30) == "macro" and kind_of(0, 100, 200) == "micro"
    found = Found(onset=3, apex=5, offset=9, kind="micro", score=1.2)
    assert found.source == "spotted" and found.event("v").offset == 9


@pytest.mark.parametrize(("values", "apex"), [
    ([0, 1, 2, 3, 2, 1, 0], 3),  # one peak
    ([0, 5, 0, 0, 0, 0, 3, 0, 4, 0], 8),  # the half with the larger sum of peaks survives, though the other's peak is higher
    ([0, 4, 0, 0, 0, 0, 4, 0], 1),  # a tie keeps the first half
    ([0, 1, 2, 3], 3),  # no peak: the largest value
    ([0], 0), ([0, 7], 1), ([2, 2, 2, 2], 0),
])  # fmt: skip
def test_divide_and_conquer(values, apex):
    assert lbp.divide_and_conquer(np.array(values, float)) == apex


def test_divide_and_conquer_refuses_what_is_no_number():
    with pytest.raises(ZooError, match="finite"):
        lbp.divide_and_conquer(np.array([0, np.nan, 1]))
    with pytest.raises(ZooError, match="finite"):
        lbp.divide_and_conquer(np.array([]))


def test_lbp_histograms_against_their_definition():
    """skimage's codes, counted here block by block."""
    from skimage.feature import local_binary_pattern

    grey = np.random.default_rng(0).integers(0, 255, (60, 60)).astype(np.uint8)
    ours = lbp.lbp_histograms(grey, blocks=5, radius=1)
    codes = local_binary_pattern(grey, 8, 1, method="nri_uniform")
    block = np.bincount(codes[12:24, 24:36].astype(int).ravel(), minlength=59) / 144
    assert ours.shape == (25, 59) and np.allclose(ours.sum(1), 1) and np.allclose(ours[1 * 5 + 2], block)


@pytest.mark.parametrize(("method", "most"), [("lbp", 8), ("strain", 3), ("motion", 2), ("middle", 2)])
def test_the_apex_of_a_clip_is_found(smile, method, most):
    assert abs(lbp.find_apex(smile, method) - 18) <= most


def test_a_still_clip_has_an_apex_without_a_crash(smile):
    still = [smile[0]] * 5
    assert all(0 <= lbp.find_apex(still, m) < 5 for m in ("lbp", "strain", "motion", "middle"))
    with pytest.raises(ZooError, match="way 'sift'"):
        lbp.find_apex(still, "sift")


def test_chi_square_sees_a_change_of_texture_where_it_is():
    rng = np.random.default_rng(0)
    base = rng.dirichlet(np.ones(59), 36)
    changed = np.roll(base, 7, 1)
    feature = lbp.ChiSquare(5)
    for i in range(60):
        weight = strength(i, 25, 30, 35)
        feature.add(i, 1, (1 - weight) * base + weight * changed)
    values = feature.finish(60)
    spans, curve, line = lbp.chi_square_spans(values, 5, 20.0)  # groups of at least 4 frames
    assert spans == [(28, 32)] and int(np.argmax(curve)) == 30
    assert lbp.chi_square_spans(values, 5, 30.0)[0] == [], "at 30 frames/s a group has at least 6"
    assert np.isfinite(line) and curve.max() > line
    assert not lbp.ChiSquare(5).finish(8).any(), "a video of fewer than 2k + 1 frames has no feature"


def test_mdmd_is_the_difference_along_the_main_direction():
    """First flow right by 2, second right by 0.5: every block differs by the projection of 1.5 on the middle of its bin."""
    first, second = np.zeros((2, 2, 60, 60), np.float32)
    first[0], second[0] = 2.0, 0.5
    assert mdmd.difference(first, second) == pytest.approx(1.5 * np.cos(np.pi / 4), rel=1e-5)
    assert mdmd.difference(second, first) == pytest.approx(-1.5 * np.cos(np.pi / 4), rel=1e-5)
    first[:, 30:], second[:, 30:] = 0, 0  # half the blocks still: the largest third is not touched by them
    assert mdmd.difference(first, second) == pytest.approx(1.5 * np.cos(np.pi / 4), rel=1e-5)
    assert mdmd.difference(np.zeros_like(first), np.zeros_like(first)) == 0


def test_the_organisers_arctangent_fills_two_bins_of_four():
    angles = np.linspace(-np.pi, np.pi, 3600, endpoint=False)
    u, v = np.cos(angles), np.sin(angles)
    turn = np.arctan(np.divide(u, v, out=np.full_like(u, np.inf), where=v != 0))
    assert len(set(((turn + np.pi) // (np.pi / 2)).astype(int).clip(0, 3)) - {3}) <= 2
    up_left = np.full((2, 60, 60), -2.0, np.float32)  # a quarter of the circle that the organisers' angle cannot name
    assert mdmd.difference(up_left, up_left * 0, "atan2") == pytest.approx(2 * np.sqrt(2), rel=1e-5)
    assert mdmd.difference(up_left, up_left * 0, "organisers") == pytest.approx(-2 * np.sqrt(2), rel=1e-5)


def test_mdmd_intervals_keep_the_lengths_of_their_kind():
    feature = dict.fromkeys(range(200), 0.0)
    feature |= dict.fromkeys(range(50, 60), 1.0) | dict.fromkeys(range(120, 150), 1.0)
    micro, _, _ = mdmd.intervals(feature, 200, 12, "micro", 30)
    macro, _, _ = mdmd.intervals(feature, 200, 39, "macro", 30)
    assert [(e.onset, e.offset) for e in micro if 40 < e.onset < 70] == [(50, 59)]
    assert [(e.onset, e.offset) for e in macro] == [(120, 149)]
    assert mdmd.intervals({}, 20, 12, "micro", 30)[0] == []
    assert (mdmd.k_of("micro", 30, None), mdmd.k_of("macro", 30, 1000), mdmd.k_of("micro", 200, 9999)) == (12, 39, 80)
    assert mdmd.k_of("macro", 30, 200) == 19, "halved where there are fewer than 6k frames"


def test_published_mdmd_counts_give_the_published_scores():
    assert Counts.of(21, 5014, 36).f1 == pytest.approx(0.0082, abs=5e-5)
    assert (Counts.of(22, 334, 321) + Counts.of(29, 1407, 130)).f1 == pytest.approx(0.0445, abs=5e-5)


def test_the_head_is_taken_off_and_the_expression_stays(sample):
    def small(picture):
        grey = cv2.cvtColor(np.clip(picture, 0, 255).astype(np.uint8), cv2.COLOR_RGB2GRAY)
        return cv2.resize(grey, (84, 84), interpolation=cv2.INTER_AREA)

    still = sample.clip.frames[0]
    turn = cv2.getRotationMatrix2D((84, 84), 0.8, 1.01)
    turn[:, 2] += 1.5, -1
    shifted = cv2.warpAffine(still, turn, (168, 168), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    smiling = warp(still, sample.flow)
    parts, head = moved(small(still), small(shifted))
    assert np.linalg.norm(parts, axis=1).max() < 0.6 and np.linalg.norm(head) > 1
    parts, head = moved(small(still), small(smiling))
    size = dict(zip(names(), np.linalg.norm(parts, axis=1), strict=True))
    assert size["mouth corner left"] > 0.5 and size["mouth corner right"] > 0.5
    assert max(size["inner brow left"], size["inner brow right"]) < 0.3
    assert parts[names().index("mouth corner left"), 0] < 0 < parts[names().index("mouth corner right"), 0]


def test_reading_ahead_keeps_order_errors_and_stops():
    assert list(ahead(range(100), depth=3)) == list(range(100))

    def broken():
        yield 1
        raise ZooError("cut short")

    stream = ahead(broken())
    assert next(stream) == 1
    with pytest.raises(ZooError, match="cut short"):
        next(stream)
    made = []

    def endless():
        while True:
            made.append(0)
            yield 0

    stream = ahead(endless(), depth=4)
    next(stream)
    stream.close()
    count = len(made)
    assert count <= 8 and len(made) == count
