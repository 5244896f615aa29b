"""What stands in the tables: values to rows and back, and what one transaction does with them."""

import json
import sqlite3
from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from attrs import asdict

from every8d_async._models import TAIPEI, DeliveryReport
from every8d_async.campaign._journal import Entry, Form, Group
from every8d_async.campaign._values import Batch, JournalError, State

Row = tuple[Any, ...]

COLUMNS = (
    "id, form, state, owner, epoch, recipients, points, since, wired_at, batch_ids, code, cause, "
    "sent, cost, unsent, filtered"
)
_write = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_AT_ONCE = 500  # values in one query


class Points:
    """Adds up decimals that are kept as text."""

    def __init__(self) -> None:
        self.total = Decimal(0)

    def step(self, value: str) -> None:
        """Take one."""
        self.total += Decimal(value)

    def finalize(self) -> str:
        """Give the sum."""
        return str(self.total)


# --- batches ---


def batch_of(row: Row) -> Batch:
    """Read a batch."""
    number, form, state, owner, epoch, recipients, points = row[:7]
    return Batch(
        id=number,
        form=form,
        state=State(state),
        owner=owner,
        epoch=epoch,
        recipients=recipients,
        points=points,
        since=datetime.fromtimestamp(row[7], UTC),
        wired_at=None if row[8] is None else datetime.fromtimestamp(row[8], UTC),
        batch_ids=tuple(json.loads(row[9])),
        code=row[10],
        cause=row[11],
        sent=row[12],
        cost=Decimal(row[13]),
        unsent=row[14],
        filtered=row[15],
    )


def move(db: sqlite3.Connection, before: Batch, after: Batch) -> bool:
    """Write a batch anew if nobody else has done so."""
    done = db.execute(
        """
        UPDATE batch SET state = ?, owner = ?, epoch = ?, since = ?, wired_at = ?, batch_ids = ?,
            code = ?, cause = ?, sent = ?, cost = ?, unsent = ?, filtered = ?
        WHERE id = ? AND state = ? AND owner = ? AND epoch = ?
        """,
        (
            after.state,
            after.owner,
            after.epoch,
            after.since.timestamp(),
            None if after.wired_at is None else after.wired_at.timestamp(),
            json.dumps(after.batch_ids),
            after.code,
            after.cause,
            after.sent,
            str(after.cost),
            after.unsent,
            after.filtered,
            before.id,
            before.state,
            before.owner,
            before.epoch,
        ),
    )
    return done.rowcount == 1


def note(db: sqlite3.Connection, batch: int, text: str, now: float) -> None:
    """Keep a piece of evidence."""
    db.execute("INSERT INTO note (batch, at, text) VALUES (?, ?, ?)", (batch, now, text))


# --- planning ---


def form_of(body: str) -> Form:
    """Read a form."""
    plain = json.loads(body)
    until = plain["send_before"]
    plain["send_before"] = None if until is None else datetime.fromisoformat(until)
    return Form(**plain)


def form_body(form: Form) -> str:
    """Write a form; the same one is always written the same."""
    until = form.send_before
    plain = asdict(form) | {"send_before": None if until is None else until.isoformat()}
    return json.dumps(plain, ensure_ascii=False, sort_keys=True)


def add(db: sqlite3.Connection, form: Form, groups: Sequence[Group], now: float) -> int:
    """Plan the entries whose key is new, each group as one batch; give how many there were."""
    if db.execute("SELECT 1 FROM meta WHERE name = 'purged'").fetchone() is not None:
        raise JournalError(
            "the campaign was purged, so nobody knows any more who was planned. Nothing was "
            "planned; begin another campaign."
        )
    number = _form_number(db, form)
    # In order, since that touches each page of a large table once.
    keys = sorted({entry.key for group in groups for entry in group.entries})
    known = _known(db, keys)
    fresh: list[tuple[bytes, int]] = []
    for group in groups:
        entries = [entry for entry in group.entries if _is_new(entry.key, known)]
        if entries:
            batch = _insert(db, number, entries, group.problem, now)
            fresh.extend((entry.key, batch) for entry in entries)
    fresh.sort()
    db.executemany("INSERT INTO planned VALUES (?, ?)", fresh)
    return len(fresh)


