"""Settings of access."""

from typing import ClassVar

from pydantic import Field

from libs.settings import ServiceSettings


class AccessSettings(ServiceSettings):
    """Connections and key rotation."""

    SECTION: ClassVar[str] = "access"

    pool_max_connections: int = Field(
        default=4, ge=1, le=100, description="Maximum number of Postgres connections per process."
    )
    rotation_grace_hours: float = Field(
        default=24.0, ge=0, le=720, description="Hours that a rotated key keeps working if the call gives none."
    )
