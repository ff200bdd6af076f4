"""Reports in every encoding and layout that standards allow and programs produce read the same."""

import base64
import quopri

import pytest

from services.bounce.domain import mime
from services.bounce.domain.categories import CATEGORIES
from services.bounce.domain.facts import judge
from services.bounce.domain.reports import Kind, read_mail
from tests.compiled import compiled_rules as rules
from tests.unit.bounce.test_reports import OURS

PATH = "b-aeatm2y6qaaiaaeaaaaaaaaaaaaqaaaaaaaaaaaarcvw4cbzdx5a@bounces.example"
HEAD = "From: MAILER-DAEMON@mx.example.net\nTo: x@shop.example\nSubject: Undelivered Mail\nMIME-Version: 1.0\n"
STATUS = (
    f"Reporting-MTA: dns; mx.example.net\n\nFinal-Recipient: rfc822; {OURS}\nAction: failed\nStatus: 5.1.1\n"
    "Diagnostic-Code: smtp; 550 5.1.1 User unknown\n"
)
SENT_BACK = f"Return-Path: <{PATH}>\nFrom: shop@shop.example\nSubject: Hallo\n\nbody\n"
ENCODERS = {"base64": base64.encodebytes, "quoted-printable": quopri.encodestring, "8bit": bytes}


def part(kind: str, body: str, encoding: str | None = None) -> bytes:
    field = f"Content-Transfer-Encoding: {encoding}\n" if encoding else ""
    raw = ENCODERS[encoding](body.encode()) if encoding else body.encode()
    return f"--=b\nContent-Type: {kind}\n{field}\n".encode() + raw + b"\n"


WORDS = part("text/plain; charset=utf-8", "Sorry.")
TOLD = part("message/delivery-status", STATUS)
RETURNED = part("message/rfc822", SENT_BACK)


def report(*parts: bytes, head: str = HEAD) -> bytes:
    kind = 'Content-Type: multipart/report; report-type=delivery-status; boundary="=b"\n\n'
    return (head + kind).encode() + b"".join(parts) + b"--=b--\n"


PLAIN = report(WORDS, TOLD, RETURNED)
INNER = PLAIN[PLAIN.index(b"Content-Type") :]


def wrapped(kind: str, head: str = HEAD, first: bytes = b"", last: bytes = b"") -> bytes:
    return f"{head}Content-Type: {kind}; boundary=outer\n\n".encode() + first + INNER + b"\n" + last + b"--outer--\n"


def international(address: str, kind: str = "message/global-delivery-status", encoding: str | None = None) -> bytes:
    status = STATUS.replace(f"rfc822; {OURS}", f"utf-8; {address}").replace(
        "Final-", f"Original-Recipient: rfc822; {OURS}\nFinal-"
    )
    return report(WORDS, part(kind, status, encoding), part("message/global", SENT_BACK, encoding))


