"""Processes that are killed: at every transition, by name; and the order of things on disk."""

import json
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from random import Random

import anyio
import pytest
from attrs import asdict, evolve

from every8d_async.simulator import Delay, HttpStatus, Refuse, Reset
from tests.campaign_gateway import ProofGateway
from tests.campaign_life import Life, live
from tests.campaign_proof import ROOT, Proof, check, look

RECIPIENTS, BATCH = 40, 5
OTHERWISE = {
    "unknown": Reset(acts=True),
    "refused": Refuse(-28),
    "planned": HttpStatus(429, headers={"retry-after": "0"}),
}


@pytest.fixture
def proof(tmp_path: Path) -> Iterator[Proof]:
    gateway = ProofGateway(0, 1)
    with gateway.serve() as url:
        path = str(tmp_path / "campaign.sqlite3")
        life = Life(path, url, "filtered", RECIPIENTS, BATCH)
        yield Proof(life, gateway, Random(1))


def finish(proof: Proof) -> None:
    """Run again, and reconcile, as the life after a crash does; then compare the records."""
    proof.gateway.trap = None
    proof.gateway.wait_until_quiet()
    proof.gateway.simulator.faults.clear()
    life = evolve(proof.life, ahead=proof.ahead + 100, kill_at=None)
    anyio.run(live, evolve(life, task="replan"))
    anyio.run(live, life)
    if life.kind == "filtered":
        anyio.run(live, evolve(life, task="reconcile"))
    check(anyio.run(look, proof))


@pytest.mark.parametrize(
    ("kind", "point", "nth"),
    [
        ("filtered", "before plan", 1),
        ("personalized", "inside plan", 1),
        ("filtered", "after plan", 1),
        ("personalized", "before claim", 3),
        ("filtered", "after claim", 3),
        ("filtered", "before on_wire", 3),
        ("personalized", "after on_wire", 3),
        ("filtered", "after on_wire", 3),
        ("personalized", "before accepted", 3),
        ("filtered", "before accepted", 3),
        ("personalized", "after accepted", 3),
        ("filtered", "before unknown", 1),
        ("personalized", "after unknown", 1),
        ("personalized", "before planned", 1),
        ("filtered", "after planned", 1),
        ("personalized", "before refused", 1),
        ("filtered", "after refused", 1),
        ("personalized", "before recover", 2),
        ("filtered", "after recover", 3),
    ],
)
def test_a_kill_at_any_transition_sends_to_nobody_twice(
    proof: Proof, kind: str, point: str, nth: int
) -> None:
    """Whatever a process was about to write, or had just written, the next one finishes."""
    proof.life = evolve(proof.life, kind=kind)
    fault = OTHERWISE.get(point.rsplit(maxsplit=1)[-1])
    if fault is not None:
        for handler in ("SendParam", "SendSMS4FilterMessage"):
            proof.gateway.simulator.faults.add(handler, fault)
    assert not proof.live(evolve(proof.life, kill_at=(point, nth)))
    finish(proof)


@pytest.mark.parametrize("phase", ["arrived", "acted"])
def test_a_kill_while_the_gateway_has_it_leaves_it_unknown(proof: Proof, phase: str) -> None:
    """The first process can't know; the filter does."""
    assert not proof.live(proof.life, (3, phase))
    assert anyio.run(look, proof).status.unknown
    finish(proof)


@pytest.mark.parametrize(
    "point",
    ["before on_wire", "after on_wire", "before accepted", "before unknown", "after unknown"],
)
def test_a_kill_while_it_reconciles_sends_to_nobody_twice(proof: Proof, point: str) -> None:
    """A repeat that was cut is in doubt as its first try was: it never becomes planned."""
    faults = proof.gateway.simulator.faults
    faults.add("SendSMS4FilterMessage", HttpStatus(502), times=4)
    assert proof.live(proof.life)
    if point.endswith("unknown"):
        for _ in range(2):  # the dry run is answered, the repeat is acted on and lost
            faults.add("SendSMS4FilterMessage", Delay(timedelta(0)))
            faults.add("SendSMS4FilterMessage", Reset(acts=True))
    assert not proof.live(evolve(proof.life, task="reconcile", kill_at=(point, 2)))
    found = anyio.run(look, proof)
    assert not found.status.planned
    assert found.status.unknown
    finish(proof)


@pytest.mark.parametrize("point", ["before not_sent", "after not_sent"])
def test_a_kill_while_it_gives_up_what_is_too_late_sends_nothing(proof: Proof, point: str) -> None:
    proof.life = evolve(proof.life, kind="personalized", late=True)
    assert not proof.live(evolve(proof.life, kill_at=(point, 3)))
    assert proof.live(proof.life)
    found = anyio.run(look, proof)
    assert (found.status.not_sent, found.sent, found.astray) == (RECIPIENTS, 0, 0)


