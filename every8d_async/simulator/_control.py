"""
The control path, for tests in other languages: what `Simulator` offers, as JSON over HTTP.

It is there only when asked for (`Simulator(control=True)`, `--control`). Bodies and answers are
JSON objects; an answer without news is `{}`; a request that makes no sense gets 400 and
`{"error": "…"}`. Points are strings, times are ISO 8601.

====  ==========================  ============================================================
verb  path                        body, or answer
====  ==========================  ============================================================
GET   /__control__/state          answer: now, credit (by uid), logins, failed_logins, faults
GET   /__control__/sent           answer: sent, a list of messages
GET   /__control__/batches        answer: batches, a list, each with its reports
GET   /__control__/requests       answer: requests, a list; passwords are masked
GET   /__control__/pushes         answer: pushes, a list, each with the statuses of its tries
POST  /__control__/push-to        url, method, encoding, tries: push reports and replies there
POST  /__control__/reset          forget all that happened
POST  /__control__/advance        seconds: move the clock
POST  /__control__/deliver        make final what has gone out
POST  /__control__/fail           mobile, status: how messages to a number end
POST  /__control__/reply          batch_id, mobile, text: somebody writes back
POST  /__control__/expire-tokens  end all tokens
POST  /__control__/faults         fault and what it takes, operation (or `*`), times, rate
POST  /__control__/clear-faults   forget faults to come
====  ==========================  ============================================================

Faults: `delay` (seconds), `status` (status, headers, body), `firewall`, `garbage` (body), `cut`
(keep, clean), `reset`, `hang`, `dead_token`, `refuse` (code, message); `acts` where it applies.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import attrs

from every8d_async.simulator import faults
from every8d_async.simulator._call import JSON, Reply
from every8d_async.simulator._values import mask_fields

if TYPE_CHECKING:
    from every8d_async.simulator._arrival import Arrival
    from every8d_async.simulator._simulator import Simulator

ROOT = "/__control__/"

# What a body that makes no sense leads to; one that is nested without end included.
_NONSENSE = (AttributeError, KeyError, OverflowError, RecursionError, TypeError, ValueError)

_Action = Callable[["Simulator", dict[str, Any]], Mapping[str, Any] | None]

_FAULTS: Mapping[str, type[faults.Fault]] = MappingProxyType(
    {
        "cut": faults.CutReply,
        "dead_token": faults.DeadToken,
        "delay": faults.Delay,
        "firewall": faults.FirewallPage,
        "garbage": faults.Garbage,
        "hang": faults.Hang,
        "refuse": faults.Refuse,
        "reset": faults.Reset,
        "status": faults.HttpStatus,
    }
)


def control(simulator: Simulator, arrival: Arrival) -> Reply:
    """Do what a request to the control path asks for."""
    action = _ACTIONS.get((arrival.method, arrival.path.removeprefix(ROOT)))
    if action is None:
        return _json(404, {"error": f"there is no {arrival.method} {arrival.path}"})
    try:
        return _json(200, action(simulator, json.loads(arrival.body or b"{}")) or {})
    except _NONSENSE as error:
        return _json(400, {"error": f"{type(error).__name__}: {error}"})


def _state(simulator: Simulator, _body: dict[str, Any]) -> Mapping[str, Any]:
    return {
        "now": simulator.now,
        "credit": simulator.credits,
        "logins": simulator.logins,
        "failed_logins": simulator.failed_logins,
        "faults": len(simulator.faults),
    }


def _requests(simulator: Simulator, _body: dict[str, Any]) -> Mapping[str, Any]:
    return {
        "requests": [
            {
                "method": request.method,
                "path": request.path,
                "operation": request.operation,
                "fields": mask_fields(request.fields),
            }
            for request in simulator.requests
        ]
    }


def _add_fault(simulator: Simulator, body: dict[str, Any]) -> None:
    kind = body.pop("fault")
    if kind not in _FAULTS:
        raise ValueError(f"no fault {kind!r}; there are: {', '.join(_FAULTS)}")
    operation = body.pop("operation", "*")
    times, rate = body.pop("times", None), body.pop("rate", None)
    if "seconds" in body:
        body["by"] = timedelta(seconds=body.pop("seconds"))
    if "body" in body:
        body["body"] = body["body"].encode()
    simulator.faults.add(operation, _FAULTS[kind](**body), times=times, rate=rate)


_ACTIONS: Mapping[tuple[str, str], _Action] = MappingProxyType(
    {
        ("GET", "state"): _state,
        ("GET", "sent"): lambda simulator, _body: {"sent": simulator.sent},
        ("GET", "batches"): lambda simulator, _body: {"batches": simulator.batches},
        ("GET", "requests"): _requests,
        ("GET", "pushes"): lambda simulator, _body: {"pushes": simulator.pushes},
        ("POST", "push-to"): lambda simulator, body: simulator.push_to(**body),
        ("POST", "reset"): lambda simulator, _body: simulator.reset(),
        ("POST", "advance"): lambda simulator, body: simulator.advance(
            timedelta(seconds=body["seconds"])
        ),
        ("POST", "deliver"): lambda simulator, _body: simulator.deliver_all(),
        ("POST", "fail"): lambda simulator, body: simulator.fail(
            body["mobile"], int(body["status"])
        ),
        ("POST", "reply"): lambda simulator, body: simulator.add_reply(
            body["batch_id"], body["mobile"], body["text"]
        ),
        ("POST", "expire-tokens"): lambda simulator, _body: simulator.expire_tokens(),
        ("POST", "faults"): _add_fault,
        ("POST", "clear-faults"): lambda simulator, _body: simulator.faults.clear(),
    }
)


def _json(status: int, value: Mapping[str, Any]) -> Reply:
    body = json.dumps(value, ensure_ascii=False, default=_plain).encode("utf-8", "replace")
    return Reply(body=body, content_type=JSON, status=status)


def _plain(value: Any) -> Any:
    match value:
        case Decimal():
            return str(value)
        case datetime():
            return value.isoformat()
        case bytes():
            return b64encode(value).decode()
        case _:
            return attrs.asdict(value, recurse=False)
