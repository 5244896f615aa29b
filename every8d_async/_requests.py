"""
What callers hand in, checked and in canonical form; or `InvalidRequest` with every problem.

Everything is checked before the wire, since a refusal after it costs a round trip, and since a
mobile with a comma or a line end in it would add recipients.
"""

import re
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TypeGuard, TypeVar

from attrs import field, frozen

from every8d_async._checks import Problems, kind
from every8d_async._models import Attachment, PersonalizedMessage, TemplateRecipient
from every8d_async._usual import (
    SEPARATOR,
    TEMPLATE_FIELDS,
    ParamRecipient,
    usual_fields,
    usual_texts,
)

Kind = TypeVar("Kind", PersonalizedMessage, TemplateRecipient)

_FIELDS = {str(number): number for number in range(1, TEMPLATE_FIELDS + 1)}
KILOBYTE = 1024
MMS_BYTES = 300 * KILOBYTE
_MMS_TEXT = 4000
_MMS_SUBJECT, _MMS_ASCII_SUBJECT = 15, 39

_PLACEHOLDER = re.compile("%field([0-9]+)%")
_SIGNATURES = {
    "jpg": (b"\xff\xd8\xff",),
    "jpeg": (b"\xff\xd8\xff",),
    "png": (b"\x89PNG\r\n\x1a\n",),
    "gif": (b"GIF87a", b"GIF89a"),
}


@frozen
class Picture:
    """An MMS's picture, ready for the wire."""

    base64: str = field(repr=False)
    type: str


@frozen
class TextMessage:
    """One text for many, ready for the wire."""

    text: str = field(repr=False)
    mobiles: tuple[str, ...] = field(repr=False)
    subject: str = field(repr=False)
    send_at: str
    minutes: int
    event_id: str | None
    picture: Picture | None = None


@frozen
class ParamMessage:
    """Own texts, or a template and fields, for many; ready for the wire."""

    template: str | None = field(repr=False)
    recipients: tuple[ParamRecipient, ...] = field(repr=False)
    subject: str = field(repr=False)
    minutes: int
    event_id: str | None
    picture: Picture | None = None


@frozen
class PageQuery:
    """One page of a batch's rows."""

    batch_id: str
    page: int


@frozen
class Options:
    """What all sends take beside text and recipients, as callers gave it."""

    subject: object = field(repr=False)
    valid_for: object
    event_id: object
    attachment: object = field(default=None, repr=False)
    mms: bool = False


def utc_now() -> datetime:
    """Tell the time; handed in where tests need another."""
    return datetime.now(UTC)


def text_message(
    operation: str,
    text: object,
    to: object,
    options: Options,
    send_at: object,
    now: Callable[[], datetime] = utc_now,
) -> TextMessage:
    """Check one text for many."""
    problems = Problems()
    mobiles = problems.mobiles(to, abroad=not options.mms)
    message = shared_text(problems, text, mobiles, options, send_at, now())
    problems.end(operation)
    return message


def shared_text(
    problems: Problems,
    text: object,
    mobiles: tuple[str, ...],
    options: Options,
    send_at: object,
    now: datetime,
) -> TextMessage:
    """Check what all recipients of one text share."""
    message = TextMessage(
        text=problems.text("text", text, may_be_empty=options.mms),
        mobiles=mobiles,
        subject=_subject(problems, options),
        send_at=problems.send_at("send_at", send_at, now),
        minutes=problems.minutes(options.valid_for),
        event_id=_event_id(problems, options),
        picture=_picture(problems, options),
    )
    _check_mms_text(problems, "text", message.text, options)
    return message


def personalized(
    operation: str,
    messages: object,
    options: Options,
    now: Callable[[], datetime] = utc_now,
) -> ParamMessage:
    """Check own texts for many."""
    problems = Problems()
    given = _listed(problems, "messages", messages)
    recipients = _unmistakable(usual_people(given, None, options, now()))
    if recipients is None:
        checked = {
            name: own_text(problems, name, message, options, now())
            for name, message in _each(problems, "messages", given, PersonalizedMessage)
        }
        _check_references(problems, checked)
        recipients = [*checked.values()]
    return param_message(problems, operation, None, recipients, options)


def template(
    operation: str,
    template: object,
    recipients: object,
    options: Options,
    now: Callable[[], datetime] = utc_now,
) -> ParamMessage:
    """Check a template and the fields of many."""
    problems = Problems()
    form = Template.checked(problems, template)
    given = _listed(problems, "recipients", recipients)
    ready = _unmistakable(usual_people(given, form, options, now()))
    if ready is None:
        checked = {
            name: own_fields(problems, name, recipient, form, options, now())
            for name, recipient in _each(problems, "recipients", given, TemplateRecipient)
        }
        _check_references(problems, checked)
        ready = [*checked.values()]
    return param_message(problems, operation, form.text, ready, options)


