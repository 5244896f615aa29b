"""The extra ``speed``: orjson changes the time that JSON takes, and nothing else."""

import json
import subprocess
import sys
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from every8d_async import _codecs as codecs
from every8d_async._endpoints import SEND_PERSONALIZED
from every8d_async._requests import ParamMessage
from every8d_async._wire import BadReply

plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)
ODD = [
    '{"a": NaN}',
    '{"a": 1e400}',
    '{"a": 123456789012345678901234567890}',
    '{"a": "\\ud800"}',
    '{"a": 1, "a": 2}',
    '{"a": 01}',
    '{"a": "\t"}',
    '{"a":' * 2_000,
    '{"a":' + "[" * 2_000 + "]" * 2_000 + "}",
    "{" + '"a": 1,' * 2 + "}",
]

TEXTS = [*ODD, '{"SMS_COUNT": 3, "DATA": [{"MOBILE": "+886900000001"}]}', '{"Result": false}']

# Reads and writes without orjson, as an installation without the extra does.
WITHOUT = """
import sys, json
sys.modules["orjson"] = None
from every8d_async._codecs import read_json
from every8d_async._endpoints import SEND_PERSONALIZED
from every8d_async._requests import ParamMessage
from every8d_async._wire import BadReply
for text in json.load(sys.stdin):
    try:
        print(repr(read_json(text.encode("utf-8", "surrogatepass"))))
    except BadReply as bad:
        print(repr(bad.problems))
row = json.loads(sys.argv[1])
print(SEND_PERSONALIZED.request(ParamMessage(None, (row, row), "主旨", 1440, None)).body)
"""


def read(text: str) -> Any:
    try:
        return codecs.read_json(text.encode("utf-8", "surrogatepass"))
    except BadReply as bad:
        return bad.problems


ROW = ("+886900000001", 'a"\\\n\u2028😀', "名", "", "", "\t|")


@pytest.fixture(scope="module")
def without() -> list[str]:
    """Give what an installation without orjson says."""
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, json.dumps(ROW)],
        input=json.dumps(TEXTS),
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.splitlines()


def test_replies_read_the_same(without: list[str]) -> None:
    """What one reader takes, refuses or makes of a reply, the other does too."""
    expected = [repr(read(text)) for text in TEXTS]
    # A number beyond 64 bits is a float to orjson; either is refused where a number is wanted.
    assert [*without[:2], *without[3:-1]] == [*expected[:2], *expected[3:]]


def test_many_texts_are_written_the_same(without: list[str]) -> None:
    """A request with many texts has the same bytes, whoever wrote them."""
    message = ParamMessage(None, (ROW, ROW), "主旨", 1440, None)
    assert without[-1] == repr(SEND_PERSONALIZED.request(message).body)


@given(st.dictionaries(st.text(), plain, max_size=4))
def test_bodies_are_the_same_bytes(fields: dict[str, Any]) -> None:
    """Both writers give the same bytes for what a request can hold."""
    try:
        ours = json.dumps(fields, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        fast = orjson.dumps(fields)
    except (ValueError, TypeError):
        return  # what no request holds: floats that are none, integers beyond 64 bits, surrogates
    assert json.loads(fast) == json.loads(ours)


@pytest.mark.parametrize("text", ["", "a", "\x00", "\x1f", "\x7f", '"', "\\", "/", "\u2028", "😀"])
def test_texts_are_the_same_bytes(text: str) -> None:
    """Texts are written with the same escapes."""
    ours = json.dumps({"MSG": text}, ensure_ascii=False, separators=(",", ":")).encode()
    assert codecs.json_body({"MSG": text}) == ours
