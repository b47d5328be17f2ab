"""``zoo data``: list the data sets, check one on disk, build its manifest, freeze a protocol, show a contact sheet.

Each function returns data and prints nothing; :func:`add_parser` and :func:`run` are the thin layer over them.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from zoo.data.clips import read_picture
from zoo.data.manifest import Manifest
from zoo.data.problems import Problem
from zoo.data.readers import reader, readers, survey
from zoo.errors import DataError, ZooError

if TYPE_CHECKING:
    from rich.console import Console

    from zoo.data.partitions import Split
    from zoo.data.readers._base import Published

Flow = Callable[[NDArray[np.uint8], NDArray[np.uint8]], NDArray[np.float32]]  # onset, apex [H, W, 3] -> u, v [2, H, W]


def list_datasets() -> list[dict[str, str]]:
    """Every data set that can be read: name, title, family, versions, pictures, layout, licence."""
    return [
        {"name": r.name, "title": r.title, "family": r.family, "versions": ", ".join(r.versions),
         "pictures": ", ".join(r.variants), "options": "; ".join(f"{k}={'|'.join(v)}" for k, v in r.options.items()),
         "layout": r.layout, "licence": r.licence}
        for r in readers().values()
    ]  # fmt: skip


@dataclass
class Check:
    """What a data set on disk amounts to."""

    name: str
    root: str
    version: str
    there: dict[str, str] = field(default_factory=dict)  # what was found, where
    missing: list[str] = field(default_factory=list)
    counts: list[tuple[str, int, int | None]] = field(default_factory=list)  # what, found, published
    report: list[str] = field(default_factory=list)  # counts kept, dropped, repaired, each with its reason
    problems: list[Problem] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether a manifest can be built as asked."""
        return not self.problems and not self.missing

    def lines(self) -> list[str]:
        """The check as text."""
        out = [f"{self.name} {self.version}".strip() + f" in {self.root}: {'ready' if self.ok else 'not ready'}"]
        out += [f"  there: {what}: {where}" for what, where in self.there.items()]
        out += [f"  MISSING: {what}" for what in self.missing]
        out += [f"  {what}: {found}"
                + ("" if wanted is None else f" (published {wanted})" + ("" if found == wanted else " !"))
                for what, found, wanted in self.counts]  # fmt: skip
        out += [f"  {line.strip()}" for line in self.report]
        out += [f"  PROBLEM {problem}" for problem in self.problems]
        return out


def check(name: str, root: str | Path, **arguments: Any) -> Check:
    """Look at a data set without building anything: what is there, what is missing, counts, every repaired cell.

    Args:
        name: the data set.
        root: its folder.
        arguments: as :func:`zoo.data.readers.survey`. Frames that are not there at all are listed as missing, and the
            sheet is checked alone.

    Raises:
        DataError: the root or the sheet is missing or cannot be read.
    """
    chosen = reader(name)
    missing = []
    try:
        found = survey(name, root, **arguments)
    except DataError as error:
        if "frames='skip'" not in str(error) or arguments.get("frames") == "skip":
            raise
        missing = [str(error)]
        found = survey(name, root, **{**arguments, "frames": "skip"})
    table = found.manifest.table
    result = Check(name, str(root), found.version, missing=missing, problems=list(found.problems))
    sheets = sorted(set(table["sheet"].dropna()))
    result.there = {"annotation": ", ".join(sheets)} if sheets and len(sheets) < 10 else {}
    located = int(table["path"].notna().sum())
    if located:
        pictures = sorted(set(table["variant"].dropna())) or ["pictures"]
        result.there["frames"] = f"{located} of {len(table)} clips ({', '.join(pictures)})"
    published = chosen.published.get(found.version) or chosen.published.get("")
    result.counts = _counts(found.report.read, found.manifest, published)
    kept = len(table)
    result.report = found.report.lines(kept)
    return result


