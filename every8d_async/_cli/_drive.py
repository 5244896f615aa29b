"""What a bulk send and a campaign's run have in common: asked for, driven to the end, judged."""

import sys
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Protocol

import typer

from every8d_async import BulkSummary, Every8DError, Every8DSession, FilteredReceipt, Receipt
from every8d_async._bulk import State
from every8d_async._cli._exits import Exit, Failure, code_of
from every8d_async._cli._gateway import Gateway
from every8d_async._cli._interrupt import Interrupt
from every8d_async._cli._output import Output, points, several


class Ended(Protocol):
    """A batch's outcome, of a bulk run or of a campaign's."""

    @property
    def state(self) -> State:
        """Tell how it ended."""
        ...

    @property
    def receipt(self) -> Receipt | FilteredReceipt | None:
        """Give the gateway's answer."""
        ...

    @property
    def error(self) -> Every8DError | None:
        """Give what went wrong."""
        ...


async def drive(run: Any, interrupt: Interrupt, take: Callable[[Any], None]) -> None:
    """
    Go through a `BulkRun` or `CampaignRun`: the first Ctrl-C begins no more, the second cuts.

    Every outcome is taken, also of what was waited for and of what was cut.
    """
    with interrupt.cuts():
        async with run:
            with interrupt.stops():
                async for outcome in run:
                    take(outcome)
    async for outcome in run:
        take(outcome)


_ENDS = {"refused": Exit.REFUSED, "not_sent": Exit.LATER, "unknown": Exit.UNKNOWN}


def exit_of(outcome: Ended) -> Exit:
    """Give the exit code that one batch asks for."""
    if outcome.state == "accepted":
        short = outcome.receipt is not None and outcome.receipt.unsent
        return Exit.CREDIT if short else Exit.DONE
    if outcome.state == "not_sent" and outcome.error is not None:
        return code_of(outcome.error)
    return _ENDS[outcome.state]


def confirm(out: Output, way: Gateway, count: int, cost: Decimal, *, yes: bool) -> None:
    """
    Ask before a bulk send, with what it will cost.

    Raises:
        Failure: The answer is no, or there is nobody to ask; nothing was sent.
    """
    if yes:
        return
    bill = f"{several(count)} for about {points(cost)}"
    if not sys.stdin.isatty():
        raise Failure(
            Exit.MEND,
            f"this would send {bill}, and nobody can be asked here: add --yes. Nothing was sent.",
        )
    _ask(out, way.ask(Every8DSession.credit), cost, bill)


def _ask(out: Output, credit: Decimal, cost: Decimal, bill: str) -> None:
    short = " That is not enough for all." if credit < cost else ""
    out.note(f"Credit: {points(credit)}.{short}")
    if not typer.confirm(f"Send {bill}?", err=True):
        raise Failure(Exit.INTERRUPTED, "you said no; nothing was sent.")


def told(summary: BulkSummary) -> str:
    """Sum a run up in words."""
    parts = [f"{summary.accepted:,} accepted"]
    for count, words in (
        (summary.refused, "refused"),
        (summary.not_sent, "not sent"),
        (summary.unknown, "UNKNOWN"),
        (summary.not_attempted, "not attempted"),
        (summary.unsent, "of the accepted got nothing for want of credit"),
        (summary.filtered, "of the accepted were left out, since they had the text"),
    ):
        if count:
            parts.append(f"{count:,} {words}")
    return f"{', '.join(parts)}; {points(summary.cost)}"


def progress_of(summary: BulkSummary) -> int:
    """Count the recipients who have their outcome."""
    return summary.accepted + summary.refused + summary.not_sent + summary.unknown
