"""
The benchmark of campaigns works, and its server sees everybody once; no time is asserted.

Memory is: it does not grow with the campaign, so what holds for more than the planner reads at once
holds for a million, too, as ``python -m pytest -m proof tests/test_campaign_benchmark.py`` shows.
"""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOM = 60  # MB that a process may grow

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="it reads its memory from /proc")


def check(recipients: int) -> None:
    command = [sys.executable, "benchmarks/campaign.py", "--recipients", str(recipients)]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    rows = [line.strip("| ").split(" | ") for line in run.stdout.splitlines()[2:]]
    assert [row[0] for row in rows] == ["personalized", "filtered"]
    for row in rows:
        assert [row[1], *row[-2:]] == [f"{recipients:,}", f"{recipients:,}", "0"]
        assert float(row[5].removesuffix(" MB")) <= ROOM


def test_a_sample_is_planned_and_run_in_its_room() -> None:
    """Planned, planned again without effect, run; each kind's recipients were seen once each."""
    check(50_000)


@pytest.mark.proof
def test_a_million_are_planned_and_run_in_the_same_room() -> None:
    check(1_000_000)
