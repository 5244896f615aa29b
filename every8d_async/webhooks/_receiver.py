"""
What every receiver of push reports does, whatever framework it stands in.

The gateway takes exactly 200 for «stored», and anything else (a redirect, 204, 422) as a reason to
come again, up to a limit:

======  ==================================================================================
status  when
======  ==================================================================================
200     the handler has returned; for HEAD without a query: the path is right
400     it is no report, and no quarantine took it: something is set up wrongly
404     the token is none of ours; the same whatever else is right or wrong
405     another method
413     longer than `max_bytes`
500     the handler, or the quarantine, raised
======  ==================================================================================
"""

import hmac
import logging
import re
import secrets
from collections.abc import Awaitable, Callable, Iterable
from hashlib import sha256
from http import HTTPStatus

from attrs import define

from every8d_async.webhooks._decode import codec_of
from every8d_async.webhooks._parse import parse_report
from every8d_async.webhooks._values import InvalidReport, PushedReply, PushedReport

Handler = Callable[[PushedReport | PushedReply], Awaitable[None]]
"""Stores a report; once it returns, the report will not come again. It meets some twice."""

Quarantine = Callable[[bytes, InvalidReport], Awaitable[None]]
"""Stores what can't be read, raw, with the reasons; once it returns, it will not come again."""

ReadBody = Callable[[int], Awaitable[bytes | None]]

MAX_BYTES = 65_536
"""The longest query string or form body that is read, in bytes, unless said otherwise."""

_LOG = logging.getLogger("every8d_async")
_TOKEN = re.compile(r"[A-Za-z0-9_.~-]{16,}")
_AT_ONCE = 2  # tokens: the new one and, while the gateway's settings are changed, the old one


def new_token() -> str:
    """Make up a path token that nobody will guess (43 characters)."""
    return secrets.token_urlsafe(32)


def token_in(path: str) -> str:
    """Give the last segment of a path; a slash behind it does not count."""
    return path.rstrip("/").rpartition("/")[2]


@define
class ReceiverStats:
    """
    How many requests ended how; each field counts requests.

    Attributes:
        stored: The handler returned.
        failed: The handler or the quarantine raised; the gateway comes again.
        invalid: It was no report.
        quarantined: Those of `invalid` that the quarantine took.
        too_long: It was longer than `max_bytes`.
        strangers: The token was none of ours.
    """

    stored: int = 0
    failed: int = 0
    invalid: int = 0
    quarantined: int = 0
    too_long: int = 0
    strangers: int = 0


class Receiver:
    """
    Judges requests, hands reports to a handler, and says which HTTP status answers.

    `asgi` and the integrations are thin faces of it; so may your own framework's be. It never talks
    to the gateway.

    Args:
        handler: Stores a report. It is called again for a report that comes again.
        tokens: The path's secret (see `new_token`); two while it is being changed.
        encoding: What the gateway's settings say: ``utf-8`` or ``big5``.
        max_bytes: The longest query string or form body that is read, in bytes.
        quarantine: Stores what can't be read. Without one it is answered with 400, comes again up
            to the gateway's limit, and is lost after that; log and `stats` tell of it.
        stats: Counts how requests ended; its own if None.

    Raises:
        ValueError: A token is short or holds other characters than a path may, or there are none
            or more than two; or there is no such encoding.
    """

    def __init__(
        self,
        handler: Handler,
        *,
        tokens: Iterable[str],
        encoding: str = "utf-8",
        max_bytes: int = MAX_BYTES,
        quarantine: Quarantine | None = None,
        stats: ReceiverStats | None = None,
    ) -> None:
        codec_of(encoding)
        self._handler = handler
        self._digests = _digests(tokens)
        self._encoding = encoding
        self._max_bytes = max_bytes
        self._quarantine = quarantine
        self.stats = stats or ReceiverStats()

    def knows(self, token: str) -> bool:
        """Tell whether a token is ours, in the same time whatever it is."""
        given = _digest(token)
        # No short cut: all are compared, whichever fits.
        return sum([hmac.compare_digest(given, ours) for ours in self._digests]) > 0

    async def answer(self, method: str, token: str, query: bytes, read_body: ReadBody) -> int:
        """
        Deal with a request, and give the status that answers it.

        Args:
            method: In upper case.
            token: The path's last segment.
            query: The raw query string.
            read_body: Reads the body up to so many bytes; None for a longer one.
        """
        if not self.knows(token):
            self.stats.strangers += 1
            return HTTPStatus.NOT_FOUND
        # A HEAD must change nothing, so a report in one can't be answered with 200.
        if method == "HEAD" and not query:
            return HTTPStatus.OK
        if method not in {"GET", "POST"}:
            return HTTPStatus.METHOD_NOT_ALLOWED
        body = await read_body(self._max_bytes) if method == "POST" else b""
        data = None if body is None else body or query
        if data is None or len(data) > self._max_bytes:
            self.stats.too_long += 1
            _LOG.warning("a push report was longer than %d bytes", self._max_bytes)
            return HTTPStatus.REQUEST_ENTITY_TOO_LARGE
        return await self._take(data)

    async def _take(self, data: bytes) -> int:
        try:
            report = parse_report(data, encoding=self._encoding)
        except InvalidReport as invalid:
            return await self._set_aside(data, invalid)
        try:
            await self._handler(report)
        except Exception as error:  # noqa: BLE001 - whatever it is, the report must come again
            return self._failed(f"report {report.key}", error)
        self.stats.stored += 1
        return HTTPStatus.OK

    async def _set_aside(self, data: bytes, invalid: InvalidReport) -> int:
        self.stats.invalid += 1
        _LOG.warning("%s", invalid)
        if self._quarantine is None:
            return HTTPStatus.BAD_REQUEST
        try:
            await self._quarantine(data, invalid)
        except Exception as error:  # noqa: BLE001 - whatever it is, it must come again
            return self._failed("what is no report", error)
        self.stats.quarantined += 1
        return HTTPStatus.OK

    def _failed(self, what: str, error: Exception) -> int:
        self.stats.failed += 1
        # Neither message nor traceback: they may hold numbers and texts.
        _LOG.error("%s was not stored: %s in %s", what, type(error).__name__, _place_of(error))
        return HTTPStatus.INTERNAL_SERVER_ERROR


def _place_of(error: Exception) -> str:
    """Name the function and line in which an error arose."""
    step = error.__traceback__
    while step is not None and step.tb_next is not None:
        step = step.tb_next
    return f"{step.tb_frame.f_code.co_qualname}, line {step.tb_lineno}" if step else "no place"


def _digest(token: str) -> bytes:
    # Digests are of one length, which a comparison in constant time asks for.
    return sha256(token.encode("utf-8", "surrogatepass")).digest()


def _digests(tokens: Iterable[str]) -> list[bytes]:
    given = [] if isinstance(tokens, str) else list(tokens)
    if not 1 <= len(given) <= _AT_ONCE:
        raise ValueError("tokens must be a list of one token, or of two while it is being changed")
    if not all(_TOKEN.fullmatch(token) for token in given):
        raise ValueError("a token must have 16 or more letters, digits, or one of _ . ~ -")
    return [_digest(token) for token in given]
