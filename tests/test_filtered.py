"""The filtered send's replies: five, seven, four and six fields, and what they may look like."""

from decimal import Decimal

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from every8d_async import FilteredReceipt, MalformedReply, OutcomeUnknown
from every8d_async._codecs import read_dry_run, read_filtered_receipt
from every8d_async._wire import BadReply, Refusal
from every8d_async.simulator import Account, Simulator
from tests import kit
from tests.kit import FIRST, SECOND, THIRD, golden

BATCH = "c496f706-9b0f-4ff8-9644-9503edbb7064"
OLD, OLDER = "a496f706-9b0f-4ff8-9644-9503edbb7064", "b496f706-9b0f-4ff8-9644-9503edbb7064"


def sent(
    *filtered: str, batches: tuple[str, ...] = (), count: int = 2, batch: str = BATCH
) -> FilteredReceipt:
    return FilteredReceipt(
        Decimal("998.00"), count, Decimal(count), 0, batch, filtered, batches
    )  # fmt: skip


def asked(*filtered: str, batches: tuple[str, ...] = ()) -> FilteredReceipt:
    return FilteredReceipt(None, 0, Decimal(0), 0, "", filtered, batches)


HEAD = f"998.00,2,2,0,{BATCH}"
BOTH = sent(FIRST, SECOND, batches=(OLD, OLDER))


@pytest.mark.parametrize(
    ("body", "receipt"),
    [
        (HEAD, sent()),
        (f"{HEAD},{FIRST}/{SECOND},{OLD}/{OLDER}", BOTH),
        (f"998.00, 2, 2, 0, {BATCH}, {FIRST}/{SECOND}, {OLD}/{OLDER}", BOTH),
        (f"{HEAD}\n,{FIRST}/{SECOND},{OLD}/{OLDER}", BOTH),
        (f"{HEAD} \r\n , {FIRST} / {SECOND} ,\t{OLD}/\r\n{OLDER}", BOTH),
        (f"{HEAD},{FIRST[:6]}\n{FIRST[6:]}/{SECOND},{OLD[:20]}\r\n{OLD[20:]}/{OLDER}", BOTH),
        (f"{HEAD},{FIRST}/{SECOND}/,{OLD}/{OLDER}/", BOTH),
        (f"{HEAD},0900000001/886900000002,{OLD}/{OLDER}", BOTH),
        (f"{HEAD},{FIRST},{OLD}", sent(FIRST, batches=(OLD,))),
        (f"{HEAD},+12025550123,{OLD}", sent("+12025550123", batches=(OLD,))),
        (f"{HEAD},123,{OLD}", sent("123", batches=(OLD,))),
        (f"{HEAD},{FIRST}/{SECOND},{OLD}", sent(FIRST, SECOND, batches=(OLD,))),
        (f"{HEAD},{FIRST},{OLD}/{OLDER}", sent(FIRST, batches=(OLD, OLDER))),
        (f"{HEAD},{FIRST}/{FIRST},{OLD}/{OLD}", sent(FIRST, FIRST, batches=(OLD, OLD))),
        (f"{HEAD},{FIRST},", sent(FIRST)),
        (f"{HEAD},,{OLD}", sent(batches=(OLD,))),
        (f"{HEAD},,", sent()),
        (
            f"998.00,0,0,0,,{FIRST}/{SECOND},{OLD}/{OLDER}",
            sent(FIRST, SECOND, batches=(OLD, OLDER), count=0, batch=""),
        ),
        (f"998.00,0,0,0, ,{FIRST},{OLD}", sent(FIRST, batches=(OLD,), count=0, batch="")),
        ("998.00,0,0,0,", sent(count=0, batch="")),
        (f"998.00,0,0,0,{BATCH}", sent(count=0)),
        (
            f"-5.00,1,1.0,3,{BATCH},{FIRST},{OLD}",
            FilteredReceipt(Decimal("-5.00"), 1, Decimal("1.0"), 3, BATCH, (FIRST,), (OLD,)),
        ),
    ],
    ids=[
        "five fields",
        "seven fields",
        "blanks after commas",
        "a line end before a comma",
        "white space between all",
        "white space inside all",
        "a slash at the end",
        "other spellings",
        "one",
        "abroad",
        "no number of ours",
        "fewer batches",
        "more batches",
        "one twice",
        "no batches",
        "no numbers",
        "empty lists",
        "all were filtered",
        "all were filtered, a blank",
        "nothing at all",
        "nothing sent, but a batch",
        "credit ran out",
    ],
)
def test_receipts(body: str, receipt: FilteredReceipt) -> None:
    """A receipt, then perhaps two lists with white space in them, which need not pair."""
    assert receipt == read_filtered_receipt(body.encode())


