"""One call as a conversation, stepped through without an event loop: what may be repeated."""

from collections.abc import Generator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from random import Random
from typing import Any

import pytest
from attrs import evolve, field, frozen
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from every8d_async._codes import KNOWN, kind_of
from every8d_async._endpoints import (
    CANCEL_SMS,
    CHECK_TOKEN,
    CREDIT,
    FILTER_DRY_RUN,
    LOGIN,
    SEND_FILTERED,
    SEND_PERSONALIZED,
    SEND_SMS,
    SMS_REPORTS,
    Credentials,
    Endpoint,
)
from every8d_async._errors import (
    AccessBlocked,
    AccountLocked,
    AuthenticationFailed,
    CancelRefused,
    Every8DError,
    GatewayRefused,
    GatewayUnavailable,
    GatewayUnreachable,
    MalformedReply,
    OutcomeUnknown,
    RateLimited,
)
from every8d_async._flow import (
    RETRY_AFTER_CAP,
    Auth,
    Hold,
    Login,
    Send,
    Sleep,
    Suspect,
    TokenMode,
    call,
    retry_after,
)
from every8d_async._models import Cancellation, Receipt, ResponseFormat
from every8d_async._options import RetryPolicy
from every8d_async._requests import PageQuery, ParamMessage, TextMessage
from every8d_async._wire import CONNECT, HELD, READ, SEND, SLOT, Verdict, WireFailure, WireReply

BATCH = "c496f706-9b0f-4ff8-9644-9503edb7064a"
RECEIPT = f"285.0,2,2.0,0,{BATCH}".encode()
BEARER, NO_TOKEN = TokenMode.BEARER, TokenMode.NONE
PASSWORD = Credentials("uid", "hunter2")

TEXT = TextMessage(
    text="您的驗證碼是 123456",
    mobiles=("+886900000001", "+886900000002"),
    subject="",
    send_at="",
    minutes=1440,
    event_id=None,
)
PARAM = ParamMessage(
    template=None,
    recipients=(("+886900000001", "hello", "", "", "", ""),),
    subject="",
    minutes=1440,
    event_id=None,
)
REPORTS = SMS_REPORTS[ResponseFormat.JSON]


@frozen
class Kind:
    """An operation with its arguments, how it proves who it is, and a sound reply to it."""

    endpoint: Endpoint[Any, Any]
    args: Any = field(repr=False)
    auth: Auth
    sound: bytes


QUERY = Kind(REPORTS, PageQuery(BATCH, 1), BEARER, b'{"SMS_COUNT":0,"BID":""}')
SMS = Kind(SEND_SMS, TEXT, BEARER, RECEIPT)
CANCEL = Kind(CANCEL_SMS, BATCH, BEARER, b"2,2.00")
LOG_IN = Kind(
    LOGIN, PASSWORD, NO_TOKEN, b'{"Result":true,"Msg":"4bc40f5255fa4d89ac4950b394eca0f6"}'
)
CHECK = Kind(CHECK_TOKEN, None, "a-given-token", b'{"Result":true}')
BALANCE = Kind(CREDIT, None, BEARER, b"1000.00")
DRY_RUN = Kind(FILTER_DRY_RUN, TEXT, BEARER, b"0,0,0,")
FILTERED = Kind(SEND_FILTERED, TEXT, BEARER, RECEIPT)
OWN_TEXTS = Kind(SEND_PERSONALIZED, PARAM, BEARER, b'{"Result":true,"Msg":"' + RECEIPT + b'"}')

ONCE = {"send": SMS, "cancel": CANCEL, "own texts": OWN_TEXTS, "filtered": FILTERED}
REPEATABLE = {
    "query": QUERY,
    "credit": BALANCE,
    "dry run": DRY_RUN,
    "login": LOG_IN,
    "check": CHECK,
}
KINDS = ONCE | REPEATABLE

POLICY = RetryPolicy()

Answer = WireReply | WireFailure


