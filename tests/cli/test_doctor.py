"""`every8d doctor` as people meet it: words, data, exit codes, the question before it costs."""

import json
import os
import re
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from every8d_async._cli import app
from every8d_async._cli._doctor import report
from every8d_async._cli._doctor.checks import CHECKS
from every8d_async._cli._doctor.probe import QUESTIONS, SENDS
from every8d_async._cli._doctor.rows import Row, State
from every8d_async._session import SITE
from every8d_async.simulator import (
    Account,
    Fault,
    FirewallPage,
    Hang,
    HttpStatus,
    Refuse,
    Reset,
    Simulator,
)
from tests.certificate import server_context
from tests.faulty import FaultyServer, Request, asgi

UID, PASSWORD, MOBILE = "canary-uid-8172", "canary-password-9364", "0912345678"
ACCOUNT = Account(uid=UID, password=PASSWORD)
QUICK = ("--live-probe", MOBILE, "--waits", "0.01,0.05", "--idle", "0.01")


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Let reports without a name of their own land where nobody minds."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def simulator() -> Simulator:
    return Simulator(accounts=[ACCOUNT])


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Put an account with this site into the environment."""

    def put(site: str, password: str = PASSWORD) -> None:
        monkeypatch.setenv("EVERY8D_UID", UID)
        monkeypatch.setenv("EVERY8D_PASSWORD", password)
        monkeypatch.setenv("EVERY8D_SITE", site)

    return put


@pytest.fixture
def site(simulator: Simulator, at: Callable[[str], None]) -> Generator[str]:
    with simulator.serve() as url:
        at(url)
        yield url


def doctor(*words: str) -> Result:
    return CliRunner().invoke(app, ["doctor", *words])


def started(*words: str, stdin: int | None = None) -> subprocess.Popen[str]:
    """Start the command in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "every8d_async", "doctor", *words],
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def data(done: Result) -> dict[str, Any]:
    """Read the one object on stdout."""
    found: dict[str, Any] = json.loads(done.stdout)
    assert found["exit_code"] == done.exit_code
    assert found["well"] is (done.exit_code == 0)
    return found


def states(rows: list[dict[str, Any]]) -> dict[str, str]:
    return {row["name"]: row["state"] for row in rows}


# --- the checks ---


def test_all_is_well(simulator: Simulator, site: str) -> None:
    """Words for people in 80 columns, one line a check where it fits; exit code 0."""
    done = doctor()
    assert done.exit_code == 0
    lines = done.stdout.splitlines()
    assert lines[0].startswith("ok         configuration uid and password are there")
    assert [line[11:24].strip() for line in lines if line[11] != " "] == ["configuration", *CHECKS]
    assert max(map(len, lines)) < 80
    assert f"ok         reach         127.0.0.1 answers on port {site.rpartition(':')[2]}" in lines
    assert simulator.sent == ()


def test_all_is_well_as_data(site: str) -> None:
    """The same as data, with nothing else on stdout."""
    found = data(doctor("--json"))
    assert list(states(found["checks"])) == ["configuration", *CHECKS]
    assert set(found["checks"][0]) == {"name", "state", "said", "next", "facts"}
    assert (found["probe"], found["report"]) == ([], None)


def test_it_can_be_tried_without_an_account() -> None:
    """With --simulate it needs nothing."""
    done = doctor("--simulate")
    assert done.exit_code == 0
    assert "nothing is sent" in done.stderr


def test_no_account() -> None:
    """Without an account the way to give one is told, and nothing is asked."""
    done = doctor("--json")
    found = data(done)
    assert done.exit_code == 5
    unasked = dict.fromkeys(CHECKS, "not asked")
    assert states(found["checks"]) == {"configuration": "failed", **unasked}
    assert "EVERY8D_UID" in found["checks"][0]["said"]


