"""What became of a batch: reports, replies, following it, calling it off."""

import json
from datetime import timedelta
from pathlib import Path

import pytest

from every8d_async import DeliveryStatus
from every8d_async._cli._exits import Exit
from every8d_async._cli.batches import REPORT
from every8d_async.simulator import Delay, Garbage, HttpStatus, Reset, Simulator
from tests.kit import PICTURES

from .kit import Terminal, invoke, mobile, read_table, run, start, wait_for


def batch_of(simulator: Simulator, count: int = 3, *words: str) -> str:
    """Send a batch, and give its id."""
    done = invoke("send", "Hello", *(mobile(n) for n in range(count)), "--yes", *words)
    assert done.exit_code == 0
    return simulator.batches[-1].batch_id


def test_reports(simulator: Simulator) -> None:
    """Each message's status is told in words, in columns that programs can cut."""
    batch = batch_of(simulator)
    simulator.fail(mobile(2), 103)
    simulator.deliver_all()
    done = run("reports", batch)
    header, *rows = (line.split("\t") for line in done.stdout.splitlines())
    assert header == [name.replace("_", " ") for name, _ in REPORT]
    assert [row[:3] for row in rows] == [
        ["+886900000000", "100", "delivered"],
        ["+886900000001", "100", "delivered"],
        ["+886900000002", "103", "number invalid"],
    ]
    assert (done.returncode, done.stderr) == (0, "2 delivered, 1 number invalid\n")


def test_no_reports(simulator: Simulator) -> None:
    """A wrong batch id looks the same as a batch without reports, and both are said."""
    done = invoke("reports", "none")
    assert (done.exit_code, done.stdout) == (0, "")
    assert "they come late, or there is no such batch" in done.stderr


def test_reports_on_a_terminal(simulator: Simulator) -> None:
    """A line of a report fits 80 columns, also with the longest status."""
    longest = max((status for status in DeliveryStatus if status > 0), key=lambda s: len(s.name))
    batch = batch_of(simulator)
    simulator.fail(mobile(2), longest)
    simulator.deliver_all()
    terminal = Terminal("reports", batch)
    assert terminal.end() == 0
    assert longest.name.lower().replace("_", " ") in terminal.text
    assert max(map(len, terminal.lines)) <= 80


def test_reports_for_a_spreadsheet(simulator: Simulator, tmp_path: Path) -> None:
    """Many pages go into a file; mobiles stay usable."""
    batch = batch_of(simulator, 2_500)
    file = tmp_path / "out.csv"
    done = invoke("reports", batch, "--csv", str(file))
    assert (done.exit_code, done.stdout) == (0, "")
    rows = read_table(file)
    assert [row["mobile"] for row in rows] == [f"+886{mobile(n)[1:]}" for n in range(2_500)]
    assert invoke("reports", batch, "--csv", str(file)).exit_code == Exit.MEND


def test_reports_that_failed_can_be_asked_for_again(simulator: Simulator, tmp_path: Path) -> None:
    """The very same command goes through once the gateway answers."""
    batch = batch_of(simulator)
    again = ("reports", batch, "--csv", str(tmp_path / "out.csv"))
    simulator.faults.add("GetDeliveryStatus", HttpStatus(503), times=3)
    assert invoke(*again).exit_code == Exit.LATER
    assert invoke(*again).exit_code == 0


def test_reports_show_how_far_it_is(simulator: Simulator, tmp_path: Path) -> None:
    """While rows go into a file a bar shows how many have come."""
    batch = batch_of(simulator, 1_500)
    terminal = Terminal("reports", batch, "--csv", str(tmp_path / "out.csv"))
    assert terminal.end() == 0
    assert "1,500/1,500" in terminal.text


def test_reports_go_on_after_a_page_that_failed(simulator: Simulator) -> None:
    """The rows before it are told, and the page to go on from."""
    batch = batch_of(simulator, 1_200)
    simulator.faults.add("GetDeliveryStatus", Delay(timedelta(0)))  # the first page is well
    simulator.faults.add("GetDeliveryStatus", HttpStatus(503), times=3)
    done = invoke("reports", batch)
    assert done.exit_code == Exit.LATER
    assert len(done.stdout.splitlines()) == 1 + 1_000
    assert "To go on from here: the same command with --from-page 2" in done.stderr
    rest = invoke("reports", batch, "--from-page", "2", "--json")
    assert len(rest.stdout.splitlines()) == 200


def test_an_error_without_a_page_is_told(simulator: Simulator) -> None:
    """A batch id that is none is the command line's fault."""
    done = invoke("reports", "")
    assert (done.exit_code, done.stdout) == (Exit.MEND, "")


def test_rows_that_did_not_come(simulator: Simulator) -> None:
    """Where the gateway counts more than it hands over, that is no success."""
    simulator.faults.add("GetDeliveryStatus", Garbage(b'{"SMS_COUNT": 7, "BID": "b"}'), times=9)
    done = invoke("reports", "b")
    assert done.exit_code == Exit.LATER
    assert "7 rows that the gateway counted did not come: ask later" in done.stderr


