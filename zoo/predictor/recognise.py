"""What a model makes of one interval: the same for a short clip, a long video and a camera."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol, overload

import numpy as np

from zoo.inputs import flow_map, magnified_pair, prepare
from zoo.types import AUGraph, Clip, FlowMap, Interval, Prediction

if TYPE_CHECKING:
    from torch import Tensor

    from zoo.models._base import ZooModel

Progress = Callable[[int, int | None], None]  # frames done, frames in all if known


class Coloured(Protocol):
    """A face that can show its colours."""

    @property
    def rgb(self) -> np.ndarray:
        """Shapes: uint8 ``[S, S, 3]``."""
        ...


class Faces(Sequence[np.ndarray]):
    """Aligned faces as the frames of a clip; colour is made when a frame is asked for."""

    def __init__(self, faces: Sequence[Coloured]) -> None:
        self._faces = faces

    def __len__(self) -> int:
        return len(self._faces)

    @overload
    def __getitem__(self, at: int) -> np.ndarray: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[np.ndarray]: ...
    def __getitem__(self, at: int | slice) -> np.ndarray | Sequence[np.ndarray]:
        return Faces(self._faces[at]) if isinstance(at, slice) else self._faces[at].rgb


@dataclass(frozen=True, kw_only=True, eq=False)
class Recognition:
    """The answer for one interval, and the motion that it was read from."""

    prediction: Prediction
    flow: FlowMap  # onset to apex, pixels of the aligned face
    graph: AUGraph | None = None  # what a network of action units saw
    warnings: tuple[str, ...] = ()


def recognise(clip: Clip, net: ZooModel, watch: dict[str, float] | None = None) -> Recognition:
    """Class probabilities of a clip by a model of any modality.

    Args:
        clip: aligned frames from onset to offset with their interval; onset and apex are enough where
            ``net.input_spec.reads_pair``.
        net: the model; its mode (training or not) is left as it was.
        watch: seconds spent are added to its entries ``flow`` (preparing) and ``model``.

    Raises:
        ZooError: the model's input cannot be made of the clip.
    """
    import torch

    spent: dict[str, float] = watch if watch is not None else {}
    spec = net.input_spec
    with timed(spent, "flow"):
        # the figure shows the motion whatever the model reads; where it reads something else, the quick flow will do
        flow = flow_map(magnified_pair(clip, spec), spec.flow if spec.modality == "flow" else "dis")
        x = prepare(replace(clip, flow_map=flow) if spec.modality == "flow" else clip, spec)
    training = net.training
    with timed(spent, "model"), torch.inference_mode():
        net.eval()
        weight = next(net.parameters(), torch.zeros(()))  # an exported model shows none
        logits, aus, graph = _outputs(net, torch.from_numpy(x)[None].to(weight.device, weight.dtype))
        net.train(training)
    probabilities = tuple(torch.softmax(logits.double().cpu(), 0).tolist())
    classes = net.classes or tuple(f"class {i}" for i in range(len(probabilities)))
    flat = [channel for channel, data in zip(("u", "v", "strain"), flow.data, strict=True) if np.ptp(data) < 1e-6]
    warnings = []
    if flat:
        warnings.append(f"nothing moves between onset and apex ({', '.join(flat)} constant): the prediction is void")
    if not net.classes:
        warnings.append("the model carries no class names: its weights may be untrained")
    prediction = Prediction(clip=clip.key, probabilities=probabilities, classes=classes, aus=aus)
    return Recognition(prediction=prediction, flow=flow, graph=graph, warnings=tuple(warnings))


def _outputs(net: ZooModel, x: Tensor) -> tuple[Tensor, tuple[tuple[int, float], ...], AUGraph | None]:
    """Class logits ``[K]``, probabilities of action units, and their graph, of a batch of one."""
    import torch

    from zoo.models._base import AUModel

    if isinstance(net, AUModel):
        logits, found = net.forward_all(x)
        chances = torch.sigmoid(found.au_logits[0].double().cpu()).tolist()
        aus = tuple(zip(net.aus, chances, strict=True))
        adjacency = found.adjacency if found.adjacency.ndim == 2 else found.adjacency[0]
        known = dict(aus)
        values = [known.get(int("".join(filter(str.isdigit, name)) or 0), 0.0) for name in net.node_names]
        graph = AUGraph(nodes=net.node_names, adjacency=adjacency.float().cpu().numpy(), values=np.array(values))
        return logits[0], aus, graph
    exported: Any = net
    if hasattr(net, "forward_outputs"):  # an exported file
        answers = exported.forward_outputs(x)
        chances = torch.sigmoid(answers[1][0].double()).tolist() if exported.aus else []
        return answers[0][0], tuple(zip(exported.aus, chances, strict=True)), None
    return net(x)[0], (), None


def clip_of(
    faces: Sequence[Coloured],
    apex: int,
    *,
    id: str,
    fps: float | None,
    dataset: str = "video",
    subject: str = "unknown",
) -> Clip:
    """The clip of an interval: its faces from onset to offset, and the place of the apex among them."""
    interval = Interval(onset=0, apex=apex, offset=len(faces) - 1, source="spotted")
    return Clip(id=id, dataset=dataset, subject=subject, frames=Faces(faces), fps=fps, interval=interval)


def model_of(model: str | ZooModel) -> ZooModel:
    """The model itself, or the one of that name or in that exported file."""
    if not isinstance(model, str):
        return model
    if model.endswith((".onnx", ".pt2")):
        from zoo.export import open_exported

        exported: Any = open_exported(model)
        return exported
    from zoo.weights import load

    return load(model)


@contextmanager
def timed(watch: dict[str, float], stage: str) -> Iterator[None]:
    """Add the seconds spent inside to an entry."""
    begin = time.perf_counter()
    try:
        yield
    finally:
        watch[stage] = watch.get(stage, 0.0) + time.perf_counter() - begin
