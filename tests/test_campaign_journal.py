"""The journal in a file: what is on disk, who may change it, who is gone, what an older file is."""

import os
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from attrs import evolve

from every8d_async import Every8DSession, SessionMisuse
from every8d_async.campaign import Batch, Campaign, JournalError, Limits, SqliteJournal, State
from every8d_async.campaign import _schema as schema
from every8d_async.campaign._journal import Entry, Form, Group
from every8d_async.campaign._owners import Owner
from every8d_async.campaign._sqlite import to_wal
from tests.campaign_kit import World, finish, messages, mobiles

NOW = datetime(2026, 1, 2, tzinfo=UTC)
FORM = Form("text", "text", "", 1440, None, "", None)
posix = pytest.mark.skipif(sys.platform == "win32", reason="files have no such modes there")


def group(*numbers: int) -> Group:
    return Group([Entry(b"%012d" % n, (f"+8869{n:08d}",), 1) for n in numbers])


class Opened:
    """Opens a journal for a block."""

    def __init__(self, path: Path, account: str = "a") -> None:
        self.journal = SqliteJournal(path)
        self._account = account

    async def __aenter__(self) -> SqliteJournal:
        await self.journal.open(self._account, NOW)
        return self.journal

    async def __aexit__(self, *_: object) -> None:
        await self.journal.aclose()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.sqlite3"


def connection(journal: SqliteJournal) -> sqlite3.Connection:
    assert journal._connection is not None
    return journal._connection


@pytest.mark.anyio
async def test_a_commit_is_synced(path: Path) -> None:
    """WAL with synchronous=FULL: with NORMAL a send could leave before ON_WIRE is on disk."""
    async with Opened(path) as journal:
        db = connection(journal)
        found = [
            db.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("journal_mode", "synchronous", "fullfsync", "secure_delete")
        ]
    assert found == ["wal", 2, 1, 1]


@pytest.mark.anyio
@posix
async def test_only_the_owner_can_read_the_files(path: Path) -> None:
    """Whatever the umask says, and where the file was there before."""
    mask = os.umask(0)
    try:
        async with Opened(path) as journal:
            await journal.add(FORM, [group(1)], NOW)
            modes = {file.name: file.stat().st_mode & 0o777 for file in path.parent.iterdir()}
        assert len(modes) == 4
        assert set(modes.values()) == {0o600}
        path.chmod(0o644)
        async with Opened(path):
            assert path.stat().st_mode & 0o777 == 0o600
    finally:
        os.umask(mask)


@pytest.mark.anyio
async def test_only_who_stands_in_the_row_can_change_it(path: Path) -> None:
    """Compare-and-set on id, state, owner and epoch: each of them counts."""
    async with Opened(path) as journal:
        await journal.add(FORM, [group(1), group(2)], NOW)
        taken = (await journal.claim(0, Limits(), NOW)).batch
        assert taken is not None
        after = evolve(taken, state=State.ON_WIRE, wired_at=NOW)
        for stale in (
            evolve(taken, id=2),
            evolve(taken, state=State.PLANNED),
            evolve(taken, owner="another"),
            evolve(taken, epoch=taken.epoch - 1),
        ):
            assert not await journal.move(stale, after, "noted", NOW)
        assert not await journal.notes(1)
        assert await journal.move(taken, after, "noted", NOW)
        assert await journal.get(1) == after
        assert [(e.text, e.at) for e in await journal.notes(1)] == [("noted", NOW)]


@pytest.mark.anyio
async def test_two_journals_never_claim_the_same(path: Path) -> None:
    async with Opened(path) as one, Opened(path) as two:
        await one.add(FORM, [group(n) for n in range(40)], NOW)
        claimed: list[Batch] = []

        async def claim(journal: SqliteJournal) -> None:
            for _ in range(40):  # as many as there are
                batch = (await journal.claim(0, Limits(), NOW)).batch
                claimed.extend([batch] if batch else [])

        async with anyio.create_task_group() as tasks:
            for journal in (one, two, one, two):
                tasks.start_soon(claim, journal)
        assert list(range(1, 41)) == sorted(batch.id for batch in claimed)


