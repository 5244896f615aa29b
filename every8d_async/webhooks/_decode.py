"""From a query string, form body or mapping to names with values, in the encoding agreed on."""

import codecs
import re
from collections.abc import Iterator, Mapping
from typing import cast
from urllib.parse import unquote_to_bytes

from every8d_async._errors import mask

Pair = tuple[str, str]

_CODECS = {"utf-8": "utf-8", "cp950": "cp950", "big5": "cp950"}
_OWN = "every8d.own-characters"
_SURROGATE = re.compile("[\ud800-\udfff]")
_LONGEST = 40  # characters of a name that a problem shows


def codec_of(encoding: str) -> str:
    """
    Give Python's codec for the encoding chosen in the gateway's settings.

    BIG5 is cp950 to the gateway, which runs on Windows.

    Raises:
        ValueError: The gateway offers no such encoding.
    """
    try:
        return _CODECS[codecs.lookup(encoding).name]
    except (KeyError, LookupError):
        raise ValueError(f"encoding must be utf-8 or big5, not {encoding!r}") from None


def _own_characters(error: UnicodeError) -> tuple[str, int]:
    """Put U+FFFD for a character that Windows users define themselves, and for nothing else."""
    if isinstance(error, UnicodeDecodeError):
        lead, *trail = error.object[error.start : error.start + 2]
        if lead in range(0x81, 0xFF) and trail and trail[0] in range(0x40, 0xFF):
            return "\ufffd", error.start + 2
    raise error


codecs.register_error(_OWN, _own_characters)


def pairs_of(data: object, codec: str) -> Iterator[Pair | str]:
    """Give each name with its value, or a problem in place of a pair that can't be read."""
    if isinstance(data, Mapping):
        return _of_mapping(cast("Mapping[object, object]", data))
    if isinstance(data, str):
        try:
            data = data.encode(codec)
        except UnicodeEncodeError:
            return iter([f"holds characters that are not {codec}"])
    if isinstance(data, bytes):
        return _of_bytes(data, codec)
    return iter(["must be a query string, a form body or a mapping"])


def shown(name: str) -> str:
    """Show a name that a stranger may have chosen."""
    return mask(name) if not name.isidentifier() or len(name) > _LONGEST else name


def _of_bytes(data: bytes, codec: str) -> Iterator[Pair | str]:
    # A misconfigured encoding should be met at once, not be read as other characters.
    errors = _OWN if codec == "cp950" else "strict"
    for part in data.removeprefix(b"?").split(b"&"):
        name, _, value = (piece.replace(b"+", b" ") for piece in part.partition(b"="))
        try:
            pair = (
                unquote_to_bytes(name).decode(codec, errors),
                unquote_to_bytes(value).decode(codec, errors),
            )
        except UnicodeDecodeError:
            yield f"{shown(name.decode('ascii', 'replace'))}: is not {codec}"
        else:
            if part:
                yield pair


def _of_mapping(data: Mapping[object, object]) -> Iterator[Pair | str]:
    # The items of Starlette's, Django's and Werkzeug's mappings leave repeated values out.
    all_of = getattr(data, "getlist", None)
    for name, value in ((name, all_of(name)) for name in data) if all_of else data.items():
        if not isinstance(name, str):
            yield "a name is not text"
            continue
        values = cast("list[object]", value) if isinstance(value, list | tuple) else [value]
        for each in values:
            # A lone surrogate only looks like text: it can't be stored or sent on.
            if isinstance(each, str) and not _SURROGATE.search(name + each):
                yield name, each
            else:
                yield f"{shown(name)}: must be text"
