"""The benchmarks work, and are sound: all calls answered, as many at the server; no time counts."""

import json
import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks.__main__ import chosen
from benchmarks.cases import Case, Size, cases
from benchmarks.measure import (
    CPU,
    CPU_GAIN,
    RATE,
    SERVED,
    TIME,
    Compared,
    Goal,
    Run,
    Slice,
    Stopwatch,
    Way,
    paired,
    repeated,
    row,
)
from benchmarks.obvious import from_json, from_table, from_xml
from benchmarks.pages import FORMATS, page
from benchmarks.reads import ours
from benchmarks.report import plot, throughput
from benchmarks.run import Outcome, is_installed, measured
from benchmarks.server import Setup

ROOT = Path(__file__).parent.parent


class Machine:
    """A machine whose speed the test decides: a clock that moves as work is done."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slowness = 1.0

    def work(self, seconds: float) -> Callable[[], None]:
        def work() -> None:
            self.now += seconds * self.slowness

        return work

    def watch(self) -> Stopwatch:
        return Stopwatch(lambda: self.now, lambda: self.now / 2)


def test_a_slice_ends_when_its_time_is_over() -> None:
    """Work is repeated until then, and both clocks are read."""
    machine = Machine()
    done = repeated(machine.work(0.04), machine.watch)(0.15)
    assert isinstance(done, Slice)
    assert (done.calls, done.failed) == (4, 0)
    assert [done.seconds, done.cpu] == pytest.approx([0.16, 0.08])


def test_work_longer_than_a_slice_is_done_once() -> None:
    """A slice without a call has no ratio."""
    machine = Machine()
    done = repeated(machine.work(3), machine.watch)(0)
    assert done is not None
    assert done.calls == 1


def test_ratios_are_of_neighbours() -> None:
    """A machine that gets ten times as slow meanwhile changes the figures, not the ratios."""
    machine = Machine()

    def slowing(seconds: float) -> Run:
        run = repeated(machine.work(seconds), machine.watch)
        turns = 0

        def turn(length: float) -> Slice | None:
            nonlocal turns
            turns += 1
            machine.slowness = 10.0 if turns > 2 else 1.0
            return run(length)

        return turn

    found = paired({"ours": slowing(0.01), "a": slowing(0.04)}, 5, 0.4, warm=False)
    told = row("case", "ours", Compared(RATE, "a", Goal(3, least=True)), found)
    assert [told.least, told.ratio, told.most] == pytest.approx([4, 4, 4])
    assert told.met is True
    assert told.ours == pytest.approx(10)  # the median of 100, 100, 10, 10, 10


def test_turns_alternate() -> None:
    """Forwards and backwards, after one turn each that does not count."""
    asked: list[str] = []

    def way(name: str) -> Run:
        def run(_: float) -> Slice:
            asked.append(name)
            return Slice(len(asked), 0, 1, 1)

        return run

    found = paired({name: way(name) for name in "abc"}, 3, 0.15, warm=True)
    assert "".join(asked) == "abcabccbaabc"
    assert [each.calls for each in found["a"] if each] == [4, 9, 10]


def test_a_way_that_froze_is_asked_no_more() -> None:
    """What it gave before is compared; without anything the row says so."""
    gives = iter([Slice(1, 0, 1, 1), None])
    ways: dict[str, Run] = {
        "ours": lambda _: Slice(2, 0, 1, 1),
        "once": lambda _: next(gives),
        "never": lambda _: None,
    }
    found = paired(ways, 5, 0, warm=False)
    assert [len(found[name]) for name in ways] == [5, 2, 1]
    once = row("case", "ours", Compared(RATE, "once", Goal(2, least=True)), found)
    assert (once.ratio, once.met) == (2, True)
    never = row("case", "ours", Compared(RATE, "never", Goal(2, least=True)), found)
    assert (never.ratio, never.met, never.note) == (None, None, "gave no answer")


def test_rows_without_a_ratio_say_why() -> None:
    """A rival that is not there, or that served nobody, is no zero."""
    found: dict[str, list[Slice | None]] = {
        "ours": [Slice(9, 0, 1, 1)],
        "nobody": [Slice(0, 9, 1, 1)],
    }
    for rival, note in (("nobody", "served none"), ("elsewhere", "not installed")):
        told = row("case", "ours", Compared(SERVED, rival, Goal(1)), found)
        assert (told.ratio, told.met, told.note) == (None, None, note)


def test_goals_without_a_rival_are_of_the_figure() -> None:
    """The range is that of our own figures then."""
    found: dict[str, list[Slice | None]] = {
        "ours": [Slice(n, 0, 1, 1) for n in (10, 9, 10)],
    }
    told = row("case", "ours", Compared(SERVED, goal=Goal(10, least=True)), found)
    assert (told.ours, told.least, told.most, told.met) == (10, 9, 10, True)


def test_gains_are_theirs_by_ours() -> None:
    """Less of ours is a larger gain."""
    found: dict[str, list[Slice | None]] = {
        "ours": [Slice(2, 0, 1, 1)],
        "theirs": [Slice(1, 0, 4, 4)],
    }
    gain = row("case", "ours", Compared(CPU_GAIN, "theirs"), found)
    assert (gain.ours, gain.theirs, gain.ratio) == (0.5, 4, 8)
    assert row("case", "ours", Compared(CPU, "theirs"), found).ratio == 1 / 8


@pytest.mark.parametrize("form", FORMATS)
def test_the_reference_reads_as_we_do(form: str) -> None:
    """What is compared does the same work."""
    body = page(3, 40, form)
    theirs = {"JSON": from_json, "TAB": from_table, "XML": from_xml}[form](body)
    mine: Any = ours(form)(body)
    assert mine.total == theirs.total == len(theirs.rows) == 40
    for own, other in zip(mine.rows, theirs.rows, strict=True):
        assert own.status is other.status
        for name in ("reference", "name", "mobile", "sent_at", "cost", "real_cost", "received_at"):
            assert getattr(own, name) == getattr(other, name)


def test_cases_are_chosen_by_their_names() -> None:
    """Nothing chosen is all of them; every name is there once."""
    every = cases(Size())
    assert chosen(every, []) == every
    assert [case.name for case in chosen(every, ["bulk", "encode D"])] == [
        "encode DEST of 10,000",
        "bulk of 1,000,000",
    ]
    assert len({case.name for case in every}) == len(every)


def test_rows_are_of_ways_that_exist() -> None:
    """A misspelt rival would be taken for one that is not installed."""
    for case in cases(Size()):
        names = {way.name for way in case.ways}
        assert {each.rival for each in case.compared} <= {*names, ""}
        assert {each.ours for each in case.compared} <= {*names, ""}


def run(path: Path, *options: str) -> tuple[str, Any]:
    """Run the command, and give the table and what it wrote as JSON."""
    command = [sys.executable, "-m", "benchmarks", "--json", str(path), *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    return done.stdout, json.loads(path.read_text("utf-8"))


def test_a_quick_run_is_complete_and_sound(tmp_path: Path) -> None:
    """Every case has its rows in table and JSON, every call is answered, every ratio is finite."""
    table, told = run(tmp_path / "told.json", "--quick")
    wanted = cases(Size(quick=True))
    assert [case["name"] for case in told["cases"]] == [case.name for case in wanted]
    assert max(map(len, table.splitlines())) <= 100
    for case, found in zip(wanted, told["cases"], strict=True):
        assert f"\n{case.name}" in table
        assert (found["problems"], found["notes"]) == ([], [])
        assert len(found["rows"]) == len(case.compared)
        installed = {way.name for way in case.ways if is_installed(way)}
        assert found["slices"].keys() == installed
        for slices in found["slices"].values():
            assert len(slices) == case.rounds
            assert all(each["calls"] > 0 and each["failed"] == 0 for each in slices)
        for line in found["rows"]:
            if line["rival"].rpartition(": ")[2] in installed:
                assert 0 < line["ratio"] < math.inf
            elif line["rival"]:
                assert line["note"] == "not installed"


def test_the_plot_has_a_line_for_each_client(tmp_path: Path) -> None:
    """Throughput against callers, as PNG and SVG; other cases are no part of it."""
    outcomes = [
        Outcome(
            Case("case", (), (), 1, callers=callers),
            {"ours": [Slice(callers, 0, 1, 1)], "frozen": [None]},
            [],
        )
        for callers in (0, 1, 10)
    ]
    assert throughput(outcomes) == {"ours": [(1, 1), (10, 10)]}
    pytest.importorskip("matplotlib")
    png, svg = plot(outcomes, tmp_path / "plot.first")
    assert (png.name, svg.name) == ("plot.first.png", "plot.first.svg")
    assert png.read_bytes().startswith(b"\x89PNG")
    assert "<svg" in svg.read_text("utf-8")


@pytest.mark.parametrize(
    ("way", "problem"),
    [
        (
            Way("ours", "benchmarks.bulk:bulk", {"way": "source_alone", "recipients": 10}),
            "ours: 10 calls, but the server counted 0",
        ),
        (
            Way("ours", "benchmarks.reads:paging", {"pages": 3, "rows": 5, "window": 1}),
            "ours: 5 calls not answered, rows are missing",
        ),
        (
            Way("ours", "benchmarks.reads:paging", {"pages": 2, "rows": 5, "window": 1}, limit=0),
            "ours: its process broke off, or took more than 0 s",
        ),
    ],
)
def test_what_is_not_sound_is_told(way: Way, problem: str) -> None:
    """Calls that never arrived, rows that are missing, a process without an end: all are seen."""
    setup = Setup(pages=2, rows=5)
    case = Case("case", (way,), (Compared(TIME),), 1, seconds=0, server=setup, warm=False)
    assert measured(case, quick=False).problems == [problem]


def test_a_module_can_be_hidden(capfd: pytest.CaptureFixture[str]) -> None:
    """The stdlib's figures are those of an installation without orjson."""
    options = {"reader": "orjson", "rows": 1}
    way = Way("ours", "benchmarks.reads:decoding", options, hide="orjson")
    case = Case("case", (way,), (Compared(TIME),), 1, seconds=0, warm=False)
    assert measured(case, quick=False).slices == {"ours": [None]}
    assert "import of orjson halted" in capfd.readouterr().err


@pytest.mark.proof
@pytest.mark.skipif(sys.platform != "linux", reason="it reads its memory from /proc")
def test_a_million_is_sound(tmp_path: Path) -> None:
    """However many there are, memory does not grow with them, and the server counts them all."""
    _, told = run(tmp_path / "told.json", "--only", "bulk")
    (case,) = told["cases"]
    assert case["problems"] == []
    assert {each["calls"] for each in case["slices"]["ours"]} == {1_000_000}
    growth = next(line for line in case["rows"] if line["measure"] == "growth")
    assert growth["met"] is True
