"""Micro-expression readers on faked releases: counts, class sums, every repaired cell, every note."""

from __future__ import annotations

from collections import Counter

import pytest
from fakes import casme2, others, samm, smic

from zoo.data.manifest import Manifest
from zoo.data.readers import read, readers, survey
from zoo.data.readers.samm import join_emotions, numbering_offsets
from zoo.errors import DataError, UnknownName


def repaired(manifest: Manifest) -> dict[tuple[str, str], tuple[str, str]]:
    return {(c.key, c.column): (c.old, c.new) for c in manifest.reports[0].repaired}


def notes(manifest: Manifest, words: str) -> list[str]:
    return [k for text, keys in manifest.reports[0].notes.items() if words in text for k in keys]


def cell(manifest: Manifest, id: str, column: str):
    return manifest.table.set_index("id").loc[id, column]


# --- CASME II


def test_casme2_of_2014(tmp_path):
    m = read("casme2", casme2.write(tmp_path))
    t = m.table
    assert len(m) == 255 and t["subject"].nunique() == 26
    assert t["emotion"].value_counts().to_dict() == casme2.TOTALS
    assert t.groupby("subject").size().tolist() == list(casme2.PER_SUBJECT)
    assert [int((t["objective"] == n).sum()) for n in range(1, 8)] == [25, 15, 99, 26, 20, 1, 69]
    assert repaired(m) == {("sub07_EP06_01", "offset"): ("68", "91")}
    assert t["apex"].isna().sum() == 1 and cell(m, "sub04_EP12_01f", "apex_source") == "unknown"
    assert notes(m, "apex equals onset") == ["sub05_EP09_05f"]
    assert notes(m, "apex equals offset") == ["sub05_EP16_04f"]
    assert t["aus"].isna().sum() == 3 and (t["aus_raw"] == "?").sum() == 3
    assert cell(m, "sub05_EP16_04f", "aus") == "4+L10" and cell(m, "sub05_EP09_05f", "aus") == "4"
    assert cell(m, "sub05_EP09_05f", "row") == 1 + 1 + next(
        i for i, r in enumerate(casme2.rows()) if (r[0], r[1]) == ("05", "EP09_05f")
    )
    assert t["path"].str.startswith("Cropped/sub").all() and (t["fps"] == 200).all()


def test_casme2_of_2019_moves_three_labels_and_has_its_own_classes(tmp_path):
    root = casme2.write(casme2.write(tmp_path), version="20190701", with_frames=False)
    new = read("casme2", root, version="20190701", options={"objective": "sheet"})
    counts = new.table["emotion"].value_counts()
    assert counts["surprise"] == 28 and counts["sadness"] == 4
    assert [int((new.table["objective"] == n).sum()) for n in range(1, 8)] == [30, 18, 93, 15, 18, 2, 79]
    assert not notes(new, "published") and new.table["aus"].notna().all()
    auto = read("casme2", root, version="20190701")
    assert [int((auto.table["objective"] == n).sum()) for n in range(1, 8)] == [25, 15, 99, 26, 20, 1, 69]
    assert notes(auto, "differs from the workbook's")


def test_repairs_can_be_switched_off(tmp_path):
    root = casme2.write(tmp_path)
    with pytest.raises(DataError, match=r"sub07_EP06_01: offset is frame 68.*24 to 91"):
        read("casme2", root, repair="none")


def test_a_sheet_alone_is_enough_where_frames_are_not_asked_for(tmp_path):
    root = casme2.write(tmp_path, with_frames=False)
    assert len(read("casme2", root, frames="skip")) == 255
    with pytest.raises(DataError, match="no folder with frames of CASME II; looked for Cropped"):
        read("casme2", root)


# --- SAMM


@pytest.mark.parametrize("preamble", [True, False])
def test_samm(tmp_path, preamble):
    m = read("samm", samm.write(tmp_path, preamble=preamble))
    t = m.table
    assert len(m) == 159 and t["subject"].nunique() == 29 and set(t["subject"].str.len()) == {3}
    expected = {"others" if k == "Other" else k.lower(): v for k, v in samm.TOTALS.items()}
    assert t["emotion"].value_counts().to_dict() == expected
    assert [int((t["objective"] == n).sum()) for n in range(1, 8)] == [24, 13, 20, 8, 3, 7, 84]
    assert repaired(m) == {("028_4_1", "apex"): ("1143", "1113"), ("032_3_1", "apex"): ("1930", "4930")}
    assert cell(m, "028_4_1", "apex_source") == "repaired"
    assert m.table["row"].min() == (15 if preamble else 2)
    assert any("soft focus" in key for key in notes(m, "not understood"))
    assert cell(m, "006_5_10", "frame_count") == 3


