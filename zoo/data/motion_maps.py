"""From a manifest of clips and a protocol to the flow maps that the data module serves.

This is where a data set on disk meets :func:`zoo.inputs.prepare`: each clip becomes one normalised map, kept in a
content-addressed cache, so that the second run and every fold read it and nothing is computed twice.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from zoo.data.cache import Cache, content_key
from zoo.data.flow_maps import FlowMaps
from zoo.data.selection import Selection, frames_digest, paths_of
from zoo.errors import FaceError
from zoo.inputs import ALIGNED_PROCEDURE, aligned_clip, flow_map, magnified_pair, normalise
from zoo.inputs.faces import FaceDetector
from zoo.types import Clip, Crop, InputSpec, Interval


def maps_of(
    chosen: Selection,
    spec: InputSpec,
    *,
    cache: str | Path,
    keep_fields: bool = False,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> FlowMaps:
    """One normalised onset→apex map per clip of a protocol, with the protocol's classes and folds.

    Args:
        chosen: its clips.
        spec: the model's input; its flow, crop and map size are used here.
        cache: folder of prepared maps.
        keep_fields: keep the motion before normalisation too (in the cache, memory-mapped), for augmentation.
        on_progress: called with (clips done, clips in all).

    Raises:
        DataError, ProtocolError, FaceError: the clip is named, with the way out.
    """
    store, detector = Cache(cache), chosen.detector()
    maps, kept = [], []
    for done, clip in enumerate(chosen.clips()):
        maker = _Motion(clip, spec, detector)
        maps.append(np.asarray(store.fetch(maker.key("map"), maker.map)))
        if keep_fields:
            kept.append(store.fetch(maker.key("field"), maker.field))
        on_progress(done + 1, len(chosen))
    return FlowMaps(
        **chosen.fields(),
        maps=np.stack(maps),
        normalisation=spec.normalisation,
        fields=tuple(kept),
        crop=spec.crop if detector else "face",
    )


class _Motion:
    """The onset→apex motion of one clip, computed when the cache asks for it."""

    def __init__(self, clip: Clip, spec: InputSpec, detector: Any) -> None:
        assert clip.interval is not None and clip.frames is not None
        self.clip, self.spec, self.detector = clip, spec, detector
        first, last = clip.interval.onset, clip.interval.apex
        # which frames decide the motion: two, unless it is magnified first
        self.frames, self.places = clip.frames, [first, last] if spec.reads_pair else list(range(first, last + 1))
        self.paths = paths_of(clip, self.places)
        self.crop: Crop = spec.crop if detector else "face"

    def key(self, what: Literal["map", "field"]) -> str:
        """Digest of all that decides the answer."""
        spec, aligned = self.spec, ALIGNED_PROCEDURE if self.detector else "cropped"
        decides: dict[str, Any] = {
            "files": frames_digest(self.clip, self.places),
            "clip": self.clip.key,
            "flow": spec.flow,
            "faces": aligned,
        }
        if not spec.reads_pair:
            decides |= {"magnify": spec.magnify, "fps": self.clip.fps}
        if what == "map":
            decides |= {"crop": self.crop, "map_size": spec.map_size, "normalisation": spec.normalisation}
        return content_key(what=what, **decides)

    def map(self) -> np.ndarray:
        """``[3, map_size, map_size]``; uint8 where it is stretched to 0..255."""
        return normalise(self._motion(), self.spec.map_size, self.crop, self.spec.normalisation)

    def field(self) -> np.ndarray:
        """float16 ``[3, H, W]``: augmentation needs vectors, not their last bits."""
        return self._motion().astype(np.float16)

    def _motion(self) -> np.ndarray:
        frames = [self.frames[i] for i in self.places]
        clip = replace(self.clip, frames=frames, interval=Interval(onset=0, apex=len(frames) - 1))
        if self.detector is not None:
            clip = aligned(clip, self.detector, self.clip.key, self.paths[0])
        return flow_map(magnified_pair(clip, self.spec), self.spec.flow).data


def aligned(clip: Clip, detector: FaceDetector, key: str, onset: Path) -> Clip:
    """The clip cut to its face; an error names the clip, the file and the way out."""
    try:
        return aligned_clip(clip, detector)
    except FaceError as error:
        way_out = "use the release's cropped faces (faces='cropped')"
        raise FaceError(f"{key}: {error} ({onset.name}); {way_out}") from None