@pytest.mark.parametrize(
    ("task", "point"),
    [
        ("sent", "before accepted"),
        ("sent", "after accepted"),
        ("not sent", "before not_sent"),
        ("not sent", "after not_sent"),
        ("replan", "before planned"),
        ("replan", "after planned"),
    ],
)
def test_a_kill_while_a_person_decides_leaves_each_batch_decided_or_not(
    proof: Proof, task: str, point: str
) -> None:
    """Said again, and planned again, all is as the person said: nobody twice, nobody lost."""
    proof.life = evolve(proof.life, kind="personalized")
    acts = task == "sent"
    fault = Reset(acts=True) if acts else HttpStatus(502)
    proof.gateway.simulator.faults.add("SendParam", fault, times=RECIPIENTS // BATCH)
    assert proof.live(proof.life)
    assert anyio.run(look, proof).status.unknown == RECIPIENTS
    for step in ("sent",) if acts else ("not sent", "replan"):
        life = evolve(proof.life, task=step)
        if step == task:
            assert not proof.live(evolve(life, kill_at=(point, 3)))
        assert proof.live(life)
    finish(proof)
    status = anyio.run(look, proof).status
    assert (status.accepted, status.unknown) == (RECIPIENTS, 0)


@pytest.mark.parametrize(
    "point",
    ["before purge", "inside purge", "before vacuum", "before checkpoint", "after purge"],
)
def test_a_kill_while_it_purges_loses_no_count_and_keeps_no_number(
    proof: Proof, tmp_path: Path, point: str
) -> None:
    """All of the personal data is there, or none; what is left over goes with the next purge."""
    proof.life = evolve(proof.life, kind="personalized")
    assert proof.live(proof.life)
    assert not proof.live(evolve(proof.life, task="purge", kill_at=(point, 1)))
    with closing(sqlite3.connect(proof.life.path)) as db:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        (left,) = db.execute("SELECT count(*) FROM payload").fetchone()
        assert left in (0, RECIPIENTS // BATCH)
        assert bool(left) == (point in ("before purge", "inside purge"))
    assert proof.live(evolve(proof.life, task="purge"))
    status = anyio.run(look, proof).status
    assert (status.accepted, status.total) == (RECIPIENTS, RECIPIENTS)
    found = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    assert b"+8869" not in found


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_two_workers_on_one_file_finish_a_campaign_together(tmp_path: Path, backend: str) -> None:
    """Two processes plan and run the same; both get work, and no batch goes out twice."""
    gateway = ProofGateway(0, 1)
    gateway.crowd = 9  # one more than a worker has under way: both are there
    with gateway.serve() as url:
        path = str(tmp_path / "campaign.sqlite3")
        life = Life(path, url, "personalized", 1000, 5, backend=backend)
        command = [sys.executable, "-m", "tests.campaign_life", json.dumps(asdict(life))]
        workers = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) for _ in range(2)]
        told = [worker.communicate()[0].decode() for worker in workers]
        assert [worker.returncode for worker in workers] == [0, 0]
        result = anyio.run(look, Proof(life, gateway, Random(1)))
        check(result)
    assert (result.status.accepted, result.batches, result.requests) == (1000, 200, 200)
    shares = [int(lines.rpartition("did ")[2]) for lines in told]
    assert sum(shares) == 200
    assert min(shares) > 0


# --- the order on disk ---

_SYNC = re.compile(r"(?:fdatasync|fsync)\(\d+<[^>]*-wal>\)|<\.\.\. (?:fdatasync|fsync) resumed>")
_WRITE = re.compile(r"pwrite64\(\d+<[^>]*-wal>")
_POST = re.compile(r'(?:sendto|write|writev|sendmsg)\(.*"POST [^"]*/(\w+)\.ashx')


def strace(command: list[str], log: Path) -> None:
    tool = shutil.which("strace")
    if tool is None:
        pytest.skip("strace is not here: the order of system calls can't be seen")
    calls = "trace=fdatasync,fsync,pwrite64,write,writev,sendto,sendmsg"
    options = ["-f", "-y", "-s", "80", "-e", calls, "-o", str(log)]
    run = subprocess.run(
        [tool, *options, *command], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if "ptrace" in run.stderr and "not permitted" in run.stderr:
        pytest.skip(f"strace may not trace here: {run.stderr.strip()}")
    assert run.returncode == 0, run.stderr


def order(log: str) -> list[str]:
    """Give what happened, in order: ``written``, ``synced`` (the log), and each request."""
    events: list[str] = []
    for line in log.splitlines():
        if found := _POST.search(line):
            events.append(found[1])
        elif _WRITE.search(line):
            events.append("written")
        elif _SYNC.search(line) and "unfinished" not in line:
            events.append("synced")
    return events


def test_on_wire_is_synced_before_the_first_byte_leaves(proof: Proof, tmp_path: Path) -> None:
    """After the login's answer: the log is written, and synced, and only then the send leaves."""
    life = evolve(proof.life, recipients=1)
    log = tmp_path / "calls"
    strace([sys.executable, "-m", "tests.campaign_life", json.dumps(asdict(life))], log)
    events = order(log.read_text("utf-8", "replace"))
    between = events[events.index("ConnectionHandler") + 1 : events.index("SendSMS4FilterMessage")]
    assert "written" in between
    assert between[-1] == "synced"
    # And its end is synced before anybody hears of it.
    after = events[events.index("SendSMS4FilterMessage") + 1 :]
    assert after[after.index("written") :].count("synced") >= 1
