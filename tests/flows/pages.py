"""The lists with a cursor, and rows for each of them.

Rows are written directly, because only so do dozens share one moment; columns that a list does not name get a plain
value of their type. What is sealed is made over HTTP.
"""

import json
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx

from libs.contracts.outcomes import Mode
from libs.contracts.reasons import Reason
from libs.ids import uuid7

A_PAGE = 2
THING = uuid7()  # what the rows of a nested list belong to
AN_HOUR = "date_trunc('hour', now())"  # all rows share it
AN_ID = f"('{str(THING)[:13]}' || substr(gen_random_uuid()::text, 14))::uuid"  # all begin with the same millisecond
A_NAME = "'n-' || lpad((n * 7919 % 1000)::text, 3, '0')"  # those added later lie between the others
PLAIN = {
    "uuid": AN_ID, "text": "'x'", "bytea": "sha256(random()::text::bytea)", "jsonb": "'{}'", "boolean": "false",
    "date": f"({AN_HOUR} at time zone 'utc')::date", "timestamp with time zone": AN_HOUR,
}  # fmt: skip
COLUMNS = """
select attname, format_type(atttypid, null), attnotnull and not atthasdef and attidentity = '' as needed
from pg_attribute where attrelid = $1::regclass and attnum > 0 and not attisdropped
"""
SEALED = "sealed"
OPERATORS = "an operator's key sees the facts of all tenants"


@dataclass(frozen=True)
class Rows:
    """A table, and columns as SQL; `n` is a row's number."""

    table: str
    columns: Mapping[str, str] = field(default_factory=dict)

    async def add(self, world: "World", numbers: Iterable[int], tenant: int = 1, mode: Mode = Mode.LIVE) -> None:
        connection = world.connection
        found = await connection.fetch(COLUMNS, self.table)
        values = {name: PLAIN.get(type_, "1") for name, type_, needed in found if needed}
        values |= {"tenant": str(tenant), "mode": str(int(mode))}
        values |= self.columns
        values |= {name: world.sealed for name, value in values.items() if value == SEALED}
        names = [name for name in values if name in {row[0] for row in found}]
        statement = f"insert into {self.table} ({', '.join(names)}) select {', '.join(values[name] for name in names)}"
        await connection.execute(f"{statement} from unnest($1::int[]) as t (n)", list(numbers))


@dataclass(frozen=True)
class Put:
    """Rows with sealed columns: made over HTTP. `at`: the path, with `{n}`."""

    at: str
    body: Mapping[str, Any]


@dataclass(frozen=True)
class Listed:
    """A list's rows, what they belong to, and what it is asked. `shared`: why strangers' rows are in it."""

    rows: Rows | Put
    owners: tuple[Rows, ...] = ()
    query: Mapping[str, str] = field(default_factory=dict)
    shared: str | None = None
    strangers: tuple[tuple[int, Mode], ...] = ((1, Mode.TEST), (2, Mode.LIVE))


def dead_letters(schema: str) -> Listed:
    return Listed(Rows(f"{schema}.dead_letter", {"payload": "'{}'", "created_at": AN_HOUR, "dead_at": AN_HOUR}))


A_DAY = {"day": PLAIN["date"], "count": "3", "last_at": AN_HOUR}
TENANT = Rows(
    "access.tenant",
    {"number": "2 + n * 7919 % 1000", "name": A_NAME, "default_locale": "'de'", "zone": "'UTC'"},
)
REPLAY = {
    "created_at": AN_HOUR,
    "asked": """'{"since": "2027-01-01T00:00:00Z", "until": "2027-02-01T00:00:00Z", "rules": "newest",
                  "settings": {}, "note": ""}'""",
}
READ = """'{"category": "mailbox-full", "rule": null, "policy": null}'"""
DRAFT = """'{"trigger": "order.placed", "category": "transactional",
             "plan": [{"mode": "all", "channels": [{"channel": "push", "template": "t"}]}]}'"""