def kinds(table: dict[str, Kind]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("kind", table.values(), ids=table)


def reply(body: bytes | str = b"", status: int = 200, **headers: str) -> WireReply:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return WireReply(status, named, body.encode() if isinstance(body, str) else body)


def cut(body: bytes | str) -> WireReply:
    """Give a reply that ended with its connection."""
    return WireReply(200, {}, body.encode() if isinstance(body, str) else body, delimited=False)


class Played:
    """A call played to its end: what it asked for, in words, and what came of it."""

    def __init__(
        self,
        kind: Kind,
        *answers: Answer,
        verdicts: tuple[Verdict, ...] = (Verdict.ALIVE,),
        auth: Auth | None = None,
        retry: RetryPolicy = POLICY,
        logins: tuple[str | Every8DError, ...] = (),
        in_time: bool = True,
    ) -> None:
        """Give the answers in turn, the last one again and again."""
        self.said: list[str] = []
        self.requests: list[Send] = []
        self.history: list[tuple[object, object]] = []
        self.result: Any = None
        self.error: Every8DError | None = None
        self._answers, self._verdicts, self._in_time = answers, verdicts, in_time
        self._logins = logins
        self._counts: dict[str, int] = {}
        flow = call(kind.endpoint, kind.args, auth or kind.auth, retry, lambda: 0.0)
        try:
            self._play(flow)
        except Every8DError as error:
            self.error = error

    def _play(self, flow: Generator[Any, Any, Any]) -> None:
        answer: object = None
        while True:
            try:
                command = flow.send(answer)
            except StopIteration as done:
                self.result = done.value
                return
            answer = self._obey(command)
            self.history.append((command, answer))

    def _obey(self, command: object) -> object:
        match command:
            case Login():
                self.said.append("login")
                return self._next("login", self._logins or ("token-1", "token-2", "token-3"))
            case Send(request):
                self.said.append(f"send {request.token}" if request.token else "send")
                self.requests.append(command)
                return self._next("send", self._answers)
            case Suspect(token):
                self.said.append(f"suspect {token}")
                return self._next("suspect", self._verdicts)
            case Sleep(seconds):
                self.said.append(f"sleep {seconds:g}")
                return self._in_time
            case Hold(seconds):
                self.said.append(f"hold {seconds:g}")
                return None
            case _:
                raise AssertionError(command)

    def _next(self, name: str, answers: tuple[Any, ...]) -> Any:
        count = self._counts[name] = self._counts.get(name, -1) + 1
        return answers[min(count, len(answers) - 1)]

    @property
    def sends(self) -> int:
        return len(self.requests)


def once_asked(kind: Kind) -> list[str]:
    """Say what one try looks like."""
    if kind.auth is BEARER:
        return ["login", "send token-1"]
    return ["send"] if kind.auth is NO_TOKEN else ["send a-given-token"]


def tries(kind: Kind, *waits: float) -> list[str]:
    """Say what as many tries look like, with these waits between them."""
    said = once_asked(kind)
    for number, wait in enumerate(waits, start=2):
        again = [line.replace("token-1", f"token-{number}") for line in once_asked(kind)]
        said += [f"sleep {wait:g}", *again]
    return said


THRICE = 0.25, 0.5  # with no luck, the waits are half of 0.5 s and of 1 s


def check(played: Played, kind: Kind, error: type[Every8DError]) -> Any:
    """Make sure that a call failed as it should, and give its error."""
    assert error is type(played.error)
    assert played.error is not None
    assert played.error.sent is (None if error is OutcomeUnknown else False)
    assert kind.endpoint.operation == played.error.operation
    assert played.error.__cause__ is None
    assert played.error.__context__ is None
    return played.error


# --- success ---


@kinds(KINDS)
def test_a_sound_reply_is_the_result(kind: Kind) -> None:
    """One login, one request, and no more."""
    played = Played(kind, reply(kind.sound))
    assert played.error is None
    assert kind.endpoint.parse(kind.sound) == played.result
    assert once_asked(kind) == played.said


@kinds(KINDS)
def test_the_request_proves_who_we_are(kind: Kind) -> None:
    """A token stands in the header, uid and password in the body, and never both."""
    bearer = Played(kind, reply(kind.sound), auth=BEARER).requests[0].request
    assert bearer == kind.endpoint.request(kind.args, "token-1")
    assert bearer.once is (kind in ONCE.values())
    password = Played(kind, reply(kind.sound), auth=PASSWORD)
    assert password.said == ["send"]
    assert kind.endpoint.request(kind.args, PASSWORD) == password.requests[0].request
    assert b"hunter2" in password.requests[0].request.body


# --- nothing left ---


@kinds(KINDS)
@pytest.mark.parametrize(("phase", "cause"), [(SLOT, "deadline"), (CONNECT, "ConnectError")])
def test_what_never_left_is_repeated(kind: Kind, phase: str, cause: str) -> None:
    """A request of which nothing left may go again, also a send; the error counts the tries."""
    failure = WireFailure(left=False, phase=phase, cause=cause)
    played = Played(kind, failure)
    error = check(played, kind, GatewayUnreachable)
    assert (error.phase, error.cause, error.attempts) == (phase, cause, 3)
    assert tries(kind, *THRICE) == played.said
    assert kind.endpoint.parse(kind.sound) == Played(kind, failure, reply(kind.sound)).result


@kinds(KINDS)
def test_a_call_that_is_held_back_holds_nobody_back(kind: Kind) -> None:
    """An earlier 429 still stands: the call says so at once, and does not make it last longer."""
    played = Played(kind, WireFailure(left=False, phase=HELD, cause="deadline", wait=30.0))
    assert check(played, kind, RateLimited).retry_after == 30.0
    assert once_asked(kind) == played.said


# --- left, and no sound answer ---


@kinds(ONCE)
@pytest.mark.parametrize("phase", [SEND, READ])
def test_what_may_have_left_is_not_repeated(kind: Kind, phase: str) -> None:
    """A send that left and got no answer is of unknown outcome after one request."""
    played = Played(kind, WireFailure(left=True, phase=phase, cause="ReadError"))
    error = check(played, kind, OutcomeUnknown)
    assert (error.phase, error.cause, error.code) == (phase, "ReadError", None)
    assert kind.endpoint.recipients(kind.args) == error.recipients
    assert once_asked(kind) == played.said


@kinds(REPEATABLE)
@pytest.mark.parametrize("phase", [SEND, READ])
def test_a_query_is_asked_again(kind: Kind, phase: str) -> None:
    """What does no harm twice is asked again, then given up."""
    played = Played(kind, WireFailure(left=True, phase=phase, cause="ReadError"))
    assert check(played, kind, GatewayUnavailable).cause == "ReadError"
    assert tries(kind, *THRICE) == played.said


UNSOUND = [204, 302, 201, 304, 101]
UNSURE = [408, 432, 451, 500, 502, 503, 599]
REFUSED = [400, 404, 405, 418, 422, 428, 430, 431]


@kinds(ONCE)
@pytest.mark.parametrize("status", [*UNSOUND, *UNSURE])
def test_a_status_that_proves_nothing(kind: Kind, status: int) -> None:
    """On a send, neither a redirect, an empty success nor a server's fault tells what happened."""
    played = Played(kind, reply(kind.sound, status))
    error = check(played, kind, OutcomeUnknown)
    assert (error.phase, error.code) == ("reply", None)
    assert error.cause.startswith(f"HTTP {status}")
    assert once_asked(kind) == played.said


@kinds(REPEATABLE)
@pytest.mark.parametrize("status", UNSURE)
def test_a_query_waits_for_a_server(kind: Kind, status: int) -> None:
    """A server's fault may pass: a query is asked again, then given up."""
    played = Played(kind, reply(kind.sound, status))
    assert f"HTTP {status}" == check(played, kind, GatewayUnavailable).cause
    assert tries(kind, *THRICE) == played.said


@pytest.mark.parametrize("endpoint", [SEND_SMS, CREDIT], ids=["send", "query"])
def test_a_bug_in_reading_a_reply(endpoint: Endpoint[Any, Any]) -> None:
    """A bug is raised as it is; but of a send, which has left by then, it tells that it is one."""

    def fail(body: bytes) -> Any:
        raise RecursionError

    flow = call(evolve(endpoint, parse=fail), TEXT, PASSWORD, RetryPolicy(), lambda: 0.5)
    next(flow)
    wanted = RecursionError if endpoint.repeatable else OutcomeUnknown
    with pytest.raises(wanted) as caught:
        flow.send(WireReply(200, {}, b"?", delimited=True))
    assert endpoint.repeatable or "RecursionError" in str(caught.value)


@kinds(REPEATABLE)
@pytest.mark.parametrize("status", UNSOUND)
def test_an_odd_success_is_no_answer(kind: Kind, status: int) -> None:
    """Only 200 carries replies; redirects are not followed. A query is tried once more."""
    played = Played(kind, reply(kind.sound, status))
    error = check(played, kind, MalformedReply)
    assert error.problems == (f"HTTP {status} where 200 was expected",)
    assert tries(kind, 0.25) == played.said


@kinds(KINDS)
@pytest.mark.parametrize("status", REFUSED)
def test_a_refusing_status(kind: Kind, status: int) -> None:
    """What stands in front of the gateway refused the request: it was not acted on."""
    played = Played(kind, reply(b"<html>", status))
    error = check(played, kind, GatewayRefused)
    assert (error.code, error.message) == (status, f"HTTP {status}")
    assert once_asked(kind) == played.said


@kinds(KINDS)
def test_a_firewall(kind: Kind) -> None:
    """HTTP 403 is what stands in front; the error keeps what names it, and nothing else."""
    played = Played(kind, reply("<html>", 403, server="a wall", x_cache="MISS", set_cookie="x"))
    error = check(played, kind, AccessBlocked)
    assert (error.status, error.headers) == (403, {"server": "a wall", "x-cache": "MISS"})
    assert once_asked(kind) == played.said


BROKEN = ["", "OK", "<html>busy</html>", "{", f"285.0,1,1.0,0,{BATCH[:-1]}", '{"Result":1}']


@kinds(ONCE)
@pytest.mark.parametrize("body", BROKEN, ids=repr)
def test_a_broken_reply_to_a_send(kind: Kind, body: str) -> None:
    """A reply that does not parse tells nothing of what was done."""
    played = Played(kind, reply(body))
    error = check(played, kind, OutcomeUnknown)
    assert (error.phase, error.code) == ("reply", None)
    assert once_asked(kind) == played.said


@kinds(REPEATABLE)
@pytest.mark.parametrize("body", BROKEN, ids=repr)
def test_a_broken_reply_to_a_query(kind: Kind, body: str) -> None:
    """It is asked for once more, whatever the policy allows."""
    played = Played(kind, reply(body), retry=RetryPolicy(attempts=9))
    error = check(played, kind, MalformedReply)
    assert error.problems
    assert tries(kind, 0.25) == played.said


@kinds(KINDS)
def test_a_reply_that_was_not_read(kind: Kind) -> None:
    """A reply that is encoded or too large is as good as none, whatever its bytes."""
    fault = "the reply is larger than 9 bytes"
    played = Played(kind, WireReply(200, {}, b"", fault=fault))
    if kind in ONCE.values():
        error = check(played, kind, OutcomeUnknown)
        assert (error.phase, error.cause) == ("reply", fault)
        assert once_asked(kind) == played.said
    else:
        assert check(played, kind, MalformedReply).problems == (fault,)
        assert tries(kind, 0.25) == played.said


@kinds(KINDS)
def test_a_fault_does_not_hide_a_status(kind: Kind) -> None:
    """A firewall's page may be encoded: it is a firewall's page all the same."""
    check(Played(kind, WireReply(403, {}, b"", fault="the reply is encoded")), kind, AccessBlocked)


# --- replies that end with their connection ---


@pytest.mark.parametrize(
    ("kind", "body", "believed"),
    [
        (SMS, RECEIPT, True),
        (SMS, b"-27,\xe9\x9b\xbb", True),
        (QUERY, QUERY.sound, True),
        (LOG_IN, LOG_IN.sound, True),
        (OWN_TEXTS, OWN_TEXTS.sound, True),
        (BALANCE, b"1000.00", True),
        (BALANCE, b"1000.0", True),
        (BALANCE, b"1000", False),
        (BALANCE, b"-30", False),
        (BALANCE, b"-300", False),
        (CANCEL, b"2,2.00", True),
        (CANCEL, b"2,2", False),
        (FILTERED, RECEIPT, False),
        (DRY_RUN, b"0,0,0,", False),
    ],
    ids=lambda value: value.endpoint.operation if isinstance(value, Kind) else repr(value),
)
def test_a_reply_without_an_end(kind: Kind, body: bytes, *, believed: bool) -> None:
    """Where a cut would leave no trace, a reply must say how long it is."""
    assert Played(kind, reply(body)).error.__class__ in (None.__class__, GatewayRefused)
    played = Played(kind, cut(body))
    if believed:
        assert isinstance(played.error, GatewayRefused | None)
    elif kind in ONCE.values():
        check(played, kind, OutcomeUnknown)
        assert once_asked(kind) == played.said
    else:
        check(played, kind, MalformedReply)
        assert tries(kind, 0.25) == played.said


@pytest.mark.parametrize("credit", ["-5.00", "-5", "285.0", "-99"])
@pytest.mark.parametrize("kind", [SMS, FILTERED], ids=["send", "filtered"])
def test_no_cut_receipt_is_believed(kind: Kind, credit: str) -> None:
    """Cut anywhere, and ending with its connection, a receipt is nothing: outcome unknown."""
    body = f"{credit},1,1,0,{BATCH}"
    for length in range(len(body)):
        played = Played(kind, cut(body[:length]))
        assert isinstance(played.error, OutcomeUnknown), body[:length]
        assert played.error.code is None
        assert played.sends == 1


# --- 429 ---


@pytest.mark.parametrize("headers", [{"retry_after": "7"}, {}], ids=["told", "not told"])
@kinds(ONCE)
def test_a_send_is_not_repeated_after_429(kind: Kind, headers: dict[str, str]) -> None:
    """The whole session waits, and the caller is told; nothing was sent."""
    played = Played(kind, reply("", 429, **headers))
    error = check(played, kind, RateLimited)
    assert error.retry_after == (7.0 if headers else None)
    assert [*once_asked(kind), "hold 7" if headers else "hold 0.25"] == played.said


@kinds(REPEATABLE)
def test_a_query_waits_out_429(kind: Kind) -> None:
    """A query waits as long as the gateway asks, and then asks again."""
    played = Played(kind, reply("", 429, retry_after="7"))
    assert check(played, kind, RateLimited).retry_after == 7.0
    hold, waits = "hold 7", tries(kind, 7, 7)
    expected = [line for said in waits for line in ([hold, said] if "sleep" in said else [said])]
    assert [*expected, hold] == played.said
    again = Played(kind, reply("", 429, retry_after="7"), reply(kind.sound))
    assert kind.endpoint.parse(kind.sound) == again.result


@pytest.mark.parametrize("status", [429, 503])
def test_nobody_waits_longer_than_the_cap(status: int) -> None:
    """The gateway's word is kept in the error, but waited for only up to the cap."""
    played = Played(QUERY, reply("", status, retry_after="86400"))
    assert f"sleep {RETRY_AFTER_CAP:g}" in played.said
    assert not any("86400" in line for line in played.said)
    if isinstance(played.error, RateLimited):
        assert played.error.retry_after == 86400


def test_a_server_can_ask_for_time() -> None:
    """Retry-After counts with 503 as well, for this call alone."""
    played = Played(QUERY, reply("", 503, retry_after="2"))
    assert tries(QUERY, 2, 2) == played.said


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0.0),
        ("7", 7.0),
        (" 7 ", 7.0),
        ("999999999", 999999999.0),
        ("9999999999", None),
        ("7.5", None),
        ("-7", None),
        ("７", None),
        ("", None),
        ("soon", None),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0.0),
        ("Thu, 01 Jan 1970 00:00:00 -0000", None),
        ("Thu, 01 Jan 99999999999999999999 00:00:00 GMT", None),
        ("Thu, 01 Jan 2026 00:00:00 +99999999999999999999", None),
        ("Thu, 99 Foo 2026", None),
    ],
    ids=repr,
)
def test_retry_after(text: str, seconds: float | None) -> None:
    """Whole seconds or a date with a zone; what can't be read is as good as absent."""
    assert seconds == retry_after({"retry-after": text})


