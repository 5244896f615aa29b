"""Where the gateway is: the site's address, and the proxy on the way there."""

import re
from ipaddress import ip_address
from urllib.parse import SplitResult, urlsplit

# Looking up a name with an empty or longer label is an error of its own in Python.
_LABEL = "[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_HOST = re.compile(rf"(?=.{{1,253}}\Z){_LABEL}(?:\.{_LABEL})*")
_PATH = re.compile(r"(/[A-Za-z0-9._~-]+)*")
_API = re.compile(r"/API21(/HTTP)?/?\Z", re.IGNORECASE)
# No SOCKS: a proxy of that kind that fails breaks out of httpcore in an error of another library's,
# and httpcore logs its password.
_PROXIES = ("http", "https")


def is_loopback(host: str) -> bool:
    """Tell whether a host is this machine itself."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def check_site(site: object, *, allow_http: bool) -> tuple[str, list[str]]:
    """Give the site in its normal form, without a slash at its end, and what is wrong with it."""
    if not isinstance(site, str):
        return "", ["site: must be a text such as https://new.e8d.tw"]
    bare = site.rstrip("/")
    parts = _split(bare)
    if parts is None or parts.scheme not in ("https", "http"):
        return bare, ["site: must be https://host[:port][/prefix]"]
    # In one spelling: the token's key holds the site, and https:// asks for certificates.
    normal = f"{parts.scheme}://{parts.netloc.lower()}{parts.path}"
    host = parts.hostname or ""
    problems: list[str] = []
    if parts.username is not None or parts.query or parts.fragment or "?" in bare or "#" in bare:
        problems.append("site: must hold no user, query or fragment")
    if not _is_host(host):
        problems.append("site: has no valid host (write international names in punycode)")
    if _API.search(parts.path):
        problems.append("site: leave out /API21/HTTP, it is added to each call")
    elif not _PATH.fullmatch(parts.path):
        problems.append("site: its prefix holds characters that can't stand there")
    if parts.scheme == "http" and not (allow_http or is_loopback(host)):
        problems.append(
            "site: http:// to a public host would show the password to everybody on the way; use "
            "https://, or allow_http=True"
        )
    return normal, problems


def check_proxy(proxy: object) -> list[str]:
    """Tell what is wrong with a proxy's address, without quoting it: it may hold a password."""
    if proxy is None:
        return []
    parts = _split(proxy.removesuffix("/")) if isinstance(proxy, str) else None
    # A path is mostly a password with a slash in it.
    if parts is None or parts.scheme not in _PROXIES or parts.path + parts.query + parts.fragment:
        return [f"proxy: must be {', '.join(_PROXIES)}://[user:password@]host[:port]"]
    if not _is_host(parts.hostname or ""):
        return ["proxy: has no valid host (write international names in punycode)"]
    return []


def _split(address: str) -> SplitResult | None:
    if not address.isascii() or not address.isprintable() or " " in address:
        return None
    try:
        parts = urlsplit(address)
        port = parts.port  # checked only when asked for
    except ValueError:
        return None
    return None if port == 0 or parts.netloc.endswith(":") else parts


def _is_host(host: str) -> bool:
    if _HOST.fullmatch(host):
        return True
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
