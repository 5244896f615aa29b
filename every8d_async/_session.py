"""The public face: one object that holds the pool and the token, and obeys the flow."""

import logging
import os
import ssl
import time
from collections.abc import Awaitable, Callable, Generator
from datetime import timedelta
from decimal import Decimal
from random import random
from types import TracebackType
from typing import Any, Literal, NoReturn, Self, TypedDict, TypeVar, Unpack, assert_never, cast

import anyio
from attrs import define

from every8d_async._border import discreet
from every8d_async._endpoints import CHECK_TOKEN, CLOSE_TOKEN, CREDIT, LOGIN, Credentials, Endpoint
from every8d_async._errors import (
    AccessBlocked,
    Every8DError,
    GatewayRefused,
    GatewayUnavailable,
    InvalidRequest,
    OutcomeUnknown,
    SessionMisuse,
)
from every8d_async._flow import Auth, Command, Hold, Login, Send, Sleep, Suspect, TokenMode, call
from every8d_async._lenient import LenientStore
from every8d_async._loop import Home
from every8d_async._models import FilteredReceipt, Receipt
from every8d_async._options import (
    CallEvent,
    RateLimit,
    RetryPolicy,
    SessionStats,
    SharedRateLimit,
    Timeout,
)
from every8d_async._pace import Pace, RetryBudget
from every8d_async._pool import Borrowed, Pool, Slots, Transport, one_connection
from every8d_async._requests import PageQuery
from every8d_async._resources import Mms, Sms
from every8d_async._settings import Settings
from every8d_async._tokens import MemoryTokenStore, PasswordGate, TokenKeeper, TokenStore
from every8d_async._transport import Exchange
from every8d_async._wire import Progress, Verdict, WireFailure, WireReply, WireRequest

Args = TypeVar("Args")
Result = TypeVar("Result")

_LOG = logging.getLogger("every8d_async")
_UNAUTHORIZED = 401
_SITE = "https://new.e8d.tw"
_MOST_LOGINS = 8  # calls at once in password mode: more than ten failed ones lock the account

GUARDS: list[Callable[[str, Transport | None], None]] = []
"""
Asked before a request leaves for a site, by the caller's own transport if there is one.

The pytest plugin refuses public sites here.
"""


class SessionOptions(TypedDict, total=False):
    """The keywords of `Every8DSession`, for `Every8DSession.from_env`."""

    site: str
    auth: Literal["token", "password"]
    token_lifetime: timedelta
    token_store: TokenStore | None
    max_connections: int
    timeout: Timeout
    retry: RetryPolicy
    rate_limit: RateLimit | SharedRateLimit | None
    transport: Transport | None
    proxy: str | None
    ssl_context: ssl.SSLContext | None
    allow_http: bool
    keepalive: float
    observer: Callable[[CallEvent], None] | None
    revoke_on_close: bool


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


