"""The async client for EVERY8D, Taiwan's bulk SMS and MMS gateway (API 2.1)."""

from every8d_async._errors import (
    AccessBlocked,
    AccountLocked,
    AuthenticationFailed,
    CancelRefused,
    Every8DError,
    GatewayRefused,
    GatewayUnavailable,
    GatewayUnreachable,
    InvalidRequest,
    MalformedReply,
    OutcomeUnknown,
    RateLimited,
    SessionMisuse,
)
from every8d_async._models import (
    TAIPEI,
    Cancellation,
    DeliveryReport,
    DeliveryStatus,
    Page,
    Receipt,
    mobile,
)
from every8d_async._options import CallEvent, RateLimit, RetryPolicy, Timeout
from every8d_async._paging import Pager
from every8d_async._session import Every8DSession
from every8d_async._tokens import MemoryTokenStore, StoredRefusal, StoredToken, TokenStore
from every8d_async._version import __version__

__all__ = [
    "TAIPEI",
    "AccessBlocked",
    "AccountLocked",
    "AuthenticationFailed",
    "CallEvent",
    "CancelRefused",
    "Cancellation",
    "DeliveryReport",
    "DeliveryStatus",
    "Every8DError",
    "Every8DSession",
    "GatewayRefused",
    "GatewayUnavailable",
    "GatewayUnreachable",
    "InvalidRequest",
    "MalformedReply",
    "MemoryTokenStore",
    "OutcomeUnknown",
    "Page",
    "Pager",
    "RateLimit",
    "RateLimited",
    "Receipt",
    "RetryPolicy",
    "SessionMisuse",
    "StoredRefusal",
    "StoredToken",
    "Timeout",
    "TokenStore",
    "__version__",
    "mobile",
]