@pytest.mark.parametrize(
    ("body", "receipt"),
    [
        ("0,0,0,", asked()),
        ("0,0,0, ", asked()),
        ("0, 0, 0,", asked()),
        (f"0,0,0,,{FIRST}/{SECOND},{OLD}/{OLDER}", asked(FIRST, SECOND, batches=(OLD, OLDER))),
        (f"0,0,0,,{FIRST}/{SECOND},{OLD}/\r\n{OLDER}", asked(FIRST, SECOND, batches=(OLD, OLDER))),
        (f"0,0,0,,{FIRST}/{SECOND},{OLD}", asked(FIRST, SECOND, batches=(OLD,))),
        ("0,0,0,,,", asked()),
        (f"998.00,0,0,0,,{FIRST},{OLD}", sent(FIRST, batches=(OLD,), count=0, batch="")),
        ("998.00,0,0,0,", sent(count=0, batch="")),
        (HEAD, sent()),
    ],
    ids=[
        "four fields",
        "four fields, a blank",
        "blanks after commas",
        "six fields",
        "a line end in them",
        "lists that don't pair",
        "empty lists",
        "with credit",
        "with credit, nobody",
        "it was sent after all",
    ],
)
def test_dry_runs(body: str, receipt: FilteredReceipt) -> None:
    """The same without CREDIT; if the gateway sent after all, the receipt shows it."""
    assert receipt == read_dry_run(body.encode())


NEITHER = [
    "",
    "0",
    "0,0,0",
    "OK",
    f"998.00,2,2,0,{BATCH[:-1]}",
    f"998.00,2,2,0,{BATCH}0",
    "998.00,2,2,0,",
    "998.00,2,2,0",
    f"998.00,2,2,0,,{FIRST},{OLD}",
    f"{HEAD},",
    f"{HEAD},{FIRST}",
    f"{HEAD},{FIRST},{OLD},",
    f"{HEAD},{FIRST},{OLD},more",
    f"{HEAD},{FIRST}|{SECOND},{OLD}",
    f"{HEAD},{FIRST};{SECOND},{OLD}",
    f"{HEAD},name,{OLD}",
    f"{HEAD},{FIRST},batch",
    f"{HEAD}{FIRST},{OLD}",
    "2,2,0,",
    f"x,0,0,0,{BATCH}",
    f"998.00,-1,0,0,{BATCH}",
    f"998.00,1.5,0,0,{BATCH}",
    f"{'9' * 16},0,0,0,{BATCH}",
    f"９98.00,0,0,0,{BATCH}",
    "<html></html>",
]


@pytest.mark.parametrize("body", NEITHER)
def test_neither_receipt_nor_refusal(body: str) -> None:
    """Something sent needs its whole batch id; a list holds nothing but its own kind."""
    for read in (read_filtered_receipt, read_dry_run):
        with pytest.raises(BadReply):
            read(body.encode())


@pytest.mark.parametrize("read", [read_filtered_receipt, read_dry_run])
@pytest.mark.parametrize(
    ("body", "refusal"),
    [
        ("-99,發生不明錯誤", Refusal(-99, "發生不明錯誤")),
        ("-27, 電話號碼不得為空", Refusal(-27, "電話號碼不得為空")),
        ("-306,手機格式不符:+1,+2", Refusal(-306, "手機格式不符:+1,+2")),
    ],
)
def test_refusals(read: type, body: str, refusal: Refusal) -> None:
    """`Status,Msg` is a refusal here as everywhere."""
    assert refusal == read(body.encode())


def test_four_fields_are_no_receipt_of_a_send() -> None:
    """What a dry run gives does not answer a real send: nobody knows what was done."""
    for body in ("0,0,0,", f"0,0,0,,{FIRST},{OLD}"):
        with pytest.raises(OutcomeUnknown) as caught:
            kit.settle("sms.send_filtered", body.encode())
        assert caught.value.recipients == 2