DRESSES = {
    "as it should be": PLAIN,
    "CRLF": PLAIN.replace(b"\n", b"\r\n"),
    "CR alone": PLAIN.replace(b"\n", b"\r"),
    "CR twice": PLAIN.replace(b"\n", b"\r\r\n"),
    "CRLF above, LF below": PLAIN.replace(b"\n", b"\r\n", 10),
    "byte order mark": b"\xef\xbb\xbf" + PLAIN,
    "UTF-16": PLAIN.decode().encode("utf-16"),
    "UTF-16 without a mark": PLAIN.decode().encode("utf-16-le"),
    "UTF-16, the other end first": PLAIN.decode().encode("utf-16-be"),
    "From line of an mbox": b"From MAILER-DAEMON Thu Nov 26 14:00:00 2026\n" + PLAIN,
    "blank lines above": b"\n\n" + PLAIN,
    "status in base64": report(WORDS, part("message/delivery-status", STATUS, "base64"), RETURNED),
    "status in quoted-printable": report(WORDS, part("message/delivery-status", STATUS, "quoted-printable"), RETURNED),
    "returned mail in base64": report(WORDS, TOLD, part("message/rfc822", SENT_BACK, "base64")),
    "returned mail in quoted-printable": report(WORDS, TOLD, part("message/rfc822", SENT_BACK, "quoted-printable")),
    "returned headers in base64": report(WORDS, TOLD, part("text/rfc822-headers", SENT_BACK, "base64")),
    "returned mail in capitals, another below": report(WORDS, TOLD, part("MESSAGE/RFC822", SENT_BACK), RETURNED),
    "blank lines that hold spaces": report(
        WORDS, part("message/delivery-status", STATUS.replace("\n\n", "\n \t\n")), RETURNED
    ),
    "returned mail above the status": report(WORDS, RETURNED, TOLD),
    "RFC 6533": international("jürgen@пошта.example"),
    "RFC 6533 in base64": international("jürgen@пошта.example", encoding="base64"),
    "RFC 6533 in 8bit": international("кім@пошта.example", encoding="8bit"),
    "boundary folded": PLAIN.replace(b"; report-type=delivery-status;", b";\n\treport-type=delivery-status;\n\t"),
    "boundary missing": PLAIN.replace(b'; boundary="=b"', b""),
    "boundary of another mail": PLAIN.replace(b'boundary="=b"', b'boundary="other"'),
    "no end": PLAIN.replace(b"--=b--\n", b""),
    "types in capitals": PLAIN.replace(b"message/delivery-status", b"MESSAGE/DELIVERY-STATUS"),
    "status of a type of its own": PLAIN.replace(b"message/delivery-status", b"message/xdelivery-status"),
    "status without its type": PLAIN.replace(b"Content-Type: message/delivery-status\n", b""),
    "status as text": PLAIN.replace(b"message/delivery-status", b"text/plain"),
    "signed by S/MIME": wrapped(
        'multipart/signed; protocol="application/pkcs7-signature"',
        first=b"--outer\n",
        last=b"--outer\nContent-Type: application/pkcs7-signature\nContent-Transfer-Encoding: base64\n\nMIIB\n",
    ),
    "signed by DKIM": b"DKIM-Signature: v=1; a=rsa-sha256; d=example.net;\n\tb=abc\n" + PLAIN,
    "with a footer around it": wrapped(
        "multipart/mixed", first=b"--outer\n", last=b"--outer\nContent-Type: text/plain\n\nScanned by X\n"
    ),
    "sent on as an attachment": (
        b"From: kim@shop.example\nSubject: Fwd: look\nContent-Type: multipart/mixed; boundary=outer\n\n"
        b"--outer\nContent-Type: text/plain\n\nsee below\n--outer\nContent-Type: message/rfc822\n\n"
        + PLAIN
        + b"--outer--\n"
    ),
    "sent on as an attachment in base64": (
        b"From: kim@shop.example\nSubject: Fwd: look\nContent-Type: multipart/mixed; boundary=outer\n\n"
        b"--outer\nContent-Type: text/plain\n\nsee below\n--outer\nContent-Type: message/rfc822\n"
        b"Content-Transfer-Encoding: base64\n\n" + base64.encodebytes(PLAIN) + b"--outer--\n"
    ),
    "sent on twice": (
        b"From: kim@shop.example\nSubject: Fwd: Fwd: look\nContent-Type: multipart/mixed; boundary=further\n\n"
        b"--further\nContent-Type: text/plain\n\nsee below\n--further\nContent-Type: message/rfc822\n\n"
        + wrapped("multipart/mixed", HEAD.replace("MAILER-DAEMON", "lea"), first=b"--outer\n")
        + b"--further--\n"
    ),
    "fields in the head of their part": PLAIN.replace(
        b"delivery-status\n\n" + STATUS.split("\n\n")[0].encode() + b"\n\n", b"delivery-status\n"
    ),
    "blanks before the names of fields": report(
        WORDS, part("message/delivery-status", "".join(f" {line}\n" for line in STATUS.split("\n"))), RETURNED
    ),
    "blank lines between the fields": report(
        WORDS, part("message/delivery-status", STATUS.replace("\n", "\n\n")), RETURNED
    ),
    "address in quotes": PLAIN.replace(b"rfc822; kim@", b'rfc822; "kim"@'),
    "address in angle brackets": PLAIN.replace(b"rfc822; " + OURS.encode(), f"rfc822; <{OURS}>".encode()),
    "address without its type": PLAIN.replace(b"rfc822; ", b""),
    "original recipient in xtext": PLAIN.replace(
        b"Final-", f"Original-Recipient: rfc822; {OURS.replace('@', '+40')}\nFinal-".encode()
    ).replace(f"Final-Recipient: rfc822; {OURS}".encode(), b"Final-Recipient: x400; /S=kim"),
    "NUL in its words": PLAIN.replace(b"User", b"U\x00ser"),
    "words in Latin-1": PLAIN.replace(b"User unknown", b"User unknown f\xfcr k\xe4m"),
}


