"""Whether a mail failed, is late, or arrived, in the languages of servers."""

import pytest

from services.bounce.domain.facts import judge
from services.bounce.domain.outcome import has_arrived, is_still_tried
from services.bounce.domain.reports import read_mail
from tests.compiled import compiled_rules as rules

KIM = "kim@x.example"


@pytest.mark.parametrize(
    "said",
    [
        "Es wird weiterhin versucht, die Nachricht zuzustellen.", "Le serveur continuera d'essayer de le remettre.",
        "Se seguirá intentando durante 4 días.", "Gmail volverá a intentarlo durante 46 horas.",
        "O Gmail tentará novamente. Será avisado se a entrega falhar permanentemente.",
        "Il server riproverà per 2 giorni.",
        "Er wordt nog 3 dagen opnieuw geprobeerd: wordt opnieuw geprobeerd.", "Serwer ponowi próby dostarczenia.",
        "Попытки доставки будут продолжены.", "Sunucu tekrar deneyecek.",
        "引き続き再送を試みます。", "系统将继续尝试投递。",
        "서버가 계속 시도합니다.",
    ],
)  # fmt: skip
def test_servers_go_on_trying_in_every_language(said: str) -> None:
    assert is_still_tried(f"{KIM}\n{said}")


@pytest.mark.parametrize(
    "said",
    [
        "Versuchen Sie es später erneut.", "Veuillez réessayer plus tard.", "Vuelva a intentarlo más tarde.",
        "Tente novamente mais tarde.", "请稍后重试。", "잠시 후 다시 시도하십시오.",
        "しばらくしてから再度お試しください。",
        "Повторите попытку позже.",
    ],
)  # fmt: skip
def test_advice_to_try_again_is_no_promise(said: str) -> None:
    assert not is_still_tried(f"{KIM}\n{said}")


@pytest.mark.parametrize("end", ["It has been given up.", "This is a permanent error.", "The server gave up."])
def test_a_server_that_has_given_up_no_longer_tries(end: str) -> None:
    said = f"{KIM}\nYour message has been delayed; delivery attempts will continue for a day."
    assert is_still_tried(said)
    assert not is_still_tried(f"{said}\n{end}", "Delivery delayed")


def test_a_mail_that_has_not_been_delivered_yet_is_late() -> None:
    assert is_still_tried(f"The message you sent to {KIM} hasn't been delivered yet due to: Recipient server busy.")
    assert not is_still_tried(f"The message to {KIM} has not been delivered. Giving up.")


def test_the_subject_of_our_own_mail_makes_no_failure_late() -> None:
    for subject in ("Undeliverable: Your parcel is delayed", "Unzustellbar: Ihre Lieferung ist verzögert"):
        assert not is_still_tried("no such user", subject)
    assert is_still_tried("no answer yet", "Delivery delayed: Your order")
    assert is_still_tried("keine Antwort", "Zustellung verzögert: Ihre Bestellung")


def test_the_subject_that_a_server_quotes_is_none_of_its_words() -> None:
    sent = f"Your message\n\n  To: {KIM}\n  Subject: Your parcel has been delayed, mailbox full\n\n"
    said = f"did not reach:\n\n{KIM}\n    The e-mail account does not exist\n"
    raw = f"From: postmaster@x.example\nSubject: Undeliverable\n\n{sent}{said}"
    report = read_mail(raw.encode())
    assert [(one.address, one.action) for one in report.recipients] == [(KIM, "failed")]
    assert judge(report, rules()).category == "unknown-user"
    said = f"Betreff: Mein Postfach ist voll\n\nNicht zugestellt an {KIM}: die Adresse existiert nicht.\n"
    raw = f"From: postmaster@x.example\nSubject: Unzustellbar\nContent-Type: text/plain; charset=utf-8\n\n{said}"
    assert judge(read_mail(raw.encode()), rules()).category == "unknown-user"


@pytest.mark.parametrize(
    "said",
    [
        "Your message has been delivered to the following recipients:",
        "Ihre Nachricht wurde an folgende Empfänger zugestellt:",
        "Die Zustellung ist abgeschlossen, vom Zielserver wurde jedoch keine Zustellbenachrichtigung gesendet:",
        "Votre message a été remis aux destinataires suivants :",
    ],
)
def test_servers_confirm_in_their_language(said: str) -> None:
    assert has_arrived(f"{said}\n\n{KIM}")
    assert not has_arrived(f"{said}\n\n{KIM}\n\nDelivery failed: lea@x.example")


def test_of_several_recipients_some_may_have_got_the_mail() -> None:
    said = (
        "Your message has been partially delivered:\n\n"
        f"<{KIM}> (delivered to 'mx.x.example' with code 250 (2.1.5) 'OK')\n"
        "<lea@x.example> ('mx.x.example' rejected 'RCPT TO:<lea@x.example>' with code 550 (5.1.1) 'No user')\n"
    )
    report = read_mail(f"From: postmaster@x.example\nSubject: Partially delivered\n\n{said}".encode())
    assert [(one.address, one.action) for one in report.recipients] == [
        (KIM, "delivered"),
        ("lea@x.example", "failed"),
    ]


def test_a_mailbox_of_250_megabytes_is_no_success() -> None:
    report = read_mail(f"From: postmaster@x.example\nSubject: Failed\n\n<{KIM}>: over its 250 MB\n".encode())
    assert [one.action for one in report.recipients] == ["failed"]
