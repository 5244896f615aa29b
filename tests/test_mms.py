"""Pictures: their type, their size together with the text, subjects, and numbers at home."""

from base64 import b64decode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from every8d_async import Attachment, InvalidRequest, PersonalizedMessage, TemplateRecipient
from every8d_async._requests import (
    Options,
    ParamMessage,
    TextMessage,
    personalized,
    template,
    text_message,
)
from every8d_async.simulator import Account, Simulator
from tests import kit
from tests.kit import ABROAD, FIRST, NOW, PICTURE, PICTURES, SECOND

LIMIT = 300 * 1024
OTHERS = {"pdf": b"%PDF-1.7", "webp": b"RIFF\x00\x00\x00\x00WEBP", "nothing": b"", "text": b"GIF"}


def options(attachment: object = PICTURE, subject: object = "主旨") -> Options:
    return Options(subject, valid_for=None, event_id=None, attachment=attachment, mms=True)


def one_text(text: object, to: object = FIRST, given: Options | None = None) -> TextMessage:
    return text_message("mms.send", text, to, given or options(), None, now=lambda: NOW)


def own_texts(*texts: str, given: Options | None = None) -> ParamMessage:
    messages = [PersonalizedMessage(FIRST, text) for text in texts]
    return personalized("mms.send_personalized", messages, given or options(), now=lambda: NOW)


def filled(text: str, *fields: list[str], given: Options | None = None) -> ParamMessage:
    recipients = [TemplateRecipient(FIRST, each) for each in fields]
    return template("mms.send_template", text, recipients, given or options(), now=lambda: NOW)


def problems(check: Callable[[], object]) -> list[str]:
    with pytest.raises(InvalidRequest) as caught:
        check()
    return list(caught.value.problems)


def of_size(size: int) -> Attachment:
    return Attachment(PICTURES["png"].ljust(size, b"\0"), "png")


# --- the picture ---


@pytest.mark.parametrize("kind", ["jpg", "jpeg", "png", "gif"])
def test_pictures(kind: Any) -> None:
    """A picture whose signature is its type's goes out in base64, with its type."""
    data = PICTURES["jpg" if kind == "jpeg" else kind]
    picture = one_text("a", given=options(Attachment(data, kind))).picture
    assert picture is not None
    assert (data, kind) == (b64decode(picture.base64), picture.type)


@pytest.mark.parametrize("start", [b"GIF87a", b"GIF89a"])
def test_both_kinds_of_gif(start: bytes) -> None:
    """GIFs come in two versions."""
    assert one_text("a", given=options(Attachment(start + b"...", "gif"))).picture


@pytest.mark.parametrize("named", ["jpg", "jpeg", "png", "gif"])
@pytest.mark.parametrize("found", [*PICTURES, *OTHERS])
def test_the_type_is_held_against_the_data(found: str, named: Any) -> None:
    """A picture that is none of its type is refused here: the phones would show nothing."""
    if found == named or (found, named) == ("jpg", "jpeg"):
        return
    data = (PICTURES | OTHERS)[found]
    expected = [f"attachment: its data is no {named} picture"]
    assert expected == problems(lambda: one_text("a", given=options(Attachment(data, named))))


TYPES = "attachment: its type must be one of jpg, jpeg, png, gif"


@pytest.mark.parametrize("kind", ["webp", "JPG", ".jpg", "image/jpeg", "", None, 5, ["jpg"]])
def test_other_types(kind: Any) -> None:
    """The gateway takes four types, in small letters; anything else is refused."""
    assert problems(lambda: one_text("a", given=options(Attachment(b"", kind)))) == [TYPES]


@pytest.mark.parametrize(
    "attachment",
    [None, b"\xff\xd8\xff", "picture.jpg", Path("picture.jpg"),
     Attachment("text", "jpg"),  # type: ignore[arg-type]
     Attachment(bytearray(PICTURES["jpg"]), "jpg"),  # type: ignore[arg-type]
     Attachment(None, "jpg")],  # type: ignore[arg-type]
    ids=["None", "bytes", "text", "path", "of text", "of bytearray", "of None"],
)  # fmt: skip
def test_what_is_no_attachment(attachment: Any) -> None:
    """An Attachment holds bytes, which can't change while they go out."""
    given = options(attachment)
    expected = ["attachment: must be an Attachment with data of bytes"]
    assert expected == problems(lambda: one_text("a", given=given))
    assert expected == problems(lambda: own_texts("a", given=given))
    assert expected == problems(lambda: filled("a", [], given=given))


