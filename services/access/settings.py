"""Settings of access."""

from typing import ClassVar

from pydantic import Field

from libs.settings import ServiceSettings


class AccessSettings(ServiceSettings):
    """What access can be told."""

    SECTION: ClassVar[str] = "access"

    pool_max_connections: int = Field(default=4, ge=1, le=100, description="Postgres connections at most, per process.")
    rotation_grace_hours: float = Field(
        default=24.0, ge=0, le=720, description="Hours that a rotated key goes on working, where the call names none."
    )
