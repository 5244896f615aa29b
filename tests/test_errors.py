"""The error tree: what each one says, that it travels whole, and that it shows no number."""

import copy
import pickle
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from every8d_async import _errors as errors
from every8d_async._errors import (
    AccessBlocked,
    AccountLocked,
    AuthenticationFailed,
    CancelRefused,
    Every8DError,
    GatewayRefused,
    GatewayUnavailable,
    GatewayUnreachable,
    InvalidRequest,
    MalformedReply,
    OutcomeUnknown,
    RateLimited,
    SessionMisuse,
    mask,
    mask_numbers,
)

# One of each, made as the package makes it.
MADE: list[Callable[[], Every8DError]] = [
    lambda: Every8DError("the reason", operation="sms.send"),
    lambda: InvalidRequest(["text: must not be empty", "to: holds nobody"], operation="sms.send"),
    lambda: SessionMisuse("the session is closed. Nothing was sent; make a new one."),
    lambda: GatewayRefused(-306, "手機格式不符:+886900000001", operation="sms.send"),
    lambda: AuthenticationFailed(-101, "密碼錯誤", operation="login"),
    lambda: AccountLocked(-999, "帳號已鎖定", operation="login"),
    lambda: CancelRefused(-8, "稍後再試", operation="sms.cancel"),
    lambda: AccessBlocked(403, {"server": "a firewall"}, operation="credit"),
    lambda: GatewayUnreachable("connect", "ConnectError", attempts=3, operation="credit"),
    lambda: RateLimited(2.5, operation="credit"),
    lambda: GatewayUnavailable("HTTP 503", operation="credit"),
    lambda: MalformedReply(["DATA[3].STATUS: is missing"], "<html>", operation="credit"),
    lambda: OutcomeUnknown("read", "ReadError", recipients=2, code=-99, operation="sms.send"),
]


def kind_of(make: Any) -> str:
    return type(make()).__name__ if callable(make) else ""


each = pytest.mark.parametrize("make", MADE, ids=kind_of)


def fields(error: Every8DError) -> dict[str, Any]:
    return {"args": error.args, "sent": error.sent, **error.__dict__}


def test_one_of_each_class_stands_in_the_table() -> None:
    """No class of the tree goes untested."""
    classes = {
        value
        for value in vars(errors).values()
        if isinstance(value, type) and issubclass(value, Every8DError)
    }
    assert classes == {type(make()) for make in MADE}


@pytest.mark.parametrize(
    ("child", "parents"),
    [
        (InvalidRequest, (Every8DError, ValueError)),
        (SessionMisuse, (Every8DError, RuntimeError)),
        (GatewayRefused, (Every8DError,)),
        (AuthenticationFailed, (GatewayRefused,)),
        (AccountLocked, (AuthenticationFailed,)),
        (CancelRefused, (GatewayRefused,)),
        (AccessBlocked, (Every8DError,)),
        (GatewayUnreachable, (Every8DError,)),
        (RateLimited, (Every8DError,)),
        (GatewayUnavailable, (Every8DError,)),
        (MalformedReply, (Every8DError,)),
        (OutcomeUnknown, (Every8DError,)),
        (Every8DError, (Exception,)),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else "",
)
def test_the_tree(child: type[Every8DError], parents: tuple[type, ...]) -> None:
    """Errors are grouped by what the caller does next."""
    assert parents == child.__bases__


@pytest.mark.parametrize(
    "caught",
    [OSError, TimeoutError, ConnectionError, ValueError, RuntimeError, httpx.HTTPError],
    ids=lambda kind: kind.__name__,
)
def test_no_retry_filter_catches_an_unknown_outcome(caught: type[Exception]) -> None:
    """An unknown outcome inherits from nothing that retry libraries repeat on."""
    assert not issubclass(OutcomeUnknown, caught)


@each
def test_sent(make: Callable[[], Every8DError]) -> None:
    """Nothing was sent for certain, but where the outcome is unknown."""
    error = make()
    expected = None if isinstance(error, OutcomeUnknown) else False
    assert expected is error.sent
    assert expected is type(error).sent


@each
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickles(make: Callable[[], Every8DError], protocol: int) -> None:
    """An error keeps its class, words and fields on the way to another process."""
    error = make()
    error.page = 7
    error.add_note("on the second worker")
    back = pickle.loads(pickle.dumps(error, protocol))
    assert type(error) is type(back)
    assert str(error) == str(back)
    assert fields(error) == fields(back)


@each
@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy], ids=["copy", "deepcopy"])
def test_copies(
    make: Callable[[], Every8DError], duplicate: Callable[[Every8DError], Every8DError]
) -> None:
    """A copy is another object with the same fields."""
    error = make()
    error.page = 7
    other = duplicate(error)
    assert other is not error
    assert type(error) is type(other)
    assert fields(error) == fields(other)


