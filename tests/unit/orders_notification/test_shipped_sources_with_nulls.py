"""The shipped sources on payloads of shops that send null where others send an object or a number."""

from collections.abc import Iterator
from typing import Any

from services.orders_notification.domain.reading import Unmappable
from tests.unit.orders_notification.test_shipped_sources import COMMERCETOOLS, SHOPIFY, WOO, mapped


def nulled(body: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the body with each of its values, at any depth, replaced by null; and which it was."""
    for name, value in body.items():
        yield name, body | {name: None}
        if isinstance(value, dict):
            yield from ((f"{name}.{inner}", body | {name: changed}) for inner, changed in nulled(value))


# what makes an event the event that it is: without it nothing can be known
IDENTITY = {
    "woocommerce": {"id", "order.id", "customer.id"},
    "commercetools": {"id", "type", "notificationType", "resource", "resource.typeId", "resource.id", "Message",
                      "detail", "detail.id", "detail.type", "detail.notificationType", "detail.resource", "version",
                      "payloadNotIncluded", "payloadNotIncluded.payloadType"},
    "stripe": {"id", "type", "data.object", "data.object.metadata.order_id", "data.object.metadata.customer_id"},
}  # fmt: skip


def test_a_null_where_a_shop_may_send_an_object_loses_no_event() -> None:
    thing = {"id": "ch_1", "metadata": {"order_id": 7, "customer_id": 9}, "customer": {"id": "cus_1"}}
    charge = {"id": "evt_1", "type": "charge.refunded", "created": 1803893340, "data": {"object": thing}}
    lost = [
        (name, body, field)
        for name, bodies, sent in (
            ("shopify", [({"x_shopify_topic": topic}, body) for topic, body, _ in SHOPIFY],
             {"x_shopify_event_id": "e"}),
            ("woocommerce", [({"x_wc_webhook_topic": topic}, body) for topic, body, _ in WOO],
             {"x_wc_webhook_delivery_id": "d"}),
            ("commercetools", [({}, body) for body, _ in COMMERCETOOLS], {}),
            ("stripe", [({}, charge), ({}, charge | {"related_object": {"id": "a"}, "data": None})], {}),
        )
        for topic, example in bodies
        for field, body in nulled(example)
        if not is_mapped(name, body, topic | sent)
        and field not in IDENTITY.get(name, ())
    ]  # fmt: skip
    assert lost == []


def is_mapped(name: str, body: Any, headers: dict[str, str]) -> bool:
    try:
        mapped(name, body, **headers)
    except Unmappable:
        return False
    return True
