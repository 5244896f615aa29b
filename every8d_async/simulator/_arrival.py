"""Read an HTTP request as the gateway's server does: case does not matter, nor GET or POST."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import parse_qsl

from attrs import field, frozen

from every8d_async.simulator._call import Call
from every8d_async.simulator._gateway import OPERATIONS
from every8d_async.simulator._values import ReceivedRequest

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from starlette.types import Receive, Scope

_ROOT = "/api21/http/"
_FORMS = ("application/x-www-form-urlencoded", "multipart/form-data")
_AHEAD = b"\xef\xbb\xbf \t\r\n"  # of JSON: a byte order mark, white space
_HANDLERS = {f"{name}.ashx".lower(): name for name in OPERATIONS} | {
    "sendparamsms.ashx": "SendParam"
}


@frozen(kw_only=True)
class Arrival:
    """A request with its body, taken apart."""

    method: str
    path: str
    query: str = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    form: tuple[tuple[str, str], ...] = field(repr=False)

    @property
    def is_json(self) -> bool:
        """Tell whether the body says that it is JSON."""
        return "json" in self.headers.get("content-type", "").lower()

    @property
    def holds_json(self) -> bool:
        """Tell whether the body is JSON where that is understood: by its looks, if not by type."""
        is_form = self.headers.get("content-type", "").lower().startswith(_FORMS)
        return not is_form or self.body.lstrip(_AHEAD).startswith(b"{")

    @property
    def token(self) -> str | None:
        """Give the Bearer token; None where there is no such header."""
        scheme, _, token = self.headers.get("authorization", "").strip().partition(" ")
        return token.strip() if scheme.lower() == "bearer" else None


def operation_of(path: str, prefix: str) -> str | None:
    """Name the handler of a path, or None where there is none."""
    root = prefix.lower() + _ROOT
    lowered = path.lower()
    return _HANDLERS.get(lowered.removeprefix(root)) if lowered.startswith(root) else None


def understand(arrival: Arrival, operation: str | None) -> tuple[ReceivedRequest, Call | None]:
    """Note a request for assertions, and make a call of it where there is a handler for it."""
    # As ASP.NET does it: a name of the query hides one of the form.
    query = parse_qsl(arrival.query, keep_blank_values=True, errors="replace")
    fields: dict[str, Any] | None
    reads_json = operation is not None and OPERATIONS[operation].reads_json
    if reads_json and arrival.body and arrival.holds_json:
        fields = _json_object(arrival.body)
    else:
        fields = _joined(query, _joined(arrival.form, {}))
    request = ReceivedRequest(
        method=arrival.method,
        path=arrival.path,
        operation=operation,
        fields=fields or {},
        headers=arrival.headers,
        body=arrival.body,
    )
    if operation is None:
        return request, None
    call = Call(
        operation=operation,
        fields={name.upper(): value for name, value in request.fields.items()},
        token=arrival.token,
        is_json=arrival.is_json,
        is_malformed=fields is None,
    )
    return request, call


async def read(scope: Scope, receive: Receive) -> Arrival | None:
    """Take a request in, whole; None where the caller hung up before its end."""
    headers = {name.decode("latin-1").lower(): v.decode("latin-1") for name, v in scope["headers"]}
    body = await _body(receive)
    if body is None:
        return None
    return Arrival(
        method=scope["method"],
        path=scope["path"],
        query=scope["query_string"].decode("utf-8", "replace"),
        headers=headers,
        body=body,
        form=await _form(scope, headers.get("content-type", "").lower(), body),
    )


async def _body(receive: Receive) -> bytes | None:
    parts = bytearray()
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        parts += message.get("body", b"")
        more = message.get("more_body", False)
    return bytes(parts)


async def _form(scope: Scope, content_type: str, body: bytes) -> tuple[tuple[str, str], ...]:
    if content_type.startswith("multipart/form-data"):
        return await _multipart(scope, body)
    if "json" in content_type:
        return ()
    text = body.decode("utf-8", "replace")
    return tuple(parse_qsl(text, keep_blank_values=True, errors="replace"))


async def _multipart(scope: Scope, body: bytes) -> tuple[tuple[str, str], ...]:
    # Imported here, so that a run without multipart bodies needs no more than the standard library.
    from starlette.exceptions import HTTPException  # noqa: PLC0415
    from starlette.formparsers import MultiPartException  # noqa: PLC0415
    from starlette.requests import Request  # noqa: PLC0415

    async def replay() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    try:
        async with Request(scope, replay).form() as form:
            return tuple((name, v) for name, v in form.multi_items() if isinstance(v, str))
    except (HTTPException, MultiPartException):
        return ()


def _joined(pairs: Iterable[tuple[str, str]], behind: Mapping[str, Any]) -> dict[str, Any]:
    """Join the values of a name with commas; what stands behind counts where there is none."""
    joined: dict[str, Any] = {}
    spelled: dict[str, str] = {}
    for name, value in pairs:
        first = spelled.setdefault(name.upper(), name)
        joined[first] = f"{joined[first]},{value}" if first in joined else value
    return joined | {name: v for name, v in behind.items() if name.upper() not in spelled}


def _json_object(body: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(body.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        return None
    return cast("dict[str, Any]", value) if isinstance(value, dict) else None
