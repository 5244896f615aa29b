"""Serve the simulator on a loopback socket, from a thread of its own."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import socket
import threading
from typing import TYPE_CHECKING, Any

from every8d_async.simulator._line import ENDED, TRANSPORT

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from starlette.types import ASGIApp, Receive, Scope, Send

_LAST_PORT = 65535
_BACKLOG = 2048
_KEEP_ALIVE = 120  # seconds, as the service's own kind of server has it
# With a handler that does nothing: what callers do wrong must not be printed to stderr.
_LOGGER = logging.getLogger("every8d_async.simulator")
_LOGGER.addHandler(logging.NullHandler())
_TURNS = 5  # of the loop, in which a connection that was just accepted shows up
_PATIENCE = 10.0  # seconds to start or to stop


def is_loopback(host: str) -> bool:
    """Tell whether a host is this machine, by its address or as `localhost`."""
    if host == "localhost":
        return True
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return False


def bind(host: str, port: int) -> socket.socket:
    """Take a port before anything else starts: whoever connects from now on waits, not fails."""
    if not 0 <= port <= _LAST_PORT:
        raise ValueError(f"port must be 0 to {_LAST_PORT}, not {port}")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=_BACKLOG)


def url_of(listener: socket.socket) -> str:
    """Write the address of a bound socket as a URL."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


@contextlib.contextmanager
def serving(app: ASGIApp, listener: socket.socket) -> Generator[None]:
    """Serve in a daemon thread while the block runs."""
    front = _front(app)
    ready = threading.Event()

    def work() -> None:
        try:
            asyncio.run(front.run(listener, ready))
        finally:
            ready.set()

    thread = threading.Thread(target=work, name="every8d-simulator", daemon=True)
    thread.start()
    try:
        ready.wait()
        if not front.listens:
            raise RuntimeError("the simulator's server ended before it listened")
        yield
    finally:
        front.stop()
        thread.join(_PATIENCE)


def _front(app: ASGIApp) -> _Front:
    try:
        from uvicorn.config import Config  # noqa: PLC0415 - only who serves needs it
        from uvicorn.protocols.http.h11_impl import H11Protocol  # noqa: PLC0415
        from uvicorn.server import ServerState  # noqa: PLC0415
    except ImportError as error:
        raise ImportError("serving needs: pip install 'every8d-async[simulator]'") from error

    # Without access_log=False, which would silence the access log of all uvicorn in this process.
    config = Config(
        app,
        log_config=None,
        proxy_headers=False,
        ws="none",
        lifespan="off",
        timeout_keep_alive=_KEEP_ALIVE,
    )
    config.load()
    state = ServerState()
    transports: set[asyncio.Transport] = set()

    class Protocol(H11Protocol):
        """
        Hand the transport over to the application, and know all that are open.

        A caller may end its side once it has asked, and is answered all the same; whoever ends it
        before that is gone.
        """

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            # asyncio does this only for sockets that were made with proto=IPPROTO_TCP; without it
            # head and body of a reply are 40 ms apart.
            transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.logger = _LOGGER
            self.access_log = False
            self.ended = asyncio.Event()  # the caller's side
            self.app = _with_transport(app, transport, self.ended)
            transports.add(transport)

        def connection_lost(self, exc: Exception | None) -> None:
            transports.discard(self.transport)
            self.ended.set()
            super().connection_lost(exc)

        def eof_received(self) -> bool:  # type: ignore[override]
            self.ended.set()
            return self._is_answering()

        def on_response_complete(self) -> None:
            super().on_response_complete()
            if self.ended.is_set() and not self._is_answering():
                self.transport.close()

        def _is_answering(self) -> bool:
            cycle: Any = self.cycle  # None before the first request, whatever uvicorn says
            return bool(cycle) and not (cycle.more_body or cycle.response_complete)

    return _Front(lambda: Protocol(config, state, {}), transports, state.tasks)


class _Front:
    """uvicorn's protocol without its server, which would wait for callers when it is to end."""

    def __init__(
        self,
        protocol: Callable[[], asyncio.Protocol],
        transports: set[asyncio.Transport],
        tasks: set[asyncio.Task[None]],
    ) -> None:
        self._protocol = protocol
        self._transports = transports
        self._tasks = tasks
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping = asyncio.Event()

    async def run(self, listener: socket.socket, ready: threading.Event) -> None:
        """Serve until told to stop; then cut all connections, which ends the work for them."""
        loop = asyncio.get_running_loop()
        server = await loop.create_server(self._protocol, sock=listener, backlog=_BACKLOG)
        self._loop = loop
        ready.set()
        await self._stopping.wait()
        # Not closed at once: asyncio leaks the sockets it has accepted and not yet handed over.
        with contextlib.suppress(NotImplementedError):  # as on Windows, whose loops have none
            loop.remove_reader(listener)
        turns = _TURNS
        while turns or self._transports or self._tasks:
            for transport in list(self._transports):
                transport.abort()
            turns = max(0, turns - 1)
            await asyncio.sleep(0)
        server.close()
        await server.wait_closed()

    @property
    def listens(self) -> bool:
        """Tell whether it got as far as to listen."""
        return self._loop is not None

    def stop(self) -> None:
        """End it, from another thread."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._stopping.set)


def _with_transport(app: ASGIApp, transport: asyncio.Transport, ended: asyncio.Event) -> Any:
    async def handing_over(scope: Scope, receive: Receive, send: Send) -> None:
        scope[TRANSPORT], scope[ENDED] = transport, ended
        await app(scope, receive, send)

    return handing_over
