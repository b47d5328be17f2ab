"""Where nodes go, what is drawn, and the command ``zoo graph``."""

from __future__ import annotations

import csv

import numpy as np
import pytest
import torch

from zoo.cli import main
from zoo.data.manifest import Manifest
from zoo.errors import ZooError
from zoo.facs import emotions, geometry, regions
from zoo.graph import draw, interactive, layout

NAMES = [f"AU{n}" for n in emotions.AU_SETS["cross12"]]


def test_nodes_lie_in_their_boxes_and_apart():
    places = layout.place_nodes(NAMES)
    for name, (x, y) in zip(NAMES, places, strict=True):
        boxes = regions.boxes(int(name[2:])).values()
        assert any(b[0] - 0.05 <= x <= b[2] + 0.05 and b[1] - 0.05 <= y <= b[3] + 0.05 for b in boxes), name
    distance = np.linalg.norm(places[:, None] - places[None], axis=-1) + np.eye(len(places))
    assert distance.min() >= layout.NEAR - 5e-3
    assert 4 <= (places[:, 0] > 0.5).sum() <= 8  # both halves are used


def test_sides_are_the_subjects_own_and_mirror():
    (ax, ay), (bx, by) = layout.place_nodes(["AU12L", "AU12R"])
    assert ax > 0.5 > bx and ax + bx == pytest.approx(1, abs=2e-3) and ay == by


def test_landmark_nodes_stay_and_strangers_stand_around():
    places = layout.place_nodes(["48", "60", "happy", "sad"])
    np.testing.assert_allclose(places[:2], geometry.landmarks()[[48, 60]])
    assert (np.linalg.norm(places[2:] - 0.5, axis=1) > 0.45).all()
    with pytest.raises(ZooError, match="names of their own"):
        layout.place_nodes(["AU1", "AU1"])


def test_places_follow_the_landmarks_of_a_face():
    moved = layout.place_nodes(NAMES, geometry.landmarks() * 0.5 + [0.2, 0.1])
    np.testing.assert_allclose(moved, layout.place_nodes(NAMES) * 0.5 + [0.2, 0.1], atol=1e-9)


def test_a_face_is_drawn_through_its_landmarks():
    parts = {s.part: s.points for s in layout.strokes()}
    for part, index in {"head": 8, "lips": 48, "mouth": 48}.items():
        near = np.linalg.norm(parts[part] - geometry.landmarks()[index], axis=1).min()
        assert near < 0.03, part
    assert all(np.isfinite(s.points).all() for s in layout.strokes(geometry.landmarks() + 0.05))


ADJACENCY = np.array([[1, 0.5, 0, -0.4], [0.5, 1, 0.3, 0], [0, 0, 1, 0], [0, 0, 0.1, 0]])


def test_edges_by_hand():
    edges, total = draw.edges_of(ADJACENCY)
    assert total == 4  # 0-1 stands for two equal ones; loops are none
    assert [(e.source, e.target, e.weight, e.mutual) for e in edges] == [
        (0, 1, 0.5, True), (3, 0, -0.4, False), (2, 1, 0.3, False), (2, 3, 0.1, False)]  # fmt: skip
    few, total = draw.edges_of(torch.tensor(ADJACENCY), most=2, least=0.35)
    assert (len(few), total) == (2, 4)
    assert "heaviest 2 of 4" in draw.caption(few, total, 0.5) and draw.caption([], 0, 1.0) == "no edges"
    with pytest.raises(ZooError, match="square"):
        draw.edges_of(np.ones((2, 3)))
    with pytest.raises(ZooError, match="finite"):
        draw.edges_of(np.full((2, 2), np.nan))