def test_a_file_that_others_can_read(home: Path) -> None:
    """A file with a password that others can read is refused, with the command that mends it."""
    file = home / "account.toml"
    file.write_text(f'uid = "{UID}"\npassword = "{PASSWORD}"\n')
    file.chmod(0o644)
    done = doctor("--account", str(file))
    assert done.exit_code == 5
    assert "chmod 600" in " ".join(done.stdout.split())
    assert PASSWORD not in done.output


def test_a_site_that_is_none(at: Callable[[str], None]) -> None:
    """A site that is not well-formed is told before anything is asked."""
    at("new.e8d.tw")
    done = doctor()
    assert done.exit_code == 2
    assert "failed     configuration site: must be https://host[:port][/prefix]" in done.stdout


def test_a_proxy_is_named(
    simulator: Simulator, at: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy of the environment is used and mentioned, without its password."""
    with FaultyServer(asgi(simulator)) as proxy:
        at("http://localhost:81")
        monkeypatch.setenv("EVERY8D_PROXY", proxy.url.replace("//", "//me:hidden@"))
        done = doctor()
    assert done.exit_code == 0
    assert "through a proxy" in " ".join(done.stdout.split())
    assert "hidden" not in done.output


@pytest.mark.parametrize(
    ("operation", "fault", "code", "failed"),
    [
        ("ConnectionHandler/2", FirewallPage(), 5, "firewall"),
        ("ConnectionHandler/1", HttpStatus(503), 4, "firewall"),
        ("ConnectionHandler/2", HttpStatus(429), 4, "firewall"),
        ("ConnectionHandler/2", Reset(), 4, "reach"),
        ("ConnectionHandler/1", Refuse(-99), 5, "login"),
        ("ConnectionHandler/1", Reset(), 4, "login"),
        ("GetCredit", Refuse(-99), 4, "credit"),
        ("GetCredit", Refuse(-101), 5, "credit"),
    ],
)
def test_exit_codes(
    simulator: Simulator, site: str, operation: str, fault: Fault, code: int, failed: str
) -> None:
    """The exit code says what to do next, and one check says why."""
    simulator.faults.add(operation, fault)
    done = doctor("--json")
    assert done.exit_code == code
    found = states(data(done)["checks"])
    assert [name for name, state in found.items() if state == "failed"] == [failed]


def test_a_wrong_password(simulator: Simulator, site: str, at: Callable[..., None]) -> None:
    """A wrong password is met once a run, and told with what comes next."""
    at(site, "wrong")
    done = doctor()
    assert done.exit_code == 5
    assert simulator.failed_logins == 1
    assert "-> check both before you try again" in done.stdout
    assert "not asked  credit        the check before it must be well first: login" in done.stdout


def test_warnings_are_not_well(at: Callable[[str], None]) -> None:
    """No credit is a warning, and all is not well."""
    account = Account(uid=UID, password=PASSWORD, credit=Decimal(0))
    with Simulator(accounts=[account]).serve() as site:
        at(site)
        done = doctor()
    assert done.exit_code == 7
    assert "warning    credit        0.00 points are left" in done.stdout


def test_a_clock_that_is_off(simulator: Simulator, at: Callable[[str], None]) -> None:
    """A machine whose clock is off is warned of it."""
    sound = asgi(simulator)

    def answer(request: Request) -> bytes:
        date = b"\r\nDate: Fri, 02 Jan 2015 03:04:05 GMT\r\n\r\n"
        return sound(request).replace(b"\r\n\r\n", date, 1)

    with FaultyServer(answer) as server:
        at(server.url)
        done = doctor("--json")
    assert done.exit_code == 1
    assert states(data(done)["checks"])["clock"] == "warning"


def test_a_refused_certificate(at: Callable[[str], None]) -> None:
    """A certificate that is not trusted ends the checks there."""
    with FaultyServer(tls=server_context()) as server:
        at(server.url)
        done = doctor()
    assert done.exit_code == 1
    assert "failed     TLS           the certificate is self-signed" in done.stdout


# --- the live probe ---


@pytest.mark.parametrize(("answer", "code", "sent"), [("n", 130, 0), ("y", 0, 2)])
def test_the_probe_asks_first_and_says_the_cost(
    simulator: Simulator, site: str, answer: str, code: int, sent: int
) -> None:
    """Whoever says no has paid nothing, and there is no report."""
    own, theirs = os.openpty()
    with started(*QUICK, "--report", "x.md", stdin=theirs) as child:
        os.write(own, f"{answer}\n".encode())
        _, stderr = child.communicate()
    os.close(own)
    os.close(theirs)
    assert child.returncode == code
    words = " ".join(stderr.split())
    assert "sends 2 messages to that number, about 2 points" in words
    assert "takes up to 0 seconds" in words
    assert "Go on? [y/N]:" in words
    assert len(simulator.sent) == sent
    assert Path("x.md").exists() is (sent > 0)


def test_the_probe_does_not_take_silence_for_a_yes(simulator: Simulator, site: str) -> None:
    """In a pipe, where nobody can be asked, it sends nothing."""
    done = doctor("--live-probe", MOBILE)
    assert done.exit_code == 2
    assert "takes up to 10 minutes" in " ".join(done.stderr.split())
    assert "add --yes" in done.stderr
    assert simulator.sent == ()


@pytest.mark.parametrize("name", ["probe.json", "probe.md", ""])
def test_the_report_holds_no_secret(simulator: Simulator, site: str, name: str) -> None:
    """The report says all that was found, to its owner alone, and could be handed to anybody."""
    chosen = ["--report", name] if name else []
    done = doctor(*QUICK, "--yes", *chosen)
    assert done.exit_code == 0
    (file,) = Path().glob("*probe*")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert f"The report is in {file}." in done.stderr
    if not name:
        assert re.fullmatch(r"every8d-probe-\d{8}-\d{6}\.md", file.name)
    text = file.read_text("utf-8")
    for question in QUESTIONS:
        assert question in text
        assert question in done.stdout
    assert "+8869########" in text
    assert max(len(line) for line in done.stdout.splitlines()) < 80
    if name.endswith(".json"):
        assert [row["name"] for row in json.loads(text)["rows"]] == [*QUESTIONS, SENDS]
    tokens = {
        request.headers["authorization"].partition(" ")[2]
        for request in simulator.requests
        if "authorization" in request.headers
    }
    assert len(tokens) == 3
    assert len(simulator.sent) == 2
    secrets = [
        *(UID, PASSWORD, MOBILE[1:], MOBILE[-3:], site.rpartition(":")[2]),
        *tokens,
        *(message.text for message in simulator.sent),
        *(message.batch_id for message in simulator.sent),
    ]
    assert [secret for secret in secrets if secret in text] == []
    shown = [UID, PASSWORD, MOBILE[1:], *tokens, *(message.text for message in simulator.sent)]
    assert [secret for secret in shown if secret in done.output] == []


def test_the_probe_as_data(simulator: Simulator, site: str) -> None:
    """With --json and --yes a script gets all in one object."""
    done = doctor(*QUICK, "--json", "--yes", "--report", "x.json")
    found = data(done)
    assert list(states(found["probe"])) == [*QUESTIONS, SENDS]
    assert found["report"] == "x.json"
    assert len(simulator.sent) == 2


def test_the_ordinary_site_is_named_and_no_other(home: Path) -> None:
    """A dedicated platform's name would tell whose account it was."""
    for site, shown in ((SITE, SITE), ("https://sms.customer.example", "another one")):
        file = home / "report.json"
        with report.create(file) as opened:
            report.write(opened, [Row("x", State.OK, "y")], site, as_json=True)
        assert json.loads(file.read_text())["site"] == shown
        file.unlink()


def test_the_probe_waits_for_well_checks(simulator: Simulator, site: str) -> None:
    """Where a check fails nothing is probed, and it does not even ask."""
    simulator.faults.add("GetCredit", Refuse(-99))
    done = doctor(*QUICK)
    assert done.exit_code == 4
    assert "waits until the checks are well: nothing was sent" in done.stderr
    assert simulator.sent == ()


def test_no_probe_without_an_account() -> None:
    """Without an account there is nothing to probe."""
    assert doctor(*QUICK, "--yes").exit_code == 5


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--live-probe", "12"), "is not a mobile number"),
        (("--report", "x.md"), "add --live-probe"),
        (("--live-probe", MOBILE, "--waits", "5,1"), "rising seconds"),
        (("--live-probe", MOBILE, "--waits", "0,1"), "rising seconds"),
        (("--live-probe", MOBILE, "--waits", "soon"), "rising seconds"),
    ],
)
def test_options_are_checked_first(
    simulator: Simulator, site: str, words: tuple[str, ...], said: str
) -> None:
    """What can't be as it is is told before anything is asked."""
    done = doctor(*words)
    assert done.exit_code == 2
    assert said in done.stderr
    assert simulator.requests == ()


