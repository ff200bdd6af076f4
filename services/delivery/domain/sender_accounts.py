"""A sender's account as people write it, as it is stored (secrets apart), and as providers get it."""

from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from typing import Any
from urllib.parse import urlsplit

import msgspec

from libs.addresses import InvalidAddress, email_address
from libs.contracts.outcomes import Channel, Mode
from libs.errors import FieldError, Invalid
from libs.near import did_you_mean, near
from libs.standard_webhooks import secret_bytes
from services.delivery.domain.mail_vendors import WebhookKeys, key_problems
from services.delivery.domain.outbound import Account, FcmAccount, SmtpAccount, TwilioAccount, WebhookAccount
from services.delivery.domain.steering import SIMULATOR, SenderSetup

TYPES: Mapping[Channel, type[Account]] = {
    Channel.PUSH: FcmAccount,
    Channel.EMAIL: SmtpAccount,
    Channel.SMS: TwilioAccount,
    Channel.WEBHOOK: WebhookAccount,
}
SECRETS: Mapping[Channel, tuple[str, ...]] = {
    Channel.PUSH: ("credentials", "static_token"),
    Channel.EMAIL: ("password", "webhook_keys"),
    Channel.SMS: ("auth_token", "further_auth_tokens"),
    Channel.WEBHOOK: ("secrets",),
}
TLS = ("off", "opportunistic", "required", "implicit")
_MOST_CONNECTIONS = 100
_MOST_UNKNOWN = 20  # fields that are named in one error
_LONGEST_TIMEOUT = 60.0


def read_account(
    channel: Channel, document: Mapping[str, Any], pointer: str = "/account", *, longest: float = _LONGEST_TIMEOUT
) -> Account:
    """Parse and check the account. Raises Invalid naming each wrong field. `longest`: seconds that a call may take."""
    wanted = TYPES[channel]
    known = sorted(field.name for field in fields(wanted))
    errors = [
        FieldError(
            f"{pointer}/{name}",
            f"There is no {name} in an account for {channel.word}.{did_you_mean(near(name, known))} Remove it.",
        )
        for name in [name for name in document if name not in known][:_MOST_UNKNOWN]
    ]
    try:
        account = msgspec.convert(dict(document), type=wanted)
    except msgspec.ValidationError as error:
        text, _, place = str(error).partition(" - at `$")
        where = place.rstrip("`").replace(".", "/")
        raise Invalid.many([*errors, FieldError(pointer + where, f"{text.replace('`', '')}.")]) from error
    errors += [
        FieldError(f"{pointer}/{name}", detail) for name, detail in _problems(account, min(longest, _LONGEST_TIMEOUT))
    ]
    if errors:
        raise Invalid.many(errors)
    return account


def split_secrets(channel: Channel, account: Account) -> tuple[dict[str, Any], dict[str, Any]]:
    """Split the account into what may be shown and stored in the clear, and what is sealed."""
    whole = asdict(account)
    secret = {name: whole.pop(name) for name in SECRETS[channel] if name in whole}
    return whole, {name: value for name, value in secret.items() if value}


def join_secrets(channel: Channel, shown: Mapping[str, Any], secret: Mapping[str, Any]) -> Account:
    """Join the account's two halves; fields that a later version no longer knows are ignored."""
    return msgspec.convert({**shown, **secret}, type=TYPES[channel])


def same_setup(one: SenderSetup, other: SenderSetup) -> bool:
    """Whether two versions of a sender are the same, secrets included; an unreadable one differs."""
    bare = replace(one, account={}, secrets={}, version=other.version, changed_at=other.changed_at)
    if bare != replace(other, account={}, secrets={}) or one.kind == SIMULATOR:
        return bare == replace(other, account={}, secrets={})
    try:
        # typed: stored JSON has lists and exact numbers where an account has tuples and floats
        before, after = (join_secrets(s.channel, s.account, s.secrets) for s in (one, other))
    except msgspec.ValidationError:
        return False
    return before == after