@pytest.mark.parametrize("name", ["picture", "picture.", "picture.webp", "jpg"])
def test_from_a_path_without_a_known_ending(name: str, tmp_path: Path) -> None:
    """Reading checks nothing; sending says which types there are."""
    (tmp_path / name).write_bytes(PICTURES["jpg"])
    attachment = Attachment.from_path(tmp_path / name)
    assert problems(lambda: one_text("a", given=options(attachment))) == [TYPES]


def test_no_picture_is_shown() -> None:
    """A repr tells a picture's size, not its bytes; a request's shows nothing of it."""
    assert repr(Attachment(b"\xff\xd8\xff" * 1000, "jpg")) == (
        "Attachment(data=<3000 bytes>, type='jpg')"
    )
    assert "base64" not in repr(one_text("a").picture)


# --- sizes ---


@pytest.mark.parametrize(
    ("picture", "text", "size"),
    [
        (LIMIT, "", None),
        (LIMIT + 1, "", LIMIT + 1),
        (LIMIT - 3, "abc", None),
        (LIMIT - 2, "abc", LIMIT + 1),
        (LIMIT - 3, "好", None),
        (LIMIT - 2, "好", LIMIT + 1),
        (LIMIT - 4, "😀", None),
        (LIMIT - 3, "😀", LIMIT + 1),
        (LIMIT - 12000, "好" * 4000, None),
        (LIMIT - 11999, "好" * 4000, LIMIT + 1),
    ],
)
def test_picture_and_text_together(picture: int, text: str, size: int | None) -> None:
    """300 KB of 1024 bytes each: the picture's raw bytes and the text's in UTF-8."""
    given = options(of_size(picture))
    if size is None:
        assert one_text(text, given=given).picture
        assert own_texts(text, given=given).picture
        return
    words = f"has {size} bytes with the picture; an MMS takes {LIMIT}"
    assert [f"text: {words}"] == problems(lambda: one_text(text, given=given))
    assert [f"messages[0].text: {words}"] == problems(lambda: own_texts(text, given=given))


def test_each_text_counts_by_itself() -> None:
    """Every person gets the picture with their own text: the longest decides."""
    given = options(of_size(LIMIT - 5))
    assert own_texts("abcde", "abcde", given=given).picture
    assert problems(lambda: own_texts("abcde", "abcdef", given=given)) == [
        f"messages[1].text: has {LIMIT + 1} bytes with the picture; an MMS takes {LIMIT}"
    ]


def test_a_template_counts_as_filled_in() -> None:
    """What people read counts: not the placeholders, nor fields that the template does not name."""
    given = options(of_size(LIMIT - 5))
    assert filled("%field1%", ["abcde"], given=given).picture
    assert filled("%field2%!", ["a field that is not named", "abcd"], given=given).picture
    assert problems(lambda: filled("%field1%%field1%", ["abc"], ["a"], given=given)) == [
        f"recipients[0].fields: has {LIMIT + 1} bytes with the picture; an MMS takes {LIMIT}"
    ]


@pytest.mark.parametrize("char", ["a", "好", "😀"])
def test_4000_characters(char: str) -> None:
    """A text may have 4,000 characters, whatever they are."""
    assert one_text(char * 4000).text == char * 4000
    words = "has 4001 characters; an MMS takes 4000"
    assert [f"text: {words}"] == problems(lambda: one_text(char * 4001))
    assert [f"messages[1].text: {words}"] == problems(lambda: own_texts("", char * 4001))
    filled("%field1%", [char * 4000])
    assert [f"recipients[0].fields: {words}"] == problems(
        lambda: filled(f"%field1%{char}", [char * 4000])
    )


def test_an_sms_has_no_such_limit() -> None:
    """The gateway splits long texts: their length is no problem there."""
    given = Options(subject="", valid_for=None, event_id=None)
    message = text_message("sms.send", "好" * 5000, FIRST, given, None)
    assert len(message.text) == 5000