def test_mms_reports(simulator: Simulator, tmp_path: Path) -> None:
    """Reports of pictures are asked for at their own place."""
    picture = tmp_path / "p.jpg"
    picture.write_bytes(PICTURES["jpg"])
    invoke("mms", "Hello", mobile(1), "--picture", str(picture), "--subject", "x")
    done = invoke("reports", "--mms", simulator.batches[0].batch_id, "--json")
    assert json.loads(done.stdout)["mobile"] == "+886900000001"


def test_replies(simulator: Simulator, tmp_path: Path) -> None:
    """Answers are told; what could steer a terminal or run in a spreadsheet can't."""
    batch = batch_of(simulator)
    simulator.add_reply(batch, mobile(1), "\x1b[2J好")
    simulator.add_reply(batch, mobile(2), "=1+1")
    done = invoke("replies", batch)
    assert done.exit_code == 0
    assert "\t\\x1b[2J好\t" in done.stdout
    assert "2 replies" in done.stderr
    assert invoke("replies", batch, "--from-page", "2").stderr == "0 replies\n"
    file = tmp_path / "out.csv"
    assert invoke("replies", batch, "--csv", str(file)).exit_code == 0
    assert [row["text"] for row in read_table(file)] == ["\x1b[2J好", "'=1+1"]


def test_one_reply(simulator: Simulator) -> None:
    """One is told as one."""
    batch = batch_of(simulator)
    simulator.add_reply(batch, mobile(1), "好")
    assert invoke("replies", batch).stderr == "1 reply\n"


def test_watching_ends_when_all_are_final(simulator: Simulator) -> None:
    """Each report comes when it is new and when it has changed."""
    batch = batch_of(simulator, 2)
    with start("watch", batch, "--every", "0.1", "--json") as child:
        assert child.stdout is not None
        first = [json.loads(child.stdout.readline()) for _ in range(2)]
        simulator.deliver_all()
        out, err = child.communicate()
    assert {row["code"] for row in first} == {0}
    assert [json.loads(line)["code"] for line in out.splitlines()] == [100, 100]
    assert (child.returncode, err) == (0, "All are final.\n")


def test_watching_may_end_before(simulator: Simulator) -> None:
    """When the time is up it is not done: watch again later."""
    batch = batch_of(simulator)
    simulator.fail(mobile(0), 0)
    done = invoke("watch", batch, "--every", "0.1", "--timeout", "0.5")
    assert done.exit_code == Exit.LATER
    assert "not all are final: watch again later" in done.stderr


def test_watching_is_interrupted_at_once(simulator: Simulator) -> None:
    """What only asks ends with the first Ctrl-C, and says that nothing was changed."""
    batch = batch_of(simulator)
    simulator.fail(mobile(0), 0)
    terminal = Terminal("watch", batch, "--every", "30")
    terminal.expect("+886900000002")
    terminal.interrupt()
    assert terminal.end() == Exit.INTERRUPTED
    assert "interrupted; nothing was changed." in terminal.text


def test_calling_off(simulator: Simulator) -> None:
    """A booked batch is called off, its points come back, and a second try is refused."""
    at = f"{simulator.now + timedelta(days=1):%Y-%m-%d %H:%M}"
    batch = batch_of(simulator, 3, "--at", at)
    done = invoke("cancel", batch)
    assert (done.exit_code, done.stdout) == (0, "3 called off, 3.00 points given back.\n")
    again = invoke("cancel", batch)
    assert again.exit_code == Exit.REFUSED
    assert "Nothing was cancelled." in again.stderr


def test_calling_off_may_be_unknown(simulator: Simulator) -> None:
    """A cancel whose answer was lost may have been done."""
    at = f"{simulator.now + timedelta(days=1):%Y-%m-%d %H:%M}"
    batch = batch_of(simulator, 3, "--at", at)
    simulator.faults.add("EraseBooking", Reset(acts=True))
    assert invoke("cancel", batch).exit_code == Exit.UNKNOWN


def test_calling_off_is_cut_by_the_second_ctrl_c(simulator: Simulator) -> None:
    """A cancel that was cut may have been done."""
    simulator.faults.add("EraseBooking", Delay(timedelta(minutes=5)))
    terminal = Terminal("cancel", "some")
    wait_for(lambda: any(r.operation == "EraseBooking" for r in simulator.requests))
    terminal.interrupt()
    terminal.expect("Stopping")
    terminal.interrupt()
    assert terminal.end() == Exit.UNKNOWN


@pytest.mark.parametrize("mms", [[], ["--mms"]])
@pytest.mark.parametrize("name", ["reports", "watch", "cancel", "replies"])
def test_simulated_batches_have_something_to_show(name: str, mms: list[str]) -> None:
    """Whatever id a newcomer types, a simulated gateway has a batch of that name."""
    if name == "replies" and mms:
        mms = ["--from-page", "1"]
    done = invoke(name, "--simulate", "any", *mms)
    assert done.exit_code == 0
    said = {"reports": "number invalid", "watch": "All are final", "cancel": "3 called off"}
    assert said.get(name, "好") in done.output
    assert "The batch is invented: three people, whatever was sent before." in done.stderr
