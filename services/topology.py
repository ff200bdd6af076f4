"""What production runs: one program a line, each beside a sidecar of its own.

`dapr/`, `docker-compose.yml`, `k8s/` and the topology that `depesche up --engines` starts say the same in their own
words; a test holds each of them against this page.
"""

from dataclasses import dataclass
from typing import Literal

Role = Literal["api", "worker", "bulk", "all"]


@dataclass(frozen=True, slots=True)
class Program:
    """One `python -m services run SERVICE --role ROLE`, of which there may be many replicas."""

    service: str
    role: Role

    @property
    def app_id(self) -> str:
        """Its name for Dapr. What serves an API is called by the service's own name."""
        return self.service if self.serves else f"{self.service}-{self.role}"

    @property
    def serves(self) -> bool:
        """Whether it answers the service's API."""
        return self.role in ("api", "all")

    @property
    def subscribes(self) -> bool:
        """Whether its sidecar brings it the service's events, and it publishes the service's outbox."""
        return self.role in ("worker", "all")

    @property
    def only_works(self) -> bool:
        """Whether events are all that comes to it: its sidecar asks it whether it can take any, and brings none where
        it cannot. Who is called as well would be cut off from its callers."""
        return self.role == "worker"


PROGRAMS: tuple[Program, ...] = (
    Program("access", "all"),
    Program("templates", "all"),
    Program("orders-notification", "api"),
    Program("orders-notification", "worker"),
    Program("tokens", "api"),
    Program("tokens", "worker"),
    Program("delivery", "api"),
    Program("delivery", "worker"),
    Program("delivery", "bulk"),
    Program("bounce", "api"),
    Program("bounce", "worker"),
    Program("history", "api"),
    Program("history", "worker"),
)
