"""Read the parts of a request that only an MMS has, and refuse what is missing or too large."""

from __future__ import annotations

import binascii
from base64 import b64decode
from typing import TYPE_CHECKING

from every8d_async.simulator import _codes
from every8d_async.simulator._booking import Picture, utf8
from every8d_async.simulator._call import Refused
from every8d_async.simulator._ledger import TOO_LONG
from every8d_async.simulator._pricing import MMS_LIMIT
from every8d_async.simulator._reading import is_foreign

if TYPE_CHECKING:
    from collections.abc import Iterable

    from every8d_async.simulator._call import Call

_TYPES = frozenset({"jpg", "jpeg", "png", "gif"})
_SUBJECT, _ASCII_SUBJECT = 15, 39  # characters
_TEXT = 4000  # characters


def read_picture(call: Call) -> Picture:
    """Decode ATTACHMENT and read TYPE."""
    data = _decoded(call.text("ATTACHMENT"))
    kind = call.text("TYPE").strip().lower()
    if not kind:
        raise Refused(_codes.NO_PICTURE_TYPE)
    if kind not in _TYPES:
        raise Refused(_codes.BAD_PICTURE_TYPE)
    return Picture(data, kind)


def _decoded(attachment: str) -> bytes:
    packed = "".join(attachment.split())
    if not packed:
        raise Refused(_codes.NO_PICTURE)
    try:
        return b64decode(packed, validate=True)
    except (binascii.Error, ValueError):
        raise Refused(_codes.BAD_PICTURE) from None


def check_subject(subject: str, *, required: bool) -> None:
    """Hold the subject to 39 characters of ASCII, or 15 of anything."""
    if required and not subject:
        raise Refused(_codes.NO_SUBJECT)
    if len(subject) > (_ASCII_SUBJECT if subject.isascii() else _SUBJECT):
        raise Refused(_codes.LONG_SUBJECT)


def check_domestic(mobiles: Iterable[str]) -> None:
    """Refuse numbers abroad, which can't get an MMS."""
    abroad = [mobile for mobile in mobiles if is_foreign(mobile)]
    if abroad:
        raise Refused(_codes.bad_numbers(abroad))


def check_size(picture: Picture, texts: Iterable[str]) -> None:
    """Hold the picture and each text, taken together, to 300 KB."""
    if any(len(picture.data) + len(utf8(text)) > MMS_LIMIT for text in texts):
        raise Refused(_codes.TOO_LARGE)


def text_fate(text: str) -> int | None:
    """Give the status of a message whose text is too long, None for one that can go."""
    return TOO_LONG if len(text) > _TEXT else None
