"""
The proof that nobody is sent to twice, whenever a campaign's process is killed.

``python -m tests.campaign_proof`` runs the whole and prints a table: for each kind 20,000
recipients, 12 % of the sends go wrong, at least 30 kills at random. `tests/test_campaign_proof.py`
runs a tenth of it.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from random import Random

import anyio
from attrs import asdict, define, evolve, frozen

from every8d_async import Every8DSession
from every8d_async.campaign import Campaign, CampaignStatus, State
from tests.campaign_gateway import ProofGateway, Trap
from tests.campaign_life import Life

KINDS = ("personalized", "template", "text", "filtered")
ROOT = Path(__file__).parent.parent
_SETTLE = 61.0  # seconds that a life's clock is ahead of the one before
_PASSES = 60


@frozen
class Result:
    """What was found at the end of a campaign; the gateway's own record is the witness."""

    kind: str
    backend: str
    recipients: int
    batches: int
    kills: int
    requests: int
    late: int
    status: CampaignStatus
    sent: int  # recipients that the gateway sent to
    twice: int
    lost: int  # accepted, and not sent to
    hidden: int  # sent to, and neither accepted nor unknown
    astray: int  # in no state, or in several
    unknown_before: int
    unknown_sent: int  # unknown, and sent to


@define
class Proof:
    """One campaign, run by one process after another until it is finished."""

    life: Life
    gateway: ProofGateway
    random: Random
    kills: int = 0
    ahead: float = 0.0

    def run(self, kills: int) -> Result:
        """Kill so many lives, and then some reconciling ones; let the next ones finish."""
        while not self.live(self.life, self._fate(self.kills < kills)):
            pass
        unknown = self._look().status.unknown
        if self.life.kind == "filtered":
            self._reconcile(kills // 10)
        return evolve(self._look(), unknown_before=unknown)

    def _fate(self, mortal: bool) -> float | tuple[int, str] | None:
        """Say when the next life ends: after so many seconds, at a request, or by itself."""
        if not mortal:
            return None
        if self.kills < 3:
            return self.random.uniform(0.0, 0.2)  # while it plans
        if self.random.random() < 0.2:
            return self.random.uniform(0.0, 0.4)
        return self.random.randint(1, 12), self.random.choice(("arrived", "acted"))

    def _reconcile(self, kills: int) -> None:
        for number in range(_PASSES):
            fate = (self.random.randint(1, 3), "acted") if number < kills else None
            life = evolve(self.life, task="reconcile")
            if self.live(life, fate) and not self._look().status.unknown:
                return
        raise AssertionError("reconciling does not come to an end")

    def live(self, life: Life, fate: float | tuple[int, str] | None = None) -> bool:
        """Start a process, and wait for its end, or bring it about; tell whether it finished."""
        self.gateway.wait_until_quiet()
        self.ahead += _SETTLE
        life = evolve(life, ahead=self.ahead)
        command = [sys.executable, "-m", "tests.campaign_life", json.dumps(asdict(life))]
        with subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as child:
            if isinstance(fate, tuple):
                delay = self.random.uniform(0.0, 0.01)
                self.gateway.trap = Trap(child.pid, *fate, delay)
            elif fate is not None:
                assert child.stdout is not None
                child.stdout.readline()  # it is open
                time.sleep(fate)
                child.kill()
            _, complaint = child.communicate()
        self.gateway.trap = None
        if child.returncode == 0:
            return True
        if child.returncode != -9:
            raise AssertionError(complaint.decode())
        self.kills += 1
        return False

    def _look(self) -> Result:
        self.gateway.wait_until_quiet()
        return anyio.run(look, self)


async def look(proof: Proof) -> Result:
    """Compare the journal with the gateway's record."""
    life, gateway = proof.life, proof.gateway
    sent = Counter(message.mobile for message in gateway.simulator.sent)
    states: dict[str, list[State]] = {}
    batches = 0
    async with (
        Every8DSession("proof", "proof", site=life.url) as session,
        Campaign.open(life.path, session) as campaign,
    ):
        status = await campaign.status()
        async for batch in campaign.batches():
            batches += 1
            for person in await campaign.people(batch.id):
                states.setdefault(person.mobile, []).append(batch.state)
    known = {mobile: found[0] for mobile, found in states.items() if len(found) == 1}
    return Result(
        kind=life.kind,
        backend=life.backend,
        recipients=life.recipients,
        batches=batches,
        kills=proof.kills,
        requests=gateway.sends,
        late=gateway.late,
        status=status,
        sent=len(sent),
        twice=sum(count > 1 for count in sent.values()),
        lost=sum(state is State.ACCEPTED and not sent[m] for m, state in known.items()),
        hidden=sum(known.get(m) not in (State.ACCEPTED, State.UNKNOWN) for m in sent),
        astray=life.recipients - len(known),
        unknown_before=0,
        unknown_sent=sum(state is State.UNKNOWN and sent[m] > 0 for m, state in known.items()),
    )


def prove(
    kind: str,
    recipients: int,
    kills: int,
    *,
    batch_size: int,
    rate: float = 0.12,
    seed: int = 1,
    backend: str = "asyncio",
) -> Result:
    """Run one campaign through its kills and faults."""
    gateway = ProofGateway(rate, seed)
    with tempfile.TemporaryDirectory() as place, gateway.serve() as url:
        path = str(Path(place) / "campaign.sqlite3")
        life = Life(path, url, kind, recipients, batch_size, backend=backend)
        return Proof(life, gateway, Random(seed)).run(kills)


def check(result: Result) -> None:
    """Raise what is wrong."""
    status = result.status
    assert result.twice == 0, f"{result.twice} were sent to twice"
    assert result.lost == 0, f"{result.lost} are accepted and were not sent to"
    assert result.hidden == 0, f"{result.hidden} were sent to and are not listed"
    assert result.astray == 0, f"{result.astray} are in no state, or in several"
    assert status.total == result.recipients
    assert status.accepted + status.unknown == result.recipients, status
    if result.kind == "filtered":
        assert status.unknown == 0, f"{status.unknown} are unknown after reconciling"
        assert result.sent == result.recipients, f"only {result.sent} were sent to"


COLUMNS = "kind recipients batches kills requests late accepted unknown reconciled sent twice lost"


def row(result: Result) -> tuple[str | int, ...]:
    """Give a line of the table."""
    return (
        result.kind,
        result.recipients,
        result.batches,
        result.kills,
        result.requests,
        result.late,
        result.status.accepted,
        result.unknown_before,
        result.unknown_before - result.status.unknown,
        result.sent,
        result.twice,
        result.lost + result.hidden + result.astray,
    )


def say(line: str) -> None:
    """Print a line now."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> int:
    """Run the whole proof, and print its table."""
    began = time.monotonic()
    say(f"| {' | '.join(COLUMNS.split())} |")
    say("|---" * len(COLUMNS.split()) + "|")
    for seed, kind in enumerate(KINDS, 1):
        backend = "trio" if seed % 2 == 0 else "asyncio"
        result = prove(kind, 20_000, 30, batch_size=50, seed=seed, backend=backend)
        say(f"| {' | '.join(map(str, row(result)))} |")
        check(result)
    say(f"\nNobody was sent to twice. {time.monotonic() - began:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
