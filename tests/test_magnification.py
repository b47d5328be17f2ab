"""Magnified motion: how large it comes out, what stays still, what is refused."""

from __future__ import annotations

import pytest
import torch

from zoo import create_model, list_models
from zoo.errors import ZooError


def frames(batch: int = 2, height: int = 24, width: int = 32, seed: int = 0) -> torch.Tensor:
    return torch.rand(batch, 3, height, width, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def test_magnet_has_the_published_layers():
    model = create_model("magnet")
    count = {part: sum(p.numel() for p in module.parameters()) for part, module in model.named_children()}
    assert count == {"encoder": 154_416, "manipulator": 77_824, "decoder": 695_904}
    assert sum(p.numel() for p in model.parameters()) == 928_144
    assert {type(m).__name__ for m in model.modules() if not list(m.children())} == {"Conv2d", "ReLU", "Upsample"}
    assert all(m.bias is None for m in model.modules() if isinstance(m, torch.nn.Conv2d))
    assert "magnet" in list_models(task="magnification")
    assert "magnet" not in list_models()


def test_magnet_codes_and_picture_have_the_stated_shapes_at_any_size():
    model = create_model("magnet").eval()
    for height, width in ((24, 32), (17, 22), (19, 21)):
        first, second = frames(2, height, width, 1), frames(2, height, width, 2)
        code = model.encode(first)
        assert code.shape.shape == (2, 32, -(-height // 2), -(-width // 2))
        assert code.texture.shape == (2, 32, -(-height // 4), -(-width // 4))
        assert model.shape_code(first, second, 2.0).shape == code.shape.shape
        assert model(first, second, torch.tensor([2.0, 3.0])).shape == (2, 3, height, width)


def test_magnet_conventions_differ_by_one_and_each_has_an_identity():
    authors, ports = create_model("magnet"), create_model("magnet", convention="pytorch")
    ports.load_state_dict(authors.state_dict())
    first, second = frames(seed=1), frames(seed=2)
    torch.testing.assert_close(authors.shape_code(first, second, 3.0), ports.shape_code(first, second, 2.0))
    assert torch.equal(authors.shape_code(first, second, 1.0), authors.encode(second).shape)
    assert torch.equal(ports.shape_code(first, second, 0.0), authors.encode(second).shape)
    assert not torch.equal(authors.shape_code(first, second, 2.0), authors.encode(second).shape)
    assert torch.equal(authors.shape_code(second, second, 9.0), authors.encode(second).shape), "still stays still"
    each = authors.shape_code(first, second, torch.tensor([2.0, 5.0]))
    torch.testing.assert_close(each[1:], authors.shape_code(first[1:], second[1:], 5.0))


def test_every_parameter_of_magnet_learns():
    model = create_model("magnet").train()
    model(frames(seed=1), frames(seed=2), 4.0).square().sum().backward()
    assert not [n for n, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]


def test_magnet_refuses_what_it_cannot_eat():
    model = create_model("magnet")
    with pytest.raises(ZooError, match=r"\[2, 1, 24, 32\]"):
        model.encode(frames()[:, :1])
    with pytest.raises(ZooError, match="one size"):
        model(frames(), frames(width=40), 2.0)
    with pytest.raises(ZooError, match="at least 16 px"):
        model.encode(frames(height=8))
    with pytest.raises(ZooError, match="caffe"):
        create_model("magnet", convention="caffe")
