"""
Who we are to the gateway: one token for all callers, and a memory for refused logins.

The keeper is given its login and its question («does this token live?»), its clock, its sleep and
its randomness; it does no IO of its own. Rules:

- one login however many callers wait, shared by success and by failure;
- a renewal starts ahead of the token's end, and nobody waits for it while the old token lives;
- a refused login is remembered, because more than ten of them lock the account;
- a token is called dead only with a control: its check fails while a fresh token's check succeeds,
  and fails once more after that, or else the gateway was but ill for a moment.
"""

import logging
import math
from collections import deque
from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio

from every8d_async._codes import LOCKED, WRONG_LOGIN
from every8d_async._errors import (
    AccountLocked,
    AuthenticationFailed,
    Every8DError,
    GatewayUnreachable,
)
from every8d_async._loop import Job, closed_meanwhile
from every8d_async._stores import StoredRefusal, StoredToken, TokenStore
from every8d_async._wire import SLOT, Verdict

T = TypeVar("T")

_LOG = logging.getLogger("every8d_async")

_RENEW_AT = 0.90  # of the lifetime, give or take the jitter
_JITTER = 0.02
_RENEW_PAUSE = 60.0  # seconds before another try after a renewal ahead of time failed
_SECOND_LOOK = 0.5  # seconds between the two questions about a token that seems dead
_CONTROL_PAUSE = 5.0  # seconds in which a token whose own control failed is not asked about again
_WRONG_PAUSE = 900.0
_TWO_DEATHS = 600.0  # seconds: two tokens that die so close together hint at somebody else's logins
_FIRST_PAUSE, _LONGEST_PAUSE = 60.0, 3600.0


