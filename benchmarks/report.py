"""What a run is written as: a table, JSON, a plot."""

import os
import platform
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import Any

from attrs import asdict

from benchmarks import measure
from benchmarks.measure import Measure, Row
from benchmarks.run import Outcome

PACKAGES = ("every8d-async", "httpx", "httpx2", "aiohttp", "twilio", "orjson", "cattrs", "uvloop")
_SHOW = {each.name: each.show for each in vars(measure).values() if isinstance(each, Measure)}
_WIDTHS = (-10, -20, 9, 9, 7, 15, 7, -18)  # below zero: to the left
_HEAD = ("measure", "against", "ours", "theirs", "ratio", "range", "goal", "met")


def machine() -> dict[str, Any]:
    """Tell where and with what it was measured."""
    return {
        "when": f"{datetime.now(UTC):%Y-%m-%d}",
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
        "packages": {name: _version(name) for name in PACKAGES},
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def heading() -> Iterator[str]:
    """Give the lines before the first case."""
    told = machine()
    packages = [f"{name} {number or 'missing'}" for name, number in told["packages"].items()]
    yield f"{told['when']}, {told['cores']} cores, {told['system']}, Python {told['python']}"
    yield ", ".join(packages[:4])
    yield ", ".join(packages[4:])
    yield "Ratios are ours / theirs (CPU gain, speed-up: theirs / ours): median and range of turns"
    yield "right after each other. Figures are medians. CPU is per call; a stall is CPU time."
    yield ""
    yield _line(_HEAD)


def lines(outcome: Outcome) -> Iterator[str]:
    """Give the lines of a case."""
    busy = f" (server busy {outcome.busy:.0%})" if outcome.case.server else ""
    yield ""
    yield f"{outcome.case.name}{busy}"
    yield from (_line(_cells(each)) for each in outcome.rows)
    yield from (f"  note: {note}"[:100] for note in outcome.notes)
    yield from (f"  UNSOUND: {problem}" for problem in outcome.problems)


def _cells(row: Row) -> Iterator[str]:
    show = _SHOW[row.measure]
    write = measure.ratio if row.rival else show  # without a rival, the range is our own

    def cell(value: float | None) -> str:
        return "" if value is None else write(value)

    yield row.measure
    yield row.rival
    yield "" if row.ours is None else show(row.ours)
    yield "" if row.theirs is None else show(row.theirs)
    yield cell(row.ratio)
    yield "" if row.least is None else f"{cell(row.least)}–{cell(row.most)}"
    yield row.goal
    yield row.note or ("" if row.met is None else "yes" if row.met else "NO")


def _line(cells: Iterable[str]) -> str:
    return " ".join(
        f"{cell:<{-width}}" if width < 0 else f"{cell:>{width}}"
        for cell, width in zip(cells, _WIDTHS, strict=True)
    ).rstrip()


def summary(outcomes: Sequence[Outcome], *, quick: bool) -> Iterator[str]:
    """Give the lines after the last case."""
    unsound = sum(map(bool, (outcome.problems for outcome in outcomes)))
    if quick or unsound:
        yield ""
        yield f"{unsound} of {len(outcomes)} cases are unsound"
    if quick:
        return
    judged = [row for outcome in outcomes for row in outcome.rows if row.met is not None]
    missed = [row for row in judged if not row.met]
    yield ""
    yield f"{len(judged) - len(missed)} of {len(judged)} goals met"
    for row in missed:
        against = f" against {row.rival}" if row.rival else ""
        figure = row.ours if row.ratio is None else row.ratio
        write = _SHOW[row.measure] if row.ratio is None else measure.ratio
        told = "" if figure is None else write(figure)
        yield f"not met: {row.case}, {row.measure}{against}: {told}, goal {row.goal}"


def plain(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Give all figures as plain values."""
    return {
        "machine": machine(),
        "cases": [
            {
                "name": outcome.case.name,
                "rows": [asdict(row) for row in outcome.rows],
                "slices": {
                    name: [each and asdict(each) for each in slices]
                    for name, slices in outcome.slices.items()
                },
                "server_busy": outcome.busy,
                "problems": outcome.problems,
                "notes": outcome.notes,
            }
            for outcome in outcomes
        ],
    }


def plot(outcomes: Sequence[Outcome], stem: Path) -> list[Path]:
    """Draw throughput against callers, as PNG and SVG."""
    pyplot: Any = import_module("matplotlib.pyplot")
    figure, axes = pyplot.subplots(figsize=(8, 5), layout="constrained")
    for name, points in throughput(outcomes).items():
        axes.plot(*zip(*points, strict=True), marker="o", label=name)
    axes.set(
        xscale="log",
        yscale="log",
        xlabel="callers at once",
        ylabel="sends a second",
        title="Sends over one session or client, to a server on the other core",
    )
    axes.grid(visible=True, which="both", alpha=0.3)
    axes.legend()
    paths = [stem.with_name(f"{stem.name}.{ending}") for ending in ("png", "svg")]
    for path in paths:
        figure.savefig(path, dpi=150)
    pyplot.close(figure)
    return paths


def throughput(outcomes: Sequence[Outcome]) -> dict[str, list[tuple[int, float]]]:
    """Give a line of points for each client: callers, and sends a second."""
    points: dict[str, list[tuple[int, float]]] = {}
    for outcome in outcomes:
        for name, slices in outcome.slices.items():
            rates = [measure.RATE.of(each) for each in slices if each and each.calls]
            if outcome.case.callers and rates:
                points.setdefault(name, []).append((outcome.case.callers, median(rates)))
    return points
