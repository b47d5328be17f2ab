"""Inputs of every modality: what prepare makes of a clip, and the way from disk to a network of action units."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from fakes import moving
from torch import nn

from zoo.data.module import FlowMapsDataModule, Prepared
from zoo.data.source import Source
from zoo.errors import DataError, ZooError
from zoo.facs import geometry
from zoo.inputs import normalise, prepare
from zoo.inputs.pictures import moments
from zoo.models._base import AUModel, AUOutputs
from zoo.synthesis.sample import sample_clip
from zoo.train.task import RecognitionTask
from zoo.types import PATCH_POINTS, Clip, InputSpec, Interval

FRAMES = InputSpec(modality="frames", channels=("grey",), frames=3, size=24)
PATCHES = InputSpec(modality="patches", source="difference", size=128)
LOUD = InputSpec(modality="apex", channels=("difference",), size=24, scaling="raw255")
UNITS = (1, 2, 4, 12)


@pytest.fixture(scope="module")
def disk(tmp_path_factory):
    return moving.write(tmp_path_factory.mktemp("frames"))


@pytest.fixture(scope="module")
def clip():
    sample = sample_clip()
    truth = sample.truth
    interval = Interval(onset=truth.onset, apex=truth.apex, offset=truth.offset)
    return Clip(**{**sample.clip.__dict__, "interval": interval})


def source(disk, tmp_path, **changes):
    given = {"manifest": str(disk / "casme2.parquet"), "frames": str(disk), "protocol": "casme2_3", "complete": False,
             "faces": "cropped", "cache": str(tmp_path / "cache")}  # fmt: skip
    return {**given, **changes}


# --- units of motion


def field(scale: float = 1.0) -> np.ndarray:
    y, x = np.mgrid[:168, :168] / 167
    return (scale * np.stack([np.sin(3 * x), np.cos(2 * y), np.abs(x - y)])).astype(np.float32)


def test_units_of_motion_by_hand():
    data = field()
    assert normalise(data, 168, "face", "pixels") == pytest.approx(data)
    iod = geometry.interocular() * 168
    assert normalise(data, 168, "face", "iod") == pytest.approx(
        data * np.array([100 / iod, 100 / iod, 100])[:, None, None], rel=1e-5
    )
    peak = normalise(data, 168, "face", "peak")
    assert np.hypot(peak[0], peak[1]).max() == pytest.approx(1) and peak[2].max() == pytest.approx(1)
    z = normalise(data, 168, "face", "zscore")
    assert z.mean((1, 2)) == pytest.approx(np.zeros(3), abs=1e-5) and z.std((1, 2)) == pytest.approx(
        np.ones(3), abs=1e-5
    )


@pytest.mark.parametrize("unit", ["peak", "zscore"])
def test_relative_units_forget_strength_and_absolute_ones_do_not(unit):
    assert normalise(field(2), 28, "megc2019", unit) == pytest.approx(
        normalise(field(), 28, "megc2019", unit), abs=1e-5
    )
    assert normalise(field(2), 28, "face", "pixels") == pytest.approx(
        2 * normalise(field(), 28, "face", "pixels"), rel=1e-5
    )


@pytest.mark.parametrize("unit", ["pixels", "iod", "peak", "zscore"])
def test_no_motion_is_zero_in_every_unit(unit):
    assert not normalise(np.zeros((3, 168, 168), np.float32), 28, "face", unit).any()


# --- frames and apex


def test_moments_are_evenly_spaced_and_include_both_ends(clip):
    assert moments(clip, 4).tolist() == [15, 24, 33, 42]
    rise = Clip(**{**clip.__dict__, "interval": Interval(onset=15, apex=27)})
    assert moments(rise, 3).tolist() == [15, 21, 27], "without an offset the rise is shown"
    wrong = Clip(**{**clip.__dict__, "interval": Interval(onset=15, apex=27, offset=99)})
    with pytest.raises(ZooError, match="offset 99"):
        moments(wrong, 3)


def test_frames_are_the_frames(clip):
    spec = InputSpec(modality="frames", channels=("red", "grey"), frames=4, size=168, crop="face", scaling="raw255")
    made = prepare(clip, spec)
    assert made.shape == spec.shape == (2, 4, 168, 168)
    assert np.array_equal(made[0, 1], clip.frames[24][..., 0])
    assert np.array_equal(made[1, 3], cv2.cvtColor(clip.frames[42], cv2.COLOR_RGB2GRAY))


def test_scalings_agree(clip):
    def of(scaling):
        return prepare(clip, InputSpec(modality="apex", channels=("red", "blue"), size=32, scaling=scaling))

    raw = of("raw255")
    assert of("unit") == pytest.approx(raw / 255)
    assert of("signed") == pytest.approx(raw / 127.5 - 1, abs=1e-6)
    assert of("imagenet")[1] == pytest.approx((raw[1] / 255 - 0.406) / 0.225, abs=1e-5)


def test_difference_is_apex_minus_onset(clip):
    spec = InputSpec(modality="apex", channels=("difference",), size=168, crop="face", scaling="raw255")
    grey = [cv2.cvtColor(clip.frames[i], cv2.COLOR_RGB2GRAY).astype(float) for i in (15, 27)]
    assert prepare(clip, spec)[0] == pytest.approx(grey[1] - grey[0])


def test_a_sequence_of_motion_starts_still_and_grows(clip):
    spec = InputSpec(
        modality="frames", channels=("u", "v"), frames=3, size=42, normalisation="pixels", flow="dis", crop="face"
    )
    made = prepare(Clip(**{**clip.__dict__, "interval": Interval(onset=15, apex=27)}), spec)
    lengths = np.hypot(made[0], made[1]).max((1, 2))
    assert made.shape == (2, 3, 42, 42) and lengths[0] == 0 and lengths[0] < lengths[1] < lengths[2]


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"modality": "flow", "channels": ("red",)}, "flow shows u, v, strain"),
        ({"modality": "apex", "channels": ("u",)}, "apex shows"),
        ({"modality": "frames", "channels": ("u", "red")}, "do not mix"),
        ({"modality": "frames", "channels": ("grey",), "frames": 0}, "frames is 0"),
        ({"modality": "video"}, "known: flow"),
        ({"modality": "patches", "source": "shapes"}, "known: shape"),
    ],
)
def test_impossible_inputs_are_refused(fields, word):
    with pytest.raises(ZooError, match=word):
        InputSpec(**fields)


@pytest.mark.parametrize(
    "spec", [InputSpec(), FRAMES, PATCHES, InputSpec(modality="apex", channels=("grey",), size=64)]
)
def test_a_spec_comes_back_from_its_json(spec):
    assert InputSpec.from_dict(spec.to_dict()) == spec


# --- patches


def test_a_patch_lies_around_its_landmark_in_rows_and_columns():
    """A bright dot at landmark 54 (x, y differ) must be in the middle of that landmark's patch, and of no other far away."""
    point = geometry.landmarks()[54] * 168 - 0.5
    frames = [np.zeros((168, 168, 3), np.uint8), np.zeros((168, 168, 3), np.uint8)]
    x, y = np.rint(point).astype(int)
    frames[1][y - 1 : y + 2, x - 1 : x + 2] = 255
    made = prepare(
        Clip(id="a", dataset="d", subject="s", frames=frames, interval=Interval(onset=0, apex=1)),
        InputSpec(modality="patches", patches="brow10_mouth20", source="difference", size=168, crop="face"),
    )
    assert made.shape == (30, 7, 7)
    place = PATCH_POINTS["brow10_mouth20"].index(54)
    assert made[place, 3, 3] == 1 and made[place].argmax() in range(49)
    assert not made[:10].any(), "the brows are still"


