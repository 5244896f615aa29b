"""The doctor's checks, each verdict of each, over real sockets: what is wrong is told in words."""

import socket
import ssl
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from decimal import Decimal
from email.utils import format_datetime
from pathlib import Path
from typing import NoReturn

import anyio
import pytest

from every8d_async import Timeout
from every8d_async._cli._doctor import checks, line
from every8d_async._cli._doctor.checks import CHECKS, Examination
from every8d_async._cli._doctor.line import Line, Trouble
from every8d_async._cli._doctor.rows import Row, State, Target
from every8d_async._endpoints import LOGIN, Credentials
from every8d_async._flow import TokenMode
from every8d_async._wire import WireFailure
from every8d_async.simulator import (
    Account,
    Fault,
    FirewallPage,
    Garbage,
    HttpStatus,
    Refuse,
    Reset,
    Simulator,
)
from tests import faulty
from tests.certificate import PEM, server_context
from tests.cli.certificates import EARLY, ELSEWHERE, EXPIRED, ISSUED
from tests.faulty import End, FaultyServer, When, asgi
from tests.kit import NOW

_PLAIN = b"HTTP/1.1 200 Connection established\r\n\r\n"
QUICK = Timeout(total=10, connect=0.3, read=0.3, write=10)


def examine(
    site: str, password: str = "demo", proxy: str | None = None, timeout: Timeout = checks.PATIENCE
) -> dict[str, Row]:
    """Run the checks, and give each told row by its name."""
    rows: list[Row] = []
    target = Target("demo", password, site, proxy)
    examination = Examination(target, rows.append, timeout=timeout, clock=lambda: NOW)
    anyio.run(examination.run)
    assert rows == examination.rows
    assert [row.name for row in rows] == list(CHECKS)
    return {row.name: row for row in rows}


def assert_stops(rows: dict[str, Row], at: str, *words: str) -> None:
    """Hold that one check failed, with a next step, and that none after it was asked."""
    failed = rows[at]
    assert failed.state is State.FAILED, failed
    assert failed.next
    for said in words:
        assert said in failed.said
    names = list(rows)
    assert State.FAILED not in {rows[name].state for name in names[: names.index(at)]}
    after = {rows[name].state for name in names[names.index(at) + 1 :]}
    assert after <= {State.NOT_ASKED}


@pytest.fixture
def simulator() -> Simulator:
    return Simulator()


@pytest.fixture
def site(simulator: Simulator) -> Generator[str]:
    with simulator.serve() as url:
        yield url


def test_all_is_well(simulator: Simulator, site: str) -> None:
    """It logs in once, sends nothing, and says that all is well."""
    rows = examine(site)
    states = {name: row.state for name, row in rows.items()}
    assert states == {
        "reach": State.OK,
        "TLS": State.NOT_ASKED,
        "clock": State.NOT_ASKED,
        "login": State.OK,
        "credit": State.OK,
        "firewall": State.OK,
    }
    assert "10,000.00 points" in rows["credit"].said
    assert (simulator.logins, simulator.sent) == (1, ())


# --- reach ---


def test_an_unknown_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that nobody knows is told as that, and nothing more is asked."""

    def unknown(*_args: object, **_options: object) -> NoReturn:
        raise socket.gaierror(socket.EAI_NONAME, "nobody")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    assert_stops(examine("https://gateway.test"), "reach", "the name of gateway.test is not known")


def test_a_closed_port() -> None:
    """A port on which nobody listens refuses."""
    with faulty.refusing() as site:
        assert_stops(examine(site), "reach", "refuses connections on port")


def test_a_port_that_stays_silent() -> None:
    """Where packets vanish, the time limit is told."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(4):  # more than a backlog of none takes
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        site = f"http://127.0.0.1:{listener.getsockname()[1]}"
        assert_stops(examine(site, timeout=QUICK), "reach", "does not answer", "within 0.3 s")


