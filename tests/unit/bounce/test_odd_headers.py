"""Headers are read as they are meant, however they are folded, and our signature is found in all that carry it."""

from services.bounce.domain.reports import Kind, read_mail
from tests.unit.bounce.test_odd_mails import HEAD, PATH, SENT_BACK, TOLD, WORDS, part, report
from tests.unit.bounce.test_reports import OURS


def test_our_signature_is_found_in_a_returned_errors_to() -> None:
    sent = SENT_BACK.replace(f"Return-Path: <{PATH}>", f"Return-Path: <list@x.example>\nErrors-To: {PATH}")
    assert PATH in read_mail(report(WORDS, TOLD, part("message/rfc822", sent))).candidates


def test_our_signature_is_found_in_a_folded_line() -> None:
    """Our return path alone is longer than the 78 characters at which many programs fold."""
    sent = SENT_BACK.replace(f"Return-Path: <{PATH}>", f"Return-Path:\n <{PATH}>")
    assert PATH in read_mail(report(WORDS, TOLD, part("message/rfc822", sent))).candidates


def test_a_header_folded_after_its_colon_reads_like_any_other() -> None:
    head = HEAD.replace("MAILER-DAEMON@mx.example.net", OURS) + "Return-Path: <>\nAuto-Submitted:{}auto-replied\n"
    folded, plain = [read_mail(f"{head.format(gap)}\nI am away.\n".encode()) for gap in ("\n ", " ")]
    assert folded.mail.headers.get("auto-submitted") == "auto-replied"
    assert (folded.kind, plain.kind) == (Kind.AUTO_REPLY, Kind.AUTO_REPLY)
