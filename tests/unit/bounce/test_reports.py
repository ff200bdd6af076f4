"""Bounce mails are understood as the standards define them and as servers really write them."""

import base64

import pytest

from services.bounce.domain.facts import about_others, judge
from services.bounce.domain.mime import MAX_BYTES, parse
from services.bounce.domain.reports import Kind, Report, read_mail
from tests.compiled import compiled_rules as rules

OURS = "kim@shop-customer.example"


def dsn(*blocks: str, human: str = "Your mail could not be delivered.", returned: str = "Subject: Hallo\n") -> bytes:
    """An RFC 3464 report; each block is one recipient's fields."""
    status = "\n\n".join(("Reporting-MTA: dns; mx.example.net", *blocks))
    return (
        "From: MAILER-DAEMON@mx.example.net\nTo: b-x@bounces.example\nSubject: Undelivered Mail\n"
        'MIME-Version: 1.0\nContent-Type: multipart/report; report-type=delivery-status; boundary="=b"\n\n'
        f"--=b\nContent-Type: text/plain\n\n{human}\n"
        f"--=b\nContent-Type: message/delivery-status\n\n{status}\n"
        f"--=b\nContent-Type: message/rfc822\n\n{returned}\nbody\n--=b--\n"
    ).encode()


def recipient(
    address: str = OURS,
    action: str = "failed",
    status: str = "5.1.1",
    diagnostic: str | None = "smtp; 550 5.1.1 User unknown",
) -> str:
    lines = [f"Final-Recipient: rfc822; {address}", f"Action: {action}", f"Status: {status}"]
    return "\n".join([*lines, *([f"Diagnostic-Code: {diagnostic}"] if diagnostic else [])])


def category(raw: bytes) -> str:
    return judge(read_mail(raw), rules(), lambda address: address == OURS).category


def test_a_report_yields_recipient_codes_and_words() -> None:
    report = read_mail(dsn(recipient()))
    assert report.kind is Kind.BOUNCE
    (told,) = report.recipients
    assert (told.address, told.action, told.reply_code, told.enhanced) == (OURS, "failed", 550, "5.1.1")
    assert "User unknown" in told.text
    assert category(dsn(recipient())) == "unknown-user"


@pytest.mark.parametrize("action", ["delivered", "relayed", "expanded", "delayed"])
def test_only_a_failure_is_a_bounce(action: str) -> None:
    fact = judge(read_mail(dsn(recipient(action=action, status="2.0.0", diagnostic=None))), rules())
    assert not fact.counts
    assert not fact.permanent


def test_a_delay_is_not_final_even_with_the_code_of_a_refusal() -> None:
    fact = judge(read_mail(dsn(recipient(action="delayed"))), rules())
    assert (fact.delayed, fact.permanent, fact.counts) == (True, False, False)


def test_among_several_recipients_ours_decides() -> None:
    others = recipient("a@x.example"), recipient("b@x.example")
    full = recipient(status="5.2.2", diagnostic="smtp; 552 5.2.2 Mailbox full")
    assert category(dsn(*others, full)) == "mailbox-full"


def test_an_alias_is_dead_only_when_all_its_members_are() -> None:
    alive = recipient("b@x.example", status="4.2.2", diagnostic="smtp; 452 4.2.2 Mailbox full")
    assert category(dsn(recipient("a@x.example"), alive)) == "mailbox-full"
    assert category(dsn(recipient("a@x.example"), recipient("b@x.example"))) == "unknown-user"


def test_an_alias_lives_while_one_of_its_members_is_only_refused_for_now() -> None:
    waiting = recipient("b@x.example", "delayed", "4.1.1", "smtp; 450 4.1.1 User unknown")
    fact = judge(read_mail(dsn(recipient("a@x.example"), waiting)), rules())
    assert not fact.permanent


def test_a_report_that_gave_up_on_temporary_refusals_is_not_final() -> None:
    for status in ("5.0.0", "5.4.7 (delivery time expired)"):
        for reply in ("450 User unknown", "450 4.1.1 User unknown"):
            fact = judge(read_mail(dsn(recipient(status=status, diagnostic=f"smtp; {reply}"))), rules())
            assert not fact.permanent


def test_an_original_recipient_of_several_is_dead_only_with_all() -> None:
    def behind(address: str, **told: str) -> str:
        return f"Original-Recipient: rfc822; {OURS}\n" + recipient(address, **told)

    full = behind("b@x.example", status="4.2.2", diagnostic="smtp; 452 4.2.2 Mailbox full")
    assert category(dsn(behind("a@x.example"), full)) == "mailbox-full"
    assert category(dsn(behind("a@x.example"), behind("b@x.example"))) == "unknown-user"


