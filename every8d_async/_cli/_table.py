"""Rows out: aligned in a terminal, TABs in a pipe, JSON lines, or CSV that no spreadsheet runs."""

import csv
import os
import re
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from every8d_async._cli._exits import Exit, Failure
from every8d_async._cli._output import Output, visible

# What a spreadsheet takes for the beginning of a formula, the full-width forms among them.
_FORMULA = re.compile(r"[\s\u200b\ufeff]*[=+\-@\uff1d\uff0b\uff0d\uff20]|[\t\r\n]")
_NUMBER = re.compile(r"[+-]?\d+(?:\.\d+)?", re.ASCII)


def safe_cell(value: object) -> str:
    """
    Write a cell that a spreadsheet takes for text, never for a formula.

    What would begin one gets an apostrophe in front. A plain number stays as it is, since it can do
    nothing: so a mobile such as +886912345678 can be used again.
    """
    text = "" if value is None else str(value)
    if _FORMULA.match(text) and not _NUMBER.fullmatch(text):
        return f"'{text}"
    return text


class CsvFile:
    """
    A CSV file for spreadsheets: UTF-8 with BOM, every cell quoted, for its owner's eyes only.

    Attributes:
        has_rows: More than the header was written.
    """

    def __init__(self, file: TextIO, columns: Sequence[str]) -> None:
        self._file = file
        self._writer = csv.writer(file, quoting=csv.QUOTE_ALL)
        self._writer.writerow(columns)
        self.has_rows = False

    def row(self, *cells: object) -> None:
        """Write a row."""
        self.has_rows = True
        self._writer.writerow([safe_cell(cell) for cell in cells])

    def flush(self) -> None:
        """Hand over to the system what was written, so that it outlasts this process."""
        self._file.flush()


@contextmanager
def csv_file(path: Path | None, columns: Sequence[str]) -> Generator[CsvFile | None]:
    """
    Make a CSV file if one was asked for; one that is there is never written over.

    Where the block fails before it has written a row, the file goes again: a header alone would
    only refuse the next try.

    Raises:
        Failure: It is there, or can't be made.
    """
    if path is None:
        yield None
        return
    file = _make(path)
    sheet = CsvFile(file, columns)
    try:
        with file:
            yield sheet
    except BaseException:
        if not sheet.has_rows:
            path.unlink(missing_ok=True)
        raise


def _make(path: Path) -> TextIO:
    try:
        return open(path, "x", encoding="utf-8-sig", newline="", opener=_owner_only)
    except FileExistsError:
        raise Failure(
            Exit.MEND, f"{path} is there already and is not written over: name another file."
        ) from None
    except OSError as error:
        raise Failure(Exit.MEND, f"{path}: {error.strerror}.") from None


def _owner_only(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


class Rows:
    """
    Rows for people or programs on stdout.

    Args:
        out: Where they go.
        columns: Each with its width in a terminal; 0 leaves it out there.
    """

    def __init__(self, out: Output, columns: Sequence[tuple[str, int]]) -> None:
        self._out = out
        self._names = [name for name, _ in columns]
        self._widths = [width for _, width in columns]
        self._begun = False

    def write(self, *cells: object) -> None:
        """Write a row."""
        if self._out.json:
            self._out.result(dict(zip(self._names, cells, strict=True)))
            return
        if not self._begun:
            self._begun = True
            self._out.result({}, self._line([name.replace("_", " ") for name in self._names]))
        self._out.result({}, self._line([_shown(cell) for cell in cells]))

    def _line(self, cells: list[str]) -> str:
        if not sys.stdout.isatty():
            return "\t".join(cells)
        from rich.cells import cell_len

        padded = (
            cell + " " * max(width - cell_len(cell), 0)
            for cell, width in zip(cells, self._widths, strict=True)
            if width
        )
        return " ".join(padded).rstrip()


def _shown(cell: object) -> str:
    if cell is None:
        return ""
    return visible(f"{cell:%Y-%m-%d %H:%M:%S}" if hasattr(cell, "strftime") else str(cell))
