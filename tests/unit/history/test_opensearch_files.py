"""The files in `opensearch/` agree with the code: mapping, index names, and the service's calls to the cluster."""

import fnmatch
import json
import re
from datetime import UTC, datetime
from typing import Any

import pytest
import yaml

from services.history.adapters.opensearch import schema
from services.history.settings import HistorySettings
from tools.opensearch.__main__ import FOLDER, PREFIX, files

NOW = datetime(2027, 3, 1, tzinfo=UTC)
MONTH, ERASED = schema.month_of(PREFIX, NOW), f"{PREFIX}-erased"
FIELDS: dict[str, dict[str, Any]] = schema.MAPPING["properties"]
ROLES: dict[str, Any] = yaml.safe_load((FOLDER / "roles.yml").read_text())
READERS = ("depesche_support", "depesche_analyst")
# the service's call → the security plugin's permission, on the index unless it begins with "cluster"
NEEDED = {
    "bulk": "indices:data/write/bulk*",
    "search": "indices:data/read/search",
    "mget": "indices:data/read/mget*",
    "create_pit": "indices:data/read/point_in_time/create",
    "delete_pit": "indices:data/read/point_in_time/delete",
    "refresh": "indices:admin/refresh",
    "get": "indices:admin/get",
    "exists": "indices:admin/get",
    "put_mapping": "indices:admin/mapping/put",
    "delete": "indices:admin/delete",
    "put_index_template": "cluster:indices:admin/index_template/put",
    "get_index_template": "cluster:indices:admin/index_template/get",
    "health": "cluster:monitor/health",
}
# the plugin's own action groups, limited to what is used
GROUPS = {
    "read": ["indices:data/read*", "indices:admin/mappings/fields/get*"],
    "write": ["indices:data/write*", "indices:admin/mapping/put"],
    "create_index": ["indices:admin/create", "indices:admin/mapping/put"],
    "manage_point_in_time": ["indices:data/read/point_in_time/*", "indices:data/read/search"],
    "cluster_composite_ops": ["indices:data/write/bulk", "indices:data/read/mget"],
    "cluster_manage_index_templates": ["indices:admin/template/*", "indices:admin/index_template/*"],
}


@pytest.mark.parametrize("name", sorted(files()))
def test_the_generated_files_are_committed(name: str) -> None:
    assert (FOLDER / name).read_text(encoding="utf-8") == files()[name], (
        "run python -m tools.opensearch and commit the result"
    )


def test_templates_match_exactly_the_indices_written() -> None:
    months, erased = schema.templates(PREFIX).values()
    assert [fnmatch.fnmatch(name, months["index_patterns"][0]) for name in (MONTH, ERASED)] == [True, False]
    assert erased["index_patterns"] == [ERASED]


def test_a_month_is_never_left_read_only_and_outlives_the_retention() -> None:
    policy = json.loads((FOLDER / "ism-policy.json").read_text())["policy"]
    assert fnmatch.fnmatch(MONTH, policy["ism_template"][0]["index_patterns"][0])
    assert not fnmatch.fnmatch(ERASED, policy["ism_template"][0]["index_patterns"][0])
    states = {state["name"]: state for state in policy["states"]}
    assert policy["default_state"] in states
    for state in policy["states"]:
        assert all(transition["state_name"] in states for transition in state["transitions"])
        kinds = [kind for action in state["actions"] for kind in action if kind not in ("timeout", "retry")]
        if (
            "force_merge" in kinds or "read_only" in kinds
        ):  # merging makes the index read-only, and an erasure must write
            assert kinds.index("read_write") > max(
                kinds.index(kind) for kind in kinds if kind in ("force_merge", "read_only")
            )
    (age,) = [
        t["conditions"]["min_index_age"]
        for s in policy["states"]
        for t in s["transitions"]
        if t["state_name"] == "delete"
    ]
    retention = HistorySettings.model_fields["retention_days"].default
    assert int(age.removesuffix("d")) >= retention + 31


def _allowed(actions: list[str], wanted: str) -> bool:
    patterns = [pattern for action in actions for pattern in GROUPS.get(action, [action])]
    return any(fnmatch.fnmatch(wanted, pattern) for pattern in patterns)


def test_the_services_role_permits_all_its_calls() -> None:
    role = ROLES["depesche_history"]
    (index,) = role["index_permissions"]
    assert all(fnmatch.fnmatch(name, index["index_patterns"][0]) for name in (MONTH, ERASED))
    for call, wanted in NEEDED.items():
        on_cluster = wanted.startswith("cluster:")
        cluster = wanted.removeprefix("cluster:") if "template" in wanted else wanted
        allowed = role["cluster_permissions"] if on_cluster else index["allowed_actions"]
        assert _allowed(allowed, cluster if on_cluster else wanted), call
    assert "*" not in str(role["cluster_permissions"])


def test_the_list_of_calls_is_complete() -> None:
    sources = [path.read_text() for path in (FOLDER.parent / "services/history/adapters/opensearch").glob("*.py")]
    called = {name for text in sources for name in re.findall(r"client\.(?:indices\.|cluster\.)?(\w+)\(", text)}
    assert called - {"close"} == set(NEEDED)


@pytest.mark.parametrize("name", READERS)
def test_readers_see_only_their_tenants_live_records(name: str) -> None:
    role = ROLES[name]
    (index,) = role["index_permissions"]
    assert [fnmatch.fnmatch(one, index["index_patterns"][0]) for one in (MONTH, ERASED)] == [True, False]
    assert index["allowed_actions"] == ["read"]
    dls = json.loads(index["dls"].replace("${attr.internal.depesche_tenants}", "1,2"))
    filters = dls["bool"]["filter"]
    assert filters == [{"terms": {"tenant": [1, 2]}}, {"term": {"mode": "live"}}]
    assert all(field in FIELDS for one in filters for kind in one.values() for field in kind)
    hidden = [field.removeprefix("~") for field in index["fls"]]
    assert "body" in hidden
    assert all(field in FIELDS for field in hidden + index.get("masked_fields", []))


def test_analysts_see_no_names() -> None:
    (index,) = ROLES["depesche_analyst"]["index_permissions"]
    assert {"recipient", "object"} == set(index["masked_fields"])
    assert {"~body", "~address_key"} == set(index["fls"])


def test_exactly_the_defined_roles_are_mapped() -> None:
    mapping = yaml.safe_load((FOLDER / "roles_mapping.yml").read_text())
    assert set(mapping) == set(ROLES)
    assert all(mapping[name].get("users") or mapping[name].get("backend_roles") for name in mapping if name != "_meta")
