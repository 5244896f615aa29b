"""
The checks, from the name's look-up to the firewall; nothing is ever sent to anybody.

The order is that in which things can go wrong. A failed check makes those after it `not asked`.
"""

import socket
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import anyio

from every8d_async._cli._doctor.line import Answer, Line, Trouble, chain_of
from every8d_async._cli._doctor.rows import Row, State, Target
from every8d_async._endpoints import CHECK_TOKEN, CREDIT, LOGIN, Credentials
from every8d_async._errors import AccountLocked, AuthenticationFailed, MalformedReply
from every8d_async._flow import TokenMode
from every8d_async._options import Timeout
from every8d_async._requests import utc_now
from every8d_async._wire import WireFailure, WireReply

CHECKS = ("reach", "TLS", "clock", "login", "credit", "firewall")
PATIENCE = Timeout(total=30, connect=10, read=20, write=10)

_PORTS = {"http": 80, "https": 443}
_MOST_SKEW = 60.0  # seconds: a `send_at` that far off is noticed
_OK, _REDIRECTS, _UNAUTHORIZED, _FORBIDDEN = 200, range(300, 400), 401, 403
_TOO_MANY, _FAULTS = 429, 500
_DEADLINE = "deadline"  # what a failure by our own time limit says
_LONGEST = 60  # characters of what a server calls itself

# By OpenSSL's number of what is wrong with a certificate.
_CERTIFICATES = {
    9: ("is not valid yet", "check this machine's date and time"),
    10: (
        "has expired",
        "check this machine's date and time; if they are right, tell whoever runs the site",
    ),
    18: (
        "is self-signed",
        "if it is meant to be, make it known: SSL_CERT_FILE=path.pem; else somebody reads along",
    ),
    19: (
        "leads to a self-signed one that this machine does not know",
        "a proxy that opens TLS may stand between; make its certificate known: SSL_CERT_FILE",
    ),
    20: (
        "was issued by somebody this machine does not know",
        "a proxy that opens TLS may stand between; make its certificate known: SSL_CERT_FILE",
    ),
    62: ("is for another host", "check the site's name; a captive portal may answer in its place"),
    64: ("is for another address", "use the site's name in place of its address"),
}
_REFUSED = ("is refused", "see what the words in brackets mean before you trust it")


