"""Promise: however a file is split, encoded and quoted, its records are the same, and no line is lost."""

import csv
import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.errors import Invalid
from services.tokens.domain.column_names import named_columns
from services.tokens.domain.columns import Columns
from services.tokens.domain.lines import CsvRecords, Line, Lines, Record, delimiter_of

CELLS = st.text(st.sampled_from('aä€😀 ,;"\n'), max_size=6)


def records(content: bytes, size: int, charset: str | None = None) -> list[Record]:
    lines, reader = Lines(charset), CsvRecords()
    found: list[Record | None] = []
    for at in range(0, len(content), size):
        found += [reader.feed(line) for line in lines.feed(content[at : at + size])]
    found += [reader.feed(line) for line in lines.finish()]
    found.append(reader.finish())
    return [record for record in found if record is not None]


@given(
    st.lists(st.tuples(CELLS, CELLS), max_size=8),
    st.integers(1, 40),
    st.sampled_from(["utf-8-sig", "utf-8", "utf-16"]),
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.booleans(),
)
@settings(max_examples=200)
def test_pieces_encodings_and_line_ends_make_no_difference(
    rows: list[tuple[str, str]], size: int, encoding: str, end: str, last_line_ends: bool
) -> None:
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator=end, quoting=csv.QUOTE_ALL)
    writer.writerows([("key", "note"), *rows])
    text = out.getvalue() if last_line_ends else out.getvalue().removesuffix(end)
    found = records(text.encode(encoding), size)
    assert [record.cells for record in found] == [("key", "note"), *rows]
    assert all(record.problem is None for record in found)


@given(st.binary(max_size=400), st.integers(1, 50))
@settings(max_examples=200)
def test_any_bytes_are_read_in_pieces_of_any_size(content: bytes, size: int) -> None:
    assert records(content, size) == records(content, max(1, len(content)))


@given(st.text(st.sampled_from('a,"\n'), max_size=60), st.integers(1, 9))
@settings(max_examples=300)
def test_quotes_are_read_as_pythons_csv_reader_reads_them(body: str, size: int) -> None:
    text = "k,n\n" + body + "\n"
    wanted = [tuple(row) for row in csv.reader(io.StringIO(text, newline="")) if any(row)]
    found = records(text.encode(), size)
    whole = [record.cells for record in found if any(record.cells)]
    unclosed = [record for record in found if record.problem is not None]
    assert whole == wanted[: len(whole)]
    assert len(wanted) - len(whole) <= len(unclosed)
    assert len(unclosed) <= 1  # only the last record can lack its closing quote


def test_lines_are_numbered_as_in_editors() -> None:
    lines = Lines()
    found = list(lines.feed(b"a\r\n\r\nb\r\n")) + list(lines.finish())
    assert found == [Line(1, "a"), Line(2, ""), Line(3, "b")]
    assert lines.bytes == 8


def test_an_endless_line_does_not_grow_memory() -> None:
    lines = Lines()
    found = [line for _ in range(100) for line in lines.feed(b"x" * 10_000)]
    found += list(lines.feed(b"\nnext\n"))
    assert [line.problem is None for line in found] == [False, True]
    assert found[1] == Line(2, "next")


@pytest.mark.parametrize(
    ("header", "delimiter"),
    [("a,b", ","), ("a;b", ";"), ("a\tb", "\t"), ("a|b", "|"), ('"a,x,y";b;c', ";"), ("a", ",")],
)
def test_the_header_determines_the_delimiter(header: str, delimiter: str) -> None:
    assert delimiter_of(header) == delimiter


