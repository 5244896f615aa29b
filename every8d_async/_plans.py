"""
How bulk runs treat their items: checked one by one, sent in groups, priced by estimate.

A run checks a million items, nearly all of them sound. So each is first checked without making
words for what may be wrong (`_quick_text`, `_quick_fields`); only what does not pass that is
checked by the rules of `_requests`, which say what is wrong, or find that all is well.
"""

from collections.abc import Callable, Iterable
from decimal import Decimal
from inspect import iscoroutinefunction
from typing import Any, Protocol, TypeVar

from attrs import evolve, field, frozen

from every8d_async._bulk import BulkSummary, Plan
from every8d_async._checks import Problems, is_sendable, kind
from every8d_async._endpoints import Endpoint
from every8d_async._errors import InvalidRequest
from every8d_async._estimate import mms_points, sms_points
from every8d_async._models import (
    FilteredReceipt,
    PersonalizedMessage,
    Receipt,
    TemplateRecipient,
    canonical,
)
from every8d_async._requests import (
    TEMPLATE_FIELDS,
    Options,
    ParamMessage,
    ParamRecipient,
    Template,
    TextMessage,
    own_fields,
    own_text,
    param_message,
    shared_text,
    utc_now,
)

Args = TypeVar("Args")
Result = TypeVar("Result")
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
    return callable(value) and not iscoroutinefunction(value)  # nobody would await it


def personal_plan(
    operation: str,
    call: Caller,
    endpoint: Endpoint[ParamMessage, Receipt],
    template: object,
    options: Options,
    limits: Limits,
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

    def check(item: object, position: int) -> ParamRecipient | InvalidRequest:
        quick = _quick_text(item, options) if form is None else _quick_fields(item, form, options)
        return quick or closely(item, position)

    def closely(item: object, position: int) -> ParamRecipient | InvalidRequest:
        found = Problems()
        name = f"messages[{position}]"
        ready: ParamRecipient | None = None
        if isinstance(item, PersonalizedMessage) and form is None:
            ready = own_text(found, name, item, options, utc_now())
        elif isinstance(item, TemplateRecipient) and form is not None:
            ready = own_fields(found, name, item, form, options, utc_now())
        else:
            found.found.append(f"{name}: must be a {wanted.__name__}, not {kind(item)}")
        if ready is None or found.found:
            return InvalidRequest(found.found, operation=operation)
        return ready

    def key(ready: ParamRecipient) -> str:
        # Without the white space around it, in which a gateway may see no difference.
        return ready.reference.strip()

    def text_of(ready: ParamRecipient) -> str:
        return ready.param if form is None else form.filled(ready.param.split("|"))

    def points(group: Iterable[ParamRecipient]) -> Decimal:
        each = (
            mms_points(options.attachment, text_of(ready))
            if options.mms
            else sms_points(text_of(ready), ready.mobile, options.event_id)
            for ready in group
        )
        return Decimal(sum(each))

    async def send(group: tuple[ParamRecipient, ...]) -> AnyReceipt:
        return await call(endpoint, evolve(shared, recipients=group))

    return limits.plan(check, key, send, points)


def broadcast_plan(
    operation: str,
    call: Caller,
    endpoint: Endpoint[TextMessage, Any],
    text: object,
    send_at: object,
    options: Options,
    limits: Limits,
) -> Plan[str, str]:
    """
    Plan one text for many.

    Raises:
        InvalidRequest: What all share is wrong; a bad mobile is its own row.
    """
    problems = Problems()
    limits.check(problems)
    shared = shared_text(problems, text, (), options, send_at, utc_now())
    problems.end(operation)

    def check(item: object, position: int) -> str | InvalidRequest:
        return (isinstance(item, str) and canonical(item)) or closely(item, position)

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

    return limits.plan(check, key, send, points)


def _quick_text(item: object, options: Options) -> ParamRecipient | None:
    """Check one person's own text; None where it takes a closer look."""
    if options.mms or not isinstance(item, PersonalizedMessage) or not item.text:
        return None
    return _quick_recipient(item, item.text)


def _quick_fields(item: object, form: Template, options: Options) -> ParamRecipient | None:
    """Check one person's fields for a template; None where it takes a closer look."""
    if options.mms or not isinstance(item, TemplateRecipient):
        return None
    fields = item.fields
    if not isinstance(fields, tuple | list) or not form.needed <= len(fields) <= TEMPLATE_FIELDS:
        return None
    try:
        param = "|".join(fields) + "|" * (TEMPLATE_FIELDS - len(fields))
    except TypeError:
        return None
    # A field that holds a separator shows in their number; no fields at all have one too few.
    return _quick_recipient(item, param) if param.count("|") == TEMPLATE_FIELDS - 1 else None


def _quick_recipient(
    given: PersonalizedMessage | TemplateRecipient, param: str
) -> ParamRecipient | None:
    mobile: object = given.mobile
    number = canonical(mobile) if isinstance(mobile, str) else None
    send_at = "" if given.send_at is None else _quick_time(given.send_at)
    if number is None or send_at is None:
        return None
    texts = (param, given.name, given.email, given.reference)
    try:
        if not is_sendable("".join(texts)):
            return None
    except TypeError:  # one of them is no text
        return None
    return ParamRecipient(number, param, given.name, given.email, send_at, given.reference)


def _quick_time(value: object) -> str | None:
    problems = Problems()
    written = problems.send_at("send_at", value, utc_now())
    return None if problems.found else written
