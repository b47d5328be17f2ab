"""The manifest: one table per data set, a row per clip, written once and reused; with the report of how it came about.

Columns are listed in :data:`SCHEMA`. Frame numbers are those of the release (file names); an interval is inclusive at
both ends. ``*_source`` says where a frame number came from: ``annotated`` by the coders, ``repaired`` from the table
of known faults or from the files on disk, ``imputed`` by the field's convention (an offset that was not visible is
the apex), ``estimated`` by a rule, ``spotted`` by an algorithm, ``unknown``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

_TEXT, _INT, _FLOAT = "string", "Int64", "Float64"  # pandas types that know "missing"

SCHEMA: Mapping[str, tuple[str, str]] = {
    "id": (_TEXT, "unique within the data set"),
    "dataset": (_TEXT, "name of the data set"),
    "subject": (_TEXT, "person, in the data set's canonical spelling; never merged between data sets"),
    "clip": (_TEXT, "clip or video as the sheet names it; several rows may share one"),
    "kind": (_TEXT, "micro, macro, sequence, image or non_micro"),
    "variant": (_TEXT, "which of the release's pictures"),
    "path": (_TEXT, "frame folder or picture below the root, with /; a row of a file as file#row"),
    "fps": (_FLOAT, "frames per second"),
    "onset": (_INT, "first frame"),
    "apex": (_INT, "frame of greatest intensity; missing where not coded"),
    "offset": (_INT, "last frame, inclusive"),
    "onset_source": (_TEXT, "annotated, repaired, imputed, estimated, spotted or unknown"),
    "apex_source": (_TEXT, "same"),
    "offset_source": (_TEXT, "same"),
    "first_frame": (_INT, "lowest frame number on disk"),
    "last_frame": (_INT, "highest frame number on disk"),
    "frame_count": (_INT, "number of frames on disk; less than last - first + 1 where there are gaps"),
    "emotion": (_TEXT, "emotion as coded, canonical spelling; several joined by + (4DME)"),
    "emotion_raw": (_TEXT, "the cell's text"),
    "objective": (_INT, "objective class 1..7"),
    "aus": (_TEXT, "action units in canonical notation (zoo.facs.coding); missing where not coded"),
    "aus_raw": (_TEXT, "the cell's text"),
    "split": (_TEXT, "the release's own partition, where it has one"),
    "sheet": (_TEXT, "annotation file, relative to the root"),
    "row": (_INT, "row in it as a spreadsheet program counts"),
    "note": (_TEXT, "flags, separated by '; '"),
}  # fmt: skip
SOURCES = ("annotated", "repaired", "imputed", "estimated", "spotted", "unknown")
KINDS = ("micro", "macro", "sequence", "image", "non_micro")


@dataclass(frozen=True)
class Change:
    """One repaired cell."""

    key: str
    column: str
    old: str
    new: str
    source: str  # who says so


@dataclass
class Report:
    """What became of every row: read, repaired, dropped and noted, each with its reason."""

    dataset: str = ""
    version: str = ""
    read: int = 0  # rows of the sheet, or folders where there is no sheet
    dropped: dict[str, list[str]] = field(default_factory=dict)  # reason -> keys
    repaired: list[Change] = field(default_factory=list)
    notes: dict[str, list[str]] = field(default_factory=dict)  # remark -> keys

    def drop(self, reason: str, keys: Iterable[str]) -> None:
        """Note rows that are left out."""
        keys = list(keys)
        if keys:
            self.dropped.setdefault(reason, []).extend(keys)

    def note(self, remark: str, key: str = "") -> None:
        """Note something that a user should know, but need not mend."""
        self.notes.setdefault(remark, [])
        if key:
            self.notes[remark].append(key)

    def lines(self, kept: int) -> list[str]:
        """The report as text: counts first, then each reason with its number and first keys."""
        out = [f"{self.dataset} {self.version}".strip() + f": {self.read} rows read, {kept} clips kept, "
               f"{sum(map(len, self.dropped.values()))} dropped, {len(self.repaired)} cells repaired"]  # fmt: skip
        out += [f"  dropped {len(keys)}: {reason} ({_some(keys)})" for reason, keys in self.dropped.items()]
        out += [
            f"  repaired {c.key} {c.column}: {c.old or 'empty'} -> {c.new or 'unknown'} ({c.source})"
            for c in self.repaired
        ]
        out += [
            f"  note: {text}" + (f": {len(keys)} ({_some(keys)})" if keys else "") for text, keys in self.notes.items()
        ]
        return out

    def to_dict(self) -> dict[str, Any]:
        """JSON-plain form."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Report:
        """Inverse of :meth:`to_dict`."""
        return cls(**{**data, "repaired": [Change(**c) for c in data.get("repaired", [])]})


