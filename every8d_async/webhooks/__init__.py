"""
Push reports: what the gateway tells of its own accord, read, received and confirmed (§6).

::

    app = webhooks.asgi(store, tokens=["2Zr1…"])    # answers GET and POST at …/2Zr1…

`parse_report` alone is pure, for a receiver of your own. Reports are unsigned and come from no
known address: the token in the path keeps strangers out, and `confirm` asks the gateway itself
before anything is believed.
"""

from every8d_async.webhooks._asgi import ReportApp, asgi
from every8d_async.webhooks._confirm import confirm, confirm_all
from every8d_async.webhooks._logs import HideReports
from every8d_async.webhooks._parse import parse_report
from every8d_async.webhooks._receiver import (
    MAX_BYTES,
    Handler,
    Quarantine,
    Receiver,
    ReceiverStats,
    new_token,
)
from every8d_async.webhooks._values import InvalidReport, PushedReply, PushedReport

__all__ = [
    "MAX_BYTES",
    "Handler",
    "HideReports",
    "InvalidReport",
    "PushedReply",
    "PushedReport",
    "Quarantine",
    "Receiver",
    "ReceiverStats",
    "ReportApp",
    "asgi",
    "confirm",
    "confirm_all",
    "new_token",
    "parse_report",
]
