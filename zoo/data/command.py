"""``zoo data``: list the data sets, check one on disk, build its manifest, freeze a protocol, show a contact sheet.

Each function returns data and prints nothing; :func:`add_parser` and :func:`run` are the thin layer over them.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.data.manifest import Manifest
from zoo.data.problems import Problem
from zoo.data.readers import reader, readers, survey
from zoo.errors import DataError, ZooError

if TYPE_CHECKING:
    from rich.console import Console

    from zoo.data.partitions import Split
    from zoo.data.readers._base import Published
from zoo.data.contact_sheet import Flow, show


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
