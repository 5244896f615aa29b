"""
Nobody is sent to twice, whenever the process is killed, under 12 % of faults.

A tenth of the proof always runs; ``python -m tests.campaign_proof`` runs the whole and prints its
table, as does ``python -m pytest -m proof tests/test_campaign_proof.py -s``.
"""

import sys

import pytest

from tests.campaign_proof import KINDS, check, main, prove

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL there")


@pytest.mark.parametrize("kind", KINDS)
def test_a_tenth_of_the_proof(kind: str) -> None:
    """2,000 recipients, three kills and more, every kind; the gateway's record is the witness."""
    result = prove(kind, 2000, 3, batch_size=25, seed=11)
    assert result.kills >= 3
    check(result)


@pytest.mark.proof
def test_the_whole_proof() -> None:
    assert main() == 0
