"""Promise: a customer's request to stop is understood in any of our languages; other replies change nothing."""

import pytest

from services.tokens.domain.replies import means_stop


@pytest.mark.parametrize(
    "text",
    [
        "STOP",
        "stop.",
        " Stop! ",
        "«STOP»",
        "Stopp",
        "STOPP bitte",
        "Stop SMS",
        "STOP 12345",
        "StopAll",
        "stop all",
        "UNSUBSCRIBE",
        "opt-out",
        "Opt out",
        "CANCEL",
        "End",
        "quit",
        "Abmelden",
        "bitte abmelden",
        "Keine Werbung!",
        "Ende",
        "ARRÊT",
        "arret",
        "ARRE\u0302T",
        "Désabonner",
        "se désabonner",
        "BAJA",
        "Alto",
        "Annulla iscrizione",
        "afmelden",
        "uitschrijven",
        "wypisz",
        "lopeta",
        "odhlásit",
        "leiratkozás",
        "iptal",
        "СТОП",
        "відписатися",
        "στοπ",
        "ΔΙΑΚΟΠΗ",
        "توقف",
        "إلغاء",
        "הסר",
        "停止",
        "ストップ",
        "ｓｔｏｐ",
        "수신거부",
        "退订",
        "TD",
        "रोकें",
        "\u200bSTOP\ufeff",
        "\n\nSTOP\n\nMax Mustermann\nSent from my phone",
        "stop\u00a0please",
    ],
)
def test_an_opt_out_is_recognised(text: str) -> None:
    assert means_stop(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   ",
        "!?",
        "Danke!",
        "START",
        "Yes",
        "Nonstop",
        "I will stop by the shop tomorrow",
        "stop by later this afternoon please",
        "Wann ist Ladenschluss? Ende der Woche?",
        "Can I cancel my order?",
        "Please cancel order 4711",
        "Der Bus hält an der Haltestelle Stopp nicht",
        "Hello\nSTOP",
        "nein danke, ich habe es schon",
        "quitte ou double",
        "x" * 100_000,
    ],
)
def test_any_other_reply_changes_nothing(text: str) -> None:
    assert not means_stop(text)
