"""Campaigns from the command line: planned, run, interrupted, run again; nobody sent to twice."""

import json
import sqlite3
import time
from collections import Counter
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from every8d_async import TAIPEI
from every8d_async._cli._exits import Exit
from every8d_async._cli.campaign import code_of
from every8d_async.campaign import CampaignStatus
from every8d_async.simulator import Delay, FirewallPage, HttpStatus, Refuse, Reset, Simulator

from .kit import Terminal, invoke, mobile, people, read_table, run, start, table, wait_for


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "autumn.sqlite3"


def plan(file: Path, count: int, *words: str) -> Path:
    """Plan so many people, and give their CSV file."""
    csv = people(file.with_name("people.csv"), count)
    done = invoke("campaign", "plan", str(file), "--csv", str(csv), *words)
    assert done.exit_code == 0, done.output
    return csv


def status(file: Path, *words: str) -> dict[str, int]:
    told: dict[str, int] = json.loads(
        invoke("campaign", "status", str(file), "--json", *words).stdout
    )["status"]
    return told


def numbers(simulator: Simulator) -> Counter[str]:
    return Counter(message.mobile for message in simulator.sent)


# --- interrupted, and run again ---


def test_an_interrupted_campaign_goes_on(simulator: Simulator, file: Path) -> None:
    """4,000 people, Ctrl-C on a terminal, the same command again: each is sent to once."""
    simulator.faults.add("SendParam", Delay(timedelta(seconds=0.5)), rate=1.0)
    plan(file, 4_000, "--batch-size", "100")
    terminal = Terminal("campaign", "run", str(file), "--yes", "--in-flight", "4")
    terminal.expect("400/4,000")
    terminal.interrupt()
    code = terminal.end()
    first = len(simulator.sent)
    assert (code, 400 <= first < 4_000) == (Exit.INTERRUPTED, True)
    assert "Stopping once what is in flight is done" in terminal.text
    assert f"4,000 in all: {4_000 - first:,} planned, {first:,} accepted" in terminal.text
    assert f"To go on: every8d campaign run {file}" in terminal.text
    assert max(map(len, terminal.lines)) <= 80 + len(str(file))
    assert status(file)["unknown"] == 0

    simulator.faults.clear()
    again = run("campaign", "run", str(file), "--yes")
    assert (again.returncode, again.stderr) == (0, "")
    assert again.stdout == "4,000 in all: 4,000 accepted; 4,000 points taken.\n"
    assert set(numbers(simulator).values()) == {1}
    assert len(simulator.sent) == 4_000


def test_an_interrupted_campaign_in_a_pipe(simulator: Simulator, file: Path) -> None:
    """Without a terminal SIGINT does the same, and no control code is written."""
    simulator.faults.add("SendParam", Delay(timedelta(seconds=0.5)), rate=1.0)
    plan(file, 2_000, "--batch-size", "100")
    with start("campaign", "run", str(file), "--yes", "--json", "--in-flight", "2") as child:
        assert child.stdout is not None
        first = json.loads(child.stdout.readline())
        child.send_signal(2)
        # Not `communicate`: it would pass over what `readline` has read ahead.
        assert child.stderr is not None
        out, err = child.stdout.read(), child.stderr.read()
    assert child.returncode == Exit.INTERRUPTED
    batches = [first, *(json.loads(line) for line in out.splitlines())]
    assert batches[-1]["exit_code"] == Exit.INTERRUPTED
    assert "\x1b" not in out + err
    done = sum(batch["recipients"] for batch in batches[:-1])
    assert done == len(simulator.sent) == batches[-1]["status"]["accepted"]
    simulator.faults.clear()
    assert invoke("campaign", "run", str(file), "--yes").exit_code == 0
    assert set(numbers(simulator).values()) == {1}
    assert len(simulator.sent) == 2_000


def test_a_second_ctrl_c_leaves_it_unknown(simulator: Simulator, file: Path) -> None:
    """What the second Ctrl-C cuts is listed as UNKNOWN, and is not sent again by itself."""
    simulator.faults.add("SendParam", Delay(timedelta(minutes=5)), times=2)
    plan(file, 50, "--batch-size", "10")
    terminal = Terminal("campaign", "run", str(file), "--yes", "--in-flight", "2")
    wait_for(lambda: sum(r.operation == "SendParam" for r in simulator.requests) == 2)
    terminal.interrupt()
    terminal.expect("Stopping")
    terminal.interrupt()
    assert terminal.end() == Exit.UNKNOWN
    assert "20 UNKNOWN" in terminal.text
    assert f"every8d campaign reconcile {file}" in terminal.text
    simulator.faults.clear()
    again = invoke("campaign", "run", str(file), "--yes")
    assert again.exit_code == Exit.UNKNOWN
    assert "50 in all: 30 accepted, 20 UNKNOWN; 30 points taken." in again.stdout
    assert "batch 1: 10 recipients UNKNOWN since" in again.stderr
    assert set(numbers(simulator).values()) == {1}


