"""`tokens`, queried for a chunk's recipients at once."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from libs.service_client import ServiceClient, refusals_as_unavailable
from services.delivery.domain.planning import Recipient
from services.delivery.ports import Question


@dataclass(frozen=True, slots=True)
class TokensOverHttp:
    """`recipients:resolve`, with a deadline."""

    client: ServiceClient
    timeout_seconds: float

    async def resolve(self, question: Question) -> Mapping[str, Recipient]:
        """Return recipients by key. Raises Unavailable."""
        body = {"keys": question.keys, "topic": question.topic, "channels": question.channels}
        with refusals_as_unavailable(self.client.name):
            answer: Any = await self.client.post(
                "/v1/recipients:resolve",
                msgspec.json.encode(body),
                tenant=question.tenant,
                mode=question.mode,
                timeout=self.timeout_seconds,
            )
        found: Mapping[str, Recipient] = answer["recipients"]
        return found
