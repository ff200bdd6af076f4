"""What is known about addresses, read in batches."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from msgspec.structs import replace

from libs.contracts.outcomes import Scope
from libs.storage.arrays import columns
from services.bounce.domain.policy import Contact, History, Proof

Address = tuple[int, int, bytes]  # tenant, mode, hash

NOTHING = History()
_MOST = 200  # facts per address: a shared test mailbox has thousands
_ADDRESSES = "unnest($1::smallint[], $2::smallint[], $3::bytea[]) as a (tenant, mode, address_hash)"
_PROOFS = f"""
select a.tenant, a.mode, a.address_hash, b.id, b.at, b.category, b.permanent, b.provider, b.doubtful, b.domain,
  b.origin
from {_ADDRESSES} cross join lateral (
  select * from bounce where tenant = a.tenant and mode = a.mode and address_hash = a.address_hash and at >= $4
    and message is not null and not void order by at desc limit {_MOST}) as b
"""  # noqa: S608 - our own statement
_CONTACTS = f"select c.* from {_ADDRESSES} join contact c using (tenant, mode, address_hash)"  # noqa: S608
_LIFTED = f"""
select s.tenant, s.mode, s.address_hash, s.scope, s.lifted_at
from {_ADDRESSES} join suppression s using (tenant, mode, address_hash) where s.lifted_at is not null
"""  # noqa: S608 - our own statement


async def read_histories(connection: Any, addresses: Collection[Address], since: datetime) -> dict[Address, History]:
    """Return the histories of addresses that have one: most never bounced before."""
    ordered = sorted(set(addresses))
    if not ordered:
        return {}
    arrays = columns(ordered)
    proofs: dict[Address, list[Proof]] = defaultdict(list)
    for tenant, mode, hash_, *values in await connection.fetch(_PROOFS, *arrays, since):
        id_, at, category, permanent, provider, doubtful, domain, origin = values
        said = (id_, at, category, permanent, provider, doubtful)
        proof = Proof(*said, domain=domain, in_session=origin == "session")
        proofs[tenant, mode, hash_].append(proof)
    contacts, lifted = await read_known(connection, ordered)
    known = proofs.keys() | contacts.keys() | lifted.keys()
    return {a: History(tuple(proofs.get(a, ())), contacts.get(a), lifted.get(a, {})) for a in known}


def with_proofs(histories: Mapping[Address, History], said: Iterable[tuple[Address, Proof]]) -> dict[Address, History]:
    """Add a batch's own facts to the histories, keeping the newest of each address."""
    more: dict[Address, list[Proof]] = defaultdict(list)
    for address, proof in said:
        more[address].append(proof)
    together = dict(histories)
    for address, proofs in more.items():
        history = together.get(address, NOTHING)
        if not history.proofs and len(proofs) == 1:
            together[address] = History(tuple(proofs), history.contact, history.lifted)
            continue
        each = {proof.id: proof for proof in (*history.proofs, *proofs)}  # one that counts again may be in both
        newest = sorted(each.values(), key=lambda proof: proof.at, reverse=True)[:_MOST]
        together[address] = replace(history, proofs=tuple(newest))
    return together


async def read_known(
    connection: Any, ordered: Sequence[Address]
) -> tuple[dict[Address, Contact], dict[Address, dict[Scope, datetime]]]:
    """Return what is known besides facts, by address: successful contacts, and when somebody last lifted a
    suppression."""
    arrays = columns(ordered)
    contacts = {
        (row["tenant"], row["mode"], row["address_hash"]): Contact(row["day"], row["accepted"], row["read_on"])
        for row in await connection.fetch(_CONTACTS, *arrays)
    }
    lifted: dict[Address, dict[Scope, datetime]] = defaultdict(dict)
    for tenant, mode, hash_, scope, at in await connection.fetch(_LIFTED, *arrays):
        lifted[tenant, mode, hash_][Scope(scope)] = at
    return contacts, lifted