def raised(make: Callable[[], Every8DError]) -> Every8DError:
    """Give an error that was raised while another was handled, from that one."""
    with pytest.raises(Every8DError) as caught:  # noqa: PT012 - the nesting is the point
        try:
            int("no number")
        except ValueError as other:
            raise make() from other
    return caught.value


@each
def test_copy_for_starts_afresh(make: Callable[[], Every8DError]) -> None:
    """A copy for another caller names its operation, and drags no frame or context along."""
    error = raised(make)
    other = error.copy_for("sms.delivery_reports")
    assert type(error) is type(other)
    assert {**fields(error), "operation": "sms.delivery_reports"} == fields(other)
    assert other.__cause__ is None
    assert other.__context__ is None
    assert other.__traceback__ is None


def test_copy_for_leaves_the_first_alone() -> None:
    """Callers who share a failure don't write into each other's copy."""
    error = GatewayUnreachable("connect", "ConnectError", operation="login")
    error.copy_for("sms.send").page = 3
    assert (error.operation, error.page) == ("login", None)


def test_invalid_request_lists_all_problems() -> None:
    """One look tells everything there is to fix."""
    error = InvalidRequest(iter(["text: must not be empty", "to: holds nobody"]))
    assert error.problems == ("text: must not be empty", "to: holds nobody")
    assert str(error) == "nothing was sent: text: must not be empty; to: holds nobody"
    assert isinstance(error, ValueError)


@pytest.mark.parametrize(
    ("make", "phrases"),
    [
        (MADE[1], ["sms.send: ", "nothing was sent", "must not be empty", "holds nobody"]),
        (
            MADE[3],
            ["sms.send: ", "the gateway refused: -306 手機格式不符", "Nothing was sent."],
        ),
        (
            MADE[4],
            ["refused the login: -101 密碼錯誤", "Nothing was sent.", "session.forget_refusal()"],
        ),
        (MADE[5], ["Nothing was sent.", "support to unlock", "session.forget_refusal()"]),
        (MADE[6], ["sms.cancel: ", "-8 稍後再試", "Nothing was cancelled.", "another try later"]),
        (MADE[7], ["HTTP 403", "Nothing was sent.", "to allow this machine's address"]),
        (MADE[8], ["ConnectError", "3 attempt(s)", "Nothing was sent", "safe to try again"]),
        (MADE[9], ["HTTP 429", "Nothing was sent", "wait 2.5 s"]),
        (MADE[10], ["HTTP 503", "Nothing was sent", "try again later"]),
        (MADE[11], ["DATA[3].STATUS: is missing", "<html>", "Nothing was sent", "report"]),
        (
            MADE[12],
            [
                "sms.send: ",
                "no sound answer",
                "ReadError",
                "may have been done",
                "not repeated",
                "2 recipient(s)",
                "before you send it again",
            ],
        ),
    ],
    ids=kind_of,
)
def test_messages(make: Callable[[], Every8DError], phrases: list[str]) -> None:
    """A message tells what happened, whether anything was sent, and what to do next."""
    message = str(make())
    assert [phrase for phrase in phrases if phrase not in message] == []


@pytest.mark.parametrize(
    ("error", "phrase"),
    [
        (GatewayUnreachable("slot", "deadline"), "no free connection in time after 1 attempt(s)"),
        (RateLimited(None), "wait a while"),
        (RateLimited(60.0), "wait 60 s,"),
        (CancelRefused(-3, "查無此批次", operation="sms.cancel"), "Nothing was cancelled."),
        (MalformedReply([f"DATA[{n}]: bad" for n in range(9)], ""), "DATA[4]: bad. It"),
    ],
    ids=["slot", "429 without a time", "429 with a time", "cancel", "many problems"],
)
def test_other_words(error: Every8DError, phrase: str) -> None:
    """What is not known is not made up, and long lists are cut in the message alone."""
    assert phrase in str(error)


def test_an_outcome_without_recipients_does_not_count_them() -> None:
    """A cancel holds nobody: its message does not say «0 recipients»."""
    error = OutcomeUnknown("send", "WriteError", recipients=0, code=None, operation="sms.cancel")
    assert "recipient" not in str(error)


