"""
README.md and README.zh-TW.md do what they say: every code block of both runs.

- ``python`` blocks run as they stand, against the simulator in the real gateway's place.
- ``sh`` and ``console`` commands really run, on loopback; servers on free ports instead of the ones
  shown. What a transcript shows is what came out, but for ids and counts; «…» leaves something out.
- The first two ``sh`` blocks install, and so run elsewhere; see `ELSEWHERE`. A command that takes
  minutes runs in a reduced form here; see `REDUCED`.
- The recording of a campaign is played again, whole, on a terminal; of a moving bar and of the
  moment of its Ctrl-C only what hangs on no clock is compared; see `settled`.
- A block in another language fails.
"""

import ast
import inspect
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from contextvars import Context
from datetime import timedelta
from operator import attrgetter
from pathlib import Path
from typing import Any

import pytest
import respx
from anyio import to_thread
from attrs import field, frozen
from respx.handlers import ASGIHandler

import every8d_async
from every8d_async import Every8DSession
from every8d_async import _endpoints as endpoints
from every8d_async.simulator import Account, Delay, Simulator
from tests import test_fault_matrix as matrix
from tests.certificate import server_context
from tests.cli.kit import Terminal, table
from tests.faulty import FaultyServer
from tests.integrations.servers import free_port
from tests.operations import ALL, IN_PASSWORD_MODE
from tests.test_saboteurs import SABOTEURS

ROOT = Path(__file__).parent.parent
READMES = ("README.md", "README.zh-TW.md")
TEXTS = {name: (ROOT / name).read_text("utf-8") for name in READMES}

# These install, which takes a fresh environment: `tests/test_install.py` types the first into one;
# `.ci/run` runs the second, whose last command is this very test's.
ELSEWHERE = (
    ['python -m pip install -e ".[cli,simulator]"', "python -m every8d_async demo"],
    ['python -m pip install -e ".[dev]"', "coverage run -m pytest"],
)
# One test of it stands for the command; that the whole ends as shown is what the suite tells.
REDUCED = {"python -m pytest tests/test_fault_matrix.py": "-k closed_port"}

PATIENCE = 60  # seconds, for what should take few
UUID = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"


@frozen
class Block:
    """A fenced code block."""

    readme: str
    language: str
    text: str = field(repr=False)
    number: int

    def __str__(self) -> str:
        return f"{self.readme}-{self.number}-{self.language}"

    @property
    def lines(self) -> list[str]:
        return self.text.splitlines()


def blocks(readme: str) -> list[Block]:
    found = re.findall(r"^```(.*)\n((?:.*\n)*?)```$", TEXTS[readme], re.MULTILINE)
    return [Block(readme, language, text, n) for n, (language, text) in enumerate(found)]


BLOCKS = [block for readme in READMES for block in blocks(readme)]


def of(language: str) -> list[Block]:
    return [block for block in BLOCKS if block.language == language]


def test_every_block_is_of_a_kind_that_runs() -> None:
    """A block whose language nobody runs fails here, and so does an unfinished one."""
    assert {block.language for block in BLOCKS} == {"python", "sh", "console"}
    for readme, text in TEXTS.items():
        assert text.count("```") == 2 * len(blocks(readme))


# --- python ---


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


@pytest.fixture
def quiet_again() -> Iterator[None]:
    """Take back what an example instruments for the whole process."""
    yield
    if (module := sys.modules.get("opentelemetry.instrumentation.httpx")) is not None:
        instrumentor = module.HTTPXClientInstrumentor()
        if instrumentor.is_instrumented_by_opentelemetry:
            instrumentor.uninstrument()


