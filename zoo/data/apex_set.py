"""Apexes and single pictures, as many as there are: packed by the thousand, mapped from disk, scaled batch by batch.

A cache of one file per clip suits a few thousand clips of many frames. FER2013 has 35,887 pictures of 2 kB and AffectNet 290,000
of 150 kB, so here a pack of pictures is one cache entry, in uint8, and no more of it is in memory than the batches that are cut.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from zoo.data.cache import Cache, content_key
from zoo.data.clip_set import ClipSet
from zoo.data.input_set import ClipInputs
from zoo.data.selection import Selection, frames_digest
from zoo.inputs import ALIGNED_PROCEDURE, pictures_of, planes_of, prepare_planes
from zoo.types import InputSpec

PACK = (
    128 * 2**20
)  # bytes of one entry at most: what is lost where a preparation is interrupted, and held while one is made
MOST = 4096  # pictures of one entry at most


@dataclass(frozen=True, kw_only=True, eq=False)
class ApexSet(ClipSet):
    """N clips of which a model eats one picture each; what is stored is not scaled yet."""

    packs: tuple[NDArray[np.uint8], ...]  # each [M, C, S, S], memory-mapped; the last may be smaller
    spec: InputSpec

    def planes(self, rows: Sequence[int] | NDArray[np.int64]) -> NDArray[np.uint8]:
        """Grey levels of some clips. Shapes: -> uint8 ``[B, C, S, S]``."""
        size = len(self.packs[0])
        return np.stack([self.packs[row // size][row % size] for row in rows])

    def content(self, row: int) -> bytes:
        """The input of a clip."""
        return prepare_planes(self.planes([row]), self.spec).tobytes()


def apexes_of(
    chosen: Selection,
    spec: InputSpec,
    *,
    cache: str | Path,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> ApexSet:
    """The apex of each clip of a protocol, cut and resized, with the protocol's classes, action units and folds.

    Args:
        chosen: its clips; those of one picture will do.
        spec: an input that can be made of the apex alone (:func:`zoo.inputs.eats_stills`).
        cache, on_progress: see :func:`zoo.data.motion_maps.maps_of`.

    Raises:
        DataError, ProtocolError, FaceError: the clip is named, with the way out.
    """
    store, detector = Cache(cache), chosen.detector()
    wanted = spec if detector else spec.replace(crop="face")
    many = min(MOST, max(1, PACK // int(np.prod(spec.shape))))
    packs: list[NDArray[np.uint8]] = []
    makers = (ClipInputs(clip, wanted, detector, store) for clip in chosen.clips())
    for start in range(0, len(chosen), many):
        pack = tuple(islice(makers, many))

        def made(pack: tuple[ClipInputs, ...] = pack, start: int = start) -> Iterator[NDArray[np.uint8]]:
            for done, maker in enumerate(pack, start + 1):
                yield planes_of(pictures_of(maker.aligned(), wanted), wanted)
                on_progress(done, len(chosen))

        key = content_key(
            what="apexes", clips=[[m.clip.key, frames_digest(m.clip, m.places)] for m in pack], size=spec.size,
            channels=list(spec.channels), crop=wanted.crop, faces=ALIGNED_PROCEDURE if detector else "cropped",
        )  # fmt: skip
        packs.append(store.fetch(key, lambda made=made, pack=pack: _filled(made(), (len(pack), *spec.shape))))  # type: ignore[misc]
        on_progress(start + len(pack), len(chosen))
    return ApexSet(**chosen.fields(), packs=tuple(np.asarray(pack) for pack in packs), spec=spec)


def _filled(pictures: Iterator[NDArray[np.uint8]], shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """A list of them would hold each twice while it is joined."""
    out = np.empty(shape, np.uint8)
    for row, picture in enumerate(pictures):
        out[row] = picture
    return out
