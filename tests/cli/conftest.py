"""A home of their own for all tests of the command, and a gateway for those that want one."""

from collections.abc import Generator
from pathlib import Path

import pytest

from every8d_async.simulator import Account, Simulator


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep accounts, tokens and settings of this machine out of the tests."""
    for name in ("UID", "PASSWORD", "SITE", "PROXY", "DEBUG"):
        monkeypatch.delenv(f"EVERY8D_{name}", raising=False)
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / ".config"))
    return home


@pytest.fixture
def simulator(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Generator[Simulator]:
    """Serve a gateway on a real socket; the environment names it and its account."""
    credit = getattr(request, "param", 100_000)
    simulator = Simulator(accounts=[Account(uid="me", password="secret", credit=credit)])
    with simulator.serve() as url:
        monkeypatch.setenv("EVERY8D_SITE", url)
        monkeypatch.setenv("EVERY8D_UID", "me")
        monkeypatch.setenv("EVERY8D_PASSWORD", "secret")
        yield simulator
