"""
The line to a caller, which faults are played on: a real socket, or none.

uvicorn hands its transport over under `TRANSPORT` in the scope (see `_server`), and under `ENDED`
what tells that the caller has ended its side; without them the application is called in memory.
"""

from __future__ import annotations

import os
import socket
import struct
from typing import TYPE_CHECKING

import anyio
import httpx
from attrs import frozen

if TYPE_CHECKING:
    import asyncio

    from starlette.types import Receive, Scope, Send

    from every8d_async.simulator._call import Reply

TRANSPORT, ENDED = "every8d.transport", "every8d.ended"

# On, with no time to linger: closing then sends RST in place of FIN.
_NO_LINGER = struct.pack("hh" if os.name == "nt" else "ii", 1, 0)


@frozen
class Line:
    """Answer a request, or fail to; this is the in-memory form."""

    receive: Receive
    send: Send

    async def reply(self, reply: Reply) -> None:
        """Answer in full."""
        await self._start(reply)
        await self.send({"type": "http.response.body", "body": reply.body})

    async def _start(self, reply: Reply) -> None:
        headers = {
            "content-type": reply.content_type,
            "content-length": str(len(reply.body)),
        } | {name.lower(): value for name, value in reply.headers.items()}
        pairs = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
        await self.send({"type": "http.response.start", "status": reply.status, "headers": pairs})

    async def wait(self, seconds: float) -> None:
        """Let time pass; the caller may hang up meanwhile."""
        with anyio.move_on_after(seconds):
            await self.hang()

    async def silence(self) -> None:
        """Say nothing until the caller hangs up."""
        await self.hang()

    async def hang(self) -> None:
        """Do nothing until the caller hangs up."""
        while (await self.receive())["type"] != "http.disconnect":
            pass

    async def cut(self, reply: Reply, keep: int) -> None:
        """Break off after a part of the body."""
        raise httpx.RemoteProtocolError(
            "peer closed connection without sending complete message body "
            f"(received {len(_part(reply, keep))} bytes, expected {len(reply.body)})"
        )

    async def reset(self) -> None:
        """Reset the connection."""
        raise httpx.ReadError("connection reset by the simulator")


@frozen
class SocketLine(Line):
    """The form on a real socket."""

    transport: asyncio.Transport
    ended: asyncio.Event

    async def silence(self) -> None:
        """Say nothing, and hang up once the caller has ended its side."""
        await self.ended.wait()
        self.transport.close()
        await self.hang()

    async def cut(self, reply: Reply, keep: int) -> None:
        """Send a part of the body, and then close."""
        await self._start(reply)
        body = _part(reply, keep)
        await self.send({"type": "http.response.body", "body": body, "more_body": True})
        self.transport.close()
        await self.hang()

    async def reset(self) -> None:
        """Close with RST."""
        self.transport.get_extra_info("socket").setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER
        )
        self.transport.abort()
        await self.hang()


def _part(reply: Reply, keep: int) -> bytes:
    return reply.body[: min(keep, len(reply.body) - 1)]


def line_of(scope: Scope, receive: Receive, send: Send) -> Line:
    """Find out what there is behind a request."""
    transport = scope.get(TRANSPORT)
    if transport is None:
        return Line(receive, send)
    return SocketLine(receive, send, transport, scope[ENDED])