def test_each_recipient_is_judged_by_its_own_fields() -> None:
    report = read_mail(
        dsn(
            recipient(),
            recipient("A@x.example", status="5.2.2", diagnostic="smtp; 552 5.2.2 Mailbox full"),
            recipient("b@x.example", status="5.0.0", diagnostic=None),
            recipient("c@x.example", action="delivered", status="2.0.0", diagnostic=None),
            human="Kim: user unknown",
        )
    )
    others = about_others(report, rules(), lambda address: address == OURS)
    assert {address: fact.category for address, fact in others.items()} == {
        "a@x.example": "mailbox-full",
        "b@x.example": "undetermined",
    }


def test_a_report_about_one_recipient_names_nobody_else() -> None:
    assert about_others(read_mail(dsn(recipient("target@x.example"))), rules(), lambda address: address == OURS) == {}


def test_the_servers_reply_wins_over_a_generic_status() -> None:
    told = read_mail(dsn(recipient(status="5.0.0", diagnostic="smtp; 550 5.2.1 mailbox disabled"))).recipients[0]
    assert told.enhanced == "5.2.1"


def test_the_prose_counts_where_the_fields_are_generic() -> None:
    raw = dsn(recipient(status="5.0.0", diagnostic=None), human=f"<{OURS}>: user unknown")
    assert category(raw) == "unknown-user"


def test_a_failure_with_a_temporary_code_was_given_up_after_retries() -> None:
    raw = dsn(recipient(status="4.0.0", diagnostic="smtp; 4.0.0 nothing said"), human="Sorry.")
    fact = judge(read_mail(raw), rules())
    assert (fact.category, fact.permanent) == ("expired", False)


@pytest.mark.parametrize(
    "broken",
    [
        dsn(recipient()).replace(b"--=b--\n", b""),
        dsn(recipient()).replace(b'boundary="=b"', b""),
        dsn(recipient()).replace(b"multipart/report", b"multipart/mixed"),
        dsn(recipient()).replace(b"message/delivery-status", b"text/plain"),
        dsn(recipient()).replace(b"\n", b"\r\n"),
        dsn(recipient()).replace(b"Reporting-MTA: dns; mx.example.net\n\n", b""),
        dsn(recipient()).replace(b"Final-Recipient: rfc822; ", b"Final-Recipient: "),
        b"From kim Mon Nov 23 05:00:00 2026\n" + dsn(recipient()),
    ],
    ids=["no-end", "no-boundary", "mixed", "wrong-type", "crlf", "no-mta", "untyped-address", "mbox"],
)
def test_broken_mime_is_read(broken: bytes) -> None:
    assert category(broken) == "unknown-user"


def test_missing_blank_lines_do_not_merge_recipients() -> None:
    report = read_mail(dsn(recipient("a@x.example") + "\n" + recipient("b@x.example", status="5.2.2")))
    assert [told.address for told in report.recipients] == ["a@x.example", "b@x.example"]


def test_a_status_part_in_base64_is_decoded() -> None:
    fields = base64.encodebytes(("Reporting-MTA: dns; x\n\n" + recipient()).encode())
    raw = dsn(recipient())
    start, end = raw.index(b"message/delivery-status"), raw.index(b"--=b\nContent-Type: message/rfc822")
    raw = raw[:start] + b"message/delivery-status\nContent-Transfer-Encoding: base64\n\n" + fields + raw[end:]
    assert category(raw) == "unknown-user"


@pytest.mark.parametrize("charset", ["iso-8859-1", "windows-1252", "x-unknown", "zlib", "idna", "utf-8"])
def test_non_utf8_text_is_read_safely(charset: str) -> None:
    raw = (
        b"From: postmaster@mx.example.net\nSubject: Unzustellbar\n"
        + f"Content-Type: text/plain; charset={charset}\n\n".encode()
        + "550 5.1.1 Empfänger unbekannt\x00".encode("latin-1")
    )
    report = read_mail(raw)
    assert "\x00" not in report.text
    report.text.encode()
    assert judge(report, rules()).category == "unknown-user"


