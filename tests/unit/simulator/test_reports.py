"""The reports that the simulator returns follow the standards and concern the message that was sent."""

from email import message_from_bytes, policy
from uuid import UUID

import pytest

from libs.verp import ReturnPath
from services.simulator.domain.arrivals import Arrival
from services.simulator.domain.faults import Fault
from services.simulator.domain.mail import acceptable, path_of, tag_and_attempt, unstuffed
from services.simulator.domain.reports import REPORTS, report_about, tag_of_return_path

NOTIFICATION = UUID("0199a7e2-5b1c-8a27-9a3e-1d1c5f0e7a10")
PATHS = ReturnPath(b"k" * 32, "bounces.example")
MAIL = b"From: shop@example.com\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\nMessage-ID: <1@x>\r\n\r\nHello\r\n"


def mail_to(address: str) -> Arrival:
    return Arrival("email", address, "t", 2, MAIL, PATHS.make(NOTIFICATION, 77, 2))


@pytest.mark.parametrize("address_id", [0, 77, 2**62])
def test_a_signed_return_path_yields_message_and_attempt(address_id: int) -> None:
    made = PATHS.make(NOTIFICATION, address_id, 3)
    assert tag_of_return_path(made) == (f"{NOTIFICATION}.{address_id}", 3)
    assert tag_of_return_path(made.upper().replace("B-", "b-")) == (f"{NOTIFICATION}.{address_id}", 3)


@pytest.mark.parametrize("sender", ["", "shop@example.com", "b-short@x", "b-" + "1" * 52 + "@x", "b-" + "ä" * 52])
def test_other_return_paths_yield_nothing(sender: str) -> None:
    assert tag_of_return_path(sender) is None
    assert tag_and_attempt(sender, MAIL) == ("1@x", 0)


@pytest.mark.parametrize("fault", [Fault.BOUNCE, Fault.BOUNCE_FULL, Fault.BOUNCE_DELAYED])
@pytest.mark.parametrize("address", ["anna@example.com", "änne@exämple.com"])
def test_a_bounce_mail_is_a_delivery_status_notification(fault: Fault, address: str) -> None:
    # given a mail that was accepted and could not be delivered
    sent = mail_to(address)
    # when the report is read
    report = message_from_bytes(report_about(REPORTS[fault], sent, 1_760_000_000_000), policy=policy.default)
    # then it is a multipart/report to the return path, with RFC 3464's fields
    assert report.get_content_type() == "multipart/report"
    assert report.get_param("report-type") == "delivery-status"
    assert sent.sender in report["To"]
    explanation, status, headers = report.iter_parts()
    assert address in explanation.get_content()
    kind = "message/delivery-status" if address.isascii() else "message/global-delivery-status"
    assert status.get_content_type() == kind
    text = status.as_bytes().decode("utf-8", "replace")
    assert f"Status: {REPORTS[fault].status}" in text
    assert f"Action: {REPORTS[fault].action}" in text
    assert "Final-Recipient: " in text
    assert b"Message-ID: <1@x>" in headers.as_bytes()


def test_a_complaint_is_a_feedback_report_with_the_mail() -> None:
    raw = report_about(REPORTS[Fault.COMPLAINT], mail_to("anna@example.com"), 1_760_000_000_000)
    report = message_from_bytes(raw, policy=policy.default)
    assert report.get_param("report-type") == "feedback-report"
    parts = list(report.iter_parts())
    assert [part.get_content_type() for part in parts[1:]] == ["message/feedback-report", "message/rfc822"]
    assert b"Feedback-Type: abuse" in parts[1].as_bytes()


def test_leading_dots_are_unstuffed() -> None:
    assert unstuffed(b"..a\r\n.\r\n..\r\n...\r\nb.\r\n") == b".a\r\n\r\n.\r\n..\r\nb.\r\n"


@pytest.mark.parametrize(
    ("argument", "address"),
    [
        ("FROM:<a@b.c>", "a@b.c"),
        ("from: <a@b.c> SIZE=10 BODY=8BITMIME", "a@b.c"),
        ("TO:<@relay.example:a@b.c>", "a@b.c"),
        ("FROM:<>", ""),
        ('TO:<"a b"@c.d>', '"a b"@c.d'),
    ],
)
def test_paths_are_parsed_as_rfc_5321_defines_them(argument: str, address: str) -> None:
    path = path_of(argument)
    assert path is not None
    assert path.address == address


@pytest.mark.parametrize("address", ["a", "a b@c", "a@", "@b", "a" * 65 + "@b.c", "a@b@c", "a,b@c"])
def test_invalid_addresses_are_refused(address: str) -> None:
    assert not acceptable(address)
