"""`python -m every8d_async.simulator --port 8021`: the stand-in for the gateway as a server."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from datetime import timedelta
from typing import TYPE_CHECKING

from every8d_async.simulator import Account, Simulator

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_STEP = 0.5  # seconds


_NAME = "python -m every8d_async.simulator"


def main(argv: Sequence[str] | None = None, *, prog: str = _NAME) -> int:
    """Serve until Ctrl-C or SIGTERM; give the exit status."""
    options = _parser(prog).parse_args(argv)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda _number, _frame: stop.set())
    try:
        simulator = _simulator(options)
        with simulator.serve(
            port=options.port, host=options.host, allow_remote=options.allow_remote
        ) as url:
            sys.stdout.write(f"every8d simulator at {url} (uid {options.uid!r}; Ctrl-C ends it)\n")
            sys.stdout.flush()
            wait_in_steps(stop.wait)
    except (ImportError, OSError, ValueError) as error:
        sys.stderr.write(f"can't serve on {options.host}:{options.port}: {error}\n")
        return 1
    return 0


def wait_in_steps(wait: Callable[[float], bool]) -> None:
    """Wait for a signal; without a timeout Windows would not let Ctrl-C through."""
    while not wait(_STEP):
        pass


def _simulator(options: argparse.Namespace) -> Simulator:
    account = Account(
        uid=options.uid,
        password=options.password,
        credit=options.credit,
        international=options.international,
    )
    simulator = Simulator(
        accounts=(account,),
        delivery_delay=timedelta(seconds=options.delivery_delay),
        token_lifetime=timedelta(seconds=options.token_lifetime),
        one_token_per_account=options.one_token_per_account,
        reply_page_size=options.reply_page_size,
        prefix=options.prefix,
        control=options.control,
    )
    if options.push_url is not None:
        simulator.push_to(
            options.push_url,
            method=options.push_method,
            encoding=options.push_encoding,
            tries=options.push_tries,
            allow_remote=options.push_allow_remote,
        )
    return simulator


def _parser(prog: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=prog,
        description="A stand-in for the EVERY8D gateway: nothing is sent, nothing is charged.",
    )
    add = parser.add_argument
    add("--host", default="127.0.0.1", help="a loopback address (default: %(default)s)")
    add("--port", type=int, default=8021, help="0 for a free one (default: %(default)s)")
    add("--allow-remote", action="store_true", help="permit a host that others can reach")
    add("--prefix", default="", help="a path before /API21/HTTP/")
    add("--uid", default="demo", help="who may log in (default: %(default)s)")
    add("--password", default="demo", help="with which password (default: %(default)s)")
    add("--credit", default="10000", help="points to start with (default: %(default)s)")
    add("--international", action="store_true", help="permit foreign numbers")
    add("--delivery-delay", type=float, default=5.0, help="seconds until a status is final")
    add("--token-lifetime", type=float, default=28800.0, help="seconds (default: 8 hours)")
    add("--one-token-per-account", action="store_true", help="a login ends older tokens")
    add(
        "--reply-page-size", type=int, default=1000, help="replies on a page (default: %(default)s)"
    )
    add("--control", action="store_true", help="serve /__control__/ too, for other languages")
    add("--push-url", help="where reports and replies are pushed (§6)")
    add("--push-method", default="GET", choices=["GET", "POST"], help="(default: %(default)s)")
    add("--push-encoding", default="utf-8", choices=["utf-8", "big5"], help="(default: utf-8)")
    add("--push-tries", type=int, default=3, help="in all, on anything but 200 (default: 3)")
    add("--push-allow-remote", action="store_true", help="permit a URL that is not on loopback")
    return parser


if __name__ == "__main__":
    sys.exit(main())
