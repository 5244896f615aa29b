"""Access logs: no token, number or text of a push report is left in them."""

import logging
import re
from collections.abc import Iterator

import pytest
from aiohttp.http_exceptions import BadHttpMessage
from aiohttp.web import RequestPayloadError

from every8d_async.webhooks import HideReports
from tests.webhooks.kit import QUERY, TOKEN

URL = f"/reports/{TOKEN}?{QUERY.decode()}"
SECRETS = (TOKEN, "987654321", "secret", "f370a403")


@pytest.fixture(autouse=True)
def _leave_no_filters() -> Iterator[None]:
    yield
    for name in ("uvicorn.access", "aiohttp.access", "aiohttp.server", "mine"):
        logger = logging.getLogger(name)
        for each in list(logger.filters):
            logger.removeFilter(each)


def cleaned(
    name: str, message: str, *args: object, caplog: pytest.LogCaptureFixture, **extra: object
) -> logging.LogRecord:
    with caplog.at_level(logging.INFO, name):
        logging.getLogger(name).info(message, *args, extra=extra)
    (record,) = caplog.records
    for secret in SECRETS:
        assert secret not in caplog.text
        assert secret not in str(vars(record))
    return record


def test_uvicorn(caplog: pytest.LogCaptureFixture) -> None:
    """The server's arguments keep their number and place, which its formatter counts on."""
    HideReports().install()
    args = ("127.0.0.1:54321", "GET", URL, "1.1", 200)
    record = cleaned("uvicorn.access", '%s - "%s %s HTTP/%s" %d', *args, caplog=caplog)
    assert record.args == ("127.0.0.1:54321", "GET", "/reports/***?***", "1.1", 200)
    assert record.getMessage() == '127.0.0.1:54321 - "GET /reports/***?*** HTTP/1.1" 200'


def test_aiohttp(caplog: pytest.LogCaptureFixture) -> None:
    """The finished line, which aiohttp hands over, and its parts once more, are both clean."""
    HideReports().install()
    line = f"GET {URL} HTTP/1.1"
    extra = {"first_request_line": line, "request_header": {"Referer": URL}, "status": 200}
    record = cleaned("aiohttp.access", f'127.0.0.1 "{line}" 200 150', caplog=caplog, **extra)
    assert record.getMessage() == '127.0.0.1 "GET /reports/***?*** HTTP/1.1" 200 150'
    assert vars(record)["first_request_line"] == "GET /reports/***?*** HTTP/1.1"
    assert vars(record)["status"] == 200


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"/reports/{TOKEN}", "/reports/***"),
        (f"/reports/{TOKEN}/", "/reports/***"),
        ("/reports/wrong-or-old", "/reports/***"),
        (f"/prefix/reports/{TOKEN}?x", "/prefix/reports/***?***"),
        ("/reports", "/reports"),
        ("/reports/", "/reports/"),
        ("/reportsfoo/bar", "/reportsfoo/bar"),
        (f"/Reports/{TOKEN}", "/Reports/***"),
        (f"/elsewhere?{QUERY.decode()}", "/elsewhere?***"),
        ("/elsewhere?a=b&rm=+886987654321", "/elsewhere?***"),
        ("/elsewhere?a=886987654321", "/elsewhere?a=88698…321"),
        ("/elsewhere?a=%2B886987654321&b", "/elsewhere?a=%2B88…321&b"),
        ("/batches/94315670-665a-4a8e", "/batches/94315670-665a-4a8e"),
        ("/otp?farm=1", "/otp?farm=1"),
    ],
)
def test_what_is_hidden(text: str, shown: str, caplog: pytest.LogCaptureFixture) -> None:
    """Below the path all, elsewhere a report's query and long numbers; the rest stays."""
    HideReports("/reports/").install("mine")
    record = cleaned("mine", "%(path)s", {"path": text}, caplog=caplog)
    assert record.getMessage() == shown


def test_messages_that_are_no_text(caplog: pytest.LogCaptureFixture) -> None:
    """An object as message, or none of the arguments, is left alone."""
    HideReports().install("mine")
    with caplog.at_level(logging.INFO, "mine"):
        logging.getLogger("mine").info(404)
    assert caplog.messages == ["404"]
    assert HideReports().filter(logging.makeLogRecord({"msg": None, "args": None}))


# --- tracebacks ---


def traceback_of(error: Exception, caplog: pytest.LogCaptureFixture) -> str:
    """Log an error as aiohttp's server does."""
    HideReports().install()
    with caplog.at_level(logging.INFO, "aiohttp.server"):
        try:
            raise error
        except type(error):
            logging.getLogger("aiohttp.server").exception("Error handling request from %s", "::1")
    for secret in SECRETS:
        assert secret not in caplog.text
    return caplog.text


def test_a_traceback_with_a_url(caplog: pytest.LogCaptureFixture) -> None:
    """A traceback stays, but for what it holds of a push report."""
    text = traceback_of(ValueError(f"can't read b'{URL}'"), caplog)
    assert text.endswith("ValueError: can't read b'/reports/***?***\n")
    assert "in traceback_of" in text


def test_a_traceback_without_one(caplog: pytest.LogCaptureFixture) -> None:
    """A clean one is left to the handlers, which may want the error itself."""
    assert "ValueError: no" in traceback_of(ValueError("no"), caplog)
    assert caplog.records[0].exc_info is not None


@pytest.mark.parametrize("is_cause", [False, True])
def test_what_a_parser_refused(is_cause: bool, caplog: pytest.LogCaptureFixture) -> None:
    """Its message holds raw pieces of what came, cut anywhere: only the name of the error stays."""
    error: Exception = BadHttpMessage("Invalid chunk:\n\n  b'zz secret text 987654321'")
    if is_cause:
        outer = RequestPayloadError(str(error))
        outer.__cause__ = error
        error = outer
    name = type(error).__name__
    assert re.search(rf"from ::1\n[\w.]+\.{name}\n$", traceback_of(error, caplog))
