"""The example applications as a reader starts them: one command, and real requests."""

import json
import re
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from every8d_async import Every8DSession
from every8d_async._pool import in_memory
from every8d_async.simulator import Garbage, HttpStatus, Reset, Simulator
from every8d_async.webhooks import parse_report
from tests.examples.report_store import ReportStore
from tests.examples.services import OneTimePasswords
from tests.integrations.servers import free_port

ROOT = Path(__file__).parents[2]
FIRST, SECOND = "+886900000001", "+886900000002"


@pytest.fixture(params=["fastapi_app", "aiohttp_app"])
def app(request: pytest.FixtureRequest) -> Iterator[str]:
    """An application beside a simulator, started by its one command; its log holds no secret."""
    port = free_port()
    command = [sys.executable, "-m", f"tests.examples.{request.param}", "--port", str(port)]
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
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


@pytest.fixture
async def session(simulator: Simulator) -> AsyncIterator[Every8DSession]:
    transport = in_memory(simulator)
    async with Every8DSession(
        "demo", "demo", site="http://localhost", transport=transport
    ) as session:
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
