"""What the providers over HTTP share: clients, many calls at a time, and how a failed call is sorted.

pyreqwest does the network in its own threads; the loop only hands over requests and takes results.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta

from pyreqwest.client import Client, ClientBuilder
from pyreqwest.exceptions import (
    BuilderError,
    DetailedPyreqwestError,
    PoolTimeoutError,
    PyreqwestError,
    RequestTimeoutError,
)

from libs.contracts.reasons import Reason
from services.delivery.domain.outcomes import NOT_CALLED, Ambiguous, Deferred, Outcome
from services.delivery.ports import Settle

_CONNECT_SECONDS = 5.0
_CONNECTING = "client error (Connect)"
_REFUSED_STREAM = "refused stream before processing"  # HTTP/2's promise that nothing was done (RFC 9113 §8.7)
_TEXT_LIMIT = 300


@dataclass(frozen=True, slots=True)
class Lane:
    """A client and how many calls it takes at a time, over all chunks that use it."""

    client: Client
    width: int
    places: asyncio.Semaphore = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "places", asyncio.Semaphore(self.width))


async def call_each(
    lane: Lane, count: int, deadline: float, settle: Settle, call: Callable[[Client, int], Awaitable[Outcome]]
) -> None:
    """`call` for each index, as many at a time as the lane has places; those waiting are served in order.

    Workers take the indexes one by one, so a chunk has no more waiters than places, and a single message
    of another chunk stands behind a few of them and not behind all messages of a large one.
    """
    indexes = iter(range(count))

    async def work() -> None:
        for index in indexes:
            async with lane.places:
                late = time.monotonic() >= deadline
                settle(index, NOT_CALLED if late else await call(lane.client, index))

    workers = min(count, lane.width)
    if workers == 1:
        await work()
        return
    async with asyncio.TaskGroup() as group:
        for _ in range(workers):
            group.create_task(work())


def client_builder(timeout_seconds: float) -> ClientBuilder:
    """No redirects, no cookies, no proxies from the environment: a provider is where we say that it is."""
    return (
        ClientBuilder()
        .timeout(timedelta(seconds=timeout_seconds))
        # well before the whole call's, so that a connection that never came is told from a reply that did not
        .connect_timeout(timedelta(seconds=min(_CONNECT_SECONDS, timeout_seconds / 2)))
        .follow_redirects(False)
        .no_proxy()
        .user_agent("depesche")
    )


def trusting(builder: ClientBuilder, ca_file: str | None) -> ClientBuilder:
    """With a private certificate authority besides the public ones. Reads a file: not on the loop."""
    if ca_file is None:
        return builder
    with open(ca_file, "rb") as file:
        return builder.add_root_certificate_pem(file.read())


def sort_failure(error: PyreqwestError) -> Outcome:
    """A call that gave no reply: not sent where the connection was never made, otherwise nobody knows.

    The exceptions' own names do not tell: pyreqwest 0.15 calls every time-out, also one after the request
    was taken, a ConnectTimeoutError, and a connection lost in the middle a ConnectError. hyper's phase does.
    """
    text, causes = describe(error), _causes(error)
    if isinstance(error, BuilderError):
        return Deferred(Reason.SENDER_MISCONFIGURED, text, called=False, sender_fault=True)
    if _CONNECTING in causes or isinstance(error, PoolTimeoutError):
        return Deferred(Reason.PROVIDER_UNAVAILABLE, text)
    if any(_REFUSED_STREAM in cause for cause in causes):
        return Deferred(Reason.PROVIDER_UNAVAILABLE, text)
    if isinstance(error, RequestTimeoutError):
        return Ambiguous(Reason.TIMED_OUT, text)
    return Ambiguous(Reason.CONNECTION_LOST, text)


def describe(error: PyreqwestError) -> str:
    """The error in one line with its deepest cause: "connection refused" says more than "connection error"."""
    causes = _causes(error)
    return (causes[-1] if causes else error.message)[:_TEXT_LIMIT]


def _causes(error: PyreqwestError) -> list[str]:
    details = error.details if isinstance(error, DetailedPyreqwestError) else None
    return [cause["message"] for cause in (details and details.get("causes")) or []]
