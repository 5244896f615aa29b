"""
From plain values to models: the one cattrs converter, and the names that replies use.

Each page is converted column by column, without bookkeeping; where that fails, the same hooks run
again row by row in cattrs's detailed mode, which names every problem with its path.
"""

import re
from collections.abc import Callable, Mapping
from datetime import date, datetime, time
from decimal import Decimal
from functools import lru_cache
from itertools import repeat
from operator import itemgetter
from typing import Any, TypeVar, cast

from attrs import frozen
from cattrs import BaseValidationError, Converter, transform_error
from cattrs.gen import make_dict_structure_fn, override

from every8d_async._models import TAIPEI, DeliveryReport, Reply, canonical, canonicals
from every8d_async._pages import COUNT, ROWS, BadRow
from every8d_async._wire import BadReply

T = TypeVar("T")

# What replies call the fields of our models.
REPORT_NAMES = {
    "reference": "MR",
    "name": "NAME",
    "mobile": "MOBILE",
    "sent_at": "SEND_TIME",
    "cost": "COST",
    "code": "STATUS",
    "real_cost": "REAL_COST",
    "received_at": "RECEIVED_TIME",
}
_REPLY_NAMES = {
    "name": "NAME",
    "mobile": "MOBILE",
    "text": "CONTENT",
    "received_at": "RECEIVED_TIME",
}
_PAGE_NAMES = {"total": COUNT, "rows": ROWS}
_WIRE_NAMES = REPORT_NAMES | _REPLY_NAMES | _PAGE_NAMES
# A row may lack anything but what makes it somebody's.
_MUST = ("MOBILE", "STATUS", "CONTENT")

_WHOLE = re.compile(r"-?[0-9]{1,15}")
_POINTS = re.compile(r"-?[0-9]{1,15}(?:\.[0-9]{1,6})?")
_CLOCK = len("12:00:00")
_TOLD = 1000  # rows of a page that is unsound are looked at: as many as a sound page has
_CACHED = 64  # days: all times of a page are of a few


@frozen
class ReportPage:
    """A page of delivery reports as the gateway sends it: the batch's count, and some rows."""

    total: int
    rows: tuple[DeliveryReport, ...] = ()


@frozen
class ReplyPage:
    """A page of replies as the gateway sends it: the batch's count, and some rows."""

    total: int
    rows: tuple[Reply, ...] = ()


def structure(plain: Mapping[str, Any], model: type[T]) -> T:
    """
    Make a model of plain values.

    Raises:
        BadReply: Values are missing or wrong; every problem is named with its path.
    """
    try:
        return _FAST.structure(plain, model)
    except Exception:  # noqa: BLE001, S110 - whatever went wrong, the careful path says it in words
        pass
    return _carefully(plain, model)


def _carefully(plain: Mapping[str, Any], model: type[T]) -> T:
    rows: Any = plain.get(ROWS)
    # Telling what is wrong with a row takes a third of a millisecond: a hostile page with a million
    # of them would stop the event loop for minutes.
    beyond = isinstance(rows, list) and len(cast("list[object]", rows)) > _TOLD
    problems: list[str] = []
    try:
        made = CAREFUL.structure({**plain, ROWS: rows[:_TOLD]} if beyond else plain, model)
    except BaseValidationError as error:
        problems = list(map(_on_the_wire, transform_error(error, "", _in_words)))
    else:
        if not beyond:
            return made
    if beyond:
        problems.append(f"{ROWS}: has more than {_TOLD} rows, and not all are sound")
    raise BadReply(*problems)


def _in_words(error: BaseException, _type: type | None) -> str:
    return "is missing" if isinstance(error, KeyError) else str(error)


def _on_the_wire(problem: str) -> str:
    """Turn ``must be … @ rows[3].code`` into ``DATA[3].STATUS: must be …``."""
    words, _, path = problem.rpartition(" @ ")
    wire = re.sub("[a-z_]+", lambda name: _WIRE_NAMES[name[0]], path.removeprefix("."))
    return f"{wire}: {words}"


# The hooks. Values are quoted in no message: they may be somebody's number or text.


def _text(value: object, _type: object = None) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    raise ValueError("must be a text")


def _mobile(value: object, _type: object = None) -> str:
    text = _text(value).strip()
    return canonical(text) or text


def _whole(value: object, _type: object = None) -> int:
    if isinstance(value, int | str) and _WHOLE.fullmatch(str(value).strip()):
        return int(value)
    raise ValueError("must be a whole number")


def _count(value: object, _type: object = None) -> int:
    number = _whole(value)
    if number < 0:
        raise ValueError("must not be negative")
    return number


def _points(value: object, _type: object = None) -> Decimal | None:
    if value is None or isinstance(value, int | float | str):
        text = "" if value is None else str(value).strip()
        if text == "":
            return None
        if _POINTS.fullmatch(text):
            return Decimal(text)
    raise ValueError("must be an amount of points")


