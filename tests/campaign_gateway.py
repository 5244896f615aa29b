"""A gateway for proofs: the simulator on a socket, that can be late, and can kill who calls it."""

import asyncio
import os
import signal
import threading
import time
from collections.abc import Generator
from contextlib import closing, contextmanager, suppress
from random import Random
from typing import Any

from every8d_async.simulator import Account, CutReply, Reset, Simulator
from every8d_async.simulator import _server as server
from every8d_async.simulator._line import TRANSPORT

SENDS = ("SendParam.ashx", "SendSMS.ashx", "SendSMS4FilterMessage.ashx")
UID = PASSWORD = "proof"
FAULTS = (Reset(acts=True), CutReply(keep=9, clean=True), CutReply(), Reset())
_LATE = 0.2  # seconds after the connection was cut


class Trap:
    """Kills a process when its n-th send request has arrived, or has been acted on."""

    def __init__(self, pid: int, nth: int, phase: str, delay: float = 0.0) -> None:
        self._pid = pid
        self._left = nth
        self._phase = phase
        self._delay = delay
        self.sprung = False

    async def spring(self, phase: str) -> None:
        if phase == self._phase:
            self._left -= 1
            if self._left == 0:
                await asyncio.sleep(self._delay)
                self.sprung = True
                with suppress(ProcessLookupError):
                    os.kill(self._pid, signal.SIGKILL)


class ProofGateway:
    """
    The simulator behind a door that keeps some requests waiting after their caller is gone.

    A request that is late is cut off at once and acted on later, as happens where a proxy gives up
    and what is behind it does not. `rate` is the share of sends that go wrong, all faults together.
    """

    def __init__(self, rate: float, seed: int) -> None:
        self._random = Random(seed)
        self._lock = threading.Lock()
        self._late = rate / 4
        self.simulator = Simulator(
            accounts=[Account(uid=UID, password=PASSWORD, credit=10**9)], rng=self._random.random
        )
        # Of those that are not late; each fault is drawn where the ones before it did not strike.
        each = rate * 3 / 16 / (1 - self._late)
        for handler in ("SendParam", "SendSMS", "SendSMS4FilterMessage") if rate else ():
            for number, fault in enumerate(FAULTS):
                self.simulator.faults.add(handler, fault, rate=each / (1 - number * each))
        self.pending = 0
        self.sends = 0
        self.late = 0
        self.trap: Trap | None = None
        self.crowd = 0  # so many must be on their way at once before the first is let in

    @contextmanager
    def serve(self) -> Generator[str]:
        with closing(server.bind("127.0.0.1", 0)) as listener, server.serving(self, listener):
            yield server.url_of(listener)

    def wait_until_quiet(self) -> None:
        """Wait until nothing is on its way any more: the settling that `reconcile` asks for."""
        quiet = 0
        while quiet < 3:
            quiet = 0 if self.pending else quiet + 1
            time.sleep(0.01)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if not scope["path"].endswith(SENDS):
            await self.simulator(scope, receive, send)
            return
        self.pending += 1
        self.sends += 1
        try:
            await self._handle(scope, receive, send)
        finally:
            self.pending -= 1

    async def _handle(self, scope: Any, receive: Any, send: Any) -> None:
        body = await _body(receive)
        while self.pending < self.crowd:  # noqa: ASYNC110 - a gateway of our own, not a test
            await asyncio.sleep(0.005)
        self.crowd = 0
        trap = self.trap
        if trap is not None:
            await trap.spring("arrived")
        if self._random.random() < self._late:
            self.late += 1
            await self._act_late(scope, body)
            return

        async def told(message: Any) -> None:
            if trap is not None and message["type"] == "http.response.start":
                await trap.spring("acted")
            await send(message)

        await self.simulator(scope, _replay(body, receive), told)

    async def _act_late(self, scope: Any, body: bytes) -> None:
        scope.pop(TRANSPORT).abort()
        await asyncio.sleep(_LATE)
        # In memory faults come as exceptions; nobody is there to hear of them.
        with suppress(Exception):
            await self.simulator(scope, _replay(body, _gone), _gone)


async def _body(receive: Any) -> bytes:
    parts: list[bytes] = []
    while True:
        message = await receive()
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(parts)


async def _gone(*_: Any) -> Any:
    return {"type": "http.disconnect"}


def _replay(body: bytes, receive: Any) -> Any:
    first = [{"type": "http.request", "body": body, "more_body": False}]

    async def replayed() -> Any:
        return first.pop() if first else await receive()

    return replayed
