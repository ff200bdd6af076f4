"""From a mail to a fact."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from itertools import islice
from uuid import UUID

import msgspec

from libs.addresses import InvalidAddress, email_address
from libs.auth import Principal
from libs.contracts.audit import ActionRecorded
from libs.contracts.outcomes import Mode
from libs.errors import DepescheError, Transient, Unavailable
from libs.ids import message_id
from libs.telemetry import get_logger, span
from libs.verp import ReturnPath, Verp
from services.bounce.domain.categories import CATEGORIES, Action
from services.bounce.domain.classifier import Classifier
from services.bounce.domain.evidence import evidence_id, hearsay_id
from services.bounce.domain.facts import Fact, about_others, facts_of
from services.bounce.domain.reports import Report, read_mails
from services.bounce.handlers.deps import Bounce
from services.bounce.ports import Message, NewFact, Reading
from services.bounce.ports.mails import Closing, Kept, Mail, Mails, NewMail, Rereading, Stray

log = get_logger(__name__)

_AGAIN_AT_ONCE = 5_000
_RULES_SECONDS = 2.0
_TOGETHER = 100  # mails processed step by step: few enough for their data to fit into a processor's cache


async def refuse_recipient(deps: Bounce, recipient: str, peer: str) -> str | None:
    """Return None if the SMTP listener accepts mail for this recipient, else its refusal, which is counted."""
    local, _, domain = recipient.rpartition("@")
    known = not deps.domains or domain.lower() in deps.domains
    if known and (deps.return_path.read(recipient) or local.lower() in deps.feedback_mailboxes):
        return None
    why = "the return path is not signed by us" if known else "not a bounce domain of ours"
    await deps.mails.count_backscatter([Stray(why, recipient, peer)], deps.clock())
    return "550 5.1.1 No such mailbox: this host takes bounces of its own mail only"


async def keep_mail(deps: Bounce, recipient: str, raw: bytes, owner: tuple[int, Mode] | None = None) -> Mail:
    """Store a mail as received; the same mail twice is one."""
    (kept,) = await deps.keeper.submit([NewMail(recipient, raw, deps.clock(), owner)])
    return kept.mail


async def keep_for_all(deps: Bounce, recipients: Sequence[str], raw: bytes) -> None:
    """Store a mail for each of its recipients, in one commit."""
    now = deps.clock()
    await deps.keeper.submit([NewMail(recipient, raw, now) for recipient in dict.fromkeys(recipients)])


async def keep_together(mails: Mails, each: Sequence[Sequence[NewMail]]) -> list[Sequence[Kept] | DepescheError]:
    """Store several senders' mails in one commit. One that cannot be stored does not affect the others."""
    try:
        kept = iter(await mails.keep([mail for some in each for mail in some]))
    except Transient:
        raise
    except Exception as error:
        if len(each) == 1:
            log.error("bounce_not_kept", exc_info=error)
            return [Unavailable("It cannot be stored right now; send it again later.")]
        return [told for some in each for told in await keep_together(mails, [some])]
    return [list(islice(kept, len(some))) for some in each]


async def rules_ready(deps: Bounce) -> bool:
    """Whether the rules are loaded, or are within two seconds. The first start compiles them, for a minute on a small
    machine: a caller who waits for that gives up, although the mail is stored."""
    loading = asyncio.ensure_future(deps.rulebook.current())
    loading.add_done_callback(lambda task: task.cancelled() or task.exception())  # the next caller meets it again
    done, _ = await asyncio.wait({loading}, timeout=_RULES_SECONDS)
    return bool(done) and loading.exception() is None


