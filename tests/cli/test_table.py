"""Rows out: nothing that a spreadsheet runs, nothing that steers a terminal."""

from datetime import datetime
from pathlib import Path

import pytest

from every8d_async import TAIPEI, mobile
from every8d_async._cli._exits import Exit, Failure
from every8d_async._cli._output import Output, visible
from every8d_async._cli._table import Rows, csv_file, safe_cell

from .kit import read_table


@pytest.mark.parametrize(
    "value",
    [
        *("=1+1", '=HYPERLINK("http://x")', "+1+1", "-1+1", "-", "+", "@SUM(1)", "=", "+886 912"),
        *("\t=1", "\r=1", "\n=1", "\tx", "\rx", " =1+1", "\u3000=1", "\ufeff=1", "\u200b=1"),
        *("＝1+1", "＋1", "－1", "＠a", "+886912345678;x", "+88691234567８", "-1e5", "+1,2"),
    ],
)
def test_what_would_be_a_formula_is_text(value: str) -> None:
    """A reply or a name that begins like a formula gets an apostrophe in front."""
    assert safe_cell(value) == f"'{value}"


@pytest.mark.parametrize(
    "value",
    ["+886912345678", "+12025550123", "-4", "-5.00", "0", "100", "hello", "", "a=b", "好", "1+1"],
)
def test_what_can_do_nothing_stays(value: str) -> None:
    """A plain number can't do anything: a mobile can be used again."""
    assert safe_cell(value) == value


def test_a_mobile_survives_a_spreadsheet() -> None:
    """What a spreadsheet makes of a mobile (a number, without its plus) is still that mobile."""
    cell = safe_cell(mobile("0912345678"))
    assert mobile(cell) == mobile(str(int(cell))) == "+886912345678"


def test_nothing_at_all_is_empty() -> None:
    """What the gateway does not say is an empty cell."""
    assert safe_cell(None) == ""


def test_a_csv_file(tmp_path: Path) -> None:
    """It begins with a BOM, for spreadsheets; all cells are quoted; only its owner can read it."""
    path = tmp_path / "out.csv"
    with csv_file(path, ["mobile", "text"]) as file:
        assert file is not None
        file.row("+886912345678", '=cmd|"/c calc"!A1')
        file.row("+886912345679", "a\nb,c")
        file.flush()
        assert len(read_table(path)) == 2
    assert path.read_bytes().startswith(b'\xef\xbb\xbf"mobile","text"\r\n"+886912345678",')
    assert path.stat().st_mode & 0o777 == 0o600
    assert read_table(path)[0]["text"] == '\'=cmd|"/c calc"!A1'


def test_no_file_is_written_over(tmp_path: Path) -> None:
    """A name that was mistaken for an input must not cost the file."""
    path = tmp_path / "people.csv"
    path.write_text("mine", "utf-8")
    with pytest.raises(Failure, match="is there already") as caught, csv_file(path, ["a"]):
        pass
    assert caught.value.code is Exit.MEND
    assert path.read_text("utf-8") == "mine"


def test_a_file_that_can_t_be_made(tmp_path: Path) -> None:
    """A folder that is not there is told."""
    with (
        pytest.raises(Failure, match="No such file or directory"),
        csv_file(tmp_path / "none" / "out.csv", ["a"]),
    ):
        pass


def fail_after(path: Path, *cells: str) -> None:
    with csv_file(path, ["a"]) as file:
        assert file is not None
        for cell in cells:
            file.row(cell)
        raise RuntimeError


def test_what_fails_before_its_first_row_leaves_no_file(tmp_path: Path) -> None:
    """A file with nothing but a header would only refuse the next try; rows that came are kept."""
    path = tmp_path / "out.csv"
    with pytest.raises(RuntimeError):
        fail_after(path)
    assert not path.exists()
    with pytest.raises(RuntimeError):
        fail_after(path, "1")
    assert read_table(path) == [{"a": "1"}]


def test_a_file_without_rows_stays_where_nothing_failed(tmp_path: Path) -> None:
    """That there were none is a result."""
    path = tmp_path / "out.csv"
    with csv_file(path, ["a"]):
        pass
    assert read_table(path) == []


def test_no_file_was_asked_for() -> None:
    """Without a name nothing is made."""
    with csv_file(None, ["a"]) as file:
        assert file is None


def test_rows_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    """In a pipe columns are parted by TABs, whole, and nothing in them can break a line."""
    rows = Rows(Output(as_json=False), [("mobile", 16), ("received_at", 19), ("text", 0)])
    rows.write("+886912345678", datetime(2026, 1, 2, 3, 4, 5, tzinfo=TAIPEI), "a\tb\nc\x1b[2J")
    rows.write("+886912345679", None, "好")
    assert capsys.readouterr().out == (
        "mobile\treceived at\ttext\n"
        "+886912345678\t2026-01-02 03:04:05\ta\\tb\\nc\\x1b[2J\n"
        "+886912345679\t\t好\n"
    )


def test_rows_on_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a terminal columns are aligned, also where a character takes two places."""
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    rows = Rows(Output(as_json=False), [("name", 6), ("code", 4), ("reference", 0)])
    rows.write("王小明", 100, "r")
    rows.write("Li", 0, "r")
    rows.write("very long", 0, "r")
    assert capsys.readouterr().out == "name   code\n王小明 100\nLi     0\nvery long 0\n"


def test_rows_as_json_lines(capsys: pytest.CaptureFixture[str]) -> None:
    """For programs each row is an object, with its values as they are."""
    rows = Rows(Output(as_json=True), [("name", 6), ("code", 0)])
    rows.write("王\n", 100)
    rows.write(None, None)
    assert (
        capsys.readouterr().out == '{"name": "王\\n", "code": 100}\n{"name": null, "code": null}\n'
    )


@pytest.mark.parametrize("text", ["\x1b[31m", "\x07", "\x9b", "\u202e", "\u2066", "\r", "\x7f"])
def test_what_steers_a_terminal_is_shown(text: str) -> None:
    """Somebody else's text can't colour, clear, turn round or retitle a terminal."""
    assert text not in visible(f"a{text}b")
    assert visible("好 a") == "好 a"