@pytest.mark.parametrize(
    ("code", "retryable"), [(-8, True), (-3, False), (-4, False)], ids=["-8", "-3", "-4"]
)
def test_a_cancel_may_be_worth_another_try(code: int, *, retryable: bool) -> None:
    """Only -8 says «not for now»."""
    error = CancelRefused(code, "", operation="sms.cancel")
    assert retryable is error.retryable
    assert retryable is ("another try" in str(error))


@pytest.mark.parametrize(
    ("error", "english", "chinese"),
    [
        (
            GatewayRefused(-306, "", operation="sms.send"),
            "a mobile number is bad",
            "手機號碼不正確",
        ),
        (GatewayRefused(-306, "", operation="credit"), "not listed", "未列出"),
        (GatewayRefused(404, "HTTP 404", operation="credit"), "HTTP status 404", "404"),
        (AuthenticationFailed(-101, "", operation="login"), "the password is wrong", "密碼"),
        (CancelRefused(-8, "", operation="mms.cancel"), "try again later", "稍後再試"),
    ],
    ids=["its own", "another's", "a status", "anybody's", "MMS"],
)
def test_a_refusal_is_explained(error: GatewayRefused, english: str, chinese: str) -> None:
    """What a code means goes by the operation, in the message and beside it."""
    assert english in error.description
    assert f"({error.description})" in str(error)
    assert chinese in error.description_zh


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("手機格式不符:+886912345678", "手機格式不符:+8869…678"),
        ("手機格式不符:0912345678,0987654321", "手機格式不符:09…678,09…321"),
        ("手機格式不符:+1-202-895-1800", "手機格式不符:+1-20…800"),
        ("手機格式不符:+886 912 345 678", "手機格式不符:+886 …678"),
        ("1234567 is no batch", "12… is no batch"),
        ("12345678", "12…678"),
        ("123456", "123456"),
        ("２０２６０１０１", "\\uff1…f11"),
        ("f370a403-df23-4122-a7e6-261563a071cd", "f370a403-df23-4122-a7e6-261563a071cd"),
        ("2026-01-31 12:00:00", "2026-01-31 12:00:00"),
        ("密碼錯誤", "密碼錯誤"),
        ("", ""),
    ],
    ids=[
        "canonical",
        "list",
        "hyphens",
        "spaces",
        "seven digits",
        "eight digits",
        "six digits",
        "full width",
        "batch id",
        "time",
        "words",
        "empty",
    ],
)
def test_numbers_in_the_gateways_words_are_masked(said: str, shown: str) -> None:
    """What is printed shows no whole number; `message` keeps the gateway's words as they are."""
    error = GatewayRefused(-306, said)
    assert shown == mask_numbers(said)
    assert f"-306 {shown}" in str(error)
    assert said == error.message


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("+886900000001", "+8869…001"),
        ("0912345678", "09…678"),
        ("12345678", "12…678"),
        ("1234567", "12…"),
        ("09123456789", "09…789"),
        ("886912345678", "88691…678"),
        ("", "…"),
        ("0912345678\n0987654321", "09123…321"),
        ("\x00\x00\x00", "\\x00\\…x00"),
        ("\ud800", "\\u…"),
    ],
    ids=[
        "canonical",
        "local",
        "eight",
        "seven",
        "eleven",
        "twelve",
        "empty",
        "line end",
        "NUL",
        "surrogate",
    ],
)
def test_a_mask_shows_the_ends(given: str, shown: str) -> None:
    """A masked number can be found again by those who have it, and printed everywhere."""
    assert shown == mask(given)


@given(st.text(st.characters(categories=["Nd"]), min_size=7, max_size=30))
def test_a_mask_always_hides(number: str) -> None:
    """No number is short enough to be shown whole, and a mask itself is not one again."""
    shown = mask(number)
    assert number not in shown
    assert len(shown) <= 9
    shown.removesuffix("…").replace("…", "").encode("ascii")
    assert mask_numbers(shown) == shown


@given(st.text(), st.from_regex(r"\+?[0-9]{7,20}", fullmatch=True), st.text())
def test_no_number_survives_in_a_sentence(before: str, number: str, after: str) -> None:
    """Wherever a number stands in the gateway's words, the printed error does not show it."""
    assert number not in mask_numbers(f"{before}{number}{after}")


@each
def test_errors_say_their_words(make: Callable[[], Every8DError]) -> None:
    """`repr` and `str` come from the same masked words, not from the fields."""
    error = make()
    assert (str(error),) == error.args
    assert "+886900000001" not in repr(error)
