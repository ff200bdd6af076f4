"""A refusal of our host, our greeting or our address never bars the recipient, whatever words it uses."""

from typing import cast

import pytest

from services.bounce.adapters.shipped_rules import shipped_parts
from services.bounce.domain.categories import CATEGORIES, Action
from services.bounce.domain.classifier import Classifier
from services.bounce.domain.facts import of_text
from services.bounce.domain.model import Guess, Model
from services.bounce.domain.rules.assembling import assemble
from services.bounce.domain.rules.entries import Published, State
from services.bounce.domain.rules.rule import Layer
from services.bounce.domain.rules.ruleset import Reply
from tests.compiled import compiled_rules

DEAD = (
    "No such user here",
    "This account has been suspended",
    "The email account that you tried to reach does not exist",
    "delivery error: dd This user doesn't have a yahoo.com account",
    "Kim has moved to <new@y.example>",
    "Benutzer unbekannt",
    "Domain not found",
)
CHECKS = (
    "550 5.1.0 <news@shop.example>: Sender address rejected: {}",
    "550 5.7.1 <mail.shop.example>: Helo command rejected: {}",
    "554 5.7.1 <mail.shop.example[192.0.2.4]>: Client host rejected: {}",
    "550 Sender verify failed: {}",
    "host mx.x.example[192.0.2.1] said: 550 {} (in reply to MAIL FROM command)",
    "host mx.x.example[192.0.2.1] said: 550 {} (in reply to EHLO command)",
    "host mx.x.example[192.0.2.1] refused to talk to me: 554 {}",
)


def suppresses(text: str) -> bool:
    return CATEGORIES[of_text(text, compiled_rules()).category].action is Action.SUPPRESS


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("words", DEAD)
def test_words_about_our_side_suppress_nobody(check: str, words: str) -> None:
    assert not suppresses(check.format(words))


@pytest.mark.parametrize("words", DEAD)
def test_the_same_words_about_the_recipient_suppress(words: str) -> None:
    assert suppresses(f"host mx.x.example[192.0.2.1] said: 550 {words} (in reply to RCPT TO command)")


CODES = (
    "503, 530, 535, 550 5.1.7, 553 5.1.8, 552 5.2.3, 552 5.3.4, 550 5.4.5, 554 5.4.6, 550 5.6.0, 550 5.7.8, 550 5.7.25"
)


@pytest.mark.parametrize("codes", [*CODES.split(", "), "550 5.7.26", "550 5.7.133", "550 5.7.708"])
@pytest.mark.parametrize("words", DEAD)
def test_codes_about_our_side_suppress_nobody(codes: str, words: str) -> None:
    assert not suppresses(f"{codes} {words}")


@pytest.mark.parametrize("codes", ["550", "550 5.0.0", "550 5.7.0", "550 5.7.1", "550 5.3.0", "554 5.5.0"])
def test_codes_that_servers_use_for_anything_leave_it_to_the_words(codes: str) -> None:
    assert suppresses(f"{codes} No such user here")


@pytest.mark.parametrize(
    ("text", "category"),
    [
        ("525 5.7.13 Account disabled", "inactive"),
        ("550 5.7.17 Mailbox owner has changed", "unknown-user"),
        ("550 5.7.18 Domain owner has changed", "unknown-user"),
    ],
)
def test_the_security_codes_about_recipients_still_are(text: str, category: str) -> None:
    assert of_text(text, compiled_rules()).category == category


def test_a_server_may_say_at_once_that_its_domain_takes_no_mail() -> None:
    said = of_text(
        "host mx.x.example[192.0.2.1] refused to talk to me: 521 x.example does not accept mail", compiled_rules()
    )
    assert said.category == "bad-domain"


@pytest.mark.parametrize(
    "text",
    [
        "451 4.3.0 Account database replica is behind, user state unknown, retry",
        "421 4.7.0 You have addressed a nonexistent user too often, dropping connection",
        "450 4.2.1 User has moved to another store, wait",
    ],
)
def test_a_request_to_wait_for_another_reason_is_not_about_the_mailbox(text: str) -> None:
    assert of_text(text, compiled_rules()).category not in {"unknown-user", "moved"}


@pytest.mark.parametrize(
    "text",
    [
        "550 Ihre Nachricht an den Empfänger kim@x.example wurde blockiert",
        "550 Votre message pour l'utilisateur kim a été bloqué",
        "550 Su mensaje al usuario kim ha sido bloqueado",
        "550 Ihr Konto wurde geschlossen, Versand nicht möglich",
        "550 5.1.1 Recipient accepts messages up to 10 MB only",
        "550 Requested action not taken: mailbox unavailable, under repair, retry tomorrow",
        "550 5.7.1 Username unknown, please authenticate with your full e-mail address",
        "552 5.2.2 В ящике получателя нет места",
    ],
)
def test_a_blocked_message_or_a_mailbox_in_trouble_is_no_dead_mailbox(text: str) -> None:
    assert not suppresses(text)


