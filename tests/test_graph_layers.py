"""Dense layers against torch_geometric, edge by edge, on directed graphs with lonely nodes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch_geometric import nn as pyg
from torch_geometric.utils import dense_to_sparse

from zoo.errors import ZooError
from zoo.facs import geometry
from zoo.graph import gated, layers, learned, sparse
from zoo.graph.adjacency import normalise

N, C = 7, 5


def graph(seed=0, *, weights=False, density=0.4):
    """Nodes, a directed adjacency without loops whose last node takes from nobody, and its edge list (source, target)."""
    g = torch.Generator().manual_seed(seed)
    a = (torch.rand(N, N, generator=g) < density).float().fill_diagonal_(0)
    a[-1] = 0
    if weights:
        a = a * (torch.rand(N, N, generator=g) + 0.1)
    x = torch.randn(2, N, C, generator=g)
    index, weight = dense_to_sparse(a.T.contiguous())
    return x, a, index, weight


def same(a, b, tolerance=1e-6):
    torch.testing.assert_close(a, b, rtol=0, atol=tolerance)


def each(layer, x, *rest):
    return torch.stack([layer(one, *rest) for one in x])


@pytest.mark.parametrize("weights", [False, True])
def test_gcn(weights):
    x, a, index, weight = graph(weights=weights)
    ours, theirs = layers.DenseGCN(C, 4, normalise="gcn"), pyg.GCNConv(C, 4)
    theirs.lin.weight, theirs.bias = ours.linear.weight, ours.bias
    torch.nn.init.normal_(ours.bias)
    same(ours(x, a), each(theirs, x, index, weight))
    plain = layers.DenseGCN(C, 4, bias=False)
    bare = pyg.GCNConv(C, 4, bias=False, normalize=False, add_self_loops=False)
    bare.lin.weight = plain.linear.weight
    same(plain(x, a), each(bare, x, index, weight))


def test_gcn_keeps_loops_that_are_there_and_agrees_with_the_dense_one():
    x, a, _, _ = graph(1)
    a = ((a + a.T) > 0).float().fill_diagonal_(1)
    ours, theirs = layers.DenseGCN(C, 4, normalise="gcn"), pyg.DenseGCNConv(C, 4)
    theirs.lin.weight = ours.linear.weight
    same(ours(x, a), theirs(x, a))
    a[0, 0] = 3.0
    single = pyg.GCNConv(C, 4)
    single.lin.weight = ours.linear.weight
    same(ours(x, a), each(single, x, *dense_to_sparse(a.T.contiguous())))


@pytest.mark.parametrize("concat", [True, False])
@pytest.mark.parametrize("loops", [True, False])
def test_gat(concat, loops):
    x, a, index, _ = graph(2)
    ours = layers.DenseGAT(C, 4, heads=3, concat=concat, loops=loops)
    theirs = pyg.GATConv(C, 4, heads=3, concat=concat, add_self_loops=loops)
    theirs.lin.weight, theirs.bias = ours.linear.weight, ours.bias
    theirs.att_src.data[0], theirs.att_dst.data[0] = ours.from_node.data, ours.to_node.data
    torch.nn.init.normal_(ours.bias)
    same(ours(x, a), each(theirs, x, index))


@pytest.mark.parametrize("concat", [True, False])
@pytest.mark.parametrize("loops", [True, False])
def test_gatv2(concat, loops):
    x, a, index, _ = graph(3)
    ours = layers.DenseGATv2(C, 4, heads=3, concat=concat, loops=loops)
    theirs = pyg.GATv2Conv(C, 4, heads=3, concat=concat, add_self_loops=loops)
    theirs.lin_l, theirs.lin_r, theirs.bias = ours.source, ours.target, ours.bias
    theirs.att.data[0] = ours.attention.data
    torch.nn.init.normal_(ours.source.bias)
    out, attention = ours.attend(x, a)
    same(out, each(theirs, x, index))
    rows = attention.sum(2)
    same(rows, torch.ones_like(rows) if loops else (a.sum(1) > 0).float()[None, :, None].expand_as(rows))
    assert (attention[:, a.fill_diagonal_(float(loops)) == 0] == 0).all()


def test_gatv2_with_features_on_the_edges():
    x, a, index, _ = graph(4)
    edges = torch.randn(N, N, 2)
    ours = layers.DenseGATv2(C, 4, heads=2, loops=False, edge_channels=2)
    theirs = pyg.GATv2Conv(C, 4, heads=2, add_self_loops=False, edge_dim=2)
    theirs.lin_l, theirs.lin_r, theirs.lin_edge, theirs.bias = ours.source, ours.target, ours.edge, ours.bias
    theirs.att.data[0] = ours.attention.data
    same(ours(x, a, edges), each(theirs, x, index, edges[index[1], index[0]]))  # [i, j]: i takes from j
    with pytest.raises(ZooError, match="features of the edges"):
        ours(x, a)


def test_attention_without_neighbours_has_a_gradient_without_nan():
    x, a, _, _ = graph(5)
    x.requires_grad_()
    layers.DenseGATv2(C, 4, loops=False)(x, a).sum().backward()
    assert x.grad.isfinite().all()


@pytest.mark.parametrize("width", [C, 8])
def test_gated_graph(width):
    x, a, index, weight = graph(6, weights=True)
    ours, theirs = gated.GatedGraph(width, steps=3), pyg.GatedGraphConv(width, 3)
    theirs.weight.data, theirs.rnn = ours.weight.data[0], ours.rnn
    same(ours(x, a), each(theirs, x, index, weight))
    assert sum(p.numel() for p in gated.GatedGraph(256, steps=3).parameters()) == 591_360


def test_gated_graph_with_two_kinds_of_edge_is_the_plain_one_where_one_kind_is_empty():
    x, a, _, _ = graph(7)
    two = gated.GatedGraph(C, steps=2, edge_types=2)
    one = gated.GatedGraph(C, steps=2)
    one.weight.data, one.rnn = two.weight.data[1:], two.rnn
    same(two(x, torch.stack([torch.zeros_like(a), a])), one(x, a))
    assert not torch.allclose(two(x, torch.stack([a, a])), one(x, a))
    with pytest.raises(ZooError, match="2 kinds"):
        two(x, torch.stack([a, a, a]))


def test_residual_gated_graph():
    x, a, index, _ = graph(8)
    ours, theirs = gated.ResGatedGraph(C, 4), pyg.ResGatedGraphConv(C, 4)
    theirs.lin_key, theirs.lin_query, theirs.lin_value = ours.key, ours.query, ours.value
    theirs.lin_skip, theirs.bias = ours.skip, ours.bias
    same(ours(x, a), each(theirs, x, index))


def test_me_graphau_layer_node_by_node():
    x, _, _, _ = graph(9)
    layer = gated.ResidualGatedGCN(C, nodes=N).eval()
    for norm in (layer.node_norm, layer.edge_norm):
        torch.nn.init.normal_(norm.weight)
        torch.nn.init.normal_(norm.bias)
    e = torch.randn(2, N, N, C)
    out = layer(x, e)
    for b, i in ((0, 0), (1, 3)):
        rows = []
        for j in range(N):
            z = layer.target.weight @ x[b, i] + layer.source.weight @ x[b, j] + layer.edge.weight @ e[b, i, j]
            z = z / (1 + 1e-5) ** 0.5 * layer.edge_norm.weight[i * N + j] + layer.edge_norm.bias[i * N + j]
            rows.append(e[b, i, j] + z.relu())
        edge = torch.stack(rows)
        same(out.edges[b, i], edge, 1e-5)
        gates = edge.sigmoid().softmax(0)
        taken = sum(gates[j] * (layer.value.weight @ x[b, j]) for j in range(N)) / N
        z = (layer.own.weight @ x[b, i] + taken) / (1 + 1e-5) ** 0.5 * layer.node_norm.weight[i] + layer.node_norm.bias[
            i
        ]
        same(out.nodes[b, i], (x[b, i] + z).relu(), 1e-5)


@pytest.mark.parametrize("score", ["gcn", "graph"])
def test_sag_pooling(score):
    x, a, index, _ = graph(10)
    ours = layers.DenseSAGPool(C, ratio=0.6, score=score)
    theirs = pyg.SAGPooling(C, ratio=0.6, GNN=pyg.GCNConv if score == "gcn" else pyg.GraphConv)
    torch.nn.init.ones_(theirs.select.weight)  # of one weight only the sign is used
    if score == "gcn":
        theirs.gnn.lin.weight, theirs.gnn.bias = ours.score.linear.weight, ours.score.bias
    else:
        theirs.gnn.lin_root, theirs.gnn.lin_rel = ours.score.own, ours.score.neighbours
    nodes, sub, chosen = ours(x, a)
    assert nodes.shape == (2, 5, C) and sub.shape == (2, 5, 5)  # ceil(0.6 * 7)
    for b in range(2):
        px, pedges, _, _, perm, _ = theirs(x[b], index)
        same(nodes[b], px)
        assert chosen[b].tolist() == perm.tolist()
        dense = torch.zeros(5, 5)
        dense[pedges[1], pedges[0]] = 1
        same(sub[b], dense)


def test_readouts():
    x = torch.tensor([[[1.0, -2.0], [3.0, 4.0]]])
    assert layers.readout(x, "mean").tolist() == [[2, 1]] and layers.readout(x, "max").tolist() == [[3, 4]]
    assert layers.readout(x, "sum").tolist() == [[4, 2]] and layers.readout(x).tolist() == [[2, 1, 3, 4]]


@pytest.mark.parametrize("layer", [layers.DenseGCN(C, 4, normalise="gcn"), layers.DenseGAT(C, 4), layers.DenseGATv2(C, 4),
                                   gated.GatedGraph(C), gated.ResGatedGraph(C, 4)], ids=lambda m: type(m).__name__)  # fmt: skip
def test_an_adjacency_per_sample(layer):
    x, a, _, _ = graph(11)
    b = graph(12)[1]
    got = layer(x, torch.stack([a, b]))
    same(got, torch.cat([layer(x[:1], a), layer(x[1:], b)]))


@pytest.mark.parametrize("shape", [(N - 1, N - 1), (N,), (N, N - 1), (1, 2, N, N)])
def test_a_misfit_is_named(shape):
    with pytest.raises(ZooError, match=r"wanted \[7, 7\]"):
        layers.DenseGCN(C, 4)(graph()[0], torch.ones(shape))


def test_learned_adjacency_starts_at_the_prior_and_moves_everywhere():
    prior = normalise(torch.eye(4) + torch.diag(torch.ones(3), 1), "row")
    layer = learned.LearnedAdjacency(prior=prior)
    same(layer(), prior)
    (layer() * torch.randn(4, 4)).sum().backward()
    assert (layer.delta.grad != 0).all()  # edges that the prior lacks can be learned
    layer.delta.data.fill_(5)
    assert (layer().abs().sum(1) <= 1 + 1e-6).all()
    layer.set_prior(torch.eye(4))
    assert "prior" in layer.state_dict()
    with pytest.raises(ZooError, match="shape"):
        layer.set_prior(torch.eye(3))
    with pytest.raises(ZooError, match="one of the two"):
        learned.LearnedAdjacency()


def test_similarity_graph_by_hand():
    x = torch.tensor([[[1.0, 0.0], [2.0, 0.0], [0.0, 1.0]]])
    # dots: [1 2 0; 2 4 0; 0 0 1]; the two most similar: {0,1}, {0,1}, and of the third itself and, tied at 0, both others
    a = torch.tensor([[1.0, 1, 0], [1, 1, 0], [1, 1, 1]])
    d = torch.diag(a.sum(1) ** -0.5)
    same(learned.SimilarityGraph(k=2)(x)[0], d @ a @ d)
    with pytest.raises(ZooError, match="1 to 3"):
        learned.SimilarityGraph(k=4)(x)


def test_sample_adjacency_depends_on_the_sample():
    torch.manual_seed(0)
    made = learned.SampleAdjacency(nodes=9, layers=2).eval()
    logits = torch.randn(2, 9, requires_grad=True)
    a = made(logits)
    assert a.shape == (2, 9, 9) and not torch.allclose(a[0], a[1])
    a.square().sum().backward()
    assert logits.grad.abs().sum() > 0


def test_landmark_graphs():
    edges = sparse.landmark_edges()
    pairs = {tuple(p) for p in edges.T.tolist()}
    assert all((j, i) in pairs for i, j in pairs) and all(i != j for i, j in pairs)
    assert len(pairs) == 2 * (3 * 68 - 3 - hull_size())  # Euler, for a triangulation of 68 points
    assert sparse.landmark_edges("knn", k=3).shape[1] >= 68 * 3
    onset = geometry.landmarks() * 224
    apex = onset + geometry.displacement(12) * 224
    graph = sparse.landmark_graph(onset, apex, label=1)
    moved = graph.x[:, 2:].norm(dim=1)
    assert set(moved.topk(2).indices.tolist()) == {48, 54}  # corners of the mouth
    same(graph.x[48, 3], torch.tensor(-16.1 / sparse.MOTION), 0.1)  # 16.1 % of the distance between the eyes, upwards
    same(sparse.landmark_graph(onset * 3 + 7, apex * 3 + 7).x, graph.x, 1e-4)  # any unit, any place
    with pytest.raises(ZooError, match="68 landmarks"):
        sparse.landmark_graph(onset[:10], apex)


def hull_size():
    from scipy.spatial import ConvexHull

    return len(ConvexHull(geometry.landmarks()).vertices)


def test_landmark_network_learns_which_half_smiles():
    from torch_geometric.data import Batch

    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    points = geometry.landmarks() * 224
    sides, edges = [k % 2 for k in range(16)], sparse.landmark_edges()

    def clips():
        return Batch.from_data_list([
            sparse.landmark_graph(points, points + geometry.displacement(12, ("left", "right")[s]) * 60
                                  + rng.normal(0, 0.5, (68, 2)), label=s, edges=edges) for s in sides
        ])  # fmt: skip

    train, test = clips(), clips()
    net = sparse.LandmarkGNN(num_classes=2, channels=4, heads=2, layers=2)
    optimiser = torch.optim.Adam(net.parameters(), 2e-2)
    for _ in range(20):
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(net(train), train.y).backward()
        optimiser.step()
    net.eval()
    assert (net(test).argmax(1) == test.y).float().mean() > 0.9
