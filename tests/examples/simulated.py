"""The simulator behind an example: a gateway that pushes its reports to it."""

import argparse
import logging
import signal
from collections.abc import Generator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from attrs import field, frozen

from every8d_async import Every8DSession, Timeout
from every8d_async.simulator import Simulator
from every8d_async.webhooks import HideReports, new_token


@frozen
class Settings:
    """What an application needs to know."""

    site: str
    uid: str
    password: str = field(repr=False)
    report_token: str = field(repr=False)
    database: str | Path

    def session(self) -> Every8DSession:
        """Make a session whose calls answer, whatever happens, before a browser gives up."""
        return Every8DSession(
            self.uid, self.password, site=self.site, timeout=Timeout(total=8, connect=2, read=6)
        )


@contextmanager
def simulated(program: str) -> Generator[tuple[Settings, int]]:
    """Read the command line, start a simulator, and give an application's settings and port."""
    parser = argparse.ArgumentParser(prog=f"python -m tests.examples.{program}")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--token", default=new_token(), help="of the path of push reports")
    given = parser.parse_args()
    port: int = given.port
    token: str = given.token
    # Servers send themselves the signal that ended them again: the folder must go all the same.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    logging.basicConfig(level=logging.INFO, format="%(name)s: %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    HideReports().install()
    simulator = Simulator(delivery_delay=timedelta(seconds=1))
    simulator.push_to(f"http://127.0.0.1:{port}/reports/{token}", tries=10)
    with TemporaryDirectory() as folder, simulator.serve() as site:
        yield Settings(site, "demo", "demo", token, Path(folder) / "reports.sqlite3"), port
