"""
The simulator's replies over plain sockets are the golden ones, where what came before is the same.

Requests are the golden requests' bytes, with other values where a sample's reply asks for them.
What is compared is bytes, with one exception each: JSON's indentation, and the line ends inside the
lists of filtered numbers, are the PDF's (see ORIGIN.md) and are left out on the golden side.
"""

from __future__ import annotations

import json
import re
import socket
from contextlib import ExitStack, closing
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest

from every8d_async import TAIPEI
from every8d_async.simulator import Account, Dialect, FirewallPage, Simulator
from tests.kit import FIRST, GOLDEN, SECOND, THIRD, TOKEN, golden

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

BATCH = "c496f706-9b0f-4ff8-9644-9503edbb7064"
EARLIER = ["a496f706-9b0f-4ff8-9644-9503edbb7064", "b496f706-9b0f-4ff8-9644-9503edbb7064"]
PARAM_BATCH = "7eff1d50-8814-4f17-aa61-cb23b97987fa"
REPORTS = "f370a403-df23-4122-a7e6-261563a071cd"
REPLIES = "elec1343-810e-4f78-a291-1060caa18c7d"
NO_REPLIES = "e1ec1343-810e-4f78-a291-1060caa18c7d"
MMS_REPORTS = "119d7d88-3724-4c32-b884-13d4385baca5"
THEN = datetime(2021, 12, 16, 16, 9, 6, tzinfo=TAIPEI)
FOUR = f"{FIRST},{SECOND},0911111111,0922222222"
PATIENCE = 30  # seconds, for what should take none


class Gateway:
    """A simulator with the samples' accounts behind a socket."""

    def __init__(
        self, stack: ExitStack, credit: str, batches: tuple[str, ...], **options: Any
    ) -> None:
        left = list(batches)
        given: dict[str, Any] = {"clock": lambda: THEN} | options
        self.simulator = Simulator(
            accounts=[
                Account(uid="Test", password="XXX", credit=credit),
                Account(uid="Test1234", password="1234Test", credit=credit),
            ],
            new_id=lambda: left.pop(0),
            new_token=lambda: TOKEN,
            **given,
        )
        self._site = urlsplit(stack.enter_context(self.simulator.serve()))

    def says_to(self, name: str, **other: object) -> bytes:
        """Send a golden request, with other values or without (None) some; give the reply."""
        head, _, body = (GOLDEN / "requests" / f"{name}.http").read_bytes().partition(b"\r\n\r\n")
        if b"json" in head:
            plain = json.loads(body) | other
            body = json.dumps({k: v for k, v in plain.items() if v is not None}).encode()
        else:
            fields: dict[str, Any] = dict(parse_qsl(body.decode(), keep_blank_values=True)) | other
            body = urlencode({k: v for k, v in fields.items() if v is not None}).encode()
        return self.says(head, body)

    def says(self, head: bytes, body: bytes) -> bytes:
        """Send a request, its head without a length, and give the body of the reply."""
        length = b"Content-Length: %d\r\nConnection: close" % len(body)
        request = b"\r\n".join([head, b"Host: simulator", length, b"", body])
        assert self._site.hostname is not None
        with closing(
            socket.create_connection((self._site.hostname, self._site.port or 0), PATIENCE)
        ) as conn:
            conn.sendall(request)
            reply = b"".join(iter(lambda: conn.recv(65536), b""))
        return reply.partition(b"\r\n\r\n")[2]

    def log_in(self) -> bytes:
        return self.says_to("token-get")


Open: TypeAlias = "Callable[..., Gateway]"
Scene: TypeAlias = "Callable[[Open], bytes]"


@pytest.fixture
def gateway() -> Generator[Open]:
    """Give what opens a gateway; it is closed with the test."""
    with ExitStack() as stack:

        def make(credit: str = "1000", *batches: str, **options: Any) -> Gateway:
            return Gateway(stack, credit, batches, **options)

        yield make


def token_done(gateway: Open) -> bytes:
    there = gateway()
    there.log_in()
    assert there.says_to("token-check") == there.says_to("token-close")
    there.log_in()
    return there.says_to("token-check")


