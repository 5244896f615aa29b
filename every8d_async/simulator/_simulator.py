"""The public face: construct it, call it, serve it, and ask it what happened."""

from __future__ import annotations

import random
from contextlib import closing, contextmanager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from every8d_async.simulator import _server
from every8d_async.simulator._app import respond
from every8d_async.simulator._arrival import read
from every8d_async.simulator._codes import UNKNOWN
from every8d_async.simulator._control import ROOT, control
from every8d_async.simulator._core import Core
from every8d_async.simulator._ledger import MessageReply
from every8d_async.simulator._line import line_of
from every8d_async.simulator._options import Options, new_id, new_token, system_clock
from every8d_async.simulator._push import Encoding, Method, PushTarget
from every8d_async.simulator._reading import canonical
from every8d_async.simulator._values import (
    DIALECT,
    Account,
    Batch,
    Dialect,
    Push,
    ReceivedRequest,
    Refusal,
    SentMessage,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable
    from decimal import Decimal

    from starlette.types import Receive, Scope, Send

    from every8d_async.simulator.faults import Faults

DEMO = Account(uid="demo", password="demo")  # noqa: S106 - a toy account of a stand-in


class Simulator:
    """
    Stand in for the gateway, with state: accounts, credit, tokens, batches, reports, replies.

    It is an ASGI application, for `httpx.ASGITransport(app=simulator)`, and serves itself on a
    loopback port with `with simulator.serve() as url:`. It may be used from several threads.

    Args:
        accounts: Who may log in, and with how many points.
        clock: What tells the time; it must return aware datetimes. `advance` moves it.
        new_id: What makes up batch ids.
        new_token: What makes up tokens.
        delivery_delay: Time between a message's going out (status 0) and its final status.
        token_lifetime: How long a token is good for.
        one_token_per_account: Whether a login ends the account's older tokens.
        cancel_until: Time before a booking goes out from which on it can't be cancelled (-8).
        lock_after: Failed logins in a row that an account bears; one more locks it (-999).
        dead_token: What a call with a dead or unknown token gets; nobody recorded what the service
            says. ConnectionHandler always answers with its documented failure.
        filter_sees_plain_sends: Whether the 24-hour filter knows of texts sent without it, too.
        reply_page_size: Replies on a page; the documents say 10 in one place and 1000 in another.
        report_page_size: Delivery reports on a page.
        prefix: A path before `/API21/HTTP/`, as dedicated platforms have.
        dialect: Spellings of replies that differ in the wild.
        rng: What faults at a rate are drawn with, as `random.random`.
        control: Whether `/__control__/…` is there, for tests in other languages.
        push_url: Where reports and replies are pushed while it is served, as `push_to` does it.
        push_method: As of `push_to`.
        push_encoding: As of `push_to`.
        push_tries: As of `push_to`.

    Raises:
        ValueError: An option that makes no sense.
    """

    def __init__(
        self,
        *,
        accounts: Iterable[Account] = (DEMO,),
        clock: Callable[[], datetime] = system_clock,
        new_id: Callable[[], str] = new_id,
        new_token: Callable[[], str] = new_token,
        delivery_delay: timedelta = timedelta(seconds=5),
        token_lifetime: timedelta = timedelta(hours=8),
        one_token_per_account: bool = False,
        cancel_until: timedelta = timedelta(0),
        lock_after: int = 10,
        dead_token: Refusal = UNKNOWN,
        filter_sees_plain_sends: bool = True,
        reply_page_size: int = 1000,
        report_page_size: int = 1000,
        prefix: str = "",
        dialect: Dialect = DIALECT,
        rng: Callable[[], float] = random.random,
        control: bool = False,
        push_url: str | None = None,
        push_method: Method = "GET",
        push_encoding: Encoding = "utf-8",
        push_tries: int = 3,
    ) -> None:
        options = Options(
            accounts=tuple(accounts),
            clock=clock,
            new_id=new_id,
            new_token=new_token,
            rng=rng,
            delivery_delay=delivery_delay,
            token_lifetime=token_lifetime,
            one_token_per_account=one_token_per_account,
            cancel_until=cancel_until,
            lock_after=lock_after,
            dead_token=dead_token,
            filter_sees_plain_sends=filter_sees_plain_sends,
            reply_page_size=reply_page_size,
            report_page_size=report_page_size,
            prefix=prefix,
            dialect=dialect,
            control=control,
        )
        self._core = Core(options)
        if push_url is not None:
            self.push_to(push_url, method=push_method, encoding=push_encoding, tries=push_tries)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer as an ASGI application."""
        if scope["type"] != "http":
            return
        arrival = await read(scope, receive)
        if arrival is None:
            return
        line = line_of(scope, receive, send)
        if self._core.options.control and arrival.path.startswith(ROOT):
            await line.reply(control(self, arrival))
        else:
            await respond(self._core, line, arrival)

    @contextmanager
    def serve(
        self, *, port: int = 0, host: str = "127.0.0.1", allow_remote: bool = False
    ) -> Generator[str]:
        """
        Serve on a socket while the block runs, and give the site's URL.

        The server runs in a thread of its own, so that the block may be synchronous, asyncio or
        trio. Open connections are cut when the block ends.

        Args:
            port: The port; 0 for a free one.
            host: A loopback address.
            allow_remote: Allow other addresses too; whoever reaches them can use the simulator.

        Raises:
            ValueError: The host is not loopback, or the port is none.
            OSError: The port is in use.
        """
        if not allow_remote and not _server.is_loopback(host):
            raise ValueError(f"{host!r} is not a loopback address; allow_remote=True permits it")
        with (
            closing(_server.bind(host, port)) as listener,
            _server.serving(self, listener),
            self._core.pusher.serving(),
        ):
            yield _server.url_of(listener) + self._core.options.prefix

    @property
    def faults(self) -> Faults:
        """Give the faults to come; `simulator.faults.add("SendSMS", Reset())` orders one."""
        return self._core.faults

    @property
    def sent(self) -> tuple[SentMessage, ...]:
        """Give the messages taken for sending, in order; scheduled ones are among them."""
        with self._core.lock:
            return tuple(self._core.state.ledger.sent)

    @property
    def batches(self) -> tuple[Batch, ...]:
        """Give all batches as they stand now, in order."""
        with self._core.lock:
            state = self._core.state
            now = state.now()
            return tuple(
                state.ledger.snapshot(batch, now) for batch in state.ledger.batches.values()
            )

    @property
    def requests(self) -> tuple[ReceivedRequest, ...]:
        """Give the requests that arrived, in order, also those that a fault hit."""
        with self._core.lock:
            return tuple(self._core.requests)

    @property
    def logins(self) -> int:
        """Count the attempts to get a token, also those that were refused."""
        with self._core.lock:
            return self._core.state.accounts.logins

    @property
    def failed_logins(self) -> int:
        """Count wrong credentials, at the login or with a call."""
        with self._core.lock:
            return self._core.state.accounts.failed_logins

    @property
    def now(self) -> datetime:
        """Tell the time as the simulator sees it, in Taipei."""
        with self._core.lock:
            return self._core.state.now()

    def credit(self, uid: str | None = None) -> Decimal:
        """
        Tell the points an account has left, the first one where no uid is given.

        Raises:
            KeyError: There is no such account.
        """
        credits_left = self.credits
        return credits_left[next(iter(credits_left), "") if uid is None else uid]

    @property
    def credits(self) -> dict[str, Decimal]:
        """Tell the points that each account has left."""
        with self._core.lock:
            return self._core.state.accounts.credits()

    def advance(self, by: timedelta) -> None:
        """
        Move the clock: what was scheduled goes out, what went out is delivered, tokens expire.

        Raises:
            ValueError: Time does not run backwards.
        """
        if by < timedelta(0):
            raise ValueError(f"the clock can't be moved back, by {by}")
        with self._core.lock:
            self._core.state.ahead += by
        self._core.pusher.wake()

    def deliver_all(self) -> None:
        """Make final whatever has gone out; what is scheduled for later stays so."""
        with self._core.lock:
            self._core.state.ledger.deliver_all(self._core.state.now())
        self._core.pusher.wake()

    def fail(self, mobile: str, status: int) -> None:
        """
        Say how messages to a number end instead of with 100 (an MMS: 700).

        It holds for those on their way and those to come, not for those that have ended. A status
        of 0 keeps them from ending.

        Raises:
            ValueError: It is no mobile number.
        """
        with self._core.lock:
            self._core.state.ledger.script(_canonical(mobile), status, self._core.state.now())

    def add_reply(self, batch_id: str, mobile: str, text: str) -> None:
        """
        Let somebody who got a text of a batch write back.

        Args:
            batch_id: The batch, from the receipt.
            mobile: Who writes, in any spelling.
            text: What they write.

        Raises:
            ValueError: There is no such batch of texts, or no such number in it.
        """
        spelled = _canonical(mobile)
        with self._core.lock:
            batch = self._core.state.ledger.batches.get(batch_id)
            if batch is None or batch.kind != "sms":
                raise ValueError(f"there is no batch of texts {batch_id!r}")
            message = next((m for m in batch.messages if m.mobile == spelled), None)
            if message is None:
                raise ValueError(f"batch {batch_id!r} has no recipient {mobile!r}")
            reply = MessageReply(message.name, spelled, text, self._core.state.now())
            self._core.state.ledger.add_reply(batch, message, reply)
        self._core.pusher.wake()

    def push_to(
        self,
        url: str,
        *,
        method: Method = "GET",
        encoding: Encoding = "utf-8",
        tries: int = 3,
        pause: timedelta = timedelta(seconds=1),
        repeat: float = 0.0,
        connections: int = 4,
        allow_remote: bool = False,
    ) -> None:
        """
        Push reports and replies to the customer's own URL while the simulator is served (§6).

        A report goes when its message becomes final: `delivery_delay` has passed, the clock was
        moved, or all was delivered; a reply goes at once. `pushes` tells what became of them.

        Args:
            url: Where to; what was not pushed yet goes there, too.
            method: ``"GET"`` with a query string, or ``"POST"`` with a form.
            encoding: ``"utf-8"`` or ``"big5"``.
            tries: How often in all, if anything but HTTP 200 answers; nobody published how often
                the service tries, or after what time.
            pause: The time between two tries, of the real clock.
            repeat: The share that is pushed once more although it was accepted.
            connections: How many connections push at once.
            allow_remote: Allow other than loopback URLs.

        Raises:
            ValueError: The URL is not on loopback, or an option makes no sense.
        """
        self._core.pusher.aim(
            PushTarget(
                url=url,
                method=method,
                encoding=encoding,
                tries=tries,
                pause=pause,
                repeat=repeat,
                connections=connections,
                allow_remote=allow_remote,
            )
        )

    @property
    def pushes(self) -> tuple[Push, ...]:
        """Give the reports and replies that were pushed, or are about to be, in order."""
        return self._core.pusher.pushes

    def settle_pushes(self, timeout: float = 30.0) -> bool:
        """
        Wait until nothing that is due is left to push; tell whether it was so in time.

        Args:
            timeout: Seconds to wait at most.
        """
        return self._core.pusher.settle(timeout)

    def take_pushes(self, encoding: Encoding = "utf-8") -> tuple[Push, ...]:
        """
        Give what is due to be pushed instead of pushing it, for tests without sockets.

        Each report and reply comes once, here or over a socket.
        """
        return tuple(self._core.take_pushes(encoding))

    def expire_tokens(self) -> None:
        """End all tokens at once."""
        with self._core.lock:
            self._core.state.accounts.close_all()

    def reset(self) -> None:
        """Forget all that happened, faults to come included, and set the clock right."""
        self._core.reset()


def _canonical(mobile: str) -> str:
    spelled = canonical(mobile)
    if spelled is None:
        raise ValueError(f"{mobile!r} is no mobile number")
    return spelled
