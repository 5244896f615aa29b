"""Very many reports, many twice, some broken, a receiver that fails and dies: none is lost."""

import http.client
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from every8d_async import Every8DSession
from every8d_async.simulator import Simulator
from every8d_async.webhooks import new_token, parse_report
from tests.integrations.servers import free_port

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parents[2]


@pytest.fixture
def anyio_backend() -> str:
    """Both servers are asyncio's."""
    return "asyncio"


class Receiver(threading.Thread):
    """Starts a receiver again each time it was killed; the last one lives."""

    def __init__(self, arguments: list[str], lives: list[int]) -> None:
        super().__init__()
        self._arguments = arguments
        self._lives = lives
        self._process: subprocess.Popen[str] | None = None
        self._ending = threading.Event()
        self.deaths = 0
        self.log = ""

    def run(self) -> None:
        for life in [*self._lives, 0]:
            command = [sys.executable, "-m", "tests.examples.shaky_receiver", *self._arguments]
            self._process = subprocess.Popen(
                [*command, str(life)], cwd=ROOT, stderr=subprocess.PIPE, text=True
            )
            self.log += self._process.communicate()[1]
            if self._ending.is_set():
                return
            self.deaths += self._process.returncode == -signal.SIGKILL

    def end(self) -> None:
        """Let the last one end, by its own handle."""
        self._ending.set()
        assert self._process is not None
        self._process.terminate()
        self.join()


class Nonsense(threading.Thread):
    """Sends what is no report, as stubbornly as the gateway: again on anything but 200."""

    def __init__(self, port: int, path: str, count: int) -> None:
        super().__init__()
        self._port = port
        self._path = path
        self._count = count

    def run(self) -> None:
        for number in range(self._count):
            while self._status(f"BatchID={number}&STATUS=%ff&RM=") != 200:
                time.sleep(0.1)

    def _status(self, body: str) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
        with closing(connection):
            try:
                connection.request("POST", self._path, body)
                return connection.getresponse().status
            except (OSError, http.client.HTTPException):
                return 0


def stored(path: Path) -> tuple[list[str], int]:
    """Give the keys of all that was stored, and how many could not be read."""
    with closing(sqlite3.connect(path)) as connection:
        keys = [key for (key,) in connection.execute("SELECT key FROM reports")]
        ((unreadable,),) = connection.execute("SELECT count(*) FROM unreadable")
    return keys, unreadable


@pytest.mark.parametrize("kind", ["fastapi", "aiohttp"])
@pytest.mark.parametrize("count", [1_000, pytest.param(10_000, marks=pytest.mark.proof)])
async def test_each_is_stored_once(kind: str, count: int, tmp_path: Path) -> None:
    """20 % come twice, 5 % more are nonsense, 10 % fail at first; three times it is killed."""
    path, port, token = tmp_path / "reports.sqlite3", free_port(), new_token()
    simulator = Simulator(delivery_delay=timedelta(0))
    with simulator.serve() as site:
        receiver = Receiver(
            [kind, str(port), site, token, str(path)], [count // 4, count // 4, count // 4]
        )
        nonsense = Nonsense(port, f"/reports/{token}", count // 20)
        receiver.start()
        numbers = (f"09{number:08}" for number in range(count))
        async with (
            Every8DSession("demo", "demo", site=site) as session,
            session.sms.broadcast("世界 hello", numbers) as run,
        ):
            async for outcome in run:
                assert outcome.state == "accepted"
        begun = time.monotonic()
        simulator.push_to(
            f"http://127.0.0.1:{port}/reports/{token}",
            tries=200,
            pause=timedelta(seconds=0.2),
            repeat=0.2,
            connections=8,
        )
        nonsense.start()
        assert simulator.settle_pushes(600)
        nonsense.join()
        seconds = time.monotonic() - begun
        receiver.end()

    keys, unreadable = stored(path)
    pushes = simulator.pushes
    tries = [status for push in pushes for status in push.tries]
    assert all(push.is_accepted for push in pushes)
    assert len(keys) == len(set(keys)) == count
    assert set(keys) == {parse_report(push.query).key for push in pushes}
    assert unreadable == count // 20
    assert receiver.deaths == 3
    assert tries.count(500) >= count // 20
    assert tries.count(200) >= count * 1.1
    for secret in (token, "世界", "09000000", "+886900"):
        assert secret not in receiver.log
    sys.stdout.write(
        f"{kind}: {count} reports and {count // 20} of nonsense in {seconds:.1f} s; requests "
        f"{len(tries)}: {tries.count(200)} times 200, {tries.count(500)} times 500, "
        f"{tries.count(0)} without an answer, {receiver.deaths} kills; stored {len(keys)}\n"
    )
