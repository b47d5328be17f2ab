"""What a network of micro-expressions learns beside its own clips from macro-expressions or from a teacher.

Each method sees batches of both domains, which pass the network together, so that its batch statistics are those of both.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, assert_never, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zoo.errors import ZooError
from zoo.models._base import AUModel, ZooModel
from zoo.models.emr import EMR
from zoo.models.micronet import EIDNet
from zoo.models.saat import SAATNet
from zoo.train.domain_losses import (
    DomainDiscriminator,
    attention_transfer,
    coral,
    cross_domain_triplet,
    dann_strength,
    domain_loss,
    loss_inequality,
    mmd,
    reverse_gradient,
)
from zoo.train.transfer_recipe import TransferRecipe


class Look(NamedTuple):
    """What a method keeps of a pass of the network."""

    features: Tensor  # [B, num_features]
    au_logits: Tensor | None = None  # [B, A], of a network of action units
    kept: Any = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Pair:
    """A batch of both domains after it has passed the network: micro clips first."""

    x: Tensor  # [B, *input_spec.shape]
    y: Tensor  # [B]; -1 where the class is not to be known
    people: Tensor  # [B], number of the person
    micro: int  # how many clips are micro
    progress: float  # of the training, 0 to 1
    features: Tensor  # [B, num_features]
    losses: Tensor  # [B], cross entropy of each clip
    kept: Any = None  # what the method kept of the forward pass

    def halves(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """Of micro clips, of macro clips."""
        return values[: self.micro], values[self.micro :]


class Method(nn.Module):
    """Both domains learnt jointly; base of what adds something."""

    def __init__(self, recipe: TransferRecipe) -> None:
        super().__init__()
        self.recipe = recipe

    def look(self, net: ZooModel, x: Tensor) -> Look:
        """Features, and whatever :meth:`forward` wants of the pass that made them."""
        if isinstance(net, AUModel):
            outputs = net.forward_graph(x)
            return Look(outputs.features, outputs.au_logits)
        return Look(net.forward_features(x))

    def forward(self, net: ZooModel, pair: Pair) -> dict[str, Tensor]:
        """What is added, by name."""
        return {}


class Moments(Method):
    """CORAL or MMD between the features of the domains."""

    def forward(self, net: ZooModel, pair: Pair) -> dict[str, Tensor]:
        """See the class."""
        name = self.recipe.method
        return {name: (coral if name == "coral" else mmd)(*pair.halves(pair.features))}


class Adversary(Method):
    """A discriminator of the domains behind a gradient reversal (DANN; Ganin and Lempitsky, ICML 2015)."""

    def __init__(self, recipe: TransferRecipe, features: int) -> None:
        super().__init__(recipe)
        self.discriminator = DomainDiscriminator((features, 64, 32))

    def told(self, pair: Pair) -> Tensor:
        """The loss of the discriminator, whose gradient reaches the features with the other sign."""
        logits = self.discriminator(reverse_gradient(pair.features, dann_strength(pair.progress, self.recipe.slope)))
        micro, macro = pair.halves(logits)
        return domain_loss(macro, micro)

    def forward(self, net: ZooModel, pair: Pair) -> dict[str, Tensor]:
        """See the class."""
        return {"domain": self.told(pair)}


class EMRMethod(Adversary):
    """The adversary, and a classifier for each part of the face (Liu et al., FG 2019): 10,759 parameters at 3 classes."""

    def __init__(self, recipe: TransferRecipe, net: ZooModel) -> None:
        super().__init__(recipe, net.num_features)
        self.part = net.num_features // 2
        self.top, self.bottom = (nn.Linear(self.part, net.num_classes) for _ in range(2))

    def forward(self, net: ZooModel, pair: Pair) -> dict[str, Tensor]:
        """See the class."""
        top, bottom = pair.features[:, : self.part], pair.features[:, self.part :]
        parts = {"top": F.cross_entropy(self.top(top), pair.y), "bottom": F.cross_entropy(self.bottom(bottom), pair.y)}
        return {**parts, **super().forward(net, pair)}


class MicroNetMethod(Adversary):
    """Expression apart from identity, alike in both domains, no worse than MacroNet (Xia et al., ACM MM 2020).

    Beside the domain adversary: a branch that tells the person, a classifier of the person behind a gradient reversal on the
    features of the expression, triplets across domains, and, with a teacher, the inequality of losses on micro clips.

    Reading: a reconstruction, see :class:`zoo.models.micronet.EIDNet`; each loss weighs 1, the inequality as in their code.
    """

    def __init__(self, recipe: TransferRecipe, net: EIDNet, people: int, teacher: ZooModel | None) -> None:
        super().__init__(recipe, net.num_features)
        self.identity = nn.Sequential(
            nn.Linear(net.trunk.num_features, net.num_features), nn.Linear(net.num_features, people)
        )
        self.leak = nn.Linear(net.num_features, people)
        self.teacher = Teacher(teacher) if teacher is not None else None

    def look(self, net: ZooModel, x: Tensor) -> Look:
        """See :meth:`Method.look`."""
        assert isinstance(net, EIDNet)
        shared = net.forward_shared(x)
        return Look(net.expression(shared), kept=shared)

    def forward(self, net: ZooModel, pair: Pair) -> dict[str, Tensor]:
        """See the class."""
        hidden = reverse_gradient(pair.features, dann_strength(pair.progress, self.recipe.slope))
        micro, macro = pair.halves(pair.features)
        parts = {
            "identity": F.cross_entropy(self.identity(pair.kept), pair.people),
            "leak": F.cross_entropy(self.leak(hidden), pair.people),
            "triplet": cross_domain_triplet(
                micro, pair.y[: pair.micro], macro, pair.y[pair.micro :], margin=self.recipe.margin
            ),
            **super().forward(net, pair),
        }
        if self.teacher is not None:
            theirs = F.cross_entropy(self.teacher.net(pair.x[: pair.micro]), pair.y[: pair.micro], reduction="none")
            above = loss_inequality(pair.losses[: pair.micro], theirs, self.recipe.inequality)
            parts["inequality"] = self.recipe.inequality_weight * above
        return parts


class SAATMethod(Method):
    """The student looks at micro clips where a teacher of macro-expressions looks (Zhou et al., ICMEW 2019)."""

    def __init__(self, recipe: TransferRecipe, teacher: SAATNet) -> None:
        super().__init__(recipe)
        self.teacher = Teacher(teacher)

    def look(self, net: ZooModel, x: Tensor) -> Look:
        """See :meth:`Method.look`."""
        assert isinstance(net, SAATNet)
        stages = net.forward_stages(x)
        return Look(net.forward_pooled(stages[-1]), kept=stages)

    def forward(self, net: ZooModel, pair: Pair) -> dict[str, Tensor]:
        """See the class."""
        with torch.no_grad():
            theirs = self.teacher.net.forward_stages(pair.x[: pair.micro])  # type: ignore[operator]
        return {"attention": self.recipe.beta / 2 * attention_transfer([m[: pair.micro] for m in pair.kept], theirs)}


class Distillation(Method):
    """The student's features tell those of a teacher of action units (AUs), and its AUs (Sun et al., TAFFC 2020).

    Reading: the mean squared distance of the teacher's features from a linear map of the student's, plus the binary cross entropy
    of the teacher's probabilities; on the clips of both domains.
    """

    def __init__(self, recipe: TransferRecipe, net: ZooModel, teacher: AUModel) -> None:
        super().__init__(recipe)
        self.teacher = Teacher(teacher)
        self.project = nn.Linear(net.num_features, teacher.num_features)
        self.units = nn.Linear(net.num_features, len(teacher.aus))

    def forward(self, net: ZooModel, pair: Pair) -> dict[str, Tensor]:
        """See the class."""
        with torch.no_grad():
            outputs = self.teacher.net.forward_graph(pair.x)  # type: ignore[operator]
        told = F.binary_cross_entropy_with_logits(self.units(pair.features), outputs.au_logits.sigmoid())
        return {
            "features": F.mse_loss(self.project(pair.features), outputs.features),
            "units": self.recipe.probabilities * told,
        }


class Teacher(nn.Module):
    """A network that predicts and never learns, whatever is done to what holds it."""

    def __init__(self, net: ZooModel) -> None:
        super().__init__()
        self.net = net.requires_grad_(False)
        self.train(False)

    def train(self, mode: bool = True) -> Teacher:
        """Nothing: it stays in eval mode."""
        super().train(False)
        return self


def method(recipe: TransferRecipe, net: ZooModel, *, people: int, teacher: ZooModel | None = None) -> Method:
    """The method of a recipe for a network.

    Args:
        recipe: which.
        net: what is trained.
        people: persons on the training sides of both domains.
        teacher: loaded from ``recipe.teacher``.

    Raises:
        ZooError: see :func:`check_families`.
    """
    check_families(recipe, net, teacher)
    match recipe.method:
        case "joint":
            return Method(recipe)
        case "dann":
            return Adversary(recipe, net.num_features)
        case "coral" | "mmd":
            return Moments(recipe)
        case "emr":
            return EMRMethod(recipe, net)
        case "micronet":
            return MicroNetMethod(recipe, cast(EIDNet, net), people, teacher)
        case "saat":
            return SAATMethod(recipe, cast(SAATNet, teacher))
        case "distill":
            return Distillation(recipe, net, cast(AUModel, teacher))
        case _:
            assert_never(recipe.method)


# of the network that is trained, and of its teacher
FAMILIES: Mapping[str, tuple[type[ZooModel], type[ZooModel]]] = {
    "emr": (EMR, ZooModel),
    "micronet": (EIDNet, ZooModel),
    "saat": (SAATNet, SAATNet),
    "distill": (ZooModel, AUModel),
}


def check_families(recipe: TransferRecipe, net: ZooModel, teacher: ZooModel | None) -> None:
    """Refuse, before any clip is read, what a method cannot work with.

    Raises:
        ZooError: the network or the teacher is not of the family that the method needs, the two eat different inputs, or tell
            other classes where those count.
    """
    for one, family, who in zip((net, teacher), FAMILIES.get(recipe.method, ()), ("", "teacher "), strict=False):
        if not isinstance(one, family) and (one is not None or family is not ZooModel):
            given = "nothing" if one is None else one.arch or type(one).__name__
            raise ZooError(
                f"transfer.method {recipe.method} needs {who or 'the network '}{family.__name__}, got {given}"
            )
    if teacher is None:
        return
    if teacher.input_spec != net.input_spec:
        raise ZooError(f"teacher {recipe.teacher} eats other inputs than the student: {_unlike(teacher, net)}")
    if recipe.method == "micronet" and teacher.num_classes != net.num_classes:
        raise ZooError(f"teacher {recipe.teacher} tells {teacher.num_classes} classes, the student {net.num_classes}")


def _unlike(teacher: ZooModel, net: ZooModel) -> str:
    """In what the input of a student differs from its teacher's, and the flag that ends it."""
    theirs, own = teacher.input_spec, net.input_spec
    names = {**theirs.to_dict(), **own.to_dict()}
    apart = {k: (getattr(theirs, k), getattr(own, k)) for k in names if getattr(theirs, k) != getattr(own, k)}
    told = ", ".join(f"{k} {_plain(a)}, not {_plain(b)}" for k, (a, b) in apart.items())
    flag = ", ".join(f"{k}: {_plain(a)}" for k, (a, _) in apart.items())
    return f'{told}. Both see the same clips: --model.input "{{{flag}}}", beside what model.input says already'


def _plain(value: Any) -> str:
    return f"[{', '.join(map(str, value))}]" if isinstance(value, list | tuple) else str(value)
