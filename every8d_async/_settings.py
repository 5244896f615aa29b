"""A session's options, checked together; every problem is listed at once."""

import ssl
from collections.abc import Callable
from datetime import timedelta

from attrs import evolve, field, frozen

from every8d_async._checks import Problems
from every8d_async._options import (
    CallEvent,
    RateLimit,
    RetryPolicy,
    SharedRateLimit,
    Timeout,
)
from every8d_async._pool import Transport, is_transport
from every8d_async._site import check_proxy, check_site
from every8d_async._stores import TokenStore

_AUTH = ("token", "password")
_STORE = ("load", "save", "discard", "lock")


@frozen
class Settings:
    """What `Every8DSession` was told."""

    uid: str = field(repr=False)
    password: str = field(repr=False)
    site: str
    auth: str
    token_lifetime: timedelta
    token_store: TokenStore | None = field(repr=False)
    max_connections: int
    timeout: Timeout
    retry: RetryPolicy
    rate_limit: RateLimit | SharedRateLimit | None
    transport: Transport | None = field(repr=False)
    proxy: str | None = field(repr=False)
    ssl_context: ssl.SSLContext | None = field(repr=False)
    allow_http: bool
    keepalive: float
    observer: Callable[[CallEvent], None] | None = field(repr=False)
    revoke_on_close: bool

    def checked(self) -> "Settings":
        """
        Give the same settings with the site in its normal form.

        Raises:
            InvalidRequest: Something is wrong; all problems are listed, no secret is shown.
        """
        problems = Problems()
        problems.identifier("uid", self.uid)
        problems.identifier("password", self.password)
        site, found = check_site(self.site, allow_http=self.allow_http)
        problems.found += found + check_proxy(self.proxy)
        self._check_kinds(problems)
        self._check_numbers(problems)
        if self.transport is not None and (self.proxy is not None or self.ssl_context is not None):
            problems.found.append("transport: brings its own proxy and TLS: leave those out")
        problems.end("")
        return evolve(self, site=site)

    def _check_kinds(self, problems: Problems) -> None:
        problems.check(ok=self.auth in _AUTH, problem=f"auth: must be one of {_AUTH}")
        kinds: list[tuple[str, object, type, bool]] = [
            ("timeout", self.timeout, Timeout, False),
            ("retry", self.retry, RetryPolicy, False),
            ("ssl_context", self.ssl_context, ssl.SSLContext, True),
            ("allow_http", self.allow_http, bool, False),
            ("revoke_on_close", self.revoke_on_close, bool, False),
        ]
        for name, value, kind, optional in kinds:
            ok = isinstance(value, kind) or (optional and value is None)
            problems.check(ok=ok, problem=f"{name}: must be a {kind.__name__}")
        limit = self.rate_limit
        problems.check(
            ok=limit is None
            or isinstance(limit, RateLimit)
            or callable(getattr(limit, "take", None)),
            problem="rate_limit: must be a RateLimit",
        )
        store: object = self.token_store
        able = all(callable(getattr(store, name, None)) for name in _STORE)
        problems.check(
            ok=store is None or (able and not isinstance(store, type)),
            problem="token_store: must be a TokenStore",
        )
        problems.check(
            ok=self.transport is None or is_transport(self.transport),
            problem="transport: must be an httpx.AsyncBaseTransport",
        )
        problems.check(
            ok=self.observer is None or callable(self.observer),
            problem="observer: must be callable",
        )

    def _check_numbers(self, problems: Problems) -> None:
        problems.positive("max_connections", self.max_connections)
        problems.seconds("keepalive", self.keepalive)
        lifetime: object = self.token_lifetime
        problems.check(
            ok=isinstance(lifetime, timedelta) and lifetime > timedelta(0),
            problem="token_lifetime: must be a timedelta above zero",
        )
