"""Rows of `consent` and its history, and the queries of handlers for events about addresses."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from libs.contracts.outcomes import Channel
from services.tokens.domain.consents import Statement
from services.tokens.domain.recipients import Realm
from services.tokens.ports import Word

_STANDING = """
select recipient_id, topic, channel, granted, at, how, text_version
from consent where recipient_id = any($1::bigint[]) order by recipient_id, topic, channel for update
"""
_PUT = """
insert into consent (recipient_id, topic, channel, tenant, mode, granted, at, how, text_version)
select recipient_id, topic, channel, $1, $2, granted, at, how, text_version
from unnest($3::bigint[], $4::text[], $5::smallint[], $6::bool[], $7::timestamptz[], $8::text[], $9::text[])
     as n (recipient_id, topic, channel, granted, at, how, text_version)
order by recipient_id, topic collate "C", channel
on conflict (recipient_id, topic, channel)
do update set granted = excluded.granted, at = excluded.at, how = excluded.how, text_version = excluded.text_version
"""
_REMEMBER = """
insert into consent_statement (recipient_id, topic, channel, tenant, mode, granted, at, how, text_version, message,
                               actor, recorded_at)
select recipient_id, topic, channel, $1, $2, granted, at, how, text_version, message, $11, $12
from unnest($3::bigint[], $4::text[], $5::smallint[], $6::bool[], $7::timestamptz[], $8::text[], $9::text[],
            $10::text[]) as n (recipient_id, topic, channel, granted, at, how, text_version, message)
on conflict do nothing
"""
_OWNERS = """
select distinct a.hash, a.channel, r.key
from address a join recipient r on r.id = a.recipient_id
where a.tenant = $1 and a.mode = $2 and a.hash = any($3::bytea[])
"""


class PostgresConsents:
    """ConsentRows on one connection."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    async def standing(self, recipient_ids: Sequence[int]) -> dict[tuple[int, str, Channel], Statement]:
        rows = await self._connection.fetch(_STANDING, sorted(recipient_ids))
        return {
            (row["recipient_id"], row["topic"], Channel(row["channel"])): Statement(
                row["topic"], Channel(row["channel"]), row["granted"], row["at"], row["how"], row["text_version"]
            )
            for row in rows
        }

    async def put(self, realm: Realm, words: Sequence[Word]) -> None:
        if words:
            await self._connection.execute(_PUT, realm.tenant, realm.mode, *_columns(words))

    async def remember(self, realm: Realm, words: Sequence[Word], actor: str, now: datetime) -> None:
        if words:
            messages = [word.statement.message for word in words]
            await self._connection.execute(_REMEMBER, realm.tenant, realm.mode, *_columns(words), messages, actor, now)

    async def owners(self, realm: Realm, hashes: Sequence[bytes]) -> list[tuple[bytes, Channel, str]]:
        rows = await self._connection.fetch(_OWNERS, realm.tenant, realm.mode, sorted(hashes))
        return [(row["hash"], Channel(row["channel"]), row["key"]) for row in rows]


def _columns(words: Sequence[Word]) -> tuple[list[Any], ...]:
    return (
        [word.recipient_id for word in words],
        [word.statement.topic for word in words],
        [word.statement.channel for word in words],
        [word.statement.granted for word in words],
        [word.statement.at for word in words],
        [word.statement.how for word in words],
        [word.statement.text_version for word in words],
    )