def test_landmarks_move_the_patches_and_nan_is_refused(clip):
    own = geometry.landmarks() * 168 - 0.5
    spec = InputSpec(modality="patches", source="difference", size=168, crop="face")
    same = prepare(Clip(**{**clip.__dict__, "landmarks": own}), spec)
    assert np.array_equal(same, prepare(clip, spec))
    assert not np.array_equal(prepare(Clip(**{**clip.__dict__, "landmarks": own + 5}), spec), same)
    own[3] = np.nan
    with pytest.raises(ZooError, match="NaN"):
        prepare(Clip(**{**clip.__dict__, "landmarks": own}), spec)


# --- from disk to a network


@pytest.mark.parametrize("spec", [FRAMES, PATCHES, InputSpec(modality="apex", channels=("red", "difference"), size=20)])
def test_a_manifest_serves_every_modality_once(disk, tmp_path, spec, monkeypatch):
    first = Source.of(source(disk, tmp_path)).load(spec)
    monkeypatch.setattr("zoo.data.input_set.pictures_of", None)  # the second time nothing may be computed
    monkeypatch.setattr("zoo.data.input_set.patches_of", None)
    again = Source.of(source(disk, tmp_path)).load(spec)
    assert first.digest == again.digest and first.inputs.shape[1:] == (12, *spec.shape)
    assert first.aus[0] in ({12}, {1, 2}, {4}) and not np.isnan(first.au_targets(UNITS)).any()
    assert first.au_targets(UNITS).sum(0).tolist() == [4, 4, 4, 4]


