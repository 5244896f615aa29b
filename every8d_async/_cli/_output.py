"""What a command says: results on stdout, all else on stderr; nothing that a pipe can't take."""

import json
import logging
import os
import re
import sys
import traceback
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime
from decimal import Decimal
from typing import Any, TextIO

import attrs
import typer

from every8d_async import Every8DError
from every8d_async._cli._exits import Exit, Failure, code_of, sentence_of, weightiest

DEBUG = "EVERY8D_DEBUG"

# A reply, a name or an error may hold what steers a terminal.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_LAYOUT = re.compile("([\t\n])")


class Output:
    """
    Where a command's words go.

    Attributes:
        json: Results are JSON: one object, or one a line.
        code: What the command will end with.
    """

    def __init__(self, *, as_json: bool) -> None:
        self.json = as_json
        self.code = Exit.DONE
        self._bar: Callable[[str], None] | None = None

    def note(self, words: str) -> None:
        """Say something beside the results, on stderr; where nobody can hear it, go on."""
        with suppress(OSError):
            self._say(sys.stderr, words)

    def result(self, plain: Mapping[str, object], words: str = "") -> None:
        """
        Give a result, on stdout: the object for programs, or the words for people.

        Raises:
            OSError: It can't be written; what comes after it is not written either.
        """
        if self.json:
            text = json.dumps(plain, ensure_ascii=not _is_unicode(sys.stdout), default=_plain)
            self._say(sys.stdout, text)
        elif words:
            self._say(sys.stdout, words)

    @contextmanager
    def above(self, bar: Callable[[str], None]) -> Generator[None]:
        """Hand lines to a bar that moves at the foot of the terminal, while the block runs."""
        self._bar = bar
        try:
            yield
        finally:
            self._bar = None

    def _say(self, stream: TextIO, words: str) -> None:
        text = "".join(
            part if part in ("\t", "\n") else visible(part) for part in _LAYOUT.split(words)
        )
        if self._bar is not None and stream.isatty():
            self._bar(text)
        else:
            _write(stream, text)

    def end(self, code: Exit) -> None:
        """Say with what code to end, unless something weightier was said before."""
        self.code = weightiest(self.code, code)


@contextmanager
def telling(*, as_json: bool) -> Generator[Output]:
    """
    Give a command its output; whatever ends the command is one sentence and an exit code.

    Raises:
        typer.Exit: The command did not end with 0.
    """
    out = Output(as_json=as_json)
    _quiet_logs()
    try:
        yield out
    except Failure as failure:
        _fail(out, failure, failure.code, str(failure))
    except Every8DError as error:
        _fail(out, error, code_of(error), sentence_of(error))
    except (KeyboardInterrupt, typer.Abort) as error:
        _fail(out, error, Exit.INTERRUPTED, "interrupted.")
    except (typer.Exit, BrokenPipeError):
        raise  # whoever reads us may have enough: typer ends quietly
    except Exception as error:  # noqa: BLE001 - of a bug, too, a person is told in a sentence
        _fail(out, error, Exit.FAILED, _of_this_machine(error))
    if out.code:
        raise typer.Exit(out.code)


def _fail(out: Output, error: BaseException, code: Exit, sentence: str) -> None:
    if os.environ.get(DEBUG):
        traceback.print_exception(error)
    name = type(error).__name__
    if out.json:
        with suppress(OSError):
            out.result(
                {
                    "error": "Failure" if isinstance(error, Failure) else name,
                    "message": sentence,
                    "exit_code": code,
                }
            )
    out.note(f"every8d: {sentence}")
    out.end(code)


def _of_this_machine(error: Exception) -> str:
    name = type(error).__name__
    # By its module, so that SQLite is loaded only where a campaign is.
    if isinstance(error, OSError) or type(error).__module__ == "sqlite3":
        return f"{name}: {error}."
    return f"a fault of this program ({name}); {DEBUG}=1 shows where."


def _quiet_logs() -> None:
    """Keep the package's log off stderr, where a command says the same in its own words."""
    log = logging.getLogger("every8d_async")
    if os.environ.get(DEBUG):
        logging.basicConfig(level=logging.DEBUG)
    elif not log.handlers:
        log.addHandler(logging.NullHandler())


def visible(text: str) -> str:
    """Show control characters instead of letting them act."""
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def points(value: Decimal) -> str:
    """Write points for people."""
    return f"{value:,} point" if value == 1 else f"{value:,} points"


def several(count: int, what: str = "message") -> str:
    """Write a count of things for people."""
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"


def _write(stream: TextIO, text: str) -> None:
    encoding = stream.encoding or "utf-8"
    # A terminal that can't show a character must not end the command.
    try:
        stream.write(text.encode(encoding, "backslashreplace").decode(encoding) + "\n")
        stream.flush()
    except OSError:
        give_up(stream)
        raise


def give_up(stream: TextIO) -> None:
    """Drop what is still in a stream that can't be written: it would fail again as Python ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _is_unicode(stream: TextIO) -> bool:
    return (stream.encoding or "utf-8").lower().replace("-", "").startswith("utf")


def _plain(value: Any) -> Any:
    match value:
        case Decimal():
            return str(value)
        case datetime():
            return value.isoformat()
        case _:
            return attrs.asdict(value, recurse=False)
