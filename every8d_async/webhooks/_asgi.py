"""A receiver as a plain ASGI application, for any server or to be mounted in any framework."""

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from http import HTTPStatus
from typing import Any

from every8d_async.webhooks._receiver import (
    MAX_BYTES,
    Handler,
    Quarantine,
    Receiver,
    ReceiverStats,
    token_in,
)

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


def asgi(
    handler: Handler,
    *,
    tokens: Iterable[str],
    encoding: str = "utf-8",
    max_bytes: int = MAX_BYTES,
    quarantine: Quarantine | None = None,
    stats: ReceiverStats | None = None,
) -> "ReportApp":
    """
    Make an ASGI application that receives push reports at any path ending in a token.

    Args:
        handler: Stores a report; 200 is answered after it has returned, 500 when it raised. It is
            called again for a report that comes again: `PushedReport.key` tells.
        tokens: The path's secret (see `new_token`); two while it is being changed.
        encoding: What the gateway's settings say: ``utf-8`` or ``big5``.
        max_bytes: The longest query string or form body that is read, in bytes.
        quarantine: Stores what can't be read; without one it is answered with 400.
        stats: Counts how requests ended; the application's own `stats` if None.

    Raises:
        ValueError: Tokens or encoding won't do.
    """
    return ReportApp(
        Receiver(
            handler,
            tokens=tokens,
            encoding=encoding,
            max_bytes=max_bytes,
            quarantine=quarantine,
            stats=stats,
        )
    )


class ReportApp:
    """A `Receiver` as an ASGI application."""

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver

    @property
    def stats(self) -> ReceiverStats:
        """Count how requests ended."""
        return self._receiver.stats

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer as an ASGI application."""
        if scope["type"] == "lifespan":
            await _live(receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1000})
        else:
            await self._answer(scope, receive, send)

    async def _answer(self, scope: Message, receive: Receive, send: Send) -> None:
        async def read_body(limit: int) -> bytes | None:
            return await _body(receive, limit)

        try:
            status = await self._receiver.answer(
                scope["method"], token_in(scope["path"]), scope["query_string"], read_body
            )
        except _Gone:
            return
        await _reply(send, HTTPStatus(status), empty=scope["method"] == "HEAD")


class _Gone(Exception):
    """The caller hung up before its request was whole."""


async def _body(receive: Receive, limit: int) -> bytes | None:
    parts = bytearray()
    while len(parts) <= limit:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _Gone
        parts += message.get("body", b"")
        if not message.get("more_body", False):
            return bytes(parts)
    return None


async def _reply(send: Send, status: HTTPStatus, *, empty: bool) -> None:
    body = status.phrase.encode()
    headers = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", str(len(body)).encode()),
    ]
    if status == HTTPStatus.METHOD_NOT_ALLOWED:
        headers.append((b"allow", b"GET, HEAD, POST"))
    await send({"type": "http.response.start", "status": int(status), "headers": headers})
    await send({"type": "http.response.body", "body": b"" if empty else body})


async def _live(receive: Receive, send: Send) -> None:
    """Start and stop with the server; there is nothing to do for it."""
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