@pytest.mark.parametrize("ahead", [5, 3600])
def test_retry_after_a_date(ahead: int) -> None:
    """A date counts from now."""
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=ahead), usegmt=True)
    seconds = retry_after({"retry-after": date})
    assert seconds is not None
    assert ahead - 3 < seconds <= ahead


def test_retry_after_may_be_absent() -> None:
    """Nothing asked for is not zero."""
    assert retry_after({}) is None


DATE_WORDS = ["Mon,", "Jan", "GMT", "+0000", "-", ":", "9" * 20, "00:00:00", "2026", "(", ")"]


@given(st.text() | st.lists(st.sampled_from(DATE_WORDS)).map(" ".join))
def test_no_header_hides_what_became_of_a_send(text: str) -> None:
    """Whatever stands in Retry-After: the call ends in its own error."""
    check(Played(SMS, reply("", 503, retry_after=text)), SMS, OutcomeUnknown)


# --- refusals ---

OWN_CODES = [
    *((SMS, code) for code in KNOWN[kind_of("sms.send")]),
    *((CANCEL, code) for code in KNOWN[kind_of("sms.cancel")]),
    *((kind, -999) for kind in (SMS, CANCEL, QUERY, BALANCE)),
]


@pytest.mark.parametrize(
    ("kind", "code"),
    OWN_CODES,
    ids=[f"{kind.endpoint.operation} {code}" for kind, code in OWN_CODES],
)
def test_an_operations_own_refusal_is_believed(kind: Kind, code: int) -> None:
    """A code that is known with its operation casts no doubt on the token."""
    played = Played(kind, reply(f"{code},電話號碼不得為空"))
    wanted = {-999: AccountLocked}.get(code, CancelRefused if kind is CANCEL else GatewayRefused)
    error = check(played, kind, wanted)
    assert (error.code, error.message) == (code, "電話號碼不得為空")
    assert once_asked(kind) == played.said


