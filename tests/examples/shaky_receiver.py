"""An example's receiver with bad luck, for tests: it fails, and is killed before it answers."""

import os
import signal
import sys

import uvicorn
from aiohttp import web

from every8d_async.webhooks import PushedReply, PushedReport
from tests.examples import aiohttp_app, fastapi_app
from tests.examples.report_store import ReportStore
from tests.examples.simulated import Settings


class ShakyStore(ReportStore):
    """Fails at each tenth report the first time, and dies after it has stored so many."""

    def __init__(self, path: str, life: int) -> None:
        super().__init__(path)
        self._life = life
        self._failed: set[str] = set()

    async def add(self, report: PushedReport | PushedReply) -> None:
        """Store a report, if fate allows."""
        if int(report.key, 16) % 10 == 0 and report.key not in self._failed:
            self._failed.add(report.key)
            raise OSError("the disk is full")
        await super().add(report)
        self._life -= 1
        if not self._life:
            os.kill(os.getpid(), signal.SIGKILL)  # stored, and not answered


def main(kind: str, port: str, site: str, token: str, path: str, life: str) -> None:
    """Serve until killed."""
    settings = Settings(site, "demo", "demo", token, path)
    store = ShakyStore(path, int(life))
    if kind == "fastapi":
        app = fastapi_app.make_app(settings, store)
        uvicorn.run(app, host="127.0.0.1", port=int(port), log_level="warning")
    else:
        web.run_app(
            aiohttp_app.make_app(settings, store),
            host="127.0.0.1",
            port=int(port),
            print=None,
        )


if __name__ == "__main__":
    main(*sys.argv[1:])
