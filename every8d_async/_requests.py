"""
What callers hand in, checked and in canonical form; or `InvalidRequest` with every problem.

Everything is checked before the wire, since a refusal after it costs a round trip, and since a
mobile with a comma or a line end in it would add recipients.
"""

import re
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from attrs import field, frozen

from every8d_async._errors import InvalidRequest, mask
from every8d_async._models import TAIPEI, canonical
from every8d_async._options import is_positive

_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_GRACE = timedelta(seconds=60)
_MINUTE = timedelta(minutes=1)
_DEFAULT_MINUTES = 1440


@frozen
class TextMessage:
    """One text for many, ready for the wire."""

    text: str = field(repr=False)
    mobiles: tuple[str, ...] = field(repr=False)
    subject: str = field(repr=False)
    send_at: str
    minutes: int
    event_id: str | None


@frozen
class PageQuery:
    """One page of a batch's rows."""

    batch_id: str
    page: int


class Problems:
    """Collects what is wrong with a call's arguments."""

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
        if not isinstance(value, str):
            self.found.append(f"{name}: must be a text, not {type(value).__name__}")
            return ""
        self.check(ok=may_be_empty or value != "", problem=f"{name}: must not be empty")
        if bad := _FORBIDDEN.search(value):
            self.found.append(
                f"{name}: holds a character that can't be sent (U+{ord(bad[0]):04X}) "
                f"at position {bad.start()}"
            )
        return value

    def token(self, name: str, value: object) -> str:
        """Check an identifier: a text without any control character, and not empty."""
        text = self.text(name, value, may_be_empty=False)
        self.check(ok=not _CONTROL.search(text), problem=f"{name}: holds a control character")
        return text

    def positive(self, name: str, value: object) -> None:
        """Check a whole number from 1."""
        ok = isinstance(value, int) and not isinstance(value, bool) and value >= 1
        self.check(ok=ok, problem=f"{name}: must be a whole number from 1")

    def seconds(self, name: str, value: object) -> None:
        """Check a time in seconds."""
        self.check(ok=is_positive(value), problem=f"{name}: must be a number of seconds above 0")

    def mobiles(self, to: Any) -> tuple[str, ...]:
        """Check one mobile or an iterable of them; each may stand there once."""
        if isinstance(to, str):
            to = (to,)
        if not isinstance(to, Iterable):
            self.found.append(f"to: must be a mobile or an iterable of them, not {_kind(to)}")
            return ()
        first: dict[str, int] = {}
        given: Iterable[object] = to
        for position, text in enumerate(given):
            self._mobile(position, text, first)
        self.check(ok=bool(first) or bool(self.found), problem="to: holds nobody")
        return tuple(first)

    def _mobile(self, position: int, text: object, first: dict[str, int]) -> None:
        if not isinstance(text, str):
            self.found.append(f"to[{position}]: must be a text, not {_kind(text)}")
        elif (number := canonical(text)) is None:
            self.found.append(f"to[{position}]: {mask(text)!r} is not a mobile number")
        elif number in first:
            self.found.append(
                f"to[{position}]: {mask(number)!r} is the same mobile as to[{first[number]}] and "
                "would be sent and billed twice"
            )
        else:
            first[number] = position

    def send_at(self, value: object, now: datetime) -> str:
        """Write a time in Taipei, 14 digits; empty for now."""
        if value is None:
            return ""
        if not isinstance(value, datetime) or value.utcoffset() is None:
            self.found.append("send_at: must be a datetime with a time zone, such as TAIPEI")
            return ""
        if value < now - _GRACE:
            self.found.append("send_at: is more than 60 s past")
            return ""
        try:
            return value.astimezone(TAIPEI).strftime("%Y%m%d%H%M%S")
        except OverflowError:
            self.found.append("send_at: is too far away")
            return ""

    def minutes(self, value: object) -> int:
        """Write how long a message may be tried, in minutes."""
        if value is None:
            return _DEFAULT_MINUTES
        if not isinstance(value, timedelta) or value < _MINUTE or value % _MINUTE:
            self.found.append("valid_for: must be a timedelta of whole minutes, one at least")
            return _DEFAULT_MINUTES
        return value // _MINUTE


def _kind(value: object) -> str:
    return type(value).__name__


def utc_now() -> datetime:
    """Tell the time; handed in where tests need another."""
    return datetime.now(UTC)


def text_message(
    operation: str,
    text: object,
    to: object,
    *,
    subject: object,
    send_at: object,
    valid_for: object,
    event_id: object,
    now: Callable[[], datetime] = utc_now,
) -> TextMessage:
    """Check one text for many."""
    problems = Problems()
    message = TextMessage(
        text=problems.text("text", text, may_be_empty=False),
        mobiles=problems.mobiles(to),
        subject=problems.text("subject", subject),
        send_at=problems.send_at(send_at, now()),
        minutes=problems.minutes(valid_for),
        event_id=None if event_id is None else problems.token("event_id", event_id),
    )
    problems.end(operation)
    return message


def batch(operation: str, batch_id: object) -> str:
    """Check a batch id: not empty, no control characters; its form is the gateway's business."""
    problems = Problems()
    checked = problems.token("batch_id", batch_id)
    problems.end(operation)
    return checked


def page_query(operation: str, batch_id: object, start_page: object, window: object) -> str:
    """Check what a pager is given; give the batch id."""
    problems = Problems()
    checked = problems.token("batch_id", batch_id)
    problems.positive("start_page", start_page)
    problems.positive("window", window)
    problems.end(operation)
    return checked
