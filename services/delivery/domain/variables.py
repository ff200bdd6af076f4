"""What users' texts see: event, recipient, links."""

from collections.abc import Mapping
from typing import Any

from services.delivery.domain.bodies import Body, Slot
from services.delivery.domain.planning import Recipient


def variables_of(body: Body, slot: Slot, recipient: Recipient, links: Mapping[str, str]) -> dict[str, Any]:
    """Return the variables, the same for sending and for rendering again."""
    variables: dict[str, Any] = {
        "event": body.event or {},
        "recipient": {
            "key": slot.recipient,
            "first_name": recipient["first_name"],
            "last_name": recipient["last_name"],
            "locale": recipient["locale"],
            "zone": recipient["zone"],
            "attributes": recipient["attributes"],
        },
        "links": links,
    }
    if slot.variables:
        variables["variables"] = slot.variables
    return variables
