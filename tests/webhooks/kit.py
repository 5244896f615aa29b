"""What these tests share: a store that notes what it gets, and an ASGI caller by hand."""

from typing import Any
from urllib.parse import urlencode

from every8d_async.webhooks import PushedReply, PushedReport

TOKEN, OLD = "x7Zr-Qm2_token.of~tests", "y7Zr-Qm2_token.of~before"
BATCH = "f370a403-df23-4122-a7e6-261563a071cd"
REPORT = {"BatchID": BATCH, "RM": "+886987654321", "STATUS": "100", "SM": "secret text", "MR": "1"}
QUERY = urlencode(REPORT).encode()


class Store:
    """A handler that notes what it gets; it may be told to fail."""

    def __init__(self) -> None:
        self.reports: list[PushedReport | PushedReply] = []
        self.error: Exception | None = None

    async def __call__(self, report: PushedReport | PushedReply) -> None:
        if self.error is not None:
            raise self.error
        self.reports.append(report)


async def call(
    app: Any,
    method: str = "GET",
    path: str = f"/reports/{TOKEN}",
    query: bytes = b"",
    parts: list[bytes] | None = None,
    *,
    hangs_up: bool = False,
) -> tuple[int, bytes, dict[bytes, bytes]] | None:
    """Call an ASGI application with a body in parts; None where it answers nothing."""
    given = parts or [b""]
    incoming: list[dict[str, Any]] = [
        {"type": "http.request", "body": part, "more_body": hangs_up or number < len(given)}
        for number, part in enumerate(given, 1)
    ]
    incoming.append({"type": "http.disconnect"})
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return incoming.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": method, "path": path, "query_string": query}
    await app(scope, receive, send)
    if not sent:
        return None
    start, body = sent
    return start["status"], body["body"], dict(start["headers"])


async def status(app: Any, *args: Any, **kwargs: Any) -> int:
    """The status alone."""
    answer = await call(app, *args, **kwargs)
    assert answer is not None
    return answer[0]
