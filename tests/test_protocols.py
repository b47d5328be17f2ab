"""Protocols: the organisers' counts, folds that do not leak, splits frozen with a digest."""

from __future__ import annotations

import json
import re
import time
import warnings
from dataclasses import replace

import numpy as np
import pytest
from fakes import casme2, others, samm, smic
from fakes.large import big

from zoo.data import protocols as p
from zoo.data.manifest import Manifest
from zoo.data.organisers import compare_composite, read_composite, submission_log
from zoo.data.partitions import Fold, Split, inner, refuse_leaks, summary
from zoo.data.readers import read
from zoo.errors import ProtocolError, UnknownName, ZooError


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    root = tmp_path_factory.mktemp("megc")
    return {
        "casme2": read("casme2", casme2.write(root / "casme2", with_frames=False), frames="skip"),
        "smic_hs": read("smic_hs", smic.write(root / "smic")),
        "samm": read("samm", samm.write(root / "samm", with_frames=False), frames="skip"),
        "casme3_a": read("casme3_a", others.casme3(root / "c3", with_frames=False), frames="skip"),
        "smic_vis": read("smic_vis", smic.write(root / "vis", "VIS")),
    }


@pytest.fixture(scope="module")
def composite(parts):
    return Manifest.concat([parts[n] for n in ("casme2", "smic_hs", "samm")])


def quiet(*arguments, **more):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return p.split(*arguments, **more)


def test_megc2019_is_the_list_of_442(composite):
    s = quiet(composite, "megc2019")
    assert len(s.keys) == 442 and len(s.folds) == len(set(s.people)) == 68
    assert s.counts() == {
        "casme2": {"negative": 88, "positive": 32, "surprise": 25},
        "smic_hs": {"negative": 70, "positive": 51, "surprise": 43},
        "samm": {"negative": 92, "positive": 26, "surprise": 15},
    }
    assert {n for n in s.notes if "keep no sample" in n} == {
        "3 subjects keep no sample and have no fold: casme2/sub10, casme2/sub18, samm/025"}  # fmt: skip
    assert np.bincount(s.targets).tolist() == [250, 109, 83]


def test_what_megc2019_leaves_out_is_counted_with_its_reason(composite):
    selected, _ = p.select(composite, p.protocol("megc2019"))
    reasons = {
        r: len(keys) for report in selected.reports if report.dataset == "filter" for r, keys in report.dropped.items()
    }
    assert reasons == {
        "casme2: sadness is not in megc2019": 7, "casme2: fear is not in megc2019": 2,
        "not in the organisers' list: no apex": 1, "not in the organisers' list: apex equals onset": 1,
        "casme2: others has no class in megc2019": 99, "samm: others has no class in megc2019": 26,
    }  # fmt: skip


def test_megc2019_from_the_sheet_of_2019_is_the_same_list(parts, tmp_path):
    new = read(
        "casme2", casme2.write(tmp_path, version="20190701", with_frames=False), version="20190701", frames="skip"
    )
    a = quiet(Manifest.concat([new, parts["smic_hs"], parts["samm"]]), "megc2019")
    b = quiet(Manifest.concat([parts["casme2"], parts["smic_hs"], parts["samm"]]), "megc2019")
    assert a.digest == b.digest


def test_other_counts_are_refused_unless_asked_for(composite):
    fewer = composite.filter(np.arange(len(composite)) != 300, "test")
    with pytest.raises(ProtocolError, match=r"megc2019 is a fixed list.*smic_hs.*published"):
        quiet(fewer, "megc2019")
    assert any("published" in n for n in quiet(fewer, "megc2019", strict=False).notes)
    with pytest.raises(ProtocolError, match="lacks smic_hs, samm"):
        quiet(composite.filter((composite.table["dataset"] == "casme2").to_numpy(bool), "x"), "megc2019")


def gt(s, m):
    names = {"smic_hs": "smic"}
    lines = []
    for key, target in zip(s.keys, s.targets, strict=True):
        row = m.table.loc[key]
        subject = str(int(row["subject"])) if row["dataset"] == "samm" else row["subject"]
        lines.append(f"{names.get(row['dataset'], row['dataset'])},{subject},{row['clip']},{target}")
    return lines


