"""``zoo synth``: files in a real data set's layout, truth beside them, the same bytes by seed, nothing half-written."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from zoo.cli import main
from zoo.data.readers import read
from zoo.errors import ZooError
from zoo.synthesis.dataset import Settings, write_dataset
from zoo.synthesis.portraits import Portrait, astronaut


def people(count: int) -> list[Portrait]:
    base = astronaut()
    return [Portrait(name=f"p{k}", picture=np.roll(base.picture, k, 2), landmarks=base.landmarks) for k in range(count)]


def digests(root: Path) -> dict[str, str]:
    return {
        str(p.relative_to(root)): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(root.rglob("*"))
        if p.is_file()
    }


SMALL = {"size": 64, "fps": 100.0, "clips": 3}


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("synth") / "two"
    write_dataset(Settings(subjects=2, **SMALL), people(2), out)
    return out


def test_the_reader_reads_what_was_written(written):
    manifest = read("casme2", written)
    assert len(manifest) == 6 and not manifest.reports[0].dropped and not manifest.reports[0].repaired
    truths = [json.loads(p.read_text()) for p in sorted((written / "truth").glob("*.json"))]
    table = manifest.table.sort_values(["subject", "clip"])
    for row, truth in zip(table.to_dict("records"), truths, strict=True):
        (event,) = truth["events"]
        assert truth["synthetic"] is True and truth["portrait"] == f"p{int(row['subject'][-2:]) - 1}"
        assert [row[k] for k in ("onset", "apex", "offset")] == [event[k] + 1 for k in ("onset", "apex", "offset")]
        assert row["emotion"] == event["emotion"] and row["objective"] == event["objective_class"]
        assert {int("".join(c for c in u if c.isdigit())) for u in row["aus"].split("+")} == {
            m["au"] for m in event["moves"]
        }
        assert row["first_frame"] == 1 and row["last_frame"] == row["frame_count"] == truth["frames"]
        frame = cv2.imread(str(written / row["path"] / f"reg_img{row['apex']}.jpg"))
        assert frame.shape == (64, 64, 3)


def test_the_truth_holds_the_motion(written):
    path = written / "truth" / "001_001.npz"
    truth, event = np.load(path), json.loads(path.with_suffix(".json").read_text())["events"][0]
    assert truth["flow"].shape == truth["expression"].shape == (2, 64, 64)
    assert truth["head"].shape == (event["offset"] and len(truth["gain"]), 3)
    still, moved = truth["landmarks_onset"], truth["landmarks_apex"]
    x, y = still.astype(np.float32).T
    flow = np.stack([cv2.remap(p.astype(np.float32), x, y, cv2.INTER_LINEAR).ravel() for p in truth["flow"]], 1)
    assert np.abs(still + flow - moved).max() < 0.1
    assert {m.split()[0] for m in truth["movements"]} >= {f"AU{m['au']}" for m in event["moves"]}
    assert truth["amplitudes"].shape == (len(truth["movements"]), len(truth["gain"]))


def test_the_same_seed_makes_the_same_bytes(written, tmp_path):
    write_dataset(Settings(subjects=2, **SMALL), people(2), tmp_path / "again", workers=2)
    assert digests(tmp_path / "again") == digests(written)
    write_dataset(Settings(subjects=1, seed=1, **SMALL), people(1), tmp_path / "other")
    frame = "Cropped/sub01/EP01_01f/reg_img5.jpg"
    assert digests(tmp_path / "other")[frame] != digests(written)[frame]


def test_an_interrupted_call_goes_on(written, tmp_path):
    out = tmp_path / "cut"
    seen: list[int] = []

    def stop(done: int, total: int) -> None:
        seen.append(done)
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_dataset(Settings(subjects=2, **SMALL), people(2), out, progress=stop)
    assert not (out / "CASME2-coding-20140508.xlsx").exists()  # the sheet comes last
    kept = out / "Cropped" / "sub01" / "EP01_01f" / "reg_img5.jpg"
    stamp = kept.stat().st_mtime_ns
    half = out / "Cropped" / "sub01" / ".EP01_03f.partial"
    half.mkdir()
    (half / "reg_img1.jpg").write_bytes(b"half")
    write_dataset(Settings(subjects=2, **SMALL), people(2), out)
    assert kept.stat().st_mtime_ns == stamp and digests(out) == digests(written)


def test_another_data_set_is_not_overwritten(written, tmp_path):
    with pytest.raises(ZooError, match="seed"):
        write_dataset(Settings(subjects=2, seed=5, **SMALL), people(2), written)
    with pytest.raises(ZooError, match="portraits"):
        write_dataset(Settings(subjects=2, **SMALL), people(3)[1:], written)
    (tmp_path / "mine").write_text("x")
    with pytest.raises(ZooError, match="not empty"):
        write_dataset(Settings(**SMALL), people(1), tmp_path)
    assert (tmp_path / "mine").read_text() == "x"


@pytest.mark.parametrize(
    ("wrong", "told"),
    [({"layout": "foo"}, "casme_sq"), ({"size": 8}, "32"), ({"fps": 1}, "frames a second"), ({"clips": 0}, "clips"),
     ({"emotions": ("joy",)}, "happiness"), ({"style": "foo"}, "casme2"), ({"subjects": 3}, "2 portraits"),
     ({"style": "casme_sq_macro", "emotions": ("negative", "others")}, "no label negative.*--layout csv"),
     ({"letters": "DF"}, "no intensity F; it has A, B, C, D, E"), ({"letters": "D", "layout": "casme_sq"}, "short clips")],
)  # fmt: skip
def test_wrong_settings_are_told(wrong, told, tmp_path):
    with pytest.raises(ZooError, match=told):
        write_dataset(Settings(**{**SMALL, "emotions": ("fear",), **wrong}), people(2), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_emotions_are_dealt_equally(tmp_path):
    chosen = ("happiness", "surprise", "disgust")
    rows = write_dataset(
        Settings(subjects=2, emotions=chosen, size=32, fps=50.0, clips=3, flow=False), people(2), tmp_path / "out"
    )
    assert sorted(r.emotion for r in rows) == sorted(2 * chosen)
    assert "flow" not in np.load(tmp_path / "out" / "truth" / "001_001.npz").files


def test_a_table_of_clips_takes_the_labels_of_any_style(tmp_path):
    out = tmp_path / "macro"
    command = [
        "synth",
        "--out",
        str(out),
        "--layout",
        "csv",
        "--style",
        "casme_sq_macro",
        "--clips",
        "3",
        "--size",
        "48",
        "--fps",
        "12",
    ]
    assert main([*command, "--emotions", "positive,surprise,negative", "--no-flow", "--intensity", "de"]) == 0
    manifest = read("csv", out)
    table = manifest.table
    assert sorted(table["emotion"]) == ["negative", "positive", "surprise"] and set(table["kind"]) == {"macro"}
    truth = [json.loads(p.read_text()) for p in sorted((out / "truth").glob("*.json"))]
    for (_, row), told in zip(table.sort_values("clip").iterrows(), truth, strict=True):
        event = told["events"][0]
        assert {move["letter"] for move in event["moves"]} <= {"D", "E"}
        assert (row["apex"] - row["onset"], row["emotion"]) == (event["apex"] - event["onset"], event["emotion"])
        assert len(list((out / row["path"]).iterdir())) == told["frames"]
        assert row["aus"], "the units of the clip are read"


def test_long_videos_hold_several_events(tmp_path):
    out = tmp_path / "long"
    assert main(["synth", "--out", str(out), "--clips", "2", "--long", "3", "--size", "48", "--seed", "2"]) == 0
    manifest = read("casme_sq", out)
    assert len(manifest) == 6 and not manifest.reports[0].dropped
    table = manifest.table
    assert set(table["kind"]) == {"micro", "macro"} and table["path"].nunique() == 2
    for _, video in table.groupby("path"):
        rows = video.sort_values("onset")
        assert (rows["onset"].to_numpy()[1:] > rows["offset"].to_numpy()[:-1]).all()
        lengths = (rows["offset"] - rows["onset"]) / 30
        assert (lengths[rows["kind"] == "micro"] < 0.85).all() and (lengths[rows["kind"] == "macro"] > 0.45).all()
    truth = np.load(out / "truth" / "001_001.npz")
    assert {"flow_1", "flow_2", "flow_3"} <= set(truth.files)


def test_the_command_tells_what_is_wrong(tmp_path, capsys):
    for arguments, told in (
        (["--layout", "casme_sq"], "--long"),
        (["--long", "2", "--layout", "casme2"], "short clips"),
        (["--skip", "3"], "fewer"),
        (["--subjects", "2"], "1 portraits"),
        (["--portraits", str(tmp_path / "nowhere")], "not there"),
    ):
        assert main(["synth", "--out", str(tmp_path / "x"), *arguments]) == 2
        error = capsys.readouterr().err
        assert told in error and "Traceback" not in error
    assert not (tmp_path / "x").exists()


def fake_mesh(path: Path) -> Path:
    """A curved sheet with a landmark vertex at each canonical landmark, one identity mode and two shapes."""
    from zoo.facs import geometry

    rows, columns = np.mgrid[-1.1:1.1:30j, -1.0:1.0:30j]
    sheet = np.stack([columns.ravel(), rows.ravel()], 1)
    marks = (geometry.landmarks() - 0.5) * [2, -2]  # up is up on a mesh
    flat = np.concatenate([marks, sheet])
    mean = np.column_stack([flat, 1 - 0.3 * (flat**2).sum(1)]).astype(np.float32)
    from scipy.spatial import Delaunay

    smile = np.zeros((2, *mean.shape), np.float32)
    for side, corner in enumerate((54, 48)):  # _L, _R of the subject
        near = np.exp(-((flat - marks[corner]) ** 2).sum(1) / 0.02)
        smile[side, :, 1] = 0.1 * near
    np.savez(
        path,
        mean=mean,
        faces=Delaunay(flat).simplices.astype(np.uint16),
        identity=(0.05 * np.stack([mean * [1, 0, 0]])).astype(np.float16),
        expression=smile,
        expression_names=np.array(["mouthSmile_L", "mouthSmile_R"]),
        landmarks68=np.arange(68, dtype=np.uint16),
    )
    return path


def test_a_mesh_moves_what_its_shapes_move(tmp_path):
    from zoo.synthesis.fields import FaceFields
    from zoo.synthesis.mesh import MeshFields, MeshModel, fit

    model = MeshModel(fake_mesh(tmp_path / "mesh.npz"))
    portrait = astronaut().framed(160)
    vertices, camera = fit(model, portrait.landmarks)
    missed = vertices[model.landmarks] @ camera[:, :3].T + camera[:, 3] - portrait.landmarks
    assert np.abs(missed[17:]).mean() < 3  # the portrait is no canonical face; half a millimetre on a head
    fields = MeshFields(portrait.landmarks, (160, 160), model)
    left, right = fields.field(12, "left"), fields.field(12, "right")
    assert np.allclose(fields.field(12), left + right, atol=1e-3)
    for field, corner in ((left, 54), (right, 48)):
        x, y = portrait.landmarks[corner].round().astype(int)
        peak = np.unravel_index(np.hypot(*field).argmax(), (160, 160))
        assert np.hypot(peak[1] - x, peak[0] - y) < 8 and field[1, y, x] < -1  # up in the picture
    plate = FaceFields(portrait.landmarks, (160, 160))
    assert np.array_equal(fields.field(4), plate.field(4))  # no shape for it: the table


def test_the_command_plays_a_mesh(tmp_path, capsys):
    mesh = fake_mesh(tmp_path / "mesh.npz")
    arguments = ["synth", "--clips", "1", "--size", "64", "--fps", "50", "--aligned"]
    assert main([*arguments, "--out", str(tmp_path / "a"), "--engine", "ict", "--ict", str(mesh)]) == 0
    made = json.loads((tmp_path / "a" / "synthesis.json").read_text())
    assert made["engine"] == "ict" and made["mesh"] == hashlib.sha256(mesh.read_bytes()).hexdigest()
    for wrong, told in (
        (["--engine", "ict"], "--ict FILE"),
        (["--engine", "ict", "--ict", str(tmp_path / "x")], "not there"),
    ):
        assert main([*arguments, "--out", str(tmp_path / "b"), *wrong]) == 2
        assert told in capsys.readouterr().err
    (tmp_path / "bad.npz").write_bytes(b"x")
    assert main([*arguments, "--out", str(tmp_path / "b"), "--engine", "ict", "--ict", str(tmp_path / "bad.npz")]) == 2
    assert not (tmp_path / "b").exists()


def test_aligned_frames_are_the_canonical_crop():
    from zoo.facs import geometry

    for size in (64, 168, 400):
        aligned = astronaut().aligned(size)
        assert aligned.picture.shape == (size, size, 3)
        eyes = np.stack([aligned.landmarks[36:42].mean(0), aligned.landmarks[42:48].mean(0)])
        assert np.abs((eyes + 0.5) / size - geometry.eye_centres()).max() < 0.02
