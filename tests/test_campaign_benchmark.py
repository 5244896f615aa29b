"""The benchmark of campaigns works, and its server sees everybody once; no time is asserted."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.mark.skipif(sys.platform != "linux", reason="it reads its memory from /proc")
def test_the_benchmark_prints_its_table() -> None:
    """Planned, planned again without effect, run; each kind's recipients were seen once each."""
    command = [sys.executable, "benchmarks/campaign.py", "--recipients", "5000"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    rows = [line.strip("| ").split(" | ") for line in run.stdout.splitlines()[2:]]
    assert [row[0] for row in rows] == ["personalized", "filtered"]
    for row in rows:
        assert [row[1], *row[-2:]] == ["5,000", "5,000", "0"]