def test_the_organisers_file_is_compared_row_by_row(composite, tmp_path):
    s = quiet(composite, "megc2019")
    path = tmp_path / "combined_3class_gt.csv"
    lines = gt(s, composite)
    path.write_text("\r\n".join(lines) + "\r\n")
    assert compare_composite(s, composite, path) == []
    wrong = lines[0][:-1] + str((int(lines[0][-1]) + 1) % 3)
    path.write_text("\r\n".join([wrong, "casme2,sub26,EP99_99,0", *lines[2:]]) + "\r\n")
    found = " ".join(compare_composite(s, composite, path))
    assert len(compare_composite(s, composite, path)) == 3
    assert "selected, not in the list" in found and "EP99_99: in the list, not selected" in found and "listed" in found
    path.write_text("\r\n,,,\r\n".join(lines[:-1]) + "\r\n")
    with pytest.raises(ZooError, match="441 rows, 442 are wanted"):
        read_composite(path)
    path.write_text("casme2,subx,EP01,0\r\n")
    with pytest.raises(ZooError, match="row 1"):
        read_composite(path)


def test_megc2018(composite):
    m = composite.filter(composite.table["dataset"].ne("smic_hs").to_numpy(bool), "not in 2018")
    s = quiet(m, "megc2018_cde", strict=False)  # the fake's people per class are not the release's
    assert len(s.keys) == 253 and s.counts()["casme2"] == {"I": 25, "II": 15, "III": 99, "IV": 26, "V": 20}
    assert s.counts()["samm"] == {"I": 24, "II": 13, "III": 20, "IV": 8, "V": 3}
    hde = quiet(m, "megc2018_hde", strict=False)
    assert [(f.name, len(f.train), len(f.test)) for f in hde.folds] == [
        ("casme2->samm", 185, 68), ("samm->casme2", 68, 185)]  # fmt: skip


@pytest.mark.parametrize(("name", "dataset", "number", "people"), [
    ("casme2_5", "casme2", 246, 26), ("casme2_7", "casme2", 255, 26), ("casme2_3", "casme2", 145, 24), ("samm_5",
        "samm", 136, None),
    ("samm_8", "samm", 159, 29), ("samm_3", "samm", 133, 28), ("smic_hs_3", "smic_hs", 164, 16), ("smic_vis_3",
        "smic_vis", 71, 8),
    ("casme3_3", "casme3_a", 699, None), ("casme3_4", "casme3_a", 860, 94), ("casme3_7", "casme3_a", 860, 94),
])  # fmt: skip
def test_single_data_set_class_sets(parts, name, dataset, number, people):
    s = quiet(parts[dataset], name)
    assert len(s.keys) == number and s.counts() == {dataset: dict(p.protocol(name).counts[dataset])}
    assert people is None or len(s.folds) == people


def test_cdmer_names_its_direction_and_its_shared_people(parts):
    m = Manifest.concat([parts["casme2"], parts["smic_hs"], parts["smic_vis"]])
    s = quiet(m, "cdmer:casme2->smic_hs")
    assert len(s.keys) == 147 + 164 and len(s.folds) == 1 and len(s.folds[0].test) == 164
    within = quiet(m, "cdmer:smic_hs->smic_vis")
    assert "not subject independent" in within.notes[0]
    with pytest.raises(ProtocolError, match="leaks: the person smic/s"):
        refuse_leaks(replace(within, allowed=()))
    assert len([n for n in p.PROTOCOLS if n.startswith("cdmer")]) == 12


def test_cd6me_leaves_one_data_set_out(parts):
    six = replace(p.protocol("cd6me"), datasets=("casme2", "samm", "casme3_a"))
    s = quiet(Manifest.concat([parts["casme2"], parts["samm"], parts["casme3_a"]]), six)
    assert [f.name for f in s.folds] == ["casme2", "samm", "casme3_a"] and len(s.classes) == 12
    assert s.targets.shape == (252 + 159 + 860, 12)  # three of CASME II are not coded
    assert s.targets[:, s.classes.index("4")].sum() > 100
    with pytest.raises(ProtocolError, match="lacks casme, 4dme, mmew"):
        quiet(Manifest.concat([parts["casme2"], parts["samm"], parts["casme3_a"]]), "cd6me")


def test_official_parts(tmp_path):
    m = read("dfme", others.dfme(tmp_path))
    s = quiet(m, "dfme_challenge")
    assert [(f.name, len(f.train), len(f.test)) for f in s.folds] == [("testA", 7, 2), ("testB", 7, 2)]


def test_lovo_keeps_the_expressions_of_one_clip_together(parts):
    s = quiet(parts["casme3_a"], "casme3_7", scheme="lovo")
    assert s.allowed == ("subject",) and len(s.folds) < 860
    assert sum(len(f.test) for f in s.folds) == 860


