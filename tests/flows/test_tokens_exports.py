"""Exports of shop systems and marketing clouds: most go in as they are, and errors say what to do about the rest."""

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from libs.service import Runtime
from libs.storage import embedded
from tests.flows.tokens_suite import Suite, database_of, suite_over, wipe


@pytest.fixture(scope="module")
def dsn(postgres: embedded.EmbeddedServer) -> Iterator[str]:
    with database_of(postgres, "tokens_exports") as dsn:
        yield dsn


@pytest.fixture
async def suite(dsn: str, make_runtime: Callable[[str], Runtime]) -> AsyncIterator[Suite]:
    await wipe(dsn)
    async with suite_over(make_runtime(dsn)) as suite:
        yield suite


async def taken(suite: Suite, text: str, *column: str) -> dict[str, Any]:
    answer = await suite.load(text, params={"column": list(column)})
    assert answer.status_code == 201, answer.text
    report: dict[str, Any] = answer.json()
    assert (report["created"], report["refused"]) == (report["rows"], 0), report
    return report


def values(recipient: dict[str, Any], kind: str) -> list[str]:
    return [address["value"] for address in recipient["addresses"] if address["kind"] == kind]


async def test_shopifys_customers(suite: Suite) -> None:
    report = await taken(
        suite,
        "Customer ID,First Name,Last Name,Email,Accepts Email Marketing,Default Address Country Code,"
        "Default Address Phone,Phone,Accepts SMS Marketing,Total Spent,Tags\n"
        "'6940095564939,Ayumu,'t Hooft,ayumu@example.com,yes,US,(555) 625-1199,'+15556251199,no,12.00,\"a, b\"\n"
        "'6940095564940,Russell,Winfield,rw@example.com,no,US,,(312) 555-0134,no,0,\n",
        "Accepts Email Marketing=consent.news.email",
        "Tags=attributes.tags",
    )
    assert "Total Spent" in report["ignored_columns"]
    found = await suite.resolve("customer:6940095564939", "customer:6940095564940", topic="news")
    first, second = found.values()
    assert (first["last_name"], values(first, "phone")) == ("'t Hooft", ["+15556251199"])
    assert (first["consents"]["email"], first["attributes"]) == (True, {"tags": "a, b"})
    # a number without a country code belongs to the row's country, not to ours
    assert (values(second, "phone"), second["consents"]["email"]) == (["+13125550134"], False)


async def test_klaviyos_profiles(suite: Suite) -> None:
    await taken(
        suite,
        "Email,Klaviyo ID,First Name,Phone Number,Email Marketing Consent,Email Marketing Consent Timestamp,"
        "SMS Marketing Consent,Country\n"
        "a@example.com,01GD,Ann,,SUBSCRIBED,2023-05-01 12:00:00,NEVER_SUBSCRIBED,United States\n"
        "b@example.com,01GE,Bo,415 555 2671,UNSUBSCRIBED,2023-05-01 12:00:00,NEVER_SUBSCRIBED,Vereinigte Staaten von "
        "Amerika\n",
        "Klaviyo ID=customer_id",
        "Email Marketing Consent=consent.news.email",
        "SMS Marketing Consent=consent.news.sms",
        "Email Marketing Consent Timestamp=consent_at:Europe/Berlin",
    )
    found = await suite.resolve("customer:01GD", "customer:01GE", topic="news")
    assert [r["consents"]["email"] for r in found.values()] == [True, False]
    assert values(found["customer:01GE"], "phone") == ["+14155552671"]
    said = (await suite.call("GET", "/v1/recipients/customer:01GD/consents")).json()
    (consent,) = said["items"] if "items" in said else said["consents"]
    assert consent["at"] == "2023-05-01T10:00:00Z"  # and the row says nothing about SMS


async def test_hubspots_contacts_with_several_addresses_in_a_cell(suite: Suite) -> None:
    await taken(
        suite,
        '"Record ID","First Name","Email","Phone Number"\n"51","A","a@example.com; b@example.com","+49 30 901820, '
        '0151 23456789"\n',
        "Record ID=customer_id",
    )
    found = (await suite.resolve("customer:51"))["customer:51"]
    assert sorted(values(found, "email")) == ["a@example.com", "b@example.com"]
    assert sorted(values(found, "phone")) == ["+4915123456789", "+4930901820"]


@pytest.mark.parametrize(
    ("row", "value"),
    [
        ("4915123456789,Germany", "+4915123456789"),  # the plus was lost on the way
        ("015123456789,Deutschland", "+4915123456789"),
        ("447911123456,United Kingdom", "+447911123456"),
        ("07911123456,gb", "+447911123456"),
        ("4915123456789.0,", "+4915123456789"),  # through a data frame
        ("'+4915123456789,", "+4915123456789"),
    ],
)
async def test_phones_as_exports_write_them(suite: Suite, row: str, value: str) -> None:
    await taken(suite, f"customer_id,phone,country\n1,{row}\n")
    assert values((await suite.resolve("customer:1"))["customer:1"], "phone") == [value]


