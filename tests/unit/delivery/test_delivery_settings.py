"""Delivery settings under which nothing could be sent are refused, in a sentence that says what would work."""

from dataclasses import fields
from pathlib import Path

import pytest

from libs.errors import Invalid
from libs.settings import load
from services.delivery.domain.pace import Pace
from services.delivery.domain.sender_accounts import TYPES
from services.delivery.settings import DeliverySettings


def test_a_lease_shorter_than_any_call_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "depesche.toml"
    file.write_text("[delivery]\nlease_seconds = 10\n")
    with pytest.raises(Invalid) as caught:
        load(DeliverySettings, file)
    assert "no call would ever begin. Set it to at least 18." in caught.value.errors[0].detail
    file.write_text("[delivery]\nlease_seconds = 18\n")
    assert load(DeliverySettings, file).lease_seconds == 18


def test_a_give_up_time_within_the_certainty_delay_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "depesche.toml"
    file.write_text("[delivery]\nverify_certain_seconds = 120\nverify_give_up_seconds = 120\n")
    with pytest.raises(Invalid) as caught:
        load(DeliverySettings, file)
    assert "nothing is ever sent again" in caught.value.errors[0].detail


def test_the_shortest_lease_fits_every_default_timeout() -> None:
    defaults = {f.default for kind in TYPES.values() for f in fields(kind) if f.name == "timeout_seconds"}
    assert Pace(lease=18).longest_call == max(defaults)
