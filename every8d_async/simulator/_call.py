"""What passes between the face of the simulator and its core: a call in, a reply out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attrs import field, frozen

if TYPE_CHECKING:
    from collections.abc import Mapping

    from every8d_async.simulator._values import Refusal

TEXT = "text/plain; charset=utf-8"
JSON = "application/json; charset=utf-8"
XML = "text/xml; charset=utf-8"
HTML = "text/html; charset=utf-8"


class Refused(Exception):
    """Leave an operation with a refusal, which is written as the operation's replies are."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal)
        self.refusal = refusal


@frozen(kw_only=True)
class Call:
    """
    A request after its spelling is settled: field names are in upper case.

    Attributes:
        is_json: Whether the body says that it is JSON.
        is_malformed: Whether it should have been a JSON object, and is none.
    """

    operation: str
    fields: Mapping[str, Any] = field(repr=False)
    token: str | None = field(default=None, repr=False)
    is_json: bool = False
    is_malformed: bool = False

    def text(self, name: str) -> str:
        """Give a field as text; one that is missing (or null in JSON) is empty."""
        return as_text(self.fields.get(name))


@frozen(kw_only=True)
class Reply:
    """The bytes that go back."""

    body: bytes
    content_type: str = TEXT
    status: int = 200
    headers: Mapping[str, str] = field(factory=dict[str, str])


def as_text(value: Any) -> str:
    """Write a JSON scalar as the gateway's own typed reader would take it: null is empty."""
    if value is None:
        return ""
    return value if isinstance(value, str) else str(value)
