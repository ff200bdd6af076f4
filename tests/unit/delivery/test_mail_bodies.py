"""Whatever a template and its values contain, readers see what was rendered, and the wire format is valid."""

import email
import email.policy
import html
from dataclasses import dataclass
from datetime import UTC, datetime
from email.message import EmailMessage
from typing import Any
from uuid import UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec.structs import replace

from libs.clock import FixedClock
from libs.rendering import EmailContent, compile_template
from libs.rendering.contents import Woven
from services.delivery.adapters.smtp.bodies import Bodies
from services.delivery.adapters.smtp.by_data import stuffed
from services.delivery.adapters.smtp.mime import Composer, Mail
from services.delivery.adapters.smtp.opening import Features
from services.delivery.domain.outbound import Outbound, SmtpAccount

CLOCK = FixedClock(datetime(2026, 11, 23, 12, 0, tzinfo=UTC))
ACCOUNT = SmtpAccount("h", 25, "shop@example.com", return_path_domain="bounce.example.com")
NOTIFICATION = UUID("01936b1e-7c00-8000-8000-000000000001")

# shared by all examples, as in a worker: one mail must not affect the next
COMPOSER = Composer(ACCOUNT, b"k" * 32, CLOCK)

HOSTILE = [
    ".", "..", ".x", "x\n.\ny", "\n.", "\r\n.\r\n", "a\rb", "\r\n.\r\nMAIL FROM:<x@y.z>\r\n", "", " ", "x" * 1_200,
    "ä" * 400, "👩‍👩‍👧", "שלום", "79,90\xa0€", "a\u2028b", "\x00", "\t", "=?utf-8?q?x?=", "<b>&amp;",
    "From ", "--=_", "=20", "100%",
]  # fmt: skip
VALUES = st.one_of(st.sampled_from(HOSTILE), st.text(max_size=40))
LITERALS = st.one_of(
    st.sampled_from(["", "\n", "\n.", ".", "\n\n", "..", " – ", "Grüße\n", "x" * 990, "<p>", "</p>\n", "100%s"]),
    st.text(alphabet=st.characters(blacklist_characters="{}<>&"), max_size=20),
)  # fmt: skip


@dataclass
class Written:
    """Parse a mail as sent, the way a reader would."""

    wire: bytes
    html: str
    text: str


