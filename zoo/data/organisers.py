"""Files of the challenges' organisers: the list of MEGC2019, and the log that it asks for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from zoo.data.manifest import Manifest
from zoo.data.partitions import (
    Split,
)
from zoo.data.sheet_files import load
from zoo.data.sheets import as_text
from zoo.errors import DataError, ProtocolError


def read_composite(path: str | Path) -> dict[tuple[str, int, str], int]:
    """The list of MEGC2019, ``combined_3class_gt.csv``: (data set, subject number, clip) to class index.

    Raises:
        DataError: not 442 rows (a copy with a line of commas after each row lacks samm 032_3_1), or a row is malformed.
    """
    from zoo.data.readers.smic import clip_name

    result: dict[tuple[str, int, str], int] = {}
    for number, cells in next(iter(load(path).values())):
        parts = [as_text(c) for c in cells]
        if not any(parts):
            continue
        name = parts[0].casefold()
        digits = parts[1].casefold().removeprefix("sub").removeprefix("s") if len(parts) > 1 else ""
        if len(parts) < 4 or name not in ("casme2", "smic", "samm") or not digits.isdecimal() or parts[3] not in "012":
            raise DataError(
                f"{path}, row {number}: {','.join(parts)!r} is not database, subject, clip, class 0..2. Give the "
                "organisers' combined_3class_gt.csv."
            )
        clip = (clip_name(parts[2]) or (parts[2],))[0] if name == "smic" else parts[2]
        key = ("smic_hs" if name == "smic" else name, int(digits), clip)
        if key in result:
            raise DataError(f"{path}, row {number}: {' '.join(parts[:3])} is listed twice. Give the organisers' file.")
        result[key] = int(parts[3])
    if len(result) != 442:
        raise DataError(
            f"{path}: {len(result)} rows, 442 are wanted (the file with a line of commas after each row lacks samm "
            "032_3_1). Give the organisers' combined_3class_gt.csv."
        )
    return result


def compare_composite(made: Split, manifest: Manifest, path: str | Path) -> list[str]:
    """Where a split differs from the organisers' list, one line each; empty where it is the list."""
    from zoo.data.readers._base import subject_number

    listed = read_composite(path)
    rows = manifest.table.loc[list(made.keys), ["dataset", "subject", "clip"]].itertuples(index=False)
    ours = {
        (d, subject_number(s) or 0, c): made.classes.index(label)
        for (d, s, c), label in zip(rows, made.labels, strict=True)
    }
    lines = [f"{' '.join(map(str, k))}: in the list, not selected" for k in listed.keys() - ours.keys()]
    lines += [f"{' '.join(map(str, k))}: selected, not in the list" for k in ours.keys() - listed.keys()]
    lines += [
        f"{' '.join(map(str, k))}: class {ours[k]}, listed {listed[k]}"
        for k in ours.keys() & listed.keys()
        if ours[k] != listed[k]
    ]
    return sorted(lines)


def submission_log(made: Split, manifest: Manifest, predictions: Mapping[str, int]) -> str:
    """The log that MEGC2019 asks for: per subject a line ``casme2 sub01``, then ``clip truth prediction``.

    Raises:
        ProtocolError: a sample has no prediction.
    """
    missing = [k for k in made.keys if k not in predictions]
    if missing:
        raise ProtocolError(f"{len(missing)} samples have no prediction, first {missing[0]}")
    blocks: dict[tuple[str, str], list[str]] = {}
    targets = made.targets
    rows = manifest.table.loc[list(made.keys), ["dataset", "subject", "clip"]].itertuples(index=False)
    for i, (dataset, subject, clip) in enumerate(rows):
        name = "smic" if dataset == "smic_hs" else str(dataset)
        blocks.setdefault((name, str(subject)), []).append(f"{clip} {targets[i]} {predictions[made.keys[i]]}")
    return "\n".join(line for (name, who), lines in blocks.items() for line in (f"{name} {who}", *lines)) + "\n"
