"""Options: what makes no sense is refused when the simulator is made."""

from __future__ import annotations

import ast
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import every8d_async.simulator
from every8d_async.simulator import Account, Dialect, Simulator

from .kit import ask, log_in


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"clock": lambda: datetime(2026, 1, 1)}, "aware"),  # noqa: DTZ001 - that is the point
        ({"delivery_delay": timedelta(seconds=-1)}, "delivery_delay"),
        ({"token_lifetime": timedelta(0)}, "token_lifetime"),
        ({"lock_after": -1}, "lock_after"),
        ({"cancel_until": timedelta(seconds=-1)}, "cancel_until"),
        ({"reply_page_size": 0}, "reply_page_size"),
        ({"report_page_size": 0}, "report_page_size"),
        (
            {"accounts": [Account(uid="a", password="a"), Account(uid="a", password="b")]},
            "different uids",
        ),
    ],
)
def test_bad_options(options: dict[str, Any], message: str) -> None:
    """A bad option is a ValueError that names it."""
    with pytest.raises(ValueError, match=message):
        Simulator(**options)


@pytest.mark.parametrize(
    "account",
    [
        {"uid": "", "password": "x"},
        {"uid": "x", "password": ""},
        {"uid": "x", "password": "x", "credit": "much"},
        {"uid": "x", "password": "x", "credit": "NaN"},
        {"uid": "x", "password": "x", "overdraft": float("inf")},
    ],
)
def test_bad_account(account: dict[str, Any]) -> None:
    """An account has a name, a password, and a number of points."""
    with pytest.raises(ValueError, match=r"uid|password|finite|Length"):
        Account(**account)


def test_bad_dialect() -> None:
    """TAB reports have five columns or six."""
    with pytest.raises(ValueError, match="tab_columns"):
        Dialect(tab_columns=7)


def test_account_hides_its_password() -> None:
    """A password is not shown."""
    assert "geheim" not in repr(Account(uid="x", password="geheim"))


def test_defaults() -> None:
    """Without options there is a demo account, the system's clock, and random ids and tokens."""
    simulator = Simulator()

    given = log_in(simulator).json["Msg"]
    fields = {"MSG": "x", "DEST": "0912345678"}
    receipt = ask(simulator, "SendSMS.ashx", fields, token=given).text.split(",")

    assert len(given) == 32
    assert [len(part) for part in receipt[4].split("-")] == [8, 4, 4, 4, 12]
    assert simulator.now.tzinfo is not None


def test_no_account_at_all() -> None:
    """A gateway without accounts has no credit to tell."""
    with pytest.raises(KeyError):
        Simulator(accounts=()).credit()


def test_independent_witness() -> None:
    """The simulator imports nothing of the client, so that each bears witness of the other."""
    folder = Path(every8d_async.simulator.__file__).parent
    names = {
        name
        for path in folder.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        for name in _imported(node)
    }

    ours = {name for name in names if name.split(".")[0] == "every8d_async"}

    assert len(ours) > 10
    assert {name for name in ours if not f"{name}.".startswith("every8d_async.simulator.")} == set()


def _imported(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        assert node.level == 0, "relative imports could hide where a name is from"
        return [f"{node.module}.{alias.name}" for alias in node.names]
    return []
