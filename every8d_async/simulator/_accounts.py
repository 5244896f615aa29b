"""Accounts: credit, tokens, and the lock that too many failed logins bring about."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import define, field

from every8d_async.simulator import _codes
from every8d_async.simulator._call import Call, Refused

if TYPE_CHECKING:
    from datetime import datetime
    from decimal import Decimal

    from every8d_async.simulator._options import Options
    from every8d_async.simulator._values import Account


@define
class AccountState:
    """An account while it is in use."""

    account: Account
    credit: Decimal
    failures: int = 0

    def can_pay(self, cost: Decimal) -> bool:
        """Tell whether a message of this cost still fits."""
        return self.credit - cost >= -self.account.overdraft


@define
class Accounts:
    """Know who may do what: by a token, or by uid and password with each call."""

    options: Options
    logins: int = 0
    failed_logins: int = 0
    _states: dict[str, AccountState] = field(init=False, factory=dict)
    _tokens: dict[str, tuple[AccountState, datetime]] = field(init=False, factory=dict)

    def __attrs_post_init__(self) -> None:
        for account in self.options.accounts:
            self._states[account.uid] = AccountState(account, account.credit)

    def credits(self) -> dict[str, Decimal]:
        """Give the points of every account."""
        return {uid: state.credit for uid, state in self._states.items()}

    def log_in(self, uid: str, password: str, now: datetime) -> str:
        """Give out a token; each attempt counts as a login, also one that is refused."""
        self.logins += 1
        state = self._check_password(uid, password)
        if self.options.one_token_per_account:
            self._tokens = {t: held for t, held in self._tokens.items() if held[0] is not state}
        token = self.options.new_token()
        self._tokens[token] = (state, now)
        return token

    def authenticate(self, call: Call, now: datetime) -> AccountState:
        """Find the account of a call: a token decides where there is one, else uid and password."""
        if call.token is None:
            return self._check_password(call.text("UID"), call.text("PWD"))
        state = self.holder(call.token, now)
        if state is None:
            raise Refused(self.options.dead_token)
        return state

    def holder(self, token: str | None, now: datetime) -> AccountState | None:
        """Give the account of a token that is alive."""
        held = self._tokens.get(token or "")
        if held is None:
            return None
        state, since = held
        return state if now - since < self.options.token_lifetime else None

    def close(self, token: str | None) -> None:
        """End one token."""
        self._tokens.pop(token or "", None)

    def close_all(self) -> None:
        """End every token."""
        self._tokens.clear()

    def _check_password(self, uid: str, password: str) -> AccountState:
        if not uid or not password:
            raise Refused(_codes.NO_CREDENTIALS)
        state = self._states.get(uid)
        if state is None:
            self.failed_logins += 1
            raise Refused(_codes.NO_SUCH_ACCOUNT)
        if password != state.account.password:
            self.failed_logins += 1
            state.failures += 1
        # More than `lock_after` failures lock: that many are told what was wrong.
        if state.failures > self.options.lock_after:
            raise Refused(_codes.ACCOUNT_LOCKED)
        if password != state.account.password:
            raise Refused(_codes.WRONG_PASSWORD)
        state.failures = 0
        return state
