"""What can go wrong with an import: headers, rows, senders that disconnect; each has its place in the report."""

from collections.abc import AsyncIterator, Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest

from libs.contracts.audit import ActionRecorded
from libs.ids import uuid7
from libs.service import Runtime
from libs.storage import embedded
from tests.flows.tokens_suite import Suite, database_of, suite_over, wipe


@pytest.fixture(scope="module")
def dsn(postgres: embedded.EmbeddedServer) -> Iterator[str]:
    with database_of(postgres, "tokens_import_faults") as dsn:
        yield dsn


@pytest.fixture
async def suite(dsn: str, make_runtime: Callable[[str], Runtime]) -> AsyncIterator[Suite]:
    await wipe(dsn)
    async with suite_over(make_runtime(dsn), import_batch_rows=3, import_kept_refusals=5) as suite:
        yield suite


def counts(report: dict[str, Any]) -> tuple[int, ...]:
    assert report["rows"] == sum(report[name] for name in ("created", "changed", "unchanged", "refused"))
    return tuple(report[name] for name in ("rows", "created", "changed", "unchanged", "refused"))


@pytest.mark.parametrize(
    ("content", "status"),
    [
        ("", 422),
        ("first_name\nMax\n", 422),
        ("customer_id,email,E-Mail\n1,a@example.com,b@example.com\n", 422),
        ('"customer_id\n1\n', 422),
        ("customer_id," + "x" * 300_000 + "\n1,2\n", 422),
        ("PK\x03\x04\x14\x00\x06\x00", 422),
    ],
)
async def test_a_header_that_says_nothing_ends_the_import(suite: Suite, content: str, status: int) -> None:
    answer = await suite.load(content)
    assert answer.status_code == status, answer.text
    assert answer.json()["errors"][0]["pointer"].startswith("header")
    report = (await suite.call("GET", f"/v1/imports/{answer.json()['import']}")).json()
    assert report["state"] == "failed"
    assert report["problem"]


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ("1,a,b\n", "3 cells"),
        ("1\n", "1 cells"),
        ('1,"never closed\n2,b\n3,c\n', "not closed"),
        ("1," + "x" * 300_000 + "\n", "longer than"),
        ('1,"' + "x" * 70_000 + '"\n', "longer than"),
    ],
)
async def test_a_row_that_is_no_row_is_refused(suite: Suite, rows: str, reason: str) -> None:
    report = (await suite.load("customer_id,first_name\n7,Max\n" + rows)).json()
    assert (report["created"], report["refused"]) == (1, 1), report
    assert reason in report["refusals"][0]["reason"]
    assert report["refusals"][0]["line"] == 3


@pytest.mark.parametrize(
    ("content", "kind", "field", "says"),
    [
        ("customer_id,consent.news.email,consent_at\n1,yes,2026-01-01\n", "text/csv", "consent_at", "offset"),
        ("customer_id,consent.news.email,consent_at\n1,yes,gestern\n", "text/csv", "consent_at", "offset"),
        ('customer_id,phone\n1,"4,36641E+11"\n', "text/csv", "phone", "as text"),
        ('{"key": "customer:1", "email": "a@example.com"}', "application/x-ndjson", "/email", "no such field"),
        ('{"customer_id": "1"}', "application/x-ndjson", "/key", "required"),
    ],
)
async def test_a_refusal_names_its_column_and_says_what_to_do(
    suite: Suite, content: str, kind: str, field: str, says: str
) -> None:
    (first, *_) = (await suite.load(content, kind)).json()["refusals"]
    assert first["field"] == field
    assert says in first["reason"]


async def test_a_line_that_is_not_utf8_among_lines_that_are_is_refused(suite: Suite) -> None:
    content = "customer_id,first_name\n1,Jörg\n".encode() + b"2,J\xf6rg\n3,Max\n"
    report = (await suite.load(content)).json()
    assert counts(report) == (3, 2, 0, 0, 1)
    assert "UTF-8" in report["refusals"][0]["reason"]


async def test_refusals_are_kept_to_a_limit_and_counted_beyond(suite: Suite) -> None:
    report = (await suite.load("customer_id,email\n" + "1,x\n" * 20)).json()
    assert counts(report) == (20, 0, 0, 0, 20)
    assert len(report["refusals"]) == 5
    path = f"/v1/imports/{report['id']}/refusals"
    page = (await suite.call("GET", path, params={"limit": "3"})).json()
    rest = (await suite.call("GET", path, params={"limit": "3", "cursor": page["next_cursor"]})).json()
    assert [r["row"] for r in page["items"] + rest["items"]] == [1, 2, 3, 4, 5]