def _counts(read: int, manifest: Manifest, published: Published | None) -> list[tuple[str, int, int | None]]:
    table = manifest.table
    rows = published.rows if published else ()
    wanted = None if not rows else read if read in rows else rows[0]
    out: list[tuple[str, int, int | None]] = [("rows", read, wanted)]
    out.append(("subjects", int(table["subject"].nunique()), published.subjects if published else None))
    emotions = Counter(table["emotion"].dropna().tolist())
    listed = dict(published.emotions) if published else {}
    for label in [*listed, *sorted(set(emotions) - set(listed))]:
        out.append((f"emotion {label}", emotions.get(label, 0), listed.get(label, 0) if listed else None))
    classes = [int((table["objective"] == n).sum()) for n in range(1, 8)]
    if any(classes):
        for i, number in enumerate(classes):
            name = ("I", "II", "III", "IV", "V", "VI", "VII")[i]
            out.append(
                (
                    f"objective class {name}",
                    number,
                    published.objective[i] if published and published.objective else None,
                )
            )
    kinds = Counter(table["kind"].tolist())
    if len(kinds) > 1:
        out += [(f"kind {kind}", number, None) for kind, number in sorted(kinds.items())]
    return out


def build(names: Sequence[str], roots: Sequence[str | Path], out: str | Path, **arguments: Any) -> Manifest:
    """Build the manifest of one data set, or of several joined, and write it.

    Args:
        names: the data sets.
        roots: the folder of each.
        out: the file, ``.parquet`` or ``.csv``.
        arguments: as :func:`zoo.data.readers.read`; the same for all.

    Raises:
        DataError: anything is wrong with a data set; nothing is written then.
    """
    from zoo.data.readers import read

    if len(names) != len(roots) or not names:
        raise DataError(f"{len(names)} data sets but {len(roots)} roots: give one --root for each")
    if Path(out).suffix not in (".parquet", ".csv"):
        raise DataError(f"{out}: a manifest is written as .parquet or .csv; name the file so")
    parts = [read(name, root, **arguments) for name, root in zip(names, roots, strict=True)]
    manifest = parts[0] if len(parts) == 1 else Manifest.concat(parts)
    manifest.write(out)
    return manifest


def freeze(manifest: str | Path, protocol: str, out: str | Path, **arguments: Any) -> Split:
    """Make the folds of a protocol over a written manifest and freeze them to JSON; see
    :func:`zoo.data.protocols.split`.
    """
    from zoo.data.protocols import split

    made = split(Manifest.load(manifest), protocol, **arguments)
    made.write(out)
    return made


# --- contact sheet


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
    """A field ``[2, H, W]`` in colours ``[H, W, 3]``: hue is the direction, strength the length."""
    from matplotlib.colors import hsv_to_rgb

    length = np.hypot(flow[0], flow[1])
    hue = (np.arctan2(flow[1], flow[0]) / (2 * np.pi)) % 1.0
    top = max(float(np.percentile(length, 99)), 1e-6)
    picture: NDArray[np.float32] = hsv_to_rgb(np.stack([hue, np.ones_like(hue), np.clip(length / top, 0, 1)], -1))
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
    chosen = list(keys) or _spread(m, number, seed)
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
            motion, title = _motion(named["onset"], named["apex"], flow)
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


def _spread(m: Manifest, number: int, seed: int) -> list[str]:
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

    apex = "" if row["apex_source"] in ("annotated", "unknown") else f" (apex {row['apex_source']})"
    return f"{key}\n{text('emotion')}{apex}\nAU {text('aus')}\nclass {text('objective')}"


# --- the command


