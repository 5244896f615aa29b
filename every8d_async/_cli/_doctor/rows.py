"""Findings in words: a row a check, or a question of the live probe."""

from collections.abc import Mapping
from enum import StrEnum

from attrs import field, frozen


class State(StrEnum):
    """How a check or a question ended."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"
    NOT_ASKED = "not asked"
    ANSWERED = "answered"
    INCONCLUSIVE = "inconclusive"


@frozen
class Row:
    """
    One finding; it holds no secret, number or text.

    Attributes:
        name: The check, or the question.
        state: How it ended.
        said: What was found, in a sentence.
        next: What to do next, where there is something to do.
        facts: The same for programs, where a sentence says too little.
    """

    name: str
    state: State
    said: str
    next: str = ""
    facts: Mapping[str, object] = field(factory=dict[str, object])

    @property
    def data(self) -> dict[str, object]:
        """Give it for JSON."""
        return {
            "name": self.name,
            "state": str(self.state),
            "said": self.said,
            "next": self.next,
            "facts": dict(self.facts),
        }


@frozen
class Target:
    """Whom to examine: an account, its site, and the proxy on the way."""

    uid: str = field(repr=False)
    password: str = field(repr=False)
    site: str
    proxy: str | None = field(default=None, repr=False)
