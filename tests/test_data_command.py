"""``zoo data`` on faked releases: list, check, build, freeze, show."""

from __future__ import annotations

import argparse
import io

import numpy as np
import pytest
from fakes import casme2, others, samm, smic
from rich.console import Console

from zoo.data import command, contact_sheet
from zoo.data.clips import read_picture
from zoo.data.manifest import Manifest
from zoo.data.partitions import Split
from zoo.errors import DataError, MediaError


def zoo(*words: str) -> tuple[int, str]:
    parser = argparse.ArgumentParser()
    command.add_parser(parser.add_subparsers(dest="command"))
    out = io.StringIO()
    code = command.run(parser.parse_args(["data", *map(str, words)]), Console(file=out, width=200))
    return code, out.getvalue()


def test_list_names_every_reader():
    code, text = zoo("list")
    assert code == 0 and all(entry["name"] in text for entry in command.list_datasets())
    assert all(e["layout"] and e["title"] for e in command.list_datasets())
    wanted = {"casme", "casme2", "smic_hs", "smic_vis", "smic_nir", "smic_e_hs", "samm", "casme_sq", "samm_lv",
        "casme3_a",
              "casme3_c", "mmew", "4dme", "dfme", "ckplus", "oulu_casia", "mmi", "jaffe", "mug", "bu3dfe", "fer2013",
              "rafdb",
              "affectnet", "crema_d", "csv"}  # fmt: skip
    assert wanted <= {e["name"] for e in command.list_datasets()}


def test_check_tells_counts_against_the_published_ones_and_every_repaired_cell(tmp_path):
    code, text = zoo("check", "casme2", "--root", casme2.write(tmp_path))
    assert code == 0 and "ready" in text.splitlines()[0]
    assert "emotion disgust: 63 (published 63)\n" in text and "objective class III: 99 (published 99)\n" in text
    assert "repaired sub07_EP06_01 offset: 68 -> 91" in text and "frames: 255 of 255 clips (cropped)" in text
    assert "annotation: CASME2-coding-20140508.xlsx" in text


def test_check_without_frames_says_what_is_missing_and_still_counts(tmp_path):
    code, text = zoo("check", "casme2", "--root", casme2.write(tmp_path, with_frames=False))
    assert code == 1 and "MISSING" in text and "looked for Cropped" in text and "rows: 255 (published 255)" in text
    assert zoo("check", "casme2", "--root", tmp_path, "--frames", "skip")[0] == 0


def test_check_lists_problems_with_row_and_column(tmp_path):
    root = others.casme3(tmp_path, with_frames=False)
    code, text = zoo("check", "casme3_a", "--root", root, "--frames", "skip", "--repair", "none")
    assert code == 1 and "sheet 'label', row 856, column 'Apex'" in text and "not ready" in text


def test_check_marks_other_counts(tmp_path):
    table = casme2.rows()[:-1]
    _, text = zoo(
        "check", "casme2", "--root", casme2.write(tmp_path, table=table, with_frames=False), "--frames", "skip"
    )
    assert "rows: 254 (published 246) !" in text and "versions with 246, 247, 255, 256 rows are known" in text


@pytest.mark.parametrize("suffix", ["parquet", "csv"])
def test_build_then_freeze_through_the_command(tmp_path, suffix):
    roots = [casme2.write(tmp_path / "c"), smic.write(tmp_path / "s"), samm.write(tmp_path / "m")]
    out = tmp_path / f"all.{suffix}"
    words = [w for root in roots for w in ("--root", root)]
    code, text = zoo("build", "casme2", "smic_hs", "samm", *words, "--out", out)
    assert code == 0 and "wrote" in text and "578 clips" in text and "casme2 20140508: 255 rows read" in text
    code, text = zoo("freeze", out, "--protocol", "megc2019", "--out", tmp_path / "split.json")
    assert code == 0 and "samples: 442" in text and "digest: " in text
    assert len(Split.load(tmp_path / "split.json").folds) == 68


