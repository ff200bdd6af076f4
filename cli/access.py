"""`depesche tenants`, `topics` and `keys`: who may call, for whom, and what customers subscribe to."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer

from cli.api import at
from cli.apply import TOPIC, add_apply
from cli.errors import UsageError
from cli.output import facts, table
from cli.session import Session, command

tenants = typer.Typer(help="Tenants: business units or brands.", no_args_is_help=True)
topics = typer.Typer(help="Topics that customers subscribe to.", no_args_is_help=True)
keys = typer.Typer(help="API keys of a tenant and mode.", no_args_is_help=True)

add_apply(topics, TOPIC)

_KEYS = "/access/v1/keys"
_TENANT = ("number", "name", "default_locale", "zone", "version", "changed_at=changed")
_TOPIC = ("name", "category", "active", "description", "version", "changed_at=changed")
_KEY = ("id", "name", "tenant", "mode", "state", "scopes", "expires_at=expires", "last_used_at=last used")

Locale = Annotated[str | None, typer.Option(help="Last in every locale chain: de, de-AT …")]
Zone = Annotated[str | None, typer.Option(help="Time zone of recipients without one: Europe/Berlin …")]


@command(tenants, "list", example="depesche tenants list --json")
def list_tenants(session: Session) -> None:
    """List the tenants that this key can see."""
    found = list(session.api.items("/access/v1/tenants"))
    session.give(found, lambda items: table(items, _TENANT))


@command(tenants, "create", example='depesche tenants create "Nordlicht" --default-locale de --zone Europe/Berlin')
def create_tenant(
    session: Session,
    name: Annotated[str, typer.Argument(help="Its name; must be unique.")],
    default_locale: Locale = None,
    zone: Zone = None,
) -> None:
    """Create a tenant; it gets the next number."""
    body = {"name": name, "default_locale": default_locale, "zone": zone}
    made = session.api.post("/access/v1/tenants", {field: value for field, value in body.items() if value})
    session.give(made, facts)


@command(tenants, "change", example="depesche tenants change 1 --name Nordlicht --default-locale de")
def change_tenant(
    session: Session,
    number: Annotated[int, typer.Argument(help="The tenant's number.")],
    name: Annotated[str | None, typer.Option(help="Its new name.")] = None,
    default_locale: Locale = None,
    zone: Zone = None,
) -> None:
    """Change a tenant's name, default locale or time zone."""
    path = f"/access/v1/tenants/{number}"
    current = session.api.call("GET", path)
    given = {"name": name, "default_locale": default_locale, "zone": zone}
    body = {field: given[field] or current.body[field] for field in given}
    session.give(session.api.put(path, body, etag=current.etag).body, facts)


@command(topics, "list", example="depesche topics list")
def list_topics(session: Session) -> None:
    """List the topics of the tenant and mode."""
    found = list(session.api.items("/access/v1/topics"))
    session.give(found, lambda items: table(items, _TOPIC, empty="No topics yet: depesche topics set NAME."))


@command(topics, "set", example='depesche topics set price-alerts --category marketing --description "A price fell"')
def set_topic(
    session: Session,
    name: Annotated[str, typer.Argument(help="Lower case: price-alerts.")],
    category: Annotated[str | None, typer.Option(help="transactional or marketing; cannot be changed later.")] = None,
    description: Annotated[
        str | None, typer.Option(help="For people: what customers receive under this topic.")
    ] = None,
    active: Annotated[bool | None, typer.Option(help="Whether new communications can be published under it.")] = None,
) -> None:
    """Create or change a topic."""
    path = TOPIC.at(name)
    current = session.api.fetch(path)
    before: dict[str, Any] = current.body if current else {"category": "marketing", "description": "", "active": True}
    given = {"category": category, "description": description, "active": active}
    body = {field: before[field] if value is None else value for field, value in given.items()}
    session.give(session.api.put(path, body, etag=current.etag if current else None).body, facts)


@command(keys, "list", example="depesche keys list --tenant 2")
def list_keys(
    session: Session,
    tenant: Annotated[int | None, typer.Option(help="Another tenant's; needs tenants:admin.")] = None,
    ended: Annotated[bool, typer.Option("--all", help="Include revoked and expired keys.")] = False,
) -> None:
    """List the tenant's keys of both modes."""
    found = [key for key in session.api.items(_KEYS, tenant=tenant) if ended or key["state"] == "active"]
    session.give(found, lambda items: table(items, _KEY))


@command(keys, "create", example='depesche keys create "shop" --scope events:send --scope events:read --days 365')
def create_key(
    session: Session,
    name: Annotated[str, typer.Argument(help="The system that will use it.")],
    scope: Annotated[list[str], typer.Option(help="A permission; repeat for more. `admin` permits everything.")],
    days: Annotated[int | None, typer.Option(help="Days until it expires; default: never.", min=1, max=36_500)] = None,
    tenant: Annotated[int | None, typer.Option(help="For another tenant; needs tenants:admin.")] = None,
    of_mode: Annotated[str | None, typer.Option("--for", help="live or test; default: this key's own mode.")] = None,
) -> None:
    """Create a key. Its text is shown only this once."""
    if of_mode not in (None, "live", "test"):
        raise UsageError(f"There is no mode {of_mode!r}.", hint="Write --for live or --for test.")
    body: dict[str, Any] = {"name": name, "scopes": scope, "tenant": tenant, "mode": of_mode}
    if days is not None:
        body["expires_at"] = datetime.now(UTC) + timedelta(days=days)
    made = session.api.post(_KEYS, {field: value for field, value in body.items() if value is not None})
    _give_made(session, made)


@command(keys, "rotate", example="depesche keys rotate 7mxq4zdkzt3la5vw --grace-hours 48")
def rotate_key(
    session: Session,
    id: Annotated[str, typer.Argument(help="The key's id, from `depesche keys list`.")],
    grace_hours: Annotated[
        float | None, typer.Option(help="Hours that the old key keeps working; default: 24.")
    ] = None,
) -> None:
    """Create a new key like this one; the old one keeps working for a while."""
    body = {} if grace_hours is None else {"grace_hours": grace_hours}
    _give_made(session, session.api.post(f"{at(_KEYS, id)}:rotate", body))


@command(keys, "revoke", example="depesche keys revoke 7mxq4zdkzt3la5vw")
def revoke_key(
    session: Session, id: Annotated[str, typer.Argument(help="The key's id, from `depesche keys list`.")]
) -> None:
    """Revoke a key; within five seconds no service accepts it any more."""
    session.give(session.api.delete(at(_KEYS, id)), facts)


def _give_made(session: Session, made: dict[str, Any]) -> None:
    session.give(made, facts)
    session.say("[yellow]Save the key now: it is stored nowhere and will not be shown again.[/]")
