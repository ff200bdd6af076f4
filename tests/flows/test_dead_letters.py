"""People work with dead letters: find, read, replay and discard them, over HTTP and by command."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from cli.exits import Exit
from libs.auth import Principal
from libs.contracts.access import TenantChanged
from libs.contracts.audit import ActionRecorded
from libs.contracts.envelope import Envelope, decode
from libs.contracts.outcomes import Mode
from libs.errors import Invalid
from libs.messaging.bus import Subscriber
from libs.messaging.dead_letters import DeadLetters, Wanted
from libs.messaging.outbox import Outgoing, append
from libs.messaging.postgres import Relay
from libs.messaging.routes import Intake
from libs.service import Runtime, Service
from libs.storage.database import Database
from services.access.app import create_service
from tests.flows.scripted_suite import KEY
from tests.shell import Shell, mounted, serving

SCOPES = frozenset({"dead-letters:read", "dead-letters:write"})
PATH = "/access/v1/dead-letters"
KIM = "kim@shop.example"


class Listener:
    """Refuses everything until its cause is fixed."""

    def __init__(self, app_id: str, reason: str = "there is no such thing") -> None:
        self.app_id = app_id
        self.reason: str | None = reason
        self.taken: list[int] = []

    async def __call__(self, batch: Sequence[Envelope]) -> None:
        if self.reason:
            raise Invalid(self.reason)
        self.taken += [envelope.data.number for envelope in batch]

    def subscriber(self) -> Subscriber:
        return Subscriber(self.app_id, TenantChanged.TYPE, self)


class Suite:
    """access with listeners of its events, its relay at hand, and a reader whose scopes can be set."""

    def __init__(self, service: Service) -> None:
        assert service.database is not None
        self.database: Database = service.database
        self.scopes = SCOPES
        self.owners: dict[str, tuple[int, Mode]] = {}  # keys other than those of tenant 1, live
        self.steady, self.strict = Listener("steady"), Listener("strict", f"{KIM} is not welcome")
        self.steady.reason = None
        self.relay = Relay(self.database, [self.steady.subscriber(), self.strict.subscriber()])
        self.shell = Shell({})

    async def publish(self, *numbers: int, tenant: int = 1, mode: Mode = Mode.LIVE) -> None:
        """Change tenants; `strict` fails on these events."""
        events = [TenantChanged(number=n, name=f"of {KIM}", default_locale="de", version=1) for n in numbers]
        async with self.database.transaction() as connection:
            await append(connection, [Outgoing(e, str(e.number), tenant, int(mode), subject=KIM) for e in events])
        await self.relay.publish_once()

    async def deliver(self) -> None:
        """Deliver the owed events now."""
        async with self.database.acquire() as connection:
            await connection.execute("update outbox_delivery set due_at = now()")
        await self.relay.redeliver_once()

    async def audit(self) -> list[ActionRecorded]:
        async with self.database.acquire() as connection:
            rows = await connection.fetch("select payload, entries from outbox where type = 'action.recorded'")
        bodies = [body for row in rows for body in _events(row)]
        return [decode(ActionRecorded.TYPE, json.dumps(body).encode()) for body in bodies]

    async def run(self, *words: str, **options: Any) -> Any:
        """Run a command in a thread: the service is on this loop's database, the command on a socket."""
        return await asyncio.to_thread(self.shell.json, "deadletters", *words, "--service", "access", **options)


def _events(row: Any) -> list[Any]:
    payload = json.loads(row["payload"])
    return [payload] if row["entries"] == 1 else [item["data"] for item in payload]


@pytest.fixture
async def suite(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Suite]:
    service = create_service(runtime)
    made: list[Suite] = []

    async def ask(key: str) -> Principal:
        return Principal(*made[0].owners.get(key, (1, Mode.LIVE)), "key-1", made[0].scopes)

    runtime.keys.ask = ask
    for name in ("DEPESCHE_URL", "DEPESCHE_KEY", "DEPESCHE_MODE"):
        monkeypatch.delenv(name, raising=False)
    database = runtime.database("access", max_size=8)
    await database.open()
    with serving(mounted(service)) as url:
        suite = Suite(service)
        suite.database = suite.relay.database = database
        suite.shell = Shell({"DEPESCHE_URL": url, **KEY})
        made.append(suite)
        yield suite
    await database.close()


