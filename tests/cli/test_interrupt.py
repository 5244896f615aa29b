"""Ctrl-C: what asks ends at the first, what sends is cut by the second."""

import os
import signal

import anyio
import anyio.lowlevel
import pytest

from every8d_async._cli._interrupt import Interrupt


async def heard(interrupt: Interrupt, times: int) -> None:
    """Let signals come, and the loop hear of them."""
    for _ in range(times):
        os.kill(os.getpid(), signal.SIGINT)
    with anyio.fail_after(60):
        while not interrupt.asked:
            await anyio.lowlevel.checkpoint()
        for _ in range(10):
            await anyio.lowlevel.checkpoint()


@pytest.mark.parametrize(("signals", "stopped", "cut"), [(0, False, False), (1, True, False)])
def test_the_first_stops(signals: int, stopped: bool, cut: bool) -> None:
    """Who listened before gets SIGINT back afterwards."""
    said: list[str] = []

    async def main() -> tuple[bool, bool]:
        interrupt = Interrupt(lambda: said.append("stopping"))
        with interrupt.listening(), interrupt.cuts() as cuts, interrupt.stops() as stops:
            if signals:
                await heard(interrupt, signals)
            return stops.cancel_called, cuts.cancel_called
        return stops.cancel_called, cuts.cancel_called

    before = signal.getsignal(signal.SIGINT)
    assert anyio.run(main) == (stopped, cut)
    assert said == ["stopping"] * signals
    assert signal.getsignal(signal.SIGINT) is before


def test_the_second_cuts() -> None:
    """Two signals cut, and are announced once; what begins afterwards is cut at once."""
    said: list[str] = []

    async def main() -> list[str]:
        interrupt = Interrupt(lambda: said.append("stopping"))
        ended: list[str] = []
        with interrupt.listening():
            with interrupt.cuts():
                await heard(interrupt, 2)
                await anyio.sleep_forever()
            ended.append("cut")
            with interrupt.stops():
                await anyio.sleep_forever()
            ended.append("stopped")
        return ended

    assert anyio.run(main) == ["cut", "stopped"]
    assert said == ["stopping"]


def test_nobody_needs_to_be_told() -> None:
    """What ends at once has nothing to announce."""

    async def main() -> bool:
        interrupt = Interrupt()
        with interrupt.listening(), interrupt.stops():
            await heard(interrupt, 1)
            return False
        return interrupt.asked

    assert anyio.run(main)
