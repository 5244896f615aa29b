"""
A stand-in for the EVERY8D gateway, for tests and for trying things out.

It shares no code with the client of this package, so that each of them bears witness of the other.
"""

from every8d_async.simulator._simulator import Simulator
from every8d_async.simulator._values import (
    Account,
    Batch,
    Dialect,
    Push,
    ReceivedRequest,
    Refusal,
    Report,
    SentMessage,
)
from every8d_async.simulator.faults import (
    CutReply,
    DeadToken,
    Delay,
    Fault,
    Faults,
    FirewallPage,
    Garbage,
    Hang,
    HttpStatus,
    Refuse,
    Reset,
)

__all__ = [
    "Account",
    "Batch",
    "CutReply",
    "DeadToken",
    "Delay",
    "Dialect",
    "Fault",
    "Faults",
    "FirewallPage",
    "Garbage",
    "Hang",
    "HttpStatus",
    "Push",
    "ReceivedRequest",
    "Refusal",
    "Refuse",
    "Report",
    "Reset",
    "SentMessage",
    "Simulator",
]
