"""The comparison of this clock with the database's, which is read a while after the question."""

from datetime import UTC, datetime, timedelta

import pytest

from cli.doctor import apart

NOON = datetime(2027, 3, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("theirs", "after", "least", "most"),
    [
        (0.1, 0.2, 0.0, 0.1),
        (0.1, 5.0, 0.0, 4.9),  # a busy machine answered late: the clocks may still agree
        (-3.0, 0.2, 3.0, 3.2),
        (3.2, 0.2, 3.0, 3.2),
    ],
)
def test_a_slow_answer_is_no_wrong_clock(theirs: float, after: float, least: float, most: float) -> None:
    found = apart(NOON, NOON + timedelta(seconds=theirs), NOON + timedelta(seconds=after))
    assert found == pytest.approx((least, most))
