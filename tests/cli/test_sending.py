"""Sending: some numbers, a picture, a file of people; what it costs, and what became of it."""

import io
import json
import os
import shlex
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from every8d_async import TAIPEI
from every8d_async._cli._exits import Exit
from every8d_async._cli._gateway import gateway
from every8d_async._cli._output import Output
from every8d_async._cli._sheet import Checked, Sheet
from every8d_async._cli._table import CsvFile
from every8d_async._cli.send import Bulk, Job, joined
from every8d_async.simulator import Delay, FirewallPage, HttpStatus, Refuse, Reset, Simulator
from tests.kit import PICTURES

from .kit import (
    Terminal,
    command,
    invoke,
    mobile,
    people,
    read_table,
    run,
    shell,
    start,
    table,
    wait_for,
)


def texts(simulator: Simulator) -> list[tuple[str, str]]:
    return [(message.mobile, message.text) for message in simulator.sent]


# --- some numbers ---


def test_one_text_to_some_numbers(simulator: Simulator) -> None:
    """It is one request; the receipt tells how to follow the batch."""
    done = run("send", "您好", "0912345678", "+886987654321")
    batch = simulator.batches[0].batch_id
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == (
        f"2 sent for 2 points. 99,998.00 points left.\nTo follow it: every8d watch {batch}\n"
    )
    assert texts(simulator) == [("+886912345678", "您好"), ("+886987654321", "您好")]


def test_one_text_in_json(simulator: Simulator) -> None:
    """For programs the receipt is an object, money a text, and nothing else is on stdout."""
    done = run("send", "--json", "Hello", "0912345678")
    assert json.loads(done.stdout) == {
        "credit": "99999.00",
        "sent": 1,
        "cost": "1",
        "unsent": 0,
        "batch_id": simulator.batches[0].batch_id,
    }


def test_options_of_a_send_reach_the_gateway(simulator: Simulator) -> None:
    """Time (Taipei's, unless it says another), validity and subject are what was said."""
    at = simulator.now + timedelta(days=1)
    written = f"{at:%Y-%m-%d %H:%M}"
    options = ["--at", written, "--valid-for", "30", "--subject", "note"]
    assert invoke("send", "Hello", "0912345678", *options).exit_code == 0
    [message] = simulator.sent
    assert message.scheduled_for is not None
    assert f"{message.scheduled_for.astimezone(TAIPEI):%Y-%m-%d %H:%M}" == written
    assert (message.valid_minutes, message.subject) == (30, "note")


def test_a_time_with_a_zone() -> None:
    """A zone that is said is kept."""
    at = Job(None, at="2030-01-31T09:00+00:00").send_at
    assert at is not None
    assert at.utcoffset() == timedelta(0)


def test_a_filtered_send_leaves_repeats_out(simulator: Simulator) -> None:
    """Who had the text is left out and counted; nobody is left out unseen."""
    assert invoke("send", "Hello", mobile(1)).exit_code == 0
    done = invoke("send", "--filtered", "Hello", mobile(1), mobile(2))
    assert (done.exit_code, len(simulator.sent)) == (0, 2)
    assert "1 left out: they had this text within 24 hours." in done.stdout
    again = invoke("send", "--filtered", "Hello", mobile(1), mobile(2))
    assert "0 sent" in again.stdout
    assert "To follow it" not in again.stdout


