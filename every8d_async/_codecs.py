"""
The wire's spellings as pairs of pure functions: FORM and JSON go out, COMMA and JSON come in.

Reading is strict about truth and tolerant about spelling: a byte order mark, white space around
the whole, a space after the first comma are let pass; anything else that breaks the grammar is
`BadReply`. A failure is `Refusal`.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from decimal import Decimal
from functools import cache
from json.encoder import encode_basestring
from typing import Any, NoReturn, cast
from urllib.parse import quote_plus

from attrs import field, frozen

from every8d_async._errors import mask_numbers
from every8d_async._models import Cancellation, FilteredReceipt, Receipt, canonical
from every8d_async._wire import BadReply, Refusal

quoted = encode_basestring
"""Writes a text as JSON does, with quotes around it, but what is not ASCII as it is."""

FORM = "application/x-www-form-urlencoded"
JSON = "application/json"

# Numbers are bounded: a run of digits without end is no count of anything.
_COUNT = r"([0-9]{1,15})"
_POINTS = r"([0-9]{1,15}(?:\.[0-9]{1,6})?)"
_CREDIT = r"(-?[0-9]{1,15}(?:\.[0-9]{1,6})?)"
# The full 36 characters: a reply that was cut inside its batch id must not pass for a receipt.
_BATCH_ID = r"([0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12})"

_RECEIPT = re.compile(rf"{_CREDIT}, ?{_COUNT}, ?{_POINTS}, ?{_COUNT}, ?{_BATCH_ID}")
_SENT = r"(?P<sent>[0-9]{1,15}), ?(?P<cost>[0-9]{1,15}(?:\.[0-9]{1,6})?), ?(?P<unsent>[0-9]{1,15})"
_BATCH = rf", ?(?P<batch>{_BATCH_ID})?"
_LISTS = r"(?:\s*,(?P<numbers>[+0-9/\s]*),(?P<batches>[0-9A-Fa-f\-/\s]*))?"
_FILTERED = re.compile(rf"(?P<credit>{_CREDIT}), ?{_SENT}{_BATCH}{_LISTS}")
_DRY_RUN = re.compile(rf"{_SENT}{_BATCH}{_LISTS}")
_CANCELLATION = re.compile(rf"{_COUNT}, ?{_POINTS}")
_CREDIT_ALONE = re.compile(_CREDIT)
_REFUSAL = re.compile(r"(-[0-9]{1,9}),(.*)", re.DOTALL)
# `-5,1,1,0,<cut>` is the start of an account's receipt that pays later, and must not pass for a
# refusal: neither with whatever follows it, nor where it was cut earlier.
_RECEIPT_BEGUN = re.compile(r"-[0-9]{1,9},(?:\s*[0-9]+,\s*[0-9].*|[0-9A-Fa-f.,+/\s-]*)", re.DOTALL)
_WHOLE_NUMBER = re.compile(r"-?[0-9]{1,9}")

_TOKEN = re.compile(r"[\x21-\x7e]{8,4096}")

# What a reply holds may be a token, a name or somebody's text, and where it broke no quote can be
# trusted to end it: an excerpt shows keys, tags and brackets, and marks all else.
_BONES = re.compile(
    r'("[A-Za-z_]{1,32}"\s*:|</?[!?]?[A-Za-z_]{1,32}|[{}\[\],>\t\r\n]|true|false|null)'
)
_LONG_WORD = re.compile(r"[0-9A-Za-z]{20,}")
_EXCERPT = 160


def form_body(fields: Mapping[str, object]) -> bytes:
    """Write fields as a form, in UTF-8."""
    pairs = (
        f"{quote_plus(name)}={value.form if isinstance(value, Escaped) else quote_plus(str(value))}"
        for name, value in fields.items()
    )
    return "&".join(pairs).encode("ascii")


@frozen
class Escaped:
    """A field that is escaped for a form already: very many mobiles are quicker escaped at once."""

    form: str = field(repr=False)


def listed(mobiles: Iterable[str]) -> Escaped:
    """Write mobiles in canonical form as one field: of their characters, only + is escaped."""
    return Escaped("%2C".join(mobiles).replace("+", "%2B"))


def json_body(fields: Mapping[str, object]) -> bytes:
    """Write fields as a JSON object, in UTF-8."""
    written = (
        b"%b:%b" % (_dumps(name), value.json if isinstance(value, Written) else _dumps(value))
        for name, value in fields.items()
    )
    return b"{%b}" % b",".join(written)


@frozen
class Written:
    """A field that is JSON already: what comes by the thousand is quicker written by hand."""

    json: bytes = field(repr=False)


def _dumps(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def read_text(body: bytes) -> str:
    """Decode a reply, without its byte order mark and the white space around it."""
    try:
        return body.decode("utf-8-sig").strip()
    except UnicodeDecodeError:
        pass
    raise BadReply("the reply is not UTF-8")


def excerpt(body: bytes) -> str:
    """Give a reply's beginning for an error: its bones, or a plain line with numbers masked."""
    text = body[: _EXCERPT * 2].decode("utf-8-sig", "replace").strip()
    if re.search(r'[{"<\t\r\n]', text):
        # Every second piece is a bone.
        pieces = enumerate(_BONES.split(text))
        text = "".join(
            "…" if place % 2 == 0 and piece.strip() else piece for place, piece in pieces
        )
    return mask_numbers(_LONG_WORD.sub("…", text))[:_EXCERPT]


