"""Child processes, terminals of 80 columns, and files of people, for the tests of the command."""

import contextlib
import csv
import os
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from typer.testing import CliRunner, Result

from every8d_async._cli import app

PATIENCE = 60.0  # seconds, for what should take one

_STEERING = re.compile(r"\x1b(?:\[[0-9;?]*[ -/]*[@-~]|\][^\x07]*\x07|[@-Z\\-_])")


def invoke(*words: str, stdin: str = "") -> Result:
    """Run a command in this process."""
    return CliRunner().invoke(app, list(words), input=stdin)


def command(*words: str) -> list[str]:
    return [sys.executable, "-W", "error", "-m", "every8d_async", *words]


def run(*words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """Run a command in a child process, on pipes."""
    return subprocess.run(
        command(*words),
        input=stdin,
        capture_output=True,
        encoding="utf-8",
        check=False,
        timeout=PATIENCE,
    )


def shell(line: str, stdout: int = subprocess.PIPE) -> subprocess.CompletedProcess[str]:
    """Run a line in a shell, as where it closes or redirects what a command writes to."""
    return subprocess.run(
        ["sh", "-c", line],
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        check=False,
        timeout=PATIENCE,
    )


def start(*words: str) -> subprocess.Popen[str]:
    """Start a command in a child process, on pipes."""
    return subprocess.Popen(
        command(*words),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )


def wait_for(what: Callable[[], bool]) -> None:
    """Wait until something is so."""
    until = time.monotonic() + PATIENCE
    while not what():
        assert time.monotonic() < until, "it did not come"
        time.sleep(0.01)


class Terminal:
    """A command on a terminal of 80 columns; all that it writes is kept."""

    def __init__(self, *words: str) -> None:
        import fcntl  # noqa: PLC0415 - there are no terminals of this kind on Windows
        import struct  # noqa: PLC0415
        import termios  # noqa: PLC0415

        self._own, theirs = os.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        environment = {
            name: value
            for name, value in os.environ.items()
            if name not in {"COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "PYTEST_VERSION"}
        }
        self._process = subprocess.Popen(
            command(*words),
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env=environment | {"TERM": "xterm-256color"},
            start_new_session=True,
        )
        os.close(theirs)
        self.raw = b""

    @property
    def text(self) -> str:
        """Give what was written, without what steers the terminal."""
        return _STEERING.sub("", self.raw.decode("utf-8", "replace")).replace("\r\n", "\n")

    @property
    def lines(self) -> list[str]:
        """Give the lines as they were written, those of a bar over and over again."""
        return re.split(r"[\r\n]+", self.text)

    def expect(self, words: str) -> None:
        """Read on until something was written."""
        until = time.monotonic() + PATIENCE
        while words not in self.text:
            assert time.monotonic() < until, self.text
            assert self._read() or words in self.text, self.text

    def type(self, keys: str) -> None:
        """Type something."""
        os.write(self._own, keys.encode())

    def interrupt(self) -> None:
        """Press Ctrl-C; in a session of its own the child has no terminal to tell it."""
        self._process.send_signal(signal.SIGINT)

    def refuse(self) -> None:
        """
        Press Ctrl-C at a question, until it is heard.

        A signal that comes just before `input` begins to wait is seen after the next one only.
        """
        while self._process.poll() is None:
            self.interrupt()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(5)

    def end(self) -> int:
        """Read to the end; give the exit code."""
        while self._read():
            pass
        os.close(self._own)
        return self._process.wait(PATIENCE)

    def _read(self) -> bool:
        ready, _, _ = select.select([self._own], [], [], PATIENCE)
        assert ready, self.text
        data = b""
        with contextlib.suppress(OSError):  # the end of a terminal, on Linux
            data = os.read(self._own, 65536)
        self.raw += data
        return bool(data)


def mobile(number: int) -> str:
    return f"09{number:08d}"


def people(path: Path, count: int, *, first: int = 0) -> Path:
    """Write a file of people, each with a text of their own."""
    rows = ((mobile(n), f"您的訂單 {n} 已出貨", f"order-{n}") for n in range(first, first + count))
    return table(path, ("mobile", "text", "reference"), rows)


def table(path: Path, header: Sequence[str], rows: Iterable[Sequence[str]]) -> Path:
    """Write a CSV file."""
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def read_table(path: Path) -> list[dict[str, str]]:
    """Read a CSV file."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))
