"""From a manifest of clips and a protocol to inputs of several frames that are no flow maps: sequences, differences, patches.

The expensive part of each (finding the face, reading and resizing frames, flow of a sequence, the magnifier's code) is kept
in a content-addressed cache; what is cheap (channels, scale) is done again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from zoo.data.cache import Cache, content_key
from zoo.data.clip_set import InputSet
from zoo.data.motion_maps import aligned
from zoo.data.selection import Selection, frames_digest, paths_of
from zoo.errors import DataError
from zoo.inputs import (
    ALIGNED_PROCEDURE,
    ORDER,
    is_still,
    patches_of,
    pictures_of,
    prepare_pictures,
    prepare_sequence,
)
from zoo.inputs.patches import magnifier_digest
from zoo.inputs.pictures import moments
from zoo.types import Clip, InputSpec, Interval


def inputs_of(
    chosen: Selection,
    spec: InputSpec,
    *,
    cache: str | Path,
    alphas: Sequence[float] = (),
    keep_pictures: bool = False,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> InputSet:
    """One or more prepared inputs per clip of a protocol, with the protocol's classes, action units and folds.

    Args:
        chosen: its clips.
        spec: the model's input, of modality frames or patches, or apex with the channel difference; for an
            apex alone see :func:`zoo.data.apex_set.apexes_of`.
        alphas: further magnifications to train on beside ``spec.alpha``, for patches of the shape code.
        keep_pictures: keep the cut and resized frames too, for augmentation.
        cache, on_progress: see :func:`zoo.data.motion_maps.maps_of`.

    Raises:
        DataError, ProtocolError, FaceError: the clip is named, with the way out.
    """
    if alphas and (spec.modality, spec.source) != ("patches", "shape"):
        raise DataError(
            "data.alphas magnifies before patches are cut from the shape code; this model eats something else"
        )
    if keep_pictures and (spec.modality == "patches" or spec.channels[0] in ORDER):
        raise DataError(
            "data.augment varies pictures and motion maps; patches and sequences of motion have data.mirror and data.shift"
        )
    store, detector = Cache(cache), chosen.detector()
    wanted = spec if detector else spec.replace(crop="face")
    views: list[np.ndarray] = []
    kept: list[np.ndarray] = []
    for done, clip in enumerate(chosen.clips()):
        maker = ClipInputs(clip, wanted, detector, store)
        if spec.modality == "patches":
            views.append(maker.patches([spec.alpha, *(a for a in alphas if a != spec.alpha)]))
        elif spec.channels[0] in ORDER:
            views.append(maker.sequence()[None])
        else:
            pictures = maker.pictures()
            # 16 frames of 112 px are 2.4 MB in single precision: half of it holds them as well
            kind = np.float16 if spec.modality == "frames" else np.float32
            views.append(prepare_pictures(pictures, wanted).astype(kind)[None])
            kept += [pictures] if keep_pictures else []
        on_progress(done + 1, len(chosen))
    return InputSet(**chosen.fields(), inputs=np.stack(views, 1), spec=spec, pictures=tuple(kept))


class ClipInputs:
    """Inputs of one clip, computed when the cache asks for them."""

    def __init__(self, clip: Clip, spec: InputSpec, detector: Any, store: Cache) -> None:
        self.clip, self.spec, self.detector, self.store = clip, spec, detector, store
        if is_still(clip):
            self.places = [0]
        elif spec.modality == "frames":
            self.places = moments(clip, spec.frames).tolist()
        else:
            assert clip.interval is not None
            self.places = [clip.interval.onset, clip.interval.apex]
        self.paths = paths_of(clip, self.places)

    def pictures(self) -> np.ndarray:
        """uint8 ``[T, S, S, 3]``."""
        return np.asarray(self._fetch("pictures", lambda: pictures_of(self.aligned(), self.spec)))

    def sequence(self) -> np.ndarray:
        """float16 ``[C, T, S, S]``."""
        decides = {"flow": self.spec.flow, "unit": self.spec.normalisation, "channels": list(self.spec.channels)}
        made = partial(prepare_sequence, spec=self.spec)
        return np.asarray(self._fetch("sequence", lambda: made(self.aligned()).astype(np.float16), **decides))

    def patches(self, alphas: Sequence[float]) -> np.ndarray:
        """float32 ``[2 A, N, patch, patch]``: as they are, one per magnification, then mirrored."""
        spec = self.spec
        decides: dict[str, Any] = {
            "points": spec.patches,
            "patch": spec.patch,
            "source": spec.source,
            "flow": spec.flow,
        }
        if spec.source == "shape":
            decides["magnifier"] = magnifier_digest(spec.magnifier)
        out = []
        for mirrored in (False, True):
            for alpha in alphas:
                view = {"mirrored": mirrored, **({"alpha": alpha} if spec.source == "shape" else {})}

                def make(mirrored: bool = mirrored, alpha: float = alpha) -> np.ndarray:
                    clip = self.aligned()
                    return patches_of(_mirrored(clip) if mirrored else clip, spec.replace(alpha=alpha))

                out.append(self._fetch("patches", make, **decides, **view))
        return np.stack(out)

    def _fetch(self, what: str, make: Callable[[], np.ndarray], **decides: Any) -> np.ndarray:
        key = content_key(
            what=what, files=frames_digest(self.clip, self.places), clip=self.clip.key, places=len(self.places),
            size=self.spec.size, crop=self.spec.crop, faces=ALIGNED_PROCEDURE if self.detector else "cropped",
            modality=self.spec.modality, **decides,
        )  # fmt: skip
        return self.store.fetch(key, make)

    def aligned(self) -> Clip:
        """The frames that are wanted, and no others, with the interval counted within them."""
        assert self.clip.frames is not None
        frames = [self.clip.frames[i] for i in self.places]
        last = len(frames) - 1
        clip = replace(self.clip, frames=frames, interval=Interval(onset=0, apex=min(1, last), offset=last))
        return aligned(clip, self.detector, self.clip.key, self.paths[0]) if self.detector is not None else clip


def _mirrored(clip: Clip) -> Clip:
    assert clip.frames is not None
    return replace(clip, frames=[np.ascontiguousarray(np.asarray(frame)[:, ::-1]) for frame in clip.frames])
