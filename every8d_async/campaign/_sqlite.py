"""A campaign's journal in a file of SQLite: WAL, synced, readable by its owner only."""

import os
import sqlite3
import threading
import time
from collections.abc import Callable, Collection, Generator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from secrets import token_hex
from typing import Any, TypeVar

import anyio
import anyio.to_thread

from every8d_async._errors import SessionMisuse
from every8d_async._models import DeliveryReport
from every8d_async.campaign import _rows as rows
from every8d_async.campaign._journal import Claim, Form, Group, Limits
from every8d_async.campaign._owners import Owner
from every8d_async.campaign._schema import check, migrate
from every8d_async.campaign._values import (
    ENDED,
    SPENT,
    UNDER_WAY,
    Batch,
    CampaignStatus,
    Evidence,
    JournalError,
    State,
    abandoned,
    claimed,
)

Result = TypeVar("Result")

_OWNER_ONLY = 0o600
_BUSY = 60.0  # seconds to wait for another process's transaction
_PAUSE = 0.01  # seconds before a file is asked for again that another process has to itself
_CACHE = 8  # MB of pages
_OPENING = threading.Lock()  # one at a time in this process: see _make


class SqliteJournal:
    """
    A journal in a file, for any number of processes of one machine.

    The file (and ``-wal`` and ``-shm`` beside it) holds texts and numbers, and has mode 0600. Each
    transaction is synced before it counts. Work is done in a thread, one transaction at a time: a
    cancelled caller leaves it done or not done. It can't lie on a network share. It never talks to
    the gateway.

    Args:
        path: The file; it is made when it is opened, its folder is not.

    Raises:
        sqlite3.Error: Any method: the file can't be read or written, as when the disk is full.
        JournalError: Any method: the file is damaged.
    """

    name: str

    def __init__(self, path: str | os.PathLike[str]) -> None:
        # The locks of owners lie beside the file itself, by whatever name it is opened.
        self._path = Path(path).resolve()
        self._owner = Owner(self._path)
        self.owner = self._owner.name
        self.name = ""
        self.began = datetime.min.replace(tzinfo=UTC)
        self._pid = os.getpid()
        self._connection: sqlite3.Connection | None = None
        # Held by the thread at work: where a native cancel sent its caller away, the next waits.
        self._turn = threading.Lock()
        self._limiter: anyio.CapacityLimiter | None = None

    # --- opening and closing ---

    async def open(self, account: str, now: datetime) -> None:
        """Open it; see `Journal.open`."""
        self._limiter = anyio.CapacityLimiter(1)
        await self._thread(lambda: self._open(account, now))

    async def aclose(self) -> None:
        """Close it; see `Journal.aclose`."""
        with anyio.CancelScope(shield=True):
            await self._thread(self._close)

    def _open(self, account: str, now: datetime) -> None:
        with _OPENING, _telling_damage():
            if self._connection is not None:
                raise SessionMisuse("the campaign is open already; nothing was changed")
            _make(self._path)
            connection = sqlite3.connect(
                self._path, timeout=_BUSY, isolation_level=None, check_same_thread=False
            )
            try:
                self._prepare(connection, account, now)
                # One at a time on this file, so that nobody clears away a lock before it is taken.
                with _Transaction(connection):
                    self._owner.begin()
            except BaseException:
                connection.close()
                raise
        self._connection = connection

    def _prepare(self, connection: sqlite3.Connection, account: str, now: datetime) -> None:
        check(connection)
        self._path.chmod(_OWNER_ONLY)
        to_wal(connection, _BUSY)
        # With NORMAL a commit is not synced, and a send could leave before its ON_WIRE is on disk.
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA fullfsync = ON")  # macOS: through the disk's own cache, too
        connection.execute("PRAGMA secure_delete = ON")
        connection.execute(f"PRAGMA cache_size = -{_CACHE * 1000}")
        connection.create_aggregate("points", 1, rows.Points)  # type: ignore[arg-type]
        with _Transaction(connection):
            migrate(connection)
            self.name = _meta(connection, "name", "e" + token_hex(4))
            self.began = datetime.fromisoformat(_meta(connection, "began", now.isoformat()))
            if _meta(connection, "account", account) != account:
                raise JournalError(
                    "the journal belongs to another account; its filter and its reports are "
                    "another's, too. Nothing was changed."
                )

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
            self._owner.end()

    # --- one transaction each ---

    async def _do(self, work: Callable[[sqlite3.Connection], Result]) -> Result:
        return await self._thread(lambda: self._transact(work))

    def _transact(self, work: Callable[[sqlite3.Connection], Result]) -> Result:
        if self._connection is None:
            raise SessionMisuse("the campaign is not open: async with Campaign.open(…)")
        with _telling_damage(), _Transaction(self._connection):
            return work(self._connection)

    async def _thread(self, work: Callable[[], Result]) -> Result:
        if os.getpid() != self._pid:
            raise SessionMisuse("the journal was opened before a fork; open it in each process")

        def taking_turns() -> Result:
            with self._turn:
                return work()

        # Not abandoned on cancel: what was begun is finished before anybody goes on.
        return await anyio.to_thread.run_sync(taking_turns, limiter=self._limiter)

    # --- planning ---

    async def add(self, form: Form, groups: Sequence[Group], now: datetime) -> int:
        """Plan what is new; see `Journal.add`."""
        return await self._do(lambda db: rows.add(db, form, groups, now.timestamp()))

    async def form(self, form: int) -> Form:
        """Give a form; see `Journal.form`."""
        found = await self._do(lambda db: _one(db, "SELECT body FROM form WHERE id = ?", form))
        return rows.form_of(found[0])

    async def payload(self, batch: int) -> str:
        """Give a batch's rows; see `Journal.payload`."""
        query = "SELECT body FROM payload WHERE batch = ?"
        found = await self._do(lambda db: db.execute(query, (batch,)).fetchone())
        return "" if found is None else found[0]

    # --- reading ---

    async def get(self, batch: int) -> Batch | None:
        """Give a batch; see `Journal.get`."""
        query = f"SELECT {rows.COLUMNS} FROM batch WHERE id = ?"  # noqa: S608 - names of ours
        found = await self._do(lambda db: db.execute(query, (batch,)).fetchone())
        return None if found is None else rows.batch_of(found)

    async def page(self, states: Collection[State], after: int, size: int) -> list[Batch]:
        """Give the next batches; see `Journal.page`."""
        where = f"state IN ({_marks(states)}) AND id > ?"
        return await self._batches(where, (*states, after), size)

    async def unreported(self, after: int, size: int) -> list[Batch]:
        """Give batches without all reports; see `Journal.unreported`."""
        where = "state = ? AND NOT reported AND id IN (SELECT batch FROM payload) AND id > ?"
        return await self._batches(where, (State.ACCEPTED, after), size)

    async def _batches(self, where: str, values: tuple[object, ...], size: int) -> list[Batch]:
        query = f"SELECT {rows.COLUMNS} FROM batch WHERE {where} ORDER BY id LIMIT ?"  # noqa: S608
        found = await self._do(lambda db: db.execute(query, (*values, size)).fetchall())
        return [rows.batch_of(row) for row in found]

    async def notes(self, batch: int) -> list[Evidence]:
        """Give the evidence; see `Journal.notes`."""
        query = "SELECT at, text FROM note WHERE batch = ? ORDER BY id"
        found = await self._do(lambda db: db.execute(query, (batch,)).fetchall())
        return [Evidence(datetime.fromtimestamp(at, UTC), text) for at, text in found]

    async def status(self) -> CampaignStatus:
        """Count; see `Journal.status`."""
        query = """
            SELECT state, sum(recipients), points(cost), sum(unsent), sum(filtered)
            FROM batch GROUP BY state
        """
        found = await self._do(lambda db: db.execute(query).fetchall())
        return CampaignStatus(
            **{row[0]: row[1] for row in found},
            cost=sum((Decimal(row[2]) for row in found), Decimal(0)),
            unsent=sum(row[3] for row in found),
            filtered=sum(row[4] for row in found),
        )

    # --- changing ---

    async def claim(self, after: int, limits: Limits, now: datetime) -> Claim:
        """Take the next planned batch; see `Journal.claim`."""
        return await self._do(lambda db: self._claim(db, after, limits, now))

    def _claim(self, db: sqlite3.Connection, after: int, limits: Limits, now: datetime) -> Claim:
        query = f"""
            SELECT {rows.COLUMNS} FROM batch WHERE state = ? AND id > ? ORDER BY id LIMIT 1
        """  # noqa: S608 - column names of ours
        found = db.execute(query, (State.PLANNED, after)).fetchone()
        if found is None:
            return Claim(None)
        batch = rows.batch_of(found)
        if crossed := _crossed(db, batch, limits):
            return Claim(None, crossed)
        taken = claimed(batch, self.owner, now)
        rows.move(db, batch, taken)
        return Claim(taken)

    async def move(self, before: Batch, after: Batch, note: str, now: datetime) -> bool:
        """Compare and set; see `Journal.move`."""

        def work(db: sqlite3.Connection) -> bool:
            moved = rows.move(db, before, after)
            if moved and note:
                rows.note(db, before.id, note, now.timestamp())
            return moved

        return await self._do(work)

    async def note(self, batch: int, note: str, now: datetime) -> None:
        """Keep evidence; see `Journal.note`."""
        await self._do(lambda db: rows.note(db, batch, note, now.timestamp()))

    async def recover(self, active: Collection[int], now: datetime) -> int:
        """Take back what nobody has; see `Journal.recover`."""
        return await self._do(lambda db: self._recover(db, active, now))

    def _recover(self, db: sqlite3.Connection, active: Collection[int], now: datetime) -> int:
        query = f"""
            SELECT {rows.COLUMNS} FROM batch WHERE state IN ({_marks(UNDER_WAY)})
        """  # noqa: S608 - column names of ours
        under_way = [rows.batch_of(row) for row in db.execute(query, UNDER_WAY)]
        others = {batch.owner for batch in under_way} - {self.owner}
        gone = {owner for owner in others if self._owner.is_gone(owner)}
        lost = [
            batch
            for batch in under_way
            if batch.owner in gone or (batch.owner == self.owner and batch.id not in active)
        ]
        for batch in lost:
            rows.move(db, batch, abandoned(batch, now))
            text = f"its owner was gone while it was {batch.state}"
            rows.note(db, batch.id, text, now.timestamp())
        return len(lost)

    # --- reports, and the end ---

    async def keep_reports(
        self, batch: int, reports: Sequence[tuple[str, DeliveryReport]], *, complete: bool
    ) -> None:
        """Keep reports; see `Journal.keep_reports`."""
        kept = [(batch, name, rows.report_body(report)) for name, report in reports]

        def work(db: sqlite3.Connection) -> None:
            db.executemany("INSERT OR REPLACE INTO report VALUES (?, ?, ?)", kept)
            db.execute("UPDATE batch SET reported = ? WHERE id = ?", (complete, batch))

        await self._do(work)

    async def reports(self, batch: int) -> list[DeliveryReport]:
        """Give reports; see `Journal.reports`."""
        query = "SELECT body FROM report WHERE batch = ? ORDER BY name"
        found = await self._do(lambda db: db.execute(query, (batch,)).fetchall())
        return [rows.report_of(body) for (body,) in found]

    async def purge(self, before: datetime, now: datetime) -> int:
        """Remove personal data; see `Journal.purge`."""
        purged = await self._do(lambda db: rows.purge(db, ENDED, before.timestamp(), now))
        if purged:
            await self._thread(self._compact)
        return purged

    def _compact(self) -> None:
        # What was removed may still stand in free pages and in the log.
        assert self._connection is not None  # noqa: S101 - a transaction was just made
        self._connection.execute("VACUUM")
        self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


