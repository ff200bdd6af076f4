"""Imports: any spreadsheet's export works, a wrong row is named and stops nothing, half a row never counts."""

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import asyncpg
import httpx
import pytest

from libs.contracts.tokens import RecipientChanged
from libs.service import Runtime
from libs.storage import embedded
from tests.flows.tokens_suite import Suite, database_of, suite_over, wipe

NDJSON = "application/x-ndjson"


@pytest.fixture(scope="module")
def dsn(postgres: embedded.EmbeddedServer) -> Iterator[str]:
    with database_of(postgres, "tokens_imports") as dsn:
        yield dsn


@pytest.fixture
async def suite(dsn: str, make_runtime: Callable[[str], Runtime]) -> AsyncIterator[Suite]:
    await wipe(dsn)
    async with suite_over(make_runtime(dsn), import_batch_rows=3, import_kept_refusals=5) as suite:
        yield suite


def counts(report: dict[str, Any]) -> tuple[int, ...]:
    assert report["rows"] == sum(report[name] for name in ("created", "changed", "unchanged", "refused"))
    return tuple(report[name] for name in ("rows", "created", "changed", "unchanged", "refused"))


async def test_an_export_of_a_shop_goes_in(suite: Suite) -> None:
    text = (
        "Kunden-Nr.;Vorname;Nachname;E-Mail;Handy;attributes.tier;consent.news.email;Bemerkung\r\n"
        '1;Jörg;"Müller; Sohn";joerg@example.com;0151 23456789;gold;ja;x\r\n'
        '2;"Zeile\r\nzwei";;b@example.com;;;nein;\r\n'
        "3;Anna;;anna@example.com;\u202a+49 151\u200b 23456780\u202c;;;\r\n"
        "4;Ben;;ben@example;;;;\r\n"
    )
    report = (await suite.load("\ufeff" + text)).json()
    assert counts(report) == (4, 3, 0, 0, 1)
    assert report["state"] == "done"
    assert report["ignored_columns"] == ["Bemerkung"]
    assert [(r["row"], r["line"], r["field"]) for r in report["refusals"]] == [(4, 6, "E-Mail")]
    found = await suite.resolve("customer:1", "customer:2", "customer:3", "customer:4", topic="news")
    assert list(found) == ["customer:1", "customer:2", "customer:3"]
    assert found["customer:1"]["last_name"] == "Müller; Sohn"
    assert found["customer:1"]["attributes"] == {"tier": "gold"}
    assert found["customer:1"]["consents"]["email"] is True
    assert found["customer:3"]["addresses"][1]["value"] == "+4915123456780"


async def test_a_line_break_inside_quotes_belongs_to_its_cell(suite: Suite) -> None:
    report = (await suite.load('customer_id,first_name,attributes.note\n1,"a\nb","c\r\n""d"""\n2,x,y\n')).json()
    assert counts(report) == (2, 2, 0, 0, 0)
    found = (await suite.resolve("customer:1"))["customer:1"]
    assert found["first_name"] == "a b"  # a name is one line
    assert found["attributes"] == {"note": 'c\n"d"'}


async def test_control_characters_are_refused_with_their_row(suite: Suite) -> None:
    report = (await suite.load("customer_id,first_name\n1,a\x07b\n2,c\n")).json()
    assert counts(report) == (2, 1, 0, 0, 1)
    assert report["refusals"][0]["field"] == "first_name"


@pytest.mark.parametrize(
    "content",
    [
        "customer_id;first_name\n1;Jörg\n".encode("cp1252"),
        "customer_id;first_name\n1;Jörg\n".encode("utf-16"),
        "customer_id\tfirst_name\r1\tJörg\r".encode(),
        "sep=|\ncustomer_id|first_name\n1|Jörg".encode(),
        "\ufeffcustomer_id,first_name\r\n1,Jo\u0308rg\r\n\r\n".encode(),
        '"customer_id","first_name"\n"1","Jörg"'.encode(),
        "\n \ncustomer_id;first_name\n1;Jörg;;;\n".encode(),
    ],
)
async def test_spreadsheets_write_what_they_like(suite: Suite, content: bytes) -> None:
    report = (await suite.load(content)).json()
    assert counts(report) == (1, 1, 0, 0, 0)
    assert (await suite.resolve("customer:1"))["customer:1"]["first_name"] == "Jörg"