def sent(credit: str, name: str = "sms-send.token", **other: object) -> Scene:
    def scene(gateway: Open) -> bytes:
        there = gateway(credit, BATCH)
        there.log_in()
        return there.says_to(name, **other)

    return scene


def filtered(name: str) -> Scene:
    def scene(gateway: Open) -> bytes:
        there = gateway("9610044", *EARLIER, BATCH)
        there.log_in()
        for mobile in (FIRST, SECOND):
            there.says_to("sms-filtered.token", DEST=mobile)
        return there.says_to(name, DEST=FOUR)

    return scene


def by_param(name: str, **options: Any) -> Scene:
    def scene(gateway: Open) -> bytes:
        return gateway("999632", PARAM_BATCH, **options).says_to(name)

    return scene


def refused(name: str, **other: object) -> Scene:
    return lambda gateway: gateway().says_to(name, **other)


def reported(name: str, *, names: bool = True, **options: Any) -> Scene:
    """Three reports of S 4-2-6, the last of a number that is wrong."""

    def scene(gateway: Open) -> bytes:
        there = gateway("1000", REPORTS, **options)
        send_three(there, names=names)
        there.simulator.fail(THIRD, 103)
        there.simulator.deliver_all()
        return there.says_to(name)

    return scene


def send_three(there: Gateway, *, names: bool = True) -> None:
    rows = [
        {"Name": f"Test0{number}" if names else "", "Mobile": mobile, "Param": "text"}
        for number, mobile in enumerate((FIRST, SECOND, THIRD), 1)
    ]
    there.says_to("sms-personalized.password", RecipientDataList=rows)


def report_in_xml(gateway: Open) -> bytes:
    then = datetime(2015, 9, 23, 15, 37, 5, tzinfo=TAIPEI)
    there = gateway("1000", REPORTS, clock=lambda: then)
    there.says_to("sms-send.password", DEST=FIRST, ST="")
    there.simulator.deliver_all()
    return there.says_to("sms-reports-xml.password")


def mms_reported(name: str) -> Scene:
    def scene(gateway: Open) -> bytes:
        then = datetime(2021, 5, 11, 14, tzinfo=TAIPEI)
        there = gateway("1000", MMS_REPORTS, clock=lambda: then)
        row = {"Name": "Test01", "Mobile": FIRST, "Param": "text"}
        there.says_to("mms-personalized.password", RecipientDataList=[row])
        there.simulator.deliver_all()
        return there.says_to(name)

    return scene


def replied(name: str) -> Scene:
    def scene(gateway: Open) -> bytes:
        then = datetime(2021, 6, 1, 16, 56, 20, tzinfo=TAIPEI)
        there = gateway("1000", REPLIES, clock=lambda: then)
        send_three(there)
        for number, mobile in enumerate((FIRST, SECOND, THIRD), 1):
            there.simulator.add_reply(REPLIES, mobile, f"回覆簡訊內容 0{number}")
        return there.says_to(name, BID=REPLIES)

    return scene


def cancelled(send: str, cancel: str) -> Scene:
    def scene(gateway: Open) -> bytes:
        there = gateway("1000", BATCH, clock=lambda: datetime(2099, 11, 24, 11, tzinfo=TAIPEI))
        there.says_to(send)
        return there.says_to(cancel, BID=BATCH)

    return scene


def dead_token(gateway: Open) -> bytes:
    there = gateway()
    there.log_in()
    there.simulator.advance(timedelta(hours=8))
    return there.says_to("credit.token")


def firewall(gateway: Open) -> bytes:
    there = gateway()
    there.simulator.faults.add("*", FirewallPage())
    return there.says_to("credit.password")