@pytest.mark.parametrize("dress", DRESSES)
def test_a_report_reads_the_same_in_every_form(dress: str) -> None:
    found = read_mail(DRESSES[dress])
    assert found.kind is Kind.BOUNCE
    assert PATH in found.candidates
    assert [one.address for one in found.recipients] == [OURS]
    fact = judge(found, rules(), lambda address: address == OURS)
    assert (fact.category, fact.permanent, fact.enhanced) == ("unknown-user", True, "5.1.1")


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("utf-8; jürgen@shop.example", "jürgen@shop.example"),
        (r"utf-8; j\x{FC}rgen@shop.example", "jürgen@shop.example"),
        (r"utf-8; \x{43A}\x{456}\x{43C}@shop.example", "кім@shop.example"),
        (r"utf-8; \x{D800}kim@shop.example", "kim@shop.example"),
        (r"utf-8; \x{10FFFF}x@shop.example", "x@shop.example"),
        ("rfc822; kim+tag@shop.example", "kim+tag@shop.example"),
    ],
)
def test_an_internationalised_address_is_decoded(written: str, read: str) -> None:
    (told,) = read_mail(PLAIN.replace(f"rfc822; {OURS}".encode(), written.encode())).recipients
    assert told.address is not None
    assert told.address.endswith(read)


SENTENCE = f"<{OURS}>: 550 5.1.1 User unknown\n"


@pytest.mark.parametrize(
    ("charset", "body"),
    [
        ("; charset=utf-16", SENTENCE.encode("utf-16")),
        ("", SENTENCE.encode("utf-16")),
        ("; charset=utf-8", b"\xef\xbb\xbf" + SENTENCE.encode()),
        ("; charset=utf-16be", SENTENCE.encode("utf-16-be")),
        ("; charset=nonsense", SENTENCE.encode() + b"\xfc"),
        ("; charset=utf-7", SENTENCE.encode()),
        ("; charset=idna", SENTENCE.encode()),
    ],
)
@pytest.mark.parametrize("encoded", [True, False])
def test_sentences_are_read_in_every_charset(charset: str, body: bytes, encoded: bool) -> None:
    head = f"{HEAD}Content-Type: text/plain{charset}\n"
    raw = (head + "Content-Transfer-Encoding: base64\n\n").encode() + base64.encodebytes(body)
    found = read_mail(raw if encoded else f"{head}\n".encode() + body)
    assert [one.address for one in found.recipients] == [OURS]
    assert judge(found, rules()).category == "unknown-user"


FEEDBACK = (
    "From: fbl@example.net\nSubject: complaint\nContent-Type: multipart/report; report-type=feedback-report;"
    " boundary==b\n\n"
)


@pytest.mark.parametrize("encoding", [None, "base64", "quoted-printable"])
@pytest.mark.parametrize(("kind", "category"), [("abuse", "complaint"), ("auth-failure", "auth-report")])
def test_a_feedback_report_is_read_in_any_encoding(encoding: str | None, kind: str, category: str) -> None:
    told = part("message/feedback-report", f"Feedback-Type: {kind}\nVersion: 1\nUser-Agent: X/1\n", encoding)
    found = read_mail(FEEDBACK.encode() + WORDS + told + part("message/rfc822", SENT_BACK, encoding) + b"--=b--\n")
    assert PATH in found.candidates
    assert judge(found, rules()).category == category


@pytest.mark.parametrize("raw", [b"", b"\n", b" \r\n", b"\x00", b"\xff\xfe", b"\xef\xbb\xbf", b"a", b"a:", b":", b"--"])
def test_an_almost_empty_mail_is_no_bounce(raw: bytes) -> None:
    assert judge(read_mail(raw), rules()).category == "not-a-bounce"


def test_a_mail_truncated_anywhere_is_read() -> None:
    whole = PLAIN.replace(b"\n", b"\r\n")
    for end in range(0, len(whole), 3):
        fact = judge(read_mail(whole[:end]), rules(), lambda address: address == OURS)
        assert fact.category in CATEGORIES
    assert judge(read_mail(whole[: whole.index(b"Diagnostic")]), rules()).category == "unknown-user"


def test_a_report_in_sentences_that_was_forwarded_as_an_attachment_is_read() -> None:
    told = f"From: MAILER-DAEMON@mx.example.net\nTo: {PATH}\nSubject: Undelivered\n\n<{OURS}>: 550 5.1.1 User unknown\n"
    kind = "Content-Type: multipart/mixed; boundary==b\n\n"
    forwarded = (HEAD.replace("MAILER-DAEMON@", "admin@") + kind).encode() + WORDS + part("message/rfc822", told)
    found = read_mail(forwarded + b"--=b--\n")
    assert (found.recipients[0].address, PATH in found.candidates) == (OURS, True)
    assert judge(found, rules()).category == "unknown-user"


def test_a_boundary_that_begins_like_another_ends_no_part() -> None:
    sent = SENT_BACK.replace("Subject", 'Content-Type: multipart/mixed; boundary="=bb"\nSubject')
    inner = "\n--=bb\nContent-Type: message/delivery-status\n\nFinal-Recipient: rfc822; a@x.example\nAction: failed\n"
    assert len(read_mail(report(WORDS, TOLD, part("message/rfc822", sent + inner + "--=bb--\n"))).recipients) == 1


