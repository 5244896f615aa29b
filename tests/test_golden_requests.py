"""The exact bytes that go out for the official text's samples, operation by operation."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any

import httpx
import pytest

from every8d_async import (
    TAIPEI,
    Attachment,
    Every8DSession,
    PersonalizedMessage,
    ResponseFormat,
    TemplateRecipient,
)
from every8d_async.simulator import Account, Simulator
from tests import kit
from tests.kit import FIRST, GOLDEN, SECOND, THIRD, TOKEN, golden
from tests.simulator.kit import ask

Call = Callable[[Every8DSession], Awaitable[object]]

REQUESTS = GOLDEN / "requests"
LATER = datetime(2099, 11, 24, 12, tzinfo=TAIPEI)
MUCH_LATER = [
    datetime(2999, 12, 31, 17, 30, tzinfo=TAIPEI),
    datetime(3999, 12, 31, 17, 30, tzinfo=TAIPEI),
]
JPG, JPEG = Attachment(kit.PICTURES["jpg"], "jpg"), Attachment(kit.PICTURES["jpg"], "jpeg")
TEXTS = ["客戶:小明您好、您於 2021/09/30 到期。", "客戶:大明您好、您於 2021/10/30 到期。"]
TEMPLATE = "客戶:%field1%您好、您於%field2%到期。"
REPORTS = "f370a403-df23-4122-a7e6-261563a071cd"
REPLIES = "3fbcc889-574e-4340-a561-5669b0f0e"
MMS_REPORTS = "119d7d88-3724-4c32-b884-13d4385baca5"


def people(mails: str, *, booked: bool = False) -> list[dict[str, Any]]:
    """Give name, mail and time of the samples' two recipients, the first or both with a mail."""
    return [
        {
            "name": f"Test0{number}",
            "email": f"Test0{number}@every8d.com.tw" if str(number) in mails else "",
            "send_at": MUCH_LATER[number - 1] if booked else None,
        }
        for number in (1, 2)
    ]


def own(mails: str = "12", *, booked: bool = False) -> list[PersonalizedMessage]:
    return [
        PersonalizedMessage(mobile, text, **more)
        for mobile, text, more in zip(
            (FIRST, SECOND), TEXTS, people(mails, booked=booked), strict=True
        )
    ]


def fields(dates: list[str], mails: str = "12", *, booked: bool = False) -> list[TemplateRecipient]:
    return [
        TemplateRecipient(mobile, [name, date], **more)
        for mobile, name, date, more in zip(
            (FIRST, SECOND), ("小明", "大明"), dates, people(mails, booked=booked), strict=True
        )
    ]


DATES, LATER_DATES = ["2021/09/30", "2021/10/30"], ["2023/01/31", "2023/02/15"]

# What is called, and the reply that comes; the name is the golden file's.
SENDS: dict[str, tuple[str, Call]] = {
    "sms-send.token": ("send.txt", lambda s: s.sms.send(
        "我是訊息內文", [FIRST, SECOND], subject="我是主旨", event_id="1234")),
    "sms-send.password": ("send.txt", lambda s: s.sms.send(
        "我是訊息內文", [FIRST, SECOND], subject="我是主旨", send_at=LATER)),
    "sms-filtered.token": ("filtered-some.txt", lambda s: s.sms.send_filtered(
        "我是簡訊內文", [FIRST, SECOND, THIRD], subject="我是主旨", event_id="1234")),
    "sms-filtered.password": ("filtered-none.txt", lambda s: s.sms.send_filtered(
        "簡訊內文", [FIRST, SECOND, THIRD], subject="我是主旨", send_at=LATER)),
    "sms-filtered-dry.token": ("filtered-dry-some.txt", lambda s: s.sms.send_filtered(
        "我是簡訊內文", [FIRST, SECOND, THIRD], subject="我是主旨", event_id="1234",
        dry_run=True)),
    "sms-personalized.token": ("param.json", lambda s: s.sms.send_personalized(
        own(), subject="主旨", event_id="1234")),
    "sms-personalized.password": ("param.json", lambda s: s.sms.send_personalized(
        own(booked=True), subject="主旨")),
    "sms-template.token": ("param.json", lambda s: s.sms.send_template(
        TEMPLATE, fields(DATES), subject="主旨", event_id="1234")),
    "sms-template.password": ("param.json", lambda s: s.sms.send_template(
        TEMPLATE, fields(LATER_DATES, booked=True), subject="主旨")),
    "mms-send.token": ("send.txt", lambda s: s.mms.send(
        "簡訊發送內容", [FIRST, SECOND], JPG, subject="簡訊主旨", event_id="1234")),
    "mms-send.password": ("send.txt", lambda s: s.mms.send(
        "簡訊發送內容", [FIRST, SECOND], JPG, subject="簡訊主旨", send_at=LATER)),
    "mms-personalized.token": ("param.json", lambda s: s.mms.send_personalized(
        own(), JPEG, subject="主旨", event_id="1234")),
    "mms-personalized.password": ("param.json", lambda s: s.mms.send_personalized(
        own("2", booked=True), JPEG, subject="主旨")),
    "mms-template.token": ("param.json", lambda s: s.mms.send_template(
        TEMPLATE, fields(DATES, "2"), JPEG, subject="主旨", event_id="1234")),
    "mms-template.password": ("param.json", lambda s: s.mms.send_template(
        TEMPLATE, fields(LATER_DATES, "2", booked=True), JPEG, subject="主旨")),
}  # fmt: skip
JSON, TAB, XML = ResponseFormat.JSON, ResponseFormat.TAB, ResponseFormat.XML
QUERIES: dict[str, tuple[str, Call]] = {
    "credit": ("credit.txt", lambda s: s.credit()),
    "sms-reports-json": ("sms-reports.json", lambda s: s.sms.delivery_reports(
        REPORTS).first_page()),
    "sms-reports-tab": ("sms-reports.tab", lambda s: s.sms.delivery_reports(
        REPORTS, response_format=TAB).first_page()),
    "sms-reports-xml": ("sms-reports.xml", lambda s: s.sms.delivery_reports(
        REPORTS, response_format=XML).first_page()),
    "replies-json": ("replies.json", lambda s: s.sms.replies(
        REPLIES).first_page()),
    "replies-tab": ("replies.tab", lambda s: s.sms.replies(
        REPLIES, response_format=TAB).first_page()),
    "mms-reports-json": ("mms-reports.json", lambda s: s.mms.delivery_reports(
        MMS_REPORTS, response_format=JSON).first_page()),
    "mms-reports-tab": ("mms-reports.tab", lambda s: s.mms.delivery_reports(
        MMS_REPORTS, response_format=TAB).first_page()),
    "mms-reports-xml": ("sms-reports.xml", lambda s: s.mms.delivery_reports(
        MMS_REPORTS, response_format=XML).first_page()),
    "sms-cancel": ("sms-cancel.txt", lambda s: s.sms.cancel(
        "0adf1233-746b-4f17-85df-5cf24515f480")),
    "mms-cancel": ("mms-cancel.txt", lambda s: s.mms.cancel(
        "a3113712-85dd-40fe-b441-e13acafa76f2")),
}  # fmt: skip
CALLS = SENDS | {
    f"{name}.{auth}": query for name, query in QUERIES.items() for auth in ("token", "password")
}


