"""Ends what every service stores beside its own data: idempotency keys, dead letters, marks of erasures."""

from dataclasses import dataclass

from libs.contracts.tokens import RecipientErased
from libs.storage.database import Database
from libs.storage.portions import in_portions
from libs.telemetry import get_logger

log = get_logger(__name__)

_IDEMPOTENCY = "24 hours"
_KEYS = """
delete from idempotency where ctid = any(array(
  select ctid from idempotency where created_at < now() - $1::text::interval order by created_at limit $2))
"""
# an erasure that failed stays until it is replayed: it is still to be carried out
_LETTERS = f"""
delete from dead_letter where ctid = any(array(
  select ctid from dead_letter where dead_at < now() - $1::text::interval and type <> '{RecipientErased.TYPE}'
  order by dead_at limit $2))
"""  # noqa: S608 - our own type
_ERASURES = """
delete from erased where ctid = any(array(
  select ctid from erased where at < now() - $1::text::interval order by at limit $2))
"""


@dataclass(frozen=True, slots=True)
class Kept:
    """For how many days: dead letters; and who was erased, so that what arrives late is not stored."""

    dead_letter_days: int = 30
    erasure_days: int = 400


async def forget_old(database: Database, kept: Kept) -> None:
    """Delete what is older, in portions."""
    await in_portions(database, _KEYS, _IDEMPOTENCY)
    if dropped := await in_portions(database, _LETTERS, f"{kept.dead_letter_days} days"):
        log.warning("dead_letters_dropped", count=dropped)
    await in_portions(database, _ERASURES, f"{kept.erasure_days} days")
