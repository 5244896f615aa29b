"""Tokens, passwords and locks."""

from __future__ import annotations

from datetime import timedelta

import pytest

from every8d_async.simulator import Account, Dialect, Refusal, Simulator

from .kit import DEMO, ask, check, close, log_in, make, token

DEAD = '{"Result":false,"Status":"-99","Msg":"發生例外錯誤"}'.encode()
LOCKED = '{"Result":false,"Status":"-999","Msg":"帳號已被鎖定"}'.encode()
WRONG = '{"Result":false,"Status":"-101","Msg":"密碼錯誤"}'.encode()


def test_login(simulator: Simulator) -> None:
    """A login gives a token of 32 hexadecimal digits."""
    answer = log_in(simulator)

    assert answer.body == b'{"Result":true,"Msg":"00000000000000000000000000000001"}'
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json; charset=utf-8"
    assert simulator.logins == 1


def test_login_from_the_query(simulator: Simulator) -> None:
    """GET with a query does what a JSON body does."""
    query = "handlertype=3&VERIFYTYPE=1&uid=demo&pwd=demo"
    answer = ask(simulator, "ConnectionHandler.ashx", method="GET", query=query)

    assert answer.body == b'{"Result":true,"Msg":"00000000000000000000000000000001"}'


FORM = b"handlertype=3&VERIFYTYPE=1&uid=demo&pwd=demo"
MULTIPART = b"".join(
    b'--XX\r\nContent-Disposition: form-data; name="%b"\r\n\r\n%b\r\n' % tuple(pair.split(b"="))
    for pair in FORM.split(b"&")
)
JSON = b'\xef\xbb\xbf {"HandlerType":3,"VerifyType":1,"UID":"demo","PWD":"demo"}'
AS_FORM, AS_JSON = "application/x-www-form-urlencoded", "application/json"


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (FORM, AS_FORM),
        (FORM, f"{AS_FORM.title()}; charset=UTF-8"),
        (MULTIPART + b"--XX--\r\n", "multipart/form-data; boundary=XX"),
        (JSON, AS_JSON),
        (JSON, AS_FORM),
        (JSON, "text/plain"),
    ],
    ids=["form", "form with charset", "multipart", "JSON", "JSON called a form", "JSON as text"],
)
def test_login_by_post(simulator: Simulator, body: bytes, content_type: str) -> None:
    """A form does what JSON does; JSON is JSON whatever it is called, as by curl."""
    head = {"content-type": content_type}
    answer = ask(simulator, "ConnectionHandler.ashx", body=body, headers=head)

    assert answer.body == b'{"Result":true,"Msg":"00000000000000000000000000000001"}'


@pytest.mark.parametrize(
    ("body", "content_type"),
    [(FORM, AS_JSON), (FORM, "text/plain"), (JSON[:-1], AS_FORM), (b"[]", AS_JSON)],
)
def test_neither_form_nor_json(simulator: Simulator, body: bytes, content_type: str) -> None:
    """What is neither, by its looks and by its name, is not understood."""
    head = {"content-type": content_type}

    assert ask(simulator, "ConnectionHandler.ashx", body=body, headers=head).body == DEAD


@pytest.mark.parametrize(
    ("uid", "password", "expected"),
    [
        ("demo", "wrong", '{"Result":false,"Status":"-101","Msg":"密碼錯誤"}'),
        ("nobody", "demo", '{"Result":false,"Status":"-100","Msg":"無此帳號"}'),
        ("", "demo", '{"Result":false,"Status":"-300","Msg":"帳號密碼不得為空"}'),
        ("demo", "", '{"Result":false,"Status":"-300","Msg":"帳號密碼不得為空"}'),
    ],
)
def test_refused_login(simulator: Simulator, uid: str, password: str, expected: str) -> None:
    """A refused login is JSON with HTTP 200."""
    answer = log_in(simulator, uid, password)

    assert (answer.status, answer.text) == (200, expected)


@pytest.mark.parametrize(
    ("uid", "password", "expected"),
    [
        ("demo", "wrong", "-101,密碼錯誤"),
        ("nobody", "demo", "-100,無此帳號"),
        ("", "", "-300,帳號密碼不得為空"),
    ],
)
def test_refused_password(simulator: Simulator, uid: str, password: str, expected: str) -> None:
    """A call with a wrong password is refused in the form of its own replies."""
    answer = ask(simulator, "GetCredit.ashx", {"UID": uid, "PWD": password})

    assert (answer.status, answer.text) == (200, expected)


def test_check_and_close(simulator: Simulator) -> None:
    """A token is alive until it is closed."""
    log_in(simulator)

    assert check(simulator, token(1)).body == b'{"Result":true}'
    assert close(simulator, token(1)).body == b'{"Result":true}'
    assert check(simulator, token(1)).body == DEAD
    assert close(simulator, token(1)).body == DEAD
    assert check(simulator, None).body == DEAD


def test_dialect_with_status() -> None:
    """A JSON success may carry a Status of 0."""
    simulator = make(dialect=Dialect(json_status=True))

    assert log_in(simulator).text == f'{{"Result":true,"Status":"0","Msg":"{token(1)}"}}'
    assert check(simulator, token(1)).text == '{"Result":true,"Status":"0"}'


