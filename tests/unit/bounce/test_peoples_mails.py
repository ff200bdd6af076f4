"""What people and programs write is no bounce, whatever they quote; what a server writes is, whatever it mentions."""

import pytest

from services.bounce.domain.facts import Fact, judge
from services.bounce.domain.reports import read_mail
from tests.compiled import compiled_rules as rules

SERVER = "Mail Delivery System <MAILER-DAEMON@mx.x.example>"
KIM = "Kim <kim@x.example>"


def fact(subject: str, text: str, *, sender: str = KIM, path: str = "<kim@x.example>", head: str = "") -> Fact:
    lines = f"Return-Path: {path}\nFrom: {sender}\nTo: news@shop.example\nSubject: {subject}\n{head}"
    return judge(
        read_mail(f"{lines}MIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\n\n{text}\n".encode()), rules()
    )


@pytest.mark.parametrize(
    ("subject", "text"),
    [
        ("Question about non-delivery", "We got delivery status notifications with 550 5.1.1 User unknown. Why?"),
        ("Mail delivery failed", "My colleague's mail came back: 550 5.1.1 <kim@x.example> User unknown"),
        ("PROBLEM: delivery failed", "12 mails could not be delivered, as 550 5.1.1 <kim@x.example> User unknown"),
        ("Fwd: delivery failed", "Final-Recipient: rfc822; help@shop.example\nAction: failed\nStatus: 5.1.1"),
        ("Fwd: Undelivered mail", "Why?\n\nFrom: MAILER-DAEMON@x.example\n\n<kim@x.example>: 550 5.1.1 User unknown"),
        ("WG: Unzustellbar", "Was ist das?\n\n<kim@x.example>: 550 5.1.1 User unknown"),
        ("Returned to sender", "The courier says that the address does not exist. What now?"),
    ],
)  # fmt: skip
def test_a_mail_with_a_return_path_of_its_own_is_no_bounce(subject: str, text: str) -> None:
    assert fact(subject, text).category == "not-a-bounce"
    assert fact(subject, text, sender=SERVER, path="<>").category != "not-a-bounce"


def test_lists_refuse_with_a_return_path_of_their_own() -> None:
    said = "You are not allowed to post to this mailing list"
    assert fact("Your message", said, sender="list-owner@x.example", path="<list-bounces@x.example>").group == "block"


def test_an_answer_to_a_notification_is_no_bounce() -> None:
    for subject in ("RE: Undeliverable: Your order", "AW: [2] Unzustellbar", "Odp: delivery failed"):
        assert not fact(subject, "It is repaired: no more 550 5.1.1 user unknown.", head="References: <1@x>\n").counts


def test_a_parcel_that_was_not_delivered_is_no_bounce() -> None:
    text = "We were unable to deliver your parcel today. Returned to sender in 7 days."
    assert fact("Your parcel could not be delivered", text, path="").category == "not-a-bounce"


def test_a_program_that_answers_for_somebody_is_an_automatic_reply() -> None:
    assert fact("Re: Your order", "Back on Monday, mailbox full of sand.", path="<>").category == "auto-reply"
    assert fact("Re: Your order", "550 5.1.1 no such user", sender=SERVER, path="<>").category == "unknown-user"


@pytest.mark.parametrize(
    "text",
    [
        "Estoy de vacaciones hasta el lunes.", "Sono in ferie fino a lunedì.", "Ik ben op vakantie tot maandag.",
        "Jag är på semester.", "Jeg er på ferie.", "Olen lomalla 5.3. asti.", "Jestem na urlopie do 5 marca.",
        "Jsem na dovolené.", "Szabadságon vagyok.", "Я в отпуске до 5 марта.", "Estou de férias.",
        "Je suis en vacances.", "I'm away until Monday.",
    ],
)  # fmt: skip
def test_people_who_are_away_say_so_in_their_language(text: str) -> None:
    assert fact("Thank you", text, path="<>").category == "auto-reply"


@pytest.mark.parametrize(
    "text",
    [
        "Merci de cliquer sur le lien ci-dessous afin de confirmer que vous êtes un humain.",
        "Klicken Sie auf den Link, damit Ihre Nachricht zugestellt wird.",
        "Haga clic en el enlace para confirmar su mensaje.",
    ],
)
def test_a_challenge_is_recognised_in_other_languages(text: str) -> None:
    assert fact("Your message", text, path="<>").category == "challenge"


