"""
CSV in: whom to send to, one a line, with everything wrong told by its line.

The columns are ``mobile`` with ``text``, or with ``field1`` to ``field5`` for a template, or
``mobile`` alone for one text for everybody; ``name`` and ``reference`` may stand beside them.
"""

import codecs
import csv
import io
import re
from collections.abc import Callable, Iterator
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

from attrs import define, field, frozen

from every8d_async import InvalidRequest, PersonalizedMessage, TemplateRecipient
from every8d_async._bulk import Plan
from every8d_async._cli._exits import Exit, Failure

Shape = Literal["text", "template", "one text"]

_FIELDS = tuple(f"field{number}" for number in range(1, 6))
_ASIDE = ("name", "reference")
_COLUMNS: dict[Shape, tuple[str, ...]] = {
    "text": ("text",),
    "template": _FIELDS,
    "one text": (),
}
_PLACE = re.compile(r"(?:messages|to)\[\d+\][.:] ?")
_NOW_AND_THEN = 1_000  # lines
_LOST_ZERO = re.compile(r"9\d{8}")


@frozen
class TextRow(PersonalizedMessage):
    """A person's own text, and the line it stands in."""

    line: int = field(default=0, kw_only=True)


@frozen
class FieldsRow(TemplateRecipient):
    """A person's own fields, and the line they stand in."""

    line: int = field(default=0, kw_only=True)


class MobileRow(str):
    """A mobile that gets the text that is everybody's."""

    __slots__ = ("line", "reference")

    line: int
    reference: str

    @property
    def mobile(self) -> str:
        """Give the mobile as it was written."""
        return str(self)


Row = TextRow | FieldsRow | MobileRow


@frozen
class Bad:
    """A line that can't be sent, and why; it names nobody."""

    line: int
    problem: str
    mobile: str = field(default="", repr=False)
    reference: str = ""


class Sheet:
    """
    A CSV file, read whole and once: what is checked is what is sent.

    Attributes:
        from_line: The first line that is not passed over.

    Raises:
        Failure: It can't be read at all, as in another encoding; nothing was sent.
    """

    def __init__(
        self,
        file: Path,
        shape: Shape,
        *,
        encoding: str | None = None,
        send_at: datetime | None = None,
        from_line: int = 1,
    ) -> None:
        self._file = file
        self._shape: Shape = shape
        self._send_at = send_at
        self.from_line = from_line
        self._text = decode(_read(file), encoding, file)
        self._header = self._read_header()

    @property
    def length(self) -> int:
        """Count the lines, as an editor does."""
        return self._text.count("\n")

    def rows(self) -> Iterator[Row | Bad]:
        """Read the lines, again each time."""
        for line, cells in self._records(after_header=True):
            if line >= self.from_line:
                yield self._row(line, cells)

    def _row(self, line: int, cells: list[str]) -> Row | Bad:
        named = dict(zip(self._header, cells, strict=False))
        if len(cells) != len(self._header):
            problem = f"{len(cells)} columns instead of {len(self._header)}"
            return Bad(line, problem, named.get("mobile", ""), named.get("reference", ""))
        mobile, reference = named["mobile"].strip(), named.get("reference", "").strip()
        name = named.get("name", "")
        match self._shape:
            case "text":
                return TextRow(
                    mobile,
                    named["text"],
                    name=name,
                    reference=reference,
                    send_at=self._send_at,
                    line=line,
                )
            case "template":
                fields = tuple(named[column] for column in _FIELDS if column in named)
                return FieldsRow(
                    mobile,
                    fields,
                    name=name,
                    reference=reference,
                    send_at=self._send_at,
                    line=line,
                )
            case _:
                row = MobileRow(mobile)
                row.line, row.reference = line, reference
                return row

    def _read_header(self) -> tuple[str, ...]:
        first = next(self._records(), None)
        if first is None:
            raise self._failure(1, "the file is empty; its first line names the columns")
        line, cells = first
        header = tuple(cell.strip().lower() for cell in cells)
        known = ("mobile", *_COLUMNS[self._shape], *_ASIDE)
        wanted = ("mobile", *_COLUMNS[self._shape][:1])
        missing = [name for name in wanted if name not in header]
        unknown = [name for name in header if name not in known]
        if missing or unknown or len(set(header)) != len(header):
            raise self._failure(line, self._about_header(missing, unknown, known))
        if self._shape == "template":
            self._check_fields(line, header)
        return header

    def _about_header(self, missing: list[str], unknown: list[str], known: tuple[str, ...]) -> str:
        if "mobile" in missing:
            return "the first line names the columns, and there is no column mobile"
        if missing == ["text"]:
            return (
                "there is no column text: give a text for everybody, or --template for the columns "
                "field1 to field5"
            )
        if missing:
            return "a template needs the columns field1 to field5, as far as it names them"
        if unknown:
            return f"column {unknown[0]!r} is not known here; known are: {', '.join(known)}"
        return "a column is there twice"

    def _check_fields(self, line: int, header: tuple[str, ...]) -> None:
        present = [name in header for name in _FIELDS]
        if present != sorted(present, reverse=True):
            raise self._failure(line, "the columns field1, field2… must have no gap")

    def _records(self, *, after_header: bool = False) -> Iterator[tuple[int, list[str]]]:
        """Read records with the line each begins in; blank lines are passed over."""
        reader = csv.reader(io.StringIO(self._text, newline=""), strict=True)
        begins = 1
        passed = not after_header
        while True:
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                raise self._failure(begins, f"{error}; from here on it can't be read") from None
            if any(cell.strip() for cell in cells):
                if passed:
                    yield begins, cells
                passed = True
            begins = reader.line_num + 1

    def _failure(self, line: int, problem: str) -> Failure:
        return Failure(Exit.MEND, f"{self._file}, line {line}: {problem}. Nothing was sent.")


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise Failure(Exit.MEND, f"{file}: {error.strerror}. Nothing was sent.") from None