BUNDLE = """'{"on_unknown": "leave", "plan": [], "templates": {}}'"""
COUNTED = (Rows("bounce.figure"),)  # names the tenants that reports are about
TYPE = Rows("history.term", {"word": "'action.recorded'"})
ACTIONS = Rows(
    "history.document", {"type": "(select max(id) from history.term)", "action": "'hold.place'", "actor": "'x'"}
)
REQUEST = Rows("history.request", {"id": f"'{THING}'", "communication": "(select max(id) from history.term)"})
LISTS: dict[str, Listed] = {
    "/access/v1/keys": Listed(
        Rows("access.api_key", {"id": "substr(md5(n::text), 1, 16)", "scopes": "'{admin}'"}),
        strangers=((2, Mode.LIVE),),  # it lists the keys of both modes
    ),
    "/access/v1/tenants": Listed(TENANT, shared="it lists tenants"),
    "/access/v1/topics": Listed(Rows("access.topic", {"name": A_NAME})),
    "/bounce/v1/bounces": Listed(Rows("bounce.bounce", {"category": "'unknown-user'", "at": AN_HOUR})),
    "/bounce/v1/bounces:feed": Listed(Rows("bounce.bounce", {"category": "'unknown-user'", "at": AN_HOUR})),
    "/bounce/v1/breakers": Listed(Rows("bounce.breaker", {"closed_at": AN_HOUR}), shared="providers are everybody's"),
    "/bounce/v1/mails": Listed(Rows("bounce.mail", {"received_at": AN_HOUR})),
    "/bounce/v1/replays": Listed(Rows("bounce.replay", REPLAY)),
    "/bounce/v1/replays/{id}/changes": Listed(
        Rows("bounce.replay_change", {"replay_id": f"'{THING}'", "ordinal": "n + 1", "was": READ, "becomes": READ}),
        (Rows("bounce.replay", {**REPLAY, "id": f"'{THING}'"}),),
    ),
    "/bounce/v1/reports/dead-rules": Listed(
        Rows("bounce.rule_hit", {**A_DAY, "rule": A_NAME}), COUNTED, shared=OPERATORS
    ),
    "/bounce/v1/reports/disagreements": Listed(
        Rows("bounce.opinion", {**A_DAY, "other": A_NAME}), COUNTED, shared=OPERATORS
    ),
    "/bounce/v1/reports/outdone-rules": Listed(
        Rows("bounce.rule_hit", {**A_DAY, "rule": f"'o' || {A_NAME}", "part": "1"}), COUNTED, shared=OPERATORS
    ),
    "/bounce/v1/reports/unread-texts": Listed(Rows("bounce.unread", A_DAY), COUNTED, shared=OPERATORS),
    "/bounce/v1/rule-sets": Listed(
        Rows("bounce.rule_set", {"number": "n + 1", "rules": "'[]'"}), shared="rules are the installation's"
    ),
    "/bounce/v1/rules": Listed(Rows("bounce.rule", {"id": A_NAME}), shared="rules are the installation's"),
    "/bounce/v1/rules/{id}/history": Listed(
        Rows("bounce.rule_version", {"rule_id": f"'{THING}'", "version": "n + 1"}),
        (Rows("bounce.rule", {"id": f"'{THING}'"}),),
        shared="rules are the installation's",
    ),
    "/bounce/v1/suppressions": Listed(
        Rows(
            "bounce.suppression",
            {"scope": "0", "reason": str(int(Reason.SUPPRESSED_BOUNCE)), "changed_at": AN_HOUR, "version": "1"},
        )
    ),
    "/bounce/v1/webhooks/{id}/attempts": Listed(
        Rows("bounce.webhook_attempt", {"webhook_id": f"'{THING}'"}),
        (Rows("bounce.webhook", {"id": f"'{THING}'", "kinds": "'{}'", "secrets": SEALED}),),
    ),
    "/delivery/v1/holds": Listed(Rows("delivery.hold", {"kind": "'cause'", "key": AN_ID, "active": "true"})),
    "/delivery/v1/senders": Listed(
        Put(
            "/delivery/v1/senders/{n}",
            {"name": "news", "channel": "webhook", "account": {"secrets": ["whsec_" + "A" * 32]}},
        )
    ),
    "/history/v1/actions": Listed(ACTIONS, (TYPE,)),
    "/history/v1/audit": Listed(ACTIONS, (TYPE,)),
    "/history/v1/timeline": Listed(
        Rows("history.transition", {"request_id": f"'{THING}'", "recipient": "'customer:1'", "status": "2"}),
        (TYPE, REQUEST),
        {"recipient": "customer:1"},
    ),
    "/orders-notification/v1/communications": Listed(
        Rows("orders_notification.communication", {"name": A_NAME, "definition": DRAFT})
    ),
    "/orders-notification/v1/communications/{name}/releases": Listed(
        Rows("orders_notification.release", {"communication": f"'{THING}'", "version": "n + 1", "bundle": BUNDLE}),
        (Rows("orders_notification.communication", {"name": f"'{THING}'", "definition": DRAFT}),),
    ),
    "/orders-notification/v1/event-types": Listed(Rows("orders_notification.event_type", {"type": A_NAME})),
    "/orders-notification/v1/events": Listed(Rows("orders_notification.event", {"decisions": "'[]'"})),
    "/orders-notification/v1/rejections": Listed(
        Rows("orders_notification.rejection", {"reason": str(int(Reason.SCHEMA_INVALID)), "errors": "'[]'"})
    ),
    "/orders-notification/v1/sources": Listed(
        Put("/orders-notification/v1/sources/n-{n}", {"shipped": "shopify", "secrets": ["hush-hush-hush"]}),
    ),
    "/templates/v1/templates": Listed(Rows("templates.template", {"name": A_NAME})),
    "/templates/v1/templates/{name}/versions": Listed(
        Rows("templates.template_version", {"name": f"'{THING}'", "version": "n + 1"}),
        (Rows("templates.template", {"name": f"'{THING}'"}),),
    ),
    "/tokens/v1/imports": Listed(Rows("tokens.import", {"state": "'done'", "started_at": AN_HOUR})),
    "/tokens/v1/imports/{id}/refusals": Listed(
        Rows(
            "tokens.import_refusal", {"import_id": f"'{THING}'", "row": "n / 3 + 1", "ordinal": "n % 3", "reason": "n"}
        ),
        (Rows("tokens.import", {"id": f"'{THING}'", "state": "'done'"}),),
    ),
    "/tokens/v1/recipients": Listed(Rows("tokens.recipient", {"key": f"'customer:' || {A_NAME}"})),
    "/tokens/v1/recipients/{key}/consents": Listed(
        Rows("tokens.consent_statement", {"recipient_id": "(select max(id) from tokens.recipient)", "topic": A_NAME}),
        (Rows("tokens.recipient", {"key": f"'customer:{THING}'"}),),
    ),
    **{
        f"/{schema.replace('_', '-')}/v1/dead-letters": dead_letters(schema)
        for schema in ("access", "bounce", "delivery", "history", "orders_notification", "templates", "tokens")
    },
}


