"""Promises of the domain: consent in any order, bounded profiles, one form for names and zones."""

import itertools
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from libs.contracts.outcomes import Channel
from libs.errors import Invalid
from services.tokens.domain.consents import Statement, granted, overrules, topic_name
from services.tokens.domain.masking import masked_address, masked_attributes
from services.tokens.domain.recipients import (
    Change,
    Profile,
    changed_profile,
    check_attributes,
    clock_time,
    locale_tag,
    plain_text,
    recipient_key,
    time_zone,
)

AT = datetime(2027, 1, 1, tzinfo=UTC)


def said(yes: bool, days: int = 0) -> Statement:
    return Statement("news", Channel.EMAIL, yes, AT + timedelta(days=days), "form", "1")


def test_the_latest_consent_holds_in_any_order_of_arrival() -> None:
    words = [said(True, 0), said(False, 2), said(True, 1), said(False, 2), said(True, 2)]
    ends = set()
    for order in itertools.permutations(words):
        current: Statement | None = None
        for word in order:
            if overrules(word, current):
                current = word
        assert current is not None
        ends.add((current.granted, current.at))
    assert ends == {(False, AT + timedelta(days=2))}  # at equal times, no wins


def test_a_no_to_everything_overrides_every_yes_not_newer() -> None:
    assert granted(said(True, 1), None)
    assert not granted(None, None)
    assert not granted(said(False, 1), None)
    assert not granted(said(True, 1), said(False, 1))
    assert not granted(said(True, 1), said(False, 2))
    assert granted(said(True, 3), said(False, 2))


def test_a_list_without_dates_says_yes_only_where_nobody_said_anything() -> None:
    listed, taken_off = replace(said(True, 9), dated=False), replace(said(False, 9), dated=False)
    assert overrules(listed, None)
    assert not overrules(listed, said(False))
    assert not overrules(listed, None, of_all=said(False))
    assert overrules(taken_off, said(True))
    assert not overrules(taken_off, said(False))


@pytest.mark.parametrize("name", ["News", "", "a b", "-x", "x" * 65, "ä", "**"])
def test_topics_have_plain_names(name: str) -> None:
    with pytest.raises(ValueError):
        topic_name(name)


@pytest.mark.parametrize(
    "key",
    [
        "customer:4711",
        "customer:gid://shopify/Customer/7",
        "customer:max@example.com",
        "installation:fHk-3",
        "customer:ä",
    ],
)
def test_a_key_is_the_shops_own_id(key: str) -> None:
    assert recipient_key(key) == key


@pytest.mark.parametrize(
    "key",
    ["", "4711", "customer:", "customer: 1", "user:1", "customer:a\nb", "customer:\u200b1", "customer:" + "x" * 201],
)
def test_a_key_with_invisible_characters_is_refused(key: str) -> None:
    with pytest.raises(ValueError):
        recipient_key(key)


@pytest.mark.parametrize(
    ("written", "tag"),
    [("de", "de"), ("DE_at", "de-AT"), ("zh_hant_tw", "zh-Hant-TW"), ("es-419", "es-419"), (" ", None)],
)
def test_locales_have_one_form(written: str, tag: str | None) -> None:
    assert locale_tag(written) == tag


@pytest.mark.parametrize(
    ("written", "tag"),
    [
        ("en-US-u-fw-mon-mu-celsius", "en-US"),
        ("th_TH_u_ca_buddhist", "th-TH"),
        ("ca-ES-valencia", "ca-ES"),
        ("de-1996-x-shop", "de"),
        ("zh-Hans-CN@calendar=buddhist", "zh-Hans-CN"),
        ("de_AT.UTF-8@euro", "de-AT"),
    ],
)
def test_extensions_in_a_phones_locale_are_accepted(written: str, tag: str) -> None:
    assert locale_tag(written) == tag


@pytest.mark.parametrize("written", ["german", "d", "de-", "de-AUT", "../de", "de AT", "i-klingon", "de-u", "de-AT@"])
def test_an_invalid_locale_is_refused(written: str) -> None:
    with pytest.raises(ValueError):
        locale_tag(written)


@pytest.mark.parametrize(
    "zone", ["Mars/Olympus", "../../etc/passwd", "/etc/localtime", "Europe", "CEST ", "UTC\0", "x" * 99]
)
def test_an_invalid_zone_is_refused(zone: str) -> None:
    if zone.strip() == "CEST":
        zone = "CEST"
    with pytest.raises(ValueError):
        time_zone(zone)


def test_names_keep_their_script_and_lose_line_breaks() -> None:
    assert plain_text("  Jo\u0308rg\r\n Müller ") == "Jörg Müller"
    assert plain_text("محمد 👨‍👩‍👧") == "محمد 👨‍👩‍👧"
    assert plain_text(" \n ") is None
    for wrong in ("a\x07b", "a\x00b", "x" * 201, "M•••"):
        with pytest.raises(ValueError):
            plain_text(wrong)


@pytest.mark.parametrize("text", ["24:00", "7:00", "07:60", "0700", "", "07:00:00"])
def test_an_invalid_time_of_day_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        clock_time(text)


def test_attributes_are_bounded_in_size_number_and_depth() -> None:
    check_attributes({"a": {"b": {"c": {"d": {}}}}})
    for wrong in ({"a": "x" * 17_000}, {str(n): 1 for n in range(101)}, {"a": [[[[[1]]]]]}, {"": 1}, {"x" * 65: 1}):
        with pytest.raises(ValueError):
            check_attributes(wrong)


def test_merged_attributes_stay_within_the_bounds() -> None:
    profile = Profile(attributes={"a": "x" * 9_000, "b": 1})
    after, fields = changed_profile(
        profile, Change(key=recipient_key("customer:1"), profile={"attributes": {"b": None, "c": 2}})
    )
    assert (dict(after.attributes), fields) == ({"a": "x" * 9_000, "c": 2}, ("attributes",))
    with pytest.raises(Invalid):
        changed_profile(profile, Change(key=recipient_key("customer:1"), profile={"attributes": {"c": "y" * 9_000}}))


def test_masked_values_reveal_too_little_to_use() -> None:
    assert masked_address("email", "max@example.com") == "m•••@example.com"
    assert masked_address("phone", "+4915123456789") == "+49•••89"
    assert masked_address("webhook", "https://example.com/secret?key=1") == "https://example.com/•••"
    assert masked_address("fcm_token", "abcdefghijkl") == "abcdef•••"
    assert masked_attributes({"a": ["x", 1, True, {"b": "y"}]}) == {"a": ["•••", 1, True, {"b": "•••"}]}