def test_a_killed_campaign_goes_on(simulator: Simulator, file: Path) -> None:
    """After SIGKILL what was on its way is UNKNOWN, the rest goes out, nobody gets two."""
    simulator.faults.add("SendParam", Delay(timedelta(seconds=0.5)), rate=1.0)
    plan(file, 500, "--batch-size", "50")
    with start("campaign", "run", str(file), "--yes", "--json", "--in-flight", "2") as child:
        assert child.stdout is not None
        child.stdout.readline()
        child.kill()
        child.communicate()
    simulator.faults.clear()
    again = invoke("campaign", "run", str(file), "--yes")
    told = status(file)
    assert again.exit_code == (Exit.UNKNOWN if told["unknown"] else Exit.DONE)
    assert told["accepted"] + told["unknown"] == 500
    assert set(numbers(simulator).values()) == {1}


def test_a_campaign_without_an_account(file: Path) -> None:
    """--simulate plans, runs slowly enough to be interrupted, and goes on in another process."""
    plan(file, 3_000, "--simulate", "--batch-size", "100")
    terminal = Terminal("campaign", "run", "--simulate", str(file), "--yes", "--in-flight", "2")
    terminal.expect("400/3,000")
    terminal.interrupt()
    assert terminal.end() == Exit.INTERRUPTED
    assert f"every8d campaign run --simulate {file}" in terminal.text
    first = status(file, "--simulate")["accepted"]
    assert 400 <= first < 3_000
    done = invoke("campaign", "run", "--simulate", str(file), "--yes", "--in-flight", "16")
    assert "3,000 in all: 3,000 accepted; 3,000 points taken." in done.stdout
    assert done.exit_code == 0


# --- planning ---


def test_planning_is_durable_and_done_once(simulator: Simulator, file: Path) -> None:
    """Nothing is sent; planned again, it is planned once; a dry run writes nothing."""
    csv = people(file.with_name("people.csv"), 3)
    words = ["campaign", "plan", str(file), "--csv", str(csv)]
    dry = invoke(*words, "--dry-run")
    assert dry.stdout == "Would send 3 messages for about 3 points. Nothing was sent.\n"
    assert not file.exists()
    first, second = invoke(*words), invoke(*words, "--json")
    assert first.stdout == (
        "3 planned; about 3 points for all. Nothing is sent yet.\n"
        f"To send: every8d campaign run {file}\n"
    )
    assert json.loads(second.stdout) == {
        "planned": 0,
        "repeated": 3,
        "refused": 0,
        "points": "3",
    }
    assert "3 were there before" in invoke(*words).stdout
    assert simulator.requests == ()


def test_bad_lines_of_a_plan(simulator: Simulator, file: Path) -> None:
    """A plan with bad lines is refused whole, or made without them, and the code tells."""
    csv = table(file.with_name("p.csv"), ["mobile", "text"], [[mobile(1), "x"], ["123", "x"]])
    words = ["campaign", "plan", str(file), "--csv", str(csv)]
    assert invoke(*words).exit_code == Exit.MEND
    assert not file.exists()
    done = invoke(*words, "--skip-bad")
    assert (done.exit_code, status(file)["planned"]) == (Exit.REFUSED, 1)
    assert "line 3" in done.stderr


@pytest.mark.parametrize("filtered", [[], ["--filtered"]])
def test_one_text_for_all(filtered: list[str], simulator: Simulator, file: Path) -> None:
    """One text is planned for a file of mobiles, through the filter where asked for."""
    csv = table(file.with_name("p.csv"), ["mobile"], [[mobile(n)] for n in range(3)])
    invoke("send", "Hello", mobile(0))
    words = ["campaign", "plan", str(file), "Hello", "--csv", str(csv), *filtered]
    assert invoke(*words).exit_code == 0
    assert invoke("campaign", "run", str(file), "--yes").exit_code == 0
    assert len(simulator.sent) == (3 if filtered else 4)


