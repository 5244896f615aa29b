"""Where the gateway is: addresses are checked before a password could go to the wrong place."""

from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from every8d_async._site import check_proxy, check_site, is_loopback

SHAPE = "site: must be https://host[:port][/prefix]"
EXTRAS = "site: must hold no user, query or fragment"
HOST = "site: has no valid host (write international names in punycode)"
PREFIX = "site: its prefix holds characters that can't stand there"
API = "site: leave out /API21/HTTP, it is added to each call"
PLAIN = (
    "site: http:// to a public host would show the password to everybody on the way; use "
    "https://, or allow_http=True"
)


@pytest.mark.parametrize(
    ("site", "normal"),
    [
        ("https://new.e8d.tw", "https://new.e8d.tw"),
        ("https://new.e8d.tw/", "https://new.e8d.tw"),
        ("https://api.e8d.tw:8443/tenant/one//", "https://api.e8d.tw:8443/tenant/one"),
        ("HTTPS://New.E8D.tw/Tenant", "https://new.e8d.tw/Tenant"),
        ("https://xn--fiqs8s.tw/a-b_c~d.e", "https://xn--fiqs8s.tw/a-b_c~d.e"),
        ("https://gateway", "https://gateway"),
        ("https://203.0.113.7", "https://203.0.113.7"),
        ("https://[2001:DB8::1]:443", "https://[2001:db8::1]:443"),
        ("http://localhost:8021", "http://localhost:8021"),
        ("http://LOCALHOST:8021", "http://localhost:8021"),
        ("http://127.0.0.1:8021/prefix", "http://127.0.0.1:8021/prefix"),
        ("http://127.8.9.10", "http://127.8.9.10"),
        ("http://[::1]:8021", "http://[::1]:8021"),
        (f"https://{'a' * 63}.tw", f"https://{'a' * 63}.tw"),
    ],
)
def test_good_sites(site: str, normal: str) -> None:
    """A site is brought to one spelling, so that the same gateway has one token."""
    assert check_site(site, allow_http=False) == (normal, [])


@pytest.mark.parametrize(
    ("site", "problems"),
    [
        ("", [SHAPE]),
        ("new.e8d.tw", [SHAPE]),
        ("//new.e8d.tw", [SHAPE]),
        ("ftp://new.e8d.tw", [SHAPE]),
        ("https:new.e8d.tw", [HOST, PREFIX]),
        ("https://", [HOST]),
        ("https:///path", [HOST]),
        ("https://new.e8d.tw:port", [SHAPE]),
        ("https://new.e8d.tw:", [SHAPE]),
        ("https://new.e8d.tw:0", [SHAPE]),
        ("https://new.e8d.tw:65536", [SHAPE]),
        ("https://[::1", [SHAPE]),
        (" https://new.e8d.tw", [SHAPE]),
        ("https://new.e8d.tw\n", [SHAPE]),
        ("https://new.e8d\t.tw", [SHAPE]),
        ("https://簡訊.tw", [SHAPE]),
        ("https://uid@new.e8d.tw", [EXTRAS]),
        ("https://uid:hunter2@new.e8d.tw", [EXTRAS]),
        ("https://@new.e8d.tw", [EXTRAS]),
        ("https://new.e8d.tw?x=1", [EXTRAS]),
        ("https://new.e8d.tw?", [EXTRAS]),
        ("https://new.e8d.tw#top", [EXTRAS]),
        ("https://new.e8d.tw/#", [EXTRAS, PREFIX]),
        ("https://new_e8d.tw", [HOST]),
        ("https://-new.e8d.tw", [HOST]),
        ("https://new..e8d.tw", [HOST]),
        ("https://.e8d.tw", [HOST]),
        ("https://e8d.tw.", [HOST]),
        (f"https://{'a' * 64}.tw", [HOST]),
        (f"https://{'a.' * 126}tw", [HOST]),
        ("https://new.e8d.tw\\@example.com", [EXTRAS]),
        ("https://new.e8d.tw/API21/HTTP", [API]),
        ("https://new.e8d.tw/tenant/api21/http/", [API]),
        ("https://new.e8d.tw/API21", [API]),
        ("https://new.e8d.tw//tenant", [PREFIX]),
        ("https://new.e8d.tw/a%2fb", [PREFIX]),
        ("https://new.e8d.tw/a;b", [PREFIX]),
        ("http://new.e8d.tw", [PLAIN]),
        ("http://localhost.example.com", [PLAIN]),
        ("http://127.0.0.1.example.com", [PLAIN]),
        ("http://10.0.0.1", [PLAIN]),
        ("http://0.0.0.0:8021", [PLAIN]),
        ("http://127.0.0.1@example.com", [EXTRAS, PLAIN]),
        ("http://a_b/API21/HTTP?x", [EXTRAS, HOST, API, PLAIN]),
    ],
)
def test_bad_sites(site: str, problems: list[str]) -> None:
    """Whatever is wrong with a site is told at once, and in no way quoted."""
    assert problems == check_site(site, allow_http=False)[1]


