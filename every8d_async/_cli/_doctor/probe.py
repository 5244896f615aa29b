"""
The live probe: it answers what nobody knows of the real gateway.

Two messages are sent, once each, whatever comes of it; all else is asked for nothing. A question
that fails, or that can't be answered, is a row like the others. Rows hold statuses, codes, counts
and seconds: no uid, password, token, number or text, and none of the gateway's own words.
"""

import re
from collections.abc import Awaitable, Callable, Mapping
from decimal import Decimal
from secrets import token_hex
from typing import Any

import anyio
import anyio.lowlevel
from attrs import define, field, frozen

from every8d_async._cli._doctor.line import Answer, Line, code_of
from every8d_async._cli._doctor.rows import Row, State, Target
from every8d_async._endpoints import (
    CHECK_TOKEN,
    CLOSE_TOKEN,
    CREDIT,
    FILTER_DRY_RUN,
    LOGIN,
    SEND_FILTERED,
    SEND_PERSONALIZED,
    SEND_SMS,
    SMS_REPLIES,
    SMS_REPORTS,
    Credentials,
    Endpoint,
)
from every8d_async._estimate import estimate_sms
from every8d_async._flow import TokenMode
from every8d_async._models import FilteredReceipt, Receipt, ResponseFormat
from every8d_async._options import Timeout
from every8d_async._requests import Options, PageQuery, ParamMessage, TextMessage, text_message
from every8d_async._wire import WireFailure

MESSAGES = 2
LOGINS = 2
WAITS = (1.0, 5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0)
IDLE = 150.0

_LOOK = 0.25  # seconds between two looks at an idle connection
_DAY = 1440  # minutes
_OK, _UNAUTHORIZED = 200, 401
_DRY_FIELDS = 6  # of a dry run's reply that lists numbers

DEAD_GETS = "what a dead token gets"
NEWER_LOGIN = "whether a login ends the older token"
PLAIN_SENDS = "whether the filter remembers plain sends"
FILTERED_SENDS = "how long until a filtered send is remembered"
SPELLING = "how FAIL_MOBILE is spelled"
REPORT_PAGES = "rows on a page of delivery reports"
REPLY_PAGES = "rows on a page of replies"
IDLE_TIME = "how long an idle connection lives"
QUESTIONS = (
    *(DEAD_GETS, NEWER_LOGIN, PLAIN_SENDS, FILTERED_SENDS),
    *(SPELLING, REPORT_PAGES, REPLY_PAGES, IDLE_TIME),
)
SENDS = "what was sent"

# To nobody: whatever the gateway thinks of the token, there is nothing to send or to charge.
_HARMLESS: Mapping[str, tuple[Endpoint[Any, Any], Any]] = {
    "credit": (CREDIT, None),
    "token check": (CHECK_TOKEN, None),
    "send to nobody": (
        SEND_SMS,
        TextMessage("probe", (), subject="", send_at="", minutes=_DAY, event_id=None),
    ),
    "personalized send to nobody": (
        SEND_PERSONALIZED,
        ParamMessage(None, (), subject="", minutes=_DAY, event_id=None),
    ),
}


@frozen
class Plan:
    """
    What to probe with.

    Attributes:
        mobile: Who gets the two messages, in canonical form.
        batch_id: A batch with many rows, to see a page's size; of the messages sent if empty.
        waits: Seconds after the sends at which the filter is asked, in order.
        idle: The most seconds that an idle connection is watched; 0 skips that.
    """

    mobile: str = field(repr=False)
    batch_id: str = ""
    waits: tuple[float, ...] = WAITS
    idle: float = IDLE
    texts: tuple[str, str] = field(
        init=False, repr=False, factory=lambda: (_text("plain"), _text("filtered"))
    )

    @property
    def points(self) -> Decimal:
        """Estimate the cost."""
        return sum((estimate_sms(text, self.mobile, None).points for text in self.texts), Decimal())

    @property
    def seconds(self) -> float:
        """Tell how long it takes at most, but for the gateway's own time."""
        return max(self.idle, *self.waits)


def _text(kind: str) -> str:
    # Never the same twice: what the filter knows of an earlier probe must not count.
    return f"every8d doctor, {kind} probe {token_hex(6)}. Nothing to do."


@define
class _Sent:
    """One message on its way: what became of it, and when the filter knew of it."""

    endpoint: Endpoint[TextMessage, Any]
    message: TextMessage = field(repr=False)
    outcome: str = "not attempted"
    batch_id: str = ""
    cost: Decimal = Decimal()
    at: float = 0.0
    known_after: float | None = None
    asked: int = 0
    trouble: str = ""

    @property
    def went(self) -> bool:
        """Tell whether it is, or may be, on its way."""
        return self.outcome in ("accepted", "unknown")


