"""Promise: bounces go where bounce listens, and receipts to the suite, unless the simulator's own settings differ."""

from pathlib import Path

import pytest

from services.bounce.settings import BounceSettings
from services.simulator.settings import BounceListener, load_simulator


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "depesche.toml"


def test_the_simulator_follows_the_suites_and_bounces_ports(file: Path) -> None:
    file.write_text('port = 9100\n[bounce]\nsmtp_port = 2525\nsmtp_host = "0.0.0.0"\n')
    found = load_simulator(file)
    assert (found.bounce_port, found.callback_url.partition("/delivery")[0]) == (2525, "http://127.0.0.1:9100")


def test_the_environment_counts_as_for_bounce(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEPESCHE_BOUNCE_SMTP_PORT", "2526")
    assert load_simulator(file).bounce_port == 2526


@pytest.mark.parametrize("own", [0, 2527])
def test_its_own_port_wins(file: Path, own: int) -> None:
    file.write_text(f"[bounce]\nsmtp_port = 2525\n[simulator]\nbounce_port = {own}\n")
    assert load_simulator(file).bounce_port == own


def test_both_have_one_default(file: Path) -> None:
    default = BounceSettings.model_fields["smtp_port"].default
    assert (load_simulator(file).bounce_port, BounceListener.model_fields["smtp_port"].default) == (default, default)