def test_samm_that_lost_its_zeros_is_the_same(tmp_path):
    table = samm.rows()
    for row in table:
        row[0] = int(row[0])
    m = read("samm", samm.write(tmp_path, table=table, with_frames=False), frames="skip")
    assert m.table["subject"].iloc[0] == "006"


def test_samm_long_videos(tmp_path):
    m = read("samm_lv", samm.write_long(tmp_path))
    kinds = m.table["kind"].value_counts().to_dict()
    assert kinds == {"micro": 159, "macro": 6}
    assert repaired(m) == {("012_4_1_macro", "offset"): ("1525", "1000"), ("020_6_5_macro", "offset"): ("5476", "5001")}
    assert len(notes(m, "fractional")) == 4
    assert (cell(m, "006_1_2_macro", "onset"), cell(m, "006_1_2_macro", "apex"), cell(m, "006_1_2_macro",
        "offset")) == (
        101, 140, 310)  # fmt: skip
    assert len(notes(m, "onset is 0")) == 3 and cell(m, "012_3_3_macro", "onset_source") == "unknown"
    assert sorted(notes(m, "apex not coded")) == ["028_4_1_micro", "032_3_1_micro"]
    dropped = read("samm_lv", tmp_path, options={"unknown_onset": "drop"})
    assert len(dropped) == len(m) - 3 and len(next(iter(dropped.reports[0].dropped.values()))) == 3
    floor = read("samm_lv", tmp_path, options={"rounding": "floor"}, frames="skip")
    assert cell(floor, "006_1_2_macro", "onset") == 100


def test_a_documented_offset_takes_an_apex_behind_it_along(tmp_path, monkeypatch):
    rows = samm.long_rows

    def later_apex(micro):
        table = rows(micro)
        for row in table:
            if row[1] == "012_4_1" and row[7] == "Macro":
                row[4] = 1200
            if row[1] == "020_6_5":
                row[3:5] = [5100, 5200]
        return table

    monkeypatch.setattr(samm, "long_rows", later_apex)
    result = survey("samm_lv", samm.write_long(tmp_path, with_frames=False), frames="skip")
    assert not len(result.problems)
    assert repaired(result.manifest)["012_4_1_macro", "apex"] == ("1200", "")
    assert notes(result.manifest, "before the onset, not applied") == ["020_6_5_macro"]


def test_long_videos_take_their_emotions_from_samm(tmp_path):
    long = read("samm_lv", samm.write_long(tmp_path / "lv"), frames="skip")
    table = samm.rows()
    table[0][1] = "006_1_2"
    short = read("samm", samm.write(tmp_path / "s", table=table, with_frames=False), frames="skip")
    joined = join_emotions(long, short)
    micro = joined.table[joined.table["kind"] == "micro"]
    assert micro["emotion"].value_counts().sum() == 159 and (micro["emotion"] == "others").sum() == 26
    assert joined.table.loc[joined.table["kind"] == "macro", "emotion"].isna().all()
    shifts = numbering_offsets(long, short)
    assert shifts["032_3"] == 3000 and set(shifts.values()) == {0, 3000}


# --- SMIC


@pytest.mark.parametrize(("camera", "number", "fps"), [("HS", 164, 100), ("VIS", 71, 25), ("NIR", 71, 25)])
def test_smic_is_read_from_its_folders(tmp_path, camera, number, fps):
    m = read(f"smic_{camera.lower()}", smic.write(tmp_path, camera))
    t = m.table
    assert len(m) == number and (t["fps"] == fps).all() and t["apex"].isna().all()
    counts = {smic.WORDS[k]: v for k, v in smic.TOTALS[camera].items()}
    assert t["emotion"].value_counts().to_dict() == counts
    assert t.groupby("subject").size().to_dict() == {f"s{p:02d}": n for p, n in smic.PEOPLE[camera].items()}
    assert {61206, 562560, 1234567, 21234567} == set(t["onset"]) and (t["offset"] - t["onset"] == 2).all()


