"""Running a case: its server, a process for each way, their turns, and whether it is sound."""

import math
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from importlib.util import find_spec
from statistics import median

from attrs import Factory, define, evolve, frozen

from benchmarks.cases import Case
from benchmarks.measure import Row, Run, Slice, Way, paired, row
from benchmarks.server import Server, running
from benchmarks.worker import path_of, started


@frozen
class Outcome:
    """
    What a case gave.

    Attributes:
        case: Which.
        slices: Of each way that is installed, in turn; None where one was given up.
        rows: For the table.
        problems: What makes them worth nothing.
        notes: What else is to be told.
    """

    case: Case
    slices: dict[str, list[Slice | None]]
    rows: list[Row]
    problems: list[str] = Factory(list[str])
    notes: list[str] = Factory(list[str])

    @property
    def busy(self) -> float:
        """Give the part of the time that the server worked, in the turns of its busiest way."""
        parts = [
            [each.extras["server"] for each in slices if each and "server" in each.extras]
            for slices in self.slices.values()
        ]
        return max((median(each) for each in parts if each), default=0.0)


@define
class _Turns:
    """A way's turns, watched at the server."""

    way: Way
    run: Run
    server: Server | None
    calls: int = 0

    def __call__(self, seconds: float) -> Slice | None:
        before = self.server.ask().cpu if self.server else 0.0
        done = self.run(seconds)
        if done is None:
            return None
        self.calls += done.calls
        if self.server is None:
            return done
        part = (self.server.ask().cpu - before) / done.seconds
        return evolve(done, extras={**done.extras, "server": part})


def measured(case: Case, *, quick: bool) -> Outcome:
    """Run a case; a quick run judges no goal, but asks of rivals, too, that all is answered."""
    with ExitStack() as stack:
        server = stack.enter_context(running(case.server)) if case.server else None
        here = [way for way in case.ways if is_installed(way)]
        turns = {
            way.name: _Turns(
                way, stack.enter_context(started(way, server.url if server else "")), server
            )
            for way in here
        }
        slices = paired(turns, case.rounds, case.seconds, warm=case.warm and not quick)
        counted = server.ask().counted if server else None
    first = case.ways[0].name
    rows = [row(case.name, first, wanted, slices) for wanted in case.compared if first in slices]
    if quick:
        rows = [evolve(each, met=None) for each in rows]
    ours = {wanted.ours or first for wanted in case.compared}
    problems: list[str] = []
    notes: list[str] = []
    for name, turn in turns.items():
        found = list(_faults(turn, slices[name], counted))
        (problems if quick or name in ours else notes).extend(found)
    if first not in slices:
        notes.append(f"{case.ways[0].needs} is not installed: not measured")
    problems += [
        f"{each.measure} against {each.rival}: {each.ratio} is no ratio"
        for each in rows
        if each.ratio is not None and not 0 < each.ratio < math.inf
    ]
    return Outcome(case, slices, rows, problems, notes)


def is_installed(way: Way) -> bool:
    """Tell whether what a way needs is there."""
    return not way.needs or find_spec(way.needs) is not None


def _faults(
    turn: _Turns, slices: list[Slice | None], counted: Mapping[str, int] | None
) -> Iterator[str]:
    name = turn.way.name
    if None in slices:
        yield f"{name}: its process broke off, or took more than {turn.way.limit:.0f} s"
        return
    failed = sum(each.failed for each in slices if each)
    if failed:
        why = next(each.why for each in reversed(slices) if each and each.failed)
        yield f"{name}: {failed:,} calls not answered, {why or 'rows are missing'}"
    elif counted is not None and turn.way.counted:
        seen = counted.get(path_of(name), 0)
        if seen != turn.calls:
            yield f"{name}: {turn.calls:,} calls, but the server counted {seen:,}"
