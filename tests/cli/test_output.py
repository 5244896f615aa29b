"""Words and codes: one sentence for whatever ends a command, and how far it is."""

import io
import json
import logging
import sqlite3
import sys
from decimal import Decimal
from itertools import count

import pytest
import typer

from every8d_async import (
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
)
from every8d_async import _errors as errors
from every8d_async._cli._exits import Exit, Failure, code_of, weightiest
from every8d_async._cli._output import Output, points, several, telling
from every8d_async._cli._progress import figures, progress, unheard
from every8d_async.campaign import ClaimLost, JournalError, TooLate

CODES: list[tuple[Every8DError, Exit]] = [
    (InvalidRequest(["text: must not be empty"]), Exit.MEND),
    (SessionMisuse("closed"), Exit.FAILED),
    (GatewayRefused(-306, "bad number", operation="sms.send"), Exit.REFUSED),
    (GatewayRefused(0, "", operation="sms.send"), Exit.REFUSED),
    (GatewayRefused(404, "", operation="sms.send"), Exit.LATER),
    (CancelRefused(-8, "", operation="sms.cancel"), Exit.REFUSED),
    (AuthenticationFailed(-101, "", operation="login"), Exit.ACCESS),
    (AccountLocked(-999, "", operation="login"), Exit.ACCESS),
    (AccessBlocked(403, {}), Exit.ACCESS),
    (GatewayUnreachable("connect", "ConnectError"), Exit.LATER),
    (RateLimited(3), Exit.LATER),
    (GatewayUnavailable("HTTP 503"), Exit.LATER),
    (MalformedReply(["DATA"], ""), Exit.LATER),
    (
        OutcomeUnknown("send", "ReadError", recipients=1, code=None, operation="sms.send"),
        Exit.UNKNOWN,
    ),
    (JournalError("newer"), Exit.MEND),
    (ClaimLost("another has it"), Exit.LATER),
    (TooLate("too late"), Exit.LATER),
]


@pytest.mark.parametrize(("error", "code"), CODES, ids=lambda value: type(value).__name__)
def test_each_error_has_its_code(error: Every8DError, code: Exit) -> None:
    """The code says what to do next; nothing that may have been sent is anything but UNKNOWN."""
    assert code_of(error) is code
    assert (error.sent is None) == (code is Exit.UNKNOWN)


def test_every_public_error_is_in_the_table() -> None:
    """A new error needs a code."""
    public = {
        value
        for value in vars(errors).values()
        if isinstance(value, type) and issubclass(value, Every8DError)
    }
    assert public - {type(error) for error, _ in CODES} == {Every8DError}


def test_the_weightiest_code_is_given() -> None:
    """What is unknown is told before all, done only where all is done."""
    assert weightiest(Exit.DONE) is Exit.DONE
    assert weightiest(Exit.DONE, Exit.REFUSED, Exit.LATER) is Exit.LATER
    assert weightiest(Exit.INTERRUPTED, Exit.UNKNOWN, Exit.ACCESS) is Exit.UNKNOWN
    for code in Exit:
        assert weightiest(code, Exit.UNKNOWN) is Exit.UNKNOWN
        assert weightiest(Exit.DONE, code) is code