class LoginMemory:
    """Remembers refused logins, and for how long they stand."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._last: StoredRefusal | None = None
        self._forgiven = -math.inf

    def note(self, refused: AuthenticationFailed) -> StoredRefusal:
        """Remember a refusal: longer each time, and for a locked account for ever."""
        now = self._clock()
        streak = self._last.streak + 1 if self._last else 1
        if refused.code == LOCKED:
            pause = math.inf
        elif refused.code in WRONG_LOGIN:
            pause = _WRONG_PAUSE
        else:
            pause = min(_FIRST_PAUSE * 2.0 ** (streak - 1), _LONGEST_PAUSE)
        self._last = StoredRefusal(refused.code, refused.message, now, now + pause, streak)
        # What is met now counts, even if the clock was set back since somebody forgave.
        self._forgiven = -math.inf
        return self._last

    def adopt(self, kept: StoredRefusal) -> None:
        """Take over a refusal that another session or process met."""
        if self._last is None or kept.at > self._last.at:
            self._last = kept

    def clear(self) -> None:
        """Forget everything: a login succeeded."""
        self._last = None

    def forgive(self) -> None:
        """Let refusals up to now stand no longer."""
        self._forgiven = self._clock()

    def check(self) -> None:
        """
        Answer for the gateway while a refusal stands.

        Raises:
            AuthenticationFailed: It does.
        """
        last = self._last
        if last is None or last.at <= self._forgiven or self._clock() >= last.until:
            return
        kind = AccountLocked if last.code == LOCKED else AuthenticationFailed
        raise kind(last.code, last.message, operation="login")


class TokenKeeper:
    """Keeps one live token for all calls of a session."""

    def __init__(
        self,
        *,
        login: Callable[[], Awaitable[str]],
        check: Callable[[str], Awaitable[bool]],
        lifetime: float,
        store: TokenStore,
        key: str,
        clock: Callable[[], float],
        random: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        self._log_in = login
        self._ask = check
        self._lifetime = lifetime
        self._store = store
        self._key = key
        self._clock = clock
        self._random = random
        self._sleep = sleep
        self._memory = LoginMemory(clock)
        self._token: StoredToken | None = None
        self._renew_at = 0.0
        self._dropped: deque[str] = deque(maxlen=16)  # not to be taken from the store again
        self._dead: deque[str] = deque(maxlen=16)  # proven so
        self._login: Job[str] | None = None
        self._inquiries: dict[str, Job[Verdict]] = {}
        self._alive: tuple[str, int] | None = None
        self._unproven: tuple[str, float] | None = None
        self._died_early = -math.inf
        self._warned = False
        self._now = 0
        self._closed = False

    @property
    def current(self) -> str | None:
        """Give the token at hand, if it has not ended."""
        token = self._token
        return token.value if token and self._clock() < token.expires_at else None

    @property
    def age(self) -> float | None:
        """Give the seconds since the token at hand was issued, or None without one."""
        token = self._token
        return None if self.current is None or token is None else self._clock() - token.issued_at

    def tick(self) -> int:
        """Give a number that orders requests and verdicts; greater is later."""
        self._now += 1
        return self._now

    def forgive(self) -> None:
        """Let remembered refusals stand no longer."""
        self._memory.forgive()

    def ready(self) -> str | None:
        """Give the token at hand; near its end a renewal begins, for which nobody waits."""
        value = self.current
        if value is not None and self._clock() >= self._renew_at and not self._closed:
            self._login_under_way()
        return value

    async def token(self) -> str:
        """
        Give a live token, logging in where there is none.

        Raises:
            AuthenticationFailed: The login was refused, now or lately.
            Every8DError: The login failed otherwise.
        """
        if (value := self.ready()) is not None:
            return value
        self._memory.check()
        return await self._login_under_way().wait()

    def drop(self) -> str | None:
        """Forget the token at hand, and give it."""
        value = self.current
        if value is not None:
            self._forget(value)
        return value

    async def suspect(self, token: str, since: int) -> Verdict:
        """
        Find out what a token is worth under which a request was refused that left at tick `since`.

        A storm of refusals asks one question: requests that left before the answer share it.
        """
        if token in self._dead:
            return Verdict.DEAD
        if self._alive and self._alive[0] == token and since < self._alive[1]:
            return Verdict.ALIVE
        job = self._inquiries.get(token)
        if job is None or job.is_over:
            job = self._inquiries[token] = self._start(lambda: self._inquire(token))
        return await job.wait()

    async def aclose(self) -> None:
        """End the login and the questions under way, and start none from now on."""
        self._closed = True
        for job in [self._login, *self._inquiries.values()]:
            if job is not None:
                await job.cancel()

    def _start(self, work: Callable[[], Awaitable[T]]) -> Job[T]:
        if self._closed:
            raise closed_meanwhile()
        return Job(work)

    # --- login ---

    def _login_under_way(self) -> Job[str]:
        """Give the login that runs, begun here if there is none."""
        if self._login is None or self._login.is_over:
            self._login = self._start(self._renew)
        return self._login

    async def _renew(self) -> str:
        try:
            async with self._store.lock(self._key):
                token = await self._shared() or await self._fresh()
            self._take(token)
        except Exception as error:
            # Nobody may be waiting: the old token still lives. Try again later.
            self._renew_at = self._clock() + _RENEW_PAUSE
            _LOG.warning("login failed: %s", type(error).__name__)
            raise
        return token.value

    async def _shared(self) -> StoredToken | None:
        """Give a token that another session has put into the store."""
        kept = await self._store.load(self._key)
        if isinstance(kept, StoredRefusal):
            self._memory.adopt(kept)
            self._memory.check()
            return None
        if kept is None or kept.value in self._dropped or self._clock() >= self._renewal(kept):
            return None
        return kept if self._token is None or kept.value != self._token.value else None

    async def _fresh(self) -> StoredToken:
        self._memory.check()  # a store that is away does not remember it for us
        try:
            value = await self._log_in()
        except AuthenticationFailed as refused:
            await self._store.save(self._key, self._memory.note(refused))
            raise
        self._memory.clear()
        now = self._clock()
        token = StoredToken(value, now, now + self._lifetime)
        await self._store.save(self._key, token)
        return token

    def _take(self, token: StoredToken) -> None:
        if token.value in self._dead:
            self._dead.remove(token.value)  # it was issued again
        self._token = token
        self._renew_at = self._renewal(token) + _JITTER * self._lifetime * (self._random() - 0.5)

    def _renewal(self, token: StoredToken) -> float:
        return token.issued_at + _RENEW_AT * (token.expires_at - token.issued_at)

    def _forget(self, value: str) -> None:
        self._dropped.append(value)
        if self._token is not None and self._token.value == value:
            self._token = None

    # --- dead tokens ---

    async def _inquire(self, token: str) -> Verdict:
        try:
            return await self._examine(token)
        except Every8DError as error:
            _LOG.warning("nobody knows whether the token lives: %s", type(error).__name__)
            return Verdict.UNPROVEN
        finally:
            self._inquiries.pop(token, None)

    async def _examine(self, token: str) -> Verdict:
        """
        Ask about a token; where it seems dead, ask about a fresh one as a control.

        A gateway that is ill for a moment denies tokens that live. One that is well again is found
        out by asking about the old token once more after the control; but where a login ends the
        older token that comes too late, so it is also asked about after a pause before the login.
        """
        if self._unproven and self._unproven[0] == token and self._clock() < self._unproven[1]:
            return Verdict.UNPROVEN
        early = token == self.current
        if await self._lives(token):
            return Verdict.ALIVE
        await self._sleep(_SECOND_LOOK)
        if await self._lives(token):
            return Verdict.ALIVE
        fresh = await self._other_than(token)
        # A login may give the same one again, which is no control of itself.
        if fresh == token or not await self._ask(fresh):
            # The question proves nothing here: even a fresh token fails it.
            self._unproven = fresh, self._clock() + _CONTROL_PAUSE
            return Verdict.UNPROVEN
        if await self._lives(token):
            return Verdict.ALIVE
        self._dead.append(token)
        if early:
            self._note_early_death()
        await self._store.discard(self._key, token)
        return Verdict.DEAD

    async def _lives(self, token: str) -> bool:
        """Ask about a token, and remember a yes."""
        if alive := await self._ask(token):
            self._alive = token, self.tick()
        return alive

    def _note_early_death(self) -> None:
        """Warn, once, where tokens die again and again: two sessions may end each other's."""
        now = self._clock()
        if now - self._died_early < _TWO_DEATHS and not self._warned:
            self._warned = True
            _LOG.warning(
                "tokens die before their time: it seems that each login ends the account's older "
                "token, and that another session logs in. Share one store between all sessions of "
                "the account, such as token_store=FileTokenStore(path)"
            )
        self._died_early = now

    async def _other_than(self, token: str) -> str:
        self._forget(token)
        return await self.token()


