"""
One call as a conversation, without IO: what to do next, given what came back.

`call` is a generator. It yields commands, is sent their answers, and returns the result or raises
the error; tests step through it without an event loop. Everything about what may be repeated
stands here:

====================== ====================== =======================================
kind of call           nothing left us        left us, no sound answer
====================== ====================== =======================================
query, login           repeat                 repeat
send, cancel           repeat                 never: `OutcomeUnknown`
====================== ====================== =======================================
"""

import re
from collections.abc import Callable, Generator, Mapping
from email.utils import parsedate_to_datetime
from enum import Enum, auto
from typing import Any, Generic, TypeVar

from attrs import evolve, field, frozen

from every8d_async._codecs import excerpt
from every8d_async._codes import UNKNOWN_ERROR
from every8d_async._endpoints import Credentials, Endpoint
from every8d_async._errors import (
    AccessBlocked,
    Every8DError,
    GatewayRefused,
    GatewayUnavailable,
    GatewayUnreachable,
    MalformedReply,
    OutcomeUnknown,
    RateLimited,
)
from every8d_async._options import RetryPolicy
from every8d_async._requests import utc_now
from every8d_async._wire import (
    HELD,
    BadReply,
    Refusal,
    Verdict,
    WireFailure,
    WireReply,
    WireRequest,
)

Args = TypeVar("Args")
Result = TypeVar("Result")

RETRY_AFTER_CAP = 60.0  # seconds: nobody waits longer for a gateway's word
_MALFORMED_TRIES = 2
_OK, _UNAUTHORIZED, _FORBIDDEN, _TIMEOUT, _TOO_MANY = 200, 401, 403, 408, 429
_REFUSALS = range(400, 432)
_REVEALING = ("server", "via", "x-cache", "cf-ray", "x-amz-cf-id", "date")


@frozen
class Login:
    """Get the token to use; answered by a text or by the error that prevented it."""


@frozen
class Send:
    """Send a request; answered by a `WireReply` or `WireFailure`."""

    request: WireRequest


@frozen
class Suspect:
    """Find out what the token is worth; answered by a `Verdict`."""

    token: str = field(repr=False)


@frozen
class Sleep:
    """Wait so many seconds before another try; answered by False where the time is up."""

    seconds: float


@frozen
class Hold:
    """Let the whole session wait so many seconds: the gateway asked for it."""

    seconds: float


Command = Login | Send | Suspect | Sleep | Hold


@frozen
class _Done(Generic[Result]):
    result: Result


@frozen
class _Failed:
    """A failure; `retry` tells whether another try is allowed at all."""

    error: Every8DError
    retry: bool = False
    wait: float | None = None  # seconds that the gateway asked for
    hold: bool = False  # it asked the whole session


@frozen
class _Doubted:
    """A refusal that may come from a dead token; it stands as `meant` if the token is alive."""

    meant: _Failed
    code: int | None


class TokenMode(Enum):
    """How a call proves who it is, beside uid and password in its body."""

    BEARER = auto()  # the session's token, renewed as needed
    NONE = auto()  # the login itself


Auth = TokenMode | Credentials | str


def call(
    endpoint: Endpoint[Args, Result],
    args: Args,
    auth: Auth,
    retry: RetryPolicy,
    random: Callable[[], float],
) -> Generator[Command, Any, Result]:
    """
    Log in if needed, send, log in once more if the token was dead, and parse.

    `auth` is the session's own token (`TokenMode.BEARER`), a given token, uid and password, or
    nothing. Raises what `_errors` says.
    """
    failures = malformed = 0
    looks = True  # a refusal makes us look at the token, until one was found alive
    replaced = False
    while True:
        proof: str | Credentials | None = None if isinstance(auth, TokenMode) else auth
        if auth is TokenMode.BEARER:
            proof = yield from _login(endpoint.operation)
        reply: WireReply | WireFailure = yield Send(endpoint.request(args, proof))
        case = _Case(endpoint, args, bearer=auth is TokenMode.BEARER)
        outcome = case.judge(reply)
        if isinstance(outcome, _Done):
            return outcome.result
        if isinstance(outcome, _Doubted):
            verdict = Verdict.ALIVE
            if looks and isinstance(proof, str):
                verdict = yield Suspect(proof)
                looks = verdict is Verdict.DEAD
            settled = case.settle(outcome, verdict, replaced=replaced)
            if settled is None:
                replaced = True
                continue
            outcome = settled
        failures += 1
        malformed += isinstance(outcome.error, MalformedReply)
        again = outcome.retry and failures < retry.attempts and malformed < _MALFORMED_TRIES
        yield from _before_retry(outcome, failures, retry.delay(failures, random), again=again)


def _login(operation: str) -> Generator[Command, Any, str]:
    token: str | Every8DError = yield Login()
    if isinstance(token, Every8DError):
        raise token.copy_for(operation)
    return token


def _before_retry(
    failed: _Failed, failures: int, wait: float, *, again: bool
) -> Generator[Command, Any, None]:
    """Wait before another try, or raise the failure."""
    error = failed.error
    if failed.wait is not None:
        wait = min(failed.wait, RETRY_AFTER_CAP)
    if failed.hold:
        yield Hold(wait)
    if again and (yield Sleep(wait)):
        return
    if isinstance(error, GatewayUnreachable):
        error = GatewayUnreachable(
            error.phase, error.cause, attempts=failures, operation=error.operation
        )
    raise error


