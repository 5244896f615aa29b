"""What the repeat filter remembers: for 24 hours, which number got which text, in which batch."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from attrs import define, field

if TYPE_CHECKING:
    from datetime import datetime

_SPAN = timedelta(hours=24)


@define
class Memory:
    """Remember texts by account, and forget those of a cancelled batch."""

    _known: dict[tuple[str, str], dict[str, tuple[datetime, str]]] = field(init=False, factory=dict)

    def remember(self, account: str, text: str, mobile: str, at: datetime, batch_id: str) -> None:
        """Note that a number gets a text."""
        self._known.setdefault((account, text), {})[mobile] = (at, batch_id)

    def batch_of(self, account: str, text: str, mobile: str, now: datetime) -> str | None:
        """Give the batch in which a number got a text within the last 24 hours."""
        known = self._known.get((account, text), {}).get(mobile)
        return known[1] if known is not None and now - known[0] < _SPAN else None

    def forget(self, account: str, text: str, mobile: str, batch_id: str) -> None:
        """Take back what was noted for one message of a batch, as it was not sent after all."""
        known = self._known.get((account, text), {})
        if mobile in known and known[mobile][1] == batch_id:
            del known[mobile]
