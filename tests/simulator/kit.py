"""What these tests share: a clock and ids handed in, and a caller without an event loop."""

from __future__ import annotations

import json as jsonlib
from datetime import UTC, datetime
from decimal import Decimal
from itertools import count
from typing import Any
from urllib.parse import urlencode

from attrs import frozen

from every8d_async.simulator import Account, Simulator

START = datetime(2026, 1, 1, 19, 4, 5, tzinfo=UTC)  # 2026-01-02 03:04:05 in Taipei
ROOT = "/API21/HTTP/"
DEMO = {"UID": "demo", "PWD": "demo"}


def batch(number: int) -> str:
    """The batch id that comes out as the n-th."""
    return f"00000000-0000-4000-8000-{number:012}"


def token(number: int) -> str:
    """The token that comes out as the n-th."""
    return f"{number:032x}"


def make(**options: Any) -> Simulator:
    """A simulator whose clock stands still and whose ids can be foretold."""
    batches, tokens = count(1), count(1)
    options = {
        "clock": lambda: START,
        "new_id": lambda: batch(next(batches)),
        "new_token": lambda: token(next(tokens)),
    } | options
    return Simulator(**options)


def with_credit(credit: str, **more: Any) -> Simulator:
    """A simulator whose one account has that much."""
    account_options = {k: more.pop(k) for k in ("international", "default_channel") if k in more}
    account = Account(uid="demo", password="demo", credit=Decimal(credit), **account_options)
    return make(accounts=(account,), **more)


@frozen
class Answer:
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def json(self) -> Any:
        return jsonlib.loads(self.body)


def ask(
    simulator: Simulator,
    path: str,
    fields: dict[str, str] | None = None,
    *,
    method: str = "POST",
    query: str = "",
    json: Any = None,
    body: bytes | None = None,
    headers: dict[str, str] | None = None,
    token: str | None = None,
) -> Answer:
    """
    Call the ASGI application and step through it by hand.

    It never waits for anything but the request, so no event loop is needed.
    """
    sent: list[Any] = []
    given = {"content-type": "application/x-www-form-urlencoded"} | (headers or {})
    if token is not None:
        given["authorization"] = f"Bearer {token}"
    if json is not None:
        given["content-type"] = "application/json"
        body = jsonlib.dumps(json, ensure_ascii=False).encode()
    payload = body if body is not None else urlencode(fields or {}).encode()
    scope = {
        "type": "http",
        "method": method,
        "path": path if path.startswith("/") else ROOT + path,
        "query_string": query.encode(),
        "headers": [(name.encode(), value.encode()) for name, value in given.items()],
    }

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": payload, "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    run = simulator(scope, receive, send)
    try:
        run.send(None)
    except StopIteration:
        start, rest = sent
        head = {name.decode(): value.decode() for name, value in start["headers"]}
        return Answer(start["status"], head, rest["body"])
    raise AssertionError("the application waited for something")


def sms(simulator: Simulator, dest: str = "+886912345678", **fields: str) -> Answer:
    """Send as the demo account."""
    return ask(simulator, "SendSMS.ashx", {**DEMO, "MSG": "hello", "DEST": dest, **fields})


def reports(simulator: Simulator, batch_id: str, **fields: str) -> Answer:
    """Ask for reports as the demo account, in JSON where nothing else is said."""
    fields = {**DEMO, "BID": batch_id, "RESPFORMAT": "1", **fields}
    return ask(simulator, "GetDeliveryStatus.ashx", fields)


def statuses(simulator: Simulator, batch_id: str) -> list[str]:
    """The statuses that the reports of a batch show."""
    return [row["STATUS"] for row in reports(simulator, batch_id).json["DATA"]]


def cancel(simulator: Simulator, batch_id: str) -> Answer:
    """Cancel a booking as the demo account."""
    return ask(simulator, "EraseBooking.ashx", {**DEMO, "BID": batch_id})


def log_in(simulator: Simulator, uid: str = "demo", password: str = "demo") -> Answer:
    """Ask for a token."""
    body = {"HandlerType": 3, "VerifyType": 1, "UID": uid, "PWD": password}
    return ask(simulator, "ConnectionHandler.ashx", json=body)


def check(simulator: Simulator, held: str | None) -> Answer:
    """Ask whether a token is alive."""
    body = {"HandlerType": 3, "VerifyType": 2}
    return ask(simulator, "ConnectionHandler.ashx", json=body, token=held)


def close(simulator: Simulator, held: str | None) -> Answer:
    """End a token."""
    body = {"HandlerType": 3, "VerifyType": 3}
    return ask(simulator, "ConnectionHandler.ashx", json=body, token=held)
