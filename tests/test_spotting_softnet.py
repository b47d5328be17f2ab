"""SOFTNet: layers, labels, the peak rule, and the weights of its authors."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch

from zoo import create_model, load
from zoo.convert import convert
from zoo.errors import WeightError, ZooError
from zoo.spotting import softnet
from zoo.spotting.softnet_training import Samples, fit, samples, training_set
from zoo.synthesis.sample import sample_clip


def test_layers_count_as_in_the_paper():
    model = create_model("softnet")
    assert sum(p.numel() for p in model.parameters()) == 314_817
    assert model(torch.rand(4, 3, 42, 42)).shape == (4,)
    for wrong in (torch.rand(1, 3, 28, 28), torch.rand(3, 42, 42), torch.rand(1, 1, 42, 42)):
        with pytest.raises(ZooError, match=r"wants \[B, 3, 42, 42\]"):
            model(wrong)
    with pytest.raises(ZooError, match="k=0"):
        create_model("softnet", k=0)


def keras_forward(x: np.ndarray, w: dict[str, np.ndarray]) -> np.ndarray:
    """The network as Keras computes it, in numpy: channels last, kernels height-width-in-out, flattened in that order.

    Shapes: ``[B, 42, 42, 3]`` -> ``[B]``.
    """
    streams = []
    for channel, name in enumerate(("conv2d_9", "conv2d_10", "conv2d_11")):
        kernel, bias = w[f"{name}/kernel:0"], w[f"{name}/bias:0"]
        padded = np.pad(x[..., channel], ((0, 0), (2, 2), (2, 2)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, (5, 5), axis=(1, 2))  # [B, 42, 42, 5, 5]
        maps = np.maximum(np.einsum("bijhw,hwo->bijo", windows, kernel[:, :, 0]) + bias, 0)
        streams.append(maps.reshape(len(x), 14, 3, 14, 3, -1).max((2, 4)))
    merged = np.concatenate(streams, -1).reshape(len(x), 7, 2, 7, 2, 16).max((2, 4))
    hidden = np.maximum(merged.reshape(len(x), -1) @ w["dense_6/kernel:0"] + w["dense_6/bias:0"], 0)
    return (hidden @ w["dense_7/kernel:0"] + w["dense_7/bias:0"])[:, 0]


@pytest.fixture
def keras_weights():
    rng = np.random.default_rng(0)
    shapes = {
        "conv2d_9": (5, 5, 1, 3), "conv2d_10": (5, 5, 1, 5), "conv2d_11": (5, 5, 1, 8),
        "dense_6": (784, 400), "dense_7": (400, 1),
    }  # fmt: skip
    found = {}
    for name, shape in shapes.items():
        found[f"{name}/kernel:0"] = rng.normal(0, 0.2 if len(shape) == 4 else 0.05, shape).astype(np.float32)
        found[f"{name}/bias:0"] = rng.normal(0, 0.1, shape[-1]).astype(np.float32)
    return found


def write_keras(path, weights, *, whole_model: bool) -> None:
    """As Keras 2 writes it: a group per layer, named in layer_names, its tensors named in weight_names, in a group again."""
    import h5py

    layers = ["input_4", "conv2d_9", "conv2d_10", "conv2d_11", "max_pooling2d_12", "concatenate_3", "flatten_3", "dense_6",
              "dense_7"]  # fmt: skip
    with h5py.File(path, "w") as file:
        root = file.create_group("model_weights") if whole_model else file
        root.attrs["layer_names"] = [layer.encode() for layer in layers]
        root.attrs["backend"], root.attrs["keras_version"] = b"tensorflow", b"2.4.0"
        for layer in layers:
            group = root.create_group(layer)
            own = [name for name in weights if name.startswith(f"{layer}/")]
            group.attrs["weight_names"] = [name.encode() for name in own]
            for name in own:
                group.create_dataset(name, data=weights[name])
        if whole_model:
            file.create_group("optimizer_weights").create_dataset("training/SGD/iter:0", data=np.int64(7))


@pytest.mark.parametrize("whole_model", [False, True], ids=["save_weights", "save"])
def test_the_authors_weights_give_the_same_scores(tmp_path, keras_weights, whole_model):
    pytest.importorskip("h5py", reason="Keras files are opened by an extra")
    write_keras(tmp_path / "s15.hdf5", keras_weights, whole_model=whole_model)
    folder = convert("softnet", tmp_path / "s15.hdf5", tmp_path / "out")
    model = load(f"local-dir:{folder}")
    assert "s15.hdf5" in model.card and (model.kind, model.k) == ("micro", 6)
    x = np.random.default_rng(1).random((3, 42, 42, 3), np.float32)
    with torch.inference_mode():
        ours = model(torch.from_numpy(x.transpose(0, 3, 1, 2).copy())).numpy()
    wanted = keras_forward(x, keras_weights)
    assert np.ptp(wanted) > 0.01 and np.abs(ours - wanted).max() < 1e-4


def test_files_that_are_no_softnet_are_refused(tmp_path, keras_weights):
    pytest.importorskip("h5py", reason="Keras files are opened by an extra")
    few = {k: v for k, v in keras_weights.items() if not k.startswith("dense_7")}
    write_keras(tmp_path / "few.hdf5", few, whole_model=False)
    with pytest.raises(WeightError, match="no SOFTNet"):
        convert("softnet", tmp_path / "few.hdf5", tmp_path / "out")
    (tmp_path / "cut.hdf5").write_bytes((tmp_path / "few.hdf5").read_bytes()[:900])
    with pytest.raises(WeightError, match="hdf5"):
        convert("softnet", tmp_path / "cut.hdf5", tmp_path / "out")
    bad = {**keras_weights, "dense_7/bias:0": np.array([np.nan], np.float32)}
    write_keras(tmp_path / "nan.hdf5", bad, whole_model=False)
    with pytest.raises(WeightError, match="no numbers"):
        convert("softnet", tmp_path / "nan.hdf5", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_pseudo_labels_are_windows_that_touch_an_expression():
    labels = softnet.pseudo_labels(40, [(10, 14), (30, 31)], 4)
    assert len(labels) == 36
    for i, label in enumerate(labels):  # by the definition: [i, i + 4) and a true interval share a frame
        assert label == float(any(max(i, a) <= min(i + 3, b) for a, b in ((10, 14), (30, 31))))
    assert softnet.pseudo_labels(3, [], 4).size == 0 and not softnet.pseudo_labels(20, [], 4).any()
    assert softnet.mean_k([(0, 10), (5, 17)]) == 6  # (mean of 10 and 12, plus 1) / 2, cut
    with pytest.raises(ZooError, match="give k"):
        softnet.mean_k([])


def test_the_peak_rule():
    scores = np.zeros(200)
    scores[44:56], scores[120:126] = 1.0, 0.3
    found, curve, line = softnet.intervals(scores, 6, "micro")
    assert [(e.onset, e.apex, e.offset) for e in found] == [(44, 50, 56)] and found[0].kind == "micro"
    assert line == pytest.approx(np.nanmean(curve) + 0.55 * (1 - np.nanmean(curve)))
    assert len(softnet.intervals(scores, 6, "micro", p=0.05)[0]) == 2
    assert (
        softnet.intervals(np.full(100, 0.4), 6, "micro")[0] == [] and softnet.intervals(np.ones(9), 6, "macro")[0] == []
    )


def test_features_see_the_smile_in_the_lower_strip():
    import cv2

    sample = sample_clip(noise=0.3)

    def grey(index):
        face = cv2.cvtColor(sample.clip.frames[index], cv2.COLOR_RGB2GRAY)
        return cv2.resize(face, (128, 128), interpolation=cv2.INTER_AREA)

    maps = softnet.features(grey(10), grey(27), "farneback")
    assert maps.shape == (3, 42, 42) and maps.dtype == np.float32 and (maps >= 0).all()
    assert maps[:, 21:].mean() > 2 * maps[:, :21].mean(), "brows above, mouth below"
    still = softnet.features(grey(10), grey(10), "farneback")
    assert np.abs(still).max() < 1e-3 and np.isfinite(softnet.stretch(still[None] * 0)).all()
    stretched = softnet.stretch(np.stack([maps, maps * 0.1]))
    assert np.allclose(stretched[0], stretched[1], atol=1e-5) and stretched.max() == 1
    limits = maps.min((1, 2)), maps.max((1, 2))
    assert softnet.stretch(np.stack([maps, maps * 0.1]), *limits)[1].max() < 0.2
    with pytest.raises(ZooError, match="128x128"):
        softnet.features(np.zeros((64, 64), np.uint8), np.zeros((64, 64), np.uint8))


def test_half_of_the_negatives_and_more_of_the_positives_are_learned_from():
    rng = np.random.default_rng(0)
    maps = rng.random((20, 3, 42, 42), np.float32)
    labels = np.zeros(20, np.float32)
    labels[5:9] = 1
    plain = training_set([Samples(maps, labels)], augment=False, rng=rng)
    assert len(plain.labels) == 4 + 8 and plain.labels.sum() == 4
    more = training_set([Samples(maps, labels)] * 2, augment=True, rng=rng)
    assert len(more.labels) == 2 * (4 + 8 + 12) and more.labels.sum() == 2 * 16
    flipped = more.maps[12:16]
    assert np.array_equal(flipped, maps[5:9, :, :, ::-1])


def test_training_tells_motion_from_rest_and_is_repeatable():
    rng = np.random.default_rng(0)
    labels = (np.arange(60) % 3 == 0).astype(np.float32)
    maps = (rng.random((60, 3, 42, 42)) * (0.2 + 0.8 * labels[:, None, None, None])).astype(np.float32)

    def train():
        torch.manual_seed(0)
        losses = []
        net = fit(
            create_model("softnet"),
            [Samples(maps, labels)],
            epochs=5,
            lr=5e-3,
            note=lambda _, loss: losses.append(loss),
        )
        return net, losses

    (net, losses), (twin, again) = train(), train()
    assert losses == again and losses[-1] < 0.6 * losses[0] and not net.training
    scored = softnet.scores(maps, net)
    assert scored[labels == 1].min() > scored[labels == 0].max()
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), twin.parameters(), strict=True))
    with pytest.raises(ZooError, match="nothing to tell apart"):
        fit(net, [Samples(maps, labels * 0)])
    with pytest.raises(ZooError, match="k = 9"):
        samples([np.zeros((128, 128), np.uint8)] * 9, [], 9)


@pytest.mark.parametrize("scope", ["image", "video"])
def test_scores_do_not_depend_on_how_the_stream_is_cut(scope, monkeypatch):
    torch.manual_seed(0)
    model = create_model("softnet", k=2, scope=scope).eval()
    model.input_spec = model.input_spec.replace(flow="farneback")
    rng = np.random.default_rng(0)
    faces = [rng.integers(0, 255, (128, 128)).astype(np.uint8) for _ in range(9)]

    def run(batch):
        monkeypatch.setattr(softnet, "BATCH", batch)
        scorer = softnet.Scorer(model, 2)
        for i, face in enumerate(faces):
            if i != 5:  # no face there
                scorer.add(i, 1, face)
        return scorer.finish(9)

    one, other = run(2), run(100)
    assert np.allclose(one, other, atol=1e-5, equal_nan=True)
    assert np.isfinite(one[[0, 1, 2, 4, 6]]).all() and np.isnan(one[[3, 5, 7, 8]]).all()


def test_the_command_says_what_is_missing(tmp_path):
    code = "import sys; sys.modules['h5py'] = None\nfrom zoo.convert import _read_keras\nfrom pathlib import Path\n_read_keras(Path('x'))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert "needs h5py" in done.stderr and "keras" in done.stderr
