"""Macro-expression readers and the generic table, on small faked releases."""

from __future__ import annotations

import numpy as np
import pytest
from fakes.files import frames, video

from zoo.data.readers import read, readers
from zoo.data.readers.fer2013 import majority
from zoo.errors import DataError


def ckplus(root):
    for take, label in (("001", "   3.0000000e+00\n"), ("002", None), ("003", "   0.0000000e+00\n")):
        frames(root / "cohn-kanade-images" / "S005" / take, [f"S005_{take}_{n:08d}.png" for n in range(1, 12)])
        folder = root / "Emotion" / "S005" / take
        folder.mkdir(parents=True)
        if label:
            (folder / f"S005_{take}_00000011_emotion.txt").write_text(label)
    (root / "cohn-kanade-images" / ".DS_Store").write_bytes(b"x")
    facs = root / "FACS" / "S005" / "001"
    facs.mkdir(parents=True)
    (facs / "S005_001_00000011_facs.txt").write_text(
        "   9.0000000e+00   0.0000000e+00\n   1.7000000e+01   5.0000000e+00\n"
    )


def test_ckplus(tmp_path):
    ckplus(tmp_path)
    m = read("ckplus", tmp_path)
    assert m.table["emotion"].fillna("").tolist() == ["disgust", "", "neutral"]
    assert m.table["apex"].tolist() == [11, 11, 11] and m.table["onset"].tolist() == [1, 1, 1]
    assert m.table["aus"].iloc[0] == "9+17E"
    dropped = read("ckplus", tmp_path, options={"unlabelled": "drop"})
    assert dropped.reports[0].dropped == {"no label file": ["S005_002"]}
    (tmp_path / "Emotion" / "S005" / "003" / "S005_003_00000011_emotion.txt").write_text("9.5")
    with pytest.raises(DataError, match=r"S005_003_00000011_emotion.txt, row 1: '9.5' is not an emotion code"):
        read("ckplus", tmp_path)


@pytest.mark.parametrize("top", ["OriginalImg/VL", "VL_Acropped"])
def test_oulu_casia(tmp_path, top):
    for person in ("P001", "P080"):
        for emotion in ("Anger", "Happiness"):
            frames(tmp_path / top / "Strong" / person / emotion, [f"{n:03d}.jpeg" for n in range(5)])
    m = read("oulu_casia", tmp_path)
    assert sorted(m.table["emotion"]) == ["anger", "anger", "happiness", "happiness"] and (m.table["apex"] == 4).all()
    with pytest.raises(DataError, match="NI_Acropped/Strong"):
        read("oulu_casia", tmp_path, options={"spectrum": "NI"})


def test_mug(tmp_path):
    for take in ("take000", "take003"):
        frames(tmp_path / "001" / "anger" / take, [f"img_{n:04d}.jpg" for n in range(3)])
    m = read("mug", tmp_path)
    assert len(m) == 2 and m.table["apex"].isna().all() and (m.table["fps"] == 19).all()


def test_mmi(tmp_path):
    for session, code in (("1", "4"), ("2", None), ("3", "9")):
        folder = tmp_path / "Sessions" / session
        folder.mkdir(parents=True)
        video(folder / f"S054-00{session}.avi")
        if code:
            (folder / "session.xml").write_text(f'<session><track Expression="{code}"/></session>')
    m = read("mmi", tmp_path)
    assert m.table["emotion"].fillna("").tolist() == ["happiness", "", ""] and set(m.table["subject"]) == {"S054"}
    assert m.table[["onset", "offset", "frame_count"]].to_numpy().tolist() == [[0, 6, 7]] * 3
    assert m.table["apex"].isna().all() and set(m.table["onset_source"]) == {"estimated"}
    assert len(read("mmi", tmp_path, options={"unlabelled": "drop"})) == 1
    (tmp_path / "Sessions" / "2" / "S054-002.avi").write_bytes(b"x")
    assert len(read("mmi", tmp_path, frames="skip")) == 3
    with pytest.raises(DataError, match=r"S054-002.avi: not readable as a video"):
        read("mmi", tmp_path)
    (tmp_path / "Sessions" / "1" / "session.xml").write_text("<session>")
    with pytest.raises(DataError, match="not readable as XML"):
        read("mmi", tmp_path)


