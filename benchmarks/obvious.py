"""Reading and writing as one would at first: cattrs, json, strptime, and no thought of time."""

import json
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode
from xml.etree import ElementTree as ET

from attrs import frozen
from cattrs import Converter
from cattrs.gen import make_dict_structure_fn, make_dict_unstructure_fn, override

from every8d_async import DeliveryStatus, PersonalizedMessage

TAIPEI = timezone(timedelta(hours=8))


@frozen
class Report:
    """A delivery report."""

    reference: str
    name: str
    mobile: str
    sent_at: datetime | None
    cost: Decimal | None
    status: DeliveryStatus
    real_cost: Decimal | None
    received_at: datetime | None


@frozen
class Reports:
    """A page."""

    total: int
    rows: list[Report]


def _read_time(text: str | None, _: Any) -> datetime | None:
    if not text:
        return None
    return datetime.strptime(text.replace("/", "-"), "%Y-%m-%d %H:%M:%S").replace(tzinfo=TAIPEI)


def _write_time(value: datetime | None) -> str:
    return "" if value is None else value.strftime("%Y%m%d%H%M%S")


def _converter() -> Converter:
    converter = Converter()
    converter.register_structure_hook(datetime | None, _read_time)
    converter.register_structure_hook(
        Decimal | None, lambda text, _: Decimal(text) if text else None
    )
    converter.register_structure_hook(DeliveryStatus, lambda text, _: DeliveryStatus(int(text)))
    converter.register_structure_hook(
        Report,
        make_dict_structure_fn(
            Report,
            converter,
            reference=override(rename="MR"),
            name=override(rename="NAME"),
            mobile=override(rename="MOBILE"),
            sent_at=override(rename="SEND_TIME"),
            cost=override(rename="COST"),
            status=override(rename="STATUS"),
            real_cost=override(rename="REAL_COST"),
            received_at=override(rename="RECEIVED_TIME"),
        ),
    )
    converter.register_structure_hook(
        Reports,
        make_dict_structure_fn(
            Reports, converter, total=override(rename="SMS_COUNT"), rows=override(rename="DATA")
        ),
    )
    converter.register_unstructure_hook(
        PersonalizedMessage,
        make_dict_unstructure_fn(
            PersonalizedMessage,
            converter,
            mobile=override(rename="Mobile"),
            text=override(rename="Param"),
            name=override(rename="Name"),
            email=override(rename="Email"),
            send_at=override(rename="SendTime", unstruct_hook=_write_time),
            reference=override(rename="Mr"),
        ),
    )
    return converter


CONVERTER = _converter()


def from_json(body: bytes) -> Reports:
    """Read a JSON page."""
    return CONVERTER.structure(json.loads(body), Reports)


def from_table(body: bytes) -> Reports:
    """Read a TAB page; it lacks two columns."""
    count, *lines = body.decode().splitlines()
    names = ("NAME", "MOBILE", "SEND_TIME", "COST", "STATUS", "RECEIVED_TIME")
    rows = [
        {"MR": "", "REAL_COST": "", **dict(zip(names, line.split("\t"), strict=True))}
        for line in lines
    ]
    return CONVERTER.structure({"SMS_COUNT": count, "DATA": rows}, Reports)


def from_xml(body: bytes) -> Reports:
    """Read an XML page."""
    log = ET.fromstring(body)  # noqa: S314 - our own bytes
    rows = [{cell.tag: cell.text or "" for cell in row} for row in log.iter("SMS")]
    return CONVERTER.structure({"SMS_COUNT": len(rows), "DATA": rows}, Reports)


def personal_body(messages: list[PersonalizedMessage]) -> Any:
    """Write a send with a text for each."""
    rows = CONVERTER.unstructure(messages)
    return {"SB": "", "RETRYTIME": 1440, "RecipientDataList": rows}


def form_body(text: str, mobiles: tuple[str, ...]) -> bytes:
    """Write a send of one text to all."""
    fields = {"SB": "", "MSG": text, "DEST": ",".join(mobiles), "ST": "", "RETRYTIME": 1440}
    return urlencode(fields).encode()
