"""The composition root of bounce."""

from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path

from fastapi import FastAPI
from prometheus_client import Gauge

from libs.group_commit import GroupCommitter
from libs.service import Runtime, Service
from libs.settings import load
from libs.storage.database import Database
from libs.verp import ReturnPath
from services.bounce.adapters.delivery import DeliveryMessages
from services.bounce.adapters.peers import Limits
from services.bounce.adapters.places import TcpPlace, place_of
from services.bounce.adapters.postgres import (
    SERVER_SETTINGS,
    PostgresBreakers,
    PostgresContacts,
    PostgresDomains,
    PostgresFacts,
    PostgresFigures,
    PostgresJudgements,
    PostgresMails,
    PostgresReads,
    PostgresReplays,
    PostgresReports,
    PostgresRollups,
    PostgresRules,
    PostgresRuleSets,
    PostgresStoredFacts,
    PostgresSuppressions,
    PostgresTelling,
    PostgresWebhooks,
)
from services.bounce.adapters.resolver import DnsDomains
from services.bounce.adapters.rulebook import PublishedRulebook
from services.bounce.adapters.smtp import Listeners, SmtpListener
from services.bounce.adapters.webhook_calls import HttpCaller
from services.bounce.api import router
from services.bounce.api.deciding import router as deciding
from services.bounce.api.figures import router as figures
from services.bounce.api.files import router as files
from services.bounce.api.imports import router as imports
from services.bounce.api.replays import router as replays
from services.bounce.api.reports import router as reports
from services.bounce.api.rereading import router as rereading
from services.bounce.api.rule_sets import router as rule_sets_api
from services.bounce.api.rule_trials import router as rule_trials
from services.bounce.api.rules import router as rules_api
from services.bounce.api.webhooks import router as webhooks
from services.bounce.domain.breaker import Band
from services.bounce.handlers import SUBSCRIPTIONS, Bounce
from services.bounce.handlers.mails import keep_together
from services.bounce.handlers.numbers import policy_of
from services.bounce.loops import LOOPS
from services.bounce.ports.mails import Keeper, Kept, Listener, Mails, NewMail
from services.bounce.settings import BounceSettings

MIGRATIONS = Path(__file__).parent / "migrations"

_WINDOW_SECONDS = 0.005
_MOST_TOGETHER = 32  # mails per commit: each has up to a megabyte
_MOST_WAITING = 200  # more than the listeners' connections; their bytes are in memory

_waiting = Gauge("depesche_bounce_mails_waiting", "Mails that wait for their commit", multiprocess_mode="livesum")


def create_service(runtime: Runtime, settings: BounceSettings | None = None) -> Service:
    """Build bounce over the runtime's Postgres."""
    settings = settings or load(BounceSettings, runtime.settings_file)
    database = runtime.database("bounce", max_size=settings.pool_max_connections, server_settings=SERVER_SETTINGS)
    deps = _bounce(runtime, settings, database)
    return Service(
        name="bounce",
        runtime=runtime,
        deps=deps,
        database=database,
        routers=(
            router,
            imports,
            rereading,
            webhooks,
            figures,
            deciding,
            files,
            rules_api,
            rule_sets_api,
            rule_trials,
            reports,
            replays,
        ),
        subscriptions=SUBSCRIPTIONS,
        loops=LOOPS,
        resources=(aclosing(deps.caller),),
        body_limits={"/v1/mails:import": settings.max_import_bytes, "/v1/mails": settings.max_mail_bytes},
        title="Depesche bounce",
    )


def _bounce(runtime: Runtime, settings: BounceSettings, database: Database) -> Bounce:
    policy, band = policy_of(settings), _band(settings)
    mails, rule_sets = PostgresMails(database), PostgresRuleSets(database)
    rulebook = PublishedRulebook(runtime.data_dir / "bounce-rules", rule_sets, runtime.clock, settings.model)
    return Bounce(
        mails=mails,
        keeper=_keeper(mails),
        facts=PostgresFacts(database, policy, band),
        suppressions=PostgresSuppressions(database),
        contacts=PostgresContacts(database),
        breakers=PostgresBreakers(database, policy, band, timedelta(days=settings.parked_days)),
        reads=PostgresReads(database),
        reports=PostgresReports(database),
        rollups=PostgresRollups(database),
        replays=PostgresReplays(database),
        stored=PostgresStoredFacts(database),
        settings=settings,
        messages=DeliveryMessages(runtime.client("bounce", "delivery")),
        listener=_listener(settings),
        rulebook=rulebook,
        workshop=rulebook,
        rules=PostgresRules(database),
        rule_sets=rule_sets,
        judgements=PostgresJudgements(database),
        return_path=ReturnPath(runtime.keyring.key("verp"), ""),
        hasher=runtime.hasher,
        clock=runtime.clock,
        figures=PostgresFigures(database),
        domains_said=PostgresDomains(database, timedelta(hours=settings.domain_again_hours), policy.proofs_within),
        dns=DnsDomains(settings.dns_servers, settings.domain_timeout_seconds),
        contacts_kept=policy.longest_memory,
        pulses_kept=band.usual_over + timedelta(days=1),
        webhooks=PostgresWebhooks(database, runtime.keyring),
        telling=PostgresTelling(database, runtime.keyring, timedelta(days=settings.webhook_disable_days)),
        caller=HttpCaller(
            runtime.clock, allow_private=settings.webhook_allow_private, seconds=settings.webhook_timeout_seconds
        ),
        domains=frozenset(domain.lower() for domain in settings.domains),
        feedback_mailboxes=frozenset(name.lower() for name in settings.feedback_mailboxes),
    )


def create_app(runtime: Runtime, settings: BounceSettings | None = None) -> FastAPI:
    """Build the standalone application, for a container of its own."""
    return create_service(runtime, settings).app


def _keeper(mails: Mails) -> Keeper:
    keeper: GroupCommitter[Sequence[NewMail], Sequence[Kept]] = GroupCommitter(
        _WINDOW_SECONDS, _MOST_TOGETHER, _MOST_WAITING, _waiting
    )
    keeper.write = partial(keep_together, mails)
    return keeper


def _band(settings: BounceSettings) -> Band:
    return Band(
        factor=settings.breaker_factor,
        minimum=settings.breaker_minimum,
        window=timedelta(minutes=settings.breaker_window_minutes),
        usual_over=timedelta(days=settings.breaker_usual_days),
        answers_within=timedelta(minutes=settings.breaker_answer_minutes),
        quiet=timedelta(minutes=settings.breaker_quiet_minutes),
        back_at_most=timedelta(hours=settings.breaker_back_hours),
    )


def _listener(settings: BounceSettings) -> Listeners:
    """SMTP for strangers; LMTP for our own mail server, without limits per peer: it relays for all."""
    limits = Limits(
        settings.max_mail_bytes,
        settings.max_connections,
        settings.max_peer_connections,
        settings.max_recipients,
        settings.mails_per_minute,
        settings.idle_seconds,
    )
    ours = replace(limits, max_peer_connections=limits.max_connections, mails_per_minute=None)
    listeners: list[Listener] = []
    if settings.smtp_port:
        listeners.append(SmtpListener(TcpPlace(settings.smtp_host, settings.smtp_port), limits))
    if settings.lmtp_port:
        place = place_of(settings.lmtp_host, settings.lmtp_port, int(settings.lmtp_socket_mode, 8))
        listeners.append(SmtpListener(place, ours, local=True))
    return Listeners(listeners)