def test_smic_non_micro_clips_on_demand(tmp_path):
    m = read("smic_hs", smic.write(tmp_path), options={"non_micro": "yes"})
    assert m.table["kind"].value_counts().to_dict() == {"micro": 164, "non_micro": 1}


def test_smic_from_a_list_marks_its_apex_as_an_estimate(tmp_path):
    sheet = tmp_path / "list.csv"
    sheet.write_text(
        "Subject,Filename,OnsetF,ApexF,OffsetF\r\ns1,s1_ne_01,061206,061210,061220\r\n,,,,\r\n", encoding="utf-8-sig"
    )
    m = read("smic_hs", tmp_path, sheet=sheet, frames="skip")
    assert cell(m, "s01_ne_01", "apex_source") == "estimated" and cell(m, "s01_ne_01", "onset") == 61206


@pytest.mark.parametrize("camera", ["HS", "VIS"])
def test_smic_e(tmp_path, camera):
    m = read(f"smic_e_{camera.lower()}", smic.write_extended(tmp_path, camera))
    ids = m.table["id"].tolist()
    later = ["s04_ne_04_2", "s04_ne_04_3"] if camera == "HS" else ["s04_ne_04_2"]
    assert [i for i in ids if not i.endswith("_1")] == [*later, "s09_sur_01_2", "s18_sur_03_2"]
    assert m.reports[0].dropped == {"the interval lies outside the frames of its clip (known fault)": ["s01_ne_03_1"]}
    assert cell(m, "s18_sur_03_1", "onset") == 5010 and cell(m, "s18_sur_03_2", "onset") == 5100  # sorted in time
    assert cell(m, "s18_sur_03_1", "emotion") == "surprise"  # the name wins over the cell
    assert (cell(m, "s20_po_01_1", "onset"), cell(m, "s20_po_01_1", "offset")) == (7000, 7010)
    assert {c.source for c in m.reports[0].repaired} == {"the clip's files are numbered one lower"}
    if camera == "HS":
        assert notes(m, "outside the clip, ignored") == ["s18_sur_03 #3"] and notes(m, "repeats") == ["s09_sur_01 #3"]
    alone = read(f"smic_e_{camera.lower()}", tmp_path, frames="skip")
    assert notes(alone, "wrong window") == ["s01_ne_03_1"] and "s01_ne_03_1" in alone.table["id"].tolist()


def test_smic_e_formulas_without_result_are_refused(tmp_path):
    import openpyxl

    smic.write_extended(tmp_path, with_frames=False)
    path = next(tmp_path.rglob("SMIC-HS-E_annotation.xlsx"))
    book = openpyxl.load_workbook(path)
    book["HS"]["E3"] = "=D3+10"
    book.save(path)
    with pytest.raises(DataError, match=r"row 3, column 'OffsetF': a formula without a stored result.*save it"):
        read("smic_e_hs", tmp_path, frames="skip")


# --- the others


def test_casme(tmp_path):
    m = read("casme", others.casme(tmp_path))
    assert len(m) == 189 and m.table["subject"].nunique() == 18
    assert m.table["emotion"].value_counts()["tense"] == 68
    assert Counter(c.column for c in m.reports[0].repaired)["onset"] == 3
    fixed = m.table[m.table["onset_source"] == "repaired"]
    assert sorted(fixed["onset"]) == [57, 100, 101] and sorted(fixed["offset"]) == [74, 119, 149]
    assert m.table["clip"].duplicated().any() and len(notes(m, "second apex")) == 1


def test_casme_sq(tmp_path):
    m = read("casme_sq", others.casme_sq(tmp_path))
    t = m.table
    assert t["kind"].value_counts().to_dict() == {"macro": 300, "micro": 57}
    assert t[t["kind"] == "micro"]["emotion"].value_counts().to_dict() == {
        "negative": 21, "others": 19, "surprise": 9, "positive": 8}  # fmt: skip
    assert (t["offset_source"] == "imputed").sum() == 44
    assert {k for k, v in repaired(m).items() if v[1] == ""} == {
        ("s27_disgust1_5", "apex"), ("s31_happy2_1", "apex"), ("s32_anger1_12", "apex")}  # fmt: skip
    assert notes(m, "apex is 0") == ["s34_anger1_1"]
    assert "s15/15_9999quiet" in notes(m, "without annotation")
    assert notes(m, "another person") == ["s19/23_0502funnyerrors"]
    assert t["subject"].isin([f"s{n}" for n in others.PEOPLE.values()]).all()
    assert t["aus"].isna().sum() > 0 and "14" in t["aus"].dropna().iloc[1]