@pytest.mark.anyio
async def test_what_a_gone_owner_had_is_taken_back(path: Path) -> None:
    """Claimed is planned again; on the wire is unknown, for ever; a live owner keeps its own."""
    async with Opened(path) as live, Opened(path) as looking:
        async with Opened(path) as dying:
            await dying.add(FORM, [group(n) for n in range(3)], NOW)
            first, second = [(await dying.claim(n, Limits(), NOW)).batch for n in (0, 1)]
            assert first is not None
            assert second is not None
            await dying.move(second, evolve(second, state=State.ON_WIRE), "", NOW)
            kept = (await live.claim(2, Limits(), NOW)).batch
            assert kept is not None
            assert await looking.recover((), NOW) == 0
        later = NOW + timedelta(days=30)
        assert await looking.recover((), later) == 2
        assert await looking.recover((), later) == 0
        states = [batch.state for batch in await looking.page(tuple(State), 0, 9)]
        assert states == [State.PLANNED, State.UNKNOWN, State.CLAIMED]
        assert await live.recover({3}, later) == 0
        assert await live.recover((), later) == 1
        assert (await looking.get(3)) == evolve(kept, state=State.PLANNED, owner="", since=later)


@pytest.mark.anyio
async def test_a_gone_owner_leaves_no_litter(path: Path) -> None:
    """Its lock is removed by whoever finds it; a lock that is missing means gone, too."""
    path.touch()
    dead, looking = Owner(path), Owner(path)
    dead.begin()
    assert not looking.is_gone(dead.name)
    assert dead._descriptor is not None
    os.close(dead._descriptor)  # as its death does
    assert looking.is_gone(dead.name)
    assert [path] == list(path.parent.iterdir())
    assert looking.is_gone(dead.name)
    dead._descriptor = None
    dead.end()


