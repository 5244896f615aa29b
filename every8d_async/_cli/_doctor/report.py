"""The live probe's report: a file for its owner alone, to be handed on as it is."""

import json
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

from every8d_async._cli._doctor.rows import Row
from every8d_async._cli._exits import Exit, Failure
from every8d_async._session import SITE
from every8d_async._version import __version__

_OWNER_ALONE = 0o600


def default_file() -> Path:
    """Name a report where nobody has."""
    return Path(f"every8d-probe-{datetime.now(UTC):%Y%m%d-%H%M%S}.md")


def create(file: Path) -> TextIO:
    """
    Open a new report before anything is paid for that it could not hold.

    Raises:
        Failure: The file is there already, or can't be made.
    """
    try:
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _OWNER_ALONE)
    except FileExistsError:
        raise Failure(
            Exit.MEND, f"{file} is there already; name another by --report. Nothing was sent."
        ) from None
    except OSError as error:
        raise Failure(
            Exit.MEND, f"{file} can't be written ({error.strerror}). Nothing was sent."
        ) from None
    return os.fdopen(handle, "w", encoding="utf-8")


def write(file: TextIO, rows: Sequence[Row], site: str, *, as_json: bool) -> None:
    """Write rows as Markdown or JSON; dedicated platforms stay unnamed."""
    head = {
        "made_by": f"every8d-async {__version__}",
        "made_at": f"{datetime.now(UTC):%Y-%m-%dT%H:%MZ}",
        "site": SITE if site == SITE else "another one",
    }
    data = [row.data for row in rows]
    if as_json:
        text = json.dumps(head | {"rows": data}, indent=2)
    else:
        text = _markdown(head, rows, json.dumps(data, indent=2))
    file.write(text + "\n")


def _markdown(head: dict[str, str], rows: Sequence[Row], data: str) -> str:
    lines = ["# Live probe of the EVERY8D gateway", ""]
    lines += [f"- {name.replace('_', ' ')}: {value}" for name, value in head.items()]
    lines += ["", "| question | state | found |", "|---|---|---|"]
    lines += [f"| {row.name} | {row.state} | {row.said} |" for row in rows]
    return "\n".join([*lines, "", "```json", data, "```"])
