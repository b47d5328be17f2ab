"""SOFTNet: Shallow Optical Flow Three-stream CNN, which scores frames of a long video.

Liong, See, Wong: "Shallow Optical Flow Three-Stream CNN for Macro- and Micro-Expression Spotting from Long Videos", IEEE
ICIP 2021, arXiv:2106.06489.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zoo.errors import WeightError, ZooError
from zoo.models._base import ZooNetwork
from zoo.registry import register
from zoo.types import InputSpec

Scope = Literal["image", "video"]
GRID, MAPS = 7, 16  # of what the dense layers read


class SoftNet(ZooNetwork):
    r"""Three 5x5 convolutions of 3, 5 and 8 maps, on u, v and strain, then two dense layers and one score per frame.

    Each stream: convolution (same size), ReLU, max pooling 3/3; then concatenation, max pooling 2/2, dense 400 with ReLU,
    dense 1 without: :math:`\hat s_i`, an estimate of whether frames :math:`[i, i + k)` touch an expression.

    Reading: released training code stretches each channel of each *picture* to 0..1; the paper's pipeline can also be read as
    stretching over the *video*, which keeps strong and faint motion apart (``scope``).

    Args:
        kind: what it was trained to find.
        k: frames between the two pictures of a flow, half the mean length of an expression: for CAS(ME)² 6 (micro) and 18
            (macro) at 30 frames/s, for SAMM-LV 37 and 174 at 200.
        fps: the rate at which ``k`` counts; at another rate ``k`` is scaled.
        scope: over what each channel is stretched to 0..1.
        input_spec: its ``flow`` names the algorithm; the rest is fixed. :func:`zoo.spotting.softnet.features` makes the input.

    Shapes: ``[B, 3, 42, 42]`` (u, v, strain; above the brows, below the mouth) -> ``[B]``. Parameters: 314,817.

    Raises:
        ZooError: an argument out of range, or an input of another shape.
    """

    def __init__(
        self,
        *,
        kind: Literal["micro", "macro"] = "micro",
        k: int = 6,
        fps: float = 30.0,
        scope: Scope = "image",
        input_spec: InputSpec | None = None,
    ) -> None:
        super().__init__()
        if k < 1 or not fps > 0 or scope not in get_args(Scope) or kind not in ("micro", "macro"):
            raise ZooError(
                f"softnet: kind={kind!r}, k={k}, fps={fps}, scope={scope!r}; wanted micro or macro, k of at least 1 frame, a "
                f"positive rate, and a scope of {' or '.join(get_args(Scope))}"
            )
        self.kind, self.k, self.fps, self.scope = kind, k, fps, scope
        self.input_spec = input_spec or InputSpec(size=42, map_size=42, crop="face")
        if self.input_spec.shape != (3, 42, 42):
            raise ZooError(
                f"softnet reads [3, 42, 42] (u, v, strain), its input_spec says {list(self.input_spec.shape)}"
            )
        self.conv1, self.conv2, self.conv3 = (nn.Conv2d(1, maps, 5, padding=2) for maps in (3, 5, 8))
        self.dense = nn.Linear(MAPS * GRID * GRID, 400)
        self.score = nn.Linear(400, 1)
        for layer in (self.conv1, self.conv2, self.conv3, self.dense, self.score):  # as Keras begins
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.get_parameter("bias"))

    def forward(self, x: Tensor) -> Tensor:
        """One score per frame. Raises ZooError if ``x`` is not ``[B, 3, 42, 42]``."""
        if x.ndim != 4 or tuple(x.shape[1:]) != (3, 42, 42):
            raise ZooError(f"softnet wants [B, 3, 42, 42] (u, v, strain), got {list(x.shape)}")
        streams = zip((self.conv1, self.conv2, self.conv3), x.split(1, dim=1), strict=True)
        maps = torch.cat([F.max_pool2d(conv(channel).relu(), 3) for conv, channel in streams], 1)  # [B, 16, 14, 14]
        hidden = self.dense(F.max_pool2d(maps, 2).flatten(1)).relu()
        return self.score(hidden)[:, 0]


@register(task="spotting")
def softnet(
    *,
    kind: Literal["micro", "macro"] = "micro",
    k: int = 6,
    fps: float = 30.0,
    scope: Scope = "image",
    input_spec: InputSpec | None = None,
) -> SoftNet:
    """Shallow three-stream CNN that scores frames of a long video (Liong et al., ICIP 2021)."""
    return SoftNet(kind=kind, k=k, fps=fps, scope=scope, input_spec=input_spec)


def convert_published(state: Mapping[str, Tensor]) -> tuple[dict[str, Any], Mapping[str, Tensor]]:
    """Arguments and state of the authors' Keras files (hdf5, one per held-out subject).

    Keras stores a convolution as height, width, in, out, and flattens pictures with the channel last. Layers are told apart by
    their shapes, since Keras numbers their names on from model to model. The file does not say what it was trained on: the
    arguments stay at their defaults (micro, k of 6 at 30 frames/s), and spotting takes others.

    Raises:
        WeightError: the tensors are not those of SOFTNet.
    """
    shapes = {
        "conv1": ((5, 5, 1, 3), (3,)),
        "conv2": ((5, 5, 1, 5), (5,)),
        "conv3": ((5, 5, 1, 8), (8,)),
        "dense": ((MAPS * GRID * GRID, 400), (400,)),
        "score": ((400, 1), (1,)),
    }
    found: dict[str, Tensor] = {}
    for name, pair in shapes.items():
        for part, shape in zip(("weight", "bias"), pair, strict=True):
            fitting = [k for k, v in state.items() if tuple(v.shape) == shape]
            if len(fitting) != 1:
                raise WeightError(
                    f"this is no SOFTNet of its authors: {len(fitting)} tensors of shape {list(shape)} ({name} {part}), "
                    f"wanted one; it holds {', '.join(f'{k} {list(v.shape)}' for k, v in list(state.items())[:6])}"
                )
            found[f"{name}.{part}"] = state[fitting[0]]
    if len(state) != len(found):
        raise WeightError(f"this is no SOFTNet of its authors: {len(state)} tensors, wanted {len(found)}")
    for name in ("conv1", "conv2", "conv3"):
        found[f"{name}.weight"] = found[f"{name}.weight"].permute(3, 2, 0, 1).contiguous()
    dense = found["dense.weight"].reshape(GRID, GRID, MAPS, 400).permute(2, 0, 1, 3).reshape(MAPS * GRID * GRID, 400)
    found["dense.weight"], found["score.weight"] = dense.T.contiguous(), found["score.weight"].T.contiguous()
    return {}, found
