"""A mail that was stored elsewhere first counts for the day it arrived, by its last server's own line."""

from datetime import UTC, datetime

from services.bounce.domain.arrival import arrived_at

NOW = datetime(2027, 3, 1, 9, 30, tzinfo=UTC)
RECEIVED = b"Received: from mx (mx; helo=a) by us;\r\n\t%s\r\nDate: Mon, 1 Feb 2027 08:00:00 +0000\r\n\r\nx"


def test_the_last_servers_line_gives_the_time_behind_its_last_semicolon() -> None:
    assert arrived_at(RECEIVED % b"Tue, 2 Feb 2027 10:00:00 +0100", NOW) == datetime(2027, 2, 2, 9, tzinfo=UTC)


def test_a_time_in_the_future_or_none_gives_way_to_the_date_and_that_to_now() -> None:
    for wrong in (b"Tue, 2 Mar 2027 10:00:00 +0000", b"Mon, 1 Jan 1970 00:00:00 +0000", b"yesterday"):
        assert arrived_at(RECEIVED % wrong, NOW) == datetime(2027, 2, 1, 8, tzinfo=UTC)
    assert arrived_at(b"Date: Mon, 1 Mar 2027 10:00:00 +0000\n\nx", NOW) == NOW
