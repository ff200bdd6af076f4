"""What mail vendors send beside their documentation: times of other zones, ids as numbers, events of their mails."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from libs.contracts.outcomes import ReceiptKind
from services.delivery.adapters.vendors import readers
from services.delivery.domain.callbacks import Callback
from services.delivery.domain.mail_vendors import MailNews, Reading, Vendor
from tests.conformance.webhook_http_senders import Brevo, Postmark, SparkPost
from tests.conformance.webhook_senders import Amazon, WebhookSender, keys_of

NOW = datetime(2026, 11, 26, 12, 0, tzinfo=UTC)
PATH = "b-path@bounce.shop.example"


async def read(sender: WebhookSender, event: Any) -> Reading:
    post = sender.post([event], NOW)
    callback = Callback("https://depesche.example/x", post.headers, post.body)
    return await readers(Amazon().fetch)[sender.vendor].read(callback, keys_of(sender), NOW)


async def news(sender: WebhookSender, event: Any) -> MailNews:
    reading = await read(sender, event)
    assert reading.unreadable == []
    [one] = reading.news
    return one


async def test_brevos_utc_time_counts_not_the_one_off_by_the_accounts_zone() -> None:
    event = Brevo().event("hard", PATH, NOW - timedelta(hours=9)) | {"ts_epoch": int(NOW.timestamp() * 1_000)}
    assert (await news(Brevo(), event)).at == NOW


async def test_brevos_first_opening_is_an_opening_once_even_if_both_kinds_come() -> None:
    opened = Brevo().event("opened", PATH, NOW)
    first = await news(Brevo(), opened | {"event": "unique_opened"})
    assert first.kind is ReceiptKind.OPENED
    assert first.event_id == (await news(Brevo(), opened)).event_id


async def test_events_of_brevos_own_campaigns_say_nothing() -> None:
    event = Brevo().event("hard", PATH, NOW) | {"camp_id": 7}
    del event["message-id"]
    reading = await read(Brevo(), event)
    assert (reading.news, reading.ignored, reading.unreadable) == ([], 1, [])


@pytest.mark.parametrize(("sender", "changed"), [(Postmark(), str), (SparkPost(), int)])
async def test_ids_may_be_numbers_or_strings(sender: WebhookSender, changed: type) -> None:
    event = sender.event("hard", PATH, NOW)
    holder, name = (event, "ID") if sender.vendor is Vendor.POSTMARK else (event["msys"]["message_event"], "event_id")
    before = await news(sender, event)
    holder[name] = changed(holder[name])
    assert (await news(sender, event)).event_id == before.event_id
