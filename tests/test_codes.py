"""What the gateway's numbers mean: statuses of annex 1, and codes that go with their operation."""

import re
from typing import Any

import pytest

from every8d_async import _endpoints as endpoints
from every8d_async._codes import CANCEL, KNOWN, QUERY, SEND, DeliveryStatus, describe, kind_of
from every8d_async._endpoints import Endpoint
from every8d_async._errors import (
    AccountLocked,
    AuthenticationFailed,
    CancelRefused,
    GatewayRefused,
)
from every8d_async._wire import Refusal
from tests import kit

# Annex 1 of the official text; which of them are final stands in `test_models`.
ANNEX = [
    -10, -8, -5, -4, -3, -2, -1, 0, 100, 101, 102, 103, 104, 105, 106, 300, 301, 303, 500, 700, 999,
]  # fmt: skip

# Codes of a call, each with the operations that it belongs to.
SENDS = [
    "sms.send",
    "sms.send_personalized",
    "sms.send_template",
    "sms.send_filtered",
    "mms.send",
    "mms.send_personalized",
    "mms.send_template",
]
CANCELS = ["sms.cancel", "mms.cancel"]
QUERIES = [
    "login",
    "check_token",
    "close_token",
    "credit",
    "sms.delivery_reports",
    "mms.delivery_reports",
    "sms.replies",
]
CODES: list[tuple[int, list[str]]] = [
    *((code, SENDS) for code in (-24, -27, -28, -41, -290, -303, -304, -305, -306, -314)),
    *((code, CANCELS) for code in (-3, -4, -8)),
    *((code, SENDS + CANCELS + QUERIES) for code in (-99, -100, -101, -300, -999)),
]
EVERYWHERE = SENDS + CANCELS + QUERIES
UNLISTED = ("a code that is not listed", "未列出的代碼")

ENDPOINTS = [endpoint for endpoint, _ in kit.ENDPOINTS.values()]


def is_chinese(text: str) -> bool:
    return re.search("[\u4e00-\u9fff]", text) is not None


@pytest.mark.parametrize("code", [*ANNEX, 107, 888])
def test_statuses(code: int) -> None:
    """Every status of annex 1, and two that others have met, is described in both languages."""
    status = DeliveryStatus(code)
    assert code == status.value
    assert status.description.isascii()
    assert is_chinese(status.description_zh)


def test_every_status_is_described_in_its_own_words() -> None:
    """No two statuses are described alike, in English or in Chinese; UNKNOWN is, too."""
    assert len({status.description for status in DeliveryStatus}) == len(DeliveryStatus)
    assert len({status.description_zh for status in DeliveryStatus}) == len(DeliveryStatus)


@pytest.mark.parametrize("operation", EVERYWHERE)
@pytest.mark.parametrize(("code", "operations"), CODES)
def test_a_code_means_something_only_with_its_operation(
    code: int, operations: list[str], operation: str
) -> None:
    """-3 ends a cancel, but says nothing on a send; -99 and the login's codes are everybody's."""
    english, chinese = describe(operation, code)
    if operation in operations:
        assert english.isascii()
        assert is_chinese(chinese)
        assert (english, chinese) != UNLISTED
    else:
        assert (english, chinese) == UNLISTED


@pytest.mark.parametrize(("code", "operations"), CODES)
def test_an_error_describes_itself(code: int, operations: list[str]) -> None:
    """A refusal's error says what its code means for its operation, in both languages."""
    error = GatewayRefused(code, "訊息", operation=operations[0])
    assert describe(operations[0], code) == (error.description, error.description_zh)
    assert f"{code} 訊息 ({error.description})" in str(error)


def test_codes_are_described_each_in_its_own_words() -> None:
    """No two codes that one operation may get are described alike."""
    for operation in EVERYWHERE:
        codes = [code for code, operations in CODES if operation in operations]
        assert len({describe(operation, code)[0] for code in codes}) == len(codes)
        assert len({describe(operation, code)[1] for code in codes}) == len(codes)


