"""Settings of templates."""

from typing import ClassVar

from pydantic import Field

from libs.settings import ServiceSettings


class TemplatesSettings(ServiceSettings):
    """The settings of templates."""

    SECTION: ClassVar[str] = "templates"
    pool_max_connections: int = Field(4, ge=1, le=100, description="Postgres connections per process.")
    body_max_bytes: int = Field(4 << 20, ge=1 << 16, description="Maximum bytes of a template with all its locales.")
