"""YAML definitions mean what their authors see, and every error names file and line."""

from decimal import Decimal
from pathlib import Path

import pytest

from cli import documents
from cli.errors import UsageError


def write(folder: Path, text: str, name: str = "a.yaml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_yaml_1_1_special_words_are_plain_strings(tmp_path: Path) -> None:
    path = write(
        tmp_path, "name: x\non: order.placed\nquiet: 22:00\ncountry: no\nday: 2027-03-01\nsure: true\nn: null\n"
    )
    (document,) = documents.read([path])
    assert document.body == {
        "on": "order.placed",
        "quiet": "22:00",
        "country": "no",
        "day": "2027-03-01",
        "sure": True,
        "n": None,
    }


def test_numbers_are_exact(tmp_path: Path) -> None:
    (document,) = documents.read([write(tmp_path, "name: x\na: 19.90\nb: 123456789012345678\nc: 007\nd:\n")])
    assert document.body == {"a": Decimal("19.90"), "b": 123456789012345678, "c": "007", "d": None}
    assert str(document.body["a"]) == "19.90"


def test_a_pointer_resolves_to_its_line(tmp_path: Path) -> None:
    (document,) = documents.read([write(tmp_path, "name: x\nplan:\n  - channels:\n      - channel: push\n")])
    assert document.place("/plan/0/channels/0/channel").endswith("a.yaml:4")
    assert document.place("/plan/0/mode").endswith("a.yaml:3")
    assert document.place("/unheard/of").endswith("a.yaml:1")


def test_folders_and_multi_document_files_are_read(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    write(tmp_path, "kind: template\nname: a\n---\nkind: communication\nname: b\n")
    write(tmp_path / "deep", '[{"name": "c"}]', "c.json")
    write(tmp_path, "not a definition", "readme.txt")
    assert [d.name for d in documents.read([tmp_path], kinds={"template": "name"})] == ["a", "c"]
    assert [d.name for d in documents.read([tmp_path])] == ["a", "b", "c"]


def test_all_problems_are_reported_at_once(tmp_path: Path) -> None:
    write(tmp_path, "name: a\nname: b\n", "1.yaml")
    write(tmp_path, "- just\n- a list\n", "2.yaml")
    write(tmp_path, "name: 'open\n", "3.yaml")
    (tmp_path / "4.yaml").write_bytes(b"name: \xff\n")
    with pytest.raises(UsageError) as caught:
        documents.read([tmp_path])
    places = [field.pointer.rpartition("/")[2] for field in caught.value.fields]
    assert places == ["1.yaml:2", "2.yaml:1", "3.yaml:2", "4.yaml:1"]


def test_a_name_defined_twice_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "name: a\n", "1.yaml")
    write(tmp_path, "name: a\n", "2.yaml")
    with pytest.raises(UsageError) as caught:
        documents.read([tmp_path])
    assert "1.yaml:1" in caught.value.fields[0].detail


def test_a_written_document_round_trips(tmp_path: Path) -> None:
    body = {
        "text": "Hello {{ recipient.first_name }},\n\n😀 עברית\n",
        "on": "no",
        "price": Decimal("1.10"),
        "l": ["1e3", "007"],
    }
    text = documents.written([{"kind": "template", "name": "x", **body}])
    assert "text: |" in text
    (document,) = documents.read([write(tmp_path, text)])
    assert document.body == body


def test_a_long_text_may_be_in_a_separate_file(tmp_path: Path) -> None:
    write(tmp_path, "<p>Hello</p>\n", "mail.html")
    (document,) = documents.read([write(tmp_path, "name: x\nhtml: !file mail.html\n")])
    assert document.body == {"html": "<p>Hello</p>\n"}
    with pytest.raises(UsageError) as caught:
        documents.read([write(tmp_path, "name: x\nhtml: !file gone.html\n", "b.yaml")])
    assert caught.value.fields[0].pointer.endswith("b.yaml:2")