@pytest.mark.parametrize(
    ("path", "said"), [("there.md", "is there already"), ("no/where.md", "can't be written")]
)
def test_a_report_that_can_not_be_written(
    simulator: Simulator, site: str, path: str, said: str
) -> None:
    """Nothing is paid for that could not be kept, and nothing is overwritten."""
    Path("there.md").write_text("mine")
    done = doctor(*QUICK, "--yes", "--report", path)
    assert done.exit_code == 2
    assert said in done.stderr
    assert Path("there.md").read_text() == "mine"
    assert simulator.sent == ()


def test_an_unknown_outcome_has_its_own_code(simulator: Simulator, site: str) -> None:
    """A message of which nobody knows weighs more than all else."""
    simulator.faults.add("SendSMS", HttpStatus(502), times=3)  # two of them to nobody
    done = doctor(*QUICK, "--yes", "--report", "x.md")
    assert done.exit_code == 6
    assert "plain message unknown" in done.stdout
    assert "look at the phone" in done.stdout


def test_a_failed_question_is_not_well(simulator: Simulator, site: str) -> None:
    """A question that failed may be answered another time."""
    simulator.faults.add("GetReplyMessage", Refuse(-99))
    assert doctor(*QUICK, "--yes", "--report", "x.md").exit_code == 4


