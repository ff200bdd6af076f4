"""The dashboards import cleanly: references resolve, nested texts parse, and fields support their use."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from services.history.adapters.opensearch import schema
from tools.opensearch.__main__ import FOLDER
from tools.opensearch.saved_objects import MIGRATIONS

FIELDS: dict[str, dict[str, Any]] = schema.MAPPING["properties"]
OBJECTS = [json.loads(line) for line in (FOLDER / "dashboards.ndjson").read_text().splitlines()]
BY_ID = {made["id"]: made for made in OBJECTS}
TERMS = {"keyword", "short", "long", "boolean", "date"}
NEEDS: dict[str, set[str]] = {
    "terms": TERMS, "cardinality": TERMS, "date_histogram": {"date"},
}  # fmt: skip
SCHEMAS = {
    "metric": {"metric", "group"}, "pie": {"metric", "segment", "split"}, "table": {"metric", "bucket", "split"},
    "histogram": {"metric", "segment", "group", "split"}, "line": {"metric", "segment", "group", "split"},
}  # fmt: skip
_FIELD = re.compile(r"(\w+)\s*:\s*(\(([^)]*)\)|\S+)")


def of(type_: str) -> list[dict[str, Any]]:
    return [made for made in OBJECTS if made["type"] == type_]


def source_of(made: dict[str, Any]) -> dict[str, Any]:
    source: dict[str, Any] = json.loads(made["attributes"]["kibanaSavedObjectMeta"]["searchSourceJSON"])
    return source


def state_of(made: dict[str, Any]) -> dict[str, Any]:
    state: dict[str, Any] = json.loads(made["attributes"]["visState"])
    return state


def reference_names(node: Any) -> Iterator[str]:
    """Every name by which an object refers to another."""
    if isinstance(node, dict):
        for name, value in node.items():
            if name.endswith("RefName"):
                yield value
            else:
                yield from reference_names(value)
    elif isinstance(node, list):
        for one in node:
            yield from reference_names(one)
    elif isinstance(node, str) and node[:1] in "[{" and node:
        yield from reference_names(json.loads(node))


def test_every_promised_dashboard_exists() -> None:
    assert {made["attributes"]["title"] for made in of("dashboard")} >= {
        "Delivery health", "Bounces and suppressions", "What happened to this customer"
    }  # fmt: skip
    assert len(BY_ID) == len(OBJECTS)
    assert {made["type"]: made["migrationVersion"] for made in OBJECTS} == {k: {k: v} for k, v in MIGRATIONS.items()}
    titles = [(made["type"], made["attributes"]["title"]) for made in OBJECTS]
    assert len(set(titles)) == len(titles)


@pytest.mark.parametrize("made", OBJECTS, ids=lambda made: f"{made['type']} {made['attributes']['title']}")
def test_references_are_used_and_resolve_to_an_object_of_their_type(made: dict[str, Any]) -> None:
    assert sorted(reference_names(made["attributes"])) == sorted(one["name"] for one in made["references"])
    for reference in made["references"]:
        assert BY_ID[reference["id"]]["type"] == reference["type"]
        assert OBJECTS.index(BY_ID[reference["id"]]) < OBJECTS.index(made), "an object must follow those it refers to"


def test_every_object_is_shown_by_a_dashboard() -> None:
    shown = {reference["id"] for board in of("dashboard") for reference in board["references"]}
    assert {made["id"] for made in of("visualization") + of("search")} == shown


def test_the_index_pattern_has_the_fields_of_the_mapping() -> None:
    (pattern,) = of("index-pattern")
    assert pattern["attributes"]["title"] == schema.templates("depesche-audit")["depesche-audit"]["index_patterns"][0]
    fields = {one["name"]: one for one in json.loads(pattern["attributes"]["fields"]) if one["name"][0] != "_"}
    assert set(fields) == {name for name, field in FIELDS.items() if field["type"] != "object"}
    assert {name: one["esTypes"] for name, one in fields.items()} == {name: [FIELDS[name]["type"]] for name in fields}
    assert fields[pattern["attributes"]["timeFieldName"]]["type"] == "date"
    assert not fields["detail"]["aggregatable"]


@pytest.mark.parametrize("made", of("visualization") + of("search"), ids=lambda made: made["attributes"]["title"])
def test_queries_use_existing_fields_and_values(made: dict[str, Any]) -> None:
    source = source_of(made)
    if not source:
        assert state_of(made)["type"] == "input_control_vis"
        return
    assert source["query"]["language"] == "kuery"
    query = source["query"]["query"]
    asked = _FIELD.findall(query)
    assert asked
    for field, value, _ in asked:
        assert field in FIELDS, query
        assert FIELDS[field]["type"] != "text" or "*" not in value
    words = {
        word for field, value, inner in asked if field in _VALUES for word in re.split(r"\s+or\s+|\s+", inner or value)
    }
    assert words - {"*"} <= set().union(*_VALUES.values()), query


_VALUES = {
    "kind": {"decision", "transition", "receipt", "rejection", "document"},
    "status": {"pending", "sending", "sent", "failed", "skipped", "suppressed", "unknown"},
    "receipt": {"delivered", "bounced", "complained", "opened", "clicked", "converted", "accepted", "failed"},
    "active": {"true", "false"},
}


@pytest.mark.parametrize("made", of("visualization"), ids=lambda made: made["attributes"]["title"])
def test_charts_aggregate_only_aggregatable_fields(made: dict[str, Any]) -> None:
    state = state_of(made)
    assert state["title"] == made["attributes"]["title"]
    for control in state["params"].get("controls", ()):
        assert FIELDS[control["fieldName"]]["type"] in TERMS
    ids = [aggregation["id"] for aggregation in state["aggs"]]
    assert len(set(ids)) == len(ids)
    for aggregation in state["aggs"]:
        params = aggregation["params"]
        assert aggregation["schema"] in SCHEMAS[state["type"]]
        if aggregation["type"] != "count":
            assert FIELDS[params["field"]]["type"] in NEEDS[aggregation["type"]], params["field"]
        if "orderBy" in params:
            assert params["orderBy"] in ids


@pytest.mark.parametrize("made", of("search"), ids=lambda made: made["attributes"]["title"])
def test_columns_are_fields(made: dict[str, Any]) -> None:
    assert set(made["attributes"]["columns"]) <= set(FIELDS)
    assert made["attributes"]["sort"] == [["at", "desc"]]


@pytest.mark.parametrize("made", of("dashboard"), ids=lambda made: made["attributes"]["title"])
def test_panels_fill_the_grid_without_overlap(made: dict[str, Any]) -> None:
    panels = json.loads(made["attributes"]["panelsJSON"])
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        grid = panel["gridData"]
        cells = {(grid["x"] + x, grid["y"] + y) for x in range(grid["w"]) for y in range(grid["h"])}
        assert not cells & taken
        taken |= cells
    assert max(x for x, _ in taken) == 47
    assert len({panel["panelIndex"] for panel in panels}) == len(panels)
