"""The programs that run in production, each beside its own Dapr sidecar.

`dapr/`, `docker-compose.yml`, `k8s/` and the topology of `depesche up --engines` must match this list; a test
compares each of them.
"""

from dataclasses import dataclass
from typing import Literal

Role = Literal["api", "worker", "bulk", "all"]


@dataclass(frozen=True, slots=True)
class Program:
    """One `python -m services run SERVICE --role ROLE`; it may have many replicas."""

    service: str
    role: Role

    @property
    def app_id(self) -> str:
        """Its Dapr app id. The program that serves the API has the service's own name."""
        return self.service if self.serves else f"{self.service}-{self.role}"

    @property
    def serves(self) -> bool:
        """Whether it serves the service's API."""
        return self.role in ("api", "all")

    @property
    def subscribes(self) -> bool:
        """Whether its sidecar delivers the service's events to it and it publishes the service's outbox."""
        return self.role in ("worker", "all")

    @property
    def only_works(self) -> bool:
        """Whether it receives events and nothing else. Its sidecar then checks its health before it delivers events. A
        program that also serves an API must not be checked this way: an unhealthy answer would cut off its callers
        too."""
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
