"""The composition root of bounce."""

from datetime import timedelta
from pathlib import Path

from fastapi import FastAPI

from libs.service import Runtime, Service
from libs.settings import load
from libs.storage.database import Database
from libs.verp import ReturnPath
from services.bounce.adapters.delivery import DeliveryMessages
from services.bounce.adapters.postgres import PostgresFacts, PostgresMails, PostgresReads
from services.bounce.adapters.rulebook import ShippedRulebook
from services.bounce.adapters.smtp import Limits, NoListener, SmtpListener
from services.bounce.api import router
from services.bounce.handlers import SUBSCRIPTIONS, Bounce
from services.bounce.loops import LOOPS
from services.bounce.ports import Listener
from services.bounce.settings import BounceSettings

MIGRATIONS = Path(__file__).parent / "migrations"


def create_service(runtime: Runtime, settings: BounceSettings | None = None) -> Service:
    """bounce over the runtime's Postgres."""
    settings = settings or load(BounceSettings, runtime.settings_file)
    database = Database(runtime.dsn, "bounce", max_size=settings.pool_max_connections)
    deps = Bounce(
        mails=PostgresMails(database),
        facts=PostgresFacts(database),
        reads=PostgresReads(database),
        messages=DeliveryMessages(runtime.client("bounce", "delivery")),
        listener=_listener(settings),
        rulebook=ShippedRulebook(runtime.data_dir / "bounce-rules"),
        return_path=ReturnPath(runtime.keyring.key("verp"), ""),
        hasher=runtime.hasher,
        clock=runtime.clock,
        domains=frozenset(domain.lower() for domain in settings.domains),
        feedback_mailboxes=frozenset(name.lower() for name in settings.feedback_mailboxes),
        raw_retention=timedelta(days=settings.raw_retention_days),
    )
    return Service(
        name="bounce",
        runtime=runtime,
        deps=deps,
        database=database,
        routers=(router,),
        subscriptions=SUBSCRIPTIONS,
        loops=LOOPS,
        body_limits={"/v1/mails": settings.max_mail_bytes},
        title="Depesche bounce",
    )


def create_app(runtime: Runtime, settings: BounceSettings | None = None) -> FastAPI:
    """The application alone, for a container of its own."""
    return create_service(runtime, settings).app


def _listener(settings: BounceSettings) -> Listener:
    if settings.smtp_port == 0:
        return NoListener()
    limits = Limits(settings.max_mail_bytes, settings.max_connections, settings.max_recipients, settings.idle_seconds)
    return SmtpListener(settings.smtp_host, settings.smtp_port, limits)