async def test_bytes_arrive_in_any_pieces(suite: Suite) -> None:
    content = 'customer_id;first_name\r\n1;"Jörg ""der"" Große"\r\n2;"ä;ö"\r\n'.encode()

    async def pieces() -> AsyncIterator[bytes]:
        for at in range(len(content)):
            yield content[at : at + 1]

    answer = await suite.call("POST", "/v1/imports", content=pieces(), headers={"content-type": "text/csv"})
    assert counts(answer.json()) == (2, 2, 0, 0, 0)
    assert (await suite.resolve("customer:1"))["customer:1"]["first_name"] == 'Jörg "der" Große'


async def test_a_named_charset_is_obeyed(suite: Suite) -> None:
    greek = "customer_id;first_name\n1;Γιώργος\n"
    await suite.load(greek.encode("iso-8859-7"), "text/csv; charset=iso-8859-7")
    assert (await suite.resolve("customer:1"))["customer:1"]["first_name"] == "Γιώργος"
    assert (await suite.load(greek.encode(), "text/csv; charset=klingon")).status_code == 422


async def test_rows_of_json_carry_devices_and_consents(suite: Suite) -> None:
    rows = (
        '{"key": "customer:1", "emails": ["a@example.com"], "attributes": {"order": 123456789012345678},'
        ' "devices": [{"installation": "i-1", "token": "token-number-one"}],'
        ' "consents": [{"topic": "news", "channel": "push", "granted": true, "at": "2027-01-01T00:00:00Z"}]}\n'
        "\n"
        '{"key": "installation:i-2", "devices": [{"kind": "fid", "token": "cA1b2C3d4E5f6G7h8I9j0K"}]}\n'
        '{"key": "customer:2", "devices": [{"installation": "i-1", "token": "token-number-one"}]}'
    )
    report = (await suite.load(rows, NDJSON)).json()
    assert counts(report) == (3, 3, 0, 0, 0)
    found = await suite.resolve("customer:1", "customer:2", "installation:i-2", topic="news")
    assert found["customer:1"]["attributes"] == {"order": 123456789012345678}
    assert found["customer:1"]["consents"]["push"] is True
    assert [a["channel"] for a in found["customer:1"]["addresses"]] == ["email"]  # the device went to the later row
    assert [a["value"] for a in found["customer:2"]["addresses"]] == ["token-number-one"]
    assert [a["kind"] for a in found["installation:i-2"]["addresses"]] == ["fid"]
    assert (await suite.call("GET", "/v1/devices/i-2")).json()["recipient"] == "installation:i-2"


async def test_rows_with_topics_that_do_not_exist_are_refused_by_name(suite: Suite) -> None:
    rows = [
        f'{{"key": "customer:{n}", "consents": [{{"topic": "{topic}", "channel": "push", "granted": true}}]}}'
        for n, topic in enumerate(("news", "newz", "offers", "newz"))
    ]
    report = (await suite.load("\n".join(rows), NDJSON)).json()
    assert counts(report) == (4, 2, 0, 0, 2)
    assert [(r["row"], r["field"]) for r in report["refusals"]] == [(2, "/consents/0/topic"), (4, "/consents/0/topic")]
    assert "Did you mean 'new' or 'news'?" in report["refusals"][0]["reason"]
    assert await suite.resolve("customer:1", "customer:3") == {}
    assert suite.access.asked == [["news", "newz", "offers"], ["newz"]]  # once a batch, and what exists never again
    table = "customer_id;consent.newz.email;consent.news.email\n7;yes;no\n8;;yes\n"
    report = (await suite.load(table)).json()
    assert [(r["row"], r["field"]) for r in report["refusals"]] == [(1, "consents/0/topic")]