def test_the_picture_shows_direction_weight_and_sign():
    from matplotlib.patches import FancyArrowPatch

    names = ["AU1", "AU2", "AU12", "AU17"]
    ax = draw.draw_graph(ADJACENCY, names, values=[0.1, 0.9, 0.5, 0.0], title="t")
    arrows = {round(p.get_linewidth(), 3): p for p in ax.patches if isinstance(p, FancyArrowPatch)}
    assert len(arrows) == 4
    widths = sorted(arrows, reverse=True)
    assert type(arrows[widths[0]].get_arrowstyle()).__name__ == "Curve"  # both ways: no head
    assert [type(arrows[w].get_arrowstyle()).__name__ for w in widths[1:]] == ["CurveFilledB"] * 3  # head at the taker
    assert arrows[widths[1]].get_linestyle() != "-" and arrows[widths[2]].get_linestyle() == "-"  # negative is dashed
    texts = [t.get_text() for t in ax.texts]
    assert {"1", "2", "12", "17", "0.90", "t"} <= set(texts) and any("all 4 edges" in t for t in texts)
    with pytest.raises(ZooError, match="4 nodes, 3 names"):
        draw.draw_graph(ADJACENCY, names[:3])
    with pytest.raises(ZooError, match="not finite"):
        draw.draw_graph(ADJACENCY, names, values=[np.nan] * 4)


def test_the_page_needs_no_network_and_tells_what_takes_from_whom():
    page = interactive.graph_page(
        ADJACENCY, ["AU1", "AU2", "AU12", "AU17"], title="t", face=np.zeros((8, 8, 3), np.uint8)
    )
    assert "AU1 takes -0.4 from AU17" in page and "AU1 and AU2: 0.5 both ways" in page
    assert "lip corner puller" in page and "data:image/png;base64," in page and 'src="http' not in page
    figure = interactive.graph_plot(ADJACENCY, ["AU1", "AU2", "AU12", "AU17"])
    last = figure.layout.sliders[0].steps[-1].args[0]["visible"]
    assert sum(last[-5:-1]) == 1 and last[-1]  # at the highest threshold one edge is left, and the nodes


def manifest(path):
    codes = {"s1": ["1+2", "1+2", "4"], "s2": ["12", "L12+6", "4+7"], "s3": ["1", None, "14"]}
    rows = [
        {"id": f"{s}_{k}", "dataset": "samm", "subject": s, "clip": f"{s}_{k}", "kind": "micro", "aus": code,
         "emotion": ("surprise", "happiness", "anger")[k]}
        for s, cells in codes.items() for k, code in enumerate(cells)
    ]  # fmt: skip
    Manifest.from_rows(rows).write(path)
    return path


def read(path):
    with path.open() as file:
        rows = list(csv.reader(file))
    return rows[0][1:], np.array([[float(c) for c in row[1:]] for row in rows[1:]])


def test_command_counts_a_manifest_and_a_fold(tmp_path, capsys):
    path = manifest(tmp_path / "clips.parquet")
    arguments = ["graph", "cooccurrence", str(path), "--aus", "1,2,12", "--probabilities", "--out", str(tmp_path)]
    assert main(arguments) == 0
    names, table = read(tmp_path / "cooccurrence.csv")
    # AU1 in 3 clips, in 2 of them with AU2; [AU2, AU1] = P(AU2 | AU1) = 2/3, [AU1, AU2] = 1
    assert names == ["AU1", "AU2", "AU12"]
    np.testing.assert_allclose(table, [[0, 1, 0], [2 / 3, 0, 0], [0, 0, 0]], atol=1e-5)
    told = capsys.readouterr().out
    assert "8 clips of clips; 1 left out" in told and "AU1 <-  AU2    1.000" in told
    assert (tmp_path / "cooccurrence.png").stat().st_size > 20_000 and (tmp_path / "cooccurrence.html").exists()
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")]
    assert main([*arguments, "--signed"]) == 0
    assert read(tmp_path / "signed.csv")[1].tolist() == [[0, 1, -1], [1, 0, -1], [-1, -1, 0]]
    assert "apart" in capsys.readouterr().out
    assert main([*arguments, "--protocol", "samm_3", "--fold", "samm/s1"]) == 0
    assert "without samm/s1" in (told := capsys.readouterr().out) and "5 clips" in told
    assert read(tmp_path / "cooccurrence.csv")[1].max() == 0  # the pair was that subject's alone


