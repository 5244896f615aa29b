"""
Many items looked at together, without finding out which of them may be wrong.

Nearly all are sound, and to look at each alone takes ten times as long. What does not pass here is
looked at alone, by the rules of `_checks`: they say what is wrong, or that all is well.
"""

from collections.abc import Sequence
from datetime import datetime
from itertools import chain
from typing import TypeAlias, cast

from every8d_async._checks import Problems, is_line, is_sendable
from every8d_async._models import PersonalizedMessage, TemplateRecipient, canonicals

TEMPLATE_FIELDS = 5
SEPARATOR = "|"
_MISSING = [SEPARATOR * (TEMPLATE_FIELDS - size) for size in range(TEMPLATE_FIELDS + 1)]

# A plain tuple of texts: a bulk run makes a million, and of anything else that lives for a while
# the garbage collector would look at each one again and again.
ParamRecipient: TypeAlias = tuple[str, str, str, str, str, str]
"""
One person of a request with many texts, ready for the wire.

Mobile, text (or the fields of a template), name, email, time to send, reference.
"""


def usual_texts(items: Sequence[object], now: datetime) -> list[ParamRecipient] | None:
    """Check many people's own texts; None where one of them takes a closer look."""
    if set(map(type, items)) != {PersonalizedMessage}:
        return None
    messages = cast("Sequence[PersonalizedMessage]", items)
    texts = [message.text for message in messages]
    return _rows(messages, texts, now) if all(texts) else None


def usual_fields(
    items: Sequence[object], needed: int, now: datetime
) -> list[ParamRecipient] | None:
    """Check many people's fields for a template; None where one of them takes a closer look."""
    if set(map(type, items)) != {TemplateRecipient}:
        return None
    recipients = cast("Sequence[TemplateRecipient]", items)
    given = [recipient.fields for recipient in recipients]
    if not set(map(type, given)) <= {tuple, list}:
        return None
    sizes = set(map(len, given))
    if min(sizes) < needed or max(sizes) > TEMPLATE_FIELDS:
        return None
    try:
        params = [SEPARATOR.join(fields) + _MISSING[len(fields)] for fields in given]
    except TypeError:  # one of them is no text
        return None
    # A field that holds a separator shows in their number; no fields at all have one too many.
    if {param.count(SEPARATOR) for param in params} != {TEMPLATE_FIELDS - 1}:
        return None
    return _rows(recipients, params, now)


def _rows(
    given: Sequence[PersonalizedMessage] | Sequence[TemplateRecipient],
    params: list[str],
    now: datetime,
) -> list[ParamRecipient] | None:
    # Each message is touched once, in one pass: by then they are in no cache any more.
    rows = [(each.mobile, each.name, each.email, each.send_at, each.reference) for each in given]
    mobiles, names, emails, times, references = zip(*rows, strict=True)
    try:
        lines = "".join(chain(names, emails, references))
        sendable = is_sendable("".join(params)) and is_line(lines)
        numbers = canonicals(mobiles)
    except TypeError:  # one of them is no text
        return None
    written = _times(times, now)
    if not sendable or numbers is None or written is None:
        return None
    return [*zip(numbers, params, names, emails, written, references, strict=True)]


def _times(values: Sequence[datetime | None], now: datetime) -> list[str] | None:
    if values.count(None) == len(values):
        return [""] * len(values)
    problems = Problems()
    times = [problems.send_at("send_at", value, now) for value in values]
    return None if problems.found else times