@pytest.mark.parametrize("cell", ["'o'neill@example.com", "'kim@example.com", "'kim@example.com'"])
async def test_a_mailbox_that_a_spreadsheet_marked_as_text_is_the_mailbox(suite: Suite, cell: str) -> None:
    await taken(suite, f"customer_id,email\n1,{cell}\n")
    found = values((await suite.resolve("customer:1"))["customer:1"], "email")
    assert found == ["'o'neill@example.com" if "neill" in cell else "kim@example.com"]  # unsure: left as it is


@pytest.mark.parametrize(
    ("row", "field", "says"),
    [
        ("6.94009E+12,,", "customer_id", "as text"),
        ('"6,94009E+12",,', "customer_id", "as text"),
        ("1001.0,,", "customer_id", "as text"),
        ("1,4.9151E+12,", "phone", "as text"),
        ("1,0151 23456789,Atlantis", "phone", "country code"),
        ("1,+49 151 23456789 mobil,", "phone", "the number alone"),
        ("#REF!,,", "customer_id", "formula"),
        ("1,#NAME?,", "phone", "formula"),
        ("#N/A,,", "customer_id", "customer:<the shop's id>"),
    ],
)
async def test_what_a_program_spoilt_is_refused(suite: Suite, row: str, field: str, says: str) -> None:
    report = (await suite.load(f"customer_id,phone,country\n{row}\n")).json()
    (refusal,) = report["refusals"]
    assert refusal["field"] == field
    assert says in refusal["reason"]


async def test_a_spreadsheets_day_is_no_second_of_1970(suite: Suite) -> None:
    report = (await suite.load("customer_id,consent.news.email,consent_at\n1,WAHR,45047.5\n")).json()
    assert report["refusals"][0]["field"] == "consent_at"


@pytest.mark.parametrize("at", ["2023-05-01 12:00:00", "2023-05-01T12:00", "2023-05-01"])
async def test_a_time_without_an_offset_says_how_to_give_one(suite: Suite, at: str) -> None:
    content = f"customer_id,consent.news.email,OPTIN_TIME\n1,yes,{at}\n"
    named = {"column": ["OPTIN_TIME=consent_at"]}
    (refusal,) = (await suite.load(content, params=named)).json()["refusals"]
    assert (refusal["field"], "column 'OPTIN_TIME=consent_at:UTC'" in refusal["reason"]) == ("OPTIN_TIME", True)
    await taken(suite, content, "OPTIN_TIME=consent_at:UTC")


async def test_cells_that_say_nothing_leave_what_is_there(suite: Suite) -> None:
    await taken(suite, "customer_id,email,first_name\n1,NULL,\\N\n")
    found = (await suite.resolve("customer:1"))["customer:1"]
    assert (found["addresses"], found["first_name"]) == ([], None)


@pytest.mark.parametrize("codec", ["utf-16-le", "utf-16-be"])
async def test_utf16_without_a_mark(suite: Suite, codec: str) -> None:
    report = (await suite.load("customer_id\tfirst_name\r\n1\tJörg\r\n".encode(codec))).json()
    assert (report["created"], report["refused"]) == (1, 0), report
    assert (await suite.resolve("customer:1"))["customer:1"]["first_name"] == "Jörg"


@pytest.mark.parametrize(
    ("header", "column", "pointer", "says"),
    [
        ("id,customer_number,email", [], "header/2", "column 'customer_number=customer_id'"),
        ("email,Klaviyo ID", [], "header", "column 'Their name=customer_id'"),
        ("email,email,id", [], "header/2", "rename one"),
        ("id,email", ["Size=attributes.size"], "column", "no column 'Size'"),
        ("id,email", ["email=mail"], "column", "Names are"),
        ("id,email", ["email"], "column", "Names are"),
        ("id,email", ["email=consent_at:Mars/Phobos"], "column", "time zone"),
        ("id,email", ["id=email"], "header", "customer_id"),
    ],
)
async def test_a_header_that_leaves_a_doubt_says_what_settles_it(
    suite: Suite, header: str, column: list[str], pointer: str, says: str
) -> None:
    answer = await suite.load(f"{header}\n", params={"column": column})
    assert answer.status_code == 422, answer.text
    errors = answer.json()["errors"]
    assert any(error["pointer"] == pointer and says in error["detail"] for error in errors), errors


async def test_our_own_name_goes_before_what_only_sounds_like_it(suite: Suite) -> None:
    report = await taken(suite, "user_id,customer_id,email\n1,2,a@example.com\n")
    assert report["ignored_columns"] == ["user_id"]
    assert list(await suite.resolve("customer:2", "customer:1")) == ["customer:2"]


async def test_an_array_of_json_says_how_it_becomes_lines(suite: Suite) -> None:
    answer = await suite.load('[{"key": "customer:1"},\n{"key": "customer:2"}]', "application/x-ndjson")
    assert answer.status_code == 422
    assert "jq -c" in answer.json()["detail"]