def test_jaffe(tmp_path):
    frames(tmp_path, ["KA.AN1.39.tiff", "KA.AN.40.tiff", "YM.NE3.51.tiff"])
    (tmp_path / "README").write_text("x")
    m = read("jaffe", tmp_path)
    assert m.table["emotion"].tolist() == ["anger", "anger", "neutral"] and set(m.table["subject"]) == {"KA", "YM"}
    frames(tmp_path, ["holiday.tiff"])
    with pytest.raises(DataError, match=r"holiday.tiff"):
        read("jaffe", tmp_path)


def test_bu3dfe(tmp_path):
    frames(tmp_path / "F0001", ["F0001_AN01WH_F2D.bmp", "F0001_NE00WH_F2D.bmp"])
    (tmp_path / "F0001" / "F0001_AN01WH_F3D.wrl").write_text("x")
    m = read("bu3dfe", tmp_path)
    assert m.table["emotion"].tolist() == ["anger", "neutral"] and m.table["note"].tolist() == ["level 1", "level 0"]


def test_rafdb(tmp_path):
    (tmp_path / "basic" / "EmoLabel").mkdir(parents=True)
    label = tmp_path / "basic" / "EmoLabel" / "list_patition_label.txt"
    label.write_text("train_00001.jpg 1\ntest_0001.jpg 7\n")
    frames(tmp_path / "basic" / "Image" / "aligned", ["train_00001_aligned.jpg", "test_0001_aligned.jpg"])
    m = read("rafdb", tmp_path)
    assert m.table["emotion"].tolist() == ["surprise", "neutral"] and m.table["split"].tolist() == ["train", "test"]
    label.write_text("train_00001.jpg 8\ntrain_00002.jpg 1\n")
    with pytest.raises(DataError, match=r"(?s)row 1: 'train_00001.jpg 8'.*row 2: train_00002_aligned.jpg"):
        read("rafdb", tmp_path)
    label.write_text("train_00001.jpg 1\ntrain_00002.jpg 1\n")
    assert read("rafdb", tmp_path, missing="drop").reports[0].dropped == {"no picture on disk": ["train_00002"]}


def test_affectnet_tables(tmp_path):
    head = "subDirectory_filePath,face_x,expression,valence,arousal\n"
    (tmp_path / "training.csv").write_text(head + "689/a.jpg,1,4,0.1,0.2\n392/b.jpg,1,10,-2,-2\n")
    frames(tmp_path / "Manually_Annotated_Images" / "689", ["a.jpg"])
    m = read("affectnet", tmp_path, missing="drop")
    assert m.table["emotion"].tolist() == ["fear"] and m.reports[0].dropped == {"no picture on disk": ["392/b"]}
    assert read("affectnet", tmp_path, frames="skip").table["emotion"].tolist() == ["fear", "no-face"]
    (tmp_path / "training.csv").write_text(head + "689/a.jpg,1,12,0.1,0.2\n")
    with pytest.raises(DataError, match=r"training.csv, row 2, column 'expression': '12' is not a code"):
        read("affectnet", tmp_path)


def test_affectnet_arrays_hold_text(tmp_path):
    folder = tmp_path / "train_set" / "annotations"
    folder.mkdir(parents=True)
    frames(tmp_path / "train_set" / "images", ["0.jpg", "10.jpg"])
    for number, code in ((0, "6"), (10, "0")):
        np.save(folder / f"{number}_exp.npy", np.array(code))
    assert read("affectnet", tmp_path).table["emotion"].tolist() == ["anger", "neutral"]


