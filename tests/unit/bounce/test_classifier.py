"""Each refusal gets the category that its words and codes mean; the replies were written after the RFCs' own texts."""

import pytest

from services.bounce.domain.classifier import is_permanent
from services.bounce.domain.facts import Fact
from services.bounce.domain.facts import of_text as fact_of
from services.bounce.domain.rules.ruleset import Reply
from tests.compiled import compiled_rules as rules


def of_text(text: str) -> Fact:
    return fact_of(text, rules())


def classify(text: str, *, reply_code: int | None = None, enhanced: str | None = None) -> str:
    return rules().classify(Reply(text, reply_code, enhanced)).category


@pytest.mark.parametrize(
    ("text", "category"),
    [
        ("550 5.1.1 <kim@x.example>: Recipient address rejected: User unknown in local table", "unknown-user"),
        ("550 No such user here", "unknown-user"),
        ("550 5.4.1 Recipient address rejected: Access denied. AS(201806281)", "unknown-user"),
        ("550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient not found by SMTP address lookup", "unknown-user"),
        ("550 5.2.1 The email account that you tried to reach is disabled", "inactive"),
        ("553 5.3.0 mailbox suspended", "inactive"),
        ("551 5.1.6 User has moved, please try <new@x.example>", "moved"),
        ("556 5.1.10 Domain does not accept mail (null MX)", "bad-domain"),
        ("550 5.1.2 Host or domain name not found", "bad-domain"),
        ("452 4.2.2 The recipient's inbox is out of storage space", "mailbox-full"),
        ("552 5.2.2 user over quota", "mailbox-full"),
        ("450 4.2.0 Greylisted, please try again in 300 seconds", "greylist"),
        ("421 4.7.28 unusual rate of unsolicited mail", "throttled"),
        ("450 4.4.1 Connection timed out", "network"),
        ("554 4.4.7 delivery time expired", "expired"),
        ("451 4.3.0 Temporary server error, queue file write error", "system-error"),
        ("552 5.3.4 Message size exceeds fixed limit", "too-large"),
        ("550 5.7.1 Message rejected as spam", "spam-content"),
        ("554 5.7.1 Service unavailable; Client host [192.0.2.1] blocked using zen.spamhaus.org", "reputation-block"),
        ("550 5.7.26 This mail is unauthenticated: SPF and DKIM did not pass", "auth-failure"),
        ("554 5.7.1 Relay access denied", "relay-denied"),
        ("550 5.1.8 Sender address rejected: Domain not found", "sender-rejected"),
        ("554 5.6.1 attachment type not accepted", "content-rejected"),
        ("554 5.7.1 virus found in message", "virus"),
        ("550 5.7.1 The recipient only accepts mail from known senders", "recipient-filter"),
        ("550 5.7.1 refused by local policy", "policy"),
        ("501 5.5.4 Syntax error in parameters", "protocol-error"),
        ("550 no", "undetermined"),
        ("", "undetermined"),
    ],
)
def test_server_replies_get_their_category(text: str, category: str) -> None:
    assert of_text(text).category == category


def test_words_inside_an_address_are_ignored() -> None:
    assert classify("550 <virus.spam.quota@full.example> not here, no such user", reply_code=550) == "unknown-user"


def test_a_code_confirmed_by_its_words_decides() -> None:
    # the policy page in the text must not turn a dead mailbox into spam
    text = "550-5.1.1 The account does not exist. See our anti spam page for help"
    assert classify(text, reply_code=550, enhanced="5.1.1") == "unknown-user"


def test_precise_codes_decide_without_words() -> None:
    assert classify("", reply_code=550, enhanced="5.1.1") == "unknown-user"
    assert classify("", reply_code=552, enhanced="5.2.2") == "mailbox-full"
    assert classify("", reply_code=556) == "bad-domain"
    assert classify("", reply_code=550) == "undetermined"


def test_a_temporary_reply_is_never_permanent() -> None:
    fact = of_text("450 4.1.1 User unknown, try later")
    assert fact.category == "unknown-user"
    assert not fact.permanent


@pytest.mark.parametrize(
    ("text", "category"),
    [
        ("said: 550 User unknown (in reply to end of DATA command)", "recipient-filter"),
        ("said: 550 User unknown (in reply to RCPT TO command)", "unknown-user"),
        ("550 5.1.1 User unknown (in reply to RCPT TO command)", "unknown-user"),
        (
            ">>> DATA\n<<< 550 5.1.1 <kim@x.example>... User unknown\n<<< 503 5.0.0 Need RCPT (recipient)",
            "unknown-user",
        ),
        (">>> DATA\n<<< 550 <kim@x.example>... User unknown\n<<< 503 Need RCPT (recipient)", "unknown-user"),
    ],
)
def test_unknown_user_after_data_is_a_recipient_filter(text: str, category: str) -> None:
    assert of_text(text).category == category


@pytest.mark.parametrize(
    ("text", "category"),
    [
        ("This mailbox is disabled and does not accept mail", "inactive"),
        ("550 5.5.0 The account of the recipient is blocked", "inactive"),
        ("could not be delivered for the last 86400 seconds", "expired"),
        ("Name service error for name=shop.example type=MX: Malformed reply", "network"),
        ("550 Authentication required", "auth-failure"),
        ("550 DmarcPolicy", "auth-failure"),
        ("554 Transaction failed", "system-error"),
        ("554 MailLoop found", "network"),
        ("550 5.5.0 No thanks", "undetermined"),
        ("421 4.2.1 Hello", "system-error"),
        ("550 5.4.1 Hello", "undetermined"),
    ],
)
def test_words_win_over_catch_all_codes(text: str, category: str) -> None:
    assert of_text(text).category == category


@pytest.mark.parametrize(
    ("reply", "enhanced", "permanent"),
    [
        (550, "5.1.1", True),
        (450, "4.1.1", False),
        (550, "4.4.7", False),
        (None, "5.1.1", True),
        (None, None, True),
        (450, "5.1.1", False),
        (465, "5.1.1", True),
    ],
)
def test_the_codes_decide_whether_a_reply_is_final(reply: int | None, enhanced: str | None, permanent: bool) -> None:
    assert is_permanent(reply, enhanced) is permanent
