"""
Faults to order: what goes wrong, at which operation, and how often.

`acts` says whether the gateway does its work before things go wrong: a send with
`Reset(acts=True)` was done and charged for, and its caller can't know.

On the server form (`Simulator.serve`, `python -m every8d_async.simulator`) faults of the connection
are real ones on the socket. In memory there is no socket, so these come out of the ASGI application
as the exceptions httpx raises for the real thing:

=============  ====================================  ==========================================
fault          on the socket                         in memory
=============  ====================================  ==========================================
`Reset`        the connection is reset (RST)         `httpx.ReadError`
`CutReply`     headers, a part of the body, the end  `httpx.RemoteProtocolError`
`Hang`         no answer until the caller hangs up   no answer until the caller is cancelled
=============  ====================================  ==========================================
"""

from __future__ import annotations

from datetime import timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING

from attrs import define, field, frozen, validators

from every8d_async.simulator._codes import UNKNOWN
from every8d_async.simulator._gateway import OPERATIONS
from every8d_async.simulator._values import Refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from threading import RLock

__all__ = [
    "CutReply",
    "DeadToken",
    "Delay",
    "Fault",
    "Faults",
    "FirewallPage",
    "Garbage",
    "Hang",
    "HttpStatus",
    "Refuse",
    "Reset",
]

_WITHOUT_BODY = frozenset({204, 304})
_GARBAGE = b"<!DOCTYPE html>\r\n<html><body><h1>Service Unavailable</h1></body></html>\r\n"
_TARGETS = {
    target.lower(): target
    for target in (
        "*",
        *OPERATIONS,
        *(f"ConnectionHandler/{verify_type}" for verify_type in (1, 2, 3)),
    )
}


def _headers(value: Mapping[str, str]) -> Mapping[str, str]:
    return MappingProxyType({name: str(text) for name, text in value.items()})


@frozen(kw_only=True)
class Fault:
    """
    What all faults have in common.

    Attributes:
        acts: Whether the gateway does its work before it goes wrong.
    """

    acts: bool = False


@frozen
class Delay(Fault):
    """
    Answer late, and act only then.

    Attributes:
        by: How late.
    """

    by: timedelta = field(validator=validators.ge(timedelta(0)))
    acts: bool = field(default=True, init=False)


@frozen
class HttpStatus(Fault):
    """
    Answer with another HTTP status, as something in front of the gateway would.

    Attributes:
        status: The status, 200 to 599.
        headers: Headers beside it, such as ``Retry-After``.
        body: The bytes of the body.

    Raises:
        ValueError: There is no such status, or it has no body.
    """

    status: int = field(validator=[validators.ge(200), validators.le(599)])
    headers: Mapping[str, str] = field(factory=dict[str, str], converter=_headers)
    body: bytes = b""

    def __attrs_post_init__(self) -> None:
        if self.body and self.status in _WITHOUT_BODY:
            raise ValueError(f"HTTP status {self.status} has no body")


@frozen
class FirewallPage(Fault):
    """Answer 403 with an HTML page: the caller's address is not on the list of allowed ones."""


@frozen
class Garbage(Fault):
    """
    Answer HTTP 200 with something that no operation answers.

    Attributes:
        body: The bytes of it.
    """

    body: bytes = _GARBAGE


@frozen
class CutReply(Fault):
    """
    Act, and break off the reply.

    Attributes:
        keep: Bytes of the body that still get through.
        clean: Whether the rest is missing without a sign of it, as a complete HTTP reply that is
            too short; else the connection ends before the length that was announced.
    """

    keep: int = field(default=5, validator=validators.ge(0))
    clean: bool = False
    acts: bool = field(default=True, init=False)


@frozen
class Reset(Fault):
    """Reset the connection instead of answering."""


@frozen
class Hang(Fault):
    """Never answer."""


@frozen
class DeadToken(Fault):
    """End the token that a call comes with, and then let it be answered."""

    acts: bool = field(default=True, init=False)


@frozen
class Refuse(Fault):
    """
    Say no with a code of your choice, such as -8 for a booking that can't be cancelled now.

    Attributes:
        code: The code.
        message: The words behind it.
    """

    code: int
    message: str = UNKNOWN.message

    @property
    def refusal(self) -> Refusal:
        """Give it as the gateway writes it."""
        return Refusal(self.code, self.message)


@define
class _Planned:
    target: str
    fault: Fault
    left: int | None
    rate: float

    def fits(self, operation: str, verify_type: str) -> bool:
        return self.target in {"*", operation, f"{operation}/{verify_type}"}


@define
class Faults:
    """The faults that are still to come; the first one that fits a request is played."""

    _rng: Callable[[], float]
    _lock: RLock
    _planned: list[_Planned] = field(init=False, factory=list)

    def add(
        self, operation: str, fault: Fault, *, times: int | None = None, rate: float | None = None
    ) -> None:
        """
        Order a fault.

        Args:
            operation: A handler's name (`SendSMS`, `MMS/SendMMS`…), in any case; `*` for every
                request; `ConnectionHandler/1` to `/3` for getting, checking or closing a token.
            fault: What goes wrong.
            times: How many requests it hits: 1 where nothing else is said, or, together with
                `rate`, no end.
            rate: The share of requests that it hits, above 0 and up to 1.

        Raises:
            ValueError: No such operation, or a number out of its range.
        """
        if not isinstance(fault, Fault):
            raise TypeError(f"fault must be a fault such as Reset(), not {fault!r}")
        target = _TARGETS.get(operation.lower())
        if target is None:
            raise ValueError(
                f"no operation {operation!r}; there are: {', '.join(_TARGETS.values())}"
            )
        if times is not None and times < 1:
            raise ValueError(f"times must be 1 or more, not {times}")
        if rate is not None and not 0 < rate <= 1:
            raise ValueError(f"rate must be above 0 and at most 1, not {rate}")
        left = 1 if times is None and rate is None else times
        with self._lock:
            self._planned.append(_Planned(target, fault, left, 1.0 if rate is None else rate))

    def clear(self) -> None:
        """Forget all faults that are still to come."""
        with self._lock:
            self._planned.clear()

    def __len__(self) -> int:
        return len(self._planned)

    def take(self, operation: str, verify_type: str) -> Fault | None:
        """Give the fault that hits a request, and count it."""
        for planned in self._planned:
            if planned.fits(operation, verify_type) and self._strikes(planned):
                self._use_up(planned)
                return planned.fault
        return None

    def _strikes(self, planned: _Planned) -> bool:
        return planned.rate >= 1 or self._rng() < planned.rate

    def _use_up(self, planned: _Planned) -> None:
        if planned.left is not None:
            planned.left -= 1
            if not planned.left:
                self._planned.remove(planned)
