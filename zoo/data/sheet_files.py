"""Files of tables to rows of cells: xlsx, xls or CSV, told by content and not by name."""

from __future__ import annotations

import csv
import io
import zipfile
from pathlib import Path
from typing import Any

from zoo.errors import DataError


def load(path: str | Path) -> dict[str | None, list[tuple[int, list[Any]]]]:
    """All sheets of a file: name to list of (row number, cells). A CSV has one sheet named ``None``.

    Raises:
        DataError: the file is missing, cut off, encrypted, or not what its name says.
    """
    path = Path(path)
    if not path.is_file():
        near = sorted(p.name for p in path.parent.glob("*") if p.is_file())[:8] if path.parent.is_dir() else []
        hint = f"files there: {', '.join(near)}" if near else f"{path.parent} holds no file"
        raise DataError(f"{path}: no such file; {hint}. Copy the annotation sheet of the release there.")
    head = path.read_bytes()[:512]
    if head.startswith(b"PK"):
        return _load_xlsx(path)
    if head.startswith(b"\xd0\xcf\x11\xe0"):
        return _load_xls(path)
    if head.lstrip().lower().startswith((b"<html", b"<!doctype", b"<table", b"<?xml")):
        raise DataError(
            f"{path}: this is a web page, not a table (a download that asked for a login?). "
            "Download the sheet again and check that it opens in a spreadsheet program."
        )
    if not head:
        raise DataError(f"{path}: the file is empty. Copy it from the release again.")
    return {None: _load_csv(path)}


def _load_xlsx(path: Path) -> dict[str | None, list[tuple[int, list[Any]]]]:
    import openpyxl

    try:
        book = openpyxl.load_workbook(path, read_only=True, data_only=True)
        result: dict[str | None, list[tuple[int, list[Any]]]] = {}
        for sheet in book.worksheets:
            sheet.reset_dimensions()  # some writers store a wrong extent, which would cut the table off
            result[sheet.title] = [(n, list(cells)) for n, cells in enumerate(sheet.iter_rows(values_only=True), 1)]
        book.close()
    except (zipfile.BadZipFile, KeyError, EOFError, OSError, ValueError) as error:
        raise DataError(
            f"{path}: the workbook is damaged or cut off ({error}). Copy it from the release again; it must "
            "open in a spreadsheet program."
        ) from error
    return result


def _load_xls(path: Path) -> dict[str | None, list[tuple[int, list[Any]]]]:
    import xlrd

    try:
        book = xlrd.open_workbook(path)
    except xlrd.XLRDError as error:
        raise DataError(
            f"{path}: cannot be read as .xls ({error}). If it is encrypted, save it without a password; "
            "otherwise copy it from the release again."
        ) from error
    except Exception as error:  # a cut-off file fails anywhere inside xlrd
        raise DataError(
            f"{path}: the workbook is damaged or cut off ({error}). Copy it from the release again."
        ) from error
    return {s.name: [(n + 1, s.row_values(n)) for n in range(s.nrows)] for s in book.sheets()}


def _load_csv(path: Path) -> list[tuple[int, list[Any]]]:
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}: not a text table in UTF-8 ({error}). Save it as CSV in UTF-8, or give the .xlsx."
        ) from error
    if "\x00" in text:
        raise DataError(f"{path}: holds binary data, not a CSV table. Give the sheet as .xlsx, .xls or CSV.")
    sample = text[:4096]
    delimiter = max(",;\t", key=lambda d: sample.count(d))
    rows = csv.reader(io.StringIO(text), delimiter=delimiter)
    return [(n, list(cells)) for n, cells in enumerate(rows, 1)]


def formula_without_value(path: Path, sheet: str | None, row: int, cell: int) -> bool:
    """Whether an empty cell is really a formula whose result was not stored."""
    if path.suffix.lower() != ".xlsx" or sheet is None:
        return False
    import openpyxl

    book = openpyxl.load_workbook(path, data_only=False)
    return str(book[sheet].cell(row=row, column=cell + 1).value).startswith("=")


# -------------------------------------------------------------------------------------------------------------