def test_an_address_without_a_way() -> None:
    """What is neither refused nor silent can't be reached."""
    assert_stops(examine("http://255.255.255.255:9"), "reach", "255.255.255.255 can't be reached")


@pytest.mark.parametrize(
    ("fault", "timeout", "words"),
    [
        (faulty.Fault("close"), QUICK, "no answer came (RemoteProtocolError)"),
        (faulty.Fault("hang", end=End.HANG), QUICK, "no answer came in time"),
        (
            faulty.Fault("hang", end=End.HANG),
            Timeout(total=0.3, connect=5, read=5, write=5),
            "no answer came in time",
        ),
    ],
)
def test_a_connection_without_an_answer(fault: faulty.Fault, timeout: Timeout, words: str) -> None:
    """A port that takes a request and does not answer it is not reached."""
    with FaultyServer() as server:
        server.add(fault)
        assert_stops(examine(server.url, timeout=timeout), "reach", words)


# --- the proxy ---


@pytest.mark.parametrize(
    ("status", "words", "step"),
    [(403, "(HTTP 403)", "let the site through"), (407, "(HTTP 407)", "user:password")],
)
def test_a_proxy_that_refuses(status: int, words: str, step: str) -> None:
    """A proxy's no is told as the proxy's, with the way to mend it."""
    with FaultyServer(inner_tls=server_context()) as proxy:
        refusal = faulty.instead(faulty.reply(status=status))
        proxy.add(faulty.Fault("no", When.HEAD, out=refusal), "CONNECT")
        rows = examine("https://localhost:444", proxy=proxy.url)
    assert_stops(rows, "reach", "the proxy refuses", words)
    assert step in rows["reach"].next


def test_a_proxy_that_hangs_up() -> None:
    """A proxy that breaks off is no fault of TLS."""
    with FaultyServer(inner_tls=server_context()) as proxy:
        proxy.add(faulty.Fault("close", When.HEAD), "CONNECT")
        rows = examine("https://localhost:444", proxy=proxy.url)
    assert_stops(rows, "reach", "no answer came")


def test_a_proxy_that_is_not_there() -> None:
    """The proxy's own port is tried first, and named as the proxy's."""
    with faulty.refusing() as proxy:
        rows = examine("https://localhost:444", proxy=proxy)
    assert_stops(rows, "reach", "the proxy 127.0.0.1 refuses connections")


def test_a_certificate_behind_a_proxy() -> None:
    """TLS inside of a proxy's tunnel is checked as it is without one."""
    with FaultyServer(inner_tls=server_context()) as proxy:
        rows = examine("https://localhost:444", proxy=proxy.url)
    assert_stops(rows, "TLS", "is self-signed")
    assert rows["reach"].said.startswith("the proxy 127.0.0.1 answers")


def test_all_is_well_through_a_proxy(simulator: Simulator, trusted: Callable[[str], None]) -> None:
    """A proxy that lets the site through is no trouble."""
    trusted(PEM)
    with FaultyServer(asgi(simulator), inner_tls=server_context()) as proxy:
        rows = examine("https://localhost:444", proxy=proxy.url)
    assert {row.state for row in rows.values()} == {State.OK, State.NOT_ASKED}
    assert rows["TLS"].state is State.OK


# --- TLS ---


@pytest.fixture
def trusted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], None]:
    """Let the only certificate that is trusted be this one."""

    def trust(pem: str) -> None:
        path = tmp_path / "trusted.pem"
        path.write_text(pem.partition("-----BEGIN PRIVATE")[0])
        monkeypatch.setenv("SSL_CERT_FILE", str(path))

    return trust


