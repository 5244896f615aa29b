"""Keep tokens and numbers out of access logs, which show the whole URL of a push report."""

import logging
import re
import traceback
from collections.abc import Mapping
from typing import Any

from every8d_async._errors import mask

_STANDARD = frozenset(vars(logging.makeLogRecord({})))
# Not a part of something longer, as batch ids are.
_NUMBER = re.compile(r"(?<![\w-])(?:\+|%2b)?[0-9]{8,15}(?![\w-])", re.IGNORECASE)
_QUERY = re.compile(r"\?\S*\b(?:batchid|rm|sm)=\S*", re.IGNORECASE)

# Its errors quote pieces of a URL or a form, cut anywhere, which no pattern knows.
_PARSER = "aiohttp.http_exceptions."


class HideReports(logging.Filter):
    """
    Hides path tokens, numbers and texts of push reports in the records of a logger.

    ::

        HideReports("/reports").install()               # of uvicorn and aiohttp

    It never drops a record. Whatever stands behind the path is hidden, also a token that is wrong
    or old; a query with a report's names is hidden on any path, and so is any long number. In
    tracebacks, too; of what aiohttp's parser could not read, only the error's name stays.

    Args:
        path: Where reports come in, as it stands in the log: with a prefix that a proxy leaves on.
    """

    def __init__(self, path: str = "/reports") -> None:
        super().__init__()
        start = re.escape(path.rstrip("/"))
        self._target = re.compile(rf"({start}/)[^\s?]+(\?\S*)?", re.IGNORECASE)

    def install(self, *names: str) -> None:
        """Add it to loggers: those named, or those of uvicorn and aiohttp that show URLs."""
        for name in names or ("uvicorn.access", "aiohttp.access", "aiohttp.server"):
            logging.getLogger(name).addFilter(self)

    def filter(self, record: logging.LogRecord) -> bool:
        """Clean a record's message, arguments and traceback, and what else it was given."""
        record.msg = self._clean(record.msg)
        if isinstance(record.args, tuple):
            record.args = tuple(map(self._clean, record.args))
        elif record.args:
            record.args = self._all(record.args)
        # aiohttp hands the request line over a second time, and headers in a dict.
        for name in vars(record).keys() - _STANDARD:
            setattr(record, name, self._clean(getattr(record, name)))
        if record.exc_info and record.exc_info[1]:
            self._clean_traceback(record, record.exc_info[1])
        return True

    def _clean_traceback(self, record: logging.LogRecord, error: BaseException) -> None:
        text = "".join(traceback.format_exception(error)).rstrip("\n")
        kind = f"{type(error).__module__}.{type(error).__qualname__}"
        cleaned = kind if _PARSER in text else self._clean(text)
        if cleaned != text:
            record.exc_info, record.exc_text = None, cleaned

    def _clean(self, value: object) -> Any:
        if isinstance(value, str):
            without = _QUERY.sub("?***", self._target.sub(self._hidden, value))
            return _NUMBER.sub(lambda number: mask(number.group()), without)
        if isinstance(value, dict):
            return self._all(value)  # pyright: ignore[reportUnknownArgumentType]
        return value

    def _all(self, named: Mapping[Any, object]) -> dict[Any, Any]:
        return {name: self._clean(value) for name, value in named.items()}

    @staticmethod
    def _hidden(found: re.Match[str]) -> str:
        return f"{found[1]}***{'?***' * bool(found[2])}"
