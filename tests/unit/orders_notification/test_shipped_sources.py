"""The shipped sources on real shop payloads beyond the plain order: an event, or the reason why not."""

from typing import Any

import pytest

from libs import exact_json
from services.orders_notification.adapters.shipped import shipped_sources
from services.orders_notification.domain.cloudevents import BusinessEvent
from services.orders_notification.domain.delivery import Delivery
from services.orders_notification.domain.mapping import Answer, handshake, map_delivery
from services.orders_notification.domain.reading import Unmappable
from services.orders_notification.domain.sources import Source, source
from tests.unit.orders_notification.builders import NOW

SHIPPED = shipped_sources()


def compiled(name: str) -> Source:
    return source(name, 1, SHIPPED[name])


def mapped(name: str, body: Any, **headers: str) -> BusinessEvent:
    sent = {header.replace("_", "-"): value for header, value in headers.items()}
    (event,) = map_delivery(compiled(name), Delivery(exact_json.dumps(body), sent, {}), NOW).events
    return event


SHOPIFY: list[tuple[str, dict[str, Any], tuple[str, str | None, str | None]]] = [
    ("orders/create", {"name": "#1001", "customer": {"id": 7}}, ("order.placed", "#1001", "customer:7")),
    ("orders/create", {"name": "#1001", "customer": None}, ("order.placed", "#1001", None)),  # a guest
    ("orders/cancelled", {"name": "DE-7"}, ("order.cancelled", "DE-7", None)),
    ("fulfillments/create", {"id": 5, "order_id": 8, "name": "#1001.1"}, ("parcel.shipped", "#1001", None)),
    ("fulfillments/create", {"id": 5, "order_id": 8, "name": "#1001-F2"}, ("parcel.shipped", "#1001", None)),
    ("fulfillments/create", {"id": 5, "order_id": 8, "name": "DE.10-F.1001.12"},
     ("parcel.shipped", "DE.10-F.1001", None)),  # shops choose the number's prefix and suffix
    ("fulfillments/update", {"id": 5, "order_id": 8, "name": "#1001.A"}, ("parcel.changed", "#1001.A", None)),
    ("draft_orders/create", {"id": 5, "name": "#D7", "customer": {"id": 7}},
     ("shopify.draft_orders/create", "#D7", "customer:7")),
    ("refunds/create", {"id": 5, "order_id": 450789469}, ("order.refunded", "450789469", None)),
    ("customers/create", {"id": 706405506930370084, "email": "a@b.c"},
     ("customer.registered", "706405506930370084", "customer:706405506930370084")),
    ("products/update", {"id": 788032119674292922}, ("product.changed", "788032119674292922", None)),
    ("inventory_levels/update", {"inventory_item_id": 1, "available": 0}, ("stock.changed", None, None)),
    ("orders/delete", {"id": 450789469}, ("shopify.orders/delete", "450789469", None)),
    ("orders/edited", {"order_edit": {"id": 1, "order_id": 450789469}}, ("shopify.orders/edited", "450789469", None)),
    ("orders/risk_assessment_changed", {"order_id": 8}, ("shopify.orders/risk_assessment_changed", "8", None)),
    ("fulfillments/update", {"id": 5, "order_id": 8, "name": None}, ("parcel.changed", "8", None)),
    ("returns/approve", {"id": 5, "name": "#1001-R1", "order": {"id": 8}}, ("shopify.returns/approve", "8", None)),
    ("orders/create", {"name": "#1001", "customer": {"id": None}}, ("order.placed", "#1001", None)),
    ("customers_email_marketing_consent/update", {"customer_id": 7},
     ("shopify.customers_email_marketing_consent/update", None, "customer:7")),
    ("customers_marketing_consent/update", {"id": 7},
     ("shopify.customers_marketing_consent/update", "7", "customer:7")),
    ("customer.tags_added", {"customerId": "gid://shopify/Customer/7", "tags": ["vip"]},
     ("shopify.customer.tags_added", None, "customer:7")),
    ("customers/redact", {"shop_id": 1, "customer": {"id": 7}}, ("shopify.customers/redact", None, "customer:7")),
    ("app/uninstalled", {"id": 548380009, "name": "Super Toys"}, ("shopify.app/uninstalled", "548380009", None)),
]  # fmt: skip