@pytest.mark.parametrize("body", [b"?", golden("firewall.html")], ids=["word", "HTML"])
def test_a_bad_reply_to_a_dry_run_is_no_doubt(body: bytes) -> None:
    """A dry run sends nothing, so a bad reply leaves nothing unknown."""
    with pytest.raises(MalformedReply) as caught:
        kit.settle("sms.send_filtered, dry run", body)
    assert caught.value.sent is False


@pytest.mark.parametrize("name", ["sms.send_filtered", "sms.send_filtered, dry run"])
@pytest.mark.parametrize("file", ["filtered-none.txt", "filtered-some.txt"])
def test_lists_that_a_cut_would_hide(name: str, file: str) -> None:
    """A receipt without its lists looks whole: its length must have been announced."""
    with pytest.raises((OutcomeUnknown, MalformedReply)) as caught:
        kit.settle(name, golden(file), delimited=False)
    assert "may have been cut" in str(caught.value)


@pytest.mark.parametrize(
    ("receipt", "partial", "nothing"),
    [
        (sent(), False, False),
        (sent(FIRST, count=0, batch=""), False, True),
        (asked(FIRST), False, True),
        (FilteredReceipt(Decimal(0), 1, Decimal(1), 2, BATCH), True, False),
        (FilteredReceipt(Decimal(0), 0, Decimal(0), 2, BATCH), True, True),
    ],
    ids=["sent", "all filtered", "dry run", "credit ran out", "no credit"],
)
def test_what_a_receipt_tells(
    receipt: FilteredReceipt, *, partial: bool, nothing: bool
) -> None:  # fmt: skip
    """Nothing sent, and some unsent for want of credit, can be seen without arithmetic."""
    assert (partial, nothing) == (receipt.is_partial, receipt.nothing_sent)


def test_no_number_is_shown() -> None:
    """A receipt's repr masks who was filtered."""
    assert "+8869…001" in repr(BOTH)
    assert FIRST not in repr(BOTH)


WHITE = st.text(st.sampled_from(" \t\r\n"), max_size=2)


@given(st.data(), st.lists(st.sampled_from([FIRST, SECOND, THIRD]), max_size=4),
       st.lists(st.uuids().map(str), max_size=4))  # fmt: skip
@settings(deadline=None)
def test_any_lists_with_any_white_space(
    data: st.DataObject, numbers: list[str], batches: list[str]
) -> None:
    """Wherever the lists are broken, numbers and batch ids come back whole and in order."""

    def spread(values: list[str]) -> str:
        return "".join(char + data.draw(WHITE) for char in "/".join(values))

    body = f"{HEAD}{data.draw(WHITE)},{spread(numbers)},{spread(batches)}"
    assert sent(*numbers, batches=tuple(batches)) == read_filtered_receipt(body.encode())


@pytest.mark.anyio
async def test_filtering_from_end_to_end() -> None:
    """A dry run, a send, a repeat and a mixed one: what each tells, and what the phones got."""
    simulator = Simulator(accounts=[Account(uid="Test", password="XXX", credit=1000)])
    async with kit.session(httpx.ASGITransport(app=simulator)) as session:
        before = await session.sms.send_filtered("hello", [FIRST, SECOND], dry_run=True)
        assert asked() == before
        assert [one.text for one in simulator.sent] == []

        first = await session.sms.send_filtered("hello", [FIRST, SECOND])
        assert (Decimal(998), 2, ()) == (first.credit, first.sent, first.filtered)

        again = await session.sms.send_filtered("hello", ["0900000001"])
        assert again.nothing_sent
        assert (again.batch_id, again.filtered) == ("", (FIRST,))
        assert (first.batch_id,) == again.filtered_batch_ids

        would = await session.sms.send_filtered("hello", [SECOND, THIRD], dry_run=True)
        assert asked(SECOND, batches=(first.batch_id,)) == would

        mixed = await session.sms.send_filtered("hello", [SECOND, THIRD])
        assert (mixed.sent, mixed.filtered) == (1, (SECOND,))
        assert mixed.batch_id not in {"", first.batch_id}

        other = await session.sms.send_filtered("another text", [FIRST])
        assert (other.sent, other.filtered) == (1, ())
    assert [message.mobile for message in simulator.sent] == [FIRST, SECOND, THIRD, FIRST]
