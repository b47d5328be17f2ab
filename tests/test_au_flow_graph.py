"""AUFlowGraph: what its design promises, on maps in which the motion is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

import zoo
from zoo.data.megc2019 import read_megc2019
from zoo.errors import ZooError
from zoo.facs import regions
from zoo.inputs import prepare_maps
from zoo.synthesis.maps import OUTSIDE, synthetic_maps
from zoo.train.baselines import run_baseline
from zoo.train.pretrain import fit_units, pretrain, unit_scores
from zoo.types import CROPS, MEGC_CLASSES, InputSpec

MIRROR = torch.tensor([-1.0, 1.0, 1.0])[:, None, None]


@pytest.fixture(autouse=True)
def one_thread():
    """Small steps lose more to two threads than they gain."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def net(**options):
    torch.manual_seed(0)
    return zoo.create_model("au_flow_graph", **options).eval()


@pytest.fixture(scope="module")
def maps():
    return synthetic_maps(240, aus=net().aus, seed=3)


@pytest.mark.parametrize("edges", ["none", "prior", "learned", "both"])
def test_a_mirrored_face_gives_the_same_logits_and_swaps_the_sides(edges):
    model, x = net(edges=edges), torch.randn(3, 3, 28, 28)
    logits, seen = model.forward_all(x)
    mirrored, swapped = model.forward_all(x.flip(-1) * MIRROR)
    assert torch.allclose(logits, mirrored, atol=1e-5)
    other = [n[:-1] + {"L": "R", "R": "L"}[n[-1]] if n[-1] in "LR" else n for n in model.node_names]
    assert torch.allclose(seen.nodes, swapped.nodes[:, [model.node_names.index(n) for n in other]], atol=1e-5)


def test_a_node_reads_its_region_and_nothing_else():
    model = net(edges="none", grid=0, views=1)
    left, top, right, bottom = CROPS["megc2019"]
    for name, box in (
        ("AU12R", regions.boxes(12)["right"]),
        ("AU2L", regions.boxes(2)["left"]),
        ("AU17", regions.boxes(17)["both"]),
    ):
        x0, x1 = ((v - left) / (right - left) * 28 for v in (box[0], box[2]))
        y0, y1 = ((v - top) / (bottom - top) * 28 for v in (box[1], box[3]))
        inside = torch.zeros(28, 28, dtype=torch.bool)
        inside[int(np.floor(y0)) : int(np.ceil(y1)), int(max(np.floor(x0), 0)) : int(np.ceil(x1))] = True
        x = torch.randn(1, 3, 28, 28)
        node = model.node_names.index(name)
        at_home = model.forward_graph(x).nodes[:, node]
        elsewhere = model.forward_graph(torch.where(inside, x, torch.randn(3, 28, 28))).nodes[:, node]
        within = model.forward_graph(torch.where(inside, torch.randn(3, 28, 28), x)).nodes[:, node]
        if name == "AU17":  # the midline's node is read in the mirror, too: its box is symmetric
            assert box[0] == pytest.approx(1 - box[2])
        assert torch.allclose(at_home, elsewhere, atol=1e-5) and not torch.allclose(at_home, within, atol=1e-2), name


def test_edges_sum_to_one_and_follow_the_prior():
    model = net(edges="prior")
    edges = model.adjacency()
    names = model.node_names
    assert edges.shape == (23, 23) and torch.allclose(edges.sum(1), torch.ones(23))
    one = edges[names.index("AU1R")]
    assert one[names.index("AU2R")] > 5 * one[names.index("AU12R")]  # AU1 comes with AU2, and not with AU12
    assert edges[names.index("AU1R"), names.index("AU2L")] == edges[names.index("AU1L"), names.index("AU2R")]
    assert torch.equal(net(edges="none").adjacency(), torch.eye(23))
    assert torch.allclose(net(edges="learned").adjacency(), torch.full((23, 23), 1 / 23))