async def read_kept(deps: Bounce, mails: Sequence[Mail]) -> None:
    """Turn stored mails into facts; forged mail, automatic replies and successes change nothing.

    Raises Unavailable while delivery is unavailable; the mails then wait.
    """
    with span("bounces read", mails=len(mails)):
        letters = await asyncio.to_thread(_letters, deps, mails)
        wanted = sorted({letter.about for letter in letters if letter.about})
        messages = await deps.messages.lookup(wanted) if wanted else {}
        classifier = await deps.rulebook.current()  # one for all of them: the rules may change in the meantime
        found = await asyncio.to_thread(_found, deps, letters, messages, classifier)
        await deps.facts.supersede(found.readings, deps.clock())
        await deps.facts.record(found.facts, deps.clock())
        await deps.mails.close(found.closing)
        await deps.mails.count_backscatter(found.strays, deps.clock())
    if mails:
        log.info("bounces_read", count=len(mails))


class _Letter(msgspec.Struct, frozen=True, gc=False):
    """A mail, and the message that our signature names; None without one. `report`: if it was parsed to find that."""

    mail: Mail
    about: str | None
    attempt: int
    report: Report | None


class Proven(msgspec.Struct, frozen=True, gc=False):
    """A mail, and the message and attempt that our signature proves it to be about."""

    mail: Mail
    id: str
    attempt: int
    message: Message
    report: Report | None


@dataclass(slots=True)
class _Found:
    """The results of a batch of mails."""

    facts: list[NewFact] = field(default_factory=list)
    closing: list[Closing] = field(default_factory=list)
    strays: list[Stray] = field(default_factory=list)
    readings: list[Reading] = field(default_factory=list)


def _letters(deps: Bounce, mails: Sequence[Mail]) -> list[_Letter]:
    """Most mails are sent to the signed address itself, and are parsed only when classified: a batch of a hundred is
    released before the next."""
    verps = [deps.return_path.read(mail.recipient) if mail.recipient else None for mail in mails]
    unsigned = [mail.raw or b"" for mail, verp in zip(mails, verps, strict=True) if verp is None]
    reports = iter(read_mails(unsigned))
    return [
        _letter(deps, mail, verp, next(reports) if verp is None else None)
        for mail, verp in zip(mails, verps, strict=True)
    ]


def _letter(deps: Bounce, mail: Mail, verp: Verp | None, report: Report | None) -> _Letter:
    if verp is None and report is not None:
        verp = signed_path(deps.return_path, report)
    if verp is None:
        return _Letter(mail, None, 0, report)
    return _Letter(mail, message_id(verp.notification_id, verp.address_id), verp.attempt, report)


def _found(deps: Bounce, letters: Sequence[_Letter], messages: Mapping[str, Message], classifier: Classifier) -> _Found:
    """Classify a batch; runs in a thread, since the event loop has other callers."""
    found = _Found()
    proven = [one for letter in letters if (one := _proven(letter, messages, found)) is not None]
    for begin in range(0, len(proven), _TOGETHER):
        some = proven[begin : begin + _TOGETHER]
        unread = iter(read_mails([one.mail.raw or b"" for one in some if one.report is None]))
        reports = [one.report or next(unread) for one in some]
        ours = [_ours(deps, one.message) for one in some]
        cases = list(zip(reports, ours, strict=True))
        facts = facts_of(cases, classifier)
        for one, (report, is_ours), fact in zip(some, cases, facts, strict=True):
            others = about_others(report, classifier, is_ours)
            hearsay = _hearsay(deps, one.mail, (one.id, one.message), others) if others else ()
            domain = _domain_of(report, is_ours) if fact.category == "bad-domain" else None
            _note(found, one, hearsay, _told_by(one, fact, domain))
    return found


def _proven(letter: _Letter, messages: Mapping[str, Message], found: _Found) -> Proven | None:
    """Return the letter with its message; None, and closed, if it is not about one of ours."""
    mail, id_ = letter.mail, letter.about
    if id_ is None:
        found.strays.append(Stray("no signed return path inside", mail.recipient))
        found.closing.append(Closing(mail.id, "backscatter", "no signed return path"))
        return None
    message = messages.get(id_)
    if message is None or (mail.owner and mail.owner != (message.tenant, message.mode)):
        why = "another tenant's message" if message else "the message is no longer known"
        owner = (message.tenant, message.mode) if message else None
        found.closing.append(Closing(mail.id, "read", why, id_, owner))
        return None
    return Proven(mail, id_, letter.attempt, message, letter.report)


