"""Paired comparison: against scipy, statsmodels-free formulas and a slow hand-written bootstrap; and refusals."""

from __future__ import annotations

import csv
import json
import math

import numpy as np
import pytest
from scipy.stats import binom, ttest_rel
from sklearn.metrics import accuracy_score, f1_score, recall_score

from zoo.cli import main
from zoo.errors import ProtocolError
from zoo.train.compare import Run, compare
from zoo.train.score import summarise
from zoo.train.statistics import (
    holm,
    interval,
    mcnemar,
    paired_tests,
    person_bootstrap,
    person_confusions,
    pooled,
    resampled,
    sign_p,
)

PEOPLE = [("casme2", f"sub{i:02d}") for i in range(12)] + [("samm", f"{i:03d}") for i in range(8)]


def made(right: float, *, seed: int, seeds: int = 3, clips: int = 6, people: bool = True) -> dict:
    """The summary of a made-up run that is right with the given probability."""
    truth_rng, rng = np.random.default_rng(99), np.random.default_rng(seed)
    keys = [f"{d}/{s}/c{k}" for d, s in PEOPLE for k in range(clips)]
    truth = truth_rng.integers(0, 3, len(keys))
    rows = {
        s: np.where(rng.random(len(keys)) < right, truth, (truth + rng.integers(1, 3, len(keys))) % 3)
        for s in range(seeds)
    }
    summary = summarise(
        keys=keys, people=[k.rpartition("/")[0] for k in keys], datasets=[k.split("/")[0] for k in keys], classes=("a", "b", "c"),
        truth=truth, predicted=rows,
    )  # fmt: skip
    if not people:
        del summary["people"]
    return {**summary, "digests": {"split": "s", "inputs": "i", "config": str(seed)}}


def written(folder, name, summary):
    (folder / name).mkdir(exist_ok=True)
    (folder / name / "loso.json").write_text(json.dumps(summary))
    return folder / name


def test_pooled_scores_of_counts_are_scikit_learns():
    rng = np.random.default_rng(0)
    truth, predicted = rng.integers(0, 4, 200), rng.integers(0, 4, (3, 200))
    people = [f"p{i % 17}" for i in range(200)]
    names, counts = person_confusions(truth, predicted, people, 4)
    assert names == sorted(set(people))
    found = pooled(counts.sum(0))
    for seed in range(3):
        assert found["uf1"][seed] == pytest.approx(f1_score(truth, predicted[seed], average="macro"))
        assert found["uar"][seed] == pytest.approx(recall_score(truth, predicted[seed], average="macro"))
        assert found["accuracy"][seed] == pytest.approx(accuracy_score(truth, predicted[seed]))


def test_the_bootstrap_is_the_slow_one():
    """Drawing people and pooling their clips, one resample at a time."""
    rng = np.random.default_rng(1)
    people = np.array([f"p{i // 5}" for i in range(60)])
    truth, predicted = rng.integers(0, 3, 60), rng.integers(0, 3, (2, 60))
    names, counts = person_confusions(truth, predicted, people.tolist(), 3)
    strata = ["x" if i < 7 else "y" for i in range(len(names))]
    weights = person_bootstrap(strata, resamples=50, seed=3)
    assert (weights[:, :7].sum(1) == 7).all(), "people are drawn within their data set"
    assert (weights[:, 7:].sum(1) == 5).all()
    fast = resampled(counts, weights)["uf1"]
    for r in range(50):
        rows = np.concatenate(
            [np.flatnonzero(people == name).repeat(n) for name, n in zip(names, weights[r], strict=True) if n]
        )
        slow = np.mean(
            [f1_score(truth[rows], p[rows], average="macro", labels=[0, 1, 2], zero_division=0) for p in predicted]
        )
        assert fast[r] == pytest.approx(slow)


def test_mcnemar_is_the_binomial_tail():
    a = np.array([1] * 30 + [1] * 9 + [0] * 2 + [0] * 10, bool)
    b = np.array([1] * 30 + [0] * 9 + [1] * 2 + [0] * 10, bool)
    found = mcnemar(a, b)
    assert (found["only_first"], found["only_second"]) == (9, 2)
    assert found["p"] == pytest.approx(2 * binom.cdf(2, 11, 0.5))
    assert mcnemar(a, a)["p"] == 1.0


def test_tests_over_seeds_and_their_edges():
    a, b = [0.70, 0.72, 0.71, 0.73, 0.70], [0.72, 0.73, 0.74, 0.74, 0.72]
    found = paired_tests(a, b)
    assert found["t_p"] == pytest.approx(ttest_rel(a, b).pvalue)
    assert found["wilcoxon_p"] == pytest.approx(2 / 2**5)
    assert paired_tests([0.7], [0.8]) == {"pairs": 1, "t_p": None, "wilcoxon_p": None}
    assert paired_tests([0.5, 0.5], [0.5, 0.5])["t_p"] == 1.0
    assert not any(isinstance(v, float) and math.isnan(v) for v in paired_tests([0.25, 0.5], [0.5, 0.75]).values())


def test_holm_and_sign():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert sign_p(np.ones(999)) == pytest.approx(2 / 1000)
    assert sign_p(np.zeros(10)) == 1.0
    assert interval(np.arange(101)) == pytest.approx([2.5, 97.5])


