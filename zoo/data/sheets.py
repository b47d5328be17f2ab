"""Annotation tables as people save them: xlsx, xls or CSV, with preambles, notes and formulas, read by content.

A table is read into rows that know their number in the file, so that every complaint names file, sheet, row and column.
Nothing is guessed: a header is found by its names or refused, a number is digits or refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

from zoo.data.problems import Problems
from zoo.data.sheet_files import formula_without_value, load
from zoo.errors import DataError

LARGEST = 10**12  # a frame number beyond this is a slip; camera counters have 8 digits


SEARCHED = 30  # rows in which a header is looked for; the longest preamble known has 13


Rounding = Literal["half_up", "floor", "refuse"]


@dataclass(frozen=True)
class Row:
    """One data row: cells by logical column name."""

    number: int  # as the spreadsheet program counts, from 1
    position: int  # 0-based among the data rows
    cells: Mapping[str, Any]

    def __getitem__(self, column: str) -> Any:
        return self.cells.get(column)


@dataclass
class Sheet:
    """A table with its origin; cell readers add to ``problems`` and return ``None`` where a cell is wrong."""

    path: Path
    name: str | None
    rows: list[Row]
    titles: Mapping[str, str]  # logical name -> title in the file
    problems: Problems
    notes: list[str]

    def complain(self, row: Row | None, column: str | None, what: str, remedy: str) -> None:
        """Note a problem at a cell."""
        title = self.titles.get(column, column) if column else None
        self.problems.add(self.path, what, remedy, sheet=self.name, row=row.number if row else None, column=title)

    def text(self, row: Row, column: str, *, required: bool = True) -> str:
        """A stripped text; numbers lose a vain ``.0``."""
        value = row[column]
        text = as_text(value)
        if not text and required:
            self.complain(row, column, "the cell is empty, text was wanted", "Restore it from the release sheet")
        return text

    def frame(
        self,
        row: Row,
        column: str,
        *,
        missing: Sequence[object] = (),
        rounding: Rounding = "refuse",
        required: bool = True,
    ) -> int | None:
        """A frame number: digits only, also as text; ``missing`` lists values that mean "not coded".

        Raises nothing: a bad cell is noted and gives ``None``.
        """
        value = row[column]
        text = as_text(value)
        if text in {as_text(m) for m in missing}:
            return None
        if not text:
            if required:
                self.complain(
                    row, column, "the cell is empty, a frame number was wanted", "Restore it from the release sheet"
                )
            return None
        number = _number(text)
        if number is None or not 0 <= number < LARGEST:
            self.complain(row, column, f"{value!r} is not a frame number", "Write digits only, as in the release sheet")
            return None
        if not float(number).is_integer():
            if rounding == "refuse":
                self.complain(
                    row,
                    column,
                    f"{value!r} is a fraction, a whole frame number was wanted",
                    "Restore it from the release sheet",
                )
                return None
            return int(number + 0.5) if rounding == "half_up" else int(number)
        return int(number)


def as_text(value: object) -> str:
    """A cell as text: ``None`` is empty, ``1.0`` is ``1``, spaces at the ends go."""
    if value is None:
        return ""
    if isinstance(value, float):
        if value != value:
            return ""
        return str(int(value)) if value.is_integer() else repr(value)
    return str(value).replace("\u00a0", " ").strip()


def _number(text: str) -> float | None:
    body = text.removeprefix("-")
    whole, _, fraction = body.partition(".")
    if not whole.isdecimal() or (fraction and not fraction.isdecimal()) or body.endswith("."):
        return None
    return float(text)


def _fold(title: object) -> str:
    return "".join(c for c in as_text(title).casefold() if c.isalnum())


# --------------------------------------------------------------------------------------------------------------


Columns = Mapping[str, Sequence[str]]  # logical name -> accepted titles; compared without case, space and punctuation


def read_table(
    path: str | Path,
    columns: Columns,
    *,
    sheet: str | None = None,
    optional: Columns | None = None,
    anchors: Sequence[str] = ("subject", "filename"),
    subject: str = "subject",
    valid: Callable[[Any], bool] | None = None,
    problems: Problems | None = None,
) -> Sheet:
    """A table with a header row, wherever that row is.

    Args:
        path: the file.
        columns: the columns that must be there.
        sheet: its name; otherwise the first sheet in which the header is found.
        optional: columns that may be there.
        anchors: logical names whose titles make a row the header.
        subject: the logical name of the column that every data row fills.
        valid: whether a cell of that column is a subject; rows that fail it after the last good one are notes.
        problems: where to collect; a new list otherwise.

    Raises:
        DataError: the file cannot be read, or no header, or two, or a column is missing or doubled.
    """
    path, problems = Path(path), problems if problems is not None else Problems()
    sheets = load(path)
    if sheet is not None and sheet not in sheets and None not in sheets:
        folded = {_fold(name): name for name in sheets}
        if _fold(sheet) not in folded:
            raise DataError(
                f"{path}: there is no sheet {sheet!r}; it has {', '.join(map(repr, sheets))}. "
                "Give the workbook of the release."
            )
        sheet = folded[_fold(sheet)]
    candidates = [sheet] if sheet in sheets else list(sheets)
    known: dict[str, Sequence[str]] = {**columns, **(optional or {})}
    for name in candidates:
        found = [at for at, (_, cells) in enumerate(sheets[name][:SEARCHED]) if _is_header(cells, known, anchors)]
        if len(found) > 1:
            rows = ", ".join(str(sheets[name][at][0]) for at in found)
            raise DataError(f"{path}, sheet {name!r}: rows {rows} both look like the header. Remove the doubled one.")
        if found:
            return _table(path, name, sheets[name], found[0], columns, known, subject, valid, problems)
    raise DataError(_no_header(path, sheets, candidates, known, anchors))


def _is_header(cells: Sequence[Any], known: Columns, anchors: Sequence[str]) -> bool:
    folded = {_fold(c) for c in cells}
    return all(any(_fold(title) in folded for title in known[a]) for a in anchors)


def _no_header(path: Path, sheets: Mapping[str | None, Any], candidates: Sequence[str | None], known: Columns,
               anchors: Sequence[str]) -> str:  # fmt: skip
    wanted = ", ".join(repr(known[a][0]) for a in anchors)
    for name in candidates:
        for number, cells in sheets[name][:SEARCHED]:
            titles = [as_text(c) for c in cells if as_text(c)]
            for anchor in anchors:
                near = get_close_matches(known[anchor][0].casefold(), [t.casefold() for t in titles], n=1, cutoff=0.75)
                if near and _fold(near[0]) not in map(_fold, known[anchor]):
                    return (
                        f"{path}, sheet {name!r}, row {number}: no column {known[anchor][0]!r}, but one that is called "
                        f"{near[0]!r}. Rename it as in the release sheet."
                    )
    first = next(
        (
            f"row {n} holds {', '.join(repr(as_text(c)) for c in cells if as_text(c))[:120]}"
            for name in candidates
            for n, cells in sheets[name]
            if any(as_text(c) for c in cells)
        ),
        "the sheet is empty",
    )
    return (
        f"{path}, sheet {candidates[0]!r}, rows 1 to {SEARCHED}: no header row with the columns {wanted} ({first}). "
        "Give the sheet of the release, with its header."
    )


def _table(path: Path, name: str | None, lines: list[tuple[int, list[Any]]], at: int, columns: Columns, known: Columns,
           subject: str, valid: Callable[[Any], bool] | None, problems: Problems) -> Sheet:  # fmt: skip
    number, header = lines[at]
    places: dict[str, int] = {}
    for logical, titles in known.items():
        hits = [i for i, c in enumerate(header) if as_text(c) and _fold(c) in map(_fold, titles)]
        if len(hits) > 1:
            raise DataError(
                f"{path}, sheet {name!r}, row {number}: column {titles[0]!r} occurs {len(hits)} times. Remove the copy."
            )
        if hits:
            places[logical] = hits[0]
        elif logical in columns:
            free = [as_text(c) for c in header if as_text(c)]
            near = get_close_matches(titles[0], free, n=1, cutoff=0.5)
            hint = f"; the nearest is {near[0]!r}" if near else ""
            raise DataError(
                f"{path}, sheet {name!r}, row {number}: there is no column {titles[0]!r}{hint}. Columns are "
                f"{', '.join(map(repr, free))}. Rename the column as in the release sheet."
            )
    notes = [f"column {as_text(c)!r} is not used" for i, c in enumerate(header)
             if as_text(c) and i not in places.values()]  # fmt: skip
    body = [(n, cells) for n, cells in lines[at + 1 :] if any(as_text(c) for c in cells)]
    blank = sum(not any(as_text(c) for c in cells) for _, cells in lines[at + 1 : at + 1 + len(body)])
    if blank:
        notes.append(f"{blank} empty rows skipped")
    shown = {logical: as_text(header[i]) for logical, i in places.items()}
    sheet = Sheet(path, name, [], shown, problems, notes)
    rows = [
        Row(n, i, {k: cells[j] if j < len(cells) else None for k, j in places.items()})
        for i, (n, cells) in enumerate(body)
    ]
    check = valid or (lambda cell: bool(as_text(cell)))
    good = [i for i, row in enumerate(rows) if check(row[subject])]
    last = good[-1] if good else -1
    for i, row in enumerate(rows):
        if i > last:
            notes.append(f"row {row.number} is below the table and taken as a note: {as_text(row[subject])[:40]!r}")
        elif check(row[subject]):
            sheet.rows.append(row)
        else:
            sheet.complain(
                row,
                subject,
                f"{row[subject]!r} is not a subject, in the middle of the table",
                "Restore the row from the release sheet, or remove it",
            )
    if not good:
        raise DataError(
            f"{path}, sheet {name!r}: the header in row {number} is followed by no data row. "
            "Copy the sheet from the release again."
        )
    _refuse_lost_formulas(sheet, places, columns)
    return sheet


def _refuse_lost_formulas(sheet: Sheet, places: Mapping[str, int], columns: Columns) -> None:
    """An empty cell in a required column may be a formula whose result was lost when the file was saved by a
    program.
    """
    for logical in columns:
        empty = next((row for row in sheet.rows if row[logical] is None), None)
        if empty and formula_without_value(sheet.path, sheet.name, empty.number, places[logical]):
            raise DataError(
                f"{sheet.path}, sheet {sheet.name!r}, row {empty.number}, column {sheet.titles[logical]!r}: a "
                "formula without a stored result. Open the file in a spreadsheet program and save it there."
            )


def read_headerless(
    path: str | Path,
    columns: Sequence[str],
    *,
    sheet: str | None = None,
    checks: Mapping[str, Callable[[Any], bool]],
    problems: Problems | None = None,
) -> Sheet:
    """A table without a header: fixed column order, types checked.

    Raises:
        DataError: a row is text where numbers are wanted: an edited copy (``###``, or an added header).
    """
    path, problems = Path(path), problems if problems is not None else Problems()
    sheets = load(path)
    if sheet is not None and None not in sheets and sheet not in sheets:
        raise DataError(
            f"{path}: there is no sheet {sheet!r}; it has {', '.join(map(repr, sheets))}. "
            "Give the workbook of the release."
        )
    name = sheet if sheet in sheets else next(iter(sheets))
    lines = [(n, cells) for n, cells in sheets[name] if any(as_text(c) for c in cells)]
    blank = len(sheets[name]) - len(lines)
    result = Sheet(path, name, [], {c: f"{c} ({_letter(i)})" for i, c in enumerate(columns)}, problems, [])
    if blank:
        result.notes.append(f"{blank} empty rows skipped")
    if not lines:
        raise DataError(f"{path}, sheet {name!r}: the sheet is empty. Copy it from the release again.")
    for position, (number, cells) in enumerate(lines):
        if len([c for c in cells if as_text(c)]) and as_text(cells[0]).startswith("#"):
            raise DataError(
                f"{path}, sheet {name!r}, row {number}, column 'A': {as_text(cells[0])!r} marks an edited copy. "
                "Give the workbook as released, without added rows or columns."
            )
        row = Row(number, position, {c: cells[i] if i < len(cells) else None for i, c in enumerate(columns)})
        wrong = [c for c, check in checks.items() if not check(row[c])]
        if wrong and position == 0:
            raise DataError(
                f"{path}, sheet {name!r}, row {number}, column {result.titles[wrong[0]]!r}: {row[wrong[0]]!r} is "
                "no data: an edited copy (this sheet has no header row). Give the workbook as released."
            )
        for column in wrong:
            result.complain(
                row, column, f"{row[column]!r} is not what this column holds", "Restore it from the release sheet"
            )
        if not wrong:
            result.rows.append(row)
    return result


def _letter(index: int) -> str:
    return chr(ord("A") + index) if index < 26 else _letter(index // 26 - 1) + chr(ord("A") + index % 26)


def is_number(value: object) -> bool:
    """Whether a cell is a non-negative whole number, as number or as text."""
    number = _number(as_text(value))
    return number is not None and number >= 0 and number.is_integer()


def has_text(value: object) -> bool:
    """Whether a cell is filled."""
    return bool(as_text(value))