@pytest.mark.anyio
async def test_a_file_is_one_by_whatever_name_it_is_opened(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A link, or another folder to start from, makes no live owner seem gone."""
    link = path.parent / "current.sqlite3"
    link.symlink_to(path)
    async with Opened(path) as live:
        await live.add(FORM, [group(1)], NOW)
        await live.claim(0, Limits(), NOW)
        async with Opened(link) as looking:
            assert await looking.recover((), NOW) == 0
        monkeypatch.chdir(path.parent)
        relative = Opened(Path(path.name))
        monkeypatch.chdir("/")
        async with relative as looking:
            assert await looking.recover((), NOW) == 0


@pytest.mark.anyio
async def test_a_file_of_any_name_is_durable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also of the name under which SQLite would keep nothing."""
    monkeypatch.chdir(tmp_path)
    async with Opened(Path(":memory:")) as journal:
        await journal.add(FORM, [group(1)], NOW)
    async with Opened(Path(":memory:")) as journal:
        assert (await journal.status()).planned == 1


def test_a_killed_process_is_gone_at_once(path: Path) -> None:
    """The system lets go of its lock: no timer, no heartbeat."""
    program = (
        "import sys, time; from pathlib import Path;"
        "from every8d_async.campaign._owners import Owner;"
        f"owner = Owner(Path({str(path)!r})); owner.begin(); print(owner.name, flush=True);"
        "time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        name = child.stdout.readline().decode().strip()
        assert not Owner(path).is_gone(name)
        child.kill()
    assert Owner(path).is_gone(name)


@pytest.mark.anyio
async def test_a_newer_file_is_a_clear_error(path: Path) -> None:
    """Nothing in it is changed."""
    async with Opened(path) as journal:
        connection(journal).execute("PRAGMA user_version = 99")
    before = path.read_bytes()
    with pytest.raises(JournalError, match=r"version 99.*knows versions up to 1"):
        await SqliteJournal(path).open("a", NOW)
    assert before == path.read_bytes()


@pytest.mark.anyio
async def test_what_is_no_journal_is_left_alone(path: Path) -> None:
    path.write_bytes(b"a letter, and no database at all" * 100)
    with pytest.raises(JournalError, match="no database"):
        await SqliteJournal(path).open("a", NOW)
    path.unlink()
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE theirs (x)")
    db.close()
    before = path.read_bytes()
    with pytest.raises(JournalError, match="something else"):
        await SqliteJournal(path).open("a", NOW)
    assert before == path.read_bytes()
    path.unlink()
    path.mkdir()
    with pytest.raises(sqlite3.OperationalError):
        await SqliteJournal(path).open("a", NOW)


@pytest.mark.anyio
async def test_a_broken_disk_is_its_own_error(path: Path) -> None:
    """It is not taken for a file of another kind."""

    class Broken:
        def execute(self, _query: str) -> None:
            raise sqlite3.OperationalError("disk I/O error")

    broken: Any = Broken()
    with pytest.raises(sqlite3.OperationalError):
        schema.check(broken)


@pytest.mark.parametrize("statements", range(4))
def test_a_file_that_another_process_is_making_is_ours(path: Path, statements: int) -> None:
    """Whatever comes between what is read of it: it is read as it stood at one moment."""

    class Raced(sqlite3.Connection):
        done = 0

        def execute(self, *query: Any) -> sqlite3.Cursor:
            if self.done == statements:
                other = sqlite3.connect(path, isolation_level=None)
                schema.migrate(other)
                other.close()
            self.done += 1
            return super().execute(*query)

    db = sqlite3.connect(path, isolation_level=None, factory=Raced)
    schema.check(db)
    db.close()


def test_the_log_is_had_once_another_process_lets_go_of_the_file(path: Path) -> None:
    """SQLite itself does not wait there: a second worker would end with «database is locked»."""

    class Patient(sqlite3.Connection):
        tries = 0

        def execute(self, *query: Any) -> sqlite3.Cursor:
            self.tries += 1
            if self.tries == 3:
                other.execute("ROLLBACK")
            return super().execute(*query)

    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    db = sqlite3.connect(path, timeout=0, isolation_level=None, factory=Patient)
    to_wal(db, 60)
    assert db.tries == 3
    assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    db.close()
    other.close()


@pytest.mark.parametrize(
    ("code", "patience"), [(sqlite3.SQLITE_BUSY, 0), (sqlite3.SQLITE_IOERR, 60)]
)
def test_a_file_that_stays_locked_or_a_broken_disk_is_told(code: int, patience: float) -> None:
    """The wait has an end, and nothing but another process is waited for."""
    told = sqlite3.OperationalError("told")
    told.sqlite_errorcode = code

    class Failing:
        def execute(self, _query: str) -> None:
            raise told

    failing: Any = Failing()
    with pytest.raises(sqlite3.OperationalError) as caught:
        to_wal(failing, patience)
    assert caught.value is told


@pytest.mark.anyio
async def test_an_older_file_goes_through_the_steps_it_lacks(path: Path) -> None:
    db = sqlite3.connect(path, isolation_level=None)
    first = ("CREATE TABLE a (x); INSERT INTO a VALUES (1)",)
    schema.migrate(db, first)
    schema.migrate(db, (*first, "ALTER TABLE a ADD COLUMN y DEFAULT 2"))
    schema.migrate(db, (*first, "ALTER TABLE a ADD COLUMN y DEFAULT 2"))
    assert db.execute("SELECT * FROM a").fetchall() == [(1, 2)]
    assert db.execute("PRAGMA user_version").fetchall() == [(2,)]
    db.close()


@pytest.mark.anyio
async def test_a_journal_belongs_to_an_account(path: Path) -> None:
    """Another account's filter and reports would say the wrong thing."""
    async with Opened(path):
        pass
    with pytest.raises(JournalError, match="another account"):
        await SqliteJournal(path).open("b", NOW)
    async with Opened(path):
        pass


@pytest.mark.anyio
async def test_a_transaction_is_whole_or_not_there(path: Path) -> None:
    """Where a statement or the commit fails, all is taken back, and the journal goes on."""
    async with Opened(path) as journal:
        twice = Group([Entry(b"1" * 12, (), 1)])
        broken = Group([Entry(b"2" * 12, ("\ud800",), 1)])
        with pytest.raises(UnicodeEncodeError):
            await journal.add(FORM, [twice, broken], NOW)
        assert (await journal.status()).total == 0

        db = connection(journal)
        db.execute("PRAGMA foreign_keys = ON")
        with pytest.raises(sqlite3.IntegrityError):
            await journal._do(_break_at_commit)
        assert not db.in_transaction
        assert await journal.add(FORM, [twice], NOW) == 1


def _break_at_commit(db: sqlite3.Connection) -> None:
    db.execute("PRAGMA defer_foreign_keys = ON")
    db.execute("INSERT INTO payload VALUES (77, '')")


@pytest.mark.anyio
async def test_cancelling_leaves_no_half_transaction(path: Path) -> None:
    """Done or not done; and the next one waits for a thread that is still at work."""
    async with Opened(path) as journal:
        groups = [group(n) for n in range(500)]
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(journal.add, FORM, groups, NOW)
                await anyio.lowlevel.checkpoint()
                scope.cancel()
        assert not connection(journal).in_transaction
        assert (await journal.status()).total in (0, 500)


@pytest.mark.anyio
@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
async def test_a_forked_child_is_refused(path: Path) -> None:
    """The connection and the lock are its parent's."""
    async with Opened(path) as journal:
        journal._pid -= 1
        with pytest.raises(SessionMisuse, match="fork"):
            await journal.status()
        journal._pid += 1


def test_many_processes_may_open_a_new_file_at_once(path: Path) -> None:
    program = (
        "import sys, anyio; from datetime import UTC, datetime\n"
        "from every8d_async.campaign import SqliteJournal\n"
        "async def main():\n"
        f"    journal = SqliteJournal({str(path)!r})\n"
        "    await journal.open('a', datetime.now(UTC))\n"
        "    print(journal.name); await journal.aclose()\n"
        "anyio.run(main)"
    )
    command = [sys.executable, "-c", program]
    children = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(6)
    ]
    ends = [child.communicate() for child in children]
    assert [complaint for _, complaint in ends] == [b""] * 6
    assert len({name for name, _ in ends}) == 1


@pytest.mark.anyio
async def test_opening_twice_and_closing_twice_does_no_harm(path: Path) -> None:
    async with Opened(path) as journal:
        pass
    await journal.aclose()
    with pytest.raises(SessionMisuse, match="not open"):
        await journal.status()


@pytest.mark.anyio
async def test_batches_are_read_a_page_at_a_time(tmp_path: Path) -> None:
    world = World(tmp_path)
    async with world.open() as campaign:
        await campaign.plan(messages(230), batch_size=1)
        assert list(range(1, 231)) == [batch.id async for batch in campaign.batches()]
        assert not [batch async for batch in campaign.batches(State.UNKNOWN)]


@pytest.mark.anyio
async def test_a_large_plan_is_written_in_slabs(tmp_path: Path) -> None:
    """What a source raises comes out as itself; the slabs before it are planned, and resumed."""

    async def numbers() -> AsyncIterator[str]:
        for number in mobiles(41_500):
            yield number
        raise RuntimeError("the source broke")

    world = World(tmp_path)
    async with world.open() as campaign:
        with pytest.raises(RuntimeError, match="the source broke"):
            await campaign.plan_text("a", numbers())
        assert (await campaign.status()).planned == 40_000
        planned = await campaign.plan_text("a", mobiles(41_500))
        assert (planned.planned, planned.repeated) == (1500, 40_000)


@pytest.mark.anyio
async def test_a_journal_that_breaks_while_it_runs_is_raised(tmp_path: Path) -> None:
    """The caller hears of it as it is; what was on its way is unknown, not lost."""
    world = World(tmp_path)
    async with world.open() as campaign:
        await campaign.plan(messages(4), batch_size=2)
        db = connection(campaign._journal)  # type: ignore[arg-type]
        db.execute(
            "CREATE TRIGGER full BEFORE UPDATE ON batch WHEN new.state = 'accepted' "
            "BEGIN SELECT raise(ABORT, 'disk full'); END"
        )
        with pytest.raises(sqlite3.Error, match="disk full"):
            await finish(campaign, max_in_flight=1)
        db.execute("DROP TRIGGER full")
        status = await campaign.status()
        assert status.unknown >= 2
        assert status.unknown + status.planned == 4
        await finish(campaign)
    assert set(world.counts.values()) == {1}


@pytest.mark.anyio
async def test_a_journal_that_breaks_gives_way_to_what_the_block_raised(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged: of two errors the block's own is the one that its caller can act upon."""
    world = World(tmp_path)

    async def leave_campaign(error: Exception | None) -> None:
        async with world.open() as campaign:
            connection(campaign._journal).close()  # type: ignore[arg-type]
            if error is not None:
                raise error

    async def leave_run(error: Exception | None) -> None:
        async with world.open() as campaign:
            async with campaign.run():
                db = connection(campaign._journal)  # type: ignore[arg-type]
                db.execute("ALTER TABLE batch RENAME TO gone")
                if error is not None:
                    raise error
            raise AssertionError("the journal's error was hidden")

    for leave in (leave_campaign, leave_run):
        caplog.clear()
        world.path = tmp_path / f"{leave.__name__}.sqlite3"
        with pytest.raises(ValueError, match="the block's own"):
            await leave(ValueError("the block's own"))
        assert "Error gives way" in caplog.text
        world.path = tmp_path / f"{leave.__name__}-alone.sqlite3"
        with pytest.raises(sqlite3.Error):
            await leave(None)


@pytest.mark.anyio
@pytest.mark.parametrize("place", ["header", "tables"])
async def test_a_damaged_file_is_a_clear_error(tmp_path: Path, place: str) -> None:
    """As documented: whoever opens campaigns need not know of SQLite's errors."""
    world = World(tmp_path)
    async with world.open() as campaign:
        await campaign.plan(messages(2000), batch_size=1)
    whole = world.path.read_bytes()
    start = 100 if place == "header" else 4096
    world.path.write_bytes(whole[:start] + b"\xff" * (len(whole) - start))
    with pytest.raises(JournalError, match="damaged"):
        async with world.open():
            pass
    assert [world.path.name] == [file.name for file in tmp_path.iterdir()]


@pytest.mark.anyio
async def test_another_site_is_another_account(tmp_path: Path) -> None:
    """The same name there is somebody else, with another filter and other reports."""
    world = World(tmp_path)
    async with world.open():
        pass
    with pytest.raises(JournalError, match="another account"):
        async with world.open(site="https://sms.example"):
            pass


@pytest.mark.anyio
async def test_a_simulator_on_another_port_is_the_same(tmp_path: Path) -> None:
    """It gets a free one each time it starts; a campaign that it was killed with goes on."""
    world = World(tmp_path)
    for site in ("http://127.0.0.1:8021", "http://127.0.0.1:8022", "http://localhost"):
        async with world.open(site=site) as campaign:
            assert (await campaign.status()).total == 0


@pytest.mark.anyio
async def test_a_campaign_is_entered_once_at_a_time(tmp_path: Path) -> None:
    """Again only after its end; the first one goes on."""
    world = World(tmp_path)
    async with world.open() as campaign:
        with pytest.raises(SessionMisuse, match="open already"):
            await campaign.__aenter__()
        assert (await campaign.status()).total == 0


@pytest.mark.anyio
async def test_an_opening_clears_away_what_gone_owners_left(path: Path) -> None:
    """Also those that had nothing under way; the living keep theirs."""
    dead = Owner(path)
    dead.begin()
    assert dead._descriptor is not None
    os.close(dead._descriptor)  # as its death does
    async with Opened(path) as live, Opened(path) as other:
        found = {file.name for file in path.parent.glob("*-owner-*")}
        assert found == {f"{path.name}-owner-{each.owner}" for each in (live, other)}


@pytest.mark.anyio
async def test_the_session_is_not_closed_with_the_campaign(tmp_path: Path) -> None:
    world = World(tmp_path)
    session: Every8DSession = world.session()
    async with Campaign.open(world.path, session):
        pass
    assert not session.is_closed
    await session.aclose()


def test_nobody_pays_for_campaigns_who_does_not_use_them() -> None:
    """The package itself never imports them."""
    program = (
        "import sys, every8d_async; print([name for name in sys.modules if 'campaign' in name])"
    )
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert told.stdout.strip() == b"[]"
