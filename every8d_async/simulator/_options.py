"""The settings of a simulator, checked once."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from attrs import Attribute, field, frozen, validators

from every8d_async.simulator._codes import UNKNOWN
from every8d_async.simulator._values import DIALECT, Account, Dialect, Refusal

if TYPE_CHECKING:
    from collections.abc import Callable

_ZERO = timedelta(0)


def system_clock() -> datetime:
    """Tell the time."""
    return datetime.now(UTC)


def new_id() -> str:
    """Make up a batch id of 36 characters."""
    return str(uuid4())


def new_token() -> str:
    """Make up a token of 32 hexadecimal digits."""
    return uuid4().hex


def _distinct(_options: Any, _attribute: Attribute[Any], accounts: tuple[Account, ...]) -> None:
    if len({account.uid for account in accounts}) < len(accounts):
        raise ValueError("accounts must have different uids")


def _aware(_options: Any, _attribute: Attribute[Any], clock: Callable[[], datetime]) -> None:
    if clock().utcoffset() is None:
        raise ValueError("clock must return aware datetimes")


def _prefix(value: str) -> str:
    stripped = value.strip("/")
    return f"/{stripped}" if stripped else ""


@frozen(kw_only=True)
class Options:
    """Hold what the caller chose; `Simulator` says what each one means."""

    accounts: tuple[Account, ...] = field(validator=_distinct)
    clock: Callable[[], datetime] = field(validator=_aware)
    new_id: Callable[[], str]
    new_token: Callable[[], str]
    rng: Callable[[], float] = random.random
    delivery_delay: timedelta = field(validator=validators.ge(_ZERO))
    token_lifetime: timedelta = field(validator=validators.gt(_ZERO))
    one_token_per_account: bool = False
    cancel_until: timedelta = field(default=_ZERO, validator=validators.ge(_ZERO))
    lock_after: int = field(default=10, validator=validators.ge(0))
    dead_token: Refusal = UNKNOWN
    filter_sees_plain_sends: bool = True
    reply_page_size: int = field(default=1000, validator=validators.ge(1))
    report_page_size: int = field(default=1000, validator=validators.ge(1))
    prefix: str = field(default="", converter=_prefix)
    dialect: Dialect = DIALECT
    control: bool = False