@frozen
class _Case(Generic[Args, Result]):
    """Says what a reply, or its absence, means for one call."""

    endpoint: Endpoint[Args, Result]
    args: Args
    bearer: bool

    def judge(self, reply: WireReply | WireFailure) -> _Done[Result] | _Failed | _Doubted:
        if isinstance(reply, WireFailure):
            return self._lost(reply)
        if reply.status != _OK:
            return self._judge_status(reply)
        if reply.fault:
            return self._unsound((reply.fault,), b"")
        try:
            parsed = self.endpoint.parse(reply.body)
        except BadReply as bad:
            problems = bad.problems
        except Exception as bug:
            # A bug is the caller's to see; but of a send, what matters most is that it has left.
            if self.endpoint.repeatable:
                raise
            problems = (f"reading the reply failed: {type(bug).__name__}",)
        else:
            if isinstance(parsed, Refusal):
                return self._judge_refusal(parsed)
            if reply.delimited or self.endpoint.whole(reply.body):
                return _Done(parsed)
            problems = ("the reply ended with its connection and may have been cut",)
        return self._unsound(problems, reply.body)

    def settle(self, doubted: _Doubted, verdict: Verdict, *, replaced: bool) -> _Failed | None:
        """Say what a refusal means; None where the call goes again, which it does but once."""
        repeatable = self.endpoint.repeatable
        if verdict is Verdict.ALIVE:
            return doubted.meant
        if verdict is Verdict.DEAD and replaced:
            # Refused for its token as well: nothing was done, whatever the code.
            died = GatewayUnavailable("token after token died", operation=self.endpoint.operation)
            return _Failed(died, retry=repeatable)
        # Asking twice does no harm to a query, so it needs no proof.
        if verdict is Verdict.DEAD or repeatable:
            return doubted.meant if replaced else None
        return _Failed(self.unknown("reply", "refused, perhaps for a dead token", doubted.code))

    def unknown(self, phase: str, cause: str, code: int | None = None) -> OutcomeUnknown:
        return OutcomeUnknown(
            phase,
            cause,
            recipients=self.endpoint.recipients(self.args),
            code=code,
            operation=self.endpoint.operation,
        )

    def _lost(self, failure: WireFailure) -> _Failed:
        if failure.left:
            return self._unsure(failure.phase, failure.cause)
        if failure.phase == HELD:
            return _Failed(RateLimited(failure.wait, operation=self.endpoint.operation))
        return _Failed(
            GatewayUnreachable(failure.phase, failure.cause, operation=self.endpoint.operation),
            retry=True,
        )

    def _unsure(self, phase: str, cause: str, code: int | None = None) -> _Failed:
        """The gateway may have acted: a query is asked again, a send is not."""
        if not self.endpoint.repeatable:
            return _Failed(self.unknown(phase, cause, code))
        return _Failed(GatewayUnavailable(cause, operation=self.endpoint.operation), retry=True)

    def _unsound(self, problems: tuple[str, ...], body: bytes) -> _Failed:
        if not self.endpoint.repeatable:
            return _Failed(self.unknown("reply", problems[0]))
        error = MalformedReply(problems, excerpt(body), operation=self.endpoint.operation)
        return _Failed(error, retry=True)

    def _judge_status(self, reply: WireReply) -> _Failed | _Doubted:
        status, cause, operation = reply.status, f"HTTP {reply.status}", self.endpoint.operation
        wait = retry_after(reply.headers)
        if status == _TOO_MANY:
            error = RateLimited(wait, operation=operation)
            return _Failed(error, retry=self.endpoint.repeatable, wait=wait, hold=True)
        if status in (_UNAUTHORIZED, _FORBIDDEN):
            revealing = {name: reply.headers[name] for name in _REVEALING if name in reply.headers}
            blocked = _Failed(AccessBlocked(status, revealing, operation=operation))
            doubted = self.bearer and status == _UNAUTHORIZED
            return _Doubted(blocked, code=None) if doubted else blocked
        if status in _REFUSALS and status != _TIMEOUT:
            return _Failed(GatewayRefused(status, cause, operation=operation))
        if status < _REFUSALS.start:
            return self._unsound((f"{cause} where 200 was expected",), reply.body)
        return evolve(self._unsure("reply", cause), wait=wait)

    def _judge_refusal(self, refusal: Refusal) -> _Failed | _Doubted:
        # A «no» without a code that says why proves as little as the gateway's unknown error.
        if refusal.code >= 0 and not self.endpoint.refusal_is_final:
            meant = self._unsure("reply", "a refusal without a code")
        elif refusal.code == UNKNOWN_ERROR and not self.endpoint.refusal_is_final:
            meant = self._unsure("reply", "-99, the gateway's own unknown error", UNKNOWN_ERROR)
        else:
            meant = _Failed(self.endpoint.refusal(refusal, self.endpoint.operation))
        doubted = self.bearer and refusal.code not in self.endpoint.codes
        return _Doubted(meant, refusal.code) if doubted else meant


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Read Retry-After, in seconds or as a date; None where it is absent or unreadable."""
    text = headers.get("retry-after", "").strip()
    if re.fullmatch("[0-9]{1,9}", text):
        return float(text)
    try:
        return max((parsedate_to_datetime(text) - utc_now()).total_seconds(), 0.0)
    # Whatever a header holds, it must not hide what became of a send.
    except (ArithmeticError, LookupError, TypeError, ValueError):
        return None
