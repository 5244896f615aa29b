"""How the command ends: one sentence for a person, and an exit code for what to do next."""

from enum import IntEnum

from every8d_async import (
    AccessBlocked,
    AccountLocked,
    AuthenticationFailed,
    Every8DError,
    GatewayRefused,
    InvalidRequest,
    OutcomeUnknown,
    SessionMisuse,
)


class Exit(IntEnum):
    """
    What to do next.

    Where several hold, the weightiest is given: `UNKNOWN` before all, then what stopped the whole
    (`INTERRUPTED`, `ACCESS`, `CREDIT`, `LATER`), then `REFUSED`.
    """

    DONE = 0
    FAILED = 1
    MEND = 2
    REFUSED = 3
    LATER = 4
    ACCESS = 5
    UNKNOWN = 6
    CREDIT = 7
    INTERRUPTED = 130


MEANINGS = {
    Exit.DONE: "done: nothing is left to do",
    Exit.FAILED: "this machine or program failed (disk, bug): read the sentence",
    Exit.MEND: "mend the command or the file: nothing was sent",
    Exit.REFUSED: "some or all was refused: mend those messages, send them again",
    Exit.LATER: "some or all is not sent or not there yet: try again later",
    Exit.ACCESS: "no access: mend uid and password, or have your address allowed",
    Exit.UNKNOWN: "UNKNOWN, it may have been sent: look before you send again",
    Exit.CREDIT: "the credit is gone: some got nothing, buy points",
    Exit.INTERRUPTED: "interrupted: it says how to go on",
}

_WEIGHT = (
    Exit.UNKNOWN,
    Exit.INTERRUPTED,
    Exit.ACCESS,
    Exit.CREDIT,
    Exit.LATER,
    Exit.REFUSED,
    Exit.MEND,
    Exit.FAILED,
)


class Failure(Exception):
    """What ends a command: its exit code, and a sentence with the next step."""

    def __init__(self, code: Exit, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code


def weightiest(*codes: Exit) -> Exit:
    """Give the one code that says most about what to do next."""
    return min(codes, key=lambda code: _WEIGHT.index(code) if code else len(_WEIGHT))


_CODES: tuple[tuple[type[Every8DError], Exit], ...] = (
    (OutcomeUnknown, Exit.UNKNOWN),
    (AuthenticationFailed, Exit.ACCESS),
    (AccessBlocked, Exit.ACCESS),
    (GatewayRefused, Exit.REFUSED),
    (InvalidRequest, Exit.MEND),
    (SessionMisuse, Exit.FAILED),
)


def code_of(error: Every8DError) -> Exit:
    """Give the exit code for an error of the package."""
    if isinstance(error, GatewayRefused) and error.code > 0:
        return Exit.LATER  # an HTTP status: the gateway looked at no message
    if type(error).__name__ == "JournalError":
        return Exit.MEND  # by its name, so that SQLite is loaded only where a campaign is
    return next((code for kind, code in _CODES if isinstance(error, kind)), Exit.LATER)


def sentence_of(error: Every8DError) -> str:
    """Say what went wrong and what comes next, in the words of this command."""
    match error:
        case AccountLocked():
            return (
                f"the gateway refused the login: {error.code} ({error.description}). Nothing was "
                "sent. Ask the gateway's support to unlock it, then run: every8d token check"
            )
        case AuthenticationFailed():
            return (
                f"the gateway refused the login: {error.code} ({error.description}). Nothing was "
                "sent. Mend uid and password, then test them with: every8d token check. (Until "
                "then a refusal is remembered here, since more than ten failed logins lock the "
                "account.)"
            )
        case _:
            return str(error)
