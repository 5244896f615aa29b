"""Pages of delivery reports as the gateway would write them, each with people and times its own."""

import json
from collections.abc import Iterator
from datetime import datetime, timedelta

START = datetime(2026, 1, 31, 12)  # noqa: DTZ001 - the wire's times have no zone
FORMATS = ("TAB", "JSON", "XML")  # RESPFORMAT is the place in it


def _rows(number: int, rows: int) -> Iterator[dict[str, str]]:
    # Sent within seconds, received over five minutes: what a page repeats, and what it doesn't.
    began = START + timedelta(minutes=7 * number)
    for row in range(rows):
        person = number * rows + row
        sent = began + timedelta(seconds=row * 10 // rows)
        received = sent + timedelta(seconds=row * 48271 % 300)
        yield {
            "MR": f"order-{person}",
            "NAME": f"王小明{person}",
            "MOBILE": f"+8869{person:08d}",
            "SEND_TIME": f"{sent:%Y-%m-%d %H:%M:%S}",
            "COST": "1.00",
            "STATUS": "103" if row % 20 == 0 else "100",
            "REAL_COST": "0.00" if row % 20 == 0 else "1.00",
            "RECEIVED_TIME": f"{received:%Y-%m-%d %H:%M:%S}",
        }


def page(number: int, rows: int, form: str = "JSON", total: int = 0) -> bytes:
    """Write the page of this number, of a batch with so many rows in `total`, or the page's own."""
    count, data = total or rows, list(_rows(number, rows))
    if form == "JSON":
        return json.dumps({"SMS_COUNT": count, "DATA": data}, ensure_ascii=False).encode()
    if form == "XML":
        cells = ("".join(f"<{name}>{row[name]}</{name}>" for name in row) for row in data)
        people = "".join(f"<SMS>{each}</SMS>" for each in cells)
        log = f'<CODE>0</CODE><GET_DELIVERY_STATUS COUNT="{count}">{people}</GET_DELIVERY_STATUS>'
        return f"<SMS_LOG>{log}</SMS_LOG>".encode()
    columns = ("NAME", "MOBILE", "SEND_TIME", "COST", "STATUS", "RECEIVED_TIME")
    lines = ("\t".join(row[name] for name in columns) for row in data)
    return "\n".join([str(count), *lines, ""]).encode()
