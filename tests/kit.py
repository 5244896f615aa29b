"""What several test modules share: golden bytes, pictures, every endpoint with arguments for it."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx

from every8d_async import (
    Attachment,
    Every8DSession,
    PersonalizedMessage,
    RetryPolicy,
    TemplateRecipient,
)
from every8d_async import _endpoints as endpoints
from every8d_async import _requests as requests
from every8d_async._endpoints import Credentials, Endpoint
from every8d_async._flow import call
from every8d_async._requests import Options, PageQuery
from every8d_async._wire import WireReply

GOLDEN = Path(__file__).parent / "golden"
TOKEN = "4bc40f5255fa4d89ac4950b394eca0f6"
ACCOUNT = Credentials("Test", "XXX")
FIRST, SECOND, THIRD = "+886900000001", "+886900000002", "+886900000003"
ABROAD = "+12025550123"
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)

PICTURES = {
    "jpg": (GOLDEN / "picture.jpg").read_bytes(),
    "png": bytes.fromhex(
        "89504e470d0a1a0a0000000d4948445200000001000000010806000000"
        "1f15c4890000000a49444154789c63000100000500010d0a2db40000000049454e44ae426082"
    ),
    "gif": b"GIF89a\x01\x00\x01\x00\x80\x00\x00\xff\xff\xff\x00\x00\x00,"
    b"\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02D\x01\x00;",
}
PICTURE = Attachment(PICTURES["jpg"], "jpg")

_SMS = Options(subject="", valid_for=None, event_id=None)
_MMS = Options(subject="主旨", valid_for=None, event_id=None, attachment=PICTURE, mms=True)
_OWN = [PersonalizedMessage(FIRST, "a"), PersonalizedMessage(SECOND, "b")]
_FIELDS = [TemplateRecipient(FIRST, ["a"]), TemplateRecipient(SECOND, ["b"])]
_TEXT = requests.text_message("sms.send", "text", [FIRST, SECOND], _SMS, None)
_PAGE = PageQuery("f370a403-df23-4122-a7e6-261563a071cd", 1)
_BATCH = "0adf1233-746b-4f17-85df-5cf24515f480"

# Every endpoint by a readable name, with arguments that it takes.
ENDPOINTS: Mapping[str, tuple[Endpoint[Any, Any], Any]] = {
    "login": (endpoints.LOGIN, ACCOUNT),
    "check_token": (endpoints.CHECK_TOKEN, None),
    "close_token": (endpoints.CLOSE_TOKEN, None),
    "sms.send": (endpoints.SEND_SMS, _TEXT),
    "sms.send_filtered": (endpoints.SEND_FILTERED, _TEXT),
    "sms.send_filtered, dry run": (endpoints.FILTER_DRY_RUN, _TEXT),
    "sms.send_personalized": (
        endpoints.SEND_PERSONALIZED,
        requests.personalized("sms.send_personalized", _OWN, _SMS),
    ),
    "sms.send_template": (
        endpoints.SEND_TEMPLATE,
        requests.template("sms.send_template", "%field1%", _FIELDS, _SMS),
    ),
    "mms.send": (
        endpoints.SEND_MMS,
        requests.text_message("mms.send", "text", [FIRST, SECOND], _MMS, None),
    ),
    "mms.send_personalized": (
        endpoints.SEND_MMS_PERSONALIZED,
        requests.personalized("mms.send_personalized", _OWN, _MMS),
    ),
    "mms.send_template": (
        endpoints.SEND_MMS_TEMPLATE,
        requests.template("mms.send_template", "%field1%", _FIELDS, _MMS),
    ),
    "credit": (endpoints.CREDIT, None),
    **{
        f"{name}, {respformat.name}": (endpoint, _PAGE)
        for name, formats in (
            ("sms.delivery_reports", endpoints.SMS_REPORTS),
            ("mms.delivery_reports", endpoints.MMS_REPORTS),
            ("sms.replies", endpoints.SMS_REPLIES),
        )
        for respformat, endpoint in formats.items()
    },
    "sms.cancel": (endpoints.CANCEL_SMS, _BATCH),
    "mms.cancel": (endpoints.CANCEL_MMS, _BATCH),
}


def golden(name: str) -> bytes:
    """Read a golden reply."""
    return (GOLDEN / "replies" / name).read_bytes()


def settle(name: str, body: bytes, *, delimited: bool = True) -> Any:
    """Make one call with uid and password, without IO, to which this body is the answer."""
    endpoint, args = ENDPOINTS[name]
    flow = call(endpoint, args, ACCOUNT, RetryPolicy(attempts=1), lambda: 0.5)
    next(flow)
    try:
        flow.send(WireReply(200, {}, body, delimited=delimited))
    except StopIteration as done:
        return done.value
    raise AssertionError("the flow asks for more")


def answering(*bodies: bytes) -> httpx.MockTransport:
    """Make a transport that gives out tokens, and these bodies in turn, the last one for ever."""
    return recording(*bodies)[0]


def recording(*bodies: bytes) -> tuple[httpx.MockTransport, list[httpx.Request]]:
    """Make the same, with the list of the requests that reached it."""
    requests: list[httpx.Request] = []
    left = list(bodies)

    async def answer(request: httpx.Request) -> httpx.Response:
        await request.aread()
        requests.append(request)
        if b'"VerifyType":1' in request.content:
            return httpx.Response(200, content=golden("token.json"))
        return httpx.Response(200, content=left.pop(0) if len(left) > 1 else left[0])

    return httpx.MockTransport(answer), requests


def refusing() -> httpx.MockTransport:
    """Make a transport that nothing may reach."""

    def answer(request: httpx.Request) -> httpx.Response:
        raise AssertionError(f"{request.url} was called")

    return httpx.MockTransport(answer)


def session(transport: httpx.AsyncBaseTransport | None, **options: Any) -> Every8DSession:
    """Make a session with the samples' account, which tries everything once."""
    defaults: dict[str, Any] = {"retry": RetryPolicy(attempts=1), "site": "http://localhost"}
    return Every8DSession("Test", "XXX", transport=transport, **(defaults | options))