@pytest.mark.parametrize("simulator", [5], indirect=True)
def test_credit_gone_is_not_done(simulator: Simulator) -> None:
    """A receipt that left somebody out for want of credit ends with a code of its own."""
    done = invoke("send", "Hello", *[mobile(n) for n in range(10)])
    assert done.exit_code == Exit.CREDIT
    assert "5 got nothing: the credit is gone" in done.stderr


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ("send", 2, 'every8d send "Hello" 0912345678'),
        ("send Hello", 2, "say a text and a mobile"),
        ("send Hello 0912345678 --template x", 2, "--template goes with --csv"),
        ("send Hello 0912345678 --max-points 1", 2, "--max-points goes with --csv"),
        ("send Hello 0912345678 --results r.csv", 2, "--results goes with --csv"),
        ("send Hello 0912345678 --from-line 2", 2, "--from-line goes with --csv"),
        ("send Hello 0912345678 --skip-bad", 2, "--skip-bad goes with --csv"),
        ("send Hello 0912345678 --encoding big5", 2, "--encoding goes with --csv"),
        ("send Hello 0912345678 --batch-size 1", 2, "--batch-size goes with --csv"),
        ("send Hello 0912345678 --in-flight 1", 2, "--in-flight goes with --csv"),
        ("send Hello 0912345678 --at tomorrow", 2, "'tomorrow' is no time"),
        ("send Hello 0912345678 --at 2001-01-01", 2, "is more than 60 s past"),
        ("send Hello 091234567", 2, "'09…567' is no mobile number"),
        ("send Hello 0912345678 +886912345678", 2, "would be sent and billed twice"),
        ("send Hello 0912345678 --csv x.csv", 2, "the numbers come from the file alone"),
        ("send Hello --template x --csv x.csv", 2, "a text or a --template, not both"),
        ("send --filtered --csv x.csv", 2, "--filtered needs one text"),
        ("send Hello --csv none.csv", 2, "none.csv: No such file"),
    ],
)
def test_what_can_t_be_sent_is_told(words: str, code: int, said: str, simulator: Simulator) -> None:
    """A command that makes no sense ends with 2, a sentence, and nothing sent."""
    done = invoke(*words.split())
    assert (done.exit_code, done.stdout) == (code, "")
    assert said in done.stderr
    assert simulator.requests == ()


@pytest.mark.parametrize(
    ("fault", "code", "sent"),
    [
        (Reset(acts=True), Exit.UNKNOWN, 1),
        (Reset(), Exit.UNKNOWN, 0),
        (HttpStatus(502), Exit.UNKNOWN, 0),
        (HttpStatus(429), Exit.LATER, 0),
        (Refuse(-306, "手機格式不符:0912345678"), Exit.REFUSED, 0),
        (FirewallPage(), Exit.ACCESS, 0),
    ],
)
def test_the_code_says_what_to_do_next(
    fault: Reset, code: Exit, sent: int, simulator: Simulator
) -> None:
    """The code tells what became of it; the number is masked, and nothing is repeated."""
    simulator.faults.add("SendSMS", fault)
    done = invoke("send", "Hello", "0912345678", "--json")
    assert (done.exit_code, len(simulator.sent)) == (code, sent)
    assert json.loads(done.stdout)["exit_code"] == code
    assert "12345678" not in done.output
    assert len([r for r in simulator.requests if r.operation == "SendSMS"]) == 1


def test_a_simulated_send_needs_nothing() -> None:
    """A newcomer sends to nobody, without an account, and is told how to look at it."""
    done = run("send", "--simulate", "hi", "0912345678")
    assert done.returncode == 0
    assert "1 sent for 1 point. 999,999.00 points left." in done.stdout
    assert "every8d watch --simulate " in done.stdout
    assert "no account, no cost" in done.stderr


def test_a_dry_run_asks_nobody() -> None:
    """Without an account or a network it checks all and tells the cost."""
    done = invoke("send", "--dry-run", "Hello", "0912345678", "+12025550123")
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout == "Would send 2 messages for about 4 points. Nothing was sent.\n"
    wrong = invoke("send", "--dry-run", "Hello", "0912345678", "0912345678")
    assert wrong.exit_code == Exit.MEND
    told = json.loads(invoke("send", "--dry-run", "--json", "Hello", "0912345678").stdout)
    assert told == {"dry_run": True, "count": 1, "points": "1"}


def test_a_named_account_is_in_the_next_step(simulator: Simulator, tmp_path: Path) -> None:
    """What is to be typed next goes the same way as this."""
    file = tmp_path / "a.toml"
    site = os.environ["EVERY8D_SITE"]
    file.write_text(f'uid = "me"\npassword = "secret"\nsite = "{site}"\n', "utf-8")
    file.chmod(0o600)
    done = invoke("send", "Hello", "0912345678", "--account", str(file))
    assert f"every8d watch --account {file} " in done.stdout


def test_very_many_numbers_are_a_bulk_send(simulator: Simulator, tmp_path: Path) -> None:
    """More than a hundred numbers are asked about, as a file is; a hundred are not."""
    many = [mobile(n) for n in range(101)]
    done = run("send", "Hello", *many)
    assert (done.returncode, done.stdout, simulator.requests) == (Exit.MEND, "", ())
    assert "101 messages for about 101 points, and nobody can be asked here" in done.stderr
    assert invoke("send", "Hello", *many[1:]).exit_code == 0
    assert invoke("send", "Hello", *many, "--yes").exit_code == 0
    assert len(simulator.sent) == 201
    picture = tmp_path / "photo.jpg"
    picture.write_bytes(PICTURES["jpg"])
    words = ["mms", "Hello", *many, "--picture", str(picture), "--subject", "x"]
    assert invoke(*words).exit_code == Exit.MEND
    assert len(simulator.sent) == 201
    assert invoke(*words, "--yes").exit_code == 0


