"""A damaged release is answered with file, row, column and the way out, and all of it at once."""

from __future__ import annotations

import datetime

import openpyxl
import pytest
from fakes import casme2, others, samm
from fakes.files import frames

from zoo.data.frames import list_frames, resolve
from zoo.data.readers import read, survey
from zoo.errors import DataError


def edit(path, change):
    book = openpyxl.load_workbook(path)
    change(book[book.sheetnames[0]])
    book.save(path)


@pytest.fixture
def root(tmp_path):
    return casme2.write(tmp_path, with_frames=False)


SHEET = "CASME2-coding-20140508.xlsx"


@pytest.mark.parametrize(("change", "words"), [
    (lambda s: s.cell(1, 4, "OnsetFrm"), r"row 1: there is no column 'OnsetFrame'; the nearest is 'OnsetFrm'.*Rename"),
    (lambda s: s.cell(1, 2, "Filenam"), r"row 1: no column 'Filename', but one that is called 'filenam'"),
    (lambda s: s.delete_rows(1), r"rows 1 to 30: no header row with the columns 'Subject', 'Filename'"),
    (lambda s: s.cell(7, 4, "4O"), r"row 7, column 'OnsetFrame': '4O' is not a frame number.*digits"),
    (lambda s: s.cell(7, 4, 41.5), r"row 7, column 'OnsetFrame': 41.5 is a fraction"),
    (lambda s: s.cell(7, 4).__setattr__("value", None), r"row 7, column 'OnsetFrame': the cell is empty"),
    (lambda s: s.cell(8, 9, "disgsut"),
        r"row 8, column 'Estimated Emotion': .*unknown label 'disgsut'; nearest known: disgust"),
    (lambda s: s.cell(8, 1, "me"), r"row 8, column 'Subject': 'me' is not a subject"),
    (lambda s: s.cell(8, 6, 3), r"row 8, column 'OffsetFrame': .*offset 3 lies before onset"),
    (lambda s: (s.append(["01", "EP01_01f", None, 999, 999, 999, None, 4, "others"])), r"row 257: .*is also row 2"),
    (lambda s: s.insert_rows(5) or [s.cell(5, c, v) for c, v in ((1, "Subject"), (2, "Filename"))],
        "both look like the header"),
    (lambda s: s.cell(1, 11, "Subject"), r"column 'Subject' occurs 2 times"),
])  # fmt: skip
def test_a_wrong_cell_is_named(root, change, words):
    edit(root / SHEET, change)
    with pytest.raises(DataError, match=rf"(?s){SHEET}.*{words}"):
        read("casme2", root, frames="skip")


def test_all_problems_come_at_once(root):
    def change(sheet):
        sheet.cell(4, 4, "x")
        sheet.cell(9, 9, "joy")

    edit(root / SHEET, change)
    with pytest.raises(DataError, match=r"(?s)2 problems.*row 4.*row 9"):
        read("casme2", root, frames="skip")
    result = survey("casme2", root, frames="skip")
    assert len(result.problems) == 2 and len(result.manifest) == 255


