"""The nouns that travel through the zoo: frozen, every field with its shape and unit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Literal, get_args

from zoo.errors import ZooError

if TYPE_CHECKING:
    import numpy as np

Channel = Literal["u", "v", "strain"]
Normalisation = Literal["minmax_255"]
Scaling = Literal["raw255", "unit", "median"]
FlowMethod = Literal["tvl1", "tvl1_fast"]
Crop = Literal["face", "megc2019"]

MEGC_CLASSES = ("negative", "positive", "surprise")


@dataclass(frozen=True, kw_only=True)
class InputSpec:
    """What a model eats. Stored with the weights; :func:`zoo.inputs.prepare` is its only interpreter.

    A flow picture is made in this order: onset→apex flow at the size of the aligned face, strain from it, both cut to
    ``crop`` and resized to ``map_size``, normalised there, resized to ``size`` if that differs, scaled, channels put in order.
    """

    modality: Literal["flow"] = "flow"
    channels: tuple[Channel, ...] = ("u", "v", "strain")  # u right, v down, strain dimensionless
    size: int = 28  # pixels, height = width of the tensor fed
    map_size: int = 28  # pixels, the size at which the normalisation is computed
    normalisation: Normalisation = "minmax_255"  # per picture and channel, rounded to 0..255 (STSTNet's public inputs)
    scaling: Scaling = "unit"  # raw255: 0..255; unit: 0..1; median: (x - the picture's own median) / 64
    flow: FlowMethod = "tvl1"  # the parameter set of the flow, see zoo.vision.flow
    crop: Crop = "megc2019"  # which part of the aligned face the picture shows, see zoo.inputs.CROPS

    def __post_init__(self) -> None:
        object.__setattr__(self, "channels", tuple(self.channels))
        for name, allowed in (
            ("normalisation", Normalisation),
            ("scaling", Scaling),
            ("flow", FlowMethod),
            ("crop", Crop),
        ):
            if getattr(self, name) not in get_args(allowed):
                raise ZooError(f"InputSpec.{name} is {getattr(self, name)!r}; known: {', '.join(get_args(allowed))}")
        wrong = [c for c in self.channels if c not in get_args(Channel)]
        if wrong or not self.channels or len(set(self.channels)) != len(self.channels):
            raise ZooError(
                f"InputSpec.channels is {self.channels}; choose each at most once from {', '.join(get_args(Channel))}"
            )
        if self.size < 1 or self.map_size < 1:
            raise ZooError(f"InputSpec.size and map_size are pixels, at least 1; got {self.size} and {self.map_size}")

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of one input, ``(channels, height, width)``."""
        return (len(self.channels), self.size, self.size)

    def to_dict(self) -> dict[str, Any]:
        """JSON-plain form, for ``config.json``."""
        return {**asdict(self), "channels": list(self.channels)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> InputSpec:
        """Inverse of :meth:`to_dict`. An unknown field is an error, never ignored."""
        known = {f.name for f in fields(cls)}
        extra = sorted(set(data) - known)
        if extra:
            raise ZooError(f"an InputSpec has no field {', '.join(extra)}; it has {', '.join(sorted(known))}")
        return cls(**data)

    def replace(self, **changes: Any) -> InputSpec:
        """A copy with some fields changed."""
        return replace(self, **changes)


@dataclass(frozen=True, kw_only=True)
class Interval:
    """When something happens, in frame numbers counted from 0 within the clip; ``offset`` is the last frame of it."""

    onset: int
    apex: int
    offset: int | None = None
    source: Literal["annotated", "spotted", "user", "synthetic"] = "annotated"


@dataclass(frozen=True, kw_only=True, eq=False)
class Clip:
    """One micro-expression sample: frames plus when, who and what.

    A clip whose data set publishes only a motion map (and not the frames) carries it in ``flow_map``.
    """

    id: str  # unique within its data set
    dataset: str
    subject: str
    frames: Sequence[np.ndarray] | None = None  # each uint8 [H, W, 3] RGB, aligned face
    fps: float | None = None
    interval: Interval | None = None
    emotion: str | None = None
    flow_map: FlowMap | None = None

    @property
    def key(self) -> str:
        """``dataset/subject/id``: unique over the zoo, since subject names clash between data sets."""
        return f"{self.dataset}/{self.subject}/{self.id}"


@dataclass(frozen=True, kw_only=True, eq=False)
class FlowMap:
    """Onset→apex motion of an aligned face."""

    data: np.ndarray  # [3, H, W] float32 in pixels (strain dimensionless), or uint8 where already normalised
    normalisation: Literal["none", "minmax_255"] = "none"


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """Class probabilities of one clip. Predictions travel with their clip id; scores are computed once, from all of them."""

    clip: str  # Clip.key
    probabilities: tuple[float, ...]  # sums to 1, in the order of `classes`
    classes: tuple[str, ...]

    @property
    def label(self) -> str:
        """The most probable class."""
        return self.classes[max(range(len(self.classes)), key=self.probabilities.__getitem__)]
