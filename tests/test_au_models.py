"""Networks of action units: the papers' numbers, their graphs, and that they learn what can be learnt and nothing else."""

from __future__ import annotations

import copy
import json
import math
from importlib import import_module

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from zoo import create_model
from zoo.errors import UnknownName, ZooError
from zoo.facs import regions, statistics
from zoo.graph import adjacency
from zoo.graph.dynamic import DynamicEdgeConv, neighbour_matrix
from zoo.models._blocks import ResNet3D
from zoo.models._regions import CropSampler, RegionPool, in_crop, unit_points
from zoo.models.au_heatmap import gaussians
from zoo.models.backbone import features
from zoo.models.eac_net import attention_map
from zoo.train.losses import au_loss
from zoo.types import PATCH_POINTS, InputSpec

FRAMES = InputSpec(modality="frames", channels=("u", "v", "strain"), frames=4, size=32)


def square(size: int) -> InputSpec:
    return InputSpec(size=size, map_size=size)


SMALL = {  # every family, small enough to train in a test
    "graph_tcn": {"hidden": 32, "channels": 2, "node_blocks": 2, "relu_logits": False, "au_head": True},
    "fgrmer": {"layers": 1, "encoder_dropout": 0.0, "dropout": 0.3},
    "mer_gcn": {"width": 4, "input_spec": FRAMES},
    "mer_gcn label": {"width": 4, "input_spec": FRAMES, "variant": "label"},
    "au_gacn": {"width": 4, "input_spec": FRAMES},
    "me_graphau": {"node_features": 16, "input_spec": square(20)},
    "me_graphau similarity": {"node_features": 16, "stage": "similarity", "k": 2, "input_spec": square(20)},
    "srerl": {"node_features": 32, "input_spec": square(20)},
    "au_rgcn": {"latent": 30, "input_spec": square(32)},
    "eac_net": {"width": 4, "hidden": 32, "cell_features": 8, "input_spec": square(48)},
    "eac_net enhance": {"width": 4, "hidden": 32, "crops": False, "input_spec": square(64)},
    "au_heatmap": {"channels": [16, 8, 8], "input_spec": square(32)},
}
STEPS = {"graph_tcn": 80, "me_graphau": 20, "me_graphau similarity": 20, "srerl": 20, "au_rgcn": 20}  # the others 40
COUNTED = [
    "fgrmer",
    "mer_gcn",
    "mer_gcn label",
    "au_gacn",
    "srerl",
    "au_rgcn",
]  # their edges come from the training labels


def build(name: str, **changes):
    import_module(
        f"zoo.models.{name.split()[0]}"
    )  # before the seed: what an import draws must not decide how a model starts
    torch.manual_seed(0)
    return create_model(name.split()[0], **{"num_classes": 3, "aus": [1, 4, 12], **SMALL[name], **changes})


