"""The public face: one object that holds the pool and the token."""

import os
import ssl
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from types import TracebackType
from typing import Literal, NoReturn, Self, TypedDict, Unpack

from every8d_async._border import discreet
from every8d_async._errors import InvalidRequest
from every8d_async._options import (
    CallEvent,
    RateLimit,
    RetryPolicy,
    SessionStats,
    SharedRateLimit,
    Timeout,
)
from every8d_async._pool import Transport
from every8d_async._stores import TokenStore

SITE = "https://new.e8d.tw"


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
        site: str = SITE,
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
        # Loaded by the first session: these are most of the package, and cattrs.
        from every8d_async._driver import Driver  # noqa: PLC0415
        from every8d_async._resources import Mms, Sms  # noqa: PLC0415
        from every8d_async._settings import Settings  # noqa: PLC0415

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
        self._driver = Driver(self._settings)
        self.sms = Sms(self._driver.call)
        self.mms = Mms(self._driver.call)

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

    @discreet
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
        return await self._driver.credit()

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
        return await self._driver.check_token()

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
        await self._driver.close_token()

    def forget_refusal(self) -> None:
        """Let the next call log in again after a remembered refusal."""
        self._driver.forget_refusal()

    def stats(self) -> SessionStats:
        """Tell how the session stands: calls, connections, token, retries, unknown outcomes."""
        return self._driver.stats()

    # --- life ---

    async def __aenter__(self) -> Self:
        """
        Enter the session; nothing is sent.

        Raises:
            SessionMisuse: The session is closed, or belongs elsewhere.
        """
        self._driver.enter()
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
        return self._driver.is_closed

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
        await self._driver.aclose()

    def __repr__(self) -> str:
        state = "closed" if self.is_closed else "open"
        return f"<Every8DSession {self._settings.site} {state}>"

    def __reduce__(self) -> NoReturn:
        # Connections can't travel, and a password must not.
        raise TypeError("a session can't be pickled or copied; make one in each process")
