"""The tables of a campaign's file, and how an older file becomes a newer one."""

import sqlite3
from collections.abc import Sequence

from every8d_async.campaign._values import JournalError

APPLICATION = 0x45384431  # "E8D1": a file of ours says so in its header

_FIRST = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE form (id INTEGER PRIMARY KEY, body TEXT UNIQUE);
CREATE TABLE batch (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    form INTEGER NOT NULL REFERENCES form,
    state TEXT NOT NULL,
    owner TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    recipients INTEGER NOT NULL,
    points INTEGER NOT NULL,
    since REAL NOT NULL,
    wired_at REAL,
    batch_ids TEXT NOT NULL DEFAULT '[]',
    code INTEGER,
    cause TEXT NOT NULL DEFAULT '',
    sent INTEGER NOT NULL DEFAULT 0,
    cost TEXT NOT NULL DEFAULT '0',
    unsent INTEGER NOT NULL DEFAULT 0,
    filtered INTEGER NOT NULL DEFAULT 0,
    reported INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX batch_by_state ON batch (state, id);
CREATE TABLE payload (batch INTEGER PRIMARY KEY REFERENCES batch, body TEXT NOT NULL);
CREATE TABLE planned (key BLOB PRIMARY KEY, batch INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE note (
    id INTEGER PRIMARY KEY,
    batch INTEGER NOT NULL REFERENCES batch,
    at REAL NOT NULL,
    text TEXT NOT NULL
);
CREATE INDEX note_by_batch ON note (batch, id);
CREATE TABLE report (
    batch INTEGER NOT NULL, name TEXT NOT NULL, body TEXT NOT NULL, PRIMARY KEY (batch, name)
) WITHOUT ROWID;
"""

# One statement, so that all is of one moment: another process may be making the file just now.
_LOOK = """
SELECT user_version, application_id, (SELECT count(*) FROM sqlite_master)
FROM pragma_user_version, pragma_application_id
"""

# A file's user_version is how many of these it has been through. Never change one: add another.
STEPS: tuple[str, ...] = (_FIRST,)


def check(connection: sqlite3.Connection, steps: Sequence[str] = STEPS) -> int:
    """
    Look whether a file is ours to use; nothing in it is changed.

    Returns:
        How many of the steps it has been through.

    Raises:
        JournalError: The file is newer than this package, or is something else's.
    """
    try:
        version, mark, tables = connection.execute(_LOOK).fetchone()
    except sqlite3.DatabaseError as error:
        if getattr(error, "sqlite_errorcode", 0) != sqlite3.SQLITE_NOTADB:
            raise  # the disk, or another process
        raise JournalError("the file is no database, so no campaign's journal") from None
    if mark != APPLICATION and (version or tables):
        raise JournalError("the file is a database of something else, not a campaign's journal")
    if version > len(steps):
        raise JournalError(
            f"the journal has version {version}, and this package knows versions up to "
            f"{len(steps)}: a newer every8d-async wrote it. Upgrade; nothing was changed."
        )
    return int(version)


def migrate(connection: sqlite3.Connection, steps: Sequence[str] = STEPS) -> None:
    """
    Bring a file up to date, in the caller's transaction.

    Raises:
        JournalError: As by `check`: another process may have been here since.
    """
    for step in steps[check(connection, steps) :]:
        for statement in filter(None, map(str.strip, step.split(";"))):
            connection.execute(statement)
    connection.execute(f"PRAGMA application_id = {APPLICATION}")
    connection.execute(f"PRAGMA user_version = {len(steps)}")
