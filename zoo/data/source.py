"""Where flow maps come from: the published MEGC2019 pictures, or any data set on disk through its manifest."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from zoo.data.apex_set import ApexSet, apexes_of
from zoo.data.clip_set import InputSet
from zoo.data.flow_maps import FlowMaps
from zoo.data.input_set import inputs_of
from zoo.data.megc2019 import read_megc2019
from zoo.data.motion_maps import maps_of
from zoo.data.protocols import ApexPolicy
from zoo.data.selection import Faces, Selection
from zoo.errors import DataError
from zoo.inputs import eats_stills
from zoo.types import InputSpec

PLACES = (
    "root",
    "manifest",
    "frames",
    "cache",
)  # where data lies on this disk: never part of a digest or a published record


@dataclass(frozen=True, kw_only=True)
class Source:
    """What is read and how it is split.

    Args:
        root: published MEGC2019 folder or .npz, see :func:`zoo.data.megc2019.read_megc2019`.
        complete: refuse counts that the protocol's organisers did not publish.
        manifest: in place of ``root``, what ``zoo data build`` wrote.
        frames: with ``manifest``, where the frames lie: a folder, or ``casme2=FOLDER,samm=FOLDER``.
        protocol: with ``manifest``, the classes and folds, e.g. ``casme2_5``.
        scheme: other folds than the protocol's: ``loso``, ``kfold:10``…
        faces: raw frames (``detect``) or the release's own crops (``cropped``).
        apex: clips whose apex is not coded: ``error``, ``drop`` or ``midpoint``.
        max_gap: how many frames from its number a key frame may be found on disk.
        cache: folder of prepared maps (default ``~/.cache/au-graph-zoo/maps``).
        alphas: further magnifications to train on, for networks that eat patches of the magnifier's shape code.
    """

    root: str = ""
    complete: bool = True
    manifest: str = ""
    frames: str = ""
    protocol: str = ""
    scheme: str = ""
    faces: Faces = "detect"
    apex: ApexPolicy = "error"
    max_gap: int = 0
    cache: str = ""
    alphas: tuple[float, ...] = ()

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Source:
        """From the ``data`` part of a recipe; its other fields are left alone."""
        given = {f.name: options[f.name] for f in fields(cls) if options.get(f.name) is not None}
        return cls(**{**given, "alphas": tuple(given.get("alphas", ()))})

    def load(
        self,
        spec: InputSpec,
        on_progress: Callable[[int, int], None] = lambda done, total: None,
        *,
        keep_fields: bool = False,
    ) -> FlowMaps | InputSet | ApexSet:
        """Read or compute what ``spec`` wants; with ``keep_fields`` what augmentation works on too.

        Raises:
            DataError: neither source is named, or both are; or fields are wanted of maps that were published without.
        """
        if not self.manifest:
            if spec.modality != "flow" or spec.normalisation != "minmax_255":
                raise DataError(
                    f"the published MEGC2019 maps are pictures of flow, stretched to 0..255; this model eats {spec.modality} "
                    f"({spec.normalisation}): give --data.manifest, --data.frames and --data.protocol, see `zoo data`"
                )
            if spec.magnify != 1:
                raise DataError(
                    f"the published MEGC2019 maps are flow that was measured already; a network whose input magnifies motion "
                    f"{spec.magnify:g} times needs a manifest of frames"
                )
            if keep_fields:
                raise DataError(
                    "data.augment turns and scales vectors, but the published MEGC2019 maps are stretched channel by channel "
                    "and hold none any more: use data.mirror and data.shift with them, or a manifest of frames"
                )
            return read_megc2019(self.root, complete=self.complete)
        if self.root:
            raise DataError("give --data.root (published flow maps) or --data.manifest (frames on disk), not both")
        if not (self.frames and self.protocol):
            raise DataError(
                "--data.manifest needs --data.frames (where the frames lie) and --data.protocol (which classes)"
            )
        if self.alphas and spec.modality == "flow":
            raise DataError(
                "data.alphas magnifies before patches are cut from the shape code; this model eats flow maps"
            )
        alone = eats_stills(spec) and not self.alphas
        chosen = Selection.of(
            self.manifest, _roots(self.frames), self.protocol, faces=self.faces, scheme=self.scheme or None, apex=self.apex,
            strict=self.complete, max_gap=self.max_gap, stills=alone,
        )  # fmt: skip
        options: dict[str, Any] = {"cache": self.cache or default_cache(), "on_progress": on_progress}
        if alone:
            return apexes_of(chosen, spec, **options)
        if spec.modality != "flow":
            return inputs_of(chosen, spec, **options, alphas=self.alphas, keep_pictures=keep_fields)
        return maps_of(chosen, spec, **options, keep_fields=keep_fields)


def default_cache() -> Path:
    """Folder of prepared maps that no one has named."""
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "au-graph-zoo" / "maps"


def _roots(text: str) -> str | dict[str, str]:
    if "=" not in text or Path(text).expanduser().is_dir():
        return text
    roots = {}
    for part in text.split(","):
        name, equals, folder = part.strip().partition("=")
        if not (name and equals and folder):
            raise DataError(f"frames {text!r}: {part!r} is not DATASET=FOLDER")
        roots[name] = folder
    return roots
