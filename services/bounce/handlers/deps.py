"""Bounce's dependencies, built by its composition root."""

from dataclasses import dataclass
from datetime import timedelta

from libs.clock import Clock
from libs.ids import AddressHasher
from libs.verp import ReturnPath
from services.bounce.ports import Breakers, Contacts, Dns, Domains, Facts, Figures, Messages, Reads, Suppressions
from services.bounce.ports.mails import Keeper, Listener, Mails
from services.bounce.ports.replays import Replays, StoredFacts
from services.bounce.ports.reports import Reports, Rollups
from services.bounce.ports.rules import Judgements, Rulebook, Rules, RuleSets, Workshop
from services.bounce.ports.webhooks import Caller, Telling, Webhooks
from services.bounce.settings import BounceSettings


@dataclass(frozen=True)
class Bounce:
    """`domains` empty: only our signature decides. `feedback_mailboxes` accept mails with the return path inside."""

    mails: Mails
    keeper: Keeper
    facts: Facts
    suppressions: Suppressions
    contacts: Contacts
    breakers: Breakers
    domains_said: Domains
    dns: Dns
    figures: Figures
    reads: Reads
    reports: Reports
    rollups: Rollups
    replays: Replays
    stored: StoredFacts
    settings: BounceSettings
    messages: Messages
    listener: Listener
    rulebook: Rulebook
    workshop: Workshop
    rules: Rules
    rule_sets: RuleSets
    judgements: Judgements
    return_path: ReturnPath
    hasher: AddressHasher
    clock: Clock
    domains: frozenset[str]
    feedback_mailboxes: frozenset[str]
    contacts_kept: timedelta
    pulses_kept: timedelta
    webhooks: Webhooks
    telling: Telling
    caller: Caller