def test_only_a_cancel_says_when_to_try_again() -> None:
    """-8 on a cancel passes; anywhere else it is a code like others."""
    assert check(Played(CANCEL, reply("-8,busy")), CANCEL, CancelRefused).retryable
    check(Played(SMS, reply("-8,busy")), SMS, GatewayRefused)


# What each code means where it may come from a dead token, and what it is if the token lives.
DOUBTED = [
    (SMS, -99, OutcomeUnknown),
    (SMS, -100, AuthenticationFailed),
    (SMS, -101, AuthenticationFailed),
    (SMS, -300, AuthenticationFailed),
    (SMS, -2, GatewayRefused),
    (SMS, -3, GatewayRefused),
    (SMS, -12345, GatewayRefused),
    (CANCEL, -99, OutcomeUnknown),
    (CANCEL, -101, AuthenticationFailed),
    (CANCEL, -27, GatewayRefused),
    (QUERY, -99, GatewayUnavailable),
    (QUERY, -101, AuthenticationFailed),
    (QUERY, -3, GatewayRefused),
    (BALANCE, -99, GatewayUnavailable),
    (BALANCE, -300, AuthenticationFailed),
]
doubted = pytest.mark.parametrize(
    ("kind", "code", "error"),
    DOUBTED,
    ids=[f"{kind.endpoint.operation} {code}" for kind, code, _ in DOUBTED],
)


