"""An account that could not work is refused with all its problems at once; its secrets are stored separately."""

import base64
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from libs.contracts.outcomes import Channel, Mode
from libs.errors import Invalid
from libs.service import SimulatorEndpoints
from services.delivery.adapters.simulated_accounts import simulated
from services.delivery.domain.outbound import FcmAccount, SmtpAccount, TwilioAccount, WebhookAccount
from services.delivery.domain.sender_accounts import callback_url, join_secrets, read_account, split_secrets
from tests.conformance.webhook_http_senders import SendGrid

P384 = base64.b64encode(
    ec.generate_private_key(ec.SECP384R1()).public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
).decode()
SERVICE_ACCOUNT = json.dumps({"type": "service_account", "project_id": "shop"})
GOOD = {
    Channel.PUSH: {"project": "shop", "credentials": SERVICE_ACCOUNT},
    Channel.EMAIL: {
        "host": "relay.example.com",
        "port": 587,
        "from_address": "shop@example.com",
        "return_path_domain": "bounce.example.com",
        "username": "shop",
        "password": "geheim",
    },
    Channel.SMS: {
        "account_sid": "AC1",
        "auth_token": "geheim",
        "further_auth_tokens": ["geheim-bisher"],
        "originator": "+4930123",
        "callback_url": "https://depesche.example/delivery/v1/callbacks/twilio",
    },
    Channel.WEBHOOK: {"secrets": ["whsec_a2tra2tra2tra2tra2tra2tra2tra2tra2s="]},
}
SIMULATOR = SimulatorEndpoints("https://127.0.0.1:1", "/ca.pem", "127.0.0.1", 25, "http://127.0.0.1:2", "h", "c")


@pytest.mark.parametrize("channel", list(Channel))
def test_secrets_are_stored_separately_and_never_shown(channel: Channel) -> None:
    account = read_account(channel, GOOD[channel])
    shown, secret = split_secrets(channel, account)
    assert "geheim" not in json.dumps(shown)
    assert "service_account" not in json.dumps(shown)
    assert "whsec" not in json.dumps(shown)
    assert "geheim" not in repr(account)
    assert join_secrets(channel, json.loads(json.dumps(shown)), json.loads(json.dumps(secret))) == account


@pytest.mark.parametrize(
    ("channel", "change", "pointers"),
    [
        (Channel.PUSH, {"credentials": "{}"}, ["/account/credentials"]),
        (Channel.PUSH, {"credentials": None}, ["/account/credentials"]),
        (Channel.PUSH, {"static_token": "both"}, ["/account/credentials"]),
        (Channel.PUSH, {"url": "ftp://x"}, ["/account/url"]),
        (Channel.PUSH, {"connections": 0, "project": ""}, ["/account/connections", "/account/project"]),
        (Channel.EMAIL, {"port": "587"}, ["/account/port"]),
        (Channel.EMAIL, {"port": 0, "tls": "maybe"}, ["/account/tls", "/account/port"]),
        (Channel.EMAIL, {"from_address": "nobody"}, ["/account/from_address"]),
        (Channel.EMAIL, {"from_name": "A\r\nBcc: x"}, ["/account/from_name"]),
        (Channel.EMAIL, {"password": None}, ["/account/password"]),
        (Channel.EMAIL, {"hots": "x"}, ["/account/hots"]),
        (Channel.SMS, {"callback_url": "https://["}, ["/account/callback_url"]),
        (Channel.SMS, {"auth_token": ""}, ["/account/auth_token"]),
        (Channel.SMS, {"further_auth_tokens": ["x", ""]}, ["/account/further_auth_tokens/1"]),
        (Channel.WEBHOOK, {"secrets": []}, ["/account/secrets"]),
        (Channel.WEBHOOK, {"secrets": ["whsec_a2tra2tra2tra2tra2tra2tra2tra2tra2s=", "x"]}, ["/account/secrets/1"]),
    ],
)
def test_an_unusable_account_is_refused(channel: Channel, change: dict[str, object], pointers: list[str]) -> None:
    with pytest.raises(Invalid) as caught:
        read_account(channel, GOOD[channel] | change)
    assert [error.pointer for error in caught.value.errors] == pointers


def test_an_unknown_field_names_the_one_that_was_meant() -> None:
    with pytest.raises(Invalid, match=r"There is no hots in an account for email\. Did you mean 'host'\?"):
        read_account(Channel.EMAIL, GOOD[Channel.EMAIL] | {"hots": "x"})


def test_a_missing_field_is_named() -> None:
    with pytest.raises(Invalid) as caught:
        read_account(Channel.SMS, {"auth_token": "x"})
    assert "account_sid" in caught.value.detail