def test_views_are_averaged_when_tested_and_not_in_training():
    model, x = net(views=5), torch.randn(2, 3, 28, 28)
    single = net(views=1)
    single.load_state_dict(model.state_dict())
    padded = F.pad(x, (1, 1, 1, 1), mode="replicate")
    moved = [padded[..., t : t + 28, s : s + 28] for t, s in ((1, 1), (0, 1), (2, 1), (1, 0), (1, 2))]
    assert torch.allclose(model(x), torch.stack([single(m) for m in moved]).mean(0), atol=1e-5)
    torch.manual_seed(1)
    a = model.train()(x)
    torch.manual_seed(1)
    assert torch.allclose(a, single.train()(x))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"edges": "all"}, "none, prior, learned, both"),
        ({"views": 2}, "1, or 5"),
        ({"aus": "nobody"}, "no set of action units"),
        ({"input_spec": InputSpec(channels=("u", "v"))}, "u, v, strain"),
    ],
)
def test_what_it_cannot_be_built_with_is_said(options, words):
    with pytest.raises(ZooError, match=words):
        net(**options)


def test_robust_scaling_does_not_mind_an_outlier():
    rng = np.random.default_rng(0)
    quiet = rng.integers(100, 140, (1, 3, 28, 28)).astype(np.uint8)
    loud = quiet.copy()
    loud[0, :, 0, 0] = 255
    robust, median = InputSpec(scaling="robust"), InputSpec(scaling="median")
    a, b = prepare_maps(quiet, robust), prepare_maps(loud, robust)
    assert np.abs(a).max() <= 2 and np.abs(np.delete((a - b).reshape(3, -1), 0, 1)).max() < 0.1
    assert abs(float(np.median(a[0, 0]))) < 0.1 and a[0, 2].min() > 0  # strain keeps its 0
    assert prepare_maps(loud, median).max() > 2 * prepare_maps(quiet, median).max()


def test_robust_scaling_lifts_the_support_vector_machine_on_real_maps(megc_real):
    data = read_megc2019(megc_real)
    plain, robust = (run_baseline(name, data)["metrics"]["full"]["uf1"]["mean"] for name in ("svm", "svm_robust"))
    assert plain == pytest.approx(0.747, abs=0.01) and robust == pytest.approx(0.766, abs=0.01)


def test_synthetic_maps_are_balanced_reproducible_and_of_the_published_kind(maps):
    data, units = maps
    again, _ = synthetic_maps(12, aus=net().aus, seed=3)
    assert np.array_equal(again.maps, data.maps[:12])
    assert np.bincount(data.labels).tolist() == [80, 80, 80] and data.classes == MEGC_CLASSES
    assert (data.maps.min((2, 3)) == 0).all() and (data.maps.max((2, 3)) == 255).all()  # stretched per channel
    assert units.shape == (240, 12) and set(np.unique(units)) == {0.0, 1.0}
    assert not {"casme2", "casme2_2014", "samm", "smic"} & set(OUTSIDE)
    smiles = data.maps[(units[:, 8] == 1) & (data.labels == 1)].astype(float)  # AU12 pulls the corners of the mouth up
    mouth, brow = smiles[:, 1, 17:22, 4:9].mean(), smiles[:, 1, 3:8, 4:9].mean()
    assert mouth < brow - 20


def test_it_learns_synthetic_maps_and_its_units_without_touching_the_classes(maps):
    data, units = maps
    model = net(dropout=0.2, input_dropout=0.0)
    pretrain(model, data, units, epochs=25, lr=5e-3)
    other, shown = synthetic_maps(90, aus=model.aus, seed=8)
    x = torch.from_numpy(prepare_maps(other.maps, model.input_spec))
    assert float((model(x).argmax(1).numpy() == other.labels).mean()) > 0.6  # chance is a third
    assert unit_scores(model, other, shown)["mean"]["auc"] > 0.75
    before = model(x)
    with torch.no_grad():
        model.au_weight.zero_()
    fit_units(model, [model.au_weight, model.au_bias], data, units, epochs=10)
    assert torch.equal(before, model(x))
    assert unit_scores(model, other, shown)["mean"]["auc"] > 0.75


def test_shuffled_labels_teach_nothing(maps):
    data, units = maps
    rng = np.random.default_rng(0)
    data.labels[:] = rng.permutation(data.labels)
    model = net()
    pretrain(model, data, units[rng.permutation(len(units))], epochs=5)
    other, _ = synthetic_maps(90, aus=model.aus, seed=8)
    x = torch.from_numpy(prepare_maps(other.maps, model.input_spec))
    assert float((model(x).argmax(1).numpy() == other.labels).mean()) < 0.55