@pytest.mark.parametrize(
    ("shown", "known", "host", "words"),
    [
        (PEM, "", "localhost", "is self-signed"),
        (EXPIRED, EXPIRED, "localhost", "has expired"),
        (EARLY, EARLY, "localhost", "is not valid yet"),
        (ELSEWHERE, ELSEWHERE, "localhost", "is for another host"),
        (PEM, PEM, "127.0.0.2", "is for another address"),
        (ISSUED, "", "localhost", "was issued by somebody this machine does not"),
    ],
    ids=["self-signed", "expired", "early", "other host", "other address", "unknown issuer"],
)
def test_a_certificate_that_is_refused(
    shown: str, known: str, host: str, words: str, trusted: Callable[[str], None]
) -> None:
    """What is wrong with a certificate is told, and the reach stays well."""
    if known:
        trusted(known)
    with FaultyServer(tls=server_context(shown), host=host.replace("localhost", "127.0.0.1")) as up:
        rows = examine(f"https://{host}:{up.port}")
    assert_stops(rows, "TLS", f"the certificate {words}")
    assert rows["reach"].state is State.OK


def test_a_certificate_that_is_refused_otherwise() -> None:
    """What nobody has put into words is told in OpenSSL's."""
    failed = checks._tls_failed(Trouble("certificate", 23, "certificate revoked"))
    assert failed.said == "the certificate is refused (certificate revoked)"


def test_a_trusted_certificate(simulator: Simulator, trusted: Callable[[str], None]) -> None:
    """A certificate that is known is well, and the version of TLS is told."""
    trusted(PEM)
    with FaultyServer(asgi(simulator), tls=server_context()) as server:
        rows = examine(f"https://localhost:{server.port}")
    assert rows["TLS"] == Row("TLS", State.OK, "TLSv1.3, and the certificate is trusted")
    assert rows["firewall"].state is State.OK


def test_a_site_that_speaks_no_tls() -> None:
    """https:// to a port that speaks plain HTTP is told as that."""
    with FaultyServer() as server:
        rows = examine(f"https://{server.address}", timeout=QUICK)
    assert_stops(rows, "TLS", "no TLS connection came about")


def test_a_handshake_that_breaks_off() -> None:
    """A connection that ends before TLS is there has no certificate to blame."""
    with FaultyServer(tls=server_context()) as server:
        server.add(faulty.Fault("close", When.ACCEPT), times=2)
        rows = examine(server.url)
    assert_stops(rows, "TLS", "no TLS connection came about")


def test_silence_inside_of_a_tunnel() -> None:
    """Where a tunnel leads to nobody who speaks TLS, no answer comes in time."""
    with FaultyServer(inner_tls=None) as proxy:
        rows = examine("https://localhost:444", proxy=proxy.url, timeout=QUICK)
    assert_stops(rows, "reach", "no answer came in time")


def test_no_tls_inside_of_a_tunnel() -> None:
    """Where something that is no TLS answers inside of a tunnel, TLS is to blame."""
    with FaultyServer(inner_tls=None) as proxy:
        proxy.add(faulty.Fault("plain", When.HEAD, out=faulty.instead(_PLAIN)), "CONNECT")
        rows = examine("https://localhost:444", proxy=proxy.url, timeout=QUICK)
    assert_stops(rows, "TLS", "no TLS connection came about")


