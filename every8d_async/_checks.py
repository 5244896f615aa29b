"""Checks of single values; each notes what is wrong and goes on, so that all is told at once."""

import re
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any, cast

from every8d_async._errors import InvalidRequest, mask
from every8d_async._models import TAIPEI, canonical, canonicals
from every8d_async._options import is_positive

_UNSENDABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_GRACE = timedelta(seconds=60)
_MINUTE = timedelta(minutes=1)
_DEFAULT_MINUTES = 1440
_HOME = "+886"


class Problems:
    """Collects what is wrong with a call's arguments. Values are shown masked, or not at all."""

    def __init__(self) -> None:
        self.found: list[str] = []

    def check(self, *, ok: bool, problem: str) -> None:
        """Note a problem unless all is well."""
        if not ok:
            self.found.append(problem)

    def end(self, operation: str) -> None:
        """
        Finish the check.

        Raises:
            InvalidRequest: Something was wrong.
        """
        if self.found:
            raise InvalidRequest(self.found, operation=operation)

    def text(self, name: str, value: object, *, may_be_empty: bool = True) -> str:
        """Check a text that people read: no control characters but tab and line ends."""
        if isinstance(value, str):
            self.check(ok=may_be_empty or value != "", problem=f"{name}: must not be empty")
        return self._without(_UNSENDABLE, name, value)

    def line(self, name: str, value: object) -> str:
        """Check a text that stands on a line of its own: no control characters at all."""
        return self._without(_CONTROL, name, value)

    def _without(self, unsendable: re.Pattern[str], name: str, value: object) -> str:
        if not isinstance(value, str):
            self.found.append(f"{name}: must be a text, not {kind(value)}")
            return ""
        if bad := unsendable.search(value):
            self.found.append(
                f"{name}: holds a character that can't be sent (U+{ord(bad[0]):04X}) "
                f"at position {bad.start()}"
            )
        return value

    def identifier(self, name: str, value: object) -> str:
        """Check a text without any control character, and not empty."""
        if not isinstance(value, str):
            self.found.append(f"{name}: must be a text, not {kind(value)}")
            return ""
        self.check(ok=value != "", problem=f"{name}: must not be empty")
        self.check(ok=not _CONTROL.search(value), problem=f"{name}: holds a control character")
        return value

    def positive(self, name: str, value: object) -> None:
        """Check a whole number from 1."""
        ok = isinstance(value, int) and not isinstance(value, bool) and value >= 1
        self.check(ok=ok, problem=f"{name}: must be a whole number from 1")

    def seconds(self, name: str, value: object) -> None:
        """Check a time in seconds."""
        self.check(ok=is_positive(value), problem=f"{name}: must be a number of seconds above 0")

    def several(self, name: str, value: Any) -> Iterable[object] | None:
        """Check something to iterate over; None if it is not."""
        if isinstance(value, Iterable) and not isinstance(value, str | bytes):
            return cast("Iterable[object]", value)
        self.found.append(f"{name}: must be an iterable, not {kind(value)}")
        return None

    def mobile(self, name: str, value: object, *, abroad: bool = True) -> str:
        """Check a mobile, which for an MMS can't be `abroad`; give its canonical form."""
        if not isinstance(value, str):
            self.found.append(f"{name}: must be a text, not {kind(value)}")
            return ""
        number = canonical(value)
        self.check(ok=number is not None, problem=f"{name}: {mask(value)!r} is no mobile number")
        self.check(
            ok=abroad or number is None or number.startswith(_HOME),
            problem=f"{name}: an MMS can't go to a foreign number",
        )
        return number or ""

    def mobiles(self, to: object, *, abroad: bool = True) -> tuple[str, ...]:
        """Check one mobile or an iterable of them; each may stand there once."""
        given = (to,) if isinstance(to, str) else self.several("to", to)
        if given is None:
            return ()
        given = [*given]
        if (usual := _usual_mobiles(given, abroad=abroad)) is not None:
            return usual
        first: dict[str, int] = {}
        position = -1
        for position, text in enumerate(given):
            name = f"to[{position}]"
            number = self.mobile(name, text, abroad=abroad)
            if number in first:
                self.found.append(
                    f"{name}: {mask(number)!r} is the same mobile as to[{first[number]}] and would "
                    "be sent and billed twice"
                )
            elif number:
                first[number] = position
        self.check(ok=position >= 0, problem="to: holds nobody")
        return tuple(first)

    def send_at(self, name: str, value: object, now: datetime) -> str:
        """Write a time in Taipei, 14 digits; empty for now."""
        if value is None:
            return ""
        if not isinstance(value, datetime) or value.utcoffset() is None:
            self.found.append(f"{name}: must be a datetime with a time zone, such as TAIPEI")
            return ""
        if value < now - _GRACE:
            self.found.append(f"{name}: is more than 60 s past")
            return ""
        try:
            return value.astimezone(TAIPEI).strftime("%Y%m%d%H%M%S")
        except OverflowError:
            self.found.append(f"{name}: is too far away")
            return ""

    def minutes(self, value: object) -> int:
        """Write how long delivery is tried, in minutes."""
        if value is None:
            return _DEFAULT_MINUTES
        if not isinstance(value, timedelta) or value < _MINUTE or value % _MINUTE:
            self.found.append("valid_for: must be a timedelta of whole minutes, one at least")
            return _DEFAULT_MINUTES
        return value // _MINUTE


def _usual_mobiles(values: list[Any], *, abroad: bool) -> tuple[str, ...] | None:
    """Check many mobiles at once; None where one takes a closer look, or stands there twice."""
    if set(map(type, values)) != {str} or (numbers := canonicals(values)) is None:
        return None
    distinct = len(set(numbers)) == len(numbers)
    allowed = abroad or all(number.startswith(_HOME) for number in numbers)
    return tuple(numbers) if distinct and allowed else None


def is_sendable(text: str) -> bool:
    """Tell whether a text holds only what `Problems.text` lets pass."""
    # Nothing unsendable is printable; asking that first takes half the time.
    return text.isprintable() or not _UNSENDABLE.search(text)


def is_line(text: str) -> bool:
    """Tell whether a text holds only what `Problems.line` lets pass."""
    return text.isprintable() or not _CONTROL.search(text)


def kind(value: object) -> str:
    """Name a value's class."""
    return type(value).__name__
