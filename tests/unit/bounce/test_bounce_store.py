"""The measurement stores mails about messages like those of a shop."""

from datetime import UTC, datetime, timedelta

from bench.bounce_store import notifications_of
from libs.ids import time_of


def test_measured_mails_are_about_messages_of_today() -> None:
    ids = notifications_of(3)

    assert len(set(ids)) == 3
    assert all(datetime.now(UTC) - time_of(id_) < timedelta(days=1) for id_ in ids)
