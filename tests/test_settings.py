"""A session's options: checked together, without IO, without a loop, and without a secret told."""

import ssl
import subprocess
import sys
from datetime import timedelta
from typing import Any

import httpx
import pytest

from every8d_async import (
    Every8DSession,
    FileTokenStore,
    InvalidRequest,
    MemoryTokenStore,
    RateLimit,
    RetryPolicy,
    Timeout,
)

PROXY = "http://user:hunter2@proxy.example.com:3128"
ACCOUNT: dict[str, Any] = {"uid": "uid", "password": "password"}


def problems(**options: Any) -> list[str]:
    with pytest.raises(InvalidRequest) as caught:
        Every8DSession(**ACCOUNT | options)
    assert caught.value.sent is False
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    return list(caught.value.problems)


def label(value: Any) -> str:
    plain = value is None or isinstance(value, str | bytes | int | float | timedelta)
    return repr(value)[:40] if plain else type(value).__name__


class Turns:
    """A rate limit that somebody else keeps."""

    async def take(self, patience: float) -> float | None:
        raise NotImplementedError


def transport() -> httpx.MockTransport:
    return httpx.MockTransport(lambda request: httpx.Response(500))


# In an interpreter of its own, with all that could reach out under watch; the first session only
# lets anyio load what it loads late.
NO_IO = """
import sys
from datetime import timedelta
import every8d_async as e

seen = []
def watch(event, args):
    if event.startswith(("socket.", "ssl.", "open", "os.", "subprocess.", "import")):
        seen.append((event, args))
e.Every8DSession("uid", "password")
sys.addaudithook(watch)
e.Every8DSession("uid", "password")
e.Every8DSession("uid", "password", site="http://localhost:1", auth="password")
e.Every8DSession(
    "uid", "password", max_connections=64, rate_limit=e.RateLimit(5),
    token_store=e.MemoryTokenStore(), revoke_on_close=True, proxy="http://proxy:3128",
)
print(seen)
"""


