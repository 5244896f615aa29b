"""The async client for EVERY8D, Taiwan's bulk SMS and MMS gateway (API 2.1)."""

from every8d_async._bulk import BatchOutcome, BulkRun, BulkSummary
from every8d_async._codes import DeliveryStatus
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
    Attachment,
    Cancellation,
    DeliveryReport,
    Estimate,
    FilteredReceipt,
    Page,
    PersonalizedMessage,
    Receipt,
    Reply,
    ResponseFormat,
    TemplateRecipient,
    mobile,
)
from every8d_async._options import (
    CallEvent,
    RateLimit,
    RetryPolicy,
    SessionStats,
    SharedRateLimit,
    Timeout,
)
from every8d_async._paging import Pager
from every8d_async._session import Every8DSession
from every8d_async._stores import FileTokenStore
from every8d_async._tokens import MemoryTokenStore, StoredRefusal, StoredToken, TokenStore
from every8d_async._version import __version__
from every8d_async._watch import Watch

__all__ = [
    "TAIPEI",
    "AccessBlocked",
    "AccountLocked",
    "Attachment",
    "AuthenticationFailed",
    "BatchOutcome",
    "BulkRun",
    "BulkSummary",
    "CallEvent",
    "CancelRefused",
    "Cancellation",
    "DeliveryReport",
    "DeliveryStatus",
    "Estimate",
    "Every8DError",
    "Every8DSession",
    "FileTokenStore",
    "FilteredReceipt",
    "GatewayRefused",
    "GatewayUnavailable",
    "GatewayUnreachable",
    "InvalidRequest",
    "MalformedReply",
    "MemoryTokenStore",
    "OutcomeUnknown",
    "Page",
    "Pager",
    "PersonalizedMessage",
    "RateLimit",
    "RateLimited",
    "Receipt",
    "Reply",
    "ResponseFormat",
    "RetryPolicy",
    "SessionMisuse",
    "SessionStats",
    "SharedRateLimit",
    "StoredRefusal",
    "StoredToken",
    "TemplateRecipient",
    "Timeout",
    "TokenStore",
    "Watch",
    "__version__",
    "mobile",
]
