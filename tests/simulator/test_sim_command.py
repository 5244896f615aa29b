"""The command: `python -m every8d_async.simulator`."""

from __future__ import annotations

import signal
import subprocess
import sys
from typing import IO
from urllib.parse import urlsplit

import httpx
import pytest

from every8d_async.simulator.__main__ import wait_in_steps

from .kit import make

CREDIT = "/API21/HTTP/GetCredit.ashx"
PATIENCE = 30  # seconds, for what should take none


def run(*arguments: str) -> subprocess.Popen[str]:
    """Start the command."""
    command = [sys.executable, "-W", "error", "-m", "every8d_async.simulator", *arguments]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, encoding="utf-8"
    )


def first_line(stream: IO[str] | None) -> str:
    """What is printed first."""
    assert stream is not None
    return stream.readline()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_command(number: signal.Signals) -> None:
    """The command prints one line with its URL, serves, and ends with 0 on a signal."""
    options = ["--uid", "me", "--password", "secret", "--credit", "7.5", "--control"]
    with run("--port", "0", *options) as process:
        line = first_line(process.stdout)
        url = next(word for word in line.split() if word.startswith("http://"))
        credit = httpx.get(url + CREDIT, params={"UID": "me", "PWD": "secret"}).text
        state = httpx.get(url + "/__control__/state").json()
        process.send_signal(number)
        out, err = process.communicate(timeout=PATIENCE)

    assert "secret" not in line
    assert credit == "7.50"
    assert state["credit"] == {"me": "7.5"}
    assert (process.returncode, out, err) == (0, "", "")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--host", "0.0.0.0"], "not a loopback address"),
        (["--credit", "much"], "points must be a finite number"),
        (["--port", "70000"], "port must be 0 to 65535"),
    ],
)
def test_command_refuses(arguments: list[str], message: str) -> None:
    """What can't be served is one sentence, and an exit status that is not 0."""
    with run(*arguments) as process:
        out, err = process.communicate(timeout=PATIENCE)

    assert (process.returncode, out) == (1, "")
    assert message in err
    assert len(err.splitlines()) == 1


def test_the_command_waits_in_steps() -> None:
    """The command waits on until there is a signal."""
    answers = iter([False, False, True])
    steps: list[float] = []

    def wait(seconds: float) -> bool:
        steps.append(seconds)
        return next(answers)

    wait_in_steps(wait)

    assert steps == [0.5, 0.5, 0.5]


def test_command_on_a_port_in_use() -> None:
    """So is a port in use."""
    with make().serve() as site, run("--port", str(urlsplit(site).port)) as process:
        out, err = process.communicate(timeout=PATIENCE)

    assert (process.returncode, out) == (1, "")
    assert "in use" in err
    assert len(err.splitlines()) == 1
