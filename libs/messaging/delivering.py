"""Deliver a batch of envelopes to one subscriber: together, then one by one if that fails. The same for every bus."""

import asyncio
import time
from collections.abc import Sequence

from libs.contracts.envelope import Envelope
from libs.errors import DepescheError, Duplicate, Permanent, Transient
from libs.messaging.bus import Subscriber
from libs.messaging.reading import Entry, Failure, Unread
from libs.telemetry import batch_span, get_logger, one_of

HANDLER_SECONDS = 30.0

log = get_logger(__name__)


async def deliver(subscriber: Subscriber, entries: Sequence[Entry]) -> list[Unread]:
    """Return the events that the subscriber failed to process, each with the reason. Takes at most twice
    HANDLER_SECONDS, however many there are: the caller may hold a transaction open."""
    if not entries:
        return []
    until = time.monotonic() + HANDLER_SECONDS
    envelopes = [entry.envelope for entry in entries]
    with batch_span(
        f"{subscriber.app_id} {subscriber.event_type}",
        [envelope.traceparent for envelope in envelopes],
        entries=len(envelopes),
        cause_id=one_of([getattr(envelope.data, "cause_id", None) for envelope in envelopes]),
    ):
        whole = await _attempt(subscriber, envelopes)
        if whole is None:
            return []
        if len(entries) == 1:
            return [(entries[0].single(), whole)]
        alone = [
            (entry, await _attempt(subscriber, [entry.envelope]) if time.monotonic() < until else whole)
            for entry in entries
        ]
        return [(entry.single(), failure) for entry, failure in alone if failure is not None]


async def _attempt(subscriber: Subscriber, envelopes: Sequence[Envelope]) -> Failure | None:
    try:
        async with asyncio.timeout(HANDLER_SECONDS):
            await subscriber.handle(envelopes)
    except Duplicate:
        return None
    except Permanent as error:
        return Failure(f"{error.slug}: {error.detail}", final=True)
    except DepescheError as error:
        return Failure(f"{error.slug}: {error.detail}", final=False, outage=isinstance(error, Transient))
    except TimeoutError:
        return Failure(f"the handler took longer than {HANDLER_SECONDS} s", final=False)
    except Exception as error:
        log.error("handler_failed", subscriber=subscriber.app_id, type=subscriber.event_type, exc_info=error)
        return Failure(f"{type(error).__name__}: {error}", final=False)
    return None
