"""Promise: an SMS is counted as the operator charges it (3GPP TS 23.038 and 23.040)."""

import pytest

from libs.rendering.sms import Count, count

GSM_ALPHABET = (
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡"
    "ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)


def test_the_alphabet_has_a_unit_for_each_sign_and_two_for_the_extension() -> None:
    assert len(GSM_ALPHABET) == 127
    assert count(GSM_ALPHABET) == Count("gsm-7", 127, 1)
    assert count("^{}\\[~]|€\f") == Count("gsm-7", 20, 1)


@pytest.mark.parametrize("sign", "çêá`’“–…\tşőİ\u00a0")
def test_other_signs_make_it_ucs_2(sign: str) -> None:
    assert count(f"a{sign}") == Count("ucs-2", 2, 1)


@pytest.mark.parametrize(
    ("text", "units", "segments"),
    [
        ("a" * 160, 160, 1),
        ("a" * 161, 161, 2),
        ("a" * 306, 306, 2),
        ("a" * 307, 307, 3),
        ("€" * 80, 160, 1),
        ("€" * 80 + "a", 161, 2),
        ("€" * 152, 304, 2),  # a sign of two units does not fit into the last one of 153
        ("€" * 153, 306, 3),
        ("a" + "€" * 76 + "a" * 153, 306, 2),
    ],
)
def test_a_gsm_text_has_160_units_or_153_a_segment(text: str, units: int, segments: int) -> None:
    assert count(text) == Count("gsm-7", units, segments)


@pytest.mark.parametrize(
    ("text", "units", "segments"),
    [
        ("ж" * 70, 70, 1),
        ("ж" * 71, 71, 2),
        ("ж" * 134, 134, 2),
        ("ж" * 135, 135, 3),
        ("😀" * 35, 70, 1),
        ("😀" * 36, 72, 2),
        ("😀" * 66, 132, 2),  # a pair is not split: 33 of them in a segment of 67
        ("😀" * 67, 134, 3),
        ("a" * 66 + "😀" * 2, 70, 1),
    ],
)
def test_a_ucs_2_text_has_70_units_or_67_a_segment(text: str, units: int, segments: int) -> None:
    assert count(text) == Count("ucs-2", units, segments)
