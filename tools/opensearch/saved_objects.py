"""Converts definitions to saved objects of OpenSearch Dashboards: one JSON document per line, ready for import.

Shapes and migration versions are those of Dashboards 2 and 3, whose types have not changed since: index-pattern 7.6.0,
search and dashboard 7.9.3, visualization 7.10.0. References are by name, as in an export.
"""

import json
import uuid
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from tools.opensearch.panels import BOARDS, CHARTS, CONTROLS, SEARCHES, Board, Chart, Controls, Search, Split

Json = dict[str, Any]

MIGRATIONS = {"index-pattern": "7.6.0", "search": "7.9.3", "visualization": "7.10.0", "dashboard": "7.9.3"}
DASHBOARDS_VERSION = "3.0.0"  # the oldest that the panels are written for
TIME_FIELD = "at"
_INDEX = "kibanaSavedObjectMeta.searchSourceJSON.index"
_TYPES = {"keyword": "string", "text": "string", "short": "number", "long": "number", "date": "date"}
_TYPES |= {"boolean": "boolean"}
_SPACE = uuid.UUID("6f1f3d2e-5a3b-5d0c-9a54-0d4f6f0c6a11")


def saved_objects(prefix: str, mapping: Mapping[str, Any]) -> list[Json]:
    """Return all of them, referenced objects first."""
    pattern = _index_pattern(f"{prefix}-2*", mapping)
    charts = [_visualization(chart) for chart in CHARTS] + [_controls(one) for one in CONTROLS]
    searches = [_search(search) for search in SEARCHES]
    types = {made["id"]: made["type"] for made in charts + searches}
    return [pattern, *searches, *charts, *(_dashboard(board, types) for board in BOARDS)]


def id_of(name: str) -> str:
    """Return a definition's id: the same at each import, so that an import replaces."""
    return str(uuid.uuid5(_SPACE, name))


def _object(type_: str, name: str, attributes: Json, references: Iterable[tuple[str, str, str]]) -> Json:
    told = [{"name": name_, "type": kind, "id": id_} for name_, kind, id_ in references]
    made = {"id": id_of(name), "type": type_, "attributes": attributes, "references": told}
    return made | {"migrationVersion": {type_: MIGRATIONS[type_]}}


def _index_pattern(title: str, mapping: Mapping[str, Any]) -> Json:
    fields = [*_own_fields(mapping), *_meta_fields()]
    attributes = {"title": title, "timeFieldName": TIME_FIELD, "fields": _packed(fields)}
    return _object("index-pattern", "index-pattern", attributes, ())


def _own_fields(mapping: Mapping[str, Any]) -> Iterator[Json]:
    for name, field in sorted(mapping["properties"].items()):
        if field["type"] in _TYPES:
            exact = field["type"] != "text"
            yield _field(name, _TYPES[field["type"]], field["type"], (True, exact, exact))


def _meta_fields() -> list[Json]:
    return [
        _field("_id", "string", "_id", (True, True, False)),
        _field("_index", "string", "_index", (True, True, False)),
        _field("_source", "_source", "_source", (False, False, False)),
    ]


def _field(name: str, type_: str, stored: str, can: tuple[bool, bool, bool]) -> Json:
    searchable, aggregatable, doc_values = can
    told = {"count": 0, "name": name, "type": type_, "esTypes": [stored], "scripted": False}
    return told | {"searchable": searchable, "aggregatable": aggregatable, "readFromDocValues": doc_values}


def _search(search: Search) -> Json:
    attributes = {"title": search.title, "description": search.description, "hits": 0, "version": 1}
    attributes |= {"columns": list(search.columns), "sort": [[TIME_FIELD, "desc"]]}
    source = _source(search.query) | {"highlightAll": True, "version": True}
    attributes["kibanaSavedObjectMeta"] = {"searchSourceJSON": _packed(source)}
    return _object("search", search.id, attributes, [_pattern_reference()])


def _visualization(chart: Chart) -> Json:
    state = {"title": chart.title, "type": chart.type, "aggs": _aggregations(chart), "params": _params(chart)}
    attributes = {"title": chart.title, "description": chart.description, "version": 1, "uiStateJSON": "{}"}
    attributes |= {"visState": _packed(state)}
    attributes["kibanaSavedObjectMeta"] = {"searchSourceJSON": _packed(_source(chart.query))}
    return _object("visualization", chart.id, attributes, [_pattern_reference()])


def _aggregations(chart: Chart) -> list[Json]:
    measure: Json = {"id": "1", "enabled": True, "type": "count", "params": {}, "schema": "metric"}
    if chart.distinct:
        measure |= {"type": "cardinality", "params": {"field": chart.distinct, "customLabel": chart.title}}
    elif chart.type == "metric":
        measure["params"] = {"customLabel": chart.title}
    made = [measure]
    if chart.over_time:
        params = {"field": TIME_FIELD, "useNormalizedOpenSearchInterval": True, "scaleMetricValues": False}
        params |= {"interval": "auto", "drop_partials": False, "min_doc_count": 1, "extended_bounds": {}}
        made.append(_bucket(2, "date_histogram", params, "segment"))
    schema = {"table": "bucket", "pie": "segment"}.get(chart.type, "group")
    made += [_bucket(10 + place, "terms", _terms(split), schema) for place, split in enumerate(chart.by)]
    return made


def _bucket(number: int, type_: str, params: Json, schema: str) -> Json:
    return {"id": str(number), "enabled": True, "type": type_, "params": params, "schema": schema}


