"""All that the gateway remembers, and the time it thinks it is."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from attrs import define, field

from every8d_async.simulator._accounts import Accounts
from every8d_async.simulator._ledger import Ledger
from every8d_async.simulator._memory import Memory
from every8d_async.simulator._values import TAIPEI

if TYPE_CHECKING:
    from every8d_async.simulator._options import Options


@define
class State:
    """Hold what operations work on."""

    options: Options
    accounts: Accounts = field(init=False)
    ledger: Ledger = field(init=False)
    memory: Memory = field(init=False, factory=Memory)
    ahead: timedelta = timedelta(0)

    def __attrs_post_init__(self) -> None:
        self.accounts = Accounts(self.options)
        self.ledger = Ledger(self.options.delivery_delay)

    def now(self) -> datetime:
        """Tell the time in Taipei, moved by what the clock was advanced."""
        return self.options.clock().astimezone(TAIPEI) + self.ahead
