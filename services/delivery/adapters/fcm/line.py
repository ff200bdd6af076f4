"""A sender's line to FCM: its login, its connections, and the chunks in flight."""

import asyncio
import time
from urllib.parse import quote, urlsplit

from libs.clock import Clock
from libs.contracts.reasons import Reason
from services.delivery.adapters.fcm.chunk import Chunk, Desk
from services.delivery.adapters.fcm.credentials import token_source
from services.delivery.adapters.fcm.encoding import PushEncoder
from services.delivery.adapters.http2 import Fields, Limits, Origin, Pool
from services.delivery.domain.outbound import FcmAccount
from services.delivery.domain.outcomes import NOT_CALLED, Deferred

_CONNECT_SECONDS = 5.0
_IN_PATHS = ":@!$&'()*+,;="  # allowed in a path besides letters and digits (RFC 3986 §3.3)


class Line:
    """Created on first use. Raises ValueError if the account's URL or service account is invalid."""

    def __init__(self, account: FcmAccount, clock: Clock) -> None:
        limits = Limits(
            call_seconds=account.timeout_seconds,
            # well below the whole call's, to distinguish a missing connection from a missing reply
            connect_seconds=min(_CONNECT_SECONDS, account.timeout_seconds / 2),
        )
        self._account = account
        self._origin = Origin(account.url, account.ca_file)
        self._tokens = token_source(account)
        self._bearer: str | None = None
        self._login: asyncio.Task[None] | None = None
        self._chunks: set[Chunk] = set()
        self.pool = Pool(self._origin, limits, account.connections)
        self.desk = Desk(PushEncoder(lambda: clock().timestamp()), clock, self._refuse)

    async def carry(self, chunk: Chunk) -> None:
        """Return when every message of the chunk is settled. Raises what its `settle` raised."""
        if not await self._is_ready(chunk):
            await chunk.done
        else:
            late = asyncio.get_running_loop().call_later(chunk.deadline - time.monotonic(), self._give_up, chunk)
            self._chunks.add(chunk)
            try:
                self.pool.add(chunk)
                await chunk.done
            finally:
                late.cancel()
                self._chunks.discard(chunk)
                if chunk.left:  # cancelled or failed: the caller marks the calls in flight as unknown
                    self.pool.forget(chunk)

    async def close(self) -> None:
        if self._login is not None:
            await asyncio.wait([self._login])
        await self.pool.close()

    async def _is_ready(self, chunk: Chunk) -> bool:
        """Whether the chunk may go; otherwise it is settled."""
        outcome = NOT_CALLED if time.monotonic() >= chunk.deadline else await self._log_in()
        if outcome is None and time.monotonic() >= chunk.deadline:  # the login may have taken too long
            outcome = NOT_CALLED
        if outcome is not None:
            chunk.settle_waiting(outcome)
        return outcome is None

    def _give_up(self, chunk: Chunk) -> None:
        chunk.settle_waiting(NOT_CALLED)
        self.pool.withdraw(chunk)

    # ---- login

    async def _log_in(self) -> Deferred | None:
        """Log in; called before each chunk, so that the token is renewed in time."""
        bearer = await self._tokens.bearer()
        if isinstance(bearer, Deferred):
            return bearer
        if bearer != self._bearer or self.pool.fields is None:
            if not (bearer.isascii() and bearer.isprintable()):
                text = "the access token contains characters that are not allowed in a header"
                return Deferred(Reason.SENDER_MISCONFIGURED, text, called=False, sender_fault=True)
            self._bearer, self.pool.fields = bearer, self._fields(bearer)
        return None

    def _refuse(self, fields: Fields) -> None:
        """FCM rejected this login: begin nothing more until there is another."""
        if fields is self.pool.fields and self._bearer is not None:
            self._tokens.refuse(self._bearer)
            self.pool.fields = None
            self._login = asyncio.get_running_loop().create_task(self._log_in_again())

    async def _log_in_again(self) -> None:
        outcome = await self._log_in()
        if outcome is None:
            self.pool.serve()
            return
        for chunk in list(self._chunks):
            chunk.settle_waiting(outcome)
            self.pool.withdraw(chunk)

    def _fields(self, bearer: str) -> Fields:
        prefix, project = urlsplit(self._account.url).path.rstrip("/"), quote(self._account.project, _IN_PATHS)
        return (
            (b":method", b"POST"),
            (b":scheme", self._origin.scheme.encode()),
            (b":authority", self._origin.authority.encode()),
            (b":path", f"{prefix}/v1/projects/{project}/messages:send".encode()),
            (b"content-type", b"application/json"),
            (b"user-agent", b"depesche"),
            (b"authorization", b"Bearer " + bearer.encode()),
        )
