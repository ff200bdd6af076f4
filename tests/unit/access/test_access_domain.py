"""The rules of keys, scopes, locales and zones."""

from datetime import UTC, datetime, timedelta

import pytest

from libs.contracts.outcomes import Mode
from libs.ids import TenantId
from services.access import domain
from services.access.domain import ApiKey, KeyText

NOW = datetime(2027, 3, 1, 9, 30, tzinfo=UTC)
TEXT = domain.key_text(Mode.LIVE, bytes(10), bytes(range(32)))


def a_key(text: KeyText = TEXT, **changes: object) -> ApiKey:
    fields: dict[str, object] = {
        "id": text.id,
        "tenant": TenantId(1),
        "mode": text.mode,
        "name": "shop",
        "scopes": ("events:send",),
        "secret_hash": domain.secret_hash(text.secret),
        "created_at": NOW,
        "created_by": "system",
    }
    return ApiKey(**(fields | changes))  # type: ignore[arg-type]


def test_a_key_round_trips() -> None:
    assert domain.parse_key(str(TEXT)) == TEXT
    assert str(TEXT).startswith("dp_live_")


@pytest.mark.parametrize(
    "text",
    ["", "dp_live_", "dp_prod_" + str(TEXT)[8:], str(TEXT) + "a", str(TEXT)[:-1], str(TEXT).upper(), f"{TEXT}\n"],
)
def test_a_malformed_key_is_refused_before_the_database_is_queried(text: str) -> None:
    assert domain.parse_key(text) is None


def test_the_right_secret_is_accepted() -> None:
    assert domain.refusal(a_key(), TEXT, NOW) is None


def test_a_wrong_secret_reveals_nothing_about_the_key() -> None:
    wrong = KeyText(TEXT.id, "a" * 52, Mode.LIVE)
    unknown = domain.refusal(None, wrong, NOW)
    assert unknown is not None
    assert domain.refusal(a_key(), wrong, NOW) == unknown
    assert domain.refusal(a_key(revoked_at=NOW), wrong, NOW) == unknown


def test_a_live_secret_is_refused_in_test_mode() -> None:
    assert domain.refusal(a_key(), KeyText(TEXT.id, TEXT.secret, Mode.TEST), NOW) is not None


def test_the_holder_of_an_expired_key_is_told_so() -> None:
    assert "revoked" in (domain.refusal(a_key(revoked_at=NOW), TEXT, NOW) or "")
    assert "expired" in (domain.refusal(a_key(expires_at=NOW), TEXT, NOW) or "")
    assert domain.refusal(a_key(expires_at=NOW + timedelta(seconds=1)), TEXT, NOW) is None


def test_last_use_is_coarse_and_seldom_written() -> None:
    first = domain.used_at(a_key(), NOW)
    assert first == NOW.replace(minute=0)
    used = a_key(last_used_at=first)
    assert domain.used_at(used, NOW + timedelta(minutes=20)) is None
    assert domain.used_at(used, NOW + timedelta(minutes=45)) == NOW.replace(hour=10, minute=0)


def test_nobody_grants_scopes_he_does_not_have() -> None:
    assert domain.beyond({"keys:admin", "events:send"}, {"events:send"}) == []
    assert domain.beyond({"keys:admin"}, {"admin", "events:send"}) == ["admin", "events:send"]
    assert domain.beyond({"admin"}, {"pii:read"}) == []


@pytest.mark.parametrize(
    ("given", "canonical"), [("de", "de"), ("DE_at", "de-AT"), ("zh-hant-tw", "zh-Hant-TW"), ("es-419", "es-419")]
)
def test_locales_are_normalised(given: str, canonical: str) -> None:
    assert domain.locale(given) == canonical


@pytest.mark.parametrize("given", ["", "german", "de-", "de-AT-x", "d", "de at", "de\n"])
def test_an_invalid_locale_is_refused(given: str) -> None:
    with pytest.raises(ValueError, match="locale"):
        domain.locale(given)


def test_zones_are_those_of_the_tz_database() -> None:
    assert domain.zone("Europe/Berlin") == "Europe/Berlin"
    for wrong in ("Europe", "../etc/passwd", "europe/berlin", ""):
        with pytest.raises(ValueError, match="time zone"):
            domain.zone(wrong)
