"""Graph-TCN: landmark patches as one sequence, their graph as a dilated convolution.

Lei, Li, Chen, Li: "A Novel Graph-TCN with a Graph Structured Representation for Micro-expression Recognition", ACM MM 2020,
pp. 2237-2245, doi:10.1145/3394171.3413714; layers as in the authors' released test code.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import weight_norm

from zoo.errors import ZooError
from zoo.models._base import AUModel, AUOutputs
from zoo.models._graph import AUs, units_of
from zoo.registry import register
from zoo.types import PATCH_POINTS, InputSpec

BROWS = 10  # the first landmarks of a patch set are the brows, the rest the mouth


class TemporalBlock(nn.Module):
    """Two causal, dilated, weight-normalised convolutions with a residual path (Bai et al., arXiv:1803.01271).

    Args:
        in_channels, out_channels: before and after.
        kernel: taps of each convolution.
        dilation: scalars between two taps.
        dropout: probability after each convolution.

    Shapes: ``[B, in, L]`` -> ``[B, out, L]``; place t sees t and before.
    """

    def __init__(self, in_channels: int, out_channels: int, *, kernel: int, dilation: int, dropout: float) -> None:
        super().__init__()
        self.past = (kernel - 1) * dilation
        convs = [nn.Conv1d(c, out_channels, kernel, dilation=dilation) for c in (in_channels, out_channels)]
        self.down = nn.Conv1d(in_channels, out_channels, 1) if in_channels != out_channels else None
        for conv in (*convs, self.down):
            if conv is not None:
                nn.init.normal_(conv.weight, std=0.01)
        self.conv1, self.conv2 = (weight_norm(conv) for conv in convs)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        out = x
        for conv in (self.conv1, self.conv2):
            out = self.dropout(conv(F.pad(out, (self.past, 0))).relu())
        return (out + (x if self.down is None else self.down(x))).relu()

    @torch.no_grad()
    def reach(self) -> Tensor:
        """How strongly a place can draw on the one k taps before it: paths of absolute weights. Shapes: ``[2 kernel - 1]``."""
        first, second = self.conv1.weight.abs().sum(1), self.conv2.weight.abs().sum(0)  # [C, kernel]
        taps = F.conv1d(first[None], second.flip(1)[None], padding=first.shape[1] - 1)[0, 0]
        back = taps.flip(0)  # a kernel's last tap is the present
        back[0] += 1 if self.down is None else self.down.weight.abs().sum()
        return back


class GraphTCN(AUModel):
    r"""28 patches of 49 values as one sequence of 1,372 scalars, and two causal convolution paths over it.

    The node path has four blocks of 25 channels, dilations 1, 2, 4, 8. The edge path has one block whose dilation equals the
    length of a node, 49: it ties the same pixel of neighbouring patches, in the order of the landmarks; no adjacency is
    counted. Their sum, from the same weights for brows (490 scalars) and mouth (882), flattened: 34,300 -> 512 -> classes.

    Reading: which 18 mouth landmarks the authors keep is not in their code; here all but the inner corners 60 and 64. Their
    module also holds a batch normalisation that nothing calls; it is left out. Their initial N(0, 0.01) is overwritten by their
    weight normalisation; here it takes effect. AUs are not in the paper: ``au_head`` adds a batch normalisation
    and one linear layer over all nodes.

    Args:
        num_classes: outputs.
        channels: of both paths.
        node_blocks: of the node path; the dilation doubles with each.
        kernel: taps of the convolutions.
        dropout: everywhere.
        hidden: width before the classifier.
        relu_logits: clip the class scores at 0, as the released code does; without, training is easier.
        au_head: also tell AUs.
        aus: which, with ``au_head``; by number or the name of a set.
        input_spec: patches around brows and mouth.

    Shapes: ``[B, 28, 7, 7]`` -> ``[B, num_classes]``. Parameters: 17,601,661 at 5 classes. ``nodes``, named by their landmarks,
    are means over their 49 places; ``adjacency`` is how strongly the weights of the edge path can carry from one node to
    another, rows summing to 1.
    """

    def __init__(
        self,
        *,
        num_classes: int = 5,
        channels: int = 25,
        node_blocks: int = 4,
        kernel: int = 7,
        dropout: float = 0.05,
        hidden: int = 512,
        relu_logits: bool = True,
        au_head: bool = False,
        aus: AUs = "fgrmer9",
        input_spec: InputSpec | None = None,
    ) -> None:
        spec = input_spec or InputSpec(modality="patches", channels=("grey",), patches="brow10_mouth18", size=128)
        super().__init__(num_classes=num_classes, input_spec=spec)
        if spec.modality != "patches":
            raise ZooError(f"graph_tcn eats patches around landmarks, not the modality {spec.modality}")
        count, side, _ = spec.shape
        self.length = side * side  # scalars of a node
        self.aus = units_of(aus) if au_head else ()
        self.node_names = tuple(map(str, PATCH_POINTS[spec.patches]))
        widths = [1] + [channels] * node_blocks
        self.node_path = nn.Sequential(
            *(
                TemporalBlock(a, b, kernel=kernel, dilation=2**i, dropout=dropout)
                for i, (a, b) in enumerate(pairwise(widths))
            )
        )
        self.edge_path = TemporalBlock(1, channels, kernel=kernel, dilation=self.length, dropout=dropout)
        self.dropout, self.relu_logits = dropout, relu_logits
        self.num_features = hidden
        self.hidden = nn.Linear(channels * count * self.length, hidden)
        self.norm = nn.BatchNorm1d(hidden)
        self.au_fc = None
        if au_head:
            nodes = count * channels
            self.au_fc = nn.Sequential(nn.BatchNorm1d(nodes), nn.Linear(nodes, len(self.aus)))
        self.fc = self._head(num_classes)

    def _head(self, num_classes: int) -> nn.Sequential:
        layers = [nn.Linear(self.num_features, num_classes), nn.BatchNorm1d(num_classes), nn.Dropout(self.dropout)]
        return nn.Sequential(*layers, *([nn.ReLU()] if self.relu_logits else []))

    def reset_classifier(self, num_classes: int) -> None:
        """See :meth:`ZooModel.reset_classifier`; the classifier ends in a batch normalisation here."""
        old = self.hidden.weight
        super().reset_classifier(num_classes)
        if num_classes:
            self.fc = self._head(num_classes).to(device=old.device, dtype=old.dtype)

    def paths(self, x: Tensor) -> Tensor:
        """Sum of the two paths over one part of the face. Shapes: ``[B, n, side, side]`` -> ``[B, channels, n * side²]``."""
        sequence = x.flatten(1)[:, None]
        return self.node_path(sequence) + self.edge_path(sequence)

    def forward_graph(self, x: Tensor) -> AUOutputs:
        """See :meth:`AUModel.forward_graph`."""
        parts = torch.cat([self.paths(x[:, :BROWS]), self.paths(x[:, BROWS:])], 2)  # [B, channels, 1372]
        nodes = parts.unflatten(2, (-1, self.length)).mean(3).transpose(1, 2)  # [B, 28, channels]
        features = F.relu(F.dropout(self.norm(self.hidden(parts.flatten(1))), self.dropout, self.training))
        au_logits = nodes.new_zeros(x.shape[0], 0) if self.au_fc is None else self.au_fc(nodes.flatten(1))
        return AUOutputs(features, au_logits, nodes, self.edges())

    def edges(self) -> Tensor:
        """What the edge path can carry between nodes: from itself and the nodes before it in its part. Shapes: ``[N, N]``."""
        count = len(self.node_names)
        reach = self.edge_path.reach()
        back = torch.arange(count, device=reach.device)[:, None] - torch.arange(count, device=reach.device)
        brow = torch.arange(count, device=reach.device) < BROWS
        there = (back >= 0) & (back < len(reach)) & (brow[:, None] == brow)
        weights = torch.where(there, reach[back.clamp(0, len(reach) - 1)], 0)
        return weights / weights.sum(1, keepdim=True)


@register
def graph_tcn(
    *,
    num_classes: int = 5,
    channels: int = 25,
    node_blocks: int = 4,
    kernel: int = 7,
    dropout: float = 0.05,
    hidden: int = 512,
    relu_logits: bool = True,
    au_head: bool = False,
    aus: AUs = "fgrmer9",
    input_spec: InputSpec | None = None,
) -> GraphTCN:
    """Temporal convolutions over 28 landmark patches in a row (Lei et al., ACM MM 2020)."""
    return GraphTCN(
        num_classes=num_classes,
        channels=channels,
        node_blocks=node_blocks,
        kernel=kernel,
        dropout=dropout,
        hidden=hidden,
        relu_logits=relu_logits,
        au_head=au_head,
        aus=aus,
        input_spec=input_spec,
    )