class Examination:
    """Runs the checks for one account, and keeps what the live probe goes on from."""

    def __init__(
        self,
        target: Target,
        tell: Callable[[Row], None],
        *,
        timeout: Timeout = PATIENCE,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self.rows: list[Row] = []
        self.token: str | None = None
        self._target = target
        self._tell = tell
        self._clock = clock
        self._timeout = timeout
        self._line = Line(target, timeout)
        self._knock: Answer[Any] | None = None
        self._knocked_at = clock()
        self._stranger: Row | None = None
        self._tls_failed: Row | None = None

    async def run(self) -> None:
        """Check one after the other, and tell of each."""
        checks = (
            *(self._reach, self._tls, self._check_clock),
            *(self._login, self._credit, self._firewall),
        )
        failed = ""
        try:
            for name, check in zip(CHECKS, checks, strict=True):
                row = not_asked(name, failed) if failed else await check()
                failed = failed or (name if row.state is State.FAILED else "")
                self.rows.append(row)
                self._tell(row)
        finally:
            await self._line.aclose()

    # --- reach ---

    async def _reach(self) -> Row:
        proxy = self._target.proxy
        parts = urlsplit(proxy or self._target.site)
        host, port = parts.hostname or "", parts.port or _PORTS[parts.scheme]
        who = f"the proxy {host}" if proxy else host
        if (row := await self._connect(who, host, port)) is not None:
            return row
        self._knocked_at = self._clock()
        # Without a token: nobody logs in, so nothing counts against the account.
        self._knock = await self._line.ask(CHECK_TOKEN, None, TokenMode.NONE)
        if isinstance(self._knock.reply, WireFailure):
            row = self._lost(self._knock.reply)
        return row or Row("reach", State.OK, f"{who} answers on port {port}")

    async def _connect(self, who: str, host: str, port: int) -> Row | None:
        """Look up a name and open a connection; give a row only where that fails."""
        try:
            await anyio.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError:
            return _failed(
                "reach",
                f"the name of {who} is not known",
                "check how it is spelled, and that this machine has a name server",
            )
        try:
            with anyio.fail_after(self._timeout.connect):
                stream = await anyio.connect_tcp(host, port)
        except TimeoutError:
            return _failed(
                "reach",
                f"{who} does not answer on port {port} within {self._timeout.connect:g} s",
                "a firewall on the way out may drop the packets: ask for the port to be opened",
            )
        except OSError as error:
            refused = any(isinstance(one, ConnectionRefusedError) for one in chain_of(error))
            said = f"refuses connections on port {port}" if refused else "can't be reached"
            return _failed("reach", f"{who} {said}", "check host and port, and your network")
        await stream.aclose()
        return None

    def _lost(self, failure: WireFailure) -> Row | None:
        """Say where an exchange was lost; what TLS is to blame for is told in its own row."""
        if self._line.trouble is None and failure.cause != _DEADLINE:
            # Nothing went wrong on the line: no connection could even be begun.
            self._tls_failed = _failed(
                "TLS",
                f"the certificates to trust can't be loaded ({failure.cause})",
                "check the file that SSL_CERT_FILE names, or unset it",
            )
            return None
        trouble = self._line.trouble or Trouble("time", 0, failure.cause)
        if trouble.kind == "proxy":
            return _proxy_failed(trouble.code)
        # Straight to the site, only TLS stands between a connection and a request.
        handshake = self._target.site.startswith("https:") and not self._target.proxy
        if trouble.kind in ("certificate", "tls") or (handshake and not failure.left):
            self._tls_failed = _tls_failed(trouble)
            return None
        end = "in time" if trouble.kind == "time" else f"({trouble.detail})"
        return _failed(
            "reach",
            f"a connection came about, but no answer came {end}",
            "try again; if it stays so, ask whoever runs the site, or the proxy on the way",
        )

    # --- TLS ---

    async def _tls(self) -> Row:
        if not self._target.site.startswith("https:"):
            return Row("TLS", State.NOT_ASKED, "the site is http:// on this machine")
        return self._tls_failed or Row(
            "TLS", State.OK, f"{self._line.tls}, and the certificate is trusted"
        )

    # --- clock ---

    async def _check_clock(self) -> Row:
        assert self._knock is not None  # noqa: S101 - else the reach has failed
        theirs = date_of(self._knock.reply)
        if theirs is None:
            return Row("clock", State.NOT_ASKED, "the reply does not tell the time")
        ours = self._knocked_at + (self._clock() - self._knocked_at) / 2
        ahead = (ours - theirs).total_seconds()
        if abs(ahead) <= _MOST_SKEW:
            return Row("clock", State.OK, f"within {_MOST_SKEW:g} s of the gateway's")
        way = "ahead of" if ahead > 0 else "behind"
        return Row(
            "clock",
            State.WARNING,
            f"this machine is {_span(abs(ahead))} {way} the gateway: `send_at` would be off",
            "let the machine keep its time by NTP",
            {"seconds_ahead": round(ahead)},
        )

    # --- the account ---

    async def _login(self) -> Row:
        assert self._knock is not None  # noqa: S101 - else the reach has failed
        if is_surely_strange(self._knock):
            self._stranger = stranger(self._knock)
            return _behind("login")
        account = Credentials(self._target.uid, self._target.password)
        answer = await self._line.ask(LOGIN, account, TokenMode.NONE)
        self.token = answer.result
        return self._judged("login", answer, "uid and password are accepted")

    async def _credit(self) -> Row:
        if self._stranger is not None or self.token is None:
            return _behind("credit")
        answer = await self._line.ask(CREDIT, None, self.token)
        if answer.result is not None and answer.result <= 0:
            return Row(
                "credit",
                State.WARNING,
                f"{answer.result:,} points are left",
                "buy points; an account that pays later may be below zero",
            )
        return self._judged("credit", answer, f"{answer.result or 0:,} points are left")

    def _judged(self, name: str, answer: Answer[Any], good: str) -> Row:
        if answer.error is None:
            return Row(name, State.OK, good)
        if isinstance(answer.error, AuthenticationFailed):
            return _login_refused(name, answer.error)
        self._stranger = stranger(answer)
        if self._stranger is not None:
            return _behind(name)
        return _failed(name, str(answer.error), "try again later")

    async def _firewall(self) -> Row:
        return self._stranger or Row(
            "firewall", State.OK, "nothing in front of the gateway answers in its place"
        )


def stranger(answer: Answer[Any]) -> Row | None:
    """Tell of a reply that is not the gateway's own, as a row of the firewall check."""
    reply = answer.reply
    if isinstance(reply, WireFailure):
        return None
    status = reply.status
    if status in (_UNAUTHORIZED, _FORBIDDEN):
        said = f"HTTP {status}{_signed(reply)} came in place of the gateway's reply"
        step = "ask EVERY8D to allow the public address of this machine"
    elif status == _TOO_MANY:
        said, step = "HTTP 429: too many requests came from here", "wait a minute, then try again"
    elif status >= _FAULTS:
        said, step = f"HTTP {status}: the gateway can't answer now", "try again later"
    elif status in _REDIRECTS:
        said = f"HTTP {status}: the site sends callers elsewhere, which is not followed"
        step = "check the site: its scheme, host and prefix"
    elif status != _OK:
        said = f"HTTP {status}: there is a web server, but no EVERY8D service at this address"
        step = "check the site: its host and prefix"
    elif isinstance(answer.error, MalformedReply):
        page = "an HTML page" if _is_html(reply) else "something else"
        said = f"{page}{_signed(reply)} came in place of the gateway's reply"
        step = "open the site in a browser from this machine to see who answers"
    else:
        return None
    return Row("firewall", State.FAILED, said, step, {"http_status": status})


def is_surely_strange(knock: Answer[Any]) -> bool:
    """
    Tell whether a request without a token was surely answered by somebody else.

    Nobody knows what the gateway says to a missing token: a 401, a fault or an odd form may be its
    own, and the login will tell.
    """
    reply = knock.reply
    if isinstance(reply, WireFailure) or reply.status == _UNAUTHORIZED or reply.status >= _FAULTS:
        return False
    return stranger(knock) is not None and (reply.status != _OK or _is_html(reply))


def date_of(reply: WireReply | WireFailure) -> datetime | None:
    """Read the Date of a reply, if it has one."""
    text = "" if isinstance(reply, WireFailure) else reply.headers.get("date", "")
    try:
        date = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    return date if date.tzinfo is not None else date.replace(tzinfo=UTC)


def not_asked(name: str, failed: str) -> Row:
    """Make the row of a check that an earlier one has made senseless."""
    return Row(name, State.NOT_ASKED, f"the check before it must be well first: {failed}")


def _behind(name: str) -> Row:
    return Row(name, State.NOT_ASKED, "something else answered in the gateway's place: see below")


def _failed(name: str, said: str, step: str) -> Row:
    return Row(name, State.FAILED, said, step)


def _proxy_failed(status: int) -> Row:
    said = f"the proxy refuses to go on to the site{f' (HTTP {status})' if status else ''}"
    step = "ask whoever runs the proxy to let the site through"
    if status == 407:  # noqa: PLR2004 - Proxy Authentication Required
        step = "put the proxy's own user and password into EVERY8D_PROXY: http://user:password@…"
    return Row("reach", State.FAILED, said, step)


def _tls_failed(trouble: Trouble) -> Row:
    if trouble.kind != "certificate":
        return _failed(
            "TLS",
            f"no TLS connection came about ({trouble.detail})",
            "check that the site speaks TLS on this port, and that nothing on the way breaks it",
        )
    said, step = _CERTIFICATES.get(trouble.code, _REFUSED)
    return Row(
        "TLS",
        State.FAILED,
        f"the certificate {said} ({trouble.detail})",
        step,
        {"verify_code": trouble.code},
    )


def _login_refused(name: str, error: AuthenticationFailed) -> Row:
    if isinstance(error, AccountLocked):
        said = "the account is locked (-999), as after more than ten failed logins"
        step = "ask EVERY8D's support to unlock it, and log in nowhere until then"
    else:
        said = (
            f"the gateway refused uid or password (code {error.code}: {error.description}); it was "
            "not tried again"
        )
        step = "check both before you try again: more than ten failed logins lock the account"
    return Row(name, State.FAILED, said, step, {"code": error.code})


def _is_html(reply: WireReply) -> bool:
    return "html" in reply.headers.get("content-type", "") or reply.body.lstrip().startswith(b"<")


def _signed(reply: WireReply) -> str:
    """Name who says that they answered."""
    server = "".join(filter(str.isprintable, reply.headers.get("server", "")))[:_LONGEST]
    return f" of a server that calls itself {server!r}" if server else ""


def _span(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))