# --- pictures ---


def test_a_picture(simulator: Simulator, tmp_path: Path) -> None:
    """An MMS goes out with its picture, text and subject, and is followed as one."""
    picture = tmp_path / "photo.jpg"
    picture.write_bytes(PICTURES["jpg"])
    words = ["mms", "Hello", "0912345678", "--picture", str(picture), "--subject", "特賣"]
    done = invoke(*words)
    assert done.exit_code == 0
    assert "every8d watch --mms " in done.stdout
    [message] = simulator.sent
    assert (message.kind, message.subject, message.attachment) == (
        "mms",
        "特賣",
        PICTURES["jpg"],
    )
    dry = invoke(*words, "--dry-run")
    assert dry.stdout == "Would send 1 message for about 3 points. Nothing was sent.\n"


def test_a_picture_that_is_none(simulator: Simulator, tmp_path: Path) -> None:
    """A file that is not there, or no picture, is told before anything leaves."""
    words = ["mms", "Hello", "0912345678", "--subject", "x", "--picture"]
    assert "No such file" in invoke(*words, str(tmp_path / "none.jpg")).stderr
    (tmp_path / "text.jpg").write_text("hello", "utf-8")
    done = invoke(*words, str(tmp_path / "text.jpg"))
    assert (done.exit_code, simulator.requests) == (Exit.MEND, ())


# --- estimates ---


def test_estimates(tmp_path: Path) -> None:
    """A cost is estimated without an account: for numbers, for a count, for a picture."""
    picture = tmp_path / "photo.jpg"
    picture.write_bytes(PICTURES["jpg"])
    assert invoke("estimate", "Hello").stdout == (
        "about 1 point: 5 characters, 1 message a person. An estimate, no promise.\n"
    )
    assert "about 6 points: 71 characters, 2 messages" in (
        invoke("estimate", "好" * 71, "--count", "3").stdout
    )
    assert "about 4 points" in invoke("estimate", "Hello", "0912345678", "+12025550123").stdout
    assert "about 3 points" in invoke("estimate", "", "--picture", str(picture)).stdout
    assert json.loads(invoke("estimate", "Hello", "--json").stdout) == {
        "units": 5,
        "segments": 1,
        "points": "1",
    }
    assert invoke("estimate", "").exit_code == Exit.MEND


# --- a file of people ---


def test_a_file_of_people(simulator: Simulator, tmp_path: Path) -> None:
    """Each gets a text of their own; each batch is told with its lines and its id."""
    file = people(tmp_path / "p.csv", 7)
    done = run("send", "--csv", str(file), "--yes", "--batch-size", "3")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert sorted(line.split(" accepted")[0] for line in lines[:-1]) == [
        "lines 2-4: 3",
        "lines 5-7: 3",
        "lines 8-8: 1",
    ]
    assert lines[-1] == "7 accepted; 7 points."
    assert sorted(texts(simulator)) == [
        (f"+886{mobile(n)[1:]}", f"您的訂單 {n} 已出貨") for n in range(7)
    ]
    assert {message.reference for message in simulator.sent} == {f"order-{n}" for n in range(7)}


def test_a_file_for_one_text(simulator: Simulator, tmp_path: Path) -> None:
    """The same text goes to all of a file, filtered where asked for."""
    file = table(tmp_path / "p.csv", ["mobile"], [[mobile(1)], [mobile(2)]])
    assert invoke("send", "Hello", "--csv", str(file), "--yes").exit_code == 0
    assert len(simulator.sent) == 2
    third = table(tmp_path / "q.csv", ["mobile"], [[mobile(2)], [mobile(3)]])
    done = invoke("send", "Hello", "--filtered", "--csv", str(third), "--yes")
    assert done.exit_code == 0
    assert "(1 of them had the text before)" in done.stdout
    assert "1 of the accepted were left out" in done.stdout
    assert len(simulator.sent) == 3


def test_a_file_for_a_template(simulator: Simulator, tmp_path: Path) -> None:
    """A template is filled with each line's fields; Big5 is read as it comes."""
    file = tmp_path / "p.csv"
    file.write_bytes("mobile,field1,field2\n0912345678,許功蓋,三\n".encode("cp950"))
    words = ["send", "--template", "%field1%您好，%field2%號", "--csv", str(file), "--yes"]
    assert invoke(*words).exit_code == 0
    assert texts(simulator) == [("+886912345678", "許功蓋您好，三號")]


