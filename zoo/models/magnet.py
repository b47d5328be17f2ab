"""The learned motion magnifier: two frames and a factor in, the second frame with its motion multiplied out.

Oh, Jaroensri, Kim, Elgharib, Durand, Freeman, Matusik: "Learning-based Video Motion Magnification", ECCV 2018,
arXiv:1804.02684.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

from zoo.errors import ZooError
from zoo.models._base import ZooNetwork
from zoo.registry import register
from zoo.types import InputSpec

Convention = Literal["tf", "pytorch"]
SMALLEST = 16  # pixels: below, the reflection at the edge of the shape code would exceed the code


class Code(NamedTuple):
    """A frame taken apart."""

    texture: Tensor  # [B, 32, H/4, W/4]
    shape: Tensor  # [B, 32, H/2, W/2]


class MagNet(ZooNetwork):
    """Encoder of texture and shape, manipulator of the difference of two shapes, decoder back to a picture.

    No bias and no normalisation anywhere, as in the authors' TensorFlow code; hence the factor that leaves motion as it is
    leaves the shape code exactly as it is. Sizes that are no multiple of 4 are rounded up inside and cut at the end.

    Reading: every convolution reflects at the border (the first is documented so); the decoder's last layer is linear and
    its output clipped outside of training, where clipping would stop the gradient.

    Args:
        convention: what a factor of alpha means. ``tf``: the authors', the difference is multiplied by alpha - 1, so the
            motion comes out alpha times as large. ``pytorch``: that of the ports used in micro-expression papers, the
            difference is multiplied by alpha, and the motion comes out 1 + alpha times as large.
        input_spec: has no effect here; the network eats pairs of frames of any size.

    Shapes: two RGB frames ``[B, 3, H, W]`` in -1..1 and alpha (a number, or ``[B]``) -> ``[B, 3, H, W]``.
    Parameters: 928,144 (encoder 154,416, manipulator 77,824, decoder 695,904).
    """

    def __init__(self, *, convention: Convention = "tf", input_spec: InputSpec | None = None) -> None:
        super().__init__()
        if convention not in get_args(Convention):
            raise ZooError(f"convention is {convention!r}; known: {', '.join(get_args(Convention))}")
        self.convention = convention
        self.input_spec = input_spec
        self.encoder = Encoder()
        self.manipulator = Manipulator()
        self.decoder = Decoder()

    def encode(self, frames: Tensor) -> Code:
        """Texture and shape of each frame. Shapes: ``[B, 3, H, W]`` -> ``[B, 32, H/4, W/4]``, ``[B, 32, H/2, W/2]``."""
        if frames.ndim != 4 or frames.shape[1] != 3 or min(frames.shape[2:]) < SMALLEST:
            raise ZooError(
                f"magnet wants RGB frames [B, 3, H, W] in -1..1 of at least {SMALLEST} px, got {list(frames.shape)}"
            )
        texture, shape = self.encoder(frames)
        return Code(texture, shape)

    def manipulate(self, first: Tensor, second: Tensor, alpha: Tensor | float) -> Tensor:
        """The second shape code, moved on from the first. Shapes: two ``[B, 32, h, w]``, alpha -> ``[B, 32, h, w]``."""
        factor = torch.as_tensor(alpha, dtype=second.dtype, device=second.device)
        gain = (factor - 1 if self.convention == "tf" else factor).reshape(-1, 1, 1, 1)
        moved: Tensor = self.manipulator(first, second, gain)
        return moved

    def decode(self, texture: Tensor, shape: Tensor) -> Tensor:
        """A picture, not clipped. Shapes: ``[B, 32, H/4, W/4]``, ``[B, 32, H/2, W/2]`` -> ``[B, 3, H, W]``."""
        picture: Tensor = self.decoder(texture, shape)
        return picture

    def shape_code(self, first: Tensor, second: Tensor, alpha: Tensor | float) -> Tensor:
        """What Graph-TCN and its kin cut their patches from: the manipulated shape code of a pair.

        Shapes: two ``[B, 3, H, W]`` in -1..1 -> ``[B, 32, H/2, W/2]``.
        """
        return self.manipulate(self.encode(first).shape, self.encode(second).shape, alpha)

    def forward(self, first: Tensor, second: Tensor, alpha: Tensor | float) -> Tensor:
        """The second frame with its motion since the first multiplied.

        Raises:
            ZooError: the frames are not two RGB batches of one size.
        """
        if first.shape != second.shape:
            raise ZooError(f"magnet wants two frames of one size, got {list(first.shape)} and {list(second.shape)}")
        code = self.encode(second)
        picture = self.decode(code.texture, self.manipulate(self.encode(first).shape, code.shape, alpha))
        picture = picture[..., : second.shape[2], : second.shape[3]]
        return picture if self.training else picture.clamp(-1, 1)


class Encoder(nn.Module):
    """Shapes: ``[B, 3, H, W]`` -> texture ``[B, 32, H/4, W/4]``, shape ``[B, 32, H/2, W/2]``."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(_conv(3, 16, 7), nn.ReLU(), _conv(16, 32, stride=2), nn.ReLU(), *_residual(32, 3))
        self.texture = nn.Sequential(_conv(32, 32, stride=2), nn.ReLU(), *_residual(32, 2))
        self.shape = nn.Sequential(_conv(32, 32), nn.ReLU(), *_residual(32, 2))

    def forward(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """See the class."""
        features = self.stem(frames)
        return self.texture(features), self.shape(features)


class Manipulator(nn.Module):
    """``second + h(gain * g(second - first))``. Shapes: two ``[B, 32, h, w]``, gain ``[1 or B, 1, 1, 1]`` -> the same."""

    def __init__(self) -> None:
        super().__init__()
        self.g = nn.Sequential(_conv(32, 32, 7), nn.ReLU())
        self.h = nn.Sequential(_conv(32, 32), *_residual(32, 1))

    def forward(self, first: Tensor, second: Tensor, gain: Tensor) -> Tensor:
        """See the class."""
        moved: Tensor = second + self.h(self.g(second - first) * gain)
        return moved


class Decoder(nn.Module):
    """Shapes: texture ``[B, 32, H/4, W/4]``, shape ``[B, 32, H/2, W/2]`` -> ``[B, 3, H, W]``."""

    def __init__(self) -> None:
        super().__init__()
        self.texture = nn.Sequential(_conv(32, 32), nn.ReLU())
        self.body = nn.Sequential(*_residual(64, 9))
        self.head = nn.Sequential(nn.Upsample(scale_factor=2), _conv(64, 32), nn.ReLU(), _conv(32, 3, 7))

    def forward(self, texture: Tensor, shape: Tensor) -> Tensor:
        """See the class."""
        enlarged = functional.interpolate(texture, scale_factor=2.0)[..., : shape.shape[2], : shape.shape[3]]
        picture: Tensor = self.head(self.body(torch.cat((self.texture(enlarged), shape), 1)))
        return picture


class Residual(nn.Module):
    """``x + conv(relu(conv(x)))``, 3x3."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(_conv(width, width), nn.ReLU(), _conv(width, width))

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        out: Tensor = x + self.body(x)
        return out


def _conv(inputs: int, outputs: int, size: int = 3, *, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, size, stride, size // 2, bias=False, padding_mode="reflect")


def _residual(width: int, count: int) -> list[nn.Module]:
    return [Residual(width) for _ in range(count)]


@register(task="magnification")
def magnet(*, convention: Convention = "tf", input_spec: InputSpec | None = None) -> MagNet:
    """Learned motion magnification (Oh et al., ECCV 2018)."""
    return MagNet(convention=convention, input_spec=input_spec)
