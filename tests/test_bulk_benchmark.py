"""The benchmark of bulk runs: sound counts and bounded memory; no time is asserted."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.bulk import ROOM

ROOT = Path(__file__).parent.parent

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="it reads its memory from /proc")


def run(*options: str) -> str:
    command = [sys.executable, "-m", "benchmarks.bulk", *options]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout


def check(recipients: int) -> None:
    mine, other, source = json.loads(run("--recipients", str(recipients), "--json"))
    assert mine["told"] == mine["counted"] == recipients
    assert other["told"] == other["counted"] == recipients
    assert source["counted"] == 0
    assert mine["growth"] <= ROOM


def test_a_sample_is_sound() -> None:
    """The server counts as many as were told, and a run's memory stays in its bounds."""
    check(20_000)


@pytest.mark.proof
def test_a_million_is_sound() -> None:
    """However many there are, memory does not grow with them."""
    check(1_000_000)


def test_it_prints_a_table() -> None:
    """A row for each way, then the ratios beside their goals."""
    head, _, *rows, empty, ratios = run("--recipients", "1000").splitlines()
    assert head.startswith("| way | recipients | seconds | CPU")
    assert [row.split()[1] for row in rows] == ["ours", "straightforward", "source_alone"]
    assert (empty, ratios[:5]) == ("", "CPU: ")