@pytest.mark.parametrize(
    ("text", "category"),
    [
        (
            "Votre message n'a pu être remis à <kim@x.example>. Raison : le compte de ce client a été résilié.",
            "inactive",
        ),
        ("Su mensaje a <kim@x.example> no se entregó: la cuenta fue cerrada", "inactive"),
        ("550 La dirección indicada no pertenece a ningún usuario", "unknown-user"),
        ("550 5.7.1 <kim@x.example>, Sender is blacklisted by this recipient", "policy"),
        ("550 5.7.705 Service unavailable. Access denied, tenant has exceeded threshold", "reputation-block"),
        (
            "550 5.7.193 Service unavailable. This mailbox has been configured for its own organization",
            "recipient-filter",
        ),
    ],
)
def test_what_is_closed_and_who_refuses_decides(text: str, category: str) -> None:
    assert of_text(text, compiled_rules()).category == category


@pytest.mark.parametrize(
    "text",
    [
        "550-Requested action not taken: mailbox unavailable 550 Failure sending mail. Try again later.",
        "550 Requested action not taken: mailbox unavailable, please try again later",
        "550 5.4.1 <kim@x.example>: Recipient address rejected: Greylisted for 300 seconds",
        "550 5.4.1 <kim@x.example>: Recipient address rejected: Your server is listed in a DNSBL",
        "550 5.4.1 <kim@x.example>: Recipient address rejected: Could not query the user database",
        "550 <kim@x.example>: rejected by header checks",
        "550 <kim@x.example>: rejected because of a rule of this company",
        "550 Mailbox unavailable or access denied: DMARC of shop.example",
        "552 1 Requested mail action aborted, mailbox not found: user over quota",
        "550 5.1.1 The antivirus scanner is not ready",
        "550 5.1.1 The connection to the mail store was closed",
        "550 5.1.1 The mail has 40000000 bytes, that is too much",
        "550 5.1.1 Delivery to this mailbox is prohibited",
    ],
)
def test_a_code_or_a_phrase_about_the_recipient_does_not_outvote_the_reason_after_it(text: str) -> None:
    assert not suppresses(text)


@pytest.mark.parametrize(
    ("text", "category"),
    [
        ("550 5.4.1 Recipient address rejected: Access denied. AS(201806281)", "unknown-user"),
        ("550 5.4.1 [kim@x.example]: Recipient address rejected: Access denied", "unknown-user"),
        (
            "550 5.4.1 All recipient addresses rejected : Access denied [AB1CD23EF045.mail.protection.outlook.com]",
            "unknown-user",
        ),
        ("550 5.4.1 Recipient address rejected", "unknown-user"),
        ("550 <kim@x.example> rejected", "unknown-user"),
        ("550 5.7.1 The user kim has blocked messages from you", "recipient-filter"),
        ("550 Your message was rejected by this user and not delivered", "recipient-filter"),
        ("550 5.2.0 Refused by the receiver's filter settings", "recipient-filter"),
        ("421 Message from (192.0.2.7) temporarily deferred - 4.16.50", "reputation-block"),
        ("554 5.4.0 Error", "network"),
    ],
)
def test_who_refused_and_why_is_read(text: str, category: str) -> None:
    assert of_text(text, compiled_rules()).category == category


def test_the_model_cannot_suppress_for_an_answer_to_mail_from() -> None:
    class Sure:
        digest = "sure"

        def answer(self, reply: Reply) -> Guess:
            return Guess("unknown-user", 0.99)

    known = compiled_rules()
    asked = Classifier(known.rules, known.scan, known.providers, cast(Model, Sure()))
    assert asked.classify(Reply("550 gone fishing", 550, stage="rcpt")).category == "unknown-user"
    assert asked.classify(Reply("550 gone fishing", 550, stage="mail")).category == "undetermined"


def test_a_rule_that_people_write_may_say_otherwise() -> None:
    document = {"category": "unknown-user", "contains": "gone fishing", "stage": "mail"}
    made = assemble(shipped_parts(), [Published("ours", Layer.ORGANISATION, State.LIVE, 1, document)])
    number = next(n for n, pattern in enumerate(made.rules.patterns) if b"gone" in pattern and b"fishing" in pattern)
    own = Classifier(made.rules, lambda words: [number] if b"gone fishing" in words else [], compiled_rules().providers)
    assert own.classify(Reply("550 gone fishing", 550, stage="mail")).category == "unknown-user"
