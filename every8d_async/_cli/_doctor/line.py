"""
One connection to the gateway, on which each thing is asked once.

A session hides what a doctor wants to see: it logs in by itself, asks queries again, and keeps the
bytes of a reply to itself. A line drives the same conversation (`_flow.call`) and the same exchange
with no second try, and gives the reply beside its meaning.
"""

import socket
import ssl
from collections.abc import Iterator
from typing import Any, Generic, TypeVar

import anyio
from attrs import frozen

from every8d_async._cli._doctor.rows import Target
from every8d_async._driver import GUARDS
from every8d_async._endpoints import Credentials, Endpoint
from every8d_async._errors import AuthenticationFailed, Every8DError
from every8d_async._flow import Auth, Send, call
from every8d_async._options import RetryPolicy, Timeout
from every8d_async._pool import Pool, Transport, one_connection
from every8d_async._transport import Exchange
from every8d_async._wire import BadReply, Progress, Refusal, WireFailure, WireReply, WireRequest

Args = TypeVar("Args")
Result = TypeVar("Result")

_ONCE = RetryPolicy(attempts=1)
_KEEPALIVE = 5.0  # seconds, as a session has it
_OK = 200
_WAITS = (ssl.SSLWantReadError, ssl.SSLWantWriteError)


@frozen
class Answer(Generic[Result]):
    """What came back: its meaning (a result or an error), and the reply itself where one came."""

    reply: WireReply | WireFailure
    result: Result | None
    error: Every8DError | None


@frozen
class Trouble:
    """
    Why no reply came, as far as the exceptions underneath tell.

    Attributes:
        kind: ``proxy``, ``certificate``, ``tls``, ``time`` or ``connection``.
        code: The proxy's HTTP status, or the verifier's number of what is wrong.
        detail: The class or the words of what happened; it names no secret.
    """

    kind: str
    code: int
    detail: str


class _Tap(Transport):
    """Lets exchanges through, and notes what httpx knows and an exchange does not tell."""

    def __init__(self, inner: Transport) -> None:
        self._inner = inner
        self.stream: Any = None
        self.trouble: Trouble | None = None

    async def handle_async_request(self, request: Any) -> Any:
        """Hand a request on."""
        try:
            response = await self._inner.handle_async_request(request)
        except Exception as error:
            self.trouble = trouble_of(error)
            raise
        self.stream = response.extensions.get("network_stream")
        return response

    async def aclose(self) -> None:
        """Close the connection."""
        await self._inner.aclose()


class Line:
    """
    Asks the gateway; nothing is ever asked twice by itself.

    A refused login is remembered, and whatever comes after it is answered here: more than ten
    failed logins lock the account.
    """

    def __init__(self, target: Target, timeout: Timeout, *, keepalive: float = _KEEPALIVE) -> None:
        self._site = target.site
        self._total = timeout.total
        self._make = one_connection(
            https=target.site.startswith("https:"),
            keepalive=keepalive,
            proxy=target.proxy,
            ssl_context=None,
        )
        self._taps: list[_Tap] = []
        self._exchange = Exchange(target.site, Pool(self._tap, 1, keepalive), timeout)
        self._refused: Answer[Any] | None = None

    async def ask(self, endpoint: Endpoint[Args, Result], args: Args, auth: Auth) -> Answer[Result]:
        """Make one try of a call, and give its end whatever it is."""
        if self._refused is not None:
            return self._refused
        flow = call(endpoint, args, auth, _ONCE, lambda: 0.0)
        reply: WireReply | WireFailure | None = None
        answer: WireReply | WireFailure | None = None
        try:
            while True:
                command = flow.send(answer)
                answer = None  # to pauses, which is all that is left without a second try
                if isinstance(command, Send):
                    answer = reply = await self._send(command.request)
        except StopIteration as done:
            return Answer(_certain(reply), done.value, None)
        except Every8DError as error:
            failed = Answer[Result](_certain(reply), None, error)
            # Who shows no password can't be refused for it: a token may be dead, or missing.
            shown = isinstance(auth, Credentials) or isinstance(args, Credentials)
            if shown and isinstance(error, AuthenticationFailed):
                self._refused = failed
            return failed

    @property
    def trouble(self) -> Trouble | None:
        """Tell why the last connection failed."""
        return self._taps[-1].trouble if self._taps else None

    @property
    def connection(self) -> object:
        """Give what stands for the connection of the last reply; another one is another object."""
        return self._taps[-1].stream if self._taps else None

    @property
    def tls(self) -> str:
        """Name the last connection's version of TLS, if it has one."""
        stream = self._taps[-1].stream if self._taps else None
        secured = None if stream is None else stream.get_extra_info("ssl_object")
        return "" if secured is None else str(secured.version())

    @property
    def is_dropped(self) -> bool:
        """Tell whether the other end has closed the idle connection, or written to it unasked."""
        stream = self._taps[-1].stream if self._taps else None
        return stream is None or bool(stream.get_extra_info("is_readable"))

    async def aclose(self) -> None:
        """Close the connection."""
        await self._exchange.aclose()

    def _tap(self) -> _Tap:
        tap = _Tap(self._make())
        self._taps.append(tap)
        return tap

    async def _send(self, request: WireRequest) -> WireReply | WireFailure:
        deadline = anyio.current_time() + self._total
        return _certain(await self._exchange.send(request, Progress(), deadline, self._may_go))

    def _may_go(self) -> bool:
        for guard in GUARDS:
            guard(self._site, None)
        return True


def _certain(reply: WireReply | WireFailure | None) -> WireReply | WireFailure:
    assert reply is not None  # noqa: S101 - `_may_go` never says no, and each call sends first
    return reply


def code_of(endpoint: Endpoint[Any, Any], reply: WireReply | WireFailure) -> int | None:
    """Give the gateway's code where a reply is a refusal in its own words, else None."""
    if isinstance(reply, WireFailure) or reply.status != _OK:
        return None
    try:
        parsed = endpoint.parse(reply.body)
    except BadReply:
        return None
    return parsed.code if isinstance(parsed, Refusal) else None


def chain_of(error: BaseException | None) -> Iterator[BaseException]:
    """Give an exception and what caused it, from the outside in."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def trouble_of(error: BaseException) -> Trouble:
    """Say what an exception of httpx means, by what is underneath it."""
    chain = list(chain_of(error))
    names = [type(one).__name__ for one in chain]
    for one in chain:
        if isinstance(one, ssl.SSLCertVerificationError):
            return Trouble("certificate", one.verify_code, one.verify_message)
        # What only waits for more is underneath a timeout in the middle of a handshake.
        if isinstance(one, ssl.SSLError) and not isinstance(one, _WAITS):
            return Trouble("tls", 0, getattr(one, "reason", None) or type(one).__name__)
        if isinstance(one, socket.gaierror):
            return Trouble("connection", 0, "the name is not known")
    if "ProxyError" in names:
        status = str(error).partition(" ")[0]
        return Trouble("proxy", int(status) if status.isdigit() else 0, names[0])
    timed_out = any("Timeout" in name for name in names)
    return Trouble("time" if timed_out else "connection", 0, names[0])
