"""Nonces of webhooks, each bound to the first body that it came with."""

import hashlib
from dataclasses import dataclass
from datetime import datetime

from libs.storage.database import Database

_BIND = """
insert into nonce (provider, nonce, body, at) values ($1, $2, $3, $4)
on conflict (provider, nonce) do nothing
"""
_BODY = "select body from nonce where provider = $1 and nonce = $2"


@dataclass(frozen=True, slots=True)
class PostgresNonces:
    """Stores nonces as long as receipts."""

    database: Database

    async def bind(self, provider: str, nonce: str, body: bytes, now: datetime) -> bool:
        """See the port."""
        digest = hashlib.sha256(body).digest()
        async with self.database.transaction() as connection:
            await connection.execute(_BIND, provider, nonce, digest, now)
            return bool(await connection.fetchval(_BODY, provider, nonce) == digest)
