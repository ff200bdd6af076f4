"""The composition root of delivery."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI

from libs.contracts.outcomes import Channel, Lane
from libs.service import Runtime, Service
from libs.settings import load
from libs.storage.database import Database
from libs.verp import ReturnPath
from services.delivery.adapters.fcm import FcmProvider
from services.delivery.adapters.postgres.ledger import POOL_SETTINGS, PostgresLedger
from services.delivery.adapters.postgres.nonces import PostgresNonces
from services.delivery.adapters.postgres.operations import PostgresOperations
from services.delivery.adapters.postgres.partitions import PostgresPartitions
from services.delivery.adapters.postgres.reads import PostgresReads
from services.delivery.adapters.postgres.replies import PostgresReplies
from services.delivery.adapters.releases import CachedReleases
from services.delivery.adapters.senders import KnownSenders
from services.delivery.adapters.simulator_callbacks import KEY_PURPOSE, SimulatorCallbacks
from services.delivery.adapters.smtp import SmtpProvider
from services.delivery.adapters.tokens import TokensOverHttp
from services.delivery.adapters.twilio import TwilioProvider
from services.delivery.adapters.twilio_callbacks import TwilioCallbacks
from services.delivery.adapters.vendors import Fetching, readers
from services.delivery.adapters.webhook import WebhookProvider
from services.delivery.api import ROUTERS
from services.delivery.domain.backoff import Backoff
from services.delivery.domain.breaker import BreakerPolicy
from services.delivery.domain.deciding import RetryPolicy
from services.delivery.domain.pace import LanePace, Pace
from services.delivery.domain.verifying import VerifyPolicy
from services.delivery.handlers import SUBSCRIPTIONS, Delivery
from services.delivery.handlers.delivery import Breakers, Line
from services.delivery.handlers.receiving import Receiving
from services.delivery.loops import LOOPS
from services.delivery.ports import Enquiry, Provider, Senders
from services.delivery.settings import DeliverySettings

APP_ID = "delivery"
CALLBACK_BYTES = 4 << 20  # mail vendors send some hundreds of events at once, each with a server's text
MIGRATIONS = Path(__file__).parent / "migrations"

Providers = Mapping[Lane, Mapping[Channel, Provider]]
Enquiries = Mapping[Channel, Enquiry]


def create_service(runtime: Runtime, settings: DeliverySettings | None = None) -> Service:
    """Build delivery over the runtime's Postgres."""
    settings = settings or load(DeliverySettings, runtime.settings_file)
    database = runtime.database(APP_ID, max_size=settings.pool_max_connections, server_settings=POOL_SETTINGS)
    providers = {lane: _providers(runtime) for lane in Lane}
    enquiries: Enquiries = {Channel.SMS: TwilioProvider(runtime.clock)}
    operations = PostgresOperations(database, runtime.keyring)
    return Service(
        name=APP_ID,
        runtime=runtime,
        deps=_delivery(runtime, settings, operations, (providers, enquiries)),
        database=database,
        routers=ROUTERS,
        subscriptions=SUBSCRIPTIONS,
        loops=LOOPS,
        body_limits={"/v1/callbacks": CALLBACK_BYTES},
        resources=(_in_time(operations, pace_of(settings)), _closing(providers, enquiries)),
        title="Depesche delivery",
    )


def create_app(runtime: Runtime, settings: DeliverySettings | None = None) -> FastAPI:
    """Build the application alone, for a container of its own."""
    return create_service(runtime, settings).app


def _delivery(
    runtime: Runtime, settings: DeliverySettings, operations: PostgresOperations, outside: tuple[Providers, Enquiries]
) -> Delivery:
    providers, enquiries = outside
    database = operations.database
    ledger = PostgresLedger(database, runtime.clock, runtime.keyring, settings.retention_days)
    senders = KnownSenders(operations, runtime.simulator, runtime.public_url)
    pace = pace_of(settings)
    line = Line(
        ledger=ledger,
        doubts=ledger,
        tokens=TokensOverHttp(runtime.client(APP_ID, "tokens"), settings.resolve_timeout_seconds),
        releases=CachedReleases(database, runtime.client(APP_ID, "orders-notification")),
        senders=senders,
        providers=providers,
        enquiries=enquiries,
        keyring=runtime.keyring,
        clock=runtime.clock,
        public_url=runtime.public_url,
        pace=pace,
        breakers=Breakers(pace),
    )
    return Delivery(
        line=line,
        intake=ledger,
        projections=ledger,
        operations=operations,
        partitions=PostgresPartitions(database, runtime.clock, settings.retention_days, settings.body_days),
        reads=PostgresReads(database, runtime.keyring),
        receiving=_receiving(runtime, ledger, senders, database),
    )


def _receiving(runtime: Runtime, ledger: PostgresLedger, senders: Senders, database: Database) -> Receiving:
    return Receiving(
        senders=senders,
        receipts=ledger,
        replies=PostgresReplies(database),
        twilio=TwilioCallbacks,
        simulator=SimulatorCallbacks([runtime.keyring.key(KEY_PURPOSE)]),
        vendors=readers(Fetching()),
        nonces=PostgresNonces(database),
        return_path=ReturnPath(runtime.keyring.key("verp"), ""),
        hasher=runtime.hasher,
        clock=runtime.clock,
        public_url=runtime.public_url,
    )


def _providers(runtime: Runtime) -> dict[Channel, Provider]:
    return {
        Channel.PUSH: FcmProvider(runtime.clock),
        Channel.EMAIL: SmtpProvider(runtime.keyring.key("verp"), runtime.clock),
        Channel.SMS: TwilioProvider(runtime.clock),
        Channel.WEBHOOK: WebhookProvider(runtime.clock),
    }


@asynccontextmanager
async def _in_time(operations: PostgresOperations, pace: Pace) -> AsyncIterator[None]:
    await operations.check_timeouts(pace.longest_call)
    yield


@asynccontextmanager
async def _closing(providers: Providers, enquiries: Enquiries) -> AsyncIterator[None]:
    yield
    for by_channel in providers.values():
        for provider in by_channel.values():
            await provider.close()
    for enquiry in enquiries.values():
        await enquiry.close()


def pace_of(settings: DeliverySettings) -> Pace:
    """Convert the settings to the sender's pace."""
    return Pace(
        lease=settings.lease_seconds,
        poll=settings.poll_milliseconds / 1000,
        flush=settings.flush_milliseconds / 1000,
        flush_results=settings.flush_results,
        lanes={
            Lane.TRANSACTIONAL: LanePace(settings.transactional_chunk, settings.transactional_outstanding, 16),
            Lane.BULK: LanePace(settings.bulk_chunk, settings.bulk_outstanding, 16),
        },
        retry=RetryPolicy(
            Backoff(settings.retry_base_seconds, settings.retry_cap_seconds),
            settings.max_attempts,
            settings.max_resends,
            VerifyPolicy(
                Backoff(settings.verify_after_seconds, settings.retry_cap_seconds),
                settings.verify_certain_seconds,
                settings.verify_give_up_seconds,
            ),
        ),
        breaker=BreakerPolicy(settings.breaker_threshold, settings.breaker_pause_seconds),
    )
