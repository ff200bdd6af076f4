"""A list begins where its page begins, and is narrowed by an index, also if Postgres plans for any arguments."""

import asyncpg
import pytest

from services.history.adapters.postgres import audit
from services.orders_notification.adapters.postgres import reader, rejections

INTAKE, HISTORY = "orders_notification", "history"
LISTS = {
    "events": (INTAKE, reader._ALL, "(id < COALESCE("),
    "events of a subject": (INTAKE, reader._SUBJECT, "(id < COALESCE("),
    "events of a recipient": (INTAKE, reader._RECIPIENT, "(id < COALESCE("),
    "rejections": (INTAKE, rejections._question(["before"]), "(id < $4)"),
    "rejections by id": (INTAKE, rejections._question(["ids"]), "(id = ANY ($4))"),
    "rejections by state": (INTAKE, rejections._question(["before", "state"]), "(state = $5)"),
    "rejections of subjects": (INTAKE, rejections._question(["source", "subjects"]), "(subject = ANY ($5))"),
    "actions": (HISTORY, audit._ACTIONS, "(ROW(at, id) < ROW("),
}
A_DAY = """
create table a_day partition of event
  for values from ('00000000-0000-0000-0000-000000000000') to ('ffffffff-0000-0000-0000-000000000000')
"""

MANY = """
insert into rejection (id, tenant, mode, source, client, reason, errors, subject, headers, query, body, digest,
                       received_at, last_at)
select gen_random_uuid(), 1, 1, 'shop', 'shop', 1, '[]', 'order-' || n, '{}', '{}', '', sha256(n::text::bytea), now(),
       now() from generate_series(1, 3000) n
"""


@pytest.mark.parametrize("name", list(LISTS))
async def test_a_list_reads_from_its_place_on(database: str, name: str) -> None:
    schema, statement, condition = LISTS[name]
    settings = {"search_path": schema, "plan_cache_mode": "force_generic_plan"}
    settings |= {"enable_seqscan": "off", "enable_bitmapscan": "off"}  # an empty table gives no other reason
    connection = await asyncpg.connect(database, server_settings=settings)
    if schema == INTAKE:
        await connection.execute(f"{A_DAY}; {MANY}; analyze rejection")
    count = len((await connection.prepare(statement)).get_parameters())
    await connection.execute(f"prepare list as {statement}")
    plan = await connection.fetch(f"explain execute list({', '.join(['null'] * count)})")
    await connection.close()
    assert [row[0] for row in plan if "Index Cond" in row[0] and condition in row[0]]