def to_wal(connection: sqlite3.Connection, patience: float) -> None:
    """
    Give a file its write-ahead log, once for all.

    SQLite's own waiting does not cover this: where two processes do it at once, one is told at once
    that the file is locked. It is asked again, for `patience` seconds.

    Raises:
        sqlite3.OperationalError: Another process has the file to itself, or the disk failed.
    """
    until = time.monotonic() + patience
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            busy = error.sqlite_errorcode == sqlite3.SQLITE_BUSY
            if not busy or time.monotonic() >= until:
                raise
            time.sleep(_PAUSE)
        else:
            return


class _Transaction:
    """Takes the write lock at once, so that what is read stays true; commits, or takes it back."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def __enter__(self) -> None:
        self._connection.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self._connection.execute("COMMIT")
        finally:
            # Also where the commit failed, as on a full disk; SQLite may have done it already.
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")


@contextmanager
def _telling_damage() -> Generator[None]:
    try:
        yield
    except sqlite3.DatabaseError as error:
        # Errors of the module's own have no code; an extended one has more bits.
        if getattr(error, "sqlite_errorcode", 0) & 0xFF != sqlite3.SQLITE_CORRUPT:
            raise
        raise JournalError(f"the journal's file is damaged: {error}") from None


def _make(path: Path) -> None:
    """Make the file with its mode before SQLite does, whose other files take the mode after it."""
    # Only where it is new: to close a file is to drop this process's locks on it, SQLite's as well.
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, _OWNER_ONLY))


def _marks(values: Collection[object]) -> str:
    return ", ".join("?" * len(values))


def _one(db: sqlite3.Connection, query: str, *values: object) -> tuple[Any, ...]:
    found: tuple[Any, ...] = db.execute(query, values).fetchone()
    return found


def _meta(db: sqlite3.Connection, name: str, value: str) -> str:
    """Give a value that is written once."""
    db.execute("INSERT OR IGNORE INTO meta VALUES (?, ?)", (name, value))
    kept: str = _one(db, "SELECT value FROM meta WHERE name = ?", name)[0]
    return kept


def _crossed(db: sqlite3.Connection, batch: Batch, limits: Limits) -> str:
    if limits == Limits():
        return ""
    query = f"""
        SELECT coalesce(sum(points), 0), coalesce(sum(recipients), 0)
        FROM batch WHERE state IN ({_marks(SPENT)})
    """  # noqa: S608 - marks only
    points, people = _one(db, query, *SPENT)
    if limits.max_recipients is not None and people + batch.recipients > limits.max_recipients:
        return f"max_recipients={limits.max_recipients} would be crossed"
    if limits.max_points is not None and points + batch.points > limits.max_points:
        return f"max_points={limits.max_points} would be crossed, by our estimate"
    return ""