def add_parser(commands: Any) -> argparse.ArgumentParser:
    """Add ``data`` to a command's sub-parsers; call :func:`run` on what they parse."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "data", help="data sets on disk: list, check, build, freeze, show"
    )
    actions = parser.add_subparsers(dest="data_action", required=True)
    actions.add_parser("list", help="data sets that can be read")
    for name, text in (("check", "what is there, what is missing, what was repaired"), ("build", "write the manifest")):
        sub = actions.add_parser(name, help=text)
        sub.add_argument("name", nargs="+" if name == "build" else None, help="data set")
        sub.add_argument("--root", required=True, action="append" if name == "build" else "store", help="its folder")
        sub.add_argument("--version", help="of the annotation")
        sub.add_argument("--variant", help="which pictures")
        sub.add_argument("--sheet", help="annotation file, where it is not found by name")
        sub.add_argument("--repair", choices=("documented", "none"), default="documented")
        sub.add_argument("--missing", choices=("error", "drop"), default="error", help="rows without frames")
        sub.add_argument("--frames", choices=("require", "skip"), default="require")
        sub.add_argument("--strict", action="store_true", help="refuse a number of rows that no release has")
        sub.add_argument("--skip-list", help="text file: one picture pattern a line, relative to the root")
        sub.add_argument("--option", action="append", default=[], metavar="KEY=VALUE", help="see `zoo data list`")
        if name == "build":
            sub.add_argument("--out", required=True, help=".parquet or .csv")
    sub = actions.add_parser("freeze", help="make the folds of a protocol and freeze them")
    sub.add_argument("manifest")
    sub.add_argument("--protocol", required=True)
    sub.add_argument("--scheme", help="other folds than the protocol's: loso, lovo, kfold:10")
    sub.add_argument("--seed", type=int, default=0)
    sub.add_argument("--out", required=True, help=".json")
    sub = actions.add_parser("show", help="contact sheet of some clips")
    sub.add_argument("manifest")
    sub.add_argument("--root", required=True)
    sub.add_argument("--out", required=True, help=".png, .pdf or .svg")
    sub.add_argument("--number", type=int, default=8)
    sub.add_argument("--seed", type=int, default=0)
    sub.add_argument("--key", action="append", default=[], help="this clip")
    return parser


def _reading(args: argparse.Namespace) -> dict[str, Any]:
    options = {}
    for text in args.option:
        key, equals, value = text.partition("=")
        if not equals:
            raise ZooError(f"--option {text!r} is not KEY=VALUE")
        options[key] = value
    skip: list[str] = []
    if args.skip_list:
        try:
            lines = Path(args.skip_list).read_text(encoding="utf-8").splitlines()
        except OSError as error:
            raise DataError(f"{args.skip_list}: cannot be read ({error.strerror})") from error
        skip = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    return {
        "version": args.version,
        "variant": args.variant,
        "sheet": args.sheet,
        "repair": args.repair,
        "missing": args.missing,
        "frames": args.frames,
        "skip": skip,
        "strict": args.strict,
        "options": options,
    }


def run(args: argparse.Namespace, console: Console | None = None, *, flow: Flow | None = None) -> int:
    """Do what was parsed and print it.

    Returns:
        0, or 1 where a check found problems. Errors of the data are raised as :class:`~zoo.errors.ZooError`.
    """
    if console is None:
        from rich.console import Console as RichConsole

        console = RichConsole()

    def say(lines: Sequence[str]) -> None:
        for line in lines:
            console.print(line, markup=False, highlight=False, soft_wrap=True)

    match args.data_action:
        case "list":
            from rich.table import Table

            table = Table("name", "title", "family", "versions", "pictures", "options")
            for entry in list_datasets():
                table.add_row(*(entry[c] for c in ("name", "title", "family", "versions", "pictures", "options")))
            console.print(table)
        case "check":
            result = check(args.name, args.root, **_reading(args))
            say(result.lines())
            return 0 if result.ok else 1
        case "build":
            manifest = build(args.name, args.root, args.out, **_reading(args))
            say([*manifest.lines(), f"wrote {args.out}: {len(manifest)} clips"])
        case "freeze":
            from zoo.data.partitions import summary

            made = freeze(args.manifest, args.protocol, args.out, scheme=args.scheme, seed=args.seed)
            say([f"{key}: {value}" for key, value in summary(made).items()] + [f"wrote {args.out}"])
        case "show":
            chosen = {"number": args.number, "seed": args.seed, "keys": args.key, "flow": flow}
            say([f"wrote {show(args.manifest, args.root, args.out, **chosen)}"])
        case other:
            raise ZooError(f"there is no action {other!r} of zoo data")
    return 0
