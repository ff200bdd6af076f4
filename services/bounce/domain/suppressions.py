"""Owns the life of a suppression: placed by evidence, lifted by a person, placed again only by new evidence.

A weightier reason takes over an active suppression: a customer's complaint outweighs a full mailbox, a person's
decision both. Otherwise an undo of the lighter one would lift the heavier one with it.
"""

from datetime import datetime
from uuid import UUID

import msgspec
from msgspec.structs import replace

from libs.contracts.outcomes import Mode, Scope
from libs.contracts.reasons import Reason
from libs.errors import Conflict


class SuppressionKey(msgspec.Struct, frozen=True, gc=False):
    """One address of one tenant and mode, and the scope of its suppression."""

    tenant: int
    mode: Mode
    address_hash: bytes
    scope: Scope


class Cause(msgspec.Struct, frozen=True, gc=False):
    """What a suppression can be found and undone by. Empty: a person decided.

    `rule` gave the category, out of the rules of version `rule_set`; `policy` is the rule of domain/policy.py,
    `evidence` the facts that it rests on.
    """

    category: str = ""
    provider: str = ""
    rule: str | None = None
    rule_set: str | None = None
    policy: str = ""
    evidence: tuple[UUID, ...] = ()


BY_HAND = Cause()


class Evidence(msgspec.Struct, frozen=True, gc=False):
    """Why to bar an address. `bounce_id` None: a person decided."""

    key: SuppressionKey
    reason: Reason
    at: datetime
    actor: str
    bounce_id: UUID | None = None
    message: str | None = None
    recipient: str | None = None
    note: str | None = None
    cause: Cause = BY_HAND


class Suppression(msgspec.Struct, frozen=True, gc=False):
    """Version 0 and inactive: never placed. Versions grow with every change, so that projections can order them."""

    id: UUID
    key: SuppressionKey
    reason: Reason
    active: bool
    version: int
    changed_at: datetime
    actor: str
    lifted_at: datetime | None = None
    bounce_id: UUID | None = None
    message: str | None = None
    recipient: str | None = None
    note: str | None = None
    cause: Cause = BY_HAND


_WEIGHTS = {Reason.SUPPRESSED_MANUAL: 2, Reason.SUPPRESSED_COMPLAINT: 1}


def weight(reason: Reason) -> int:
    """Return a reason's weight against another one for the same address and scope."""
    return _WEIGHTS.get(reason, 0)


def place(current: Suppression, evidence: Evidence) -> Suppression | None:
    """Return the suppression after this evidence; None if nothing changes.

    Evidence from before a lift was known, or could have been, to the person who lifted it: it does not count again.
    """
    if current.active and weight(evidence.reason) <= weight(current.reason):
        return None
    if current.lifted_at is not None and evidence.at <= current.lifted_at:
        return None
    return replace(
        current,
        reason=evidence.reason,
        active=True,
        version=current.version + 1,
        changed_at=evidence.at,
        actor=evidence.actor,
        bounce_id=evidence.bounce_id,
        message=evidence.message,
        recipient=evidence.recipient or current.recipient,
        note=evidence.note,
        cause=evidence.cause,
    )


def withdraw(current: Suppression, *, at: datetime, actor: str, note: str) -> Suppression:
    """Return the suppression after its evidence was withdrawn: nobody lifted it, so the same evidence bars again."""
    return replace(lift(current, at=at, actor=actor, note=note), lifted_at=current.lifted_at)


def lift(current: Suppression, *, at: datetime, actor: str, note: str) -> Suppression:
    """Return the suppression after somebody lifted it. Raises Conflict if it is not active."""
    if not current.active:
        raise Conflict("This suppression is not active, so there is nothing to lift.")
    return replace(
        current, active=False, version=current.version + 1, changed_at=at, lifted_at=at, actor=actor, note=note
    )
