"""The one door between a Clip and a model: :func:`prepare`."""

from __future__ import annotations

from typing import assert_never

import numpy as np

from zoo.errors import ZooError
from zoo.inputs.faces import ALIGNED_PROCEDURE, aligned_clip, face_detector
from zoo.inputs.magnified import magnified_pair
from zoo.inputs.motion import ORDER, flow_map, normalise, prepare_maps
from zoo.inputs.patches import patches_of
from zoo.inputs.pictures import (
    eats_stills,
    is_still,
    pictures_of,
    planes_of,
    prepare_pictures,
    prepare_planes,
    prepare_sequence,
)
from zoo.types import Clip, InputSpec

__all__ = [
    "ALIGNED_PROCEDURE",
    "ORDER",
    "aligned_clip",
    "eats_stills",
    "face_detector",
    "flow_map",
    "is_still",
    "magnified_pair",
    "normalise",
    "patches_of",
    "pictures_of",
    "planes_of",
    "prepare",
    "prepare_maps",
    "prepare_pictures",
    "prepare_planes",
    "prepare_sequence",
]


def prepare(clip: Clip, spec: InputSpec) -> np.ndarray:
    """Turn a clip into a model's input. Training, evaluation and prediction all come through here.

    What is made, and in which order, is stated at :class:`~zoo.types.InputSpec`. A clip that carries a ``flow_map`` enters at the
    step its map has reached.

    Args:
        clip: with aligned ``frames`` and an ``interval``; for modality flow a ``flow_map`` will do. Landmarks, where it has them,
            place the patches; else the canonical ones do.
        spec: the model's ``input_spec``.

    Shapes: -> float32 ``spec.shape``.

    Raises:
        ZooError: the clip lacks what the modality needs, its interval is outside the frames, or its map was normalised in
            another way or at another size.
    """
    match spec.modality:
        case "flow":
            given = clip.flow_map
            found = given if given is not None else flow_map(magnified_pair(clip, spec), spec.flow)
            if found.normalisation == "none":
                data = normalise(found.data, spec.map_size, spec.crop, spec.normalisation)
            elif found.normalisation == spec.normalisation:
                data = found.data
            else:
                raise ZooError(
                    f"clip {clip.key} carries a flow map normalised as {found.normalisation}, the model wants "
                    f"{spec.normalisation}; the one cannot be had from the other: start from the frames"
                )
            return prepare_maps(data[None], spec)[0]
        case "frames" if spec.channels[0] in ORDER:
            return prepare_sequence(clip, spec)
        case "frames" | "apex":
            return prepare_pictures(pictures_of(clip, spec), spec)
        case "patches":
            return patches_of(clip, spec)
        case _:
            assert_never(spec.modality)