def _is_new(key: bytes, known: set[bytes]) -> bool:
    if key in known:
        return False
    known.add(key)
    return True


def _known(db: sqlite3.Connection, keys: Sequence[bytes]) -> set[bytes]:
    known: set[bytes] = set()
    for start in range(0, len(keys), _AT_ONCE):
        some = keys[start : start + _AT_ONCE]
        marks = ", ".join("?" * len(some))
        query = f"SELECT key FROM planned WHERE key IN ({marks})"  # noqa: S608 - marks only
        known.update(key for (key,) in db.execute(query, some))
    return known


def _form_number(db: sqlite3.Connection, form: Form) -> int:
    body = form_body(form)
    db.execute("INSERT OR IGNORE INTO form (body) VALUES (?)", (body,))
    number: int = db.execute("SELECT id FROM form WHERE body = ?", (body,)).fetchone()[0]
    return number


def _insert(
    db: sqlite3.Connection, form: int, entries: Sequence[Entry], problem: str, now: float
) -> int:
    state = State.REFUSED if problem else State.PLANNED
    points = sum(entry.points for entry in entries)
    cursor = db.execute(
        """
        INSERT INTO batch (form, state, owner, epoch, recipients, points, since, cause)
        VALUES (?, ?, '', 0, ?, ?, ?, ?)
        """,
        (form, state, len(entries), points, now, problem),
    )
    batch = cursor.lastrowid
    assert batch is not None  # noqa: S101 - a row was inserted
    # What can't be sent may hold what no text on disk can: it is escaped.
    write = json.dumps if problem else _write
    db.execute("INSERT INTO payload VALUES (?, ?)", (batch, write([e.row for e in entries])))
    return batch


# --- reports ---


def report_body(report: DeliveryReport) -> str:
    """Write a report."""
    plain = asdict(report)
    return json.dumps({name: _plain(value) for name, value in plain.items()}, ensure_ascii=False)


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return value.timestamp()
    return str(value) if isinstance(value, Decimal) else value


def report_of(body: str) -> DeliveryReport:
    """Read a report."""
    plain = json.loads(body)
    for name in ("cost", "real_cost"):
        plain[name] = None if plain[name] is None else Decimal(plain[name])
    for name in ("sent_at", "received_at"):
        seconds = plain[name]
        plain[name] = None if seconds is None else datetime.fromtimestamp(seconds, TAIPEI)
    return DeliveryReport(**plain)


# --- purging ---


def purge(db: sqlite3.Connection, ended: Collection[State], before: float, now: datetime) -> int:
    """Remove what names people from batches that ended before a time, and count these."""
    marks = ", ".join("?" * len(ended))
    query = f"""
        SELECT id FROM batch JOIN payload ON batch.id = payload.batch
        WHERE state IN ({marks}) AND since <= ?
    """  # noqa: S608 - marks only
    found = db.execute(query, (*ended, before)).fetchall()
    for (batch,) in found:
        counts = _report_counts(db, batch)
        note(db, batch, f"purged; its reports were: {counts or 'none'}", now.timestamp())
    db.executemany("DELETE FROM payload WHERE batch = ?", found)
    db.executemany("DELETE FROM report WHERE batch = ?", found)
    if found:
        # Without a batch's payload its keys say nothing but whom it was for.
        db.execute("DELETE FROM planned WHERE batch NOT IN (SELECT batch FROM payload)")
        db.execute("""
            UPDATE form SET body = NULL WHERE id NOT IN
            (SELECT form FROM batch JOIN payload ON batch.id = payload.batch)
        """)
        db.execute("INSERT OR IGNORE INTO meta VALUES ('purged', 'yes')")
    return len(found)


def _report_counts(db: sqlite3.Connection, batch: int) -> str:
    counts: dict[int, int] = {}
    for (body,) in db.execute("SELECT body FROM report WHERE batch = ?", (batch,)):
        code = json.loads(body)["code"]
        counts[code] = counts.get(code, 0) + 1
    return ", ".join(f"{code}: {count}" for code, count in sorted(counts.items()))
