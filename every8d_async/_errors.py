"""
What can go wrong, grouped by what the caller does next.

::

    Every8DError
    ├─ InvalidRequest       fix the arguments
    ├─ SessionMisuse        closed, other loop, forked: fix the program
    ├─ GatewayRefused       the gateway said no: read `code` and `message`
    │  ├─ AuthenticationFailed   fix uid or password; remembered, so that logins don't storm
    │  │  └─ AccountLocked       ask the gateway's support to unlock the account
    │  └─ CancelRefused          the batch stays; `retryable` says whether a later try may work
    ├─ AccessBlocked        a firewall stands in front: have your address allowed
    ├─ GatewayUnreachable   nothing left us: safe to try again, or to use another provider
    ├─ RateLimited          wait `retry_after` seconds
    ├─ GatewayUnavailable   a query or a login failed: ask again later
    ├─ MalformedReply       a query's or a login's reply broke the format: report it
    └─ OutcomeUnknown       it may have been done: look before you repeat it

`sent` is False where certainly nothing was sent and None where nobody can tell. Errors carry no
password, token, text, name or whole number, and pickle.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Self

from every8d_async._codes import describe

# A number after a plus may be written in groups; elsewhere that would take dates and ids along.
_NUMBER = re.compile(r"\+\d(?:[ -]?\d){6,}|\d{7,}")


def mask(text: str) -> str:
    """Shorten a number (or what stands in its place) to what a person needs to find it again."""
    shown = text.encode("unicode_escape").decode("ascii")
    if len(shown) < 8:  # noqa: PLR2004 - too short to be a mobile: show its start alone
        return f"{shown[:2]}…"
    start = 5 if len(shown) > 11 else 2  # noqa: PLR2004 - hides half of a local number as well
    return f"{shown[:start]}…{shown[-3:]}"


def mask_numbers(text: str) -> str:
    """Mask every run of seven or more digits in a sentence, after a plus also in groups."""
    return _NUMBER.sub(lambda run: mask(run.group()), text)


def _rebuild(
    cls: "type[Every8DError]", args: tuple[object, ...], state: dict[str, object]
) -> "Every8DError":
    error = cls.__new__(cls, *args)
    error.__dict__.update(state)
    return error


class Every8DError(Exception):
    """
    Anything this package raises on purpose.

    Attributes:
        sent: False where certainly nothing was sent (or cancelled), None where nobody can tell.
        operation: The call that failed, such as ``sms.send``.
        page: The page a pager was asking for, else None; go on from it with ``start_page=``.
    """

    sent: bool | None = False
    operation: str = ""
    page: int | None = None

    def __init__(self, message: str, *, operation: str = "") -> None:
        super().__init__(message)
        self.operation = operation

    # Exceptions are rebuilt by calling the class with `args`, which keyword-only fields break;
    # one rule here serves pickle and copy for the whole tree.
    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), self.args, dict(self.__dict__))

    def copy_for(self, operation: str) -> Self:
        """Make a fresh error (no traceback, no context) that names another operation."""
        rebuilt = _rebuild(type(self), self.args, {**self.__dict__, "operation": operation})
        assert isinstance(rebuilt, type(self))  # noqa: S101 - tells the type checker
        return rebuilt


class InvalidRequest(Every8DError, ValueError):
    """
    The arguments can't be sent; nothing left the machine.

    Attributes:
        problems: Every problem found, not only the first; numbers in them are masked.
    """

    problems: tuple[str, ...]

    def __init__(self, problems: Iterable[str], *, operation: str = "") -> None:
        self.problems = tuple(problems)
        super().__init__(
            f"{_lead(operation)}nothing was sent: " + "; ".join(self.problems), operation=operation
        )


class SessionMisuse(Every8DError, RuntimeError):
    """The session is closed, or belongs to another event loop or process; nothing was sent."""


class GatewayRefused(Every8DError):
    """
    The gateway answered and said no; nothing was sent.

    Attributes:
        code: The gateway's code (negative; it means something only with its operation), a positive
            HTTP status where that was the whole answer, or 0 where a refusal came without a code.
        message: The gateway's own words, unchanged.
    """

    code: int
    message: str

    def __init__(self, code: int, message: str, *, operation: str = "") -> None:
        self.code = code
        self.message = message
        said = f"{self._said()} {code} {mask_numbers(message)} ({describe(operation, code)[0]})"
        super().__init__(f"{_lead(operation)}{said}. {self._next()}", operation=operation)

    @property
    def description(self) -> str:
        """Say in English what the code means for this operation."""
        return describe(self.operation, self.code)[0]

    @property
    def description_zh(self) -> str:
        """Say in Chinese what the code means for this operation."""
        return describe(self.operation, self.code)[1]

    def _said(self) -> str:
        return "the gateway refused:"

    def _next(self) -> str:
        return "Nothing was sent."


class AuthenticationFailed(GatewayRefused):
    """
    The gateway refused the account; nothing was sent.

    It is remembered: calls are answered here without a login until the refusal has aged, since
    more than ten failed logins lock the account. `Every8DSession.forget_refusal` ends that at once.
    """

    def _said(self) -> str:
        return "the gateway refused the login:"

    def _next(self) -> str:
        return (
            "Nothing was sent. Check uid and password, then call session.forget_refusal(); until "
            "then calls are answered here, because more than ten failed logins lock the account."
        )


class AccountLocked(AuthenticationFailed):
    """The account is locked (-999), as after more than ten failed logins; nothing was sent."""

    def _next(self) -> str:
        return (
            "Nothing was sent. Ask the gateway's support to unlock the account, then call "
            "session.forget_refusal()."
        )


class CancelRefused(GatewayRefused):
    """The gateway kept the scheduled batch; nothing was cancelled."""

    _BUSY = -8

    @property
    def retryable(self) -> bool:
        """Tell whether the gateway refused only for now (-8)."""
        return self.code == self._BUSY

    def _next(self) -> str:
        later = " It is worth another try later." if self.retryable else ""
        return f"Nothing was cancelled.{later}"


class AccessBlocked(Every8DError):
    """
    Something in front of the gateway turned us away (HTTP 403 or 401); nothing was sent.

    Attributes:
        status: The HTTP status.
        headers: What names the thing in front (server, via, x-cache…).
    """

    def __init__(self, status: int, headers: Mapping[str, str], *, operation: str = "") -> None:
        self.status = status
        self.headers = dict(headers)
        super().__init__(
            f"{_lead(operation)}HTTP {status} from what stands in front of the gateway. Nothing "
            "was sent. Ask the gateway's support to allow this machine's address.",
            operation=operation,
        )


class GatewayUnreachable(Every8DError):
    """
    No complete request left us; nothing was sent, and trying again is safe.

    Attributes:
        phase: What was being waited for: ``connect`` or ``slot``.
        cause: The class of the failure underneath, such as ``ConnectError``.
        attempts: How many times it was tried.
    """

    def __init__(self, phase: str, cause: str, *, attempts: int = 1, operation: str = "") -> None:
        self.phase = phase
        self.cause = cause
        self.attempts = attempts
        waited = "no free connection in time" if phase == "slot" else f"no connection ({cause})"
        super().__init__(
            f"{_lead(operation)}{waited} after {attempts} attempt(s). Nothing was sent; it is "
            "safe to try again.",
            operation=operation,
        )


class RateLimited(Every8DError):
    """
    The gateway asked for a pause (HTTP 429); nothing was sent.

    Attributes:
        retry_after: Seconds to wait, or None where the gateway did not say.
    """

    def __init__(self, retry_after: float | None, *, operation: str = "") -> None:
        self.retry_after = retry_after
        wait = "a while" if retry_after is None else f"{retry_after:g} s"
        super().__init__(
            f"{_lead(operation)}too many requests (HTTP 429). Nothing was sent; wait {wait}, then "
            "try again.",
            operation=operation,
        )


class GatewayUnavailable(Every8DError):
    """
    A query, or a login on the way to a send, got no answer after all attempts; nothing was sent.

    Also where the gateway refused a call for its token, and then for a fresh one as well: another
    session of the account logs in all the time.

    Attributes:
        cause: The class of the failure underneath, or the HTTP status, such as ``HTTP 503``.
    """

    def __init__(self, cause: str, *, operation: str = "") -> None:
        self.cause = cause
        super().__init__(
            f"{_lead(operation)}the gateway did not answer ({cause}). Nothing was sent; try again "
            "later.",
            operation=operation,
        )


class MalformedReply(Every8DError):
    """
    The reply to a query, or to the login before a send, broke the format, twice; nothing was sent.

    Attributes:
        problems: Every problem with its path, such as ``DATA[3].STATUS``.
        excerpt: The reply's beginning, with numbers and values masked.
    """

    problems: tuple[str, ...]

    def __init__(self, problems: Iterable[str], excerpt: str, *, operation: str = "") -> None:
        self.problems = tuple(problems)
        self.excerpt = excerpt
        super().__init__(
            f"{_lead(operation)}the reply broke the format: {'; '.join(self.problems[:5])}. It "
            f"began: {excerpt!r}. Nothing was sent; please report this. Asking again later may "
            "help.",
            operation=operation,
        )


class OutcomeUnknown(Every8DError):
    """
    The request left us and no sound answer came back; it was not repeated.

    It inherits from no built-in error, so that no retry filter sends again by mistake.

    Attributes:
        phase: Where it was lost: ``send`` (no answer began), ``read`` (the answer broke off) or
            ``reply`` (an answer came that proves nothing).
        cause: The class of the failure underneath, or what the answer was, such as ``HTTP 502``.
        recipients: How many recipients the request held.
        code: The gateway's code, where it gave one that proves nothing (-99), else None.
    """

    sent = None

    def __init__(
        self, phase: str, cause: str, *, recipients: int, code: int | None, operation: str
    ) -> None:
        self.phase = phase
        self.cause = cause
        self.recipients = recipients
        self.code = code
        held = f" It held {recipients} recipient(s)." if recipients else ""
        super().__init__(
            f"{_lead(operation)}the request left, and no sound answer came back ({cause}). It may "
            f"have been done, and it was not repeated.{held} Look at the gateway's records before "
            "you send it again.",
            operation=operation,
        )


def _lead(operation: str) -> str:
    return f"{operation}: " if operation else ""
