"""The example applications as a reader starts them: one command, and real requests."""

import asyncio
import json
import logging
import os
import re
import sqlite3
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from every8d_async import CallEvent, Every8DSession, Timeout
from every8d_async._pool import in_memory
from every8d_async.simulator import Account, Delay, Garbage, Hang, HttpStatus, Reset, Simulator
from every8d_async.webhooks import parse_report
from tests.examples import aiohttp_app, fastapi_app
from tests.examples.report_store import ReportStore
from tests.examples.services import OneTimePasswords
from tests.examples.simulated import Settings
from tests.integrations.servers import PATIENCE, free_port
from tests.integrations.test_frameworks import under_aiohttp, under_uvicorn
from tests.webhooks.kit import TOKEN

ROOT = Path(__file__).parents[2]
FIRST, SECOND = "+886900000001", "+886900000002"


@pytest.fixture(params=["fastapi_app", "aiohttp_app"])
def app(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """An application beside a simulator, started by its one command; it leaves no secret behind."""
    port = free_port()
    command = [sys.executable, "-m", f"tests.examples.{request.param}", "--port", str(port)]
    command += ["--token", TOKEN]
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env=os.environ | {"TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        assert process.stdout is not None
        seen = ""
        while "unning on" not in seen:
            line = process.stdout.readline()
            assert line, f"it ended: {seen}"
            seen += line
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        log, _ = process.communicate(timeout=30)
    assert re.search(r'"GET /reports/\*\*\*\?\*\*\* HTTP/1.1" 200', log)
    assert "90000000" not in log
    assert TOKEN not in log
    assert "Traceback" not in log
    assert not list(tmp_path.iterdir())  # the database has numbers and texts


def test_send_and_receive(app: str) -> None:
    """A code is sent, a bulk send streamed, and what was pushed is confirmed by the gateway."""
    with httpx.Client(base_url=app, timeout=30) as http:
        sent = http.post("/otp", json={"to": "0900000001"})
        assert (sent.status_code, sent.json()) == (200, {"state": "sent", "ask_again_after": 60})
        refused = http.post("/otp", json={"to": "nobody"})
        assert (refused.status_code, refused.json()["state"]) == (422, "refused")

        lines = bulk(http, ["0900000001", "0900000002", "nobody"])
        assert [(line["state"], line["recipients"]) for line in lines[:-1]] == [
            ("refused", 1),
            ("accepted", 2),
        ]
        assert lines[-1]["summary"]["accepted"] == 2

        shown: list[Any] = []
        while len(shown) < 2:  # until the simulator has pushed both
            time.sleep(0.05)
            shown = http.get(f"/batches/{lines[1]['batch_id']}").json()
        assert sorted(shown, key=lambda row: row["mobile"]) == [
            {"mobile": FIRST, "confirmed": True, "status": "DELIVERED"},
            {"mobile": SECOND, "confirmed": True, "status": "DELIVERED"},
        ]

        # Who knows the path can make a report up; it is stored, and not confirmed.
        forged = f"BatchID={lines[1]['batch_id']}&RM=0900000003&STATUS=100"
        assert http.post(f"/reports/{TOKEN}", content=forged).status_code == 200
        *_, last = http.get(f"/batches/{lines[1]['batch_id']}").json()
        assert (last["mobile"], last["confirmed"]) == ("+886900000003", False)

        # What can't be sent at all is told before anything is streamed.
        nonsense: list[Any] = [{}, {"text": "", "to": ["0900000001"]}, {"text": "x", "to": 3}, []]
        for each in nonsense:
            assert http.post("/bulk", json=each).status_code == 422
        for body in ("{}", "[]", "no JSON", '{"to": 3}'):
            headers = {"Content-Type": "application/json"}
            assert http.post("/otp", content=body, headers=headers).status_code == 422


def bulk(http: httpx.Client, to: list[str]) -> list[Any]:
    """Send to many, and read what is streamed, the refused first."""
    with http.stream("POST", "/bulk", json={"text": "hello", "to": to}) as answer:
        assert answer.headers["content-type"] == "application/x-ndjson"
        lines = [json.loads(line) for line in answer.iter_lines()]
    *outcomes, summary = lines
    return [*sorted(outcomes, key=lambda line: line["recipients"]), summary]


# --- one-time passwords ---


@pytest.fixture
def simulator() -> Simulator:
    return Simulator()


def new_session(simulator: Simulator, **options: Any) -> Every8DSession:
    transport = in_memory(simulator)
    return Every8DSession("demo", "demo", site="http://localhost", transport=transport, **options)


@pytest.fixture
async def session(simulator: Simulator) -> AsyncIterator[Every8DSession]:
    async with new_session(simulator) as session:
        yield session


def codes(simulator: Simulator) -> list[str]:
    return [message.text[-6:] for message in simulator.sent]


@pytest.mark.anyio
async def test_a_code_that_may_have_been_sent(
    simulator: Simulator, session: Every8DSession
) -> None:
    """It is not sent again by itself; who asks again gets the same code, so either is right."""
    passwords = OneTimePasswords()
    simulator.faults.add("SendSMS", Reset(acts=True))
    assert await passwords.send(session, FIRST) == (
        202,
        {"state": "maybe sent", "ask_again_after": 60},
    )
    assert len(simulator.sent) == 1
    assert (await passwords.send(session, FIRST))[0] == 200
    first, second = codes(simulator)
    assert first == second
    assert not passwords.check(FIRST, "no")
    assert passwords.check("0900000001", first)
    assert not passwords.check(FIRST, first)


@pytest.mark.anyio
@pytest.mark.parametrize("fault", [HttpStatus(403), HttpStatus(429), HttpStatus(400)])
async def test_a_code_that_was_not_sent(
    simulator: Simulator, session: Every8DSession, fault: HttpStatus
) -> None:
    """Where certainly nothing was sent, the person may ask again at once."""
    simulator.faults.add("SendSMS", fault)
    answer = await OneTimePasswords().send(session, FIRST)
    assert answer == (503, {"state": "not sent", "ask_again_after": 0})
    simulator.faults.add("SendSMS", Garbage())
    assert (await OneTimePasswords().send(session, FIRST))[0] == 202


@pytest.mark.anyio
async def test_a_gateway_that_hangs(simulator: Simulator) -> None:
    """The deadline ends it, before the person gives up: it may be on its way."""
    assert (
        Settings("http://localhost", "demo", "demo", "", "").session()._settings.timeout.total <= 10
    )
    simulator.faults.add("SendSMS", Hang())
    deadline = Timeout(total=0.5)
    async with new_session(simulator, timeout=deadline) as session:
        await session.credit()  # is logged in
        answer = await OneTimePasswords().send(session, FIRST)
    assert answer == (202, {"state": "maybe sent", "ask_again_after": 60})


@pytest.mark.anyio
async def test_no_credit() -> None:
    """A sound answer that says that nothing was sent is no success."""
    simulator = Simulator(accounts=[Account(uid="demo", password="demo", credit=0)])
    async with new_session(simulator) as session:
        answer = await OneTimePasswords().send(session, FIRST)
    assert answer == (503, {"state": "not sent", "ask_again_after": 0})
    assert not simulator.sent


# --- a bulk send whose reader hangs up ---


class Observed:
    """A session of the examples' settings, and what its observer saw of it."""

    def __init__(self, site: str) -> None:
        self.events: list[CallEvent] = []
        self.settings = Settings(site, "demo", "demo", "a-token-of-the-tests", ":memory:")
        self._session = Every8DSession("demo", "demo", site=site, observer=self.events.append)

    def session_of(self) -> Every8DSession:
        return self._session

    def sent(self) -> list[CallEvent]:
        return [event for event in self.events if event.operation == "sms.send"]


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("kind", ["fastapi", "aiohttp"])
async def test_a_reader_that_hangs_up(
    kind: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """No more is begun; what is in flight is waited for, and what became of it is in the log."""
    caplog.set_level(logging.INFO, "examples")
    simulator = Simulator(accounts=[Account(uid="demo", password="demo", credit=100_000)])
    people = [f"09{number:08}" for number in range(20_000)]
    body = json.dumps({"text": "hello", "to": people}).encode()
    head = f"POST /bulk HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n"
    head += "Content-Type: application/json\r\n\r\n"
    with simulator.serve() as site:
        seen = Observed(site)
        monkeypatch.setattr(Settings, "session", seen.session_of)
        simulator.faults.add("SendSMS", Delay(timedelta(seconds=0.2)), times=1000)
        app: Any = (
            under_uvicorn(fastapi_app.make_app(seen.settings))
            if kind == "fastapi"
            else under_aiohttp(aiohttp_app.make_app(seen.settings))
        )
        async with app as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(head.encode() + body)
            await reader.readuntil(b'"accepted"')
            writer.transport.abort()
            async with asyncio.timeout(PATIENCE):
                while "bulk ended" not in caplog.text:  # noqa: ASYNC110 - nobody tells
                    await asyncio.sleep(0.01)
    told = sum(message.startswith("bulk: ") for message in caplog.messages)
    assert [event.unknown for event in seen.sent()] == [False] * told
    assert len(simulator.batches) == told < 40
    assert "Traceback" not in caplog.text


# --- the store ---


@pytest.mark.anyio
async def test_store_keeps_each_once(tmp_path: Path) -> None:
    """A report that comes again changes nothing; reports and replies come back as they were."""
    store = ReportStore(tmp_path / "reports.sqlite3")
    report = parse_report("BatchID=b&RM=0900000001&STATUS=103&MR=1&TYPE=SMS&RT=20260131120000")
    reply = parse_report("BatchID=b&RM=0900000001&STATUS=999&SM=%e5%a5%bd")
    for each in (report, report, reply, reply):
        await store.add(each)
    assert await store.of_batch("b") == [report, reply]
    assert await store.of_batch("another") == []
    store.close()


@pytest.mark.anyio
async def test_store_keeps_every_time(tmp_path: Path) -> None:
    """A time that only a mistake can make is kept, and the batch stays readable."""
    store = ReportStore(tmp_path / "reports.sqlite3")
    report = parse_report("BatchID=b&RM=0900000001&STATUS=100&RT=00010101000000")
    await store.add(report)
    assert await store.of_batch("b") == [report]
    store.close()


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_cancelled_write_ends_alone(tmp_path: Path) -> None:
    """Also where asyncio itself cancels the caller, the next write waits until it has ended."""
    store = ReportStore(tmp_path / "reports.sqlite3")
    first = parse_report("BatchID=b&RM=0900000001&STATUS=100")
    second = parse_report("BatchID=b&RM=0900000002&STATUS=100")
    with closing(sqlite3.connect(tmp_path / "reports.sqlite3", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        writing = asyncio.create_task(store.add(first))
        while not store._turn.locked():  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.001)
        writing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await writing
        assert store._turn.locked()
        other.execute("ROLLBACK")
    await store.add(second)
    assert await store.of_batch("b") == [first, second]
    store.close()
