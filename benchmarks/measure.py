"""
One engine: ways of doing the same, measured in short slices that take turns.

A machine that others use too gets faster and slower meanwhile; so only what was measured right
beside each other is compared, and the median of those ratios is what counts.
"""

import math
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from statistics import median
from typing import Any

from attrs import Factory, evolve, field, frozen

Clock = Callable[[], float]


@frozen
class Slice:
    """
    What one way did in its turn.

    Attributes:
        calls: Calls that were answered well.
        failed: Calls that were not.
        seconds: By the clock on the wall.
        cpu: Seconds of this process.
        extras: Figures that only some ways have.
        why: What the last of the failed ones said.
    """

    calls: int
    failed: int
    seconds: float
    cpu: float
    extras: dict[str, float] = Factory(dict[str, float])
    why: str = ""


Run = Callable[[float], Slice | None]
"""Measures for about so many seconds; None where no end was in sight, which ends a way."""


class Stopwatch:
    """Both clocks, and the slice that they make."""

    def __init__(self, clock: Clock = time.perf_counter, cpu: Clock = time.process_time) -> None:
        self._clock, self._cpu = clock, cpu
        self._began, self._cpu_began = clock(), cpu()

    @property
    def seconds(self) -> float:
        """Give the seconds since it was made."""
        return self._clock() - self._began

    def slice(self, calls: int, failed: int = 0, why: str = "", **extras: float) -> Slice:
        """Stop."""
        return Slice(calls, failed, self.seconds, self._cpu() - self._cpu_began, extras, why)


def repeated(work: Callable[[], object], watch: Callable[[], Stopwatch] = Stopwatch) -> Run:
    """Do plain work again and again, once at least."""

    def run(seconds: float) -> Slice:
        calls, running = 0, watch()
        while not calls or running.seconds < seconds:
            work()
            calls += 1
        return running.slice(calls)

    return run


async def at_once(callers: int, call: Callable[[], Awaitable[bool]], seconds: float) -> Slice:
    """Let so many call again and again until the time is over, each of them once at least."""
    import anyio  # noqa: PLC0415 - a process that measures imports starts without it

    running, calls, failed, why = Stopwatch(), 0, 0, ""

    async def caller() -> None:
        nonlocal calls, failed, why
        first = True
        while first or running.seconds < seconds:
            first = False
            try:
                sound = await call()
            except Exception as error:  # noqa: BLE001 - whatever a client raises is no answer
                sound, why = False, f"{type(error).__name__}: {error}"[:200]
            calls, failed = calls + sound, failed + (not sound)

    async with anyio.create_task_group() as group:
        for _ in range(callers):
            group.start_soon(caller)
    return running.slice(calls, failed, why)


def paired(
    ways: Mapping[str, Run], rounds: int, seconds: float, *, warm: bool
) -> dict[str, list[Slice | None]]:
    """Measure in turn, forwards and backwards; a way that ended is asked no more."""
    found: dict[str, list[Slice | None]] = {name: [] for name in ways}
    if warm:
        for run in ways.values():
            run(seconds)
    order = list(ways)
    for _ in range(rounds):
        for name in order:
            if None not in found[name]:
                found[name].append(ways[name](seconds))
        order.reverse()
    return found


# --- what is compared ---


@frozen
class Measure:
    """
    What of a slice is looked at.

    Attributes:
        name: As the table has it.
        of: The figure.
        show: Writes it.
        inverse: Whether the ratio is theirs by ours.
    """

    name: str
    of: Callable[[Slice], float]
    show: Callable[[float], str]
    inverse: bool = False


def _seconds(value: float) -> str:
    for unit, scale in (("s", 1), ("ms", 1e3), ("µs", 1e6)):
        if value * scale >= 1:
            return f"{value * scale:.3g} {unit}" if value * scale < 1000 else f"{value:,.0f} s"  # noqa: PLR2004
    return f"{value * 1e6:.2g} µs"


def _extra(name: str) -> Callable[[Slice], float]:
    return lambda each: each.extras[name]


def _per_call(of: Callable[[Slice], float]) -> Callable[[Slice], float]:
    return lambda each: of(each) / each.calls if each.calls else math.inf