def on_the_wire(request: httpx.Request) -> bytes:
    """Write a request as the golden files have it."""
    lines = [f"{request.method} {request.url.raw_path.decode()} HTTP/1.1"]
    for name in ("Content-Type", "Authorization"):
        lines += [f"{name}: {value}" for value in request.headers.get_list(name)]
    return "\r\n".join([*lines, "", ""]).encode() + request.content


def wanted(name: str) -> bytes:
    return (REQUESTS / f"{name}.http").read_bytes()


@pytest.mark.anyio
@pytest.mark.parametrize("name", CALLS)
async def test_requests(name: str) -> None:
    """The samples' values go out as these bytes, with a token or with uid and password."""
    reply, call = CALLS[name]
    transport, requests = kit.recording(golden(reply))
    async with kit.session(transport, auth=name.rpartition(".")[2]) as session:
        await call(session)
    assert wanted(name) == on_the_wire(requests[-1])
    assert len(requests) == (2 if name.endswith(".token") else 1)


@pytest.mark.anyio
async def test_token_requests() -> None:
    """Getting, checking and closing a token are JSON; HandlerType and VerifyType are numbers."""
    transport, requests = kit.recording(golden("credit.txt"), golden("token-done.json"))
    async with Every8DSession(
        "Test1234", "1234Test", transport=transport, site="http://localhost"
    ) as session:
        await session.credit()
        assert await session.check_token()
        await session.close_token()
    get, _, check, close = requests
    assert wanted("token-get") == on_the_wire(get)
    assert wanted("token-check") == on_the_wire(check)
    assert wanted("token-close") == on_the_wire(close)


@pytest.mark.parametrize("name", CALLS)
def test_the_simulator_understands_them(name: str) -> None:
    """The golden requests are sound to the simulator, which shares no code with the client."""
    simulator = Simulator(
        accounts=[Account(uid="Test", password="XXX")],  # the samples' own
        new_token=lambda: TOKEN,
    )
    ask(simulator, "ConnectionHandler.ashx", json={
        "HandlerType": 3, "VerifyType": 1, "UID": "Test", "PWD": "XXX"})  # fmt: skip
    head, _, body = wanted(name).partition(b"\r\n\r\n")
    path = head.decode().split(" ")[1]
    kind = head.decode().partition("Content-Type: ")[2].split("\r\n")[0]
    answer = ask(
        simulator, path, body=body, headers={"content-type": kind},
        token=TOKEN if name.endswith(".token") else None,
    )  # fmt: skip
    assert answer.status == 200
    if name in SENDS and "dry" not in name:
        texts = [message.text for message in simulator.sent]
        assert len(texts) == (3 if "filtered" in name else 2)
        assert "field" not in "".join(texts)
    elif "cancel" in name:
        assert answer.text == "-3,無此批次"
    else:
        assert not answer.text.startswith("-")


def test_no_golden_request_is_forgotten() -> None:
    """Every file is asked for above, and every operation has its files."""
    files = {path.stem for path in REQUESTS.iterdir()}
    assert files == {*CALLS, "token-get", "token-check", "token-close"}