@pytest.mark.parametrize(("content", "words"), [
    (b"", "the file is empty"), (b"<html><body>log in</body></html>", "this is a web page"),
    (b"PK\x03\x04 cut off", "damaged or cut off"), (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1 cut off", "copy it|Copy it"),
    (b"\xff\xfe\x00\x01", "not a text table"),
])  # fmt: skip
def test_a_file_that_is_no_table(root, content, words):
    (root / SHEET).write_bytes(content)
    with pytest.raises(DataError, match=words):
        read("casme2", root, frames="skip")


def test_a_workbook_cut_off_half_way(root):
    data = (root / SHEET).read_bytes()
    (root / SHEET).write_bytes(data[: len(data) // 2])
    with pytest.raises(DataError, match=rf"{SHEET}: the workbook is damaged or cut off.*Copy it"):
        read("casme2", root, frames="skip")


def test_no_sheet_and_two_sheets(root):
    (root / "copy").mkdir()
    (root / "copy" / SHEET).write_bytes((root / SHEET).read_bytes())
    with pytest.raises(DataError, match=r"2 files could be the annotation sheet.*sheet=FILE"):
        read("casme2", root, frames="skip")
    assert len(read("casme2", root, frames="skip", sheet=root / SHEET)) == 255
    with pytest.raises(
        DataError, match=r"no annotation sheet of CASME II.*20190701.*tables there: CASME2-ObjectiveClasses"
    ):
        read("casme2", root, version="20190701", frames="skip")
    with pytest.raises(DataError, match="version is '2014'; known: 20140508, 20190701"):
        read("casme2", root, version="2014")


def test_a_csv_with_bom_semicolons_and_comma_lines_reads_like_the_workbook(root, tmp_path):
    lines = [";".join("" if c is None else str(c) for c in row) for row in [casme2.HEADER, *casme2.rows()]]
    path = tmp_path / "sheet.csv"
    path.write_bytes(("\ufeff" + "\r\n;;;;\r\n".join(lines)).encode())
    a = read("casme2", root, frames="skip", sheet=path)
    b = read("casme2", root, frames="skip")
    columns = ["onset", "apex", "offset", "emotion", "aus"]
    assert a.table[columns].equals(b.table[columns])


def test_an_old_xls_is_read_by_its_rows(root, monkeypatch):
    import xlrd

    class Leaf:
        name, rows = "Sheet1", [casme2.HEADER, *casme2.rows()]
        nrows = len(rows)

        def row_values(self, n):  # xlrd gives text, or floats for all numbers, and "" for an empty cell
            return [float(c) if isinstance(c, int) else c or "" for c in self.rows[n]]

    class Book:
        def sheets(self):
            return [Leaf()]

    (root / SHEET).write_bytes(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1")
    monkeypatch.setattr(xlrd, "open_workbook", lambda path: Book())
    m = read("casme2", root, frames="skip")
    assert len(m) == 255 and m.table["row"].tolist() == list(range(2, 257)) and "4" in set(m.table["aus"])


def test_an_exact_copy_of_a_row_is_kept_once_and_counted(root):
    edit(root / SHEET, lambda s: s.append([c.value for c in s[2]]))
    m = read("casme2", root, frames="skip")
    assert len(m) == 255 and list(m.reports[0].dropped) == ["exact copy of another row"] and m.reports[0].read == 256


def test_notes_below_the_table_are_counted(root):
    edit(root / SHEET, lambda s: s.append([None, "mean duration", None, 67.2]))
    m = read("casme2", root, frames="skip")
    assert len(m) == 255 and any("row 257 is below the table" in note for note in m.reports[0].notes)


def test_a_number_of_rows_that_no_release_has_is_noted_or_refused(root):
    edit(root / SHEET, lambda s: s.delete_rows(200))
    m = read("casme2", root, frames="skip")
    assert any("versions with 246, 247, 255, 256 rows" in note for note in m.reports[0].notes)
    with pytest.raises(DataError, match="254 rows; versions with"):
        read("casme2", root, frames="skip", strict=True)


ODD = [
    None,
    "",
    "x",
    -1,
    0,
    1e30,
    1.5,
    True,
    "1e3",
    "٣",
    "=1+1",
    "1.0",
    "\u3000",
    datetime.datetime(2014, 4, 7),
    "##",
    10**13,
]


@pytest.mark.parametrize("column", range(9))
@pytest.mark.parametrize("value", ODD, ids=repr)
def test_whatever_a_cell_holds_the_answer_is_a_manifest_or_a_data_error(tmp_path, column, value):
    table = casme2.rows()[:12]
    table[5][column] = value
    lines = [",".join("" if c is None else str(c) for c in row) for row in [casme2.HEADER, *table]]
    path = tmp_path / "sheet.csv"
    path.write_text("\n".join(lines))
    result = survey("casme2", tmp_path, frames="skip", sheet=path)
    assert all(p.row == 7 and p.remedy for p in result.problems) and len(result.manifest) in (11, 12)


def test_edited_copies_of_the_headerless_workbook(tmp_path):
    table = others.casme_sq_table()
    with pytest.raises(DataError, match=r"row 1, column 'A': '###' marks an edited copy"):
        read("casme_sq", others.casme_sq(tmp_path / "a", with_frames=False, table=[["###"] * 9, *table]), frames="skip")
    with pytest.raises(DataError, match=r"row 1, column 'subject \(A\)': 'Subject' is no data: an edited copy"):
        read(
            "casme_sq",
            others.casme_sq(tmp_path / "b", with_frames=False, table=[["Subject"] * 9, *table]),
            frames="skip",
        )
    table[6][2] = "12a"
    with pytest.raises(DataError, match=r"row 7, column 'onset \(C\)': '12a' is not what this column holds"):
        read("casme_sq", others.casme_sq(tmp_path / "c", with_frames=False, table=table), frames="skip")


# --- frames


def test_missing_and_empty_clip_folders(tmp_path):
    root = samm.write(tmp_path)
    table = samm.rows()
    lost, empty = table[3], table[5]
    for row in (lost, empty):
        for file in (root / row[0] / row[1]).iterdir():
            file.unlink()
    (root / lost[0] / lost[1]).rmdir()
    with pytest.raises(
        DataError, match=rf"(?s)2 problems.*{lost[1]}: no frames: .*missing in.*{empty[1]}.*holds no frame"
    ):
        read("samm", root)
    m = read("samm", root, missing="drop")
    assert len(m) == 157 and m.reports[0].dropped == {"no frames on disk": [lost[1], empty[1]]}


def test_an_offset_beyond_the_last_frame(tmp_path):
    table = samm.rows()
    row = next(r for r in table if r[1] not in samm.FIXED)
    root = samm.write(tmp_path, table=table)
    folder = root / row[0] / row[1]
    off = row[5]
    next(p for p in folder.iterdir() if str(off) in p.name).rename(folder / f"{row[0]}_{off - 3:05d}.jpg")
    m = read("samm", root)  # 3 of 61 frames: within 10 %
    assert [(c.column, c.new) for c in m.reports[0].repaired if c.key == row[1]] == [("offset", str(off - 3))]
    (folder / f"{row[0]}_{off - 3:05d}.jpg").unlink()
    with pytest.raises(DataError, match=rf"{row[1]}: offset is frame {off}, but {row[0]}/{row[1]} holds frames"):
        read("samm", root)


def test_two_files_with_one_number_and_strange_files(tmp_path):
    folder = frames(tmp_path / "c", ["img1.jpg", "IMG2.JPG", "reg_img10.png"])
    for stray in ("Thumbs.db", ".DS_Store", "._img3.jpg", "desktop.ini", "readme.jpg.lnk", "cover.jpg"):
        (folder / stray).write_bytes(b"x")
    assert list(list_frames(folder)) == [1, 2, 10]
    frames(folder, ["img01.jpg"])
    with pytest.raises(DataError, match="both frame 1"):
        list_frames(folder)
    with pytest.raises(DataError, match="cannot list frames"):
        list_frames(tmp_path / "nowhere")


def test_neighbours_stand_in_for_missing_frames_only_when_allowed(tmp_path):
    there = list_frames(frames(tmp_path, ["7.jpg", "10.jpg"]))
    assert resolve(there, 10).name == "10.jpg"
    with pytest.raises(DataError, match="frame 9 is not there"):
        resolve(there, 9)
    assert resolve(there, 9, policy="earlier").name == "7.jpg"
    assert resolve(there, 9, policy="nearest").name == "10.jpg"
    with pytest.raises(DataError, match="max_gap 1"):
        resolve(there, 9, policy="earlier", max_gap=1)


def test_a_skip_list_takes_pictures_out(tmp_path):
    root = others.casme3(tmp_path)
    bad = "part_A/data/part_A/spNO.61/a/color/15.jpg"
    m = read("casme3_a", root, skip=[bad])
    assert m.reports[0].notes["picture left out by the skip list"] == [bad]


def test_unknown_arguments_list_the_known_ones(root):
    for arguments, words in (
        ({"repair": "maybe"}, "documented, none"),
        ({"options": {"colour": "x"}}, "has no option colour"),
        ({"options": {"objective": "x"}}, "auto, workbook, sheet"),
        ({"variant": "depth"}, "cropped"),
    ):
        with pytest.raises(DataError, match=words):
            read("casme2", root, **arguments)
    with pytest.raises(DataError, match="no such folder"):
        read("casme2", root / "nowhere")
