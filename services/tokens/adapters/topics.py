"""The topics that exist, asked of `access`, which owns them."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from libs.service_client import ServiceClient
from services.tokens.domain.consents import ALL_TOPICS
from services.tokens.domain.recipients import Realm

_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class AccessTopics:
    """Implements ports.Topics. A topic is never deleted, so one that exists is remembered; a missing one is not: it may
    be created at any moment."""

    client: ServiceClient
    _known: set[tuple[Realm, str]] = field(default_factory=set)

    async def missing(self, realm: Realm, names: Collection[str]) -> Mapping[str, Sequence[str]]:
        asked = sorted(name for name in set(names) - {ALL_TOPICS} if (realm, name) not in self._known)
        found: dict[str, Sequence[str]] = {}
        for at in range(0, len(asked), _AT_ONCE):
            portion = asked[at : at + _AT_ONCE]
            answer = await self.client.post(
                "/v1/topics:resolve", {"topics": portion}, tenant=realm.tenant, mode=realm.mode
            )
            self._known.update((realm, name) for name in answer["topics"])
            near = answer.get("near", {})  # the previous version of access does not compare
            found |= {name: near.get(name, ()) for name in portion if name not in answer["topics"]}
        return found
