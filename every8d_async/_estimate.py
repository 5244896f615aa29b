"""What a send will probably cost, by the rules that resellers know; pure, and no promise."""

import math
from decimal import Decimal

from every8d_async._checks import Problems
from every8d_async._models import Estimate
from every8d_async._requests import KILOBYTE, MMS_BYTES, attached, picture_bytes, text_bytes

_LINK = 17  # characters that an event id adds
_ABROAD = 3  # times the price at home

# (units that fit one message, units of each of several, units of one long message, its points)
_PLAIN = (160, 153, 765, 5)
_OTHER = (70, 67, 333, 5)

_MMS_SMALL, _MMS_POINTS, _MMS_LARGE_POINTS = 50 * KILOBYTE, 3, 5


def text_units(text: str) -> int:
    """Count a text's UTF-16 units: characters, but two for an astral one."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def segments(units: int, *, plain: bool) -> int:
    """Tell into how many messages so many units go; each costs a point at home."""
    alone, joined, longest, points = _PLAIN if plain else _OTHER
    whole, rest = divmod(units, longest)
    if whole and not rest:
        return whole * points
    return whole * points + (1 if rest <= alone else math.ceil(rest / joined))


def sms_points(text: str, number: str, event_id: object) -> int:
    """Estimate what one text costs for one mobile in canonical form."""
    each = segments(_units(text, event_id), plain=text.isascii())
    return each if number.startswith("+886") else each * _ABROAD


def mms_points(attachment: object, text: str) -> int:
    """Estimate what one MMS costs (§3.2)."""
    size = picture_bytes(attachment) + text_bytes(text)
    return _MMS_POINTS if size <= _MMS_SMALL else _MMS_LARGE_POINTS


def _units(text: str, event_id: object) -> int:
    return text_units(text) + (_LINK if event_id is not None else 0)


def estimate_sms(text: object, to: object, event_id: object) -> Estimate:
    """
    Estimate what one text for some people costs.

    Raises:
        InvalidRequest: The text or the recipients can't be sent to.
    """
    problems = Problems()
    checked = problems.text("text", text, may_be_empty=False)
    at_home, abroad = _people(problems, to)
    problems.end("sms.estimate")
    units = _units(checked, event_id)
    each = segments(units, plain=checked.isascii())
    return Estimate(units, each, Decimal(each * (at_home + _ABROAD * abroad)))


def estimate_mms(attachment: object, text: object, to: object) -> Estimate:
    """
    Estimate what an MMS for some people costs: 3 points up to 50 KB, 5 up to 300 KB (§3.2).

    Raises:
        InvalidRequest: Picture and text are too large, or the recipients can't be sent to.
    """
    problems = Problems()
    checked = problems.text("text", text)
    people, _ = _people(problems, to, abroad=False)
    attached(problems, attachment)
    size = picture_bytes(attachment) + text_bytes(checked)
    problems.check(
        ok=size <= MMS_BYTES,
        problem=f"attachment: {size} bytes with the text; an MMS takes {MMS_BYTES}",
    )
    problems.end("mms.estimate")
    return Estimate(size, 1, Decimal(mms_points(attachment, checked) * people))


def _people(problems: Problems, to: object, *, abroad: bool = True) -> tuple[int, int]:
    """Give how many are at home and abroad; a bare count is taken to be at home."""
    if isinstance(to, int) and not isinstance(to, bool):
        problems.positive("to", to)
        return to, 0
    given = (to,) if isinstance(to, str) else problems.several("to", to)
    numbers = [
        problems.mobile(f"to[{n}]", number, abroad=abroad) for n, number in enumerate(given or ())
    ]
    far = sum(not number.startswith("+886") for number in numbers)
    return len(numbers) - far, far
