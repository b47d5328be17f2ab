"""What the ``transfer`` of a recipe may say."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args

from zoo.errors import ZooError
from zoo.train.domain_losses import Inequality
from zoo.train.objective import LossRecipe

MethodName = Literal["joint", "dann", "coral", "mmd", "emr", "micronet", "saat", "distill"]
UNLABELLED: tuple[MethodName, ...] = ("dann", "coral", "mmd")  # what needs no classes of the second domain
NUMBERS = ("macro_weight", "weight", "slope", "beta", "margin", "inequality_weight", "probabilities")


@dataclass(frozen=True, kw_only=True)
class TransferRecipe:
    """How two domains are learnt together; the ``transfer`` of a recipe. JSON-plain."""

    method: MethodName = "joint"  # joint: both domains, nothing between them
    macro_weight: float = 1.0  # of the losses of macro clips
    # fields of LossRecipe, of macro clips; without, model.losses serves them too, counted on the macro clips
    macro_losses: Mapping[str, Any] | None = None
    weight: float = 1.0  # of what the method adds
    slope: float = 10.0  # dann, emr, micronet: how fast the reversal grows over the training
    teacher: str = ""  # weights of the frozen teacher: saat, distill, and, where given, micronet
    beta: float = 1000.0  # saat: half of it weighs the attention
    margin: float = 0.3  # micronet: of the triplets
    inequality: Inequality = "micro_above"  # micronet: which loss may not be above the other
    inequality_weight: float = 1e-3
    probabilities: float = 0.5  # distill: weight of the teacher's action units beside its features

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> TransferRecipe:
        """From the ``transfer`` of a recipe. Raises ZooError for a field that there is not, or a value out of range."""
        known = {f.name for f in fields(cls)}
        if extra := sorted(set(options) - known):
            raise ZooError(f"transfer has no {', '.join(extra)}; it has {', '.join(sorted(known))}")
        recipe = cls(**options)
        for name, allowed in (("method", MethodName), ("inequality", Inequality)):
            if getattr(recipe, name) not in get_args(allowed):
                raise ZooError(f"transfer.{name} is {getattr(recipe, name)!r}; known: {', '.join(get_args(allowed))}")
        for name in NUMBERS:
            value = getattr(recipe, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
                raise ZooError(f"transfer.{name} is {value!r}; it is a number, and not below 0")
        if not isinstance(recipe.teacher, str):
            raise ZooError(f"transfer.teacher is {recipe.teacher!r}; it is the name of weights, or local-dir:FOLDER")
        if not isinstance(recipe.macro_losses, Mapping | None):
            raise ZooError(f"transfer.macro_losses is {recipe.macro_losses!r}; write it as losses: {{emotion: focal}}")
        if recipe.method in ("saat", "distill") and not recipe.teacher:
            raise ZooError(
                f"transfer.method {recipe.method} learns from a teacher; name its weights in transfer.teacher"
            )
        if recipe.teacher and recipe.method not in ("saat", "distill", "micronet"):
            raise ZooError(
                f"transfer.method {recipe.method} has no teacher, but transfer.teacher names {recipe.teacher}; leave it "
                f"out, or choose saat, distill or micronet"
            )
        return recipe

    def losses_of_macro(self, of_micro: LossRecipe | None) -> LossRecipe | None:
        """The losses of macro clips, ``of_micro`` being those of the micro clips; None for the plain cross entropy."""
        return of_micro if self.macro_losses is None else LossRecipe.of(self.macro_losses)
