"""What publishing queries from `templates`, `access` and `delivery`, over the suite's own HTTP."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from libs.auth import Principal
from libs.errors import Transient, Unavailable
from libs.service_client import ServiceClient


@dataclass(frozen=True, slots=True)
class HttpNeighbours:
    """Implements ports.communications.Neighbours."""

    templates_client: ServiceClient
    access_client: ServiceClient
    delivery_client: ServiceClient

    async def templates(self, principal: Principal, names: Sequence[str]) -> Mapping[str, Mapping[str, Any]]:
        answer = await self.templates_client.post(
            "/v1/templates:resolve", {"names": list(names)}, tenant=principal.tenant, mode=principal.mode
        )
        found: Mapping[str, Mapping[str, Any]] = answer["templates"]
        return found

    async def tenant_and_topics(
        self, principal: Principal, topics: Sequence[str]
    ) -> tuple[Mapping[str, Any], Mapping[str, Mapping[str, Any]], Mapping[str, Sequence[str]]]:
        answer = await self.access_client.post(
            "/v1/topics:resolve", {"topics": list(topics)}, tenant=principal.tenant, mode=principal.mode
        )
        return answer["tenant"], answer["topics"], answer.get("near", {})

    async def senders(self, principal: Principal, numbers: Sequence[int]) -> Mapping[int, str]:
        body = {"numbers": list(numbers)}
        try:
            answer = await self.delivery_client.post(
                "/v1/senders:resolve", body, tenant=principal.tenant, mode=principal.mode
            )
        except Transient as error:
            detail = f"Delivery could not confirm the plan's senders, so nothing was published. {error.detail}"
            raise Unavailable(detail, retry_after=error.retry_after) from error
        return {int(number): sender["channel"] for number, sender in answer["senders"].items()}
