"""Inputs that are pictures: the frames of an expression, or its apex alone."""

from __future__ import annotations

from typing import assert_never

import cv2
import numpy as np

from zoo.errors import ZooError
from zoo.inputs.motion import ORDER, STILL, between, cut, key_frames, normalise, resize
from zoo.types import Clip, InputSpec

IMAGENET = 255 * np.array(
    [[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]], np.float32
)  # means, deviations; red, green, blue
COLOURS = ("red", "green", "blue")


def moments(clip: Clip, count: int) -> np.ndarray:
    """Which frames stand for an expression: evenly spaced from onset to offset, both included.

    Reading: where no offset is known, the rise to the apex is shown. Where the expression has fewer frames than are wanted, some
    are shown twice.

    Shapes: -> int ``[count]``.

    Raises:
        ZooError: no frames or interval, or an interval outside the frames.
    """
    key_frames(clip)
    assert clip.interval is not None and clip.frames is not None
    last = clip.interval.offset if clip.interval.offset is not None else clip.interval.apex
    if not clip.interval.onset < last < len(clip.frames):
        raise ZooError(
            f"clip {clip.key}: offset {last} must come after onset {clip.interval.onset} and be one of the frames "
            f"0..{len(clip.frames) - 1}"
        )
    return np.rint(np.linspace(clip.interval.onset, last, count)).astype(int)


def is_still(clip: Clip) -> bool:
    """Whether a clip is one picture of an expression, as releases of macro-expressions have them."""
    return clip.frames is not None and len(clip.frames) == 1


def eats_stills(spec: InputSpec) -> bool:
    """Whether an input can be made of the apex alone."""
    return spec.modality == "apex" and "difference" not in spec.channels


def pictures_of(clip: Clip, spec: InputSpec) -> np.ndarray:
    """The pictures that an input is computed from, cut and resized: frames, or onset and apex (of a still, twice itself).

    Shapes: -> uint8 ``[T, size, size, 3]``; T is ``spec.frames``, for modality apex 2.
    """
    if spec.modality == "apex" and is_still(clip):
        if not eats_stills(spec):
            raise ZooError(f"clip {clip.key} is one picture; {', '.join(spec.channels)} need an onset and an apex")
        assert clip.frames is not None
        chosen = [clip.frames[0]] * 2
    elif spec.modality == "apex":
        chosen = list(key_frames(clip))
    else:
        places = moments(clip, spec.frames)
        assert clip.frames is not None  # else moments() has refused it
        chosen = [clip.frames[i] for i in places]
    return np.stack([_small(frame, spec) for frame in chosen])


def planes_of(pictures: np.ndarray, spec: InputSpec) -> np.ndarray:
    """The channels of an apex before they are scaled: a quarter of the memory, and :func:`prepare_planes` does the rest.

    Shapes: uint8 ``[T, size, size, 3]`` as :func:`pictures_of` gives them -> uint8 ``[C, size, size]``.

    Raises:
        ZooError: the input cannot be made of the apex alone.
    """
    if not eats_stills(spec):
        raise ZooError(
            f"{', '.join(spec.channels)} of modality {spec.modality} are more than the channels of one picture"
        )
    return np.stack([_shown(pictures[-1:], channel)[0] for channel in spec.channels])


def prepare_planes(planes: np.ndarray, spec: InputSpec) -> np.ndarray:
    """Scale a batch of what :func:`planes_of` gives; the same as :func:`prepare_pictures` of each.

    Shapes: uint8 or float ``[B, C, size, size]`` in 0..255 -> float32 of the same shape.
    """
    data = planes.astype(np.float32)
    return np.stack([_scaled(data[:, i], channel, spec, (1, 2)) for i, channel in enumerate(spec.channels)], 1)


def prepare_pictures(pictures: np.ndarray, spec: InputSpec) -> np.ndarray:
    """Channels and scale of the pictures that :func:`pictures_of` cut.

    Shapes: uint8 ``[T, size, size, 3]`` -> float32 ``spec.shape``.
    """
    planes = [_plane(pictures, channel, spec) for channel in spec.channels]
    data = np.stack(planes).astype(np.float32)  # [C, T, S, S]
    return data[:, 0] if spec.modality == "apex" else data


