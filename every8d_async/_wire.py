"""What crosses the border between the pure layers and the one that does IO."""

from collections.abc import Mapping
from enum import Enum, auto

from attrs import field, frozen, mutable


@frozen
class WireRequest:
    """
    One HTTP request, ready to go.

    `once` marks a request that must never leave twice on doubt: a send or a cancel.
    """

    path: str
    content_type: str
    body: bytes = field(repr=False)
    once: bool
    reply_limit: int
    token: str | None = field(default=None, repr=False)


@frozen
class WireReply:
    """
    A whole HTTP reply.

    Attributes:
        status: The HTTP status.
        headers: By lower-case name.
        body: The bytes, or none where there is a `fault`.
        delimited: Whether it was told where the body ends; one that ends with its connection may
            have been cut without a trace.
        fault: Why the body was not read, else empty.
    """

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    delimited: bool = True
    fault: str = ""


# The phases of an exchange, as errors name them.
SLOT, CONNECT, SEND, READ, HELD = "slot", "connect", "send", "read", "held"


@frozen
class WireFailure:
    """
    No whole reply came.

    Attributes:
        left: Whether the request's body had begun to leave us: only an untouched body proves
            that the gateway can't have acted.
        phase: ``slot``, ``connect``, ``send``, ``read``, or ``held`` back by an earlier 429.
        cause: The class name of what happened, or ``deadline``.
        wait: Seconds that an earlier 429 still asks for.
    """

    left: bool
    phase: str
    cause: str
    wait: float | None = None


@mutable
class Progress:
    """
    How far one exchange has come, readable after it was cancelled.

    `left` is the witness: the body stream sets it when it is first read. Headers go out before
    the body, so while it is False no complete request has left, whatever exception came.
    """

    left: bool = False
    answered: bool = False


@frozen
class Refusal:
    """A gateway's «no», as read from a reply."""

    code: int
    message: str


class Verdict(Enum):
    """What is known of a token under which a call was refused."""

    ALIVE = auto()  # the gateway honours it: the refusal was meant
    DEAD = auto()  # proved by a control: the refused call was not acted on
    UNPROVEN = auto()  # the question itself got no answer that can be trusted


class BadReply(Exception):
    """A reply that breaks the grammar, with every problem found."""

    def __init__(self, *problems: str) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems
