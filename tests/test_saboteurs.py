"""
The suite notices when outcome safety is broken: saboteurs change a copy of the package, one each.

A saboteur is a small text patch and the tests that must catch it. They run in a child process that
imports the copy and nothing else; the copy as it is must pass the very same tests. A patch that no
longer fits the source fails, and so do tests that are not there or break while they are collected.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest
from attrs import frozen

ROOT = Path(__file__).parent.parent
PATIENCE = 120  # seconds: a child that hangs is ended

WITNESS = '''
"""Ends the run unless the package that is tested is the copy beside this file."""

from pathlib import Path

import pytest

import every8d_async


def pytest_configure() -> None:
    if not Path(every8d_async.__file__).is_relative_to(Path(__file__).parent):
        pytest.exit(f"{every8d_async.__file__} is not the copy", returncode=99)
'''


@frozen
class Saboteur:
    """
    A way to lose or double a message, or to give a secret away.

    Attributes:
        name: What it does.
        file: The file that it changes.
        old: What stands there, exactly once.
        new: What it puts in its place.
        caught_by: The tests that are to notice.
    """

    name: str
    file: str
    old: str
    new: str
    caught_by: tuple[str, ...]


def cells(*faults: str) -> tuple[str, ...]:
    """Name tests of the fault matrix."""
    name = "tests/test_fault_matrix.py::test_every_operation_meets"
    return tuple(f"{name}[asyncio-{fault}]" for fault in faults)


FLOW, TOKENS, TRANSPORT = "tests/test_flow.py", "tests/test_tokens.py", "tests/test_transport.py"

SABOTEURS = (
    Saboteur(
        "repeats a send after ReadTimeout",
        "_flow.py",
        "if not self.endpoint.repeatable:\n            return _Failed(self.unknown(phase",
        'if not self.endpoint.repeatable and cause != "ReadTimeout":\n'
        "            return _Failed(self.unknown(phase",
        cells("BROKEN-act, then hang"),
    ),
    Saboteur(
        "repeats a send after RemoteProtocolError",
        "_flow.py",
        "if not self.endpoint.repeatable:\n            return _Failed(self.unknown(phase",
        'if not self.endpoint.repeatable and cause != "RemoteProtocolError":\n'
        "            return _Failed(self.unknown(phase",
        cells("BROKEN-act, then close", "BROKEN-cut body"),
    ),
    Saboteur(
        "repeats a send after 502",
        "_flow.py",
        "if not self.endpoint.repeatable:\n            return _Failed(self.unknown(phase",
        'if not self.endpoint.repeatable and cause != "HTTP 502":\n'
        "            return _Failed(self.unknown(phase",
        cells("UNAVAILABLE-act, then 502"),
    ),
    Saboteur(
        "repeats a send after 429",
        "_flow.py",
        "retry=self.endpoint.repeatable, wait=wait, hold=True",
        "retry=True, wait=wait, hold=True",
        cells("SLOW_DOWN-429"),
    ),
    Saboteur(
        "repeats a send after 403",
        "_flow.py",
        "_Failed(AccessBlocked(status, revealing, operation=operation))",
        "_Failed(AccessBlocked(status, revealing, operation=operation), "
        "retry=not self.endpoint.repeatable)",
        cells("FORBIDDEN-403"),
    ),
    Saboteur(
        "takes a cut receipt for a receipt",
        "_codecs.py",
        '_BATCH_ID = r"([0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12})"',
        '_BATCH_ID = r"([0-9A-Fa-f-]*)"',
        cells("UNREADABLE-cut body without a length"),
    ),
    Saboteur(
        "takes the start of a receipt for a refusal",
        "_codecs.py",
        "if _RECEIPT_BEGUN.fullmatch(text):",
        "if wanted is None:",
        (f"{FLOW}::test_no_cut_receipt_is_believed",),
    ),
    Saboteur(
        "believes any status below 400",
        "_flow.py",
        "if reply.status != _OK:",
        "if reply.status >= _REFUSALS.start:",
        (f"{FLOW}::test_an_odd_success_is_no_answer",),
    ),
    Saboteur(
        "follows redirects",
        "_transport.py",
        "            progress.answered = True\n",
        """            if "location" in response.headers:
                await response.aread()
                elsewhere = self._prepare(request, progress)
                elsewhere.url = elsewhere.url.join(response.headers["location"])
                response = await slot.handle_async_request(elsewhere)
            progress.answered = True
""",
        cells("UNREADABLE-302 /elsewhere"),
    ),
    Saboteur(
        "unpacks gzip",
        "_transport.py",
        """        if headers.get("content-encoding", "identity").lower() != "identity":
            return WireReply(response.status_code, headers, b"", fault="the reply is encoded")
        body = await _read_body(cast("httpx.AsyncByteStream", response.stream), limit)
