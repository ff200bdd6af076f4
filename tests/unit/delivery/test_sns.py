"""Amazon SNS: only Amazon's own certificates are trusted, and only our topics' subscriptions are confirmed."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from libs.errors import Unauthorized, Unavailable
from services.delivery.adapters.vendors.ses import SesWebhooks
from services.delivery.adapters.vendors.sns import Envelope, string_to_sign
from services.delivery.domain.callbacks import Callback
from services.delivery.domain.mail_vendors import Reading
from tests.conformance.webhook_senders import Amazon, Post, Ses, keys_of

NOW = datetime(2026, 11, 26, 12, 0, tzinfo=UTC)


@pytest.fixture(scope="module")
def amazon() -> Amazon:
    return Amazon()


@pytest.fixture
def ses(amazon: Amazon) -> Ses:
    amazon.fetched.clear()
    return Ses(amazon)


async def read(ses: Ses, post: Post, reader: SesWebhooks | None = None) -> Reading:
    reader = reader or SesWebhooks(ses.amazon.fetch)
    callback = Callback("https://depesche.example/x", post.headers, post.body)
    return await reader.read(callback, keys_of(ses), NOW)


def delivered(ses: Ses, **changes: Any) -> Post:
    return ses.message(json.dumps(ses.event("delivered", "b-x@bounce.example", NOW)), NOW, **changes)


def altered(ses: Ses, **fields: str) -> Post:
    """A message changed after it was signed."""
    post = delivered(ses)
    return Post(post.headers, json.dumps(json.loads(post.body) | fields).encode())


def test_the_signed_string_matches_amazons() -> None:
    """Names and values on separate lines, in the documented order; an absent subject is left out."""
    fields = {"Type": "Notification", "MessageId": "m", "TopicArn": "t", "Message": "hello", "Timestamp": "now"}
    rest = {"SignatureVersion": "1", "Signature": "", "SigningCertURL": ""}
    plain = "Message\nhello\nMessageId\nm\nTimestamp\nnow\nTopicArn\nt\nType\nNotification\n"
    assert string_to_sign(Envelope(**fields, **rest)) == plain.encode()
    with_subject = string_to_sign(Envelope(**fields, **rest, Subject="s"))
    assert with_subject == plain.replace("Timestamp\n", "Subject\ns\nTimestamp\n").encode()


@pytest.mark.parametrize(
    "url",
    [
        "http://sns.eu-central-1.amazonaws.com/SimpleNotificationService-a.pem",
        "https://sns.eu-central-1.amazonaws.com.evil.example/SimpleNotificationService-a.pem",
        "https://evil.example/sns.eu-central-1.amazonaws.com/SimpleNotificationService-a.pem",
        "https://sns.eu-central-1.amazonaws.com@evil.example/SimpleNotificationService-a.pem",
        "https://user@sns.eu-central-1.amazonaws.com/SimpleNotificationService-a.pem",
        "https://sns.eu-central-1.amazonaws.com:8443/SimpleNotificationService-a.pem",
        "https://sns.us-east-1.amazonaws.com/SimpleNotificationService-a.pem",  # another region's
        "https://s3.eu-central-1.amazonaws.com/SimpleNotificationService-a.pem",
        "https://snsxeu-central-1.amazonaws.com/SimpleNotificationService-a.pem",
        "https://sns.eu-central-1.amazonaws.com/anything-a.pem",
        "https://sns.eu-central-1.amazonaws.com/a/../SimpleNotificationService-a.pem",
        "https://sns.eu-central-1.amazonaws.com/SimpleNotificationService-a.pem\n",
        "https://sns.eu-central-1.amazonaws.com/SimpleNotificationService-a.pem#x",
        "https://[bad/SimpleNotificationService-a.pem",
        "",
    ],
)
async def test_a_certificate_from_another_host_is_not_fetched(ses: Ses, url: str) -> None:
    with pytest.raises(Unauthorized):
        await read(ses, delivered(ses, SigningCertURL=url))
    assert ses.amazon.fetched == []


async def test_china_has_hosts_of_its_own() -> None:
    china = Amazon("cn-north-1")
    china.certificate_url = china.certificate_url.replace("amazonaws.com", "amazonaws.com.cn")
    assert (await read(Ses(china), delivered(Ses(china)))).news


@pytest.mark.parametrize(
    "fields",
    [
        {"TopicArn": "arn:aws:sns:eu-central-1:999999999999:mail-events"},
        {"Type": "Teleportation"},
        {"Timestamp": "yesterday"},
        {"Timestamp": "2026-11-26T12:00:00"},  # without a zone
    ],
)
async def test_a_wrong_topic_or_time_is_refused_before_any_fetch(ses: Ses, fields: dict[str, str]) -> None:
    with pytest.raises(Unauthorized):
        await read(ses, altered(ses, **fields))
    assert ses.amazon.fetched == []


async def test_another_topic_signed_by_amazon_is_refused(ses: Ses) -> None:
    """Anybody can create a topic: Amazon's signature alone does not say whose message it is."""
    with pytest.raises(Unauthorized):
        await read(ses, delivered(ses, TopicArn="arn:aws:sns:eu-central-1:999999999999:mail-events"))


