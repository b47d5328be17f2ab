"""The one door between a Clip and a model: :func:`prepare`."""

from __future__ import annotations

from dataclasses import replace
from typing import assert_never

import cv2
import numpy as np

from zoo.errors import FaceError, ZooError
from zoo.types import CROPS, Clip, Crop, FlowMap, FlowMethod, InputSpec
from zoo.vision.faces import FaceDetector, MTCNNDetector, align, similarity
from zoo.vision.flow import optical_flow
from zoo.vision.strain import optical_strain

ORDER = ("u", "v", "strain")  # of the channels of every FlowMap


def prepare(clip: Clip, spec: InputSpec) -> np.ndarray:
    """Turn a clip into a model's input. Training, evaluation and prediction all come through here.

    The steps, in the order that :class:`InputSpec` states: onset→apex flow at the size of the aligned face, strain
    from it, cropping, resizing to ``map_size``, min-max per channel, resizing to ``size``, scaling, channels. A clip
    that carries a ``flow_map`` enters at the step its map has reached.

    Args:
        clip: with aligned ``frames`` and an ``interval``, or with a ``flow_map``.
        spec: the model's ``input_spec``.

    Shapes: -> float32 ``spec.shape`` = ``[C, size, size]``.

    Raises:
        ZooError: the clip has neither frames nor map, its interval is outside the frames, or its map was normalised at
            another size.
    """
    found = clip.flow_map if clip.flow_map is not None else flow_map(clip, spec.flow)
    data = found.data if found.normalisation == "minmax_255" else normalise(found.data, spec.map_size, spec.crop)
    return prepare_maps(data[None], spec)[0]


def prepare_maps(maps: np.ndarray, spec: InputSpec) -> np.ndarray:
    """The last steps of :func:`prepare`, for many maps that are already normalised (as MEGC2019 publishes them).

    Args:
        maps: u, v and strain, each stretched per picture and channel to 0..255.
        spec: the model's ``input_spec``.

    Shapes: maps uint8 ``[N, 3, map_size, map_size]`` -> float32 ``[N, C, size, size]``.

    Raises:
        ZooError: not such maps, or of another size than ``spec.map_size``.
    """
    if maps.ndim != 4 or maps.shape[1] != len(ORDER) or maps.dtype != np.uint8:
        raise ZooError(
            f"normalised flow maps are uint8 [N, 3, H, W], channels {', '.join(ORDER)} first; "
            f"got {maps.dtype} {list(maps.shape)}"
        )
    if maps.shape[2:] != (spec.map_size, spec.map_size):
        raise ZooError(
            f"these flow maps were normalised at {maps.shape[3]}x{maps.shape[2]} px, the model wants map_size "
            f"{spec.map_size}; normalised maps cannot be resized faithfully: start from the frames, or use a model "
            f"with map_size {maps.shape[3]}"
        )
    data = maps[:, [ORDER.index(channel) for channel in spec.channels]].astype(np.float32)
    if spec.size != spec.map_size:
        resized = [_resize(picture, spec.size, cv2.INTER_LINEAR) for picture in data]
        data = np.stack(resized) if resized else np.empty((0, *spec.shape), np.float32)
    match spec.scaling:
        case "raw255":
            return data
        case "unit":
            return data / np.float32(255)
        case "median":
            return (data - np.median(data, (2, 3), keepdims=True)) / np.float32(64)
        case _:
            assert_never(spec.scaling)


ALIGNED_PROCEDURE = "mtcnn-5-points-168"  # changes when faces would be aligned differently; part of cache keys


def face_detector() -> FaceDetector:
    """The detector that :func:`aligned_clip` is used with. Raises MissingExtra where none is installed."""
    return MTCNNDetector()


