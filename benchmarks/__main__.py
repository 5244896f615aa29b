"""
Measure every case and print a table; only figures of one and the same run can be compared.

A case that names a goal says whether it is met. Rivals that are not installed are left out, and
the table says so; ``pip install -e ".[bench]"`` brings them all.
"""

import argparse
import json
import sys
from importlib.util import find_spec
from pathlib import Path

from benchmarks import report
from benchmarks.cases import Case, Size, cases
from benchmarks.run import Outcome, measured


def say(line: str) -> None:
    """Print a line now."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def chosen(every: list[Case], only: list[str]) -> list[Case]:
    """Choose the cases whose names begin so."""
    return [case for case in every if not only or case.name.startswith(tuple(only))]


def main() -> int:
    """Print a table; 1 tells that some figure is not sound."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="only see that all works; no goals")
    parser.add_argument(
        "--only", nargs="+", default=[], metavar="CASE", help="cases whose names begin so"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    parser.add_argument("--plot", type=Path, metavar="STEM", help="draw STEM.png and STEM.svg")
    options = parser.parse_args()
    wanted = chosen(cases(Size(quick=options.quick)), options.only)
    if not wanted:
        parser.error("no case has such a name")
    if options.plot and find_spec("matplotlib") is None:
        parser.error('matplotlib draws the plot: pip install -e ".[bench]"')
    for line in report.heading():
        say(line)
    outcomes: list[Outcome] = []
    for case in wanted:
        outcomes.append(measured(case, quick=options.quick))
        for line in report.lines(outcomes[-1]):
            say(line)
    for line in report.summary(outcomes, quick=options.quick):
        say(line)
    if options.json:
        options.json.write_text(json.dumps(report.plain(outcomes), indent=1), "utf-8")
    if options.plot:
        say(f"drawn: {', '.join(map(str, report.plot(outcomes, options.plot)))}")
    return int(any(outcome.problems for outcome in outcomes))


if __name__ == "__main__":
    sys.exit(main())