@pytest.mark.parametrize("operation", ["sms.send", "sms.cancel", "credit"])
@pytest.mark.parametrize(
    ("code", "words"),
    [
        (404, ("HTTP status 404", "HTTP 狀態 404")),
        (0, UNLISTED),
        (-7, UNLISTED),
        (-123456, UNLISTED),
    ],
)
def test_codes_of_nobody(operation: str, code: int, words: tuple[str, str]) -> None:
    """A positive code is an HTTP status, and an unknown one is called so."""
    assert words == describe(operation, code)


def test_kinds_of_operations() -> None:
    """What an operation is called says whose codes it gets."""
    kinds = {SEND: SENDS, CANCEL: CANCELS, QUERY: [*QUERIES, "sms.estimate", ""]}
    for kind, operations in kinds.items():
        assert {kind} == {kind_of(operation) for operation in operations}


def test_every_endpoint_stands_in_the_tables_here() -> None:
    """No operation goes without codes."""
    found: list[Any] = [value for value in vars(endpoints).values() if isinstance(value, Endpoint)]
    for formats in (endpoints.SMS_REPORTS, endpoints.MMS_REPORTS, endpoints.SMS_REPLIES):
        found += formats.values()
    made = {endpoint.operation for endpoint in found}
    assert made == {endpoint.operation for endpoint in ENDPOINTS} == set(EVERYWHERE)


@pytest.mark.parametrize(
    ("code", "kinds"),
    [
        (-999, {"login": AccountLocked, "": AccountLocked}),
        (-100, {"login": AuthenticationFailed, "": AuthenticationFailed}),
        (-101, {"login": AuthenticationFailed, "": AuthenticationFailed}),
        (-300, {"login": AuthenticationFailed, "": AuthenticationFailed}),
        (-99, {"login": AuthenticationFailed, "": GatewayRefused}),
        (-3, {"login": AuthenticationFailed, "cancel": CancelRefused, "": GatewayRefused}),
        (-4, {"login": AuthenticationFailed, "cancel": CancelRefused, "": GatewayRefused}),
        (-8, {"login": AuthenticationFailed, "cancel": CancelRefused, "": GatewayRefused}),
        (-27, {"login": AuthenticationFailed, "": GatewayRefused}),
        (0, {"login": AuthenticationFailed, "": GatewayRefused}),
    ],
)
def test_the_error_goes_by_code_and_operation(
    code: int, kinds: dict[str, type[GatewayRefused]]
) -> None:
    """A refused login is one whatever its code; -3, -4 and -8 are a cancel's own."""
    for endpoint in ENDPOINTS:
        name = endpoint.operation.rpartition(".")[2]
        error = endpoint.refusal(Refusal(code, "訊息"), endpoint.operation)
        assert kinds.get(name, kinds[""]) is type(error), endpoint.operation
        assert (code, "訊息", endpoint.operation) == (error.code, error.message, error.operation)


@pytest.mark.parametrize(("code", "retryable"), [(-3, False), (-4, False), (-8, True)])
def test_only_a_busy_batch_is_worth_another_try(code: int, *, retryable: bool) -> None:
    """-8 alone says that a cancel may work later."""
    assert retryable is CancelRefused(code, "訊息", operation="sms.cancel").retryable


def test_what_no_dead_token_can_have_caused() -> None:
    """An operation's own codes and -999 are its answers; any other may be a dead token's."""
    for endpoint in ENDPOINTS:
        own = {code for code, where in CODES if endpoint.operation in where and code not in SHARED}
        assert endpoint.codes == own | {-999}


SHARED = {-99, -100, -101, -300, -999}


def test_the_tables_are_the_package_s_own() -> None:
    """The package knows no code that is not in the tables here."""
    known = {code for codes in KNOWN.values() for code in codes}
    assert known == {code for code, _ in CODES} - SHARED