def written(content: EmailContent, features: Features) -> Written:
    about = Outbound(f"{NOTIFICATION}.5", NOTIFICATION, 5, 1, "email", "max@example.org", content)
    mail = COMPOSER.compose(about, features)
    assert isinstance(mail, Mail)
    assert received(stuffed(mail.text) + b".\r\n") == mail.text
    message = email.message_from_bytes(mail.text, policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    assert not message.defects
    return Written(mail.text, part(message, "html"), part(message, "plain"))


def received(data: bytes) -> bytes:
    """Read as a server reads DATA, line by line; nothing may follow the end."""
    lines = data.split(b"\r\n")
    assert lines[-2:] == [b".", b""]
    assert b"." not in lines[:-2]
    return b"\r\n".join(line.removeprefix(b".") for line in lines[:-2]) + b"\r\n"


def part(message: EmailMessage, kind: str) -> str:
    body = message.get_body((kind,))
    assert body is not None
    assert not body.defects
    return str(body.get_content()).replace("\r\n", "\n")


def put_together(content: EmailContent) -> EmailContent:
    """The same content as one string, as Liquid itself would render it."""
    return replace(content, page=content.html, words=content.text)


def framed(bodies: Bodies, content: EmailContent, eight_bit: bool = True) -> bytes | None:
    assert isinstance(content.words, Woven)
    assert isinstance(content.page, Woven)
    return bodies._framed(content.words, content.page, eight_bit)


def assert_kept(content: EmailContent, eight_bit: bool) -> None:
    made = written(content, Features(eight_bit=eight_bit))
    assert made.html.rstrip("\n") == content.html.rstrip("\n")
    assert made.text.rstrip("\n") == content.text.rstrip("\n")
    assert max(map(len, made.wire.split(b"\r\n"))) <= 998
    assert b"\n" not in made.wire.replace(b"\r\n", b"")
    assert b"\r" not in made.wire.replace(b"\r\n", b"")
    assert eight_bit or made.wire.isascii()


@given(st.lists(LITERALS, min_size=3, max_size=3), st.lists(VALUES, min_size=2, max_size=2), st.booleans())
@example(["Hello ", "\n", "\nbye"], ["Anna", "."], True)
@example(["Hello\n", "", ".\nbye"], ["", ""], True)
@example(["", "", "."], ["", ".."], True)
@example(["x" * 990, "y", "z"], ["12345678", "1"], True)
@example(["x" * 600, "y", "z"], ["ä" * 250, "1"], True)
def test_a_reader_sees_what_was_rendered(literals: list[str], values: list[str], eight_bit: bool) -> None:
    """Lone dots, line ends in values, long words, emoji, right-to-left: from the template's frame or encoded as a
    whole."""
    source = literals[0] + "{{ event.data.a }}" + literals[1] + "{{ event.data.b }}" + literals[2]
    parts = {"subject": "s", "html": "<div>" + html.escape(source) + "</div>" if "<" in source else source}
    parts["html"], parts["text"] = parts["html"] or "x", source
    data = {"a": values[0], "b": values[1]}
    content = compile_template("email", "en", parts).render({"event": {"data": data}})
    assert isinstance(content, EmailContent)
    assert_kept(content, eight_bit)
    assert_kept(put_together(content), eight_bit)


def personal(name: str, words: str = "Lieber {{ event.data.name }},\nschön.\n", **more: str) -> EmailContent:
    parts = {"subject": "s", "html": "<p>Hi {{ event.data.name }}</p>\n", "text": words} | more
    content = compile_template("email", "de", parts).render({"event": {"data": {"name": name}}})
    assert isinstance(content, EmailContent)
    return content


@pytest.mark.parametrize("name", ["Anna", "Jörg", "O'Neil & <Sons>", "79,90\xa0€", "李小龍"])
def test_mails_of_a_template_share_its_literals(name: str) -> None:
    """Ordinary values take the fast path, whose output is byte-identical to the slow path's."""
    bodies, content = Bodies(), personal(name)
    made = framed(bodies, content)
    assert made is not None
    assert made == bodies.of(put_together(content), True)
    assert len(bodies._frames) == 1


@pytest.mark.parametrize(
    ("values", "why"),
    [
        (["x\r\n.\r\nMAIL"], "ends the line"),
        (["x\0"], "holds a NUL"),
        (["x" * 1_000], "makes a line too long"),
    ],
)
def test_a_value_that_could_break_the_frame_is_kept_out(values: list[str], why: str) -> None:
    """This holds even for content that no renderer produces: the mail's frame trusts nobody."""
    woven = Woven(("a\n", ".b"), values)
    assert framed(Bodies(), EmailContent("s", woven, woven)) is None, why


@pytest.mark.parametrize("literal", ["a\rb", "a\0b", "x" * 999])
def test_literals_that_need_encoding_are_not_framed(literal: str) -> None:
    woven = Woven((literal, "."), ["Anna"])
    assert framed(Bodies(), EmailContent("s", woven, woven)) is None


def test_a_server_without_8bitmime_gets_ascii() -> None:
    content = personal("Jörg")
    assert_kept(content, False)
    assert framed(Bodies(), content, eight_bit=False) is None


def test_a_text_without_values_is_shared() -> None:
    content: Any = compile_template("email", "en", {"subject": "s", "html": "<p>x</p>"}).render({})
    assert_kept(content, True)
    bodies = Bodies()
    assert bodies.of(content, True) == bodies.of(put_together(content), True)
