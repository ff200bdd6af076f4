"""Text is decoded as what it is, whatever its part calls it: servers copy the bytes of another server's reply."""

import pytest

from services.bounce.domain.charsets import text_of
from services.bounce.domain.facts import judge
from services.bounce.domain.reports import read_mail
from tests.compiled import compiled_rules as rules

SENTENCES = [
    ("您的邮件无法投递:用户不存在", "gb18030"),
    ("550 邮箱不存在", "gb18030"),
    ("收件人郵箱已滿,郵件被退回", "gbk"),
    ("您的郵件無法投遞 信箱已滿 使用者不存在", "big5"),
    ("メールを送信できませんでした。宛先不明", "euc-jp"),
    ("メールを送信できませんでした。宛先不明", "shift_jis"),
    ("メールを送信できませんでした。宛先不明", "iso-2022-jp"),
    ("메일을 전달할 수 없습니다. 존재하지 않는 사용자", "euc-kr"),
    ("메일을 전달할 수 없습니다. 존재하지 않는 사용자", "iso-2022-kr"),
    ("Письмо не доставлено: пользователь не найден", "windows-1251"),
    ("Почтовый ящик переполнен", "koi8-r"),
    ("Empfänger unbekannt, Postfach überfüllt", "iso-8859-1"),
    ("N'a pas été distribué, boîte pleine à répété", "iso-8859-1"),
    ("El buzón está lleno, dirección inválida", "utf-8"),
    ("Der Empfänger ist unbekannt: Müller", "utf-8"),
]


@pytest.mark.parametrize(("text", "charset"), SENTENCES)
@pytest.mark.parametrize("named", [None, "us-ascii", "utf-8", "iso-8859-1", "x-unknown"])
@pytest.mark.parametrize("before", ["", "This is the mail system at host mx.\n\n<kim@x.example>: host said: "])
def test_text_is_decoded_in_spite_of_the_charset_it_names(
    text: str, charset: str, named: str | None, before: str
) -> None:
    assert text_of((before + text).encode(charset), named) == before + text


@pytest.mark.parametrize(
    ("named", "charset"),
    [
        ("gb2312", "gb18030"), ("GB_2312-80", "gb2312"), ("big5", "big5hkscs"), ("Windows-31J", "cp932"),
        ("x-sjis", "cp932"), ("ks_c_5601-1987", "cp949"), ("iso-2022-jp", "iso2022_jp_ext"), ("windows-874", "cp874"),
        ("ibm850", "cp850"), ("macintosh", "mac-roman"), ("unicode-1-1-utf-7", "utf-7"), ("cp866", "cp866"),
    ],
)  # fmt: skip
def test_charsets_are_known_by_their_other_names(named: str, charset: str) -> None:
    text = {"cp874": "กล่องเต็ม", "cp866": "ящик", "cp850": "für", "mac-roman": "boîte", "utf-7": "für"}.get(
        charset, "中 ok"
    )
    assert text_of(text.encode(charset), named) == text


def test_a_fault_in_utf8_spoils_one_letter() -> None:
    whole = "Der Empfänger ist unbekannt, das Postfach überfüllt".encode()
    assert text_of(whole.replace("ü".encode(), b"\xc3", 1), "utf-8").startswith("Der Empfänger ist unbekannt")
    cut = "您的邮件无法投递,因为用户不存在".encode()[:-1]
    assert text_of(cut, None).startswith("您的邮件无法投递,因为用户不存ä"[:-1])


def test_a_cut_text_keeps_its_charset() -> None:
    assert text_of("您的邮件无法投递:用户不存在".encode("gb18030")[:-1], "gb2312").startswith(
        "您的邮件无法投递:用户不存"
    )


def test_a_reply_in_another_charset_than_its_report_is_read() -> None:
    raw = (
        "From: MAILER-DAEMON@mx.example\nSubject: Undelivered\n"
        "Content-Type: multipart/report; report-type=delivery-status; boundary=q\n\n"
        "--q\nContent-Type: text/plain; charset=us-ascii\n\nSorry.\n\n--q\nContent-Type: message/delivery-status\n\n"
        "Final-Recipient: rfc822; kim@x.example\nAction: failed\nStatus: 5.0.0\n"
        "Diagnostic-Code: smtp; 550 邮箱不存在\n\n--q--\n"
    ).encode("gbk")
    assert judge(read_mail(raw), rules()).category == "unknown-user"
