"""What a running simulator is made of, behind one lock: a server's thread and a test's share it."""

from __future__ import annotations

from threading import RLock
from typing import TYPE_CHECKING

from attrs import define, evolve, field, frozen

from every8d_async.simulator._arrival import Arrival, operation_of, understand
from every8d_async.simulator._call import HTML, TEXT, Call, Reply
from every8d_async.simulator._gateway import Gateway
from every8d_async.simulator._push import Encoding, take_due
from every8d_async.simulator._pusher import Pusher
from every8d_async.simulator._state import State
from every8d_async.simulator.faults import (
    CutReply,
    DeadToken,
    Fault,
    Faults,
    FirewallPage,
    Garbage,
    HttpStatus,
    Refuse,
)

if TYPE_CHECKING:
    from every8d_async.simulator._options import Options
    from every8d_async.simulator._values import Push, ReceivedRequest

_METHODS = frozenset({"GET", "POST"})


_PAGE = """\
<!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.0 Strict//EN" \
"http://www.w3.org/TR/xhtml1/DTD/xhtml1-strict.dtd">
<html><head><title>%d - %s</title></head><body><h1>%s</h1></body></html>
""".replace("\n", "\r\n")


def _page(status: int, name: str, heading: str) -> Reply:
    body = _PAGE % (status, name, heading)
    return Reply(body=body.encode(), content_type=HTML, status=status)


_NOT_FOUND = _page(404, "Not Found", "File or directory not found.")
_BAD_METHOD = _page(405, "Method Not Allowed", "HTTP verb is not allowed.")
_FORBIDDEN = _page(403, "Forbidden", "Forbidden: Access is denied.")


@frozen
class Exchange:
    """A request on its way: what it calls (None: no such handler), and the fault that hits it."""

    call: Call | None
    fault: Fault | None
    verdict: Reply = _NOT_FOUND

    @property
    def acts(self) -> bool:
        """Tell whether the gateway does its work."""
        return self.fault is None or self.fault.acts


@define
class Core:
    """Let requests in one at a time, remember them, and answer them."""

    options: Options
    lock: RLock = field(factory=RLock)
    requests: list[ReceivedRequest] = field(init=False, factory=list)
    state: State = field(init=False)
    gateway: Gateway = field(init=False)
    faults: Faults = field(init=False)
    pusher: Pusher = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.faults = Faults(self.options.rng, self.lock)
        self.pusher = Pusher(lambda target: self.take_pushes(target.encoding), self.options.rng)
        self._begin()

    def _begin(self) -> None:
        self.state = State(self.options)
        self.gateway = Gateway(self.state)

    def reset(self) -> None:
        """Forget all that happened."""
        with self.lock:
            self.requests.clear()
            self.faults.clear()
            self._begin()
        self.pusher.reset()

    def take_pushes(self, encoding: Encoding) -> list[Push]:
        """Give what has become due to be pushed."""
        with self.lock:
            return take_due(self.state, encoding)

    def admit(self, arrival: Arrival) -> Exchange:
        """Note a request and find out what hits it: all requests pass here."""
        operation = operation_of(arrival.path, self.options.prefix)
        request, call = understand(arrival, operation)
        with self.lock:
            self.requests.append(request)
            fault = self.faults.take(operation or "", call.text("VERIFYTYPE") if call else "")
        if arrival.method not in _METHODS:
            return Exchange(None, fault, _BAD_METHOD)
        return Exchange(call, fault)

    def answer(self, exchange: Exchange) -> Reply:
        """Act, unless a fault is in front of the gateway, and give the bytes that go back."""
        reply = exchange.verdict
        with self.lock:
            if exchange.call is not None and exchange.acts:
                reply = self._act(exchange.call, exchange.fault)
        return self._disguise(exchange, reply)

    def _act(self, call: Call, fault: Fault | None) -> Reply:
        if isinstance(fault, DeadToken):
            self.state.accounts.close(call.token)
        return self.gateway.answer(call)

    def _disguise(self, exchange: Exchange, reply: Reply) -> Reply:
        match exchange.fault:
            case HttpStatus() as fault:
                return Reply(
                    body=fault.body, content_type=TEXT, status=fault.status, headers=fault.headers
                )
            case FirewallPage():
                return _FORBIDDEN
            case Garbage() as fault:
                return Reply(body=fault.body, content_type=HTML)
            case CutReply(clean=True) as fault:
                return evolve(reply, body=reply.body[: fault.keep])
            case Refuse() as fault if exchange.call is not None:
                return self.gateway.refuse(exchange.call, fault.refusal)
            case _:
                return reply