def test_a_bad_line_stops_all(simulator: Simulator, tmp_path: Path) -> None:
    """With bad lines nothing is sent: each is told by its number, twenty at most."""
    rows = [["123", "x"]] * 22 + [[mobile(1), "x"]]
    file = table(tmp_path / "p.csv", ["mobile", "text"], rows)
    done = invoke("send", "--csv", str(file), "--yes")
    assert (done.exit_code, done.stdout, simulator.requests) == (Exit.MEND, "", ())
    assert "line 2: " in done.stderr
    assert "line 21: " in done.stderr
    assert "line 22: " not in done.stderr
    assert "22 lines can't be sent (2 more are not shown)" in done.stderr
    told = invoke("send", "--csv", str(file), "--yes", "--json").stdout.splitlines()
    assert [json.loads(line).get("line") for line in told] == [*range(2, 24), None]


def test_bad_lines_are_passed_over_where_that_is_meant(
    simulator: Simulator, tmp_path: Path
) -> None:
    """The others go; the code and the results still tell of those that did not: none is lost."""
    rows = [
        [mobile(1), "x", "a"],
        ["12345678", "x", "b"],
        [mobile(2), "", "c"],
        [mobile(3), "y", ""],
    ]
    file = table(tmp_path / "p.csv", ["mobile", "text", "reference"], rows)
    results = tmp_path / "r.csv"
    done = invoke("send", "--csv", str(file), "--yes", "--skip-bad", "--results", str(results))
    assert done.exit_code == Exit.REFUSED
    assert len(simulator.sent) == 2
    told = {int(row["line"]): row for row in read_table(results)}
    assert {line: row["state"] for line, row in told.items()} == {
        2: "accepted",
        3: "refused",
        4: "refused",
        5: "accepted",
    }
    assert told[2]["mobile"] == mobile(1)
    assert told[2]["batch_id"] == simulator.batches[0].batch_id
    assert (told[3]["reference"], told[3]["detail"]) == (
        "b",
        "mobile: '12…678' is no mobile number",
    )


def test_nobody_to_send_to(simulator: Simulator, tmp_path: Path) -> None:
    """A file of nobody is a mistake."""
    file = table(tmp_path / "p.csv", ["mobile", "text"], [])
    done = invoke("send", "--csv", str(file), "--yes")
    assert done.exit_code == Exit.MEND
    assert "there is nobody to send to" in done.stderr


def test_results_are_never_written_over(simulator: Simulator, tmp_path: Path) -> None:
    """A file that is there stops the send before it begins."""
    file = people(tmp_path / "p.csv", 1)
    done = invoke("send", "--csv", str(file), "--yes", "--results", str(file))
    assert (done.exit_code, simulator.sent) == (Exit.MEND, ())


def test_a_bulk_send_asks_first(simulator: Simulator, tmp_path: Path) -> None:
    """Where nobody can be asked and no --yes was said, nothing is sent."""
    file = people(tmp_path / "p.csv", 3)
    done = run("send", "--csv", str(file))
    assert (done.returncode, done.stdout, simulator.requests) == (Exit.MEND, "", ())
    assert "3 messages for about 3 points, and nobody can be asked here: add --yes" in done.stderr


@pytest.mark.parametrize(
    ("keys", "code", "sent"), [("y\n", 0, 3), ("n\n", 130, 0), ("\n", 130, 0), ("\x03", 130, 0)]
)
def test_the_answer_on_a_terminal(
    keys: str, code: int, sent: int, simulator: Simulator, tmp_path: Path
) -> None:
    """Before a bulk send one is asked, with cost and credit; only a yes sends."""
    file = people(tmp_path / "p.csv", 3)
    terminal = Terminal("send", "--csv", str(file))
    terminal.expect("Send 3 messages for about 3 points? [y/N]")
    assert "Credit: 100,000.00 points." in terminal.text
    if keys == "\x03":
        terminal.refuse()
    else:
        terminal.type(keys)
    assert (terminal.end(), len(simulator.sent)) == (code, sent)
    assert "Traceback" not in terminal.text


@pytest.mark.parametrize("simulator", [5], indirect=True)
def test_too_little_credit_is_said_before(simulator: Simulator, tmp_path: Path) -> None:
    """The question tells when the credit will not do."""
    terminal = Terminal("send", "--csv", str(people(tmp_path / "p.csv", 6)))
    terminal.expect("[y/N]")
    assert "That is not enough for all." in terminal.text
    terminal.type("n\n")
    assert terminal.end() == 130


