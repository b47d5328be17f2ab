"""Backbones by name: small ones of our own, and every feature extractor of timm. The only file that imports timm."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any, cast

import torch
from torch import Tensor, nn

from zoo.errors import UnknownName, ZooError
from zoo.models._blocks import ConvStem

# ours: first maps, and how often the picture is halved
_STEMS = {"conv4": (32, 2), "conv16": (16, 4)}


def features(name: str, in_chans: int, *, pretrained: bool = False, maps: int = 1, pooled: bool = True) -> Backbone:
    """A network from a picture to its last feature map, with its number of maps in ``num_features``.

    Args:
        name: ``conv4`` (128 maps at a quarter of the size), ``conv16`` (256 at a sixteenth), or a model of timm such as
            ``resnet18``.
        in_chans: channels of the picture.
        pretrained: fetch timm's weights; needs the network or its cache.
        maps: how many of its last feature maps :meth:`Backbone.maps` gives; ours have one.
        pooled: with the max-pooling of its first stage, as published; without it the maps are twice as wide and high, which small
            pictures need. Its weights are the same.

    Shapes: ``[B, in_chans, H, W]`` -> ``[B, num_features, h, w]``.

    Raises:
        UnknownName: neither ours nor timm's.
        ZooError: no weights to be had, or no max-pooling to leave out.
    """
    if name in _STEMS:
        if not pooled:
            raise ZooError(f"{name} has no max-pooling to leave out; the ResNets of timm have")
        if pretrained:
            raise ZooError(f"there are no pretrained weights of {name}; leave pretrained out, or name a model of timm")
        width, halvings = _STEMS[name]
        if maps != 1:
            raise ZooError(
                f"{name} gives its last feature map alone; for {maps} name a model of timm, such as resnet18"
            )
        stem = ConvStem(in_chans, width=width, halvings=halvings)
        return Backbone(stem, stem.num_features)
    import timm

    if not timm.is_model(name):
        near = get_close_matches(name, [*_STEMS, *timm.list_models()], n=3)
        raise UnknownName(f"there is no backbone {name!r}; known: {', '.join(near or [*_STEMS, 'resnet18', '…'])}")
    try:
        body: Any = timm.create_model(
            name, pretrained=pretrained, in_chans=in_chans, features_only=True, out_indices=tuple(range(-maps, 0))
        )
    except (RuntimeError, OSError, IndexError, AssertionError) as problem:
        raise ZooError(f"backbone {name} cannot be built: {problem}; try another, or pretrained=False") from problem
    if not pooled:
        if not isinstance(getattr(body, "maxpool", None), nn.MaxPool2d):
            raise ZooError(f"backbone {name} has no max-pooling in its first stage; the ResNets of timm have")
        body["maxpool"] = nn.Identity()
    return Backbone(body, body.feature_info.channels()[-1])


class Backbone(nn.Module):
    """The last feature maps of a network, channels first; see :func:`features`."""

    def __init__(self, body: nn.Module, num_features: int) -> None:
        super().__init__()
        self.body = body
        self.num_features = num_features

    def forward(self, x: Tensor) -> Tensor:
        """Shapes: ``[B, C, H, W]`` -> ``[B, num_features, h, w]``."""
        out = self.body(x)
        return _channels_first(out[-1] if isinstance(out, list) else out, self.num_features)

    def maps(self, x: Tensor) -> list[Tensor]:
        """Its last maps, earliest first; how many says :func:`features`. Shapes: each ``[B, c, h, w]``."""
        out = self.body(x)
        if not isinstance(out, list):
            return [out]
        widths = cast(Any, self.body).feature_info.channels()
        return [_channels_first(one, width) for one, width in zip(out, widths, strict=True)]

    @torch.no_grad()
    def map_size(self, shape: tuple[int, ...]) -> tuple[int, int]:
        """Height and width of the map of one picture ``[C, H, W]``, found by looking."""
        like, training = next(self.parameters()), self.training
        size = self.eval()(torch.zeros(1, *shape, device=like.device)).shape[-2:]
        self.train(training)
        return int(size[0]), int(size[1])


def _channels_first(features: Tensor, channels: int) -> Tensor:
    return features if features.shape[1] == channels else features.permute(0, 3, 1, 2)  # Swin and its like
