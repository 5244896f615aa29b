"""What a session can be told: time limits, retries, rates, and who hears of each call."""

import math
import sys
from collections.abc import Callable
from typing import Protocol

from attrs import frozen

from every8d_async._errors import InvalidRequest


def is_positive(value: object) -> bool:
    """Tell whether a value is a number above zero that an event loop can count with."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return 0 < value <= sys.float_info.max


def _positive(*whole: str, **values: float) -> None:
    problems = [
        f"{name}: must be a positive{' whole' * (name in whole)} number, not {value!r}"
        for name, value in values.items()
        if not is_positive(value) or (name in whole and value % 1)
    ]
    if problems:
        raise InvalidRequest(problems)


@frozen
class Timeout:
    """
    Time limits in seconds.

    Attributes:
        total: For a whole call: waiting for a connection, login, attempts, back-off, reading.
        connect: To open a connection.
        read: Between two pieces of a reply.
        write: To hand a piece of a request to the network.

    Raises:
        InvalidRequest: A value is not a positive number.
    """

    total: float = 60.0
    connect: float = 5.0
    read: float = 30.0
    write: float = 10.0

    def __attrs_post_init__(self) -> None:
        _positive(total=self.total, connect=self.connect, read=self.read, write=self.write)


@frozen
class RetryPolicy:
    """
    How queries, and calls of which nothing left us, are tried again.

    A send or cancel that may have reached the gateway is never tried again, whatever stands here.

    Attributes:
        attempts: Tries in all, the first included.
        base: Seconds before the second try; doubled for each later one.
        cap: The most seconds between two tries.

    Raises:
        InvalidRequest: A value is not a positive number, or `attempts` is not whole.
    """

    attempts: int = 3
    base: float = 0.5
    cap: float = 8.0

    def __attrs_post_init__(self) -> None:
        _positive("attempts", attempts=self.attempts, base=self.base, cap=self.cap)

    def delay(self, failures: int, random: Callable[[], float]) -> float:
        """Give the seconds to wait after so many failures: exponential, with half of it jitter."""
        step = min(self.cap, self.base * 2.0 ** (min(failures, 60) - 1))
        return step * (0.5 + random() / 2)


@frozen
class RateLimit:
    """
    How many requests may leave in a time; callers beyond it wait their turn, first come first.

    It counts attempts, not logins.

    Attributes:
        requests: Requests in each period.
        per: The period, in seconds.
        burst: Requests that may leave at once after a quiet time; as many as `requests` if None.

    Raises:
        InvalidRequest: A value is not a positive number, or `burst` is not whole.
    """

    requests: float
    per: float = 1.0
    burst: int | None = None

    def __attrs_post_init__(self) -> None:
        burst = 1 if self.burst is None else self.burst
        _positive("burst", requests=self.requests, per=self.per, burst=burst)

    @property
    def interval(self) -> float:
        """Give the seconds between two requests at an even pace."""
        return self.per / self.requests

    @property
    def ahead(self) -> float:
        """Give the seconds that a burst may run ahead of the even pace."""
        burst = math.ceil(self.requests if self.burst is None else self.burst)
        return self.interval * (max(1, burst) - 1)


class SharedRateLimit(Protocol):
    """
    A rate limit that is kept together with other processes; it counts attempts, not logins.

    It never talks to the gateway.
    """

    async def take(self, patience: float) -> float | None:
        """
        Take a turn; give the seconds until it comes, or None if that is too long to wait.

        Args:
            patience: Seconds that the caller would wait for it.
        """
        ...


@frozen
class CallEvent:
    """
    What an observer hears of a finished call; it holds no secret.

    Attributes:
        operation: The call, such as ``sms.send``.
        attempts: Requests that were tried for it.
        outcome: ``ok``, ``cancelled``, or the name of the error's class.
        seconds: How long it took, waiting and login included, in seconds.
        batch_id: The batch it made or asked about, or an empty text.
        unknown: Whether a send or cancel may have been done without anybody knowing: it ended in
            `OutcomeUnknown`, or its caller cut it after it had left.
    """

    operation: str
    attempts: int
    outcome: str
    seconds: float
    batch_id: str
    unknown: bool = False


@frozen
class SessionStats:
    """
    How a session stands, for dashboards and alarms.

    Attributes:
        in_flight: Calls under way.
        waiting: Of these calls, how many wait for a free connection.
        connections: Connections that are in use, or kept for the next call.
        token_age: Seconds since the token at hand was issued, or None without one.
        retries: Tries beyond the first, of all calls since the session was made.
        unknowns: Calls of which nobody knows, sends and cancels, since the session was made.
    """

    in_flight: int
    waiting: int
    connections: int
    token_age: float | None
    retries: int
    unknowns: int
