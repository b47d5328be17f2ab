"""The small contract that every model of the zoo keeps."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, NamedTuple

from torch import Tensor, nn

from zoo.errors import ZooError
from zoo.types import InputSpec


class ZooNetwork(nn.Module):
    """Anything with weights that the zoo names, stores and loads: what is no recogniser derives from this alone."""

    arch: str = ""  # name in the registry; set by create_model
    config: dict[str, Any]  # keyword arguments of the builder; set by create_model
    classes: tuple[str, ...] = ()  # set when weights are loaded
    card: str = ""  # model card in Markdown; set when weights are loaded
    input_spec: InputSpec | None = None  # what `prepare` makes for it; None where it eats something else
    num_classes: int = 0  # 0 where its outputs are no classes


class ZooModel(ZooNetwork, ABC):
    """A recogniser: ``forward = forward_head(forward_features(x))``.

    Subclasses set ``num_features`` and ``num_classes``, call their last linear layer by the attribute that ``classifier``
    names, and state the input they were designed for in ``input_spec``.

    Shapes: x ``[B, *input_spec.shape]``, e.g. ``[B, C, H, W]``, -> logits ``[B, num_classes]``.
    """

    classifier: ClassVar[str] = "fc"  # attribute (and state-dict prefix) of the last linear layer
    input_spec: InputSpec

    def __init__(self, *, num_classes: int, input_spec: InputSpec) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.input_spec = input_spec
        self.num_features = 0

    @abstractmethod
    def forward_features(self, x: Tensor) -> Tensor:
        """Everything before the last linear layer. Shapes: ``[B, *input_spec.shape]`` -> ``[B, num_features]``."""

    def forward_head(self, features: Tensor, pre_logits: bool = False) -> Tensor:
        """The last linear layer. Shapes: ``[B, num_features]`` -> ``[B, num_classes]``, unchanged if ``pre_logits``."""
        return features if pre_logits else self.get_classifier()(features)

    def forward(self, x: Tensor) -> Tensor:
        """Class logits. Raises ZooError if the channels or the size of ``x`` are not those of ``input_spec``."""
        self.check_input(x)
        return self.forward_head(self.forward_features(x))

    def extra_loss(self, x: Tensor, aus: Tensor | None = None) -> Tensor | None:
        """What the paper minimises beside its targets (a reconstruction, say), already weighted; None if nothing.

        Called after the forward pass of the same batch, whose tensors a model may keep for it.

        Shapes: aus float ``[B, A]`` as :attr:`AUModel.aus`, NaN unknown; None where nobody coded them.
        """
        return None

    def check_input(self, x: Tensor) -> None:
        """Refuse a tensor that cannot be this model's input, before a layer does it in its own words."""
        if tuple(x.shape[1:]) != self.input_spec.shape:
            spec = self.input_spec
            raise ZooError(
                f"{self.arch or type(self).__name__} wants [B, {', '.join(map(str, spec.shape))}] (channels "
                f"{', '.join(spec.channels)}), got {list(x.shape)}; zoo.inputs.prepare(clip, model.input_spec) makes it"
            )

    def get_classifier(self) -> nn.Module:
        """The last linear layer."""
        return getattr(self, self.classifier)

    def reset_classifier(self, num_classes: int) -> None:
        """Replace the last linear layer by a fresh one, on the device and in the precision of the old one.

        With ``num_classes=0`` the model returns its features.
        """
        if num_classes < 0:
            raise ZooError(f"num_classes is {num_classes}; it must be 0 (features) or the number of classes")
        old = next(self.get_classifier().parameters(), next(self.parameters()))
        head = nn.Linear(self.num_features, num_classes) if num_classes else nn.Identity()
        setattr(self, self.classifier, head.to(device=old.device, dtype=old.dtype))
        self.num_classes = num_classes
        self.classes = ()
        if getattr(self, "config", None) is not None:
            self.config = {**self.config, "num_classes": num_classes}


class AUOutputs(NamedTuple):
    """What a graph of action units knows about a batch."""

    features: Tensor  # [B, num_features], what the classifier reads
    au_logits: Tensor  # [B, A], in the order of `AUModel.aus`
    nodes: Tensor  # [B, N, D], node features after the last graph layer
    adjacency: Tensor  # [N, N] or [B, N, N]; entry [i, j] is the weight with which node i takes from node j


class AUModel(ZooModel):
    """A recogniser whose nodes are action units (AUs): it tells AUs and the emotion, and shows its graph.

    Subclasses set ``aus`` (those that it tells), ``node_names`` (one name per node, such as ``AU12`` or ``AU12L``, side of the
    subject), and implement :meth:`forward_graph`.
    """

    aus: tuple[int, ...] = ()  # of `AUOutputs.au_logits`
    node_names: tuple[str, ...] = ()  # of `AUOutputs.nodes`

    @abstractmethod
    def forward_graph(self, x: Tensor) -> AUOutputs:
        """Everything before the classifier. Shapes: ``[B, *input_spec.shape]`` -> see :class:`AUOutputs`."""

    def forward_features(self, x: Tensor) -> Tensor:
        """See :meth:`ZooModel.forward_features`."""
        return self.forward_graph(x).features

    def forward_all(self, x: Tensor) -> tuple[Tensor, AUOutputs]:
        """Class logits ``[B, num_classes]`` and everything behind them. Raises ZooError as :meth:`ZooModel.forward` does."""
        self.check_input(x)
        outputs = self.forward_graph(x)
        return self.forward_head(outputs.features), outputs

    def fit_graph(self, au_labels: Tensor) -> None:
        """Set the edges from the AU labels of the training clips, and of nothing else; called before each fit.

        Models whose edges are not counted ignore it.

        Args:
            au_labels: 1 where a clip shows the unit, 0 where not, in the order of ``aus``; clips without labels are left out.

        Shapes: float ``[M, A]``.
        """
