"""Paths, methods, bodies, and the record of requests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from .kit import DEMO, ask, batch, log_in, make, token

if TYPE_CHECKING:
    from every8d_async.simulator import Simulator

FORM = "application/x-www-form-urlencoded"
BOUNDARY = "multipart/form-data; boundary=XX"


@pytest.mark.parametrize(
    "path",
    [
        "/API21/HTTP/GetCredit.ashx",
        "/api21/http/getcredit.ashx",
        "/API21/http/GETCREDIT.ASHX",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_case_and_method(simulator: Simulator, path: str, method: str) -> None:
    """Paths and field names are matched without regard to case; GET does as well as POST."""
    answer = ask(simulator, path, method=method, query="uid=demo&pWd=demo")

    assert answer.body == b"10000.00"


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/API21/HTTP/",
        "/API21/HTTP/Nothing.ashx",
        "/API21/HTTP/GetCredit",
        "/API21/HTTP/GetCredit.ashx/",
        "/API21/HTTP/MMS/GetCredit.ashx",
        "/corp/API21/HTTP/GetCredit.ashx",
        "/__control__/state",
    ],
)
def test_not_found(simulator: Simulator, path: str) -> None:
    """A handler that is not there gets 404, also one before which a prefix stands."""
    answer = ask(simulator, path, DEMO)

    assert answer.status == 404
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert b"404" in answer.body
    assert simulator.requests[0].operation is None


@pytest.mark.parametrize("method", ["PUT", "DELETE", "OPTIONS"])
def test_other_methods(simulator: Simulator, method: str) -> None:
    """Methods but GET and POST get 405."""
    assert ask(simulator, "GetCredit.ashx", DEMO, method=method).status == 405


@pytest.mark.parametrize("prefix", ["corp", "/corp/", "/Corp"])
def test_prefix(prefix: str) -> None:
    """With a prefix the handlers are behind it, and only there."""
    simulator = make(prefix=prefix)

    assert ask(simulator, "/corp/api21/HTTP/GetCredit.ashx", DEMO).body == b"10000.00"
    assert ask(simulator, "/API21/HTTP/GetCredit.ashx", DEMO).status == 404


def test_extra_fields(simulator: Simulator) -> None:
    """Fields that nobody knows are ignored."""
    assert ask(simulator, "GetCredit.ashx", {**DEMO, "MORE": "x"}).body == b"10000.00"


def test_name_twice(simulator: Simulator) -> None:
    """A name given twice has its values joined with a comma, in whatever case."""
    fields = b"UID=demo&PWD=demo&MSG=x&DEST=0911111111&dest=0922222222"

    assert ask(simulator, "SendSMS.ashx", body=fields).text == f"9998.00,2,2,0,{batch(1)}"


def test_query_hides_form(simulator: Simulator) -> None:
    """A name in the query hides the same one in the form."""
    answer = ask(simulator, "GetCredit.ashx", {"UID": "x", "PWD": "demo"}, query="uid=demo")

    assert answer.body == b"10000.00"
    assert dict(simulator.requests[0].fields) == {"uid": "demo", "PWD": "demo"}


def test_plus_and_percent(simulator: Simulator) -> None:
    """In a form a plus is a blank, and what is escaped is UTF-8."""
    body = b"UID=demo&PWD=demo&DEST=%2B886911111111&MSG=%E4%BD%A0+%e5%a5%bd"
    ask(simulator, "SendSMS.ashx", body=body)

    assert simulator.sent[0].text == "你 好"


def test_plain_bytes_in_the_query(simulator: Simulator) -> None:
    """A query that is not escaped is taken for UTF-8."""
    query = "UID=demo&PWD=demo&DEST=0911111111&MSG=你好"
    ask(simulator, "SendSMS.ashx", method="GET", query=query)

    assert simulator.sent[0].text == "你好"


def test_multipart(simulator: Simulator) -> None:
    """A multipart body does as well as a form; a file in it counts for nothing."""
    parts = [
        ('name="UID"', "demo"),
        ('name="pwd"', "demo"),
        ('name="MSG"', "你好"),
        ('name="DEST"', "0911111111"),
        ('name="RETRYTIME"; filename="x.txt"', "not a number"),
    ]
    body = "".join(
        f"--XX\r\nContent-Disposition: form-data; {head}\r\n\r\n{value}\r\n"
        for head, value in parts
    )
    answer = ask(
        simulator,
        "SendSMS.ashx",
        body=f"{body}--XX--\r\n".encode(),
        headers={"content-type": BOUNDARY},
    )

    assert answer.text == f"9999.00,1,1,0,{batch(1)}"
    assert simulator.sent[0].text == "你好"


@pytest.mark.parametrize("content_type", [BOUNDARY, "multipart/form-data"])
def test_broken_multipart(simulator: Simulator, content_type: str) -> None:
    """A multipart body that can't be read has no fields."""
    answer = ask(
        simulator, "GetCredit.ashx", body=b"nonsense", headers={"content-type": content_type}
    )

    assert answer.text == "-300,帳號密碼不得為空"


def test_requests(simulator: Simulator) -> None:
    """Each request is noted, with names as they were spelled."""
    ask(simulator, "sendsms.ashx", {"uid": "demo", "Pwd": "demo"}, query="a=b")

    (request,) = simulator.requests

    assert (request.method, request.path) == ("POST", "/API21/HTTP/sendsms.ashx")
    assert request.operation == "SendSMS"
    assert dict(request.fields) == {"a": "b", "uid": "demo", "Pwd": "demo"}
    assert dict(request.headers) == {"content-type": FORM}
    assert request.body == b"uid=demo&Pwd=demo"


def test_requests_hide_secrets(simulator: Simulator) -> None:
    """A request's repr shows neither password nor token; its attributes have them."""
    log_in(simulator)
    ask(simulator, "GetCredit.ashx", {"uid": "demo", "pwd": "geheim"}, token="verborgen")

    shown = repr(simulator.requests)

    assert simulator.requests[1].fields["pwd"] == "geheim"
    assert "geheim" not in shown
    assert "verborgen" not in shown
    assert token(1) not in repr(simulator)
    assert "'uid': 'demo'" in shown


def test_json_fields_are_noted(simulator: Simulator) -> None:
    """Of a JSON body the fields are noted as they are."""
    ask(simulator, "SendParam.ashx", json={"RecipientDataList": [{"Mobile": "x"}]})

    assert simulator.requests[0].fields == {"RecipientDataList": [{"Mobile": "x"}]}


@pytest.mark.parametrize("kind", ["lifespan", "websocket"])
def test_only_http(simulator: Simulator, kind: str) -> None:
    """Scopes but http are left alone."""

    async def never(*_args: object) -> dict[str, object]:
        raise AssertionError

    with pytest.raises(StopIteration):
        simulator({"type": kind}, never, never).send(None)  # type: ignore[arg-type]