def usual_people(
    items: Sequence[object], form: "Template | None", options: Options, now: datetime
) -> list[ParamRecipient] | None:
    """Check many people's own texts or fields; None where one of them takes a closer look."""
    if options.mms:
        return None  # each text is measured together with the picture
    return usual_texts(items, now) if form is None else usual_fields(items, form.needed, now)


def own_text(
    problems: Problems,
    name: str,
    message: PersonalizedMessage,
    options: Options,
    now: datetime,
) -> ParamRecipient:
    """Check one person's own text."""
    text = problems.text(f"{name}.text", message.text, may_be_empty=options.mms)
    _check_mms_text(problems, f"{name}.text", text, options)
    return _recipient(problems, name, message, text, options, now)


def own_fields(
    problems: Problems,
    name: str,
    recipient: TemplateRecipient,
    form: "Template",
    options: Options,
    now: datetime,
) -> ParamRecipient:
    """Check one person's fields for a template."""
    given = list(problems.several(f"{name}.fields", recipient.fields) or ())
    fields = [problems.text(f"{name}.fields[{n}]", each) for n, each in enumerate(given)]
    for position, each in enumerate(fields):
        problems.check(ok=SEPARATOR not in each, problem=f"{name}.fields[{position}]: can't hold |")
    if len(fields) < form.needed:
        problems.found.append(
            f"{name}.fields: has {len(fields)} of the {form.needed} that the template names"
        )
    problems.check(
        ok=len(fields) <= TEMPLATE_FIELDS,
        problem=f"{name}.fields: has {len(fields)}, more than {TEMPLATE_FIELDS}",
    )
    _check_mms_text(problems, f"{name}.fields", form.filled(fields), options)
    # Five fields, so four separators: fewer would shift what follows.
    param = SEPARATOR.join([*fields, *[""] * (TEMPLATE_FIELDS - len(fields))])
    return _recipient(problems, name, recipient, param, options, now)


@frozen
class Template:
    """A text with ``%field1%`` to ``%field5%`` where each person's fields stand."""

    text: str = field(repr=False)
    needed: int

    @classmethod
    def checked(cls, problems: Problems, value: object) -> "Template":
        """Check a template; `needed` is the highest field that it names."""
        text = problems.text("template", value, may_be_empty=False)
        named = set(_PLACEHOLDER.findall(text))
        problems.check(
            ok=named <= _FIELDS.keys(),
            problem=f"template: fields are %field1% to %field{TEMPLATE_FIELDS}%",
        )
        return cls(text, max((_FIELDS.get(number, 0) for number in named), default=0))

    def filled(self, fields: Sequence[str]) -> str:
        """Write the text as a person reads it."""
        shown = dict(zip(_FIELDS, fields, strict=False))
        return _PLACEHOLDER.sub(lambda found: shown.get(found[1], ""), self.text)


def batch(operation: str, batch_id: object) -> str:
    """Check a batch id: not empty, no control characters; its form is the gateway's business."""
    problems = Problems()
    checked = problems.identifier("batch_id", batch_id)
    problems.end(operation)
    return checked


def check_paging(
    operation: str,
    batch_id: object,
    start_page: object,
    window: object,
    response_format: object,
    formats: Iterable[object],
) -> None:
    """Check what a pager is given."""
    problems = Problems()
    problems.identifier("batch_id", batch_id)
    problems.positive("start_page", start_page)
    problems.positive("window", window)
    # By comparison, not by hash: it may be anything.
    problems.check(
        ok=any(response_format == known for known in formats),
        problem="response_format: can't be had for this query",
    )
    problems.end(operation)


def check_watching(operation: str, batch_id: object, every: object, timeout: object) -> None:
    """Check what a watch is given."""
    problems = Problems()
    problems.identifier("batch_id", batch_id)
    for name, value in (("every", every), ("timeout", timeout)):
        ok = isinstance(value, timedelta) and value > timedelta(0)
        problems.check(ok=ok, problem=f"{name}: must be a timedelta above zero")
    problems.end(operation)


def _listed(problems: Problems, name: str, values: object) -> list[object]:
    given = problems.several(name, values)
    listed = [] if given is None else [*given]
    problems.check(ok=given is None or bool(listed), problem=f"{name}: holds nobody")
    return listed