@doubted
def test_a_living_token_lets_the_answer_stand(
    kind: Kind, code: int, error: type[Every8DError]
) -> None:
    """One question about the token; it lives, so the refusal was meant."""
    played = Played(kind, reply(f"{code},發生不明錯誤"), verdicts=(Verdict.ALIVE,))
    failed = check(played, kind, error)
    once = ["login", "send token-1", "suspect token-1"]
    if error is GatewayUnavailable:
        again = tries(kind, *THRICE)[2:]
        assert [*once, *again] == played.said
    else:
        assert failed.code == code
        assert once == played.said


@doubted
def test_a_dead_token_is_replaced_once(kind: Kind, code: int, error: type[Every8DError]) -> None:
    """A call refused for a dead token was not acted on: it goes again, with a new one, once."""
    refusal = reply(f"{code},發生不明錯誤")
    played = Played(kind, refusal, reply(kind.sound), verdicts=(Verdict.DEAD,))
    assert kind.endpoint.parse(kind.sound) == played.result
    again = ["login", "send token-1", "suspect token-1", "login", "send token-2"]
    assert again == played.said
    # Refused again, with a token that lives, it is meant.
    played = Played(kind, refusal, verdicts=(Verdict.DEAD, Verdict.ALIVE))
    check(played, kind, error)
    assert [*again, "suspect token-2"] == played.said[:6]
    assert played.sends == (4 if error is GatewayUnavailable else 2)