@dataclass
class World:
    http: httpx.AsyncClient
    connection: Any
    keys: Mapping[Mode, str]
    sealed: str  # the secrets of a webhook that has none
    owners: list[Rows] = field(default_factory=list)  # that are there

    async def own(self, *owners: Rows) -> None:
        """Add what the rows of a list belong to, once."""
        for owner in owners:
            if owner not in self.owners:
                self.owners.append(owner)
                await owner.add(self, [0])

    async def add(self, listed: Listed, numbers: Iterable[int], tenant: int = 1, mode: Mode = Mode.LIVE) -> None:
        if isinstance(listed.rows, Rows):
            await listed.rows.add(self, numbers, tenant, mode)
            return
        for n in numbers:
            path = listed.rows.at.format(n=100 + n * 7919 % 1000)
            headers = {"authorization": f"Bearer {self.keys[mode]}"}
            answer = await self.http.put(path, json=dict(listed.rows.body), headers=headers)
            assert answer.status_code == 201, answer.text

    async def page(self, path: str, listed: Listed, **more: Any) -> tuple[list[str], str | None]:
        """Return the items as text, and the cursor of the next page."""
        path = path.format(id=THING, name=THING, key=f"customer:{THING}")
        given = {name: value for name, value in more.items() if value is not None}
        answer = await self.http.get(path, params={**listed.query, **given})
        assert answer.status_code == 200, answer.text
        body = answer.json()
        return [json.dumps(item, sort_keys=True) for item in body["items"]], body["next_cursor"]

    async def pages(self, path: str, listed: Listed) -> AsyncIterator[str]:
        """Yield the items of all pages, until there is no further one."""
        place: str | None = None
        while True:
            items, following = await self.page(path, listed, limit=A_PAGE, cursor=place)
            for item in items:
                yield item
            if following in (None, place):  # a feed's last page leads to itself
                return
            place = following
