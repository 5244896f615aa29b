"""CSV in: encodings, columns, and every bad line told by its number."""

import codecs
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from every8d_async import TAIPEI
from every8d_async._cli._exits import Exit, Failure
from every8d_async._cli._output import Output
from every8d_async._cli._sheet import Bad, FieldsRow, MobileRow, Shape, Sheet, TextRow, decode, good
from every8d_async._cli.send import Job, check

BIG5 = "mobile,text\n0912345678,許功蓋的訂單已出貨\n"


def sheet(tmp_path: Path, text: str | bytes, shape: Shape = "text", **options: Any) -> Sheet:
    file = tmp_path / "people.csv"
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    return Sheet(file, shape, **options)


def refusal(tmp_path: Path, text: str | bytes, shape: Shape = "text", **options: Any) -> str:
    with pytest.raises(Failure) as caught:
        list(sheet(tmp_path, text, shape, **options).rows())
    assert caught.value.code is Exit.MEND
    return str(caught.value)


# --- encodings ---


@pytest.mark.parametrize(
    "data",
    [
        BIG5.encode("utf-8"),
        BIG5.encode("utf-8-sig"),
        BIG5.encode("big5"),
        BIG5.encode("cp950"),
        BIG5.replace("\n", "\r\n").encode("utf-8-sig"),
        BIG5.replace("\n", "\r").encode("utf-8"),
    ],
)
def test_encodings_are_found(data: bytes, tmp_path: Path) -> None:
    """UTF-8 with or without BOM and Big5, as Taiwan's spreadsheets write them, are told apart."""
    assert list(sheet(tmp_path, data).rows()) == [
        TextRow("0912345678", "許功蓋的訂單已出貨", line=2)
    ]


def test_an_encoding_can_be_said(tmp_path: Path) -> None:
    """What is neither UTF-8 nor Big5 is read by its name."""
    data = "mobile,text\n0912345678,简体\n".encode("gb18030")
    assert list(sheet(tmp_path, data, encoding="gb18030").rows()) == [
        TextRow("0912345678", "简体", line=2)
    ]


def test_bytes_in_no_encoding_are_told_with_their_line(tmp_path: Path) -> None:
    """The line is where one looks."""
    said = refusal(tmp_path, b"mobile,text\n0912345678,ok\n0912345678,\xff\xff\n")
    assert "people.csv, line 3: it is not in utf-8 nor cp950; say --encoding" in said
    said = refusal(tmp_path, BIG5.encode("cp950"), encoding="UTF-8")
    assert "line 2: it is not in utf-8; say another --encoding" in said


def test_an_unknown_encoding_is_told(tmp_path: Path) -> None:
    """A name that is none is the command line's fault."""
    assert "'klingon' is no encoding" in refusal(tmp_path, BIG5, encoding="klingon")


