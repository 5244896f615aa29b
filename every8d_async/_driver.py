"""
What makes a session's calls: it obeys the flow, over one pool and one token.

The flow says what to do next; here it is done, and nothing is decided.
"""

import logging
import time
from collections.abc import Awaitable, Callable, Generator
from decimal import Decimal
from random import random
from typing import Any, TypeVar, assert_never, cast

import anyio
from attrs import define

from every8d_async._endpoints import CHECK_TOKEN, CLOSE_TOKEN, CREDIT, LOGIN, Credentials, Endpoint
from every8d_async._errors import (
    AccessBlocked,
    Every8DError,
    GatewayRefused,
    GatewayUnavailable,
    OutcomeUnknown,
    SessionMisuse,
)
from every8d_async._flow import Auth, Command, Hold, Login, Send, Sleep, Suspect, TokenMode, call
from every8d_async._lenient import LenientStore
from every8d_async._loop import Home
from every8d_async._models import FilteredReceipt, Receipt
from every8d_async._options import CallEvent, SessionStats
from every8d_async._pace import Pace, RetryBudget
from every8d_async._pool import Borrowed, Pool, Slots, Transport, one_connection
from every8d_async._requests import PageQuery
from every8d_async._settings import Settings
from every8d_async._stores import MemoryTokenStore
from every8d_async._tokens import PasswordGate, TokenKeeper
from every8d_async._transport import Exchange
from every8d_async._wire import Progress, Verdict, WireFailure, WireReply, WireRequest

Args = TypeVar("Args")
Result = TypeVar("Result")

_LOG = logging.getLogger("every8d_async")
_UNAUTHORIZED = 401
_MOST_LOGINS = 8  # calls at once in password mode: more than ten failed ones lock the account

GUARDS: list[Callable[[str, Transport | None], None]] = []
"""
Asked before a request leaves for a site, by the caller's own transport if there is one.

The pytest plugin refuses public sites here.
"""


@define
class _Run:
    """One call under way."""

    operation: str
    deadline: float
    since: int = 0  # the tick at which its request left
    attempts: int = 0
    left: bool = False  # a send has left, and nobody knows what became of it
    paced: bool = True  # counted by the rate limit
    leaving: Callable[[], Awaitable[None]] | None = None


