"""Promise: each address has one normal form, and an unreachable or forbidden one is refused."""

import pytest

from libs.addresses import (
    InvalidAddress,
    device_token,
    email_address,
    is_public,
    phone_number,
    webhook_url,
)
from libs.ids import AddressHasher


@pytest.mark.parametrize(
    ("written", "value", "canonical"),
    [
        ("max@example.com", "max@example.com", "max@example.com"),
        ("  Max.Muster@Example.COM ", "Max.Muster@example.com", "max.muster@example.com"),
        ("max\u200b@example.com\ufeff", "max@example.com", "max@example.com"),
        ("\u202amax@example.com\u202c", "max@example.com", "max@example.com"),
        ("info@bücher.example", "info@xn--bcher-kva.example", "info@xn--bcher-kva.example"),
        ("info@BÜCHER.example", "info@xn--bcher-kva.example", "info@xn--bcher-kva.example"),
        ("info@faß.example", "info@xn--fa-hia.example", "info@xn--fa-hia.example"),
        ("用户@例子.广告", "用户@xn--fsqu00a.xn--4rr70v", "用户@xn--fsqu00a.xn--4rr70v"),
        ("Jo\u0308rg@example.com", "Jörg@example.com", "jörg@example.com"),
        ('"max"@example.com', "max@example.com", "max@example.com"),
        ('"max muster"@example.com', '"max muster"@example.com', '"max muster"@example.com'),
        ("max+fault.429x2@example.com", "max+fault.429x2@example.com", "max+fault.429x2@example.com"),
        ("max@example.com.", "max@example.com", "max@example.com"),
        ("o'brien@example.co.uk", "o'brien@example.co.uk", "o'brien@example.co.uk"),
    ],
)
def test_mail_addresses_have_one_form(written: str, value: str, canonical: str) -> None:
    address = email_address(written)
    assert (address.value, address.canonical) == (value, canonical)


@pytest.mark.parametrize(
    "written",
    [
        "",
        "max",
        "@example.com",
        "max@",
        "max@localhost",
        "max@127.0.0.1",
        "max@[127.0.0.1]",
        "max..muster@example.com",
        ".max@example.com",
        "max muster@example.com",
        "max@exam ple.com",
        "max@-example.com",
        "max@exa_mple.com",
        "max@example..com",
        "max\r\nBcc: all@example.com@example.com",
        "max@example.com\nBcc: x@example.com",
        "max\x00@example.com",
        "ma\ud800x@example.com",
        "max\u00a0muster@example.com",
        "a" * 65 + "@example.com",
        "ü" * 33 + "@example.com",
        "max@" + "a" * 64 + ".com",
        "max@" + "a." * 130 + "com",
        "a" * 100_000,
        "Max <max@example.com>",
        "max@xn--a.example",
    ],
)
def test_an_invalid_mail_address_is_refused_with_a_sentence(written: str) -> None:
    with pytest.raises(InvalidAddress) as caught:
        email_address(written, "/value")
    assert caught.value.errors[0].pointer == "/value"
    assert caught.value.detail.endswith(".")


@pytest.mark.parametrize(
    ("written", "region", "value"),
    [
        ("+49 151 23456789", None, "+4915123456789"),
        ("0151 23456789", "DE", "+4915123456789"),
        ("0049 (0) 151-23456789", "DE", "+4915123456789"),
        ("\u202a+49\u00a0151\u200b2345\u2060678\u00ad9\u202c", "DE", "+4915123456789"),
        ("+49\u202f151\u20092345\u30006789", None, "+4915123456789"),
        ("+٤٩ ١٥١ ٢٣٤٥٦٧٨٩", None, "+4915123456789"),
        ("＋４９ １５１ ２３４５６７８９", None, "+4915123456789"),
        ("tel:+49-151-23456789", None, "+4915123456789"),
        ("0664 1234567", "AT", "+436641234567"),
        ("+15005550006", None, "+15005550006"),
        ("(415) 555-2671", "US", "+14155552671"),
        ("4915123456789", "DE", "+4915123456789"),  # of an export that drops the plus; 0491 would be Leer
        ("0491 512345678", "DE", "+49491512345678"),
        ("4151234567", "US", "+14151234567"),
        ("Tel. +49 151 23456789", None, "+4915123456789"),
    ],
)
def test_phone_numbers_become_e164(written: str, region: str | None, value: str) -> None:
    assert phone_number(written, region).value == value


@pytest.mark.parametrize(
    ("written", "region"),
    [
        ("33612345678", "DE"),  # a French mobile phone's; 03361 would be Fürstenwalde
        ("43 664 1234567", "DE"),
        ("491512345678", "AT"),
        ("1-212-736-5000", "DE"),
        ("(312) 555-0142", "DE"),  # an American number; no German one begins like that
    ],
)
def test_a_number_that_may_be_another_countrys_is_not_guessed(written: str, region: str) -> None:
    with pytest.raises(InvalidAddress, match="another country"):
        phone_number(written, region)


@pytest.mark.parametrize(
    ("written", "region", "value"),
    [
        ("15123456789", "DE", "+4915123456789"),  # a spreadsheet dropped the zero
        ("030/1234567", "DE", "+49301234567"),
        ("301234567", "DE", "+49301234567"),
        ("06 1234 5678", "IT", "+390612345678"),
        ("612 34 56 78", "ES", "+34612345678"),
        ("8 (912) 345-67-89", "RU", "+79123456789"),
        ("011 43 664 1234567", "US", "+436641234567"),
        ("07700 900123", "GB", "+447700900123"),
    ],
)
def test_a_number_of_its_country_is_read_there(written: str, region: str, value: str) -> None:
    assert phone_number(written, region).value == value


