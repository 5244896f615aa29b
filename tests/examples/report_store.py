"""Pushed reports in SQLite: each stored once by its key, however often it comes."""

import sqlite3
import threading
from contextlib import closing
from hashlib import sha256
from pathlib import Path

import anyio.to_thread

from every8d_async.webhooks import InvalidReport, PushedReply, PushedReport, parse_report

_TABLES = """
CREATE TABLE IF NOT EXISTS reports (
    key TEXT PRIMARY KEY, batch_id TEXT, mobile TEXT, reference TEXT, code TEXT, kind TEXT,
    text TEXT, received_at TEXT
);
CREATE INDEX IF NOT EXISTS reports_of_batch ON reports (batch_id);
CREATE TABLE IF NOT EXISTS unreadable (digest TEXT PRIMARY KEY, data BLOB, problems TEXT);
"""
_NAMES = ("BatchID", "RM", "MR", "STATUS", "TYPE", "SM", "RT")  # of all columns but the key


class ReportStore:
    """Keeps reports; `add` and `set_aside` are the handlers of a receiver."""

    def __init__(self, path: str | Path) -> None:
        self._connection = sqlite3.connect(path, check_same_thread=False)
        self._connection.execute("PRAGMA journal_mode=WAL")
        # What was answered with 200 will not come again: it must survive a power failure.
        self._connection.execute("PRAGMA synchronous=FULL")
        self._connection.executescript(_TABLES)
        self._turn = threading.Lock()

    async def add(self, report: PushedReport | PushedReply) -> None:
        """Store a report or reply, unless it is there already."""
        await self._write(
            "INSERT OR IGNORE INTO reports VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            report.key,
            report.batch_id,
            report.mobile,
            report.reference,
            str(report.code),
            report.kind,
            report.text,
            report.received_at.isoformat(" ")[:19] if report.received_at else "",
        )

    async def set_aside(self, data: bytes, invalid: InvalidReport) -> None:
        """Store what can't be read for a person to look at, once."""
        digest = sha256(data).hexdigest()
        problems = "\n".join(invalid.problems)
        await self._write(
            "INSERT OR IGNORE INTO unreadable VALUES (?, ?, ?)", digest, data, problems
        )

    async def of_batch(self, batch_id: str) -> list[PushedReport | PushedReply]:
        """Give what was stored about a batch."""
        query = """
            SELECT batch_id, mobile, reference, code, kind, text, received_at
            FROM reports WHERE batch_id = ? ORDER BY rowid
        """

        def read() -> list[tuple[str, ...]]:
            with self._turn, closing(self._connection.execute(query, (batch_id,))) as rows:
                return rows.fetchall()

        rows = await anyio.to_thread.run_sync(read)
        return [parse_report(dict(zip(_NAMES, row, strict=True))) for row in rows]

    async def _write(self, statement: str, *values: object) -> None:
        def write() -> None:
            # A write that has begun ends. The thread has the turn, not its caller, who may be
            # cancelled meanwhile.
            with self._turn, self._connection:  # commits
                self._connection.execute(statement, values)

        await anyio.to_thread.run_sync(write)

    def close(self) -> None:
        """Close the file."""
        self._connection.close()
