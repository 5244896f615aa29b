"""Ways to write the bodies of large sends."""

import json
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

from benchmarks import obvious
from benchmarks.measure import Run, repeated
from every8d_async import PersonalizedMessage
from every8d_async._endpoints import SEND_PERSONALIZED, SEND_SMS
from every8d_async._requests import Options, personalized, text_message

TEXT = "週年慶 全館八折，僅此三日"
OPTIONS = Options(subject="", valid_for=None, event_id=None)
Work = Callable[[], object]


def _people(count: int) -> list[PersonalizedMessage]:
    return [
        PersonalizedMessage(f"+8869{n:08d}", f"您的訂單 {n} 已出貨", reference=str(n))
        for n in range(count)
    ]


def personal(count: int) -> Work:
    """Write what was checked, one text each."""
    message = personalized("sms.send_personalized", _people(count), OPTIONS)
    return lambda: SEND_PERSONALIZED.request(message).body


def checked(count: int) -> Work:
    """Check it too."""
    people = _people(count)

    def work() -> bytes:
        message = personalized("sms.send_personalized", people, OPTIONS)
        return SEND_PERSONALIZED.request(message).body

    return work


def obvious_personal(count: int) -> Work:
    """Write it by cattrs and json."""
    people = _people(count)
    return lambda: json.dumps(obvious.personal_body(people)).encode()


def form(count: int) -> Work:
    """Write one text for many."""
    mobiles = [person.mobile for person in _people(count)]
    message = text_message("sms.send", TEXT, mobiles, OPTIONS, None)
    return lambda: SEND_SMS.request(message).body


def obvious_form(count: int) -> Work:
    """Write it by urlencode."""
    mobiles = tuple(person.mobile for person in _people(count))
    return lambda: obvious.form_body(TEXT, mobiles)


WRITERS: dict[str, Callable[[int], Work]] = {
    "personal": personal,
    "checked": checked,
    "obvious_personal": obvious_personal,
    "form": form,
    "obvious_form": obvious_form,
}


@contextmanager
def encoding(writer: str, count: int, **_: Any) -> Generator[Run]:
    """Write the same again and again."""
    yield repeated(WRITERS[writer](count))
