"""The demo: log in, send, follow the reports, schedule and cancel, over real sockets."""

from collections import Counter
from collections.abc import Iterable
from datetime import datetime, timedelta

import anyio
from rich.console import Console
from rich.markup import escape

from every8d_async import TAIPEI, DeliveryReport, DeliveryStatus, Every8DSession
from every8d_async._cli._gateway import need_simulator
from every8d_async._cli._output import telling

_PEOPLE = 2_500
_DELAY = timedelta(seconds=1)  # between going out and being delivered, in the simulator
_POLL = 0.5  # seconds


def show() -> None:
    """Show the main job at work, against a simulated gateway: no account, no cost."""
    with telling(as_json=False):
        need_simulator()
        anyio.run(_run, Console(highlight=False, soft_wrap=True))


async def _run(console: Console) -> None:
    from every8d_async.simulator import Simulator

    simulator = Simulator(delivery_delay=_DELAY)
    with simulator.serve() as url:
        console.print(f"[bold]every8d-async[/] against its simulator at {url}")
        console.print("[dim]Real sockets on this machine; no account, no cost, no SMS sent.[/]\n")
        async with Every8DSession("demo", "demo", site=url) as session:
            await _show(console, session)
    console.print("\n[bold green]Done.[/] All of it ran through one Every8DSession.")


async def _show(console: Console, session: Every8DSession) -> None:
    credit = await session.credit()
    _say(console, "log in", f"one token for all calls, {credit:,} points at hand")

    numbers = [f"+8869{10_000_000 + person}" for person in range(_PEOPLE)]
    receipt = await session.sms.send("您的驗證碼是 123456", to=numbers, subject="demo")
    _say(
        console,
        "send",
        f"{receipt.sent:,} of {_PEOPLE:,} recipients accepted for {receipt.cost:,} points",
        f"batch {receipt.batch_id}",
    )
    await _follow(console, session, receipt.batch_id)

    tomorrow = datetime.now(TAIPEI) + timedelta(days=1)
    booked = await session.sms.send("明天見", to=numbers[:3], send_at=tomorrow)
    _say(console, "schedule", f"{booked.sent} messages for {tomorrow:%Y-%m-%d %H:%M} in Taipei")
    gone = await session.sms.cancel(booked.batch_id)
    _say(console, "cancel", f"{gone.count} messages cancelled, {gone.refunded} points back")

    _say(console, "credit", f"{credit:,} points before, {await session.credit():,} after")


async def _follow(console: Console, session: Every8DSession, batch_id: str) -> None:
    """Read the reports, page by page, until all of them are final."""
    while True:
        pager = session.sms.delivery_reports(batch_id)
        pages = [page.rows async for page in pager.pages()]
        rows = [row for page in pages for row in page]
        if len(rows) == _PEOPLE and all(row.is_final for row in rows):
            break
        waiting = sum(not row.is_final for row in rows)
        _say(console, "reports", f"{waiting:,} of {len(rows):,} still on their way")
        await anyio.sleep(_POLL)
    sizes = " + ".join(f"{len(page):,}" for page in pages)
    _say(console, "reports", f"{len(pages)} pages ({sizes} rows): {_tally(rows)}")


def _tally(rows: Iterable[DeliveryReport]) -> str:
    counts = Counter(row.status for row in rows)
    return ", ".join(
        f"{count:,} {DeliveryStatus(status).name.lower().replace('_', ' ')}"
        for status, count in counts.most_common()
    )


def _say(console: Console, step: str, *lines: str) -> None:
    for name, line in zip([step, *[""] * len(lines)], lines, strict=False):
        console.print(f"  [bold cyan]{name:<9}[/] {escape(line)}")
