"""Fixtures of the simulator's tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from . import kit

if TYPE_CHECKING:
    from every8d_async.simulator import Simulator


@pytest.fixture
def simulator() -> Simulator:
    """A simulator with one account, a clock that stands still, and ids that can be foretold."""
    return kit.make()