class Every8DSession:
    """
    A client's session with the gateway: a shared pool of connections and one token for all calls.

    ::

        async with Every8DSession("uid", "password") as session:
            receipt = await session.sms.send("您的驗證碼是 123456", to="+886900000001")

    Constructing does no IO and needs no running loop. ``async with`` is optional: the first call
    opens what it needs, and `aclose` ends it. Any number of tasks may use a session at once, in one
    event loop (asyncio's or trio's) and one process.

    Args:
        uid: The account.
        password: Its password.
        site: Scheme, host and, for a dedicated platform, port and prefix. ``http://`` is taken for
            loopback only, unless `allow_http`.
        auth: ``"token"`` logs in once and renews the token (M_1); ``"password"`` puts uid and
            password into every call (M_2), at most 8 of which are out at once: each is a login, and
            when the password is changed at the gateway, fewer fail than lock the account.
        token_lifetime: How long a token is used; the official text advises 8 hours (§1.1).
        token_store: Where the token is kept; in this session's memory if None. Share one between
            sessions of the same account.
        max_connections: The most connections at once; more callers than that wait their turn.
        timeout: Time limits, in seconds.
        retry: How queries are tried again. A send that may have left is never sent again.
        rate_limit: The most requests in a time; one that is shared with other processes will do.
        transport: An httpx transport to use instead of the session's own pool; `aclose` closes it.
        proxy: The address of an HTTP proxy, with TLS or without (SOCKS is not supported). Proxies
            of the environment are not read.
        ssl_context: TLS settings of your own.
        allow_http: Allow a site without TLS that is not loopback.
        keepalive: Seconds that an idle connection is kept. Keep it under the gateway's own limit: a
            request on a connection that is just being closed is one of unknown outcome.
        observer: Hears of each finished call, in the event loop; it must be quick.
        revoke_on_close: Close the token at the gateway in `aclose` (§1.3).

    Raises:
        InvalidRequest: An option is wrong; all problems are listed.
    """

    @discreet
    def __init__(
        self,
        uid: str,
        password: str,
        *,
        site: str = _SITE,
        auth: Literal["token", "password"] = "token",
        token_lifetime: timedelta = timedelta(hours=8),
        token_store: TokenStore | None = None,
        max_connections: int = 16,
        timeout: Timeout = Timeout(),  # noqa: B008 - frozen
        retry: RetryPolicy = RetryPolicy(),  # noqa: B008 - frozen
        rate_limit: RateLimit | SharedRateLimit | None = None,
        transport: Transport | None = None,
        proxy: str | None = None,
        ssl_context: ssl.SSLContext | None = None,
        allow_http: bool = False,
        keepalive: float = 5.0,
        observer: Callable[[CallEvent], None] | None = None,
        revoke_on_close: bool = False,
    ) -> None:
        self._settings = Settings(
            uid=uid,
            password=password,
            site=site,
            auth=auth,
            token_lifetime=token_lifetime,
            token_store=token_store,
            max_connections=max_connections,
            timeout=timeout,
            retry=retry,
            rate_limit=rate_limit,
            transport=transport,
            proxy=proxy,
            ssl_context=ssl_context,
            allow_http=allow_http,
            keepalive=keepalive,
            observer=observer,
            revoke_on_close=revoke_on_close,
        ).checked()
        self._account = Credentials(uid, password)
        self._home = Home()
        self._pace = Pace(rate_limit)
        self._budget = RetryBudget()
        self._retries = self._unknowns = 0
        self._slots = self._open_slots()
        self._exchange = Exchange(self._settings.site, self._slots, timeout)
        self._gate = PasswordGate(time.time) if auth == "password" else None
        self._shares_token = token_store is not None
        self._keeper = TokenKeeper(
            login=self._log_in,
            check=self._ask,
            lifetime=token_lifetime.total_seconds(),
            store=MemoryTokenStore() if token_store is None else LenientStore(token_store),
            key=f"{self._settings.site} {uid}",
            clock=time.time,
            random=random,
            sleep=anyio.sleep,
        )
        self._in_flight = 0
        self._idle: anyio.Event | None = None
        self._closing = False
        self._ended: anyio.Event | None = None
        self.sms = Sms(self._call)
        self.mms = Mms(self._call)

    @classmethod
    @discreet
    def from_env(
        cls,
        *,
        uid: str | None = None,
        password: str | None = None,
        **options: Unpack[SessionOptions],
    ) -> Self:
        """
        Make a session from EVERY8D_UID, EVERY8D_PASSWORD, EVERY8D_SITE and EVERY8D_PROXY.

        What is given here wins over the environment; the other keywords are the constructor's.

        Raises:
            InvalidRequest: A variable that is needed is missing, or an option is wrong.
        """
        uid = os.environ.get("EVERY8D_UID") if uid is None else uid
        password = os.environ.get("EVERY8D_PASSWORD") if password is None else password
        if uid is None or password is None:
            given = {"EVERY8D_UID": uid, "EVERY8D_PASSWORD": password}
            missing = [name for name, value in given.items() if value is None]
            raise InvalidRequest([f"{name}: is not set in the environment" for name in missing])
        if site := os.environ.get("EVERY8D_SITE"):
            options.setdefault("site", site)
        # A transport of one's own brings its own way out.
        if (proxy := os.environ.get("EVERY8D_PROXY")) and options.get("transport") is None:
            options.setdefault("proxy", proxy)
        return cls(uid, password, **options)

    # --- queries about the account ---

    async def credit(self) -> Decimal:
        """
        Ask how many points are left (§4.1); below zero for an account that pays later.

        A query, which sends nothing.

        Raises:
            GatewayRefused: The gateway said no; `AuthenticationFailed` if it refused the account.
            GatewayUnreachable: No connection came about.
            GatewayUnavailable: No answer came, after all attempts.
            MalformedReply: The reply broke the format.
            AccessBlocked: A firewall stands in front.
            RateLimited: The gateway asked for a longer pause than the time limit allows.
            SessionMisuse: The session is closed, or belongs elsewhere.
        """
        return await self._call(CREDIT, None)

    @discreet
    async def check_token(self) -> bool:
        """
        Ask whether the gateway honours the token at hand (§1.2).

        Without one, and in password mode, it is False without asking: it never logs in just to ask.
        A query, which sends nothing.

        Raises:
            GatewayRefused: An HTTP status such as 404 came in place of the gateway's own answer.
            GatewayUnreachable: No connection came about.
            GatewayUnavailable: No answer came, after all attempts.
            MalformedReply: The reply broke the format.
            AccessBlocked: A firewall stands in front.
            RateLimited: The gateway asked for a longer pause than the time limit allows.
            SessionMisuse: The session is closed, or belongs elsewhere.
        """
        self._enter()
        token = self._keeper.current
        return token is not None and await _is_honoured(self._call(CHECK_TOKEN, None, token))

    @discreet
    async def close_token(self) -> None:
        """
        Close the token at the gateway (§1.3); the next call logs in anew.

        Nothing happens without a token, in password mode, and with a shared store: others use it.
        It sends nothing to anybody, whatever becomes of it.

        Raises:
            GatewayRefused: The gateway did not close it; it is forgotten here all the same.
            GatewayUnreachable: No connection came about; likewise.
            GatewayUnavailable: No answer came, after all attempts; likewise.
            MalformedReply: The reply broke the format; likewise.
            AccessBlocked: A firewall stands in front; likewise.
            RateLimited: The gateway asked for too long a pause; likewise.
            SessionMisuse: The session is closed, or belongs elsewhere.
        """
        self._enter()
        token = None if self._shares_token else self._keeper.drop()
        if token is not None:
            await self._call(CLOSE_TOKEN, None, token)

    def forget_refusal(self) -> None:
        """Let the next call log in again after a remembered refusal."""
        self._keeper.forgive()
        if self._gate is not None:
            self._gate.forgive()

    def stats(self) -> SessionStats:
        """Tell how the session stands: calls, connections, token, retries, unknown outcomes."""
        return SessionStats(
            in_flight=self._in_flight,
            waiting=self._slots.waiting,
            connections=self._slots.open,
            token_age=self._keeper.age,
            retries=self._retries,
            unknowns=self._unknowns,
        )

    # --- life ---

    async def __aenter__(self) -> Self:
        """
        Enter the session; nothing is sent.

        Raises:
            SessionMisuse: The session is closed, or belongs elsewhere.
        """
        self._enter()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the session."""
        await self.aclose()

    @property
    def is_closed(self) -> bool:
        """Tell whether the session takes no more calls."""
        return self._closing

    async def aclose(self) -> None:
        """
        End the session: take no more calls, let those under way finish, close the connections.

        Calls under way get up to ``timeout.total`` seconds; where it is cancelled, it waits no
        longer, and still closes the connections that are idle. It may be called again, and from
        another task than the one that entered. After a fork, the child only lets go of what belongs
        to its parent. With `revoke_on_close` it closes the token at the gateway as well (§1.3); a
        failure of that is a warning in the log.

        Raises:
            SessionMisuse: The session was used in another event loop; it stays open.
        """
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

    def __repr__(self) -> str:
        state = "closed" if self._closing else "open"
        return f"<Every8DSession {self._settings.site} {state}>"

    def __reduce__(self) -> NoReturn:
        # Connections can't travel, and a password must not.
        raise TypeError("a session can't be pickled or copied; make one in each process")

    # --- calls ---

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

    def _enter(self) -> None:
        if self._closing:
            raise SessionMisuse("the session is closed. Nothing was sent; make a new one.")
        self._home.check()

    async def _call(
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
        self._enter()
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