@pytest.mark.parametrize(
    ("line", "field"),
    [
        ("not json", "row"),
        ("[]", "row"),
        ('{"key": "customer:9", "key": "customer:8"}', "row"),
        ('{"key": "customer:9", "attributes": {"a": NaN}}', "row"),
        ('{"key": "customer:9", "first_name": "\\ud800"}', "/first_name"),
        ('{"key": "customer:9", "first_name": "a\\u0000"}', "/first_name"),
        ('{"key": "customer:9", "attributes": ' + '{"a":' * 200 + "1" + "}" * 200 + "}", "row"),
        ('{"key": "customer:9", "attributes": {"a":{"a":{"a":{"a":{"a":{"a":1}}}}}}}', "/attributes"),
        ('{"key": "customer:9", "attributes": {"a": "' + "x" * 20_000 + '"}}', "/attributes"),
        ('{"key": "nobody"}', "/key"),
        ('{"first_name": "x"}', "/key"),
        ('{"key": "customer:9", "phones": ["12"]}', "/phones/0"),
        ('{"key": "customer:9", "emails": ["a@example.com", "b"]}', "/emails/1"),
        ('{"key": "customer:9", "webhooks": ["https://127.0.0.1/"]}', "/webhooks/0"),
        (
            '{"key": "customer:9", "consents": [{"topic": "News!", "channel": "push", "granted": true}]}',
            "/consents/0/topic",
        ),
        ('{"key": "customer:9", "devices": [{"token": "token-one"}, {"token": "token-one"}]}', "/devices/1"),
        (
            '{"key": "installation:9", "devices": [{"token": "token-one", "installation": "8"}]}',
            "/devices/0/installation",
        ),
        ('{"key": "customer:9", "quiet_hours": {"from": "07:00", "to": "07:00"}}', "/quiet_hours"),
        ('{"key": "customer:9", "quiet_hours": {"from": "25:00", "to": "07:00"}}', "/quiet_hours/from"),
    ],
)
async def test_a_wrong_line_is_named_and_nothing_of_it_is_written(suite: Suite, line: str, field: str) -> None:
    good = '{"key": "customer:1"}'
    report = (await suite.load(f"{good}\n{line}\n" + good.replace("1", "2"), NDJSON)).json()
    assert counts(report) == (3, 2, 0, 0, 1), report
    assert {(r["row"], r["line"], r["field"]) for r in report["refusals"]} == {(2, 2, field)}
    assert await suite.resolve("customer:9", "customer:8") == {}


async def test_attributes_that_grow_too_big_together_refuse_their_row_alone(suite: Suite) -> None:
    big = '{"key": "customer:1", "attributes": {"%s": "' + "x" * 9_000 + '"}}\n'
    report = (await suite.load(big % "a" + '{"key": "customer:2"}\n', NDJSON)).json()
    assert counts(report) == (2, 2, 0, 0, 0)
    report = (await suite.load(big % "b" + '{"key": "customer:3"}\n', NDJSON)).json()
    assert counts(report) == (2, 1, 0, 0, 1)
    assert report["refusals"][0]["field"] == "attributes"


async def test_the_same_file_again_changes_nothing_and_tells_nothing(suite: Suite) -> None:
    text = "customer_id,email,consent.news.email,consent_at\n" + "".join(
        f"{n},m{n}@example.com,yes,2027-01-01T00:00:00Z\n" for n in range(8)
    )
    assert counts((await suite.load(text)).json()) == (8, 8, 0, 0, 0)
    told = [event for event in await suite.events() if isinstance(event, RecipientChanged)]
    assert len(told) == 8
    assert counts((await suite.load(text)).json()) == (8, 0, 0, 8, 0)
    assert not [event for event in await suite.events() if isinstance(event, RecipientChanged)]


async def test_a_recipient_named_twice_is_what_its_last_row_says(suite: Suite) -> None:
    report = (await suite.load("customer_id,first_name,email\n1,Max,a@example.com\n1,Moritz,\n")).json()
    assert counts(report) == (2, 1, 1, 0, 0)
    found = (await suite.resolve("customer:1"))["customer:1"]
    assert found["first_name"] == "Moritz"
    assert [a["value"] for a in found["addresses"]] == ["a@example.com"]  # an empty cell leaves the value unchanged


async def test_imports_are_listed_newest_first_and_by_their_own_tenant(suite: Suite) -> None:
    for number in range(3):
        await suite.load(f"customer_id\n{number}\n")
    page = (await suite.call("GET", "/v1/imports", params={"limit": "2"})).json()
    rest = (await suite.call("GET", "/v1/imports", params={"cursor": page["next_cursor"]})).json()
    assert len({item["id"] for item in page["items"] + rest["items"]}) == 3
    assert (await suite.call("GET", "/v1/imports", key="other")).json()["items"] == []
    foreign = await suite.call("GET", f"/v1/imports/{page['items'][0]['id']}", key="other")
    assert foreign.status_code == 404


async def test_other_content_is_refused(suite: Suite) -> None:
    assert (await suite.load("{}", "application/json")).status_code == 415
    assert (await suite.call("POST", "/v1/imports", params={"id": "7"})).status_code == 422
    assert (await suite.load("customer_id\n1\n", key="events")).status_code == 403


async def test_what_was_refused_never_keeps_the_value(suite: Suite) -> None:
    secret = "max.mustermann-secret"
    rows = f'{{"key": "customer:1", "emails": ["{secret}"], "phones": ["{secret}"]}}\n{{"key": "{secret}"}}\n{secret}\n'
    assert isinstance(await suite.load(rows, NDJSON), httpx.Response)
    connection = await asyncpg.connect(suite.runtime.dsn_of("tokens"))
    kept = await connection.fetch("select * from tokens.import_refusal")
    await connection.close()
    assert len(kept) >= 3
    assert secret not in str(kept)
