"""Answer a request: the core finds the reply, and a fault may befall the connection."""

from __future__ import annotations

from typing import TYPE_CHECKING

from every8d_async.simulator.faults import CutReply, Delay, Fault, Hang, Reset

if TYPE_CHECKING:
    from every8d_async.simulator._arrival import Arrival
    from every8d_async.simulator._call import Reply
    from every8d_async.simulator._core import Core
    from every8d_async.simulator._line import Line


async def respond(core: Core, line: Line, arrival: Arrival) -> None:
    """Answer one request, or fail to."""
    exchange = core.admit(arrival)
    if isinstance(exchange.fault, Delay):
        await line.wait(exchange.fault.by.total_seconds())
    await _play(line, exchange.fault, core.answer(exchange))


async def _play(line: Line, fault: Fault | None, reply: Reply) -> None:
    match fault:
        case Reset():
            await line.reset()
        case Hang():
            await line.silence()
        case CutReply(clean=False):
            await line.cut(reply, fault.keep)
        case _:
            await line.reply(reply)
