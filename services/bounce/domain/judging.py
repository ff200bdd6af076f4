"""Owns a batch of facts on its way through the policy: the decision on each, and what is counted for it."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from uuid import UUID

import msgspec

from services.bounce.domain.policy import Bars, Decision, History, Policy, Proof, Verdict, Waits, decide, may_be_parked


class Judged(msgspec.Struct, frozen=True, gc=False):
    """A fact with its verdict. `breaker`: the one that was open when its provider replied."""

    proof: Proof
    verdict: Verdict
    first: bool
    breaker: UUID | None

    @property
    def decision(self) -> Decision:
        match self.verdict:
            case Bars(policy=policy):
                parks = self.breaker is not None and may_be_parked(policy)
                return Decision.PARKED if parks else Decision.BARS
            case Waits(asks=domain):
                return Decision.ASKS if domain else Decision.WAITS
            case _:
                return Decision.LEAVES


def judge_all(
    facts: Iterable[tuple[Proof, History]],
    policy: Policy,
    now: datetime,
    breakers: Mapping[UUID, UUID],
) -> Mapping[UUID, Judged]:
    """Return verdicts by fact. `breakers`: the open one, by fact. Histories may contain others of the same batch."""
    judged: dict[UUID, Judged] = {}
    for proof, history in facts:
        earlier = any((other.at, other.id.int) < (proof.at, proof.id.int) for other in history.proofs)
        verdict = decide(proof, history, policy, now)
        judged[proof.id] = Judged(proof, verdict, not earlier, breakers.get(proof.id))
    return judged
