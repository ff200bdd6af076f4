"""`depesche senders`: the identities that messages come from. Secrets are given by reference and never shown."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from cli.api import Answer
from cli.apply import SENDER, add_apply
from cli.errors import UsageError
from cli.output import facts, table
from cli.session import Session, command
from libs import exact_json
from libs.errors import BadRequest

senders = typer.Typer(help="The identities that messages come from, by channel.", no_args_is_help=True)

SENDER_COLUMNS = (
    "number",
    "name",
    "channel",
    "provider",
    "rate_per_second=per second",
    "burst",
    "secrets",
    "changed_at=changed",
)
# the fields of accounts that the suite seals (services/delivery/domain/sender_accounts.py; a test compares them)
SECRET_FIELDS = frozenset(
    {"credentials", "static_token", "password", "auth_token", "further_auth_tokens", "secrets", "webhook_keys"}
)
# each --secret secrets=… adds one, the newest first
_SEVERAL = frozenset({"further_auth_tokens", "secrets", "webhook_keys"})
_MASK = "••••••••"

Number = Annotated[int, typer.Argument(help="Its number, which a communication's plan names.", min=1, max=32_767)]

add_apply(senders, SENDER)


@command(senders, "list", example="depesche senders list")
def list_senders(session: Session) -> None:
    """List senders by number; of their secrets, only the names."""
    found = list(session.api.items(SENDER.path))
    empty = "No sender is configured: messages go to the simulator. `depesche senders set` creates one."
    session.give(found, lambda items: table(items, SENDER_COLUMNS, empty=empty))


@command(senders, "show", example="depesche senders show 1")
def show_sender(session: Session, number: Number) -> None:
    """Show one sender with its account; secrets are masked."""
    session.give(session.api.get(SENDER.at(str(number))), _shown)


@command(
    senders,
    "set",
    example='depesche senders set 2 --name "Shop, mail" --channel email --account host=relay.example '
    "--account port=587 --account username=shop --account from_address=shop@shop.example "
    "--account return_path_domain=bounce.shop.example --secret password=env:RELAY_PASSWORD",
)
def set_sender(
    session: Session,
    number: Number,
    name: Annotated[str | None, typer.Option(help="Its name, for people.")] = None,
    channel: Annotated[str | None, typer.Option(help="push, email, sms or webhook; cannot be changed later.")] = None,
    account: Annotated[
        list[str] | None,
        typer.Option(help='FIELD=VALUE of the provider\'s account; may be repeated. JSON (587, true, "1") or text.'),
    ] = None,
    secret: Annotated[
        list[str] | None,
        typer.Option(help="FIELD=env:NAME or FIELD=file:PATH; may be repeated. Unchanged if left out."),
    ] = None,
    simulator: Annotated[bool, typer.Option("--simulator", help="Use the simulator and remove the account.")] = False,
    rate: Annotated[float | None, typer.Option(help="Messages per second; 0: no limit.", min=0)] = None,
    burst: Annotated[float | None, typer.Option(help="Messages at once; 0: one second's worth.", min=0)] = None,
) -> None:
    """Create a sender, or change its given fields. Workers use it within five seconds."""
    given = {**_pairs(account or ()), **_secrets(secret or ())}
    if simulator and given:
        raise UsageError("A simulator sender has no account; leave --account and --secret out.")
    current = session.api.fetch(SENDER.at(str(number)))
    before: dict[str, Any] = current.body if current else {}
    body: dict[str, Any] = {
        "name": name or before.get("name"),
        "channel": channel or before.get("channel"),
        "rate_per_second": before.get("rate_per_second") if rate is None else rate or None,
        "burst": before.get("burst") if burst is None else burst or None,
    }
    if missing := [f"--{option}" for option in ("name", "channel") if not body[option]]:
        raise UsageError(f"There is no sender {number} yet: a new one needs {' and '.join(missing)}.")
    if not simulator:
        body["account"] = _account(current, body["channel"], given)
    session.give(session.api.put(SENDER.at(str(number)), body, etag=current.etag if current else None).body, _shown)


def _account(current: Answer | None, channel: str, given: dict[str, Any]) -> dict[str, Any] | None:
    """Return the account with the given fields applied; None if there is none, and none was given."""
    same = current is not None and current.body["provider"] == "provider" and current.body["channel"] == channel
    before = current.body["account"] if current is not None and same else {}
    whole = {field: value for field, value in {**before, **given}.items() if value is not None}
    return whole or None


def _pairs(given: Sequence[str]) -> dict[str, Any]:
    pairs: dict[str, Any] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if name in SECRET_FIELDS:
            raise UsageError(f"{name} is a secret; give it with --secret {name}=env:NAME or {name}=file:PATH.")
        if not equals or not name:
            raise UsageError(f"{text!r} is not FIELD=VALUE.")
        pairs[name] = _value(value)
    return pairs


def _value(text: str) -> Any:
    try:
        return exact_json.loads(text)
    except BadRequest:
        return text  # a host, a number with a plus: not JSON


def _secrets(given: Sequence[str]) -> dict[str, Any]:
    secrets: dict[str, Any] = {}
    for text in given:
        name, _, reference = text.partition("=")
        if name not in SECRET_FIELDS:
            raise UsageError(f"--secret is for {', '.join(sorted(SECRET_FIELDS))}.")
        value = _referred(name, reference)
        if name in _SEVERAL:
            secrets.setdefault(name, []).append(value)
        else:
            secrets[name] = value
    return secrets


def _referred(name: str, reference: str) -> str:
    scheme, _, place = reference.partition(":")
    if scheme == "env" and place:
        if (value := os.environ.get(place)) is None:
            raise UsageError(f"The environment has no variable {place}.")
        return value
    if scheme == "file" and place:
        try:
            return Path(place).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"{place} cannot be read: {error}.") from error
    # the value is not repeated: it may be the secret itself
    raise UsageError(
        f"Give a secret by reference: --secret {name}=env:NAME or {name}=file:PATH.",
        hint="On the command line it would stay in the shell's history and be visible in the process list.",
    )


def _shown(sender: dict[str, Any]) -> Any:
    whole = {name: value for name, value in sender.items() if name not in ("account", "secrets")}
    account = {**sender["account"], **dict.fromkeys(sender["secrets"], _MASK)}
    return facts(whole | {f"account {name}": value for name, value in account.items()})