class Driver:
    """One session's pool, token and calls."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._account = Credentials(settings.uid, settings.password)
        self._home = Home()
        self._pace = Pace(settings.rate_limit)
        self._budget = RetryBudget()
        self._retries = self._unknowns = 0
        self._slots = self._open_slots()
        self._exchange = Exchange(settings.site, self._slots, settings.timeout)
        self._gate = PasswordGate(time.time) if settings.auth == "password" else None
        self._shares_token = settings.token_store is not None
        store = settings.token_store
        self._keeper = TokenKeeper(
            login=self._log_in,
            check=self._ask,
            lifetime=settings.token_lifetime.total_seconds(),
            store=MemoryTokenStore() if store is None else LenientStore(store),
            key=f"{settings.site} {settings.uid}",
            clock=time.time,
            random=random,
            sleep=anyio.sleep,
        )
        self._in_flight = 0
        self._idle: anyio.Event | None = None
        self._closing = False
        self._ended: anyio.Event | None = None

    def _open_slots(self) -> Slots:
        settings = self._settings
        size = settings.max_connections
        if settings.auth == "password":
            size = min(size, _MOST_LOGINS)
        if settings.transport is not None:
            return Borrowed(settings.transport, size)
        make = one_connection(
            https=settings.site.startswith("https:"),
            keepalive=settings.keepalive,
            proxy=settings.proxy,
            ssl_context=settings.ssl_context,
        )
        return Pool(make, size, settings.keepalive)

    # --- the account ---

    async def credit(self) -> Decimal:
        """Ask how many points are left."""
        return await self.call(CREDIT, None)

    async def check_token(self) -> bool:
        """Ask about the token at hand; False without asking where there is none."""
        self.enter()
        token = self._keeper.current
        return token is not None and await _is_honoured(self.call(CHECK_TOKEN, None, token))

    async def close_token(self) -> None:
        """Forget the token at hand, and close it at the gateway, unless others use it too."""
        self.enter()
        token = None if self._shares_token else self._keeper.drop()
        if token is not None:
            await self.call(CLOSE_TOKEN, None, token)

    def forget_refusal(self) -> None:
        """Let the next call log in again after a remembered refusal."""
        self._keeper.forgive()
        if self._gate is not None:
            self._gate.forgive()

    def stats(self) -> SessionStats:
        """Tell how all stands."""
        return SessionStats(
            in_flight=self._in_flight,
            waiting=self._slots.waiting,
            connections=self._slots.open,
            token_age=self._keeper.age,
            retries=self._retries,
            unknowns=self._unknowns,
        )

    # --- life ---

    @property
    def is_closed(self) -> bool:
        """Tell whether no more calls are taken."""
        return self._closing

    async def aclose(self) -> None:
        """Take no more calls, let those under way finish, close the connections."""
        if self._home.is_forked:
            self._closing = True
            return
        self._home.check()
        self._closing = True
        if self._ended is not None:
            await self._ended.wait()
            await self._release()
            return
        self._ended = anyio.Event()
        try:
            await self._until_idle()
            if self._settings.revoke_on_close and not self._shares_token:
                await self._revoke()
        finally:
            self._ended.set()
            await self._release()

    async def _release(self) -> None:
        # The shield holds off scopes; what a second native cancel leaves, another call closes.
        with anyio.CancelScope(shield=True):
            await self._keeper.aclose()
            await self._exchange.aclose()

    async def _until_idle(self) -> None:
        if self._in_flight:
            self._idle = anyio.Event()
            with anyio.move_on_after(self._settings.timeout.total):
                await self._idle.wait()

    async def _revoke(self) -> None:
        token = self._keeper.drop()
        if token is not None:
            try:
                await self._aside(CLOSE_TOKEN, None, token)
            except Every8DError as error:
                _LOG.warning("the token was not closed: %s", type(error).__name__)

    # --- calls ---

    def enter(self) -> None:
        if self._closing:
            raise SessionMisuse("the session is closed. Nothing was sent; make a new one.")
        self._home.check()

    async def call(
        self,
        endpoint: Endpoint[Args, Result],
        args: Args,
        token: str | None = None,
        *,
        leaving: Callable[[], Awaitable[None]] | None = None,
    ) -> Result:
        """
        Make a call: count it, obey its flow, tell the log and the observer how it ended.

        `leaving` is waited for before each try, once login, pace and a connection are there.
        """
        self.enter()
        started = anyio.current_time()
        run = _Run(endpoint.operation, started + self._settings.timeout.total)
        run.leaving = leaving
        auth: Auth = self._account if self._gate else TokenMode.BEARER
        result: Any = None
        outcome = "cancelled"
        failure: Every8DError | None = None
        self._in_flight += 1
        self._budget.earn()
        try:
            result = await self._admit(endpoint, args, auth if token is None else token, run)
            outcome, run.left = "ok", False
        except Every8DError as error:
            # A fresh one, which leads neither to its cause nor into frames that hold texts and
            # tokens; without its traceback the other is gone at once, with all that it held.
            failure = error.copy_for(run.operation)
            error.__traceback__ = None
            outcome, run.left = type(error).__name__, isinstance(error, OutcomeUnknown)
        except Exception as error:
            outcome = type(error).__name__
            raise
        except BaseException as error:
            error.__traceback__ = None  # it was cut: the frames below hold texts and tokens, too
            raise
        finally:
            self._in_flight -= 1
            if self._idle is not None and not self._in_flight:
                self._idle.set()
            self._tell(run, outcome, anyio.current_time() - started, _batch_id(args, result))
        if failure is None:
            return cast("Result", result)
        try:
            raise failure  # out here, so that it carries no context
        finally:
            del failure  # its traceback holds this frame

    async def _admit(
        self, endpoint: Endpoint[Args, Result], args: Args, auth: Auth, run: _Run
    ) -> Result:
        flow = call(endpoint, args, auth, self._settings.retry, random)
        if self._gate is None:
            return await self._converse(flow, run)
        return await self._gate.run(lambda: self._converse(flow, run), run.deadline)

    async def _converse(self, flow: Generator[Command, Any, Result], run: _Run) -> Result:
        """Obey the flow's commands until it has a result."""
        answer: object = None
        while True:
            try:
                command = flow.send(answer)
            except StopIteration as done:
                return done.value  # type: ignore[no-any-return]
            answer = await self._obey(command, run)

    async def _obey(self, command: Command, run: _Run) -> object:
        match command:
            case Login():
                return await self._token(run)
            case Send(request):
                return await self._send(request, run)
            case Suspect(token):
                return await self._suspect(token, run)
            case Sleep(seconds):
                if anyio.current_time() + seconds >= run.deadline or not self._budget.spend():
                    return False
                self._retries += 1
                await anyio.sleep(seconds)
                return True
            case Hold(seconds):
                self._pace.hold(seconds)
                return None
            case _:
                assert_never(command)

    async def _token(self, run: _Run) -> str | Every8DError:
        run.left = False  # whoever needs a token has sent nothing, or nothing that was taken
        if (value := self._keeper.ready()) is not None:
            return value
        with anyio.CancelScope(deadline=run.deadline):
            try:
                return await self._keeper.token()
            except Every8DError as error:
                return error.with_traceback(None)  # its frames lead back to who is given it
        return GatewayUnavailable("the login took longer than the whole call may")

    async def _suspect(self, token: str, run: _Run) -> Verdict:
        with anyio.CancelScope(deadline=run.deadline):
            try:
                return await self._keeper.suspect(token, run.since)
            except Every8DError:
                pass  # the session was closed meanwhile: nothing was proved
        return Verdict.UNPROVEN

    async def _send(self, request: WireRequest, run: _Run) -> WireReply | WireFailure:
        run.attempts += 1
        reply: WireReply | WireFailure | None = None
        while reply is None:
            wait = self._pace.wait if run.paced else self._pace.wait_out
            if (failure := await wait(run.deadline)) is not None:
                return failure
            progress = Progress()
            try:
                reply = await self._exchange.send(
                    request, progress, run.deadline, lambda: self._may_go(run), run.leaving
                )
            finally:
                run.left = request.once and progress.left
        return reply

    def _may_go(self, run: _Run) -> bool:
        """Look again once a connection is there: others may have met a refusal or a 429."""
        for guard in GUARDS:
            guard(self._settings.site, self._settings.transport)
        if self._gate is not None:
            self._gate.check()
        run.since = self._keeper.tick()
        return not self._pace.is_held

    # --- the keeper's own calls ---

    async def _log_in(self) -> str:
        return await self._aside(LOGIN, self._account, TokenMode.NONE)

    async def _ask(self, token: str) -> bool:
        return await _is_honoured(self._aside(CHECK_TOKEN, None, token))

    async def _aside(self, endpoint: Endpoint[Args, Result], args: Args, auth: Auth) -> Result:
        """Make a call on the session's own behalf: in no gate, and not counted by the rate."""
        deadline = anyio.current_time() + self._settings.timeout.total
        run = _Run(endpoint.operation, deadline, paced=False)
        return await self._converse(call(endpoint, args, auth, self._settings.retry, random), run)

    # --- telling ---

    def _tell(self, run: _Run, outcome: str, seconds: float, batch_id: str) -> None:
        self._unknowns += run.left
        if run.left:
            level, note = logging.WARNING, ": it may have been done, nobody knows"
        else:
            level, note = (logging.DEBUG if outcome == "ok" else logging.INFO), ""
        _LOG.log(
            level,
            "%s %s in %.3f s, %d attempt(s), batch %s%s",
            run.operation,
            outcome,
            seconds,
            run.attempts,
            batch_id or "-",
            note,
        )
        if self._settings.observer is not None:
            event = CallEvent(run.operation, run.attempts, outcome, seconds, batch_id, run.left)
            try:
                self._settings.observer(event)
            except Exception:  # noqa: BLE001 - a listener's fault must not hide a call's end
                _LOG.exception("the observer failed on %s", run.operation)


async def _is_honoured(check: Awaitable[bool]) -> bool:
    """Read the end of a token check; a 401 is a no as good as the gateway's own."""
    try:
        return await check
    except GatewayRefused as refused:
        if refused.code > 0:  # an HTTP status: whoever gave it was not asked about a token
            raise
        return False
    except AccessBlocked as blocked:
        if blocked.status != _UNAUTHORIZED:
            raise
        return False


def _batch_id(args: object, result: object) -> str:
    """Give the batch that a call made, or else the one it asked about."""
    match result, args:
        case Receipt(batch_id=batch_id) | FilteredReceipt(batch_id=batch_id), _:
            return batch_id
        case _, PageQuery(batch_id=batch_id):
            return batch_id
        case _, str(batch_id):
            return batch_id
        case _:
            return ""
