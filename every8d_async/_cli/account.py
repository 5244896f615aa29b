"""What is asked about the account: its credit, its token."""

from every8d_async import Every8DSession, FileTokenStore, StoredRefusal, StoredToken
from every8d_async._cli._exits import Exit
from every8d_async._cli._gateway import gateway
from every8d_async._cli._options import AccountFile, Json, Simulate
from every8d_async._cli._output import points, telling


def credit(simulate: Simulate = False, account: AccountFile = None, as_json: Json = False) -> None:
    """Tell how many points are left."""

    async def tell(session: Every8DSession) -> None:
        left = await session.credit()
        out.result({"credit": left}, f"{points(left)}")

    with (
        telling(as_json=as_json) as out,
        gateway(out, simulate=simulate, account=account) as way,
    ):
        way.ask(tell)


class _LoginAfresh(FileTokenStore):
    """Lets no kept token vouch for a password, nor a wrong password end a kept token."""

    async def load(self, key: str) -> StoredToken | StoredRefusal | None:
        kept = await super().load(key)
        return None if isinstance(kept, StoredToken) else kept

    async def save(self, key: str, token: StoredToken | StoredRefusal) -> None:
        if isinstance(token, StoredToken) or not isinstance(await super().load(key), StoredToken):
            await super().save(key, token)


def check_token(
    simulate: Simulate = False, account: AccountFile = None, as_json: Json = False
) -> None:
    """
    Test the login: log in afresh, and ask whether the gateway honours the token.

    A refused login is remembered, and this command alone tries it again at once. Each try with a
    wrong password is one more failed login, and more than ten lock the account.
    """

    async def check(session: Every8DSession) -> None:
        session.forget_refusal()
        left = await session.credit()  # logs in
        valid = await session.check_token()
        words = "the token is good" if valid else "the gateway does not honour the token"
        out.result({"valid": valid, "credit": left}, f"{words}; {points(left)} left")
        if not valid:
            out.end(Exit.ACCESS)

    with (
        telling(as_json=as_json) as out,
        gateway(out, simulate=simulate, account=account, store=_LoginAfresh) as way,
    ):
        way.ask(check)
