"""The contract that every registered model keeps; the cases come from the registry."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from zoo import create_model, list_models
from zoo.errors import ZooError
from zoo.models._base import AUModel
from zoo.models.emr import MOTION
from zoo.models.rcn import class_activation_mask
from zoo.models.resnet_apex import APEX, GREY
from zoo.types import InputSpec

PARAMETERS = {  # at 3 classes, from the papers' tables or counted in the released code
    ("ststnet",): 1_683,
    ("off_apexnet",): 2_664_475,
    ("dual_inception",): 6_449_867,
    ("sssnet",): 1_349_251,
    ("au_flow_graph",): 17_885,
    ("rcn_a", "rcn_s"): 55_747,
    ("rcn_w", "rcn_p", "rcn_c", "rcn_f"): 52_675,
    ("graph_tcn",): 17_600_631,  # 17,601,661 at the paper's 5 classes
    ("fgrmer",): 1_046_669,
    # sizes of ours, where the papers leave them open
    ("mer_gcn",): 4_393_324,
    ("au_gacn",): 4_593_520,
    ("me_graphau",): 315_831,
    ("srerl",): 1_709_103,
    ("au_rgcn",): 402_100,
    ("eac_net",): 7_338_463,
    ("au_heatmap",): 2_964_107,
    ("jena_resnet10",): 4_905_609,  # layer by layer from its prototxt, as micro_attention
    ("micro_attention",): 5_943_813,  # grey
    ("emr",): 11_242_563,
    ("saat",): 11_178_051,
    ("micronet",): 11_308_611,
    ("zhi3d",): 2_016_451,  # 2,016,709 at 5 classes
    ("kd_student",): 241_571,
    ("kd_teacher",): 11_183_181,
    ("resnet_apex",): 4_924_027,
}
COUNTS = {name: count for names, count in PARAMETERS.items() for name in names}
CLIP = InputSpec(modality="frames", channels=("u", "v", "strain"), frames=4, size=32)
SMALL = {  # how to build, for behaviour that does not depend on the size, what would be slow
    "graph_tcn": {"hidden": 16, "channels": 4},
    "mer_gcn": {"width": 8, "input_spec": CLIP},
    "au_gacn": {"width": 8, "input_spec": CLIP},
    "resnet_apex": {"backbone": "test_resnet", "input_spec": APEX.replace(size=32)},
    "jena_resnet10": {"input_spec": APEX.replace(size=32)},
    "micro_attention": {"input_spec": GREY.replace(size=32)},
    "emr": {"backbone": "test_resnet", "input_spec": MOTION.replace(size=64, map_size=64)},
    "micronet": {"backbone": "test_resnet", "input_spec": APEX.replace(size=32)},
    "saat": {"backbone": "test_resnet", "input_spec": APEX.replace(size=32)},
    "kd_student": {"input_spec": APEX.replace(size=32)},
    "kd_teacher": {"backbone": "test_resnet", "input_spec": APEX.replace(size=32)},
    "zhi3d": {"input_spec": CLIP.replace(channels=("grey",), frames=8)},
}


def parameters(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def build(name: str, **kwargs):
    return create_model(name, **{**SMALL.get(name, {}), **kwargs})


def objective(model, x: torch.Tensor) -> torch.Tensor:
    """Something that depends on every output."""
    if not isinstance(model, AUModel):
        return model(x).square().sum()
    logits, outputs = model.forward_all(x)
    loss = logits.square().sum() + outputs.au_logits.square().sum()
    extra = model.extra_loss(x, torch.arange(outputs.au_logits.numel()).view_as(outputs.au_logits) % 2.0)
    return loss if extra is None else loss + extra


def example(model, batch: int = 4) -> torch.Tensor:
    return torch.randn(batch, *model.input_spec.shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", list_models())
def test_parameter_count(name):
    assert parameters(create_model(name, num_classes=3)) == COUNTS[name], (
        "a new model needs its parameter count in this table"
    )


def test_parameter_counts_of_variants():
    assert (
        parameters(create_model("rcn_a", width=32, pool=5))
        == parameters(create_model("rcn_s", width=32, pool=5))
        == 15_331
    )
    for name in ("rcn_w", "rcn_p", "rcn_c", "rcn_f"):
        assert parameters(create_model(name, width=32, pool=5)) == 13_795
    assert parameters(create_model("dual_inception", stream_channels=3)) == 6_449_963


@pytest.mark.parametrize("name", list_models())
def test_every_parameter_learns(name):
    model = build(name).train()
    objective(model, example(model)).backward()
    learns = [(n, p.grad) for n, p in model.named_parameters() if p.requires_grad]
    assert not [n for n, g in learns if g is None or not g.isfinite().all()]


@pytest.mark.parametrize("name", list_models())
def test_features_and_head_make_the_forward(name):
    model = build(name, num_classes=5).eval()
    x = example(model)
    features = model.forward_features(x)
    assert features.shape == (4, model.num_features)
    assert torch.equal(model.forward_head(features), model(x))
    assert model(x).shape == (4, 5)
    assert torch.equal(model.forward_head(features, pre_logits=True), features)
    assert torch.equal(model(x), model(x)), "eval mode is deterministic"


@pytest.mark.parametrize("name", list_models())
def test_reset_classifier(name):
    model = build(name)
    body = {k: v.clone() for k, v in model.state_dict().items() if not k.startswith(f"{model.classifier}.")}
    model.reset_classifier(7)
    assert model.eval()(example(model)).shape == (4, 7)
    assert model.num_classes == 7
    assert model.config["num_classes"] == 7
    assert all(torch.equal(model.state_dict()[k], v) for k, v in body.items()), "only the head may change"
    with pytest.raises(ZooError, match="-1"):
        model.reset_classifier(-1)


@pytest.mark.parametrize("name", ["ststnet", "off_apexnet", "dual_inception", "sssnet", "rcn_s"])
def test_without_classifier_a_model_gives_features(name):
    model = build(name).eval()
    model.reset_classifier(0)
    assert model(example(model)).shape == (4, model.num_features)


def test_rcn_attention_needs_its_classifier_and_says_so():
    model = create_model("rcn_f").eval()
    model.reset_classifier(0)
    with pytest.raises(ZooError, match="classifier"):
        model(example(model))


@pytest.mark.parametrize("name", list_models())
@pytest.mark.parametrize("wrong", ["channels", "size", "rank"])
def test_wrong_input_is_named(name, wrong):
    model = build(name)
    x = example(model)
    bad = {"channels": torch.cat([x, x], 1), "size": x[..., :-1], "rank": x[0]}[wrong]
    with pytest.raises(ZooError, match=r"wants \[B, ") as caught:
        model(bad)
    assert str(list(bad.shape)) in str(caught.value)


@pytest.mark.parametrize("name", list_models())
def test_config_builds_the_same_model(name):
    model = build(name)
    twin = create_model(name, input_spec=InputSpec.from_dict(model.input_spec.to_dict()), **model.config)
    assert {k: v.shape for k, v in model.state_dict().items()} == {k: v.shape for k, v in twin.state_dict().items()}


def three_streams(model, x):
    """STSTNet as the paper draws it: three streams, one after the other."""
    streams = ((model.conv1, model.bn1), (model.conv2, model.bn2), (model.conv3, model.bn3))
    maps = [model.dropout(model.maxpool(norm(conv(x).relu()))) for conv, norm in streams]
    return model.fc(model.avgpool(torch.cat(maps, 1)).flatten(1))


@pytest.mark.parametrize("padding", [1, 2])
def test_ststnet_joint_streams_equal_three_streams(padding):
    torch.manual_seed(0)
    joint = create_model("ststnet", padding=padding, dropout=0.0)
    for norm in (joint.bn1, joint.bn2, joint.bn3):
        nn.init.normal_(norm.weight)  # negative scales too: max pooling must see them after the normalisation
        nn.init.normal_(norm.bias)
    drawn = copy.deepcopy(joint)
    x = example(joint, 8)
    for _ in range(3):  # running statistics move in training
        torch.testing.assert_close(joint.train()(x), three_streams(drawn.train(), x))
    joint(x).square().sum().backward()
    three_streams(drawn, x).square().sum().backward()
    for a, b in zip(joint.parameters(), drawn.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-4, atol=1e-4)
    for a, b in zip(joint.buffers(), drawn.buffers(), strict=True):
        torch.testing.assert_close(a, b)
    torch.testing.assert_close(joint.eval()(x), three_streams(drawn.eval(), x))


@pytest.mark.parametrize("name", ["off_apexnet", "sssnet"])
def test_relu_after_pooling_equals_relu_before(name):
    x = torch.randn(2, 3, 12, 12)
    assert torch.equal(nn.functional.max_pool2d(x.relu(), 3), nn.functional.max_pool2d(x, 3).relu())
    order = [type(m) for m in create_model(name).modules() if isinstance(m, nn.MaxPool2d | nn.ReLU)]
    assert order[:2] == [nn.MaxPool2d, nn.ReLU]


def test_rcn_mask_by_hand():
    features = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]], [[0.0, 0.0], [0.0, 2.0]]]])  # [1, 2, 2, 2]
    weight = torch.ones(1, 2, 2, 2)
    mask = class_activation_mask(features, weight)  # channel means .5 1 1.5 3 -> stretched to 0..1
    torch.testing.assert_close(mask, torch.tensor([[[[0.0, 0.2], [0.4, 1.0]]]]))
    flat = class_activation_mask(torch.ones(1, 2, 2, 2), weight)
    assert flat.isfinite().all(), "a map without contrast must not divide by zero"


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ({"width": 30}, "multiple of 4"),
        ({"input_spec": InputSpec(size=12, map_size=12)}, "20"),
        ({"widht": 64}, "width"),
    ],
)
def test_rcn_refuses_what_it_cannot_build(arguments, word):
    with pytest.raises(ZooError, match=word):
        create_model("rcn_f", **arguments)
