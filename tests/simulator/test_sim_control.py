"""The control path, for tests in other languages."""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING, Any

import pytest

from .kit import DEMO, Answer, ask, batch, log_in, make, sms, statuses

if TYPE_CHECKING:
    from every8d_async.simulator import Simulator


@pytest.fixture
def simulator() -> Simulator:
    """A simulator that can be controlled."""
    return make(control=True)


def post(simulator: Simulator, action: str, **body: Any) -> Answer:
    """Do something."""
    return ask(simulator, f"/__control__/{action}", json=body)


def get(simulator: Simulator, what: str) -> Any:
    """Ask for something."""
    return ask(simulator, f"/__control__/{what}", method="GET").json


def test_off() -> None:
    """It is not there unless it is asked for."""
    assert post(make(), "reset").status == 404


def test_state(simulator: Simulator) -> None:
    """The state: time, credit, logins, faults to come."""
    log_in(simulator)
    sms(simulator)
    log_in(simulator, "demo", "x")
    post(simulator, "faults", fault="hang")

    assert get(simulator, "state") == {
        "now": "2026-01-02T03:04:05+08:00",
        "credit": {"demo": "9999"},
        "logins": 2,
        "failed_logins": 1,
        "faults": 1,
    }


def test_sent(simulator: Simulator) -> None:
    """Messages, with points as strings, times in ISO 8601, pictures in base64."""
    sms(simulator)
    picture = b64encode(b"picture").decode()
    fields = {**DEMO, "SB": "x", "DEST": "0900000001", "ATTACHMENT": picture, "TYPE": "gif"}
    ask(simulator, "MMS/SendMMS.ashx", fields)

    text, mms = get(simulator, "sent")["sent"]

    assert text == {
        "account": "demo",
        "batch_id": batch(1),
        "kind": "sms",
        "mobile": "+886912345678",
        "text": "hello",
        "subject": "",
        "name": "",
        "email": "",
        "reference": "1",
        "cost": "1",
        "accepted_at": "2026-01-02T03:04:05+08:00",
        "scheduled_for": None,
        "valid_minutes": 1440,
        "event_id": "",
        "attachment": None,
        "attachment_type": "",
    }
    assert mms["attachment"] == picture


def test_batches(simulator: Simulator) -> None:
    """Batches, each with its reports."""
    sms(simulator)

    (found,) = get(simulator, "batches")["batches"]

    assert found["batch_id"] == batch(1)
    assert found["reports"][0]["status"] == 0


def test_requests(simulator: Simulator) -> None:
    """Requests, without passwords; those to the control path are not among them."""
    ask(simulator, "GetCredit.ashx", DEMO)

    assert get(simulator, "requests") == {
        "requests": [
            {
                "method": "POST",
                "path": "/API21/HTTP/GetCredit.ashx",
                "operation": "GetCredit",
                "fields": {"UID": "demo", "PWD": "***"},
            }
        ]
    }


def test_time_and_delivery(simulator: Simulator) -> None:
    """Time is moved, messages are delivered, numbers fail, people write back."""
    sms(simulator, ST="20260102030406")
    post(simulator, "fail", mobile="0912345678", status=103)
    post(simulator, "advance", seconds=1)

    answer = post(simulator, "deliver")

    assert (answer.status, answer.text) == (200, "{}")
    assert answer.headers["content-type"] == "application/json; charset=utf-8"
    assert statuses(simulator, batch(1)) == ["103"]
    assert post(simulator, "reply", batch_id=batch(1), mobile="0912345678", text="好").body == b"{}"
    fields = {**DEMO, "BID": batch(1), "RESPFORMAT": "1"}
    assert ask(simulator, "GetReplyMessage.ashx", fields).json["DATA"][0]["CONTENT"] == "好"


def test_tokens(simulator: Simulator) -> None:
    """Tokens are ended."""
    given = log_in(simulator).json["Msg"]
    post(simulator, "expire-tokens")

    assert ask(simulator, "GetCredit.ashx", token=given).text.startswith("-99")


def test_reset(simulator: Simulator) -> None:
    """All is forgotten; an empty body is as good as an empty object."""
    sms(simulator)

    assert ask(simulator, "/__control__/reset", body=b"").status == 200
    assert simulator.sent == ()


@pytest.mark.parametrize(
    ("fault", "status"),
    [
        ({"fault": "status", "status": 503, "headers": {"Retry-After": 3}, "body": "x"}, 503),
        ({"fault": "firewall"}, 403),
        ({"fault": "garbage", "body": "?", "acts": True}, 200),
        ({"fault": "cut", "keep": 3, "clean": True}, 200),
        ({"fault": "refuse", "code": -8, "message": "x"}, 200),
        ({"fault": "dead_token"}, 200),
        ({"fault": "status", "status": 503, "rate": 1.0, "times": 2, "operation": "sendsms"}, 503),
    ],
)
def test_faults(simulator: Simulator, fault: dict[str, Any], status: int) -> None:
    """Faults are ordered by name."""
    assert post(simulator, "faults", **fault).text == "{}"

    assert sms(simulator).status == status


def test_more_faults(simulator: Simulator) -> None:
    """Those of the connection too; and they are forgotten again."""
    for fault in ({"fault": "delay", "seconds": 1}, {"fault": "reset"}, {"fault": "hang"}):
        assert post(simulator, "faults", **fault, operation="GetCredit").status == 200
    assert get(simulator, "state")["faults"] == 3

    post(simulator, "clear-faults")

    assert get(simulator, "state")["faults"] == 0


@pytest.mark.parametrize(
    ("action", "body", "error"),
    [
        ("advance", {"seconds": -1}, "ValueError: the clock can't be moved back"),
        ("advance", {"seconds": "long"}, "TypeError"),
        ("advance", {"seconds": 1e300}, "OverflowError"),
        ("advance", {}, "KeyError: 'seconds'"),
        ("fail", {"mobile": "x", "status": 1}, "ValueError: 'x' is no mobile number"),
        ("reply", {"batch_id": "x", "mobile": "0912345678", "text": ""}, "ValueError: there is no"),
        ("faults", {"fault": "fire"}, "ValueError: no fault 'fire'; there are: cut, "),
        ("faults", {"fault": "reset", "heat": 1}, "TypeError"),
        ("faults", {"fault": "reset", "operation": "x"}, "ValueError: no operation 'x'"),
        ("faults", {"fault": "garbage", "body": 1}, "AttributeError"),
    ],
)
def test_bad_requests(simulator: Simulator, action: str, body: dict[str, Any], error: str) -> None:
    """What makes no sense gets 400, and says why."""
    answer = post(simulator, action, **body)

    assert answer.status == 400
    assert answer.json["error"].startswith(error)


@pytest.mark.parametrize("body", [b"{", b"[" * 100_000])
def test_no_json(simulator: Simulator, body: bytes) -> None:
    """A body that is no JSON gets 400 too, however deep it is."""
    assert ask(simulator, "/__control__/advance", body=body).status == 400


@pytest.mark.parametrize(("method", "what"), [("POST", "state"), ("GET", "reset"), ("GET", "x")])
def test_not_there(simulator: Simulator, method: str, what: str) -> None:
    """Other paths get 404, and so does the wrong verb."""
    answer = ask(simulator, f"/__control__/{what}", method=method)

    assert answer.status == 404
    assert answer.json == {"error": f"there is no {method} /__control__/{what}"}