def callback_url(public_url: str, tenant: int, mode: Mode, number: int, provider: str = "twilio") -> str:
    """Return the URL for a provider's reports; it names the sender whose keys verify the report."""
    path = f"/delivery/v1/callbacks/{provider}"
    return f"{public_url.rstrip('/')}{path}?tenant={tenant}&mode={mode.word}&sender={number}"


def _problems(account: Account, longest: float) -> list[tuple[str, str]]:
    problems = [
        (name, f"{name} must be a number from 1 to {most:g}.")
        for name, most in (("connections", _MOST_CONNECTIONS), ("timeout_seconds", longest))
        if not 0 < getattr(account, name) <= most
    ]
    match account:
        case FcmAccount():
            return problems + _fcm_problems(account)
        case SmtpAccount():
            return problems + _smtp_problems(account)
        case TwilioAccount():
            problems += _url("url", account.url) + _url("callback_url", account.callback_url)
            # with an empty token anybody could sign a callback
            return problems + [(name, "A token must not be empty.") for name, token in _tokens(account) if not token]
        case WebhookAccount():
            return problems + _webhook_problems(account)


def _fcm_problems(account: FcmAccount) -> list[tuple[str, str]]:
    problems = _url("url", account.url)
    if not account.project:
        problems.append(("project", "Give the id of the Firebase project."))
    if bool(account.credentials) == bool(account.static_token):
        problems.append(("credentials", "Give the service account's JSON (or static_token, for the simulator)."))
    if account.credentials:
        try:
            parsed = msgspec.json.decode(account.credentials)
        except msgspec.DecodeError:
            parsed = None
        if not isinstance(parsed, dict) or parsed.get("type") != "service_account":
            problems.append(("credentials", "This is not a service account; paste the whole JSON file from Google."))
    return problems


def _smtp_problems(account: SmtpAccount) -> list[tuple[str, str]]:
    problems: list[tuple[str, str]] = []
    if account.tls not in TLS:
        problems.append(("tls", f"tls must be one of {', '.join(TLS)}."))
    if not 0 < account.port < 65_536:
        problems.append(("port", "A port must be a number from 1 to 65,535."))
    if not account.host or not account.return_path_domain:
        problems.append(("host", "Give the relay's host and the domain that bounces come back to."))
    try:
        email_address(account.from_address)
    except InvalidAddress as error:
        problems.append(("from_address", error.detail))
    if any(ord(c) < 32 for c in f"{account.from_name or ''}{account.helo_name}{account.host}"):
        problems.append(("from_name", "Names must not contain line breaks or other control characters."))
    if bool(account.username) != bool(account.password):
        problems.append(("password", "username and password belong together; give both or neither."))
    return problems + _vendor_problems(account)


def _vendor_problems(account: SmtpAccount) -> list[tuple[str, str]]:
    keys = WebhookKeys(account.webhook_keys, account.webhook_topics)
    if account.vendor is not None:
        return key_problems(account.vendor, keys)
    named = [name for name, value in (("webhook_keys", keys.keys), ("webhook_topics", keys.topics)) if value]
    return [(name, f"{name} verifies a vendor's webhooks; give its vendor too.") for name in named]


def _tokens(account: TwilioAccount) -> list[tuple[str, str]]:
    further = [(f"further_auth_tokens/{n}", token) for n, token in enumerate(account.further_auth_tokens)]
    return [("auth_token", account.auth_token), *further]


def _webhook_problems(account: WebhookAccount) -> list[tuple[str, str]]:
    if not account.secrets:
        return [("secrets", "Give at least one secret: whsec_ followed by base64 of 24 or more random bytes.")]
    problems: list[tuple[str, str]] = []
    for number, secret in enumerate(account.secrets):
        try:
            secret_bytes(secret)
        except ValueError as error:
            problems.append((f"secrets/{number}", f"{error}."))
    return problems


def _url(name: str, value: str) -> list[tuple[str, str]]:
    try:
        parts = urlsplit(value)
        good = parts.scheme in ("https", "http") and bool(parts.hostname) and value.isascii() and " " not in value
    except ValueError:
        good = False
    return [] if good else [(name, f"{name} must be a URL like https://example.com.")]
