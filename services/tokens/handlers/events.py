"""Handlers of other services' events: dead devices, customers' replies, unsubscribes found in mail."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import TypeVar

from libs.contracts.bounce import BounceClassified
from libs.contracts.delivery import MessageRejected, ReplyReceived
from libs.contracts.envelope import Envelope, Event
from libs.contracts.outcomes import Channel, Mode
from libs.ids import RecipientKey
from services.tokens.domain.consents import ALL_TOPICS, Statement
from services.tokens.domain.recipients import Change, Realm
from services.tokens.domain.replies import means_stop
from services.tokens.handlers.acts import Act
from services.tokens.handlers.devices import retire_devices
from services.tokens.handlers.save import save_recipients
from services.tokens.ports import Tokens, Unit

_UNSUBSCRIBE = "unsubscribe"

E = TypeVar("E", bound=Event)

# A no by the owners of an address (its hash), on the channel of the message they reply to.
No = tuple[bytes, Channel, Statement]


async def retire_dead_devices(deps: Tokens, batch: Sequence[Envelope]) -> None:
    """Retire addresses that the provider reports dead; their owners' changes are published."""
    async with deps.store.transaction() as unit:
        for realm, envelopes in _by_realm(batch):
            refusals = sorted(
                (rejection.at, rejection.address_id, rejection.address_hash)
                for envelope in envelopes
                for rejection in _data(envelope, MessageRejected).rejections
                if rejection.retire and rejection.channel == Channel.PUSH.word
            )
            dead = {address: (hash_, at) for at, address, hash_ in refusals}  # the last word of each
            if not dead:
                continue
            owners = {item.owner for item in await unit.addresses.dead_devices(realm, dead)}
            await unit.recipients.lock(realm, list(owners))
            # read again under the lock: the app may have refreshed its token, or its user changed
            found = [item for item in await unit.addresses.dead_devices(realm, dead) if item.owner in owners]
            if found:
                act = Act(realm, "system", deps.clock())
                await retire_devices(unit, act, found, "the provider says that it is no longer registered")


async def obey_replies(deps: Tokens, batch: Sequence[Envelope]) -> None:
    """Obey STOP, in any of our customers' languages: no more marketing on that channel."""
    async with deps.store.transaction() as unit:
        for realm, envelopes in _by_realm(batch):
            said: list[No] = []
            for envelope in envelopes:
                reply = _data(envelope, ReplyReceived)
                channel = Channel[reply.channel.upper()]
                if means_stop(reply.text):
                    statement = Statement(
                        ALL_TOPICS, channel, False, reply.at, f"answered stop by {channel.word}", by_us=True
                    )
                    said.append((reply.address_hash, channel, statement))
            await _say_no(unit, deps, Act(realm, "recipient", deps.clock()), said)


async def obey_unsubscribes(deps: Tokens, batch: Sequence[Envelope]) -> None:
    """Obey mails that ask to be unsubscribed, which are replies too."""
    async with deps.store.transaction() as unit:
        for realm, envelopes in _by_realm(batch):
            said: list[No] = []
            for envelope in envelopes:
                fact = _data(envelope, BounceClassified)
                if fact.category == _UNSUBSCRIBE:
                    how = "asked to be unsubscribed by mail"
                    message = fact.message_id
                    statement = Statement(ALL_TOPICS, Channel.EMAIL, False, fact.at, how, message=message, by_us=True)
                    said.append((fact.address_hash, Channel.EMAIL, statement))
            await _say_no(unit, deps, Act(realm, "recipient", deps.clock()), said)


async def _say_no(unit: Unit, deps: Tokens, act: Act, said: Sequence[No]) -> None:
    """Record the no of the address's owners: all of them, if several share it."""
    if not said:
        return
    owners: defaultdict[tuple[bytes, Channel], set[str]] = defaultdict(set)
    for hash_, channel, key in await unit.consents.owners(act.realm, [hash_ for hash_, _, _ in said]):
        owners[hash_, channel].add(key)
    statements: defaultdict[str, list[Statement]] = defaultdict(list)
    for hash_, channel, statement in said:
        for key in owners[hash_, channel]:
            statements[key].append(statement)
    changes = [Change(key=RecipientKey(key), statements=tuple(statements[key])) for key in sorted(statements)]
    await save_recipients(unit, act, changes, deps.hasher)


def _by_realm(batch: Sequence[Envelope]) -> Iterable[tuple[Realm, list[Envelope]]]:
    realms: defaultdict[Realm, list[Envelope]] = defaultdict(list)
    for envelope in batch:
        realms[Realm(envelope.tenant, Mode(envelope.mode))].append(envelope)
    return realms.items()


def _data(envelope: Envelope, kind: type[E]) -> E:
    data = envelope.data
    assert isinstance(data, kind)
    return data