@pytest.mark.parametrize(
    "body",
    [
        {"HandlerType": 2, "VerifyType": 1, "UID": "demo", "PWD": "demo"},
        {"HandlerType": 3, "VerifyType": 4},
        {"HandlerType": 3},
        {},
        [],
        "text",
    ],
)
def test_unknown_verify_type(simulator: Simulator, body: object) -> None:
    """What ConnectionHandler can't make sense of gets its documented failure."""
    assert ask(simulator, "ConnectionHandler.ashx", json=body).body == DEAD


@pytest.mark.parametrize("body", [b"UID=demo&PWD=demo", b"\xff", b"[" * 100_000])
def test_no_json(simulator: Simulator, body: bytes) -> None:
    """A body that is no JSON gets the documented failure."""
    assert ask(simulator, "ConnectionHandler.ashx", body=body).body == DEAD


def test_token_expires(simulator: Simulator) -> None:
    """A token is good for its lifetime, and not a moment longer."""
    log_in(simulator)
    simulator.advance(timedelta(hours=8) - timedelta(microseconds=1))
    assert check(simulator, token(1)).body == b'{"Result":true}'

    simulator.advance(timedelta(microseconds=1))

    assert check(simulator, token(1)).body == DEAD


def test_dead_token_on_a_call(simulator: Simulator) -> None:
    """A dead token gets -99 in the form of the operation's replies."""
    assert ask(simulator, "GetCredit.ashx", token="gone").text == "-99,發生不明錯誤"
    assert ask(simulator, "GetCredit.ashx", token="").text == "-99,發生不明錯誤"
    answer = ask(simulator, "SendParam.ashx", json={"SB": ""}, token="gone")
    assert answer.text == '{"Result":false,"Status":"-99","Msg":"發生不明錯誤"}'


def test_dead_token_by_setting() -> None:
    """What a dead token gets is not known, so that it can be chosen, HTTP status included."""
    simulator = make(dead_token=Refusal(-2, "憑證失效", http_status=401))

    answer = ask(simulator, "GetCredit.ashx", token="gone")

    assert (answer.status, answer.text) == (401, "-2,憑證失效")


def test_token_wins_over_password(simulator: Simulator) -> None:
    """Where there is a token, uid and password in the body are not looked at."""
    log_in(simulator)

    answer = ask(simulator, "GetCredit.ashx", {"UID": "x", "PWD": "y"}, token=token(1))

    assert answer.body == b"10000.00"


def test_other_schemes_are_no_token(simulator: Simulator) -> None:
    """Only Bearer makes a token, in any case."""
    log_in(simulator)

    basic = ask(simulator, "GetCredit.ashx", DEMO, headers={"authorization": "Basic abc"})
    lower = ask(simulator, "GetCredit.ashx", headers={"authorization": f"bearer {token(1)}"})

    assert basic.body == b"10000.00"
    assert lower.body == b"10000.00"


def test_expire_tokens(simulator: Simulator) -> None:
    """All tokens can be ended at once."""
    log_in(simulator)
    log_in(simulator)

    simulator.expire_tokens()

    assert [check(simulator, token(n)).body for n in (1, 2)] == [DEAD, DEAD]


def test_several_tokens(simulator: Simulator) -> None:
    """Where nothing else is set, older tokens live on after a login."""
    log_in(simulator)
    log_in(simulator)

    assert check(simulator, token(1)).body == b'{"Result":true}'


def test_one_token_per_account() -> None:
    """By setting, a login ends the account's older tokens, and no others."""
    accounts = (Account(uid="a", password="a"), Account(uid="b", password="b"))
    simulator = make(accounts=accounts, one_token_per_account=True)
    log_in(simulator, "a", "a")
    log_in(simulator, "b", "b")
    log_in(simulator, "a", "a")

    alive = [check(simulator, token(n)).json["Result"] for n in (1, 2, 3)]

    assert alive == [False, True, True]


def test_lock(simulator: Simulator) -> None:
    """Ten failed logins are told what was wrong; the eleventh locks the account for good."""
    failures = [log_in(simulator, "demo", "wrong").body for _ in range(12)]

    assert failures == [WRONG] * 10 + [LOCKED] * 2
    assert log_in(simulator).body == LOCKED
    assert ask(simulator, "GetCredit.ashx", DEMO).text == "-999,帳號已被鎖定"
    assert (simulator.logins, simulator.failed_logins) == (13, 12)


def test_calls_lock_too(simulator: Simulator) -> None:
    """In password mode every call is a login, and a failed one counts."""
    bad = {"UID": "demo", "PWD": "wrong"}
    texts = [ask(simulator, "GetCredit.ashx", bad).text for _ in range(11)]

    assert texts == ["-101,密碼錯誤"] * 10 + ["-999,帳號已被鎖定"]
    assert (simulator.logins, simulator.failed_logins) == (0, 11)


def test_success_forgets_failures(simulator: Simulator) -> None:
    """A login that succeeds sets the count of failures back."""
    for _ in range(3):
        for _ in range(10):
            log_in(simulator, "demo", "wrong")
        assert log_in(simulator).json["Result"] is True


def test_locked_account_keeps_its_tokens(simulator: Simulator) -> None:
    """A lock is for logging in: a token given out before lives on."""
    log_in(simulator)
    for _ in range(11):
        log_in(simulator, "demo", "wrong")

    assert check(simulator, token(1)).body == b'{"Result":true}'


def test_unknown_accounts_do_not_lock(simulator: Simulator) -> None:
    """There is nothing to lock where there is no account, however often it is tried."""
    texts = {log_in(simulator, "nobody", "x").json["Status"] for _ in range(20)}

    assert texts == {"-100"}