def test_a_template_and_its_limits(simulator: Simulator, file: Path) -> None:
    """A template is planned with its options; what came too late is not sent."""
    csv = table(file.with_name("p.csv"), ["mobile", "field1"], [[mobile(1), "王"]])
    words = ["campaign", "plan", str(file), "--template", "%field1%您好", "--csv", str(csv)]
    assert invoke(*words, "--send-before", "2001-01-01").exit_code == 0
    done = invoke("campaign", "run", str(file), "--yes")
    assert done.exit_code == Exit.LATER
    assert "batch 1: 1 recipient not sent (send_before had passed)" in done.stdout
    assert simulator.sent == ()
    assert invoke("campaign", "resolve", str(file), "1", "--send-again").exit_code == 0


def test_a_plan_of_nonsense(file: Path) -> None:
    """Words that don't fit together are told before anything is written."""
    words = ["campaign", "plan", str(file), "--csv", "x.csv"]
    assert invoke(*words, "Hello", "--template", "x").exit_code == Exit.MEND
    assert invoke(*words, "--filtered").exit_code == Exit.MEND
    assert invoke(*words, "--send-before", "soon").exit_code == Exit.MEND
    told = invoke(*words, "Hello", "--valid-for", "-3")
    assert (told.exit_code, "timedelta" in told.stderr) == (Exit.MEND, False)
    assert "--valid-for" in told.stderr
    assert not file.exists()


def test_a_plan_without_a_place(tmp_path: Path) -> None:
    """A folder that is not there, or that is named as the file, is the command line's fault."""
    csv = str(people(tmp_path / "people.csv", 1))
    words = ["--csv", csv, "--simulate"]
    missing = invoke("campaign", "plan", str(tmp_path / "none" / "d.sqlite3"), *words)
    assert missing.exit_code == Exit.MEND
    assert missing.stderr == f"every8d: there is no folder {tmp_path / 'none'}.\n"
    folder = invoke("campaign", "plan", str(tmp_path), *words)
    assert folder.exit_code == Exit.MEND
    assert folder.stderr == f"every8d: {tmp_path} is a folder: name a file.\n"


# --- running ---


@pytest.mark.parametrize("name", ["run", "status", "reconcile", "resolve", "export"])
def test_a_campaign_that_is_not_there(name: str, file: Path) -> None:
    """A name that was mistyped makes no empty campaign."""
    done = invoke("campaign", name, str(file), *(["1", "--sent"] if name == "resolve" else []))
    assert (done.exit_code, file.exists()) == (Exit.MEND, False)
    assert f"every8d campaign plan {file} --csv people.csv" in done.stderr


def test_a_run_asks_first(simulator: Simulator, file: Path) -> None:
    """Before a run one is asked; where nobody is there to answer, nothing is sent."""
    plan(file, 3)
    dry = invoke("campaign", "run", str(file), "--dry-run")
    assert dry.stdout == "Would send 3 messages for about 3 points. Nothing was sent.\n"
    done = run("campaign", "run", str(file))
    assert (done.returncode, simulator.sent) == (Exit.MEND, ())
    assert "add --yes" in done.stderr
    terminal = Terminal("campaign", "run", str(file))
    terminal.expect("Send 3 messages for about 3 points? [y/N]")
    terminal.type("y\n")
    assert (terminal.end(), len(simulator.sent)) == (0, 3)
    assert invoke("campaign", "run", str(file)).exit_code == 0  # nothing is left to ask for


def test_limits_of_a_run(simulator: Simulator, file: Path) -> None:
    """A limit stops before it is crossed, and the rest stays planned."""
    plan(file, 10, "--batch-size", "3")
    done = invoke("campaign", "run", str(file), "--yes", "--max-recipients", "7")
    assert (done.exit_code, len(simulator.sent)) == (Exit.LATER, 6)
    assert "Paused: max_recipients=7 would be crossed" in done.stderr
    assert f"To go on: every8d campaign run {file}" in done.stderr


@pytest.mark.parametrize(
    ("fault", "code", "said"),
    [
        (Refuse(-41, "no"), Exit.REFUSED, "batch 1: 2 recipients refused"),
        (HttpStatus(429), Exit.LATER, "batch 1: 2 recipients not sent"),
        (FirewallPage(), Exit.ACCESS, "Paused: AccessBlocked"),
        (Reset(acts=True), Exit.UNKNOWN, "batch 1: 2 recipients unknown"),
    ],
)
def test_what_became_of_a_batch(
    fault: Refuse, code: Exit, said: str, simulator: Simulator, file: Path
) -> None:
    """Each way in which a batch can end has its words and its code."""
    plan(file, 2)
    simulator.faults.add("SendParam", fault)
    done = invoke("campaign", "run", str(file), "--yes")
    assert done.exit_code == code
    assert said in done.output


