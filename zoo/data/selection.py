"""The clips of a protocol, opened one after another: a manifest, a split, and where the frames lie."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args

import pandas as pd

from zoo.data.cache import fingerprint
from zoo.data.clips import FolderFrames, VideoFrames, clips
from zoo.data.manifest import Manifest
from zoo.data.partitions import Split
from zoo.data.protocols import ApexPolicy, require_apex, split
from zoo.data.splits import MOST_PLACES, Fold
from zoo.errors import DataError, ProtocolError, ZooError
from zoo.facs.coding import parse
from zoo.inputs import face_detector, is_still
from zoo.inputs.faces import FaceDetector
from zoo.types import Clip

Faces = Literal["detect", "cropped"]


@dataclass(frozen=True)
class Selection:
    """Which clips, in which classes and folds."""

    table: Manifest
    made: Split
    root: str | Path | Mapping[str, str | Path]
    max_gap: int
    source: str
    faces: Faces
    stills: bool = False  # whether one picture is enough

    @classmethod
    def of(
        cls,
        manifest: Manifest | str | Path,
        root: str | Path | Mapping[str, str | Path],
        protocol: str,
        *,
        faces: Faces,
        scheme: str | None = None,
        seed: int = 0,
        apex: ApexPolicy = "error",
        strict: bool = True,
        max_gap: int = 0,
        stills: bool = False,
    ) -> Selection:
        """Choose.

        Args:
            manifest: as ``zoo data build`` wrote it.
            root: where the frames lie; by data set where there are several.
            protocol: which clips, which classes, which folds; see :mod:`zoo.data.protocols`.
            faces: ``detect``: raw frames, the face is found on the onset frame and aligned; ``cropped``: the release's own
                cropped faces, which are taken as they are (the ``crop`` of an input is what they show already).
            scheme: other folds than the protocol's.
            seed: of k-fold.
            apex: what to do with clips whose apex is not coded.
            strict: refuse other counts than the protocol's organisers published.
            max_gap: how far from its number a key frame may be found on disk.
            stills: clips of one picture will do.

        Raises:
            DataError, ProtocolError: the clip is named, with the way out.
        """
        if faces not in get_args(Faces):
            raise ZooError(f"faces is {faces!r}; raw frames need 'detect', the release's cropped faces 'cropped'")
        table = manifest if isinstance(manifest, Manifest) else Manifest.load(manifest)
        table = require_apex(table, apex, stills=stills)
        made = split(table, protocol, scheme=scheme, seed=seed, strict=strict)
        if made.multilabel:
            raise ProtocolError(
                f"protocol {protocol} has several classes per clip (action units); a recogniser has one. The units of a clip go "
                f"along as targets of action-unit networks under every protocol of emotions"
            )
        source = "the manifest" if isinstance(manifest, Manifest) else str(manifest)
        return cls(table, made, root, max_gap, source, faces, stills)

    def __len__(self) -> int:
        return len(self.made.keys)

    def detector(self) -> FaceDetector | None:
        """What finds the faces; None where they are cropped already."""
        return face_detector() if self.faces == "detect" else None

    def clips(self) -> Iterator[Clip]:
        """Each clip, checked for frames and two different key frames."""
        for clip in clips(self.table, partial(_root, self.root), keys=self.made.keys, max_gap=self.max_gap):
            if self.stills and is_still(clip) and clip.interval is None:  # a clip with one frame left is no still
                yield clip
                continue
            if clip.frames is None or clip.interval is None or len(clip.frames) < 2:
                raise DataError(f"{clip.key}: an expression needs frames with an onset and an apex; this clip has none")
            if clip.interval.onset == clip.interval.apex:
                raise DataError(
                    f"{clip.key}: onset and apex are the same frame; correct the sheet, or leave the clip out"
                )
            yield clip

    def fields(self) -> dict[str, Any]:
        """What a :class:`~zoo.data.clip_set.ClipSet` wants to know of them."""
        made, rows = self.made, self.table.table.loc[list(self.made.keys)]
        listed = len(made.folds) * len(made.keys) <= MOST_PLACES
        if not listed and made.scheme != "loso":  # ClipSet.split() says so where leave-one-subject-out is asked for
            raise ProtocolError(
                f"scheme {made.scheme} makes {len(made.folds)} folds of {len(made.keys)} clips: choose official or kfold:10"
            )
        folds = [
            Fold(name=f.name, train=tuple(made.train(f).tolist()), test=tuple(f.test.tolist()))
            for f in (made.folds if listed else ())
        ]
        coded = [None if pd.isna(cell) else parse(cell) for cell in rows["aus"]]
        return {
            "labels": made.targets,
            "datasets": made.datasets,
            "subjects": tuple(rows["subject"].astype(str)),
            "clips": tuple(rows["id"].astype(str)),
            "classes": made.classes,
            "source": self.source,
            "aus": tuple(None if coding is None else coding.numbers() for coding in coded),
            "folds": tuple(folds),
            "protocol": f"{made.protocol}, {made.scheme}",
            "persons": made.people,
            "complete_test": not listed or sum(len(fold.test) for fold in folds) == len(made.keys),
            "notes": made.notes,
        }


def paths_of(clip: Clip, places: list[int]) -> list[Path]:
    """The files of some frames of a clip from disk."""
    assert isinstance(clip.frames, FolderFrames)
    return [clip.frames.paths[i] for i in places]


def frames_digest(clip: Clip, places: list[int]) -> str:
    """Digest of some frames of a clip, by their files; of a video also by their numbers."""
    found = fingerprint(paths_of(clip, places))
    return f"{found}@{','.join(map(str, places))}" if isinstance(clip.frames, VideoFrames) else found


def _root(root: str | Path | Mapping[str, str | Path], dataset: str) -> Path:
    if not isinstance(root, Mapping):
        return Path(root).expanduser()
    if dataset not in root:
        raise DataError(f"no folder given for {dataset}; name one per data set ({', '.join(root)} are named)")
    return Path(root[dataset]).expanduser()