def read_receipt(body: bytes) -> Receipt | Refusal:
    """Read ``CREDIT,SENDED,COST,UNSEND,BATCHID`` or ``Status,Msg`` (§2.2.3)."""
    text = read_text(body)
    # The success comes first: an account that pays later has a credit below zero.
    return _receipt(text) or _refusal_of_send(text, "a receipt")


def read_param_receipt(body: bytes) -> Receipt | Refusal:
    """Read ``{"Result": true, "Msg": "CREDIT,…"}`` or a refusal (§2.3.3)."""
    match _read_json(body, _refusal_of_send):
        case Refusal() as refusal:
            return refusal
        case {"Result": True, "Msg": str(text)} if receipt := _receipt(text.strip()):
            return receipt
        case _:
            raise BadReply("Msg: must be a receipt")


def _receipt(text: str) -> Receipt | None:
    if not (found := _RECEIPT.fullmatch(text)):
        return None
    credit, sent, cost, unsent, batch_id = found.groups()
    return Receipt(Decimal(credit), int(sent), Decimal(cost), int(unsent), batch_id)


def read_filtered_receipt(body: bytes) -> FilteredReceipt | Refusal:
    """
    Read the five fields of a receipt, then two lists where somebody was filtered (§2.5.3).

    The batch id may be empty where everybody was.
    """
    text = read_text(body)
    found = _FILTERED.fullmatch(text)
    receipt = _filtered(found.groupdict(), found["credit"]) if found else None
    return receipt or _refusal_of_send(text, "a filtered receipt")


def read_dry_run(body: bytes) -> FilteredReceipt | Refusal:
    """Read what a filtered send that does not send gives: the same without CREDIT (§2.5.5)."""
    text = read_text(body)
    if found := _DRY_RUN.fullmatch(text):
        receipt = _filtered(found.groupdict(), None)
    else:
        found = _FILTERED.fullmatch(text)
        receipt = _filtered(found.groupdict(), found["credit"]) if found else None
    return receipt or _refusal_or_bad(text, "the result of a dry run")


def _filtered(fields: dict[str, str | None], credit: str | None) -> FilteredReceipt | None:
    sent, batch_id = int(fields["sent"] or 0), fields["batch"] or ""
    if sent and not batch_id:
        return None
    # The lists come with white space in them, and need not pair.
    numbers, batches = (
        [item for item in re.sub(r"\s", "", fields[name] or "").split("/") if item]
        for name in ("numbers", "batches")
    )
    return FilteredReceipt(
        credit=None if credit is None else Decimal(credit),
        sent=sent,
        cost=Decimal(fields["cost"] or 0),
        unsent=int(fields["unsent"] or 0),
        batch_id=batch_id,
        filtered=tuple(canonical(number) or number for number in numbers),
        filtered_batch_ids=tuple(batches),
    )