# --- Ctrl-C ---


def wait_for(condition: Callable[[], bool]) -> None:
    """Wait until something is so."""
    for _ in range(6000):
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError("it did not come about")


def test_ctrl_c_while_checking(simulator: Simulator, site: str) -> None:
    """Stopped while it checks, it says so in one sentence."""
    simulator.faults.add("ConnectionHandler/1", Hang())
    with started() as child:
        wait_for(lambda: simulator.logins > 0 or len(simulator.requests) > 1)
        child.send_signal(signal.SIGINT)
        _, stderr = child.communicate()
    assert child.returncode == 130
    assert stderr == "every8d: interrupted; nothing was sent.\n"


def test_ctrl_c_while_probing(simulator: Simulator, site: str) -> None:
    """Stopped while it waits, it keeps in the report what was found and what was sent."""
    words = ("--live-probe", MOBILE, "--waits", "300", "--idle", "0", "--yes", "--report", "x.md")
    with started(*words) as child:
        wait_for(lambda: len(simulator.sent) == 2)
        child.send_signal(signal.SIGINT)
        stdout, stderr = child.communicate()
    assert child.returncode == 130
    assert "Traceback" not in stderr
    assert "plain message accepted, filtered message accepted" in " ".join(stdout.split())
    text = Path("x.md").read_text("utf-8")
    assert "the probe ended before this question" in text
    assert "plain message accepted, filtered message accepted" in text
