"""Facts are counted under the hour and the day of the reply."""

from datetime import UTC, datetime, timedelta
from random import Random

from services.bounce.domain.figures import hour_of, hours_of

NOON = datetime(2027, 3, 1, 12, tzinfo=UTC)


def test_each_timestamp_falls_into_its_hour() -> None:
    chance = Random(3)
    moments = [NOON + timedelta(seconds=chance.choice((0, 1, 3_599, 3_600, 7_199, -1, 86_400))) for _ in range(500)]
    assert [*hours_of(moments)] == [*map(hour_of, moments)]
