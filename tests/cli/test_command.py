"""The command line: what a newcomer sees, also where something is missing."""

import subprocess
import sys
from collections.abc import Callable
from importlib.machinery import ModuleSpec

import pytest
from typer.testing import CliRunner

from every8d_async import __main__
from every8d_async._cli import app


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "every8d_async", *words],
        capture_output=True,
        text=True,
        check=False,
    )


def without(missing: str) -> Callable[[str], object]:
    """Stand in for `find_spec` where a package is missing."""

    def find_spec(name: str) -> object:
        return None if name == missing else ModuleSpec(name, None)

    return find_spec


def test_demo_does_the_main_job() -> None:
    """The demo sends to 2,500, pages three pages of final reports, cancels, and exits 0."""
    done = run("demo")
    assert (done.returncode, done.stderr) == (0, "")
    for said in (
        "2,500 of 2,500 recipients accepted",
        "3 pages (1,000 + 1,000 + 500 rows): 2,500 delivered",
        "3 messages cancelled, 3.00 points back",
        "10,000.00 points before, 7,500.00 after",
    ):
        assert said in done.stdout


def test_help_lists_the_commands() -> None:
    """Called without words, the command says what there is."""
    done = run("--help")
    assert done.returncode == 0
    assert "demo" in done.stdout


@pytest.mark.parametrize("missing", ["typer", "rich"])
def test_a_missing_extra_is_one_sentence(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the packages of its extra, the command says how to get them, and fails."""
    monkeypatch.setattr(__main__, "find_spec", without(missing))
    with pytest.raises(SystemExit, match=r"pip install 'every8d-async\[cli\]'"):
        __main__.main()


@pytest.mark.parametrize("missing", ["starlette", "uvicorn"])
def test_demo_without_the_simulator_says_so(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the simulator's packages, the demo says how to get them, and fails."""
    monkeypatch.setattr("every8d_async._cli._gateway.find_spec", without(missing))
    done = CliRunner().invoke(app, ["demo"])
    assert done.exit_code == 2
    assert "pip install 'every8d-async[simulator]'" in done.output
