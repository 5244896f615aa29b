"""One token for all callers, refused logins remembered, and what a refusal says of a token."""

import asyncio
import contextlib
import logging
import math
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint

from every8d_async._errors import (
    AccountLocked,
    AuthenticationFailed,
    Every8DError,
    GatewayUnavailable,
    GatewayUnreachable,
    SessionMisuse,
)
from every8d_async._stores import MemoryTokenStore, StoredRefusal, StoredToken, TokenStore
from every8d_async._tokens import (
    LoginMemory,
    PasswordGate,
    TokenKeeper,
)
from every8d_async._wire import Verdict

pytestmark = pytest.mark.anyio

LIFETIME = 28800.0
KEY = "https://new.e8d.tw demo"
WRONG = AuthenticationFailed(-99, "發生例外錯誤", operation="login")
OUTAGE = GatewayUnavailable("HTTP 503", operation="login")

Outcome = str | bool | BaseException


class Clock:
    """A clock that stands still until it is set."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


class Gateway:
    """A gateway for a keeper: it counts, and ends logins and checks as told."""

    def __init__(self) -> None:
        self.logins = 0
        self.checked: list[str] = []
        self.dead: set[str] = set()
        self.open = anyio.Event()  # logins and checks end only while it is set
        self.open.set()
        self.next_logins: list[Outcome] = []
        self.next_checks: list[Outcome] = []

    def shut(self) -> None:
        self.open = anyio.Event()

    async def login(self) -> str:
        self.logins += 1
        number = self.logins
        outcome = self.next_logins.pop(0) if self.next_logins else f"token-{number}"
        await self.open.wait()
        if isinstance(outcome, BaseException):
            raise outcome
        return str(outcome)

    async def check(self, token: str) -> bool:
        self.checked.append(token)
        outcome = self.next_checks.pop(0) if self.next_checks else token not in self.dead
        await self.open.wait()
        if isinstance(outcome, BaseException):
            raise outcome
        return bool(outcome)


class World:
    """A keeper with all that is handed to it."""

    def __init__(self, store: TokenStore | None = None, clock: Clock | None = None) -> None:
        self.gateway = Gateway()
        self.clock = clock or Clock()
        self.store = store or MemoryTokenStore()
        self.slept: list[float] = []
        self.keeper = self.another()

    def another(self, gateway: Gateway | None = None) -> TokenKeeper:
        gateway = gateway or self.gateway
        return TokenKeeper(
            login=gateway.login,
            check=gateway.check,
            lifetime=LIFETIME,
            store=self.store,
            key=KEY,
            clock=self.clock,
            random=lambda: 0.5,
            sleep=self.sleep,
        )

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


async def settle() -> None:
    """Let all that can happen happen."""
    await anyio.wait_all_tasks_blocked()


async def outcomes(calls: int, call: Callable[[], Awaitable[Any]]) -> list[Any]:
    """Make calls at once, and give what each one ended with."""
    ends: list[Any] = []

    async def one() -> None:
        try:
            ends.append(await call())
        except Every8DError as error:
            ends.append(error)

    async with anyio.create_task_group() as group:
        for _ in range(calls):
            group.start_soon(one)
    return ends


# --- one login ---


async def test_500_cold_calls_make_one_login() -> None:
    """However many callers need a token at once, one login is made."""
    world = World()
    assert await outcomes(500, world.keeper.token) == ["token-1"] * 500
    assert world.gateway.logins == 1
    assert world.keeper.current == "token-1"


async def test_a_failed_login_is_shared() -> None:
    """All who wait for a login get its failure, each a copy; the next call tries anew."""
    world = World()
    world.gateway.next_logins = [OUTAGE]
    ends = await outcomes(100, world.keeper.token)
    assert world.gateway.logins == 1
    assert len({id(error) for error in ends}) == 100
    assert {type(error) for error in ends} == {GatewayUnavailable}
    assert all(error.__cause__ is error.__context__ is None for error in ends)
    assert await world.keeper.token() == "token-2"


async def test_short_deadlines_do_not_starve_a_login() -> None:
    """Callers that all give up before a slow login ends don't keep it from ending."""
    world = World()
    world.gateway.shut()

    async def brief() -> None:
        with anyio.move_on_after(0.001):
            await world.keeper.token()

    async with anyio.create_task_group() as group:
        for _ in range(200):
            group.start_soon(brief)
    before = world.keeper.current
    world.gateway.open.set()
    await settle()
    assert (before, world.keeper.current) == (None, "token-1")
    assert world.gateway.logins == 1


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_native_cancel_does_not_end_a_login(anyio_backend: str) -> None:
    """The task that began a login is cancelled natively, twice: the others are served."""
    world = World()
    world.gateway.shut()
    first = asyncio.create_task(world.keeper.token())
    await settle()
    others = [asyncio.create_task(world.keeper.token()) for _ in range(3)]
    first.cancel()
    await asyncio.sleep(0)
    first.cancel()
    await settle()
    assert first.cancelled()
    world.gateway.open.set()
    assert await asyncio.gather(*others) == ["token-1"] * 3
    assert world.gateway.logins == 1


