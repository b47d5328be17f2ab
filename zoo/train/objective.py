"""What a fit minimises: a loss of the emotion, and beside it losses of action units (AUs) and of features."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from torch import Tensor, nn

from zoo.errors import ZooError
from zoo.models._base import AUModel, ZooModel
from zoo.train.fuzzy import label_distribution
from zoo.train.losses import AULossName, EmotionLossName, FeatureLossName, au_loss, emotion_loss, feature_loss


@dataclass(frozen=True, kw_only=True)
class LossRecipe:
    """Which losses, with what weight; the ``losses`` of a recipe. JSON-plain. See :mod:`zoo.train.losses` for the names."""

    emotion: EmotionLossName = "ce"
    emotion_args: Mapping[str, Any] = field(default_factory=dict)
    emotion_weight: float = 1.0  # 0 trains the action units alone
    au: AULossName | None = None
    au_args: Mapping[str, Any] = field(default_factory=dict)
    au_weight: float = 1.0
    feature: FeatureLossName | None = None
    feature_args: Mapping[str, Any] = field(default_factory=dict)
    feature_weight: float = 0.1
    fuzzy: float = 0.0  # share of the classes that training clips with the same AUs were given, see zoo.train.fuzzy
    fuzzy_prior: float = 2.0  # weight of the class rates in it, in clips

    def __post_init__(self) -> None:
        for name in ("emotion_weight", "au_weight", "feature_weight", "fuzzy"):
            if getattr(self, name) < 0:
                raise ZooError(f"losses.{name} is {getattr(self, name)}; a weight is not below 0")

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> LossRecipe:
        """From the ``losses`` of a recipe. Raises ZooError for a field that there is not."""
        known = {f.name for f in fields(cls)}
        if extra := sorted(set(options) - known):
            raise ZooError(f"losses have no {', '.join(extra)}; they have {', '.join(sorted(known))}")
        return cls(**options)


class Objective(nn.Module):
    """The sum of the losses of a recipe, with weights counted on the training clips of the fold.

    Args:
        recipe: which losses.
        net: what is trained.
        class_counts: training clips of each class.
        labels: classes of the training clips.
        au_labels: units of the training clips in the order of ``net.aus``, NaN unknown; None for a network without AUs.

    Shapes: class_counts ``[K]``; labels int ``[M]``; au_labels float ``[M, A]``.

    Raises:
        ZooError: a loss of AUs for a network or data without any.
    """

    def __init__(
        self, recipe: LossRecipe, *, net: ZooModel, class_counts: Tensor, labels: Tensor, au_labels: Tensor | None
    ) -> None:
        super().__init__()
        self.recipe = recipe
        self.emotion = emotion_loss(
            recipe.emotion, num_classes=net.num_classes, class_counts=class_counts, **recipe.emotion_args
        )
        self.feature = (
            feature_loss(
                recipe.feature, num_classes=net.num_classes, num_features=net.num_features, **recipe.feature_args
            )
            if recipe.feature
            else None
        )
        wants_aus = bool(recipe.au or recipe.fuzzy or getattr(self.feature, "needs_aus", False))
        if wants_aus and (au_labels is None or not isinstance(net, AUModel)):
            raise ZooError(
                f"losses of action units need a network that tells them; {net.arch or type(net).__name__} tells emotions only"
            )
        if wants_aus and au_labels is not None and bool(au_labels.isnan().all()):
            raise ZooError("losses of action units need clips whose units are coded; none of the training clips is")
        self.au = au_loss(recipe.au, au_labels=au_labels, **recipe.au_args) if recipe.au else None
        self.fuzzy = (
            label_distribution(au_labels, labels, net.num_classes, a=recipe.fuzzy_prior, mix=recipe.fuzzy)
            if recipe.fuzzy and au_labels is not None
            else None
        )

    def forward(self, net: ZooModel, x: Tensor, y: Tensor, aus: Tensor | None) -> tuple[Tensor, dict[str, Tensor]]:
        """The weighted sum, and each part by name.

        Shapes: x ``[B, *input_spec.shape]``, y int ``[B]``, aus float ``[B, A]`` with NaN unknown -> scalar.
        """
        au_logits: Tensor | None = None
        if isinstance(net, AUModel):
            logits, outputs = net.forward_all(x)
            features, au_logits = outputs.features, outputs.au_logits
        else:
            net.check_input(x)
            features = net.forward_features(x)
            logits = net.forward_head(features)
        parts = self.parts(logits, features, au_logits, y, aus)
        extra = net.extra_loss(x, aus)
        if extra is not None:
            parts["extra"] = extra
        return sum(parts.values(), start=logits.new_zeros(())), parts

    def parts(
        self, logits: Tensor, features: Tensor, au_logits: Tensor | None, y: Tensor, aus: Tensor | None
    ) -> dict[str, Tensor]:
        """Each part by name, of what a pass of the network gave; its own ``extra_loss`` is not among them.

        Shapes: logits ``[B, K]``, features ``[B, D]``, au_logits ``[B, A]``, y int ``[B]``, aus float ``[B, A]``.
        """
        target = self.fuzzy(aus, y) if self.fuzzy is not None else y
        parts = {"emotion": self.recipe.emotion_weight * self.emotion(logits, target)}
        if self.au is not None:
            parts["au"] = self.recipe.au_weight * self.au(au_logits, aus)
        if self.feature is not None:
            against = aus if getattr(self.feature, "needs_aus", False) else y
            parts["feature"] = self.recipe.feature_weight * self.feature(features, against)
        return parts