def test_utf16_is_told() -> None:
    """A spreadsheet's «Unicode text» would otherwise be read as anything."""
    for bom, name in ((codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be")):
        with pytest.raises(Failure, match="UTF-16"):
            decode(bom + BIG5.encode(name), None, Path("p.csv"))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    """It is one sentence."""
    with pytest.raises(Failure, match="No such file") as caught:
        Sheet(tmp_path / "none.csv", "text")
    assert caught.value.code is Exit.MEND


# --- columns ---


@pytest.mark.parametrize(
    ("text", "shape", "said"),
    [
        ("", "text", "the file is empty"),
        ("\n\n", "text", "the file is empty"),
        ("0912345678,hello\n", "text", "there is no column mobile"),
        ("mobile,name\n", "text", "there is no column text"),
        ("mobile,text,refrence\n", "text", "column 'refrence' is not known here"),
        ("mobile,text,text\n", "text", "a column is there twice"),
        ("mobile,text\n", "one text", "column 'text' is not known here"),
        ("mobile,text\n", "template", "a template needs the columns field1"),
        ("mobile,field1,field3\n", "template", "must have no gap"),
        ("mobile,field1,field6\n", "template", "column 'field6' is not known here"),
    ],
)
def test_columns_that_are_wrong(text: str, shape: Shape, said: str, tmp_path: Path) -> None:
    """A column that is missing, misspelled or there twice is told: nothing is passed over."""
    assert said in refusal(tmp_path, text, shape)


def test_columns_in_any_order_and_spelling(tmp_path: Path) -> None:
    """Order, case and blanks of the names don't matter; blank lines neither."""
    text = "\nReference, MOBILE ,Text,name\nr1,0912345678,hello,王\n\n,,,\nr2, 0912345679 ,x,\n"
    assert list(sheet(tmp_path, text).rows()) == [
        TextRow("0912345678", "hello", name="王", reference="r1", line=3),
        TextRow("0912345679", "x", reference="r2", line=6),
    ]


def test_fields_and_one_text(tmp_path: Path) -> None:
    """A template's fields come in order; for one text the mobile is enough."""
    [row] = sheet(tmp_path, "mobile,field2,field1\n0912345678,b,a\n", "template").rows()
    assert row == FieldsRow("0912345678", ("a", "b"), line=2)
    [row] = sheet(tmp_path, "mobile,reference\n0912345678,r\n", "one text").rows()
    assert isinstance(row, MobileRow)
    assert (row, row.mobile, row.reference, row.line) == ("0912345678", "0912345678", "r", 2)


def test_lines_are_counted_through_texts_of_several(tmp_path: Path) -> None:
    """A text may hold line ends; the line told is the one where its row begins."""
    text = 'mobile,text\n0912345678,"a\nb, ""c"""\n0912345679,d\n'
    rows = list(sheet(tmp_path, text).rows())
    assert rows == [
        TextRow("0912345678", 'a\nb, "c"', line=2),
        TextRow("0912345679", "d", line=4),
    ]


def test_a_row_with_too_few_or_many_columns_is_bad(tmp_path: Path) -> None:
    """A comma in a text without quotes would cut it: that is no row to send."""
    text = "mobile,text\n0912345678,hello, world\n0912345678\n"
    assert list(sheet(tmp_path, text).rows()) == [
        Bad(2, "3 columns instead of 2", "0912345678", ""),
        Bad(3, "1 columns instead of 2", "0912345678", ""),
    ]


def test_quotes_that_don_t_close_end_the_file(tmp_path: Path) -> None:
    """From there on nobody can say which line is which."""
    said = refusal(tmp_path, 'mobile,text\n0912345678,"a\n0912345679,b\n')
    assert "line 2: unexpected end of data; from here on it can't be read" in said


# --- what is sent ---


def checked(
    tmp_path: Path, text: str, job: Job
) -> tuple[list[tuple[int, str]], list[int], Decimal]:
    found = sheet(tmp_path, text, job.shape)
    told = check(Output(as_json=False), job, found, Path("p.csv"), skip_bad=True)
    lines = [row.line for row in good(found, told)]
    assert len(lines) == told.count
    return [(bad.line, bad.problem) for bad in told.bad], lines, told.points


def test_every_bad_line_is_found(tmp_path: Path) -> None:
    """The rules are those of the call that sends; all lines are told, not only the first."""
    text = (
        "mobile,text,reference\n0912345678,ok,\n12345,no,\n0912345679,,\n912345678,lost,\n"
        "+12025550123,ok,\n0912345670,a,b,c\n0912345671,bell\x07,\n"
    )
    bad, lines, points = checked(tmp_path, text, Job(None))
    assert bad == [
        (3, "mobile: '12…' is no mobile number"),
        (4, "text: must not be empty"),
        (5, "mobile: '91…678' is no mobile number (a spreadsheet may have taken its first 0)"),
        (7, "4 columns instead of 3"),
        (8, "text: holds a character that can't be sent (U+0007) at position 4"),
    ]
    assert (lines, points) == ([2, 6], Decimal(4))  # a foreign number costs three times


def test_a_field_that_can_t_be_sent(tmp_path: Path) -> None:
    """A template's own rules hold for its lines."""
    text = "mobile,field1\n0912345678,a|b\n0912345679,ok\n"
    bad, lines, _ = checked(tmp_path, text, Job(None, template="%field1%"))
    assert [line for line, _ in bad] == [2]
    assert lines == [3]


@pytest.mark.parametrize(
    ("text", "job", "told"),
    [
        (
            "mobile\n0912345678\n+886912345678\n",
            Job("Hello"),
            (3, "the same mobile as in line 2"),
        ),
        (
            "mobile,reference\n0912345678,a\n0912345678,b\n",
            Job("Hello"),
            (3, "the same mobile as in line 2"),
        ),
        (
            "mobile,text\n0912345678,a\n0912345678,b\n0912345678,a\n",
            Job(None),
            (4, "the same message to the same mobile as in line 2"),
        ),
        (
            "mobile,text,reference\n0912345678,a,r\n0912345679,b,r\n",
            Job(None),
            (3, "its reference is also that of line 2"),
        ),
    ],
)
def test_what_would_be_sent_twice_is_bad(
    text: str, job: Job, told: tuple[int, str], tmp_path: Path
) -> None:
    """A line that is there twice would be sent and billed twice."""
    bad, _, _ = checked(tmp_path, text, job)
    assert bad == [told]


def test_two_orders_of_one_person_go(tmp_path: Path) -> None:
    """The same words about two orders are two messages, where references say so."""
    text = "mobile,text,reference\n0912345678,a,r1\n0912345678,a,r2\n"
    assert checked(tmp_path, text, Job(None))[:2] == ([], [2, 3])


def test_lines_before_are_passed_over(tmp_path: Path) -> None:
    """After an interruption one goes on at a line."""
    text = "mobile,text\n0912345678,a\n0912345679,b\n0912345670,c\n"
    assert [row.line for row in sheet(tmp_path, text, from_line=3).rows()] == [3, 4]


def test_a_time_is_everybodys(tmp_path: Path) -> None:
    """--at holds for each row."""
    at = Job(None, at="2030-01-31 09:00").send_at
    assert at is not None
    assert at.tzinfo is TAIPEI
    [row] = sheet(tmp_path, BIG5, send_at=at).rows()
    assert row == TextRow("0912345678", "許功蓋的訂單已出貨", send_at=at, line=2)