def aligned_clip(clip: Clip, detector: FaceDetector) -> Clip:
    """The clip cut to the largest face of its onset frame: one alignment for all frames, so that none jitters.

    Raises:
        FaceError: there is no face in the onset frame.
        ZooError: the clip has no frames.
    """
    if clip.frames is None:
        raise ZooError(f"clip {clip.key} has no frames to find a face in")
    onset = np.ascontiguousarray(clip.frames[clip.interval.onset if clip.interval else 0])
    faces = detector.detect(onset)
    if not faces:
        raise FaceError("no face in the onset frame")
    matrix, _ = similarity(faces[0])
    return replace(clip, frames=[align(np.ascontiguousarray(frame), matrix) for frame in clip.frames])


def flow_map(clip: Clip, method: FlowMethod = "tvl1") -> FlowMap:
    """Onset→apex motion and strain at the size of the clip's frames, not normalised.

    Args:
        clip: with aligned ``frames`` and an ``interval``; or with a map that is not normalised, which is returned.
        method: the parameter set, see :func:`zoo.vision.flow.optical_flow`.

    Raises:
        ZooError: no frames or no interval, or an interval outside the frames.
    """
    if clip.flow_map is not None:
        if clip.flow_map.normalisation == "none":
            return clip.flow_map
        raise ZooError(f"clip {clip.key} carries a flow map that is already normalised; its motion in pixels is lost")
    if clip.frames is None or clip.interval is None:
        raise ZooError(
            f"clip {clip.key} has no {'frames' if clip.frames is None else 'interval'}; "
            f"a flow map needs aligned frames with an onset and an apex"
        )
    onset, apex, count = clip.interval.onset, clip.interval.apex, len(clip.frames)
    if not (0 <= onset < count and 0 <= apex < count) or onset == apex:
        raise ZooError(f"clip {clip.key}: onset {onset} and apex {apex} must be two different frames of 0..{count - 1}")
    flow = optical_flow(_grey(clip.frames[onset]), _grey(clip.frames[apex]), method)
    return FlowMap(data=np.concatenate([flow, optical_strain(flow)[None]]))


def normalise(data: np.ndarray, map_size: int, crop: Crop = "face") -> np.ndarray:
    """Cut a map of motion to a part of the face, resize it, and stretch each channel to 0..255.

    The stretch is ``round(255 (x - min) / (max - min))``, per picture and channel.

    The strain is that of the full resolution, resized: never computed again from a small flow. A constant channel has
    nothing to stretch; it becomes 128 for u and v (the middle, near the mean of real maps) and 0 for strain.

    Shapes: float ``[3, H, W]`` -> uint8 ``[3, map_size, map_size]``.
    """
    if data.ndim != 3 or data.shape[0] != len(ORDER) or not np.isfinite(data).all():
        raise ZooError(
            f"a flow map is [3, H, W] (channels {', '.join(ORDER)}) of finite numbers; got {data.dtype} "
            f"{list(data.shape)}{'' if np.isfinite(data).all() else ' with NaN or infinity'}"
        )
    height, width = data.shape[1:]
    left, top, right, bottom = CROPS[crop]
    part = data[:, round(top * height) : round(bottom * height), round(left * width) : round(right * width)].astype(
        np.float32
    )
    shrinks = min(part.shape[1:]) > map_size
    small = _resize(part, map_size, cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    out = np.empty(small.shape, np.uint8)
    for index, (name, channel) in enumerate(zip(ORDER, small.astype(np.float64), strict=True)):
        low, span = channel.min(), channel.max() - channel.min()
        constant = span <= 1e-6 * max(1.0, abs(low))  # below the rounding noise of a float32 resize
        out[index] = (0 if name == "strain" else 128) if constant else np.rint(255 * (channel - low) / span)
    return out


def _grey(frame: np.ndarray) -> np.ndarray:
    return frame if frame.ndim == 2 else cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)


def _resize(data: np.ndarray, size: int, interpolation: int) -> np.ndarray:
    """``[C, H, W]`` -> ``[C, size, size]``."""
    if data.shape[1:] == (size, size):
        return data
    return np.stack([cv2.resize(channel, (size, size), interpolation=interpolation) for channel in data])