def parameters(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def noise(model, clips: int = 4, seed: int = 1) -> torch.Tensor:
    return torch.randn(clips, *model.input_spec.shape, generator=torch.Generator().manual_seed(seed))


# --- the papers' numbers --------------------------------------------------------------------------------------------


def test_counts_of_the_papers():
    tcn = create_model("graph_tcn")
    assert (tcn.num_classes, parameters(tcn)) == (5, 17_601_661)
    assert parameters(tcn.node_path) + parameters(tcn.edge_path) == 35_950
    assert parameters(tcn.hidden) == 17_562_112
    fgrmer = create_model("fgrmer")
    assert (fgrmer.num_classes, parameters(fgrmer)) == (3, 1_046_669)
    assert sum(p.numel() for p in fgrmer.parameters() if not p.requires_grad) == 81, "the edges, which nothing trains"
    assert parameters(ResNet3D(3)) == 3_598_944
    label = create_model("mer_gcn", variant="label")
    assert parameters(label.gcn1) + parameters(label.gcn2) == 33_920
    assert parameters(create_model("srerl").together) == 591_360


def test_shapes_at_the_papers_sizes():
    with torch.device("meta"):
        eac = create_model(
            "eac_net", aus="bp4d12", width=64, cell_features=150, hidden=2048,
            input_spec=InputSpec(size=224, map_size=224),
        )  # fmt: skip
        assert eac.crop_fc.weight.shape == (20, 512 * 36, 150), "20 centres, 512 maps of 6x6, 150 features"
        assert (eac.map3.shape[-1], eac.map4.shape[-1]) == (56, 28)
        assert eac.hidden[0].weight.shape == (2048, 3000)
        fan = create_model(
            "au_heatmap", backbone="resnet50", channels=(256, 128, 64), input_spec=InputSpec(size=256, map_size=256)
        )
        assert [s.graph.linear.weight.shape for s in fan.stages] == [(256, 512), (1024, 2048), (4096, 8192)]
        assert fan.targets.shape[-1] == 64
    deep = ResNet3D(3)(torch.zeros(1, 3, 16, 112, 112))
    assert deep.shape == (1, 256, 2, 4, 4)


# --- Graph-TCN ------------------------------------------------------------------------------------------------------


def _reach(path: nn.Module, length: int, place: int) -> list[int]:
    """Places of the sequence that a place of the output depends on, every ReLU made transparent by positive weights."""
    path = copy.deepcopy(path).eval()
    for p in path.parameters():
        p.data.abs_().add_(1e-3)
    x = torch.ones(1, 1, length, requires_grad=True)
    path(x)[0, 0, place].backward()
    return x.grad[0, 0].nonzero().flatten().tolist()


def test_the_edge_path_ties_the_same_pixel_of_neighbouring_nodes_alone():
    tcn = build("graph_tcn")
    place = 49 * 17 + 5
    assert _reach(tcn.edge_path, 18 * 49, place) == [place - 49 * back for back in range(12, -1, -1)]
    assert _reach(tcn.edge_path, 18 * 49, 49 * 3 + 5) == [5, 54, 103, 152]


def test_the_node_path_sees_181_scalars():
    tcn = build("graph_tcn", node_blocks=4)
    assert _reach(tcn.node_path, 490, 400) == list(range(400 - 180, 401))


def test_brows_and_mouth_share_weights_and_nothing_else():
    tcn = build("graph_tcn").eval()
    x = noise(tcn)
    swapped = x.clone()
    swapped[:, 10:] = 0
    assert torch.equal(tcn.forward_graph(x).nodes[:, :10], tcn.forward_graph(swapped).nodes[:, :10])
    same = torch.cat([x[:, :10], x[:, :10], x[:, :8]], 1)
    nodes = tcn.forward_graph(same).nodes
    torch.testing.assert_close(nodes[:, :10], nodes[:, 10:20])


def test_the_adjacency_of_graph_tcn_is_what_its_edge_path_carries():
    tcn = build("graph_tcn").eval()
    edges = tcn.forward_graph(noise(tcn)).adjacency
    brow = torch.arange(28) < 10
    back = torch.arange(28)[:, None] - torch.arange(28)
    assert torch.equal(edges > 0, (brow[:, None] == brow) & (back >= 0) & (back <= 12))
    torch.testing.assert_close(edges.sum(1), torch.ones(28))
    assert tcn.node_names == tuple(map(str, PATCH_POINTS["brow10_mouth18"]))


def test_reach_by_hand():
    from zoo.models.graph_tcn import TemporalBlock

    block = TemporalBlock(1, 1, kernel=2, dilation=3, dropout=0.0)
    block.conv1.weight = torch.tensor([[[2.0, -3.0]]])  # the past, the present
    block.conv2.weight = torch.tensor([[[5.0, 7.0]]])
    torch.testing.assert_close(block.reach(), torch.tensor([3.0 * 7 + 1, 2 * 7 + 3 * 5.0, 2 * 5.0]))


def test_relu_logits_clips_and_its_absence_does_not():
    x = noise(build("graph_tcn"), 16)
    assert build("graph_tcn", relu_logits=True).eval()(x).min() >= 0
    assert build("graph_tcn", relu_logits=False).eval()(x).min() < 0
    assert create_model("graph_tcn", hidden=8, channels=2).forward_graph(x).au_logits.shape == (16, 0)


# --- FGRMER ---------------------------------------------------------------------------------------------------------


def test_fgrmer_scores_units_by_their_half():
    model = build("fgrmer", aus=[1, 12]).eval()
    x = noise(model)
    still = x.clone()
    still[:, :10] = 0  # other brows
    scores, other = model.forward_graph(x).au_logits, model.forward_graph(still).au_logits
    assert not torch.allclose(scores[:, 0], other[:, 0])
    assert torch.equal(scores[:, 1], other[:, 1]), "AU12 is a matter of the mouth"
    out = model.forward_graph(x)
    torch.testing.assert_close(out.nodes.sum(2), out.au_logits)
    torch.testing.assert_close(out.features, F.layer_norm(out.au_logits, (2,)))


def test_without_stacking_only_the_last_layer_counts():
    for stack in (True, False):
        model = build("fgrmer", stack_layers=stack, layers=2).eval()
        x = noise(model)
        before = model(x)
        with torch.no_grad():
            model.brows[0].out.weight.zero_()
        assert torch.equal(model(x), before) is not stack


def test_fgrmers_edges_by_hand():
    # AU1 in three clips, AU4 in two, together in one; AU12 never
    labels = torch.tensor([[1, 1, 0], [1, 0, 0], [1, 0, 0], [0, 1, 0]]).float()
    model = build("fgrmer")
    model.fit_graph(labels)
    raw = torch.tensor([[1.0, 1 / 2, 0.0], [1 / 3, 1.0, 0.0], [0.0, 0.0, 1.0]])  # P(row | column) + I
    d = raw.sum(1).rsqrt()
    torch.testing.assert_close(model.forward_graph(noise(model)).adjacency, (raw * d).T * d)


# --- edges of all of them -------------------------------------------------------------------------------------------

LABELS = torch.tensor([[1.0, 1, 0]] * 6 + [[0, 1, 0]] * 2 + [[1, 0, 0]] * 3 + [[0, 0, 1]] * 8)


@pytest.mark.parametrize("name", COUNTED)
def test_edges_come_from_the_labels_given_and_travel_with_the_weights(name):
    model = build(name)
    start = {k: v.clone() for k, v in model.state_dict().items()}
    model.fit_graph(LABELS)
    fitted = {k: v.clone() for k, v in model.state_dict().items()}
    changed = [k for k, v in fitted.items() if not torch.equal(v, start[k])]
    assert len(changed) == 1, "the edges, and nothing else"
    model.fit_graph(LABELS[:0])
    assert torch.equal(model.state_dict()[changed[0]], fitted[changed[0]]), "no clip, no change"
    twin = build(name)
    twin.load_state_dict(fitted)
    assert torch.equal(twin.state_dict()[changed[0]], fitted[changed[0]])
    twin.fit_graph(LABELS.flip(1))
    twin.fit_graph(LABELS)
    assert torch.equal(twin.state_dict()[changed[0]], fitted[changed[0]]), "nothing stays of an earlier fold"
    with pytest.raises(ZooError, match=r"\[19, 2\]"):
        model.fit_graph(LABELS[:, :2])


def test_edges_of_each_recipe():
    x_of = {name: build(name).eval() for name in COUNTED}
    for model in x_of.values():
        model.fit_graph(LABELS)
    edges = {name: model.forward_graph(noise(model)).adjacency for name, model in x_of.items()}
    torch.testing.assert_close(edges["mer_gcn"], adjacency.cooccurrence(LABELS, tau=0.1, p=0.2))
    torch.testing.assert_close(edges["mer_gcn"], edges["mer_gcn label"])
    # P(1|4) = 6.5/9, P(4|1) = 6.5/10; AU12 is alone, its smoothed probabilities are 0.5/9 and less
    expected = torch.tensor([[0.8, 0.2, 0.0], [0.2, 0.8, 0.0], [0.0, 0.0, 0.8 / 0.8]])
    torch.testing.assert_close(edges["mer_gcn"][:2], expected[:2])
    torch.testing.assert_close(edges["au_rgcn"], adjacency.cooccurrence(LABELS, tau=0.2, p=0.2))
    torch.testing.assert_close(edges["srerl"], torch.tensor([[0.0, 1, -1], [1, 0, -1], [-1, -1, 0]]))
    seen = edges["au_gacn"] > 0
    assert torch.equal(seen, torch.tensor([[1, 1, 0], [1, 1, 0], [0, 0, 1]], dtype=torch.bool).expand_as(seen))


def test_before_any_fit_the_measured_counts_are_used():
    for name, tau in (("mer_gcn", 0.1), ("au_rgcn", 0.2)):
        model = build(name).eval()
        expected = adjacency.prior((1, 4, 12), "pooled", tau=tau)
        torch.testing.assert_close(model.forward_graph(noise(model)).adjacency, expected)
    samm = build("fgrmer", prior="samm").graph()
    assert not torch.equal(samm, build("fgrmer").graph())
    torch.testing.assert_close(build("srerl").edges, adjacency.signed_prior((1, 4, 12)))


def test_signed_prior_is_what_such_clips_would_give():
    units, counts = (1, 2, 4), statistics.joint_counts((1, 2, 4), "casme2")
    # a table of clips with these joint counts: 1+2, 1+4 and 2+4 pairs, the rest alone, the rest of 255 without any
    rows = []
    for i in range(3):
        for j in range(i + 1, 3):
            rows += [[float(k in (i, j)) for k in range(3)]] * int(counts[i, j])
    for i in range(3):
        rows += [[float(k == i) for k in range(3)]] * int(2 * counts[i, i] - counts[i].sum())
    rows += [[0.0] * 3] * (255 - len(rows))
    table = torch.tensor(rows)
    assert table.sum(0).tolist() == counts.diagonal().tolist()
    torch.testing.assert_close(adjacency.signed(table), adjacency.signed_prior(units, "casme2"))


@pytest.mark.parametrize("name", list(SMALL))
def test_outputs_of_a_graph(name):
    model = build(name).eval()
    x = noise(model, 3)
    with torch.no_grad():
        logits, out = model.forward_all(x)
        one = model.forward_graph(x[1:2])
        again = model.forward_graph(x)
    count = len(model.node_names)
    assert model.aus == (1, 4, 12)
    assert logits.shape == (3, 3)
    assert out.au_logits.shape == (3, 3)
    assert out.features.shape == (3, model.num_features)
    assert out.nodes.shape[:2] == (3, count)
    assert out.adjacency.shape in ((count, count), (3, count, count))
    assert out.adjacency.isfinite().all()
    for a, b, c in zip(out, again, one, strict=True):
        assert torch.equal(a, b), "eval mode is deterministic"
        torch.testing.assert_close(
            c, a if a.shape == c.shape else a[1:2], rtol=1e-4, atol=1e-5, msg="alone as in a batch"
        )


@pytest.mark.parametrize("name", list(SMALL))
def test_config_and_weights_round_trip(name):
    model = build(name)
    model.train().forward_all(noise(model))
    plain = json.loads(json.dumps({"config": model.config, "spec": model.input_spec.to_dict()}))
    twin = create_model(model.arch, input_spec=InputSpec.from_dict(plain["spec"]), **plain["config"])
    twin.load_state_dict(model.state_dict())
    x = noise(model)
    assert torch.equal(twin.eval()(x), copy.deepcopy(model).eval()(x))


def test_units_by_name_by_number_and_wrong():
    assert (
        create_model("au_rgcn", aus="bp4d12").aus
        == create_model("au_rgcn", aus=[1, 2, 4, 6, 7, 10, 12, 14, 15, 17, 23, 24]).aus
    )
    for wrong in ("fgrmer", [], [1, 1], [999]):
        with pytest.raises(ZooError):
            create_model("au_rgcn", aus=wrong)


@pytest.mark.parametrize("name", ["graph_tcn", "mer_gcn", "me_graphau", "eac_net", "au_heatmap", "srerl", "au_rgcn"])
def test_another_modality_is_refused(name):
    spec = FRAMES if name in ("graph_tcn", "me_graphau", "eac_net", "au_heatmap", "au_rgcn", "srerl") else InputSpec()
    with pytest.raises(ZooError, match="modality"):
        create_model(name, input_spec=spec)


# --- parts ----------------------------------------------------------------------------------------------------------


def test_attention_of_au_gacn_stays_inside_the_mask_and_gates_of_me_graphau_sum_to_one():
    gacn = build("au_gacn").eval()
    gacn.fit_graph(LABELS)
    attention = gacn.forward_graph(noise(gacn)).adjacency
    torch.testing.assert_close(attention.sum(2), torch.ones(4, 3))
    gates = build("me_graphau").eval()
    torch.testing.assert_close(gates.forward_graph(noise(gates)).adjacency.sum(2), torch.ones(4, 3))


def test_me_graphau_probability_is_the_cosine():
    for name in ("me_graphau", "me_graphau similarity"):
        model = build(name).eval()
        out = model.forward_graph(noise(model))
        cosine = F.cosine_similarity(out.nodes, model.prototypes.relu()[None], dim=2)
        torch.testing.assert_close(out.au_logits.sigmoid(), cosine.clamp(1e-5, 1 - 1e-5), rtol=1e-4, atol=1e-5)
    assert ((out.adjacency > 0).sum(2) >= 2).all(), "k neighbours each"


def test_me_graphaus_pair_states():
    model = build("me_graphau")
    x, aus = noise(model), torch.tensor([[1.0, 0, 0], [0, 1, math.nan], [math.nan] * 3, [0, 0, 0]])
    model.eval().forward_all(x)
    assert model.extra_loss(x, aus) is None, "nothing is kept outside of training"
    model.train()
    nn.init.zeros_(model.pair_fc.weight)
    with torch.no_grad():
        model.pair_fc.bias.copy_(torch.tensor([0.0, 1, 2, 3]))
    model.forward_all(x)
    log_p = torch.tensor([0.0, 1, 2, 3]).log_softmax(0)
    states = [2 * a + b for row in aus.tolist() for a in row for b in row if not math.isnan(a + b)]
    expected = -0.05 * log_p[torch.tensor(states).long()].mean()
    torch.testing.assert_close(model.extra_loss(x, aus), expected)
    model.forward_all(x)
    assert model.extra_loss(x, torch.full((4, 3), math.nan)).item() == 0


def test_regions_pool_what_lies_inside():
    y, x = torch.meshgrid(torch.arange(8) + 0.5, torch.arange(8) + 0.5, indexing="ij")
    maps = torch.stack([torch.ones(8, 8), x, y])[None]
    boxes = torch.tensor([[0.125, 0.25, 0.5, 1.0], [0.3, 0.1, 0.55, 0.45], [0.9, 0.9, 1.1, 1.1]])
    pooled = RegionPool(boxes, size=(8, 8), cells=1)(maps)[0, :, :, 0, 0]
    torch.testing.assert_close(pooled[0], torch.tensor([1.0, 2.5, 5.0]))  # pixels 1..4 by 2..8
    torch.testing.assert_close(pooled[1, 0], torch.tensor(1.0))
    assert pooled[2, 0].item() == pytest.approx(0.25), "three quarters lie outside the picture"
    cells = RegionPool(boxes[:1], size=(8, 8), cells=3)(maps)[0, 0]
    torch.testing.assert_close(cells[1].mean(0), torch.tensor([1.5, 2.5, 3.5]))
    torch.testing.assert_close(cells.mean((1, 2)), pooled[0])


def test_crops_are_read_where_the_points_are():
    picture = torch.rand(1, 2, 16, 16)
    sampler = CropSampler(torch.tensor([[0.25, 0.5], [0.0, 0.0]]), side=4 / 16, pixels=4)
    crops = sampler(picture)[0]
    torch.testing.assert_close(crops[0], picture[0, :, 6:10, 2:6])
    torch.testing.assert_close(crops[1][:, 2:, 2:], picture[0, :, :2, :2])
    assert not crops[1][:, :2].any()


def test_places_follow_the_crop_and_the_sides():
    spec = InputSpec(crop="megc2019")
    places = unit_points((4, 9, 12, 15, 25), spec)
    assert places.where.shape == (7, 2), "the mouth corners are shared, AU25 has one place"
    torch.testing.assert_close(places.share.sum(1), torch.ones(5))
    right = torch.tensor(regions.au_centres()[12][0], dtype=torch.float32)
    expected = (right - torch.tensor([0.13, 0.10])) / torch.tensor([0.74, 0.90])
    assert (places.where - expected).norm(dim=1).min() < 1e-6
    torch.testing.assert_close(in_crop(torch.tensor([0.13, 0.1, 0.87, 1.0]), spec), torch.tensor([0.0, 0, 1, 1]))


def test_eac_nets_attention_by_hand():
    drawn = attention_map(torch.tensor([[0.5, 0.3], [0.53, 0.3]]))
    assert drawn.shape == (100, 100)
    assert drawn[30, 50] == drawn[30, 53] == 1
    assert drawn[30, 51].item() == pytest.approx(0.93), "the nearer point counts"
    assert drawn[34, 47].item() == pytest.approx(1 - 0.07 * 7)
    assert drawn[37, 43].item() == pytest.approx(1 - 0.07 * 14, abs=1e-6)
    assert not drawn[38].any()
    assert not drawn[:, 42].any()
    far = attention_map(torch.tensor([[0.5, 0.5]]), window=10, slope=0.095)
    assert far[50, 45].item() == pytest.approx(1 - 0.095 * 5)
    assert not far[:, 44].any()


def test_eac_net_enhances_and_crops_where_it_says():
    model = build("eac_net").eval()
    x = noise(model, 2)
    deep = x
    for block, attention in (
        (model.conv1, None),
        (model.conv2, None),
        (model.conv3, model.map3),
        (model.conv4, model.map4),
    ):
        outs = []
        for conv in block:
            deep = conv(deep).relu()
            outs.append(deep)
        if attention is not None:
            deep = outs[-1] + attention * outs[0]
        deep = F.max_pool2d(deep, 2) if block is not model.conv4 else deep
    torch.testing.assert_close(model.enhanced(x), deep)
    points = unit_points(model.aus, model.input_spec).where
    cells = model.cells(deep)
    column, row = (points[0] * 6).long().tolist()  # 48 px: maps of 6
    rows = [max(0, min(5, row + d)) for d in (-1, 0, 1)]
    columns = [max(0, min(5, column + d)) for d in (-1, 0, 1)]
    torch.testing.assert_close(cells[:, 0], deep[:, :, rows][:, :, :, columns])
    assert model.map3.max() > 0.5
    assert (model.map3 == 0).float().mean() > 0.3, "most of the face is left alone"


def test_dynamic_edges_agree_with_torch_geometric():
    from torch_geometric.nn import EdgeConv

    torch.manual_seed(0)
    layer = DynamicEdgeConv(5, 6, k=3)
    nn.init.normal_(layer.norm.weight)
    nodes = torch.randn(2, 9, 5)
    index = layer.neighbours(nodes)
    assert (index == torch.arange(9)[None, :, None]).any(2).all(), "everyone is its own neighbour"
    theirs = EdgeConv(nn.Sequential(layer.linear, layer.norm, nn.ReLU()), aggr="max")
    batch = torch.arange(2)[:, None, None] * 9
    source, target = (index + batch).flatten(), (torch.arange(9)[None, :, None] + batch).expand_as(index).flatten()
    for mode in (True, False):
        expected = copy.deepcopy(theirs).train(mode)(nodes.flatten(0, 1), torch.stack([source, target]))
        ours = copy.deepcopy(layer).train(mode)(nodes)
        torch.testing.assert_close(ours.flatten(0, 1), expected, rtol=1e-5, atol=1e-6)
    edges = neighbour_matrix(index)
    torch.testing.assert_close(edges.sum(2), torch.ones(2, 9))
    with pytest.raises(ZooError, match="10 nearest of 9"):
        DynamicEdgeConv(5, 6, k=10)(nodes)


def test_heatmaps_peak_within_three_pixels_of_where_a_thing_moves():
    torch.manual_seed(0)
    model = create_model("au_heatmap", aus=[25], backbone="conv4", channels=(16, 8, 8), input_spec=square(12))
    assert model.targets.shape == (1, 24, 24)

    def draw(count):
        points = 0.2 + 0.6 * torch.rand(count, 2)
        picture = gaussians(points, 12, 1.0)[:, None].repeat(1, 3, 1, 1) + 0.05 * torch.randn(count, 3, 12, 12)
        return picture, points

    optimiser = torch.optim.Adam(model.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 6e-3, total_steps=200)
    for _ in range(200):
        picture, points = draw(8)
        wanted = gaussians(points, 24, 1.5)[:, None]
        loss = (model.heatmaps(picture) - wanted).square().sum((2, 3)).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    picture, points = draw(40)
    with torch.no_grad():
        found = model.eval().heatmaps(picture)[:, 0].flatten(1).argmax(1)
    places = (torch.stack([found % 24, found // 24], 1) + 0.5) / 24
    apart = (places - points).norm(dim=1) * 64  # pixels of a map of 64, as in the paper
    assert apart.median() <= 3, apart  # by chance: some 20


def test_heatmap_loss_by_hand():
    model = build("au_heatmap")
    x, aus = noise(model, 2), torch.tensor([[1.0, 0.0, math.nan], [0.0, 0.0, 1.0]])
    with torch.no_grad():
        model.to_maps.weight.zero_()
        model.to_maps.bias.zero_()
    model.train().forward_all(x)
    # empty maps: every place of a unit that shows costs 1; known are 2 clips of AU1 and AU4, 1 of AU12, two places each
    assert model.extra_loss(x, aus).item() == pytest.approx((2 + 2) / 10, rel=1e-5)
    assert model.extra_loss(x, aus) is None, "once per batch"
    torch.testing.assert_close(model.forward_graph(x).au_logits, torch.full((2, 3), -5.0))


def test_auto_encoder_learns_its_crops():
    model = build("au_rgcn", reconstruction=1.0, aus=[1])
    x = F.interpolate(torch.randn(8, 3, 4, 4, generator=torch.Generator().manual_seed(0)), size=32, mode="bicubic")
    optimiser = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(80):
        model.forward_all(x)
        loss = model.extra_loss(x)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    crops, made = model.reconstruct(x)
    assert F.mse_loss(made, crops) < 0.2 * crops.var()


def test_backbones_by_name():
    for name, maps, size in (("conv4", 128, 14), ("conv16", 256, 4), ("resnet18", 512, 2)):
        body = features(name, 2)
        assert (body.num_features, body.map_size((2, 56, 56))) == (maps, (size, size))
        assert body(torch.zeros(1, 2, 56, 56)).shape == (1, maps, size, size)
    with pytest.raises(UnknownName, match="resnet18"):
        features("resnet1", 3)
    with pytest.raises(ZooError, match="pretrained"):
        features("conv4", 3, pretrained=True)


def test_a_backbone_of_timm_in_a_model():
    model = create_model("me_graphau", backbone="resnet18", node_features=16)
    assert model.backbone.num_features == 512
    assert model.eval()(noise(model)).shape == (4, 3)


# --- learning -------------------------------------------------------------------------------------------------------


def faces(model, clips: int, seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Noise, and something at the places of the one unit that shows; the class is the unit. Patches: at its landmarks."""
    spec, generator = model.input_spec, torch.Generator().manual_seed(seed)
    labels = torch.arange(clips) % 3
    x = 0.5 * torch.randn(clips, *spec.shape, generator=generator)
    if spec.modality == "patches":
        names = list(PATCH_POINTS[spec.patches])
        shows = [[20, 21, 22, 23], [17, 18, 25, 26], [48, 49, 53, 54]]
        for clip, label in enumerate(labels):
            for point in shows[label]:
                x[clip, names.index(point)] += 3 * gaussians(torch.tensor([0.5, 0.2 + 0.3 * label]), 7, 1.5)
    else:
        for clip, label in enumerate(labels):
            where = unit_points((model.aus[label],), spec).where
            shape = gaussians(where, spec.size, 0.07 * spec.size).sum(0)
            rise = torch.linspace(0, 1, spec.frames)[:, None, None] if spec.modality == "frames" else torch.ones(1)
            direction = torch.tensor([[1.0, 0.3, 1], [-0.3, 1.0, 1], [1, -1.0, 1]])[label]
            x[clip] += 3 * direction.view(3, *[1] * (x.ndim - 2)) * shape * rise
    return x, labels, F.one_hot(labels, 3).float()


def train(model, x, labels, aus, steps: int, *, classes: float = 1.0, units: float = 1.0) -> None:
    optimiser = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=LR.get(model.arch, 3e-3))
    loss_of = au_loss("bce")
    model.train()
    for _ in range(steps):
        logits, out = model.forward_all(x)
        loss = classes * F.cross_entropy(logits, labels) + units * loss_of(out.au_logits, aus)
        extra = model.extra_loss(x, aus)
        optimiser.zero_grad()
        (loss if extra is None else loss + extra).backward()
        optimiser.step()
    model.eval()


LR = {"fgrmer": 1e-3}


@pytest.mark.parametrize("name", list(SMALL))
def test_it_learns_what_shows_and_is_at_chance_where_labels_are_shuffled(name):
    x, labels, _ = faces(build(name), 24, seed=2)
    test_x, test_labels, test_aus = faces(build(name), 45, seed=3)

    def score(told: torch.Tensor) -> tuple[float, float]:
        model, units = build(name), F.one_hot(told, 3).float()
        model.fit_graph(units)
        if name == "fgrmer":  # its paper trains classes alone
            train(model, x, told, units, 80, units=0)
            return share_of_classes(model), share_of_units(model)
        train(model, x, told, units, STEPS.get(name, 40))
        return share_of_classes(model), share_of_units(model)

    @torch.no_grad()
    def share_of_classes(model) -> float:
        return (model(test_x).argmax(1) == test_labels).float().mean().item()

    @torch.no_grad()
    def share_of_units(model) -> float:
        return ((model.forward_graph(test_x).au_logits > 0) == test_aus.bool()).float().mean().item()

    right, units = score(labels)
    assert right >= 0.85, f"accuracy {right:.2f}, chance 0.33"
    assert units >= 0.85 or name == "fgrmer", f"units {units:.2f}, none at all 0.67"
    shuffled = (torch.arange(24) // 3) % 3
    assert all(shuffled[labels == k].bincount().tolist() == [3, 3, 2] for k in range(3)), (
        "labels that say nothing of the clips"
    )
    right, units = score(shuffled)
    assert right <= 0.6, f"accuracy {right:.2f} on labels that say nothing"
    assert units <= 0.8 or name == "fgrmer", f"units {units:.2f} on labels that say nothing"
