"""Mails are composed so that every reader sees what was written, and nothing can be injected."""

import email
import email.policy
from dataclasses import replace
from datetime import UTC, datetime
from email.header import decode_header, make_header
from email.message import EmailMessage
from uuid import UUID

import pytest

from libs.clock import FixedClock
from libs.rendering.contents import EmailContent
from libs.verp import ReturnPath
from services.delivery.adapters.smtp import headers
from services.delivery.adapters.smtp.bodies import Bodies, encode_text
from services.delivery.adapters.smtp.mime import Composer, Mail
from services.delivery.adapters.smtp.opening import Features, read_features
from services.delivery.domain.mail_vendors import Vendor
from services.delivery.domain.outbound import Outbound, SmtpAccount
from services.delivery.domain.refusals.smtp import Reply

CLOCK = FixedClock(datetime(2026, 11, 23, 12, 0, tzinfo=UTC))
ACCOUNT = SmtpAccount("h", 25, "shop@läden.example", "Händler", return_path_domain="bounce.example.com")
NOTIFICATION = UUID("01936b1e-7c00-8000-8000-000000000001")
EIGHT_BIT = Features(eight_bit=True)


def compose(content: EmailContent, features: Features = EIGHT_BIT, name: str | None = None) -> Mail:
    message = Outbound(
        f"{NOTIFICATION}.5", NOTIFICATION, 5, 1, "email", "max@example.org", content, recipient_name=name
    )
    mail = Composer(ACCOUNT, b"k" * 32, CLOCK).compose(message, features)
    assert isinstance(mail, Mail)
    return mail