def prepare_sequence(clip: Clip, spec: InputSpec) -> np.ndarray:
    """Motion from the onset to each frame of an expression; the first is still.

    Each map goes through the unit of ``spec.normalisation``, with ``peak``, ``zscore`` and ``minmax_255`` measured over the whole
    sequence, so that it grows and fades as the face does; ``minmax_255`` is scaled to 0..1.

    Shapes: -> float32 ``[C, T, size, size]``.
    """
    places = moments(clip, spec.frames)
    assert clip.frames is not None
    onset = clip.frames[places[0]]
    unit = spec.normalisation if spec.normalisation in ("pixels", "iod") else "pixels"
    still = np.zeros((len(ORDER), spec.size, spec.size), np.float32)
    maps = [
        still if i == places[0]
        else normalise(between(onset, clip.frames[i], spec.flow).data, spec.size, spec.crop, unit)
        for i in places
    ]  # fmt: skip
    data = np.stack([np.stack(maps, 1)[ORDER.index(channel)] for channel in spec.channels])
    axes = (1, 2, 3)
    match spec.normalisation:
        case "pixels" | "iod":
            return data
        case "peak":
            longest = np.abs(data).max(axes, keepdims=True)
        case "zscore":
            data = data - data.mean(axes, keepdims=True)
            longest = data.std(axes, keepdims=True)
        case "minmax_255":
            data = data - data.min(axes, keepdims=True)
            longest = data.max(axes, keepdims=True)
        case _:
            assert_never(spec.normalisation)
    return data / np.where(longest > STILL, longest, np.float32(np.inf))


def _small(frame: np.ndarray, spec: InputSpec) -> np.ndarray:
    colour = frame if frame.ndim == 3 else np.repeat(frame[..., None], 3, -1)
    part = cut(np.moveaxis(colour, -1, 0), spec.crop)
    shrinks = min(part.shape[1:]) > spec.size
    return np.moveaxis(
        resize(np.ascontiguousarray(part), spec.size, cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR), 0, -1
    )


def _plane(pictures: np.ndarray, channel: str, spec: InputSpec) -> np.ndarray:
    """One channel of all pictures, scaled. Shapes: uint8 ``[T, S, S, 3]`` -> float32 ``[T, S, S]``."""
    if channel == "difference":
        if spec.modality != "apex":
            raise ZooError("the channel 'difference' belongs to modality apex; frames show colours, grey or motion")
        first, last = (cv2.cvtColor(p, cv2.COLOR_RGB2GRAY).astype(np.float32) for p in pictures[:2])
        return ((last - first) / (1 if spec.scaling == "raw255" else 255))[None]
    shown = pictures[1:] if spec.modality == "apex" else pictures
    return _scaled(_shown(shown, channel).astype(np.float32), channel, spec)


def _shown(pictures: np.ndarray, channel: str) -> np.ndarray:
    """A colour, or grey. Shapes: uint8 ``[T, S, S, 3]`` -> uint8 ``[T, S, S]``."""
    if channel == "grey":
        return np.stack([cv2.cvtColor(p, cv2.COLOR_RGB2GRAY) for p in pictures])
    return pictures[..., COLOURS.index(channel)]


def _scaled(plane: np.ndarray, channel: str, spec: InputSpec, axes: tuple[int, ...] | None = None) -> np.ndarray:
    """Grey levels as the model eats them; a median is taken over ``axes``. Shapes: float32 -> the same."""
    match spec.scaling:
        case "raw255":
            return plane
        case "unit":
            return plane / 255
        case "signed":
            return plane / 127.5 - 1
        case "median":
            return (plane - np.median(plane, axes, keepdims=True)) / 64
        case "robust":
            raise ZooError("robust scales motion; scale pictures by raw255, unit, signed, median or imagenet")
        case "imagenet":
            mean, deviation = IMAGENET.mean(1) if channel == "grey" else IMAGENET[:, COLOURS.index(channel)]
            return (plane - mean) / deviation
        case _:
            assert_never(spec.scaling)