def test_traffic_goes_only_to_the_simulator() -> None:
    """Whatever is configured: the simulator's hosts, and none of the credentials."""
    for channel in Channel:
        account = simulated(channel, SIMULATOR, read_account(channel, GOOD[channel]), "http://127.0.0.1/callback")
        assert "geheim" not in str(split_secrets(channel, account))
        match account:
            case FcmAccount() | TwilioAccount():
                assert account.url.startswith(("https://127.0.0.1:", "http://127.0.0.1:"))
            case SmtpAccount():
                assert (account.host, account.from_address) == ("127.0.0.1", "shop@example.com")
            case WebhookAccount():
                assert account.allow_private


@pytest.mark.parametrize("channel", list(Channel))
def test_the_simulator_needs_no_account(channel: Channel) -> None:
    shown, secret = split_secrets(channel, simulated(channel, SIMULATOR, None, "http://127.0.0.1/callback"))
    assert read_account(channel, shown | {k: list(v) if isinstance(v, tuple) else v for k, v in secret.items()})


def test_the_callback_url_names_its_sender() -> None:
    url = callback_url("https://depesche.example/", 3, Mode.TEST, 9)
    assert url == "https://depesche.example/delivery/v1/callbacks/twilio?tenant=3&mode=test&sender=9"


VENDORS = {
    "ses": {"webhook_topics": ["arn:aws:sns:eu-central-1:123456789012:mail"]},
    "sendgrid": {"webhook_keys": [SendGrid().public]},
    "mailgun": {"webhook_keys": ["a-signing-key-of-length"]},
    "postmark": {"webhook_keys": ["user:a long password", "next:a long password"]},
    "sparkpost": {"webhook_keys": ["a-token-of-some-length"]},
    "brevo": {"webhook_keys": ["a-token-of-some-length"]},
}


@pytest.mark.parametrize("vendor", list(VENDORS))
def test_a_vendor_account_includes_its_webhook_keys(vendor: str) -> None:
    account = read_account(Channel.EMAIL, GOOD[Channel.EMAIL] | {"vendor": vendor, **VENDORS[vendor]})
    shown, secret = split_secrets(Channel.EMAIL, account)
    assert shown["vendor"] == vendor
    keys = VENDORS[vendor].get("webhook_keys", [])
    assert not any(key in json.dumps(shown) or key in repr(account) for key in keys)
    assert join_secrets(Channel.EMAIL, json.loads(json.dumps(shown)), json.loads(json.dumps(secret))) == account


@pytest.mark.parametrize(
    ("change", "pointers"),
    [
        ({"vendor": "pigeon"}, ["/account/vendor"]),
        *(({"vendor": vendor}, ["/account/webhook_keys"]) for vendor in VENDORS if vendor != "ses"),
        ({"vendor": "ses"}, ["/account/webhook_topics"]),
        (
            {"vendor": "ses", "webhook_topics": ["mail", VENDORS["ses"]["webhook_topics"][0]]},
            ["/account/webhook_topics/0"],
        ),
        ({"vendor": "ses", "webhook_keys": ["k" * 20], **VENDORS["ses"]}, ["/account/webhook_keys"]),
        (
            {"vendor": "sendgrid", "webhook_keys": ["not a key", "QUJD"]},
            ["/account/webhook_keys/0", "/account/webhook_keys/1"],
        ),
        ({"vendor": "sendgrid", "webhook_keys": [P384]}, ["/account/webhook_keys/0"]),
        ({"vendor": "brevo", "webhook_keys": ["short"]}, ["/account/webhook_keys/0"]),
        ({"vendor": "brevo", "webhook_topics": ["x"], **VENDORS["brevo"]}, ["/account/webhook_topics"]),
        ({"webhook_keys": ["k" * 20]}, ["/account/webhook_keys"]),
    ],
)
def test_a_vendor_with_unverifiable_webhooks_is_refused(change: dict[str, Any], pointers: list[str]) -> None:
    with pytest.raises(Invalid) as refused:
        read_account(Channel.EMAIL, GOOD[Channel.EMAIL] | change)
    assert [error.pointer for error in refused.value.errors] == pointers


def test_a_simulated_account_has_no_vendor() -> None:
    own = read_account(Channel.EMAIL, GOOD[Channel.EMAIL] | {"vendor": "brevo", **VENDORS["brevo"]})
    account = simulated(Channel.EMAIL, SIMULATOR, own, "https://depesche.example/x")
    assert isinstance(account, SmtpAccount)
    assert (account.vendor, account.webhook_keys) == (None, ())
