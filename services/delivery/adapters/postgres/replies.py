"""Customers' replies: each is published once."""

from collections.abc import Sequence
from dataclasses import dataclass

from libs.contracts.delivery import ReplyReceived
from libs.contracts.outcomes import Mode
from libs.messaging.outbox import Outgoing, append
from libs.storage.database import Database
from services.delivery.domain.callbacks import ReplyNews

_KEEP = """
insert into reply (provider, event_id, at) select * from unnest($1::text[], $2::text[], $3::timestamptz[])
on conflict do nothing returning provider, event_id
"""


@dataclass(frozen=True, slots=True)
class PostgresReplies:
    """Records which replies were seen, and adds new ones to the outbox in the same transaction."""

    database: Database

    async def publish(self, tenant: int, mode: Mode, replies: Sequence[tuple[ReplyNews, bytes]]) -> int:
        """See the port."""
        known = {(reply.provider, reply.event_id): (reply, hash_) for reply, hash_ in replies}
        keys = sorted(known)
        columns = [[key[0] for key in keys], [key[1] for key in keys], [known[key][0].at for key in keys]]
        async with self.database.transaction() as connection:
            fresh = await connection.fetch(_KEEP, *columns)
            await append(connection, [_outgoing(tenant, mode, *known[row[0], row[1]]) for row in fresh])
        return len(fresh)


def _outgoing(tenant: int, mode: Mode, reply: ReplyNews, address_hash: bytes) -> Outgoing:
    event = ReplyReceived(
        provider=reply.provider,
        provider_event_id=reply.event_id,
        channel=reply.channel.word,
        address_hash=address_hash,
        text=reply.text,
        at=reply.at,
    )
    return Outgoing(event, address_hash.hex(), tenant, int(mode))
