"""Motion between two frames: the flow map, its normalisation, and the picture a model is fed."""

from __future__ import annotations

from typing import assert_never

import cv2
import numpy as np

from zoo.errors import ZooError
from zoo.facs import geometry
from zoo.types import CROPS, MOTION, Clip, Crop, FlowMap, FlowMethod, InputSpec, Normalisation
from zoo.vision.flow import optical_flow
from zoo.vision.strain import optical_strain

ORDER = MOTION  # of the channels of every FlowMap


def prepare_maps(maps: np.ndarray, spec: InputSpec) -> np.ndarray:
    """The last steps of :func:`zoo.inputs.prepare`, for many maps that are already normalised (as MEGC2019 publishes them).

    Args:
        maps: u, v and strain; stretched per picture and channel to 0..255, or in the unit of ``spec.normalisation``.
        spec: the model's ``input_spec``.

    Shapes: maps uint8 (``minmax_255``) or float32 (all others) ``[N, 3, map_size, map_size]`` -> float32 ``[N, C, size, size]``.

    Raises:
        ZooError: not such maps, or of another size than ``spec.map_size``.
    """
    stretched = spec.normalisation == "minmax_255"
    if maps.ndim != 4 or maps.shape[1] != len(ORDER) or maps.dtype != (np.uint8 if stretched else np.float32):
        raise ZooError(
            f"flow maps normalised as {spec.normalisation} are {'uint8' if stretched else 'float32'} [N, 3, H, W], channels "
            f"{', '.join(ORDER)} first; got {maps.dtype} {list(maps.shape)}"
        )
    if maps.shape[2:] != (spec.map_size, spec.map_size):
        raise ZooError(
            f"these flow maps were normalised at {maps.shape[3]}x{maps.shape[2]} px, the model wants map_size "
            f"{spec.map_size}; normalised maps cannot be resized faithfully: start from the frames, or use a model "
            f"with map_size {maps.shape[3]}"
        )
    data = maps[:, [ORDER.index(channel) for channel in spec.channels]].astype(np.float32)
    if spec.size != spec.map_size:
        resized = [resize(picture, spec.size, cv2.INTER_LINEAR) for picture in data]
        data = np.stack(resized) if resized else np.empty((0, *spec.shape), np.float32)
    if not stretched:
        return data
    match spec.scaling:
        case "raw255":
            return data
        case "unit":
            return data / np.float32(255)
        case "signed":
            return data / np.float32(127.5) - 1
        case "median":
            return (data - np.median(data, (2, 3), keepdims=True)) / np.float32(64)
        case "robust":
            return _squash(data, [channel == "strain" for channel in spec.channels])
        case "imagenet":
            raise ZooError(
                "the means of ImageNet are those of colours; scale a flow map by raw255, unit, signed or median"
            )
        case _:
            assert_never(spec.scaling)


def _squash(data: np.ndarray, strain: list[bool]) -> np.ndarray:
    """``2 tanh(x / 3m)`` about the median, m the median of what is left: one outlier no longer sets the scale of a picture.

    Strain has no direction and keeps its 0. Shapes: ``[N, C, H, W]`` -> the same.
    """
    centre = np.median(data, (2, 3), keepdims=True)
    centre[:, strain] = 0
    data = data - centre
    usual = np.median(np.abs(data), (2, 3), keepdims=True)
    return (2 * np.tanh(data / (3 * np.maximum(usual, 1)))).astype(np.float32)


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
    return between(*key_frames(clip), method)


def between(first: np.ndarray, second: np.ndarray, method: FlowMethod) -> FlowMap:
    """Motion and strain from one picture to another, not normalised. Shapes: each uint8 ``[H, W]`` or ``[H, W, 3]``."""
    flow = optical_flow(grey(first), grey(second), method)
    return FlowMap(data=np.concatenate([flow, optical_strain(flow)[None]]))