def _time(value: object, _type: object = None) -> datetime | None:
    if value is not None and not isinstance(value, str):
        raise ValueError("must be a time")
    text = (value or "").strip()
    if text == "":
        return None
    # In these 19 places ISO has no other spelling. (`replace(tzinfo=…)` would take twice as long.)
    day, between, clock = text[:10], text[10:11], text[11:]
    if len(clock) == _CLOCK and between == " " and day[4] == day[7] and clock[2] == clock[5] == ":":
        try:
            return datetime.combine(_day(day), time.fromisoformat(clock), TAIPEI)
        except ValueError:
            pass  # its words hold the text
    raise ValueError("must be a time such as 2026-01-31 12:00:00")


@lru_cache(_CACHED)
def _day(text: str) -> date:
    return date.fromisoformat(text.replace("/", "-"))


_HOOKS: dict[str, Callable[..., Any]] = {
    "reference": _text,
    "name": _text,
    "mobile": _mobile,
    "sent_at": _time,
    "cost": _points,
    "code": _whole,
    "real_cost": _points,
    "received_at": _time,
    "text": _text,
}


def _row_hook(converter: Converter, model: type[T], names: dict[str, str]) -> Callable[..., T]:
    overrides: dict[str, Any] = {
        name: override(rename=wire, struct_hook=_HOOKS[name]) for name, wire in names.items()
    }
    from_row = make_dict_structure_fn(model, converter, **overrides)
    absent: dict[str, Any] = {wire: None for wire in names.values() if wire not in _MUST}

    def hook(row: Any, _type: object = None) -> T:
        if isinstance(row, BadRow):
            raise ValueError(row.problem)  # noqa: TRY004 - a problem of the data
        if not isinstance(row, dict):
            raise ValueError("must be an object")  # noqa: TRY004 - a problem of the data
        return from_row({**absent, **row}, model)

    return hook


# --- whole columns: a page at once, ten times as fast as row by row ---

_Column = Callable[[list[Any]], list[Any]]


def _texts(values: list[Any]) -> list[Any]:
    return values if set(map(type, values)) == {str} else [*map(_text, values)]


def _mobiles(values: list[Any]) -> list[Any]:
    if set(map(type, values)) == {str} and (numbers := canonicals(values)) is not None:
        return numbers
    return [*map(_mobile, values)]


def _few(read: Callable[[Any], Any]) -> _Column:
    """Read each value once, however often it stands there, and let all rows hold the same one."""

    def column(values: list[Any]) -> list[Any]:
        once = set(values)
        # Numbers are equal to others of another kind, such as true to 1.
        if not set(map(type, once)) <= {str, type(None)}:
            return [*map(read, values)]
        known = {value: read(value) for value in once}
        return [*map(known.__getitem__, values)]

    return column


_COLUMNS: dict[str, _Column] = {
    "reference": _texts,
    "name": _texts,
    "mobile": _mobiles,
    "sent_at": _few(_time),
    "cost": _few(_points),
    "code": _few(_whole),
    "real_cost": _few(_points),
    "received_at": _few(_time),
    "text": _texts,
}


def usual_rows(model: type[T], names: Mapping[str, str]) -> Callable[[list[Any]], tuple[T, ...]]:
    """Give what makes all rows of a page at once; it raises anything where one is wrong."""
    # Frozen classes set their slots by name, which takes longer than all the rest of a row; the
    # slots' own setters do not.
    fields = [
        (wire, itemgetter(wire), _COLUMNS[name], getattr(model, name).__set__)
        for name, wire in names.items()
    ]

    def usual(rows: list[Any]) -> tuple[T, ...]:
        made = tuple(map(model.__new__, repeat(model, len(rows))))
        for wire, get, read, put in fields:
            try:
                column = [*map(get, rows)]
            except KeyError:
                if wire in _MUST:
                    raise
                column = [row.get(wire) for row in rows]
            any(map(put, made, read(column)))  # puts them all: each gives None
        return made

    return usual


def _page_hook(
    converter: Converter,
    page: type[T],
    row: type[Any],
    usual: Callable[[list[Any]], tuple[Any, ...]] | None,
) -> Callable[..., T]:
    def rows(value: Any, _type: object = None) -> Any:
        if value is None:
            return ()
        if not isinstance(value, list):
            raise ValueError("must be a list")  # noqa: TRY004 - a problem of the data
        if usual is not None:
            return usual(cast("list[object]", value))
        return converter.structure(value, tuple[row, ...])  # type: ignore[valid-type]

    return make_dict_structure_fn(
        page,
        converter,
        total=override(rename=_PAGE_NAMES["total"], struct_hook=_count),
        rows=override(rename=_PAGE_NAMES["rows"], struct_hook=rows),
    )


def _converter(*, careful: bool) -> Converter:
    converter = Converter(detailed_validation=careful)
    kinds: list[tuple[type[Any], type[Any], dict[str, str]]] = [
        (ReportPage, DeliveryReport, REPORT_NAMES),
        (ReplyPage, Reply, _REPLY_NAMES),
    ]
    for page, row, names in kinds:
        usual = None if careful else usual_rows(row, names)
        converter.register_structure_hook(row, _row_hook(converter, row, names))
        converter.register_structure_hook(page, _page_hook(converter, page, row, usual))
    return converter


_FAST = _converter(careful=False)
CAREFUL = _converter(careful=True)
