"""Installs what the cluster needs before the first write: templates, and new fields in existing monthly indices.

Where administrators have installed the templates themselves, the cluster is left as it is. Where a template is missing
or differs and we may not install it, nothing is written: an index created without it would guess its fields.
"""

from typing import Any

from opensearchpy import AsyncOpenSearch
from opensearchpy.exceptions import NotFoundError, TransportError

from libs.errors import Unavailable
from libs.telemetry import get_logger
from services.history.adapters.opensearch import schema
from services.history.adapters.opensearch.records import ANY

_NOT_ALLOWED = 403

log = get_logger(__name__)


async def install(client: AsyncOpenSearch, prefix: str) -> None:
    """Install what is missing. Raises Unavailable where that is forbidden, TransportError where the cluster is down."""
    differing = await differences(client, prefix)
    for name in differing:
        try:
            await client.indices.put_index_template(name=name, body=schema.templates(prefix)[name])
        except TransportError as error:
            if error.status_code != _NOT_ALLOWED:
                raise
            advice = "Apply opensearch/, or let the writer manage index templates."
            raise Unavailable(f"The index template {name} differs, and we may not install ours. {advice}") from error
    if prefix in differing:
        # existing indices reject new fields until their mapping has them; fields are only ever added
        await client.indices.put_mapping(index=f"{prefix}-2*", body=schema.MAPPING, params=ANY)
        log.info("audit_templates_put", what=prefix)


async def check(client: AsyncOpenSearch, prefix: str) -> str | None:
    """Return what is wrong; None: nothing. Raises Unavailable."""
    try:
        differing = await differences(client, prefix)
    except TransportError as error:
        raise Unavailable(f"OpenSearch does not answer ({error.status_code}).") from error
    return f"its index templates differ from ours: {', '.join(differing)}" if differing else None


async def differences(client: AsyncOpenSearch, prefix: str) -> list[str]:
    """Return the names of our templates that are missing in the cluster or differ there."""
    return [name for name, wanted in schema.templates(prefix).items() if await _mappings(client, name) != _in(wanted)]


async def _mappings(client: AsyncOpenSearch, name: str) -> Any:
    try:
        found = await client.indices.get_index_template(name=name)
    except NotFoundError:
        return None
    return _in(found["index_templates"][0]["index_template"])


def _in(template: dict[str, Any]) -> Any:
    return template["index_patterns"], template.get("template", {}).get("mappings")