@pytest.mark.parametrize("site", [None, 5, b"https://new.e8d.tw", httpx.URL("https://new.e8d.tw")])
def test_a_site_is_a_text(site: Any) -> None:
    """Other things are refused in the same words as bad texts, not with a bug."""
    expected = ["site: must be a text such as https://new.e8d.tw"]
    assert expected == check_site(site, allow_http=False)[1]


def test_plain_http_can_be_allowed() -> None:
    """Who knows what they do may send passwords in the clear."""
    assert check_site("http://10.0.0.1", allow_http=True) == ("http://10.0.0.1", [])


@given(st.text() | st.builds("https://{}{}".format, st.text(max_size=20), st.text(max_size=20)))
def test_no_text_is_more_than_refused(site: str) -> None:
    """Whatever text comes: it is a site that httpx takes for the same host, or it is refused."""
    normal, problems = check_site(site, allow_http=False)
    if not problems:
        url = httpx.URL(normal + "/API21/HTTP/SendSMS.ashx")
        assert normal == f"{url.scheme}://{url.netloc.decode()}{url.path[:-24]}"
        assert check_site(normal, allow_http=False) == (normal, [])


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("localhost", True),
        ("LocalHost", True),
        ("127.0.0.1", True),
        ("127.255.255.254", True),
        ("::1", True),
        ("0.0.0.0", False),
        ("10.0.0.1", False),
        ("128.0.0.1", False),
        ("::2", False),
        ("localhost.example.com", False),
        ("127.1", False),
        ("", False),
    ],
)
def test_loopback(host: str, *, expected: bool) -> None:
    """Only what can't leave this machine counts as loopback; names are not looked up."""
    assert expected is is_loopback(host)


PROXY_SHAPE = "proxy: must be http, https://[user:password@]host[:port]"
PROXY_HOST = "proxy: has no valid host (write international names in punycode)"


@pytest.mark.parametrize(
    "proxy",
    [
        None,
        "http://proxy.example.com:3128",
        "http://proxy.example.com:3128/",
        "https://proxy",
        "http://user:hunter2@10.0.0.1:3128",
        "http://user:p%40ss%2Fword@[2001:db8::1]:3128",
    ],
)
def test_good_proxies(proxy: str | None) -> None:
    """A proxy may be public and without TLS: the call inside is encrypted on its own."""
    assert check_proxy(proxy) == []


@pytest.mark.parametrize(
    ("proxy", "problem"),
    [
        ("", PROXY_SHAPE),
        ("proxy:3128", PROXY_SHAPE),
        ("ftp://proxy", PROXY_SHAPE),
        ("socks5://proxy:1080", PROXY_SHAPE),
        ("socks5h://user:hunter2@proxy:1080", PROXY_SHAPE),
        ("http://", PROXY_SHAPE),
        ("http://user:hunter2@", PROXY_HOST),
        ("http://:3128", PROXY_HOST),
        ("http://a..b:3128", PROXY_HOST),
        ("http://proxy:0", PROXY_SHAPE),
        ("http://proxy:no", PROXY_SHAPE),
        ("http://proxy:99999", PROXY_SHAPE),
        ("http://user:hun ter2@proxy", PROXY_SHAPE),
        ("http://user:密碼@proxy", PROXY_SHAPE),
        ("http://user:hunter2\n@proxy", PROXY_SHAPE),
        ("http://user:3/hunter2@proxy", PROXY_SHAPE),
        ("http://user:3?hunter2@proxy", PROXY_SHAPE),
        ("http://user:3#hunter2@proxy", PROXY_SHAPE),
        (b"http://user:hunter2@proxy", PROXY_SHAPE),
        (5, PROXY_SHAPE),
        (httpx.Proxy("http://user:hunter2@proxy"), PROXY_SHAPE),
    ],
    ids=repr,
)
def test_bad_proxies(proxy: Any, problem: str) -> None:
    """A proxy's address is never quoted: what is wrong with it may be its password."""
    assert [problem] == check_proxy(proxy)