def test_kfold_keeps_people_together_and_is_repeatable(parts):
    a, b, c = (quiet(parts["casme2"], "casme2_5", scheme="kfold:5", seed=s) for s in (1, 1, 2))
    assert a.digest == b.digest != c.digest and len(a.folds) == 5
    for _, train, test in a:
        assert not {k.split("/")[1] for k in train} & {k.split("/")[1] for k in test}
    with pytest.raises(ProtocolError, match="30 folds of 26 persons"):
        quiet(parts["casme2"], "casme2_5", scheme="kfold:30")


def test_inner_validation_takes_whole_training_persons(composite):
    s = quiet(composite, "megc2019")
    train, validation = inner(s, "casme2/sub01", fraction=0.2, seed=3)
    people = [{k.rsplit("/", 1)[0] for k in keys} for keys in (train, validation)]
    assert not people[0] & people[1] and "casme2/sub01" not in people[0] | people[1]
    assert len(train) + len(validation) == 442 - len(next(f for f in s.folds if f.name == "casme2/sub01").test)
    assert 0.15 < len(validation) / (len(train) + len(validation)) < 0.45
    assert inner(s, "casme2/sub01", seed=3) == inner(s, "casme2/sub01", seed=3) != inner(s, "casme2/sub01", seed=4)
    with pytest.raises(ProtocolError, match="no fold 'nobody'"):
        inner(s, "nobody")


# --- leaks


def tiny(folds, **more):
    base = {
        "people": ("d/a", "d/a", "d/b", "d/c"),
        "clips": ("d/a/1", "d/a/2", "d/b/1", "d/c/1"),
        "labels": ("x", "y", "x", "y"),
    }
    return Split(protocol="t", scheme="loso", classes=("x", "y"), keys=("1", "2", "3", "4"), datasets=("d",) * 4,
                 folds=tuple(folds), **{**base, **more})  # fmt: skip


def fold(test, train=None, name="f"):
    return Fold(name=name, test=np.array(test), train=None if train is None else np.array(train))


@pytest.mark.parametrize(("split", "words"), [
    (tiny([fold([0], [1, 2])]), "leaks: the person d/a"),
    (tiny([fold([0])]), "leaks: the person d/a"),
    (tiny([fold([0, 1], [1, 2])]), "1 samples train and test"),
    (tiny([fold([2]), fold([2, 3], name="g")]), "scored twice, first 3"),
    (tiny([fold([0], [2])], clips=("q", "d/a/2", "q", "d/c/1")), "a copy of the clip q"),
    (tiny([fold([])]), "no test sample"),
    (tiny([fold([9])]), "outside the samples"),
])  # fmt: skip
def test_leaks_are_refused(split, words):
    with pytest.raises(ProtocolError, match=words):
        refuse_leaks(split)


def test_allowed_leaks_and_clean_folds_pass():
    refuse_leaks(tiny([fold([0, 1]), fold([2], name="g"), fold([3], name="h")]))
    refuse_leaks(tiny([fold([0], [1, 2])], allowed=("subject",)))


def test_samm_and_its_long_videos_share_people(parts, tmp_path):
    long = read("samm_lv", samm.write_long(tmp_path), frames="skip")
    both = replace(p.protocol("cd6me"), name="x", datasets=("samm", "samm_lv"))
    with pytest.raises(ProtocolError, match="leaks: the person samm/0"):
        quiet(Manifest.concat([parts["samm"], long]), both)


# --- frozen


def test_a_frozen_split_reads_back_and_a_changed_one_is_refused(composite, tmp_path):
    s = quiet(composite, "megc2019")
    path = s.write(tmp_path / "split.json")
    again = Split.load(path)
    assert again.digest == s.digest and [list(x) for x in again] == [list(x) for x in s]
    data = json.loads(path.read_text())
    data["folds"][0]["test"] = data["folds"][0]["test"][:-1]
    path.write_text(json.dumps(data))
    with pytest.raises(ProtocolError, match="changed by hand"):
        Split.load(path)
    path.write_text("{")
    with pytest.raises(ProtocolError, match="not a frozen split"):
        Split.load(path)