def _each(
    problems: Problems, name: str, values: list[object], wanted: type[Kind]
) -> Iterator[tuple[str, Kind]]:
    """Give each value that is of the wanted class, with its name for problems."""
    for position, value in enumerate(values):
        where = f"{name}[{position}]"
        if isinstance(value, wanted):
            yield where, value
        else:
            problems.found.append(f"{where}: must be a {wanted.__name__}, not {kind(value)}")


def _recipient(
    problems: Problems,
    name: str,
    given: PersonalizedMessage | TemplateRecipient,
    param: str,
    options: Options,
    now: datetime,
) -> ParamRecipient:
    return (
        problems.mobile(f"{name}.mobile", given.mobile, abroad=not options.mms),
        param,
        problems.line(f"{name}.name", given.name),
        problems.line(f"{name}.email", given.email),
        problems.send_at(f"{name}.send_at", given.send_at, now),
        problems.line(f"{name}.reference", given.reference),
    )


def _unmistakable(recipients: list[ParamRecipient] | None) -> list[ParamRecipient] | None:
    """Give recipients among whom no reference stands twice, else None."""
    references = [reference for *_, reference in recipients or () if reference]
    return recipients if len(set(references)) == len(references) else None


def _check_references(problems: Problems, recipients: Mapping[str, ParamRecipient]) -> None:
    first: dict[str, str] = {}
    for name, (*_, reference) in recipients.items():
        if reference:
            other = first.setdefault(reference, name)
            problems.check(
                ok=other == name,
                problem=f"{name}.reference: is that of {other}; it must be unique in a request",
            )


def param_message(
    problems: Problems,
    operation: str,
    template: str | None,
    recipients: Iterable[ParamRecipient],
    options: Options,
) -> ParamMessage:
    """Check what all recipients share, and put the request together."""
    message = ParamMessage(
        template=template,
        recipients=tuple(recipients),
        subject=_subject(problems, options),
        minutes=problems.minutes(options.valid_for),
        event_id=_event_id(problems, options),
        picture=_picture(problems, options),
    )
    problems.end(operation)
    return message


def _event_id(problems: Problems, options: Options) -> str | None:
    return None if options.event_id is None else problems.identifier("event_id", options.event_id)


def _subject(problems: Problems, options: Options) -> str:
    subject = problems.text("subject", options.subject, may_be_empty=not options.mms)
    limit = _MMS_ASCII_SUBJECT if subject.isascii() else _MMS_SUBJECT
    problems.check(
        ok=not options.mms or len(subject) <= limit,
        problem=f"subject: has {len(subject)} characters; an MMS takes {_MMS_SUBJECT}, or "
        f"{_MMS_ASCII_SUBJECT} when all are ASCII",
    )
    return subject


def _check_mms_text(problems: Problems, name: str, text: str, options: Options) -> None:
    """Check a text that goes out with a picture: its length, and the size of both."""
    if not options.mms:
        return
    problems.check(
        ok=len(text) <= _MMS_TEXT,
        problem=f"{name}: has {len(text)} characters; an MMS takes {_MMS_TEXT}",
    )
    size = picture_bytes(options.attachment) + text_bytes(text)
    problems.check(
        ok=size <= MMS_BYTES,
        problem=f"{name}: has {size} bytes with the picture; an MMS takes {MMS_BYTES}",
    )


def _picture(problems: Problems, options: Options) -> Picture | None:
    if not options.mms:
        return None
    attachment = attached(problems, options.attachment)
    if attachment is None:
        return None
    # By comparison, not by hash: the type may be anything.
    signatures = next((s for kind, s in _SIGNATURES.items() if kind == attachment.type), None)
    if signatures is None:
        problems.found.append(f"attachment: its type must be one of {', '.join(_SIGNATURES)}")
    elif not attachment.data.startswith(signatures):
        problems.found.append(f"attachment: its data is no {attachment.type} picture")
    return Picture(b64encode(attachment.data).decode("ascii"), attachment.type)


def attached(problems: Problems, value: object) -> Attachment | None:
    """Check that something is a picture's data with its type at all."""
    if _is_attachment(value):
        return value
    problems.found.append("attachment: must be an Attachment with data of bytes")
    return None


def picture_bytes(value: object) -> int:
    """Give a picture's size; 0 for what is none."""
    return len(value.data) if _is_attachment(value) else 0


def _is_attachment(value: object) -> TypeGuard[Attachment]:
    return isinstance(value, Attachment) and isinstance(value.data, bytes)


def text_bytes(text: str) -> int:
    """Give a text's size on the wire."""
    return len(text.encode("utf-8", "replace"))
