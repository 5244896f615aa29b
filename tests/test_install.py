"""
A fresh virtual environment, as a newcomer has it: README.md's words and what is published work.

These tests install from the package index, as the reader does.
"""

import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from every8d_async import __version__

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text("utf-8")

USER_TEST = """
import pytest


@pytest.mark.asyncio
async def test_order_is_confirmed(every8d_session, every8d_simulator):
    await every8d_session.sms.send("訂單已確認", to="0912345678")
    assert [message.text for message in every8d_simulator.sent] == ["訂單已確認"]
"""


def repository_files() -> list[str]:
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


class Fresh:
    """A virtual environment with nothing in it, and a folder to work in."""

    def __init__(self, place: Path, folder: Path) -> None:
        self._folder = folder
        self._environment = place / "environment"
        subprocess.run([sys.executable, "-m", "venv", self._environment], check=True)

    def run(self, command: str, place: Path | None = None) -> subprocess.CompletedProcess[str]:
        """Type a command into a shell in which the environment is active."""
        kept = {name: value for name, value in os.environ.items() if "COVERAGE" not in name}
        return subprocess.run(
            ["sh", "-c", command],
            cwd=place or self._folder,
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
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone of this repository."""
    clone = tmp_path_factory.mktemp("clone")
    for name in repository_files():
        target = clone / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, target)
    return clone


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory, clone: Path) -> Fresh:
    return Fresh(tmp_path_factory.mktemp("fresh"), clone)


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


# --- what is published ---

in_a_repository = pytest.mark.skipif(
    not (ROOT / ".git").exists(), reason="an unpacked archive can't tell its files from litter"
)


@pytest.fixture(scope="module")
def published(fresh: Fresh, clone: Path) -> dict[str, Path]:
    """The wheel and the source archive, by the ending of their names."""
    built = fresh.run("python -m pip install --quiet build && python -m build --outdir ../dist")
    assert built.returncode == 0, built.stdout
    dist = clone.parent / "dist"
    return {path.suffix: path for path in dist.glob("every8d_async-*")}


@in_a_repository
def test_what_the_wheel_holds(published: dict[str, Path]) -> None:
    """The wheel holds the package, its type marker and its licence, and nothing beside them."""
    names = set(zipfile.ZipFile(published[".whl"]).namelist())
    package = {name for name in repository_files() if name.startswith("every8d_async/")}
    metadata = {name for name in names if ".dist-info/" in name}
    assert names - metadata == package
    assert "every8d_async/py.typed" in package
    assert {name.partition("/")[2] for name in metadata} == {
        *("METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE"),
    }


@in_a_repository
def test_what_the_source_archive_holds(published: dict[str, Path]) -> None:
    """The archive holds what the repository does: tests, benchmarks, both READMEs; no litter."""
    with tarfile.open(published[".gz"]) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert names - {"PKG-INFO"} == set(repository_files())


@pytest.mark.parametrize("kind", [".whl", ".gz"])
def test_what_is_published_runs_the_demo(
    kind: str, published: dict[str, Path], tmp_path: Path
) -> None:
    """Wheel and archive install into a fresh environment, and run the demo far from the source."""
    fresh = Fresh(tmp_path, tmp_path)
    done = fresh.run(f"set -e\npython -m pip install --quiet '{published[kind]}[cli,simulator]'")
    assert done.returncode == 0, done.stdout
    done = fresh.run("set -e\nevery8d demo\npython -c 'import every8d_async as e; print(e)'")
    assert done.returncode == 0, done.stdout
    assert "2,500 delivered" in done.stdout
    assert str(ROOT) not in done.stdout
    assert str(tmp_path) in done.stdout


def test_changelog_knows_this_version() -> None:
    """The newest release in the changelog is the package's version, below what is unreleased."""
    headings = re.findall(
        r"^## \[(.+?)\](?: - (\d{4}-\d\d-\d\d))?$",
        (ROOT / "CHANGELOG.md").read_text("utf-8"),
        re.MULTILINE,
    )
    assert headings[0] == ("Unreleased", "")
    version, date = headings[1]
    assert version == __version__
    assert date
