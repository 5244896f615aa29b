"""How far it is: a bar on a terminal, a line now and then elsewhere; on stderr, always."""

import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from decimal import Decimal
from typing import Protocol

from every8d_async._cli._output import Output

_PAUSE = 5.0  # seconds between two lines where there is no terminal

Clock = Callable[[], float]


class Report(Protocol):
    """Hears how far it is."""

    def __call__(
        self,
        done: int,
        total: int | None = None,
        *,
        points: Decimal | None = None,
        unknown: int = 0,
    ) -> None:
        """Take note; `total` is kept until another is given."""
        ...


def unheard(
    _done: int, _total: int | None = None, *, points: Decimal | None = None, unknown: int = 0
) -> None:
    """Take note of nothing."""


def figures(
    done: int, total: int, seconds: float, fresh: int, points: Decimal | None, unknown: int
) -> str:
    """Write how far it is, how fast, for how long still, at what cost, and what is unknown."""
    rate = fresh / seconds if seconds > 0 else 0.0
    parts = [f"{done:,}/{total:,}", f"{rate:,.0f}/s"]
    if rate and done < total:
        parts.append(f"{_clock((total - done) / rate)} left")
    if points is not None:
        parts += [f"{points:,.0f} pts", f"{unknown:,} unknown"]
    return " ".join(parts)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


@contextmanager
def progress(
    out: Output, total: int, done: int = 0, *, clock: Clock = time.monotonic
) -> Generator[Report]:
    """
    Show how far it is while the block runs.

    Args:
        out: Its results are printed above the bar, where both share a terminal.
        total: How many there are.
        done: How many of them were done before.
        clock: What tells the seconds.
    """
    begun = clock()
    last = total

    def words(now_done: int, now_total: int | None, points: Decimal | None, unknown: int) -> str:
        nonlocal last
        last = last if now_total is None else now_total
        return figures(now_done, last, clock() - begun, now_done - done, points, unknown)

    if sys.stderr.isatty():
        with _bar(out, total, done, words) as report:
            yield report
    else:
        yield _lines(out, clock, words)


Words = Callable[[int, int | None, Decimal | None, int], str]


def _lines(out: Output, clock: Clock, words: Words) -> Report:
    due = clock() + _PAUSE

    def report(
        done: int, total: int | None = None, *, points: Decimal | None = None, unknown: int = 0
    ) -> None:
        nonlocal due
        said = words(done, total, points, unknown)
        if clock() >= due:
            due = clock() + _PAUSE
            out.note(said)

    return report


@contextmanager
def _bar(out: Output, total: int, done: int, words: Words) -> Generator[Report]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

    console = Console(stderr=True)
    columns = (TaskProgressColumn(), BarColumn(bar_width=None), TextColumn("{task.fields[said]}"))
    with Progress(*columns, console=console, expand=True, redirect_stdout=False) as shown:
        task = shown.add_task("", total=total, completed=done, said=f"{done:,}/{total:,}")

        def report(
            done: int, total: int | None = None, *, points: Decimal | None = None, unknown: int = 0
        ) -> None:
            said = words(done, total, points, unknown)
            shown.update(task, completed=done, total=total, said=said)

        with out.above(
            lambda line: console.print(line, markup=False, highlight=False, soft_wrap=True)
        ):
            yield report