def test_a_dry_run_of_a_file(tmp_path: Path) -> None:
    """All lines are checked and priced, without an account."""
    file = people(tmp_path / "p.csv", 3)
    done = invoke("send", "--csv", str(file), "--dry-run")
    assert done.stdout == "Would send 3 messages for about 3 points. Nothing was sent.\n"
    foreign = table(tmp_path / "q.csv", ["mobile"], [["+12025550123"], [mobile(1)]])
    told = json.loads(invoke("send", "Hello", "--csv", str(foreign), "--dry-run", "--json").stdout)
    assert told["points"] == "4"


def test_a_long_file_shows_how_far_its_check_is(tmp_path: Path) -> None:
    """Checking very many takes seconds; a terminal shows a bar for it, a small file none."""
    rows = ([mobile(n)] for n in range(60_000))
    long = table(tmp_path / "p.csv", ["mobile"], rows)
    terminal = Terminal("send", "Hello", "--csv", str(long), "--dry-run")
    assert terminal.end() == 0
    assert "60,000/60,001" in terminal.text
    short = Terminal("send", "--csv", str(people(tmp_path / "q.csv", 1)), "--dry-run")
    assert short.end() == 0
    assert "/" not in short.text


def test_an_unknown_batch_is_told_with_its_lines(simulator: Simulator, tmp_path: Path) -> None:
    """What may have gone out ends with 6, names the lines, and is not repeated."""
    simulator.faults.add("SendParam", Reset(acts=True))
    file = people(tmp_path / "p.csv", 6)
    words = ["--yes", "--batch-size", "3", "--in-flight", "1"]
    results = tmp_path / "r.csv"
    done = invoke("send", "--csv", str(file), *words, "--results", str(results))
    assert (done.exit_code, len(simulator.sent)) == (Exit.UNKNOWN, 6)
    assert "lines 2-4: 3 UNKNOWN (sms.send_bulk: the request left" in done.stdout.replace(
        "send_personalized", "send_bulk"
    )
    assert "3 accepted, 3 UNKNOWN; 3 points." in done.stdout
    assert "look at the gateway's records" in done.stderr
    assert [row["state"] for row in read_table(results)] == ["unknown"] * 3 + ["accepted"] * 3


def test_a_pause_tells_where_to_go_on(simulator: Simulator, tmp_path: Path) -> None:
    """A limit stops before it is crossed; the line to go on from is told, and sends the rest."""
    file = people(tmp_path / "p.csv", 10)
    words = ["send", "--csv", str(file), "--yes", "--batch-size", "3", "--json"]
    done = invoke(*words, "--max-points", "7")
    last = json.loads(done.stdout.splitlines()[-1])
    assert (done.exit_code, last["next_line"]) == (Exit.LATER, 8)
    assert (last["summary"]["accepted"], last["summary"]["not_attempted"]) == (6, 4)
    assert "Paused: max_points=7" in done.stderr
    assert "To go on: the same command with --from-line 8" in done.stderr
    assert invoke(*words, "--from-line", "8").exit_code == 0
    assert len({message.mobile for message in simulator.sent}) == len(simulator.sent) == 10


@pytest.mark.parametrize("fault", [Refuse(-101, "wrong"), FirewallPage()])
@pytest.mark.parametrize("begin", [2, 5])
def test_nobody_is_passed_over_who_got_nothing(
    fault: Refuse, begin: int, simulator: Simulator, tmp_path: Path
) -> None:
    """A run that sent nothing goes on where it began, whatever it had begun."""
    simulator.faults.add("ConnectionHandler", fault, rate=1.0)
    file = people(tmp_path / "p.csv", 20)
    words = ["send", "--csv", str(file), "--yes", "--batch-size", "2", "--from-line", str(begin)]
    done = invoke(*words, "--json")
    last = json.loads(done.stdout.splitlines()[-1])
    assert (done.exit_code, simulator.sent) == (Exit.ACCESS, ())
    assert last["summary"]["not_sent"] > 0
    assert (last["next_line"], last["passed_lines"]) == (begin, [])
    assert f"To go on: the same command with --from-line {begin}\n" in done.stderr


