"""au-graph-zoo: the model zoo for facial micro-expression recognition.

>>> import zoo
>>> zoo.list_models("*", pretrained=True)                # doctest: +SKIP
>>> model = zoo.load("ststnet.megc2019")                 # doctest: +SKIP
>>> zoo.predict("clip.mp4", model=model).prediction      # doctest: +SKIP

Everything below is imported when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from zoo._version import __version__

if TYPE_CHECKING:
    from zoo.data.megc2019 import read_megc2019 as read_megc2019
    from zoo.data.module import FlowMapsDataModule as FlowMapsDataModule
    from zoo.errors import ZooError as ZooError
    from zoo.inputs import prepare as prepare
    from zoo.predictor import predict as predict
    from zoo.registry import create_model as create_model
    from zoo.registry import list_models as list_models
    from zoo.registry import register as register
    from zoo.train.evaluate import evaluate as evaluate
    from zoo.train.task import RecognitionTask as RecognitionTask
    from zoo.types import Clip as Clip
    from zoo.types import InputSpec as InputSpec
    from zoo.types import Interval as Interval
    from zoo.types import Prediction as Prediction
    from zoo.weights import load as load
    from zoo.weights import save as save

_PUBLIC = {
    "Clip": "zoo.types",
    "FlowMapsDataModule": "zoo.data.module",
    "InputSpec": "zoo.types",
    "Interval": "zoo.types",
    "Prediction": "zoo.types",
    "RecognitionTask": "zoo.train.task",
    "ZooError": "zoo.errors",
    "create_model": "zoo.registry",
    "evaluate": "zoo.train.evaluate",
    "list_models": "zoo.registry",
    "load": "zoo.weights",
    "predict": "zoo.predictor",
    "prepare": "zoo.inputs",
    "read_megc2019": "zoo.data.megc2019",
    "register": "zoo.registry",
    "save": "zoo.weights",
}

__all__ = ["__version__", *sorted(_PUBLIC)]


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'zoo' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