class Probe:
    """Runs the questions one after the other; the waits for filter and connection are shared."""

    def __init__(
        self, target: Target, plan: Plan, tell: Callable[[Row], None], timeout: Timeout
    ) -> None:
        self._target = target
        self._plan = plan
        self._tell = tell
        self._timeout = timeout
        self._line = Line(target, timeout)
        # Uid and password in each call (M_2): these questions are not about tokens.
        self._account = Credentials(target.uid, target.password)
        self._rows: dict[str, Row] = {}
        self._older: str | None = None
        self._spelled = ""
        plain, filtered = (
            text_message("sms.send", text, plan.mobile, Options("", None, None), None)
            for text in plan.texts
        )
        self._plain = _Sent(SEND_SMS, plain)
        self._filtered = _Sent(SEND_FILTERED, filtered)
        self._both = (self._plain, self._filtered)
        self._problem = ""

    async def run(self, token: str) -> None:
        """Ask everything; `token` is one that may be closed."""
        try:
            await self._ask(DEAD_GETS, lambda: self._dead_token(token))
            await self._ask(NEWER_LOGIN, self._newer_login)
            async with anyio.create_task_group() as group:
                group.start_soon(self._ask, IDLE_TIME, self._idle)
                await self._ask(PLAIN_SENDS, self._plain_sends)
                await self._ask(FILTERED_SENDS, self._filtered_sends)
                await self._ask(SPELLING, self._spelling)
                await self._ask(REPORT_PAGES, lambda: self._page(REPORT_PAGES, SMS_REPORTS))
                await self._ask(REPLY_PAGES, lambda: self._page(REPLY_PAGES, SMS_REPLIES))
        finally:
            with anyio.CancelScope(shield=True):
                await self._line.aclose()

    @property
    def rows(self) -> list[Row]:
        """Give the rows in order, also where the probe was cut short."""
        unasked = "the probe ended before this question"
        return [
            *(self._rows.get(name) or Row(name, State.NOT_ASKED, unasked) for name in QUESTIONS),
            self._sends(),
        ]

    @property
    def unknown(self) -> int:
        """Count the messages of which nobody knows whether they were sent."""
        return sum(one.outcome == "unknown" for one in self._both)

    async def _ask(self, name: str, question: Callable[[], Awaitable[Row]]) -> None:
        try:
            row = await question()
        except Exception as error:  # noqa: BLE001 - what the others found was paid for
            row = Row(name, State.FAILED, f"this question broke: {type(error).__name__}")
        self._rows[row.name] = row
        self._tell(row)

    # --- tokens ---

    async def _dead_token(self, token: str) -> Row:
        closed = await self._line.ask(CLOSE_TOKEN, None, token)
        if closed.error is not None:
            said = f"the token could not be closed: {told(CLOSE_TOKEN, closed)}"
            return Row(DEAD_GETS, State.INCONCLUSIVE, said)
        dead = await self._harmless(token)
        login = await self._line.ask(LOGIN, self._account, TokenMode.NONE)
        self._older = login.result
        live = {} if self._older is None else await self._harmless(self._older)
        gets = {name: told(endpoint, dead[name]) for name, (endpoint, _) in _HARMLESS.items()}
        controls = {name: told(_HARMLESS[name][0], answer) for name, answer in live.items()}
        facts = {
            name: {"dead token": what, "live token": controls.get(name, "not asked")}
            for name, what in gets.items()
        }
        if dead["credit"].error is None:
            return Row(DEAD_GETS, State.ANSWERED, "a closed token goes on working", facts=facts)
        said = "; ".join(f"{name}: {what}" for name, what in gets.items())
        if not live:
            said += ". There was no live token to compare with"
            return Row(DEAD_GETS, State.INCONCLUSIVE, said, facts=facts)
        blurred = [name for name, what in gets.items() if controls[name] == what]
        if blurred:
            said += f". Nothing is proved where a live token gets the same: {', '.join(blurred)}"
        state = State.INCONCLUSIVE if blurred else State.ANSWERED
        return Row(DEAD_GETS, state, said, facts=facts)

    async def _harmless(self, token: str) -> dict[str, Answer[Any]]:
        """Ask what costs nothing under a token."""
        return {
            name: await self._line.ask(endpoint, args, token)
            for name, (endpoint, args) in _HARMLESS.items()
        }

    async def _newer_login(self) -> Row:
        older = self._older
        login = await self._line.ask(LOGIN, self._account, TokenMode.NONE)
        newer = login.result
        if older is None or newer is None:
            said = f"two logins are needed: {told(LOGIN, login)}"
            return Row(NEWER_LOGIN, State.FAILED, said)
        if older == newer:
            return Row(NEWER_LOGIN, State.ANSWERED, "no: a second login gives the same token again")
        before = await self._line.ask(CREDIT, None, older)
        after = await self._line.ask(CREDIT, None, newer)
        facts = {"older token": told(CREDIT, before), "newer token": told(CREDIT, after)}
        if after.error is not None or not is_verdict(CREDIT, before):
            said = f"older token: {facts['older token']}; newer token: {facts['newer token']}"
            return Row(NEWER_LOGIN, State.INCONCLUSIVE, said, facts=facts)
        said = "no: the older token goes on working"
        if before.error is not None:
            said = f"yes: the older token then gets {facts['older token']}"
        return Row(NEWER_LOGIN, State.ANSWERED, said, facts=facts)

    # --- messages ---

    async def _plain_sends(self) -> Row:
        """Send the two messages if the filter answers at all, and watch it for both."""
        for one in self._both:
            before = await self._line.ask(FILTER_DRY_RUN, one.message, self._account)
            if before.result is None:
                self._problem = f"a dry run before the sends failed: {told(FILTER_DRY_RUN, before)}"
            elif before.result.filtered:
                self._problem = "the filter knows a text before it was sent"
        if not self._problem:
            for one in self._both:
                # Whoever stops the probe cuts no send, which would be unknown; and begins none.
                await anyio.lowlevel.checkpoint()
                with anyio.CancelScope(shield=True):
                    await self._send(one)
            await self._watch_filter()
        return self._remembered(PLAIN_SENDS, self._plain)

    async def _filtered_sends(self) -> Row:
        return self._remembered(FILTERED_SENDS, self._filtered)

    async def _send(self, one: _Sent) -> None:
        """Send a message, once: it may be unknown from the first moment on."""
        one.outcome = "unknown"
        answer = await self._line.ask(one.endpoint, one.message, self._account)
        one.at = anyio.current_time()
        receipt: Receipt | FilteredReceipt | None = answer.result
        if receipt is None:
            one.trouble = told(one.endpoint, answer)
            certain = answer.error is not None and answer.error.sent is False
            one.outcome = "not sent" if certain else "unknown"
            return
        one.batch_id, one.cost = receipt.batch_id, receipt.cost
        one.outcome = "accepted" if receipt.sent else "not sent"
        one.trouble = "" if receipt.sent else "the receipt says that nobody was sent to"

    async def _watch_filter(self) -> None:
        """Ask the filter until it knows of all that went out, or the waits are over."""
        for wait in self._plan.waits:
            for one in self._both:
                if not one.went or one.known_after is not None:
                    continue
                await anyio.sleep_until(one.at + wait)
                await self._ask_filter(one)

    async def _ask_filter(self, one: _Sent) -> None:
        answer = await self._line.ask(FILTER_DRY_RUN, one.message, self._account)
        if answer.result is None:
            one.trouble = told(FILTER_DRY_RUN, answer)
            return
        one.asked += 1
        if answer.result.filtered:
            one.known_after = anyio.current_time() - one.at
            assert not isinstance(answer.reply, WireFailure)  # noqa: S101 - it has a result
            self._spelled = self._spelled or spelling(answer.reply.body)

    def _remembered(self, name: str, one: _Sent) -> Row:
        facts: dict[str, object] = {"send": one.outcome, "dry runs": one.asked}
        if not one.went:
            said = f"the message was not sent: {self._problem or one.trouble}"
            return Row(name, State.FAILED, said, facts=facts)
        if one.known_after is not None:
            facts["seconds"] = round(one.known_after, 1)
            said = f"it was known when asked {one.known_after:.1f} s after the send"
            said = f"yes: {said}" if one is self._plain else said
            if one.outcome == "unknown":
                said += ", whose answer was lost: so it did go out"
            return Row(name, State.ANSWERED, said, facts=facts)
        if not one.asked:
            said = f"no dry run after the send was answered: {one.trouble or 'none was asked for'}"
            return Row(name, State.FAILED, said, facts=facts)
        said = f"it was not known within {self._plan.waits[-1]:g} s"
        control = self._filtered.known_after
        if one is self._plain and one.outcome == "accepted" and control is not None:
            said = f"no: {said}, while the filtered send was after {control:.1f} s"
            return Row(name, State.ANSWERED, said, facts=facts)
        if one.outcome == "unknown":
            said += "; its answer was lost, so it may not have gone out"
        return Row(name, State.INCONCLUSIVE, said, facts=facts)

    async def _spelling(self) -> Row:
        if not self._spelled:
            return Row(SPELLING, State.INCONCLUSIVE, "no dry run listed the number")
        said = f"{self._spelled} for a number sent as {_masked(self._plan.mobile)}"
        return Row(SPELLING, State.ANSWERED, said, facts={"spelling": self._spelled})

    def _sends(self) -> Row:
        cost = sum((one.cost for one in self._both), Decimal())
        facts = {"plain": self._plain.outcome, "filtered": self._filtered.outcome}
        said = ", ".join(f"{kind} message {outcome}" for kind, outcome in facts.items())
        said += f"; {cost} points by the receipts"
        facts["points"] = str(cost)
        if not self.unknown:
            return Row(SENDS, State.OK, said, facts=facts)
        return Row(
            SENDS,
            State.WARNING,
            f"{said}. What is unknown may have gone out, and was not repeated",
            "look at the phone, and at the gateway's records",
            facts,
        )

    # --- pages ---

    async def _page(
        self, name: str, formats: Mapping[ResponseFormat, Endpoint[PageQuery, Any]]
    ) -> Row:
        batch_id = self._plan.batch_id or self._plain.batch_id or self._filtered.batch_id
        advice = "name a batch with many rows by --batch"
        if not batch_id:
            return Row(name, State.INCONCLUSIVE, "there is no batch to look at", advice)
        endpoint = formats[ResponseFormat.JSON]
        answer = await self._line.ask(endpoint, PageQuery(batch_id, 1), self._account)
        if answer.result is None:
            return Row(name, State.FAILED, f"the query failed: {told(endpoint, answer)}")
        rows, total = len(answer.result.rows), answer.result.total
        facts = {"rows": rows, "total": total}
        if 0 < rows < total:
            return Row(name, State.ANSWERED, f"{rows} of the batch's {total}", facts=facts)
        said = f"the batch's {total} came on one page, which may hold more"
        if rows != total or not rows:
            said = f"{rows} came, of {total}"
        return Row(name, State.INCONCLUSIVE, said, advice, facts)

    # --- connections ---

    async def _idle(self) -> Row:
        limit = self._plan.idle
        if not limit:
            return Row(IDLE_TIME, State.NOT_ASKED, "it was left out")
        line = Line(self._target, self._timeout, keepalive=2 * limit + 60)
        try:
            return await self._watch_idle(line, limit)
        finally:
            with anyio.CancelScope(shield=True):
                await line.aclose()

    async def _watch_idle(self, line: Line, limit: float) -> Row:
        first = await line.ask(CREDIT, None, self._account)
        if first.error is not None:
            return Row(IDLE_TIME, State.FAILED, f"the query failed: {told(CREDIT, first)}")
        since, connection = anyio.current_time(), line.connection
        while (idle := anyio.current_time() - since) < limit:
            if line.is_dropped:
                return Row(
                    IDLE_TIME,
                    State.ANSWERED,
                    f"the other end closed it after {idle:.1f} s",
                    facts={"closed_after_seconds": round(idle, 1)},
                )
            await anyio.sleep(min(_LOOK, limit - idle))
        again = await line.ask(CREDIT, None, self._account)
        facts: dict[str, object] = {"watched_seconds": limit}
        if isinstance(again.reply, WireFailure) or line.connection is not connection:
            said = f"it was gone without a sign within {limit:g} s: {told(CREDIT, again)}"
            return Row(IDLE_TIME, State.ANSWERED, said, facts=facts | {"silent": True})
        said = f"longer than {limit:g} s: it answered after that"
        return Row(IDLE_TIME, State.ANSWERED, said, facts=facts)