def test_a_refused_login_is_told_in_words_of_the_command(
    simulator: Simulator, tmp_path: Path
) -> None:
    """What a batch met is said as a single send says it."""
    simulator.faults.add("ConnectionHandler", Refuse(-101, "wrong"), rate=1.0)
    done = invoke("send", "--csv", str(people(tmp_path / "p.csv", 1)), "--yes")
    assert "test them with: every8d token check" in done.stdout
    assert "session." not in done.output


def test_a_limit_below_the_first_batch_is_named(simulator: Simulator, tmp_path: Path) -> None:
    """The same command would pause at once again, so the way on names the limit too."""
    file = people(tmp_path / "p.csv", 3)
    done = invoke("send", "--csv", str(file), "--yes", "--max-points", "1")
    assert (done.exit_code, simulator.sent) == (Exit.LATER, ())
    assert "the same command with a higher --max-points and --from-line 2\n" in done.stderr


def test_a_run_of_one_batch_tells_how_to_go_on(simulator: Simulator, tmp_path: Path) -> None:
    """Also where all was attempted there is a line to go on from, if it was not sent."""
    simulator.faults.add("SendParam", HttpStatus(429))
    file = people(tmp_path / "p.csv", 1)
    done = invoke("send", "--csv", str(file), "--yes")
    assert done.exit_code == Exit.LATER
    assert "To go on: the same command with --from-line 2\n" in done.stderr


def test_lines_that_got_nothing_before_others_are_named(
    simulator: Simulator, tmp_path: Path
) -> None:
    """What a later success leaves behind is named: no line to go on from can reach it."""
    simulator.faults.add("SendParam", HttpStatus(429), times=2)
    file = people(tmp_path / "p.csv", 6)
    words = ["send", "--csv", str(file), "--yes", "--batch-size", "2", "--in-flight", "1"]
    done = invoke(*words, "--json")
    last = json.loads(done.stdout.splitlines()[-1])
    assert (last["next_line"], last["passed_lines"]) == (None, [[2, 5]])
    assert "Lines 2-5 got nothing: send them from a file of their own.\n" in done.stderr
    assert "To go on" not in done.stderr


def test_lines_are_joined() -> None:
    """Batches come as they end; lines that follow each other are one stretch, others are not."""
    assert joined([(8, 9), (2, 3), (4, 5)]) == [(2, 5), (8, 9)]


@pytest.mark.parametrize("simulator", [5], indirect=True)
def test_lines_without_credit_are_not_passed_over(simulator: Simulator, tmp_path: Path) -> None:
    """A batch of which nobody got anything comes again; one of which some did is named."""
    simulator.faults.add("SendParam", Delay(timedelta(seconds=0.5)), rate=1.0)
    file = people(tmp_path / "p.csv", 20)
    words = ["send", "--csv", str(file), "--yes", "--batch-size", "10", "--in-flight", "2"]
    done = invoke(*words, "--json")
    last = json.loads(done.stdout.splitlines()[-1])
    assert (done.exit_code, last["summary"]["unsent"]) == (Exit.CREDIT, 15)
    short = 2 if last["next_line"] == 12 else 12
    assert f"Of lines {short}-{short + 9} 5 got nothing, for want of credit.\n" in done.stderr
    assert last["passed_lines"] == ([] if short == 2 else [[2, 11]])


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (Refuse(-41, "no"), Exit.REFUSED),
        (HttpStatus(429), Exit.LATER),
        (FirewallPage(), Exit.ACCESS),
    ],
)
def test_batches_that_failed_are_told(
    fault: Refuse, code: Exit, simulator: Simulator, tmp_path: Path
) -> None:
    """A batch that was refused or turned away is told with its reason, and by the code."""
    simulator.faults.add("SendParam", fault)
    file = people(tmp_path / "p.csv", 2)
    done = invoke("send", "--csv", str(file), "--yes")
    assert (done.exit_code, simulator.sent) == (code, ())
    assert "lines 2-3: 2 " in done.stdout


@pytest.mark.parametrize("simulator", [5], indirect=True)
def test_credit_gone_half_way(simulator: Simulator, tmp_path: Path) -> None:
    """Where the credit ends in a batch the code says so, and the run stops."""
    file = people(tmp_path / "p.csv", 20)
    done = invoke("send", "--csv", str(file), "--yes", "--batch-size", "10", "--in-flight", "1")
    assert done.exit_code == Exit.CREDIT
    assert "(5 of them got nothing, for want of credit)" in done.stdout
    assert "Paused: the credit is gone" in done.stderr
    assert Decimal(simulator.credit()) == 0