# --- renewal ---


async def test_a_renewal_starts_ahead_and_nobody_waits() -> None:
    """From 90 % of its life on, a token is renewed while the old one serves on."""
    world = World()
    await world.keeper.token()
    world.clock.now += LIFETIME * 0.9 - 1
    assert await world.keeper.token() == "token-1"
    await settle()
    assert world.gateway.logins == 1

    world.clock.now += 1
    world.gateway.shut()
    assert await outcomes(50, world.keeper.token) == ["token-1"] * 50
    await settle()
    assert world.gateway.logins == 2
    world.gateway.open.set()
    await settle()
    assert await world.keeper.token() == "token-2"
    assert world.gateway.logins == 2


@pytest.mark.parametrize(("random", "at"), [(0.0, 0.89), (1.0, 0.91)])
async def test_renewals_are_jittered(random: float, at: float) -> None:
    """Workers that logged in together don't renew together: 1 % of the life to either side."""
    world = World()
    world.keeper._random = lambda: random
    await world.keeper.token()
    begun = world.clock.now
    world.clock.now = begun + LIFETIME * at - 1
    await world.keeper.token()
    await settle()
    assert world.gateway.logins == 1
    world.clock.now = begun + LIFETIME * at + 1
    await world.keeper.token()
    await settle()
    assert world.gateway.logins == 2