def end_with(error: BaseException, *, as_json: bool = False) -> int:
    with pytest.raises(typer.Exit) as caught, telling(as_json=as_json):
        raise error
    assert isinstance(caught.value.exit_code, int)
    return caught.value.exit_code


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (Failure(Exit.MEND, "say more."), 2, "every8d: say more.\n"),
        (RateLimited(3), 4, "every8d: too many requests"),
        (KeyboardInterrupt(), 130, "every8d: interrupted.\n"),
        (typer.Abort(), 130, "every8d: interrupted.\n"),
        (OSError(28, "No space left on device"), 1, "No space left on device"),
        (sqlite3.OperationalError("disk I/O error"), 1, "OperationalError: disk I/O error."),
        (KeyError("0912345678"), 1, "a fault of this program (KeyError); EVERY8D_DEBUG=1"),
    ],
)
def test_whatever_ends_a_command_is_a_sentence(
    error: BaseException, code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line on stderr, without a traceback or anybody's number; nothing on stdout."""
    assert end_with(error) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err
    assert "Traceback" not in err
    assert "0912345678" not in err
    assert len(err.splitlines()) == 1


def test_errors_in_json(capsys: pytest.CaptureFixture[str]) -> None:
    """For programs the end is an object on stdout; the sentence still goes to stderr."""
    assert end_with(Failure(Exit.ACCESS, "no account."), as_json=True) == 5
    out, err = capsys.readouterr()
    assert json.loads(out) == {"error": "Failure", "message": "no account.", "exit_code": 5}
    assert err == "every8d: no account.\n"


def test_a_login_refused_says_what_to_do_here(capsys: pytest.CaptureFixture[str]) -> None:
    """The command has words of its own where the package's speak of a session."""
    assert end_with(AuthenticationFailed(-101, "密碼錯誤", operation="login")) == 5
    assert "Mend uid and password, then test them with: every8d token check" in (
        capsys.readouterr().err
    )
    assert end_with(AccountLocked(-999, "", operation="login")) == 5
    assert "support to unlock it, then run: every8d token check" in capsys.readouterr().err


def test_words_can_t_steer_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """What the gateway says is shown as it is, but for what would act."""
    out = Output(as_json=False)
    out.note("a\tb\nc\x1b[2J")
    out.result({}, "好\x07")
    assert capsys.readouterr() == ("好\\x07\n", "a\tb\nc\\x1b[2J\n")


def test_debugging_shows_where(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the switch on there is a traceback, and the package's log."""
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    monkeypatch.setenv("EVERY8D_DEBUG", "1")
    assert end_with(KeyError("x")) == 1
    assert "Traceback" in capsys.readouterr().err
    logging.getLogger().setLevel(logging.WARNING)


@pytest.mark.parametrize("error", [BrokenPipeError(), typer.Exit(3)])
def test_what_typer_ends_itself(error: Exception) -> None:
    """A closed pipe and an exit pass through."""
    with pytest.raises(type(error)), telling(as_json=False):
        raise error


def test_the_worst_that_was_said_stays() -> None:
    """What comes first is not taken back."""
    out = Output(as_json=False)
    out.end(Exit.UNKNOWN)
    out.end(Exit.DONE)
    assert out.code is Exit.UNKNOWN


def test_a_terminal_that_knows_few_characters(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a terminal can't show is shown escaped, and JSON stays JSON."""
    for encoding, words, plain in (
        ("ascii", "\\u597d\n", '{"a": "\\u597d"}\n'),
        ("cp950", "好\n", '{"a": "\\u597d"}\n'),
        ("utf-8", "好\n", '{"a": "好"}\n'),
    ):
        raw = io.BytesIO()
        monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding, newline=""))
        Output(as_json=False).result({}, "好")
        Output(as_json=True).result({"a": "好"}, "好")
        assert raw.getvalue().decode(encoding) == words + plain


def test_money_and_counts() -> None:
    """Figures for people have commas; nothing is rounded."""
    assert points(Decimal("1234567.50")) == "1,234,567.50 points"
    assert points(Decimal("1.00")) == "1.00 point"
    assert (several(1), several(1200, "report")) == ("1 message", "1,200 reports")


# --- how far it is ---


@pytest.mark.parametrize(
    ("figure", "said"),
    [
        ((0, 100, 0.0, 0, None, 0), "0/100 0/s"),
        ((500, 2000, 2.0, 500, None, 0), "500/2,000 250/s 0:06 left"),
        (
            (1500, 2000, 2.0, 500, Decimal(1500), 5),
            "1,500/2,000 250/s 0:02 left 1,500 pts 5 unknown",
        ),
        ((2000, 2000, 2.0, 2000, Decimal(0), 0), "2,000/2,000 1,000/s 0 pts 0 unknown"),
        ((1, 7201, 1.0, 1, None, 0), "1/7,201 1/s 2:00:00 left"),
    ],
)
def test_figures(figure: tuple[int, int, float, int, Decimal | None, int], said: str) -> None:
    """Rate, time left, cost and unknowns stand in a line; what was done before makes no rate."""
    assert figures(*figure) == said


def test_a_million_fits_a_terminal() -> None:
    """The largest figures leave room for the per cent in 80 columns."""
    said = figures(999_999, 1_000_000, 81.0, 999_999, Decimal(5_000_000), 999_999)
    assert len(said) <= 80 - len("100%  ")


def test_without_a_terminal_a_line_comes_now_and_then(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A pipe gets a line each five seconds at most, without control codes."""
    ticks = count(step=2)
    with progress(Output(as_json=False), 10, clock=lambda: float(next(ticks))) as report:
        for done in range(10):
            report(done, points=Decimal(done))
    out, err = capsys.readouterr()
    assert out == ""
    assert 2 <= len(err.splitlines()) < 10
    assert "\x1b" not in err
    assert "9/10" in err


def test_a_total_is_kept_until_another_is_given(capsys: pytest.CaptureFixture[str]) -> None:
    """Pages tell the total as they come."""
    ticks = count(step=100)
    with progress(Output(as_json=False), 0, clock=lambda: float(next(ticks))) as report:
        report(1, 5)
        report(2)
    assert [line.split()[0] for line in capsys.readouterr().err.splitlines()] == ["1/5", "2/5"]


def test_nobody_listens() -> None:
    """Where rows show by themselves how far it is, nothing is told."""
    unheard(1, 2, points=Decimal(1), unknown=1)
