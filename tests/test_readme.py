"""README.md does what it says: its examples run, unchanged, against the simulator."""

import ast
import inspect
import re
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import respx
from respx.handlers import ASGIHandler

import every8d_async
from every8d_async import Every8DSession
from every8d_async.simulator import Account, Simulator

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text("utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)


async def store(report: object) -> None:
    """Stand in for the reader's own handler of push reports."""


@contextmanager
def gateway() -> Generator[None]:
    """Put the simulator where the real gateway stands, so that examples need no change."""
    simulator = Simulator(accounts=[Account(uid="uid", password="password")])
    with respx.mock(assert_all_called=False) as router:
        router.route(host="new.e8d.tw").mock(side_effect=ASGIHandler(simulator))
        router.route(host="127.0.0.1").pass_through()
        yield


@pytest.mark.anyio
@pytest.mark.parametrize("block", blocks("python"), ids=lambda block: block.splitlines()[0][:60])
async def test_python_block_runs(
    block: str,
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each Python block of README.md runs as it stands, with what its text has introduced."""
    names: dict[str, Any] = {name: getattr(every8d_async, name) for name in every8d_async.__all__}
    names |= {"respx": respx, "pytest": pytest, "token": "a-token-that-nobody-guesses"}
    names["store"] = store
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EVERY8D_UID", "uid")
    monkeypatch.setenv("EVERY8D_PASSWORD", "password")
    code = compile(block, "README.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    with gateway():
        async with Every8DSession("uid", "password") as session:
            receipt = await session.sms.send("hello", to="0900000001")
            names |= {"session": session, "batch_id": receipt.batch_id}
            pending = eval(code, names)
            if inspect.iscoroutine(pending):
                await pending
    # A block may show a test, which brings its own mocks.
    for test in [value for name, value in names.items() if name.startswith("test_")]:
        await test(*map(request.getfixturevalue, inspect.signature(test).parameters))


def test_first_blocks_are_the_two_commands() -> None:
    """The first ``sh`` block installs and runs the demo, the second installs and runs the tests."""
    demo, tests = blocks("sh")[:2]
    assert demo.splitlines() == [
        'python -m pip install -e ".[cli,simulator]"',
        "python -m every8d_async demo",
    ]
    assert tests.splitlines() == ['python -m pip install -e ".[dev]"', "coverage run -m pytest"]


def test_ci_runs_the_test_command_of_the_readme() -> None:
    """CI runs the very command that README.md gives for the tests."""
    command = blocks("sh")[1].splitlines()[-1]
    assert f"step {command}\n" in (ROOT / ".ci" / "run").read_text("utf-8")