@pytest.mark.parametrize("version", ["0", "3", ""])
async def test_an_unknown_signature_version_is_refused(ses: Ses, version: str) -> None:
    with pytest.raises(Unauthorized):
        await read(ses, altered(ses, SignatureVersion=version))


@pytest.mark.parametrize("signature", ["", "????", "QUJD"])
async def test_an_invalid_signature_is_refused(ses: Ses, signature: str) -> None:
    with pytest.raises(Unauthorized):
        await read(ses, altered(ses, Signature=signature))


async def test_an_expired_certificate_is_refused() -> None:
    expired = Amazon(valid=timedelta(days=1))
    with pytest.raises(Unauthorized):
        await read(Ses(expired), delivered(Ses(expired)))


async def test_an_unreadable_certificate_is_refused(ses: Ses) -> None:
    async def fetch(url: str) -> bytes:
        return b"<html>welcome</html>"

    with pytest.raises(Unauthorized):
        await read(ses, delivered(ses), SesWebhooks(fetch))


async def test_a_certificate_is_fetched_once(ses: Ses) -> None:
    reader = SesWebhooks(ses.amazon.fetch)
    for _ in range(3):
        await read(ses, delivered(ses), reader)
    assert ses.amazon.fetched == [ses.amazon.certificate_url]


async def test_many_unknown_certificates_do_not_cause_many_fetches(ses: Ses) -> None:
    """Anybody who knows a topic's name can send messages with new certificates: we fetch at most ten a minute."""
    reader = SesWebhooks(ses.amazon.fetch)
    forged = Ses(Amazon())
    outcomes = []
    for number in range(30):
        url = f"https://sns.eu-central-1.amazonaws.com/SimpleNotificationService-{number:032x}.pem"
        with pytest.raises((Unauthorized, Unavailable)) as raised:
            await read(ses, delivered(forged, SigningCertURL=url), reader)
        outcomes.append(raised.type)
    assert outcomes == [Unauthorized] * 10 + [Unavailable] * 20
    assert len(ses.amazon.fetched) == 10


async def test_an_unreachable_amazon_is_not_the_senders_fault(ses: Ses) -> None:
    async def fetch(url: str) -> bytes:
        raise Unavailable("away")

    with pytest.raises(Unavailable):
        await read(ses, delivered(ses), SesWebhooks(fetch))


async def test_a_subscription_to_our_topic_is_confirmed(ses: Ses) -> None:
    reading = await read(ses, ses.confirmation(NOW))
    assert (reading.news, reading.ignored) == ([], 1)
    asked = ses.amazon.fetched[-1]
    assert asked.startswith("https://sns.eu-central-1.amazonaws.com/?Action=ConfirmSubscription&")
    assert ses.topic in asked


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example/?Action=ConfirmSubscription&TopicArn={topic}&Token=t",
        "http://sns.eu-central-1.amazonaws.com/?Action=ConfirmSubscription&TopicArn={topic}&Token=t",
        "https://sns.eu-central-1.amazonaws.com/?Action=DeleteTopic&TopicArn={topic}&Token=t",
        "https://sns.eu-central-1.amazonaws.com/?Action=ConfirmSubscription&TopicArn=arn:other&Token=t",
        "https://sns.eu-central-1.amazonaws.com/?Action=ConfirmSubscription&Action=DeleteTopic&TopicArn={topic}",
        "https://sns.eu-central-1.amazonaws.com/elsewhere?Action=ConfirmSubscription&TopicArn={topic}&Token=t",
        None,
    ],
)
async def test_a_confirmation_url_that_leads_elsewhere_is_not_followed(ses: Ses, url: str | None) -> None:
    """The message is validly signed, with the key of the test's Amazon: the URL is checked all the same."""
    post = ses.confirmation(NOW, SubscribeURL=url.format(topic=ses.topic) if url else None)
    with pytest.raises(Unauthorized):
        await read(ses, post)
    assert ses.amazon.fetched == [ses.amazon.certificate_url]


async def test_a_subscription_to_another_topic_is_not_confirmed(ses: Ses) -> None:
    stranger = Ses(Amazon())
    with pytest.raises(Unauthorized):
        await read(ses, stranger.confirmation(NOW, SigningCertURL=ses.amazon.certificate_url))
    assert not any("ConfirmSubscription" in url for url in ses.amazon.fetched)


Told = Callable[[Ses], Post]


@pytest.mark.parametrize(
    "told",
    [
        lambda ses: ses.message("Successfully validated SNS topic for Amazon SES event publishing.", NOW),
        lambda ses: ses.confirmation(NOW, Type="UnsubscribeConfirmation"),
    ],
    ids=["greeting", "unsubscribed"],
)
async def test_other_sns_message_types_are_accepted(ses: Ses, told: Told) -> None:
    reading = await read(ses, told(ses))
    assert (reading.news, reading.ignored, reading.unreadable) == ([], 1, [])
    assert not any("ConfirmSubscription" in url for url in ses.amazon.fetched)


async def test_a_message_without_an_event_is_reported(ses: Ses) -> None:
    reading = await read(ses, ses.message("hello", NOW))
    assert [error.pointer for error in reading.unreadable] == ["/Message"]
