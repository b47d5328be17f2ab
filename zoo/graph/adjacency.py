"""Who takes from whom: adjacency from AU labels, from measured statistics, from distance, or of everyone.

Every result obeys one convention: entry [i, j] is the weight with which node i takes from node j, so that a layer computes
``A @ nodes``. Nothing here is learned; :mod:`zoo.graph.learned` holds what is. Inputs may be tensors or arrays; counting is
done in double precision.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, assert_never, get_args

import numpy as np
import torch
from torch import Tensor

from zoo.errors import ZooError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    Array = Tensor | ArrayLike

# of the conditional probabilities before normalisation: which of the two units of entry [i, j] is known to be there
Direction = Literal["given_row", "given_column"]
Reweight = Literal["paper", "ml_gcn", "none"]
Normalise = Literal["ml_gcn", "symmetric", "row", "none"]


def joint_counts(au_labels: Array) -> tuple[Tensor, Tensor]:
    """How many clips show both units, and how many show the one while the other is known.

    Args:
        au_labels: 1 where a clip shows the unit, 0 where not, NaN where that is not known.

    Shapes: ``[M, A]`` -> double ``[A, A]`` (symmetric; the diagonal counts each unit) and double ``[A, A]``, whose entry
    [i, j] counts the clips with unit i in which unit j is known: without NaN the count of unit i, whatever j.

    Raises:
        ZooError: not a table of 0, 1 and NaN.
    """
    labels = _double(au_labels)
    known = ~labels.isnan()
    shown = torch.where(known, labels, 0.0)
    if labels.ndim != 2 or not ((shown == 0) | (shown == 1)).all():
        raise ZooError(
            f"AU labels are a table [clips, units] of 0 and 1 (NaN where not known), got shape {list(labels.shape)} with values "
            f"from {shown.min() if shown.numel() else 'nothing'} to {shown.max() if shown.numel() else 'nothing'}"
        )
    return shown.T @ shown, shown.T @ known.to(torch.float64)


def conditional(
    joint: Array, shown: Array | None = None, *, smoothing: float = 0.5, direction: Direction = "given_row"
) -> Tensor:
    """Conditional probabilities of units, the diagonal 0: ``(M + s) / (N + 2 s)`` (Laplace).

    A unit that never occurs conditions nothing: its probabilities are 0 however large the smoothing. With smoothing, a unit
    seen in four clips or fewer is thought to bring every other one with at least 0.1.

    Args:
        joint: clips that show both units, the diagonal each unit's own count.
        shown: clips that show unit i while j is known; by default the diagonal.
        smoothing: clips added to M, and twice to N.
        direction: ``given_row``: [i, j] is P(unit j | unit i); ``given_column``: P(unit i | unit j).

    Shapes: ``[A, A]`` -> double ``[A, A]``.

    Raises:
        ZooError: counts that no table of clips can give.
    """
    counts = _double(joint)
    if counts.ndim != 2 or counts.shape[0] != counts.shape[1]:
        raise ZooError(f"joint counts are a square table, got shape {list(counts.shape)}")
    totals = counts.diagonal()[:, None].expand_as(counts) if shown is None else _double(shown)
    if smoothing < 0 or not torch.equal(counts, counts.T) or (counts < 0).any() or (counts > totals).any():
        raise ZooError(
            "joint counts are symmetric, not negative, and at most the count of each of the two units on the diagonal; "
            "smoothing is not negative"
        )
    table = torch.where(totals > 0, (counts + smoothing) / (totals + 2 * smoothing).clamp(min=1e-12), 0.0)
    table.fill_diagonal_(0)
    match direction:
        case "given_row":
            return table
        case "given_column":
            return table.T.contiguous()
        case _:
            assert_never(direction)


def reweight(edges: Tensor, *, p: float = 0.2, form: Reweight = "paper") -> Tensor:
    """Give neighbours together the weight p, a node itself the rest (Chen et al., ML-GCN, CVPR 2019, equation 8).

    Args:
        edges: without loops, 0 or 1 (or weights), as thresholded.
        p: between 0 and 1.
        form: ``paper``: ``p / sum_k B_ik`` and ``1 - p`` on the diagonal; a node without neighbours keeps that 1 - p.
            ``ml_gcn``: what the authors' code does, ``B p/(1-p) / sum_k B_kj + I``, divided by the sum of the column.
            ``none``: ``B + I``.

    Shapes: ``[A, A]`` -> ``[A, A]``.
    """
    if not 0 <= p < 1:
        raise ZooError(f"the weight p of the neighbours is {p}; it lies from 0 to below 1")
    eye = torch.eye(len(edges), dtype=edges.dtype, device=edges.device)
    match form:
        case "paper":
            total = edges.sum(1, keepdim=True)
            return torch.where(total > 0, edges * p / total.clamp(min=1e-12), 0.0) + (1 - p) * eye
        case "ml_gcn":
            return edges * (p / (1 - p)) / (edges.sum(0, keepdim=True) + 1e-6) + eye
        case "none":
            return edges + eye
        case _:
            assert_never(form)


def normalise(adjacency: Tensor, how: Normalise = "ml_gcn") -> Tensor:
    """Scale an adjacency by the sums of its rows; a row of zeros stays one.

    Args:
        adjacency: not negative.
        how: ``ml_gcn``: ``(A D)^T D`` with ``D = rowsum^-1/2``, as the code of ML-GCN and FGRMER has it. It transposes: what
            was [i, j] is now [j, i]. ``symmetric``: ``D A D``. ``row``: rows sum to 1. ``none``.

    Shapes: ``[..., A, A]`` -> ``[..., A, A]``.
    """
    total = adjacency.sum(-1)
    match how:
        case "ml_gcn" | "symmetric":
            scale = torch.where(total > 0, total.clamp(min=1e-12).rsqrt(), 0.0)
            scaled = scale[..., :, None] * adjacency * scale[..., None, :]
            return scaled.transpose(-1, -2).contiguous() if how == "ml_gcn" else scaled
        case "row":
            return torch.where(total > 0, 1 / total.clamp(min=1e-12), 0.0)[..., None] * adjacency
        case "none":
            return adjacency
        case _:
            assert_never(how)


def from_counts(
    joint: Array,
    shown: Array | None = None,
    *,
    smoothing: float = 0.5,
    tau: float | None = 0.1,
    p: float = 0.2,
    direction: Direction = "given_row",
    form: Reweight = "paper",
    scale: Normalise = "ml_gcn",
    min_joint: int = 0,
) -> Tensor:
    """As :func:`cooccurrence`, from counts. Shapes: ``[A, A]`` -> float ``[A, A]``."""
    for name, value, allowed in (("direction", direction, Direction), ("form", form, Reweight),
                                 ("scale", scale, Normalise)):  # fmt: skip
        if value not in get_args(allowed):
            raise ZooError(f"{name} of the adjacency is {value!r}; known: {', '.join(get_args(allowed))}")
    table = conditional(joint, shown, smoothing=smoothing, direction=direction)
    table = torch.where(_double(joint) >= min_joint, table, 0.0)
    edges = table if tau is None else ((table >= tau) & (table > 0)).to(table.dtype)
    return normalise(reweight(edges, p=p, form=form), scale).to(torch.get_default_dtype())


def cooccurrence(
    au_labels: Array,
    *,
    smoothing: float = 0.5,
    tau: float | None = 0.1,
    p: float = 0.2,
    direction: Direction = "given_row",
    form: Reweight = "paper",
    scale: Normalise = "ml_gcn",
    min_joint: int = 0,
) -> Tensor:
    """Edges between units that occur together, counted on the training clips of a fold (ML-GCN's recipe).

    Conditional probabilities, kept as 1 where they reach tau, re-weighted by p, normalised. FGRMER's is
    ``smoothing=0, tau=None, direction="given_column", form="none"``: probabilities plus loops, no threshold. Micro-expressions
    show 1.3 to 1.7 units a clip, so ML-GCN's own tau of 0.4 would leave almost no edge.

    Args:
        au_labels: 1 shown, 0 not, NaN unknown; of the training clips of the fold and of nothing else.
        smoothing: see :func:`conditional`.
        tau: threshold of the probabilities; None keeps them as weights.
        p: see :func:`reweight`.
        direction: of the probabilities; ``scale="ml_gcn"`` then transposes, as the published code does.
        form: see :func:`reweight`.
        scale: see :func:`normalise`.
        min_joint: clips that must show both units before there is an edge. Smoothing alone gives edges to units that are rarer
            than ``smoothing / tau`` clips; 1 takes those away.

    Shapes: ``[M, A]`` -> float ``[A, A]``, entry [i, j] the weight with which unit i takes from unit j.
    """
    return from_counts(*joint_counts(au_labels), smoothing=smoothing, tau=tau, p=p, direction=direction, form=form,
                       scale=scale, min_joint=min_joint)  # fmt: skip


def prior(
    aus: Sequence[int],
    source: str = "pooled",
    *,
    smoothing: float = 0.5,
    tau: float | None = 0.1,
    p: float = 0.2,
    direction: Direction = "given_row",
    form: Reweight = "paper",
    scale: Normalise = "ml_gcn",
    min_joint: int = 0,
) -> Tensor:
    """As :func:`cooccurrence`, from the published annotations of a data set (:func:`zoo.facs.statistics.joint_counts`).

    Units that the data set never shows get no neighbours. Not for scores on a data set that ``source`` holds: its counts have
    seen the tested subjects.

    Shapes: A numbers -> float ``[A, A]``.
    """
    from zoo.facs import statistics

    counts = statistics.joint_counts(aus, source)
    return from_counts(torch.tensor(counts), smoothing=smoothing, tau=tau, p=p, direction=direction, form=form,
                       scale=scale, min_joint=min_joint)  # fmt: skip


def signed(au_labels: Array, *, positive: float = 0.05, negative: float = 0.5) -> Tensor:
    """SRERL's graph of symbiosis and exclusion (Li et al., AAAI 2019, as read): +1, -1 or 0, the diagonal 0.

    +1 where ``P(i | j) - P(i) > positive``; -1 where ``P(i | j) < negative * P(i)``. A unit that never occurs has no edges.

    Shapes: ``[M, A]`` -> float ``[A, A]``; [i, j] is how the presence of unit j bears on unit i.
    """
    joint, shown = joint_counts(au_labels)
    known = (~torch.as_tensor(au_labels).to(torch.float64).isnan()).sum(0)
    return _signed(joint, shown, known, positive=positive, negative=negative)


def signed_prior(
    aus: Sequence[int], source: str = "pooled", *, positive: float = 0.05, negative: float = 0.5
) -> Tensor:
    """As :func:`signed`, from the published annotations of a data set; see :func:`prior`. Shapes: A numbers -> ``[A, A]``."""
    from zoo.facs import statistics

    counts = torch.tensor(statistics.joint_counts(aus, source)).to(torch.float64)
    clips = torch.full((len(counts),), statistics.clip_count(source))
    return _signed(counts, None, clips, positive=positive, negative=negative)


def _signed(joint: Tensor, shown: Tensor | None, known: Tensor, *, positive: float, negative: float) -> Tensor:
    rate = torch.where(known > 0, joint.diagonal() / known.clamp(min=1), 0.0)[:, None]
    given = conditional(joint, shown, smoothing=0, direction="given_column")
    seen = (joint.diagonal() > 0)[None].expand_as(given) & ~torch.eye(len(given), dtype=torch.bool)
    edges = (given - rate > positive).to(torch.int8) - (given < negative * rate).to(torch.int8)
    return torch.where(seen, edges, 0).to(torch.get_default_dtype())


def fully_connected(nodes: int, *, loops: bool = True) -> Tensor:
    """Everyone takes from everyone, rows summing to 1. Shapes: ``[nodes, nodes]``."""
    ones = torch.ones(nodes, nodes)
    return normalise(ones if loops else ones.fill_diagonal_(0), "row")


def knn(points: Array, k: int, *, loops: bool = True) -> Tensor:
    """Each node takes from itself (if ``loops``) and from its k nearest others, rows summing to 1.

    Args:
        points: places or features of the nodes; distance is Euclidean, of equals the first is nearer.
        k: from 1 to one less than there are nodes.

    Shapes: ``[..., N, D]`` -> float ``[..., N, N]``.

    Raises:
        ZooError: more neighbours than there are others.
    """
    places = _double(points).to(torch.get_default_dtype())
    count = places.shape[-2]
    if not 1 <= k < count:
        raise ZooError(f"{k} nearest neighbours among {count} nodes: wanted 1 to {count - 1}")
    eye = torch.eye(count, dtype=torch.bool, device=places.device)
    distance = (places[..., :, None, :] - places[..., None, :, :]).square().sum(-1).masked_fill(eye, torch.inf)
    nearest = distance.argsort(dim=-1, stable=True)[..., :k]
    edges = torch.zeros_like(distance).scatter(-1, nearest, 1.0)
    return normalise(edges + eye if loops else edges, "row")


def edge_count(joint: Array, tau: float, *, direction: Direction = "given_row") -> int:
    """Directed edges whose conditional probability, without smoothing, reaches tau. Shapes: ``[A, A]`` -> a number."""
    table = conditional(joint, smoothing=0, direction=direction)
    return int(((table >= tau) & (table > 0)).sum())


def _double(values: Array) -> Tensor:
    """A tensor stays on its device; arrays, lists and tables become one."""
    if isinstance(values, Tensor):
        return values.to(torch.float64)
    return torch.from_numpy(np.array(values, np.float64))