def test_a_feedback_loop_report_is_a_complaint() -> None:
    raw = (
        b"From: fbl@provider.example\nSubject: abuse report\n"
        b"Content-Type: multipart/report; report-type=feedback-report; boundary=f\n\n"
        b"--f\nContent-Type: text/plain\n\nThis is an email abuse report.\n"
        b"--f\nContent-Type: message/feedback-report\n\nFeedback-Type: abuse\nUser-Agent: X/1\nVersion: 1\n"
        b"Original-Mail-From: <b-abc@bounces.example>\n"
        b"--f\nContent-Type: message/rfc822\n\nReturn-Path: <b-def@bounces.example>\nSubject: Sale\n\nx\n--f--\n"
    )
    report = read_mail(raw)
    assert report.kind is Kind.FEEDBACK
    assert judge(report, rules()).category == "complaint"
    assert report.candidates == ("b-def@bounces.example", "b-abc@bounces.example")
    assert judge(read_mail(raw.replace(b"abuse\nUser", b"opt-out\nUser")), rules()).category == "unsubscribe"
    assert judge(read_mail(raw.replace(b"abuse\nUser", b"auth-failure\nUser")), rules()).category == "auth-report"
    assert judge(read_mail(raw.replace(b"abuse\nUser", b"not-spam\nUser")), rules()).category == "not-a-bounce"


@pytest.mark.parametrize(
    "header",
    [
        "Auto-Submitted: auto-replied",
        "Precedence: auto_reply",
        "Subject: Out of Office",
        "X-Autoreply: yes",
    ],
)
def test_an_automatic_reply_is_no_fact_about_the_mailbox(header: str) -> None:
    raw = f"From: kim@x.example\n{header}\nContent-Type: text/plain\n\nI am away. 550 is my room.\n".encode()
    assert judge(read_mail(raw), rules()).category == "auto-reply"


def test_a_bounce_marked_auto_replied_is_still_a_bounce() -> None:
    raw = (
        b"From: Mail Delivery System <Mailer-Daemon@mx.example>\nAuto-Submitted: auto-replied\n"
        b"X-Failed-Recipients: kim@shop-customer.example\nSubject: Mail delivery failed: returning message\n\n"
        b"The following address(es) failed:\n\n  kim@shop-customer.example\n    Unrouteable address\n"
    )
    assert category(raw) == "unknown-user"


def test_other_mail_is_no_bounce() -> None:
    raw = b"From: Kim <kim@x.example>\nSubject: Thank you\n\nThe parcel came. User unknown was a funny film.\n"
    assert judge(read_mail(raw), rules()).category == "not-a-bounce"


def test_return_path_candidates_are_tried_in_order() -> None:
    raw = dsn(recipient(), returned="Return-Path: <b-old@bounces.example>\nSubject: x\n")
    raw = raw.replace(b"To: b-x@", b"Delivered-To: b-two@bounces.example\nTo: b-x@")
    assert read_mail(raw).candidates == ("b-x@bounces.example", "b-two@bounces.example", "b-old@bounces.example")


HOSTILE = {
    "empty": b"",
    "zeros": b"\x00" * 10_000,
    "no headers": b"\n\n\n" + b"x" * 1_000,
    "deep": b"".join(f"Content-Type: multipart/mixed; boundary=b{n}\n\n--b{n}\n".encode() for n in range(2_000)),
    "nested mails": b"Content-Type: message/rfc822\n\n" * 5_000,
    "one boundary": b"Content-Type: multipart/mixed; boundary=b\n\n" + b"--b\n" * 100_000,
    "headers": b"".join(f"X-{n}: y\n".encode() for n in range(50_000)) + b"\nbody",
    "folded": b"Subject: a\n" + b" b\n" * 200_000 + b"\nbody",
    "encoded words": b"Subject: " + b"=?utf-8?q?" * 20_000 + b"\n\nbody",
    "broken base64": b"Content-Transfer-Encoding: base64\nContent-Type: text/plain\n\n!!!!AAA" + b"=" * 1000,
    "recipients": dsn(*(recipient(f"u{n}@x.example") for n in range(5_000))),
    "at signs": b"From: postmaster@x\nSubject: undeliverable\n\n" + b"a@" * 200_000,
    "spaces": b"From: postmaster@x\nSubject: undeliverable\n\nuser " + b"not " * 100_000,
    "huge": b"From: postmaster@x\n\n" + b"y" * (3 * MAX_BYTES),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_mail_is_cheap_and_never_raises(name: str) -> None:
    import time

    classifier = rules()  # compilation is not measured
    started = time.process_time()
    report = read_mail(HOSTILE[name])
    judge(report, classifier)
    assert isinstance(report, Report)
    assert len(report.recipients) <= 100
    assert time.process_time() - started < 2.0


def test_the_returned_mail_is_not_parsed_for_parts() -> None:
    _, leaves = parse(dsn(recipient(), returned="Content-Type: multipart/mixed; boundary=q\nSubject: x\n\n--q\n\nz\n"))
    assert [leaf.type for leaf in leaves] == ["text/plain", "message/delivery-status", "message/rfc822"]