@pytest.mark.parametrize("spec", [FRAMES, PATCHES])
def test_the_mirrored_view_is_the_input_of_the_mirrored_clip(disk, tmp_path, spec):
    prepared = Prepared.of(Source.of(source(disk, tmp_path)).load(spec), spec)
    rows = torch.arange(2)
    straight, mirrored = prepared.take(rows), prepared.take(rows, torch.tensor([True, False]))
    assert torch.equal(mirrored[1], straight[1]) and not torch.equal(mirrored[0], straight[0])
    if spec.modality == "frames":
        assert torch.equal(mirrored[0], straight[0].flip(-1))
    else:  # landmark 17 of the mirrored face is landmark 26 mirrored, up to the rounding of a place to a pixel
        a, b = mirrored[0, 0].flip(-1), straight[0, 9]
        assert torch.corrcoef(torch.stack([a.flatten(), b.flatten()]))[0, 1] > 0.5


def test_augmented_pictures_differ_between_epochs_and_not_between_runs(disk, tmp_path):
    def batches():
        data = FlowMapsDataModule(
            **source(disk, tmp_path), input_spec=FRAMES, augment={"rotate": 10, "brightness": 0.1}, batch_size=6
        )
        data.setup()
        loader = data.train_dataloader()
        return [torch.cat([x for x, _, _ in loader]) for _ in range(2)]

    first, again = batches(), batches()
    assert torch.equal(first[0], again[0]) and torch.equal(first[1], again[1]) and not torch.equal(first[0], first[1])


def test_sources_say_what_they_cannot_give(disk, tmp_path, megc_folder):
    with pytest.raises(DataError, match="pictures of flow"):
        Source.of({"root": str(megc_folder)}).load(FRAMES)
    with pytest.raises(DataError, match="alphas"):
        Source.of(source(disk, tmp_path, alphas=[2.0, 3.0])).load(InputSpec(flow="dis"))
    with pytest.raises(DataError, match="patches and sequences"):
        Source.of(source(disk, tmp_path)).load(PATCHES, keep_fields=True)


class TinyGraph(AUModel):
    """Two convolutions, one node per unit."""

    aus, node_names = UNITS, tuple(f"AU{n}" for n in UNITS)

    def __init__(self, spec: InputSpec = FRAMES) -> None:
        super().__init__(num_classes=3, input_spec=spec)
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(int(np.prod(spec.shape)), 4 * 8), nn.ReLU())
        self.tell, self.fc = nn.Linear(32, 4), nn.Linear(32, 3)
        self.num_features = 32
        self.seen: torch.Tensor | None = None

    def forward_graph(self, x):
        nodes = self.body(x).view(len(x), 4, 8)
        return AUOutputs(nodes.flatten(1), self.tell(nodes.flatten(1)), nodes, torch.eye(4))

    def fit_graph(self, au_labels):
        self.seen = au_labels


def fit(disk, tmp_path, net, epochs=40, **task):
    torch.manual_seed(0)
    data = FlowMapsDataModule(**source(disk, tmp_path), fold="casme2/sub04", batch_size=9, mirror=0.0, shift=0)
    trainer = pl.Trainer(max_epochs=epochs, logger=False, enable_checkpointing=False, enable_progress_bar=False,
                         enable_model_summary=False, accelerator="cpu")  # fmt: skip
    task = RecognitionTask(net=net, lr=3e-3, **task)
    trainer.fit(task, datamodule=data)
    return task, trainer.test(task, datamodule=data, verbose=False)[0]


def test_a_network_of_units_learns_them_and_counts_its_graph_on_the_training_people_alone(disk, tmp_path):
    net = TinyGraph(LOUD)
    losses = {"au": "bce", "au_weight": 1.0, "feature": "au_jaccard", "fuzzy": 0.2}
    _, test = fit(disk, tmp_path, net, losses=losses)
    assert net.seen.shape == (9, 4), "three people of four, three clips each"
    assert test["test/uf1"] == 1.0 and test["test/au_f1"] == 1.0 and test["test/au12_f1"] == 1.0


def test_without_weight_on_emotions_only_units_are_learned(disk, tmp_path):
    net = TinyGraph(LOUD)
    before = net.fc.weight.clone()
    task, test = fit(
        disk, tmp_path, net, epochs=40, losses={"au": "asymmetric", "emotion_weight": 0.0}, weight_decay=0.0
    )
    assert torch.equal(before, task.net.fc.weight) and test["test/au_f1"] == 1.0


@pytest.mark.parametrize(
    ("losses", "word"),
    [({"au": "bxe"}, "did you mean|bce"), ({"aus": "bce"}, "losses have no aus"), ({"au_weight": -1}, "not below 0")],
)
def test_a_wrong_loss_is_named(disk, tmp_path, losses, word):
    with pytest.raises(ZooError, match=word):
        fit(disk, tmp_path, TinyGraph(), epochs=1, losses=losses)


def test_losses_of_units_need_a_network_that_tells_them(disk, tmp_path):
    from zoo import create_model

    with pytest.raises(ZooError, match="tells emotions only"):
        fit(disk, tmp_path, create_model("ststnet", input_spec=InputSpec(flow="dis")), epochs=1, losses={"au": "bce"})
