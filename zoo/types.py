"""The nouns that travel through the zoo: frozen, every field with its shape and unit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Literal, assert_never, get_args

from zoo.errors import ZooError

if TYPE_CHECKING:
    import numpy as np

Modality = Literal["flow", "frames", "apex", "patches"]
Channel = Literal["u", "v", "strain", "red", "green", "blue", "grey", "difference"]
Normalisation = Literal["minmax_255", "pixels", "iod", "peak", "zscore"]
Scaling = Literal["raw255", "unit", "median", "robust", "signed", "imagenet"]
FlowMethod = Literal["tvl1", "tvl1_fast", "tvl1_torch", "dis", "farneback"]
Crop = Literal["face", "megc2019"]
PatchSet = Literal["brow10_mouth18", "brow10_mouth20"]
PatchSource = Literal["shape", "difference", "strain"]
MOTION: tuple[Channel, ...] = ("u", "v", "strain")
# Landmarks in iBUG order, brows before mouth. Graph-TCN keeps 18 of the 20 mouth points without saying which: the inner
# corners 60 and 64 are left out, since they all but coincide with 48 and 54.
PATCH_POINTS: dict[PatchSet, tuple[int, ...]] = {
    "brow10_mouth18": (*range(17, 27), *range(48, 60), 61, 62, 63, 65, 66, 67),
    "brow10_mouth20": (*range(17, 27), *range(48, 68)),
}

# Left, top, right, bottom in units of the aligned face. The published MEGC2019 pictures show faces from jaw to jaw, 170 px
# high and 140 wide, squeezed into a square. Where they lie was measured: laying the displacement fields of AU4, AU1+2 and
# AU6+12 over the mean flow of the three classes puts their top at 0.11 and their bottom at 1.01 of the aligned face, and the
# aspect gives the width. A model fed the whole aligned face instead takes faint smiles for something negative.
CROPS: dict[Crop, tuple[float, float, float, float]] = {
    "face": (0.0, 0.0, 1.0, 1.0),
    "megc2019": (0.13, 0.10, 0.87, 1.0),
}

MEGC_CLASSES = ("negative", "positive", "surprise")


@dataclass(frozen=True, kw_only=True)
class InputSpec:
    """What a model eats. Stored with the weights; :func:`zoo.inputs.prepare` is its only interpreter.

    ``flow``: a picture of motion, made in this order: onset→apex flow at the size of the aligned face, strain from it, both
    cut to ``crop`` and resized to ``map_size``, normalised there, resized to ``size`` if that differs, scaled, channels put in
    order. ``frames``: so many frames of the aligned face from onset to offset, evenly spaced, cut and resized to ``size``; with
    the channels u, v and strain, the motion from the onset to each of them. ``apex``: the apex frame alone (``difference``:
    minus the onset). ``patches``: small squares around landmarks, cut from one map (the shape code of a motion magnifier, the
    grey difference or the strain).
    """

    modality: Modality = "flow"
    channels: tuple[Channel, ...] = MOTION  # u right, v down, strain dimensionless
    size: int = 28  # pixels, height = width of the tensor fed; of patches: of the map they are cut from
    map_size: int = 28  # pixels, the size at which the normalisation of a flow map is computed
    # minmax_255: per picture and channel, rounded to 0..255 (STSTNet's public inputs); pixels: of the aligned face, as they are;
    # iod: percent of the distance between the eyes; peak: divided by the longest vector; zscore: per picture and channel
    normalisation: Normalisation = "minmax_255"
    # raw255: 0..255; unit: 0..1; median: (x - the picture's own median) / 64; signed: -1..1; imagenet: its means and deviations;
    # robust (motion): about its own median (strain: about 0), in units of the usual size, larger values squashed to -2..2
    scaling: Scaling = "unit"
    flow: FlowMethod = "tvl1"  # the parameter set of the flow, see zoo.vision.flow
    # of modality flow: how many times as large small motion is made, by linear Eulerian magnification of the frames from onset to
    # apex, before the flow is measured; 1 leaves the frames alone
    magnify: float = 1.0
    crop: Crop = "megc2019"  # which part of the aligned face the picture shows, see zoo.types.CROPS
    frames: int = 1  # of modality frames
    patches: PatchSet = "brow10_mouth20"  # of modality patches: around which landmarks
    patch: int = 7  # pixels, height = width of a patch
    source: PatchSource = "shape"  # what map the patches are cut from
    alpha: float = 2.0  # factor of the magnifier whose shape code is cut
    magnifier: str = "magnet.synthetic"  # its weights

    def __post_init__(self) -> None:
        object.__setattr__(self, "channels", tuple(self.channels))
        for name, allowed in (
            ("modality", Modality),
            ("normalisation", Normalisation),
            ("scaling", Scaling),
            ("flow", FlowMethod),
            ("crop", Crop),
            ("patches", PatchSet),
            ("source", PatchSource),
        ):
            if getattr(self, name) not in get_args(allowed):
                raise ZooError(f"InputSpec.{name} is {getattr(self, name)!r}; known: {', '.join(get_args(allowed))}")
        wrong = [c for c in self.channels if c not in get_args(Channel)]
        if wrong or not self.channels or len(set(self.channels)) != len(self.channels):
            raise ZooError(
                f"InputSpec.channels is {self.channels}; choose each at most once from {', '.join(get_args(Channel))}"
            )
        moving = [c in MOTION for c in self.channels]
        if (self.modality == "flow" and not all(moving)) or (self.modality == "apex" and any(moving)):
            raise ZooError(
                f"InputSpec of modality {self.modality} has channels {', '.join(self.channels)}; "
                f"{'flow shows u, v, strain' if self.modality == 'flow' else 'apex shows red, green, blue, grey, difference'}"
            )
        if any(moving) and not all(moving):
            raise ZooError(f"InputSpec.channels is {self.channels}; motion and pictures do not mix in one input")
        for name in ("size", "map_size", "frames", "patch"):
            if getattr(self, name) < 1:
                raise ZooError(f"InputSpec.{name} is {getattr(self, name)}; it must be at least 1")
        if self.alpha <= 0:
            raise ZooError(f"InputSpec.alpha is {self.alpha}; a magnification is above 0")
        if not 1 <= self.magnify <= 100 or (self.magnify != 1 and self.modality != "flow"):
            raise ZooError(
                f"InputSpec.magnify is {self.magnify} of modality {self.modality}; motion is magnified 1 (not at all) to 100 "
                f"times, before flow is measured"
            )

    @property
    def reads_pair(self) -> bool:
        """Whether onset and apex are all that is read of a clip."""
        return self.modality == "flow" and self.magnify == 1

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one input: ``(C, S, S)``, of frames ``(C, T, S, S)``, of patches ``(N, patch, patch)``."""
        match self.modality:
            case "flow" | "apex":
                return (len(self.channels), self.size, self.size)
            case "frames":
                return (len(self.channels), self.frames, self.size, self.size)
            case "patches":
                return (len(PATCH_POINTS[self.patches]), self.patch, self.patch)
            case _:
                assert_never(self.modality)

    def to_dict(self) -> dict[str, Any]:
        """JSON-plain form, for ``config.json``: fields that only another modality reads are left out."""
        plain = {**asdict(self), "channels": list(self.channels)}
        idle = {"frames"} if self.modality != "frames" else set()
        if self.modality != "patches":
            idle |= {"patches", "patch", "source", "alpha", "magnifier"}
        if self.magnify == 1:
            idle |= {"magnify"}
        return {k: v for k, v in plain.items() if k not in idle}

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
    source: Literal["annotated", "spotted", "estimated", "user", "synthetic"] = "annotated"


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
    aus: frozenset[int] | None = None  # action units coded; None where nobody coded them
    landmarks: np.ndarray | None = None  # float [68, 2] x, y in pixels of the aligned onset frame, where they are known
    flow_map: FlowMap | None = None

    @property
    def key(self) -> str:
        """``dataset/subject/id``: unique over the zoo, since subject names clash between data sets."""
        return f"{self.dataset}/{self.subject}/{self.id}"


@dataclass(frozen=True, kw_only=True, eq=False)
class FlowMap:
    """Onset→apex motion of an aligned face."""

    data: np.ndarray  # [3, H, W] float32 in pixels (strain dimensionless), or uint8 where already normalised
    normalisation: Normalisation | Literal["none"] = "none"


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """Class probabilities of one clip. Predictions travel with their clip id; scores are computed once, from all of them."""

    clip: str  # Clip.key
    probabilities: tuple[float, ...]  # sums to 1, in the order of `classes`
    classes: tuple[str, ...]
    aus: tuple[tuple[int, float], ...] = ()  # action unit and its probability, where the model tells them

    @property
    def label(self) -> str:
        """The most probable class."""
        return self.classes[max(range(len(self.classes)), key=self.probabilities.__getitem__)]


@dataclass(frozen=True, kw_only=True, eq=False)
class AUGraph:
    """The graph of action units that a network saw in one clip."""

    nodes: tuple[str, ...]  # such as AU12, or AU12L for the subject's left
    adjacency: np.ndarray  # float [N, N]; entry [i, j] is the weight with which node i takes from node j
    values: np.ndarray  # float [N], probability of the unit that each node stands for