def test_a_better_run_is_found_and_an_equal_one_is_not(tmp_path):
    a, better, equal = (
        Run.read(written(tmp_path, n, made(p, seed=s)))
        for n, p, s in (("a", 0.6, 1), ("better", 0.85, 2), ("equal", 0.6, 3))
    )
    result = compare([a, better, equal], resamples=2000)
    first, second = result["pairs"]
    found = first["parts"]["full"]["uf1"]
    assert found["interval"][0] > 0
    assert found["p_holm"] < 0.01
    assert first["parts"]["full"]["mcnemar"]["p"] < 0.01
    found = second["parts"]["full"]["uf1"]
    assert found["interval"][0] < 0 < found["interval"][1]
    assert found["p_holm"] > 0.1
    mean = [np.mean([f1_score(r.truth, p, average="macro") for p in r.predicted.values()]) for r in (a, better)]
    assert first["parts"]["full"]["uf1"]["difference"] == pytest.approx(mean[1] - mean[0])
    back = compare([better, a], resamples=2000)["pairs"][0]["parts"]["full"]["uf1"]
    assert back["difference"] == pytest.approx(-first["parts"]["full"]["uf1"]["difference"])
    assert back["interval"] == pytest.approx([-v for v in first["parts"]["full"]["uf1"]["interval"][::-1]])


def test_the_order_of_clips_in_a_file_does_not_matter(tmp_path):
    summary = made(0.6, seed=1)
    order = np.random.default_rng(0).permutation(len(summary["keys"]))
    mixed = {**summary, **{n: [summary[n][i] for i in order] for n in ("keys", "people", "truth")},
             "predicted": {s: [row[i] for i in order] for s, row in summary["predicted"].items()}}  # fmt: skip
    a, b = (Run.read(written(tmp_path, n, s)) for n, s in (("a", summary), ("b", mixed)))
    pair = compare([a, b], resamples=200)["pairs"][0]
    assert pair["parts"]["full"]["uf1"]["difference"] == 0.0
    assert all(row["difference"] == 0.0 for row in pair["subjects"].values())


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"digests": {"split": "t", "inputs": "i"}}, "other folds"),
        ({"keys": None}, "same clips"),
        ({"truth": None}, "label the clips differently"),
        ({"classes": ["a", "b", "d"]}, "label the clips differently"),
    ],
)
def test_what_is_not_paired_is_refused(change, word, tmp_path, capsys):
    other = made(0.7, seed=5)
    if "keys" in change:
        change = {"keys": [k.replace("samm/", "samm2/") for k in other["keys"]]}
    if "truth" in change:
        change = {"truth": [(t + 1) % 3 for t in other["truth"]]}
    paths = [written(tmp_path, "a", made(0.6, seed=1)), written(tmp_path, "b", {**other, **change})]
    assert main(["compare", *map(str, paths), "--out", str(tmp_path / "out")]) == 2
    assert word in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_files_that_are_no_runs(tmp_path, capsys):
    a = written(tmp_path, "a", made(0.6, seed=1))
    (tmp_path / "x").mkdir()
    (tmp_path / "y.json").write_text('{"some": "thing"}')
    (tmp_path / "z.json").write_text('{"half')
    for arguments, word in (([a, tmp_path / "x"], "not there"), ([a, tmp_path / "y.json"], "no pooled predictions"),
                            ([a, tmp_path / "z.json"], "no whole JSON"), ([a], "two runs"), ([a, a], "both runs are called a")):  # fmt: skip
        assert main(["compare", *map(str, arguments), "--out", str(tmp_path / "out")]) == 2
        assert word in capsys.readouterr().err


def test_the_command_writes_table_figure_and_says_where(tmp_path, capsys):
    paths = [
        written(tmp_path, n, made(p, seed=s, people=s > 1))
        for n, p, s in (("one", 0.6, 1), ("two", 0.8, 2), ("three", 0.7, 3))
    ]
    out = tmp_path / "out"
    assert main(["compare", *map(str, paths), "--out", str(out), "--resamples", "500"]) == 0
    text = capsys.readouterr().out
    assert "two minus one, 120 clips of 20 people" in text
    assert "p (Holm)" in text
    assert max(map(len, text.splitlines()[:-1])) <= 80 + 1
    for name in ("compare.png", "compare.json", "compare.csv"):
        assert str(out / name) in text.replace("\n", "")
    rows = list(csv.DictReader((out / "compare.csv").open()))
    assert len(rows) == 2 * 3 * 2
    stored = json.loads((out / "compare.json").read_text())
    for row in rows:
        pair = next(p for p in stored["pairs"] if p["name"] == row["run"])
        assert float(row["difference"]) == pair["parts"][row["part"]][row["score"]]["difference"]
    assert (out / "compare.png").stat().st_size > 20_000


def test_published_results_compare(capsys, tmp_path):
    from pathlib import Path

    results = Path(__file__).parents[1] / "benchmarks" / "results" / "megc2019"
    assert (
        main(
            [
                "compare",
                str(results / "ststnet.json"),
                str(results / "svm.json"),
                "--out",
                str(tmp_path),
                "--resamples",
                "500",
            ]
        )
        == 0
    )
    assert "442 clips of 68 people" in capsys.readouterr().out


def test_of_two_classes_that_tie_the_vote_is_the_first(tmp_path):
    run = Run.read(written(tmp_path, "a", made(0.5, seed=4, seeds=2)))
    rows = np.stack(list(run.predicted.values()))
    assert (run.vote() == rows.min(0)).all()


def test_a_run_without_a_common_seed_has_no_test_over_seeds(tmp_path):
    a, b = made(0.6, seed=1), made(0.6, seed=2)
    b["predicted"] = {str(int(s) + 10): row for s, row in b["predicted"].items()}
    pair = compare([Run.read(written(tmp_path, n, s)) for n, s in (("a", a), ("b", b))], resamples=200)["pairs"][0]
    assert pair["parts"]["full"]["uf1"]["over_seeds"] == {"pairs": 0, "t_p": None, "wilcoxon_p": None}


def test_one_run_needs_another():
    with pytest.raises(ProtocolError, match="two runs"):
        compare([])
