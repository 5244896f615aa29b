"""Read what requests carry: numbers, times, flags, templates."""

from __future__ import annotations

import re
from datetime import datetime
from typing import TYPE_CHECKING

from every8d_async.simulator import _codes
from every8d_async.simulator._call import Refused
from every8d_async.simulator._values import TAIPEI

if TYPE_CHECKING:
    from collections.abc import Iterable

    from every8d_async.simulator._values import Refusal

_DOMESTIC = re.compile(r"(?:09|\+8869)([0-9]{8})")
_FOREIGN = re.compile(r"\+(?!886)[1-9][0-9]{5,14}")
_MOMENT = re.compile(r"[0-9]{14}")
_INT32 = re.compile(r"[0-9]{1,9}")
_FIELD = re.compile(r"%field([1-5])%")
_TEMPLATE_FIELDS = 5


def canonical(mobile: str) -> str | None:
    """Spell a number as reports do, `+8869…` or `+<country>…`; None for a form that is refused."""
    domestic = _DOMESTIC.fullmatch(mobile)
    if domestic:
        return f"+8869{domestic[1]}"
    return mobile if _FOREIGN.fullmatch(mobile) else None


def is_foreign(mobile: str) -> bool:
    """Tell whether a canonical number is abroad."""
    return not mobile.startswith("+886")


def canonical_all(written: Iterable[str]) -> list[str]:
    """Spell all numbers canonically, or refuse them with a list of those that are wrong."""
    pairs = [(mobile, canonical(mobile)) for mobile in written]
    bad = [mobile for mobile, spelled in pairs if spelled is None]
    if bad:
        raise Refused(_codes.bad_numbers(bad))
    return [spelled for _, spelled in pairs if spelled is not None]


def numbers(dest: str) -> list[str]:
    """Take DEST apart at its commas; blanks around a number, and empty places, don't count."""
    if not dest.strip():
        raise Refused(_codes.NO_NUMBER)
    written = [mobile.strip() for mobile in dest.split(",") if mobile.strip()]
    if not written:
        raise Refused(_codes.EMPTY_LIST)
    return canonical_all(written)


def moment(text: str) -> datetime | None:
    """Read `yyyyMMddHHmmss`, Taipei time; empty means at once."""
    if not text:
        return None
    if not _MOMENT.fullmatch(text):
        raise Refused(_codes.BAD_TIME)
    try:
        return datetime.strptime(text, "%Y%m%d%H%M%S").replace(tzinfo=TAIPEI)
    except ValueError:
        raise Refused(_codes.BAD_TIME) from None


def whole_number(text: str, default: int, stumble: Refusal = _codes.UNKNOWN_AT_HOST) -> int:
    """Read digits; empty is the default, anything else makes the gateway stumble (-99)."""
    if not text.strip():
        return default
    if not _INT32.fullmatch(text.strip()):
        raise Refused(stumble)
    return int(text)


def is_false(text: str) -> bool:
    """Read IsSend: only a clear no is one."""
    return text.strip().lower() in {"false", "0"}


def fill_in(template: str, param: str) -> str | None:
    """Put the fields of `a|b|c|d|e` into a template; None unless there are 1 to 4 separators."""
    fields = param.split("|")
    if not 1 < len(fields) <= _TEMPLATE_FIELDS:
        return None
    padded = fields + [""] * (_TEMPLATE_FIELDS - len(fields))
    return _FIELD.sub(lambda match: padded[int(match[1]) - 1], template)