def test_certificates_that_can_not_be_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A SSL_CERT_FILE that is not there is a sentence, no traceback."""
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere/at/all.pem")
    with FaultyServer(tls=server_context()) as server:
        rows = examine(server.url)
    assert_stops(rows, "TLS", "can't be loaded (FileNotFoundError)")
    assert "SSL_CERT_FILE" in rows["TLS"].next


# --- the clock ---


@contextmanager
def telling_the_time(date: str) -> Generator[str]:
    """Serve a simulator whose replies have this Date."""
    sound = asgi(Simulator())

    def answer(request: faulty.Request) -> bytes:
        return sound(request).replace(b"\r\n\r\n", f"\r\nDate: {date}\r\n\r\n".encode(), 1)

    with FaultyServer(answer) as server:
        yield server.url


@pytest.mark.parametrize(
    ("ahead", "state", "words"),
    [
        (0, State.OK, "within 60 s"),
        (60, State.OK, "within 60 s"),
        (-60, State.OK, "within 60 s"),
        (61, State.WARNING, "0:01:01 ahead of the gateway"),
        (-7200, State.WARNING, "2:00:00 behind the gateway"),
    ],
)
def test_the_clock(ahead: int, state: State, words: str) -> None:
    """More than a minute off matters for `send_at`; it is a warning, and the rest is asked."""
    date = format_datetime(NOW - timedelta(seconds=ahead), usegmt=True)
    with telling_the_time(date) as site:
        rows = examine(site)
    assert rows["clock"].state is state
    assert words in rows["clock"].said
    assert rows["login"].state is State.OK


@pytest.mark.parametrize(
    ("date", "state"),
    [
        ("yesterday", State.NOT_ASKED),
        ("Fri, 99 Jan 2026 03:04:05 GMT", State.NOT_ASKED),
        ("Fri, 02 Jan 2026 03:04:05 -0000", State.OK),
    ],
)
def test_a_date_in_other_forms(date: str, state: State) -> None:
    """A date without a zone is GMT, and one that can't be read is none."""
    with telling_the_time(date) as site:
        assert examine(site)["clock"].state is state


def test_no_reply_has_no_date() -> None:
    """Where nothing came, nothing tells the time."""
    assert checks.date_of(WireFailure(left=True, phase="read", cause="ReadError")) is None


# --- the account ---


def test_a_wrong_password(simulator: Simulator, site: str) -> None:
    """A refused login is told plainly, and is not tried again."""
    rows = examine(site, password="wrong")
    assert_stops(rows, "login", "refused uid or password (code -101", "not tried again")
    assert "ten failed logins lock" in rows["login"].next
    assert (simulator.logins, simulator.failed_logins) == (1, 1)


def test_a_locked_account() -> None:
    """A locked account is told as that."""
    with Simulator(lock_after=0).serve() as site:
        assert_stops(examine(site, password="wrong"), "login", "the account is locked (-999)")


def test_a_login_without_an_answer(simulator: Simulator, site: str) -> None:
    """A login that got no answer is no refused one, and is not tried again either."""
    simulator.faults.add("ConnectionHandler/1", Reset())
    assert_stops(examine(site), "login", "the gateway did not answer")
    assert len(simulator.requests) == 2  # the knock without a token, and the login


@pytest.mark.parametrize("credit", [0, -3])
def test_no_credit(credit: int) -> None:
    """An account without points can log in, and can't send."""
    account = Account(uid="demo", password="demo", credit=Decimal(credit))
    with Simulator(accounts=[account]).serve() as site:
        rows = examine(site)
    assert rows["credit"].state is State.WARNING
    assert f"{credit}.00 points are left" in rows["credit"].said
    assert rows["firewall"].state is State.OK


@pytest.mark.parametrize(("code", "words"), [(-99, "-99"), (-5, "refused"), (-100, "code -100")])
def test_a_refused_credit(simulator: Simulator, site: str, code: int, words: str) -> None:
    """A credit that is refused is told, after a login that was well."""
    simulator.faults.add("GetCredit", Refuse(code))
    assert_stops(examine(site), "credit", words)


# --- who answers ---


STRANGERS: list[tuple[Fault, str, str]] = [
    (FirewallPage(), "HTTP 403 came in place", "allow the public address"),
    (
        HttpStatus(403, {"Server": "a wall\x01" + "x" * 99}),
        f"HTTP 403 of a server that calls itself 'a wall{'x' * 54}'",
        "allow the public address",
    ),
    (HttpStatus(404), "no EVERY8D service", "host and prefix"),
    (HttpStatus(302), "sends callers elsewhere", "scheme, host"),
    (HttpStatus(429), "too many requests", "wait a minute"),
    (Garbage(), "an HTML page came in place", "browser"),
]
DOUBTFUL: list[tuple[Fault, str, str]] = [
    (HttpStatus(401), "HTTP 401 came in place", "allow the public address"),
    (HttpStatus(503), "can't answer now", "later"),
    (HttpStatus(200, body=b"what?"), "something else came in place", "browser"),
]
each_stranger = pytest.mark.parametrize(("fault", "words", "step"), STRANGERS + DOUBTFUL)