@pytest.mark.parametrize(("topic", "body", "expected"), SHOPIFY)
def test_shopify_topics(topic: str, body: dict[str, Any], expected: tuple[str, str | None, str | None]) -> None:
    event = mapped("shopify", body, x_shopify_topic=topic, x_shopify_webhook_id="b545")
    assert (event.type, event.subject, event.recipient) == expected
    assert event.id.startswith(f"{topic}:")
    assert event.id.endswith(":b545")  # older API versions send no event id


def test_one_action_at_shopify_about_several_resources_is_as_many_events() -> None:
    """They share the event id: the second parcel of an order would be a duplicate of the first."""
    sent = {"x_shopify_webhook_id": "w", "x_shopify_event_id": "e"}
    bodies: list[tuple[str, dict[str, Any]]] = [
        ("fulfillments/create", {"id": 5, "name": "#1.1"}),
        ("fulfillments/create", {"id": 6, "name": "#1.2"}),
        ("inventory_levels/update", {"inventory_item_id": 1, "location_id": 7, "available": 0}),
        ("inventory_levels/update", {"inventory_item_id": 1, "location_id": 8, "available": 0}),
        ("inventory_levels/update", {"inventory_item_id": 2, "location_id": None}),
        ("bulk_operations/finish", {"admin_graphql_api_id": "gid://shopify/BulkOperation/1"}),
    ]
    ids = [mapped("shopify", body, x_shopify_topic=topic, **sent).id for topic, body in bodies]
    assert len(set(ids)) == len(bodies)
    again = sent | {"x_shopify_webhook_id": "of another subscription"}
    assert [mapped("shopify", body, x_shopify_topic=topic, **again).id for topic, body in bodies] == ids


WOO: list[tuple[str, dict[str, Any], tuple[str, str | None, str | None]]] = [
    ("order.created", {"id": 727, "number": "727", "customer_id": 0, "date_modified_gmt": None},
     ("order.placed", "727", None)),
    ("order.updated", {"id": 727, "number": "B-727", "customer_id": 3, "date_modified_gmt": "2027-03-01T09:00:00"},
     ("order.changed", "B-727", "customer:3")),
    ("order.deleted", {"id": 727}, ("order.deleted", "727", None)),
    ("order.created", {"id": 727, "number": "727", "status": "checkout-draft", "customer_id": 3},
     ("woocommerce.order.draft", "727", "customer:3")),  # nobody has ordered yet
    ("order.updated", {"id": 727, "number": "727", "status": "auto-draft", "customer_id": 3},
     ("woocommerce.order.draft", "727", "customer:3")),
    ("order.created", {"id": 727, "number": "727", "status": "pending", "customer_id": 3},
     ("order.placed", "727", "customer:3")),
    ("customer.created", {"id": 25, "email": "a@b.c"}, ("customer.registered", "25", "customer:25")),
    ("product.updated", {"id": 794, "name": "Premium Quality"}, ("product.changed", "794", None)),
    ("order.created", {"order": {"id": 645, "order_number": "B-645", "customer_id": 2, "customer": {"id": 2}}},
     ("order.placed", "B-645", "customer:2")),  # the legacy API
    ("customer.created", {"customer": {"id": 2}}, ("customer.registered", "2", "customer:2")),
    ("subscription.created", {"id": 5, "number": "", "customer_id": 3, "date_modified_gmt": ""},
     ("woocommerce.subscription.created", None, "customer:3")),
    ("action.woocommerce_add_to_cart", {"action": "woocommerce_add_to_cart", "arg": 22},
     ("woocommerce.action.woocommerce_add_to_cart", "22", None)),
    ("action.woocommerce_cart_emptied", {"action": "woocommerce_cart_emptied", "arg": [True]},
     ("woocommerce.action.woocommerce_cart_emptied", None, None)),
]  # fmt: skip


@pytest.mark.parametrize(("topic", "body", "expected"), WOO)
def test_woocommerce_topics(topic: str, body: dict[str, Any], expected: tuple[str, str | None, str | None]) -> None:
    event = mapped("woocommerce", body, x_wc_webhook_topic=topic, x_wc_webhook_delivery_id="d1")
    assert (event.type, event.subject, event.recipient) == expected


