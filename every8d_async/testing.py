"""
Fixtures and builders for the tests of programs that use this package.

Installed as a pytest plugin: `every8d_simulator`, `every8d_session` and `every8d_site` are there by
name. While it is loaded, sessions refuse to call any site but loopback ones, unless requests are
mocked by respx, or the session was given an `httpx.MockTransport` or `httpx.ASGITransport`;
``every8d_live = true`` in pytest's settings allows it. A test double of your own that is another
transport is taken for one that may reach out: give its session ``site="http://localhost"``.
"""

import sys
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from every8d_async import _models as models
from every8d_async._driver import GUARDS
from every8d_async._errors import SessionMisuse
from every8d_async._models import TAIPEI, DeliveryReport, Receipt, Reply
from every8d_async._pool import Transport, in_memory, is_stock, reaches_nobody
from every8d_async._session import Every8DSession
from every8d_async._site import is_loopback

if TYPE_CHECKING:
    from every8d_async.simulator import Simulator

_LIVE = "every8d_live"
_THEN = datetime(2026, 1, 31, 12, 0, tzinfo=TAIPEI)


@pytest.fixture
def every8d_simulator() -> "Simulator":
    """Give a fresh simulator with the account ``demo`` (password ``demo``)."""
    from every8d_async.simulator import Simulator  # noqa: PLC0415 - an extra

    return Simulator()


@pytest.fixture
def every8d_session(every8d_simulator: "Simulator") -> Every8DSession:
    """Give a session with that simulator, in memory: no sockets, nothing to close."""
    transport = in_memory(every8d_simulator)
    return Every8DSession("demo", "demo", site="http://localhost", transport=transport)


@pytest.fixture
def every8d_site(every8d_simulator: "Simulator") -> Iterator[str]:
    """Serve that simulator on a free loopback port, and give its address."""
    with every8d_simulator.serve() as url:
        yield url


def report(
    mobile: str = "+886900000001",
    code: int = 100,
    *,
    reference: str = "1",
    name: str = "",
    sent_at: datetime | None = _THEN,
    cost: Decimal | None = Decimal("1.00"),
    received_at: datetime | None = _THEN,
) -> DeliveryReport:
    """
    Build a delivery report; say only what matters to the test.

    Args:
        mobile: In any spelling.
        code: The status code.
        reference: As in the report.
        name: As in the report.
        sent_at: As in the report.
        cost: Points taken, both at first and finally.
        received_at: As in the report.
    """
    return DeliveryReport(
        reference=reference,
        name=name,
        mobile=models.mobile(mobile),
        sent_at=sent_at,
        cost=cost,
        code=code,
        real_cost=cost,
        received_at=received_at,
    )


def receipt(
    sent: int = 1,
    *,
    unsent: int = 0,
    credit: Decimal = Decimal("1000.00"),
    cost: Decimal | None = None,
    batch_id: str = "00000000-0000-4000-8000-000000000001",
) -> Receipt:
    """
    Build a receipt; say only what matters to the test.

    Args:
        sent: Messages taken for sending.
        unsent: Recipients who got nothing, because the credit ran out.
        credit: Points left afterwards.
        cost: Points taken; one a message if None.
        batch_id: The batch.
    """
    return Receipt(credit, sent, Decimal(sent) if cost is None else cost, unsent, batch_id)


def reply(
    text: str = "OK",
    mobile: str = "+886900000001",
    *,
    name: str = "",
    received_at: datetime | None = _THEN,
) -> Reply:
    """
    Build a reply; say only what matters to the test.

    Args:
        text: What they wrote.
        mobile: In any spelling.
        name: As in the reply.
        received_at: As in the reply.
    """
    return Reply(name, models.mobile(mobile), text, received_at)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let a project say that its tests may call the real gateway."""
    parser.addini(_LIVE, "let Every8DSession call sites other than loopback", type="bool")


def pytest_configure(config: pytest.Config) -> None:
    """Keep tests from sending real messages."""
    if not config.getini(_LIVE):
        GUARDS.append(_refuse_public)


def pytest_unconfigure() -> None:
    """Let sessions call again whom they like."""
    if _refuse_public in GUARDS:
        GUARDS.remove(_refuse_public)


def _refuse_public(site: str, transport: Transport | None) -> None:
    if is_loopback(urlsplit(site).hostname or "") or reaches_nobody(transport):
        return
    if is_stock(transport) and _respx_is_mocking():
        return
    raise SessionMisuse(
        f"a test was about to call {site}, where messages cost money. Nothing was sent. Use the "
        f"simulator or respx; {_LIVE} = true in pytest's settings allows real calls."
    )


def _respx_is_mocking() -> bool:
    respx: Any = sys.modules.get("respx")
    # Its httpx mocker patches AsyncClient, which the session does not use: calls would go out.
    return respx is not None and bool(respx.mocks.HTTPCoreMocker.routers)
