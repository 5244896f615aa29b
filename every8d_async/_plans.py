"""
How bulk runs treat their items: checked one by one, sent in groups, priced by estimate.

A run checks a million items, nearly all of them sound. So hundreds are first looked at together
(`_usual`); what does not pass there is found by halving, and checked alone by the rules of
`_requests`.
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from inspect import iscoroutinefunction
from typing import Any, Protocol, TypeVar

from attrs import evolve, field, frozen

from every8d_async._bulk import BulkSummary, Plan
from every8d_async._checks import Problems, kind
from every8d_async._endpoints import Endpoint
from every8d_async._errors import InvalidRequest
from every8d_async._estimate import mms_points, sms_points
from every8d_async._models import (
    FilteredReceipt,
    PersonalizedMessage,
    Receipt,
    TemplateRecipient,
    canonicals,
)
from every8d_async._requests import (
    Options,
    ParamMessage,
    Template,
    TextMessage,
    own_fields,
    own_text,
    param_message,
    shared_text,
    usual_people,
    utc_now,
)
from every8d_async._usual import SEPARATOR, ParamRecipient

Args = TypeVar("Args")
Result = TypeVar("Result")
Ready = TypeVar("Ready")
AnyReceipt = Receipt | FilteredReceipt


class Caller(Protocol):
    """Makes a call: the session's way to the gateway."""

    async def __call__(self, endpoint: Endpoint[Args, Result], args: Args) -> Result:
        """Make the call, or raise what `_errors` says."""
        ...


@frozen
class Limits:
    """What a caller may say of how a run goes; checked by the plans below."""

    batch_size: int
    max_in_flight: int
    max_points: Decimal | float | None = None
    max_recipients: int | None = None
    progress: Callable[[BulkSummary], None] | None = field(default=None, repr=False)

    def check(self, problems: Problems) -> None:
        """Note what is wrong."""
        problems.positive("batch_size", self.batch_size)
        problems.positive("max_in_flight", self.max_in_flight)
        if self.max_recipients is not None:
            problems.positive("max_recipients", self.max_recipients)
        if self.max_points is not None:
            problems.check(ok=_is_points(self.max_points), problem="max_points: must be above zero")
        if self.progress is not None:
            ok = _is_plain_function(self.progress)
            problems.check(ok=ok, problem="progress: must be a plain function")

    def plan(self, check: Any, key: Any, send: Any, points: Any) -> Plan[Any, Any]:
        """Put a plan together."""
        return Plan(
            check=check,
            key=key,
            send=send,
            points=points,
            batch_size=self.batch_size,
            max_in_flight=self.max_in_flight,
            max_points=None if self.max_points is None else Decimal(str(self.max_points)),
            max_recipients=self.max_recipients,
            progress=self.progress,
        )


def _is_points(value: object) -> bool:
    if not isinstance(value, Decimal | int | float) or isinstance(value, bool):
        return False
    points = Decimal(str(value))  # a float that is no number can't be compared as a Decimal
    return not points.is_nan() and points > 0


def _is_plain_function(value: object) -> bool:
    if not callable(value):
        return False
    # Nobody would await it: neither a function nor an object that is called like one.
    return not iscoroutinefunction(value) and not iscoroutinefunction(type(value).__call__)


def personal_plan(
    operation: str,
    call: Caller,
    endpoint: Endpoint[ParamMessage, Receipt],
    template: object,
    options: Options,
    limits: Limits,
    now: Callable[[], datetime] = utc_now,
) -> Plan[Any, ParamRecipient]:
    """
    Plan own texts, or with a template own fields, for many.

    Raises:
        InvalidRequest: What all share is wrong; what is wrong with one item is its own row.
    """
    problems = Problems()
    limits.check(problems)
    form = None if template is None else Template.checked(problems, template)
    shared = param_message(problems, operation, form.text if form else None, (), options)
    wanted = PersonalizedMessage if form is None else TemplateRecipient

    def closely(item: object, position: int) -> ParamRecipient | InvalidRequest:
        found = Problems()
        name = f"messages[{position}]"
        ready: ParamRecipient | None = None
        if isinstance(item, PersonalizedMessage) and form is None:
            ready = own_text(found, name, item, options, now())
        elif isinstance(item, TemplateRecipient) and form is not None:
            ready = own_fields(found, name, item, form, options, now())
        else:
            found.found.append(f"{name}: must be a {wanted.__name__}, not {kind(item)}")
        if ready is None or found.found:
            return InvalidRequest(found.found, operation=operation)
        return ready

    def text_of(param: str) -> str:
        return param if form is None else form.filled(param.split(SEPARATOR))

    def points(group: Iterable[ParamRecipient]) -> Decimal:
        each = (
            mms_points(options.attachment, text_of(param))
            if options.mms
            else sms_points(text_of(param), mobile, options.event_id)
            for mobile, param, *_ in group
        )
        return Decimal(sum(each))

    async def send(group: tuple[ParamRecipient, ...]) -> AnyReceipt:
        return await call(endpoint, evolve(shared, recipients=group))

    check = by_halves(lambda items: usual_people(items, form, options, now()), closely)
    return limits.plan(check, _reference, send, points)


def _reference(ready: ParamRecipient) -> str:
    # Without the white space around it, in which a gateway may see no difference.
    return ready[-1].strip()


def broadcast_plan(
    operation: str,
    call: Caller,
    endpoint: Endpoint[TextMessage, Any],
    text: object,
    send_at: object,
    options: Options,
    limits: Limits,
    now: Callable[[], datetime] = utc_now,
) -> Plan[str, str]:
    """
    Plan one text for many.

    Raises:
        InvalidRequest: What all share is wrong; a bad mobile is its own row.
    """
    problems = Problems()
    limits.check(problems)
    shared = shared_text(problems, text, (), options, send_at, now())
    problems.end(operation)

    def at_once(items: Sequence[Any]) -> list[str] | None:
        return canonicals(items) if set(map(type, items)) == {str} else None

    def closely(item: object, position: int) -> str | InvalidRequest:
        found = Problems()
        number = found.mobile(f"to[{position}]", item)
        return InvalidRequest(found.found, operation=operation) if found.found else number

    def key(ready: str) -> str:
        return ready  # one mobile twice in a request would be billed twice

    def points(group: Iterable[str]) -> Decimal:
        return Decimal(sum(sms_points(shared.text, number, options.event_id) for number in group))

    async def send(group: tuple[str, ...]) -> AnyReceipt:
        return await call(endpoint, evolve(shared, mobiles=group))

    return limits.plan(by_halves(at_once, closely), key, send, points)


def by_halves(
    at_once: Callable[[Sequence[Any]], list[Ready] | None],
    closely: Callable[[Any, int], Ready | InvalidRequest],
) -> Callable[[Sequence[Any], int], list[Ready | InvalidRequest]]:
    """Check items at once, and what is odd among them alone, so that it slows no others."""

    def check(items: Sequence[Any], position: int) -> list[Ready | InvalidRequest]:
        if (ready := at_once(items)) is not None:
            return [*ready]
        half = len(items) // 2
        if not half:
            return [closely(item, position) for item in items]
        return check(items[:half], position) + check(items[half:], position + half)

    return check
