"""What an operator has confirmed about a provider is usual from then on; what nobody believed is not."""

from datetime import UTC, datetime, timedelta

import pytest

from libs.contracts.outcomes import Mode
from libs.ids import uuid7
from libs.storage.database import Database
from services.bounce.adapters.postgres.breakers import EVERYBODY, count_pulses, look
from services.bounce.domain.breaker import Band
from tests.conftest import by_role

LIVE = int(Mode.LIVE)
NOON = datetime(2027, 3, 8, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
THEN = NOON - 72 * HOUR
_BREAKER = """
insert into breaker (id, mode, provider, doubtful_from, opened_at, closed_at, refused, expected, real)
values ($1, $2, 'google', $3, $3, $4, 300, 1, $5)
"""


@pytest.mark.parametrize("believed", [True, False])
async def test_refusals_that_an_operator_believed_do_not_open_the_breaker_again(database: str, believed: bool) -> None:
    """Three days ago a tenth of the mails was refused, for six hours; now it happens again."""
    opened = Database(by_role(database, "bounce"), "bounce")
    await opened.open()
    try:
        async with opened.transaction() as connection:
            for hours in range(6):
                at = THEN + hours * HOUR
                await count_pulses(connection, {(LIVE, "google", at): 600, (LIVE, EVERYBODY, at): 6_000})
            await connection.execute(_BREAKER, uuid7(), LIVE, THEN, THEN + 6 * HOUR, believed)
            await count_pulses(
                connection, {(LIVE, EVERYBODY, NOON - 100 * HOUR): 20_000, (LIVE, EVERYBODY, NOON): 3_000}
            )
            tripped = await look(connection, {(LIVE, "google"): [NOON] * 300}, Band())
    finally:
        await opened.close()
    assert [one.provider for one in tripped] == ([] if believed else ["google"])