@pytest.mark.parametrize(
    ("action", "args"),
    [
        ("wc_payment_complete", (727, 728)),
        ("woocommerce_new_customer_note",  # a carrier's plugin writes them to many orders at once
         ({"order_id": 727, "customer_note": "left"}, {"order_id": 728, "customer_note": "left"})),
    ],
)  # fmt: skip
def test_two_actions_in_one_second_are_two_events(action: str, args: tuple[Any, Any]) -> None:
    sent = {"x_wc_webhook_topic": f"action.{action}", "x_wc_webhook_delivery_id": "d1"}
    first, second = (mapped("woocommerce", {"action": action, "arg": arg}, **sent) for arg in args)
    assert first.id != second.id
    assert (first.subject, second.subject) == ("727", "728")


@pytest.mark.parametrize("topic", ["order.created", "order.updated", "customer.created"])
@pytest.mark.parametrize(
    "error",
    [
        {"code": "woocommerce_rest_cannot_view", "message": "Sorry, you cannot view this resource.",
         "data": {"status": 401}},
        {"errors": {"woocommerce_api_user_cannot_read_order": ["You do not have permission to read this order"]}},
    ],
)  # fmt: skip
def test_an_error_that_woocommerce_sends_in_place_of_an_order_is_no_order(topic: str, error: dict[str, Any]) -> None:
    """It does so, with a valid signature, once the webhook's user was deleted or lost a right."""
    with pytest.raises(Unmappable) as refused:
        mapped("woocommerce", error, x_wc_webhook_topic=topic, x_wc_webhook_delivery_id="d1")
    assert [each.pointer for each in refused.value.errors] == ["/mapping/id"]


def test_only_a_bare_ping_is_a_handshake() -> None:
    form = {"content-type": "application/x-www-form-urlencoded"}
    woo = compiled("woocommerce")
    assert handshake(woo, Delivery(b"webhook_id=7", form, {})) == Answer()
    assert handshake(woo, Delivery(b"webhook_id=7&order=1", form, {})) is None
    assert handshake(woo, Delivery(b"webhook_id=7", form | {"x-wc-webhook-topic": "order.created"}, {})) is None
    assert handshake(woo, Delivery(b"{", {}, {})) is None
    assert handshake(compiled("shopify"), Delivery(b"webhook_id=7", form, {})) is None


def stripe(type_: str, thing: dict[str, Any]) -> BusinessEvent:
    return mapped("stripe", {"id": "evt_1", "type": type_, "created": 1803893340, "data": {"object": thing}})


def test_stripe_objects_with_and_without_the_shops_metadata() -> None:
    told = stripe("charge.refunded", {"id": "ch_1", "metadata": {"order_id": 7, "customer_id": 9}, "customer": "cus_1"})
    assert (told.type, told.subject, told.recipient) == ("payment.refunded", "7", "customer:9")
    bare = stripe("invoice.paid", {"id": "in_1", "metadata": {}, "customer": "cus_1"})
    assert (bare.type, bare.subject, bare.recipient) == ("invoice.paid", "in_1", "customer:cus_1")
    expanded = stripe("invoice.paid", {"id": "in_1", "customer": {"id": "cus_1", "object": "customer"}})
    assert expanded.recipient == "customer:cus_1"
    checkout = {"id": "cs_1", "client_reference_id": "B-7", "customer": None, "metadata": {}}
    assert stripe("checkout.session.completed", checkout).subject == "B-7"
    assert stripe("checkout.session.completed", checkout | {"client_reference_id": None}).subject == "cs_1"
    guest = stripe("payout.paid", {"id": "po_1", "metadata": None, "customer": None})
    assert (guest.type, guest.subject, guest.recipient) == ("stripe.payout.paid", "po_1", None)
    balance = stripe("balance.available", {"object": "balance"})
    assert (balance.subject, balance.recipient) == (None, None)


def test_a_stripe_customer_is_its_own_recipient_and_empty_metadata_is_ignored() -> None:
    customer = stripe("customer.updated", {"id": "cus_1", "object": "customer", "metadata": {}})
    assert (customer.subject, customer.recipient) == ("cus_1", "customer:cus_1")
    attached = stripe("payment_method.attached", {"id": "pm_1", "metadata": {"order_id": "", "customer_id": ""}})
    assert (attached.subject, attached.recipient) == ("pm_1", None)


def test_stripe_thin_events_name_their_object() -> None:
    thin = {
        "id": "evt_2", "object": "v2.core.event", "type": "v1.billing.meter.error_report_triggered",
        "created": "2027-03-01T09:29:00.000Z", "related_object": {"id": "mtr_1", "type": "billing.meter"},
    }  # fmt: skip
    event = mapped("stripe", thin)
    assert (event.type, event.subject) == ("stripe.v1.billing.meter.error_report_triggered", "mtr_1")
    assert event.data == thin


