"""Every set of macro-expressions from its release's layout to a trained network, through the real commands."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
from fakes import fer

from zoo.cli import main
from zoo.vision.video import write_video

ANGER, HAPPY, SURPRISE = 0, 3, 5


def face(name: str, rng: np.random.Generator) -> np.ndarray:
    return fer.cartoon(fer.NAMES.index(name), rng)


def put(path, picture) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), picture)


def course(name: str, rng: np.random.Generator, *, back: bool = False) -> list[np.ndarray]:
    """From neutral to the expression, and back again if wanted; five frames."""
    rest, apex = (face(n, rng).astype(np.float32) for n in ("neutral", name))
    levels = (0, 0.5, 1, 0.5, 0) if back else (0, 0.25, 0.5, 0.75, 1)
    return [np.repeat((rest + (apex - rest) * level).astype(np.uint8)[..., None], 3, -1) for level in levels]


def ferplus(root, rng):
    fer.write(root / "fer2013.csv", share=0.0001)
    votes = {
        n: i
        for i, n in enumerate(("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt"))
    }
    lines = ["Usage,Image name,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF"]
    for row, line in enumerate((root / "fer2013.csv").read_text().splitlines()[1:]):
        ten = [0] * 10
        name = "contempt" if row in (3, 17, 31) else fer.NAMES[int(line[0])]
        ten[votes[name]] = 10
        lines.append(f"{line.rpartition(',')[2]},fer{row:07d}.png,{','.join(map(str, ten))}")
    (root / "fer2013new.csv").write_text("\n".join(lines) + "\n")


def rafdb(root, rng):
    lines = []
    for part in ("train", "test"):
        for i in range(14):
            name = ("surprise", "fear", "disgust", "happiness", "sadness", "anger", "neutral")[i % 7]
            put(root / "basic" / "Image" / "aligned" / f"{part}_{i:05d}_aligned.jpg", face(name, rng))
            lines.append(f"{part}_{i:05d}.jpg {i % 7 + 1}")
    (root / "basic" / "EmoLabel").mkdir(parents=True)
    (root / "basic" / "EmoLabel" / "list_patition_label.txt").write_text("\n".join(lines) + "\n")


def affectnet(root, rng):
    for name, part, count in (("training.csv", "a", 16), ("validation.csv", "b", 8)):
        lines = ["subDirectory_filePath,face_x,expression,valence,arousal"]
        for i in range(count):
            label = ("neutral", "happiness", "sadness", "surprise", "fear", "disgust", "anger", "neutral")[i % 8]
            put(root / "Manually_Annotated_Images" / part / f"{i}.jpg", face(label, rng))
            lines.append(f"{part}/{i}.jpg,1,{i % 8},0,0")  # code 7 is contempt, which seven classes leave out
        (root / name).write_text("\n".join(lines) + "\n")


def bu3dfe(root, rng):
    codes = {
        "AN": "anger",
        "DI": "disgust",
        "FE": "fear",
        "HA": "happiness",
        "NE": "neutral",
        "SA": "sadness",
        "SU": "surprise",
    }
    for person in ("F0001", "M0002", "M0003"):
        for code, name in codes.items():
            put(root / person / f"{person}_{code}0{0 if code == 'NE' else 4}WH_F2D.bmp", face(name, rng))


def jaffe(root, rng):
    for k, person in enumerate(("KA", "YM", "NA")):
        for e, (code, name) in enumerate((("AN", "anger"), ("HA", "happiness"), ("SU", "surprise"), ("NE", "neutral"))):
            put(root / f"{person}.{code}1.{9 * k + e}.tiff", face(name, rng))


def ckplus(root, rng):
    for person in ("S005", "S010", "S011"):
        for take, (code, name) in enumerate(((1, "anger"), (5, "happiness"), (7, "surprise"), (None, "neutral")), 1):
            where = f"{person}_{take:03d}"
            for n, picture in enumerate(course(name, rng), 1):
                put(root / "cohn-kanade-images" / person / f"{take:03d}" / f"{where}_{n:08d}.png", picture)
            if code is not None:
                label = root / "Emotion" / person / f"{take:03d}" / f"{where}_00000005_emotion.txt"
                label.parent.mkdir(parents=True)
                label.write_text(f"   {code}.0000000e+00\n")


def oulu_casia(root, rng):
    for person in ("P001", "P002", "P003"):
        for name in ("Anger", "Happiness", "Surprise"):
            for n, picture in enumerate(course(name.lower(), rng)):
                put(root / "VL_Acropped" / "Strong" / person / name / f"{n:03d}.jpeg", picture)


def mmi(root, rng):
    for person in (1, 2, 3):
        for code, name in ((1, "anger"), (4, "happiness"), (6, "surprise"), (None, "neutral")):
            folder = root / "Sessions" / f"{10 * person + (code or 0)}"
            folder.mkdir(parents=True)
            write_video(folder / f"S{person:03d}-{code or 0:03d}.avi", course(name, rng, back=True), fps=25)
            if code:
                (folder / "session.xml").write_text(f'<session><track Expression="{code}"/></session>')


def crema_d(root, rng):
    (root / "VideoFlash").mkdir()
    for person in (1001, 1002, 1003):
        for code, name in (("ANG", "anger"), ("HAP", "happiness"), ("NEU", "neutral")):
            write_video(root / "VideoFlash" / f"{person}_DFA_{code}_XX.mp4", course(name, rng, back=True), fps=30)


def mug(root, rng):
    for person in ("001", "002", "003"):
        for name in ("anger", "happiness", "surprise"):
            for n, picture in enumerate(course(name, rng, back=True)):
                put(root / person / name / "take000" / f"img_{n:04d}.jpg", picture)


# set, fake, options of the reader, recipe and flags, fold, lines that the training prints
OWN = ("resnet_apex_manifest", "--data.protocol", "own_3")
CASES = [
    ("fer2013", ferplus, ("--option", "labels=ferplus"), ("resnet18_ferplus",), "test", ("ferplus, official: 42 clips", "contempt 3")),
    ("rafdb", rafdb, (), ("resnet18_rafdb",), "test", ("anger 4, disgust 4, fear 4", "trains on 14, holds out 14 (test)")),
    ("affectnet", affectnet, (), ("resnet18_rafdb", "--data.protocol", "affectnet_7"), "val",
     ("3 clips left out: affectnet: contempt has no class in basic7", "trains on 14, holds out 7 (val)")),
    ("bu3dfe", bu3dfe, (), ("resnet_apex_manifest", "--data.protocol", "own_basic7"), "bu3dfe/F0001",
     ("anger 3, disgust 3", "trains on 14, holds out 7 (bu3dfe/F0001)")),
    ("jaffe", jaffe, (), OWN, "jaffe/KA", ("negative 3, positive 3, surprise 3", "3 clips left out: jaffe: neutral has no class in three")),
    ("ckplus", ckplus, (), OWN, "ckplus/S005", ("negative 3, positive 3, surprise 3", "3 clips left out: no emotion coded")),
    ("oulu_casia", oulu_casia, (), OWN, "oulu_casia/P001", ("negative 3, positive 3, surprise 3",)),
    ("mug", mug, (), (*OWN, "--data.apex", "midpoint"), "mug/001", ("9 apexes are estimated, not coded",)),
    ("mmi", mmi, (), (*OWN, "--data.apex", "midpoint"), "mmi/S001",
     ("9 apexes are estimated, not coded", "3 clips left out: no emotion coded")),
    ("crema_d", crema_d, (), ("resnet_apex_manifest", "--data.protocol", "own_basic7", "--data.apex", "midpoint", "--model.class_balance", "0"),
     "crema_d/1001", ("9 apexes are estimated, not coded", "neutral 3")),
]  # fmt: skip


@pytest.mark.parametrize(("name", "fake", "options", "recipe", "fold", "lines"), CASES, ids=[c[0] for c in CASES])
def test_from_the_release_to_a_score(name, fake, options, recipe, fold, lines, tmp_path, capsys):
    root, manifest = tmp_path / "release", tmp_path / f"{name}.parquet"
    root.mkdir()
    fake(root, np.random.default_rng(0))
    assert main(["data", "build", name, "--root", str(root), "--out", str(manifest), *options]) == 0, (
        capsys.readouterr().err
    )
    classes = {"resnet18_ferplus": 8}.get(recipe[0], 3 if "own_3" in recipe else 7)
    flags = ["--data.manifest", str(manifest), "--data.frames", str(root), "--data.cache", str(tmp_path / "cache"), "--data.faces",
             "cropped", "--data.fold", fold, "--data.batch_size", "6", "--model.input.size", "32", "--model.input.map_size", "32",
             "--model.arch_args", f"{{num_classes: {classes}, backbone: test_resnet}}", "--trainer.max_epochs", "1",
             "--trainer.accelerator", "cpu", "--out", str(tmp_path / "run")]  # fmt: skip
    asked = ["train", "--config", *recipe, *flags]
    assert main(asked) == 0, capsys.readouterr().err
    said = capsys.readouterr().err
    assert all(line in said for line in lines), said
    run = json.loads((tmp_path / "run" / "run.json").read_text())
    assert run["fold"] == fold and 0 <= run["test"]["test/accuracy"] <= 1
    if "midpoint" in recipe:
        assert main([flag for flag in asked if flag not in ("--data.apex", "midpoint")]) == 2
        assert "Choose a policy: midpoint or drop" in capsys.readouterr().err


def test_the_middle_of_a_video_is_what_is_learnt(tmp_path):
    from zoo.data.source import Source
    from zoo.types import InputSpec

    mmi(tmp_path, np.random.default_rng(0))
    assert main(["data", "build", "mmi", "--root", str(tmp_path), "--out", str(tmp_path / "mmi.parquet")]) == 0
    spec = InputSpec(modality="apex", channels=("grey",), size=48, map_size=48, scaling="raw255", crop="face")
    options = {"manifest": str(tmp_path / "mmi.parquet"), "frames": str(tmp_path), "protocol": "own_3", "faces": "cropped",
               "cache": str(tmp_path / "cache")}  # fmt: skip
    middle = Source(**options, apex="midpoint").load(spec)
    assert middle.keys[0] == "mmi/S001/11"
    rng = np.random.default_rng(0)
    wanted = cv2.cvtColor(course("anger", rng, back=True)[2], cv2.COLOR_RGB2GRAY)
    assert np.abs(middle.planes([0])[0, 0].astype(int) - wanted).mean() < 3, "but for the compression of the video"
    flow = InputSpec(size=28, map_size=28, normalisation="minmax_255", crop="face", flow="farneback")
    assert Source(**options, apex="midpoint").load(flow).maps.shape == (9, 3, 28, 28)