@pytest.mark.parametrize(
    "written",
    [
        "",
        "abc",
        "+",
        "+49",
        "+49 1",
        "+999 12345678",
        "0" * 200,
        "+4915123456789 ext. 5",
        "12\n34567890",
        "+4915123456 mobil",
    ],
)
def test_an_invalid_phone_number_is_refused(written: str) -> None:
    with pytest.raises(InvalidAddress) as caught:
        phone_number(written, "DE", "/value")
    assert caught.value.errors[0].pointer == "/value"


def test_a_number_without_country_code_needs_a_region() -> None:
    with pytest.raises(InvalidAddress, match="country code"):
        phone_number("0151 23456789", None)


@pytest.mark.parametrize(
    "url",
    [
        "https://localhost/",
        "https://shop.localhost/",
        "https://127.0.0.1/",
        "https://127.1/",
        "https://2130706433/",
        "https://0x7f000001/",
        "https://0x7f.1/",
        "https://0177.0.0.1/",
        "https://10.1.2.3/",
        "https://172.16.0.1/",
        "https://192.168.0.1:8443/",
        "https://169.254.169.254/latest/meta-data",
        "https://100.64.0.1/",
        "https://0.0.0.0/",
        "https://[::1]/",
        "https://[::ffff:127.0.0.1]/",
        "https://[::ffff:10.0.0.1]/",
        "https://[64:ff9b::7f00:1]/",
        "https://[2002:7f00:1::]/",
        "https://[fe80::1]/",
        "https://[fc00::1]/",
        "https://224.0.0.1/",
        "https://redis/",
        "https://db.internal/",
        "https://printer.local./",
        "https://①②⑦.⓪.⓪.①/",
        "http://example.com/",
        "ftp://example.com/",
        "javascript:alert(1)",
        "https://user:secret@example.com/",
        "https://example.com\\@127.0.0.1/",
        "https://exa mple.com/",
        "https://example.com:99999/",
        "https://example.com:0/",
        "https://example.com/\r\nX: 1",
        "https://",
        "//example.com",
        "https://[::1",
        "https://[v1.a]/",
        "https://999.1.1.1/",
        "https://exam_ple..com/",
        "https://example.com/" + "a" * 3_000,
        "",
    ],
)
def test_a_webhook_to_an_internal_host_is_refused(url: str) -> None:
    with pytest.raises(InvalidAddress) as caught:
        webhook_url(url, pointer="/value")
    assert caught.value.errors[0].pointer == "/value"


@pytest.mark.parametrize(
    ("url", "value"),
    [
        ("https://Example.com", "https://example.com/"),
        ("https://example.com:443/a?b=c#d", "https://example.com/a?b=c"),
        ("https://bücher.example/haken", "https://xn--bcher-kva.example/haken"),
        ("https://8.8.8.8:8443/x", "https://8.8.8.8:8443/x"),
        ("https://[2001:4860:4860::8888]/", "https://[2001:4860:4860::8888]/"),
    ],
)
def test_a_public_webhook_has_one_form(url: str, value: str) -> None:
    assert webhook_url(url).value == value


def test_a_setting_allows_internal_hosts() -> None:
    assert webhook_url("http://127.0.0.1:9000/hook", allow_private=True).value == "http://127.0.0.1:9000/hook"
    assert webhook_url("http://simulator/hook", allow_private=True).value == "http://simulator/hook"


def test_a_name_resolving_to_a_private_address_is_not_public() -> None:
    assert not is_public("169.254.169.254")
    assert not is_public("fe80::1%eth0")
    assert not is_public("::ffff:192.168.0.1")
    assert is_public("93.184.216.34")


@pytest.mark.parametrize(
    ("kind", "token"),
    [
        ("fcm_token", "fGx:APA91b" + "x" * 150),
        ("fcm_token", "fault-429x2-abcdef"),
        ("fid", "cA1b2C3d4E5f6G7h8I9j0K"),
    ],
)
def test_device_tokens_are_stored_unchanged(kind: str, token: str) -> None:
    assert device_token(kind, f" {token}\n").value == token


@pytest.mark.parametrize(
    ("kind", "token"),
    [
        ("fcm_token", ""),
        ("fcm_token", "a b" * 10),
        ("fcm_token", "x" * 4_097),
        ("fid", "a/b" * 8),
        ("apns", "x" * 64),
    ],
)
def test_an_invalid_device_token_is_refused(kind: str, token: str) -> None:
    with pytest.raises(InvalidAddress):
        device_token(kind, token)


def test_two_spellings_of_one_mailbox_have_one_hash() -> None:
    hasher = AddressHasher(b"k" * 32)
    assert email_address("Max@Example.com").hash(hasher) == email_address("max@example.com").hash(hasher)
    assert email_address("max@example.com").hash(hasher) != email_address("moritz@example.com").hash(hasher)


def test_one_token_has_one_hash_whatever_its_kind() -> None:
    hasher = AddressHasher(b"k" * 32)
    token = "cA1b2C3d4E5f6G7h8I9j0K"
    assert device_token("fid", token).hash(hasher) == device_token("fcm_token", token).hash(hasher)