NUMBER = "+1-202-895-1800"
SCENES: dict[str, list[Scene]] = {
    "token.json": [lambda gateway: gateway().log_in()],
    "token-done.json": [token_done],
    "token-refused.json": [refused("token-check"), refused("token-close")],
    # That of an MMS in the documents as well, but there with the price of an SMS.
    "send.txt": [sent("9610042"), sent("9610042", "sms-send.password")],
    "send-captured-2.txt": [sent("4931", DEST=FIRST)],
    "filtered-none.txt": [sent("9610042", "sms-filtered.token", DEST=f"{FIRST},{SECOND}")],
    "filtered-some.txt": [filtered("sms-filtered.token")],
    "filtered-dry-some.txt": [filtered("sms-filtered-dry.token")],
    "filtered-dry-none.txt": [sent("1000", "sms-filtered-dry.token")],
    "param.json": [by_param("sms-personalized.password"), by_param("sms-template.password")],
    "param-status.json": [by_param("sms-template.password", dialect=Dialect(json_status=True))],
    "param-refused.json": [
        refused("sms-template.password", RecipientDataList=[{"Mobile": FIRST, "Param": "a|b|||",
                                                             "SendTime": "202101011200"}])
    ],
    "credit.txt": [refused("credit.password"), sent("1000", "credit.token")],
    "sms-reports.tab": [reported("sms-reports-tab.password")],
    "sms-reports-captured.tab": [
        reported("sms-reports-tab.password", names=False, dialect=Dialect(tab_columns=5))
    ],
    "sms-reports.json": [reported("sms-reports-json.password")],
    "sms-reports-count-text.json": [
        reported("sms-reports-json.password", dialect=Dialect(count_as_text=True))
    ],
    "sms-reports.xml": [report_in_xml],
    "sms-reports-none.tab": [refused("sms-reports-tab.password")],
    "sms-reports-none.json": [refused("sms-reports-json.password")],
    "replies.tab": [replied("replies-tab.password")],
    "replies.json": [replied("replies-json.password")],
    "replies-none.tab": [refused("replies-tab.password")],
    "replies-none.json": [refused("replies-json.password", BID=NO_REPLIES)],
    "mms-reports.tab": [mms_reported("mms-reports-tab.password")],
    "mms-reports.json": [mms_reported("mms-reports-json.password")],
    "mms-reports-none.tab": [refused("mms-reports-tab.password")],
    "mms-reports-none.json": [refused("mms-reports-json.password")],
    "sms-cancel.txt": [cancelled("sms-send.password", "sms-cancel.password")],
    "mms-cancel.txt": [cancelled("mms-send.password", "mms-cancel.password")],
    "refused.txt": [dead_token, refused("sms-send.token")],
    "query-refused.txt": [refused("credit.password", UID="", PWD=""),
                          refused("sms-reports-json.password", UID=None, PWD=None)],
    "refused-number-missing.txt": [
        refused("sms-send.password", DEST=""),
        lambda gateway: gateway().says(
            b"POST /API21/HTTP/SendSMS.ashx HTTP/1.1\r\nContent-Type: application/json",
            json.dumps({"UID": "Test", "PWD": "XXX", "MSG": "text", "DEST": FIRST}).encode(),
        ),
    ],
    "refused-number.txt": [refused("sms-send.password", DEST=NUMBER),
                           refused("sms-filtered.password", DEST=f"{FIRST},{NUMBER}")],
    "refused-password.txt": [refused("sms-send.password", PWD="YYY")],
    "refused-unknown.txt": [refused("sms-send.password", RETRYTIME="soon"),
                            refused("sms-reports-tab.password", PNO="first")],
    "firewall.html": [firewall],
}  # fmt: skip
# What the simulator has no way to say, and why.
NEVER = {
    "send-misprint.txt": "a misprint",
    "send-captured.txt": "its amounts have one decimal, where the documents have two, or none",
    "sms-reports-tables.xml": "made up by a table; what was captured looks otherwise",
}


def as_sent(file: str) -> bytes:
    """Give a golden reply without what its print put into it."""
    body = golden(file)
    if file.endswith(".json"):
        return json.dumps(json.loads(body), ensure_ascii=False, separators=(",", ":")).encode()
    return re.sub(rb"\s", b"", body) if file.startswith("filtered") else body


@pytest.mark.parametrize(
    ("file", "scene"), [(file, scene) for file, scenes in SCENES.items() for scene in scenes]
)
def test_golden_replies(file: str, scene: Scene, gateway: Open) -> None:
    """The same comes before, so the same bytes come back."""
    assert as_sent(file) == scene(gateway)


def test_no_golden_reply_is_forgotten() -> None:
    """Each golden reply is compared, or it is said why not."""
    files = {path.name for path in (GOLDEN / "replies").iterdir()}
    assert files == SCENES.keys() | NEVER.keys()
