"""The command line against the whole suite: a shop's definitions, customers and events, and every query about them.

The suite runs once for all tests of this file, with its loops, but without a simulator: the scenarios end before a
provider is called, or wait behind a hold.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import structlog
from fastapi import FastAPI
from pydantic import SecretStr

from cli.exits import Exit
from libs import credentials
from libs.keyring import keyring_of
from libs.storage.embedded import EmbeddedServer
from libs.suite import SuiteSettings
from libs.telemetry import configure_logs
from services.__main__ import build, create_app, running, runtime_of, service_roles, work
from services.access.app import ensure_first
from tests.compiled import compiled_rules
from tests.shell import Shell, serving

SHOP = Path(__file__).parents[2] / "examples" / "shop"


@pytest.fixture(scope="module")
def shell(postgres: EmbeddedServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    folder = tmp_path_factory.mktemp("suite")
    dsn = asyncio.run(_fresh_database(postgres))
    compiled_rules()
    settings = SuiteSettings(data_dir=folder, dsn=SecretStr(dsn), simulator=False)
    before = structlog.get_config()
    configure_logs(service="suite", level="critical")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DEPESCHE_BOUNCE_SMTP_PORT", "0")
        patch.setenv("DEPESCHE_HISTORY_ASK_SECONDS", "60")  # else a verdict lacks what comes after two seconds
        for name in ("DEPESCHE_URL", "DEPESCHE_KEY", "DEPESCHE_MODE"):
            patch.delenv(name, raising=False)
        keyring = keyring_of(folder)
        asyncio.run(ensure_first(runtime_of(settings, keyring)))
        services = build(settings, keyring)

        @asynccontextmanager
        async def lifespan(_: FastAPI) -> AsyncIterator[None]:
            stop = asyncio.Event()
            async with running(services):
                working = asyncio.create_task(work(services, stop))
                yield
                stop.set()
                await working

        suite = FastAPI(lifespan=lifespan)
        suite.mount("/", create_app(services, server="http://suite"))
        with serving(suite) as url:
            path = folder / credentials.FILE_NAME
            found = credentials.read(path)
            assert found is not None
            credentials.write(path, credentials.Credentials(url, found.keys))
            yield Shell({"DEPESCHE_DATA_DIR": str(folder), "DEPESCHE_DSN": dsn, "DEPESCHE_SIMULATOR": "false"})
    structlog.configure(**before)  # other files run in this process


async def _fresh_database(postgres: EmbeddedServer) -> str:
    connection = await asyncpg.connect(postgres.dsn)
    await connection.execute("create database test_cli template migrated")
    await connection.close()
    return postgres.dsn_of("test_cli")


@pytest.fixture(scope="module")
def shop(shell: Shell) -> Shell:
    """The suite with the example shop applied and published."""
    done = shell.json("apply", str(SHOP), "--publish")
    assert {outcome["result"] for outcome in done["outcomes"]} == {"created"}
    assert {item["result"] for item in done["published"]} == {"published"}
    return shell


def send(shop: Shell, folder: Path, *events: dict[str, Any], exit_code: int = 0) -> Any:
    file = folder / "events.ndjson"
    head = {"specversion": "1.0", "source": "/shop"}
    file.write_text("".join(json.dumps(head | event) + "\n" for event in events))
    return shop.json("events", "send", str(file), exit_code=exit_code)


def shipped(order: str, customer: str, carrier: str = "dhl") -> dict[str, Any]:
    data = {"customer": customer, "order_id": 1, "carrier": carrier, "tracking_url": "https://track.example/1"}
    return {"type": "parcel.shipped", "id": f"shipped-{order}", "subject": order, "data": data}


def until(asked: Callable[[], Any], true: Callable[[Any], bool]) -> Any:
    """Poll until it is true, for two minutes at most; return the last answer."""
    deadline = time.monotonic() + 120
    while not true(answer := asked()):
        assert time.monotonic() < deadline, answer
        time.sleep(0.1)
    return answer


def test_applying_the_shop_again_changes_nothing(shop: Shell) -> None:
    again = shop.json("apply", str(SHOP), "--publish")
    assert {outcome["result"] for outcome in again["outcomes"]} == {"unchanged"}
    assert again["published"] == []


def test_what_is_exported_applies_unchanged(shop: Shell, tmp_path: Path) -> None:
    for kind in ("templates", "communications"):
        file = tmp_path / f"{kind}.yaml"
        shop.run(kind, "export", "-o", str(file))
        outcomes = shop.json(kind, "apply", str(file))["outcomes"]
        assert {outcome["result"] for outcome in outcomes} == {"unchanged"}, outcomes


def test_a_template_that_would_fail_is_refused_with_its_line(shop: Shell, tmp_path: Path) -> None:
    file = tmp_path / "t.yaml"
    file.write_text("name: bad.push\nchannel: push\nlocales:\n  en:\n    title: '{{ x'\n    body: b\n")
    shop.run("templates", "apply", str(file), exit_code=None)
    refused = shop.run("templates", "publish", "bad.push", exit_code=None)
    assert refused.exit_code in (Exit.REFUSED, Exit.NOT_FOUND)
    assert "bad.push" in refused.stderr


def test_a_preview_shows_the_words(shop: Shell, tmp_path: Path) -> None:
    event = tmp_path / "event.json"
    event.write_text(json.dumps({"subject": "A-7", "data": shipped("A-7", "customer:1")["data"]}))
    shown = shop.run("templates", "preview", "parcel-shipped.push", "--locale", "de", "--event", str(event)).stdout
    assert "Dein Paket ist unterwegs" in shown
    assert "dhl hat Bestellung A-7" in shown


def test_a_preview_invents_an_event_of_a_type(shop: Shell) -> None:
    shop.run("templates", "preview", "order-confirmation.email", exit_code=Exit.REFUSED)
    shown = shop.run("templates", "preview", "order-confirmation.email", "--event-type", "order.placed").stdout
    assert "thank you for your order sample" in shown
    shop.run("templates", "preview", "order-confirmation.email", "--event-type", "no.type", exit_code=Exit.NOT_FOUND)


def test_why_explains_a_false_condition_and_an_unknown_recipient(shop: Shell, tmp_path: Path) -> None:
    counts = send(shop, tmp_path, shipped("W-1", "customer:1", "pickup"), shipped("W-2", "customer:nobody"))
    assert (counts["accepted"], counts["notifications"]) == (2, 1)
    why = until(
        lambda: shop.json("why", "--order", "W-1", exit_code=None), lambda answer: answer["verdict"] == "not_sent"
    )
    assert why["reason"] == "condition_false"
    why = until(
        lambda: shop.json("why", "--order", "W-2", exit_code=None), lambda answer: answer["verdict"] == "not_sent"
    )
    assert why["reason"] == "no_recipient"
    text = shop.run("why", "--order", "W-2", exit_code=Exit.REFUSED).stdout
    assert "There is no recipient with this key." in text
    assert "→ Import the recipient" in text


def test_the_audit_is_searched_and_counted(shop: Shell, tmp_path: Path) -> None:
    send(shop, tmp_path, shipped("AU-1", "customer:1", "pickup"))
    asked = ("audit", "search", "--order", "AU-1", "--from", "1h", "--where", "kind=decision")
    (decision,) = until(lambda: shop.json(*asked), lambda found: len(found) == 1)
    assert (decision["reason"], decision["communication"]) == ("condition_false", "parcel-shipped")
    assert "condition_false" in shop.run(*asked).stdout
    counts = shop.json("audit", "counts", "--by", "hour", "--by", "reason", "--where", "kind=decision", "--from", "1h")
    assert "condition_false" in {group["values"]["reason"] for group in counts["groups"]}
    refused = shop.run("audit", "search", "--where", "colour=red", exit_code=Exit.REFUSED)
    assert "colour" in refused.stderr


def test_why_says_that_nothing_ever_arrived(shop: Shell) -> None:
    answer = shop.json("why", "--order", "never", exit_code=Exit.REFUSED)
    assert (answer["verdict"], answer["lost_at"]) == ("no_trace", "source")


def test_an_event_that_does_not_fit_is_kept_and_can_be_replayed(shop: Shell, tmp_path: Path) -> None:
    bad = shipped("R-1", "customer:1", "pickup")
    del bad["data"]["tracking_url"]
    counts = send(shop, tmp_path, bad, exit_code=Exit.REFUSED)
    assert counts["refused"][0]["line"] == 1
    assert counts["refused"][0]["pointer"].startswith("/data")
    kept = shop.json("rejections", "list", "--type", "parcel.shipped")
    assert [item["subject"] for item in kept] == ["R-1"]
    assert shop.json("rejections", "replay", kept[0]["id"], exit_code=Exit.REFUSED)["rejected"] == 1


def test_a_replay_without_ids_reaches_all_of_them(shop: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cli.events._REPLAYED_AT_ONCE", 1)
    bad = [shipped(f"R-{number}", "customer:1", "pickup") for number in (2, 3, 4)]
    for one in bad:
        del one["data"]["tracking_url"]
    send(shop, tmp_path, *bad, exit_code=Exit.REFUSED)
    done = shop.json("rejections", "replay", "--type", "parcel.shipped", exit_code=Exit.REFUSED)
    assert done["rejected"] == len(done["results"]) >= len(bad)


def test_recipients_are_imported_shown_and_erased(shop: Shell, tmp_path: Path) -> None:
    file = tmp_path / "c.csv"
    file.write_text("customer_id;first_name;email\n1;Jörg;joerg@example.com\n2;Kim;no address\n", encoding="latin-1")
    report = shop.json("recipients", "import", str(file), exit_code=Exit.REFUSED)
    assert (report["created"], report["refused"], report["refusals"][0]["line"]) == (1, 1, 3)
    assert "joerg@example.com" in shop.run("recipients", "show", "customer:1").stdout
    shop.run("recipients", "erase", "customer:1", "--yes")
    shop.run("recipients", "show", "customer:1", exit_code=Exit.NOT_FOUND)


def test_all_that_is_known_about_a_recipient_is_one_document(shop: Shell, tmp_path: Path) -> None:
    file, out = tmp_path / "c.ndjson", tmp_path / "ada.json"
    file.write_text('{"key": "customer:ada", "first_name": "Ada", "emails": ["ada@example.com"]}\n')
    shop.run("recipients", "import", str(file))
    send(shop, tmp_path, shipped("EX-1", "customer:ada"), shipped("EX-2", "customer:nobody"))
    until(lambda: shop.json("timeline", "--order", "EX-1")["items"], bool)
    out.touch(0o644)
    shop.run("recipients", "export", "customer:ada", "--out", str(out))
    document = json.loads(out.read_text())
    assert out.stat().st_mode & 0o077 == 0, "others may read it"
    assert document["recipient"]["emails"][0]["value"] == "ada@example.com"
    assert [event["subject"] for event in document["events"]] == ["EX-1"]
    assert document["events"][0]["data"]["tracking_url"] == "https://track.example/1"
    assert {entry["order"] for entry in document["timeline"]} - {None} == {"EX-1"}
    assert {record["recipient"] for record in document["audit"]} == {"customer:ada"}
    assert shop.json("recipients", "export", "customer:ada")["recipient"] == document["recipient"]


def test_a_hold_stops_shows_and_lets_go(shop: Shell, tmp_path: Path) -> None:
    send(shop, tmp_path, shipped("H-0", "customer:nobody"))
    until(lambda: shop.json("why", "--order", "H-0", exit_code=None), lambda a: a["reason"] == "no_recipient")
    shop.run("holds", "place", "tenant", "1", "--note", "testing")
    send(shop, tmp_path, shipped("H-1", "customer:nobody"))
    held = until(lambda: shop.json("status"), lambda status: status["held_chunks"] > 0)
    assert [hold["note"] for hold in held["holds"]] == ["testing"]
    shown = shop.run("status").stdout
    assert "testing" in shown
    assert any(one["reason"] in shown for one in held["reasons"] if one["reason"] != "none")  # the most frequent ones
    answer = until(lambda: shop.json("why", "--order", "H-1", exit_code=None), lambda a: a["reason"] == "held")
    assert answer["verdict"] == "not_yet"
    shop.run("holds", "lift", "tenant", "1")
    assert shop.json("holds", "list") == []
    done = until(lambda: shop.json("why", "--order", "H-1", exit_code=None), lambda a: a["verdict"] == "not_sent")
    assert done["reason"] == "no_recipient"


def test_a_suppression_is_placed_listed_and_lifted(shop: Shell) -> None:
    placed = shop.json("suppressions", "add", "kim@example.com", "--note", "asked by phone")
    listed = shop.json("suppressions", "list", "--address", "KIM@example.com")
    assert [item["id"] for item in listed] == [placed["id"]]
    shop.run("suppressions", "lift", placed["id"], "--note", "wrote to us")
    assert shop.json("suppressions", "list", "--address", "kim@example.com") == []


def test_who_changed_what_can_be_seen(shop: Shell) -> None:
    found = until(lambda: shop.json("actions", "--action", "topic.put"), lambda items: len(items) >= 2)
    assert {item["object"] for item in found} >= {"price-alerts", "back-in-stock"}


def test_a_source_is_tried_before_it_is_used(shop: Shell, tmp_path: Path) -> None:
    source, body = tmp_path / "s.yaml", tmp_path / "body.json"
    source.write_text(
        "name: cart\nverification: {scheme: hmac-hex, header: X-Signature}\nsecrets: [hush-hush-hush]\n"
        "mapping: {type: '\"cart.left\"', id: body.id, recipient: body.customer}\n"
    )
    body.write_text('{"id": "c-1", "customer": "4711"}')
    assert shop.json("sources", "apply", str(source))["outcomes"][0]["result"] == "created"
    assert shop.json("sources", "apply", str(source))["outcomes"][0]["result"] == "unchanged"
    shown = shop.run("sources", "test", "cart", str(body)).stdout
    assert "cart.left" in shown
    assert "customer:4711" in shown
    assert "hush" not in shop.run("sources", "show", "cart", "--json").stdout


def test_doctor_finds_a_suite_that_runs_well(shop: Shell) -> None:
    report = shop.json("doctor")
    assert report["healthy"], report
    assert {finding["check"] for finding in report["findings"]} >= {
        "python",
        "data folder",
        "postgres",
        "clock",
        "migrations",
        "pending messages without work",
        "held work without a hold",
    }


def test_doctor_names_what_is_wrong_and_what_to_do(shop: Shell) -> None:
    result = shop.run("doctor", exit_code=Exit.REFUSED, DEPESCHE_DSN="postgresql://nobody@127.0.0.1:9/none")
    assert "it does not answer" in result.stdout
    assert "→ Start it, or check DEPESCHE_DSN" in result.stdout


def test_migrate_says_that_every_schema_is_current(shop: Shell) -> None:
    assert shop.json("migrate") == {
        "dry_run": False,
        "migrations": [],
        "roles": [role.name for role in service_roles()],
    }