def test_constructing_does_no_io() -> None:
    """No socket, no file, no look-up, no certificate: a session can be made at import time."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", NO_IO], capture_output=True, text=True, check=False
    )
    assert (done.stdout.strip(), done.stderr) == ("[]", "")


def test_constructing_needs_no_loop() -> None:
    """A session made outside any loop shows neither account nor password."""
    session = Every8DSession("the-uid", "the-password")
    assert not session.is_closed
    assert repr(session) == "<Every8DSession https://new.e8d.tw open>"
    assert "the-" not in repr(session._settings)


def test_the_site_in_its_normal_form() -> None:
    """However a site is written, it is one site."""
    session = Every8DSession("uid", "password", site="HTTPS://API.e8d.tw/Tenant/")
    assert repr(session) == "<Every8DSession https://api.e8d.tw/Tenant open>"


GOOD: dict[str, list[Any]] = {
    "uid": ["u", "簡訊帳號", "a b+c&d=e%,"],
    "password": ["p", "密碼 \"'\\ &=%", " "],
    "site": ["https://new.e8d.tw", "http://localhost:8021/prefix"],
    "auth": ["token", "password"],
    "token_lifetime": [timedelta(seconds=1), timedelta.max],
    "token_store": [None, MemoryTokenStore(), FileTokenStore("tokens.json")],
    "max_connections": [1, 16, 1000],
    "timeout": [Timeout(), Timeout(total=0.1)],
    "retry": [RetryPolicy(attempts=1)],
    "rate_limit": [None, RateLimit(5, per=0.1, burst=1), Turns()],
    "transport": [None, transport()],
    "proxy": [None, PROXY],
    "ssl_context": [None, ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)],
    "keepalive": [1, 0.5],
    "observer": [None, print],
    "allow_http": [True, False],
    "revoke_on_close": [True, False],
}
TEXT = "must be a text, not"
BAD: dict[str, list[tuple[Any, str]]] = {
    "uid": [
        ("", "must not be empty"),
        ("u\nid", "holds a control character"),
        ("u\x00id", "holds a control character"),
        ("u\ud800id", "holds a control character"),
        (None, f"{TEXT} NoneType"),
        (b"uid", f"{TEXT} bytes"),
    ],
    "password": [
        ("", "must not be empty"),
        ("pass\tword", "holds a control character"),
        (5, f"{TEXT} int"),
    ],
    "site": [
        (None, "must be a text such as https://new.e8d.tw"),
        ("new.e8d.tw", "must be https://host[:port][/prefix]"),
    ],
    "auth": [
        ("basic", "must be one of ('token', 'password')"),
        (None, "must be one of ('token', 'password')"),
        ([], "must be one of ('token', 'password')"),
    ],
    "token_lifetime": [
        (timedelta(0), "must be a timedelta above zero"),
        (-timedelta.resolution, "must be a timedelta above zero"),
        (28800, "must be a timedelta above zero"),
    ],
    "token_store": [
        (object(), "must be a TokenStore"),
        ("tokens.json", "must be a TokenStore"),
        ({}, "must be a TokenStore"),
        (MemoryTokenStore, "must be a TokenStore"),
    ],
    "max_connections": [
        (0, "must be a whole number from 1"),
        (-1, "must be a whole number from 1"),
        (1.5, "must be a whole number from 1"),
        (True, "must be a whole number from 1"),
        (None, "must be a whole number from 1"),
    ],
    "timeout": [(30, "must be a Timeout"), (None, "must be a Timeout")],
    "retry": [(3, "must be a RetryPolicy"), (None, "must be a RetryPolicy")],
    "rate_limit": [
        (20, "must be a RateLimit"),
        (object(), "must be a RateLimit"),
    ],
    "transport": [
        (object(), "must be an httpx.AsyncBaseTransport"),
        (httpx.HTTPTransport, "must be an httpx.AsyncBaseTransport"),
        (httpx.HTTPTransport(), "must be an httpx.AsyncBaseTransport"),
    ],
    "proxy": [
        ("proxy:3128", "must be http, https://[user:password@]host[:port]"),
    ],
    "ssl_context": [(True, "must be a SSLContext")],
    "keepalive": [
        (0, "must be a number of seconds above 0"),
        (-1.0, "must be a number of seconds above 0"),
        (float("inf"), "must be a number of seconds above 0"),
        (float("nan"), "must be a number of seconds above 0"),
        ("5", "must be a number of seconds above 0"),
        (None, "must be a number of seconds above 0"),
    ],
    "observer": [("print", "must be callable")],
    "allow_http": [("yes", "must be a bool"), (None, "must be a bool"), (1, "must be a bool")],
    "revoke_on_close": [("x", "must be a bool"), (None, "must be a bool")],
}


@pytest.mark.parametrize(
    ("name", "value"),
    [(name, value) for name, values in GOOD.items() for value in values],
    ids=label,
)
def test_good_options(name: str, value: Any) -> None:
    """What makes sense is taken."""
    Every8DSession(**ACCOUNT | {name: value})


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [(name, value, problem) for name, values in BAD.items() for value, problem in values],
    ids=label,
)
def test_bad_options(name: str, value: Any, problem: str) -> None:
    """A bad option is refused by name, once."""
    assert problems(**{name: value}) == [f"{name}: {problem}"]


def test_all_problems_are_listed() -> None:
    """One look tells everything there is to fix."""
    worst = {name: values[0][0] for name, values in BAD.items()}
    assert {problem.partition(":")[0] for problem in problems(**worst)} == set(BAD)


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_plain_http_to_a_public_host(scheme: str) -> None:
    """A password in the clear has to be asked for."""
    site = f"{scheme}://203.0.113.7"
    Every8DSession("uid", "password", site=site, allow_http=True)
    if scheme == "http":
        (problem,) = problems(site=site)
        assert "allow_http=True" in problem
    else:
        Every8DSession("uid", "password", site=site)


@pytest.mark.parametrize(
    "more",
    [
        {"proxy": PROXY},
        {"ssl_context": ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)},
        {"proxy": PROXY, "ssl_context": ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)},
    ],
    ids=["proxy", "tls", "both"],
)
def test_a_transport_brings_its_own(more: dict[str, Any]) -> None:
    """What a transport of the user's would not obey is refused, not ignored."""
    expected = ["transport: brings its own proxy and TLS: leave those out"]
    assert expected == problems(transport=transport(), **more)


