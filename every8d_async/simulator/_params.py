"""SendParam: a text for each recipient, or a template with fields; SMS, and MMS with a picture."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from every8d_async.simulator import _codes, _pictures
from every8d_async.simulator._booking import Order, Recipient, book
from every8d_async.simulator._call import Refused, as_text
from every8d_async.simulator._ledger import BAD_PARAMETER
from every8d_async.simulator._reading import canonical_all, fill_in, moment
from every8d_async.simulator._replies import success_json
from every8d_async.simulator._sends import event_id, valid_minutes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from every8d_async.simulator._booking import Picture
    from every8d_async.simulator._call import Call, Reply
    from every8d_async.simulator._state import State


def send_param(state: State, call: Call) -> Reply:
    """Send to each recipient what is theirs (§2.3, §2.4, §3.4, §3.5)."""
    account = state.accounts.authenticate(call, state.now())
    rows = _rows(call)
    mobiles = _mobiles(rows)
    picture = _picture(call, mobiles)
    template = call.text("MSG")
    recipients = [
        _recipient(row, mobile, template, is_mms=picture is not None)
        for row, mobile in zip(rows, mobiles, strict=True)
    ]
    _check_texts(recipients, picture)
    _check_references(recipients)
    order = Order(
        operation=call.operation,
        subject=call.text("SB"),
        valid_minutes=valid_minutes(call, _codes.EXCEPTION),
        event_id=event_id(account, call),
        picture=picture,
        recipients=recipients,
    )
    return success_json(state.options.dialect, book(state, account, order).receipt)


def _rows(call: Call) -> list[dict[str, str]]:
    value: Any = call.fields.get("RECIPIENTDATALIST")
    if not value:
        raise Refused(_codes.EMPTY_LIST)
    rows: list[Any] = value if _is_list(value) else [None]
    if not all(isinstance(row, dict) for row in rows):
        raise Refused(_codes.EXCEPTION)
    return [{name.upper(): as_text(value) for name, value in row.items()} for row in rows]


def _is_list(value: object) -> bool:
    return isinstance(value, list)


def _mobiles(rows: Sequence[Mapping[str, str]]) -> list[str]:
    written = [row.get("MOBILE", "").strip() for row in rows]
    if not all(written):
        raise Refused(_codes.NO_NUMBER)
    return canonical_all(written)


def _picture(call: Call, mobiles: Sequence[str]) -> Picture | None:
    # The subject is called mandatory, but the samples leave it empty: so may a request.
    if not call.text("ATTACHMENT") and not call.text("TYPE"):
        return None
    _pictures.check_domestic(mobiles)
    _pictures.check_subject(call.text("SB"), required=False)
    return _pictures.read_picture(call)


def _recipient(row: Mapping[str, str], mobile: str, template: str, *, is_mms: bool) -> Recipient:
    param = row.get("PARAM", "")
    text = fill_in(template, param) if template else param
    fate = BAD_PARAMETER if text is None else None
    if is_mms and text is not None:
        fate = _pictures.text_fate(text)
    return Recipient(
        mobile=mobile,
        text=template if text is None else text,
        name=row.get("NAME", ""),
        email=row.get("EMAIL", ""),
        reference=row.get("MR", "").strip(),
        scheduled_for=moment(row.get("SENDTIME", "").strip()),
        fate=fate,
    )


def _check_texts(recipients: Sequence[Recipient], picture: Picture | None) -> None:
    if picture is not None:
        _pictures.check_size(picture, (recipient.text for recipient in recipients))
    elif not all(recipient.text for recipient in recipients):
        raise Refused(_codes.NO_TEXT)


def _check_references(recipients: Sequence[Recipient]) -> None:
    given = [recipient.reference for recipient in recipients if recipient.reference]
    if len(set(given)) < len(given):
        raise Refused(_codes.REPEATED_REFERENCE)