def read(mail: Mail) -> EmailMessage:
    message = email.message_from_bytes(mail.text, policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    assert not message.defects
    return message


def part(message: EmailMessage, kind: str) -> str:
    body = message.get_body((kind,))
    assert body is not None
    return str(body.get_content()).replace("\r\n", "\n")


SUBJECTS = [
    "Plain",
    "Grüße – 📦 unterwegs",
    "=?utf-8?q?not_encoded?=",
    "مرحبا بالعالم",
    "👩‍👩‍👧‍👦" * 20,
    "x" * 2_000,
    "Ä" * 300,
    'Preis: 5 € (statt 7 €), "heute"',
]


@pytest.mark.parametrize("subject", SUBJECTS)
def test_any_subject_survives(subject: str) -> None:
    mail = compose(EmailContent(subject, "<p>x</p>", "x"))
    assert read(mail)["Subject"] == subject
    head = mail.text.partition(b"\r\n\r\n")[0]
    assert max(map(len, head.split(b"\r\n"))) <= 998
    assert head.isascii()


@pytest.mark.parametrize(
    "name", ["Max", "Müller, Max", 'Max "M." Müller', "O'Neil (Bob)", "李小龍" * 10, "a\\b", "=?x?="]
)
def test_any_name_survives(name: str) -> None:
    mail = compose(EmailContent("s", "h", "t"), name=name)
    [address] = read(mail)["To"].addresses
    assert address.addr_spec == "max@example.org"
    if "=?" in name or name.isascii():
        assert address.display_name == name
    else:  # the library's own address parser puts spaces between encoded words
        field = mail.text.partition(b"\r\nTo: ")[2].partition(b"\r\n <")[0].decode()
        assert str(make_header(decode_header(field))) == name


@pytest.mark.parametrize("name", ["Max\r\nBcc: x@y.de", "Max\x00", "", "  ", None])
def test_a_harmful_name_is_left_out(name: str | None) -> None:
    message = read(compose(EmailContent("s", "h", "t"), name=name))
    assert message["To"].addresses[0].display_name == ""
    assert message["Bcc"] is None


TEXTS = [
    "Grüße\n.\n..\n.x\n",
    "x" * 5_000,
    "Ä" * 5_000,
    "مرحبا " * 500,
    "tab\tand trailing  \nspaces ",
    "From here\n\n\n",
    "",
    "a\rb\r\nc\n",
]


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("eight_bit", [True, False])
def test_any_text_survives_any_server(text: str, eight_bit: bool) -> None:
    """No line exceeds 998 octets, and no byte exceeds 127 for a server without 8BITMIME."""
    mail = compose(EmailContent("s", text, text), Features(eight_bit=eight_bit))
    message = read(mail)
    wanted = text.replace("\r\n", "\n").replace("\r", "\n")
    assert part(message, "html").rstrip("\n") == wanted.rstrip("\n")
    assert part(message, "plain").rstrip("\n") == wanted.rstrip("\n")
    lines = mail.text.split(b"\r\n")
    assert max(map(len, lines)) <= 998
    assert eight_bit or mail.text.isascii()
    assert b"\n" not in mail.text.replace(b"\r\n", b"")


def test_encodings_fit_the_text() -> None:
    assert encode_text("plain", False)[0] == "7bit"
    assert encode_text("Grüße", True)[0] == "8bit"
    assert encode_text("Viele Grüße aus München an alle", False)[0] == "quoted-printable"
    assert encode_text("مرحبا بالعالم", False)[0] == "base64"


def test_the_header_names_sender_time_and_message() -> None:
    message = read(compose(EmailContent("s", "h", "t", from_name="Die Marke", reply_to="Hilfe <hilfe@example.com>")))
    assert message["From"].addresses[0].display_name == "Die Marke"
    assert message["From"].addresses[0].addr_spec == "shop@xn--lden-loa.example"
    assert message["Reply-To"].addresses[0].addr_spec == "hilfe@example.com"
    assert message["Message-ID"] == f"<{NOTIFICATION}.5@xn--lden-loa.example>"
    assert message["Date"].datetime == CLOCK()
    assert message["Auto-Submitted"] == "auto-generated"


def test_shared_content_is_encoded_once() -> None:
    bodies = Bodies()
    content = EmailContent("s", "<p>ä</p>", "ä")
    first, second = (bodies.of(content, True) for _ in range(2))
    assert first is second
    assert bodies.of(content, False) != first


@pytest.mark.parametrize(
    "address",
    ["a@b.de>\r\nRCPT TO:<c@d.de", "a b@c.de", "a@b@c.de", "<a@b.de>", "a@b.de\x00", "@b.de", "a@", ""],
)
def test_an_address_cannot_escape_its_brackets(address: str) -> None:
    with pytest.raises(headers.NotAHeader):
        headers.ascii_domain(address, "it")


def test_a_quoted_local_part_may_contain_anything_but_control_characters() -> None:
    assert headers.ascii_domain('"a b>"@c.de', "it") == '"a b>"@c.de'


@pytest.mark.parametrize(
    "url", ["https://x.de/\r\nX: y", "https://x.de/>", "https://x.de/ü", "https://x.de/" + "a" * 970]
)
def test_a_link_cannot_escape_its_header(url: str) -> None:
    with pytest.raises(headers.NotAHeader):
        headers.url(url, "it")


def test_ehlo_features_are_parsed_as_servers_write_them() -> None:
    reply = Reply(
        250,
        "mail.test PIPELINING\npipelining\nchunking\nSize 1000\n8bitmime\nSMTPUTF8\nAUTH=LOGIN PLAIN\nAUTH XOAUTH2\n",
    )
    features = read_features(reply)
    assert features == Features(True, True, True, True, False, 1000, frozenset({"LOGIN", "PLAIN", "XOAUTH2"}))
    assert read_features(Reply(250, "h\nSIZE")).size == 0
    assert read_features(Reply(250, "h")) == Features()


@pytest.mark.parametrize("vendor", [None, *Vendor])
def test_only_a_vendor_gets_the_attempt_in_its_own_header(vendor: Vendor | None) -> None:
    message = Outbound(
        f"{NOTIFICATION}.5", NOTIFICATION, 5, 3, "email", "max@example.org", EmailContent("S", "<p>t</p>", "t")
    )
    mail = Composer(replace(ACCOUNT, vendor=vendor), b"k" * 32, CLOCK).compose(message, EIGHT_BIT)
    assert isinstance(mail, Mail)
    path = mail.envelope.decode().partition("<")[2].partition(">")[0]
    found = [name for name, value in read(mail).items() if path.partition("@")[0] in str(value)]
    names = {
        Vendor.SENDGRID: ["X-SMTPAPI"],
        Vendor.MAILGUN: ["X-Mailgun-Variables"],
        Vendor.POSTMARK: ["X-PM-Metadata-depesche"],
        Vendor.SPARKPOST: ["X-MSYS-API"],
        Vendor.BREVO: ["X-Mailin-custom"],
    }
    assert found == (names.get(vendor, []) if vendor else [])
    told = ReturnPath(b"k" * 32, "").read(path)
    assert told is not None
    assert told.attempt == 3