SECRETS: dict[str, Any] = {
    "uid": "the-uid\n",
    "password": "the-password\x00",
    "site": "https://the-uid:the-password@host/the-prefix?the-query",
    "proxy": "http://the-user:the-password@pro xy:the-port",
}


def test_problems_tell_no_secret() -> None:
    """What is wrong with an address may be its password: nothing is quoted."""
    for options in (SECRETS, *({name: value} for name, value in SECRETS.items())):
        assert "the-" not in "".join(problems(**options))


# --- from the environment ---

VARIABLES = ("EVERY8D_UID", "EVERY8D_PASSWORD", "EVERY8D_SITE", "EVERY8D_PROXY")


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


def given(monkeypatch: pytest.MonkeyPatch, **values: str) -> None:
    for name, value in values.items():
        monkeypatch.setenv(f"EVERY8D_{name.upper()}", value)


def settings_of(session: Every8DSession) -> tuple[str, str, str, str | None]:
    settings = session._settings
    return settings.uid, settings.password, settings.site, settings.proxy


def test_all_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """Account, site and proxy can all come from the environment."""
    given(monkeypatch, uid="u", password="p", site="https://api.e8d.tw", proxy=PROXY)
    session = Every8DSession.from_env()
    assert settings_of(session) == ("u", "p", "https://api.e8d.tw", PROXY)


def test_site_and_proxy_may_be_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    """An account alone is enough."""
    given(monkeypatch, uid="u", password="p")
    assert settings_of(Every8DSession.from_env()) == ("u", "p", "https://new.e8d.tw", None)


def test_empty_is_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty site or proxy, as a deployment's template leaves them, is none."""
    given(monkeypatch, uid="u", password="p", site="", proxy="")
    assert settings_of(Every8DSession.from_env()) == ("u", "p", "https://new.e8d.tw", None)


def test_what_is_given_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment fills in what the caller left out."""
    given(monkeypatch, uid="u", password="p", site="https://api.e8d.tw", proxy=PROXY)
    session = Every8DSession.from_env(
        uid="mine", password="my own", site="https://oms.e8d.tw", proxy="http://other:3128"
    )
    assert settings_of(session) == ("mine", "my own", "https://oms.e8d.tw", "http://other:3128")
    assert settings_of(Every8DSession.from_env(proxy=None))[3] is None
    assert settings_of(Every8DSession.from_env(uid="mine"))[:2] == ("mine", "p")


def test_the_other_keywords_are_the_constructors(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the constructor takes can be given here as well, and is checked the same."""
    given(monkeypatch, uid="u", password="p")
    session = Every8DSession.from_env(auth="password", max_connections=3, keepalive=2.5)
    settings = session._settings
    assert (settings.auth, settings.max_connections, settings.keepalive) == ("password", 3, 2.5)
    with pytest.raises(InvalidRequest):
        Every8DSession.from_env(max_connections=0)


@pytest.mark.parametrize(
    ("present", "missing"),
    [
        ({}, ["EVERY8D_UID", "EVERY8D_PASSWORD"]),
        ({"uid": "u"}, ["EVERY8D_PASSWORD"]),
        ({"password": "p"}, ["EVERY8D_UID"]),
    ],
    ids=["both", "password", "uid"],
)
def test_missing_variables(
    present: dict[str, str], missing: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """All that is missing is named at once, by the variable's name."""
    given(monkeypatch, **present)
    with pytest.raises(InvalidRequest) as caught:
        Every8DSession.from_env()
    assert [f"{name}: is not set in the environment" for name in missing] == [
        *caught.value.problems
    ]


def test_bad_variables_are_bad_options(monkeypatch: pytest.MonkeyPatch) -> None:
    """What stands in the environment is checked as if it had been given, and not quoted."""
    given(monkeypatch, uid="", password="the\npassword", site="the-site", proxy="the-proxy")
    with pytest.raises(InvalidRequest) as caught:
        Every8DSession.from_env()
    names = [problem.partition(":")[0] for problem in caught.value.problems]
    assert names == ["uid", "password", "site", "proxy"]
    assert "the" not in str(caught.value).replace("others", "")