async def test_a_sender_that_goes_away_leaves_whole_batches_only(suite: Suite) -> None:
    messages = [
        {"type": "http.request", "body": b"customer_id\n1\n2\n3\n4\n5\n", "more_body": True},
        {"type": "http.disconnect"},
    ]
    id_ = uuid7()
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/v1/imports",
        "query_string": f"id={id_}".encode(),
        "headers": [(b"authorization", b"Bearer admin"), (b"content-type", b"text/csv")],
        "server": ("tokens", 80),
    }

    async def receive() -> Any:
        return messages.pop(0) if messages else {"type": "http.disconnect"}

    async def send(_: Any) -> None:
        return None

    await suite.service.app(scope, receive, send)
    report = (await suite.call("GET", f"/v1/imports/{id_}")).json()
    assert (report["state"], report["rows"], report["created"]) == ("interrupted", 3, 3)
    assert await actions(suite) == [("recipients.import", {"state": "interrupted", "rows": 3})]
    again = await suite.load("customer_id\n1\n2\n3\n4\n5\n", params={"id": str(id_)})
    assert counts(again.json()) == (5, 2, 0, 3, 0)
    taken = await suite.load("customer_id\n1\n", params={"id": str(id_)})
    assert taken.status_code == 409


async def test_an_import_is_cancelled_between_batches(suite: Suite) -> None:
    id_ = uuid7()

    async def pieces() -> AsyncIterator[bytes]:
        yield b"customer_id\n1\n2\n3\n"
        yield b"4\n"
        cancelled = await suite.call("POST", f"/v1/imports/{id_}:cancel")
        assert cancelled.json()["state"] == "cancelled"
        yield b"5\n6\n7\n"

    answer = await suite.call(
        "POST", "/v1/imports", content=pieces(), headers={"content-type": "text/csv"}, params={"id": str(id_)}
    )
    assert answer.status_code == 409
    report = (await suite.call("GET", f"/v1/imports/{id_}")).json()
    assert (report["state"], report["created"]) == ("cancelled", 3)
    assert await suite.resolve("customer:4") == {}
    assert await actions(suite) == [("recipients.import.cancel", None)]


async def test_an_import_that_has_ended_is_not_cancelled(suite: Suite) -> None:
    report = (await suite.load("customer_id\n1\n")).json()
    assert await actions(suite) == [("recipients.import", {"state": "done", "rows": 1})]
    cancelled = await suite.call("POST", f"/v1/imports/{report['id']}:cancel")
    assert cancelled.json()["state"] == "done"
    assert await actions(suite) == [], "the audit would say that it was cancelled"


async def actions(suite: Suite) -> list[tuple[str, Any]]:
    """What the audit will say."""
    return [(event.action, event.after) for event in await suite.events() if isinstance(event, ActionRecorded)]


async def test_who_is_erased_while_the_file_arrives_is_not_brought_back_by_it(suite: Suite) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"customer_id,email\n1,a@example.com\n2,b@example.com\n3,c@example.com\n"
        yield b"4,d@example.com\n"
        for key in ("customer:1", "customer:5"):
            assert (await suite.call("DELETE", f"/v1/recipients/{key}")).status_code == 204
        yield b"5,e@example.com\n6,f@example.com\n1,a@example.com\n"

    answer = await suite.call("POST", "/v1/imports", content=pieces(), headers={"content-type": "text/csv"})
    report = answer.json()
    assert counts(report) == (7, 5, 0, 0, 2)
    assert {(one["field"], one["row"]) for one in report["refusals"]} == {("key", 5), ("key", 7)}
    assert "erased" in report["refusals"][0]["reason"]
    assert set(await suite.resolve("customer:1", "customer:2", "customer:5", "customer:6")) == {
        "customer:2",
        "customer:6",
    }
    suite.clock.advance(timedelta(seconds=1))  # a file that begins afterwards may know the person again
    assert counts((await suite.load("customer_id,email\n5,e@example.com\n")).json()) == (1, 1, 0, 0, 0)


@pytest.mark.parametrize("column", ["attributes.note", "first_name", "app_version", "email", "customer_id"])
async def test_a_nul_in_a_cell_refuses_its_row_and_no_other(suite: Suite, column: str) -> None:
    columns = ["customer_id", "first_name", "email", "attributes.note", "token", "app_version"]
    cells = {
        "customer_id": "1",
        "first_name": "Max",
        "email": "a@example.com",
        "attributes.note": "x",
        "token": "fHk3:APA91b-one-token-of-firebase",
    }
    cells |= {"app_version": "1", column: "a\0b"}
    rows = [
        columns,
        [cells[name] for name in columns],
        ["2", "Eva", "b@example.com", "y", "fHk3:APA91b-another-token", "1"],
    ]
    report = (await suite.load("\n".join(";".join(row) for row in rows))).json()
    assert counts(report) == (2, 1, 0, 0, 1), report
    assert report["state"] == "done"
