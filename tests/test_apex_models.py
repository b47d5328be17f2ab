"""Apex networks and what is carried over from macro-expressions: the papers' numbers, layers by hand, and that they learn."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from zoo import create_model
from zoo.errors import UnknownName, ZooError
from zoo.models import resnet_apex
from zoo.models._jena import JenaBlock, JenaTrunk
from zoo.models.backbone import features
from zoo.models.emr import MOTION, flow_colours
from zoo.models.resnet_apex import APEX, GREY
from zoo.types import InputSpec

SMALL = APEX.replace(size=32)
FLOW = InputSpec(size=32, map_size=32)
LEARNERS = {
    "resnet_apex": {"backbone": "test_resnet", "input_spec": SMALL},
    "resnet_apex difference": {"backbone": "test_resnet", "input_spec": SMALL.replace(channels=("difference",))},
    "resnet_apex flow": {"backbone": "conv4", "input_spec": FLOW},
    "jena_resnet10": {"input_spec": SMALL},
    "micro_attention": {"input_spec": GREY.replace(size=32)},
    "emr": {"backbone": "test_resnet", "input_spec": MOTION.replace(size=64, map_size=64), "dropout": 0.0},
    "micronet": {"backbone": "test_resnet", "input_spec": SMALL},
    "saat": {"backbone": "test_resnet", "input_spec": SMALL},
    "kd_student": {"input_spec": SMALL},
    "zhi3d": {"input_spec": InputSpec(modality="frames", channels=("grey",), size=16, frames=8), "dropout": 0.0},
}  # fmt: skip


def count(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize(
    ("name", "arguments", "wanted"),
    [
        ("jena_resnet10", {"num_classes": 5}, 4_906_635),
        ("jena_resnet10", {"num_classes": 3, "input_spec": GREY}, 4_899_333),
        ("jena_resnet10", {"num_classes": 5, "input_spec": GREY}, 4_900_359),
        ("jena_resnet10", {"num_classes": 1000}, 5_417_070),
        ("micro_attention", {"num_classes": 5}, 5_944_839),
        ("micro_attention", {"num_classes": 3}, 5_943_813),
        ("micro_attention", {"num_classes": 5, "input_spec": APEX}, 5_951_115),
        ("micro_attention", {"num_classes": 5, "stage": "trunk"}, 4_900_359),
        ("emr", {"num_classes": 3}, 11_242_563),
        ("resnet_apex", {"num_classes": 7, "backbone": "resnet34"}, 21_288_263),
        ("resnet_apex", {"num_classes": 7, "backbone": "resnet18"}, 11_180_103),
        ("zhi3d", {"num_classes": 5}, 2_016_709),
    ],
)
def test_parameters_of_the_papers(name, arguments, wanted):
    assert count(create_model(name, **arguments)) == wanted


def test_jena_maps_are_those_of_the_prototxt():
    trunk, x, sizes = JenaTrunk(3).eval(), torch.randn(1, 3, 224, 224), {}
    for name, layer in trunk.named_children():
        x = layer(x)
        sizes[name] = tuple(x.shape[1:])
    assert sizes["data_norm"] == (3, 224, 224)
    assert sizes["pool1"] == (64, 56, 56), "the pooling rounds up"
    assert [sizes[f"layer{i}"] for i in (1, 2, 3, 4)] == [(64, 56, 56), (128, 28, 28), (256, 14, 14), (512, 7, 7)]
    assert bool((x >= 0).all()), "it ends in an activation"


def test_jena_blocks_by_hand():
    torch.manual_seed(0)
    block, x = JenaBlock(2, 4).eval(), torch.randn(2, 2, 6, 6)
    norm0, norm1 = block.norm0, block.norm1
    for norm in (norm0, norm1):
        nn.init.normal_(norm.running_mean)
    p = F.relu((x - norm0.running_mean.view(1, -1, 1, 1)) / (1 + 1e-5) ** 0.5)
    middle = F.conv2d(p, block.conv1.weight, stride=2, padding=1)
    middle = F.relu((middle - norm1.running_mean.view(1, -1, 1, 1)) / (1 + 1e-5) ** 0.5)
    wanted = F.conv2d(p, block.shortcut.weight, stride=2) + F.conv2d(middle, block.conv2.weight, padding=1)
    torch.testing.assert_close(block(x), wanted)
    first, x = JenaBlock(4, 4).eval(), torch.randn(1, 4, 6, 6)
    assert first.norm0 is None and first.shortcut is None, "the first block follows an activation and adds its input"


def test_micro_attention_weighs_each_place_by_one_plus_its_map():
    torch.manual_seed(0)
    block, x = JenaBlock(4, 4, attention=True).eval(), torch.randn(2, 4, 6, 6)
    middle = block.norm1(block.conv1(x)).relu()
    out = block.conv2(middle)
    joined = torch.einsum("oc,bchw->bohw", block.attention.join.weight[..., 0, 0], torch.cat((x, middle, out), 1))
    weights = torch.sigmoid(joined.mean(1, keepdim=True))
    torch.testing.assert_close(block(x), (x + out) * (1 + weights))
    nn.init.zeros_(block.attention.join.weight)
    torch.testing.assert_close(block(x), 1.5 * (x + out))


def test_colours_of_flow_are_those_of_opencv():
    rng = np.random.default_rng(0)
    motion = rng.normal(0, 3, (2, 40, 40)).astype(np.float32)
    length, angle = cv2.cartToPolar(motion[0], motion[1], angleInDegrees=True)
    value = (length - length.min()) / (length.max() - length.min())
    hsv = np.stack([angle, np.ones_like(angle), value], -1)
    wanted = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)
    coloured = flow_colours(torch.from_numpy(motion)[None])[0].permute(1, 2, 0).numpy()
    assert np.abs(coloured - wanted).max() < 2e-3  # OpenCV's angles are good to a third of a degree
    still = flow_colours(torch.zeros(1, 2, 8, 8))
    assert torch.equal(still, torch.zeros(1, 3, 8, 8)), "no motion has no colour"
    for scale in (0.01, 100.0):
        torch.testing.assert_close(
            flow_colours(scale * torch.from_numpy(motion)[None])[0].permute(1, 2, 0).numpy(), coloured
        )


def test_emr_reads_three_rows_above_and_four_below():
    class Given(nn.Module):
        def forward(self, x):
            return maps

    net = create_model("emr").eval()
    net.trunk = Given()
    x, maps = torch.randn(1, *net.input_spec.shape), torch.randn(1, 512, 7, 7)
    before = net(x), net.forward_features(x)
    maps = torch.cat((maps[:, :, :3], torch.randn(1, 512, 4, 7)), 2)
    after = net.forward_features(x)
    assert torch.equal(after[:, :64], before[1][:, :64]) and not torch.isclose(after[:, 64:], before[1][:, 64:]).any()
    torch.testing.assert_close(after[:, :64], net.top(maps[:, :, :3].mean((2, 3))))


def test_saat_shows_the_map_of_each_stage():
    net = create_model("saat", input_spec=APEX.replace(size=64)).eval()
    x = torch.randn(2, 3, 64, 64)
    stages = net.forward_stages(x)
    assert [tuple(m.shape[1:]) for m in stages] == [(64, 16, 16), (128, 8, 8), (256, 4, 4), (512, 2, 2)]
    torch.testing.assert_close(net.forward_head(net.forward_pooled(stages[-1])), net(x))


@pytest.mark.parametrize("case", LEARNERS)
def test_learns_what_can_be_learnt(case):
    """Where on the picture something is bright, or moves."""
    torch.manual_seed(0)
    net = create_model(case.split()[0], num_classes=2, **LEARNERS[case]).train()
    generator = torch.Generator().manual_seed(1)

    def batch() -> tuple[torch.Tensor, torch.Tensor]:
        y = torch.arange(8) % 2
        x = 0.3 * torch.randn(8, *net.input_spec.shape, generator=generator)
        half = x.shape[-1] // 2
        x[y == 0, ..., :half, :] += 1.0
        x[y == 1, ..., half:, :] += 1.0
        return x, y

    optimiser = torch.optim.AdamW(net.parameters(), lr=2e-3)
    for _ in range(20):
        x, y = batch()
        optimiser.zero_grad()
        F.cross_entropy(net(x), y).backward()
        optimiser.step()
    with torch.no_grad():
        right = [(net(x).argmax(1) == y).float().mean() for x, y in (batch() for _ in range(3))]
    assert float(torch.stack(right).mean()) > 0.9


def test_pretrained_weights_are_loaded_by_an_act_and_never_stored(monkeypatch):
    net = create_model("resnet_apex", backbone="test_resnet", input_spec=SMALL)
    asked = []

    def fetched(name, channels, *, maps=1, pretrained=False):
        asked.append((name, channels, pretrained))
        trunk = features(name, channels, maps=maps)
        for p in trunk.parameters():
            nn.init.constant_(p, 0.5)
        return trunk

    monkeypatch.setattr(resnet_apex, "features", fetched)
    head = net.fc.weight.clone()
    net.load_imagenet()
    assert asked == [("test_resnet", 3, True)]
    assert all(bool((p == 0.5).all()) for p in net.trunk.parameters()) and torch.equal(net.fc.weight, head)
    assert set(net.config) == {"num_classes", "backbone", "dropout", "stem"}


def test_weights_that_cannot_be_fetched_are_a_clear_error():
    with pytest.raises(ZooError, match="backbone test_resnet cannot be built"):
        create_model("resnet_apex", backbone="test_resnet", input_spec=SMALL).load_imagenet()


@pytest.mark.parametrize(
    ("name", "arguments", "word"),
    [
        ("resnet_apex", {"backbone": "resnet81"}, "resnet18"), ("resnet_apex", {"input_spec": InputSpec(modality="frames")}, "frames"),
        ("jena_resnet10", {"input_spec": InputSpec()}, "28"), ("micro_attention", {"stage": "both"}, "attention"),
        ("emr", {"input_spec": MOTION.replace(normalisation="minmax_255")}, "peak"), ("saat", {"backbone": "conv4"}, "resnet18"),
        ("zhi3d", {"input_spec": APEX}, "frames"),
    ],
)  # fmt: skip
def test_what_cannot_be_built_says_why(name, arguments, word):
    with pytest.raises((ZooError, UnknownName), match=word):
        create_model(name, **arguments)