def test_build_writes_nothing_where_something_is_wrong(tmp_path):
    root = casme2.write(tmp_path, with_frames=False)
    with pytest.raises(DataError):
        zoo("build", "casme2", "--root", root, "--out", tmp_path / "m.parquet")
    assert not list(tmp_path.glob("*.parquet")) and not list(tmp_path.glob(".*"))
    with pytest.raises(DataError, match="one --root for each"):
        zoo("build", "casme2", "samm", "--root", root, "--out", tmp_path / "m.parquet")
    with pytest.raises(DataError, match=r"\.parquet or \.csv"):
        zoo("build", "casme2", "--root", root, "--out", tmp_path / "m.txt")


def test_options_versions_and_skip_lists_reach_the_reader(tmp_path):
    root = others.casme3(tmp_path)
    skip = tmp_path / "skip.txt"
    skip.write_text("# unreadable\npart_A/data/part_A/spNO.61/a/color/15.jpg\n")
    code, text = zoo(
        "check", "casme3_a", "--root", root, "--skip-list", skip, "--option", "macro=yes", "--frames", "require"
    )
    assert (
        "left out by the skip list: 1" in text and "kind macro: 2" in text and code == 1
    )  # the fake macros have no frames
    with pytest.raises(ValueError, match="KEY=VALUE"):
        zoo("check", "casme3_a", "--root", root, "--option", "macro")


def test_show_draws_a_sheet(tmp_path):
    root = casme2.write(tmp_path / "c")
    zoo("build", "casme2", "--root", root, "--out", tmp_path / "m.parquet")
    code, text = zoo("show", tmp_path / "m.parquet", "--root", root, "--out", tmp_path / "sheet.png", "--number", "3")
    assert code == 0 and "sheet.png" in text
    picture = read_picture(tmp_path / "sheet.png")
    assert picture.shape[2] == 3 and picture.std() > 5


def test_show_uses_the_flow_that_it_is_given(tmp_path):
    root = casme2.write(tmp_path / "c")
    m = command.build(["casme2"], [root], tmp_path / "m.csv")
    seen = []

    def flow(onset, apex):
        seen.append((onset.shape, apex.shape))
        return np.ones((2, *onset.shape[:2]), np.float32)

    key = m.keys[0]
    contact_sheet.show(m, root, tmp_path / "sheet.png", keys=[key], flow=flow)
    assert seen == [((12, 16, 3), (12, 16, 3))]
    with pytest.raises(DataError, match="no clip 'x'"):
        contact_sheet.show(m, root, tmp_path / "sheet.png", keys=["x"])
    with pytest.raises(DataError, match="cannot be drawn"):
        contact_sheet.show(m, root, tmp_path / "sheet.xyz", keys=[key])
    frame = next((root / m.table.loc[key, "path"]).glob("reg_img*.jpg"))
    frame.write_bytes(frame.read_bytes()[:40])
    with pytest.raises(MediaError, match="not a readable picture"):
        contact_sheet.show(m, root, tmp_path / "sheet.png", keys=[key])


def test_clips_are_spread_over_emotions(tmp_path):
    m = command.build(["casme2"], [casme2.write(tmp_path / "c")], tmp_path / "m.csv")
    keys = contact_sheet.spread(m, 7, 0)
    assert set(m.table.loc[keys, "emotion"]) == set(casme2.TOTALS) and keys == contact_sheet.spread(m, 7, 0)


def test_flow_in_colours():
    u = np.zeros((2, 4, 4), np.float32)
    assert contact_sheet.flow_picture(u).min() == 1, "no motion is white"
    u[0] = 3
    assert np.allclose(contact_sheet.flow_picture(u)[0, 0], [1, 0, 0])


def test_the_written_manifest_is_the_one_that_was_built(tmp_path):
    m = command.build(["samm"], [samm.write(tmp_path / "s")], tmp_path / "m.parquet")
    assert Manifest.load(tmp_path / "m.parquet").keys == m.keys
