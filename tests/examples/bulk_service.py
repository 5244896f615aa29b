"""
A small service: POST a CSV of ``mobile,text``, and read what becomes of its rows while it happens.

::

    curl --no-buffer --upload-file people.csv -X POST http://127.0.0.1:8000/bulk

The upload is sent while it comes in, and the answer is a JSON line a batch. Nothing is kept in
memory: who reads the answer slowly slows the upload down. So a client has to read while it uploads,
as curl does. Bad rows are lines of the answer, too. Whoever hangs up stops the reading; what is in
flight is waited for, and the journal holds what became of all.
"""

import csv
import json
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from every8d_async import BatchOutcome, BulkSummary, Every8DSession, InvalidRequest
from every8d_async import PersonalizedMessage as Message

Journal = Callable[[dict[str, Any]], None]

_BOM = b"\xef\xbb\xbf"
_HEAD = ["mobile", "text"]
_LONGEST = 16_384  # bytes of a row; a quote that is never closed must not take the whole file


class Upload:
    """An upload's rows as messages, read as they are asked for."""

    def __init__(self, request: Request) -> None:
        self._request = request
        self.is_complete = False

    async def messages(self) -> AsyncGenerator[Message]:
        """Give the rows; a client that hangs up raises `ClientDisconnect`: its last row is none."""
        table = Table()
        async with aclosing(self._request.stream()) as chunks:
            async for chunk in chunks:
                for message in table.feed(chunk):
                    yield message
        self.is_complete = True
        for message in table.rest():
            yield message


class Table:
    """A CSV as it comes in, made into messages; `reference` is the row's number, from 1."""

    def __init__(self) -> None:
        self._line = b""
        self._record = b""
        self._number = 0

    def feed(self, chunk: bytes) -> Iterator[Message]:
        """Take some bytes, and give the rows that became complete."""
        *lines, self._line = (self._line + chunk).split(b"\n")
        for line in lines:
            self._record += line + b"\n"
            # A line end may stand in a field, between quotes.
            if self._record.count(b'"') % 2 == 0 or len(self._record) > _LONGEST:
                yield from self._message()

    def rest(self) -> Iterator[Message]:
        """Give the last row, if there was no line end behind it."""
        self._record += self._line
        yield from self._message()

    def _message(self) -> Iterator[Message]:
        """Give the row, also a bad one: the run tells what is wrong with it."""
        record, self._record = self._record.removeprefix(_BOM), b""
        if record.strip():
            self._number += 1
            row = _fields(record)
            if self._number > 1 or row != _HEAD:
                mobile, text = row if len(row) == len(_HEAD) else ("", "")
                yield Message(mobile, text, reference=str(self._number))


def _fields(record: bytes) -> list[str]:
    # What is not UTF-8 becomes a character that can't be sent, and so a refused row.
    text = record.decode("utf-8", "surrogateescape")
    try:
        return next(csv.reader(text.splitlines(keepends=True), strict=True))
    except csv.Error:
        return []


class Bulk:
    """Answers an upload. An ASGI application, since it has to read and to write at once."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        session: Every8DSession = request.app.state.session
        journal: Journal = request.app.state.journal
        upload = Upload(request)

        async def say(line: dict[str, Any]) -> None:
            body = json.dumps(line, ensure_ascii=False).encode() + b"\n"
            await send({"type": "http.response.body", "body": body, "more_body": True})

        headers = [(b"content-type", b"application/x-ndjson")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        # The run is left where it was entered, not by a `yield`: see `BulkRun`.
        run = session.sms.send_bulk(upload.messages(), batch_size=100)
        try:
            async with run:
                async for outcome in run:
                    journal(shown(outcome))
                    await say(shown(outcome))
                    if upload.is_complete and await request.is_disconnected():
                        break
        except ClientDisconnect:
            pass  # it hung up while uploading
        finally:
            async for outcome in run:
                journal(shown(outcome))
            journal(told(run.summary, run.pause_reason))
        await say(told(run.summary, run.pause_reason))
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def shown(outcome: BatchOutcome[Message]) -> dict[str, Any]:
    """Write an outcome for a client: which rows, what became of them, and why."""
    line: dict[str, Any] = {
        "rows": [int(message.reference) for message in outcome.messages],
        "state": outcome.state,
    }
    if outcome.receipt is not None:
        line |= {"batch_id": outcome.receipt.batch_id, "unsent": outcome.receipt.unsent}
    if isinstance(outcome.error, InvalidRequest):
        line["problems"] = list(outcome.error.problems)
    elif outcome.error is not None:
        line["error"] = str(outcome.error)
    return line


def told(summary: BulkSummary, paused: str) -> dict[str, Any]:
    """Write a summary for a client."""
    return {
        "accepted": summary.accepted,
        "refused": summary.refused,
        "not_sent": summary.not_sent,
        "unknown": summary.unknown,
        "not_attempted": summary.not_attempted,
        "cost": str(summary.cost),
        "paused": paused,
    }


def make_app(open_session: Callable[[], Every8DSession], journal: Journal) -> Starlette:
    """Make the service, with one session for all requests."""

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncGenerator[None]:
        async with open_session() as session:
            app.state.session, app.state.journal = session, journal
            yield

    return Starlette(routes=[Route("/bulk", Bulk(), methods=["POST"])], lifespan=lifespan)
