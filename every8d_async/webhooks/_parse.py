"""Read a push report (§6): pure, and strict where a wrong value could do harm."""

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from attrs import frozen

from every8d_async._codes import DeliveryStatus
from every8d_async._errors import mask
from every8d_async._models import TAIPEI, canonical
from every8d_async.webhooks._decode import Pair, codec_of, pairs_of
from every8d_async.webhooks._values import InvalidReport, PushedReply, PushedReport

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")
# Whatever can be sent as a reference comes back as MR, tabs and line ends too.
_UNSENDABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_CODE = re.compile(r"-?[0-9]{1,9}")
_POINTS = re.compile(r"-?[0-9]{1,15}(?:\.[0-9]{1,6})?")
# The text says the first form; the gateway's query replies write the others.
_TIME = re.compile(r"[0-9]{14}|[0-9]{4}([-/])[0-9]{2}\1[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}")


def parse_report(
    data: str | bytes | Mapping[str, Any], *, encoding: str = "utf-8"
) -> PushedReport | PushedReply:
    """
    Read what the gateway pushed: a report, or a reply where STATUS is 999.

    Only BatchID, RM and STATUS must be there. Names are taken in any case; a name that comes twice
    must say the same, but for MR, which the official text lists twice: its first value counts, and
    another one is kept in `extra`, as are names that the text does not list.

    Args:
        data: The raw query string or form body, or names with values that were decoded already: a
            framework's own mapping, or one in which a value may be a list of texts.
        encoding: What the gateway's settings say: ``utf-8``, or ``big5`` (read as cp950).

    Raises:
        InvalidReport: It is none; all problems are listed.
        ValueError: There is no such encoding.
    """
    found = _Found()
    for item in pairs_of(data, codec_of(encoding)):
        found.problems.append(item) if isinstance(item, str) else found.add(item)
    given = {field.attribute: found.value(name, field) for name, field in _FIELDS.items()}
    if found.problems:
        raise InvalidReport(found.problems)
    code = given.pop("code")
    if code == DeliveryStatus.REPLY:
        return PushedReply(**given, extra=found.extra())
    return PushedReport(**given, code=code, extra=found.extra())


def _text(value: str) -> str:
    return value


def _without(unwanted: re.Pattern[str], value: str) -> str:
    bare = value.strip()
    if unwanted.search(bare):
        raise ValueError("must not hold control characters")
    return bare


def _identifier(value: str) -> str:
    return _without(_CONTROL, value)


def _reference(value: str) -> str:
    return _without(_UNSENDABLE, value)


def _mobile(value: str) -> str:
    # What is no mobile number is reported too (status -8).
    bare = _identifier(value)
    return canonical(bare) or bare


def _code(value: str) -> int:
    if not _CODE.fullmatch(value.strip()):
        raise ValueError("must be a whole number")
    return int(value)


def _points(value: str) -> Decimal | None:
    bare = value.strip()
    if bare and not _POINTS.fullmatch(bare):
        raise ValueError("must be an amount of points")
    return Decimal(bare) if bare else None


def _time(value: str) -> datetime | None:
    bare = value.strip()
    if not bare:
        return None
    digits = re.sub(r"[-/: ]", "", bare)
    try:
        if _TIME.fullmatch(bare):
            return datetime.strptime(digits, "%Y%m%d%H%M%S").replace(tzinfo=TAIPEI)
    except ValueError:
        pass
    raise ValueError("must be a time such as 20260131120000")


@frozen
class _Field:
    attribute: str
    read: Callable[[str], Any]
    must: bool = False


_FIELDS = {
    "BatchID": _Field("batch_id", _identifier, must=True),
    "RM": _Field("mobile", _mobile, must=True),
    "STATUS": _Field("code", _code, must=True),
    "RT": _Field("received_at", _time),
    "SM": _Field("text", _text),
    "ST": _Field("sent_at", _time),
    "MR": _Field("reference", _reference),
    "SUBJECT": _Field("subject", _text),
    "NAME": _Field("name", _text),
    "SOURCE": _Field("source", _text),
    "CHARGE": _Field("charge", _points),
    "TYPE": _Field("kind", _identifier),
    "MSGID": _Field("message_id", _identifier),
}
_NAMES = {name.lower(): name for name in _FIELDS}
_REFERENCE = "MR"


class _Found:
    """The values that came, by their official names, and all that is wrong with them."""

    def __init__(self) -> None:
        self.problems: list[str] = []
        self._extra: dict[str, list[str]] = {}
        self._values: dict[str, list[str]] = {}

    def add(self, pair: Pair) -> None:
        name, value = pair
        official = _NAMES.get(name.strip().lower())
        if official is not None:
            self._values.setdefault(official, []).append(value)
        else:
            self._extra.setdefault(name, []).append(value)

    def extra(self) -> dict[str, str]:
        # As the gateway's own kind of server joins them.
        return {name: ",".join(values) for name, values in self._extra.items()}

    def value(self, name: str, field: _Field) -> Any:
        value = self._one(name, self._values.get(name, []))
        if not value.strip() and field.must:
            self.problems.append(f"{name}: is missing")
            return None
        try:
            return field.read(value)
        except ValueError as error:
            self.problems.append(f"{name}: {error}, not {mask(value)!r}")
            return None

    def _one(self, name: str, values: Sequence[str]) -> str:
        """Give the one value of a name; empty ones don't count beside others."""
        distinct = list(dict.fromkeys(value for value in values if value.strip()))
        if name == _REFERENCE and distinct[1:]:
            self._extra[name] = distinct[1:]
        elif distinct[1:]:
            self.problems.append(f"{name}: comes {len(distinct)} times, each time another")
        # A text of blanks alone is one: somebody may have answered so.
        return next(iter(distinct or values), "")