def _wall(each: Slice) -> float:
    return each.seconds


def _cpu(each: Slice) -> float:
    return each.cpu


RATE = Measure("rate", lambda each: each.calls / each.seconds, lambda value: f"{value:,.0f}/s")
CPU = Measure("CPU", _per_call(_cpu), _seconds)
CPU_GAIN = evolve(CPU, name="CPU gain", inverse=True)
TIME = Measure("time", _wall, _seconds)
TIME_GAIN = evolve(TIME, name="speed-up", inverse=True)
SERVED = Measure("served", lambda each: each.calls, lambda value: f"{value:,.0f}")
STALL = Measure("stall", _extra("stall"), _seconds)
GROWTH = Measure("growth", _extra("growth"), lambda value: f"{value:.1f} MB")
HELD = Measure("bytes held", _extra("held"), lambda value: f"{value:.0f}")


@frozen
class Goal:
    """At most, or at least, so much."""

    limit: float
    least: bool = False

    def met(self, value: float) -> bool:
        """Tell whether a figure is good enough."""
        return value >= self.limit if self.least else value <= self.limit

    def written(self, show: Callable[[float], str]) -> str:
        """Write it."""
        return f"{'≥' if self.least else '≤'} {show(self.limit)}"


def ratio(value: float) -> str:
    """Write a ratio."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"  # noqa: PLR2004


@frozen
class Compared:
    """
    A row to be shown.

    Attributes:
        measure: What is compared.
        rival: With which way; with none, the figure itself has the goal.
        goal: What the ratio should be.
        ours: Which way is ours; the first one of the case if empty.
    """

    measure: Measure
    rival: str = ""
    goal: Goal | None = None
    ours: str = ""


@frozen
class Way:
    """
    A way of doing something.

    Attributes:
        name: As the table has it.
        function: ``module:function``, a context manager that gives a `Run`.
        options: What the function is given, beside the server's address.
        needs: The module that must be installed, if it is not one of ours.
        hide: A module that its process must not find.
        limit: Seconds until a slice is given up.
        counted: Whether the server counts its calls.
    """

    name: str
    function: str
    options: dict[str, Any] = Factory(dict[str, Any])
    needs: str = ""
    hide: str = ""
    limit: float = 60
    counted: bool = True


@frozen
class Row:
    """A line of the table, in figures; ratios are None without a rival that came to an end."""

    case: str
    rival: str
    measure: str
    ours: float | None
    theirs: float | None
    ratio: float | None
    least: float | None
    most: float | None
    goal: str
    met: bool | None
    note: str = field(default="")


def _values(measure: Measure, slices: Sequence[Slice | None]) -> Iterator[float]:
    return (measure.of(each) for each in slices if each is not None)


def row(case: str, first: str, wanted: Compared, found: Mapping[str, list[Slice | None]]) -> Row:
    """Make a row of slices."""
    measure, goal = wanted.measure, wanted.goal
    mine = list(_values(measure, found[wanted.ours or first]))
    ours = median(mine) if mine else None
    name = f"{wanted.ours}: {wanted.rival}" if wanted.ours else wanted.rival
    written = "" if goal is None else goal.written(ratio if wanted.rival else measure.show)
    blank = Row(case, name, measure.name, ours, None, None, None, None, written, None)
    if not wanted.rival:
        met = None if goal is None or ours is None else goal.met(ours)
        return evolve(blank, least=min(mine, default=None), most=max(mine, default=None), met=met)
    if wanted.rival not in found:
        return evolve(blank, note="not installed")
    theirs = list(_values(measure, found[wanted.rival]))
    if not theirs or not mine:
        return evolve(blank, note="gave no answer")
    ratios = [
        other / own if measure.inverse else own / other
        for own, other in zip(mine, theirs, strict=False)
        if (own if measure.inverse else other) > 0
    ]
    if not ratios:
        return evolve(blank, theirs=median(theirs), note="served none")
    middle = median(ratios)
    return evolve(
        blank,
        theirs=median(theirs),
        ratio=middle,
        least=min(ratios),
        most=max(ratios),
        met=None if goal is None else goal.met(middle),
    )