@pytest.mark.parametrize("simulator", [5], indirect=True)
def test_credit_gone(simulator: Simulator, file: Path) -> None:
    """Where the credit ends it is told, now and later."""
    plan(file, 20, "--batch-size", "10")
    done = invoke("campaign", "run", str(file), "--yes", "--in-flight", "1")
    assert done.exit_code == Exit.CREDIT
    told = "batch 1: 10 recipients accepted (5 of them got nothing, for want of credit)"
    assert told in done.stdout
    assert "Paused: the credit is gone" in done.stderr
    assert invoke("campaign", "status", str(file)).exit_code == Exit.CREDIT


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (CampaignStatus(accepted=1), Exit.DONE),
        (CampaignStatus(accepted=1, refused=1), Exit.REFUSED),
        (CampaignStatus(refused=1, planned=1), Exit.LATER),
        (CampaignStatus(refused=1, not_sent=1), Exit.LATER),
        (CampaignStatus(claimed=1), Exit.LATER),
        (CampaignStatus(on_wire=1), Exit.LATER),
        (CampaignStatus(accepted=1, unsent=1, planned=1), Exit.CREDIT),
        (CampaignStatus(accepted=1, unsent=1, unknown=1), Exit.UNKNOWN),
    ],
)
def test_the_code_of_a_status(status: CampaignStatus, code: Exit) -> None:
    """How a campaign stands asks for what to do next; never 0 while anything is unknown."""
    assert code_of(status) is code


def test_another_account_s_campaign(
    simulator: Simulator, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A campaign belongs to its account, simulated ones to none."""
    plan(file, 1)
    done = invoke("campaign", "status", str(file), "--simulate")
    assert done.exit_code == Exit.MEND
    assert "another account" in done.stderr


def test_a_file_that_is_no_campaign(simulator: Simulator, file: Path) -> None:
    """Some other file is told, and not touched."""
    file.write_text("hello" * 100, "utf-8")
    assert invoke("campaign", "status", str(file)).exit_code in (Exit.MEND, Exit.FAILED)
    assert file.read_text("utf-8") == "hello" * 100


# --- doubts ---


@pytest.fixture
def doubtful(simulator: Simulator, file: Path) -> Path:
    """A campaign with one batch in doubt, which the gateway has in truth."""
    simulator.faults.add("SendParam", Reset(acts=True))
    plan(file, 4, "--batch-size", "2")
    assert invoke("campaign", "run", str(file), "--yes", "--in-flight", "1").exit_code == 6
    return file


def test_a_doubt_in_taipei_s_time(doubtful: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Since when a batch is UNKNOWN is told in Taipei's time, as all else, wherever one is."""
    monkeypatch.setenv("TZ", "America/New_York")
    with closing(sqlite3.connect(doubtful)) as journal:
        (since,) = journal.execute("SELECT since FROM batch WHERE state = 'unknown'").fetchone()
    at = f"{datetime.fromtimestamp(since, TAIPEI):%Y-%m-%d %H:%M:%S}"
    assert f"UNKNOWN since {at} (" in run("campaign", "status", str(doubtful)).stderr


def test_the_next_step_can_be_typed(doubtful: Path) -> None:
    """What a person may do about a doubt is told whole: the file, the batch, the word."""
    told = invoke("campaign", "status", str(doubtful)).stderr
    assert f"every8d campaign resolve {doubtful} 1 --sent, or --not-sent" in told


@pytest.mark.parametrize(
    ("words", "state", "code"),
    [
        ("--sent", "accepted", Exit.DONE),
        ("--sent --batch-id abc", "accepted", Exit.DONE),
        ("--not-sent", "not_sent", Exit.LATER),
        ("--not-sent --send-again", "planned", Exit.LATER),
    ],
)
def test_a_person_s_word(words: str, state: str, code: Exit, doubtful: Path) -> None:
    """What a person found out is put down, and the status says what is next."""
    done = invoke("campaign", "resolve", str(doubtful), "1", *words.split())
    assert (done.exit_code, done.stdout) == (0, f"batch 1 is {state} now.\n")
    assert invoke("campaign", "status", str(doubtful)).exit_code == code


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("1", "say --sent, --not-sent or --send-again"),
        ("1 --sent --send-again", "what was sent is not sent again"),
        ("1 --send-again", "is unknown, not"),
        ("2 --sent", "is accepted, not unknown"),
        ("9 --sent", "there is no number 9"),
    ],
)
def test_words_that_make_no_sense(words: str, said: str, doubtful: Path) -> None:
    """Nothing is changed by a word on what is not in doubt."""
    done = invoke("campaign", "resolve", str(doubtful), *words.split())
    assert done.exit_code == Exit.MEND
    assert said in done.stderr