@pytest.mark.parametrize(
    ("subject", "characters"),
    [
        ("a" * 39, None),
        ("a" * 40, 40),
        ("主" * 15, None),
        ("主" * 16, 16),
        ("a" * 14 + "主", None),
        ("a" * 15 + "主", 16),
        ("😀" * 15, None),
        ("😀" * 16, 16),
    ],
)
def test_subjects(subject: str, characters: int | None) -> None:
    """39 characters of ASCII, or 15 where any is not."""
    given = options(subject=subject)
    if characters is None:
        assert subject == one_text("a", given=given).subject
        return
    words = f"has {characters} characters; an MMS takes 15, or 39 when all are ASCII"
    assert [f"subject: {words}"] == problems(lambda: one_text("a", given=given))
    assert [f"subject: {words}"] == problems(lambda: own_texts("a", given=given))
    assert [f"subject: {words}"] == problems(lambda: filled("a", [], given=given))


def test_a_subject_is_required() -> None:
    """The table has it mandatory; the samples that leave it empty are not followed."""
    given = options(subject="")
    for check in (
        lambda: one_text("a", given=given),
        lambda: own_texts("a", given=given),
        lambda: filled("a", [], given=given),
    ):
        assert problems(check) == ["subject: must not be empty"]


def test_an_empty_text_may_go_with_a_picture() -> None:
    """MSG is optional for an MMS; a template is not."""
    assert one_text("").text == ""
    assert own_texts("").recipients[0][1] == ""
    assert problems(lambda: filled("", [])) == ["template: must not be empty"]


# --- numbers ---

FAR = "an MMS can't go to a foreign number"


def test_no_foreign_numbers() -> None:
    """Each foreign number is named where it stands, also behind ones that are none."""
    assert problems(lambda: one_text("a", ["12", FIRST, ABROAD, FIRST, "+4915112345678"])) == [
        "to[0]: '12…' is no mobile number",
        f"to[2]: {FAR}",
        "to[3]: '+8869…001' is the same mobile as to[1] and would be sent and billed twice",
        f"to[4]: {FAR}",
    ]
    messages = [PersonalizedMessage("12", "a"), PersonalizedMessage(ABROAD, "a")]
    assert problems(lambda: personalized("mms.send_personalized", messages, options())) == [
        "messages[0].mobile: '12…' is no mobile number",
        f"messages[1].mobile: {FAR}",
    ]
    people = [TemplateRecipient(ABROAD, []), TemplateRecipient(SECOND, [])]
    assert problems(lambda: template("mms.send_template", "a", people, options())) == [
        f"recipients[0].mobile: {FAR}"
    ]


def test_everything_at_once() -> None:
    """Number, subject, text, picture: one error tells it all."""
    given = options(Attachment(b"?" * (LIMIT + 1), "png"), subject="主" * 16)
    assert problems(lambda: one_text("\x00" * 4001, ABROAD, given)) == [
        f"to[0]: {FAR}",
        "text: holds a character that can't be sent (U+0000) at position 0",
        "subject: has 16 characters; an MMS takes 15, or 39 when all are ASCII",
        "attachment: its data is no png picture",
        "text: has 4001 characters; an MMS takes 4000",
        f"text: has {LIMIT + 4002} bytes with the picture; an MMS takes {LIMIT}",
    ]


# --- what the gateway hears ---


@pytest.mark.anyio
async def test_the_largest_request_arrives() -> None:
    """A picture and text of 300 KB together pass every limit on the way, and come out whole."""
    simulator = Simulator(accounts=[Account(uid="Test", password="XXX")])
    text = "好" * 4000
    picture = of_size(LIMIT - 12000)
    async with kit.session(httpx.ASGITransport(app=simulator)) as session:
        await session.mms.send(text, FIRST, picture, subject="主" * 15)
        await session.mms.send_personalized(
            [PersonalizedMessage(SECOND, text)], picture, subject="a" * 39
        )
        await session.mms.send_template(
            "%field1%", [TemplateRecipient(FIRST, [text])], picture, subject="主旨"
        )
    assert [(text, picture.data, "png")] * 3 == [
        (each.text, each.attachment, each.attachment_type) for each in simulator.sent
    ]