@doubted
def test_a_second_token_may_die_as_well(kind: Kind, code: int, error: type[Every8DError]) -> None:
    """Where sessions end each other's tokens, that is told of a send, and a query tries again."""
    refusal = reply(f"{code},發生不明錯誤")
    played = Played(kind, refusal, verdicts=(Verdict.DEAD,))
    check(played, kind, GatewayUnavailable)
    assert played.said[5] == "suspect token-2"
    assert played.sends == (2 if kind in ONCE.values() else 4)
    played = Played(kind, refusal, verdicts=(Verdict.DEAD, Verdict.UNPROVEN))
    check(played, kind, OutcomeUnknown if kind in ONCE.values() else error)


@doubted
def test_an_unproven_token(kind: Kind, code: int, error: type[Every8DError]) -> None:
    """Nobody can say what the refusal meant: a query asks again, a send is of unknown outcome."""
    refusal = reply(f"{code},發生不明錯誤")
    played = Played(kind, refusal, verdicts=(Verdict.UNPROVEN,))
    if kind in ONCE.values():
        unknown = check(played, kind, OutcomeUnknown)
        assert (unknown.phase, unknown.code) == ("reply", code)
        assert kind.endpoint.recipients(kind.args) == unknown.recipients
        assert played.said == ["login", "send token-1", "suspect token-1"]
    else:
        check(played, kind, error)
        assert played.sends == (4 if error is GatewayUnavailable else 2)
        assert played.said.count("suspect token-1") == 1
        good = Played(kind, refusal, reply(kind.sound), verdicts=(Verdict.UNPROVEN,))
        assert kind.endpoint.parse(kind.sound) == good.result


@kinds({name: kind for name, kind in KINDS.items() if kind.auth is BEARER})
@pytest.mark.parametrize("verdict", Verdict)
def test_unauthorized(kind: Kind, verdict: Verdict) -> None:
    """HTTP 401 may mean a dead token; with a live one it is what stands in front."""
    played = Played(kind, reply("", 401), reply(kind.sound), verdicts=(verdict,))
    assert played.said[:3] == ["login", "send token-1", "suspect token-1"]
    if verdict is Verdict.ALIVE:
        assert check(played, kind, AccessBlocked).status == 401
    elif verdict is Verdict.UNPROVEN and kind in ONCE.values():
        assert check(played, kind, OutcomeUnknown).code is None
    else:
        assert kind.endpoint.parse(kind.sound) == played.result
        assert played.said[3:] == ["login", "send token-2"]


@kinds({"send": SMS, "cancel": CANCEL, "query": QUERY})
@pytest.mark.parametrize("body", ["-99,發生不明錯誤", "-101,密碼錯誤", "-2,x"])
def test_without_a_token_there_is_none_to_doubt(kind: Kind, body: str) -> None:
    """In password mode, and with a given token, an answer stands as it is."""
    for auth in (PASSWORD, "a-given-token"):
        played = Played(kind, reply(body), auth=auth)
        assert "suspect" not in " ".join(played.said)
        errors: dict[str, type[Every8DError]] = {
            "-99": GatewayUnavailable if kind is QUERY else OutcomeUnknown,
            "-101": AuthenticationFailed,
            "-2": GatewayRefused,
        }
        error = errors[body.partition(",")[0]]
        check(played, kind, error)
        assert played.sends == (3 if error is GatewayUnavailable else 1)


@kinds({"login": LOG_IN, "check": CHECK})
def test_unauthorized_on_the_tokens_own_calls(kind: Kind) -> None:
    """A login has no token to doubt, and a question about one is no reason to ask about it."""
    played = Played(kind, reply("", 401))
    assert check(played, kind, AccessBlocked).status == 401
    assert once_asked(kind) == played.said


