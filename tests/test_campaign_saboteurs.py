"""
Saboteurs: each breaks one rule of the journal in a copy of the package, and the tests notice.

A patch that does not apply fails, and so does a trial that an unharmed copy does not pass.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest
from attrs import frozen

ROOT = Path(__file__).parent.parent
_CAMPAIGN = Path("every8d_async/campaign")


@frozen
class Saboteur:
    """What is done to which file, and who must notice."""

    file: str
    patches: tuple[tuple[str, str], ...]
    trial: str


SABOTEURS: Mapping[str, Saboteur] = {
    "nothing is put on the wire before a send": Saboteur(
        "_worker.py",
        (("leaving=self._put_on_wire", "leaving=None"),),
        "test_campaign.py::test_a_cut_send_is_unknown",
    ),
    "what a gone owner had on the wire is planned again": Saboteur(
        "_values.py",
        (("    if batch.state is State.CLAIMED:\n", "    if batch.state:\n"),),
        "test_campaign_crash.py::test_a_kill_while_the_gateway_has_it_leaves_it_unknown",
    ),
    "the epoch does not count": Saboteur(
        "_rows.py",
        (("AND epoch = ?", "AND ? IS NOT NULL"),),
        "test_campaign_journal.py::test_only_who_stands_in_the_row_can_change_it",
    ),
    "the owner does not count": Saboteur(
        "_rows.py",
        (("AND owner = ?", "AND ? IS NOT NULL"),),
        "test_campaign_journal.py::test_only_who_stands_in_the_row_can_change_it",
    ),
    "a lost compare-and-set sends all the same": Saboteur(
        "_worker.py",
        (('            raise ClaimLost("another', '            ClaimLost("another'),),
        "test_campaign.py::test_a_claim_that_was_lost_sends_nothing",
    ),
    "a commit is not synced": Saboteur(
        "_sqlite.py",
        (("PRAGMA synchronous = FULL", "PRAGMA synchronous = NORMAL"),),
        "test_campaign_crash.py::test_on_wire_is_synced_before_the_first_byte_leaves"
        if shutil.which("strace")
        else "test_campaign_journal.py::test_a_commit_is_synced",
    ),
    "what is unknown is planned again": Saboteur(
        "_worker.py",
        (("self._now, state=State.UNKNOWN", "self._now, state=State.PLANNED"),),
        "test_campaign.py::test_an_unknown_batch_is_never_sent_again",
    ),
    "a repeat that failed is planned again": Saboteur(
        "_worker.py",
        (
            (
                "        if self._repeats:\n            # This try",
                "        if 0:\n            # This",
            ),
        ),
        "test_campaign.py::test_a_repeat_that_fails_leaves_the_doubt_as_it_was",
    ),
    "a repeat does not wait for quiet": Saboteur(
        "_reconcile.py",
        (("> timedelta(0):", "> timedelta.max:"),),
        "test_campaign.py::test_a_repeat_waits_for_quiet_since_the_latest_try",
    ),
    "the filter never forgets": Saboteur(
        "_worker.py",
        (("FILTER_MEMORY = timedelta(hours=23)", "FILTER_MEMORY = timedelta(days=999)"),),
        "test_campaign.py::test_after_23_hours_nothing_is_repeated",
    ),
    "a plain text is repeated through the filter": Saboteur(
        "_reconcile.py",
        (('            case "filtered":', '            case "filtered" | "text":'),),
        "test_campaign.py::test_a_plain_text_is_looked_for_and_never_repeated",
    ),
    "keys are forgotten": Saboteur(
        "_rows.py",
        (
            ("    known = _known(db, keys)", "    known: set[bytes] = set(keys[:0])"),
            ("INSERT INTO planned", "INSERT OR REPLACE INTO planned"),
        ),
        "test_campaign.py::test_a_key_planned_twice_is_planned_once",
    ),
    "a live owner is taken for gone": Saboteur(
        "_owners.py",
        (("                return False\n", "                pass\n"),),
        "test_campaign_journal.py::test_what_a_gone_owner_had_is_taken_back",
    ),
    "who comes second lets go for both": Saboteur(
        "_worker.py",
        (("        if self.active[number] < 1:\n", "        if self.active:\n"),),
        "test_campaign.py::test_whoever_looks_while_two_run_a_batch_leaves_it_to_them",
    ),
    "what went out before is believed": Saboteur(
        "_confirm.py",
        (("row.sent_at < begun - _SLACK", "begun is None"),),
        "test_campaign.py::test_what_went_out_before_our_batch_is_another",
    ),
    "another batch's id is believed": Saboteur(
        "_confirm.py",
        (("            return True\n", "            return False\n"),),
        "test_campaign.py::test_a_gateways_batch_is_one_batch_of_ours",
    ),
    "times are looked at as they pass": Saboteur(
        "_sqlite.py",
        (('datetime.fromisoformat(_meta(connection, "began", now.isoformat()))', "now"),),
        "test_campaign.py::test_what_was_planned_is_planned_once_also_when_its_time_has_passed",
    ),
    "a claim is not written": Saboteur(
        "_sqlite.py",
        (("        rows.move(db, batch, taken)\n", ""),),
        "test_campaign_journal.py::test_two_journals_never_claim_the_same",
    ),
}


def copy(place: Path) -> None:
    """Make a copy of what a trial needs."""
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "every8d_async", place / "every8d_async", ignore=ignore)
    shutil.copytree(ROOT / "tests", place / "tests", ignore=ignore)
    shutil.copy(ROOT / "pyproject.toml", place)


def attempt(place: Path, *trials: str) -> subprocess.CompletedProcess[str]:
    """Run tests on a copy, in a process of its own that measures no coverage."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider"]
    environment = {name: value for name, value in os.environ.items() if "COVERAGE" not in name}
    return subprocess.run(
        [*command, *(f"tests/{trial}" for trial in trials)],
        cwd=place,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def sabotage(place: Path, saboteur: Saboteur) -> subprocess.CompletedProcess[str]:
    copy(place)
    file = place / _CAMPAIGN / saboteur.file
    text = file.read_text("utf-8")
    for before, after in saboteur.patches:
        assert text.count(before) == 1, f"the patch does not apply: {before!r}"
        text = text.replace(before, after)
    file.write_text(text, "utf-8")
    return attempt(place, saboteur.trial)


Trials = Mapping[str, "Future[subprocess.CompletedProcess[str]]"]


@pytest.fixture(scope="module")
def trials(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trials]:
    """Begin all trials, two at a time."""
    with ThreadPoolExecutor(2) as pool:
        yield {
            name: pool.submit(sabotage, tmp_path_factory.mktemp("copy"), saboteur)
            for name, saboteur in SABOTEURS.items()
        }


@pytest.mark.parametrize("name", SABOTEURS)
def test_a_saboteur_is_caught(trials: Trials, name: str) -> None:
    """The test that states the rule fails, and for no other reason than that."""
    trial = trials[name].result()
    assert trial.returncode == 1, trial.stdout + trial.stderr
    assert "FAILED" in trial.stdout


def test_an_unharmed_copy_passes_all_trials(tmp_path: Path) -> None:
    copy(tmp_path)
    names = sorted({saboteur.trial for saboteur in SABOTEURS.values()})
    trial = attempt(tmp_path, *names)
    assert trial.returncode == 0, trial.stdout + trial.stderr
