"""Fixtures for all tests; whatever is marked ``anyio`` runs on asyncio and on trio."""

import sys

import pytest
from hypothesis import HealthCheck, settings

# A busy machine is no failure; how long the whole may take is bounded by the number of examples.
settings.register_profile(
    "every8d_async", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("every8d_async")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "proof: takes long; run by `-m proof`, a sample always runs")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if "proof" not in config.option.markexpr:
        proofs = [item for item in items if item.get_closest_marker("proof")]
        config.hook.pytest_deselected(items=proofs)
        items[:] = [item for item in items if item not in proofs]


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    matrix = sys.modules.get(f"{__package__}.test_fault_matrix")
    if matrix is not None and matrix.TALLY.cells:
        terminalreporter.write_line(str(matrix.TALLY))