""",
        """        body = await response.aread()
""",
        cells("UNREADABLE-gzip"),
    ),
    Saboteur(
        "trusts ConnectTimeout of any transport",
        "_transport.py",
        "cause, connected = type(error).__name__, not self._slots.owned",
        "cause, connected = type(error).__name__, False",
        (f"{TRANSPORT}::test_under_a_users_transport_only_the_body_counts",),
    ),
    Saboteur(
        "sends past the witness",
        "_transport.py",
        "stream=_Body(request.body, progress),",
        "content=request.body,",
        cells("BROKEN-act, then reset"),
    ),
    Saboteur(
        "has no time limit for a whole exchange",
        "_transport.py",
        "with anyio.CancelScope(deadline=deadline):\n            try",
        "with anyio.CancelScope():\n            try",
        cells("TOO_SLOW-drip"),
    ),
    Saboteur(
        "keeps the slot of a cancelled call",
        "_pool.py",
        "if sound and not self._closed and",
        "if not self._closed and",
        (
            f"{TRANSPORT}::test_a_cancelled_exchange_closes_its_connection",
            "tests/test_pool.py::test_an_unsound_slot_is_closed_and_replaced",
        ),
    ),
    Saboteur(
        "takes what is left over for the next answer",
        "_pool.py",
        "if sound and not self._closed and not has_leftovers(slot):",
        "if sound and not self._closed:",
        (
            f"{TRANSPORT}::test_what_is_left_over_is_nobodys_answer",
            *cells("SOUND-answers twice", "SOUND-longer than announced"),
        ),
    ),
    Saboteur(
        "never lets an idle connection go",
        "_pool.py",
        "oldest = anyio.current_time() - self._keepalive",
        'oldest = -float("inf")',
        ("tests/test_pool.py::test_old_idle_slots_are_swept",),
    ),
    Saboteur(
        "keeps its connections over a fork",
        "_loop.py",
        "return os.getpid() != self._pid",
        "return False",
        (
            "tests/test_loop.py::test_a_forked_child_is_refused",
            "tests/test_session.py::test_a_fork",
        ),
    ),
    Saboteur(
        "logs in for each call",
        "_tokens.py",
        "if (value := self.ready()) is not None:",
        "if (value := self.ready()) is not None and self._closed:",
        (f"{TOKENS}::test_a_renewal_starts_ahead_and_nobody_waits",),
    ),
    Saboteur(
        "lets a caller lead the login",
        "_tokens.py",
        "return await self._login_under_way().wait()",
        """async with self.__dict__.setdefault("led", anyio.Lock()):
            return self.current or await self._renew()""",
        (
            f"{TOKENS}::test_short_deadlines_do_not_starve_a_login",
            f"{TOKENS}::test_a_native_cancel_does_not_end_a_login",
        ),
    ),
    Saboteur(
        "hands one error to all who wait",
        "_loop.py",
        "raise copy(self._error) if isinstance(self._error, Every8DError) else self._error",
        "raise self._error",
        ("tests/test_loop.py::test_a_failure_is_shared_by_copies",),
    ),
    Saboteur(
        "calls a token dead without a control",
        "_tokens.py",
        "if fresh == token or not await self._ask(fresh):",
        "if fresh == token:",
        (
            f"{TOKENS}::test_a_failing_control_proves_nothing",
            "tests/test_session.py::test_a_check_that_proves_nothing_leaves_a_send_in_doubt",
        ),
    ),
    Saboteur(
        "takes a hiccup for a death",
        "_tokens.py",
        """        if await self._lives(token):
            return Verdict.ALIVE
        self._dead.append(token)
""",
        """        self._dead.append(token)
""",
        (
            f"{TOKENS}::test_a_hiccup_is_no_death",
            "tests/test_session.py::test_a_hiccup_doubles_no_send",
        ),
    ),
    Saboteur(
        "forgets refused logins",
        "_tokens.py",
        "if last is None or last.at <= self._forgiven",
        "if last is not None or last.at <= self._forgiven",
        (
            f"{TOKENS}::test_a_refused_login_is_answered_here",
            "tests/test_session.py::test_a_wrong_password_is_tried_once",
        ),
    ),
    Saboteur(
        "makes OutcomeUnknown a TimeoutError",
        "_errors.py",
        "class OutcomeUnknown(Every8DError):",
        "class OutcomeUnknown(Every8DError, TimeoutError):",
        ("tests/test_errors.py::test_no_retry_filter_catches_an_unknown_outcome",),
    ),
    Saboteur(
        "tells tracebacks what was sent",
        "_border.py",
        "                raise\n            failure = error.with_traceback(None)",
        "                raise\n            failure = error",
        ("tests/test_secrets.py::test_no_operation_leaves_a_secret",),
    ),
    Saboteur(
        "logs what was sent",
        "_driver.py",
        "            result = await self._admit(",
        '            _LOG.debug("going to send %s", getattr(args, "text", ""))\n'
        "            result = await self._admit(",
        ("tests/test_secrets.py::test_no_operation_leaves_a_secret",),
    ),
)


@frozen
class Run:
    """A child's end."""

    code: int
    said: str

    @property
    def failed(self) -> int:
        """Count the tests that failed, as pytest's last line tells it."""
        found = re.search(r"(\d+) failed", self.said.splitlines()[-1] if self.said else "")
        return int(found[1]) if found else 0