def _some(keys: Sequence[str], shown: int = 4) -> str:
    return ", ".join(keys[:shown]) + (", ..." if len(keys) > shown else "")


@dataclass
class Manifest:
    """Clips of one or several data sets, with the report of how they were chosen.

    ``table`` has exactly the columns of :data:`SCHEMA`; its index is ``dataset/subject/id``, the key of
    :class:`zoo.types.Clip`.
    """

    table: pd.DataFrame
    reports: list[Report] = field(default_factory=list)

    @classmethod
    def from_rows(cls, rows: Iterable[Mapping[str, Any]], report: Report | None = None) -> Manifest:
        """From dictionaries; a missing field is a missing value.

        Raises:
            DataError: an unknown field or value, or two rows with one key.
        """
        import pandas as pd

        rows = list(rows)
        stray = sorted({name for row in rows for name in row} - set(SCHEMA))
        if stray:
            raise DataError(f"a manifest has no column {', '.join(stray)}; it has {', '.join(SCHEMA)}")

        columns = {name: pd.Series([row.get(name) for row in rows], dtype=kind) for name, (kind, _) in SCHEMA.items()}
        return cls._checked(pd.DataFrame(columns), [report] if report else [], "manifest")

    @classmethod
    def _checked(cls, table: pd.DataFrame, reports: list[Report], where: str) -> Manifest:
        for name in ("id", "dataset", "subject", "kind"):
            if table[name].isna().any():
                raise DataError(
                    f"{where}: column {name!r} is empty in row {int(table[name].isna().argmax())}; every clip needs one"
                )
        wrong = sorted(set(table["kind"]) - set(KINDS))
        if wrong:
            raise DataError(f"{where}: column 'kind' holds {', '.join(wrong)}; known: {', '.join(KINDS)}")
        for name in ("onset_source", "apex_source", "offset_source"):
            wrong = sorted(set(table[name].dropna()) - set(SOURCES))
            if wrong:
                raise DataError(f"{where}: column {name!r} holds {', '.join(wrong)}; known: {', '.join(SOURCES)}")
        table.index = table["dataset"] + "/" + table["subject"] + "/" + table["id"]
        table.index.name = "key"
        doubled = table.index[table.index.duplicated()]
        if len(doubled):
            raise DataError(
                f"{where}: {len(doubled)} clips have a key that is taken, first {doubled[0]!r}. "
                "A clip's id is unique within its data set; remove the copy."
            )
        return cls(table, reports)

    def __len__(self) -> int:
        return len(self.table)

    @property
    def keys(self) -> list[str]:
        """``dataset/subject/id`` of each clip."""
        return self.table.index.tolist()

    def filter(self, keep: Any, reason: str) -> Manifest:
        """The clips for which ``keep`` is true; the others are entered in a report under ``reason``.

        Args:
            keep: boolean per clip, or a function from the table to that.
            reason: why the others go, for people.
        """
        import numpy as np

        mask = np.asarray(keep(self.table) if callable(keep) else keep)
        if mask.dtype != bool or mask.shape != (len(self.table),):
            raise DataError(f"filter {reason!r}: wanted {len(self.table)} booleans, got {mask.dtype} {mask.shape}")
        if mask.all():
            return self
        report = Report(dataset="filter", read=len(self.table))
        report.drop(reason, self.table.index[~mask].tolist())
        return Manifest(self.table[mask], [*self.reports, report])

    def lines(self) -> list[str]:
        """All reports as text, the oldest first."""
        out = []
        for report in self.reports:
            kept = report.read - sum(map(len, report.dropped.values()))
            out += report.lines(
                kept if report.dataset == "filter" else int((self.table["dataset"] == report.dataset).sum())
            )
        return out

    @classmethod
    def concat(cls, parts: Iterable[Manifest]) -> Manifest:
        """Several manifests as one."""
        import pandas as pd

        parts = list(parts)
        if not parts:
            raise DataError("nothing to join: give at least one manifest")
        return cls._checked(
            pd.concat([p.table for p in parts]), [r for p in parts for r in p.reports], "joined manifests"
        )

    # --- files -------------------------------------------------------------------------------------------------------

    def write(self, path: str | Path) -> Path:
        """Write ``.parquet`` (report inside) or ``.csv`` (report beside it as ``.report.json``); same content, same
        bytes.

        The file appears under its name only when it is complete.
        """
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{path.name}.part")
        reports = json.dumps([r.to_dict() for r in self.reports], ensure_ascii=False, indent=1)
        if path.suffix == ".parquet":
            import pyarrow as pa
            import pyarrow.parquet as pq

            table = pa.Table.from_pandas(self.table, preserve_index=False)
            pq.write_table(table.replace_schema_metadata({"zoo.reports": reports}), part)
        elif path.suffix == ".csv":
            self.table.to_csv(part, index=False, lineterminator="\n")
            path.with_suffix(".report.json").write_text(reports, encoding="utf-8")
        else:
            raise DataError(
                f"{path}: a manifest is written as .parquet or .csv, not as {path.suffix or 'a file without suffix'}"
            )
        part.replace(path)
        return path

    @classmethod
    def load(cls, path: str | Path) -> Manifest:
        """Inverse of :meth:`write`.

        Raises:
            DataError: no such file, or columns that are not a manifest's.
        """
        import pandas as pd

        path = Path(path)
        if not path.is_file():
            raise DataError(
                f"{path}: there is no manifest; `zoo data build DATASET --root DIR --out {path}` writes one"
            )
        if path.suffix == ".parquet":
            import pyarrow as pa
            import pyarrow.parquet as pq

            try:
                arrow = pq.read_table(path)
            except (pa.ArrowInvalid, OSError) as error:
                raise DataError(
                    f"{path}: not a parquet file, or cut off ({error}). Build the manifest again."
                ) from error
            table = arrow.to_pandas()
            reports = json.loads((arrow.schema.metadata or {}).get(b"zoo.reports", b"[]"))
        else:
            table = pd.read_csv(path, dtype="string", keep_default_na=False, na_values=[""])
            beside = path.with_suffix(".report.json")
            reports = json.loads(beside.read_text(encoding="utf-8")) if beside.is_file() else []
        missing, extra = sorted(set(SCHEMA) - set(table)), sorted(set(table) - set(SCHEMA))
        if missing or extra:
            raise DataError(
                f"{path}: not a manifest of this version: missing {', '.join(missing) or 'none'}, "
                f"unknown {', '.join(extra) or 'none'}. Build it again."
            )
        try:
            table = table[list(SCHEMA)].astype({name: kind for name, (kind, _) in SCHEMA.items()})
        except (ValueError, TypeError) as error:
            raise DataError(f"{path}: a cell does not fit its column ({error}). Build the manifest again.") from error
        return cls._checked(table, [Report.from_dict(r) for r in reports], str(path))


def diff(old: Manifest, new: Manifest) -> pd.DataFrame:
    """What differs, one line per cell: ``key, column, old, new``; a clip that came or went has column ``clip``."""
    import pandas as pd

    gone, came = old.table.index.difference(new.table.index), new.table.index.difference(old.table.index)
    common = old.table.index.intersection(new.table.index)
    lines = [(key, "clip", "present", None) for key in gone] + [(key, "clip", None, "present") for key in came]
    a, b = old.table.loc[common], new.table.loc[common]
    for name in SCHEMA:
        x, y = a[name].astype("string"), b[name].astype("string")
        changed = x.fillna("") != y.fillna("")
        lines += [(key, name, x[key], y[key]) for key in common[changed.to_numpy()]]
    return pd.DataFrame(lines, columns=["key", "column", "old", "new"])