def test_ctrl_c_waits_for_what_is_in_flight(simulator: Simulator, tmp_path: Path) -> None:
    """The first Ctrl-C begins no more; what is in flight is waited for, and the rest is told."""
    simulator.faults.add("SendParam", Delay(timedelta(seconds=1)), rate=1.0)
    file = people(tmp_path / "p.csv", 40)
    words = ["send", "--csv", str(file), "--batch-size", "2", "--in-flight", "2"]
    terminal = Terminal(*words, "--yes")
    terminal.expect("4/40")
    terminal.interrupt()
    assert terminal.end() == Exit.INTERRUPTED
    assert "Stopping once what is in flight is done" in terminal.text
    assert "unknown\n" not in terminal.lines[-2]
    sent = len(simulator.sent)
    assert 4 <= sent < 40
    assert f"{sent} accepted, {40 - sent} not attempted" in terminal.text
    assert f"with --from-line {sent + 2}" in terminal.text
    simulator.faults.clear()
    assert run(*words, "--yes", "--from-line", str(sent + 2)).returncode == 0
    assert len({message.mobile for message in simulator.sent}) == len(simulator.sent) == 40


def test_a_second_ctrl_c_cuts(simulator: Simulator, tmp_path: Path) -> None:
    """The second Ctrl-C waits for nothing: what was in flight is unknown, by code and by words."""
    simulator.faults.add("SendParam", Delay(timedelta(minutes=5)), rate=1.0)
    file = people(tmp_path / "p.csv", 4)
    results = tmp_path / "r.csv"
    words = ["--batch-size", "2", "--in-flight", "2", "--yes", "--results", str(results)]
    terminal = Terminal("send", "--csv", str(file), *words)
    _in_flight(simulator, 2)
    terminal.interrupt()
    terminal.expect("Stopping")
    terminal.interrupt()
    assert terminal.end() == Exit.UNKNOWN
    assert "4 UNKNOWN" in terminal.text
    assert "cut before an answer came" in terminal.text
    assert {row["state"] for row in read_table(results)} == {"unknown"}


class FullDisk(CsvFile):
    """A file that takes three batches."""

    def __init__(self) -> None:
        super().__init__(io.StringIO(), ["line"])
        self._flushed = 0

    def flush(self) -> None:
        self._flushed += 1
        if self._flushed > 3:
            raise OSError(28, "No space left on device")


