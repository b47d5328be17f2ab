"""A contact sheet: a row per clip with onset, apex, offset, the motion between, action units and emotion."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from zoo.data.clips import read_picture
from zoo.data.manifest import Manifest
from zoo.errors import DataError, ZooError

if TYPE_CHECKING:
    pass


Flow = Callable[[NDArray[np.uint8], NDArray[np.uint8]], NDArray[np.float32]]  # onset, apex [H, W, 3] -> u, v [2, H, W]


def _key_frames(root: Path, row: Mapping[str, Any]) -> list[tuple[str, NDArray[np.uint8]]]:
    """Onset, apex and offset of a clip, as far as they are coded; the picture itself where it is one."""
    import pandas as pd

    from zoo.data.frames import list_frames, resolve

    if pd.isna(row["path"]):
        raise DataError(f"{row['id']}: the manifest holds no path; build it with frames='require'")
    path = root / str(row["path"]).partition("#")[0]
    if "#" in str(row["path"]):
        return [("picture", _table_picture(path, int(str(row["path"]).partition("#")[2])))]
    if path.is_file():
        if path.suffix.lower() in (".avi", ".mp4", ".flv", ".mpg"):
            return []
        return [("picture", read_picture(path))]
    frames = list_frames(path)
    coded = [(name, int(row[name])) for name in ("onset", "apex", "offset") if not pd.isna(row[name])]
    return [
        (f"{name} {number}", read_picture(resolve(frames, number, policy="nearest", max_gap=10)))
        for name, number in coded
    ]


def _table_picture(path: Path, position: int) -> NDArray[np.uint8]:
    with path.open(encoding="utf-8-sig") as file:
        for i, line in enumerate(file):
            if i == position + 1:
                pixels = np.array(line.split(",")[1].strip('" ').split(), np.uint8).reshape(48, 48)
                return np.repeat(pixels[..., None], 3, 2)
    raise DataError(f"{path}: has no row {position + 2}; build the manifest again")


def flow_picture(flow: NDArray[np.float32]) -> NDArray[np.float32]:
    """A field ``[2, H, W]`` in colours ``[H, W, 3]``: hue is the direction, strength from white the length."""
    from matplotlib.colors import hsv_to_rgb

    length = np.hypot(flow[0], flow[1])
    hue = (
        np.arctan2(-flow[1], flow[0]) / (2 * np.pi)
    ) % 1.0  # as in the figure of a prediction: counter-clockwise from red
    top = max(float(np.percentile(length, 99)), 1e-6)
    picture: NDArray[np.float32] = hsv_to_rgb(np.stack([hue, np.clip(length / top, 0, 1), np.ones_like(hue)], -1))
    return picture


def show(
    manifest: Manifest | str | Path,
    root: str | Path,
    out: str | Path,
    *,
    number: int = 8,
    seed: int = 0,
    keys: Sequence[str] = (),
    flow: Flow | None = None,
) -> Path:
    """Draw a contact sheet: a row per clip with onset, apex, offset, the motion between, action units and emotion.

    Args:
        manifest: the clips, or the file they were written to.
        root: the data set's folder.
        out: ``.png``, ``.pdf`` or ``.svg``.
        number: how many clips, spread over the emotions.
        seed: which ones.
        keys: these clips instead.
        flow: optical flow from onset to apex; without it the column shows the difference of the two pictures.

    Raises:
        DataError: no clip is chosen, or one has no frames.
        MediaError: a picture cannot be read.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    m = manifest if isinstance(manifest, Manifest) else Manifest.load(manifest)
    unknown = [k for k in keys if k not in m.table.index]
    if unknown:
        raise DataError(f"the manifest has no clip {unknown[0]!r}; keys look like {m.keys[0] if m.keys else 'none'}")
    chosen = list(keys) or spread(m, number, seed)
    if not chosen:
        raise DataError("there is no clip to show: the manifest is empty, or number is 0")
    figure = Figure(figsize=(9.5, 2.1 * len(chosen)), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(len(chosen), 5, squeeze=False)
    for axes, key in zip(grid, chosen, strict=True):
        row = {str(name): value for name, value in m.table.loc[key].items()}
        for ax in axes:
            ax.set_axis_off()
        pictures = _key_frames(Path(root), row)
        for ax, (title, picture) in zip(axes, pictures, strict=False):
            ax.imshow(picture)
            ax.set_title(title, fontsize=8)
        named = {title.split()[0]: picture for title, picture in pictures}
        if "onset" in named and "apex" in named and named["onset"].shape == named["apex"].shape:
            try:
                motion, title = _motion(named["onset"], named["apex"], flow)
            except ZooError as error:  # said in its place: one clip must not cost the sheet
                axes[3].text(0.0, 0.5, f"no flow: {error}", fontsize=6, va="center", wrap=True)
            else:
                axes[3].imshow(motion)
                axes[3].set_title(title, fontsize=8)
        axes[4].text(0.0, 0.5, _caption(key, row), fontsize=8, va="center", family="monospace", wrap=True)
    out = Path(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    try:
        figure.savefig(out, dpi=110)
    except ValueError as error:
        raise DataError(f"{out}: cannot be drawn as {out.suffix or 'a file without suffix'} ({error})") from error
    return out


def _motion(onset: NDArray[np.uint8], apex: NDArray[np.uint8], flow: Flow | None) -> tuple[NDArray[Any], str]:
    if flow is not None:
        return flow_picture(flow(onset, apex)), "flow"
    return np.abs(apex.astype(np.int16) - onset.astype(np.int16)).astype(np.uint8), "|apex - onset|"


def spread(m: Manifest, number: int, seed: int) -> list[str]:
    """Clips of all emotions in turn."""
    rng = np.random.default_rng(seed)
    groups: dict[str, list[str]] = {}
    for i in rng.permutation(len(m)):
        emotion = m.table["emotion"].iloc[i]
        groups.setdefault(emotion if isinstance(emotion, str) else "", []).append(m.keys[i])
    picked: list[str] = []
    while len(picked) < min(number, len(m)):
        for name in sorted(groups):
            if groups[name] and len(picked) < number:
                picked.append(groups[name].pop())
    return picked


def _caption(key: str, row: Mapping[str, Any]) -> str:
    import pandas as pd

    def text(name: str) -> str:
        return "not coded" if pd.isna(row[name]) else str(row[name])

    source = None if pd.isna(row["apex_source"]) else row["apex_source"]
    apex = "" if source in (None, "annotated", "unknown") else f" (apex {source})"
    return f"{key}\n{text('emotion')}{apex}\nAU {text('aus')}\nclass {text('objective')}"


# --- the command
