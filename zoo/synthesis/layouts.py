"""Where a real data set keeps its frames and how its coding sheet looks, so that its reader reads what is synthesised."""

from __future__ import annotations

import csv
import io
import re
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zoo.facs.coding import parse


@dataclass(frozen=True, kw_only=True)
class Row:
    """One coded event, frame numbers as the release counts them."""

    subject: int  # from 1
    clip: int  # from 1
    event: int  # from 1 within the clip
    onset: int
    apex: int
    offset: int
    code: str  # action units with sides and intensities
    emotion: str
    kind: str
    objective: int


@dataclass(frozen=True, kw_only=True)
class Layout:
    """A data set's own arrangement on disk."""

    name: str  # of its reader
    fps: float  # at which its reader takes the frames to be
    style: str  # whose statistics its labels need
    long: bool  # several events in one video
    folder: Callable[[int, int], tuple[str, ...]]  # subject and clip, from 1, to the folder of the frames
    frame: Callable[[int], str]  # frame number to file name
    first: int  # number of the first frame
    sheet: str
    table: Callable[
        [Sequence[Row]], Mapping[str, list[list[Any]]]
    ]  # sheets of the workbook, or the one table of a .csv
    any_label: bool = False  # its reader knows every emotion, not those of its style alone


def _units(code: str, join: str = "+") -> str:
    """Without intensities: these sheets carry none."""
    return join.join(re.sub(r"(?<=\d)[A-E]$", "", unit) for unit in code.split("+"))


def _casme2_name(clip: int) -> str:
    return f"EP{(clip - 1) // 20 + 1:02d}_{(clip - 1) % 20 + 1:02d}f"


def _casme2_table(rows: Sequence[Row]) -> Mapping[str, list[list[Any]]]:
    head = ["Subject", "Filename", None, "OnsetFrame", "ApexFrame", "OffsetFrame", None, "Action Units",
            "Estimated Emotion", "Objective Classes"]  # fmt: skip
    table: list[list[Any]] = [
        [f"{r.subject:02d}", _casme2_name(r.clip), None, r.onset, r.apex, r.offset, None, _units(r.code), r.emotion,
         r.objective]
        for r in rows
    ]  # fmt: skip
    return {"Sheet1": [head, *table]}


def _casme_sq_code(video: int) -> str:
    return f"{(video - 1) // 99 + 1:02d}{(video - 1) % 99 + 1:02d}"


def _casme_sq_table(rows: Sequence[Row]) -> Mapping[str, list[list[Any]]]:
    codes: list[list[Any]] = [
        [r.subject, f"video{r.clip}_{r.event}", r.onset, r.apex, r.offset, _units(r.code, ","), r.emotion,
         f"{r.kind}-expression", r.emotion]
        for r in rows
    ]  # fmt: skip
    people: list[list[Any]] = [[s, f"s{s}", s] for s in sorted({r.subject for r in rows})]
    videos: list[list[Any]] = [[_casme_sq_code(v), f"video{v}"] for v in sorted({r.clip for r in rows})]
    return {"CASFEcode_final": codes, "naming rule1": people, "naming rule2": videos}


def _csv_folder(subject: int, clip: int) -> tuple[str, ...]:
    return "clips", f"s{subject:03d}", f"{clip:03d}"


def _csv_table(rows: Sequence[Row]) -> Mapping[str, list[list[Any]]]:
    head = ["id", "subject", "clip", "path", "kind", "onset", "apex", "offset", "emotion", "aus"]
    table: list[list[Any]] = [
        [f"s{r.subject:03d}_{r.clip:03d}", f"s{r.subject:03d}", f"{r.clip:03d}", "/".join(_csv_folder(r.subject, r.clip)),
         r.kind, r.onset, r.apex, r.offset, r.emotion, r.code]
        for r in rows
    ]  # fmt: skip
    return {"clips": [head, *table]}


LAYOUTS: Mapping[str, Layout] = {
    "casme2": Layout(
        name="casme2", fps=200, style="casme2", long=False, first=1, sheet="CASME2-coding-20140508.xlsx",
        folder=lambda subject, clip: ("Cropped", f"sub{subject:02d}", _casme2_name(clip)),
        frame=lambda number: f"reg_img{number}.jpg", table=_casme2_table,
    ),
    "casme_sq": Layout(
        name="casme_sq", fps=30, style="casme_sq", long=True, first=1, sheet="CAS(ME)^2code_final.xlsx",
        folder=lambda subject, clip: (
            "longVideoFaceCropped", f"s{subject}", f"{subject}_{_casme_sq_code(clip)}video{clip}"
        ),
        frame=lambda number: f"img_{number}.jpg", table=_casme_sq_table,
    ),
    "csv": Layout(
        name="csv", fps=200, style="casme2", long=False, first=1, sheet="clips.csv", any_label=True,
        folder=_csv_folder, frame=lambda number: f"img_{number:04d}.jpg", table=_csv_table,
    ),
}  # fmt: skip


def write_sheet(path: Path, sheets: Mapping[str, Sequence[Sequence[Any]]]) -> None:
    """A workbook, or a ``.csv``, whose bytes depend on its cells alone: the day it was written is left out."""
    for row in (row for rows in sheets.values() for row in rows):
        for cell in row:
            assert not isinstance(cell, str) or not cell.startswith("="), cell
    temporary = path.with_name(f".{path.name}.partial")
    if path.suffix == ".csv":
        (table,) = sheets.values()
        with temporary.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows(table)
        temporary.replace(path)
        return
    import openpyxl

    book = openpyxl.Workbook()
    book.remove(book.active)
    for name, rows in sheets.items():
        sheet = book.create_sheet(name)
        for row in rows:
            sheet.append(list(row))
    raw = io.BytesIO()
    book.save(raw)
    with zipfile.ZipFile(raw) as dated, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as plain:
        for name in sorted(dated.namelist()):
            data = dated.read(name)
            if name == "docProps/core.xml":
                data = re.sub(rb"\d{4}-\d\d-\d\dT[\d:]+Z", b"2000-01-01T00:00:00Z", data)
            plain.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED)
    temporary.replace(path)


def check_code(code: str) -> str:
    """The code itself; it must be what the parser of coding sheets understands."""
    coding = parse(code, strict=True)
    assert coding is not None and coding.units, code
    return code