def key_frames(clip: Clip) -> tuple[np.ndarray, np.ndarray]:
    """The onset and the apex frame. Raises ZooError where they are not two different frames of the clip."""
    if clip.frames is None or clip.interval is None:
        raise ZooError(
            f"clip {clip.key} has no {'frames' if clip.frames is None else 'interval'}; "
            f"aligned frames with an onset and an apex are wanted"
        )
    onset, apex, count = clip.interval.onset, clip.interval.apex, len(clip.frames)
    if not (0 <= onset < count and 0 <= apex < count) or onset == apex:
        raise ZooError(f"clip {clip.key}: onset {onset} and apex {apex} must be two different frames of 0..{count - 1}")
    return clip.frames[onset], clip.frames[apex]


def normalise(
    data: np.ndarray, map_size: int, crop: Crop = "face", normalisation: Normalisation = "minmax_255"
) -> np.ndarray:
    """Cut a map of motion to a part of the face, resize it, and bring it to the unit that a model was trained on.

    ``minmax_255``: ``round(255 (x - min) / (max - min))``, per picture and channel; a constant channel has nothing to stretch and
    becomes 128 for u and v (the middle, near the mean of real maps) and 0 for strain. ``pixels``: of the aligned face, as they
    are. ``iod``: percent of the distance between the eyes, strain in percent. ``peak``: u and v divided by the length of the
    longest vector, strain by its largest value. ``zscore``: per channel, zero mean and unit deviation. Where nothing moves, the
    last two are zero.

    The strain is that of the full resolution, resized: never computed again from a small flow.

    Shapes: float ``[3, H, W]`` of a whole aligned face -> ``[3, map_size, map_size]``, uint8 for ``minmax_255``, else float32.
    """
    if data.ndim != 3 or data.shape[0] != len(ORDER) or not np.isfinite(data).all():
        raise ZooError(
            f"a flow map is [3, H, W] (channels {', '.join(ORDER)}) of finite numbers; got {data.dtype} "
            f"{list(data.shape)}{'' if np.isfinite(data).all() else ' with NaN or infinity'}"
        )
    part = cut(data.astype(np.float32), crop)
    small = resize(part, map_size, cv2.INTER_AREA if min(part.shape[1:]) > map_size else cv2.INTER_LINEAR)
    match normalisation:
        case "minmax_255":
            return _stretched(small)
        case "pixels":
            return small
        case "iod":
            return (
                small
                * np.array([100 / (geometry.interocular() * data.shape[2])] * 2 + [100], np.float32)[:, None, None]
            )
        case "peak":
            longest = np.array([np.hypot(small[0], small[1]).max()] * 2 + [small[2].max()], np.float32)
            return small / np.where(longest > STILL, longest, np.float32(np.inf))[:, None, None]
        case "zscore":
            spread = small.std((1, 2), keepdims=True)
            return (small - small.mean((1, 2), keepdims=True)) / np.where(spread > STILL, spread, np.float32(np.inf))
        case _:
            assert_never(normalisation)


STILL = 1e-6  # below this a motion is the rounding noise of a float32 resize


def _stretched(small: np.ndarray) -> np.ndarray:
    out = np.empty(small.shape, np.uint8)
    for index, (name, channel) in enumerate(zip(ORDER, small.astype(np.float64), strict=True)):
        low, span = channel.min(), channel.max() - channel.min()
        constant = span <= STILL * max(1.0, abs(low))
        out[index] = (0 if name == "strain" else 128) if constant else np.rint(255 * (channel - low) / span)
    return out


def cut(data: np.ndarray, crop: Crop) -> np.ndarray:
    """The part of an aligned face that a crop names. Shapes: ``[..., H, W]`` -> ``[..., h, w]``."""
    height, width = data.shape[-2:]
    left, top, right, bottom = CROPS[crop]
    return data[..., round(top * height) : round(bottom * height), round(left * width) : round(right * width)]


def grey(frame: np.ndarray) -> np.ndarray:
    """Brightness of a picture. Shapes: uint8 ``[H, W]`` or ``[H, W, 3]`` -> ``[H, W]``."""
    return frame if frame.ndim == 2 else cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)


def resize(data: np.ndarray, size: int, interpolation: int) -> np.ndarray:
    """``[C, H, W]`` -> ``[C, size, size]``."""
    if data.shape[1:] == (size, size):
        return data
    return np.stack([cv2.resize(channel, (size, size), interpolation=interpolation) for channel in data])