def test_the_digest_ignores_row_order_but_not_content(composite):
    order = np.random.default_rng(0).permutation(len(composite))
    shuffled = Manifest(composite.table.iloc[order], composite.reports)
    a, b = quiet(composite, "megc2019"), quiet(shuffled, "megc2019")
    assert a.digest == b.digest
    assert a.digest != quiet(composite, "megc2019", scheme="kfold:5").digest
    assert (
        a.digest != replace(a, labels=(*a.labels[:-1], "surprise" if a.labels[-1] != "surprise" else "negative")).digest
    )
    assert summary(a)["digest"] == a.digest and summary(a)["people"] == 68


def test_a_training_fold_without_a_class_warns(parts):
    m = parts["casme2"]
    few = m.filter(m.table["emotion"].isin(["fear", "disgust"]).to_numpy(bool), "test")
    only = few.filter(~((few.table["emotion"] == "fear") & few.table["id"].duplicated()).to_numpy(bool), "test")
    keep = ((only.table["emotion"] != "fear") | (only.table["emotion"] == "fear").astype(int).cumsum().eq(1)).to_numpy(
        bool
    )
    with pytest.warns(UserWarning, match="folds train without fear, first casme2/sub"):
        p.split(only.filter(keep, "one fear"), "casme2_7")


def test_apex_policies(composite):
    with pytest.raises(ProtocolError, match=r"165 clips have no apex.*midpoint or drop"):
        p.require_apex(composite)
    assert len(p.require_apex(composite, "drop")) == len(composite) - 165
    mid = p.require_apex(composite, "midpoint").table.loc["casme2/sub04/sub04_EP12_01f"]
    assert mid["apex"] == 291 and mid["apex_source"] == "estimated"


def test_submission_log(composite):
    s = quiet(composite, "megc2019")
    text = submission_log(s, composite, dict.fromkeys(s.keys, 0))
    lines = text.splitlines()
    assert lines[0] == "casme2 sub01" and "samm 006" in lines and len(lines) == 442 + 68
    with pytest.raises(ProtocolError, match="have no prediction"):
        submission_log(s, composite, {})


def test_unknown_names_and_labels(composite):
    with pytest.raises(UnknownName, match="megc2019"):
        p.protocol("megc2091")
    with pytest.raises(ProtocolError, match="kfold:10 for ten folds"):
        quiet(composite, "megc2019", scheme="logo")
    odd = Manifest(composite.table.copy(), [])
    odd.table.loc[odd.keys[0], "emotion"] = "joy"
    with pytest.raises(ProtocolError, match="knows no label 'joy'"):
        quiet(odd, "megc2019")


def test_a_hundred_thousand_clips_split_in_seconds_and_little_memory(tmp_path):
    import tracemalloc

    m = big()
    big_protocol = replace(p.protocol("mmew_6"), name="big", datasets=("big",), mapping="basic6", counts={})
    start = time.perf_counter()
    s = quiet(m, big_protocol)
    assert len(s.keys) == 75_000 and len(s.folds) == 500 and s.digest
    assert time.perf_counter() - start < 15
    tracemalloc.start()
    s.write(tmp_path / "s.json")
    quiet(m, big_protocol)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 300e6


def test_any_data_set_has_a_protocol(tmp_path):
    """A table of clips of one's own: three classes or the basic emotions, one fold per person."""
    rows = [
        {"id": f"{s}{e}", "dataset": "csv", "subject": s, "clip": e, "kind": "micro", "emotion": e}
        for s in ("a", "b", "c")
        for e in ("happiness", "anger", "surprise", "neutral")
    ]
    made = p.split(Manifest.from_rows(rows), "own_3")
    assert made.classes == ("negative", "positive", "surprise") and len(made.folds) == 3 and len(made.keys) == 9
    assert set(p.split(Manifest.from_rows(rows), "own_basic7").labels) == {"happiness", "anger", "surprise", "neutral"}


def test_a_data_set_of_both_kinds_gives_either():
    """CAS(ME)² and its like hold micro- and macro-expressions of the same people; pictures and posed sequences are neither's."""
    rows = [
        {"id": f"{s}{e}{kind}", "dataset": "csv", "subject": s, "clip": f"{e}{kind}", "kind": kind, "emotion": e}
        for s in ("a", "b")
        for e in ("happiness", "anger", "surprise")
        for kind in ("micro", "macro", "sequence", "non_micro")
    ]
    manifest = Manifest.from_rows(rows)
    micro, macro = p.split(manifest, "own_3"), p.split(manifest, "own_3_macro")
    assert micro.classes == macro.classes
    for made, kind in ((micro, "micro"), (macro, "macro")):
        assert {re.sub("^csv/[ab]/[ab](happiness|anger|surprise)", "", key) for key in made.keys} == {kind, "sequence"}