def fer(root, rows=3):
    pixels = " ".join(["7"] * 2304)
    lines = [f"{code},{pixels},{usage}" for code, usage in ((0, "Training"), (6, "PublicTest"), (5, "PrivateTest"))]
    lines[2] = f"5,{' '.join(['0'] * 2304)},PrivateTest"
    (root / "fer2013.csv").write_text("\n".join(["emotion,pixels,Usage", *lines[:rows]]) + "\n")
    (root / "fer2013new.csv").write_text(
        "Usage,Image name,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF\n"
        "Training,fer0000000.png,1,0,0,1,2,0,0,6,0,0\nPublicTest,fer0000001.png,5,5,0,0,0,0,0,0,0,0\n"
        "PrivateTest,,0,0,0,0,0,0,0,0,0,10\n")  # fmt: skip


def test_fer2013_and_the_votes_of_ferplus(tmp_path):
    fer(tmp_path)
    m = read("fer2013", tmp_path)
    assert m.table["emotion"].tolist() == ["anger", "neutral", "surprise"]
    assert m.table["path"].tolist()[1] == "fer2013.csv#1" and m.table["note"].iloc[2] == "all black"
    plus = read("fer2013", tmp_path, options={"labels": "ferplus"})
    assert plus.table["emotion"].tolist() == ["contempt"]
    assert plus.reports[0].dropped == {"FER+: no majority": ["3"], "FER+: majority says no face": ["4"]}
    fer(tmp_path, rows=2)
    with pytest.raises(DataError, match="same rows in the same order"):
        read("fer2013", tmp_path, options={"labels": "ferplus"})


def test_fer2013_with_a_short_row(tmp_path):
    (tmp_path / "fer2013.csv").write_text("emotion,pixels,Usage\n0,1 2 3,Training\n")
    with pytest.raises(DataError, match=r"fer2013.csv, row 2, column 'pixels': 3 values, 2304"):
        read("fer2013", tmp_path)


def test_majority_rule():
    assert majority([6, 0, 0, 0, 4, 0, 0, 0, 0, 0]) == ("neutral", None)
    assert majority([0, 0, 0, 0, 0, 0, 0, 0, 10, 0])[1] == "FER+: majority says unknown"


def test_crema_d(tmp_path):
    (tmp_path / "VideoFlash").mkdir()
    for name in ("1001_DFA_ANG_XX.flv", "1001_IEO_HAP_HI.flv"):
        video(tmp_path / "VideoFlash" / name)
    m = read("crema_d", tmp_path)
    assert m.table["offset"].tolist() == [6, 6] and m.reports[0].notes
    assert m.table["emotion"].tolist() == ["anger", "happiness"] and set(m.table["subject"]) == {"1001"}


def test_generic_table(tmp_path):
    frames(tmp_path / "a", ["f1.png", "f2.png", "f3.png"])
    table = tmp_path / "clips.csv"
    table.write_text(
        "id;subject;path;onset;apex;offset;emotion;aus;fps\nc1;p1;a;1;2;3;Happy;6+L12;30\n", encoding="utf-8-sig"
    )
    m = read("csv", tmp_path)
    assert m.table.loc["csv/p1/c1", ["onset", "apex", "offset"]].tolist() == [1, 2, 3]
    assert m.table["emotion"].iloc[0] == "happiness" and m.table["aus"].iloc[0] == "6+L12"
    table.write_text("id;subject;path;onset;apex;offset\nc1;p1;a;1;2;9\nc2;p1;b;1;2;3\n")
    with pytest.raises(DataError, match=r"(?s)row 3, column 'path': b is not below.*offset is frame 9, but a holds"):
        read("csv", tmp_path)


@pytest.mark.parametrize("name", [n for n, r in readers().items() if r.family != "generic"])
def test_an_empty_root_names_the_layout_or_the_sheet(name, tmp_path):
    with pytest.raises(DataError, match=str(tmp_path.name)):
        if not len(read(name, tmp_path)):
            raise DataError(f"{tmp_path}: nothing read")
