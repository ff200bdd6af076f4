"""Turn mails stored in Postgres into facts, suppressions and events, through the service's own reader."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import uvloop

from bench.bounce_rows import mails_of
from bench.postgres import Fresh, fresh_postgres
from libs.contracts.outcomes import Mode
from libs.ids import NotificationId, message_id, notification_id, uuid7
from libs.keyring import Keyring
from libs.service import Runtime
from libs.service_client import Transport
from libs.storage.migrations import migrate
from libs.telemetry import configure_logs
from libs.verp import ReturnPath
from services.bounce.app import create_service
from services.bounce.domain.classifier import Classifier
from services.bounce.handlers import Bounce
from services.bounce.handlers.mails import keep_mail, read_kept
from services.bounce.loops import MAILS_AT_ONCE
from services.bounce.ports import Message, Sending
from services.bounce.settings import BounceSettings

MIGRATIONS = Path(__file__).parents[1] / "services" / "bounce" / "migrations"
_KEEPERS = 10


@dataclass(frozen=True, slots=True)
class Stored:
    """Mails per second of CPU time: of this process, and including Postgres."""

    own: float
    both: float


@dataclass(frozen=True)
class Ledger:
    """Stands in for delivery: knows every message immediately."""

    known: Mapping[str, Message]

    async def lookup(self, ids: Sequence[str]) -> Mapping[str, Message]:
        return {id_: self.known[id_] for id_ in ids if id_ in self.known}


@dataclass(frozen=True)
class Rulebook:
    classifier: Classifier

    async def current(self) -> Classifier:
        return self.classifier


def store(classifier: Classifier, count: int) -> Stored:
    """Store `count` mails, then measure them from the lease to the facts."""
    configure_logs(service="bench", level="error")
    with fresh_postgres() as fresh:
        return uvloop.run(_stored(classifier, count, fresh))  # as services run


async def _stored(classifier: Classifier, count: int, fresh: Fresh) -> Stored:
    await migrate(fresh.dsn, {"bounce": MIGRATIONS})
    runtime = Runtime(dsn=fresh.dsn, keyring=Keyring(bytes(32)), transports=_nobody, data_dir=Path())
    service = create_service(runtime, BounceSettings(pool_max_connections=_KEEPERS))
    assert service.database is not None
    await service.database.open()
    try:
        deps, paths, mails = _world(service.deps, classifier, count)
        await _keep(deps, paths, mails)
        return await _measured(deps, fresh, count)
    finally:
        await service.database.close()


def _nobody(name: str) -> Transport:
    raise LookupError(f"{name} is not asked here")


def _world(deps: Bounce, classifier: Classifier, count: int) -> tuple[Bounce, list[str], list[bytes]]:
    """Return the service's own parts, with a ledger that knows each mail's message; the mails, and
    their return paths."""
    path, hasher = ReturnPath(b"k" * 32, "bounces.shop.example"), deps.hasher
    notifications = notifications_of(count)
    paths = [path.make(notification, 1, 1) for notification in notifications]
    known = {
        message_id(notification, 1): Message(
            1, Mode.LIVE, hasher("email", f"kim{n}@x{n % 977}.example"), None, "email", Sending(1, "shop.example")
        )
        for n, notification in enumerate(notifications)
    }
    made = replace(deps, messages=Ledger(known), rulebook=Rulebook(classifier), return_path=path)
    return made, paths, mails_of(classifier.rules.rules, count, paths)


def notifications_of(count: int) -> list[NotificationId]:
    """Return ids as a campaign makes them: they carry the time of its cause, which bounce reads."""
    cause = uuid7()
    return [notification_id(cause, "bench", f"customer:{n}") for n in range(count)]


async def _keep(deps: Bounce, paths: Sequence[str], mails: Sequence[bytes]) -> None:
    waiting = list(zip(paths, mails, strict=True))

    async def keeper() -> None:
        while waiting:
            await keep_mail(deps, *waiting.pop())

    await asyncio.gather(*(keeper() for _ in range(_KEEPERS)))


async def _measured(deps: Bounce, fresh: Fresh, count: int) -> Stored:
    own, theirs = time.process_time(), fresh.cpu()
    done = 0
    while (lease := await deps.mails.lease(MAILS_AT_ONCE, 600.0)).mails:
        await read_kept(deps, lease.mails)
        await deps.mails.release(lease)
        done += len(lease.mails)
    if done != count:
        raise SystemExit(f"{done} of {count} mails were read")
    own = time.process_time() - own
    return Stored(count / own, count / (own + fresh.cpu() - theirs))