def _terms(split: Split) -> Json:
    params: Json = {"field": split.field, "customLabel": split.label, "size": split.most}
    params |= {"orderBy": "1", "order": "desc", "otherBucket": False, "otherBucketLabel": "Other"}
    return params | {"missingBucket": False, "missingBucketLabel": "Missing"}


def _params(chart: Chart) -> Json:
    match chart.type:
        case "metric":
            style = {"bgFill": "#000", "bgColor": False, "labelColor": False, "subText": "", "fontSize": 42}
            metric = {"percentageMode": False, "useRanges": False, "colorSchema": "Green to Red", "style": style}
            metric |= {"metricColorMode": "None", "colorsRange": [{"from": 0, "to": 10000}], "invertColors": False}
            metric["labels"] = {"show": True}
            return {"type": "metric", "addTooltip": True, "addLegend": False, "metric": metric}
        case "pie":
            labels = {"show": True, "values": True, "last_level": True, "truncate": 100}
            return _with_legend("pie") | {"isDonut": True, "labels": labels}
        case "table":
            sort = {"columnIndex": None, "direction": None}
            table = {"perPage": 10, "showPartialRows": False, "showMetricsAtAllLevels": False, "sort": sort}
            return table | {"showTotal": False, "totalFunc": "sum", "percentageCol": ""}
        case "histogram" | "line":
            return _axes(chart.type)


def _with_legend(type_: str) -> Json:
    return {"type": type_, "addTooltip": True, "addLegend": True, "legendPosition": "right"}


def _axes(type_: str) -> Json:
    category = {"id": "CategoryAxis-1", "type": "category", "position": "bottom", "show": True, "style": {}}
    category |= {"scale": {"type": "linear"}, "labels": {"show": True, "filter": True, "truncate": 100}, "title": {}}
    value = {"id": "ValueAxis-1", "name": "LeftAxis-1", "type": "value", "position": "left", "show": True, "style": {}}
    value |= {"scale": {"type": "linear", "mode": "normal"}, "title": {"text": "Records"}}
    value["labels"] = {"show": True, "rotate": 0, "filter": False, "truncate": 100}
    series = {"show": True, "type": type_, "mode": "stacked" if type_ == "histogram" else "normal"}
    series |= {"data": {"label": "Records", "id": "1"}, "valueAxis": "ValueAxis-1", "lineWidth": 2}
    series |= {"drawLinesBetweenPoints": True, "interpolate": "linear", "showCircles": True}
    line = {"show": False, "value": 10, "width": 1, "style": "full", "color": "#E7664C"}
    axes = {"grid": {"categoryLines": False}, "categoryAxes": [category], "valueAxes": [value]}
    axes |= {"seriesParams": [series], "times": [], "addTimeMarker": False, "labels": {}, "thresholdLine": line}
    return _with_legend(type_) | axes


def _controls(controls: Controls) -> Json:
    boxes, references = [], []
    for place, (field, label) in enumerate(controls.fields):
        name = f"control_{place}_index_pattern"
        options = {"type": "terms", "multiselect": True, "dynamicOptions": True, "size": 10, "order": "desc"}
        boxes.append({"id": f"{controls.id}-{field}", "fieldName": field, "label": label, "type": "list", "parent": ""}
                     | {"options": options, "indexPatternRefName": name})  # fmt: skip
        references.append((name, "index-pattern", id_of("index-pattern")))
    params = {"controls": boxes, "updateFiltersOnChange": True, "useTimeFilter": True, "pinFilters": False}
    state = {"title": controls.title, "type": "input_control_vis", "aggs": [], "params": params}
    attributes = {"title": controls.title, "description": "", "version": 1, "uiStateJSON": "{}"}
    attributes |= {"visState": _packed(state), "kibanaSavedObjectMeta": {"searchSourceJSON": "{}"}}
    return _object("visualization", controls.id, attributes, references)


def _dashboard(board: Board, types: Mapping[str, str]) -> Json:
    panels: list[Json] = []
    references = []
    top = 0
    for height, row in board.rows:
        left = 0
        for name, width in row:
            number = len(panels)
            grid = {"x": left, "y": top, "w": width, "h": height, "i": str(number + 1)}
            panel = {"version": DASHBOARDS_VERSION, "gridData": grid, "panelIndex": grid["i"], "embeddableConfig": {}}
            panels.append(panel | {"panelRefName": f"panel_{number}"})
            references.append((f"panel_{number}", types[id_of(name)], id_of(name)))
            left += width
        top += height
    attributes = {"title": board.title, "description": board.description, "hits": 0, "version": 1}
    attributes |= {
        "panelsJSON": _packed(panels),
        "optionsJSON": _packed({"useMargins": True, "hidePanelTitles": False}),
    }
    attributes |= {"timeRestore": True, "timeFrom": board.since, "timeTo": "now"}
    attributes["refreshInterval"] = {"pause": True, "value": 0}
    source = {"query": {"query": "", "language": "kuery"}, "filter": []}
    attributes["kibanaSavedObjectMeta"] = {"searchSourceJSON": _packed(source)}
    return _object("dashboard", board.id, attributes, references)


def _source(query: str) -> Json:
    return {"query": {"query": query, "language": "kuery"}, "filter": [], "indexRefName": _INDEX}


def _pattern_reference() -> tuple[str, str, str]:
    return _INDEX, "index-pattern", id_of("index-pattern")


def _packed(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))