def read_cancellation(body: bytes) -> Cancellation | Refusal:
    """Read ``count,refunded`` or ``Status,Msg`` (§5.1.3)."""
    text = read_text(body)
    if found := _CANCELLATION.fullmatch(text):
        return Cancellation(int(found[1]), Decimal(found[2]))
    return _refusal_or_bad(text, "a cancellation")


def read_credit(body: bytes) -> Decimal | Refusal:
    """Read the points left, or ``Status,Msg`` (§4.1.3)."""
    text = read_text(body)
    if found := _CREDIT_ALONE.fullmatch(text):
        return Decimal(found[0])
    return _refusal_or_bad(text, "an amount of points")


def read_refusal(text: str) -> Refusal | None:
    """Read ``Status,Msg``, split on the first comma only: messages hold commas."""
    found = _REFUSAL.fullmatch(text)
    return Refusal(int(found[1]), found[2].strip()) if found else None


def _refusal_or_bad(text: str, wanted: str) -> Refusal:
    refusal = read_refusal(text)
    if refusal is None:
        raise BadReply(f"the reply is neither {wanted} nor a refusal")
    return refusal


def _refusal_of_send(text: str, wanted: str) -> Refusal:
    if _RECEIPT_BEGUN.fullmatch(text):
        raise BadReply(f"the reply begins like {wanted}, and is none")
    return _refusal_or_bad(text, wanted)


def is_token(text: str) -> bool:
    """Tell whether a text can stand in a header as a token; 32 hex digits are the recorded form."""
    return _TOKEN.fullmatch(text) is not None


def read_json(body: bytes) -> dict[str, Any] | Refusal:
    """Read a JSON object; a refusal may come as ``{"Result": false, …}`` or as ``Status,Msg``."""
    return _read_json(body, _refusal_or_bad)


def _read_json(body: bytes, refusal_of: Callable[[str, str], Refusal]) -> dict[str, Any] | Refusal:
    plain = _quick_object(body)
    if plain is None:
        text = read_text(body)
        if not text.startswith("{"):
            return refusal_of(text, "a JSON object")
        plain = _loads(text)
    if "Result" not in plain:
        return plain
    # A success may carry "Status": "0" too: only Result decides.
    match plain["Result"]:
        case True:
            return plain
        case False:
            return _json_refusal(plain)
        case _:
            raise BadReply("Result: must be true or false")


def _quick_object(body: bytes) -> dict[str, Any] | None:
    """Read a JSON object in its usual spelling; None where it takes a closer look."""
    if (fast := fast_json()) is not None:
        with suppress(ValueError):
            plain = fast.loads(body)
            if isinstance(plain, dict):
                return cast("dict[str, Any]", plain)
    return None


def _loads(text: str) -> dict[str, Any]:
    if (fast := fast_json()) is not None:
        # What it refuses and the standard library takes (a lone surrogate, say) is taken all the
        # same: the extra must change nothing but the time.
        with suppress(ValueError):
            return cast("dict[str, Any]", fast.loads(text))
    try:
        return json.loads(text, parse_constant=_no_constant)  # type: ignore[no-any-return]
    except (ValueError, RecursionError):
        pass
    raise BadReply("the reply is not sound JSON")


@cache
def fast_json() -> Any:
    """Give orjson where the extra ``speed`` is installed; looked for when it is first needed."""
    try:
        import orjson  # noqa: PLC0415 - an extra
    except ImportError:
        return None
    return orjson


def _no_constant(name: str) -> NoReturn:
    raise ValueError(name)


def _json_refusal(plain: dict[str, Any]) -> Refusal:
    # A «no» stays one without its reasons: a login that was refused must not be tried again.
    status, message = plain.get("Status"), plain.get("Msg")
    # Only of what has no depth: writing out nested lists may take more stack than there is.
    digits = str(status).strip() if isinstance(status, int | str) else ""
    return Refusal(
        int(digits) if _WHOLE_NUMBER.fullmatch(digits) else 0,
        message if isinstance(message, str) else "",
    )