@pytest.mark.anyio
@pytest.mark.usefixtures("quiet_again")
@pytest.mark.parametrize("block", of("python"), ids=str)
async def test_python_block_runs(
    block: Block,
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each Python block runs as it stands, with what the text before it has introduced."""
    names: dict[str, Any] = {name: getattr(every8d_async, name) for name in every8d_async.__all__}
    names |= {"respx": respx, "pytest": pytest, "token": "a-token-that-nobody-guesses"}
    names["store"] = store
    if "import asyncio" in block.text and request.getfixturevalue("anyio_backend_name") == "trio":
        pytest.skip("the example is asyncio's; its text tells what trio's would say")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EVERY8D_UID", "uid")
    monkeypatch.setenv("EVERY8D_PASSWORD", "password")
    code = compile(block.text, str(block), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    with gateway():
        async with Every8DSession("uid", "password") as session:
            receipt = await session.sms.send("hello", to="0900000001")
            names |= {"session": session, "batch_id": receipt.batch_id}
            if code.co_flags & inspect.CO_COROUTINE:
                await eval(code, names)
            else:  # synchronous code stands in no event loop
                await to_thread.run_sync(lambda: Context().run(eval, code, names))
    # A block may show a test, which brings its own mocks.
    for test in [value for name, value in names.items() if name.startswith("test_")]:
        await test(*map(request.getfixturevalue, inspect.signature(test).parameters))


@pytest.mark.parametrize("readme", READMES)
def test_the_first_example_has_twelve_lines(readme: str) -> None:
    """The heading above the first example promises its length."""
    first = next(block for block in blocks(readme) if block.language == "python")
    assert len(first.lines) == 12


# --- commands ---


@frozen
class Step:
    """A command, and what is shown below it."""

    command: str
    shown: str

    def __str__(self) -> str:
        return self.command

    @property
    def port(self) -> str | None:
        """The port that it serves on, if it is a server."""
        found = re.search(r"--port (\d+)", self.command)
        return found[1] if found else None


def steps(block: Block) -> list[Step]:
    if block.language == "sh":
        return [Step(line, "…") for line in block.lines]
    _, *parts = re.split(r"^\$ ", block.text, flags=re.MULTILINE)
    found = [part.partition("\n") for part in parts]
    return [Step(command, shown.strip()) for command, _, shown in found]


# Both READMEs show the same commands; each block of them runs once.
SHELL = list(
    {block.text: block for block in BLOCKS if block.language in {"sh", "console"}}.values()
)
RECORDING = next(block for block in SHELL if "$ every8d campaign run" in block.text)
SHELL.remove(RECORDING)
DOCTOR = next(block for block in SHELL if "$ every8d doctor\n" in block.text)
SHELL.remove(DOCTOR)
STEPS = [step for block in SHELL if block.lines not in ELSEWHERE for step in steps(block)]
SERVERS = [step for step in STEPS if step.port]
CALLS = [step for step in STEPS if "127.0.0.1" in step.command]


def environment() -> dict[str, str]:
    """Give an environment in which this one's programs are found by their names."""
    programs = str(Path(sys.executable).parent)
    return os.environ | {
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "COLUMNS": "80",
    }


def run(command: str, place: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(
        ["sh", "-c", command],
        cwd=place,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=PATIENCE,
    )


def check(shown: str, printed: str) -> None:
    """See that a transcript shows what was printed; ids, counts and JSON's blanks may differ."""
    assert fits(shown, printed), printed


def fits(shown: str, printed: str) -> bool:
    pattern = re.escape(_comparable(shown)).replace("…", ".*?")
    return re.fullmatch(pattern, _comparable(printed), re.DOTALL) is not None


def _comparable(text: str) -> str:
    text = re.sub(r"\d+ cells", "N cells", re.sub(UUID, "ID", text))
    return re.sub('([":,…]) ', r"\1", text).strip()


@contextmanager
def serving(step: Step) -> Generator[str]:
    """Start a server on a free port, wait until it says that it is there, and end it afterwards."""
    port = str(free_port())
    command = step.command.replace(f"--port {step.port}", f"--port {port}")
    process = subprocess.Popen(
        shlex.split(command),
        cwd=ROOT,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        assert process.stdout is not None
        seen = ""
        while port not in seen:
            line = process.stdout.readline()
            assert line, f"it ended: {seen}"
            seen += line
        check(step.shown.replace(str(step.port), port), seen)
        yield port
    finally:
        process.terminate()
        process.communicate(timeout=PATIENCE)


@pytest.mark.parametrize("server", SERVERS, ids=str)
def test_server_answers_as_shown(server: Step) -> None:
    """
    Each server starts by its command, and every call of its port gets what is shown.

    An id that a call names is the one that was given here. What only reads is asked until it gives
    what is shown: reports come in their own time.
    """
    calls = [call for call in CALLS if f"127.0.0.1:{server.port}/" in call.command]
    assert calls
    given: dict[str, str] = {}
    with serving(server) as port:
        for call in calls:
            # A progress bar is shown outside of terminals alone.
            command = call.command.replace("curl ", "curl --silent --show-error ", 1)
            command = command.replace(f":{server.port}/", f":{port}/")
            for shown, ours in given.items():
                command = command.replace(shown, ours)
            done = run(command)
            until = time.monotonic() + PATIENCE
            while " -d " not in command and not fits(call.shown, done.stdout):
                assert time.monotonic() < until, done.stdout
                time.sleep(0.05)
                done = run(command)
            assert done.returncode == 0, done.stdout
            check(call.shown, done.stdout)
            given |= zip(re.findall(UUID, call.shown), re.findall(UUID, done.stdout), strict=False)


@pytest.mark.parametrize("call", CALLS, ids=str)
def test_call_has_its_server(call: Step) -> None:
    """No call goes to a port that no command of a README serves: it would not be tried."""
    assert any(f"127.0.0.1:{server.port}/" in call.command for server in SERVERS)


@pytest.mark.parametrize("block", SHELL, ids=str)
def test_commands_print_what_is_shown(block: Block, tmp_path: Path) -> None:
    """
    All other commands run, one after the other, and print what is shown.

    Those of the package run in an empty folder, which a block's commands share. A command fails
    only where ``echo $?`` is shown after it.
    """
    code = 0
    for step in [] if block.lines in ELSEWHERE else steps(block):
        if step.command == "echo $?":
            assert step.shown == str(code)
            code = 0
        elif step not in SERVERS and step not in CALLS:
            assert code == 0
            in_the_clone = re.search("tests|benchmarks", step.command)
            command = f"{step.command} {REDUCED.get(step.command, '')}"
            done = run(command, ROOT if in_the_clone else tmp_path)
            check(step.shown, done.stdout)
            code = done.returncode
    assert code == 0


# --- commands that need a gateway of a special kind ---


@pytest.fixture
def account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the command an account, and a home of its own."""
    for name in ("HOME", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(name, str(tmp_path))
    for name in ("EVERY8D_UID", "EVERY8D_PASSWORD"):
        monkeypatch.setenv(name, "demo")
    monkeypatch.delenv("EVERY8D_PROXY", raising=False)


@pytest.mark.usefixtures("account")
def test_doctor_finds_what_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A site whose certificate nobody knows gets the diagnosis that is shown, and its exit code."""
    doctor, code = steps(DOCTOR)
    with FaultyServer(tls=server_context()) as server:
        monkeypatch.setenv("EVERY8D_SITE", f"https://localhost:{server.port}")
        done = run(doctor.command, tmp_path)
    check(doctor.shown.replace("8443", str(server.port)), done.stdout)
    assert (code.command, code.shown) == ("echo $?", str(done.returncode))


PEOPLE = 20_000
BAR = re.compile(r" *\d+% [━╺╸]+ [\d,]+/20,000(?: [\d,]+/s)?(?: [\d:]+ left)?")
INTERRUPTED = re.compile(r"20,000 in all: (\S+) planned, (\S+) accepted; \2 points taken\.")


def settled(lines: Iterable[str]) -> list[str]:
    """
    Give what a recording and another run of the same have in common.

    A bar counts as it stood last, but for how far, how fast, and how long still. How many had been
    sent to when somebody pressed Ctrl-C is as it came; it must add up to all.
    """
    kept: list[str] = []
    for line in filter(None, map(str.rstrip, lines)):
        if found := INTERRUPTED.fullmatch(line):
            assert sum(int(count.replace(",", "")) for count in found.groups()) == PEOPLE
            kept.append("interrupted")
        elif BAR.match(line):
            if kept and kept[-1].startswith("bar"):
                kept.pop()
            kept.append(re.sub(r"[\d,]+ pts", "N pts", BAR.sub("bar", line)))
        else:
            kept.append(line)
    return kept


def played(step: Step, place: Path) -> tuple[list[str], int]:
    """Run a command as somebody at a terminal of 80 columns does; give its lines and its code."""
    if not step.command.startswith("every8d "):
        done = run(step.command, place)
        return done.stdout.splitlines(), done.returncode
    terminal = Terminal(*shlex.split(step.command)[1:])
    if "[y/N]: y" in step.shown:
        terminal.expect("[y/N]: ")
        terminal.type("y\n")
    if "Ctrl-C" in step.shown:
        terminal.expect(" pts ")
        terminal.interrupt()
    code = terminal.end()
    return terminal.lines, code


@pytest.mark.usefixtures("account")
def test_recording_plays_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    The recorded campaign, played again, ends as recorded: interrupted, resumed, nobody got two.

    All of its commands run, with all of the people, against a simulator that is slower still. What
    was said is what is recorded, as far as it hangs on no clock; no line is longer than 80 columns.
    """
    rows = ((f"091{n:07}", f"您的訂單 {n} 已出貨", f"order-{n}") for n in range(PEOPLE))
    table(tmp_path / "people.csv", ("mobile", "text", "reference"), rows)
    simulator = Simulator(
        accounts=[Account(uid="demo", password="demo", credit=50_000)], control=True
    )
    simulator.faults.add("SendParam", Delay(timedelta(seconds=1)), rate=1.0)
    monkeypatch.chdir(tmp_path)
    code = 0
    with simulator.serve() as url:
        monkeypatch.setenv("EVERY8D_SITE", url)
        for step in steps(RECORDING):
            if step.command == "echo $?":
                assert step.shown == str(code)
                continue
            lines, code = played(step, tmp_path)
            assert settled(lines) == settled(step.shown.splitlines())
            assert all(len(line) <= 80 for line in lines)
    assert max(map(len, RECORDING.lines)) <= 80


def test_a_recording_that_differs_is_found() -> None:
    """The comparison sees what is unknown, and people who are missing."""
    bar = " 62% ━━━╸━━ 12,500/20,000 5,280/s 0:01 left 12,500 pts 0 unknown"
    assert settled([bar, bar]) == ["bar N pts 0 unknown"]
    assert settled([bar]) != settled([bar.replace("0 unknown", "1 unknown")])
    with pytest.raises(AssertionError):
        settled(["20,000 in all: 7,000 planned, 12,500 accepted; 12,500 points taken."])


@pytest.mark.parametrize("readme", READMES)
def test_first_blocks_are_the_two_commands(readme: str) -> None:
    """The first ``sh`` block installs and runs the demo, the second installs and runs the tests."""
    shell = [block.lines for block in blocks(readme) if block.language == "sh"]
    assert shell[:2] == list(ELSEWHERE)


def test_ci_runs_the_test_command_of_the_readme() -> None:
    """CI runs the very command that README.md gives for the tests."""
    command = ELSEWHERE[1][-1]
    assert f"step {command}\n" in (ROOT / ".ci" / "run").read_text("utf-8")


@pytest.mark.parametrize("readme", READMES)
def test_figures_of_the_proofs(readme: str) -> None:
    """How many faults, cells and saboteurs there are is what their tables hold."""
    faults = len(matrix.CASES) + len(matrix.TUNNELS) + 2  # a closed port, a refused certificate
    met = len(matrix.CASES) * (len(ALL) + len(IN_PASSWORD_MODE)) * len(matrix.PLANS)
    unmet = len(ALL) * (2 + 1 + 2 * len(matrix.TUNNELS))
    text = TEXTS[readme]
    assert re.search(rf"\b{faults} (?:faults of the wire|種網路故障)", text)
    assert f"fault matrix: {2 * (met + unmet)} cells, 0 doubles, 0 losses, 0 leaks\n" in text
    assert re.search(rf"\b{len(SABOTEURS)} (?:ways|種方式)", text)


# --- both say the same ---


def bare(block: Block) -> str:
    """Give a block without its comments and texts, which are in the reader's language."""
    if block.language != "python":
        return block.text
    tree = ast.parse(block.text)
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            node.value = ""
    return ast.dump(tree)


def test_both_readmes_have_the_same_blocks() -> None:
    """Code is the same in both languages, but for comments and texts."""
    english, chinese = ([(block.language, bare(block)) for block in blocks(r)] for r in READMES)
    assert english == chinese


def test_both_readmes_have_the_same_shape() -> None:
    """Headings have the same levels in the same order; tables have as many rows, lists as many."""

    def shape(text: str) -> list[str]:
        prose = re.sub(r"^```.*?^```$", "```", text, flags=re.DOTALL | re.MULTILINE)
        return re.findall(r"^(#+ |\||- |```)", prose, re.MULTILINE)

    english, chinese = map(shape, TEXTS.values())
    assert english == chinese


def test_chinese_paragraphs_are_lines() -> None:
    """A line end within Chinese would be shown as a blank in the middle of a sentence."""
    prose = re.sub(r"^```.*?^```$", "", TEXTS["README.zh-TW.md"], flags=re.DOTALL | re.MULTILINE)
    assert re.findall(r"^(?![#|]).+\n(?![#|]|- ).+$", prose, re.MULTILINE) == []


@pytest.mark.parametrize("readme", READMES)
def test_what_the_readme_points_to_is_there(readme: str) -> None:
    """Files, modules and anchors that a README names exist."""
    text = TEXTS[readme]
    paths = re.findall(r"`((?:tests|every8d_async|benchmarks|\.ci)/[\w./-]+)`", text)
    paths += re.findall(r"\]\(([\w.-]+)\)", text)
    modules = re.findall(r"python -m ((?:tests|benchmarks|every8d_async)[\w.]*)", text)
    assert paths
    assert modules
    for module in modules:
        assert (ROOT / f"{module.replace('.', '/')}.py").exists() or (
            ROOT / module.replace(".", "/") / "__main__.py"
        ).exists(), module
    for path in paths:
        assert (ROOT / path).exists(), path
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", each).strip().lower().replace(" ", "-") for each in headings}
    for anchor in re.findall(r"\]\(#([^)]+)\)", text):
        assert anchor in anchors, anchor


@pytest.mark.parametrize("readme", READMES)
def test_reading_order_takes_twenty_minutes(readme: str) -> None:
    """The minutes of the reading order add up to what is promised."""
    minutes = re.findall(r"^\| `every8d_async/\w+\.py` \| (\d+) \|", TEXTS[readme], re.MULTILINE)
    assert sum(map(int, minutes)) == 20


@pytest.mark.parametrize("readme", READMES)
def test_table_of_operations_is_whole(readme: str) -> None:
    """The table of operations has every call, with the sections that its docstring names."""
    rows = re.findall(r"^\| ([\d., ]+) \| (.*?) \|", TEXTS[readme], re.MULTILINE)
    session = Every8DSession("uid", "password")
    told: set[str] = set()
    for sections, cell in rows:
        calls = re.findall(r"session\.((?:sms\.|mms\.)?\w+)\(", cell)
        calls += [call.replace("sms.", "mms.") for call in calls if "session.mms.…" in cell]
        for call in calls:
            doc = inspect.getdoc(attrgetter(call)(session)) or ""
            assert set(sections.split(", ")) <= set(re.findall(r"§(\d\.\d)", doc)), call
        told.update(calls)
    values: Iterable[Any] = vars(endpoints).values()
    operations = {str(each.operation) for each in values if type(each) is endpoints.Endpoint}
    assert operations - {"login"} <= told
    assert {"sms.delivery_reports", "mms.delivery_reports", "sms.replies", "sms.watch"} <= told