@pytest.mark.parametrize("failure", [OUTAGE, WRONG, ValueError("a bug of the store's")])
async def test_a_failed_renewal_disturbs_nobody(
    failure: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    """While the old token lives a failed renewal is only logged, and tried again a minute later."""
    world = World()
    await world.keeper.token()
    world.clock.now += LIFETIME * 0.95
    world.gateway.next_logins = [failure]
    with caplog.at_level(logging.WARNING):
        assert await outcomes(10, world.keeper.token) == ["token-1"] * 10
        await settle()
    assert [f"login failed: {type(failure).__name__}"] == caplog.messages

    world.clock.now += 59
    assert await outcomes(10, world.keeper.token) == ["token-1"] * 10
    await settle()
    assert world.gateway.logins == 2
    world.clock.now += 1
    assert await world.keeper.token() == "token-1"
    await settle()
    assert world.gateway.logins == 3
    assert await world.keeper.token() == "token-3"


async def test_a_refused_renewal_is_not_repeated_while_it_is_remembered() -> None:
    """A renewal refused for a quarter of an hour asks the store each minute, not the gateway."""
    world = World()
    await world.keeper.token()
    world.clock.now += LIFETIME * 0.9
    world.gateway.next_logins = [AuthenticationFailed(-101, "密碼錯誤", operation="login")]
    for _ in range(14):
        assert await world.keeper.token() == "token-1"
        await settle()
        world.clock.now += 61
    assert world.gateway.logins == 2
    world.clock.now += 61
    await world.keeper.token()
    await settle()
    assert world.gateway.logins == 3


class Away(MemoryTokenStore):
    """Keeps nothing, as a lenient store does while the one behind it is away."""

    async def save(self, key: str, token: StoredToken | StoredRefusal) -> None:
        """Forget it."""


async def test_a_refused_renewal_is_remembered_without_a_store() -> None:
    """A store that is away is no reason to repeat a refused login, or the account is locked."""
    world = World(Away())
    await world.keeper.token()
    world.clock.now += LIFETIME * 0.92
    world.gateway.next_logins = [AuthenticationFailed(-101, "密碼錯誤", operation="login")] * 99
    for minute in range(14):
        await world.keeper.token()
        await settle()
        assert world.gateway.logins == 2, minute
        world.clock.now += 61


async def test_at_its_end_a_renewal_is_mandatory() -> None:
    """A token that has ended is given to nobody: callers wait for the renewal under way."""
    world = World()
    await world.keeper.token()
    world.clock.now += LIFETIME - 1
    world.gateway.shut()
    assert await world.keeper.token() == "token-1"
    world.clock.now += 1
    assert world.keeper.current is None
    ends: list[str] = []

    async def wait() -> None:
        ends.append(await world.keeper.token())

    async with anyio.create_task_group() as group:
        for _ in range(5):
            group.start_soon(wait)
        await settle()
        assert not ends
        world.gateway.open.set()
    assert ends == ["token-2"] * 5
    assert world.gateway.logins == 2


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_login_may_end_before_it_is_known_as_begun(anyio_backend: str) -> None:
    """With eager tasks (asyncio, 3.12) a login can be over at once: it is not joined later on."""

    class Unlocked(MemoryTokenStore):
        @asynccontextmanager
        async def lock(self, key: str) -> AsyncGenerator[None]:
            yield

    class Done(asyncio.Future[None]):
        def set_name(self, name: object) -> None:
            """Take a name, as tasks do."""

    def eager(loop: asyncio.AbstractEventLoop, coro: Any, **_: Any) -> Any:
        with contextlib.suppress(StopIteration):
            coro.send(None)
            raise AssertionError("it waits for something")
        return Done(loop=loop)

    world = World(Unlocked())
    logins = iter(["token-1", "token-2"])

    async def log_in() -> str:
        return next(logins)

    world.keeper._log_in = log_in
    asyncio.get_running_loop().set_task_factory(eager)
    try:
        assert await world.keeper.token() == "token-1"
        world.clock.now += LIFETIME
        assert await world.keeper.token() == "token-2"
    finally:
        asyncio.get_running_loop().set_task_factory(None)


# --- refused logins ---


def refusals(clock: Clock, memory: LoginMemory, code: int, times: int) -> list[float]:
    """Give for how long each refusal in a row stands."""
    pauses: list[float] = []
    for _ in range(times):
        refusal = memory.note(AuthenticationFailed(code, "no", operation="login"))
        pauses.append(refusal.until - clock.now)
        clock.now = min(refusal.until, clock.now + 1e9)
    return pauses


@pytest.mark.parametrize(
    ("code", "pauses"),
    [
        (-99, [60, 120, 240, 480, 960, 1920, 3600, 3600]),
        (-2, [60, 120]),
        (-100, [900, 900, 900]),
        (-101, [900, 900]),
        (-300, [900, 900]),
        (-999, [math.inf, math.inf]),
    ],
)
def test_how_long_a_refusal_stands(code: int, pauses: list[float]) -> None:
    """A minute doubling to an hour for -99, 15 minutes for what is clear, for ever when locked."""
    clock = Clock()
    assert refusals(clock, LoginMemory(clock), code, len(pauses)) == pauses


def test_a_success_starts_the_count_anew() -> None:
    """After a good login the next refusal is the first of its row."""
    clock = Clock()
    memory = LoginMemory(clock)
    refusals(clock, memory, -99, 5)
    memory.clear()
    assert refusals(clock, memory, -99, 2) == [60, 120]


async def test_a_refused_login_is_answered_here() -> None:
    """100 callers and 100 more: the gateway sees one login until the refusal has aged."""
    world = World()
    world.gateway.next_logins = [WRONG] * 2
    ends = await outcomes(100, world.keeper.token) + await outcomes(100, world.keeper.token)
    assert {(type(error), error.code, error.message) for error in ends} == {
        (AuthenticationFailed, -99, "發生例外錯誤")
    }
    assert world.gateway.logins == 1
    world.clock.now += 59
    await outcomes(1, world.keeper.token)
    assert world.gateway.logins == 1
    world.clock.now += 1
    await outcomes(10, world.keeper.token)
    assert world.gateway.logins == 2
    world.clock.now += 119
    await outcomes(10, world.keeper.token)
    assert world.gateway.logins == 2
    world.clock.now += 1
    assert await world.keeper.token() == "token-3"


async def test_a_locked_account_stays_locked() -> None:
    """-999 is believed for ever, and comes as `AccountLocked` each time."""
    world = World()
    world.gateway.next_logins = [AccountLocked(-999, "鎖定", operation="login")]
    for _ in range(3):
        with pytest.raises(AccountLocked):
            await world.keeper.token()
        world.clock.now += 1e9
    assert world.gateway.logins == 1


async def test_forgiving_lets_the_next_call_log_in() -> None:
    """`forgive` ends what stands now; a new refusal stands again."""
    world = World()
    world.gateway.next_logins = [WRONG, WRONG]
    await outcomes(2, world.keeper.token)
    world.keeper.forgive()
    await outcomes(2, world.keeper.token)
    assert world.gateway.logins == 2
    await outcomes(2, world.keeper.token)
    assert world.gateway.logins == 2
    world.keeper.forgive()
    assert await world.keeper.token() == "token-3"


async def test_a_refusal_stands_after_the_clock_was_set_back() -> None:
    """Somebody forgave, then the clock went back: a refusal met now is remembered all the same."""
    world = World()
    world.gateway.next_logins = [WRONG, WRONG]
    world.keeper.forgive()
    world.clock.now -= 3600
    await outcomes(5, world.keeper.token)
    await outcomes(5, world.keeper.token)
    assert world.gateway.logins == 1


async def test_an_outage_is_not_remembered() -> None:
    """A login that failed for the network's sake is tried again by the next call."""
    world = World()
    world.gateway.next_logins = [OUTAGE, OUTAGE]
    await outcomes(10, world.keeper.token)
    await outcomes(10, world.keeper.token)
    assert world.gateway.logins == 2


# --- the store ---


async def test_two_keepers_on_one_store_make_one_login() -> None:
    """Who shares a store shares the token, also when both need one at the same time."""
    world = World()
    other = world.another()
    ends = await outcomes(2, world.keeper.token) + await outcomes(2, other.token)
    assert ends == ["token-1"] * 4
    cold = World()
    twin = cold.another()
    async with anyio.create_task_group() as group:
        group.start_soon(cold.keeper.token)
        group.start_soon(twin.token)
    assert cold.gateway.logins == 1


async def test_a_renewal_is_shared_through_the_store() -> None:
    """The second keeper to renew takes what the first one got."""
    world = World()
    other = world.another()
    await world.keeper.token()
    await other.token()
    world.clock.now += LIFETIME * 0.9
    await world.keeper.token()
    await other.token()
    await settle()
    assert [await world.keeper.token(), await other.token()] == ["token-2", "token-2"]
    assert world.gateway.logins == 2


async def test_an_aged_token_in_the_store_is_left() -> None:
    """A stored token that is due for renewal is not taken over: it would be dropped at once."""
    world = World()
    await world.keeper.token()
    world.clock.now += LIFETIME * 0.9
    assert await world.another().token() == "token-2"


async def test_a_stored_refusal_is_believed_by_a_new_keeper() -> None:
    """A process that restarts in a loop does not lock the account."""
    world = World()
    world.gateway.next_logins = [AuthenticationFailed(-101, "密碼錯誤", operation="login")]
    await outcomes(1, world.keeper.token)
    for _ in range(5):
        (error,) = await outcomes(1, world.another().token)
        assert isinstance(error, AuthenticationFailed)
        assert (error.code, error.message) == (-101, "密碼錯誤")
    assert world.gateway.logins == 1
    restarted = world.another()
    restarted.forgive()
    assert await restarted.token() == "token-2"


async def test_an_older_refusal_in_the_store_changes_nothing() -> None:
    """What a keeper met itself and later outweighs what the store tells."""
    world = World()
    memory = LoginMemory(world.clock)
    memory.note(AuthenticationFailed(-101, "密碼錯誤", operation="login"))
    memory.adopt(StoredRefusal(-999, "鎖定", world.clock.now - 5, math.inf, 1))
    with pytest.raises(AuthenticationFailed) as caught:
        memory.check()
    assert caught.value.code == -101


async def test_a_refusal_takes_the_place_of_a_token() -> None:
    """After a refused login the store tells of the refusal, in the gateway's words."""
    world = World()
    world.gateway.next_logins = [WRONG]
    await outcomes(1, world.keeper.token)
    now = world.clock.now
    assert await world.store.load(KEY) == StoredRefusal(-99, "發生例外錯誤", now, now + 60, 1)


async def test_discarding_spares_a_newer_token() -> None:
    """`discard` forgets the token that it names and no other, nor a refusal."""
    store = MemoryTokenStore()
    token = StoredToken("new", 0.0, 1.0)
    await store.save(KEY, token)
    await store.discard(KEY, "old")
    await store.discard("another key", "new")
    assert await store.load(KEY) == token
    await store.discard(KEY, "new")
    assert await store.load(KEY) is None


async def test_a_failing_store_is_the_callers_to_see() -> None:
    """What a store raises comes through as it is, and the next call asks it again."""

    class Failing(MemoryTokenStore):
        fails = True

        async def load(self, key: str) -> StoredToken | StoredRefusal | None:
            if self.fails:
                raise OSError("the disk is full")
            return await super().load(key)

    store = Failing()
    world = World(store)
    with pytest.raises(OSError, match="disk is full"):
        await world.keeper.token()
    store.fails = False
    assert await world.keeper.token() == "token-1"


def test_a_stored_token_shows_no_secret() -> None:
    """A token's repr does not hold it."""
    assert "s3cret" not in repr(StoredToken("s3cret", 0.0, 1.0))


# --- suspicion ---


async def test_a_storm_of_refusals_asks_one_question() -> None:
    """300 calls refused at once: one check, and all learn that the token lives."""
    world = World()
    token = await world.keeper.token()
    since = world.keeper.tick()
    world.gateway.shut()

    async def suspect() -> Verdict:
        return await world.keeper.suspect(token, since)

    async with anyio.create_task_group() as group:
        group.start_soon(outcomes, 300, suspect)
        await settle()
        world.gateway.open.set()
    assert world.gateway.checked == [token]
    # Those that come late, but began before the answer, share it.
    assert await outcomes(10, suspect) == [Verdict.ALIVE] * 10
    assert world.gateway.checked == [token]


async def test_a_later_call_is_asked_for_anew() -> None:
    """A token that lived then may be dead by now: a call begun after the answer asks again."""
    world = World()
    token = await world.keeper.token()
    assert await world.keeper.suspect(token, world.keeper.tick()) is Verdict.ALIVE
    world.gateway.dead.add(token)
    assert await world.keeper.suspect(token, world.keeper.tick()) is Verdict.DEAD
    assert world.gateway.checked == [token, token, token, "token-2", token]


async def test_a_dead_token_is_proven_with_a_control() -> None:
    """Dead: the question fails before and after it succeeds for a fresh one. A storm: one login."""
    world = World()
    token = await world.keeper.token()
    world.gateway.dead.add(token)
    since = world.keeper.tick()

    async def suspect() -> Verdict:
        return await world.keeper.suspect(token, since)

    assert await outcomes(300, suspect) == [Verdict.DEAD] * 300
    assert await outcomes(300, suspect) == [Verdict.DEAD] * 300
    assert world.gateway.checked == [token, token, "token-2", token]
    assert world.gateway.logins == 2
    assert world.keeper.current == "token-2"
    assert len(world.slept) == 1


@pytest.mark.parametrize(
    ("wrong", "questions", "logins"),
    [(1, 2, 1), (2, 4, 2)],
    ids=["over at the second look", "over at the login"],
)
async def test_a_hiccup_is_no_death(wrong: int, questions: int, logins: int) -> None:
    """
    A gateway that is ill for a moment denies tokens that live: what it refused proves nothing.

    It is asked again after a pause, before a login that may itself end the token; and once more
    when the control has shown that the gateway is well.
    """
    world = World()
    token = await world.keeper.token()
    world.gateway.next_checks = [False] * wrong
    since = world.keeper.tick()
    assert await world.keeper.suspect(token, since) is Verdict.ALIVE
    assert await world.keeper.suspect(token, since) is Verdict.ALIVE
    assert (len(world.gateway.checked), world.gateway.logins) == (questions, logins)
    assert world.slept == [0.5]


async def test_a_dead_token_leaves_the_store() -> None:
    """Nobody else picks up a dead token; a newer one in its place stays."""
    world = World()
    token = await world.keeper.token()
    world.gateway.dead.add(token)
    await world.keeper.suspect(token, world.keeper.tick())
    kept = await world.store.load(KEY)
    assert isinstance(kept, StoredToken)
    assert kept.value == "token-2"


async def test_an_old_token_is_compared_with_the_current_one() -> None:
    """A refusal under a token that was renewed since needs no login: the current one is control."""
    world = World()
    old = await world.keeper.token()
    since = world.keeper.tick()
    world.keeper.drop()
    assert await world.keeper.token() == "token-2"
    world.gateway.dead.add(old)
    assert await world.keeper.suspect(old, since) is Verdict.DEAD
    assert world.gateway.checked == [old, old, "token-2", old]
    assert world.gateway.logins == 2


async def test_a_dropped_token_is_not_dead_without_proof() -> None:
    """A token that we gave up may live on at the gateway, and then a refusal was meant."""
    world = World()
    token = await world.keeper.token()
    since = world.keeper.tick()
    assert world.keeper.drop() == token
    assert world.keeper.drop() is None
    assert await world.keeper.suspect(token, since) is Verdict.ALIVE


async def test_a_failing_control_proves_nothing() -> None:
    """If the question fails for a fresh token too, it tells nothing of the old one."""
    world = World()
    token = await world.keeper.token()
    world.gateway.dead |= {token, "token-2"}
    assert await world.keeper.suspect(token, world.keeper.tick()) is Verdict.UNPROVEN
    assert world.gateway.checked == [token, token, "token-2"]


async def test_a_useless_question_is_not_asked_all_the_time() -> None:
    """After a failed control the fresh token is left in peace for a minute: no storm of logins."""
    world = World()
    token = await world.keeper.token()
    world.gateway.next_checks = [False] * 99
    await world.keeper.suspect(token, world.keeper.tick())
    for _ in range(20):
        fresh = await world.keeper.token()
        assert await world.keeper.suspect(fresh, world.keeper.tick()) is Verdict.UNPROVEN
    assert (world.gateway.logins, len(world.gateway.checked)) == (2, 3)
    world.clock.now += 60
    await world.keeper.suspect("token-2", world.keeper.tick())
    assert (world.gateway.logins, len(world.gateway.checked)) == (3, 6)


@pytest.mark.parametrize(
    ("checks", "logins"),
    [
        ([OUTAGE], []),
        ([False, OUTAGE], []),
        ([False, False, GatewayUnreachable("connect", "ConnectError")], []),
        ([False, False, True, OUTAGE], []),
        ([False, False], [OUTAGE]),
        ([False, False], [WRONG]),
    ],
    ids=[
        "check failed",
        "second check failed",
        "control failed",
        "last check failed",
        "login failed",
        "login refused",
    ],
)
async def test_a_question_without_an_answer_proves_nothing(
    checks: list[Outcome], logins: list[Outcome]
) -> None:
    """An outage or a refused login while asking is no proof of anything."""
    world = World()
    token = await world.keeper.token()
    world.gateway.next_checks = [*checks]
    world.gateway.next_logins = [*logins]
    assert await world.keeper.suspect(token, world.keeper.tick()) is Verdict.UNPROVEN


async def test_the_same_token_again_is_no_control() -> None:
    """A login may give out the token that the check denied: it can't speak for itself."""
    world = World()
    world.gateway.next_logins = ["same", "same"]
    token = await world.keeper.token()
    world.gateway.next_checks = [False, False, True]
    assert await world.keeper.suspect(token, world.keeper.tick()) is Verdict.UNPROVEN
    assert world.keeper.current == "same"


async def test_a_token_issued_again_lives_again() -> None:
    """What was proven of a token in its first life is not held against it in its second."""
    world = World()
    world.gateway.next_logins = ["phoenix", "other", "phoenix"]
    token = await world.keeper.token()
    world.gateway.dead.add(token)
    assert await world.keeper.suspect(token, world.keeper.tick()) is Verdict.DEAD
    world.gateway.dead.clear()
    world.keeper.drop()
    assert await world.keeper.token() == token
    assert await world.keeper.suspect(token, world.keeper.tick()) is Verdict.ALIVE


async def test_a_bug_in_the_question_comes_through() -> None:
    """What is not ours is not taken for an answer; the next question is asked anew."""
    world = World()
    token = await world.keeper.token()
    world.gateway.next_checks = [ValueError("a bug")]
    with pytest.raises(ValueError, match="a bug"):
        await world.keeper.suspect(token, world.keeper.tick())
    assert await world.keeper.suspect(token, world.keeper.tick()) is Verdict.ALIVE


async def test_a_dead_token_is_not_taken_from_a_stale_store() -> None:
    """A store that still holds what was dropped does not bring it back."""

    class Stale(MemoryTokenStore):
        async def discard(self, key: str, token: str) -> None:
            """Keep it all the same."""

    world = World(Stale())
    token = await world.keeper.token()
    world.gateway.dead.add(token)
    assert await world.keeper.suspect(token, world.keeper.tick()) is Verdict.DEAD
    assert world.keeper.current == "token-2"


# --- the end ---


async def test_closing_ends_a_login_under_way() -> None:
    """Who waits for a login that closing cuts short is told that nothing was sent."""
    world = World()
    world.gateway.shut()
    ends: list[Any] = []

    async def wait() -> None:
        ends.extend(await outcomes(5, world.keeper.token))

    async with anyio.create_task_group() as group:
        group.start_soon(wait)
        await settle()
        await world.keeper.aclose()
    assert {type(error) for error in ends} == {SessionMisuse}
    assert len(ends) == 5


async def test_closing_ends_questions_and_frees_the_store() -> None:
    """A question cut short proves nothing, and its login leaves the store's lock to others."""
    world = World()
    token = await world.keeper.token()
    world.gateway.next_checks = [False, False]
    verdicts: list[Verdict] = []

    async def suspect() -> None:
        verdicts.append(await world.keeper.suspect(token, world.keeper.tick()))

    async with anyio.create_task_group() as group:
        world.gateway.next_logins = ["never"]
        group.start_soon(suspect)
        world.gateway.shut()
        for _ in range(2):
            await settle()
            world.gateway.open.set()
            world.gateway.shut()
        await settle()
        await world.keeper.aclose()
    assert verdicts == [Verdict.UNPROVEN]
    other = Gateway()
    assert await world.another(other).token() == token


async def test_nothing_is_begun_after_the_end() -> None:
    """A call that outlives the session may use the token at hand; it gets no new one."""
    world = World()
    token = await world.keeper.token()
    await world.keeper.aclose()
    world.clock.now += LIFETIME * 0.95
    assert await world.keeper.token() == token
    with pytest.raises(SessionMisuse):
        await world.keeper.suspect(token, world.keeper.tick())
    world.clock.now += LIFETIME
    with pytest.raises(SessionMisuse):
        await world.keeper.token()
    assert world.gateway.logins == 1
    await world.keeper.aclose()


async def test_a_slow_store_is_no_hindrance_to_closing() -> None:
    """A login that waits for a store's lock ends with the session, too."""

    class Busy(MemoryTokenStore):
        @asynccontextmanager
        async def lock(self, key: str) -> AsyncGenerator[None]:
            await anyio.sleep_forever()
            yield

    world = World(Busy())
    ends: list[Any] = []

    async def wait() -> None:
        ends.extend(await outcomes(1, world.keeper.token))

    async with anyio.create_task_group() as group:
        group.start_soon(wait)
        await settle()
        await world.keeper.aclose()
    assert [type(error) for error in ends] == [SessionMisuse]


# --- password mode ---


class Calls:
    """Calls in password mode: how many are out at once, and how they end."""

    def __init__(self, *ends: Outcome) -> None:
        self.ends = list(ends)
        self.made = 0
        self.out = 0
        self.most = 0

    async def __call__(self) -> str:
        self.made += 1
        self.out += 1
        self.most = max(self.most, self.out)
        end = self.ends.pop(0) if self.ends else "ok"
        try:
            for _ in range(5):
                await checkpoint()
        finally:
            self.out -= 1
        if isinstance(end, BaseException):
            raise end
        return str(end)


def gate_and(clock: Clock) -> tuple[PasswordGate, Callable[[Calls], Callable[[], Awaitable[str]]]]:
    gate = PasswordGate(clock)

    def through(calls: Calls) -> Callable[[], Awaitable[str]]:
        return lambda: gate.run(calls, math.inf)

    return gate, through


async def test_a_wrong_password_is_met_once() -> None:
    """100 callers with a wrong password: one reaches the gateway, the rest are answered here."""
    gate, through = gate_and(Clock())
    calls = Calls(AuthenticationFailed(-101, "密碼錯誤", operation="credit"))
    ends = await outcomes(100, through(calls))
    assert {(type(error), error.code) for error in ends} == {(AuthenticationFailed, -101)}
    assert calls.made == 1
    with pytest.raises(AuthenticationFailed):
        gate.check()


async def test_calls_go_one_at_a_time_until_one_has_succeeded() -> None:
    """The first goes alone; after its success all go at once."""
    _, through = gate_and(Clock())
    calls = Calls()
    assert await outcomes(20, through(calls)) == ["ok"] * 20
    first = calls.most
    assert await outcomes(20, through(calls)) == ["ok"] * 20
    assert first >= 1
    assert calls.most > 1


async def test_a_failure_of_another_kind_opens_no_gate() -> None:
    """An outage tells nothing of the password: the next call goes alone as well."""
    _, through = gate_and(Clock())
    calls = Calls(OUTAGE, OUTAGE, AuthenticationFailed(-101, "密碼錯誤", operation="credit"))
    ends = await outcomes(50, through(calls))
    assert (calls.made, calls.most) == (3, 1)
    assert [type(error) for error in ends[:2]] == [GatewayUnavailable] * 2
    assert {type(error) for error in ends[2:]} == {AuthenticationFailed}


async def test_a_password_that_was_changed_shuts_the_gate() -> None:
    """A refusal after successes is remembered like the first one, with the same pauses."""
    clock = Clock()
    gate, through = gate_and(clock)
    calls = Calls("ok", *[AuthenticationFailed(-99, "no", operation="credit")] * 2)
    await outcomes(1, through(calls))
    for pause in (60, 120):
        await outcomes(1, through(calls))
        made = calls.made
        clock.now += pause - 1
        await outcomes(10, through(calls))
        assert calls.made == made
        clock.now += 1
    assert await outcomes(1, through(calls)) == ["ok"]
    assert calls.made == 4
    gate.check()


async def test_forgiving_opens_the_gate_for_one_more_try() -> None:
    """`forgive` lets the next call through."""
    gate, through = gate_and(Clock())
    calls = Calls(AccountLocked(-999, "鎖定", operation="credit"))
    (first,) = await outcomes(1, through(calls))
    assert isinstance(first, AccountLocked)
    gate.forgive()
    assert await outcomes(3, through(calls)) == ["ok"] * 3


async def test_a_turn_that_does_not_come_in_time_is_told() -> None:
    """Who waits longer than he may has sent nothing."""
    gate, _ = gate_and(Clock())
    leave = anyio.Event()

    async def slow() -> str:
        await leave.wait()
        return "ok"

    async with anyio.create_task_group() as group:
        group.start_soon(gate.run, slow, math.inf)
        await settle()
        with pytest.raises(GatewayUnreachable) as caught:
            await gate.run(slow, anyio.current_time())
        error = caught.value
        assert (error.phase, error.cause) == ("slot", "deadline")
        assert error.__cause__ is error.__context__ is None
        leave.set()


async def test_who_gives_up_his_turn_blocks_nobody() -> None:
    """A caller cancelled while he waits, or while he is out, leaves the gate to the next one."""
    gate, through = gate_and(Clock())
    calls = Calls()
    never = anyio.Event()

    async def stuck() -> str:
        await never.wait()
        return "never"

    async with anyio.create_task_group() as group:
        group.start_soon(gate.run, stuck, math.inf)
        await settle()
        group.start_soon(gate.run, stuck, math.inf)
        await settle()
        group.cancel_scope.cancel()
    assert await outcomes(3, through(calls)) == ["ok"] * 3
