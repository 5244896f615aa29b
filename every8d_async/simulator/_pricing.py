"""What a message costs, in points. For a text these are the rules that resellers go by."""

from __future__ import annotations

from decimal import Decimal

KB = 1024
MMS_SMALL, MMS_LIMIT = 50 * KB, 300 * KB
EVENT_LINK = 17  # characters that an EventID adds to a text
FOREIGN_FACTOR = 3


def sms_points(text: str, *, event: bool = False, foreign: bool = False) -> Decimal:
    """Price a text: by 160 and 153 units when it is ASCII, else by 70 and 67; abroad, threefold."""
    units = len(text.encode("utf-16-le", "surrogatepass")) // 2 + (EVENT_LINK if event else 0)
    one, part, whole = (160, 153, 765) if text.isascii() else (70, 67, 333)
    full, rest = divmod(units, whole) if units > whole else (0, units)
    points = 5 * full + _parts(rest, one, part)
    return Decimal(points * (FOREIGN_FACTOR if foreign else 1))


def _parts(units: int, one: int, part: int) -> int:
    if units <= one:
        return 1 if units else 0
    return -(-units // part)


def mms_points(size: int) -> Decimal:
    """Price an MMS by the bytes of its picture and text together."""
    return Decimal(3 if size <= MMS_SMALL else 5)