@pytest.mark.parametrize(
    ("name", "first", "last"),
    [
        ("Ada Lovelace", "Ada", "Lovelace"),
        ("Jan van der Berg", "Jan", "van der Berg"),
        ("Lovelace, Ada", "Ada", "Lovelace"),
        ("Zoë", None, "Zoë"),
        ("王小明", None, "王小明"),
        ("Dr. Ada Lovelace", None, "Dr. Ada Lovelace"),
        ("Muster GmbH", None, "Muster GmbH"),
        ("Meyer & Söhne", None, "Meyer & Söhne"),
        ("Lovelace,", None, "Lovelace,"),
    ],
)
def test_a_whole_name_is_told_apart_where_that_is_certain(name: str, first: str | None, last: str) -> None:
    """Magento and WooCommerce export one column `Name`; a mail that begins "Hello Dr." is worse than "Hello"."""
    row = Columns.read(["ID", "Name", "Email"]).row(["7", name, ""])
    assert (row.get("first_name"), row["last_name"]) == (first, last)


def test_a_column_name_beside_others_is_the_last_one_or_nothing() -> None:
    beside_first = Columns.read(["Kundennummer", "Vorname", "Name"])
    assert beside_first.row(["7", "Ada", "King Lovelace"]) == {
        "key": "customer:7", "first_name": "Ada", "last_name": "King Lovelace",
    }  # fmt: skip
    beside_both = Columns.read(["id", "Name", "First Name", "Last Name"])
    assert beside_both.ignored == ("Name",)
    assert beside_both.row(["7", "Ada Lovelace", "Ada", "Lovelace"])["last_name"] == "Lovelace"
    assert Columns.read(["id", "Name"]).label(("first_name",)) == "Name"


def test_columns_are_recognised_under_their_usual_names() -> None:
    columns = Columns.read(
        [
            "Kunden-Nr",
            "Vorname",
            "Last Name",
            "E-Mail-Adresse",
            "Telefon",
            "Zeitzone",
            "attr:Size",
            "consent.a.b.sms",
            "?",
        ]
    )
    assert set(columns.places) == {"customer_id", "first_name", "last_name", "email", "phone", "zone"}
    assert columns.attributes == {"Size": 6}
    assert columns.consents == {("a.b", "sms"): 7}
    assert columns.ignored == ("?",)
    row = columns.row(["7", "", " Muster ", "a@example.com", "", "", "L", "nein", "x"])
    assert row == {
        "key": "customer:7",
        "last_name": "Muster",
        "emails": ["a@example.com"],
        "attributes": {"Size": "L"},
        "consents": [{"topic": "a.b", "channel": "sms", "granted": False}],
    }
    assert columns.label(("emails", 0)) == "E-Mail-Adresse"
    with pytest.raises(Invalid, match="yes or no"):
        columns.row(["7", "", "", "", "", "", "", "perhaps", ""])


@pytest.mark.parametrize(
    ("cell", "made"), [("1", [False]), ("true", [False]), ("0", []), ("false", []), ("", []), ("Yes", [False])]
)
def test_a_column_of_who_declined_makes_only_noes(cell: str, made: list[bool]) -> None:
    named = named_columns(["Email Opt Out=optout.*.email"])
    columns = Columns.read(["key", "Email Opt Out", "consent_at"], named)
    consents = columns.row(["customer:7", cell, "2027-01-01T00:00:00Z"]).get("consents", [])
    assert consents == [{"topic": "*", "channel": "email", "granted": granted} for granted in made]


@pytest.mark.parametrize(
    "name", ["Email Opt Out", "HASOPTEDOUTOFEMAIL", "Unsubscribed from all email", "Do not allow Emails", "désabonné"]
)
def test_a_column_of_who_declined_is_not_taken_for_consent(name: str) -> None:
    with pytest.raises(Invalid, match=f"{name}=optout.news.email"):
        named_columns([f"{name}=consent.news.email"])


@pytest.mark.parametrize("name", ["Opt-in/Opt-out", "Unsubscribe status", "Email Marketing Consent", "Abonniert"])
def test_a_column_of_both_answers_is_a_consent(name: str) -> None:
    assert named_columns([f"{name}=consent.news.email"])[name].kind == "consent"


def test_a_header_without_a_key_or_with_duplicates_is_refused() -> None:
    with pytest.raises(Invalid):
        Columns.read(["email", "phone"])
    with pytest.raises(Invalid):
        Columns.read(["key", "mail", "e-mail", "email"])
