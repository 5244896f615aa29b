"""
A clone and a fresh virtual environment, as a newcomer has them: what README.md says works there.

These tests install from the package index, as the reader does.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text("utf-8")

USER_TEST = """
import pytest


@pytest.mark.asyncio
async def test_order_is_confirmed(every8d_session, every8d_simulator):
    await every8d_session.sms.send("訂單已確認", to="0912345678")
    assert [message.text for message in every8d_simulator.sent] == ["訂單已確認"]
"""


class Fresh:
    """A clone of this repository, and a virtual environment with nothing in it."""

    def __init__(self, place: Path) -> None:
        self.clone = place / "clone"
        self._environment = place / "environment"
        for name in self._files():
            target = self.clone / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, target)
        subprocess.run([sys.executable, "-m", "venv", self._environment], check=True)

    @staticmethod
    def _files() -> list[str]:
        """Name what a clone would hold; of an unpacked archive, all there is."""
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        if listed.returncode:
            return [str(path.relative_to(ROOT)) for path in ROOT.rglob("*") if path.is_file()]
        return [name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]

    def run(self, command: str, place: Path | None = None) -> subprocess.CompletedProcess[str]:
        """Type a command into a shell in which the environment is active."""
        kept = {name: value for name, value in os.environ.items() if "COVERAGE" not in name}
        return subprocess.run(
            ["sh", "-c", command],
            cwd=place or self.clone,
            env=kept
            | {
                "PATH": f"{self._environment / 'bin'}{os.pathsep}{os.environ['PATH']}",
                "VIRTUAL_ENV": str(self._environment),
                "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Fresh:
    return Fresh(tmp_path_factory.mktemp("fresh"))


def test_first_block_of_the_readme_shows_the_demo(fresh: Fresh) -> None:
    """README.md's first block, typed into a fresh environment, installs and runs the demo."""
    block = re.findall(r"^```sh\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)[0]
    done = fresh.run(f"set -e\n{block}")
    assert done.returncode == 0, done.stdout
    assert "2,500 delivered" in done.stdout


def test_users_project_has_the_fixtures(fresh: Fresh, tmp_path: Path) -> None:
    """After ``pip install``, a project elsewhere tests with the fixtures, and no set-up of ours."""
    installed = fresh.run("python -m pip install --quiet '.[simulator]' pytest pytest-asyncio")
    assert installed.returncode == 0, installed.stdout
    (tmp_path / "test_shop.py").write_text(USER_TEST, "utf-8")
    settings = "[pytest]\nfilterwarnings = error\nasyncio_default_fixture_loop_scope = function\n"
    (tmp_path / "pytest.ini").write_text(settings, "utf-8")
    done = fresh.run("python -m pytest -q", tmp_path)
    assert "1 passed" in done.stdout, done.stdout


def test_root_import_needs_no_extra(fresh: Fresh) -> None:
    """The package alone imports with its four dependencies, and without trio or sniffio."""
    assert fresh.run("python -m pip install --quiet -e .").returncode == 0
    extras = "typer rich starlette uvicorn python-multipart click"
    assert fresh.run(f"python -m pip uninstall --quiet --yes {extras}").returncode == 0
    done = fresh.run(
        "python -W error -c 'import every8d_async as e; print(e.mobile(\"0912345678\"))'"
    )
    assert done.stdout == "+886912345678\n"
