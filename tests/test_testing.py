"""The pytest plugin, tried as a user's own test suite would: in a pytest run of its own."""

import pytest

from every8d_async.testing import receipt, reply, report

pytest_plugins = ["pytester"]

SETTINGS = """
[pytest]
asyncio_mode = strict
asyncio_default_fixture_loop_scope = function
filterwarnings = error
"""

BOTH = """
import pytest
from every8d_async import Every8DSession

@pytest.mark.asyncio
async def test_under_pytest_asyncio(every8d_session, every8d_simulator):
    await every8d_session.sms.send("hello", to="0912345678")
    assert [message.mobile for message in every8d_simulator.sent] == ["+886912345678"]

@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
async def test_under_anyio(every8d_session, every8d_simulator):
    await every8d_session.sms.send("hello", to="0912345678")
    assert [message.mobile for message in every8d_simulator.sent] == ["+886912345678"]

@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
async def test_on_sockets(every8d_site, every8d_simulator):
    async with Every8DSession("demo", "demo", site=every8d_site) as session:
        await session.sms.send("hello", to="0912345678")
    assert len(every8d_simulator.sent) == 1
"""

PUBLIC = """
import pytest
from every8d_async import Every8DSession, SessionMisuse

@pytest.mark.asyncio
async def test_public_site(respx_mock=None):
    async with Every8DSession("uid", "password", proxy="http://127.0.0.1:9") as session:
        await session.credit()
"""

OWN_TRANSPORTS = """
import httpx, pytest, respx
from every8d_async import Every8DSession, RetryPolicy, SessionMisuse

asked = []

def answer(request):
    asked.append(request)
    return httpx.Response(200, text="1000.00")

class Reaching(httpx.AsyncHTTPTransport):
    async def handle_async_request(self, request):
        return answer(request)

class Other(httpx.AsyncBaseTransport):
    async def handle_async_request(self, request):
        return answer(request)

async def app(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"1000.00"})

def session(transport, **options):
    return Every8DSession("uid", "password", auth="password", transport=transport, **options)

@pytest.mark.asyncio
@pytest.mark.parametrize("transport", [Reaching(), Other()])
async def test_what_may_reach_out(transport):
    with pytest.raises(SessionMisuse):
        await session(transport).credit()
    assert asked == []

@pytest.mark.asyncio
async def test_what_respx_does_not_mock():
    with respx.mock, pytest.raises(SessionMisuse):
        await session(Other()).credit()
    assert asked == []

@pytest.mark.asyncio
async def test_what_respx_mocks():
    with respx.mock:
        respx.post("https://new.e8d.tw/API21/HTTP/GetCredit.ashx").respond(text="1000.00")
        assert await session(httpx.AsyncHTTPTransport()).credit() == 1000

@pytest.mark.asyncio
@pytest.mark.parametrize("transport", [httpx.MockTransport(answer), httpx.ASGITransport(app)])
async def test_what_reaches_nobody(transport):
    assert await session(transport).credit() == 1000

@pytest.mark.asyncio
async def test_a_double_of_ones_own():
    assert await session(Other(), site="http://localhost").credit() == 1000
"""

MOCKED = """
import pytest, respx
from every8d_async import Every8DSession

@respx.mock
@pytest.mark.asyncio
async def test_mocked_site():
    respx.post("https://new.e8d.tw/API21/HTTP/ConnectionHandler.ashx").respond(
        json={"Result": True, "Msg": "4bc40f5255fa4d89ac4950b394eca0f6"})
    respx.post("https://new.e8d.tw/API21/HTTP/GetCredit.ashx").respond(text="1000.00")
    async with Every8DSession("uid", "password") as session:
        assert await session.credit() == 1000
"""


@pytest.fixture
def project(pytester: pytest.Pytester) -> pytest.Pytester:
    pytester.makefile(".ini", pytest=SETTINGS)
    return pytester


def test_fixtures_work_under_both_plugins(project: pytest.Pytester) -> None:
    """The fixtures are synchronous: pytest-asyncio (strict) and anyio's plugin both take them."""
    project.makepyfile(BOTH)
    project.runpytest_subprocess().assert_outcomes(passed=5)


def test_public_sites_are_refused(project: pytest.Pytester) -> None:
    """A test that is about to call a public site fails before anything leaves."""
    project.makepyfile(PUBLIC)
    done = project.runpytest_subprocess()
    done.assert_outcomes(failed=1)
    done.stdout.fnmatch_lines(["*SessionMisuse: *a test was about to call https://new.e8d.tw*"])


def test_public_sites_can_be_allowed(project: pytest.Pytester) -> None:
    """``every8d_live = true`` lets calls out (here they end at a closed port of a proxy)."""
    project.makefile(".ini", pytest=SETTINGS + "every8d_live = true\n")
    project.makepyfile(PUBLIC)
    done = project.runpytest_subprocess()
    done.assert_outcomes(failed=1)
    done.stdout.fnmatch_lines(["*GatewayUnreachable: *"])


def test_transports_that_may_reach_out_are_refused(project: pytest.Pytester) -> None:
    """A public site is named through httpx's doubles alone, or through what respx mocks."""
    project.makepyfile(OWN_TRANSPORTS)
    project.runpytest_subprocess().assert_outcomes(passed=7)


def test_mocked_sites_are_allowed(project: pytest.Pytester) -> None:
    """Under respx's own mock nothing leaves, so a public site may be named."""
    project.makepyfile(MOCKED)
    project.runpytest_subprocess().assert_outcomes(passed=1)


def test_mocking_httpx_alone_is_refused(project: pytest.Pytester) -> None:
    """What respx does with ``using="httpx"`` misses the session's calls, so they are refused."""
    project.makepyfile(MOCKED.replace("@respx.mock", '@respx.mock(using="httpx")'))
    project.runpytest_subprocess().assert_outcomes(failed=1)


def test_builders_say_only_what_matters() -> None:
    """A builder fills in everything that a test does not care about."""
    assert report("0900000001", 103).mobile == "+886900000001"
    assert report(code=103).status.name == "NUMBER_INVALID"
    assert receipt(0, unsent=3).nothing_sent
    assert receipt(2).cost == 2
    assert reply("好", "0900000001").text == "好"