@pytest.mark.parametrize(
    ("body", "error", "code"),
    [
        ('{"Result":false,"Status":"-99","Msg":"發生例外錯誤"}', AuthenticationFailed, -99),
        ('{"Result":false,"Status":"-101","Msg":"密碼錯誤"}', AuthenticationFailed, -101),
        ('{"Result":false,"Status":"-12345","Msg":""}', AuthenticationFailed, -12345),
        ('{"Result":false,"Status":"-999","Msg":""}', AccountLocked, -999),
        ('{"Result":false}', AuthenticationFailed, 0),
        ('{"Result":false,"Status":null,"Msg":null}', AuthenticationFailed, 0),
        ('{"Result":false,"Status":"?","Msg":["x"]}', AuthenticationFailed, 0),
        ("-101,密碼錯誤", AuthenticationFailed, -101),
    ],
    ids=repr,
)
def test_a_refused_login_is_tried_once(body: str, error: type[Every8DError], code: int) -> None:
    """Whatever its code, and without one too: more than ten failed logins lock the account."""
    played = Played(LOG_IN, reply(body))
    assert code == check(played, LOG_IN, error).code
    assert played.said == ["send"]


# --- the login on the way ---


@kinds({"send": SMS, "query": QUERY})
@pytest.mark.parametrize(
    "failure",
    [
        AuthenticationFailed(-101, "密碼錯誤", operation="login"),
        AccountLocked(-999, "", operation="login"),
        GatewayUnavailable("HTTP 503", operation="login"),
        GatewayUnreachable("connect", "ConnectError", attempts=3, operation="login"),
        AccessBlocked(403, {}, operation="login"),
        RateLimited(5.0, operation="login"),
        MalformedReply(["Result: is missing"], "", operation="login"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_failed_login_ends_the_call(kind: Kind, failure: Every8DError) -> None:
    """Nothing was sent; the caller's error is a copy of its own, naming its own call."""
    played = Played(kind, reply(kind.sound), logins=(failure,))
    error = check(played, kind, type(failure))
    assert error is not failure
    assert failure.operation == "login"
    assert played.said == ["login"]


def test_a_login_that_fails_after_a_dead_token_ends_the_call() -> None:
    """The refused call was not acted on, and can't go again: nothing was sent."""
    failure = AuthenticationFailed(-101, "密碼錯誤", operation="login")
    played = Played(SMS, reply("-99,x"), verdicts=(Verdict.DEAD,), logins=("token-1", failure))
    check(played, SMS, AuthenticationFailed)
    assert played.said == ["login", "send token-1", "suspect token-1", "login"]


# --- policies and deadlines ---


@kinds(KINDS)
@pytest.mark.parametrize("attempts", [1, 2, 5])
def test_the_policy_says_how_often(kind: Kind, attempts: int) -> None:
    """`attempts` counts the first try; one means no second."""
    failure = WireFailure(left=False, phase=CONNECT, cause="ConnectError")
    played = Played(kind, failure, retry=RetryPolicy(attempts=attempts))
    assert check(played, kind, GatewayUnreachable).attempts == attempts
    assert attempts == played.sends


@kinds(KINDS)
def test_a_wait_beyond_the_deadline_ends_the_call(kind: Kind) -> None:
    """Where the wait would not fit, the failure is told now."""
    failure = WireFailure(left=False, phase=CONNECT, cause="ConnectError")
    played = Played(kind, failure, in_time=False)
    assert check(played, kind, GatewayUnreachable).attempts == 1
    assert [*once_asked(kind), "sleep 0.25"] == played.said


def test_failures_of_different_kinds_add_up() -> None:
    """The tries are counted together, whatever failed."""
    played = Played(
        QUERY,
        WireFailure(left=False, phase=CONNECT, cause="ConnectError"),
        WireFailure(left=True, phase=READ, cause="ReadError"),
        reply("", 500),
    )
    assert check(played, QUERY, GatewayUnavailable).cause == "HTTP 500"
    assert tries(QUERY, *THRICE) == played.said


def test_a_malformed_reply_is_tried_once_more_whatever_came_before() -> None:
    """A format is called broken when it broke twice, not when a connection failed before."""
    failure = WireFailure(left=True, phase=READ, cause="ReadError")
    played = Played(QUERY, failure, reply("?"), reply(QUERY.sound))
    assert played.error is None
    check(Played(QUERY, failure, reply("?")), QUERY, MalformedReply)
    assert Played(QUERY, reply("?"), failure, reply(QUERY.sound)).error is None


def test_a_send_goes_again_after_what_never_left_until_it_leaves() -> None:
    """The proof is needed of every try: the first that may have left is the last."""
    played = Played(
        SMS,
        WireFailure(left=False, phase=CONNECT, cause="ConnectError"),
        WireFailure(left=True, phase=SEND, cause="WriteError"),
        reply(RECEIPT),
    )
    assert check(played, SMS, OutcomeUnknown).cause == "WriteError"
    assert tries(SMS, 0.25) == played.said


@pytest.mark.parametrize(
    ("kind", "result"),
    [(SMS, Receipt), (CANCEL, Cancellation)],
    ids=["send", "cancel"],
)
def test_results_are_models(kind: Kind, result: type) -> None:
    """What comes out is the model, not the wire's words."""
    assert isinstance(Played(kind, reply(kind.sound)).result, result)


# --- all of it ---

BODIES = [
    *(kind.sound for kind in KINDS.values()),
    *(body.encode() for body in BROKEN),
    *(f"{code},x".encode() for code in (-99, -100, -101, -300, -2, -27, -8, -999, -5)),
]
ANSWERS = st.one_of(
    st.builds(
        WireFailure,
        left=st.booleans(),
        phase=st.sampled_from([SLOT, CONNECT, SEND, READ]),
        cause=st.just("X"),
    ),
    st.just(WireFailure(left=False, phase=HELD, cause="deadline", wait=1.0)),
    st.builds(
        WireReply,
        status=st.sampled_from([200] * 8 + [204, 302, 400, 401, 403, 404, 408, 429, 451, 500, 503]),
        headers=st.sampled_from([{}, {"retry-after": "3"}]),
        body=st.sampled_from(BODIES) | st.binary(max_size=60),
        delimited=st.booleans(),
        fault=st.sampled_from(["", "", "", "the reply is encoded"]),
    ),
)


@settings(max_examples=1500)
@given(
    kind=st.sampled_from(list(KINDS.values())),
    auth=st.sampled_from([None, PASSWORD, "a-given-token"]),
    answers=st.lists(ANSWERS, min_size=1, max_size=6),
    verdicts=st.lists(st.sampled_from(Verdict), min_size=1, max_size=3),
    attempts=st.integers(1, 5),
)
def test_no_send_is_repeated_on_doubt(
    kind: Kind, auth: Auth | None, answers: list[Answer], verdicts: list[Verdict], attempts: int
) -> None:
    """
    Whatever answers come, in whatever order.

    A send goes again only after proof that nothing had left, or that its token had been dead; a
    call ends in a result or in one of our errors; and only a send is ever of unknown outcome.
    """
    played = Played(
        kind,
        *answers,
        auth=auth,
        verdicts=tuple(verdicts),
        retry=RetryPolicy(attempts=attempts),
    )
    assert played.sends <= attempts + 1
    asked = [line for line in played.said if "suspect" in line]
    assert len(asked) == len(set(asked)) <= (2 if kind in ONCE.values() else attempts + 1)
    if kind in ONCE.values():
        may_go = True
        for command, answer in played.history:
            if isinstance(command, Send):
                assert may_go
                may_go = isinstance(answer, WireFailure) and not answer.left
            elif isinstance(command, Suspect):
                may_go = answer is Verdict.DEAD
    else:
        assert not isinstance(played.error, OutcomeUnknown)
    if played.error is not None:
        check(played, kind, type(played.error))


@settings(max_examples=600)
@given(
    kind=st.sampled_from(list(ONCE.values())),
    first=ANSWERS,
    verdict=st.sampled_from(Verdict),
)
def test_after_an_answer_that_may_mean_done_nothing_goes_again(
    kind: Kind, first: Answer, verdict: Verdict
) -> None:
    """One answer, then as many sound ones as wanted: they are only met where it is safe."""
    assume(not (isinstance(first, WireFailure) and not first.left))
    played = Played(kind, first, reply(kind.sound), verdicts=(verdict,))
    if played.sends > 1:
        assert verdict is Verdict.DEAD
        assert "suspect token-1" in played.said


def test_jitter_is_handed_in() -> None:
    """Waits are spread by the randomness that the call is given."""
    luck = Random(8)
    waits: set[float] = set()
    for _ in range(20):
        flow: Generator[Any, Any, Any] = call(CREDIT, None, PASSWORD, RetryPolicy(), luck.random)
        flow.send(None)
        command = flow.send(WireFailure(left=True, phase=READ, cause="X"))
        assert isinstance(command, Sleep)
        assert 0.25 <= command.seconds <= 0.5
        waits.add(command.seconds)
    assert len(waits) > 10


def test_commands_show_no_secret() -> None:
    """What is logged of a conversation holds neither token, password, text nor number."""
    shown = repr([Send(SEND_SMS.request(TEXT, "token-1")), Suspect("token-1"), PASSWORD, TEXT])
    words = ["token-1", "hunter2", "uid'", "123456", "900000001"]
    assert [word for word in words if word in shown] == []
