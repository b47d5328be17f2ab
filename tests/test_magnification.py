"""Magnified motion: how large it comes out, what stays still, what is refused."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from skimage.data import astronaut

from zoo import create_model, list_models
from zoo.cli import main
from zoo.errors import ZooError
from zoo.magnification.eulerian import collapse, laplacian_pyramid, level_gains
from zoo.magnification.figure import TimeSlices
from zoo.magnification.lagrangian import principal, whole_motion
from zoo.magnification.magnify import magnified, magnify
from zoo.magnification.pairs import PairMaker
from zoo.magnification.pyramid import SteerablePyramid
from zoo.magnification.start import start_as_linear
from zoo.magnification.temporal import Filter, ideal, sections, warmed_up
from zoo.vision.resample import Spline, arrivals
from zoo.vision.video import MediaReader, write_video
from zoo.weights import load, save, write_index


def frames(batch: int = 2, height: int = 24, width: int = 32, seed: int = 0) -> torch.Tensor:
    return torch.rand(batch, 3, height, width, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def test_magnet_has_the_published_layers():
    model = create_model("magnet")
    count = {part: sum(p.numel() for p in module.parameters()) for part, module in model.named_children()}
    assert count == {"encoder": 154_416, "manipulator": 77_824, "decoder": 695_904}
    assert sum(p.numel() for p in model.parameters()) == 928_144
    assert {type(m).__name__ for m in model.modules() if not list(m.children())} == {"Conv2d", "ReLU", "Upsample"}
    assert all(m.bias is None for m in model.modules() if isinstance(m, torch.nn.Conv2d))
    assert "magnet" in list_models(task="magnification")
    assert "magnet" not in list_models()


def test_magnet_codes_and_picture_have_the_stated_shapes_at_any_size():
    model = create_model("magnet").eval()
    for height, width in ((24, 32), (17, 22), (19, 21)):
        first, second = frames(2, height, width, 1), frames(2, height, width, 2)
        code = model.encode(first)
        assert code.shape.shape == (2, 32, -(-height // 2), -(-width // 2))
        assert code.texture.shape == (2, 32, -(-height // 4), -(-width // 4))
        assert model.shape_code(first, second, 2.0).shape == code.shape.shape
        assert model(first, second, torch.tensor([2.0, 3.0])).shape == (2, 3, height, width)


def test_magnet_conventions_differ_by_one_and_each_has_an_identity():
    authors, ports = create_model("magnet"), create_model("magnet", convention="pytorch")
    ports.load_state_dict(authors.state_dict())
    first, second = frames(seed=1), frames(seed=2)
    torch.testing.assert_close(authors.shape_code(first, second, 3.0), ports.shape_code(first, second, 2.0))
    assert torch.equal(authors.shape_code(first, second, 1.0), authors.encode(second).shape)
    assert torch.equal(ports.shape_code(first, second, 0.0), authors.encode(second).shape)
    assert not torch.equal(authors.shape_code(first, second, 2.0), authors.encode(second).shape)
    assert torch.equal(authors.shape_code(second, second, 9.0), authors.encode(second).shape), "still stays still"
    each = authors.shape_code(first, second, torch.tensor([2.0, 5.0]))
    torch.testing.assert_close(each[1:], authors.shape_code(first[1:], second[1:], 5.0))


def test_every_parameter_of_magnet_learns():
    model = create_model("magnet").train()
    model(frames(seed=1), frames(seed=2), 4.0).square().sum().backward()
    assert not [n for n, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]


def test_magnet_refuses_what_it_cannot_eat():
    model = create_model("magnet")
    with pytest.raises(ZooError, match=r"\[2, 1, 24, 32\]"):
        model.encode(frames()[:, :1])
    with pytest.raises(ZooError, match="one size"):
        model(frames(), frames(width=40), 2.0)
    with pytest.raises(ZooError, match="at least 16 px"):
        model.encode(frames(height=8))
    with pytest.raises(ZooError, match="caffe"):
        create_model("magnet", convention="caffe")


# -- clips whose motion is known -----------------------------------------------------------------------------------

RATE = 30.0
MIDDLE = float(np.sqrt(0.4 * 5.0))  # Hz, where the band passes unchanged and without delay


def waves(amplitude: float, wavelength: float = 16.0, count: int = 45, height: int = 32, width: int = 0):
    """A pattern that swings sideways. Returns frames ``[T, H, W, 3]`` and the true displacement in pixels ``[T]``."""
    y, x = np.mgrid[:height, : width or int(6 * wavelength)]
    shift = amplitude * np.sin(2 * np.pi * MIDDLE * np.arange(count) / RATE)
    still = 40 * np.sin(2 * np.pi * y / wavelength + 0.3)
    frames = [128 + still + 40 * np.sin(2 * np.pi * (x - d) / wavelength) for d in shift]
    return np.repeat(np.rint(np.stack(frames))[..., None], 3, 3).astype(np.uint8), shift


def displacement(frames: np.ndarray, wavelength: float = 16.0) -> np.ndarray:
    """Where the pattern is, by the phase of its wave over the two periods in the middle (the border mirrors motion)."""
    start = int(2 * wavelength)
    columns = np.arange(start, start + int(2 * wavelength))
    wave = np.exp(-2j * np.pi * columns / wavelength)
    phase = np.unwrap(np.angle((frames[:, :, columns, 1].mean(1) - 128) @ wave))
    return -(phase + np.pi / 2) * wavelength / (2 * np.pi)


def gain(out: np.ndarray, shift: np.ndarray, wavelength: float = 16.0) -> float:
    """How many times as far the pattern swings, once the filters have settled."""
    found, true = displacement(out, wavelength)[20:], shift[20:]
    return float((found - found.mean()) @ (true - true.mean()) / ((true - true.mean()) ** 2).sum())


@pytest.mark.parametrize(
    ("method", "wavelength", "furthest", "tolerance"),
    [("eulerian", 16.0, 0.6 / 8, 0.25), ("phase", 16.0, 0.9 / 4, 0.12), ("lagrangian", 16.0, 0.9 / 4, 0.1)],
)
def test_motion_comes_out_alpha_times_as_large(method, wavelength, furthest, tolerance):
    alpha = 5.0
    frames, shift = waves(furthest * wavelength / alpha, wavelength, height=64 if method == "eulerian" else 32)
    out = magnify(frames, RATE, method=method, alpha=alpha)
    assert gain(frames, shift, wavelength) == pytest.approx(1, abs=0.05)
    assert gain(out, shift, wavelength) == pytest.approx(alpha, rel=tolerance)


def test_phase_holds_where_the_linear_method_fails():
    frames, _ = waves(0.6)  # magnified 6 times: 3.6 px, beyond 16 / 8 and within 16 / 4
    true = displacement(frames)[20:] * 6
    error = {
        m: np.abs(displacement(magnify(frames, RATE, method=m, alpha=6))[20:] - true).max()
        for m in ("eulerian", "phase")
    }
    assert error["phase"] < 0.5 * error["eulerian"]


@pytest.mark.parametrize("method", ["eulerian", "phase", "lagrangian"])
@pytest.mark.parametrize("count", [1, 2, 7])
def test_alpha_one_and_still_clips_come_back_as_they_are(method, count):
    frames, _ = waves(0.5, count=count, height=33, width=47)
    assert np.array_equal(magnify(frames, 24.0, method=method, alpha=1), frames)
    still = np.repeat(frames[:1], count, 0)
    assert np.array_equal(magnify(still, 24.0, method=method, alpha=30), still)


@pytest.mark.parametrize("method", ["eulerian", "phase", "lagrangian"])
def test_frames_come_one_by_one_and_do_not_depend_on_what_follows(method):
    frames, _ = waves(0.3, count=30, height=32, width=40)
    stream = magnified(iter(frames), RATE, method=method, alpha=4)
    early = np.stack([next(stream) for _ in range(15)])
    assert np.array_equal(early, magnify(frames[:22], RATE, method=method, alpha=4)[:15])


@pytest.mark.parametrize("temporal", ["iir", "ideal"])
def test_other_filters_magnify_too(temporal):
    frames, shift = waves(0.2, height=64)
    out = magnify(frames, RATE, method="eulerian", alpha=5, temporal=temporal)
    assert 2.5 < gain(out, shift) < 5.5


@pytest.mark.parametrize("method", ["phase", "eulerian"])
def test_what_lies_outside_the_band_is_left_alone(method):
    frames, shift = waves(0.3)
    out = magnify(frames, RATE, method=method, alpha=8, band=(10.0, 14.0))
    assert gain(out, shift) == pytest.approx(1, abs=0.35)


# -- filters, pyramids, splines ------------------------------------------------------------------------------------


def test_recursive_filter_is_the_difference_of_two_low_passes_at_any_rate():
    rng = np.random.default_rng(0)
    values = rng.normal(size=50)
    for fps in (30.0, 200.0):
        fast, slow = (1 - (1 - r) ** (30 / fps) for r in (0.4, 0.05))
        low = [values[0], values[0]]
        expected = []
        for value in values:
            low = [fast * value + (1 - fast) * low[0], slow * value + (1 - slow) * low[1]]
            expected.append(low[0] - low[1])
        found = Filter(sections("iir", fps))
        parts = np.concatenate([found(values[:13]), found(values[13:14]), found(values[14:])])
        np.testing.assert_allclose(parts, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("band", "word"), [((5.0, 0.4), "first"), ((0.0, 3.0), "above 0"), ((20.0, 25.0), "up to 15 Hz")]
)
def test_impossible_bands_are_refused(band, word):
    with pytest.raises(ZooError, match=word):
        sections("butterworth", RATE, band=band)


def test_ideal_filter_cuts_the_spectrum():
    time = np.arange(120) / RATE
    inside, outside = np.sin(2 * np.pi * 2 * time), 3 + np.sin(2 * np.pi * 9 * time)
    np.testing.assert_allclose(ideal(inside + outside, RATE)[20:-20], inside[20:-20], atol=0.15)


@pytest.mark.parametrize(("height", "width", "orientations"), [(64, 64, 4), (33, 50, 3), (47, 91, 2)])
def test_steerable_pyramid_reconstructs(height, width, orientations):
    pyramid = SteerablePyramid(height, width, orientations=orientations)
    pictures = torch.rand(2, height, width)
    bands = pyramid.analyse(pictures)
    assert len(bands.waves) == pyramid.levels
    assert bands.waves[0].shape[1] == orientations
    torch.testing.assert_close(pyramid.synthesise(bands), pictures, atol=1e-5, rtol=0)


def test_laplacian_pyramid_reconstructs_and_its_gains_follow_the_rule():
    picture = np.random.default_rng(0).random((37, 52, 3)).astype(np.float32)
    np.testing.assert_allclose(collapse(laplacian_pyramid(picture, 3)), picture, atol=1e-5)
    gains = level_gains(10, (240, 320), 16)  # residual shows 400 / 3 px, 5 levels above it
    assert gains[0] == gains[-1] == 0
    assert gains[2:-1] == [10] * (len(gains) - 3)
    assert gains[1] == pytest.approx(2 * (133.33 / 16 / (8 * 16 / 88) - 1), rel=1e-3)


def test_splines_do_not_bias_small_shifts():
    y, x = np.mgrid[:48, :64].astype(np.float32)
    pattern = 128 + 60 * np.sin(2 * np.pi * x / 8) * np.cos(2 * np.pi * y / 11)
    moved = Spline(pattern).moved(np.stack([np.full(x.shape, 0.1), np.zeros_like(x)]))
    true = 128 + 60 * np.sin(2 * np.pi * (x - 0.1) / 8) * np.cos(2 * np.pi * y / 11)
    assert np.abs(moved - true)[6:-6, 6:-6].max() < 0.2
    assert moved.shape == pattern.shape


def test_arrivals_invert_a_field():
    y, x = np.mgrid[:64, :64].astype(np.float32)
    bump = np.exp(-((x - 30) ** 2 + (y - 34) ** 2) / 300)
    field = np.stack([6 * bump, -4 * bump]).astype(np.float32)
    came = arrivals(field)
    there = [Spline(part).at(x - came[0], y - came[1]) for part in field]
    assert np.abs(np.stack(there) - came).max() < 0.02
    with pytest.raises(ZooError, match="finite"):
        arrivals(field * np.nan)


def test_motion_of_the_whole_picture_is_told_from_a_local_one():
    y, x = np.mgrid[:60, :80].astype(np.float32)
    head = np.stack([1.5 - 0.01 * (y - 29.5), 0.5 + 0.01 * (x - 39.5)])
    smile = 3 * np.exp(-((x - 50) ** 2 + (y - 45) ** 2) / 60)
    assert np.abs(whole_motion(head + np.stack([smile, smile])) - head).max() < 0.15


def test_principal_components_keep_what_all_frames_share():
    rng = np.random.default_rng(0)
    course = np.sin(np.linspace(0, np.pi, 20))[:, None, None, None]
    true = (course * rng.normal(size=(1, 2, 12, 16))).astype(np.float32)
    noisy = true + rng.normal(0, 0.3, true.shape).astype(np.float32)
    assert np.abs(principal(noisy, 1) - true).mean() < 0.4 * np.abs(noisy - true).mean()
    np.testing.assert_allclose(principal(noisy, 20), noisy, atol=1e-4)
    frames, shift = waves(0.4, count=40)
    assert gain(magnify(frames, alpha=4, components=5), shift) == pytest.approx(4, rel=0.15)


# -- pairs to learn from -------------------------------------------------------------------------------------------


def test_pairs_show_the_motion_they_state():
    portrait = cv2.resize(astronaut()[0:256, 96:352], (224, 224), interpolation=cv2.INTER_AREA)
    maker = PairMaker([portrait], crop=48, noise=0.0, still=0.0)
    y, x = np.mgrid[:48, :48].astype(np.float32)
    inner = (slice(14, -14),) * 2
    errors = []
    for seed in range(6):
        pair = maker.draw(seed)
        assert pair.alpha > 1
        assert np.hypot(*pair.field).max() * pair.alpha < 12.5
        followed = Spline(pair.target).at(x + pair.alpha * pair.field[0], y + pair.alpha * pair.field[1])
        small = Spline(pair.second).at(x + pair.field[0], y + pair.field[1])
        kept = Spline(pair.plain).at(x + pair.field[0], y + pair.field[1])
        assert np.abs(kept - pair.first)[inner].mean() < 0.03
        errors.append((np.abs(followed - small)[inner].mean(), np.abs(pair.target - pair.second)[inner].mean()))
    followed, apart = np.mean(errors, 0)
    assert followed < 0.4 * apart
    again = maker.draw(5)
    assert all(
        np.array_equal(getattr(pair, n), getattr(again, n)) for n in ("first", "second", "plain", "target", "field")
    )


def test_still_pairs_teach_that_noise_is_no_motion():
    portrait = np.ascontiguousarray(astronaut()[0:128, 160:288])
    pair = PairMaker([portrait], crop=32, still=1.0).draw(0)
    assert not pair.field.any()
    assert pair.first.shape == (32, 32, 3)
    assert np.abs(pair.first).max() <= 1
    with pytest.raises(ZooError, match="one size"):
        PairMaker([portrait, portrait[:64, :64]])


def test_training_starts_as_the_linear_method():
    model = create_model("magnet").eval()
    picture = np.ascontiguousarray(astronaut()[60:124, 180:244])
    start_as_linear(model, [picture])
    second = torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 127.5 - 1
    first = torch.roll(second, 1, 3)
    inner = (..., slice(8, -8), slice(8, -8))
    with torch.inference_mode():
        assert (model(second, second, 5.0) - second)[inner].abs().mean() < 0.02
        linear = (second + 0.5 * (second - first)).clamp(-1, 1)
        assert (model(first, second, 1.5) - linear)[inner].abs().mean() < 0.03
    model.train()(first, second, 2.0).square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    with pytest.raises(ZooError, match="picture"):
        start_as_linear(model, [])


# -- the learned method, and the command ---------------------------------------------------------------------------


def test_learned_modes_are_the_network_over_a_clip():
    torch.manual_seed(0)
    model = create_model("magnet").eval()
    frames, _ = waves(0.5, count=6, height=16, width=19)
    tensor = torch.from_numpy(frames).permute(0, 3, 1, 2).float() / 127.5 - 1

    def pictures(first, second, alpha):
        with torch.inference_mode():
            return ((model(first, second, alpha) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()

    def close(a, b):
        return np.abs(a.astype(int) - b.astype(int)).max() <= 1

    static = magnify(frames, method="learned", model=model, alpha=4)
    assert close(static, pictures(tensor[:1].expand_as(tensor), tensor, 4.0))
    dynamic = magnify(frames, method="learned", model=model, alpha=4, mode="dynamic")
    assert close(dynamic, pictures(tensor[[0, 0, 1, 2, 3, 4]], tensor, 4.0))
    ports = create_model("magnet", convention="pytorch").eval()
    ports.load_state_dict(model.state_dict())
    assert close(magnify(frames, method="learned", model=ports, alpha=4), static), "alpha means the same to the caller"
    filtered = magnify(
        np.repeat(frames[:1], 6, 0), 8.0, method="learned", model=model, alpha=4, mode="temporal", band=(0.4, 3.0)
    )
    assert close(filtered, pictures(tensor[:1].repeat(6, 1, 1, 1), tensor[:1].repeat(6, 1, 1, 1), 1.0))


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ({"method": "riesz"}, "riesz"),
        ({"alpha": float("nan")}, "nan"),
        ({"alpha": -1}, "-1"),
        ({"method": "eulerian", "fps": None}, "frame rate"),
        ({"method": "eulerian", "temporal": "kalman"}, "kalman"),
        ({"method": "lagrangian", "reference": 9}, "reference frame 9"),
        ({"method": "lagrangian", "components": 0}, "at least 1"),
        ({"method": "learned", "model": "magnett.synthetic"}, "magnett"),
        ({"method": "learned", "model": "ststnet.megc2019"}, "does not magnify"),
        ({"frames": np.zeros((2, 8, 8, 3), np.uint8)}, "16 px"),
        ({"frames": np.zeros((2, 32, 32), np.uint8)}, "uint8"),
        ({"frames": np.full((2, 32, 32, 3), np.nan)}, "uint8"),
    ],
)
def test_what_makes_no_sense_is_refused(arguments, word):
    arguments = {"frames": np.zeros((3, 32, 32, 3), np.uint8), "fps": 30.0, **arguments}
    with pytest.raises(ZooError, match=word):
        magnify(arguments.pop("frames"), arguments.pop("fps"), **arguments)


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    path = tmp_path_factory.mktemp("video") / "swing.mp4"
    write_video(path, waves(0.4, count=30, width=97)[0], fps=RATE)
    return path


def test_command_writes_a_video_and_a_figure(video, tmp_path, capsys):
    out = tmp_path / "made" / "big.mp4"
    assert (
        main(
            [
                "magnify",
                str(video),
                "--alpha",
                "6",
                "--head",
                "magnified",
                "--start",
                "0.2",
                "--stop",
                "0.8",
                "--out",
                str(out),
            ]
        )
        == 0
    )
    frames = np.stack([f.rgb for f in MediaReader(out)])[:, :, :96]
    assert len(frames) == 18
    original = waves(0.4, count=30, width=97)[0][6:24, :, :96]
    assert np.ptp(displacement(frames)) > 4 * np.ptp(displacement(original))
    assert cv2.imread(str(out.with_suffix(".png"))).shape[1] > 1000
    assert sorted(p.name for p in out.parent.iterdir()) == ["big.mp4", "big.png"]
    assert "18 frames" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("extra", "word"),
    [
        (["--start", "5"], "no frame"),
        (["--start", "2", "--stop", "1"], "before"),
        (["--flow", "dis", "--method", "phase"], "lagrangian"),
        (["--method", "eulerian", "--band", "3", "1"], "first"),
        (["--out", "x.gif"], ".mp4"),
    ],
)
def test_command_refuses_in_words_and_leaves_nothing(video, tmp_path, capsys, monkeypatch, extra, word):
    monkeypatch.chdir(tmp_path)
    assert main(["magnify", str(video), *extra]) == 2
    assert word in capsys.readouterr().err
    assert not [p for p in tmp_path.rglob("*") if p.is_file()]


def test_figure_keeps_a_bounded_part_of_a_long_clip_and_finds_where_it_moves():
    slices = TimeSlices()
    still = np.full((40, 60, 3), 100, np.uint8)
    for index in range(2000):
        after = still.copy()
        after[:, 28 + index % 5 : 32 + index % 5] = 250
        slices.add(still, after)
    kind, place, before, after = slices.chosen()
    assert kind == "row" or 27 <= place <= 36
    assert before.shape == after.shape
    assert 400 <= before.shape[1] < 800
    assert slices.frames == 2000
    assert (before == 100).all()


@pytest.mark.parametrize("fps", [60.0, 200.0])
def test_a_pulse_passes_the_band_at_about_six_tenths(fps):
    half = int(0.25 * fps)
    pulse = np.concatenate([np.zeros(half), 0.5 - 0.5 * np.cos(np.pi * np.arange(2 * half) / half), np.zeros(half)])
    fed = list(warmed_up(iter(pulse), fps))
    passed = Filter(sections("butterworth", fps))(np.array([value for value, _ in fed]))
    counted = passed[np.array([counts for _, counts in fed])]
    assert len(counted) == len(pulse)
    assert counted.max() == pytest.approx(0.6, abs=0.12)


def test_a_network_without_an_input_spec_is_saved_loaded_and_listed(tmp_path, monkeypatch, capsys):
    model = create_model("magnet", convention="pytorch")
    save(model, tmp_path / "magnet.test", classes=(), card="a card", half=True)
    entry = {"arch": "magnet", "licence": "Apache-2.0", "metrics": {}, "parameters": 928_144, "repo": None}
    write_index(tmp_path, {"magnet.test": entry})
    monkeypatch.setenv("ZOO_CHECKPOINTS", str(tmp_path))
    loaded = load("magnet.test")
    assert (loaded.convention, loaded.input_spec, loaded.classes, loaded.card) == ("pytorch", None, (), "a card")
    first, second = frames(seed=1), frames(seed=2)
    torch.testing.assert_close(
        loaded.shape_code(first, second, 2.0), model.shape_code(first, second, 2.0), atol=2e-3, rtol=0
    )
    assert main(["models", "magnet*"]) == 0
    assert "magnet.test" in capsys.readouterr().out