def test_results_that_can_t_be_written_stop_the_run(
    simulator: Simulator, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """On a full disk no more is begun; what was sent is counted, and where to go on is told."""
    out = Output(as_json=False)
    sheet = Sheet(people(tmp_path / "p.csv", 400), "text")
    bulk = Bulk(out, Job(None), sheet, {"batch_size": 10, "max_in_flight": 2})
    bulk.check(tmp_path / "p.csv", skip_bad=False)
    with gateway(out, simulate=False, account=None) as way:
        bulk.run(way, FullDisk())
    sent = len(simulator.sent)
    assert 40 <= sent < 400
    assert out.code is Exit.INTERRUPTED
    told, said = capsys.readouterr()
    assert "Stopped, since results can't be written" in said
    assert f"{sent} accepted, {400 - sent} not attempted" in told
    assert f"--from-line {sent + 2}\n" in said


def test_a_sum_that_can_t_be_written_is_told(
    simulator: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where only the last line finds the disk full, it is on stderr, and the end no success."""
    notes: list[str] = []
    out = Output(as_json=False)
    bulk = Bulk(out, Job(None), Sheet(people(tmp_path / "p.csv", 2), "text"), {})
    bulk.check(tmp_path / "p.csv", skip_bad=False)

    def result(plain: dict[str, object], _words: str) -> None:
        if "summary" in plain:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(out, "result", result)
    monkeypatch.setattr(out, "note", notes.append)
    with gateway(out, simulate=False, account=None) as way:
        bulk.run(way, None)
    assert notes == [
        "Results can't be written: [Errno 28] No space left on device. 2 accepted; 2 points."
    ]
    assert (out.code, len(simulator.sent)) == (Exit.FAILED, 2)


def test_a_line_refused_while_others_wait(simulator: Simulator, tmp_path: Path) -> None:
    """A line that only the send refuses (as when its time has passed) moves no line to go on."""
    rows = [[mobile(1), "x"], ["123", "x"], [mobile(2), "x"], [mobile(3), "x"]]
    file = table(tmp_path / "p.csv", ["mobile", "text"], rows)
    out = Output(as_json=False)
    limits = {"batch_size": 2, "max_in_flight": 1, "max_recipients": 1}
    bulk = Bulk(out, Job(None), Sheet(file, "text"), limits)
    bulk.checked = Checked(count=4)  # as if all had been well
    with gateway(out, simulate=False, account=None) as way:
        bulk.run(way, None)
    assert (out.code, bulk.next_line, simulator.sent) == (Exit.LATER, 2, ())


def test_whoever_reads_the_results_may_go_away(simulator: Simulator, tmp_path: Path) -> None:
    """When the pipe is closed nothing more is begun, and stderr tells where to go on."""
    simulator.faults.add("SendParam", Delay(timedelta(seconds=0.3)), rate=1.0)
    file = people(tmp_path / "p.csv", 40)
    words = ["send", "--csv", str(file), "--yes", "--batch-size", "2", "--in-flight", "2"]
    with start(*words) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        child.stdout.readline()
        child.stdout.close()
        said = child.stderr.read()
    sent = len(simulator.sent)
    assert 0 < sent < 40
    assert child.returncode == Exit.INTERRUPTED
    assert f"--from-line {sent + 2}\n" in said
    assert "Traceback" not in said
    assert "BrokenPipeError" not in said.replace("Broken pipe", "")


@pytest.mark.parametrize("where", [">/dev/full", ">&-", "a pipe that nobody reads"])
@pytest.mark.parametrize("option", ["", "--json"])
def test_a_receipt_that_can_t_be_written_is_told(
    where: str, option: str, simulator: Simulator
) -> None:
    """What was sent is told on stderr, with its batch, so that nobody sends it again."""
    line = f"{shlex.join(command('send', 'Hello', '0912345678'))} {option}"
    if where.startswith(">"):
        done = shell(f"{line} {where}")
    else:
        theirs, ours = os.pipe()
        os.close(theirs)
        done = shell(line, stdout=ours)
        os.close(ours)
    batch = simulator.batches[0].batch_id
    assert "this WAS sent; not again:\n1 sent for 1 point." in done.stderr
    assert f"To follow it: every8d watch {batch}\n" in done.stderr
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
    assert done.returncode == Exit.FAILED


@pytest.mark.parametrize("where", [">/dev/full", ">&-"])
@pytest.mark.parametrize("option", ["", "--json"])
def test_the_way_on_is_told_though_results_can_t_be_written(
    where: str, option: str, simulator: Simulator, tmp_path: Path
) -> None:
    """Where stdout takes nothing, the sum and the line to go on from are on stderr."""
    file = people(tmp_path / "p.csv", 40)
    words = ["send", "--csv", str(file), "--yes", "--batch-size", "2", "--in-flight", "2"]
    done = shell(f"{shlex.join(command(*words))} {option} {where}")
    sent = len(simulator.sent)
    assert 0 < sent < 40
    assert done.returncode == Exit.INTERRUPTED
    assert f"{sent} accepted, {40 - sent} not attempted" in done.stderr
    assert done.stderr.endswith(f"To go on: the same command with --from-line {sent + 2}\n")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("left", [True, False])
def test_a_single_send_is_cut_by_the_second_ctrl_c(left: bool, simulator: Simulator) -> None:
    """What had left when it was cut is unknown; what had not is certainly not sent."""
    operation = "SendSMS" if left else "ConnectionHandler"
    simulator.faults.add(operation, Delay(timedelta(minutes=5)), rate=1.0)
    terminal = Terminal("send", "Hello", "0912345678")
    _in_flight(simulator, 1, operation)
    terminal.interrupt()
    terminal.expect("Stopping")
    terminal.interrupt()
    assert terminal.end() == (Exit.UNKNOWN if left else Exit.INTERRUPTED)
    said = "it may have been done" if left else "nothing was sent"
    assert said in terminal.text.replace("\n", " ")


def test_a_single_send_is_waited_for(simulator: Simulator) -> None:
    """One Ctrl-C does not cut a send that is on its way: its receipt comes."""
    simulator.faults.add("SendSMS", Delay(timedelta(seconds=1)))
    terminal = Terminal("send", "Hello", "0912345678")
    _in_flight(simulator, 1, "SendSMS")
    terminal.interrupt()
    assert terminal.end() == 0
    assert "1 sent for 1 point" in terminal.text


def _in_flight(simulator: Simulator, count: int, operation: str = "SendParam") -> None:

    wait_for(lambda: sum(r.operation == operation for r in simulator.requests) >= count)
