"""The send that filters repeats of 24 hours."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from .kit import DEMO, ask, batch, cancel, make, sms

if TYPE_CHECKING:
    from every8d_async.simulator import Simulator


def filtered(simulator: Simulator, dest: str, **fields: str) -> str:
    """Send through the filter as the demo account."""
    fields = {**DEMO, "MSG": "hello", "DEST": dest, **fields}
    return ask(simulator, "SendSMS4FilterMessage.ashx", fields).text


def test_nothing_filtered(simulator: Simulator) -> None:
    """Five fields where nothing was filtered."""
    text = filtered(simulator, "0911111111,0922222222")

    assert text == "9998.00,2,2,0,00000000-0000-4000-8000-000000000001"


def test_some_filtered(simulator: Simulator) -> None:
    """Seven fields where some were: their numbers, and the batches in which they got the text."""
    filtered(simulator, "0911111111")
    filtered(simulator, "0922222222")

    assert filtered(simulator, "0911111111,0933333333,0922222222") == (
        "9997.00,1,1,0,00000000-0000-4000-8000-000000000003,"
        "+886911111111/+886922222222,"
        "00000000-0000-4000-8000-000000000001/00000000-0000-4000-8000-000000000002"
    )


def test_all_filtered(simulator: Simulator) -> None:
    """Where all were filtered there is no batch, and its id is empty."""
    filtered(simulator, "0911111111")

    assert filtered(simulator, "+886911111111") == (
        "9999.00,0,0,0,,+886911111111,00000000-0000-4000-8000-000000000001"
    )
    assert len(simulator.batches) == 1


def test_repeat_within_a_request(simulator: Simulator) -> None:
    """A number given twice is a repeat of itself, in the batch that is just made."""
    assert filtered(simulator, "0911111111,+886911111111") == (
        f"9999.00,1,1,0,{batch(1)},+886911111111,{batch(1)}"
    )


@pytest.mark.parametrize("no", ["false", "False", "0"])
def test_dry_run(simulator: Simulator, no: str) -> None:
    """A dry run sends nothing; it has three zeros, and what would be filtered."""
    assert filtered(simulator, "0911111111,0911111111", IsSend=no) == "0,0,0,"
    filtered(simulator, "0911111111,0922222222")

    assert filtered(simulator, "0933333333,0922222222,0911111111", IsSend=no) == (
        "0,0,0,,+886922222222/+886911111111,"
        "00000000-0000-4000-8000-000000000001/00000000-0000-4000-8000-000000000001"
    )
    assert len(simulator.sent) == 2


@pytest.mark.parametrize("yes", ["true", "True", "1", ""])
def test_no_dry_run(simulator: Simulator, yes: str) -> None:
    """Anything but a clear no sends."""
    assert filtered(simulator, "0911111111", IsSend=yes).startswith("9999.00,1,1,0,")


def test_another_text_is_no_repeat(simulator: Simulator) -> None:
    """Only the same text is a repeat."""
    filtered(simulator, "0911111111")

    assert filtered(simulator, "0911111111", MSG="hello!") == f"9998.00,1,1,0,{batch(2)}"


def test_memory_of_24_hours(simulator: Simulator) -> None:
    """After 24 hours a repeat is none any more."""
    filtered(simulator, "0911111111")
    simulator.advance(timedelta(hours=24) - timedelta(microseconds=1))
    assert filtered(simulator, "0911111111").startswith("9999.00,0,0,0,,")

    simulator.advance(timedelta(microseconds=1))

    assert filtered(simulator, "0911111111") == f"9998.00,1,1,0,{batch(2)}"


def test_cancelled_is_forgotten(simulator: Simulator) -> None:
    """A booking that was cancelled did not reach anybody: the text can go again."""
    filtered(simulator, "0911111111,0922222222", ST="20260103000000")
    cancel(simulator, batch(1))

    assert filtered(simulator, "0911111111") == f"9999.00,1,1,0,{batch(2)}"
    assert filtered(simulator, "0911111111") == f"9999.00,0,0,0,,+886911111111,{batch(2)}"


def test_cancelled_leaves_later_ones(simulator: Simulator) -> None:
    """Cancelling forgets the batch's own messages, not those of a later batch."""
    sms(simulator, "0911111111", ST="20260103000000")
    sms(simulator, "0911111111")
    cancel(simulator, batch(1))

    assert filtered(simulator, "0911111111") == f"9999.00,0,0,0,,+886911111111,{batch(2)}"


def test_plain_sends_are_known(simulator: Simulator) -> None:
    """Where nothing else is set, the filter knows of plain sends too."""
    sms(simulator, "0911111111")

    assert filtered(simulator, "0911111111", IsSend="false") == (f"0,0,0,,+886911111111,{batch(1)}")


def test_plain_sends_are_not_known() -> None:
    """By setting, the filter knows only of what went through it."""
    simulator = make(filter_sees_plain_sends=False)
    sms(simulator, "0911111111")

    assert filtered(simulator, "0911111111") == f"9998.00,1,1,0,{batch(2)}"
    assert filtered(simulator, "0911111111") == f"9998.00,0,0,0,,+886911111111,{batch(2)}"


def test_unsent_is_not_known() -> None:
    """Whoever got nothing for want of credit is no repeat."""
    simulator = make()
    simulator.fail("0911111111", 103)
    filtered(simulator, ",".join(f"09{n:08}" for n in range(10_000)))
    assert filtered(simulator, "0999999999") == f"0.00,0,0,1,{batch(2)}"

    assert filtered(simulator, "0999999999", IsSend="false") == "0,0,0,"


def test_refused(simulator: Simulator) -> None:
    """The filtered send refuses what the plain one does."""
    assert filtered(simulator, "12") == "-306,手機格式不符:12"