def test_command_draws_what_a_network_gets_unless_told_otherwise(tmp_path):
    from zoo.graph import adjacency

    assert (
        main(["graph", "prior", "--source", "casme2", "--aus", "me16", "--min-joint", "1", "--out", str(tmp_path)]) == 0
    )
    expected = adjacency.prior(emotions.AU_SETS["me16"], "casme2", min_joint=1)
    np.testing.assert_allclose(read(tmp_path / "prior_casme2.csv")[1], expected, atol=1e-5)
    assert main(["graph", "full", "--aus", "1,2,4", "--out", str(tmp_path)]) == 0
    np.testing.assert_allclose(read(tmp_path / "full.csv")[1], np.full((3, 3), 1 / 3), atol=1e-5)


@pytest.fixture
def weights(tmp_path):
    """A network whose graph the samples share, and one whose graph they do not, as checkpoint folders."""
    from zoo.registry import create_model
    from zoo.weights import save

    for name in ("au_flow_graph", "me_graphau"):
        torch.manual_seed(0)
        save(create_model(name, num_classes=3), tmp_path / name, classes=("a", "b", "c"), card="# x\n", record={})
    return tmp_path


def test_command_draws_what_a_network_has_learned_and_what_it_sees(weights, monkeypatch, capsys):
    import zoo.predictor
    from zoo.weights import load

    shared = f"local-dir:{weights / 'au_flow_graph'}"
    assert main(["graph", "model", shared, "--out", str(weights / "out")]) == 0
    model = load(shared)
    x = torch.rand(1, *model.input_spec.shape)
    with torch.inference_mode():
        truth = model.forward_graph(x)
    (table,) = (weights / "out").glob("*.csv")
    names, drawn = read(table)
    assert tuple(names) == model.node_names
    np.testing.assert_allclose(drawn, truth.adjacency.reshape(-1, len(names), len(names))[0], atol=1e-5)
    capsys.readouterr()

    class Seen:  # what the predictor returns, as far as the command reads it
        source, synthetic, apex_face = "clip.mp4", False, np.zeros((32, 32, 3), np.uint8)

        class prediction:
            label, probabilities = "a", (0.5, 0.3, 0.2)

    def predict(path, *, model, onset, apex, fps):
        with torch.inference_mode():
            model(x)
        return Seen

    monkeypatch.setattr(zoo.predictor, "predict", predict)
    apart = f"local-dir:{weights / 'me_graphau'}"
    assert main(["graph", "model", apart, "--out", str(weights / "o2")]) == 2
    assert "zoo graph sample" in capsys.readouterr().err
    x = torch.rand(1, *load(apart).input_spec.shape)
    assert main(["graph", "sample", apart, "clip.mp4", "--out", str(weights / "o3")]) == 0
    assert "clip.mp4: a 0.50" in capsys.readouterr().out
    (table,) = (weights / "o3").glob("*_clip.csv")
    with torch.inference_mode():
        truth = load(apart).forward_graph(x)
    np.testing.assert_allclose(read(table)[1], truth.adjacency[0], atol=1e-5)


@pytest.mark.parametrize(("arguments", "words"), [
    (["cooccurrence", "nothing.parquet"], "nothing.parquet"), (["prior", "--source", "casme9"], "casme"),
    (["knn", "--k", "40"], "1 to 11"), (["full", "--aus", "cross13"], "cross12"), (["model", "ststnet.megc2019"], "no graph"),
    (["full", "--face", "no.png"], "aligned face"), (["model", "nobody.knows"], "nobody"),
])  # fmt: skip
def test_command_refuses_with_a_reason(tmp_path, monkeypatch, capsys, arguments, words):
    monkeypatch.chdir(tmp_path)
    assert main(["graph", *arguments]) == 2
    error = capsys.readouterr().err
    assert words in error and "Traceback" not in error and not list(tmp_path.iterdir())