def test_a_server_that_mentions_complaints_reports_none() -> None:
    said = "<kim@x.example>: 550 5.7.1 Blocked: too many spam complaints from your network"
    assert fact("Undelivered Mail", said, sender=SERVER, path="<>").group == "block"
    said = "<kim@x.example>: 550 5.1.1 User unknown. Send an abuse report to abuse@x.example"
    assert fact("Undelivered Mail", said, sender=SERVER, path="<>").category == "unknown-user"
    assert fact("My order", "Do I have to make a spam complaint?").category == "not-a-bounce"


def test_a_receipt_of_a_mail_that_was_passed_on_is_no_refusal() -> None:
    def receipt(disposition: str) -> str:
        raw = (
            "From: Kim <kim@x.example>\nSubject: Receipt\nMIME-Version: 1.0\n"
            "Content-Type: multipart/report; report-type=disposition-notification; boundary=n\n\n--n\n"
            "Content-Type: text/plain\n\nThe quota report follows.\n--n\n"
            "Content-Type: message/disposition-notification\n\nFinal-Recipient: rfc822; kim@x.example\n"
            f"Disposition: automatic-action/MDN-sent-automatically; {disposition}\n--n--\n"
        )
        return judge(read_mail(raw.encode()), rules()).category

    assert [receipt("displayed"), receipt("dispatched")] == ["delivered", "delivered"]
    assert receipt("deleted") == "mailbox-full"


def test_an_aggregate_report_is_recognised_by_the_name_of_its_file() -> None:
    def mail(name: str) -> str:
        raw = (
            "Return-Path: <>\nFrom: postmaster@isp.example\nSubject: Report\nMIME-Version: 1.0\n"
            f'Content-Type: application/gzip; name="{name}"\nContent-Transfer-Encoding: base64\n\nH4sI\n'
        )
        return judge(read_mail(raw.encode()), rules()).category

    assert mail("isp.example!shop.example!1772323200!1772409599.xml.gz") == "auth-report"
    assert mail("undelivered!.gz") != "auth-report"


def test_a_forwarded_text_is_no_bounce_without_a_return_path_either() -> None:
    said = "Why?\n\nFrom: MAILER-DAEMON@x.example\n\n<kim@x.example>: 550 5.1.1 User unknown"
    assert fact("Fwd: Undelivered mail", said, path="").category == "not-a-bounce"


def test_a_mail_system_by_name_alone_has_to_quote_a_reply() -> None:
    phish = "3 messages could not be delivered because your mailbox is full. Click here."
    called = "Mail Delivery System <help@x.example>"
    assert fact("Mail delivery failed", phish, sender=called, path="<help@x.example>").category == "not-a-bounce"
    said = "<kim@x.example>: 550 5.1.1 User unknown"
    assert fact("Mail delivery failed", said, sender=called, path="<help@x.example>").category == "unknown-user"


def test_newsletters_and_mails_of_lists_are_no_bounces() -> None:
    said = "<ann@x.example>: 550 5.1.1 User unknown, and what else we had undelivered this week."
    for head in ("List-Id: <team.x.example>\n", "List-Unsubscribe: <mailto:off@x.example>\n"):
        for path in ("<team-bounces@x.example>", ""):
            assert fact("Undelivered mail", said, path=path, head=head).category == "not-a-bounce"
            assert fact("Undelivered mail", said, path=path, head=head, sender=SERVER).category == "unknown-user"


def test_an_answer_that_wants_no_answer_is_an_automatic_reply() -> None:
    said = "Thank you. Our team answers within a day."
    assert fact("We have received it", said, path="<>", head="X-Auto-Response-Suppress: All\n").category == "auto-reply"


@pytest.mark.parametrize(
    "text",
    [
        "Your message is being held because the address <news@shop.example> has not been verified.",
        "To release your message, please send an empty mail to this address.",
        "Your message was waitlisted. Please add yourself to my Guest List.",
        "I use ChoiceMail. Fill out the form and your message will be delivered.",
        "Bitte bestätigen Sie einmalig Ihre Adresse, indem Sie auf diese E-Mail antworten.",
        "下記のURLをクリックして認証してください。",
        "Your message is held. Click https://verify.example/x to prove that you are a human being.",
    ],
)
def test_challenges_of_other_programs_are_recognised(text: str) -> None:
    assert fact("Your message", text, path="<>").category == "challenge"
