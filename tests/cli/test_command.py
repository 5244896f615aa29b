"""The command itself: what a newcomer sees, what is missing, and what it never loads."""

import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

from every8d_async import __main__
from every8d_async._cli._exits import MEANINGS, Exit

from .kit import Terminal, command, invoke, run, shell, start

COMMANDS = (
    *("send", "mms", "estimate", "reports", "watch", "replies", "cancel", "credit"),
    *("campaign plan", "campaign run", "campaign status", "campaign reconcile"),
    *("campaign resolve", "campaign export", "token check"),
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


def test_help_is_for_newcomers() -> None:
    """Help groups the commands by purpose, shows three examples, and tells all exit codes."""
    done = run("--help")
    assert (done.returncode, done.stderr) == (0, "")
    for panel in ("Send", "See what became of it", "Campaigns", "Account", "Try it"):
        assert f"─ {panel}" in done.stdout
    assert len(re.findall(r"^   every8d ", done.stdout, re.MULTILINE)) == 3
    for code, meaning in MEANINGS.items():
        assert f"{code:>3}  {meaning}" in done.stdout
    assert set(MEANINGS) == set(Exit)


@pytest.mark.parametrize("words", ["", "--help", *(f"{name} --help" for name in COMMANDS)])
def test_help_fits_a_terminal(words: str) -> None:
    """Each command has help, within 80 columns, with what each option is for."""
    done = invoke(*words.split())
    assert done.exit_code == (0 if words else 2)
    assert max(map(len, done.output.splitlines())) <= 80
    assert "Usage: " in done.output


def test_help_in_a_pipe_has_no_control_codes() -> None:
    """What goes into a pipe is text alone."""
    assert "\x1b" not in run("--help").stdout
    assert "\x1b" not in run("credit", "--bogus").stderr


def test_help_on_a_terminal() -> None:
    """A terminal of 80 columns shows it without a line too long."""
    terminal = Terminal("--help")
    assert terminal.end() == 0
    assert max(map(len, terminal.lines)) <= 80


def test_a_wrong_option_is_a_matter_of_the_command_line() -> None:
    """Usage errors end with 2, and print nothing on stdout."""
    done = run("credit", "--bogus")
    assert (done.returncode, done.stdout) == (2, "")
    assert "No such option: --bogus" in done.stderr


@pytest.mark.parametrize("word", ["--password", "--uid"])
def test_no_secret_is_an_argument(word: str) -> None:
    """Arguments stand in shell histories and in the list of processes."""
    for name in COMMANDS:
        assert word not in invoke(*name.split(), "--help").output


def test_help_loads_nothing_heavy() -> None:
    """Help is quick: it loads neither the simulator nor campaigns and SQLite."""
    script = (
        "import sys; sys.argv = ['every8d', 'send', '--help']; before = set(sys.modules)\n"
        "from every8d_async.__main__ import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = ['uvicorn', 'starlette', 'sqlite3', 'every8d_async.simulator',"
        " 'every8d_async.campaign']\n"
        "print([name for name in heavy if name in sys.modules.keys() - before], file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert done.stderr == "[]\n"


def test_a_shell_completes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The shell's question gets the names of commands and options."""
    monkeypatch.setenv("_EVERY8D_COMPLETE", "complete_bash")
    for words, offered in (("every8d camp", "campaign"), ("every8d send --sim", "--simulate")):
        monkeypatch.setenv("COMP_WORDS", words)
        monkeypatch.setenv("COMP_CWORD", str(words.count(" ")))
        assert run().stdout.split() == [offered]


@pytest.mark.parametrize("missing", ["typer", "rich"])
def test_a_missing_extra_is_one_sentence(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the packages of its extra, the command says how to get them, and fails."""
    monkeypatch.setattr(__main__, "find_spec", without(missing))
    with pytest.raises(SystemExit, match=r"pip install 'every8d-async\[cli\]'"):
        __main__.main()


@pytest.mark.parametrize("missing", ["starlette", "uvicorn", "python_multipart"])
@pytest.mark.parametrize("words", ["demo", "simulate", "credit --simulate"])
def test_without_the_simulator_it_says_so(
    words: str, missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the simulator's packages, whatever needs them says how to get them."""
    monkeypatch.setattr("every8d_async._cli._gateway.find_spec", without(missing))
    done = invoke(*words.split())
    assert (done.exit_code, done.stdout) == (2, "")
    assert "pip install 'every8d-async[simulator]'" in done.stderr


def test_simulate_serves_the_other_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    """In another terminal, the gateway that `simulate` serves takes a send and knows of it."""
    with start("simulate", "--port", "0", "--uid", "you", "--password", "word") as server:
        assert server.stdout is not None
        line = server.stdout.readline()
        monkeypatch.setenv("EVERY8D_SITE", next(w for w in line.split() if w.startswith("http")))
        monkeypatch.setenv("EVERY8D_UID", "you")
        monkeypatch.setenv("EVERY8D_PASSWORD", "word")
        sent = run("send", "Hello", "0912345678")
        batch = sent.stdout.split()[-1]
        reports = run("reports", batch)
        server.send_signal(2)
        server.communicate()
    assert (sent.returncode, reports.returncode, server.returncode) == (0, 0, 0)
    assert "+886912345678" in reports.stdout


def test_simulate_has_the_simulators_options() -> None:
    """Its help is the simulator's own, under this command's name."""
    done = run("simulate", "--help")
    assert done.returncode == 0
    assert done.stdout.startswith("usage: every8d simulate")
    assert "--push-url" in done.stdout


def test_simulate_refuses_in_one_sentence() -> None:
    """What can't be served is told, and is no success."""
    done = invoke("simulate", "--host", "0.0.0.0")
    assert done.exit_code == 1


def test_whoever_reads_us_may_have_enough() -> None:
    """A closed pipe ends the command without a traceback."""
    done = subprocess.run(
        ["sh", "-c", f"{sys.executable} -m every8d_async reports --simulate abc | true"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("words", ["--help", "send --help", "estimate Hello --json", "estimate x"])
@pytest.mark.parametrize("where", [">/dev/full", ">&-"])
def test_what_can_t_be_written_is_one_sentence(words: str, where: str) -> None:
    """A full disk or a closed stdout ends a command, and its help, without a traceback."""
    done = shell(f"{shlex.join(command(*words.split()))} {where}")
    assert done.returncode == 1
    assert done.stderr.startswith("every8d: ")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("where", ["2>/dev/full", "2>&-"])
def test_notes_that_nobody_hears_end_nothing(where: str) -> None:
    """What is said beside the results may be lost; the results are there."""
    done = shell(f"{shlex.join(command('credit', '--simulate'))} {where}")
    assert (done.returncode, done.stdout) == (0, "1,000,000.00 points\n")


def test_a_closed_stdin_can_t_be_asked(tmp_path: Path) -> None:
    """Without a stdin nobody can be asked, and nothing is sent."""
    file = tmp_path / "p.csv"
    file.write_text("mobile\n0912345678\n", "utf-8")
    line = shlex.join(command("send", "--simulate", "Hello", "--csv", str(file)))
    done = shell(f"{line} <&-")
    assert done.returncode == Exit.MEND
    assert "nobody can be asked here: add --yes" in done.stderr


@pytest.mark.parametrize("words", ["", *COMMANDS, "doctor"])
def test_help_is_there_for_the_poorest_terminal(
    words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Help can be written in ASCII."""
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    done = run(*words.split(), "--help")
    assert (done.returncode, done.stderr) == (0, "")


def test_ctrl_c_before_a_command_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C while packages are being loaded ends quietly, with the code of an interruption."""

    def find_spec(_name: str) -> object:
        raise KeyboardInterrupt

    monkeypatch.setattr(__main__, "find_spec", find_spec)
    with pytest.raises(SystemExit) as caught:
        __main__.main()
    assert caught.value.code == 130