def message(type_: str, **fields: Any) -> dict[str, Any]:
    resource = {"typeId": "order", "id": "o-1"}
    return {"notificationType": "Message", "id": "m-1", "type": type_, "resource": resource} | fields


COMMERCETOOLS: list[tuple[dict[str, Any], tuple[str, str | None, str | None]]] = [
    (message("OrderCreated", order={"orderNumber": "7", "customerId": "c"}), ("order.placed", "7", "customer:c")),
    (message("OrderCreated", payloadNotIncluded={"reason": "too large"}), ("order.placed", "o-1", None)),
    ({name: value for name, value in message("", payloadNotIncluded={"reason": "size", "payloadType": "OrderCreated"})
      .items() if name != "type"}, ("order.placed", "o-1", None)),
    (message("OrderCreated", order={"orderNumber": None}, resourceUserProvidedIdentifiers={"orderNumber": None}),
     ("order.placed", "o-1", None)),
    (message("OrderDeleted", order=None), ("commercetools.OrderDeleted", "o-1", None)),
    (message("OrderCustomerSet", customer={"typeId": "customer", "id": "c"}),
     ("commercetools.OrderCustomerSet", "o-1", "customer:c")),
    ({"notificationType": "Event", "id": "e-1", "type": "CheckoutPaymentAuthorized", "resourceType": "checkout"},
     ("commercetools.CheckoutPaymentAuthorized", None, None)),
    ({"Type": "Notification", "Message": '{"notificationType":"Message","id":"m","type":"OrderDeleted",'
      '"resource":{"typeId":"order","id":"o-1"}}'}, ("commercetools.OrderDeleted", "o-1", None)),
    ({"detail-type": "MessageNotification", "detail": message("OrderDeleted")},
     ("commercetools.OrderDeleted", "o-1", None)),
    (message("OrderStateChanged", orderState="Cancelled"), ("order.cancelled", "o-1", None)),
    (message("OrderStateChanged", orderState="Confirmed"), ("order.changed", "o-1", None)),
    (message("OrderPaymentStateChanged", paymentState="Paid"), ("order.paid", "o-1", None)),
    (message("ParcelAddedToDelivery", resourceUserProvidedIdentifiers={"orderNumber": "9"}),
     ("parcel.shipped", "9", None)),
    (message("DeliveryAdded", delivery={"id": "d", "parcels": [{"id": "p"}]}), ("parcel.shipped", "o-1", None)),
    (message("DeliveryAdded", delivery={"id": "d", "parcels": []}), ("commercetools.DeliveryAdded", "o-1", None)),
    (message("CustomerCreated", resource={"typeId": "customer", "id": "c-1"}),
     ("customer.registered", "c-1", "customer:c-1")),
    ({"notificationType": "ResourceUpdated", "resource": {"typeId": "cart", "id": "x"}, "version": 3},
     ("commercetools.cart.ResourceUpdated", "x", None)),
]  # fmt: skip


@pytest.mark.parametrize(("body", "expected"), COMMERCETOOLS)
def test_commercetools_messages(body: dict[str, Any], expected: tuple[str, str | None, str | None]) -> None:
    event = mapped("commercetools", body)
    assert (event.type, event.subject, event.recipient) == expected


def test_changes_of_one_resource_are_distinguished_by_its_version() -> None:
    ids = {
        mapped(
            "commercetools",
            {"notificationType": "ResourceUpdated", "resource": {"typeId": "cart", "id": "x"}, "version": n},
        ).id
        for n in (3, 4)
    }
    assert len(ids) == 2


def outcome(name: str, body: bytes) -> str:
    try:
        made = map_delivery(compiled(name), Delivery(body, {}, {}), NOW)
    except Unmappable as error:
        return "unmappable" if error.errors else "unmappable without a reason"
    return "an event" if made.events else "no event"


@pytest.mark.parametrize("body", [b"[]", b"null", b'"text"', b"17", b"{}", b"[[]]"])
def test_malformed_bodies_are_unmappable_not_errors(body: bytes) -> None:
    for name in SHIPPED:
        assert outcome(name, body) in ("no event", "unmappable")