class PasswordGate:
    """
    Guards password mode, where every call is a login.

    Until a call has succeeded they go one at a time, so that a wrong password is met once; a
    refused one is remembered and answered here.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._memory = LoginMemory(clock)
        self._lock = anyio.Lock()
        self._open = False

    def forgive(self) -> None:
        """Let remembered refusals stand no longer."""
        self._memory.forgive()

    def check(self) -> None:
        """
        Answer for the gateway while a refusal stands.

        Raises:
            AuthenticationFailed: It does.
        """
        self._memory.check()

    async def run(self, call: Callable[[], Awaitable[T]], deadline: float) -> T:
        """
        Let one call through when it is its turn, and learn from its end.

        Raises:
            AuthenticationFailed: A refusal stands; the call did not go out.
            GatewayUnreachable: Its turn did not come before the deadline.
        """
        if not self._open:
            with anyio.CancelScope(deadline=deadline) as scope:
                await self._lock.acquire()
            if scope.cancelled_caught:
                raise GatewayUnreachable(SLOT, "deadline")
            try:
                if not self._open:
                    return await self._learn(call)
            finally:
                self._lock.release()
        return await self._learn(call)

    async def _learn(self, call: Callable[[], Awaitable[T]]) -> T:
        self.check()
        try:
            result = await call()
        except AuthenticationFailed as refused:
            self._open = False
            self._memory.note(refused)
            raise
        self._open = True
        self._memory.clear()
        return result