def test_casme3_part_a(tmp_path):
    m = read("casme3_a", others.casme3(tmp_path))
    t = m.table
    assert len(m) == 860 and t["subject"].nunique() == 94
    assert t["emotion"].value_counts().to_dict() == {
        "disgust": 250, "surprise": 187, "others": 161, "fear": 86, "anger": 64, "sadness": 57,
        "happiness": 55}  # fmt: skip
    assert [int((t["objective"] == n).sum()) for n in range(1, 8)] == [15, 151, 234, 37, 47, 3, 373]
    assert {(k.split("_")[0], c, *v) for (k, c), v in repaired(m).items()} == {
        ("spNO.149", "apex", "83", "123"), ("spNO.216", "onset", "3647", "2647"), ("spNO.216", "onset", "0", "1"),
        ("spNO.216", "apex", "0", "1"), ("spNO.40", "offset", "0", "1845"), ("spNO.40", "offset", "0", "2403"),
        ("spNO.214", "offset", "3460", "34")}  # fmt: skip
    assert len(notes(m, "apex equals onset")) == 56  # 55 and the repaired 216 e
    assert notes(m, "onset not on disk, a neighbour is")  # spNO.3 lacks its first frames
    assert t["aus"].str.contains("4\\+7").any()
    with_macro = read("casme3_a", tmp_path, options={"macro": "yes"}, frames="skip")
    assert with_macro.table["kind"].value_counts()["macro"] == 2


def test_casme3_without_repairs_names_every_wrong_row(tmp_path):
    result = survey("casme3_a", others.casme3(tmp_path, with_frames=False), repair="none", frames="skip")
    assert [p.row for p in result.problems] == [856, 857, 859, 860]  # an onset of 0 alone contradicts nothing
    assert len(result.manifest) == 860


def test_casme3_part_c(tmp_path):
    m = read("casme3_c", others.casme3_c(tmp_path))
    assert len(m) == 165 and m.table["subject"].nunique() == 30 and m.table["apex"].isna().all()
    assert m.table["emotion"].value_counts().to_dict() == {"negative": 99, "surprise": 30, "others": 20, "positive": 16}


def test_mmew(tmp_path):
    m = read("mmew", others.mmew(tmp_path))
    assert len(m) == 300 and (m.table["onset"] == 1).all()
    assert m.table["emotion"].value_counts()["others"] == 66
    assert list(repaired(m).values()) == [("30", "9")]
    assert m.table["path"].str.contains("repression").sum() == 66 and not notes(m, "disagree")
    assert "4R" not in set(m.table["aus"]) and "R4" in set(m.table["aus"]) and "L12" in set(m.table["aus"])
    both = read("mmew", tmp_path, options={"macro": "yes"})
    assert both.table["kind"].value_counts()["image"] == 1


def test_4dme(tmp_path):
    m = read("4dme", others.fourdme(tmp_path))
    assert m.table["emotion"].tolist() == ["surprise+positive", "negative", "repression"]
    assert m.table["onset"].tolist() == [1826, 2826, 826] and m.table["aus"].iloc[0] == "4(k)+L7"
    assert any("below the table" in line for line in m.reports[0].notes)


def test_dfme(tmp_path):
    m = read("dfme", others.dfme(tmp_path))
    assert m.table["split"].value_counts().to_dict() == {"train": 7, "testA": 2, "testB": 2}
    assert (m.table["onset"] == 0).all() and sorted(set(m.table["fps"])) == [200, 300, 500]
    assert m.table["aus"].iloc[0] == "4+AD38+M57"
    with pytest.raises(DataError, match="the parts share nobody"):
        read("dfme", others.dfme(tmp_path / "x", overlap=True))


def test_a_typo_in_the_name_of_a_data_set_is_answered_with_the_nearest():
    with pytest.raises(UnknownName, match="casme2"):
        read("casmeII2", ".")
    assert len(readers()) >= 16