def _reading(mail: UUID, message: str, made: Sequence[NewFact]) -> Reading:
    dead = (one.address_hash for one in made if CATEGORIES[one.fact.category].action is Action.SUPPRESS)
    return Reading(mail, message, frozenset(one.id for one in made), frozenset(dead))


def _ours(deps: Bounce, message: Message) -> Callable[[str], bool]:
    """Return a test for the address that we wrote to; used if a report names several."""
    return partial(_is_ours, deps, message)


def _is_ours(deps: Bounce, message: Message, address: str) -> bool:
    return _hash_of(deps, address) == message.address_hash


def _note(found: _Found, proven: Proven, hearsay: Sequence[NewFact], stated: NewFact) -> None:
    """Note one mail's facts; and its outcome, if it has no fact about the message."""
    mail, message, fact = proven.mail, proven.message, stated.fact
    made = list(hearsay)
    if fact.counts:
        made.append(stated)
    else:
        outcome = f"{fact.category}, delayed" if fact.delayed else fact.category
        owner, whose = (message.tenant, message.mode), (message.recipient, message.erased)
        found.closing.append(Closing(mail.id, "read", outcome, proven.id, owner, *whose))
    found.facts += made
    if mail.again:
        found.readings.append(_reading(mail.id, proven.id, made))


def _told_by(proven: Proven, fact: Fact, domain: str | None) -> NewFact:
    mail, message = proven.mail, proven.message
    return NewFact(
        evidence_id(proven.id, proven.attempt, fact.category),
        message.tenant,
        message.mode,
        mail.received_at,
        fact,
        "mail",
        message.address_hash,
        proven.id,
        proven.attempt,
        message.recipient,
        mail.id,
        message.sending,
        domain,
        erased=message.erased,
    )


def _hearsay(deps: Bounce, mail: Mail, about: tuple[str, Message], others: Mapping[str, Fact]) -> list[NewFact]:
    """Build facts without a message, and so without proof that we wrote to the address."""
    id_, message = about
    return [
        NewFact(
            hearsay_id(id_, address_hash, fact.category),
            message.tenant,
            message.mode,
            mail.received_at,
            fact,
            "mail",
            address_hash,
            None,
            None,
            None,
            mail.id,
            message.sending,
            erased=message.erased,
        )
        for address, fact in others.items()
        if (address_hash := _hash_of(deps, address)) is not None
    ]


def signed_path(return_path: ReturnPath, report: Report) -> Verp | None:
    """Return our signed return path if the envelope has none: from To and Delivered-To, else from the returned mail."""
    return next((verp for place in report.candidates if (verp := return_path.read(place))), None)


def _domain_of(report: Report, ours: Callable[[str], bool]) -> str | None:
    """Return the domain of the address that we wrote to, as written in the report."""
    mine = (reported.address for reported in report.recipients if reported.address and ours(reported.address))
    return next((email_address(address).canonical.rpartition("@")[2] for address in mine), None)


def _hash_of(deps: Bounce, address: str) -> bytes | None:
    try:
        return email_address(address).hash(deps.hasher)
    except InvalidAddress:
        return None


def raw_kept_since(deps: Bounce) -> datetime:
    """Mails from before this time lose their bytes."""
    return deps.clock() - timedelta(days=deps.settings.raw_retention_days)


async def read_again(deps: Bounce, principal: Principal, wanted: Rereading) -> int:
    """Queue mails for the reader again, by today's rules; return how many. The audit gets one record of it."""
    action: ActionRecorded | None = ActionRecorded(
        actor=principal.actor,
        action="mails.reclassify",
        object=str(wanted.id or "mails"),
        at=deps.clock(),
        after={"since": wanted.since.isoformat(), "until": wanted.until.isoformat(), "outcome": wanted.outcome},
    )
    count = 0
    while some := await deps.mails.read_again(wanted, _AGAIN_AT_ONCE, action):
        count += len(some)
        wanted, action = replace(wanted, after=some[-1]), None
    return count