def decode(data: bytes, encoding: str | None, file: Path) -> str:
    """
    Read bytes as text: in the encoding that was said, else UTF-8, else Big5 (cp950).

    Raises:
        Failure: It is in none of them; the sentence names the line.
    """
    if encoding is not None:
        tried = [_known(encoding)]
    elif data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise Failure(Exit.MEND, f"{file} is UTF-16: save it as CSV in UTF-8. Nothing was sent.")
    else:
        tried = ["utf-8", "cp950"]
    lines: list[int] = []
    for name in tried:
        try:
            return data.decode(name).removeprefix("\ufeff")
        except UnicodeDecodeError as error:
            lines.append(data.count(b"\n", 0, error.start) + 1)
    names = " nor ".join(tried)
    say = "say --encoding" if encoding is None else "say another --encoding"
    raise Failure(
        Exit.MEND,
        f"{file}, line {lines[0]}: it is not in {names}; {say}. Nothing was sent.",
    )


def _known(encoding: str) -> str:
    try:
        return codecs.lookup(encoding).name
    except LookupError:
        raise Failure(Exit.MEND, f"{encoding!r} is no encoding: try utf-8 or big5.") from None


@define
class Checked:
    """What a sheet comes to: how many can go, what they cost by our estimate, and who can't go."""

    count: int = 0
    points: Decimal = Decimal(0)
    bad: list[Bad] = field(factory=list)

    @property
    def lines(self) -> frozenset[int]:
        """Give the lines that can't go."""
        return frozenset(bad.line for bad in self.bad)


def examine(sheet: Sheet, plan: Plan[Any, Any], heard: Callable[[int], None]) -> Checked:
    """
    Check every line by the rules of the call that will send it; nothing is sent.

    Args:
        sheet: The lines.
        plan: The rules.
        heard: Hears of a line now and then.
    """
    checked = Checked()
    places: dict[int, int] = {}
    for row in sheet.rows():
        bad = row if isinstance(row, Bad) else _check(row, plan, places, checked)
        if bad is not None:
            checked.bad.append(bad)
        if not row.line % _NOW_AND_THEN:
            heard(row.line)
    return checked


def good(sheet: Sheet, checked: Checked) -> Iterator[Row]:
    """Read the lines that can go."""
    lines = checked.lines
    for row in sheet.rows():
        if not isinstance(row, Bad) and row.line not in lines:
            yield row


def _check(row: Row, plan: Plan[Any, Any], places: dict[int, int], checked: Checked) -> Bad | None:
    (ready,) = plan.check([row], 0)
    if isinstance(ready, InvalidRequest):
        problem = "; ".join(_PLACE.sub("", problem) for problem in ready.problems)
        if _LOST_ZERO.fullmatch(row.mobile):
            problem += " (a spreadsheet may have taken its first 0)"
        return Bad(row.line, problem, row.mobile, row.reference)
    for key, what in _keys(row, ready):
        first = places.setdefault(key, row.line)
        if first != row.line:
            return Bad(row.line, f"{what} line {first}", row.mobile, row.reference)
    checked.count += 1
    checked.points += plan.points((ready,))
    return None


def _keys(row: Row, ready: Any) -> Iterator[tuple[int, str]]:
    """Give what may stand in a file once: anything else would be sent and billed twice."""
    if row.reference:
        yield hash(("reference", row.reference)), "its reference is also that of"
    if isinstance(ready, str):
        yield hash(ready), "the same mobile as in"
    elif not row.reference:
        mobile, text, *_ = ready
        yield hash((mobile, text)), "the same message to the same mobile as in"