def test_own_texts_can_t_be_asked_about(doubtful: Path) -> None:
    """Where no evidence can be had it stays UNKNOWN, with the reason."""
    done = invoke("campaign", "reconcile", str(doubtful))
    assert done.exit_code == Exit.UNKNOWN
    assert "batch 1 stays UNKNOWN: texts of their own" in done.stderr


def test_the_filter_settles_doubts(simulator: Simulator, file: Path) -> None:
    """A filtered campaign finds out by itself; while it waits it says so, and Ctrl-C ends it."""
    simulator.faults.add("SendSMS4FilterMessage", Reset(acts=True))
    csv = table(file.with_name("p.csv"), ["mobile"], [[mobile(1)], [mobile(2)]])
    invoke("campaign", "plan", str(file), "Hello", "--filtered", "--csv", str(csv))
    assert invoke("campaign", "run", str(file), "--yes").exit_code == Exit.UNKNOWN

    terminal = Terminal("campaign", "reconcile", str(file))
    terminal.expect("Waiting")
    terminal.interrupt()
    assert terminal.end() == Exit.INTERRUPTED
    assert "interrupted; to go on: every8d campaign reconcile" in terminal.text
    assert status(file)["unknown"] == 2

    with closing(sqlite3.connect(file)) as journal, journal:  # as if a minute had nearly passed
        journal.execute("UPDATE batch SET since = ?", (time.time() - 58,))
    settled = invoke("campaign", "reconcile", str(file))
    assert (settled.exit_code, len(simulator.sent)) == (0, 2)
    assert "Waiting" in settled.stderr
    assert status(file)["accepted"] == 2


# --- everybody, written down ---


def test_an_export(simulator: Simulator, file: Path) -> None:
    """Everybody is written down once, with reference, state and report, for a spreadsheet."""
    plan(file, 5, "--batch-size", "2")
    invoke("campaign", "run", str(file), "--yes")
    simulator.fail(mobile(4), 103)
    simulator.deliver_all()
    out = file.with_name("out.csv")
    done = invoke("campaign", "export", str(file), "--reports", "--csv", str(out))
    assert done.exit_code == 0
    assert "5 reports; 0 batches still open" in done.stderr
    rows = read_table(out)
    assert [row["reference"] for row in rows] == [f"order-{n}" for n in range(5)]
    assert [row["code"] for row in rows] == ["100"] * 4 + ["103"]
    assert {row["state"] for row in rows} == {"accepted"}
    assert rows[0]["batch_ids"] in {batch.batch_id for batch in simulator.batches}
    lines = invoke("campaign", "export", str(file), "--json").stdout.splitlines()
    assert json.loads(lines[0])["mobile"] == "+886900000000"


def test_an_export_of_one_text(simulator: Simulator, file: Path) -> None:
    """Where all have one text, reports are found by mobile."""
    csv = table(file.with_name("p.csv"), ["mobile"], [[mobile(n)] for n in range(3)])
    invoke("campaign", "plan", str(file), "Hello", "--csv", str(csv))
    invoke("campaign", "run", str(file), "--yes")
    done = run("campaign", "export", str(file), "--reports")
    assert [line.split("\t")[4] for line in done.stdout.splitlines()[1:]] == ["0", "0", "0"]
    assert "3 reports; 1 batch still open" in done.stderr
    assert done.returncode == Exit.LATER  # not all reports are there yet
    simulator.deliver_all()
    assert invoke("campaign", "export", str(file), "--reports").exit_code == 0


def test_an_export_with_doubts(doubtful: Path) -> None:
    """While anything is unknown the code is not 0, and the rows say who."""
    done = invoke("campaign", "export", str(doubtful), "--json")
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.exit_code == Exit.UNKNOWN
    assert Counter(row["state"] for row in rows) == {"unknown": 2, "accepted": 2}
    assert "2 are UNKNOWN" in done.stderr


def test_an_export_that_failed_can_be_tried_again(file: Path) -> None:
    """Without an account no file is made, which would refuse the next try."""
    plan(file, 1, "--simulate")
    sheet = file.with_name("out.csv")
    done = invoke("campaign", "export", str(file), "--csv", str(sheet))
    assert (done.exit_code, sheet.exists()) == (Exit.ACCESS, False)
    again = invoke("campaign", "export", "--simulate", str(file), "--csv", str(sheet))
    assert (again.exit_code, len(read_table(sheet))) == (0, 1)