def told(endpoint: Endpoint[Any, Any], answer: Answer[Any]) -> str:
    """Say what came back without a word of it: HTTP status and code."""
    reply = answer.reply
    if isinstance(reply, WireFailure):
        return f"no reply ({reply.cause})"
    if (code := code_of(endpoint, reply)) is not None:
        return f"HTTP {reply.status}, code {code}"
    if answer.error is None:
        return f"HTTP {reply.status}, a sound reply"
    page = reply.body.lstrip().startswith(b"<")
    return f"HTTP {reply.status}, {'an HTML page' if page else 'no reply of the documented form'}"


def is_verdict(endpoint: Endpoint[Any, Any], answer: Answer[Any]) -> bool:
    """Tell whether a reply is the gateway's own word on a token: yes, or no."""
    reply = answer.reply
    if isinstance(reply, WireFailure):
        return False
    refused = code_of(endpoint, reply) is not None or reply.status == _UNAUTHORIZED
    return answer.error is None or refused


def spelling(body: bytes) -> str:
    """Give the form of the first number that a dry run's reply lists, with its digits masked."""
    fields = body.decode("utf-8-sig", "replace").strip().split(",")
    listed = fields[-2] if len(fields) >= _DRY_FIELDS else ""
    return _masked(listed.strip().partition("/")[0].strip())


def _masked(number: str) -> str:
    """Keep how a number begins and is written, and hide which it is."""
    start = re.match(r"\+?886[ -]?0?9|0?9(?=[0-9]{8}\b)|\+?", number)
    kept = start[0] if start else ""
    return kept + re.sub("[0-9]", "#", re.sub(r"[^0-9+ ()-]", "?", number[len(kept) :]))
