"""The cached connections of one sender: opened when needed, released clean, closed when old."""

import asyncio
import ssl
import time
from collections import deque

from libs.contracts.reasons import Reason
from libs.telemetry import get_logger
from services.delivery.adapters.smtp.opening import Session, open_session, tls_context
from services.delivery.domain.outbound import SmtpAccount
from services.delivery.domain.outcomes import Deferred

log = get_logger(__name__)

_IDLE_SECONDS = 60.0  # most servers hang up after one to five minutes
_TURN_SECONDS = 0.25  # after this, a connection goes to the next chunk that waits for one


class Pool:
    """At most `account.connections` at a time; waiting chunks are served in order.

    A chunk keeps its connections for a while, so that chunks finish and are recorded one after the other instead of
    all of them in small pieces. But no chunk waits until one with a slow server ends."""

    def __init__(self, account: SmtpAccount) -> None:
        self.account = account
        self._places = asyncio.Semaphore(account.connections)
        self._waiting = 0
        self._idle: deque[Session] = deque()
        self._retired = False
        self._chunks = True
        self._context: ssl.SSLContext | None = None
        self._context_made = asyncio.Lock()

    async def acquire(self) -> Session | Deferred:
        """Return a session, or why there is none."""
        self._waiting += 1
        try:
            await self._places.acquire()
        finally:
            self._waiting -= 1
        session: Session | Deferred | None = None
        try:
            session = self._kept() or await self._open()
        finally:
            if not isinstance(session, Session):
                self._places.release()
            else:
                session.since = time.monotonic()
        return session

    def release(self, session: Session, *, clean: bool) -> None:
        """Release a session; it is closed unless clean."""
        self._places.release()
        if not clean or session.connection.end is not None:
            session.connection.close()
        elif (
            self._retired
            or session.mails >= self.account.mails_per_connection
            or (session.by_chunks and not self._chunks)
        ):
            session.connection.quit()
        else:
            session.since = time.monotonic()
            self._idle.append(session)

    def may_go_on(self, session: Session) -> bool:
        """Whether a connection in use may take another mail: not beyond its limit, nor for long while others wait."""
        if session.mails >= self.account.mails_per_connection:
            return False
        return not self._waiting or time.monotonic() - session.since < _TURN_SECONDS

    def retire(self) -> None:
        """Close idle connections now, and those in use when they are released."""
        self._retired = True
        self._close_idle()

    def give_up_chunks(self, why: str) -> None:
        """This server breaks CHUNKING's promises: from its next connection on, texts go by DATA."""
        if self._chunks:
            log.warning("chunking_given_up", detail=f"{self.account.host}: {why}")
        self._chunks = False
        self._close_idle()

    def _close_idle(self) -> None:
        while self._idle:
            self._idle.pop().connection.quit()

    def _kept(self) -> Session | None:
        """Return the most recently used session, the one most likely to be alive."""
        while self._idle:
            session = self._idle.pop()
            if session.connection.end is not None or session.connection.has_unread:
                session.connection.close()  # the server has closed it meanwhile
            elif time.monotonic() - session.since > _IDLE_SECONDS:
                session.connection.quit()
            else:
                return session
        return None

    async def _open(self) -> Session | Deferred:
        try:
            context = await self._tls()
        except OSError as error:
            text = f"the certificates in ca_file cannot be read: {error}"
            return Deferred(Reason.SENDER_MISCONFIGURED, text, sender_fault=True)
        session = await open_session(self.account, context)
        if isinstance(session, Session):
            session.by_chunks = self._chunks and session.features.chunking and session.features.pipelining
        return session

    async def _tls(self) -> ssl.SSLContext | None:
        if self.account.tls == "off":
            return None
        async with self._context_made:
            if self._context is None:
                self._context = await asyncio.to_thread(tls_context, self.account)
        return self._context