@each_stranger
@pytest.mark.parametrize(
    ("operation", "times", "unasked"),
    [
        ("ConnectionHandler", 2, {"login", "credit"}),
        ("ConnectionHandler/1", 1, {"login", "credit"}),
        ("GetCredit", 1, {"credit"}),
    ],
)
def test_who_answers_in_the_gateways_place(
    simulator: Simulator,
    site: str,
    fault: Fault,
    words: str,
    step: str,
    operation: str,
    times: int,
    unasked: set[str],
) -> None:
    """Whoever answers in the gateway's place is told last, whenever it began to."""
    simulator.faults.add(operation, fault, times=times)
    rows = examine(site)
    assert rows["firewall"].state is State.FAILED
    assert words in rows["firewall"].said
    assert step in rows["firewall"].next
    assert unasked <= {name for name, row in rows.items() if row.state is State.NOT_ASKED}


@pytest.mark.parametrize(("fault", "words", "step"), STRANGERS)
def test_no_password_for_a_stranger(
    simulator: Simulator, site: str, fault: Fault, words: str, step: str
) -> None:
    """Where somebody else surely answers, nobody logs in."""
    simulator.faults.add("ConnectionHandler/2", fault)
    assert words in examine(site)["firewall"].said
    assert len(simulator.requests) == 1


@pytest.mark.parametrize(
    "fault", [*(fault for fault, _, _ in DOUBTFUL), *map(Refuse, (-99, -300, -999))]
)
def test_what_a_missing_token_gets_is_no_verdict(
    simulator: Simulator, site: str, fault: Fault
) -> None:
    """Nobody knows what the gateway says to a missing token, so the login decides."""
    simulator.faults.add("ConnectionHandler/2", fault)
    rows = examine(site)
    assert rows["login"].state is State.OK
    assert rows["firewall"].state is State.OK


# --- the line ---


def test_a_refused_login_is_answered_here(simulator: Simulator, site: str) -> None:
    """After a refused login nothing more is asked on the line: ten more would lock the account."""

    async def ask() -> None:
        line = Line(Target("demo", "wrong", site), checks.PATIENCE)
        account = Credentials("demo", "wrong")
        first = await line.ask(LOGIN, account, TokenMode.NONE)
        assert await line.ask(LOGIN, account, TokenMode.NONE) is first
        await line.aclose()

    anyio.run(ask)
    assert simulator.logins == 1


def test_a_fresh_line() -> None:
    """A line that has connected nowhere knows of nothing."""
    fresh = Line(Target("demo", "demo", "http://localhost"), checks.PATIENCE)
    assert (fresh.trouble, fresh.tls, fresh.is_dropped) == (None, "", True)
    assert fresh.connection is None


class ProxyError(Exception):
    pass


@pytest.mark.parametrize(
    ("error", "trouble"),
    [
        (ProxyError("502 Bad Gateway"), Trouble("proxy", 502, "ProxyError")),
        (ProxyError("the SOCKS server said no"), Trouble("proxy", 0, "ProxyError")),
        (socket.gaierror(-2, "x"), Trouble("connection", 0, "the name is not known")),
        (ssl.SSLError(1, "x"), Trouble("tls", 0, "SSLError")),
        (TimeoutError(), Trouble("time", 0, "TimeoutError")),
        (ValueError(), Trouble("connection", 0, "ValueError")),
    ],
)
def test_what_an_exception_means(error: Exception, trouble: Trouble) -> None:
    """What is underneath an exception says what was wrong."""
    assert line.trouble_of(error) == trouble
