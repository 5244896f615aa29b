"""How bulk runs treat their items: checked one by one, sent in groups, priced by estimate."""

from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Any, Protocol, TypeVar

from attrs import evolve, field, frozen

from every8d_async._bulk import BulkSummary, Checked, Plan
from every8d_async._checks import Problems, kind
from every8d_async._endpoints import Endpoint
from every8d_async._errors import InvalidRequest
from every8d_async._estimate import mms_points, sms_points
from every8d_async._models import (
    FilteredReceipt,
    PersonalizedMessage,
    Receipt,
    TemplateRecipient,
)
from every8d_async._requests import (
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
        problems.check(
            ok=self.max_points is None or self.max_points > 0,
            problem="max_points: must be above zero",
        )
        problems.check(
            ok=self.progress is None or callable(self.progress),
            problem="progress: must be callable",
        )

    def plan(self, check: Any, send: Any, points: Any) -> Plan[Any, Any]:
        """Put a plan together."""
        return Plan(
            check=check,
            send=send,
            points=points,
            batch_size=self.batch_size,
            max_in_flight=self.max_in_flight,
            max_points=None if self.max_points is None else Decimal(str(self.max_points)),
            max_recipients=self.max_recipients,
            progress=self.progress,
        )


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

    def check(item: object, position: int) -> Checked[ParamRecipient] | InvalidRequest:
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
        return Checked(ready, ready.reference or None)

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

    return limits.plan(check, send, points)


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

    def check(item: object, position: int) -> Checked[str] | InvalidRequest:
        found = Problems()
        number = found.mobile(f"to[{position}]", item)
        # One mobile twice in a request would be billed twice, so it closes the request early.
        if found.found:
            return InvalidRequest(found.found, operation=operation)
        return Checked(number, number)

    def points(group: Iterable[str]) -> Decimal:
        return Decimal(sum(sms_points(shared.text, number, options.event_id) for number in group))

    async def send(group: tuple[str, ...]) -> AnyReceipt:
        return await call(endpoint, evolve(shared, mobiles=group))

    return limits.plan(check, send, points)
