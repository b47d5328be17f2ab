"""Audits: hand-computed cases, known truths that must be found, and the command on small fakes."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
import torch
from torch import nn

from tests.conftest import fake_clips
from zoo.audit import bias, ceiling, hemiface, occlusion
from zoo.audit.recognise import Asked, ask_checkpoint, neutral
from zoo.cli import main
from zoo.data.flow_maps import FlowMaps
from zoo.data.manifest import Manifest
from zoo.data.module import Prepared
from zoo.errors import DataError, ZooError
from zoo.facs import regions
from zoo.train.compare import Run
from zoo.types import InputSpec

SPEC = InputSpec(size=28)
LEFT = slice(14, 28)  # columns that show the subject's left


def maps(pictures, labels, people=None):
    count = len(pictures)
    return FlowMaps(
        maps=np.asarray(pictures, np.uint8), labels=np.asarray(labels, np.int64), classes=("negative", "positive", "surprise"),
        datasets=("smic",) * count, subjects=tuple(people or [f"s{k % 6}" for k in range(count)]),
        clips=tuple(f"c{k}" for k in range(count)), source="fake",
    )  # fmt: skip


def still(count):
    rng = np.random.default_rng(0)
    return np.clip(rng.normal(128, 3, (count, 3, 28, 28)), 0, 255)


class Looks(nn.Module):
    """Answers by the brightness of strain in three patches; knows nothing else."""

    def __init__(self, *patches):
        super().__init__()
        self.patches = patches

    def forward(self, x):
        return torch.stack([x[:, 2][:, rows, columns].mean((1, 2)) * 30 for rows, columns in self.patches], 1)


def asked(net, data):
    return Asked(name="looks", prepared=Prepared.of(data, SPEC), nets=lambda: iter([(net, range(len(data)))]), clean=True,
                 remark="none was trained on")  # fmt: skip


# --- halves ---------------------------------------------------------------------------------------------------------


def test_views_by_hand():
    spec = InputSpec(size=4, map_size=4, channels=("u", "v"))
    picture = np.zeros((1, 3, 4, 4), np.uint8)
    picture[0, 0] = [10, 20, 100, 110]  # u of each column
    picture[0, 1] = [1, 2, 3, 4]
    from zoo.data.augment import mirror_maps
    from zoo.inputs import prepare_maps

    x = torch.from_numpy(prepare_maps(picture, spec)) * 255
    other = torch.from_numpy(prepare_maps(mirror_maps(picture), spec)) * 255

    def view(name):
        return hemiface.half_view(x, other, spec, name)[0, :, 0].tolist()

    assert view("full") == [[10, 20, 100, 110], [1, 2, 3, 4]]
    # the median of u is 20 (lower of two), of its mirror image (145, 155, 235, 245) 155: laid on each other by -135
    assert view("LL") == [[10, 20, 100, 110], [4, 3, 3, 4]]
    assert view("RR") == [[10, 20, 100, 110], [1, 2, 2, 1]]
    assert view("left") == [[20, 20, 100, 110], [2, 2, 3, 4]] and view("right") == [[10, 20, 20, 20], [1, 2, 2, 2]]
    mirrored = hemiface.half_view(x, other, spec, "mirrored LL")[0, 1, 0].tolist()
    assert mirrored == [1, 2, 2, 1]  # the left of the mirrored face is the right
    with pytest.raises(ZooError, match="LL"):
        view("LR")
    with pytest.raises(ZooError, match="no halves"):
        neutral(x, InputSpec(modality="patches", channels=("grey",)))


def test_a_recogniser_of_the_left_half_is_found_out_and_its_sign_turns_on_mirrored_faces():
    labels = np.arange(60) % 3
    pictures = still(60)
    rows = [slice(2, 8), slice(11, 17), slice(20, 26)]
    for k, label in enumerate(labels):
        pictures[k, 2, rows[label], LEFT] += 80  # what moves, moves on the subject's left
    result = hemiface.compare_halves(
        asked(Looks(*((r, slice(0, 28)) for r in rows)), maps(pictures, labels)), resamples=300
    )
    views, difference = result["views"]["full"], result["differences"]["full"]
    assert views["LL"]["uf1"]["value"] == views["left"]["uf1"]["value"] == views["full"]["uf1"]["value"] == 1
    assert views["RR"]["uf1"]["value"] < 0.6 and difference["LL - RR"]["uf1"]["p"] < 0.01
    assert difference["LL - RR"]["mcnemar"]["p"] < 1e-4
    assert difference["mirrored LL - RR"]["uf1"]["value"] == pytest.approx(
        -difference["LL - RR"]["uf1"]["value"], abs=0.02
    )
    assert set(result["views"]) == {"full"}  # one data set needs no part of its own


def test_asymmetry_by_hand_and_under_mirroring():
    from zoo.data.augment import mirror_maps

    rows, columns = hemiface.box_pixels(regions.boxes(12)["right"], "face", 28, 28)
    pictures = np.full((6, 3, 28, 28), 128)
    pictures[:, 1, rows, columns] = 158  # 30 grey levels on the subject's right
    pictures[:, 1, rows, 28 - columns.stop : 28 - columns.start] = 138  # 10 on the left
    data = maps(pictures, [0, 1, 2] * 2)
    index = hemiface.asymmetry_index(hemiface.motion_magnitude(data), 12, "face")
    np.testing.assert_allclose(index, 0.5)  # (30 - 10) / (30 + 10)
    turned = maps(mirror_maps(data.maps), [0, 1, 2] * 2)
    np.testing.assert_allclose(hemiface.asymmetry_index(hemiface.motion_magnitude(turned), 12, "face"), -0.5)
    quiet = maps(np.full((2, 3, 28, 28), 128), [0, 1])
    assert (hemiface.asymmetry_index(hemiface.motion_magnitude(quiet), 12, "face") == 0).all()
    with pytest.raises(ZooError, match="midline"):
        hemiface.asymmetry_index(hemiface.motion_magnitude(data), 17, "face")
    found = {(a.au, a.emotion): a for a in hemiface.asymmetries(data, (12, 1), "face", resamples=200)}
    assert found[12, "all"].mean == pytest.approx(0.5) and found[12, "all"].p_holm < 0.05
    assert found[1, "all"].mean == 0 and found[1, "all"].p == 1
    assert found[12, "positive"].clips == 2 and {e for _, e in found} == {"all", "negative", "positive", "surprise"}


# --- regions --------------------------------------------------------------------------------------------------------


def test_hiding_the_region_that_decides_costs_the_most():
    labels = np.arange(30) % 3
    pictures = still(30)
    places = []
    for label, au in enumerate((2, 12, 17)):
        mask = occlusion.region_mask(au, SPEC)
        inside = np.argwhere(mask)
        (top, left), (bottom, right) = inside.min(0), inside.max(0)
        columns = slice(left, left + 3) if au != 17 else slice(left, right + 1)
        places.append((slice(top, bottom + 1), columns))
        pictures[labels == label, 2, places[-1][0], columns] += 60
    drops = {
        (d.au, d.emotion): d
        for d in occlusion.occlusion(asked(Looks(*places), maps(pictures, labels)), (1, 2, 12, 17), resamples=100)
    }
    for emotion, au in {"negative": 2, "positive": 12, "surprise": 17}.items():
        worst = max((1, 2, 12, 17), key=lambda n: drops[n, emotion].drop)
        assert worst == au and drops[au, emotion].drop > 0.4 and drops[au, emotion].low > 0.3, emotion
    assert abs(drops[1, "positive"].drop) < 0.02 and drops[1, "positive"].flips == 0
    assert drops[12, "all"].clips == 30 and 0 < drops[12, "all"].area < 0.25


@pytest.mark.parametrize("crop", ["face", "megc2019"])
def test_masks_are_symmetric_and_within_the_picture(crop):
    spec = InputSpec(size=28, crop=crop)
    for au in occlusion.shown_units(regions.box_units(), crop):
        mask = occlusion.region_mask(au, spec)
        assert mask.any()
        if "both" not in regions.boxes(au):
            np.testing.assert_array_equal(mask, mask[:, ::-1])
    assert hemiface.box_pixels((0.0, 0.0, 1.0, 1.0), "face", 10, 20) == (slice(0, 10), slice(0, 20))
    with pytest.raises(ZooError, match="outside"):
        hemiface.box_pixels((0.0, 0.0, 0.1, 0.05), "megc2019", 28, 28)


# --- groups ---------------------------------------------------------------------------------------------------------


def run(rows):
    """rows of (dataset, subject, truth, predicted)."""
    return Run(
        name="r", keys=tuple(f"{d}/{s}/{k}" for k, (d, s, _, _) in enumerate(rows)), people=tuple(f"{d}/{s}" for d, s, *_ in rows),
        truth=np.array([t for *_, t, _ in rows]), predicted={"0": np.array([p for *_, p in rows])}, classes=("no", "yes"),
        split="x", inputs="x",
    )  # fmt: skip


# group a: class no 3 of 4 right, yes 2 of 2; group b: no 1 of 2, yes 1 of 4
SMALL = run(
    [("a", "1", 0, 0), ("a", "1", 0, 0), ("a", "2", 0, 0), ("a", "2", 0, 1), ("a", "1", 1, 1), ("a", "2", 1, 1),
     ("b", "1", 0, 0), ("b", "2", 0, 1), ("b", "1", 1, 1), ("b", "1", 1, 0), ("b", "2", 1, 0), ("b", "2", 1, 0)]
)  # fmt: skip


def test_group_scores_gaps_and_odds_by_hand():
    result = bias.group_bias(SMALL, bias.groups_of(SMALL, "dataset"), by="dataset", resamples=200)
    assert result["groups"]["a"]["uar"]["value"] == pytest.approx((3 / 4 + 1) / 2)
    assert result["groups"]["b"]["uar"]["value"] == pytest.approx((1 / 2 + 1 / 4) / 2)
    assert result["worst"] == {"group": "b", "uar": pytest.approx(0.375)}
    assert result["gap"]["uar"] == pytest.approx(0.5)
    # yes: true positives 1 and 1/4, false positives 1/4 and 1/2; no: 3/4 and 1/2, false 0 and 3/4
    assert result["odds"]["yes"] == {"true_positive": 0.75, "false_positive": 0.25, "difference": 0.75}
    assert result["odds"]["no"] == {"true_positive": 0.25, "false_positive": 0.75, "difference": 0.75}
    assert result["groups"]["a"]["people"] == 2 and any(
        "says little" in n or "say little" in n for n in result["notes"]
    )
    low, high = result["gap"]["interval"]
    assert 0 <= low <= high <= 1


def test_groups_come_from_any_column(tmp_path):
    people = tmp_path / "people.csv"
    people.write_text("dataset,subject,gender\na,1,f\na,2,m\nb,1,f\n")
    assert bias.groups_of(SMALL, "gender", people) == ["f", "f", "m", "m", "f", "m", "f", None, "f", "f", None, None]
    result = bias.group_bias(SMALL, bias.groups_of(SMALL, "gender", people), by="gender", resamples=50)
    assert result["left_out"] == 3 and set(result["groups"]) == {"f", "m"}
    keyed = tmp_path / "keyed.csv"
    keyed.write_text("key,fps\n" + "".join(f"{key},{k % 2}\n" for k, key in enumerate(SMALL.keys)))
    mixed = bias.group_bias(SMALL, bias.groups_of(SMALL, "fps", keyed), by="fps", resamples=50)
    assert any("several groups" in note for note in mixed["notes"])


@pytest.mark.parametrize(("text", "by", "words"), [
    ("subject,gender\n1,f\n", "gender", "add a column dataset"), ("dataset,subject,age\na,1,3\n", "gender", "no column 'gender'"),
    ("dataset,subject,gender\na,1,f\na,1,m\n", "gender", "not the same"), ("name,gender\nx,f\n", "gender", "find a clip by"),
    ("dataset,subject,gender\nz,9,f\n", "gender", "none of the 12"),
])  # fmt: skip
def test_tables_that_do_not_fit_are_refused(tmp_path, text, by, words):
    path = tmp_path / "t.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=words):
        bias.groups_of(SMALL, by, path)


def test_a_group_without_a_class_and_a_single_group():
    part = run([("a", "1", 0, 0), ("a", "2", 1, 1), ("b", "1", 0, 0), ("b", "2", 0, 1)])
    result = bias.group_bias(part, bias.groups_of(part, "dataset"), by="dataset", resamples=100)
    assert result["odds"]["yes"]["true_positive"] is None and result["odds"]["yes"]["false_positive"] == 0.5
    assert "b has no clip of yes" in " ".join(result["notes"])
    assert result["groups"]["b"]["uar"]["value"] == 0.5  # of the class that it has
    with pytest.raises(DataError, match="needs two"):
        bias.group_bias(part, ["a"] * 4, by="x")


# --- ceiling --------------------------------------------------------------------------------------------------------


def test_ceiling_by_hand():
    # unit 0 means yes, unit 1 no; the third set, both, is coded once each way
    units = np.array([[1, 0]] * 4 + [[0, 1]] * 4 + [[1, 1]] * 2)
    labels = np.array([1] * 4 + [0] * 4 + [0, 1])
    people = ["p", "q", "r", "s"] * 2 + ["p", "q"]
    result = ceiling.ceiling(units, labels, people, ("no", "yes"), resamples=50)
    for name in ceiling.READERS:
        assert result["readers"][name]["same"]["accuracy"]["value"] == 0.9, name
    assert (
        result["readers"]["lookup"]["loso"]["accuracy"]["value"] == 0.8
    )  # without one of the two, the other's label is learnt
    assert (
        result["ambiguous"] == [{"columns": [0, 1], "clips": 2, "labels": {"no": 1, "yes": 1}}] and result["sets"] == 3
    )
    with pytest.raises(DataError, match="two of each"):
        ceiling.ceiling(units, labels, ["p"] * 10, ("no", "yes"))


def test_units_that_tell_nothing_leave_the_ceiling_at_chance():
    rng = np.random.default_rng(0)
    units, labels = rng.integers(0, 2, (120, 4)), rng.integers(0, 2, 120)
    result = ceiling.ceiling(
        units, labels, [f"p{k % 12}" for k in range(120)], ("a", "b"), readers=("logistic",), resamples=50
    )
    assert result["readers"]["logistic"]["loso"]["uar"]["value"] < 0.62


# --- the command ----------------------------------------------------------------------------------------------------


def rows_of(path):
    with path.open() as file:
        return list(csv.DictReader(file))


def test_command_hemiface_and_occlusion_on_a_checkpoint(megc_folder, tmp_path, capsys):
    shared = ["--model", "ststnet.megc2019", "--root", str(megc_folder), "--partial", "--resamples", "100"]
    assert main(["audit", "hemiface", *shared, "--out", str(tmp_path / "h")]) == 0
    told = capsys.readouterr().out
    assert "42 clips, 7 people" in told and "trained on" in told
    views = rows_of(tmp_path / "h" / "views.csv")
    assert {r["part"] for r in views} == {"full", "casme2", "smic", "samm"} and {r["view"] for r in views} == set(
        hemiface.VIEWS
    )
    content = json.loads((tmp_path / "h" / "hemiface.json").read_text())
    a, b = (content["differences"]["full"][k]["uf1"]["value"] for k in ("LL - RR", "mirrored LL - RR"))
    assert a == pytest.approx(-b) and len(rows_of(tmp_path / "h" / "asymmetry.csv")) == 4 * 11
    assert (tmp_path / "h" / "hemiface.png").stat().st_size > 10_000
    assert main(["audit", "occlusion", *shared, "--aus", "1,2,12", "--out", str(tmp_path / "o")]) == 0
    assert len(rows_of(tmp_path / "o" / "drops.csv")) == 3 * 4 and (tmp_path / "o" / "occlusion.png").exists()


def test_folds_trained_anew_judge_only_people_they_have_not_seen(megc_folder):
    from zoo.audit.recognise import ask_folds

    places = ["--data.root", str(megc_folder), "--data.complete", "false", "--trainer.max_epochs", "1"]
    told = []
    clean = ask_folds(["ststnet_megc2019"], places, on_fold=lambda done, total: told.append((done, total)))
    owners = []
    for _, rows in clean.nets():
        owners.append({clean.data.people[k] for k in rows})
    assert clean.clean and told == [(k, 7) for k in range(1, 8)]
    assert sorted(p for o in owners for p in o) == sorted(set(clean.data.people)) and all(len(o) == 1 for o in owners)


def test_command_bias_and_ceiling(tmp_path, capsys):
    content = {
        "keys": list(SMALL.keys), "truth": SMALL.truth.tolist(), "predicted": {"0": SMALL.predicted["0"].tolist()},
        "classes": ["no", "yes"], "digests": {"split": "x", "inputs": "x"},
    }  # fmt: skip
    (tmp_path / "loso.json").write_text(json.dumps(content))
    assert main(["audit", "bias", str(tmp_path), "--resamples", "100", "--out", str(tmp_path / "b")]) == 0
    assert "worst b; largest gap 0.500" in capsys.readouterr().out
    groups = {r["group"]: r for r in rows_of(tmp_path / "b" / "groups.csv")}
    assert float(groups["a"]["uar"]) == 0.875 and (tmp_path / "b" / "bias.png").exists()

    emotions, codes = ("surprise", "happiness", "anger"), ("1+2", "12", "4+7")
    Manifest.from_rows([
        {"id": f"{s}_{k}", "dataset": "samm", "subject": s, "clip": f"{s}_{k}", "kind": "micro", "aus": codes[k % 3] if k < 5 else None,
         "emotion": emotions[k % 3]}
        for s in ("s1", "s2", "s3") for k in range(6)
    ]).write(tmp_path / "m.parquet")  # fmt: skip
    assert (
        main(["audit", "ceiling", str(tmp_path / "m.parquet"), "--protocol", "samm_3", "--out", str(tmp_path / "c")])
        == 0
    )
    told = capsys.readouterr().out
    assert "3 clips without coded units left out" in told and "15 clips" in told
    scores = {(r["reader"], r["scored_on"]): float(r["uf1"]) for r in rows_of(tmp_path / "c" / "scores.csv")}
    assert scores["lookup", "loso"] == 1 and scores["logistic", "loso"] == 1


@pytest.mark.parametrize(("arguments", "words"), [
    (["hemiface", "--model", "ststnet.megc2019"], "--root"), (["bias", "nowhere"], "zoo loso"),
    (["hemiface", "--model", "nobody.knows", "--root", "x"], "nobody"), (["ceiling", "no.parquet", "--protocol", "samm_3"], "no.parquet"),
])  # fmt: skip
def test_command_refuses_with_a_reason(tmp_path, monkeypatch, capsys, arguments, words):
    monkeypatch.chdir(tmp_path)
    assert main(["audit", *arguments]) == 2
    error = capsys.readouterr().err
    assert words in error and "Traceback" not in error and not list(tmp_path.iterdir())


def test_seen_clips_are_told(megc_folder):
    found = ask_checkpoint("ststnet.megc2019", {"root": str(megc_folder), "complete": False})
    assert len(found.data) == len(fake_clips())
    assert ("trained on" in found.remark) and isinstance(found.clean, bool)
