"""A reply means the same whatever mail library, gateway or log has put its own words around it."""

import pytest

from services.bounce.domain.facts import of_text
from services.bounce.domain.wrapped import unwrapped
from tests.compiled import compiled_rules as rules

REPLIES = {
    "550 5.1.1 <kim@x.example>: Recipient address rejected: User unknown": "unknown-user",
    "550 Unable to deliver to <kim@x.example>": "unknown-user",
    "450 4.2.2 This mailbox is overfilled": "mailbox-full",
    "550 5.7.1 Blocked by SpamAssassin": "spam-content",
    "554 5.7.1 Relay access denied": "relay-denied",
    "451 4.7.1 Please try again later": "greylist",
    "553 5.1.7 ORCPT address syntax error": "sender-rejected",
}
AROUND = {
    "nodemailer": "Can't send mail - all recipients were rejected: {reply}",
    "nodemailer after DATA": "Message failed: {reply}",
    "smtplib": "({code}, b'{words}')",
    "smtplib, by recipient": "SMTPRecipientsRefused: {{'kim@x.example': ({code}, b'{words}')}}",
    "Symfony": 'Expected response code "250/251/252" but got code "{code}", with message "{reply}".',
    "PHPMailer": "SMTP Error: The following recipients failed: kim@x.example: {reply}",
    "JavaMail": "javax.mail.SendFailedException: Invalid Addresses;\n  nested exception is:\n"
    "\tcom.sun.mail.smtp.SMTPAddressFailedException: {reply}",
    "Ruby": "Net::SMTPFatalError: {reply}",
    "Exchange": "554 5.0.0 <mx.x.example #5.0.0 smtp; {reply}>",
    "Exchange Online": "Remote Server returned '{reply}'",
    "CommuniGate": "SMTP module(domain x.example) reports: host mx.x.example says: {reply}",
    "Postfix's log": "Mar  1 09:00:00 mx postfix/smtp[12]: 4F2A1: to=<kim@x.example>, relay=mx.x.example[192.0.2.1]:25,"
    " delay=1.2, delays=0.1/0/0.5/0.6, dsn=5.0.0, status=bounced (host mx.x.example[192.0.2.1] said: {reply} (in reply "
    "to RCPT TO command))",
    "Exim's log": "2027-03-01 09:00:00 1aBcDe-000123-AB ** kim@x.example R=dnslookup T=remote_smtp H=mx.x.example "
    "[192.0.2.1]: SMTP error from remote mail server after RCPT TO:<kim@x.example>: {reply}",
}


@pytest.mark.parametrize("around", AROUND.values(), ids=AROUND)
@pytest.mark.parametrize(("reply", "meant"), REPLIES.items())
def test_words_around_a_reply_do_not_change_its_meaning(reply: str, meant: str, around: str) -> None:
    fact = of_text(around.format(reply=reply, code=reply[:3], words=reply[4:]), rules())
    alone = of_text(reply, rules())
    assert (fact.category, fact.reply_code, fact.enhanced) == (meant, alone.reply_code, alone.enhanced)


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("Mailbox unavailable. The server response was: 5.7.1 Unable to relay for kim@x.example", "relay-denied"),
        ("Mailbox unavailable. The server response was: 5.7.1 Message rejected as spam", "spam-content"),
        ("Transaction failed. The server response was: 5.1.1 User unknown", "unknown-user"),
    ],
)
def test_dotnets_name_for_a_code_is_none_of_the_servers_words(said: str, meant: str) -> None:
    assert of_text(said, rules()).category == meant


@pytest.mark.parametrize(
    "said",
    [
        "Sender verification failed, the server said: 550 No such user",
        "Mail command failed: 550 5.1.1 user unknown",
        "SMTP ERROR: MAIL FROM command failed: 550 5.1.1 user unknown",
        "com.sun.mail.smtp.SMTPSenderFailedException: 550 5.1.1 user unknown",
        "smtplib.SMTPSenderRefused: (550, b'5.1.1 user unknown', 'news@shop.example')",
    ],
)
def test_words_that_say_it_is_about_our_address_stay(said: str) -> None:
    assert of_text(said, rules()).category == "sender-rejected"


def test_codes_of_a_log_line_count_if_the_reply_has_none() -> None:
    fact = of_text('postfix/local[1]: A: to=<kim@x.example>, dsn=5.1.1, status=bounced (unknown user: "kim")', rules())
    assert (fact.category, fact.enhanced) == ("unknown-user", "5.1.1")


def test_qmails_word_for_the_answered_command_stays() -> None:
    text = "192.0.2.9 failed after I sent the message.\nRemote host said: 550 5.7.1 no"
    assert unwrapped(text) == text


@pytest.mark.parametrize("text", ["550 5.1.1 no such user", "no such user", "", "5", "554", "host says no", "a: 5"])
def test_a_bare_reply_is_left_as_it_is(text: str) -> None:
    assert unwrapped(text) == text