async def test_what_was_mended_is_replayed_to_the_one_that_could_not_take_it(suite: Suite) -> None:
    await suite.publish(1, 2, 3)
    assert (suite.steady.taken, suite.strict.taken) == ([1, 2, 3], [])
    assert len(await suite.run("list")) == 3
    suite.strict.reason = None
    assert await suite.run("replay", "--subscriber", "strict") == {"replayed": 3}
    await suite.deliver()
    assert (suite.steady.taken, sorted(suite.strict.taken)) == ([1, 2, 3], [1, 2, 3])
    assert await suite.run("list") == []
    said = await suite.audit()
    assert {(action.actor, action.action) for action in said} == {("key-1", "dead-letter.replay")}
    assert len(said) == 3


async def test_what_fails_again_comes_back_with_what_it_fails_for_now(suite: Suite) -> None:
    await suite.publish(1)
    suite.strict.reason = "still not"
    assert await suite.run("replay", "--type", "tenant.changed") == {"replayed": 1}
    await suite.deliver()
    (letter,) = await suite.run("list")
    assert "still not" in letter["reason"]
    assert suite.steady.taken == [1]


async def test_two_that_could_not_take_an_event_get_it_once_each(suite: Suite) -> None:
    suite.steady.reason = "not today"
    await suite.publish(1)
    assert len(await suite.run("list")) == 2
    suite.steady.reason = suite.strict.reason = None
    assert await suite.run("replay", "--type", "tenant.changed") == {"replayed": 2}
    await suite.deliver()
    assert (suite.steady.taken, suite.strict.taken) == ([1], [1])


async def test_letters_are_chosen_by_id_subscriber_and_words_of_the_reason(suite: Suite) -> None:
    await suite.publish(1, 2)
    suite.strict.reason = "Another cause"
    await suite.publish(3)
    first = (await suite.run("list"))[0]
    assert "Another cause" in first["reason"]
    assert len(await suite.run("list", "--reason", "NOT WELCOME")) == 2
    assert await suite.run("list", "--subscriber", "steady") == []
    groups = await suite.run("groups")
    assert [(group["subscriber"], group["count"]) for group in groups] == [("strict", 2), ("strict", 1)]
    assert await suite.run("discard", first["id"], "--note", "a test") == {"discarded": 1}
    assert await suite.run("discard", first["id"], "--note", "a test") == {"discarded": 0}
    assert await suite.run("discard", "--reason", "welcome", "--note", "test data") == {"discarded": 2}
    assert {action.note for action in await suite.audit()} == {"a test", "test data"}
    assert await suite.run("list") == []
    await suite.deliver()
    assert suite.strict.taken == []


async def test_texts_are_hidden_from_who_may_not_see_personal_data(suite: Suite) -> None:
    await suite.publish(7)
    (listed,) = await suite.run("list")
    masked = await suite.run("show", listed["id"])
    assert KIM not in json.dumps([listed, masked])
    assert (masked["payload"]["number"], masked["payload"]["name"]) == (7, "…")
    assert "not welcome" in masked["reason"]
    suite.scopes = SCOPES | {"pii:read"}
    suite.shell.environment["DEPESCHE_KEY"] = "dp_live_another"  # keys are cached for seconds
    whole = await suite.run("show", listed["id"])
    assert whole["payload"]["name"] == f"of {KIM}"
    assert KIM in whole["reason"]


async def test_each_tenant_and_mode_has_its_own(suite: Suite) -> None:
    await suite.publish(1)
    await suite.publish(2, tenant=2)
    await suite.publish(3, mode=Mode.TEST)
    assert len(await suite.run("list")) == 1
    assert await suite.run("replay", "--subscriber", "strict") == {"replayed": 1}
    async with suite.database.acquire() as connection:
        assert await connection.fetchval("select count(*) from dead_letter") == 2


