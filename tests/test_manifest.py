"""The manifest: written once, read back equal, diffable, and filters that count."""

from __future__ import annotations

import time

import numpy as np
import pytest
from fakes import casme2
from fakes.large import big

from zoo.data.manifest import Manifest, diff
from zoo.data.readers import read
from zoo.errors import DataError


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    return read("casme2", casme2.write(tmp_path_factory.mktemp("casme2")))


@pytest.mark.parametrize("suffix", ["parquet", "csv"])
def test_written_and_read_back_is_equal_with_its_report(manifest, tmp_path, suffix):
    path = manifest.write(tmp_path / f"m.{suffix}")
    again = Manifest.load(path)
    assert diff(manifest, again).empty and again.table.dtypes.equals(manifest.table.dtypes)
    assert again.reports == manifest.reports and again.lines() == manifest.lines()
    assert manifest.write(tmp_path / f"n.{suffix}").read_bytes() == path.read_bytes()
    assert [p.name for p in tmp_path.iterdir() if "part" in p.name] == []


def test_diff_names_each_changed_cell(manifest):
    other = Manifest(manifest.table.copy(), [])
    key = other.keys[3]
    other.table.loc[key, "onset"] += 1
    other.table.loc[other.keys[4], "apex"] = None
    other.table = other.table.drop(other.keys[9])
    changes = diff(manifest, other)
    assert changes[["key", "column"]].to_numpy().tolist() == [
        [manifest.keys[9], "clip"], [key, "onset"], [manifest.keys[4], "apex"]]  # fmt: skip
    assert set(changes["column"]) == {"clip", "apex", "onset"}


def test_a_filter_counts_what_it_drops(manifest):
    kept = manifest.filter(lambda t: (t["emotion"] != "others").to_numpy(bool), "others is no class here")
    assert len(kept) == 156 and len(kept.reports[-1].dropped["others is no class here"]) == 99
    assert any("dropped 99: others is no class here" in line for line in kept.lines())
    assert manifest.filter(np.ones(255, bool), "nothing") is manifest
    with pytest.raises(DataError, match="wanted 255 booleans"):
        manifest.filter(np.ones(3, bool), "x")


def test_report_lines_tell_counts_repairs_and_notes(manifest):
    text = "\n".join(manifest.lines())
    assert "255 rows read, 255 clips kept, 0 dropped, 1 cells repaired" in text
    assert "repaired sub07_EP06_01 offset: 68 -> 91 (MEB" in text and "apex equals onset" in text


@pytest.mark.parametrize(("row", "words"), [
    ({"id": "a", "dataset": "d", "subject": "s", "kind": "micro", "colour": "x"}, "no column colour"),
    ({"id": "a", "dataset": "d", "kind": "micro"}, "column 'subject' is empty"),
    ({"id": "a", "dataset": "d", "subject": "s", "kind": "nano"}, "holds nano; known: micro"),
    ({"id": "a", "dataset": "d", "subject": "s", "kind": "micro", "apex_source": "guess"}, "apex_source"),
])  # fmt: skip
def test_rows_are_checked(row, words):
    with pytest.raises(DataError, match=words):
        Manifest.from_rows([row])


def test_doubled_keys_and_foreign_files_are_refused(tmp_path):
    row = {"id": "a", "dataset": "d", "subject": "s", "kind": "micro"}
    with pytest.raises(DataError, match="first 'd/s/a'"):
        Manifest.from_rows([row, row])
    with pytest.raises(DataError, match="zoo data build"):
        Manifest.load(tmp_path / "m.parquet")
    (tmp_path / "m.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataError, match="not a parquet file"):
        Manifest.load(tmp_path / "m.parquet")
    (tmp_path / "m.csv").write_text("id,dataset\n1,2\n")
    with pytest.raises(DataError, match="not a manifest of this version: missing apex"):
        Manifest.load(tmp_path / "m.csv")
    with pytest.raises(DataError, match=r"parquet or .csv"):
        Manifest.from_rows([row]).write(tmp_path / "m.json")


def test_a_hundred_thousand_clips_filter_and_load_in_seconds(tmp_path):
    m = big()
    start = time.perf_counter()
    kept = m.filter(lambda t: t["emotion"].ne("others").to_numpy(bool), "others")
    assert len(kept) == 75_000 and time.perf_counter() - start < 5
    start = time.perf_counter()
    assert len(Manifest.load(m.write(tmp_path / "big.parquet"))) == 100_000
    assert time.perf_counter() - start < 20