def test_a_returned_mail_that_is_not_marked_as_one_is_not_read() -> None:
    returned = part(
        "text/plain; name=mail.txt", f"From: shop@shop.example\nTo: {OURS}\nSubject: x\n\nMailbox full of offers\n"
    )
    found = read_mail(report(part("text/plain", "Blocked by our policy."), returned))
    assert judge(found, rules()).category == "policy"
    quoted = report(
        part("text/plain", f"<{OURS}>: blocked by policy.\n\n> Your mailbox is full of offers\n> user unknown")
    )
    assert judge(read_mail(quoted), rules()).category == "policy"
    passed_on = report(part("text/plain", "It was rejected by the next server:\n\n> 550 5.1.1 User unknown"))
    assert judge(read_mail(passed_on), rules()).category == "unknown-user"
    wrapped = report(part("text/plain", f"A ticket was made of:\n> <{OURS}>: 550 5.1.1 User unknown"))
    assert judge(read_mail(wrapped), rules()).category == "unknown-user"


def test_a_session_in_a_log_names_its_recipient() -> None:
    at = "Mon 2027-03-01 09:00:01: "
    session = ["*  From: shop@shop.example", "<-- 220 mx ESMTP", "--> EHLO md", "<-- 250 OK", f"--> RCPT To:<{OURS}>"]
    log = "\n".join(at + line for line in [*session, "<-- 550 5.1.1 User unknown", "--> QUIT"])
    found = read_mail(report(part("text/plain", "The mail was removed.\n\n" + log)))
    assert (found.recipients[0].address, judge(found, rules()).category) == (OURS, "unknown-user")


def test_a_reply_of_several_lines_that_was_not_folded_is_read_whole() -> None:
    said = STATUS.replace("550 5.1.1 User unknown", "550-Sorry\n550-we looked\n550 5.1.1 User unknown")
    fact = judge(
        read_mail(report(WORDS, part("message/delivery-status", said.replace("Status: 5.1.1", "Status: 5.0.0")))),
        rules(),
    )
    assert (fact.category, fact.enhanced) == ("unknown-user", "5.1.1")


def test_an_original_recipient_that_kept_its_encoding_is_decoded() -> None:
    said = STATUS.replace("Final", "Original-Recipient: rfc822; kim+2Bshop@x.example\nFinal")
    assert read_mail(report(WORDS, part("message/delivery-status", said))).recipients[0].address == "kim+shop@x.example"
    said = STATUS.replace(OURS, "kim+2Bshop@x.example")
    assert (
        read_mail(report(WORDS, part("message/delivery-status", said))).recipients[0].address == "kim+2Bshop@x.example"
    )


def test_a_text_that_mentions_the_type_of_a_returned_mail_returns_none() -> None:
    words = f"The original is attached (message/rfc822).\n\n<{OURS}>: 550 5.1.1 User unknown"
    assert read_mail(report(part("text/plain", words), RETURNED)).recipients[0].address == OURS


def test_fields_in_an_attachment_of_no_type_are_read() -> None:
    found = read_mail(report(WORDS, part("application/octet-stream; name=details.txt", STATUS, "base64"), RETURNED))
    assert (found.recipients[0].address, found.recipients[0].reply_code) == (OURS, 550)


def test_a_report_that_has_no_fields_is_a_bounce_by_its_type() -> None:
    head = f"Return-Path: <help@x.example>\nFrom: Help <help@x.example>\nTo: {PATH}\nSubject: Your mail\n"
    found = read_mail(report(part("text/plain", f"<{OURS}>: nobody of that name"), head=head))
    assert (found.kind, found.recipients[0].address) == (Kind.BOUNCE, OURS)


def test_our_signature_is_found_in_a_returned_errors_to() -> None:
    sent = SENT_BACK.replace(f"Return-Path: <{PATH}>", f"Return-Path: <list@x.example>\nErrors-To: {PATH}")
    assert PATH in read_mail(report(WORDS, TOLD, part("message/rfc822", sent))).candidates


def test_our_signature_is_found_in_a_folded_line() -> None:
    """Our return path alone is longer than the 78 characters at which many programs fold."""
    sent = SENT_BACK.replace(f"Return-Path: <{PATH}>", f"Return-Path:\n <{PATH}>")
    assert PATH in read_mail(report(WORDS, TOLD, part("message/rfc822", sent))).candidates


def test_a_line_that_begins_like_the_boundary_ends_no_part() -> None:
    head = b"Content-Type: multipart/mixed; boundary=q\n\n--q\nContent-Type: text/plain\n\n"
    assert [part.text for part in mime.parse(head + b"one\n--quite\ntwo\n--q--\n")[1]] == ["one\n--quite\ntwo\n"]
