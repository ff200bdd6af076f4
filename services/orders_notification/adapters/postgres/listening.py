"""The workers' reports on the topics that sources name."""

from collections.abc import Mapping
from uuid import UUID

from libs.messaging.bus import Topic
from libs.storage.database import Database
from services.orders_notification.domain.topics import Hearing, Report

_FORGET = """
delete from topic_listener
where seen_at < now() - interval '1 hour' or (worker = $1 and (component, topic) not in (
  select * from unnest($2::text[], $3::text[])))
"""
_REPORT = """
insert into topic_listener as l (worker, component, topic, state)
select $1, * from unnest($2::text[], $3::text[], $4::text[])
on conflict (worker, component, topic) do update
set seen_at = now(), state = excluded.state, since = case when l.state = excluded.state then l.since else now() end
"""
_REPORTS = "select component, topic, state, since from topic_listener where seen_at > now() - interval '1 minute'"


class PostgresListening:
    """Implements ports.topics.Listening."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def report(self, worker: UUID, states: Mapping[Topic, Hearing]) -> None:
        components, topics = [topic.component for topic in states], [topic.name for topic in states]
        async with self._database.transaction() as connection:
            await connection.execute(_FORGET, worker, components, topics)
            await connection.execute(_REPORT, worker, components, topics, [str(state) for state in states.values()])

    async def reports(self) -> list[Report]:
        async with self._database.acquire() as connection:
            rows = await connection.fetch(_REPORTS)
        return [Report(Topic(r["component"], r["topic"]), Hearing(r["state"]), r["since"]) for r in rows]
