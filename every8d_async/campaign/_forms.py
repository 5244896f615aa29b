"""What goes out: items checked and keyed when planned, requests rebuilt from what was kept."""

import json
import re
from collections.abc import Callable, Sequence
from datetime import datetime
from hashlib import blake2b
from typing import Any

from attrs import field, frozen

from every8d_async import _endpoints as endpoints
from every8d_async._checks import Problems
from every8d_async._endpoints import Endpoint
from every8d_async._errors import InvalidRequest
from every8d_async._estimate import sms_points
from every8d_async._models import PersonalizedMessage, TemplateRecipient
from every8d_async._plans import Caller, Limits, broadcast_plan, personal_plan
from every8d_async._requests import (
    Options,
    ParamMessage,
    Template,
    TextMessage,
    param_message,
    shared_text,
)
from every8d_async._usual import ParamRecipient
from every8d_async.campaign._journal import Entry, Form, Kind
from every8d_async.campaign._values import Person

PLAN, PLAN_TEXT = "campaign.plan", "campaign.plan_text"
# Among a million keys two are the same by chance in one of 10^17 campaigns.
_DIGEST = 12
_PLACE = re.compile(" at 0x[0-9a-fA-F]+")

ENDPOINTS: dict[Kind, Endpoint[Any, Any]] = {
    "personalized": endpoints.SEND_PERSONALIZED,
    "template": endpoints.SEND_TEMPLATE,
    "text": endpoints.SEND_SMS,
    "filtered": endpoints.SEND_FILTERED,
}


@frozen
class Draft:
    """How items of one form are made entries; `check` gives each one's, or why it has none."""

    form: Form
    check: Callable[[Sequence[Any], int], list[Entry | InvalidRequest]] = field(repr=False)


def draft_personal(
    call: Caller,
    template: str | None,
    options: Options,
    batch_size: int,
    send_before: object,
    began: datetime,
) -> Draft:
    """
    Draft own texts, or with a template own fields; times are looked at as of `began`.

    Raises:
        InvalidRequest: What all share is wrong.
    """
    problems = Problems()
    until = _send_before(problems, send_before)
    text = "" if template is None else Template.checked(problems, template).text
    shared = param_message(problems, PLAN, text, (), options)
    kind: Kind = "personalized" if template is None else "template"
    form = Form(kind, text, shared.subject, shared.minutes, shared.event_id, "", until)
    limits = Limits(batch_size, 1)
    plan = personal_plan(PLAN, call, ENDPOINTS[kind], template, options, limits, lambda: began)

    filled = None if template is None else Template.checked(problems, template).filled

    def entry(ready: ParamRecipient) -> Entry:
        mobile, param, _, _, send_at, reference = ready
        own = param if filled is None else filled(param.split("|"))
        points = sms_points(own, mobile, shared.event_id)
        if reference := reference.strip():
            return Entry(_key("reference", reference), ready, points)
        return Entry(_key("text", f"{text}\0{mobile}\0{param}\0{send_at}"), ready, points)

    return Draft(form, _checker(plan.check, entry))


def draft_text(
    call: Caller,
    text: str,
    send_at: datetime | None,
    options: Options,
    batch_size: int,
    send_before: object,
    began: datetime,
    *,
    filtered: bool,
) -> Draft:
    """
    Draft one text for many; times are looked at as of `began`.

    Raises:
        InvalidRequest: What all share is wrong.
    """
    problems = Problems()
    until = _send_before(problems, send_before)
    shared = shared_text(problems, text, (), options, send_at, began)
    problems.end(PLAN_TEXT)
    kind: Kind = "filtered" if filtered else "text"
    form = Form(kind, text, shared.subject, shared.minutes, shared.event_id, shared.send_at, until)
    limits = Limits(batch_size, 1)
    plan = broadcast_plan(
        PLAN_TEXT, call, ENDPOINTS[kind], text, send_at, options, limits, lambda: began
    )

    home, abroad = (sms_points(shared.text, number, shared.event_id) for number in ("+886", "+"))

    def entry(number: str) -> Entry:
        key = _key("text", f"{text}\0{number}\0\0{shared.send_at}")
        return Entry(key, (number,), home if number.startswith("+886") else abroad)

    return Draft(form, _checker(plan.check, entry))


def _checker(
    check: Callable[[Sequence[Any], int], Sequence[Any]], entry: Callable[[Any], Entry]
) -> Callable[[Sequence[Any], int], list[Entry | InvalidRequest]]:
    def checked(items: Sequence[Any], position: int) -> list[Entry | InvalidRequest]:
        return [
            ready if isinstance(ready, InvalidRequest) else entry(ready)
            for ready in check(items, position)
        ]

    return checked


def refused_entry(item: object) -> Entry:
    """Keep an item that can't be sent; planned again after it was mended, it has another key."""
    row: Sequence[object]
    match item:
        case PersonalizedMessage():
            row = (item.mobile, item.text, item.name, item.email, item.send_at, item.reference)
        case TemplateRecipient():
            row = (item.mobile, item.fields, item.name, item.email, item.send_at, item.reference)
        case _:
            row = (item,)
    # Without the place where an object lies: planned again, it lies elsewhere.
    shown = [value if isinstance(value, str) else _PLACE.sub("", str(value)) for value in row]
    return Entry(_key("refused", "\0".join(shown)), tuple(shown), 0)


def _key(kind: str, own: str) -> bytes:
    digest = blake2b(f"{kind}\0{own}".encode("utf-8", "surrogatepass"), digest_size=_DIGEST)
    return digest.digest()


def _send_before(problems: Problems, value: object) -> datetime | None:
    if value is None:
        return None
    if isinstance(value, datetime) and value.utcoffset() is not None:
        return value
    problems.found.append("send_before: must be a datetime with a time zone, such as TAIPEI")
    return None


# --- requests, rebuilt from what was kept ---


def intent(name: str, batch: int) -> str:
    """Write what names a batch in SB and MR, and so in push reports."""
    return f"{name}-{batch}"


def request(form: Form, payload: str, code: str) -> TextMessage | ParamMessage:
    """Rebuild a batch's request: byte for byte the same each time."""
    rows: list[list[str]] = json.loads(payload)
    subject = f"{form.subject} {code}".strip()
    if form.kind in ("text", "filtered"):
        mobiles = tuple(row[0] for row in rows)
        return TextMessage(form.text, mobiles, subject, form.send_at, form.minutes, form.event_id)
    recipients = tuple(
        (mobile, param, name, email, send_at, f"{code}-{number}")
        for number, (mobile, param, name, email, send_at, _) in enumerate(rows, 1)
    )
    template = form.text if form.kind == "template" else None
    return ParamMessage(template, recipients, subject, form.minutes, form.event_id)


def people(form: Form, payload: str) -> list[Person]:
    """Read for whom a batch is."""
    personal = form.kind in ("personalized", "template")
    rows = json.loads(payload)
    return [Person(row[0], row[5] if personal and len(row) > 1 else "") for row in rows]