Runs = dict[Saboteur | None, Future[Run]]
"""What was begun; None is the copy as it is."""


def copied(place: Path) -> Path:
    """Copy the package and its tests."""
    ignored = shutil.ignore_patterns("__pycache__")
    for name in ("every8d_async", "tests"):
        shutil.copytree(ROOT / name, place / name, ignore=ignored)
    shutil.copyfile(ROOT / "pyproject.toml", place / "pyproject.toml")
    (place / "witness.py").write_text(WITNESS, "utf-8")
    return place


def sabotage(place: Path, saboteur: Saboteur) -> None:
    """Change the copy."""
    file = place / "every8d_async" / saboteur.file
    source = file.read_text("utf-8")
    assert source.count(saboteur.old) == 1, (
        f"the saboteur that {saboteur.name} finds its place {source.count(saboteur.old)} times in "
        f"{saboteur.file}: write its patch anew"
    )
    file.write_text(source.replace(saboteur.old, saboteur.new), "utf-8")


def run(place: Path, tests: tuple[str, ...], *options: str) -> Run:
    """Run tests in a child that can import no other package than the copy."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if "COVERAGE" not in name and not name.startswith("PYTEST")
    }
    plugins = ("-p", "witness", "-p", "no:cacheprovider")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *plugins, *options, *tests],
        cwd=place,
        env=environment | {"PYTHONPATH": str(place), "PYTHONDONTWRITEBYTECODE": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=PATIENCE,
    )
    return Run(done.returncode, done.stdout.strip())


@pytest.fixture(scope="module")
def pair() -> Iterator[ThreadPoolExecutor]:
    """Run two children at a time."""
    with ThreadPoolExecutor(2) as pool:
        yield pool


@pytest.fixture(scope="module")
def runs(
    request: pytest.FixtureRequest,
    pair: ThreadPoolExecutor,
    tmp_path_factory: pytest.TempPathFactory,
) -> Runs:
    """Begin with the bare copy and all saboteurs that were selected, ahead of their tests."""
    chosen = [
        saboteur
        for saboteur in SABOTEURS
        if any(f"[{saboteur.name}]" in item.name for item in request.session.items)
    ]

    def begin(saboteur: Saboteur | None) -> Run:
        place = copied(tmp_path_factory.mktemp("saboteur"))
        if saboteur is None:
            tests = dict.fromkeys(test for each in SABOTEURS for test in each.caught_by)
            return run(place, tuple(tests))
        sabotage(place, saboteur)
        return run(place, saboteur.caught_by, "--maxfail=1")

    return {saboteur: pair.submit(begin, saboteur) for saboteur in (None, *chosen)}


@pytest.mark.parametrize("saboteur", SABOTEURS, ids=[saboteur.name for saboteur in SABOTEURS])
def test_a_saboteur_is_caught(saboteur: Saboteur, runs: Runs) -> None:
    """The tests that guard a rule fail where it is broken: as tests, not as a run that can't."""
    done = runs[saboteur].result()
    assert (done.code, done.failed) == (1, 1), done.said[-3000:]


def test_the_copy_as_it_is_passes(runs: Runs) -> None:
    """Without a saboteur the very same tests pass, on the very same kind of copy."""
    done = runs[None].result()
    assert done.code == 0, done.said[-3000:]


def test_a_patch_that_does_not_fit_is_told(tmp_path: Path) -> None:
    """A saboteur whose place has changed does not pass for one that was caught."""
    (tmp_path / "every8d_async").mkdir()
    (tmp_path / "every8d_async" / "_flow.py").write_text("else", "utf-8")
    with pytest.raises(AssertionError, match="write its patch anew"):
        sabotage(tmp_path, SABOTEURS[0])


def test_the_witness_notices_another_package(tmp_path: Path) -> None:
    """A child that imports anything but its copy is no proof of anything."""
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_it.py").write_text("def test_it() -> None: ...\n", "utf-8")
    (tmp_path / "witness.py").write_text(WITNESS, "utf-8")
    assert run(tmp_path, ("tests/test_it.py",)).code not in (0, 1)
