"""From a manifest of clips and a protocol to the flow maps that the data module serves.

This is where a data set on disk meets :func:`zoo.inputs.prepare`: each clip becomes one normalised map, kept in a
content-addressed cache, so that the second run and every fold read it and nothing is computed twice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from zoo.data.cache import Cache, content_key, fingerprint
from zoo.data.clips import open_clip
from zoo.data.flow_maps import FlowMaps
from zoo.data.manifest import Manifest
from zoo.data.protocols import ApexPolicy, require_apex, split
from zoo.data.splits import Fold
from zoo.errors import DataError, FaceError, ProtocolError, ZooError
from zoo.inputs import ALIGNED_PROCEDURE, aligned_clip, flow_map, normalise
from zoo.types import Clip, Crop, InputSpec, Interval

Faces = Literal["detect", "cropped"]


def maps_of(
    manifest: Manifest | str | Path,
    root: str | Path | Mapping[str, str | Path],
    protocol: str,
    spec: InputSpec,
    *,
    faces: Faces,
    cache: str | Path,
    scheme: str | None = None,
    seed: int = 0,
    apex: ApexPolicy = "error",
    strict: bool = True,
    max_gap: int = 0,
    keep_fields: bool = False,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> FlowMaps:
    """One normalised onset→apex map per clip of a protocol, with the protocol's classes and folds.

    Args:
        manifest: as ``zoo data build`` wrote it.
        root: where the frames lie; by data set where there are several.
        protocol: which clips, which classes, which folds; see :mod:`zoo.data.protocols`.
        spec: the model's input; its flow, crop and map size are used here.
        faces: ``detect``: raw frames, the face is found on the onset frame and aligned; ``cropped``: the release's own cropped
            faces, which are taken as they are (``spec.crop`` is what they show already).
        cache: folder of prepared maps.
        scheme: other folds than the protocol's.
        seed: of k-fold.
        apex: what to do with clips whose apex is not coded.
        strict: refuse other counts than the protocol's organisers published.
        max_gap: how far from its number a key frame may be found on disk.
        keep_fields: keep the motion before normalisation too (in the cache, memory-mapped), for augmentation.
        on_progress: called with (clips done, clips in all).

    Raises:
        DataError, ProtocolError, FaceError: the clip is named, with the way out.
    """
    if faces not in get_args(Faces):
        raise ZooError(f"faces is {faces!r}; raw frames need 'detect', the release's cropped faces 'cropped'")
    table = manifest if isinstance(manifest, Manifest) else Manifest.load(manifest)
    table = require_apex(table, apex)
    made = split(table, protocol, scheme=scheme, seed=seed, strict=strict)
    if made.multilabel:
        raise ProtocolError(f"protocol {protocol} has several classes per clip (action units); a recogniser has one")
    store, detector = Cache(cache), _detector() if faces == "detect" else None
    rows = table.table.loc[list(made.keys)]
    maps, kept = [], []
    for done, (key, dataset) in enumerate(zip(made.keys, made.datasets, strict=True)):
        clip = open_clip(table, key, _root(root, dataset), max_gap=max_gap)
        maker = _Motion(clip, spec, detector)
        maps.append(np.asarray(store.fetch(maker.key("map"), maker.map)))
        if keep_fields:
            kept.append(store.fetch(maker.key("field"), maker.field))
        on_progress(done + 1, len(made.keys))
    folds = [Fold(name=f.name, train=tuple(made.train(f).tolist()), test=tuple(f.test.tolist())) for f in made.folds]
    return FlowMaps(
        maps=np.stack(maps),
        labels=made.targets,
        datasets=made.datasets,
        subjects=tuple(rows["subject"].astype(str)),
        clips=tuple(rows["id"].astype(str)),
        classes=made.classes,
        source="the manifest" if isinstance(manifest, Manifest) else str(manifest),
        folds=tuple(folds),
        protocol=f"{made.protocol}, {made.scheme}",
        persons=made.people,
        fields=tuple(kept),
        crop=spec.crop if detector else "face",
        complete_test=sum(len(fold.test) for fold in folds) == len(made.keys),
    )


class _Motion:
    """The onset→apex motion of one clip, computed when the cache asks for it."""

    def __init__(self, clip: Clip, spec: InputSpec, detector: Any) -> None:
        if clip.frames is None or clip.interval is None or len(clip.frames) < 2:
            raise DataError(f"{clip.key}: a motion map needs frames with an onset and an apex; this clip has none")
        self.clip, self.spec, self.detector = clip, spec, detector
        onset, apex = clip.interval.onset, clip.interval.apex
        if onset == apex:
            raise DataError(f"{clip.key}: onset and apex are the same frame; correct the sheet, or leave the clip out")
        self.frames, self.pair = clip.frames, (onset, apex)
        self.paths = [clip.frames.paths[i] for i in self.pair]  # type: ignore[attr-defined]  # FolderFrames
        self.crop: Crop = spec.crop if detector else "face"

    def key(self, what: Literal["map", "field"]) -> str:
        """Digest of all that decides the answer."""
        spec, aligned = self.spec, ALIGNED_PROCEDURE if self.detector else "cropped"
        decides: dict[str, Any] = {
            "files": fingerprint(self.paths),
            "clip": self.clip.key,
            "flow": spec.flow,
            "faces": aligned,
        }
        if what == "map":
            decides |= {"crop": self.crop, "map_size": spec.map_size, "normalisation": spec.normalisation}
        return content_key(what=what, **decides)

    def map(self) -> np.ndarray:
        """uint8 ``[3, map_size, map_size]``."""
        return normalise(self._motion(), self.spec.map_size, self.crop)

    def field(self) -> np.ndarray:
        """float16 ``[3, H, W]``: augmentation needs vectors, not their last bits."""
        return self._motion().astype(np.float16)

    def _motion(self) -> np.ndarray:
        first, second = (self.frames[i] for i in self.pair)
        pair = replace(self.clip, frames=[first, second], interval=Interval(onset=0, apex=1))
        if self.detector is not None:
            try:
                pair = aligned_clip(pair, self.detector)
            except FaceError as error:
                way_out = "use the release's cropped faces (faces='cropped')"
                raise FaceError(f"{self.clip.key}: {error} ({self.paths[0].name}); {way_out}") from None
        return flow_map(pair, self.spec.flow).data


def _detector() -> Any:
    from zoo.inputs import face_detector

    return face_detector()


def _root(root: str | Path | Mapping[str, str | Path], dataset: str) -> Path:
    if not isinstance(root, Mapping):
        return Path(root).expanduser()
    if dataset not in root:
        raise DataError(f"no folder given for {dataset}; name one per data set ({', '.join(root)} are named)")
    return Path(root[dataset]).expanduser()