async def test_many_are_replayed_to_the_last_and_none_twice(suite: Suite, monkeypatch: pytest.MonkeyPatch) -> None:
    """Events that fail again while a long replay runs are not replayed by it again."""
    await suite.publish(*range(25))
    letters = DeadLetters(suite.database, "access")
    principal = Principal(1, Mode.LIVE, "key-1")
    first = await letters.replay(principal, Wanted(1, 1, type="tenant.changed"), 10, datetime.now(UTC))
    assert (len(first.ids), first.at is not None) == (10, True)
    await suite.deliver()  # they fail again, and come back younger
    rest = Wanted(1, 1, type="tenant.changed", until=first.at)
    counts = [len((await letters.replay(principal, rest, 10, datetime.now(UTC))).ids) for _ in range(3)]
    assert counts == [10, 5, 0]


async def test_pages_follow_one_another(suite: Suite) -> None:
    await suite.publish(*range(7))
    async with suite.database.acquire() as connection:  # died at the same moment: the id decides
        await connection.execute("update dead_letter set dead_at = $1", datetime.now(UTC) - timedelta(hours=1))
    api = suite.shell
    assert len({letter["id"] for letter in await suite.run("list", "--limit", "5")}) == 5
    found = await asyncio.to_thread(_all, api.environment["DEPESCHE_URL"], api.environment["DEPESCHE_KEY"])
    assert len(found) == len(set(found)) == 7


def _all(url: str, key: str) -> list[str]:
    from cli.api import Api

    ids: list[str] = []
    api, cursor = Api(url, key), None
    while True:
        page = api.get(PATH, limit=3, cursor=cursor)
        ids += [item["id"] for item in page["items"]]
        if not (cursor := page["next_cursor"]):
            return ids


async def test_who_names_none_is_told_how(suite: Suite) -> None:
    said = await suite.run("replay", exit_code=Exit.USAGE)
    assert "deadletters groups" in said["hint"]
    assert (await suite.run("show", str(uuid4()), exit_code=Exit.NOT_FOUND))["hint"]
    refused = await suite.run("list", "--limit", "5", "--type", "x" * 300, exit_code=Exit.REFUSED)
    assert refused["exit_code"] == Exit.REFUSED


async def test_an_event_that_nobody_of_that_name_wants_any_more_is_kept_not_dropped(suite: Suite) -> None:
    await suite.publish(1)
    await suite.run("replay", "--subscriber", "strict")
    suite.relay = Relay(suite.database, [suite.steady.subscriber()])
    await suite.deliver()
    (letter,) = await suite.run("list")
    assert letter["reason"] == "strict no longer subscribes to tenant.changed"


async def test_what_could_not_be_read_is_seen_and_discarded_by_who_operates_the_suite_alone(suite: Suite) -> None:
    intake = Intake("access", suite.database, [suite.strict.subscriber()])
    assert await intake.take(["no event", {"type": "tenant.changed", "tenant": 1}]) == "SUCCESS"
    await suite.publish(1)
    suite.owners = {"dk_live_two": (2, Mode.LIVE), "dk_test_one": (1, Mode.TEST)}
    for key in suite.owners:
        assert await suite.run("list", DEPESCHE_KEY=key) == []
        refused = await suite.run("discard", "--reason", "unreadable", "--note", "mine", DEPESCHE_KEY=key)
        assert refused == {"discarded": 0}
    letters = await suite.run("list")
    assert sorted(letter["tenant"] for letter in letters) == [0, 0, 1]
    assert {group["count"] for group in await suite.run("groups")} == {1}
    one, two = (letter["id"] for letter in letters if letter["tenant"] == 0)
    assert {(await suite.run("show", id_))["id"] for id_ in (one, two)} == {one, two}

    refused = await asyncio.to_thread(
        suite.shell.run, "deadletters", "replay", one, "--service", "access", exit_code=None
    )
    assert refused.exit_code not in (0, None)
    assert "could not be read" in refused.output
    suite.strict.reason = None
    replayed = await asyncio.to_thread(
        suite.shell.run, "deadletters", "replay", "--subscriber", "access", "--service", "access"
    )
    assert "2 more are unreadable" in replayed.output
    assert len(await suite.run("list")) == 3

    assert await suite.run("discard", one, "--note", "a cut line") == {"discarded": 1}
    assert await suite.run("discard", "--reason", "unreadable", "--note", "the same") == {"discarded": 1}
    assert [letter["tenant"] for letter in await suite.run("list")] == [1]
    said = await suite.audit()
    assert [(action.action, action.actor) for action in said] == [("dead-letter.discard", "key-1")] * 2
