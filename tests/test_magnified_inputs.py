"""Motion made large before it is measured: of micro clips, in training and prediction alike, and never of macro clips."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.test_two_domain_recipes import micro, places, trained  # noqa: F401
from zoo.data.clips import open_clip
from zoo.data.manifest import Manifest
from zoo.data.source import Source
from zoo.errors import ZooError
from zoo.inputs import flow_map, magnified_pair, normalise, prepare
from zoo.magnification.magnify import magnify
from zoo.types import Clip, InputSpec, Interval

SPEC = InputSpec(normalisation="pixels", flow="farneback", crop="face", size=64, map_size=64)


def moving(count: int = 16, *, far: float = 0.6, fps: float | None = 30.0) -> Clip:
    """Blobs of light that move to the right, frame by frame."""
    y, x = np.mgrid[:96, :96]
    frames = []
    for k in range(count):
        picture = 128 + 60 * np.sin((x - far * k / (count - 1)) * 2 * np.pi / 24) * np.sin(y * 2 * np.pi / 24)
        frames.append(np.repeat(picture[..., None], 3, 2).round().astype(np.uint8))
    return Clip(id="1", dataset="d", subject="s", frames=frames, fps=fps, interval=Interval(onset=0, apex=count - 1))


def test_motion_is_as_much_larger_as_the_magnifier_makes_it():
    clip = moving()
    plain, large = (flow_map(magnified_pair(clip, SPEC.replace(magnify=m)), "farneback").data[0] for m in (1, 5))
    assert plain[20:76, 20:76].mean() == pytest.approx(0.6, abs=0.15)
    assert large[20:76, 20:76].mean() > 2 * plain[20:76, 20:76].mean(), "the filter passes a part of it"
    frames = np.stack(list(clip.frames))
    by_hand = replace(
        clip,
        frames=[frames[0], magnify(frames, 30.0, method="eulerian", alpha=5)[-1]],
        interval=Interval(onset=0, apex=1),
    )
    wanted = normalise(flow_map(by_hand, "farneback").data, 64, "face", "pixels")
    np.testing.assert_array_equal(prepare(clip, SPEC.replace(magnify=5)), wanted)
    assert magnified_pair(clip, SPEC) is clip


def test_the_field_is_told_only_where_it_is_used_and_refused_out_of_range():
    assert "magnify" not in SPEC.to_dict() and SPEC.reads_pair
    large = SPEC.replace(magnify=8.0)
    assert InputSpec.from_dict(large.to_dict()) == large and not large.reads_pair
    for wrong in ({"magnify": 0.5}, {"magnify": 1000}, {"magnify": 4, "modality": "apex", "channels": ("grey",)}):
        with pytest.raises(ZooError, match="magnify"):
            SPEC.replace(**wrong)
    with pytest.raises(ZooError, match="no frame rate"):
        prepare(moving(fps=None), large)
    with pytest.raises(ZooError, match="magnifies motion 8 times needs a manifest"):
        Source(root="anywhere").load(InputSpec(magnify=8.0))


def test_a_data_set_is_prepared_as_a_clip_is(places, tmp_path):  # noqa: F811
    """All frames from onset to apex decide, in the cache too."""
    folder, spec = places / "casme2", SPEC.replace(magnify=6.0)
    where = {"manifest": str(folder / "casme2.parquet"), "frames": str(folder), "protocol": "own_3", "faces": "cropped"}
    found = Source.of({**where, "cache": str(tmp_path)}).load(spec)
    clip = open_clip(Manifest.load(folder / "casme2.parquet"), found.keys[0], folder)
    np.testing.assert_allclose(found.maps[0], prepare(clip, spec), atol=1e-5)
    plain = Source.of({**where, "cache": str(tmp_path)}).load(SPEC)
    assert not np.array_equal(plain.maps[0], found.maps[0])


def test_micro_clips_are_magnified_and_macro_clips_are_not(places, tmp_path, capsys):  # noqa: F811
    flags = [*micro(places), "--model.arch_args.backbone", "test_resnet"]
    runs = []
    for name, spec in (("plain", "{size: 64, map_size: 64}"), ("large", "{size: 64, map_size: 64, magnify: 6}")):
        runs.append(trained("emr_two_domains", tmp_path / name, [*flags, "--model.input", spec], capsys))
    (plain, _), (large, net) = runs
    assert net.input_spec.magnify == 6
    assert plain["digests"]["inputs"] != large["digests"]["inputs"], "micro clips are other inputs"
    assert plain["digests"]["macro"] == large["digests"]["macro"], "macro clips are the same"


def test_prediction_magnifies_as_training_did(places, tmp_path, monkeypatch, capsys):  # noqa: F811
    flags = [
        *micro(places),
        "--model.arch_args.backbone",
        "test_resnet",
        "--model.input",
        "{size: 64, map_size: 64, magnify: 6}",
    ]
    trained("emr_two_domains", tmp_path / "run", flags, capsys)
    from zoo.magnification import magnify as made

    asked, given = [], made.magnify

    def watched(frames, fps, **options):
        asked.append((len(frames), options["alpha"]))
        return given(frames, fps, **options)

    monkeypatch.setattr(made, "magnify", watched)
    from zoo.predictor.brief import predict_clip
    from zoo.synthesis.sample import sample_clip

    sample = sample_clip()
    result = predict_clip(sample.clip, model=f"local-dir:{tmp_path / 'run' / 'checkpoint'}")
    span = result.interval.apex - result.interval.onset + 1
    assert asked == [(span, 6)] and span > 2
    assert sum(result.prediction.probabilities) == pytest.approx(1)
